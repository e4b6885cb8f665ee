#include "openai/request.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "text/template.h"
#include "text/tokenizer.h"

/*
 * From a request to the token ids that the model continues.
 */
enum { PROMPTS_MAX = 4096 };

static gh_status no_memory(gh__openai_error *error)
{
	return gh__openai_fail(error, 500, GH__OPENAI_INTERNAL, "out of memory");
}

const char *gh__openai_role(const gh__openai_request *request, const gh__openai_model *model)
{
	const json_t *last =
		json_array_get(request->messages, json_array_size(request->messages) - 1);
	const char *role = json_string_value(json_object_get(last, "role"));

	return request->add_generation_prompt || !role ? model->response_role : role;
}

/* ---- chat ---- */

static json_t *template_variables(gh__openai_request *r, gh__openai_error *error)
{
	json_t *variables = json_object(), *tools = NULL, *value;
	const char *key;
	int failed = 0;

	r->conversation = gh__openai_messages(r->messages, error);
	if (r->conversation && r->tools)
		tools = gh__openai_tools(r->tools, error);
	if (!r->conversation || (r->tools && !tools)) {
		json_decref(variables);
		return NULL;
	}
	json_object_foreach((json_t *)r->template_kwargs, key, value)
	{
		failed |= json_object_set(variables, key, value);
	}
	failed |= json_object_set(variables, "messages", r->conversation);
	failed |= json_object_set_new(variables, "tools", tools ? tools : json_null());
	failed |= json_object_set_new(variables, "documents",
				      r->documents ? json_incref((json_t *)r->documents)
						   : json_null());
	failed |= json_object_set_new(variables, "add_generation_prompt",
				      json_boolean(r->add_generation_prompt));
	if (failed) {
		json_decref(variables);
		no_memory(error);
		return NULL;
	}
	return variables;
}

static bool is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

/* The end of the last occurrence of the last message's content, without white space around it. */
static gh_status cut_after_content(const char *text, size_t *len, const gh__openai_request *r,
				   gh__openai_error *error)
{
	const json_t *last = json_array_get(r->conversation, json_array_size(r->conversation) - 1);
	const json_t *content = json_object_get(last, "content");
	const char *at = json_string_value(content);
	size_t wanted = json_string_length(content);

	while (wanted > 0 && is_space(*at)) {
		at++;
		wanted--;
	}
	while (wanted > 0 && is_space(at[wanted - 1]))
		wanted--;
	bool there = memmem(text, *len, at, wanted) != NULL;
	for (size_t from = *len - wanted + 1; there && from-- > 0;) {
		if (memcmp(text + from, at, wanted) == 0) {
			*len = from + wanted;
			return GH_OK;
		}
	}
	return gh__openai_refuse(error, "continue_final_message is set, but the final message does "
					"not appear in the chat after applying the chat template");
}

gh_status gh__openai_render(char **text, size_t *len, gh__openai_request *r,
			    const gh__openai_model *model, gh__openai_error *error)
{
	gh_error inner = GH_ERROR_INIT;
	json_t *variables;
	gh_status status;

	*text = NULL;
	if (!model->chat_template)
		return gh__openai_refuse(error, "the model has no chat template; give one with "
						"--chat-template");
	variables = template_variables(r, error);
	if (!variables)
		return GH_EINVAL;
	status = gh__template_render(model->chat_template, variables, text, len, &inner);
	json_decref(variables);
	if (status != GH_OK) {
		gh__openai_error_of(error, status, &inner);
		return GH_EINVAL;
	}
	if (r->continue_final_message)
		status = cut_after_content(*text, len, r, error);
	if (status != GH_OK) {
		gh_free(*text);
		*text = NULL;
	}
	return status;
}

/* ---- tokens ---- */

static gh_status encode_text(gh__openai_prompt *prompt, const gh__openai_request *r,
			     const gh__openai_model *model, const char *text, size_t len,
			     gh__openai_error *error)
{
	gh_error inner = GH_ERROR_INIT;
	size_t at_least = gh__tokenizer_at_least(model->tokenizer, text, len);

	/* What cannot fit is not worth its encoding, which may take long and would keep others
	 * waiting. Of a prompt that is truncated only the end has to fit. */
	if (r->truncate == 0 && at_least > (size_t)model->max_length)
		return gh__openai_too_long(r, model, at_least, error);
	gh_status status = gh_tokenizer_encode(model->tokenizer, text, len,
					       r->add_special_tokens ? GH_ENCODE_SPECIAL : 0,
					       &prompt->ids, &prompt->count, &inner);

	if (status == GH_OK)
		return GH_OK;
	gh__openai_error_of(error, status, &inner);
	return GH_EINVAL;
}

