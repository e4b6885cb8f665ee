#ifndef GH_OPENAI_ERROR_H
#define GH_OPENAI_ERROR_H

#include <gonkahost/base.h>

#include "base/buf.h"

/*
 * An error as clients see it: a status and a flat body.
 */
typedef struct gh__openai_error {
	int status; /* of HTTP; 0 while there is no error */
	const char *type;
	char message[1024];
} gh__openai_error;

#define GH__OPENAI_FIELD    "Bad Request"     /* what was sent is not well formed */
#define GH__OPENAI_REFUSED  "BadRequestError" /* well formed, and refused */
#define GH__OPENAI_UNKNOWN  "NotFoundError"
#define GH__OPENAI_INTERNAL "InternalServerError"
#define GH__OPENAI_BUSY     "Service Unavailable"

/* The first one wins. Answer GH_EINVAL, for returns. */
gh_status gh__openai_fail(gh__openai_error *error, int status, const char *type, const char *format,
			  ...) GH_PRINTF(4, 5);

/* 400, refused by a handler. */
#define gh__openai_refuse(error, ...) gh__openai_fail(error, 400, GH__OPENAI_REFUSED, __VA_ARGS__)

/* 400 with the finding at a path: "[{'type': 'int_type', 'loc': ('body', 'n'), 'msg': '...'}]". loc
 * is the path behind 'body', written as Python does: "'messages', 0"; NULL for the body itself. */
gh_status gh__openai_finding(gh__openai_error *error, const char *type, const char *loc,
			     const char *format, ...) GH_PRINTF(4, 5);

/* An error of the engine, or of what lies below it. */
void gh__openai_error_of(gh__openai_error *out, gh_status status, const gh_error *error);

/* {"object":"error","message":...,"type":...,"param":null,"code":...} */
void gh__openai_error_write(gh__buf *out, const gh__openai_error *error);

#endif
