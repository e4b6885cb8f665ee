#include "openai/request.h"

#include <string.h>

#include "base/alloc.h"
#include "base/log.h"

/* Names that requests may hold; others are ignored, and the log names them. */
static const char *const known[] = {
	"add_generation_prompt",
	"add_special_tokens",
	"allowed_token_ids",
	"best_of",
	"cache_salt",
	"chat_template",
	"chat_template_kwargs",
	"continue_final_message",
	"documents",
	"echo",
	"enforced_str",
	"enforced_tokens",
	"frequency_penalty",
	"guided_choice",
	"guided_decoding_backend",
	"guided_grammar",
	"guided_json",
	"guided_regex",
	"guided_whitespace_pattern",
	"ignore_eos",
	"include_stop_str_in_output",
	"kv_transfer_params",
	"length_penalty",
	"logit_bias",
	"logits_processors",
	"logprobs",
	"logprobs_mode",
	"max_completion_tokens",
	"max_tokens",
	"messages",
	"min_p",
	"min_tokens",
	"mm_processor_kwargs",
	"model",
	"n",
	"parallel_tool_calls",
	"presence_penalty",
	"priority",
	"prompt",
	"prompt_embeds",
	"prompt_logprobs",
	"repetition_penalty",
	"request_id",
	"response_format",
	"return_tokens_as_token_ids",
	"seed",
	"skip_special_tokens",
	"spaces_between_special_tokens",
	"stop",
	"stop_token_ids",
	"stream",
	"stream_options",
	"structural_tag",
	"suffix",
	"temperature",
	"tool_choice",
	"tools",
	"top_k",
	"top_logprobs",
	"top_p",
	"truncate_prompt_tokens",
	"use_beam_search",
	"user",
};

static void warn_unknown(const json_t *object)
{
	const char *key;
	json_t *value;
	int warned = 0;

	if (!gh__log_enabled(GH_LOG_WARN))
		return;
	json_object_foreach((json_t *)object, key, value)
	{
		bool found = false;

		for (size_t i = 0; i < sizeof known / sizeof known[0] && !found; i++)
			found = strcmp(known[i], key) == 0;
		if (!found && warned++ < 4)
			gh__warn("openai", "field ignored: %.60s", key);
	}
}

static gh_status no_memory(gh__openai_error *error)
{
	return gh__openai_fail(error, 500, GH__OPENAI_INTERNAL, "out of memory");
}

static gh_status read_stop(gh__openai_request *out, const gh__fields *f)
{
	const json_t *value = gh__field(f, "stop");
	size_t count = json_is_array(value) ? json_array_size(value) : 1;

	if (!value)
		return GH_OK;
	if (!json_is_array(value) && !json_is_string(value))
		return gh__openai_finding(f->error, "string_type", "'stop'",
					  "Input should be a valid string or a list of strings");
	out->stop = gh__calloc(count, sizeof *out->stop);
	if (!out->stop)
		return no_memory(f->error);
	for (size_t i = 0; i < count; i++) {
		const json_t *item = json_is_array(value) ? json_array_get(value, i) : value;
		const char *text = json_string_value(item);

		if (!text || strlen(text) != json_string_length(item))
			return gh__openai_finding(f->error, "string_type", "'stop'",
						  "Input should be a valid string without NUL");
		out->stop[i] = text;
	}
	out->stop_count = count;
	return GH_OK;
}

/* Ids; what is no 32-bit number becomes -1, which is in no vocabulary. */
static gh_status read_ids(int32_t **ids, size_t *count, const gh__fields *f, const char *name,
			  const char *loc)
{
	const json_t *list, *item;
	size_t i;

	if (!gh__field_list(f, name, &list))
		return f->error->status ? GH_EINVAL : GH_OK;
	*ids = gh__calloc(json_array_size(list), sizeof **ids);
	if (!*ids)
		return no_memory(f->error);
	json_array_foreach(list, i, item)
	{
		int64_t id;

		if (!gh__value_int(f->error, item, loc, &id))
			return GH_EINVAL;
		(*ids)[i] = id >= 0 && id <= INT32_MAX ? (int32_t)id : -1;
	}
	*count = json_array_size(list);
	return GH_OK;
}

