#include "text/jinja/node.h"

#include <inttypes.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

/*
 * A text that was joined from others stands in a growth, with room behind it: joining once more
 * to the latest of them needs no copy, so that a template may build a long text piece by piece.
 */
typedef struct jinja_growth {
	size_t used;
	size_t capacity;
	char text[];
} jinja_growth;

static jinja_growth *growth_of(const jinja_value *text)
{
	const char *base = text->u.text - offsetof(jinja_growth, text);

	return (jinja_growth *)(uintptr_t)base;
}

bool gh__jinja_concat(jinja_run *run, const jinja_value *a, const jinja_value *b, jinja_value *out)
{
	size_t len = a->len + b->len;
	bool grows = a->form == JINJA_GROWS;
	jinja_growth *growth = grows ? growth_of(a) : NULL;
	size_t capacity = grows ? 2 * len : len;

	if (len > GH__JINJA_MAX_OUTPUT)
		return gh__jinja_fail(run, GH_ETOOBIG, "a text of more than %u bytes",
				      GH__JINJA_MAX_OUTPUT);
	if (!gh__jinja_charge_bytes(run, b->len))
		return false;
	if (!grows || growth->used != a->len || growth->capacity < len) {
		if (!gh__jinja_charge_bytes(run, a->len))
			return false;
		growth = gh__jinja_run_alloc(run, 1, sizeof(*growth) + capacity);
		if (!growth)
			return false;
		growth->capacity = capacity;
		if (a->len)
			memcpy(growth->text, a->u.text, a->len);
	}
	if (b->len)
		memmove(growth->text + a->len, b->u.text, b->len);
	growth->used = len;
	*out = gh__jinja_text(growth->text, len);
	out->form = JINJA_GROWS;
	return true;
}

/* Lists share their store in the same way. */
static bool join_lists(jinja_run *run, const jinja_value *a, const jinja_value *b, jinja_value *out)
{
	jinja_list x = gh__jinja_list_of(a);
	jinja_list y = gh__jinja_list_of(b);
	size_t count = x.count + y.count;
	size_t capacity = x.used ? 2 * count : count;
	jinja_value *items;

	if (!gh__jinja_charge(run, y.count / 4))
		return false;
	if (x.used && *x.used == x.count && x.capacity >= count) {
		items = (jinja_value *)(uintptr_t)x.items;
	} else {
		if (!gh__jinja_charge(run, x.count / 4))
			return false;
		items = gh__jinja_run_alloc(run, capacity, sizeof(*items));
		x.used = items ? gh__jinja_run_alloc(run, 1, sizeof(*x.used)) : NULL;
		if (!x.used)
			return false;
		x.capacity = capacity;
		for (size_t i = 0; i < x.count; i++)
			items[i] = gh__jinja_list_at(&x, i);
	}
	for (size_t i = 0; i < y.count; i++)
		items[x.count + i] = gh__jinja_list_at(&y, i);
	*x.used = count;
	if (!gh__jinja_make_list(run, a->kind, items, count, out))
		return false;
	out->u.list->used = x.used;
	out->u.list->capacity = x.capacity;
	return true;
}

static bool repeat(jinja_run *run, const jinja_value *what, int64_t times, jinja_value *out)
{
	bool text = what->kind == JINJA_STRING;
	jinja_list list = { .step = 1 };
	size_t count, total;
	jinja_value *items;
	char *copy;

	if (!text)
		list = gh__jinja_list_of(what);
	count = text ? what->len : list.count;
	if (times < 0)
		times = 0;
	if (__builtin_mul_overflow(count, (size_t)times, &total) || total > GH__JINJA_MAX_OUTPUT)
		return gh__jinja_fail(run, GH_ETOOBIG, "a text or list of more than %u elements",
				      GH__JINJA_MAX_OUTPUT);
	if (!gh__jinja_charge(run, total / (text ? 32 : 4)))
		return false;
	if (text) {
		copy = gh__jinja_run_alloc(run, total, 1);
		if (!copy)
			return false;
		for (size_t i = 0; i < total; i += count)
			memcpy(copy + i, what->u.text, count);
		*out = gh__jinja_text(copy, total);
		return true;
	}
	items = gh__jinja_run_alloc(run, total, sizeof(*items));
	if (!items)
		return false;
	for (size_t i = 0; i < total; i++)
		items[i] = gh__jinja_list_at(&list, i % count);
	return gh__jinja_make_list(run, what->kind, items, total, out);
}

