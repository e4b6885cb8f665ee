#include "text/jinja/value.h"

#include <string.h>

/*
 * Filters that compare items: by themselves or by an attribute, strings without regard to case
 * unless told otherwise.
 */

/* One part of a path: digits are an index. */
static bool path_part(jinja_run *run, const jinja_value *item, const char *part, size_t len,
		      jinja_value *out)
{
	jinja_value key = gh__jinja_text(part, len);
	int64_t index = 0;
	size_t digits = 0;

	while (digits < len && digits < 18 && part[digits] >= '0' && part[digits] <= '9')
		index = index * 10 + (part[digits++] - '0');
	if (len && digits == len)
		key = gh__jinja_int(index);
	return gh__jinja_item(run, item, &key, out);
}

static bool text_path(jinja_run *run, const jinja_value *item, const char *path, size_t len,
		      jinja_value *out)
{
	jinja_value object = *item;

	for (size_t at = 0; at <= len;) {
		const char *dot = memchr(path + at, '.', len - at);
		size_t end = dot ? (size_t)(dot - path) : len;

		if (!gh__jinja_charge(run, 1) || !path_part(run, &object, path + at, end - at, out))
			return false;
		object = *out;
		at = end + 1;
	}
	return true;
}

bool gh__jinja_path(jinja_run *run, const jinja_value *item, const jinja_value *path,
		    jinja_value *out)
{
	if (path->kind == JINJA_STRING)
		return text_path(run, item, path->u.text, path->len, out);
	return gh__jinja_item(run, item, path, out);
}

static bool fold_case(jinja_run *run, bool case_sensitive, jinja_value *value)
{
	return case_sensitive || value->kind != JINJA_STRING ||
	       gh__jinja_change_case(run, value, CASE_LOWER, value);
}

/* What an item is compared by. "a,b": by a, then by b. */
static bool key_of(jinja_run *run, const jinja_value *item, const jinja_value *attribute,
		   bool case_sensitive, jinja_value *out)
{
	const char *path = attribute->u.text;
	jinja_list parts = { .step = 1 };
	jinja_value part;

	*out = *item;
	if (attribute->kind == JINJA_ABSENT || attribute->kind == JINJA_NONE)
		return fold_case(run, case_sensitive, out);
	if (attribute->kind != JINJA_STRING || !memchr(path, ',', attribute->len))
		return gh__jinja_path(run, item, attribute, out) &&
		       fold_case(run, case_sensitive, out);
	for (size_t at = 0; at <= attribute->len;) {
		const char *comma = memchr(path + at, ',', attribute->len - at);
		size_t end = comma ? (size_t)(comma - path) : attribute->len;

		if (!text_path(run, item, path + at, end - at, &part) ||
		    !fold_case(run, case_sensitive, &part) ||
		    !gh__jinja_push_item(run, &parts, &part))
			return false;
		at = end + 1;
	}
	return gh__jinja_share_list(run, JINJA_LIST, &parts, out);
}

/* Items with their keys. */
static bool read_pairs(jinja_run *run, const jinja_value *self, const jinja_value *attribute,
		       bool case_sensitive, jinja_pair **out, size_t *count)
{
	jinja_list list;
	jinja_pair *pairs;

	if (!gh__jinja_iterate(run, self, &list))
		return false;
	pairs = gh__jinja_run_alloc(run, list.count, sizeof(*pairs));
	if (!pairs)
		return false;
	for (size_t i = 0; i < list.count; i++) {
		pairs[i].value = gh__jinja_list_at(&list, i);
		if (!gh__jinja_charge(run, 1) ||
		    !key_of(run, &pairs[i].value, attribute, case_sensitive, &pairs[i].key))
			return false;
	}
	*out = pairs;
	*count = list.count;
	return true;
}

/* Stable; turned around, equal items still keep their order. */
static bool merge_sort(jinja_run *run, jinja_pair *pairs, size_t count, bool reverse)
{
	jinja_pair *spare = gh__jinja_run_alloc(run, count, sizeof(*spare));

	if (!spare)
		return false;
	for (size_t width = 1; width < count; width *= 2) {
		for (size_t begin = 0; begin < count; begin += 2 * width) {
			size_t middle = begin + width < count ? begin + width : count;
			size_t end = middle + width < count ? middle + width : count;
			size_t a = begin, b = middle;

			for (size_t i = begin; i < end; i++) {
				int order = 0;

				if (a < middle && b < end &&
				    !gh__jinja_order(run, &pairs[a].key, &pairs[b].key, &order))
					return false;
				order = reverse ? -order : order;
				spare[i] = b == end || (a < middle && order <= 0) ? pairs[a++]
										  : pairs[b++];
			}
		}
		memcpy(pairs, spare, count * sizeof(*pairs));
	}
	return true;
}

static bool list_values(jinja_run *run, const jinja_pair *pairs, size_t count, jinja_value *out)
{
	jinja_value *items = gh__jinja_run_alloc(run, count, sizeof(*items));

	for (size_t i = 0; items && i < count; i++)
		items[i] = pairs[i].value;
	return items && gh__jinja_make_list(run, JINJA_LIST, items, count, out);
}

