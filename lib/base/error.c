#include "base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"

/* What vsnprintf may fill before the text is cut to gh_error's size on a character's boundary. */
#define SCRATCH 1024

void gh__error_set(gh_error *error, gh_status status, gh_domain domain, int code, const char *file,
		   int line, const char *format, ...)
{
	char scratch[SCRATCH];
	va_list args;

	if (!error || error->status != GH_OK || status == GH_OK)
		return;
	va_start(args, format);
	int len = vsnprintf(scratch, sizeof scratch, format, args);
	va_end(args);
	if (len < 0)
		len = 0;
	if (len >= SCRATCH)
		len = SCRATCH - 1;
	scratch[len] = '\0';
	if (domain == GH_DOMAIN_ERRNO) {
		char why[128];
		const char *text = strerror_r(code, why, sizeof why);

		snprintf(scratch + len, sizeof scratch - (size_t)len, ": %s", text);
	}
	error->status = status;
	error->domain = domain;
	error->code = code;
	error->line = line;
	error->file = file;
	gh__utf8_copy(error->text, sizeof error->text, scratch, strlen(scratch));
}

void gh__error_prefix(gh_error *error, const char *format, ...)
{
	char scratch[SCRATCH];
	va_list args;

	if (!error || error->status == GH_OK)
		return;
	va_start(args, format);
	int len = vsnprintf(scratch, sizeof scratch, format, args);
	va_end(args);
	if (len < 0)
		return;
	if (len >= SCRATCH)
		len = SCRATCH - 1;
	snprintf(scratch + len, sizeof scratch - (size_t)len, "%s", error->text);
	gh__utf8_copy(error->text, sizeof error->text, scratch, strlen(scratch));
}

gh_status gh__status_of_errno(int number)
{
	switch (number) {
	case ENOENT:
		return GH_ENOENT;
	case ENOMEM:
		return GH_ENOMEM;
	default:
		return GH_EIO;
	}
}
