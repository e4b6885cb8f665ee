#include "text/jinja/node.h"

#include <locale.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/error.h"

/*
 * The tables of what is built in, and the functions.
 */

const jinja_builtin *gh__jinja_find(const jinja_builtin *table, const char *name, size_t len)
{
	for (; table->name; table++) {
		if (strlen(table->name) == len && memcmp(table->name, name, len) == 0)
			return table;
	}
	return NULL;
}

const jinja_builtin *gh__jinja_find_filter(const char *name, size_t len)
{
	const jinja_builtin *const tables[] = { gh__jinja_text_filters, gh__jinja_list_filters,
						gh__jinja_order_filters, gh__jinja_value_filters,
						gh__jinja_json_filters };

	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
		const jinja_builtin *found = gh__jinja_find(tables[i], name, len);

		if (found)
			return found;
	}
	return NULL;
}

const jinja_builtin *gh__jinja_find_test(const char *name, size_t len)
{
	return gh__jinja_find(gh__jinja_tests, name, len);
}

const jinja_builtin *gh__jinja_find_function(const char *name, size_t len)
{
	return gh__jinja_find(gh__jinja_functions, name, len);
}

const jinja_builtin *gh__jinja_find_method(jinja_kind kind, const char *name, size_t len)
{
	const jinja_builtin *const tables[] = { gh__jinja_text_methods, gh__jinja_value_methods };
	const jinja_builtin *forbidden = NULL;

	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
		const jinja_builtin *at = tables[i];

		while ((at = gh__jinja_find(at, name, len))) {
			if (at->kind == kind || (!kind && at->fn))
				return at;
			if (!kind)
				forbidden = at;
			at++;
		}
	}
	return forbidden;
}

bool gh__jinja_want_text(jinja_run *run, const jinja_value *value, const char *what)
{
	if (value->kind == JINJA_STRING)
		return true;
	if (value->kind == JINJA_UNDEFINED)
		return gh__jinja_fail_undefined(run, value);
	return gh__jinja_fail(run, GH_EINVAL, "%s: expected a string, got '%s'", what,
			      gh__jinja_kind_name(value));
}

bool gh__jinja_want_int(jinja_run *run, const jinja_value *value, const char *what, int64_t absent,
			int64_t *out)
{
	*out = absent;
	if (value->kind == JINJA_ABSENT || value->kind == JINJA_NONE)
		return true;
	if (value->kind == JINJA_UNDEFINED)
		return gh__jinja_fail_undefined(run, value);
	if (value->kind != JINJA_INT && value->kind != JINJA_BOOL)
		return gh__jinja_fail(run, GH_EINVAL, "%s: expected an integer, got '%s'", what,
				      gh__jinja_kind_name(value));
	*out = value->u.integer;
	return true;
}

bool gh__jinja_arg_truth(const jinja_value *value, bool absent)
{
	return value->kind == JINJA_ABSENT ? absent : gh__jinja_truth(value);
}

static bool raise_exception(jinja_run *run, const jinja_value *self, const jinja_call *call,
			    jinja_value *out)
{
	jinja_value text;

	(void)self;
	(void)out;
	if (!gh__jinja_string(run, &call->args[0], &text))
		return false;
	run->status = gh__fail(run->error, GH_EINVAL, "%.*s",
			       (int)(text.len < 1000 ? text.len : 1000), text.u.text);
	return false;
}

/* What Python's naive datetimes do otherwise than strftime(3): no zone, and %f. */
static bool python_format(jinja_run *run, const jinja_value *format, int64_t nanoseconds,
			  gh__buf *out)
{
	const char *text = format->u.text;

	for (size_t i = 0; i < format->len; i++) {
		char next = text[i] == '%' && i + 1 < format->len ? text[i + 1] : '\0';

		if (text[i] == '\0')
			return gh__jinja_fail(run, GH_EINVAL,
					      "strftime_now: a format without NUL was expected");
		if (next == 'f')
			gh__buf_printf(out, "%06u", (unsigned)(nanoseconds / 1000));
		else if (next && next != 'z' && next != 'Z')
			gh__buf_append(out, text + i, 2);
		else if (!next)
			gh__buf_append_char(out, text[i]);
		i += next != '\0';
	}
	return true;
}

static bool strftime_now(jinja_run *run, const jinja_value *self, const jinja_call *call,
			 jinja_value *out)
{
	gh__buf format = GH__BUF_INIT(1024);
	int64_t wall = gh__wall();
	time_t seconds = (time_t)(wall / GH__SECOND);
	locale_t locale;
	char text[4096];
	struct tm now;
	bool ok;

	(void)self;
	if (!gh__jinja_want_text(run, &call->args[0], "strftime_now"))
		return false;
	ok = python_format(run, &call->args[0], wall % GH__SECOND, &format);
	if (ok && gh__buf_status(&format) != GH_OK)
		ok = gh__jinja_fail(run, GH_ETOOBIG, "strftime_now: a format of that length");
	locale = ok ? newlocale(LC_ALL_MASK, "C", (locale_t)0) : (locale_t)0;
	if (ok && (!locale || !localtime_r(&seconds, &now)))
		ok = gh__jinja_fail(run, GH_ENOMEM, "strftime_now: out of memory");
	if (ok) {
		size_t len = strftime_l(text, sizeof(text), gh__buf_str(&format), &now, locale);

		ok = gh__jinja_copy_text(run, text, len, out);
	}
	if (locale)
		freelocale(locale);
	gh__buf_free(&format);
	return ok;
}