static bool overflow(jinja_run *run)
{
	return gh__jinja_fail(run, GH_EINVAL, "an integer of more than 64 bits");
}

static bool power(jinja_run *run, int64_t base, int64_t exponent, jinja_value *out)
{
	int64_t result = 1;

	if (exponent < 0) {
		if (!base)
			return gh__jinja_fail(run, GH_EINVAL, "division by zero");
		*out = gh__jinja_float(pow((double)base, (double)exponent));
		return true;
	}
	while (exponent) {
		if ((exponent & 1) && __builtin_mul_overflow(result, base, &result))
			return overflow(run);
		exponent >>= 1;
		if (exponent && __builtin_mul_overflow(base, base, &base))
			return overflow(run);
	}
	*out = gh__jinja_int(result);
	return true;
}

static bool integers(jinja_run *run, int op, int64_t a, int64_t b, jinja_value *out)
{
	int64_t r = 0;
	bool over = false;

	if ((op == '/' || op == '%' || op == TOKEN_FLOOR) && b == 0)
		return gh__jinja_fail(run, GH_EINVAL, "division by zero");
	switch (op) {
	case '+':
		over = __builtin_add_overflow(a, b, &r);
		break;
	case '-':
		over = __builtin_sub_overflow(a, b, &r);
		break;
	case '*':
		over = __builtin_mul_overflow(a, b, &r);
		break;
	case '/':
		*out = gh__jinja_float((double)a / (double)b);
		return true;
	case '%':
		r = b == -1 ? 0 : a % b;
		if (r && (r < 0) != (b < 0))
			r += b;
		break;
	case TOKEN_FLOOR:
		if (b == -1) {
			over = __builtin_sub_overflow((int64_t)0, a, &r);
			break;
		}
		r = a / b;
		if (a % b && (a < 0) != (b < 0))
			r--;
		break;
	default:
		return power(run, a, b, out);
	}
	if (over)
		return overflow(run);
	*out = gh__jinja_int(r);
	return true;
}

static bool reals(jinja_run *run, int op, double a, double b, jinja_value *out)
{
	double mod, div;

	if ((op == '/' || op == '%' || op == TOKEN_FLOOR) && b == 0)
		return gh__jinja_fail(run, GH_EINVAL, "division by zero");
	switch (op) {
	case '+':
		*out = gh__jinja_float(a + b);
		return true;
	case '-':
		*out = gh__jinja_float(a - b);
		return true;
	case '*':
		*out = gh__jinja_float(a * b);
		return true;
	case '/':
		*out = gh__jinja_float(a / b);
		return true;
	case TOKEN_POWER:
		if ((a == 0 && b < 0) || (a < 0 && b != floor(b)))
			return gh__jinja_fail(run, GH_EINVAL, "a power that is no real number");
		*out = gh__jinja_float(pow(a, b));
		return true;
	default:
		break;
	}
	mod = fmod(a, b);
	div = (a - mod) / b;
	if (mod != 0 && (mod < 0) != (b < 0)) {
		mod += b;
		div -= 1;
	} else if (mod == 0) {
		mod = copysign(0, b);
	}
	if (op == '%') {
		*out = gh__jinja_float(mod);
		return true;
	}
	/* The quotient is integral but for rounding. */
	if (div == 0)
		div = copysign(0, a / b);
	else
		div = div - floor(div) > 0.5 ? floor(div) + 1 : floor(div);
	*out = gh__jinja_float(div);
	return true;
}

bool gh__jinja_arithmetic(jinja_run *run, int op, const jinja_value *a, const jinja_value *b,
			  jinja_value *out)
{
	bool list = a->kind == JINJA_LIST || a->kind == JINJA_TUPLE;
	const char name[] = { (char)op, '\0' };

	if (a->kind == JINJA_UNDEFINED || b->kind == JINJA_UNDEFINED)
		return gh__jinja_fail_undefined(run, a->kind == JINJA_UNDEFINED ? a : b);
	if (gh__jinja_is_number(a) && gh__jinja_is_number(b)) {
		if (a->kind != JINJA_FLOAT && b->kind != JINJA_FLOAT)
			return integers(run, op, a->u.integer, b->u.integer, out);
		return reals(run, op, gh__jinja_real(a), gh__jinja_real(b), out);
	}
	if (op == '+' && a->kind == b->kind) {
		if (a->kind == JINJA_STRING)
			return gh__jinja_concat(run, a, b, out);
		if (list)
			return join_lists(run, a, b, out);
	}
	if (op == '*' && (a->kind == JINJA_STRING || list) &&
	    (b->kind == JINJA_INT || b->kind == JINJA_BOOL))
		return repeat(run, a, b->u.integer, out);
	if (op == '*' && (a->kind == JINJA_INT || a->kind == JINJA_BOOL) &&
	    (b->kind == JINJA_STRING || b->kind == JINJA_LIST || b->kind == JINJA_TUPLE))
		return repeat(run, b, a->u.integer, out);
	if (op == '%' && a->kind == JINJA_STRING)
		return gh__jinja_fail(run, GH_EINVAL, "formatting with %% is not supported");
	return gh__jinja_fail(run, GH_EINVAL, "'%s' does not work on '%s' and '%s'",
			      op == TOKEN_FLOOR   ? "//"
			      : op == TOKEN_POWER ? "**"
						  : name,
			      gh__jinja_kind_name(a), gh__jinja_kind_name(b));
}

