#include "text/jinja/node.h"

#include <string.h>

#include "base/utf8.h"

/*
 * Escapes of string literals, as Python reads them: an unknown one keeps its backslash.
 */

static int digit_of(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : 99;
}

/* Digits at text[*at], at most `most` of them; answers how many there were. */
static size_t read_digits(const char *text, size_t len, size_t *at, size_t most, int base,
			  uint32_t *out)
{
	size_t n = 0;

	*out = 0;
	while (n < most && *at < len && digit_of(text[*at]) < base) {
		*out = *out * (uint32_t)base + (uint32_t)digit_of(text[*at]);
		++*at;
		n++;
	}
	return n;
}

/* The character behind a backslash at *at that is written as a number. */
static bool read_number(jinja_lexer *lexer, const char *text, size_t len, size_t *at, char **out)
{
	char c = text[*at];
	size_t want = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
	uint32_t code;

	if (want)
		++*at;
	if (read_digits(text, len, at, want ? want : 3, want ? 16 : 8, &code) < want)
		return gh__jinja_syntax(lexer, GH_EFORMAT, lexer->line,
					"escape \\%c: expected %zu hexadecimal digits", c, want);
	if (code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
		return gh__jinja_syntax(lexer, GH_ENOTSUP, lexer->line,
					"escape \\%c: %x is not a character", c, (unsigned)code);
	*out += gh__utf8_encode(*out, code);
	return true;
}

bool gh__jinja_unescape(jinja_lexer *lexer, const char *text, size_t len, jinja_token *out)
{
	static const char letters[] = "abfnrtv\\'\"";
	static const char values[] = "\a\b\f\n\r\t\v\\'\"";
	char *start;
	char *to;

	if (!memchr(text, '\\', len)) {
		out->text = text;
		out->len = len;
		return true;
	}
	/* No escape is shorter than the character it stands for. */
	start = to = gh__jinja_alloc(lexer->arena, len, 1);
	if (!start)
		return gh__jinja_syntax(lexer, lexer->arena->status, lexer->line, "no memory left");
	for (size_t at = 0; at < len;) {
		const char *known;
		char c = text[at++];

		if (c != '\\') {
			*to++ = c;
			continue;
		}
		c = text[at]; /* a literal does not end in a backslash */
		known = c ? strchr(letters, c) : NULL;
		if (known) {
			*to++ = values[known - letters];
			at++;
		} else if (c == '\n') {
			at++;
		} else if (c == 'N') {
			return gh__jinja_syntax(lexer, GH_ENOTSUP, lexer->line,
						"escape \\N is not supported");
		} else if (c == 'x' || c == 'u' || c == 'U' || (c >= '0' && c <= '7')) {
			if (!read_number(lexer, text, len, &at, &to))
				return false;
		} else {
			*to++ = '\\';
		}
	}
	out->text = start;
	out->len = (size_t)(to - start);
	return true;
}