static gh_status read_bias(gh__openai_request *out, const gh__fields *f)
{
	const json_t *map;
	const char *key;
	json_t *item;

	if (!gh__field_object(f, "logit_bias", &map))
		return f->error->status ? GH_EINVAL : GH_OK;
	out->bias_ids = gh__calloc(json_object_size(map), sizeof *out->bias_ids);
	out->bias = gh__calloc(json_object_size(map), sizeof *out->bias);
	if (!out->bias_ids || !out->bias)
		return no_memory(f->error);
	json_object_foreach((json_t *)map, key, item)
	{
		json_t *name = json_string(key);
		int64_t id = 0;
		double bias = 0;
		bool good = name && json_string_length(name) < 20 &&
			    gh__value_int(f->error, name, "'logit_bias'", &id);

		json_decref(name);
		if (!good)
			return gh__openai_finding(f->error, "int_parsing", "'logit_bias'",
						  "Input should be a valid integer as key");
		if (!gh__value_real(f->error, item, "'logit_bias'", &bias))
			return GH_EINVAL;
		if (id < 0 || id > INT32_MAX)
			return gh__openai_refuse(
				f->error,
				"token_id %lld in logit_bias contains out-of-vocab token id",
				(long long)id);
		out->bias_ids[out->bias_count] = (int32_t)id;
		out->bias[out->bias_count++] = (float)(bias > 100    ? 100
						       : bias < -100 ? -100
								     : bias);
	}
	return GH_OK;
}

static void read_stream_options(gh__openai_request *out, const gh__fields *f)
{
	const json_t *object;

	if (!gh__field_object(f, "stream_options", &object))
		return;
	const gh__fields inner = { object, f->error };
	out->include_usage = true;
	gh__field_bool(&inner, "include_usage", &out->include_usage);
	gh__field_bool(&inner, "continuous_usage_stats", &out->continuous_usage);
}

/* What both kinds of request have. */
static gh_status read_common(gh__openai_request *out, const gh__fields *f)
{
	bool ignored_bool;
	int64_t seed;
	const char *ignored_text;

	gh__field_text(f, "model", &out->model);
	gh__field_text(f, "request_id", &out->request_id);
	gh__field_text(f, "user", &ignored_text);
	gh__field_bool(f, "stream", &out->stream);
	read_stream_options(out, f);
	gh__field_bool(f, "echo", &out->echo);
	gh__field_bool(f, "add_special_tokens", &out->add_special_tokens);
	gh__field_int(f, "n", &out->n);
	gh__field_int(f, "best_of", &out->best_of);
	gh__field_int(f, "min_tokens", &out->min_tokens);
	out->has_temperature = gh__field_real(f, "temperature", &out->temperature);
	out->has_top_p = gh__field_real(f, "top_p", &out->top_p);
	out->has_top_k = gh__field_int(f, "top_k", &out->top_k);
	out->has_min_p = gh__field_real(f, "min_p", &out->min_p);
	out->has_repetition_penalty =
		gh__field_real(f, "repetition_penalty", &out->repetition_penalty);
	gh__field_real(f, "frequency_penalty", &out->frequency_penalty);
	gh__field_real(f, "presence_penalty", &out->presence_penalty);
	if (gh__field_int(f, "seed", &seed) && seed != -1) {
		out->has_seed = true;
		out->seed = seed;
	}
	gh__field_int(f, "prompt_logprobs", &out->prompt_logprobs);
	gh__field_bool(f, "include_stop_str_in_output", &out->include_stop);
	gh__field_bool(f, "ignore_eos", &out->ignore_eos);
	gh__field_bool(f, "skip_special_tokens", &out->skip_special);
	gh__field_bool(f, "spaces_between_special_tokens", &ignored_bool);
	if (gh__field_int(f, "truncate_prompt_tokens", &out->truncate) && out->truncate < 1)
		return gh__openai_finding(f->error, "greater_than_equal",
					  "'truncate_prompt_tokens'",
					  "Input should be greater than or equal to 1");
	if (f->error->status)
		return GH_EINVAL;
	gh_status status = read_stop(out, f);
	if (status == GH_OK)
		status = read_ids(&out->stop_ids, &out->stop_id_count, f, "stop_token_ids",
				  "'stop_token_ids'");
	if (status == GH_OK)
		status = read_ids(&out->allowed, &out->allowed_count, f, "allowed_token_ids",
				  "'allowed_token_ids'");
	if (status == GH_OK && out->allowed && out->allowed_count == 0)
		return gh__openai_refuse(f->error, "allowed_token_ids is not None and empty!");
	return status == GH_OK ? read_bias(out, f) : status;
}

