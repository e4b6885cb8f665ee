#include "json/write.h"

#include <math.h>

#include "base/number.h"
#include "base/utf8.h"
#include "json/scan.h"

void gh__json_write_escaped(gh__buf *out, const char *text, size_t len)
{
	size_t at = 0;

	while (at < len) {
		size_t plain = gh__json_plain(text + at, len - at);
		uint32_t c;

		gh__buf_append(out, text + at, plain);
		at += plain;
		if (at == len)
			break;
		switch (text[at]) {
		case '"':
			gh__buf_append(out, "\\\"", 2);
			at++;
			continue;
		case '\\':
			gh__buf_append(out, "\\\\", 2);
			at++;
			continue;
		case '\n':
			gh__buf_append(out, "\\n", 2);
			at++;
			continue;
		case '\r':
			gh__buf_append(out, "\\r", 2);
			at++;
			continue;
		case '\t':
			gh__buf_append(out, "\\t", 2);
			at++;
			continue;
		case '\b':
			gh__buf_append(out, "\\b", 2);
			at++;
			continue;
		case '\f':
			gh__buf_append(out, "\\f", 2);
			at++;
			continue;
		}
		if ((unsigned char)text[at] < 0x20) {
			gh__buf_printf(out, "\\u%04x", text[at]);
			at++;
			continue;
		}
		int bytes = gh__utf8_decode(text + at, len - at, &c);
		if (bytes > 0) {
			gh__buf_append(out, text + at, (size_t)bytes);
			at += (size_t)bytes;
		} else {
			gh__buf_append(out, "\xef\xbf\xbd", 3);
			at += bytes < 0 ? (size_t)-bytes : len - at;
		}
	}
}

void gh__json_write_string(gh__buf *out, const char *text, size_t len)
{
	gh__buf_append_char(out, '"');
	gh__json_write_escaped(out, text, len);
	gh__buf_append_char(out, '"');
}

void gh__json_write_double(gh__buf *out, double value)
{
	char text[GH__DOUBLE_SIZE];

	if (isfinite(value))
		gh__buf_append(out, text, (size_t)gh__double_text(text, value));
	else
		gh__buf_append_str(out, "null");
}
