#ifndef GH_OPENAI_FIELDS_H
#define GH_OPENAI_FIELDS_H

#include <stdbool.h>
#include <jansson.h>

#include "openai/error.h"

/*
 * Fields of a request body, read as leniently as the reference does: an integral real or a numeric
 * text is an integer, an integer is a real, 0, 1 and "true" are booleans; null is absence.
 *
 * Each getter answers true when it stored a value. After the first finding all answer false: look
 * at error->status once, at the end.
 */
typedef struct gh__fields {
	const json_t *object; /* borrowed */
	gh__openai_error *error;
} gh__fields;

/* The member, or NULL when absent or null. */
const json_t *gh__field(const gh__fields *f, const char *name);
bool gh__field_text(const gh__fields *f, const char *name, const char **out); /* borrows; no NUL */
bool gh__field_int(const gh__fields *f, const char *name, int64_t *out);
bool gh__field_real(const gh__fields *f, const char *name, double *out);
bool gh__field_bool(const gh__fields *f, const char *name, bool *out);
bool gh__field_list(const gh__fields *f, const char *name, const json_t **out);
bool gh__field_object(const gh__fields *f, const char *name, const json_t **out);

/* The same for a lone value; loc as for gh__openai_finding(). */
bool gh__value_int(gh__openai_error *error, const json_t *value, const char *loc, int64_t *out);
bool gh__value_real(gh__openai_error *error, const json_t *value, const char *loc, double *out);

/* The body as an object; a new reference, or NULL with a finding. */
json_t *gh__body_parse(const char *text, size_t len, gh__openai_error *error);

#endif
