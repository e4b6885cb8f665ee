#include "text/jinja/value.h"

#include <string.h>

/*
 * Filters on lists.
 */

static bool first(jinja_run *run, const jinja_value *self, const jinja_call *call, jinja_value *out)
{
	jinja_list list;

	(void)call;
	if (!gh__jinja_iterate(run, self, &list))
		return false;
	*out = list.count ? gh__jinja_list_at(&list, 0)
			  : gh__jinja_undefined(NULL, "the first item of nothing", 25);
	return true;
}

static bool last(jinja_run *run, const jinja_value *self, const jinja_call *call, jinja_value *out)
{
	jinja_list list;

	(void)call;
	if (self->kind == JINJA_GENERATOR)
		return gh__jinja_fail(run, GH_EINVAL, "last: '%s' object is not reversible",
				      gh__jinja_kind_name(self));
	if (!gh__jinja_iterate(run, self, &list))
		return false;
	*out = list.count ? gh__jinja_list_at(&list, list.count - 1)
			  : gh__jinja_undefined(NULL, "the last item of nothing", 24);
	return true;
}

static bool length(jinja_run *run, const jinja_value *self, const jinja_call *call,
		   jinja_value *out)
{
	size_t count = 0;

	(void)call;
	switch (self->kind) {
	case JINJA_UNDEFINED:
		break;
	case JINJA_STRING:
		count = gh__jinja_count_characters(self->u.text, self->len);
		if (!gh__jinja_charge_bytes(run, self->len))
			return false;
		break;
	case JINJA_DICT:
		count = gh__jinja_dict_count(self);
		break;
	case JINJA_LIST:
	case JINJA_TUPLE:
	case JINJA_RANGE:
	case JINJA_VIEW:
		count = gh__jinja_list_of(self).count;
		break;
	default:
		return gh__jinja_fail(run, GH_EINVAL, "object of type '%s' has no length",
				      gh__jinja_kind_name(self));
	}
	*out = gh__jinja_int((int64_t)count);
	return true;
}

static bool list(jinja_run *run, const jinja_value *self, const jinja_call *call, jinja_value *out)
{
	jinja_list items;

	(void)call;
	return gh__jinja_iterate(run, self, &items) &&
	       gh__jinja_share_list(run, JINJA_LIST, &items, out);
}

static bool reverse(jinja_run *run, const jinja_value *self, const jinja_call *call,
		    jinja_value *out)
{
	jinja_value bounds[3] = { gh__jinja_none(), gh__jinja_none(), gh__jinja_int(-1) };
	jinja_list items;

	(void)call;
	if (self->kind == JINJA_STRING)
		return gh__jinja_slice(run, self, bounds, out);
	if (!gh__jinja_iterate(run, self, &items))
		return false;
	if (items.count) {
		items.start += (int64_t)(items.count - 1) * items.step;
		items.step = -items.step;
	}
	return gh__jinja_share_list(run, JINJA_GENERATOR, &items, out);
}

static const jinja_keyword *keyword(const jinja_call *call, const char *name)
{
	for (size_t i = 0; i < call->keyword_count; i++) {
		if (call->keywords[i].len == strlen(name) &&
		    memcmp(call->keywords[i].name, name, call->keywords[i].len) == 0)
			return &call->keywords[i];
	}
	return NULL;
}

/* What is false has no items, whatever it is. */
static bool read_true(jinja_run *run, const jinja_value *self, jinja_list *out)
{
	*out = (jinja_list){ .step = 1 };
	return !gh__jinja_truth(self) || gh__jinja_iterate(run, self, out);
}

/* Items are replaced by one of their attributes, or by what a filter makes of them. */
static bool map(jinja_run *run, const jinja_value *self, const jinja_call *call, jinja_value *out)
{
	const jinja_keyword *attribute = call->count ? NULL : keyword(call, "attribute");
	const jinja_keyword *otherwise = attribute ? keyword(call, "default") : NULL;
	const jinja_builtin *filter = NULL;
	jinja_call rest = *call;
	jinja_list source, mapped = { .step = 1 };

	if (!attribute) {
		if (!call->count || call->args[0].kind != JINJA_STRING)
			return gh__jinja_fail(run, GH_EINVAL, "map: expected the name of a filter");
		filter = gh__jinja_find_filter(call->args[0].u.text, call->args[0].len);
		if (!filter)
			return gh__jinja_fail(run, GH_EINVAL, "map: filter '%.*s' is not supported",
					      (int)(call->args[0].len < 80 ? call->args[0].len
									   : 80),
					      call->args[0].u.text);
		rest.args++;
		rest.count--;
	} else if (call->keyword_count > (otherwise ? 2 : 1)) {
		return gh__jinja_fail(run, GH_EINVAL, "map: an argument that it does not have");
	}
	if (!read_true(run, self, &source))
		return false;
	for (size_t i = 0; i < source.count; i++) {
		jinja_value item = gh__jinja_list_at(&source, i);
		jinja_value result;

		if (filter ? !gh__jinja_invoke(run, filter, &item, &rest, &result)
			   : !gh__jinja_path(run, &item, &attribute->value, &result))
			return false;
		if (otherwise && otherwise->value.kind != JINJA_NONE &&
		    result.kind == JINJA_UNDEFINED)
			result = otherwise->value;
		if (!gh__jinja_push_item(run, &mapped, &result))
			return false;
	}
	return gh__jinja_share_list(run, JINJA_GENERATOR, &mapped, out);
}

