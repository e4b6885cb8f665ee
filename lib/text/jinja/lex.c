#include "text/jinja/node.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/number.h"
#include "base/utf8.h"

bool gh__jinja_syntax(jinja_lexer *lexer, gh_status status, uint32_t line, const char *format, ...)
{
	char text[sizeof(((gh_error *)0)->text)];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (lexer->status == GH_OK)
		lexer->status = gh__fail(lexer->error, status, "line %u: %s", (unsigned)line, text);
	return false;
}

bool gh__jinja_is_space(uint32_t c)
{
	return (c >= 9 && c <= 13) || (c >= 28 && c <= 32) || c == 0x85 || c == 0xa0 ||
	       c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 ||
	       c == 0x202f || c == 0x205f || c == 0x3000;
}

void gh__jinja_lexer_init(jinja_lexer *lexer, jinja_arena *arena, const char *text, size_t len,
			  gh_error *error)
{
	*lexer = (jinja_lexer){
		.arena = arena, .text = text, .len = len, .line = 1, .error = error
	};
}

static void move_to(jinja_lexer *lexer, size_t at)
{
	for (size_t i = lexer->at; i < at; i++)
		lexer->line += lexer->text[i] == '\n';
	lexer->at = at;
}

static char byte_at(const jinja_lexer *lexer, size_t at)
{
	return at < lexer->len ? lexer->text[at] : '\0';
}

/* First byte at or behind from that is no white space. */
static size_t skip_space(const jinja_lexer *lexer, size_t from)
{
	while (from < lexer->len) {
		uint32_t c;
		int n = gh__utf8_decode(lexer->text + from, lexer->len - from, &c);

		if (n <= 0 || !gh__jinja_is_space(c))
			break;
		from += (size_t)n;
	}
	return from;
}

/* End of text[from, to) without the white space it ends with. */
static size_t strip_end(const jinja_lexer *lexer, size_t from, size_t to)
{
	size_t end = from;

	while (from < to) {
		uint32_t c;
		int n = gh__utf8_decode(lexer->text + from, to - from, &c);

		if (n <= 0)
			return to;
		from += (size_t)n;
		if (!gh__jinja_is_space(c))
			end = from;
	}
	return end;
}

/* End of the text between from and a tag at to: "-" strips it, and a tag, unless it prints, takes
 * the white space with it that stands before it on its line. */
static size_t text_end(const jinja_lexer *lexer, size_t from, size_t to, bool prints)
{
	char sign = byte_at(lexer, to + 2);
	size_t line = to;

	if (sign == '-')
		return strip_end(lexer, from, to);
	if (sign == '+' || prints)
		return to;
	while (line > from && lexer->text[line - 1] != '\n')
		line--;
	if (line > 0 && lexer->text[line - 1] != '\n')
		return to;
	return skip_space(lexer, line) >= to ? line : to;
}

/* Behind a tag's end at `at`, which is (sign) close "}"; 0: there is none at `at`. The newline that
 * follows belongs to the tag, unless "+" or it prints; white space does behind "-". */
static size_t tag_end(const jinja_lexer *lexer, size_t at, char close, bool trims)
{
	char sign = byte_at(lexer, at);

	if (sign == '-' || (sign == '+' && trims))
		at++;
	else
		sign = 0;
	if (byte_at(lexer, at) != close || byte_at(lexer, at + 1) != '}')
		return 0;
	at += 2;
	if (sign == '-')
		return skip_space(lexer, at);
	return !sign && trims && byte_at(lexer, at) == '\n' ? at + 1 : at;
}

static size_t find_pair(const jinja_lexer *lexer, size_t from, char a, char b)
{
	for (; from + 1 < lexer->len; from++) {
		if (lexer->text[from] == a && lexer->text[from + 1] == b)
			return from;
	}
	return lexer->len;
}

static bool skip_comment(jinja_lexer *lexer, size_t begin)
{
	size_t body = begin + 2;
	char sign = byte_at(lexer, body);
	size_t end;

	if (sign == '-' || sign == '+')
		body++;
	end = find_pair(lexer, body, '#', '}');
	if (end >= lexer->len)
		return gh__jinja_syntax(lexer, GH_EFORMAT, lexer->line, "a comment has no end");
	sign = end > body ? lexer->text[end - 1] : 0;
	move_to(lexer, tag_end(lexer, sign == '-' || sign == '+' ? end - 1 : end, '#', true));
	return true;
}

