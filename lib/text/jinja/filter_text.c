#include "text/jinja/node.h"

#include <string.h>

#include "base/utf8.h"

/*
 * Filters on texts. What is no text is printed first, as Jinja does.
 */

static bool trim(jinja_run *run, const jinja_value *self, const jinja_call *call, jinja_value *out)
{
	jinja_value text;

	return gh__jinja_string(run, self, &text) &&
	       gh__jinja_strip(run, &text, &call->args[0], JINJA_LEFT | JINJA_RIGHT, out);
}

static bool change_case(jinja_run *run, const jinja_value *self, jinja_case to, jinja_value *out)
{
	jinja_value text;

	return gh__jinja_string(run, self, &text) && gh__jinja_change_case(run, &text, to, out);
}

static bool upper(jinja_run *run, const jinja_value *self, const jinja_call *call, jinja_value *out)
{
	(void)call;
	return change_case(run, self, CASE_UPPER, out);
}

static bool lower(jinja_run *run, const jinja_value *self, const jinja_call *call, jinja_value *out)
{
	(void)call;
	return change_case(run, self, CASE_LOWER, out);
}

static bool capitalize(jinja_run *run, const jinja_value *self, const jinja_call *call,
		       jinja_value *out)
{
	(void)call;
	return change_case(run, self, CASE_CAPITAL, out);
}

/* Words begin behind white space, hyphens and opening brackets: not where str.title() thinks. */
static bool title(jinja_run *run, const jinja_value *self, const jinja_call *call, jinja_value *out)
{
	gh__buf changed = GH__BUF_INIT(GH__JINJA_MAX_OUTPUT);
	jinja_value text, piece;
	size_t begin = 0;

	(void)call;
	if (!gh__jinja_string(run, self, &text))
		return false;
	while (begin < text.len) {
		size_t at = begin;
		uint32_t c;

		/* Up to and with the characters that end a word. */
		for (bool ended = false; at < text.len;) {
			int n = gh__utf8_decode(text.u.text + at, text.len - at, &c);
			bool ends = n > 0 && (gh__jinja_is_space(c) ||
					      (c && c < 0x80 && strchr("-({[<", (int)c)));

			if (ended && !ends)
				break;
			ended = ends;
			at += n > 0 ? (size_t)n : 1;
		}
		piece = gh__jinja_text(text.u.text + begin, at - begin);
		if (!gh__jinja_change_case(run, &piece, CASE_WORD, &piece)) {
			gh__buf_free(&changed);
			return false;
		}
		gh__buf_append(&changed, piece.u.text, piece.len);
		begin = at;
	}
	return gh__jinja_take_buf(run, &changed, out);
}

static bool replace(jinja_run *run, const jinja_value *self, const jinja_call *call,
		    jinja_value *out)
{
	jinja_value text, from, to;
	int64_t most;

	return gh__jinja_string(run, self, &text) && gh__jinja_string(run, &call->args[0], &from) &&
	       gh__jinja_string(run, &call->args[1], &to) &&
	       gh__jinja_want_int(run, &call->args[2], "replace: count", -1, &most) &&
	       gh__jinja_replace(run, &text, &from, &to, most, out);
}

/* Of an indent that is a number, so many spaces. */
static bool indentation(jinja_run *run, const jinja_value *width, jinja_value *out)
{
	jinja_value space = gh__jinja_text(" ", 1);
	jinja_value count = gh__jinja_int(4);

	*out = *width;
	if (width->kind == JINJA_STRING)
		return true;
	return gh__jinja_want_int(run, width, "indent", 4, &count.u.integer) &&
	       gh__jinja_arithmetic(run, '*', &space, &count, out);
}

