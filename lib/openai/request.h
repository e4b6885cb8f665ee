#ifndef GH_OPENAI_REQUEST_H
#define GH_OPENAI_REQUEST_H

#include <stdbool.h>
#include <jansson.h>

#include <gonkahost/engine.h>

#include "hub/config.h"
#include "openai/error.h"
#include "openai/fields.h"

/* What requests are checked against: one a server, immutable while it serves. */
typedef struct gh__openai_model {
	const char *const *names; /* [name_count] names it is served under */
	size_t name_count;
	const char *response_role;
	const gh_tokenizer *tokenizer;
	const gh_template *chat_template; /* NULL: none */
	int32_t max_length, vocab;
	int64_t max_logprobs;
	gh__generation_config defaults; /* of sampling, where a request says nothing */
	const int32_t *eos;             /* [eos_count] end tokens */
	int32_t eos_count;
	int32_t eos_id;       /* the tokenizer's, which is never a stop_reason; -1: none */
	bool has_tool_parser; /* "auto" is configured */
	bool prompt_tokens_details;
} gh__openai_model;

typedef enum gh__openai_kind { GH__OPENAI_CHAT, GH__OPENAI_COMPLETION } gh__openai_kind;

/* What the model is given to continue. */
typedef struct gh__openai_prompt {
	int32_t *ids; /* owned */
	size_t count;
	char *text; /* owned; only where it is echoed */
	size_t text_len;
} gh__openai_prompt;

/*
 * A chat or completion request. Pointers into tree are borrowed from it.
 */
typedef struct gh__openai_request {
	gh__openai_kind kind;
	json_t *tree;
	const char *model, *request_id;
	bool stream, include_usage, continuous_usage, echo;

	/* chat */
	const json_t *messages, *tools, *template_kwargs, *documents;
	bool add_generation_prompt, continue_final_message;
	json_t *conversation; /* owned: messages as the template saw them */

	/* completion */
	const json_t *prompt;

	bool add_special_tokens;
	int64_t truncate;   /* 0: none */
	int64_t n, best_of; /* best_of 0: n */
	bool has_max_tokens;
	int64_t max_tokens, min_tokens;
	bool has_temperature, has_top_p, has_top_k, has_min_p, has_repetition_penalty;
	double temperature, top_p, min_p, repetition_penalty;
	int64_t top_k;
	double frequency_penalty, presence_penalty;
	bool has_seed;
	int64_t seed;
	bool logprobs; /* asked for; top_logprobs is how many */
	int64_t top_logprobs;
	int64_t prompt_logprobs; /* -1: none */
	bool include_stop, ignore_eos, skip_special;

	const char **stop; /* [stop_count] the array is owned */
	size_t stop_count;
	int32_t *stop_ids; /* owned */
	size_t stop_id_count;
	int32_t *bias_ids; /* owned */
	float *bias;       /* owned */
	size_t bias_count;
	int32_t *allowed; /* owned */
	size_t allowed_count;

	gh__openai_prompt *prompts; /* [prompt_count] owned */
	size_t prompt_count;
} gh__openai_request;

/* JSON, fields, rules between fields, model name, tools: in this order. */
gh_status gh__openai_request_parse(gh__openai_request *out, gh__openai_kind kind,
				   const gh__openai_model *model, const char *body, size_t len,
				   gh__openai_error *error);
void gh__openai_request_free(gh__openai_request *request);

/* Templates and tokens: fills prompts. Takes as long as the text is. */
gh_status gh__openai_request_encode(gh__openai_request *request, const gh__openai_model *model,
				    gh__openai_error *error);

/* Lengths and ranges of the fields; then what the engine is told of a prompt. Borrows request. */
gh_status gh__openai_request_sampling(gh_sampling *out, const gh__openai_request *request,
				      const gh__openai_model *model,
				      const gh__openai_prompt *prompt, gh__openai_error *error);

/* The same of a prompt that has more tokens than the model takes: at least so many. */
gh_status gh__openai_too_long(const gh__openai_request *request, const gh__openai_model *model,
			      size_t at_least, gh__openai_error *error);

/* "echo" with no token to generate: the prompt alone is answered. */
bool gh__openai_request_only_echo(const gh__openai_request *request);
/* Alternatives that the engine is to report for each prompt token, or -1. */
int64_t gh__openai_request_prompt_logprobs(const gh__openai_request *request);

/* ---- parts, for tests and for /tokenize ---- */

/* Rules between fields, and fields that are refused. */
gh_status gh__openai_check_rules(gh__openai_request *request, const gh__fields *f);
gh_status gh__openai_check_flags(gh__openai_request *request, const gh__fields *f);
gh_status gh__openai_check_tools(gh__openai_request *request, const gh__openai_model *model,
				 const gh__fields *f);
gh_status gh__openai_check_model(const char *name, const gh__openai_model *model,
				 gh__openai_error *error);

/* The fields of a conversation; those of /tokenize too. */
gh_status gh__openai_chat_fields(gh__openai_request *request, const gh__fields *f);

/* messages as templates want them: a new array. */
json_t *gh__openai_messages(const json_t *messages, gh__openai_error *error);
json_t *gh__openai_tools(const json_t *tools, gh__openai_error *error);

/* Who answers. */
const char *gh__openai_role(const gh__openai_request *request, const gh__openai_model *model);

/* The text of a conversation; caller frees (gh_free). Keeps request->conversation. */
gh_status gh__openai_render(char **text, size_t *len, gh__openai_request *request,
			    const gh__openai_model *model, gh__openai_error *error);

#endif
