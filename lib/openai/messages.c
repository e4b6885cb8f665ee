#include "openai/request.h"

#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "json/json.h"

/*
 * Messages and tools, from what clients write to what chat templates expect.
 */

#define LOC_SIZE 96
#define TEXT_MAX (64 << 20)

static gh_status wrong(gh__openai_error *error, size_t index, const char *key, const char *what)
{
	char loc[LOC_SIZE];

	snprintf(loc, sizeof loc, "'messages', %zu, '%s'", index, key);
	return gh__openai_finding(error, "value_error", loc, "%s", what);
}

/* What a part of a content list says; NULL: an error was recorded. */
static const json_t *part_text(const json_t *part, size_t index, gh__openai_error *error)
{
	const char *type = json_string_value(json_object_get(part, "type"));
	const char *key = !type || strcmp(type, "text") == 0 ? "text" : type;
	const json_t *text;

	if (json_is_string(part))
		return part;
	if (!json_is_object(part)) {
		wrong(error, index, "content", "Input should be a valid dictionary");
		return NULL;
	}
	if (strcmp(key, "text") != 0 && strcmp(key, "refusal") != 0) {
		gh__openai_refuse(error,
				  "messages[%zu].content: a part of type %.60s is not supported by "
				  "this model",
				  index, key);
		return NULL;
	}
	text = json_object_get(part, key);
	if (!json_is_string(text)) {
		wrong(error, index, "content", "a part without text");
		return NULL;
	}
	return text;
}

/* A list of texts, joined by newlines. */
static json_t *join_parts(const json_t *parts, size_t index, gh__openai_error *error)
{
	gh__buf text = GH__BUF_INIT(TEXT_MAX);
	json_t *joined = NULL;
	const json_t *part;
	size_t i;

	json_array_foreach(parts, i, part)
	{
		const json_t *found = part_text(part, index, error);

		if (!found)
			goto out;
		if (i > 0)
			gh__buf_append_char(&text, '\n');
		gh__buf_append(&text, json_string_value(found), json_string_length(found));
	}
	if (gh__buf_status(&text) == GH_OK)
		joined = json_stringn(gh__buf_str(&text), text.len);
	if (!joined)
		gh__openai_fail(error, 500, GH__OPENAI_INTERNAL, "out of memory");
out:
	gh__buf_free(&text);
	return joined;
}

static json_t *content_of(const json_t *message, size_t index, gh__openai_error *error)
{
	const json_t *content = json_object_get(message, "content");

	if (!content || json_is_null(content))
		return json_string("");
	if (json_is_string(content))
		return json_incref((json_t *)content);
	if (json_is_array(content))
		return join_parts(content, index, error);
	wrong(error, index, "content", "Input should be a valid string or a list of parts");
	return NULL;
}

/* The arguments of a call, which clients write as JSON in a string. */
static json_t *arguments_of(const json_t *function, size_t index, gh__openai_error *error)
{
	const json_t *arguments = json_object_get(function, "arguments");
	json_t *parsed;

	if (!arguments || json_is_null(arguments) ||
	    (json_is_string(arguments) && json_string_length(arguments) == 0))
		return json_object();
	if (!json_is_string(arguments))
		return json_incref((json_t *)arguments);
	parsed = gh__json_parse(json_string_value(arguments), json_string_length(arguments), false,
				NULL);
	if (!parsed)
		wrong(error, index, "tool_calls", "arguments should be JSON in a string");
	return parsed;
}

static json_t *call_of(const json_t *call, size_t index, gh__openai_error *error)
{
	const json_t *function = json_object_get(call, "function");
	json_t *copy, *inner, *arguments;

	if (!json_is_object(function) || !json_is_string(json_object_get(function, "name"))) {
		wrong(error, index, "tool_calls", "function with a name expected");
		return NULL;
	}
	arguments = arguments_of(function, index, error);
	if (!arguments)
		return NULL;
	copy = json_copy((json_t *)call);
	inner = json_copy((json_t *)function);
	if (json_object_set_new(inner, "arguments", arguments) != 0 ||
	    json_object_set_new(copy, "function", inner) != 0) {
		json_decref(copy);
		gh__openai_fail(error, 500, GH__OPENAI_INTERNAL, "out of memory");
		return NULL;
	}
	return copy;
}

