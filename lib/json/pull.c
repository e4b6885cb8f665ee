#include "json/pull.h"

#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/error.h"
#include "base/number.h"
#include "base/utf8.h"
#include "json/scan.h"

_Static_assert(GH__PULL_DEPTH <= 64, "one bit of `objects` a level");

typedef enum expected {
	VALUE,       /* a value and nothing else */
	FIRST_VALUE, /* behind '[': a value or ']' */
	FIRST_KEY,   /* behind '{': a key or '}' */
	MORE,        /* behind a value: ',' or the end of what it is in */
	FINISHED     /* behind the outermost value */
} expected;

struct gh__pull {
	const char *text;
	size_t len;
	size_t at;
	int depth;
	uint64_t objects; /* bit d: level d is an object, else an array */
	expected expected;
	const char *token; /* latest key, string or number */
	size_t token_len;
	gh__buf unescaped; /* backs token when something was escaped */
	gh_status status;
	const char *fault; /* what is wrong at `at`; a literal */
};

gh_status gh__pull_create(gh__pull **out, const char *text, size_t len, gh_error *error)
{
	gh__pull *pull = gh__calloc(1, sizeof *pull);

	*out = NULL;
	if (!pull)
		return gh__fail_nomem(error);
	pull->text = text;
	pull->len = len;
	pull->token = "";
	gh__buf_init(&pull->unescaped, len);
	*out = pull;
	return GH_OK;
}

void gh__pull_free(gh__pull *pull)
{
	if (!pull)
		return;
	gh__buf_free(&pull->unescaped);
	gh__free(pull);
}

static gh__pull_event fail(gh__pull *pull, gh_status status, size_t at, const char *fault)
{
	pull->status = status;
	pull->at = at;
	pull->fault = fault;
	pull->token = "";
	pull->token_len = 0;
	return GH__PULL_ERROR;
}

static gh__pull_event malformed(gh__pull *pull, size_t at, const char *fault)
{
	return fail(pull, GH_EFORMAT, at, at < pull->len ? fault : "the text ends too early");
}

static void skip_space(gh__pull *pull)
{
	size_t at = pull->at;

	while (at < pull->len && (pull->text[at] == ' ' || pull->text[at] == '\n' ||
				  pull->text[at] == '\r' || pull->text[at] == '\t'))
		at++;
	pull->at = at;
}

/* Four hexadecimal digits, or -1. */
static int32_t hex4(const gh__pull *pull, size_t at)
{
	int32_t value = 0;

	if (pull->len - at < 4)
		return -1;
	for (int i = 0; i < 4; i++) {
		char c = pull->text[at + (size_t)i];

		if (c >= '0' && c <= '9')
			value = value << 4 | (c - '0');
		else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
			value = value << 4 | ((c | 0x20) - 'a' + 10);
		else
			return -1;
	}
	return value;
}

/* The escape whose backslash is at *at; *at moves behind it. False: malformed() was called. */
static bool unescape(gh__pull *pull, size_t *at)
{
	static const char letters[] = "\"\"\\\\//b\bf\fn\nr\rt\t";
	size_t from = *at;
	char utf8[4];

	if (pull->len - from < 2) {
		malformed(pull, pull->len, "");
		return false;
	}
	char c = pull->text[from + 1];
	for (size_t i = 0; i + 1 < sizeof letters; i += 2)
		if (letters[i] == c) {
			gh__buf_append_char(&pull->unescaped, letters[i + 1]);
			*at = from + 2;
			return true;
		}
	if (c != 'u') {
		malformed(pull, from, "no such escape");
		return false;
	}
	int32_t unit = hex4(pull, from + 2);
	if (unit < 0) {
		malformed(pull, from, "expected four hexadecimal digits after \\u");
		return false;
	}
	*at = from + 6;
	if (unit >= 0xd800 && unit <= 0xdfff) {
		int32_t low = -1;

		if (unit <= 0xdbff && pull->len - *at >= 6 && pull->text[*at] == '\\' &&
		    pull->text[*at + 1] == 'u')
			low = hex4(pull, *at + 2);
		if (low < 0xdc00 || low > 0xdfff) {
			malformed(pull, from, "a surrogate without its other half");
			return false;
		}
		unit = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
		*at += 6;
	}
	gh__buf_append(&pull->unescaped, utf8, (size_t)gh__utf8_encode(utf8, (uint32_t)unit));
	return true;
}

