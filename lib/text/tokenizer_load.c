#include "text/loader.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "hub/config.h"

#define FILE_MAX   ((size_t)256 << 20)
#define CONFIG_MAX ((size_t)16 << 20)

gh_tokenizer *gh__tokenizer_create(gh_error *error)
{
	gh_tokenizer *tokenizer = gh__calloc(1, sizeof *tokenizer);

	if (!tokenizer) {
		gh__fail_nomem(error);
		return NULL;
	}
	gh__added_init(&tokenizer->raw);
	gh__added_init(&tokenizer->normalized);
	gh__vocab_init(&tokenizer->model.vocab);
	tokenizer->eos = -1;
	if (gh__merges_init(&tokenizer->model.merges, error) != GH_OK) {
		gh_tokenizer_free(tokenizer);
		return NULL;
	}
	return tokenizer;
}

/* The longest text of an added token; SIZE_MAX when white space around one belongs to it. */
static size_t longest_added(const gh__added_set *set)
{
	size_t longest = 0;

	for (size_t i = 0; i < set->count; i++) {
		if (set->items[i].lstrip || set->items[i].rstrip)
			return SIZE_MAX;
		if (set->items[i].len > longest)
			longest = set->items[i].len;
	}
	return longest;
}

static size_t token_bytes(const gh_tokenizer *tokenizer)
{
	const gh__bpe_model *model = &tokenizer->model;
	size_t raw = longest_added(&tokenizer->raw);
	size_t normalized = longest_added(&tokenizer->normalized);
	size_t longest = raw > normalized ? raw : normalized;

	if (longest == SIZE_MAX || !gh__splits_keep_all(&tokenizer->splits))
		return 0;
	for (unsigned b = 0; b < 256; b++)
		if (model->byte_ids[b] < 0)
			return 0;
	for (int32_t id = 0; id < model->vocab.size; id++) {
		const gh__token *token = gh__vocab_at(&model->vocab, id);

		if (token && token->bytes_len > longest)
			longest = token->bytes_len;
	}
	return longest;
}

/* When everything has been read: what encoding looks up all the time. */
static gh_status finish(gh_tokenizer *tokenizer, gh_error *error)
{
	gh__bpe_model *model = &tokenizer->model;

	for (unsigned b = 0; b < 256; b++) {
		char byte = (char)b, text[4];

		model->byte_ids[b] = gh__vocab_find_model(&model->vocab, text,
							  gh__alphabet_spell(text, &byte, 1));
	}
	gh__added_ready(&tokenizer->raw);
	gh__added_ready(&tokenizer->normalized);
	tokenizer->token_bytes = token_bytes(tokenizer);
	tokenizer->unicode = gh__unicode_create(tokenizer->nfc);
	return tokenizer->unicode ? GH_OK : gh__fail_nomem(error);
}

static gh_status read_parts(gh_tokenizer *tokenizer, const gh__tokenizer_parts *parts,
			    const json_t *config, gh_error *error)
{
	gh_status status = gh__tokenizer_read_normalizer(tokenizer, parts->normalizer, error);

	if (status == GH_OK)
		status = gh__tokenizer_read_pre_tokenizer(tokenizer, parts->pre_tokenizer, error);
	if (status == GH_OK)
		status = gh__tokenizer_read_decoder(parts->decoder, error);
	if (status == GH_OK)
		status = gh__tokenizer_read_config(tokenizer, config, error);
	if (status == GH_OK)
		status = gh__tokenizer_read_added(tokenizer, parts->added_tokens, error);
	if (status == GH_OK)
		status = gh__tokenizer_read_roles(tokenizer, config, error);
	if (status == GH_OK)
		status = gh__tokenizer_read_post_processor(tokenizer, parts->post_processor, error);
	return status;
}

/* The end of a load: the finished tokenizer, or the error. A fault of a file is no fault of an
 * argument, whatever the reader that found it calls it. */
static gh_status settle(gh_tokenizer **out, gh_tokenizer *tokenizer, gh_status status,
			const gh_error *why, gh_error *error)
{
	if (status == GH_OK) {
		*out = tokenizer;
		return GH_OK;
	}
	gh_tokenizer_free(tokenizer);
	return gh__fail(error, status == GH_EINVAL ? GH_EFORMAT : status, "%s", why->text);
}

gh_status gh__tokenizer_parse(gh_tokenizer **out, const char *json, size_t len,
			      const json_t *config, gh_error *error)
{
	gh__tokenizer_parts parts = { 0 };
	gh_error why = GH_ERROR_INIT;
	gh_tokenizer *tokenizer = gh__tokenizer_create(error);

	if (!tokenizer)
		return GH_ENOMEM;
	gh_status status = gh__tokenizer_read_json(tokenizer, &parts, json, len, &why);
	if (status == GH_OK)
		status = read_parts(tokenizer, &parts, config, &why);
	if (status == GH_OK)
		status = finish(tokenizer, &why);
	gh__tokenizer_parts_done(&parts);
	return settle(out, tokenizer, status, &why, error);
}

