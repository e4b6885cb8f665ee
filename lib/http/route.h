#ifndef GH_HTTP_ROUTE_H
#define GH_HTTP_ROUTE_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Paths and patterns as server.h describes them; pure text.
 */
#define GH__ROUTE_PARAMS_MAX 8

typedef struct gh__route_params {
	size_t count;
	struct {
		const char *name, *value; /* not NUL-terminated; value is still encoded */
		size_t name_len, value_len;
	} at[GH__ROUTE_PARAMS_MAX];
} gh__route_params;

/* path: encoded, len bytes, without the query. */
bool gh__route_match(const char *pattern, const char *path, size_t len, gh__route_params *params);

/* Into out (len + 1 bytes); answers the length. plus: '+' is a space. */
size_t gh__percent_decode(char *out, const char *text, size_t len, bool plus);

/* Bytes of a leading "/v3.0.8" or "/v3.0.8-post1", or 0. */
size_t gh__version_prefix(const char *path);

#endif