static bool range(jinja_run *run, const jinja_value *self, const jinja_call *call, jinja_value *out)
{
	const int64_t limit = INT64_C(1) << 53;
	int64_t numbers[3] = { 0, 0, 1 };
	int64_t count = 0;
	jinja_list list = { .count = 0 };

	(void)self;
	if (call->count < 1 || call->count > 3 || call->keyword_count)
		return gh__jinja_fail(run, GH_EINVAL, "range takes 1 to 3 arguments");
	for (size_t i = 0; i < call->count; i++) {
		size_t to = call->count == 1 ? 1 : i;

		if (call->args[i].kind == JINJA_NONE ||
		    !gh__jinja_want_int(run, &call->args[i], "range", 0, &numbers[to]))
			return gh__jinja_fail(run, GH_EINVAL, "range: expected integers");
		if (numbers[to] > limit || numbers[to] < -limit)
			return gh__jinja_fail(run, GH_ETOOBIG, "range: a number too large");
	}
	if (!numbers[2])
		return gh__jinja_fail(run, GH_EINVAL, "range: the step must not be 0");
	if (numbers[2] > 0 && numbers[1] > numbers[0])
		count = (numbers[1] - numbers[0] - 1) / numbers[2] + 1;
	else if (numbers[2] < 0 && numbers[1] < numbers[0])
		count = (numbers[0] - numbers[1] - 1) / -numbers[2] + 1;
	if (count > GH__JINJA_MAX_RANGE)
		return gh__jinja_fail(run, GH_ETOOBIG, "range: more than %d items",
				      GH__JINJA_MAX_RANGE);
	list.start = numbers[0];
	list.step = numbers[2];
	list.count = (size_t)count;
	return gh__jinja_share_list(run, JINJA_RANGE, &list, out);
}

/* A dict, or pairs, then what is given by name. */
static bool fill(jinja_run *run, const jinja_call *call, jinja_value *out)
{
	jinja_value key, value;
	void *cursor = NULL;
	jinja_list pairs;

	if (call->count > 1)
		return gh__jinja_fail(run, GH_EINVAL, "expected at most 1 argument without a name");
	if (call->count && call->args[0].kind == JINJA_DICT) {
		while (gh__jinja_dict_next(&call->args[0], &cursor, &key, &value)) {
			if (!gh__jinja_dict_put(run, out, &key, &value))
				return false;
		}
	} else if (call->count) {
		if (!gh__jinja_iterate(run, &call->args[0], &pairs))
			return false;
		for (size_t i = 0; i < pairs.count; i++) {
			jinja_value pair = gh__jinja_list_at(&pairs, i);
			jinja_list two;

			if (!gh__jinja_iterate(run, &pair, &two))
				return false;
			if (two.count != 2)
				return gh__jinja_fail(run, GH_EINVAL, "expected pairs");
			key = gh__jinja_list_at(&two, 0);
			value = gh__jinja_list_at(&two, 1);
			if (!gh__jinja_dict_put(run, out, &key, &value))
				return false;
		}
	}
	for (size_t i = 0; i < call->keyword_count; i++) {
		key = gh__jinja_text(call->keywords[i].name, call->keywords[i].len);
		if (!gh__jinja_dict_put(run, out, &key, &call->keywords[i].value))
			return false;
	}
	return true;
}

static bool make_namespace(jinja_run *run, const jinja_value *self, const jinja_call *call,
			   jinja_value *out)
{
	(void)self;
	return gh__jinja_make_dict(run, JINJA_NAMESPACE, call->keyword_count, out) &&
	       fill(run, call, out);
}

static bool make_dict(jinja_run *run, const jinja_value *self, const jinja_call *call,
		      jinja_value *out)
{
	(void)self;
	return gh__jinja_make_dict(run, JINJA_DICT, call->keyword_count, out) &&
	       fill(run, call, out);
}

const jinja_builtin gh__jinja_functions[] = {
	{ "raise_exception", "message", 1, 0, raise_exception },
	{ "strftime_now", "format", 1, 0, strftime_now },
	{ "range", NULL, 0, 0, range },
	{ "namespace", NULL, 0, 0, make_namespace },
	{ "dict", NULL, 0, 0, make_dict },
	{ NULL, NULL, 0, 0, NULL },
};

/*
 * Methods of dicts, lists and loops.
 */