bool gh__jinja_negate(jinja_run *run, const jinja_value *a, bool minus, jinja_value *out)
{
	int64_t integer;

	if (a->kind == JINJA_UNDEFINED)
		return gh__jinja_fail_undefined(run, a);
	if (!gh__jinja_is_number(a))
		return gh__jinja_fail(run, GH_EINVAL, "a sign does not work on '%s'",
				      gh__jinja_kind_name(a));
	if (a->kind == JINJA_FLOAT) {
		*out = gh__jinja_float(minus ? -a->u.real : a->u.real);
		return true;
	}
	if (__builtin_sub_overflow((int64_t)0, a->u.integer, &integer) && minus)
		return overflow(run);
	*out = gh__jinja_int(minus ? integer : a->u.integer);
	return true;
}

/*
 * Subscripts.
 */

static bool slice_text(jinja_run *run, const jinja_value *text, int64_t start, int64_t step,
		       size_t count, bool ascii, jinja_value *out)
{
	gh__buf copy = GH__BUF_INIT(GH__JINJA_MAX_OUTPUT);
	jinja_value string = *text;
	jinja_list characters;

	if (step == 1) {
		size_t begin =
			ascii ? (size_t)start
			      : gh__jinja_character_offset(text->u.text, text->len, (size_t)start);
		size_t len = ascii ? count
				   : gh__jinja_character_offset(text->u.text + begin,
								text->len - begin, count);

		*out = gh__jinja_text(text->u.text + begin, len);
		return true;
	}
	if (!gh__jinja_iterate(run, &string, &characters))
		return false;
	for (size_t i = 0; i < count; i++) {
		jinja_value c = gh__jinja_list_at(&characters, (size_t)(start + (int64_t)i * step));

		gh__buf_append(&copy, c.u.text, c.len);
	}
	return gh__jinja_take_buf(run, &copy, out);
}

bool gh__jinja_slice(jinja_run *run, const jinja_value *object, const jinja_value bounds[3],
		     jinja_value *out)
{
	int64_t step, start, stop, size;
	jinja_list list = { .step = 1 };
	size_t count = 0;
	bool text = object->kind == JINJA_STRING;

	if (object->kind == JINJA_UNDEFINED)
		return gh__jinja_fail_undefined(run, object);
	if (text) {
		if (!gh__jinja_charge_bytes(run, object->len))
			return false;
		size = (int64_t)gh__jinja_count_characters(object->u.text, object->len);
	} else if (gh__jinja_is_sequence(object)) {
		list = gh__jinja_list_of(object);
		size = (int64_t)list.count;
	} else {
		return gh__jinja_fail(run, GH_EINVAL, "'%s' object has no slices",
				      gh__jinja_kind_name(object));
	}
	if (!gh__jinja_want_int(run, &bounds[2], "the step of a slice", 1, &step))
		return false;
	if (!step)
		return gh__jinja_fail(run, GH_EINVAL, "a slice whose step is 0");
	if (!gh__jinja_want_int(run, &bounds[0], "the start of a slice", step > 0 ? 0 : size,
				&start) ||
	    !gh__jinja_want_int(run, &bounds[1], "the end of a slice", step > 0 ? size : -size - 1,
				&stop))
		return false;
	step = step > size ? size + 1 : step < -size ? -size - 1 : step;
	/* Bounds below zero count from the end; then both are brought to where they matter. */
	start = start < 0 ? (start < -size ? -1 : start + size) : start;
	stop = stop < 0 ? (stop < -size ? -1 : stop + size) : stop;
	if (step > 0) {
		start = start < 0 ? 0 : start > size ? size : start;
		stop = stop < 0 ? 0 : stop > size ? size : stop;
		if (stop > start)
			count = (size_t)((stop - start - 1) / step + 1);
	} else {
		start = start >= size ? size - 1 : start;
		stop = stop >= size ? size - 1 : stop;
		if (start > stop)
			count = (size_t)((start - stop - 1) / -step + 1);
	}
	if (text)
		return slice_text(run, object, start, step, count, (size_t)size == object->len,
				  out);
	list.start += (count ? start : 0) * list.step;
	list.step = count > 1 ? step * list.step : 1;
	list.count = count;
	return gh__jinja_share_list(run, (jinja_kind)object->kind, &list, out);
}