/* The steps of the two families whose models come with vocab.json and merges.txt. */
static gh_status default_steps(gh_tokenizer *tokenizer, const json_t *config, gh_error *error)
{
	const char *class = "GPT2Tokenizer";
	gh__splits *splits = &tokenizer->splits;
	gh__json_reader r;

	splits->byte_level = splits->gpt2 = true;
	if (!config)
		return GH_OK;
	gh__json_root(&r, config, "tokenizer_config.json", error);
	gh__json_string(&r, "tokenizer_class", &class);
	if (strcmp(class, "Qwen2Tokenizer") == 0 || strcmp(class, "Qwen2TokenizerFast") == 0) {
		splits->gpt2 = false;
		splits->split[splits->count++].kind = GH__SPLIT_QWEN2;
		tokenizer->nfc = true;
	} else if (strcmp(class, "GPT2Tokenizer") == 0 || strcmp(class, "GPT2TokenizerFast") == 0) {
		gh__json_bool(&r, "add_prefix_space", &splits->prefix_space);
	} else {
		gh__json_refuse(&r, "tokenizer_class",
				"\"%.40s\" with vocab.json is not supported, only Qwen2Tokenizer, "
				"GPT2Tokenizer",
				class);
	}
	return gh__json_reader_status(&r);
}

static gh_status load_vocab_and_merges(gh_tokenizer **out, const char *folder, const json_t *config,
				       gh_error *error)
{
	char *vocab = NULL, *merges = NULL;
	size_t vocab_len, merges_len;
	gh_error why = GH_ERROR_INIT;
	gh_tokenizer *tokenizer = NULL;
	gh_status status =
		gh__hub_read_file(&vocab, &vocab_len, folder, "vocab.json", FILE_MAX, &why);

	if (status == GH_ENOENT)
		return gh__fail(error, GH_ENOENT, "%s: neither tokenizer.json nor vocab.json",
				folder);
	if (status == GH_OK)
		status = gh__hub_read_file(&merges, &merges_len, folder, "merges.txt", FILE_MAX,
					   &why);
	if (status == GH_OK) {
		tokenizer = gh__tokenizer_create(&why);
		status = tokenizer ? GH_OK : GH_ENOMEM;
	}
	if (status == GH_OK)
		status = gh__tokenizer_read_vocab(tokenizer, vocab, vocab_len, &why);
	if (status == GH_OK)
		status = gh__tokenizer_read_merges(tokenizer, merges, merges_len, &why);
	if (status == GH_OK)
		status = default_steps(tokenizer, config, &why);
	if (status == GH_OK)
		status = gh__tokenizer_read_config(tokenizer, config, &why);
	if (status == GH_OK)
		status = gh__tokenizer_read_roles(tokenizer, config, &why);
	if (status == GH_OK)
		status = finish(tokenizer, &why);
	gh__free(vocab);
	gh__free(merges);
	return settle(out, tokenizer, status, &why, error);
}

/* tokenizer_config.json as a tree, NULL when there is none. */
static gh_status read_config_file(json_t **out, const char *folder, gh_error *error)
{
	static const char name[] = "tokenizer_config.json";
	gh_error inner = GH_ERROR_INIT;
	char *text;
	size_t len;
	gh_status status = gh__hub_read_file(&text, &len, folder, name, CONFIG_MAX, &inner);

	*out = NULL;
	if (status == GH_ENOENT)
		return GH_OK;
	if (status != GH_OK)
		return gh__fail(error, status, "%s", inner.text);
	*out = gh__json_parse(text, len, false, &inner);
	gh__free(text);
	if (!*out)
		return gh__fail(error, GH_EFORMAT, "%s: %s", name, inner.text);
	return GH_OK;
}

gh_status gh_tokenizer_load(gh_tokenizer **out, const char *folder, gh_error *error)
{
	gh_error inner = GH_ERROR_INIT;
	json_t *config = NULL;
	char *text = NULL;
	size_t len;
	gh_status status = read_config_file(&config, folder, error);

	if (status != GH_OK)
		return status;
	status = gh__hub_read_file(&text, &len, folder, "tokenizer.json", FILE_MAX, &inner);
	if (status == GH_OK)
		status = gh__tokenizer_parse(out, text, len, config, error);
	else if (status == GH_ENOENT)
		status = load_vocab_and_merges(out, folder, config, error);
	else
		gh__fail(error, status, "%s", inner.text);
	gh__free(text);
	json_decref(config);
	return status;
}