static bool dict_list(jinja_run *run, const jinja_value *self, int part, jinja_value *out)
{
	size_t count = gh__jinja_dict_count(self);
	jinja_value *items = gh__jinja_run_alloc(run, count, sizeof(*items));
	jinja_value key, value;
	void *cursor = NULL;

	if (!items || !gh__jinja_charge(run, count))
		return false;
	for (size_t i = 0; i < count && gh__jinja_dict_next(self, &cursor, &key, &value); i++) {
		items[i] = part == 0 ? key : value;
		if (part == 2 && !gh__jinja_pair_up(run, &key, &value, &items[i]))
			return false;
	}
	return gh__jinja_make_list(run, JINJA_VIEW, items, count, out);
}

static bool keys(jinja_run *run, const jinja_value *self, const jinja_call *call, jinja_value *out)
{
	(void)call;
	return dict_list(run, self, 0, out);
}

static bool values(jinja_run *run, const jinja_value *self, const jinja_call *call,
		   jinja_value *out)
{
	(void)call;
	return dict_list(run, self, 1, out);
}

static bool items(jinja_run *run, const jinja_value *self, const jinja_call *call, jinja_value *out)
{
	(void)call;
	return dict_list(run, self, 2, out);
}

static bool get(jinja_run *run, const jinja_value *self, const jinja_call *call, jinja_value *out)
{
	bool found;

	if (!gh__jinja_dict_get(run, self, &call->args[0], out, &found))
		return false;
	if (!found)
		*out = call->args[1].kind == JINJA_ABSENT ? gh__jinja_none() : call->args[1];
	return true;
}

static bool copy(jinja_run *run, const jinja_value *self, const jinja_call *call, jinja_value *out)
{
	(void)run;
	(void)call;
	*out = *self;
	return true;
}

static bool list_search(jinja_run *run, const jinja_value *self, const jinja_value *what,
			int64_t *first, int64_t *count)
{
	jinja_list list = gh__jinja_list_of(self);

	*first = -1;
	*count = 0;
	for (size_t i = 0; i < list.count; i++) {
		jinja_value item = gh__jinja_list_at(&list, i);
		bool same;

		if (!gh__jinja_equal(run, &item, what, &same))
			return false;
		if (same && !(*count)++)
			*first = (int64_t)i;
	}
	return true;
}

static bool list_index(jinja_run *run, const jinja_value *self, const jinja_call *call,
		       jinja_value *out)
{
	int64_t first, count;

	if (!list_search(run, self, &call->args[0], &first, &count))
		return false;
	*out = gh__jinja_int(first);
	return count > 0 || gh__jinja_fail(run, GH_EINVAL, "index: the value is not in the list");
}

static bool list_count(jinja_run *run, const jinja_value *self, const jinja_call *call,
		       jinja_value *out)
{
	int64_t first, count;

	if (!list_search(run, self, &call->args[0], &first, &count))
		return false;
	*out = gh__jinja_int(count);
	return true;
}

static bool cycle(jinja_run *run, const jinja_value *self, const jinja_call *call, jinja_value *out)
{
	jinja_value index;
	bool found;

	if (!call->count || call->keyword_count)
		return gh__jinja_fail(run, GH_EINVAL, "cycle: expected values");
	if (!gh__jinja_loop_attribute(run, self, "index0", 6, &index, &found))
		return false;
	*out = call->args[(size_t)index.u.integer % call->count];
	return true;
}

const jinja_builtin gh__jinja_value_methods[] = {
	{ "items", "", 0, JINJA_DICT, items },
	{ "keys", "", 0, JINJA_DICT, keys },
	{ "values", "", 0, JINJA_DICT, values },
	{ "get", "key,default", 1, JINJA_DICT, get },
	{ "copy", "", 0, JINJA_DICT, copy },
	{ "clear", "", 0, JINJA_DICT, NULL },
	{ "pop", "", 0, JINJA_DICT, NULL },
	{ "popitem", "", 0, JINJA_DICT, NULL },
	{ "setdefault", "", 0, JINJA_DICT, NULL },
	{ "update", "", 0, JINJA_DICT, NULL },
	{ "index", "value", 1, JINJA_LIST, list_index },
	{ "count", "value", 1, JINJA_LIST, list_count },
	{ "copy", "", 0, JINJA_LIST, copy },
	{ "append", "", 0, JINJA_LIST, NULL },
	{ "clear", "", 0, JINJA_LIST, NULL },
	{ "extend", "", 0, JINJA_LIST, NULL },
	{ "insert", "", 0, JINJA_LIST, NULL },
	{ "pop", "", 0, JINJA_LIST, NULL },
	{ "remove", "", 0, JINJA_LIST, NULL },
	{ "reverse", "", 0, JINJA_LIST, NULL },
	{ "sort", "", 0, JINJA_LIST, NULL },
	{ "index", "value", 1, JINJA_TUPLE, list_index },
	{ "count", "value", 1, JINJA_TUPLE, list_count },
	{ "cycle", NULL, 0, JINJA_LOOP, cycle },
	{ NULL, NULL, 0, 0, NULL },
};
