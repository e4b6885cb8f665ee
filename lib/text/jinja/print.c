#include "text/jinja/value.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include <utf8proc.h>

#include "base/number.h"
#include "base/utf8.h"

#define MAX_LEVELS 100

static bool print(jinja_run *run, const jinja_value *value, gh__buf *out, bool quoted, int levels);

/* In Jinja's words. */
bool gh__jinja_fail_undefined(jinja_run *run, const jinja_value *undefined)
{
	jinja_value object = { .kind = undefined->form };
	int len = (int)(undefined->len < 100 ? undefined->len : 100);
	const char *name = undefined->u.text;

	if (!undefined->form)
		return gh__jinja_fail(run, GH_EINVAL, "'%.*s' is undefined", len, name);
	if (undefined->form == JINJA_NONE)
		return gh__jinja_fail(run, GH_EINVAL, "'None' has no attribute '%.*s'", len, name);
	/* A missing element of a list or string is named by its number. */
	if (undefined->form != JINJA_DICT && len &&
	    (*name == '-' || (*name >= '0' && *name <= '9')))
		return gh__jinja_fail(run, GH_EINVAL, "%s object has no element %.*s",
				      gh__jinja_kind_name(&object), len, name);
	return gh__jinja_fail(run, GH_EINVAL, "'%s object' has no attribute '%.*s'",
			      gh__jinja_kind_name(&object), len, name);
}

/* As Python's str.isprintable(), for one character. */
static bool printable(uint32_t c)
{
	if (c < 0x7f)
		return c >= 0x20;
	switch (utf8proc_category((utf8proc_int32_t)c)) {
	case UTF8PROC_CATEGORY_CC:
	case UTF8PROC_CATEGORY_CF:
	case UTF8PROC_CATEGORY_CS:
	case UTF8PROC_CATEGORY_CO:
	case UTF8PROC_CATEGORY_CN:
	case UTF8PROC_CATEGORY_ZL:
	case UTF8PROC_CATEGORY_ZP:
	case UTF8PROC_CATEGORY_ZS:
		return false;
	default:
		return true;
	}
}

static void print_quoted(const char *text, size_t len, gh__buf *out)
{
	static const char letters[] = "\n\r\t\\";
	static const char escapes[] = "nrt\\";
	char quote = len && memchr(text, '\'', len) && !memchr(text, '"', len) ? '"' : '\'';

	gh__buf_append_char(out, quote);
	for (size_t i = 0; i < len;) {
		uint32_t c;
		int n = gh__utf8_decode(text + i, len - i, &c);
		const char *known;

		if (n <= 0)
			break;
		known = c && c < 0x80 ? strchr(letters, (int)c) : NULL;
		if (known || c == (uint32_t)quote) {
			gh__buf_append_char(out, '\\');
			gh__buf_append_char(out, known ? escapes[known - letters] : quote);
		} else if (printable(c)) {
			gh__buf_append(out, text + i, (size_t)n);
		} else {
			gh__buf_printf(out,
				       c < 0x100     ? "\\x%02x"
				       : c < 0x10000 ? "\\u%04x"
						     : "\\U%08x",
				       (unsigned)c);
		}
		i += (size_t)n;
	}
	gh__buf_append_char(out, quote);
}

static bool print_list(jinja_run *run, const jinja_value *value, gh__buf *out, int levels)
{
	bool tuple = value->kind == JINJA_TUPLE;
	jinja_list list = gh__jinja_list_of(value);

	gh__buf_append_char(out, tuple ? '(' : '[');
	for (size_t i = 0; i < list.count; i++) {
		jinja_value item = gh__jinja_list_at(&list, i);

		if (i)
			gh__buf_append_str(out, ", ");
		if (!print(run, &item, out, true, levels + 1))
			return false;
	}
	gh__buf_append_str(out, tuple && list.count == 1 ? ",)" : tuple ? ")" : "]");
	return true;
}

static bool print_dict(jinja_run *run, const jinja_value *value, gh__buf *out, int levels)
{
	jinja_value key, member;
	const char *between = "";
	void *cursor = NULL;

	gh__buf_append_char(out, '{');
	while (gh__jinja_dict_next(value, &cursor, &key, &member)) {
		gh__buf_append_str(out, between);
		between = ", ";
		if (!print(run, &key, out, true, levels + 1))
			return false;
		gh__buf_append_str(out, ": ");
		if (!print(run, &member, out, true, levels + 1))
			return false;
	}
	gh__buf_append_char(out, '}');
	return true;
}

static void print_float(double value, gh__buf *out)
{
	char digits[GH__DOUBLE_SIZE];

	if (isfinite(value)) {
		gh__double_text(digits, value);
		gh__buf_append_str(out, digits);
	} else {
		gh__buf_append_str(out, isnan(value) ? "nan" : value < 0 ? "-inf" : "inf");
	}
}

static bool print(jinja_run *run, const jinja_value *value, gh__buf *out, bool quoted, int levels)
{
	if (levels > MAX_LEVELS)
		return gh__jinja_fail(run, GH_ETOOBIG, "values nested more than %d levels deep",
				      MAX_LEVELS);
	if (!gh__jinja_charge(run, 1))
		return false;
	switch (value->kind) {
	case JINJA_UNDEFINED:
		if (quoted)
			gh__buf_append_str(out, "Undefined");
		return true;
	case JINJA_NONE:
		gh__buf_append_str(out, "None");
		return true;
	case JINJA_BOOL:
		gh__buf_append_str(out, value->u.integer ? "True" : "False");
		return true;
	case JINJA_INT:
		gh__buf_printf(out, "%" PRId64, value->u.integer);
		return true;
	case JINJA_FLOAT:
		print_float(value->u.real, out);
		return true;
	case JINJA_STRING:
		if (quoted)
			print_quoted(value->u.text, value->len, out);
		else
			gh__buf_append(out, value->u.text, value->len);
		return gh__jinja_charge_bytes(run, value->len);
	case JINJA_LIST:
	case JINJA_TUPLE:
		return print_list(run, value, out, levels);
	case JINJA_DICT:
		return print_dict(run, value, out, levels);
	default:
		return gh__jinja_fail(run, GH_EINVAL, "a %s cannot be printed",
				      gh__jinja_kind_name(value));
	}
}

bool gh__jinja_print(jinja_run *run, const jinja_value *value, gh__buf *out)
{
	return print(run, value, out, false, 0);
}

bool gh__jinja_string(jinja_run *run, const jinja_value *value, jinja_value *out)
{
	gh__buf text = GH__BUF_INIT(GH__JINJA_MAX_OUTPUT);

	if (value->kind == JINJA_STRING) {
		*out = *value;
		return true;
	}
	if (!print(run, value, &text, false, 0)) {
		gh__buf_free(&text);
		return false;
	}
	return gh__jinja_take_buf(run, &text, out);
}