static gh_status add_calls(json_t *out, const json_t *message, size_t index,
			   gh__openai_error *error)
{
	const json_t *calls = json_object_get(message, "tool_calls"), *call;
	json_t *list;
	size_t i;

	if (!calls || json_is_null(calls))
		return GH_OK;
	if (!json_is_array(calls))
		return wrong(error, index, "tool_calls", "Input should be a valid list");
	if (json_array_size(calls) == 0)
		return GH_OK;
	list = json_array();
	if (json_object_set_new(out, "tool_calls", list) != 0)
		return gh__openai_fail(error, 500, GH__OPENAI_INTERNAL, "out of memory");
	json_array_foreach(calls, i, call)
	{
		json_t *item = call_of(call, index, error);

		if (!item)
			return GH_EINVAL;
		json_array_append_new(list, item);
	}
	return GH_OK;
}

static void pass(json_t *out, const json_t *message, const char *key)
{
	json_t *value = json_object_get(message, key);

	if (json_is_string(value))
		json_object_set(out, key, value);
}

static json_t *message_of(const json_t *message, size_t index, gh__openai_error *error)
{
	json_t *role = json_object_get(message, "role"), *out, *content;
	char loc[LOC_SIZE];

	if (!json_is_object(message)) {
		snprintf(loc, sizeof loc, "'messages', %zu", index);
		gh__openai_finding(error, "dict_type", loc, "Input should be a valid dictionary");
		return NULL;
	}
	if (!json_is_string(role)) {
		wrong(error, index, "role",
		      role ? "Input should be a valid string" : "Field required");
		return NULL;
	}
	content = content_of(message, index, error);
	if (!content)
		return NULL;
	out = json_object();
	json_object_set(out, "role", role);
	if (json_object_set_new(out, "content", content) != 0) {
		json_decref(out);
		gh__openai_fail(error, 500, GH__OPENAI_INTERNAL, "out of memory");
		return NULL;
	}
	if (strcmp(json_string_value(role), "assistant") == 0) {
		pass(out, message, "reasoning_content");
		if (add_calls(out, message, index, error) != GH_OK) {
			json_decref(out);
			return NULL;
		}
	} else if (strcmp(json_string_value(role), "tool") == 0) {
		pass(out, message, "tool_call_id");
	}
	pass(out, message, "name");
	return out;
}

json_t *gh__openai_messages(const json_t *messages, gh__openai_error *error)
{
	json_t *list, *message;
	size_t i;

	if (json_array_size(messages) == 0) {
		gh__openai_refuse(error, "messages: the list is empty");
		return NULL;
	}
	list = json_array();
	json_array_foreach(messages, i, message)
	{
		json_t *item = message_of(message, i, error);

		if (!item || json_array_append_new(list, item) != 0) {
			json_decref(list);
			gh__openai_fail(error, 500, GH__OPENAI_INTERNAL, "out of memory");
			return NULL;
		}
	}
	return list;
}

/* ---- tools ---- */

static int copy_rest(json_t *out, const json_t *from)
{
	const char *key;
	json_t *value;
	int failed = 0;

	json_object_foreach((json_t *)from, key, value)
	{
		if (!json_object_get(out, key))
			failed |= json_object_set(out, key, value);
	}
	return failed;
}

/* The known keys in the order in which templates print them, then the others. */
static json_t *tool_of(const json_t *tool, size_t index, gh__openai_error *error)
{
	static const char *const keys[] = { "name", "description", "parameters" };
	const json_t *function = json_object_get(tool, "function");
	json_t *type = json_object_get(tool, "type"), *out, *inner;
	char loc[LOC_SIZE];
	int failed = 0;

	snprintf(loc, sizeof loc, "'tools', %zu, 'function', 'name'", index);
	if (!json_is_string(json_object_get(function, "name"))) {
		gh__openai_finding(error, "missing", loc, "Field required");
		return NULL;
	}
	out = json_object();
	inner = json_object();
	for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
		json_t *value = json_object_get(function, keys[i]);

		failed |= json_object_set_new(inner, keys[i],
					      value ? json_incref(value) : json_null());
	}
	failed |= copy_rest(inner, function);
	failed |= json_object_set_new(out, "type",
				      type ? json_incref(type) : json_string("function"));
	failed |= json_object_set_new(out, "function", inner);
	failed |= copy_rest(out, tool);
	if (failed) {
		json_decref(out);
		gh__openai_fail(error, 500, GH__OPENAI_INTERNAL, "out of memory");
		return NULL;
	}
	return out;
}

json_t *gh__openai_tools(const json_t *tools, gh__openai_error *error)
{
	json_t *list = json_array(), *tool;
	size_t i;

	json_array_foreach(tools, i, tool)
	{
		json_t *item = tool_of(tool, i, error);

		if (!item || json_array_append_new(list, item) != 0) {
			json_decref(list);
			gh__openai_fail(error, 500, GH__OPENAI_INTERNAL, "out of memory");
			return NULL;
		}
	}
	return list;
}