/* Keep the items for which a test (without one: truth) of them or of an attribute is `wanted`. */
static bool pick(jinja_run *run, const jinja_value *self, const jinja_call *call, bool by_attribute,
		 bool wanted, jinja_value *out)
{
	const jinja_value *path = by_attribute && call->count ? &call->args[0] : NULL;
	const jinja_builtin *test = NULL;
	jinja_call rest = *call;
	jinja_list source, picked = { .step = 1 };

	if (by_attribute) {
		if (!path)
			return gh__jinja_fail(run, GH_EINVAL, "expected the name of an attribute");
		rest.args++;
		rest.count--;
	}
	if (rest.count) {
		if (rest.args[0].kind == JINJA_STRING)
			test = gh__jinja_find_test(rest.args[0].u.text, rest.args[0].len);
		if (!test)
			return gh__jinja_fail(run, GH_EINVAL,
					      "expected the name of a test that is "
					      "supported");
		rest.args++;
		rest.count--;
	}
	if (!read_true(run, self, &source))
		return false;
	for (size_t i = 0; i < source.count; i++) {
		jinja_value item = gh__jinja_list_at(&source, i);
		jinja_value looked_at = item;

		if (path && !gh__jinja_path(run, &item, path, &looked_at))
			return false;
		if (test && !gh__jinja_invoke(run, test, &looked_at, &rest, &looked_at))
			return false;
		if (!gh__jinja_charge(run, 1))
			return false;
		if (gh__jinja_truth(&looked_at) == wanted &&
		    !gh__jinja_push_item(run, &picked, &item))
			return false;
	}
	return gh__jinja_share_list(run, JINJA_GENERATOR, &picked, out);
}

static bool select_items(jinja_run *run, const jinja_value *self, const jinja_call *call,
			 jinja_value *out)
{
	return pick(run, self, call, false, true, out);
}

static bool reject(jinja_run *run, const jinja_value *self, const jinja_call *call,
		   jinja_value *out)
{
	return pick(run, self, call, false, false, out);
}

static bool selectattr(jinja_run *run, const jinja_value *self, const jinja_call *call,
		       jinja_value *out)
{
	return pick(run, self, call, true, true, out);
}

static bool rejectattr(jinja_run *run, const jinja_value *self, const jinja_call *call,
		       jinja_value *out)
{
	return pick(run, self, call, true, false, out);
}

static bool items(jinja_run *run, const jinja_value *self, const jinja_call *call, jinja_value *out)
{
	const jinja_builtin *method = gh__jinja_find_method(JINJA_DICT, "items", 5);
	jinja_list none = { .step = 1 };

	if (self->kind == JINJA_UNDEFINED)
		return gh__jinja_share_list(run, JINJA_GENERATOR, &none, out);
	if (self->kind != JINJA_DICT)
		return gh__jinja_fail(run, GH_EINVAL, "items: expected a dict, got '%s'",
				      gh__jinja_kind_name(self));
	if (!gh__jinja_invoke(run, method, self, call, out))
		return false;
	out->kind = JINJA_GENERATOR;
	return true;
}

const jinja_builtin gh__jinja_list_filters[] = {
	{ "first", "", 0, 0, first },
	{ "last", "", 0, 0, last },
	{ "length", "", 0, 0, length },
	{ "count", "", 0, 0, length },
	{ "list", "", 0, 0, list },
	{ "reverse", "", 0, 0, reverse },
	{ "map", NULL, 0, 0, map },
	{ "select", NULL, 0, 0, select_items },
	{ "reject", NULL, 0, 0, reject },
	{ "selectattr", NULL, 0, 0, selectattr },
	{ "rejectattr", NULL, 0, 0, rejectattr },
	{ "items", "", 0, 0, items },
	{ NULL, NULL, 0, 0, NULL },
};