static bool indent(jinja_run *run, const jinja_value *self, const jinja_call *call,
		   jinja_value *out)
{
	bool first = gh__jinja_arg_truth(&call->args[1], false);
	bool blank = gh__jinja_arg_truth(&call->args[2], false);
	gh__buf text = GH__BUF_INIT(GH__JINJA_MAX_OUTPUT);
	const jinja_value newline = gh__jinja_text("\n", 1);
	jinja_value whole, lines, margin;
	jinja_list list;

	/* Jinja adds the newline, which keeps an empty last line. */
	if (!gh__jinja_want_text(run, self, "indent") ||
	    !indentation(run, &call->args[0], &margin) ||
	    !gh__jinja_concat(run, self, &newline, &whole) ||
	    !gh__jinja_split_lines(run, &whole, false, &lines))
		return false;
	list = gh__jinja_list_of(&lines);
	for (size_t i = 0; i < list.count; i++) {
		jinja_value line = gh__jinja_list_at(&list, i);

		if (!gh__jinja_charge_bytes(run, margin.len)) {
			gh__buf_free(&text);
			return false;
		}
		if (i)
			gh__buf_append_char(&text, '\n');
		if (i == 0 ? first : blank || line.len)
			gh__buf_append(&text, margin.u.text, margin.len);
		gh__buf_append(&text, line.u.text, line.len);
	}
	return gh__jinja_take_buf(run, &text, out);
}

static bool escape(jinja_run *run, const jinja_value *self, const jinja_call *call,
		   jinja_value *out)
{
	static const char special[] = "&<>'\"";
	static const char *const written[] = { "&amp;", "&lt;", "&gt;", "&#39;", "&#34;" };
	gh__buf text = GH__BUF_INIT(GH__JINJA_MAX_OUTPUT);
	jinja_value plain;

	(void)call;
	if (!gh__jinja_string(run, self, &plain))
		return false;
	for (size_t i = 0; i < plain.len; i++) {
		char c = plain.u.text[i];
		const char *at = c ? strchr(special, c) : NULL;

		if (at)
			gh__buf_append_str(&text, written[at - special]);
		else
			gh__buf_append_char(&text, c);
	}
	return gh__jinja_take_buf(run, &text, out);
}

/* Nothing is escaped, so safe has nothing to do but to make a text. */
static bool string(jinja_run *run, const jinja_value *self, const jinja_call *call,
		   jinja_value *out)
{
	(void)call;
	return gh__jinja_string(run, self, out);
}

static bool join(jinja_run *run, const jinja_value *self, const jinja_call *call, jinja_value *out)
{
	gh__buf text = GH__BUF_INIT(GH__JINJA_MAX_OUTPUT);
	jinja_value between = gh__jinja_text("", 0);
	jinja_list list;
	bool ok = true;

	if (!gh__jinja_iterate(run, self, &list) ||
	    (call->args[0].kind != JINJA_ABSENT &&
	     !gh__jinja_string(run, &call->args[0], &between)))
		return false;
	for (size_t i = 0; ok && i < list.count; i++) {
		jinja_value item = gh__jinja_list_at(&list, i);

		if (i)
			gh__buf_append(&text, between.u.text, between.len);
		ok = gh__jinja_charge_bytes(run, between.len) &&
		     (call->args[1].kind == JINJA_ABSENT || call->args[1].kind == JINJA_NONE ||
		      gh__jinja_path(run, &item, &call->args[1], &item)) &&
		     gh__jinja_print(run, &item, &text);
	}
	if (ok)
		return gh__jinja_take_buf(run, &text, out);
	gh__buf_free(&text);
	return false;
}

const jinja_builtin gh__jinja_text_filters[] = {
	{ "trim", "chars", 0, 0, trim },
	{ "upper", "", 0, 0, upper },
	{ "lower", "", 0, 0, lower },
	{ "capitalize", "", 0, 0, capitalize },
	{ "title", "", 0, 0, title },
	{ "replace", "old,new,count", 2, 0, replace },
	{ "indent", "width,first,blank", 0, 0, indent },
	{ "escape", "", 0, 0, escape },
	{ "e", "", 0, 0, escape },
	{ "string", "", 0, 0, string },
	{ "safe", "", 0, 0, string },
	{ "join", "d,attribute", 0, 0, join },
	{ NULL, NULL, 0, 0, NULL },
};