gh_status gh__openai_chat_fields(gh__openai_request *out, const gh__fields *f)
{
	gh__field_list(f, "messages", &out->messages);
	gh__field_bool(f, "add_generation_prompt", &out->add_generation_prompt);
	gh__field_bool(f, "continue_final_message", &out->continue_final_message);
	gh__field_object(f, "chat_template_kwargs", &out->template_kwargs);
	gh__field_list(f, "documents", &out->documents);
	if (f->error->status)
		return GH_EINVAL;
	if (!out->messages)
		return gh__openai_finding(f->error, "missing", "'messages'", "Field required");
	if (gh__field(f, "chat_template"))
		return gh__openai_refuse(f->error,
					 "chat_template: a template in a request is not supported");
	return GH_OK;
}

static gh_status read_chat(gh__openai_request *out, const gh__fields *f)
{
	int64_t most;

	out->add_generation_prompt = true;
	out->has_max_tokens = gh__field_int(f, "max_tokens", &out->max_tokens);
	if (gh__field_int(f, "max_completion_tokens", &most) && most != 0) {
		out->has_max_tokens = true;
		out->max_tokens = most;
	}
	gh__field_bool(f, "logprobs", &out->logprobs);
	gh__field_int(f, "top_logprobs", &out->top_logprobs);
	/* An explicit null asks for none at all. */
	if (json_is_null(json_object_get(f->object, "top_logprobs")))
		out->logprobs = false;
	return gh__openai_chat_fields(out, f);
}

static gh_status read_completion(gh__openai_request *out, const gh__fields *f)
{
	out->has_max_tokens = true;
	out->max_tokens = 16;
	gh__field_int(f, "max_tokens", &out->max_tokens);
	if (json_is_null(json_object_get(f->object, "max_tokens")))
		out->has_max_tokens = false;
	out->logprobs = gh__field_int(f, "logprobs", &out->top_logprobs);
	out->prompt = gh__field(f, "prompt");
	return f->error->status ? GH_EINVAL : GH_OK;
}

gh_status gh__openai_request_parse(gh__openai_request *out, gh__openai_kind kind,
				   const gh__openai_model *model, const char *body, size_t len,
				   gh__openai_error *error)
{
	*out = (gh__openai_request){ .kind = kind,
				     .n = 1,
				     .prompt_logprobs = -1,
				     .skip_special = true,
				     .add_special_tokens = kind == GH__OPENAI_COMPLETION,
				     .tree = gh__body_parse(body, len, error) };
	if (!out->tree)
		return GH_EINVAL;
	const gh__fields f = { out->tree, error };
	gh_status status = read_common(out, &f);
	if (status == GH_OK)
		status = kind == GH__OPENAI_CHAT ? read_chat(out, &f) : read_completion(out, &f);
	if (status == GH_OK)
		status = gh__openai_check_rules(out, &f);
	if (status == GH_OK)
		status = gh__openai_check_model(out->model, model, error);
	if (status == GH_OK && kind == GH__OPENAI_CHAT)
		status = gh__openai_check_tools(out, model, &f);
	if (status == GH_OK)
		warn_unknown(out->tree);
	else
		gh__openai_request_free(out);
	return status;
}

void gh__openai_request_free(gh__openai_request *request)
{
	for (size_t i = 0; i < request->prompt_count; i++) {
		gh_free(request->prompts[i].ids);
		gh_free(request->prompts[i].text);
	}
	gh__free(request->prompts);
	gh__free(request->stop);
	gh__free(request->stop_ids);
	gh__free(request->bias_ids);
	gh__free(request->bias);
	gh__free(request->allowed);
	json_decref(request->conversation);
	json_decref(request->tree);
	*request = (gh__openai_request){ 0 };
}

bool gh__openai_request_only_echo(const gh__openai_request *request)
{
	return request->kind == GH__OPENAI_COMPLETION && request->echo && request->has_max_tokens &&
	       request->max_tokens == 0;
}

int64_t gh__openai_request_prompt_logprobs(const gh__openai_request *request)
{
	if (request->prompt_logprobs >= 0)
		return request->stream ? -1 : request->prompt_logprobs;
	if (request->kind == GH__OPENAI_COMPLETION && request->echo && request->logprobs)
		return request->top_logprobs;
	return -1;
}
