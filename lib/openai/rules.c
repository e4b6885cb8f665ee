#include "openai/request.h"

#include <string.h>

/*
 * Rules between fields, and fields that stand for what is not there yet: they are refused by name,
 * never ignored.
 */

static gh_status rule(gh__openai_error *error, const char *message)
{
	return gh__openai_fail(error, 400, GH__OPENAI_FIELD, "%s", message);
}

static bool truthy(const json_t *value)
{
	if (json_is_string(value))
		return json_string_length(value) > 0;
	if (json_is_number(value))
		return json_number_value(value) != 0;
	if (json_is_array(value))
		return json_array_size(value) > 0;
	if (json_is_object(value))
		return json_object_size(value) > 0;
	return json_is_true(value);
}

static bool is_text(const json_t *value, const char *text)
{
	return json_is_string(value) && strcmp(json_string_value(value), text) == 0;
}

static gh_status check_logprobs(const gh__openai_request *r, const gh__fields *f)
{
	if (r->prompt_logprobs > 0 && r->stream)
		return rule(f->error, "`prompt_logprobs` are not available when `stream=True`.");
	if (r->prompt_logprobs < 0 && gh__field(f, "prompt_logprobs"))
		return rule(f->error, "`prompt_logprobs` must be a positive value.");
	if (r->top_logprobs < 0)
		return rule(f->error, r->kind == GH__OPENAI_CHAT
					      ? "`top_logprobs` must be a positive value."
					      : "`logprobs` must be a positive value.");
	if (r->kind == GH__OPENAI_CHAT && r->top_logprobs > 0 && !r->logprobs)
		return rule(f->error, "when using `top_logprobs`, `logprobs` must be set to true.");
	return GH_OK;
}

static gh_status check_guided(const gh__fields *f)
{
	int kinds = (gh__field(f, "guided_json") != NULL) + (gh__field(f, "guided_regex") != NULL) +
		    (gh__field(f, "guided_choice") != NULL);
	const json_t *choice = gh__field(f, "tool_choice");

	if (kinds > 1)
		return rule(f->error,
			    "You can only use one kind of guided decoding ('guided_json', "
			    "'guided_regex' or 'guided_choice').");
	if (kinds > 0 && json_is_object(choice))
		return rule(f->error,
			    "You can only either use guided decoding or tools, not both.");
	return GH_OK;
}

static bool names_tool(const json_t *tools, const char *name)
{
	size_t i;
	const json_t *tool;

	json_array_foreach(tools, i, tool)
	{
		const json_t *function = json_object_get(tool, "function");

		if (is_text(json_object_get(function, "name"), name))
			return true;
	}
	return false;
}

static gh_status check_tool_choice(const gh__fields *f)
{
	const json_t *choice = gh__field(f, "tool_choice"), *tools = gh__field(f, "tools");
	const char *name;

	if (tools && !json_is_array(tools))
		return gh__openai_finding(f->error, "list_type", "'tools'",
					  "Input should be a valid list");
	if (!choice || is_text(choice, "none"))
		return GH_OK;
	if (!tools)
		return rule(f->error, "When using `tool_choice`, `tools` must be set.");
	if (is_text(choice, "auto") || is_text(choice, "required"))
		return GH_OK;
	if (!json_is_object(choice))
		return rule(f->error,
			    "Invalid value for `tool_choice`! Only named tools, \"none\", "
			    "\"auto\" or \"required\" are supported.");
	name = json_string_value(json_object_get(json_object_get(choice, "function"), "name"));
	if (!name)
		return rule(f->error, "Expected field `function` in `tool_choice`. Correct usage: "
				      "`{\"type\": \"function\", \"function\": {\"name\": "
				      "\"my_function\"}}`");
	if (!names_tool(tools, name))
		return rule(f->error, "The tool specified in `tool_choice` does not match any of "
				      "the specified `tools`");
	return GH_OK;
}

/* Present; an empty text asks for nothing, but an empty schema or list would be an answer of its
 * own. */
static bool asked_for(const json_t *value)
{
	return value && !is_text(value, "");
}

static gh_status refuse_set(const gh__fields *f, const char *const *names, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (asked_for(gh__field(f, names[i])))
			return gh__openai_refuse(f->error, "%s is not supported", names[i]);
	}
	return GH_OK;
}

