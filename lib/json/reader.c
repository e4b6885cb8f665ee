#include "json/json.h"

#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#include "base/buf.h"
#include "base/error.h"

#define TEXT_BYTES (1u << 20) /* before the error cuts it to its own size */
#define ABOVE_MAX  64         /* no tree of ours is deeper */

static const char *kind(const json_t *value)
{
	if (!value)
		return "nothing";
	switch (json_typeof(value)) {
	case JSON_OBJECT:
		return "an object";
	case JSON_ARRAY:
		return "an array";
	case JSON_STRING:
		return "a string";
	case JSON_INTEGER:
		return "an integer";
	case JSON_REAL:
		return "a number";
	case JSON_TRUE:
	case JSON_FALSE:
		return "a boolean";
	case JSON_NULL:
		break;
	}
	return "null";
}

static void append_step(gh__buf *out, const char *key, int index, bool first)
{
	if (key)
		gh__buf_printf(out, "%s%.64s", first ? "" : ".", key);
	if (index >= 0)
		gh__buf_printf(out, "[%d]", index);
}

/* "node-config.json: models.a.args[2]: ", or nothing for the root of an unnamed text. */
static void append_path(gh__buf *out, const gh__json_reader *r, const char *key)
{
	const gh__json_reader *steps[ABOVE_MAX];
	int count = 0;

	for (; r->above && count < ABOVE_MAX; r = r->above)
		steps[count++] = r;
	if (!r->above && r->name && *r->name)
		gh__buf_printf(out, "%s: ", r->name);

	size_t start = out->len;
	while (count > 0) {
		const gh__json_reader *step = steps[--count];

		append_step(out, step->name, step->index, out->len == start);
	}
	if (key)
		append_step(out, key, -1, out->len == start);
	if (out->len > start)
		gh__buf_append_str(out, ": ");
}

static gh_status record(gh__json_reader *r, gh_status status, const char *key, const char *format,
			va_list args)
{
	gh__buf text = GH__BUF_INIT(TEXT_BYTES);

	if (r->status != GH_OK)
		return r->status;
	append_path(&text, r, key);
	gh__buf_vprintf(&text, format, args);
	gh__fail(r->error, status, "%s", gh__buf_str(&text));
	gh__buf_free(&text);
	for (; r; r = r->above)
		if (r->status == GH_OK)
			r->status = status;
	return status;
}

gh_status gh__json_fail(gh__json_reader *r, const char *key, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	gh_status status = record(r, GH_EINVAL, key, format, args);
	va_end(args);
	return status;
}

gh_status gh__json_refuse(gh__json_reader *r, const char *key, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	gh_status status = record(r, GH_ENOTSUP, key, format, args);
	va_end(args);
	return status;
}

void gh__json_root(gh__json_reader *out, const json_t *value, const char *name, gh_error *error)
{
	*out = (gh__json_reader){ value, NULL, name, -1, error, GH_OK };
	if (!json_is_object(value))
		gh__json_fail(out, NULL, "expected an object, got %s", kind(value));
}

void gh__json_child(gh__json_reader *out, gh__json_reader *above, const char *key, int index,
		    const json_t *value)
{
	*out = (gh__json_reader){ value, above, key, index, above->error, above->status };
	if (!json_is_object(value))
		gh__json_fail(out, NULL, "expected an object, got %s", kind(value));
}

/* The member, or NULL when there is nothing to read: absent, null, or the reader has failed. */
static const json_t *member(gh__json_reader *r, const char *key)
{
	if (r->status != GH_OK)
		return NULL;
	const json_t *value = json_object_get(r->object, key);
	return json_is_null(value) ? NULL : value;
}

static bool wrong(gh__json_reader *r, const char *key, const char *expected, const json_t *value)
{
	gh__json_fail(r, key, "expected %s, got %s", expected, kind(value));
	return false;
}

bool gh__json_string_n(gh__json_reader *r, const char *key, const char **out, size_t *len)
{
	const json_t *value = member(r, key);

	if (!value)
		return false;
	if (!json_is_string(value))
		return wrong(r, key, "a string", value);
	*out = json_string_value(value);
	*len = json_string_length(value);
	return true;
}

bool gh__json_string(gh__json_reader *r, const char *key, const char **out)
{
	const char *text;
	size_t len;

	if (!gh__json_string_n(r, key, &text, &len))
		return false;
	if (strlen(text) != len) {
		gh__json_fail(r, key, "expected a string without NUL characters");
		return false;
	}
	*out = text;
	return true;
}

bool gh__json_int(gh__json_reader *r, const char *key, int64_t min, int64_t max, int64_t *out)
{
	const json_t *value = member(r, key);

	if (!value)
		return false;
	if (!json_is_integer(value))
		return wrong(r, key, "an integer", value);
	int64_t got = json_integer_value(value);
	if (got < min || got > max) {
		gh__json_fail(r, key, "%" PRId64 " is not between %" PRId64 " and %" PRId64, got,
			      min, max);
		return false;
	}
	*out = got;
	return true;
}

bool gh__json_real(gh__json_reader *r, const char *key, double min, double max, double *out)
{
	const json_t *value = member(r, key);

	if (!value)
		return false;
	if (!json_is_number(value))
		return wrong(r, key, "a number", value);
	double got = json_number_value(value);
	if (!(got >= min && got <= max)) {
		gh__json_fail(r, key, "%g is not between %g and %g", got, min, max);
		return false;
	}
	*out = got;
	return true;
}

bool gh__json_bool(gh__json_reader *r, const char *key, bool *out)
{
	const json_t *value = member(r, key);

	if (!value)
		return false;
	if (!json_is_boolean(value))
		return wrong(r, key, "a boolean", value);
	*out = json_is_true(value);
	return true;
}

bool gh__json_array(gh__json_reader *r, const char *key, const json_t **out)
{
	const json_t *value = member(r, key);

	if (!value)
		return false;
	if (!json_is_array(value))
		return wrong(r, key, "an array", value);
	*out = value;
	return true;
}

bool gh__json_object(gh__json_reader *r, const char *key, const json_t **out)
{
	const json_t *value = member(r, key);

	if (!value)
		return false;
	if (!json_is_object(value))
		return wrong(r, key, "an object", value);
	*out = value;
	return true;
}

void gh__json_require(gh__json_reader *r, const char *key)
{
	if (r->status == GH_OK && !member(r, key))
		gh__json_fail(r, key, "missing");
}

gh_status gh__json_reader_status(const gh__json_reader *r)
{
	return r->status;
}
