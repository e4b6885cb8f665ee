#include "text/loader.h"

#include <stdio.h>

#include "base/error.h"
#include "base/number.h"

gh_status gh__tokenizer_put_added(gh_tokenizer *tokenizer, const gh__added *item, const char *text,
				  size_t len, gh_error *error)
{
	gh__vocab *vocab = &tokenizer->model.vocab;
	unsigned flags = GH__TOKEN_ADDED | (item->special ? GH__TOKEN_SPECIAL : 0);
	int32_t id = gh__vocab_find(vocab, text, len);
	gh__buf composed = GH__BUF_INIT((size_t)3 * GH__VOCAB_TEXT);
	gh_status status = GH_OK;

	if (len == 0)
		return GH_OK; /* nothing could be found of it */
	if (id >= 0 && id != item->id)
		return gh__fail(error, GH_EFORMAT,
				"\"%.*s\" has the id %d here and %d in the vocabulary",
				(int)(len < 60 ? len : 60), text, item->id, id);
	if (id < 0)
		status = gh__vocab_add(vocab, text, len, item->id, flags, error);
	else if (gh__vocab_at(vocab, id)->flags & GH__TOKEN_ADDED)
		return GH_OK;
	else
		gh__vocab_mark(vocab, id, flags);
	if (status != GH_OK)
		return status;
	if (!item->normalized)
		return gh__added_put(&tokenizer->raw, item, text, len, error);
	/* What is searched in normalised text must be normalised itself. */
	if (tokenizer->nfc)
		status = gh__nfc(text, len, &composed, error);
	else
		gh__buf_append(&composed, text, len);
	if (status == GH_OK && gh__buf_status(&composed) != GH_OK)
		status = gh__fail(error, gh__buf_status(&composed), "an added token is too long");
	if (status == GH_OK)
		status = gh__added_put(&tokenizer->normalized, item, composed.data, composed.len,
				       error);
	gh__buf_free(&composed);
	return status;
}

/* The fields that both files have; item->id is set. */
static gh_status read_token(gh_tokenizer *tokenizer, gh__json_reader *r, gh__added *item,
			    gh_error *error)
{
	const char *text = "";
	size_t len = 0;
	gh_error why = GH_ERROR_INIT;

	gh__json_require(r, "content");
	gh__json_string_n(r, "content", &text, &len);
	gh__json_bool(r, "special", &item->special);
	/* As the reference has it where the file does not say. */
	item->normalized = !item->special;
	gh__json_bool(r, "normalized", &item->normalized);
	gh__json_bool(r, "lstrip", &item->lstrip);
	gh__json_bool(r, "rstrip", &item->rstrip);
	gh__json_bool(r, "single_word", &item->single_word);
	gh_status status = gh__json_reader_status(r);
	if (status != GH_OK)
		return status;
	status = gh__tokenizer_put_added(tokenizer, item, text, len, &why);
	if (status == GH_ENOMEM)
		return gh__fail_nomem(error);
	return status == GH_OK ? GH_OK : gh__json_fail(r, "content", "%s", why.text);
}

gh_status gh__tokenizer_read_added(gh_tokenizer *tokenizer, json_t *added_tokens, gh_error *error)
{
	gh_status status = GH_OK;

	if (added_tokens && !json_is_null(added_tokens) && !json_is_array(added_tokens))
		return gh__fail(error, GH_EFORMAT,
				"tokenizer.json: added_tokens: expected an array");
	for (size_t i = 0; status == GH_OK && i < json_array_size(added_tokens); i++) {
		gh__added item = { 0 };
		gh__json_reader r;
		char name[64];
		int64_t id;

		snprintf(name, sizeof name, "tokenizer.json: added_tokens[%zu]", i);
		gh__json_root(&r, json_array_get(added_tokens, i), name, error);
		gh__json_require(&r, "id");
		if (gh__json_int(&r, "id", 0, GH__VOCAB_IDS - 1, &id))
			item.id = (int32_t)id;
		status = gh__json_reader_status(&r);
		if (status == GH_OK)
			status = read_token(tokenizer, &r, &item, error);
	}
	return status;
}

static gh_status read_added_decoder(gh_tokenizer *tokenizer, gh__json_reader *config,
				    gh_error *error)
{
	static const char field[] = "added_tokens_decoder";
	const json_t *object = NULL;
	gh__json_reader r, token;
	const char *key;
	json_t *value;
	gh_status status = GH_OK;

	if (!gh__json_object(config, field, &object))
		return gh__json_reader_status(config);
	gh__json_child(&r, config, field, -1, object);
	json_object_foreach((json_t *)object, key, value)
	{
		gh__added item = { 0 };
		int64_t id;

		if (!gh__parse_int64(key, &id) || id < 0 || id >= GH__VOCAB_IDS)
			return gh__json_fail(&r, key, "expected an id below %d", GH__VOCAB_IDS);
		item.id = (int32_t)id;
		gh__json_child(&token, &r, key, -1, value);
		status = gh__json_reader_status(&token);
		if (status == GH_OK)
			status = read_token(tokenizer, &token, &item, error);
		if (status != GH_OK)
			return status;
	}
	return GH_OK;
}

gh_status gh__tokenizer_read_config(gh_tokenizer *tokenizer, const json_t *config, gh_error *error)
{
	gh__json_reader r;

	if (!config)
		return GH_OK;
	gh__json_root(&r, config, "tokenizer_config.json", error);
	gh_status status = gh__json_reader_status(&r);
	if (status == GH_OK)
		status = read_added_decoder(tokenizer, &r, error);
	return status;
}

/* A token named as a string or as {"content": "..."}; *out is its id, -1 when there is none. */
static gh_status read_role(gh_tokenizer *tokenizer, gh__json_reader *config, const char *role,
			   int32_t *out, gh_error *error)
{
	gh__json_reader object, *r = config;
	const json_t *value = json_object_get(config->object, role);
	const char *key = role, *text;
	size_t len;

	*out = -1;
	if (json_is_object(value)) {
		gh__json_child(&object, config, role, -1, value);
		r = &object;
		key = "content";
	}
	if (!gh__json_string_n(r, key, &text, &len))
		return gh__json_reader_status(r);
	*out = gh__vocab_find(&tokenizer->model.vocab, text, len);
	if (*out < 0)
		return GH_OK;
	gh__added item = { .id = *out, .special = true };
	return gh__tokenizer_put_added(tokenizer, &item, text, len, error);
}

gh_status gh__tokenizer_read_roles(gh_tokenizer *tokenizer, const json_t *config, gh_error *error)
{
	static const char *const others[] = { "bos_token", "unk_token", "pad_token" };
	gh__json_reader r;

	if (!config)
		return GH_OK;
	gh__json_root(&r, config, "tokenizer_config.json", error);
	gh_status status = read_role(tokenizer, &r, "eos_token", &tokenizer->eos, error);
	for (size_t i = 0; status == GH_OK && i < sizeof others / sizeof others[0]; i++) {
		int32_t id;

		status = read_role(tokenizer, &r, others[i], &id, error);
	}
	return status;
}
