#include "text/jinja/value.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"

bool gh__jinja_fail(jinja_run *run, gh_status status, const char *format, ...)
{
	char text[sizeof(((gh_error *)0)->text)];
	va_list args;

	if (run->status != GH_OK)
		return false;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	run->status =
		gh__fail(run->error, status, "template, line %u: %s", (unsigned)run->line, text);
	return false;
}

bool gh__jinja_charge(jinja_run *run, size_t steps)
{
	run->steps += steps;
	if (run->steps <= GH__JINJA_MAX_STEPS)
		return true;
	return gh__jinja_fail(run, GH_ETOOBIG, "more than %u steps", GH__JINJA_MAX_STEPS);
}

bool gh__jinja_charge_bytes(jinja_run *run, size_t bytes)
{
	return gh__jinja_charge(run, bytes / 32);
}

bool gh__jinja_affords(const jinja_run *run, size_t bytes)
{
	return bytes / 32 <= GH__JINJA_MAX_STEPS - run->steps;
}

void *gh__jinja_run_alloc(jinja_run *run, size_t count, size_t size)
{
	void *memory = gh__jinja_alloc(&run->arena, count, size);

	if (!memory && run->arena.status == GH_ENOMEM)
		gh__jinja_fail(run, GH_ENOMEM, "out of memory");
	else if (!memory)
		gh__jinja_fail(run, GH_ETOOBIG, "values of more than %u bytes",
			       GH__JINJA_MAX_MEMORY);
	return memory;
}

jinja_value gh__jinja_none(void)
{
	return (jinja_value){ .kind = JINJA_NONE };
}

jinja_value gh__jinja_bool(bool value)
{
	return (jinja_value){ .kind = JINJA_BOOL, .u.integer = value };
}

jinja_value gh__jinja_int(int64_t value)
{
	return (jinja_value){ .kind = JINJA_INT, .u.integer = value };
}

jinja_value gh__jinja_float(double value)
{
	return (jinja_value){ .kind = JINJA_FLOAT, .u.real = value };
}

jinja_value gh__jinja_text(const char *text, size_t len)
{
	return (jinja_value){ .kind = JINJA_STRING, .len = len, .u.text = text };
}

jinja_value gh__jinja_undefined(const jinja_value *object, const char *name, size_t len)
{
	return (jinja_value){ .kind = JINJA_UNDEFINED,
			      .form = object ? object->kind : 0,
			      .len = len,
			      .u.text = name };
}

jinja_value gh__jinja_from_json(const json_t *json)
{
	jinja_value value = { .form = JINJA_JSON, .u.json = json };

	switch (json_typeof(json)) {
	case JSON_OBJECT:
		value.kind = JINJA_DICT;
		return value;
	case JSON_ARRAY:
		value.kind = JINJA_LIST;
		return value;
	case JSON_STRING:
		return gh__jinja_text(json_string_value(json), json_string_length(json));
	case JSON_INTEGER:
		return gh__jinja_int(json_integer_value(json));
	case JSON_REAL:
		return gh__jinja_float(json_real_value(json));
	case JSON_TRUE:
	case JSON_FALSE:
		return gh__jinja_bool(json_is_true(json));
	default:
		return gh__jinja_none();
	}
}

bool gh__jinja_copy_text(jinja_run *run, const char *text, size_t len, jinja_value *out)
{
	char *copy;

	if (len > GH__JINJA_MAX_OUTPUT)
		return gh__jinja_fail(run, GH_ETOOBIG, "a text of more than %u bytes",
				      GH__JINJA_MAX_OUTPUT);
	if (!gh__jinja_charge_bytes(run, len))
		return false;
	copy = gh__jinja_run_alloc(run, len, 1);
	if (!copy)
		return false;
	if (len)
		memcpy(copy, text, len);
	*out = gh__jinja_text(copy, len);
	return true;
}

bool gh__jinja_take_buf(jinja_run *run, gh__buf *buf, jinja_value *out)
{
	gh_status status = gh__buf_status(buf);
	bool ok;

	if (status == GH_ENOMEM)
		ok = gh__jinja_fail(run, status, "out of memory");
	else if (status != GH_OK)
		ok = gh__jinja_fail(run, GH_ETOOBIG, "a text of more than %u bytes",
				    GH__JINJA_MAX_OUTPUT);
	else
		ok = gh__jinja_copy_text(run, gh__buf_str(buf), buf->len, out);
	gh__buf_free(buf);
	return ok;
}

bool gh__jinja_make_list(jinja_run *run, jinja_kind kind, const jinja_value *items, size_t count,
			 jinja_value *out)
{
	jinja_list *list = gh__jinja_run_alloc(run, 1, sizeof(*list));

	if (!list)
		return false;
	list->items = items;
	list->step = 1;
	list->count = count;
	*out = (jinja_value){ .kind = (uint8_t)kind, .u.list = list };
	return true;
}

