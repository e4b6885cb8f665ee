#include "text/jinja/value.h"

#include <string.h>

#include "base/error.h"

#define MAX_LEVELS 100 /* of lists in lists */

static bool equal(jinja_run *run, const jinja_value *a, const jinja_value *b, bool *out,
		  int levels);

/* An extended float holds every integer of 64 bits, so that the comparison is exact. */
static int compare_numbers(const jinja_value *a, const jinja_value *b)
{
	long double x = a->kind == JINJA_FLOAT ? a->u.real : (long double)a->u.integer;
	long double y = b->kind == JINJA_FLOAT ? b->u.real : (long double)b->u.integer;

	return (x > y) - (x < y);
}

static int compare_texts(const jinja_value *a, const jinja_value *b)
{
	size_t len = a->len < b->len ? a->len : b->len;
	int order = len ? memcmp(a->u.text, b->u.text, len) : 0;

	return order ? order : (a->len > b->len) - (a->len < b->len);
}

static bool too_deep(jinja_run *run)
{
	return gh__jinja_fail(run, GH_ETOOBIG, "values nested more than %d levels deep",
			      MAX_LEVELS);
}

static bool equal_lists(jinja_run *run, const jinja_value *a, const jinja_value *b, bool *out,
			int levels)
{
	jinja_list x = gh__jinja_list_of(a);
	jinja_list y = gh__jinja_list_of(b);

	*out = x.count == y.count;
	for (size_t i = 0; *out && i < x.count; i++) {
		jinja_value left = gh__jinja_list_at(&x, i);
		jinja_value right = gh__jinja_list_at(&y, i);

		if (!equal(run, &left, &right, out, levels))
			return false;
	}
	return true;
}

static bool equal_dicts(jinja_run *run, const jinja_value *a, const jinja_value *b, bool *out,
			int levels)
{
	jinja_value key, left, right;
	void *cursor = NULL;

	*out = gh__jinja_dict_count(a) == gh__jinja_dict_count(b);
	while (*out && gh__jinja_dict_next(a, &cursor, &key, &left)) {
		if (!gh__jinja_dict_get(run, b, &key, &right, out))
			return false;
		if (*out && !equal(run, &left, &right, out, levels))
			return false;
	}
	return true;
}

static bool equal(jinja_run *run, const jinja_value *a, const jinja_value *b, bool *out, int levels)
{
	if (levels > MAX_LEVELS)
		return too_deep(run);
	if (!gh__jinja_charge(run, 1))
		return false;
	if (gh__jinja_is_number(a) && gh__jinja_is_number(b)) {
		*out = gh__jinja_real(a) == gh__jinja_real(a) && compare_numbers(a, b) == 0 &&
		       gh__jinja_real(b) == gh__jinja_real(b);
		return true;
	}
	*out = false;
	if (a->kind != b->kind)
		return true;
	switch (a->kind) {
	case JINJA_STRING:
		if (a->len != b->len)
			return true;
		*out = compare_texts(a, b) == 0;
		return gh__jinja_charge_bytes(run, a->len);
	case JINJA_LIST:
	case JINJA_TUPLE:
	case JINJA_RANGE:
		return equal_lists(run, a, b, out, levels + 1);
	case JINJA_DICT:
		return equal_dicts(run, a, b, out, levels + 1);
	case JINJA_NONE:
	case JINJA_UNDEFINED:
		*out = true;
		return true;
	default:
		*out = a->u.list == b->u.list;
		return true;
	}
}

bool gh__jinja_equal(jinja_run *run, const jinja_value *a, const jinja_value *b, bool *out)
{
	return equal(run, a, b, out, 0);
}

static bool order_of(jinja_run *run, const jinja_value *a, const jinja_value *b, int *order,
		     int levels)
{
	jinja_list x, y;

	if (levels > MAX_LEVELS)
		return too_deep(run);
	if (!gh__jinja_charge(run, 1))
		return false;
	if (gh__jinja_is_number(a) && gh__jinja_is_number(b)) {
		*order = compare_numbers(a, b);
		return true;
	}
	if (a->kind == JINJA_UNDEFINED || b->kind == JINJA_UNDEFINED)
		return gh__jinja_fail_undefined(run, a->kind == JINJA_UNDEFINED ? a : b);
	if (a->kind == JINJA_STRING && b->kind == JINJA_STRING) {
		*order = compare_texts(a, b);
		return gh__jinja_charge_bytes(run, a->len < b->len ? a->len : b->len);
	}
	if (a->kind != b->kind || (a->kind != JINJA_LIST && a->kind != JINJA_TUPLE))
		return gh__jinja_fail(run, GH_EINVAL, "'%s' and '%s' have no order among them",
				      gh__jinja_kind_name(a), gh__jinja_kind_name(b));
	x = gh__jinja_list_of(a);
	y = gh__jinja_list_of(b);
	for (size_t i = 0; i < x.count && i < y.count; i++) {
		jinja_value left = gh__jinja_list_at(&x, i);
		jinja_value right = gh__jinja_list_at(&y, i);
		bool same;

		if (!equal(run, &left, &right, &same, levels + 1))
			return false;
		if (!same)
			return order_of(run, &left, &right, order, levels + 1);
	}
	*order = (x.count > y.count) - (x.count < y.count);
	return true;
}

bool gh__jinja_order(jinja_run *run, const jinja_value *a, const jinja_value *b, int *order)
{
	return order_of(run, a, b, order, 0);
}

bool gh__jinja_contains(jinja_run *run, const jinja_value *box, const jinja_value *item, bool *out)
{
	jinja_value ignored;
	jinja_list list;

	*out = false;
	switch (box->kind) {
	case JINJA_STRING:
		if (item->kind != JINJA_STRING)
			return gh__jinja_fail(run, GH_EINVAL,
					      "'in <string>' requires a string, not %s",
					      gh__jinja_kind_name(item));
		*out = item->len == 0 ||
		       memmem(box->u.text, box->len, item->u.text, item->len) != NULL;
		return gh__jinja_charge_bytes(run, box->len);
	case JINJA_DICT:
		return gh__jinja_dict_get(run, box, item, &ignored, out);
	case JINJA_UNDEFINED:
	case JINJA_LIST:
	case JINJA_TUPLE:
	case JINJA_RANGE:
	case JINJA_VIEW:
	case JINJA_GENERATOR:
		if (!gh__jinja_iterate(run, box, &list))
			return false;
		for (size_t i = 0; !*out && i < list.count; i++) {
			jinja_value at = gh__jinja_list_at(&list, i);

			if (!gh__jinja_equal(run, &at, item, out))
				return false;
		}
		return true;
	default:
		return gh__jinja_fail(run, GH_EINVAL, "argument of type '%s' is not iterable",
				      gh__jinja_kind_name(box));
	}
}
