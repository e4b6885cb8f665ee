#include "base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"

#define LINE_SIZE 1024

/* The one piece of global state: where log lines go. most is 0 while nobody listens. */
static gh_log_fn *sink_fn;
static void *sink_userdata;
static atomic_int sink_most;

void gh_log_set(gh_log_fn *fn, void *userdata, gh_log_level most)
{
	atomic_store(&sink_most, 0);
	sink_fn = fn;
	sink_userdata = userdata;
	atomic_store(&sink_most, fn ? (int)most : 0);
}

bool gh__log_enabled(gh_log_level level)
{
	return (int)level <= atomic_load_explicit(&sink_most, memory_order_acquire);
}

/* One line, whatever was in the values: control characters and invalid bytes become escapes. */
static void escape_line(char out[LINE_SIZE], const char *text, size_t len)
{
	size_t at = 0, written = 0;

	while (at < len) {
		char piece[8];
		uint32_t c;
		int bytes = gh__utf8_decode(text + at, len - at, &c);
		size_t size;

		if (bytes <= 0 || c < 0x20 || c == 0x7f) {
			unsigned char byte = (unsigned char)text[at];

			bytes = 1;
			if (byte == '\n')
				size = (size_t)snprintf(piece, sizeof piece, "\\n");
			else
				size = (size_t)snprintf(piece, sizeof piece, "\\x%02x", byte);
		} else {
			size = (size_t)bytes;
			memcpy(piece, text + at, size);
		}
		if (written + size >= LINE_SIZE)
			break;
		memcpy(out + written, piece, size);
		written += size;
		at += (size_t)bytes;
	}
	out[written] = '\0';
}

void gh__log(gh_log_level level, const char *component, const char *format, ...)
{
	char raw[LINE_SIZE], line[LINE_SIZE];
	va_list args;

	if (!gh__log_enabled(level))
		return;
	va_start(args, format);
	int len = vsnprintf(raw, sizeof raw, format, args);
	va_end(args);
	if (len < 0)
		return;
	escape_line(line, raw, strlen(raw));
	sink_fn(level, component, line, sink_userdata);
}
