#ifndef GH_OPENAI_ARGS_H
#define GH_OPENAI_ARGS_H

#include <stdbool.h>

#include <gonkahost/base.h>

/*
 * The command line of vLLM's server, as hosts write it: which options are honoured, accepted with a
 * warning, or refused by name is one table (args_table.c).
 */

/* What is honoured; strings are owned, NULL = not given. */
typedef struct gh__args {
	char *model;             /* never NULL after gh__args_parse() */
	char *served_names_json; /* a JSON array of strings */
	char *tokenizer, *revision, *tokenizer_revision, *download_dir;
	char *host;
	int64_t port;
	char *device, *dtype, *quantization, *kv_cache_dtype;
	int64_t tensor_parallel, pipeline_parallel;
	double memory_share;
	int64_t max_model_len; /* 0: the model's */
	int64_t max_num_seqs;  /* 0: the engine's default, as below */
	int64_t max_num_batched_tokens;
	int64_t kv_blocks;
	int64_t queue_max; /* requests that may wait */
	int64_t max_logprobs;
	bool no_prefix_cache;
	bool has_seed;
	int64_t seed;
	char *api_key, *root_path;
	char *chat_template, *response_role;
	char *generation_config, *override_generation_config;
	char *tool_call_parser, *reasoning_parser;
	char *allowed_origins, *allowed_methods, *allowed_headers; /* JSON arrays */
	bool allow_credentials;
	char *rope_scaling, *rope_theta, *hf_overrides; /* JSON */
	bool disable_log_requests;
	bool prompt_tokens_details, load_tracking, request_id_headers, auto_tool_choice;
} gh__args;

/*
 * Parse arguments without a program's name. Warnings go to the log.
 *
 * GH_EINVAL: usage; the text is for the one who typed it. GH_ENOTSUP: an option that would change
 * what is served and is not supported, named. GH_ENOENT, GH_EFORMAT: the file of --config.
 */
gh_status gh__args_parse(gh__args *out, const char *const *args, size_t count, gh_error *error);
void gh__args_free(gh__args *args);

/* How many GPUs an instance takes: all spellings (--tensor-parallel-size N,
 * --tensor-parallel-size=N, -tp N, ...), the last one wins, 1 when absent. GH_EINVAL: not an
 * integer from 1 to 1024. */
gh_status gh__args_parallel(const char *const *args, size_t count, int32_t *tensor_parallel,
			    int32_t *pipeline_parallel, gh_error *error);

#endif
