#include "openai/tokenize.h"

#include <string.h>

#include "base/alloc.h"
#include "json/write.h"

typedef struct token_list {
	int32_t *ids;
	size_t count;
} token_list;

static gh_status encode(token_list *out, const gh__openai_model *model, const char *text,
			size_t len, bool special, gh__openai_error *error)
{
	gh_error inner = GH_ERROR_INIT;
	gh_status status =
		gh_tokenizer_encode(model->tokenizer, text, len, special ? GH_ENCODE_SPECIAL : 0,
				    &out->ids, &out->count, &inner);

	if (status != GH_OK)
		gh__openai_error_of(error, status, &inner);
	return status;
}

static gh_status encode_chat(token_list *out, const gh__openai_model *model, const gh__fields *f)
{
	gh__openai_request chat = { .kind = GH__OPENAI_CHAT, .add_generation_prompt = true };
	char *text = NULL;
	size_t len = 0;
	bool special = false;
	gh_status status;

	gh__field_bool(f, "add_special_tokens", &special);
	gh__field_list(f, "tools", &chat.tools);
	status = gh__openai_chat_fields(&chat, f);
	if (status == GH_OK)
		status = gh__openai_check_flags(&chat, f);
	if (status == GH_OK)
		status = gh__openai_render(&text, &len, &chat, model, f->error);
	if (status == GH_OK)
		status = encode(out, model, text, len, special, f->error);
	gh_free(text);
	gh__openai_request_free(&chat);
	return status;
}

static gh_status encode_prompt(token_list *out, const gh__openai_model *model, const gh__fields *f)
{
	const json_t *prompt = gh__field(f, "prompt");
	bool special = true;

	gh__field_bool(f, "add_special_tokens", &special);
	if (f->error->status)
		return GH_EINVAL;
	if (!prompt)
		return gh__openai_finding(f->error, "missing", "'prompt'", "Field required");
	if (!json_is_string(prompt))
		return gh__openai_finding(f->error, "string_type", "'prompt'",
					  "Input should be a valid string");
	return encode(out, model, json_string_value(prompt), json_string_length(prompt), special,
		      f->error);
}

static void write_tokens(gh__buf *out, const token_list *tokens, const gh__openai_model *model,
			 bool strings)
{
	gh__buf_printf(out, "{\"count\":%zu,\"max_model_len\":%d,\"tokens\":[", tokens->count,
		       model->max_length);
	for (size_t i = 0; i < tokens->count; i++)
		gh__buf_printf(out, i ? ",%d" : "%d", tokens->ids[i]);
	gh__buf_append_str(out, "],\"token_strs\":");
	if (!strings) {
		gh__buf_append_str(out, "null}");
		return;
	}
	for (size_t i = 0; i < tokens->count; i++) {
		const char *text = gh_tokenizer_token(model->tokenizer, tokens->ids[i]);

		gh__buf_append_char(out, i ? ',' : '[');
		gh__json_write_string(out, text ? text : "", text ? strlen(text) : 0);
	}
	gh__buf_append_str(out, tokens->count ? "]}" : "[]}");
}

gh_status gh__openai_tokenize(gh__buf *out, const gh__openai_model *model, const char *body,
			      size_t len, gh__openai_error *error)
{
	json_t *tree = gh__body_parse(body, len, error);
	const gh__fields f = { tree, error };
	const char *name = NULL;
	token_list tokens = { 0 };
	bool strings = false;
	gh_status status;

	if (!tree)
		return GH_EINVAL;
	gh__field_text(&f, "model", &name);
	gh__field_bool(&f, "return_token_strs", &strings);
	status = error->status ? GH_EINVAL : gh__openai_check_model(name, model, error);
	if (status == GH_OK)
		status = gh__field(&f, "messages") ? encode_chat(&tokens, model, &f)
						   : encode_prompt(&tokens, model, &f);
	if (status == GH_OK)
		write_tokens(out, &tokens, model, strings);
	gh_free(tokens.ids);
	json_decref(tree);
	return status;
}

static gh_status read_tokens(token_list *out, const gh__openai_model *model, const gh__fields *f)
{
	const json_t *list = NULL, *item;
	size_t i;

	if (!gh__field_list(f, "tokens", &list))
		return gh__openai_finding(f->error, "missing", "'tokens'", "Field required");
	out->ids = gh__calloc(json_array_size(list), sizeof *out->ids);
	if (!out->ids)
		return gh__openai_fail(f->error, 500, GH__OPENAI_INTERNAL, "out of memory");
	json_array_foreach(list, i, item)
	{
		int64_t id;

		if (!gh__value_int(f->error, item, "'tokens'", &id))
			return GH_EINVAL;
		if (id < 0 || id >= model->vocab)
			return gh__openai_refuse(f->error, "Token id %lld is out of vocabulary",
						 (long long)id);
		out->ids[i] = (int32_t)id;
	}
	out->count = json_array_size(list);
	return GH_OK;
}

gh_status gh__openai_detokenize(gh__buf *out, const gh__openai_model *model, const char *body,
				size_t len, gh__openai_error *error)
{
	json_t *tree = gh__body_parse(body, len, error);
	const gh__fields f = { tree, error };
	gh_error inner = GH_ERROR_INIT;
	const char *name = NULL;
	token_list tokens = { 0 };
	char *text = NULL;
	size_t text_len = 0;
	gh_status status;

	if (!tree)
		return GH_EINVAL;
	gh__field_text(&f, "model", &name);
	status = error->status ? GH_EINVAL : gh__openai_check_model(name, model, error);
	if (status == GH_OK)
		status = read_tokens(&tokens, model, &f);
	if (status == GH_OK) {
		status = gh_tokenizer_decode(model->tokenizer, tokens.ids, tokens.count, 0, &text,
					     &text_len, &inner);
		if (status != GH_OK)
			gh__openai_error_of(error, status, &inner);
	}
	if (status == GH_OK) {
		gh__buf_append_str(out, "{\"prompt\":");
		gh__json_write_string(out, text, text_len);
		gh__buf_append_char(out, '}');
	}
	gh_free(text);
	gh_free(tokens.ids);
	json_decref(tree);
	return status;
}
