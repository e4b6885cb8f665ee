#include "http/route.h"

#include <string.h>

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
		return (c | 0x20) - 'a' + 10;
	return -1;
}

/* The character at text, which has len bytes; *used of them make it. */
static char decode(const char *text, size_t len, size_t *used)
{
	*used = 1;
	if (text[0] != '%' || len < 3)
		return text[0];
	int high = hex(text[1]), low = hex(text[2]);
	if (high < 0 || low < 0 || (high == 0 && low == 0))
		return text[0];
	*used = 3;
	return (char)(high << 4 | low);
}

size_t gh__percent_decode(char *out, const char *text, size_t len, bool plus)
{
	size_t written = 0, used;

	for (size_t at = 0; at < len; at += used) {
		char c = decode(text + at, len - at, &used);

		out[written++] = plus && c == '+' && used == 1 ? ' ' : c;
	}
	out[written] = '\0';
	return written;
}

bool gh__route_match(const char *pattern, const char *path, size_t len, gh__route_params *params)
{
	const char *end = path + len;
	size_t used;

	params->count = 0;
	for (;;) {
		bool last = pattern[0] == '*' && pattern[1] == '\0';
		const char *name = pattern + 1, *value = path;

		if (last) {
			name = pattern++;
			path = end;
		} else if (pattern[0] == ':') {
			pattern = strchrnul(pattern, '/');
			while (path < end && *path != '/')
				path++;
			if (path == value)
				return false;
		} else if (pattern[0] == '\0' || path == end) {
			return pattern[0] == '\0' && path == end;
		} else {
			/* An encoded slash is a part of a name, never a separator. */
			char c = decode(path, (size_t)(end - path), &used);
			if (c != pattern[0] || (c == '/' && used != 1))
				return false;
			pattern++;
			path += used;
			continue;
		}
		if (params->count < GH__ROUTE_PARAMS_MAX) {
			params->at[params->count].name = name;
			params->at[params->count].name_len = (size_t)(pattern - name);
			params->at[params->count].value = value;
			params->at[params->count].value_len = (size_t)(path - value);
			params->count++;
		}
		if (last)
			return true;
	}
}

static size_t digits(const char *text)
{
	return strspn(text, "0123456789");
}

size_t gh__version_prefix(const char *path)
{
	size_t at = 2;

	if (path[0] != '/' || path[1] != 'v')
		return 0;
	for (int part = 0; part < 3; part++) {
		size_t count = digits(path + at);

		if (count == 0)
			return 0;
		at += count;
		if (part < 2 && path[at++] != '.')
			return 0;
	}
	if (path[at] == '-' || path[at] == '.' || path[at] == '+')
		at += strcspn(path + at, "/?");
	return path[at] == '/' || path[at] == '?' || path[at] == '\0' ? at : 0;
}
