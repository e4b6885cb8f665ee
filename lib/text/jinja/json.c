#include "text/jinja/value.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/number.h"
#include "base/utf8.h"

/*
 * The filter tojson: Python's json.dumps(), which by default writes characters as they are.
 */
#define MAX_LEVELS 100

typedef struct json_style {
	bool ascii;
	bool sorted;
	const char *indent; /* NULL: all on one line */
	size_t indent_len;
	jinja_value comma;
	jinja_value colon;
} json_style;

static bool write_value(jinja_run *run, const json_style *style, const jinja_value *value,
			gh__buf *out, int level);

static void write_escape(uint32_t c, gh__buf *out)
{
	if (c >= 0x10000) {
		c -= 0x10000;
		gh__buf_printf(out, "\\u%04x", 0xd800 + (unsigned)(c >> 10));
		c = 0xdc00 + (c & 0x3ff);
	}
	gh__buf_printf(out, "\\u%04x", (unsigned)c);
}

static void write_text(const json_style *style, const char *text, size_t len, gh__buf *out)
{
	static const char letters[] = "\"\\\n\r\t\f\b";
	static const char escapes[] = "\"\\nrtfb";
	size_t plain = 0; /* where the run of characters begins that need no escape */

	gh__buf_append_char(out, '"');
	for (size_t i = 0; i < len;) {
		unsigned char byte = (unsigned char)text[i];
		const char *known = byte && byte < 0x80 ? strchr(letters, byte) : NULL;
		bool beyond = byte >= 0x7f && style->ascii;
		uint32_t c = byte;
		int n = 1;

		if (beyond)
			n = gh__utf8_decode(text + i, len - i, &c);
		if (n <= 0)
			break;
		if (known || byte < 0x20 || beyond) {
			gh__buf_append(out, text + plain, i - plain);
			plain = i + (size_t)n;
			if (known) {
				gh__buf_append_char(out, '\\');
				gh__buf_append_char(out, escapes[known - letters]);
			} else {
				write_escape(c, out);
			}
		}
		i += (size_t)n;
	}
	if (plain < len)
		gh__buf_append(out, text + plain, len - plain);
	gh__buf_append_char(out, '"');
}

static void write_float(double value, gh__buf *out)
{
	char digits[GH__DOUBLE_SIZE];

	if (isfinite(value)) {
		gh__double_text(digits, value);
		gh__buf_append_str(out, digits);
	} else {
		gh__buf_append_str(out, isnan(value) ? "NaN"
					: value < 0  ? "-Infinity"
						     : "Infinity");
	}
}

static void write_line(const json_style *style, int level, gh__buf *out)
{
	if (!style->indent)
		return;
	gh__buf_append_char(out, '\n');
	for (int i = 0; i < level; i++)
		gh__buf_append(out, style->indent, style->indent_len);
}

static bool write_list(jinja_run *run, const json_style *style, const jinja_value *value,
		       gh__buf *out, int level)
{
	jinja_list list = gh__jinja_list_of(value);

	gh__buf_append_char(out, '[');
	for (size_t i = 0; i < list.count; i++) {
		jinja_value item = gh__jinja_list_at(&list, i);

		if (i)
			gh__buf_append(out, style->comma.u.text, style->comma.len);
		write_line(style, level + 1, out);
		if (!write_value(run, style, &item, out, level + 1))
			return false;
	}
	if (list.count)
		write_line(style, level, out);
	gh__buf_append_char(out, ']');
	return true;
}

/* Keys that are no strings are written as their JSON, in quotes. */
static bool write_key(jinja_run *run, const json_style *style, const jinja_value *key, gh__buf *out)
{
	if (key->kind == JINJA_STRING) {
		write_text(style, key->u.text, key->len, out);
		return true;
	}
	if (!gh__jinja_is_number(key) && key->kind != JINJA_NONE)
		return gh__jinja_fail(run, GH_EINVAL, "tojson: a key cannot be a '%s'",
				      gh__jinja_kind_name(key));
	gh__buf_append_char(out, '"');
	if (!write_value(run, style, key, out, 0))
		return false;
	gh__buf_append_char(out, '"');
	return true;
}

/* The items of a dict in the order of their keys. */
static bool sort_pairs(jinja_run *run, const jinja_value *dict, jinja_list *out)
{
	const jinja_value by_case = gh__jinja_bool(true);
	const jinja_call call = { .args = &by_case, .count = 1 };
	jinja_value pairs;

	if (!gh__jinja_invoke(run, gh__jinja_find_filter("dictsort", 8), dict, &call, &pairs))
		return false;
	*out = gh__jinja_list_of(&pairs);
	return true;
}