/* The string whose opening quote is at pull->at. */
static gh__pull_event string(gh__pull *pull, gh__pull_event event)
{
	size_t from = pull->at + 1, at = from; /* from: what is not in `unescaped` yet */
	bool escaped = false;

	for (;;) {
		uint32_t c;

		at += gh__json_plain(pull->text + at, pull->len - at);
		if (at == pull->len)
			return malformed(pull, at, "");
		if (pull->text[at] == '"')
			break;
		if (pull->text[at] == '\\') {
			if (!escaped)
				gh__buf_reset(&pull->unescaped);
			escaped = true;
			gh__buf_append(&pull->unescaped, pull->text + from, at - from);
			if (!unescape(pull, &at))
				return GH__PULL_ERROR;
			from = at;
			continue;
		}
		if ((unsigned char)pull->text[at] < 0x20)
			return malformed(pull, at, "a control character in a string");
		int bytes = gh__utf8_decode(pull->text + at, pull->len - at, &c);
		if (bytes == 0)
			return malformed(pull, pull->len, "");
		if (bytes < 0)
			return malformed(pull, at, "invalid UTF-8 in a string");
		at += (size_t)bytes;
	}
	pull->token = pull->text + from;
	pull->token_len = at - from;
	if (escaped) {
		gh__buf_append(&pull->unescaped, pull->text + from, at - from);
		if (gh__buf_status(&pull->unescaped) != GH_OK)
			return fail(pull, GH_ENOMEM, pull->at, "out of memory");
		pull->token = gh__buf_str(&pull->unescaped);
		pull->token_len = pull->unescaped.len;
	}
	pull->at = at + 1;
	return event;
}

static size_t digits(const gh__pull *pull, size_t at)
{
	while (at < pull->len && pull->text[at] >= '0' && pull->text[at] <= '9')
		at++;
	return at;
}

static gh__pull_event number(gh__pull *pull)
{
	size_t at = pull->at, from;

	if (pull->text[at] == '-')
		at++;
	from = at;
	at = digits(pull, at);
	if (at == from)
		return malformed(pull, at, "expected a digit");
	if (pull->text[from] == '0' && at > from + 1)
		return malformed(pull, from + 1, "a number begins with 0");
	if (at < pull->len && pull->text[at] == '.') {
		from = at + 1;
		at = digits(pull, from);
		if (at == from)
			return malformed(pull, at, "expected a digit");
	}
	if (at < pull->len && (pull->text[at] | 0x20) == 'e') {
		from = at + 1;
		if (from < pull->len && (pull->text[from] == '+' || pull->text[from] == '-'))
			from++;
		at = digits(pull, from);
		if (at == from)
			return malformed(pull, at, "expected a digit");
	}
	pull->token = pull->text + pull->at;
	pull->token_len = at - pull->at;
	pull->at = at;
	return GH__PULL_NUMBER;
}

static gh__pull_event word(gh__pull *pull, const char *text, gh__pull_event event)
{
	size_t len = strlen(text);

	for (size_t i = 0; i < len; i++)
		if (pull->at + i == pull->len || pull->text[pull->at + i] != text[i])
			return malformed(pull, pull->at + i == pull->len ? pull->len : pull->at,
					 "expected a value");
	pull->at += len;
	return event;
}

static void after_value(gh__pull *pull)
{
	pull->expected = pull->depth ? MORE : FINISHED;
}

static gh__pull_event open(gh__pull *pull, bool object)
{
	if (pull->depth == GH__PULL_DEPTH)
		return fail(pull, GH_ETOOBIG, pull->at, "nested more than 64 levels deep");
	if (object)
		pull->objects |= UINT64_C(1) << pull->depth;
	else
		pull->objects &= ~(UINT64_C(1) << pull->depth);
	pull->depth++;
	pull->at++;
	pull->expected = object ? FIRST_KEY : FIRST_VALUE;
	return object ? GH__PULL_OBJECT : GH__PULL_ARRAY;
}

static gh__pull_event close(gh__pull *pull, gh__pull_event event)
{
	pull->depth--;
	pull->at++;
	after_value(pull);
	return event;
}

static gh__pull_event value(gh__pull *pull)
{
	gh__pull_event event;

	if (pull->at == pull->len)
		return malformed(pull, pull->len, "");
	switch (pull->text[pull->at]) {
	case '{':
		return open(pull, true);
	case '[':
		return open(pull, false);
	case '"':
		event = string(pull, GH__PULL_STRING);
		break;
	case 't':
		event = word(pull, "true", GH__PULL_TRUE);
		break;
	case 'f':
		event = word(pull, "false", GH__PULL_FALSE);
		break;
	case 'n':
		event = word(pull, "null", GH__PULL_NULL);
		break;
	case '-':
	case '0':
	case '1':
	case '2':
	case '3':
	case '4':
	case '5':
	case '6':
	case '7':
	case '8':
	case '9':
		event = number(pull);
		break;
	default:
		return malformed(pull, pull->at, "expected a value");
	}
	if (event != GH__PULL_ERROR)
		after_value(pull);
	return event;
}

