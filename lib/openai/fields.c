#include "openai/fields.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/number.h"
#include "json/json.h"

#define LOC_SIZE 160

static const char *loc_of(char loc[LOC_SIZE], const char *name)
{
	snprintf(loc, LOC_SIZE, "'%s'", name);
	return loc;
}

const json_t *gh__field(const gh__fields *f, const char *name)
{
	const json_t *value = json_object_get(f->object, name);

	return f->error->status != 0 || json_is_null(value) ? NULL : value;
}

bool gh__field_text(const gh__fields *f, const char *name, const char **out)
{
	const json_t *value = gh__field(f, name);
	char loc[LOC_SIZE];

	if (!value)
		return false;
	if (!json_is_string(value)) {
		gh__openai_finding(f->error, "string_type", loc_of(loc, name),
				   "Input should be a valid string");
		return false;
	}
	if (strlen(json_string_value(value)) != json_string_length(value)) {
		gh__openai_finding(f->error, "string_type", loc_of(loc, name),
				   "Input should be a valid string without NUL");
		return false;
	}
	*out = json_string_value(value);
	return true;
}

static bool text_number(const json_t *value, double *out)
{
	const char *text = json_string_value(value);

	while (*text == ' ')
		text++;
	return gh__parse_double(text, out);
}

bool gh__value_int(gh__openai_error *error, const json_t *value, const char *loc, int64_t *out)
{
	double real;

	if (json_is_integer(value)) {
		*out = json_integer_value(value);
		return true;
	}
	if (json_is_boolean(value)) {
		*out = json_is_true(value);
		return true;
	}
	if (json_is_string(value)) {
		if (gh__parse_int64(json_string_value(value), out))
			return true;
		if (!text_number(value, &real) || real != floor(real)) {
			gh__openai_finding(error, "int_parsing", loc,
					   "Input should be a valid integer, unable to parse "
					   "string as an integer");
			return false;
		}
	} else if (json_is_real(value)) {
		real = json_real_value(value);
		if (real != floor(real)) {
			gh__openai_finding(error, "int_from_float", loc,
					   "Input should be a valid integer, got a number with a "
					   "fractional part");
			return false;
		}
	} else {
		gh__openai_finding(error, "int_type", loc, "Input should be a valid integer");
		return false;
	}
	if (!(real >= -9.2e18 && real <= 9.2e18)) {
		gh__openai_finding(error, "int_parsing_size", loc,
				   "Input should be a valid integer of at most 64 bits");
		return false;
	}
	*out = (int64_t)real;
	return true;
}

bool gh__value_real(gh__openai_error *error, const json_t *value, const char *loc, double *out)
{
	if (json_is_number(value)) {
		*out = json_number_value(value);
		return true;
	}
	if (json_is_boolean(value)) {
		*out = json_is_true(value);
		return true;
	}
	if (json_is_string(value)) {
		if (text_number(value, out))
			return true;
		gh__openai_finding(error, "float_parsing", loc,
				   "Input should be a valid number, unable to parse string as a "
				   "number");
		return false;
	}
	gh__openai_finding(error, "float_type", loc, "Input should be a valid number");
	return false;
}

bool gh__field_int(const gh__fields *f, const char *name, int64_t *out)
{
	const json_t *value = gh__field(f, name);
	char loc[LOC_SIZE];

	return value && gh__value_int(f->error, value, loc_of(loc, name), out);
}

bool gh__field_real(const gh__fields *f, const char *name, double *out)
{
	const json_t *value = gh__field(f, name);
	char loc[LOC_SIZE];

	return value && gh__value_real(f->error, value, loc_of(loc, name), out);
}

static bool text_bool(const char *text, bool *out)
{
	static const char *const yes[] = { "1", "true", "t", "yes", "y", "on" };
	static const char *const no[] = { "0", "false", "f", "no", "n", "off" };

	for (size_t i = 0; i < sizeof yes / sizeof yes[0]; i++) {
		*out = strcasecmp(text, yes[i]) == 0;
		if (*out || strcasecmp(text, no[i]) == 0)
			return true;
	}
	return false;
}

bool gh__field_bool(const gh__fields *f, const char *name, bool *out)
{
	const json_t *value = gh__field(f, name);
	char loc[LOC_SIZE];

	if (!value)
		return false;
	if (json_is_boolean(value)) {
		*out = json_is_true(value);
		return true;
	}
	if (json_is_number(value)) {
		double number = json_number_value(value);

		*out = number == 1;
		if (number == 0 || number == 1)
			return true;
	} else if (json_is_string(value)) {
		if (text_bool(json_string_value(value), out))
			return true;
	} else {
		gh__openai_finding(f->error, "bool_type", loc_of(loc, name),
				   "Input should be a valid boolean");
		return false;
	}
	gh__openai_finding(f->error, "bool_parsing", loc_of(loc, name),
			   "Input should be a valid boolean, unable to interpret input");
	return false;
}

bool gh__field_list(const gh__fields *f, const char *name, const json_t **out)
{
	const json_t *value = gh__field(f, name);
	char loc[LOC_SIZE];

	if (!value)
		return false;
	if (!json_is_array(value)) {
		gh__openai_finding(f->error, "list_type", loc_of(loc, name),
				   "Input should be a valid list");
		return false;
	}
	*out = value;
	return true;
}

bool gh__field_object(const gh__fields *f, const char *name, const json_t **out)
{
	const json_t *value = gh__field(f, name);
	char loc[LOC_SIZE];

	if (!value)
		return false;
	if (!json_is_object(value)) {
		gh__openai_finding(f->error, "dict_type", loc_of(loc, name),
				   "Input should be a valid dictionary");
		return false;
	}
	*out = value;
	return true;
}

json_t *gh__body_parse(const char *text, size_t len, gh__openai_error *error)
{
	gh_error inner = GH_ERROR_INIT;
	json_t *tree;

	if (len == 0) {
		gh__openai_finding(error, "missing", NULL, "Field required");
		return NULL;
	}
	tree = gh__json_parse(text, len, false, &inner);
	if (!tree) {
		gh__openai_finding(error, "json_invalid", NULL, "JSON decode error: %s",
				   inner.text);
		return NULL;
	}
	if (!json_is_object(tree)) {
		json_decref(tree);
		gh__openai_finding(error, "dict_type", NULL, "Input should be a valid dictionary");
		return NULL;
	}
	return tree;
}
