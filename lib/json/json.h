#ifndef GH_JSON_JSON_H
#define GH_JSON_JSON_H

#include <stdbool.h>
#include <jansson.h>

#include <gonkahost/base.h>

#include "base/buf.h"

/*
 * Trees of foreign JSON, read with types and limits, and with errors that say the path:
 * "models.Qwen/QwQ-32B.args[2]: expected a string, got a number".
 */

/* Parse a whole text, as strictly as pull.h says: at most GH__PULL_DEPTH levels and GH__JSON_VALUES
 * values (a tree takes some 30 times the room of a text like "[[],[]"). Duplicate keys are refused
 * when unique is true, else the last wins; a NUL is allowed in a string, but not in a key. Integers
 * beyond 64 bits become reals. Errors say line and column. A new reference: json_decref(). */
#define GH__JSON_VALUES (1 << 20)
json_t *gh__json_parse(const char *text, size_t len, bool unique, gh_error *error);

/* A file through open/read, at most max bytes. */
json_t *gh__json_read_file(const char *path, size_t max, gh_error *error);

/* Text of a tree: UTF-8 not escaped, keys in order of insertion, reals in the fewest digits that
 * read back. Too deep a tree (256 levels, which also stops a loop) or no memory: out fails. */
#define GH__JSON_PRETTY      1u /* indented by two spaces */
#define GH__JSON_ESCAPE_HTML 2u /* <, >, &, U+2028 and U+2029 as \uXXXX */
void gh__json_write(gh__buf *out, const json_t *value, unsigned flags);

/* The same, compact; caller frees (gh__free); len may be NULL. NULL on failure. */
char *gh__json_text(const json_t *value, size_t *len);

/*
 * A typed reader over one object. Each getter returns true when it stored a value; absent (or null)
 * stores nothing and returns false. A wrong type or a value out of range records an error, and
 * after that every getter returns false: check gh__json_reader_status() once at the end.
 * Paths are built only when there is an error to tell.
 */
typedef struct gh__json_reader {
	const json_t *object;          /* borrowed */
	struct gh__json_reader *above; /* NULL at the root; fails with us */
	const char *name;              /* our key in above; at the root: what the text is */
	int index;                     /* our place in the array of that name, else -1 */
	gh_error *error;
	gh_status status;
} gh__json_reader;

/* Both record an error when value is not an object. name: what the text is ("node-config.json"),
 * put before paths; NULL or "" for nothing. A child is the member key of above, or, with an index
 * from 0, an item of the array that is that member; a failed child fails what is above it. */
void gh__json_root(gh__json_reader *out, const json_t *value, const char *name, gh_error *error);
void gh__json_child(gh__json_reader *out, gh__json_reader *above, const char *key, int index,
		    const json_t *value);

bool gh__json_string(gh__json_reader *r, const char *key, const char **out); /* borrows the tree */
bool gh__json_string_n(gh__json_reader *r, const char *key, const char **out,
		       size_t *len); /* NULs */
bool gh__json_int(gh__json_reader *r, const char *key, int64_t min, int64_t max, int64_t *out);
bool gh__json_real(gh__json_reader *r, const char *key, double min, double max, double *out);
bool gh__json_bool(gh__json_reader *r, const char *key, bool *out);
bool gh__json_array(gh__json_reader *r, const char *key, const json_t **out);
bool gh__json_object(gh__json_reader *r, const char *key, const json_t **out);
void gh__json_require(gh__json_reader *r, const char *key); /* absent or null: an error */
/* Record an error of the caller's own; key NULL: the object itself. */
gh_status gh__json_fail(gh__json_reader *r, const char *key, const char *format, ...)
	GH_PRINTF(3, 4);
/* The same for what is well formed but not supported: GH_ENOTSUP. */
gh_status gh__json_refuse(gh__json_reader *r, const char *key, const char *format, ...)
	GH_PRINTF(3, 4);
gh_status gh__json_reader_status(const gh__json_reader *r);

#endif