static bool sort(jinja_run *run, const jinja_value *self, const jinja_call *call, jinja_value *out)
{
	bool reverse = gh__jinja_arg_truth(&call->args[0], false);
	bool case_sensitive = gh__jinja_arg_truth(&call->args[1], false);
	jinja_pair *pairs;
	size_t count;

	return read_pairs(run, self, &call->args[2], case_sensitive, &pairs, &count) &&
	       merge_sort(run, pairs, count, reverse) && list_values(run, pairs, count, out);
}

static bool dictsort(jinja_run *run, const jinja_value *self, const jinja_call *call,
		     jinja_value *out)
{
	const jinja_builtin *items = gh__jinja_find_method(JINJA_DICT, "items", 5);
	const jinja_value *by = &call->args[1];
	const jinja_call none = { .count = 0 };
	jinja_value view, part = gh__jinja_int(0);
	jinja_pair *pairs;
	size_t count;

	if (by->kind == JINJA_STRING && by->len == 5 && memcmp(by->u.text, "value", 5) == 0)
		part.u.integer = 1;
	else if (by->kind != JINJA_ABSENT &&
		 (by->kind != JINJA_STRING || by->len != 3 || memcmp(by->u.text, "key", 3) != 0))
		return gh__jinja_fail(run, GH_EINVAL, "dictsort: expected by 'key' or 'value'");
	if (self->kind == JINJA_UNDEFINED)
		return gh__jinja_fail_undefined(run, self);
	if (self->kind != JINJA_DICT)
		return gh__jinja_fail(run, GH_EINVAL, "dictsort: expected a dict, got '%s'",
				      gh__jinja_kind_name(self));
	return gh__jinja_invoke(run, items, self, &none, &view) &&
	       read_pairs(run, &view, &part, gh__jinja_arg_truth(&call->args[0], false), &pairs,
			  &count) &&
	       merge_sort(run, pairs, count, gh__jinja_arg_truth(&call->args[2], false)) &&
	       list_values(run, pairs, count, out);
}

static bool unique(jinja_run *run, const jinja_value *self, const jinja_call *call,
		   jinja_value *out)
{
	bool case_sensitive = gh__jinja_arg_truth(&call->args[0], false);
	jinja_list kept = { .step = 1 };
	jinja_pair *pairs;
	size_t count, seen = 0;

	if (!read_pairs(run, self, &call->args[1], case_sensitive, &pairs, &count))
		return false;
	for (size_t i = 0; i < count; i++) {
		bool same = false;

		for (size_t k = 0; k < seen && !same; k++) {
			if (!gh__jinja_equal(run, &pairs[k].key, &pairs[i].key, &same))
				return false;
		}
		if (same)
			continue;
		if (!gh__jinja_push_item(run, &kept, &pairs[i].value))
			return false;
		pairs[seen++].key = pairs[i].key;
	}
	return gh__jinja_share_list(run, JINJA_GENERATOR, &kept, out);
}

/* The first item that none is further towards `sign` than. */
static bool extreme(jinja_run *run, const jinja_value *self, const jinja_call *call, int sign,
		    jinja_value *out)
{
	bool case_sensitive = gh__jinja_arg_truth(&call->args[0], false);
	jinja_pair *pairs;
	size_t count, best = 0;

	if (!read_pairs(run, self, &call->args[1], case_sensitive, &pairs, &count))
		return false;
	for (size_t i = 1; i < count; i++) {
		int order;

		if (!gh__jinja_order(run, &pairs[i].key, &pairs[best].key, &order))
			return false;
		if (order * sign > 0)
			best = i;
	}
	*out = count ? pairs[best].value : gh__jinja_undefined(NULL, "the extreme of nothing", 22);
	return true;
}

static bool min(jinja_run *run, const jinja_value *self, const jinja_call *call, jinja_value *out)
{
	return extreme(run, self, call, -1, out);
}

static bool max(jinja_run *run, const jinja_value *self, const jinja_call *call, jinja_value *out)
{
	return extreme(run, self, call, 1, out);
}

static bool sum(jinja_run *run, const jinja_value *self, const jinja_call *call, jinja_value *out)
{
	jinja_value total = call->args[1];
	jinja_pair *pairs;
	size_t count;

	if (total.kind == JINJA_ABSENT)
		total = gh__jinja_int(0);
	if (!read_pairs(run, self, &call->args[0], true, &pairs, &count))
		return false;
	for (size_t i = 0; i < count; i++) {
		if (!gh__jinja_arithmetic(run, '+', &total, &pairs[i].key, out))
			return false;
		total = *out;
	}
	*out = total;
	return true;
}

const jinja_builtin gh__jinja_order_filters[] = {
	{ "sort", "reverse,case_sensitive,attribute", 0, 0, sort },
	{ "dictsort", "case_sensitive,by,reverse", 0, 0, dictsort },
	{ "unique", "case_sensitive,attribute", 0, 0, unique },
	{ "min", "case_sensitive,attribute", 0, 0, min },
	{ "max", "case_sensitive,attribute", 0, 0, max },
	{ "sum", "attribute,start", 0, 0, sum },
	{ NULL, NULL, 0, 0, NULL },
};