/* An attribute that values of this kind have from Python: a method. */
static bool method_of(jinja_run *run, const jinja_value *object, const char *name, size_t len,
		      jinja_value *out, bool *found)
{
	const jinja_builtin *builtin = gh__jinja_find_method(object->kind, name, len);
	jinja_method *method;

	*found = builtin != NULL;
	if (!builtin)
		return true;
	if (!builtin->fn) {
		*out = gh__jinja_undefined(object, name, len);
		return true;
	}
	method = gh__jinja_run_alloc(run, 1, sizeof(*method));
	if (!method)
		return false;
	method->self = *object;
	method->builtin = builtin;
	*out = (jinja_value){ .kind = JINJA_METHOD, .u.method = method };
	return true;
}

static bool member_of(jinja_run *run, const jinja_value *object, const jinja_value *key,
		      jinja_value *out, bool *found)
{
	*found = false;
	if (object->kind == JINJA_DICT || object->kind == JINJA_NAMESPACE)
		return gh__jinja_dict_get(run, object, key, out, found);
	return true;
}

bool gh__jinja_attribute(jinja_run *run, const jinja_value *object, const char *name, size_t len,
			 jinja_value *out)
{
	jinja_value key = gh__jinja_text(name, len);
	bool found = false;

	if (object->kind == JINJA_UNDEFINED)
		return gh__jinja_fail_undefined(run, object);
	if (object->kind == JINJA_LOOP) {
		if (!gh__jinja_loop_attribute(run, object, name, len, out, &found))
			return false;
	}
	if (!found && !method_of(run, object, name, len, out, &found))
		return false;
	if (!found && !member_of(run, object, &key, out, &found))
		return false;
	if (!found)
		*out = gh__jinja_undefined(object, name, len);
	return true;
}

static bool item_at(jinja_run *run, const jinja_value *object, int64_t index, jinja_value *out)
{
	jinja_list list = { .step = 1 };
	bool text = object->kind == JINJA_STRING;
	char name[24];
	jinja_value copy;
	int64_t size;
	size_t begin, len;

	if (text) {
		if (!gh__jinja_charge_bytes(run, object->len))
			return false;
		size = (int64_t)gh__jinja_count_characters(object->u.text, object->len);
	} else {
		list = gh__jinja_list_of(object);
		size = (int64_t)list.count;
	}
	if (index < -size || index >= size) {
		len = (size_t)snprintf(name, sizeof(name), "%" PRId64, index);
		if (!gh__jinja_copy_text(run, name, len, &copy))
			return false;
		*out = gh__jinja_undefined(object, copy.u.text, copy.len);
		return true;
	}
	if (index < 0)
		index += size;
	if (!text) {
		*out = gh__jinja_list_at(&list, (size_t)index);
		return true;
	}
	begin = gh__jinja_character_offset(object->u.text, object->len, (size_t)index);
	len = gh__jinja_character_offset(object->u.text + begin, object->len - begin, 1);
	*out = gh__jinja_text(object->u.text + begin, len);
	return true;
}

bool gh__jinja_item(jinja_run *run, const jinja_value *object, const jinja_value *key,
		    jinja_value *out)
{
	bool found = false;

	if (object->kind == JINJA_UNDEFINED)
		return gh__jinja_fail_undefined(run, object);
	if ((gh__jinja_is_sequence(object) || object->kind == JINJA_STRING) &&
	    (key->kind == JINJA_INT || key->kind == JINJA_BOOL))
		return item_at(run, object, key->u.integer, out);
	if (!member_of(run, object, key, out, &found))
		return false;
	if (found)
		return true;
	if (key->kind == JINJA_STRING)
		return gh__jinja_attribute(run, object, key->u.text, key->len, out);
	*out = gh__jinja_undefined(object, gh__jinja_kind_name(key),
				   strlen(gh__jinja_kind_name(key)));
	return true;
}