/* Is {% at `at` followed by word and the end of the tag? Answers what lies behind it, 0: no. */
static size_t word_tag(const jinja_lexer *lexer, size_t at, const char *word, bool trims)
{
	size_t len = strlen(word);
	char sign;

	at += 2;
	sign = byte_at(lexer, at);
	if (sign == '-' || sign == '+')
		at++;
	at = skip_space(lexer, at);
	if (lexer->len - at < len || memcmp(lexer->text + at, word, len) != 0)
		return 0;
	at = skip_space(lexer, at + len);
	return tag_end(lexer, at, '%', trims);
}

/* What stands between {% raw %}, whose end is at begin, and {% endraw %}. */
static bool raw_text(jinja_lexer *lexer, size_t begin, jinja_token *out)
{
	move_to(lexer, begin);
	for (size_t at = begin;; at += 2) {
		size_t end;

		at = find_pair(lexer, at, '{', '%');
		if (at >= lexer->len)
			return gh__jinja_syntax(lexer, GH_EFORMAT, lexer->line,
						"a raw section has no end");
		end = word_tag(lexer, at, "endraw", true);
		if (!end)
			continue;
		out->type = TOKEN_TEXT;
		out->line = lexer->line;
		out->text = lexer->text + begin;
		out->len = text_end(lexer, begin, at, false) - begin;
		move_to(lexer, end);
		return true;
	}
}