static gh_status copy_ids(gh__openai_prompt *prompt, const json_t *list, gh__openai_error *error)
{
	size_t count = json_array_size(list), i;
	const json_t *item;

	prompt->ids = gh__calloc(count, sizeof *prompt->ids);
	if (!prompt->ids)
		return no_memory(error);
	json_array_foreach(list, i, item)
	{
		int64_t id;

		if (!gh__value_int(error, item, "'prompt'", &id))
			return GH_EINVAL;
		if (id < 0 || id > INT32_MAX)
			return gh__openai_refuse(error, "Token id %lld is out of vocabulary",
						 (long long)id);
		prompt->ids[i] = (int32_t)id;
	}
	prompt->count = count;
	return GH_OK;
}

static gh_status echo_text(gh__openai_prompt *prompt, const gh__openai_model *model,
			   gh__openai_error *error)
{
	gh_error inner = GH_ERROR_INIT;
	gh_status status = gh_tokenizer_decode(model->tokenizer, prompt->ids, prompt->count, 0,
					       &prompt->text, &prompt->text_len, &inner);

	if (status == GH_OK)
		return GH_OK;
	gh__openai_error_of(error, status, &inner);
	return GH_EINVAL;
}

static gh_status check_truncation(const gh__openai_request *r, const gh__openai_model *model,
				  gh__openai_error *error)
{
	if (r->truncate <= model->max_length)
		return GH_OK;
	return gh__openai_refuse(
		error,
		"truncate_prompt_tokens value (%lld) is greater than max_model_len (%d). Please, "
		"select a smaller truncation size.",
		(long long)r->truncate, model->max_length);
}

/* Keep the last tokens. */
static void truncate_prompt(gh__openai_prompt *prompt, const gh__openai_request *r)
{
	size_t kept = (size_t)r->truncate;

	if (kept == 0 || prompt->count <= kept)
		return;
	memmove(prompt->ids, prompt->ids + prompt->count - kept, kept * sizeof *prompt->ids);
	prompt->count = kept;
}

static gh_status encode_one(gh__openai_prompt *prompt, const gh__openai_request *r,
			    const gh__openai_model *model, const json_t *item,
			    gh__openai_error *error)
{
	gh_status status;

	if (json_is_string(item))
		status = encode_text(prompt, r, model, json_string_value(item),
				     json_string_length(item), error);
	else if (json_is_array(item))
		status = copy_ids(prompt, item, error);
	else
		return gh__openai_finding(error, "string_type", "'prompt'",
					  "Input should be a valid string or a list of token ids");
	if (status != GH_OK)
		return status;
	truncate_prompt(prompt, r);
	return r->echo ? echo_text(prompt, model, error) : GH_OK;
}

static gh_status make_room(gh__openai_request *r, size_t count, gh__openai_error *error)
{
	if (count > PROMPTS_MAX)
		return gh__openai_refuse(error, "prompt: %zu prompts are more than %d", count,
					 PROMPTS_MAX);
	r->prompts = gh__calloc(count, sizeof *r->prompts);
	if (!r->prompts)
		return no_memory(error);
	r->prompt_count = count;
	return GH_OK;
}

/* A string, strings, ids, or lists of ids. */
static gh_status encode_completion(gh__openai_request *r, const gh__openai_model *model,
				   gh__openai_error *error)
{
	const json_t *first = json_array_get(r->prompt, 0);
	bool many = json_is_array(r->prompt) && (json_is_string(first) || json_is_array(first));
	size_t count = many ? json_array_size(r->prompt) : 1;
	gh_status status = GH_OK;

	if (json_is_array(r->prompt) && json_array_size(r->prompt) == 0)
		return gh__openai_refuse(error, "please provide at least one prompt");
	status = make_room(r, count, error);
	for (size_t i = 0; i < count && status == GH_OK; i++)
		status = encode_one(&r->prompts[i], r, model,
				    many ? json_array_get(r->prompt, i) : r->prompt, error);
	return status;
}

static gh_status encode_chat(gh__openai_request *r, const gh__openai_model *model,
			     gh__openai_error *error)
{
	char *text = NULL;
	size_t len = 0;
	gh_status status = gh__openai_render(&text, &len, r, model, error);

	if (status == GH_OK)
		status = make_room(r, 1, error);
	if (status == GH_OK)
		status = encode_text(&r->prompts[0], r, model, text, len, error);
	gh_free(text);
	if (status == GH_OK)
		truncate_prompt(&r->prompts[0], r);
	return status;
}

gh_status gh__openai_request_encode(gh__openai_request *r, const gh__openai_model *model,
				    gh__openai_error *error)
{
	gh_status status = check_truncation(r, model, error);

	if (status != GH_OK)
		return status;
	return r->kind == GH__OPENAI_CHAT ? encode_chat(r, model, error)
					  : encode_completion(r, model, error);
}