static bool write_dict(jinja_run *run, const json_style *style, const jinja_value *value,
		       gh__buf *out, int level)
{
	jinja_list list = { .step = 1 };
	jinja_value key, member;
	void *cursor = NULL;
	size_t count = gh__jinja_dict_count(value);

	if (style->sorted && !sort_pairs(run, value, &list))
		return false;
	gh__buf_append_char(out, '{');
	for (size_t i = 0; i < count; i++) {
		if (style->sorted) {
			jinja_value pair = gh__jinja_list_at(&list, i);
			jinja_list two = gh__jinja_list_of(&pair);

			key = gh__jinja_list_at(&two, 0);
			member = gh__jinja_list_at(&two, 1);
		} else if (!gh__jinja_dict_next(value, &cursor, &key, &member)) {
			break;
		}
		if (i)
			gh__buf_append(out, style->comma.u.text, style->comma.len);
		write_line(style, level + 1, out);
		if (!write_key(run, style, &key, out))
			return false;
		gh__buf_append(out, style->colon.u.text, style->colon.len);
		if (!write_value(run, style, &member, out, level + 1))
			return false;
	}
	if (count)
		write_line(style, level, out);
	gh__buf_append_char(out, '}');
	return true;
}

static bool write_value(jinja_run *run, const json_style *style, const jinja_value *value,
			gh__buf *out, int level)
{
	if (level > MAX_LEVELS)
		return gh__jinja_fail(run, GH_ETOOBIG, "tojson: nested more than %d levels deep",
				      MAX_LEVELS);
	if (!gh__jinja_charge(run, 1))
		return false;
	switch (value->kind) {
	case JINJA_NONE:
		gh__buf_append_str(out, "null");
		return true;
	case JINJA_BOOL:
		gh__buf_append_str(out, value->u.integer ? "true" : "false");
		return true;
	case JINJA_INT:
		gh__buf_printf(out, "%" PRId64, value->u.integer);
		return true;
	case JINJA_FLOAT:
		write_float(value->u.real, out);
		return true;
	case JINJA_STRING:
		write_text(style, value->u.text, value->len, out);
		return gh__jinja_charge_bytes(run, value->len);
	case JINJA_LIST:
	case JINJA_TUPLE:
		return write_list(run, style, value, out, level);
	case JINJA_DICT:
		return write_dict(run, style, value, out, level);
	default:
		return gh__jinja_fail(run, GH_EINVAL,
				      "tojson: Object of type %s is not JSON serializable",
				      gh__jinja_kind_name(value));
	}
}

static bool read_style(jinja_run *run, const jinja_call *call, json_style *style)
{
	const jinja_value *indent = &call->args[1];
	const jinja_value *separators = &call->args[2];
	jinja_list two;
	jinja_value space, count, spaces;
	int64_t width;

	style->ascii = gh__jinja_arg_truth(&call->args[0], false);
	style->sorted = gh__jinja_arg_truth(&call->args[3], false);
	style->colon = gh__jinja_text(": ", 2);
	style->comma = gh__jinja_text(", ", 2);
	if (indent->kind == JINJA_STRING) {
		style->indent = indent->u.text;
		style->indent_len = indent->len;
	} else if (indent->kind != JINJA_ABSENT && indent->kind != JINJA_NONE) {
		space = gh__jinja_text(" ", 1);
		if (!gh__jinja_want_int(run, indent, "tojson: indent", 0, &width))
			return false;
		count = gh__jinja_int(width);
		if (!gh__jinja_arithmetic(run, '*', &space, &count, &spaces))
			return false;
		style->indent = spaces.u.text;
		style->indent_len = spaces.len;
	}
	if (style->indent)
		style->comma.len = 1;
	if (separators->kind == JINJA_ABSENT || separators->kind == JINJA_NONE)
		return true;
	if (!gh__jinja_iterate(run, separators, &two))
		return false;
	if (two.count != 2)
		return gh__jinja_fail(run, GH_EINVAL, "tojson: separators are two strings");
	style->comma = gh__jinja_list_at(&two, 0);
	style->colon = gh__jinja_list_at(&two, 1);
	return gh__jinja_want_text(run, &style->comma, "tojson: a separator") &&
	       gh__jinja_want_text(run, &style->colon, "tojson: a separator");
}

static bool to_json(jinja_run *run, const jinja_value *self, const jinja_call *call,
		    jinja_value *out)
{
	gh__buf text = GH__BUF_INIT(GH__JINJA_MAX_OUTPUT);
	json_style style = { .indent = NULL };

	if (!read_style(run, call, &style) || !write_value(run, &style, self, &text, 0)) {
		gh__buf_free(&text);
		return false;
	}
	return gh__jinja_take_buf(run, &text, out);
}

const jinja_builtin gh__jinja_json_filters[] = {
	{ "tojson", "ensure_ascii,indent,separators,sort_keys", 0, 0, to_json },
	{ NULL, NULL, 0, 0, NULL },
};
