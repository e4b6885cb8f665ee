#ifndef GH_TEXT_LOADER_H
#define GH_TEXT_LOADER_H

#include "json/json.h"
#include "text/tokenizer.h"

/*
 * From files to a tokenizer. The vocabulary and the merges are read as they stand in the file; the
 * small parts of tokenizer.json go through trees.
 */
typedef struct gh__tokenizer_parts {
	json_t *model; /* its fields, without vocab and merges */
	json_t *added_tokens, *normalizer, *pre_tokenizer, *post_processor, *decoder;
} gh__tokenizer_parts;

void gh__tokenizer_parts_done(gh__tokenizer_parts *parts);

/* A tokenizer without tokens or steps; NULL: out of memory. */
gh_tokenizer *gh__tokenizer_create(gh_error *error);

/* tokenizer.json: fill model's vocabulary and merges, and collect the other parts. */
gh_status gh__tokenizer_read_json(gh_tokenizer *tokenizer, gh__tokenizer_parts *parts,
				  const char *text, size_t len, gh_error *error);

/* vocab.json and merges.txt, which say the same as the model part of tokenizer.json. */
gh_status gh__tokenizer_read_vocab(gh_tokenizer *tokenizer, const char *text, size_t len,
				   gh_error *error);
gh_status gh__tokenizer_read_merges(gh_tokenizer *tokenizer, const char *text, size_t len,
				    gh_error *error);

/*
 * The parts into steps, in this order: added tokens need the normalizer, the post-processor needs
 * the whole vocabulary. Faults of types and ranges are GH_EINVAL here.
 */
gh_status gh__tokenizer_read_model(gh_tokenizer *tokenizer, json_t *model, gh_error *error);
gh_status gh__tokenizer_read_normalizer(gh_tokenizer *tokenizer, json_t *normalizer,
					gh_error *error);
gh_status gh__tokenizer_read_pre_tokenizer(gh_tokenizer *tokenizer, json_t *pre_tokenizer,
					   gh_error *error);
gh_status gh__tokenizer_read_post_processor(gh_tokenizer *tokenizer, json_t *post_processor,
					    gh_error *error);
gh_status gh__tokenizer_read_decoder(json_t *decoder, gh_error *error);

/* An added token; one that was put before stays as it was. item->id is the id the file gives it. */
gh_status gh__tokenizer_put_added(gh_tokenizer *tokenizer, const gh__added *item, const char *text,
				  size_t len, gh_error *error);
/* The list of tokenizer.json, and what tokenizer_config.json says of added tokens: the latter goes
 * first, since it has the last word. config may be NULL. */
gh_status gh__tokenizer_read_added(gh_tokenizer *tokenizer, json_t *added_tokens, gh_error *error);
gh_status gh__tokenizer_read_config(gh_tokenizer *tokenizer, const json_t *config, gh_error *error);

/* Tokens that tokenizer_config.json gives a role (eos_token) are special, whatever the lists
 * say. */
gh_status gh__tokenizer_read_roles(gh_tokenizer *tokenizer, const json_t *config, gh_error *error);

/* All of it, from memory; config may be NULL. */
gh_status gh__tokenizer_parse(gh_tokenizer **out, const char *json, size_t len,
			      const json_t *config, gh_error *error);

#endif
