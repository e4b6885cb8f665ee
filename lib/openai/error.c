#include "openai/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"
#include "json/write.h"

static void put(gh__openai_error *error, int status, const char *type, const char *format,
		va_list args) GH_PRINTF(4, 0);

static void put(gh__openai_error *error, int status, const char *type, const char *format,
		va_list args)
{
	if (error->status != 0)
		return;
	error->status = status;
	error->type = type;
	vsnprintf(error->message, sizeof error->message, format, args);
}

gh_status gh__openai_fail(gh__openai_error *error, int status, const char *type, const char *format,
			  ...)
{
	va_list args;

	va_start(args, format);
	put(error, status, type, format, args);
	va_end(args);
	return GH_EINVAL;
}

gh_status gh__openai_finding(gh__openai_error *error, const char *type, const char *loc,
			     const char *format, ...)
{
	char text[512];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	return gh__openai_fail(error, 400, GH__OPENAI_FIELD,
			       "[{'type': '%s', 'loc': ('body',%s%.200s), 'msg': '%s'}]", type,
			       loc ? " " : "", loc ? loc : "", text);
}

void gh__openai_error_of(gh__openai_error *out, gh_status status, const gh_error *error)
{
	const char *text = error->text[0] ? error->text : gh_status_text(status);

	switch (status) {
	case GH_EINVAL:
	case GH_ETOOBIG:
		gh__openai_refuse(out, "%s", text);
		break;
	case GH_EBUSY:
		gh__openai_fail(out, 503, GH__OPENAI_BUSY, "%s", text);
		break;
	default:
		gh__openai_fail(out, 500, GH__OPENAI_INTERNAL, "%s", text);
		break;
	}
}

void gh__openai_error_write(gh__buf *out, const gh__openai_error *error)
{
	char message[sizeof error->message];
	/* A long message may have been cut within a character. */
	size_t len = gh__utf8_copy(message, sizeof message, error->message, strlen(error->message));

	gh__buf_append_str(out, "{\"object\":\"error\",\"message\":");
	gh__json_write_string(out, message, len);
	gh__buf_append_str(out, ",\"type\":");
	gh__json_write_string(out, error->type, strlen(error->type));
	gh__buf_printf(out, ",\"param\":null,\"code\":%d}", error->status);
}