bool gh__jinja_share_list(jinja_run *run, jinja_kind kind, const jinja_list *list, jinja_value *out)
{
	if (!gh__jinja_make_list(run, kind, list->items, list->count, out))
		return false;
	out->u.list->json = list->json;
	out->u.list->start = list->start;
	out->u.list->step = list->step;
	return true;
}

/* The list's capacity is that of its items, which only this function has made. */
bool gh__jinja_push_item(jinja_run *run, jinja_list *list, const jinja_value *item)
{
	if (list->count == list->capacity) {
		size_t capacity = list->capacity ? 2 * list->capacity : 8;
		jinja_value *items = gh__jinja_run_alloc(run, capacity, sizeof(*items));

		if (!items)
			return false;
		if (list->count)
			memcpy(items, list->items, list->count * sizeof(*items));
		list->items = items;
		list->capacity = capacity;
		list->step = 1;
	}
	((jinja_value *)(uintptr_t)list->items)[list->count++] = *item;
	return gh__jinja_charge(run, 1);
}

bool gh__jinja_pair_up(jinja_run *run, const jinja_value *first, const jinja_value *second,
		       jinja_value *out)
{
	jinja_value *items = gh__jinja_run_alloc(run, 2, sizeof(*items));

	if (!items)
		return false;
	items[0] = *first;
	items[1] = *second;
	return gh__jinja_make_list(run, JINJA_TUPLE, items, 2, out);
}

bool gh__jinja_make_dict(jinja_run *run, jinja_kind kind, size_t capacity, jinja_value *out)
{
	jinja_dict *dict = gh__jinja_run_alloc(run, 1, sizeof(*dict));

	if (!dict)
		return false;
	if (capacity) {
		dict->pairs = gh__jinja_run_alloc(run, capacity, sizeof(*dict->pairs));
		if (!dict->pairs)
			return false;
	}
	dict->capacity = capacity;
	*out = (jinja_value){ .kind = (uint8_t)kind, .u.dict = dict };
	return true;
}

bool gh__jinja_dict_put(jinja_run *run, jinja_value *dict, const jinja_value *key,
			const jinja_value *value)
{
	jinja_dict *d = dict->u.dict;

	if (key->kind == JINJA_LIST || key->kind == JINJA_DICT)
		return gh__jinja_fail(run, GH_EINVAL, "a %s cannot be a key",
				      gh__jinja_kind_name(key));
	for (size_t i = 0; i < d->count; i++) {
		bool same;

		if (!gh__jinja_equal(run, &d->pairs[i].key, key, &same))
			return false;
		if (same) {
			d->pairs[i].value = *value;
			return true;
		}
	}
	if (d->count == d->capacity) {
		size_t capacity = d->capacity ? 2 * d->capacity : 4;
		jinja_pair *pairs = gh__jinja_run_alloc(run, capacity, sizeof(*pairs));

		if (!pairs)
			return false;
		if (d->count)
			memcpy(pairs, d->pairs, d->count * sizeof(*pairs));
		d->pairs = pairs;
		d->capacity = capacity;
	}
	d->pairs[d->count].key = *key;
	d->pairs[d->count++].value = *value;
	return true;
}

const char *gh__jinja_kind_name(const jinja_value *value)
{
	static const char *const names[] = {
		[JINJA_ABSENT] = "nothing",
		[JINJA_UNDEFINED] = "Undefined",
		[JINJA_NONE] = "NoneType",
		[JINJA_BOOL] = "bool",
		[JINJA_INT] = "int",
		[JINJA_FLOAT] = "float",
		[JINJA_STRING] = "str",
		[JINJA_LIST] = "list",
		[JINJA_TUPLE] = "tuple",
		[JINJA_RANGE] = "range",
		[JINJA_VIEW] = "view of a dict",
		[JINJA_GENERATOR] = "generator",
		[JINJA_DICT] = "dict",
		[JINJA_NAMESPACE] = "Namespace",
		[JINJA_LOOP] = "LoopContext",
		[JINJA_MACRO] = "Macro",
		[JINJA_METHOD] = "method",
		[JINJA_FUNCTION] = "function",
	};

	return names[value->kind];
}

bool gh__jinja_is_number(const jinja_value *value)
{
	return value->kind == JINJA_BOOL || value->kind == JINJA_INT || value->kind == JINJA_FLOAT;
}

double gh__jinja_real(const jinja_value *number)
{
	return number->kind == JINJA_FLOAT ? number->u.real : (double)number->u.integer;
}

bool gh__jinja_is_sequence(const jinja_value *value)
{
	return value->kind == JINJA_LIST || value->kind == JINJA_TUPLE ||
	       value->kind == JINJA_RANGE;
}

bool gh__jinja_truth(const jinja_value *value)
{
	switch (value->kind) {
	case JINJA_ABSENT:
	case JINJA_UNDEFINED:
	case JINJA_NONE:
		return false;
	case JINJA_BOOL:
	case JINJA_INT:
		return value->u.integer != 0;
	case JINJA_FLOAT:
		return value->u.real != 0;
	case JINJA_STRING:
		return value->len != 0;
	case JINJA_LIST:
	case JINJA_TUPLE:
	case JINJA_RANGE:
	case JINJA_VIEW:
		return gh__jinja_list_of(value).count != 0;
	case JINJA_DICT:
		return gh__jinja_dict_count(value) != 0;
	default:
		return true;
	}
}

