#ifndef GH_SERVE_EXCHANGE_H
#define GH_SERVE_EXCHANGE_H

#include "openai/error.h"
#include "serve/worker.h"

/*
 * One request and its answer: what is counted about them, and the ways to answer. Whatever ends an
 * exchange also frees it.
 */
typedef struct gh__exchange {
	gh_worker *worker;
	gh__http_request *request;
	size_t route;        /* number of its route; GH__ROUTES_MAX: none */
	const char *handler; /* path of the route; NULL: not counted */
	const char *method;
	int64_t began;
	size_t bytes; /* of the answer's body so far */
	int status;
} gh__exchange;

gh__exchange *gh__exchange_new(gh_worker *worker, gh__http_request *request); /* NULL: no memory */

void gh__exchange_respond(gh__exchange *x, int status, const char *type, const void *body,
			  size_t len);
void gh__exchange_fail(gh__exchange *x, const gh__openai_error *error);
/* 400 and so on with a text. */
void gh__exchange_refuse(gh__exchange *x, int status, const char *type, const char *format, ...)
	GH_PRINTF(4, 5);
/* out as JSON with status 200, or 500 when it has failed; out is freed. */
void gh__exchange_json(gh__exchange *x, gh__buf *out);

void gh__exchange_stream(gh__exchange *x, const char *type);
gh_status gh__exchange_write(gh__exchange *x, const void *data, size_t len);
void gh__exchange_end(gh__exchange *x, bool whole); /* not whole: the client sees it break off */

#endif