static gh__pull_event key(gh__pull *pull, const char *otherwise)
{
	if (pull->at == pull->len || pull->text[pull->at] != '"')
		return malformed(pull, pull->at, otherwise);
	if (string(pull, GH__PULL_KEY) == GH__PULL_ERROR)
		return GH__PULL_ERROR;
	skip_space(pull);
	if (pull->at == pull->len || pull->text[pull->at] != ':')
		return malformed(pull, pull->at, "expected ':' after a key");
	pull->at++;
	pull->expected = VALUE;
	return GH__PULL_KEY;
}

gh__pull_event gh__pull_next(gh__pull *pull)
{
	if (pull->status != GH_OK)
		return GH__PULL_ERROR;
	pull->token = "";
	pull->token_len = 0;
	skip_space(pull);

	char c = pull->at < pull->len ? pull->text[pull->at] : '\0';
	switch (pull->expected) {
	case VALUE:
		return value(pull);
	case FIRST_VALUE:
		return c == ']' ? close(pull, GH__PULL_ARRAY_END) : value(pull);
	case FIRST_KEY:
		if (c == '}')
			return close(pull, GH__PULL_OBJECT_END);
		return key(pull, "expected a key or '}'");
	case MORE:
		if (pull->objects >> (pull->depth - 1) & 1) {
			if (c == '}')
				return close(pull, GH__PULL_OBJECT_END);
			if (c != ',')
				return malformed(pull, pull->at, "expected ',' or '}'");
			pull->at++;
			skip_space(pull);
			return key(pull, "expected a key");
		}
		if (c == ']')
			return close(pull, GH__PULL_ARRAY_END);
		if (c != ',')
			return malformed(pull, pull->at, "expected ',' or ']'");
		pull->at++;
		skip_space(pull);
		return value(pull);
	case FINISHED:
		break;
	}
	if (pull->at < pull->len)
		return malformed(pull, pull->at, "something follows the value");
	return GH__PULL_END;
}

gh_status gh__pull_skip(gh__pull *pull)
{
	int depth = pull->depth;
	gh__pull_event event = gh__pull_next(pull);

	if (event == GH__PULL_KEY)
		event = gh__pull_next(pull);
	if (event == GH__PULL_END || pull->depth < depth)
		return GH_ENOENT;
	while (event != GH__PULL_ERROR && pull->depth > depth)
		event = gh__pull_next(pull);
	return pull->status;
}

const char *gh__pull_text(const gh__pull *pull, size_t *len)
{
	*len = pull->token_len;
	return pull->token;
}

bool gh__pull_is(const gh__pull *pull, const char *text)
{
	size_t len = strlen(text);

	return pull->token_len == len && memcmp(pull->token, text, len) == 0;
}

bool gh__pull_int(const gh__pull *pull, int64_t *out)
{
	char text[24];

	if (pull->token_len == 0 || pull->token_len >= sizeof text)
		return false;
	memcpy(text, pull->token, pull->token_len);
	text[pull->token_len] = '\0';
	return gh__parse_int64(text, out);
}

bool gh__pull_double(const gh__pull *pull, double *out)
{
	char local[64], *text = local;

	if (pull->token_len >= sizeof local)
		text = gh__malloc(pull->token_len + 1);
	if (!text)
		return false;
	memcpy(text, pull->token, pull->token_len);
	text[pull->token_len] = '\0';
	bool good = gh__parse_double(text, out);
	if (text != local)
		gh__free(text);
	return good;
}

size_t gh__pull_offset(const gh__pull *pull)
{
	return pull->at;
}

gh_status gh__pull_error(const gh__pull *pull, const char *name, gh_error *error)
{
	size_t line = 1, column = 1;

	if (pull->status == GH_OK)
		return GH_OK;
	for (size_t at = 0; at < pull->at; at++) {
		unsigned char c = (unsigned char)pull->text[at];

		if (c == '\n') {
			line++;
			column = 1;
		} else if (c < 0x80 || c >= 0xc0) {
			column++; /* a character's first byte */
		}
	}
	bool named = name && *name;
	return gh__fail(error, pull->status, "%s%sline %zu, column %zu: %s", named ? name : "",
			named ? ": " : "", line, column, pull->fault);
}