jinja_list gh__jinja_list_of(const jinja_value *value)
{
	if (value->form != JINJA_JSON)
		return *value->u.list;
	return (jinja_list){ .json = value->u.json,
			     .step = 1,
			     .count = json_array_size(value->u.json) };
}

jinja_value gh__jinja_list_at(const jinja_list *list, size_t index)
{
	int64_t at = list->start + (int64_t)index * list->step;

	if (list->items)
		return list->items[at];
	if (list->json)
		return gh__jinja_from_json(json_array_get(list->json, (size_t)at));
	return gh__jinja_int(at);
}

size_t gh__jinja_dict_count(const jinja_value *dict)
{
	return dict->form == JINJA_JSON ? json_object_size(dict->u.json) : dict->u.dict->count;
}

bool gh__jinja_dict_next(const jinja_value *dict, void **cursor, jinja_value *key,
			 jinja_value *value)
{
	jinja_pair *pair = *cursor;
	jinja_dict *d;

	if (dict->form == JINJA_JSON) {
		/* Jansson's iterators take a mutable object, but a walk changes nothing. */
		json_t *json = (json_t *)dict->u.json;

		*cursor = *cursor ? json_object_iter_next(json, *cursor) : json_object_iter(json);
		if (!*cursor)
			return false;
		*key = gh__jinja_text(json_object_iter_key(*cursor),
				      json_object_iter_key_len(*cursor));
		*value = gh__jinja_from_json(json_object_iter_value(*cursor));
		return true;
	}
	d = dict->u.dict;
	pair = pair ? pair + 1 : d->pairs;
	if (d->count == 0 || pair == d->pairs + d->count)
		return false;
	*cursor = pair;
	*key = pair->key;
	*value = pair->value;
	return true;
}

bool gh__jinja_dict_get(jinja_run *run, const jinja_value *dict, const jinja_value *key,
			jinja_value *out, bool *found)
{
	*found = false;
	if (dict->form == JINJA_JSON) {
		const json_t *member = NULL;

		if (key->kind == JINJA_STRING)
			member = json_object_getn(dict->u.json, key->u.text, key->len);
		*found = member != NULL;
		if (member)
			*out = gh__jinja_from_json(member);
		return true;
	}
	for (size_t i = 0; i < dict->u.dict->count && !*found; i++) {
		if (!gh__jinja_equal(run, &dict->u.dict->pairs[i].key, key, found))
			return false;
		if (*found)
			*out = dict->u.dict->pairs[i].value;
	}
	return true;
}

/* One string a character. */
static bool characters(jinja_run *run, const jinja_value *text, jinja_list *out)
{
	jinja_value *items;
	size_t count = 0;

	for (size_t i = 0; i < text->len; i++)
		count += (text->u.text[i] & 0xc0) != 0x80;
	items = gh__jinja_charge(run, count) ? gh__jinja_run_alloc(run, count, sizeof(*items))
					     : NULL;
	if (!items)
		return false;
	for (size_t i = 0, n = 0; i < text->len; n++) {
		size_t end = i + 1;

		while (end < text->len && (text->u.text[end] & 0xc0) == 0x80)
			end++;
		items[n] = gh__jinja_text(text->u.text + i, end - i);
		i = end;
	}
	*out = (jinja_list){ .items = items, .step = 1, .count = count };
	return true;
}

bool gh__jinja_iterate(jinja_run *run, const jinja_value *value, jinja_list *out)
{
	jinja_value *keys, ignored;
	void *cursor = NULL;
	size_t count;

	switch (value->kind) {
	case JINJA_UNDEFINED:
		*out = (jinja_list){ .step = 1 };
		return true;
	case JINJA_STRING:
		return characters(run, value, out);
	case JINJA_GENERATOR:
		*out = *value->u.list;
		if (value->u.list->spent)
			out->count = 0;
		value->u.list->spent = true;
		return true;
	case JINJA_LIST:
	case JINJA_TUPLE:
	case JINJA_RANGE:
	case JINJA_VIEW:
		*out = gh__jinja_list_of(value);
		return true;
	case JINJA_DICT:
		count = gh__jinja_dict_count(value);
		keys = gh__jinja_charge(run, count) ? gh__jinja_run_alloc(run, count, sizeof(*keys))
						    : NULL;
		if (!keys)
			return false;
		for (size_t i = 0; gh__jinja_dict_next(value, &cursor, &keys[i], &ignored);)
			i++;
		*out = (jinja_list){ .items = keys, .step = 1, .count = count };
		return true;
	default:
		return gh__jinja_fail(run, GH_EINVAL, "'%s' object is not iterable",
				      gh__jinja_kind_name(value));
	}
}