/* The next text or the begin of a tag. Comments vanish; empty texts are left out. */
static bool next_outside(jinja_lexer *lexer, jinja_token *out)
{
	while (lexer->at < lexer->len) {
		size_t begin = lexer->at;
		size_t tag = begin;
		size_t end;
		char kind;

		for (;; tag++) {
			const char *brace = memchr(lexer->text + tag, '{', lexer->len - tag);

			tag = brace ? (size_t)(brace - lexer->text) : lexer->len;
			kind = byte_at(lexer, tag + 1);
			if (tag >= lexer->len || kind == '{' || kind == '%' || kind == '#')
				break;
		}
		end = tag < lexer->len ? text_end(lexer, begin, tag, kind == '{') : tag;
		out->line = lexer->line;
		move_to(lexer, tag);
		if (end > begin) {
			out->type = TOKEN_TEXT;
			out->text = lexer->text + begin;
			out->len = end - begin;
			return true;
		}
		if (tag >= lexer->len)
			break;
		if (kind == '#') {
			if (!skip_comment(lexer, tag))
				return false;
			continue;
		}
		end = kind == '%' ? word_tag(lexer, tag, "raw", false) : 0;
		if (end) {
			if (!raw_text(lexer, end, out))
				return false;
			if (out->len)
				return true;
			continue;
		}
		out->type = lexer->mode = kind == '{' ? TOKEN_PRINT : TOKEN_TAG;
		out->line = lexer->line;
		out->text = lexer->text + tag;
		out->len = 2;
		kind = byte_at(lexer, tag + 2);
		lexer->at = tag + 2 + (kind == '-' || kind == '+');
		lexer->brackets = 0;
		return true;
	}
	out->type = TOKEN_END;
	out->line = lexer->line;
	out->text = "";
	out->len = 0;
	return true;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_name(char c)
{
	return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
	       (c & 0x80);
}

/* Behind digits and the single underscores among them. */
static size_t skip_digits(const jinja_lexer *lexer, size_t at)
{
	while (is_digit(byte_at(lexer, at)) ||
	       (byte_at(lexer, at) == '_' && is_digit(byte_at(lexer, at + 1))))
		at++;
	return at;
}

static bool next_number(jinja_lexer *lexer, jinja_token *out)
{
	size_t begin = lexer->at;
	size_t end = skip_digits(lexer, begin);
	size_t exponent;
	bool real = false;
	char digits[64];
	size_t n = 0;

	if (begin == 0 || lexer->text[begin - 1] != '.') {
		if (byte_at(lexer, end) == '.' && is_digit(byte_at(lexer, end + 1))) {
			real = true;
			end = skip_digits(lexer, end + 1);
		}
		if ((byte_at(lexer, end) | 0x20) == 'e') {
			exponent = end + 1;
			if (byte_at(lexer, exponent) == '+' || byte_at(lexer, exponent) == '-')
				exponent++;
			if (is_digit(byte_at(lexer, exponent))) {
				real = true;
				end = skip_digits(lexer, exponent);
			}
		}
	}
	for (size_t i = begin; i < end; i++) {
		if (lexer->text[i] != '_' && n < sizeof(digits) - 1)
			digits[n++] = lexer->text[i];
	}
	digits[n] = '\0';
	out->type = real ? TOKEN_FLOAT : TOKEN_INT;
	out->text = lexer->text + begin;
	out->len = end - begin;
	if (is_name(byte_at(lexer, end)) ||
	    (!real && n > 1 && digits[0] == '0' && strspn(digits, "0") != n) ||
	    n == sizeof(digits) - 1 ||
	    !(real ? gh__parse_double(digits, &out->real) : gh__parse_int64(digits, &out->integer)))
		return gh__jinja_syntax(lexer, GH_EFORMAT, lexer->line,
					"\"%.*s\" is not a number of 64 bits",
					(int)(out->len < 80 ? out->len : 80), out->text);
	lexer->at = end;
	return true;
}

static bool next_string(jinja_lexer *lexer, jinja_token *out)
{
	char quote = lexer->text[lexer->at];
	size_t begin = lexer->at + 1;
	size_t end = begin;

	while (end < lexer->len && lexer->text[end] != quote)
		end += lexer->text[end] == '\\' ? 2 : 1;
	if (end >= lexer->len)
		return gh__jinja_syntax(lexer, GH_EFORMAT, lexer->line, "a string has no end");
	out->type = TOKEN_STRING;
	if (!gh__jinja_unescape(lexer, lexer->text + begin, end - begin, out))
		return false;
	move_to(lexer, end + 1);
	return true;
}

static bool next_operator(jinja_lexer *lexer, jinja_token *out)
{
	static const struct {
		char text[3];
		int type;
	} doubles[] = {
		{ "==", TOKEN_EQ }, { "!=", TOKEN_NE },    { "<=", TOKEN_LE },
		{ ">=", TOKEN_GE }, { "//", TOKEN_FLOOR }, { "**", TOKEN_POWER },
	};
	char c = lexer->text[lexer->at];

	out->text = lexer->text + lexer->at;
	out->len = 1;
	out->type = (unsigned char)c;
	for (size_t i = 0; i < sizeof(doubles) / sizeof(doubles[0]); i++) {
		if (c == doubles[i].text[0] &&
		    byte_at(lexer, lexer->at + 1) == doubles[i].text[1]) {
			out->type = doubles[i].type;
			out->len = 2;
		}
	}
	if (out->len == 1 && (!c || !strchr("+-*/%~<>=()[]{}.,:|;", c)))
		return gh__jinja_syntax(lexer, GH_EFORMAT, lexer->line, "unexpected character '%c'",
					c > ' ' ? c : '?');
	if (strchr("([{", out->type))
		lexer->brackets++;
	else if (strchr(")]}", out->type) && lexer->brackets)
		lexer->brackets--;
	lexer->at += out->len;
	return true;
}

bool gh__jinja_next(jinja_lexer *lexer, jinja_token *out)
{
	size_t end;
	char c;

	if (!lexer->mode)
		return next_outside(lexer, out);
	move_to(lexer, skip_space(lexer, lexer->at));
	out->line = lexer->line;
	if (lexer->at >= lexer->len)
		return gh__jinja_syntax(lexer, GH_EFORMAT, lexer->line,
					"the template ends within a tag");
	end = lexer->brackets ? 0
			      : tag_end(lexer, lexer->at, lexer->mode == TOKEN_TAG ? '%' : '}',
					lexer->mode == TOKEN_TAG);
	if (end) {
		out->type = lexer->mode == TOKEN_TAG ? TOKEN_TAG_END : TOKEN_PRINT_END;
		out->text = lexer->text + lexer->at;
		out->len = 2;
		move_to(lexer, end);
		lexer->mode = 0;
		return true;
	}
	c = lexer->text[lexer->at];
	if (is_digit(c))
		return next_number(lexer, out);
	if (c == '"' || c == '\'')
		return next_string(lexer, out);
	if (!is_name(c))
		return next_operator(lexer, out);
	end = lexer->at;
	while (end < lexer->len && is_name(lexer->text[end]) && skip_space(lexer, end) == end)
		end++;
	out->type = TOKEN_NAME;
	out->text = lexer->text + lexer->at;
	out->len = end - lexer->at;
	lexer->at = end;
	return true;
}
