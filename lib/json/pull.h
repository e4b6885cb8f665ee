#ifndef GH_JSON_PULL_H
#define GH_JSON_PULL_H

#include <stdbool.h>

#include <gonkahost/base.h>

/*
 * A pull reader: JSON of many megabytes without a tree. The caller owns the text, which must stay
 * until the last string has been used. Strict: RFC 8259, valid UTF-8, lone surrogates in \u escapes
 * refused, at most GH__PULL_DEPTH levels, nothing but white space behind the value.
 *
 * Usage: gh__pull_next() answers one event after another; in an object each member is a KEY event
 * followed by the events of its value. gh__pull_skip() jumps over the value that comes next.
 */
#define GH__PULL_DEPTH 64

typedef enum gh__pull_event {
	GH__PULL_ERROR = -1, /* gh__pull_error() tells; every later call answers the same */
	GH__PULL_END = 0,    /* the text is over */
	GH__PULL_OBJECT,
	GH__PULL_OBJECT_END,
	GH__PULL_ARRAY,
	GH__PULL_ARRAY_END,
	GH__PULL_KEY,    /* text, len */
	GH__PULL_STRING, /* text, len */
	GH__PULL_NUMBER, /* text, len: as it stands; gh__pull_int(), gh__pull_double() */
	GH__PULL_TRUE,
	GH__PULL_FALSE,
	GH__PULL_NULL
} gh__pull_event;

typedef struct gh__pull gh__pull;

gh_status gh__pull_create(gh__pull **out, const char *text, size_t len, gh_error *error);
void gh__pull_free(gh__pull *pull);

gh__pull_event gh__pull_next(gh__pull *pull);

/* Over the next value, whatever it is; in front of a key over the whole member. GH_ENOENT: the
 * object, array or text ended instead, and that event is taken. Else gh__pull_error()'s status. */
gh_status gh__pull_skip(gh__pull *pull);

/* Of the latest KEY, STRING or NUMBER. Points into the source text where nothing was escaped, else
 * into the reader, and is good until the next call. Not NUL-terminated. */
const char *gh__pull_text(const gh__pull *pull, size_t *len);
bool gh__pull_is(const gh__pull *pull, const char *text); /* the text equals */
bool gh__pull_int(const gh__pull *pull, int64_t *out);    /* false: no integer of 64 bits */
bool gh__pull_double(const gh__pull *pull, double *out);

/* Bytes read so far; after GH__PULL_ERROR the offset of what is wrong. */
size_t gh__pull_offset(const gh__pull *pull);

/* "name: line 3, column 7: expected ':' after a key" into error (columns count characters; name may
 * be NULL). GH_EFORMAT, GH_ETOOBIG (too deep), GH_ENOMEM; GH_OK while nothing is wrong. */
gh_status gh__pull_error(const gh__pull *pull, const char *name, gh_error *error);

#endif
