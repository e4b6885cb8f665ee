#ifndef GH_INFERENCE_NODE_FIELDS_H
#define GH_INFERENCE_NODE_FIELDS_H

#include <jansson.h>
#include <stdbool.h>

/*
 * Checks of request fields, with findings in the shape that clients of the management API know:
 * {"type", "loc", "msg", "input"[, "ctx"]}, one a problem, in the order of the fields.
 */
typedef enum gh__field_kind {
	GH__FIELD_STRING = 1,
	GH__FIELD_INT,
	GH__FIELD_FLOAT,
	GH__FIELD_STRINGS, /* array of strings; null counts as absent */
	GH__FIELD_INTS,    /* array of integers */
	GH__FIELD_FLOATS,  /* array of numbers */
	GH__FIELD_OBJECT   /* null counts as absent */
} gh__field_kind;

typedef struct gh__field {
	const char *name;
	gh__field_kind kind;
	bool required;
} gh__field;

/* The findings over an object: an array, a new reference; empty when all is well. */
json_t *gh__fields_check(const json_t *object, const gh__field *fields, size_t count);

/* One finding; input is borrowed. at: a name or NULL; ctx: taken, or NULL. */
json_t *gh__finding(const char *type, const char *at, const char *message, const json_t *input,
		    json_t *ctx);

/* {"detail": [finding]}; takes finding. */
json_t *gh__findings_body(json_t *findings);

#endif
