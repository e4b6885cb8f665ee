#include "inference_node/fields.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/number.h"

json_t *gh__finding(const char *type, const char *at, const char *message, const json_t *input,
		    json_t *ctx)
{
	json_t *loc = json_pack("[s]", "body");
	json_t *finding;

	if (at)
		json_array_append_new(loc, json_string(at));
	finding = json_pack("{s:s, s:o, s:s, s:O}", "type", type, "loc", loc, "msg", message,
			    "input", input);
	if (ctx)
		json_object_set_new(finding, "ctx", ctx);
	return finding;
}

json_t *gh__findings_body(json_t *findings)
{
	return json_pack("{s:o}", "detail", findings);
}

/* Each of a million wrong items would be told at length. */
enum { FINDINGS_MAX = 100 };

static void add(json_t *findings, const char *type, const char *name, int index,
		const char *message, const json_t *input)
{
	json_t *finding = gh__finding(type, name, message, input, NULL);

	if (index >= 0)
		json_array_append_new(json_object_get(finding, "loc"), json_integer(index));
	json_array_append_new(findings, finding);
}

static void check_string(json_t *findings, const char *name, int index, const json_t *value)
{
	if (!json_is_string(value))
		add(findings, "string_type", name, index, "Input should be a valid string", value);
}

/* 12, 12.0, "12" and true are integers. */
static void check_int(json_t *findings, const char *name, int index, const json_t *value)
{
	const char *text = json_string_value(value);
	double real;

	if (json_is_integer(value) || json_is_boolean(value))
		return;
	if (json_is_real(value)) {
		real = json_real_value(value);
		if (real != floor(real))
			add(findings, "int_from_float", name, index,
			    "Input should be a valid integer, got a number with a fractional part",
			    value);
	} else if (text) {
		int64_t number;

		if (!gh__parse_int64(text, &number))
			add(findings, "int_parsing", name, index,
			    "Input should be a valid integer, unable to parse string as an integer",
			    value);
	} else {
		add(findings, "int_type", name, index, "Input should be a valid integer", value);
	}
}

static void check_float(json_t *findings, const char *name, int index, const json_t *value)
{
	const char *text = json_string_value(value);
	double number;

	if (json_is_number(value) || json_is_boolean(value))
		return;
	if (!text)
		add(findings, "float_type", name, index, "Input should be a valid number", value);
	else if (!gh__parse_double(text, &number))
		add(findings, "float_parsing", name, index,
		    "Input should be a valid number, unable to parse string as a number", value);
}

static void check_list(json_t *findings, const gh__field *field, const json_t *value)
{
	const json_t *item;
	size_t i;

	if (!json_is_array(value)) {
		add(findings, "list_type", field->name, -1, "Input should be a valid list", value);
		return;
	}
	json_array_foreach(value, i, item)
	{
		if (json_array_size(findings) >= FINDINGS_MAX)
			break;
		if (field->kind == GH__FIELD_STRINGS)
			check_string(findings, field->name, (int)i, item);
		else if (field->kind == GH__FIELD_INTS)
			check_int(findings, field->name, (int)i, item);
		else
			check_float(findings, field->name, (int)i, item);
	}
}

static void check_object(json_t *findings, const gh__field *field, const json_t *value)
{
	json_t *finding;

	if (json_is_object(value))
		return;
	finding = gh__finding("dataclass_type", field->name,
			      "Input should be a dictionary or an instance of Params", value,
			      json_pack("{s:s}", "class_name", "Params"));
	json_array_append_new(findings, finding);
}

static void check_field(json_t *findings, const gh__field *field, const json_t *value)
{
	switch (field->kind) {
	case GH__FIELD_STRING:
		check_string(findings, field->name, -1, value);
		break;
	case GH__FIELD_INT:
		check_int(findings, field->name, -1, value);
		break;
	case GH__FIELD_FLOAT:
		check_float(findings, field->name, -1, value);
		break;
	case GH__FIELD_STRINGS:
	case GH__FIELD_INTS:
	case GH__FIELD_FLOATS:
		check_list(findings, field, value);
		break;
	case GH__FIELD_OBJECT:
		check_object(findings, field, value);
		break;
	}
}

static bool null_is_absent(const gh__field *field)
{
	return !field->required &&
	       (field->kind == GH__FIELD_STRINGS || field->kind == GH__FIELD_OBJECT);
}

json_t *gh__fields_check(const json_t *object, const gh__field *fields, size_t count)
{
	json_t *findings = json_array();
	size_t i;

	for (i = 0; i < count; i++) {
		const json_t *value = json_object_get(object, fields[i].name);

		if (!value && fields[i].required)
			add(findings, "missing", fields[i].name, -1, "Field required", object);
		else if (value && !(json_is_null(value) && null_is_absent(&fields[i])))
			check_field(findings, &fields[i], value);
	}
	return findings;
}