static gh_status refuse_formats(const gh__fields *f)
{
	const json_t *format = gh__field(f, "response_format"), *type;

	if (!format)
		return GH_OK;
	type = json_object_get(format, "type");
	if (!json_is_object(format) || !json_is_string(type))
		return gh__openai_finding(f->error, "missing", "'response_format', 'type'",
					  "Field required");
	if (is_text(type, "text"))
		return GH_OK;
	return gh__openai_refuse(f->error, "response_format: type %.40s is not supported",
				 json_string_value(type));
}

static gh_status refuse_rest(const gh__fields *f)
{
	static const char *const always[] = { "guided_json",    "guided_regex",
					      "guided_choice",  "guided_grammar",
					      "structural_tag", "logits_processors",
					      "cache_salt" };
	const json_t *mode = gh__field(f, "logprobs_mode");
	bool beam = false;
	double penalty;
	int64_t priority = 0;

	gh__field_bool(f, "use_beam_search", &beam);
	gh__field_real(f, "length_penalty", &penalty);
	gh__field_int(f, "priority", &priority);
	if (f->error->status)
		return GH_EINVAL;
	if (priority != 0)
		return gh__openai_refuse(f->error,
					 "Got priority %lld but Priority scheduling is "
					 "not enabled.",
					 (long long)priority);
	if (mode && !is_text(mode, "processed_logprobs"))
		return gh__openai_refuse(f->error,
					 "logprobs_mode: only processed_logprobs is supported");
	if (beam)
		return gh__openai_refuse(f->error, "use_beam_search is not supported");
	return refuse_set(f, always, sizeof always / sizeof always[0]);
}

gh_status gh__openai_check_flags(gh__openai_request *r, const gh__fields *f)
{
	if (!r->continue_final_message)
		return GH_OK;
	if (r->add_generation_prompt && gh__field(f, "add_generation_prompt"))
		return rule(f->error, "Cannot set both `continue_final_message` and "
				      "`add_generation_prompt` to True.");
	r->add_generation_prompt = false;
	return GH_OK;
}

static gh_status check_chat(gh__openai_request *r, const gh__fields *f)
{
	static const char *const enforced[] = { "enforced_str", "enforced_tokens" };
	gh_status status;

	status = gh__openai_check_flags(r, f);
	if (status == GH_OK)
		status = check_tool_choice(f);
	if (status == GH_OK)
		status = refuse_set(f, enforced, sizeof enforced / sizeof enforced[0]);
	return status;
}

static gh_status check_completion(const gh__openai_request *r, const gh__fields *f)
{
	if (gh__field(f, "prompt_embeds"))
		return gh__openai_refuse(f->error, "prompt_embeds is not supported");
	if (!r->prompt)
		return rule(f->error, "At least one of `prompt` or `prompt_embeds` must be set.");
	if (gh__field(f, "suffix"))
		return gh__openai_refuse(f->error, "suffix is not currently supported");
	return GH_OK;
}

gh_status gh__openai_check_rules(gh__openai_request *r, const gh__fields *f)
{
	gh_status status = GH_OK;

	if (gh__field(f, "stream_options") && !r->stream)
		return rule(f->error, "Stream options can only be defined when `stream=True`.");
	status = check_logprobs(r, f);
	if (status == GH_OK)
		status = check_guided(f);
	if (status == GH_OK)
		status = r->kind == GH__OPENAI_CHAT ? check_chat(r, f) : check_completion(r, f);
	if (status == GH_OK)
		status = refuse_formats(f);
	return status == GH_OK ? refuse_rest(f) : status;
}

gh_status gh__openai_check_model(const char *name, const gh__openai_model *model,
				 gh__openai_error *error)
{
	if (!name || name[0] == '\0')
		return GH_OK;
	for (size_t i = 0; i < model->name_count; i++) {
		if (strcmp(name, model->names[i]) == 0)
			return GH_OK;
	}
	return gh__openai_fail(error, 404, GH__OPENAI_UNKNOWN, "The model `%.256s` does not exist.",
			       name);
}

gh_status gh__openai_check_tools(gh__openai_request *r, const gh__openai_model *model,
				 const gh__fields *f)
{
	const json_t *tools = gh__field(f, "tools"), *choice = gh__field(f, "tool_choice");

	r->tools = NULL;
	if (is_text(choice, "none") || (!choice && !truthy(tools)))
		return GH_OK; /* tools are dropped */
	if (choice && !is_text(choice, "auto"))
		return gh__openai_refuse(f->error, "tool_choice: only \"none\" is supported");
	if (!model->has_tool_parser)
		return gh__openai_refuse(f->error,
					 "\"auto\" tool choice requires --enable-auto-tool-choice "
					 "and --tool-call-parser to be set");
	return gh__openai_refuse(f->error, "tools: calling them is not supported");
}
