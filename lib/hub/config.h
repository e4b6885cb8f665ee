#ifndef GH_HUB_CONFIG_H
#define GH_HUB_CONFIG_H

#include <stdbool.h>
#include <jansson.h>

#include <gonkahost/hub.h>

/*
 * config.json and generation_config.json as typed values, nothing interpreted: what they mean for
 * the arithmetic is model's affair.
 */

#define GH__EOS_MAX 16

typedef enum gh__rope_scaling_kind {
	GH__ROPE_PLAIN = 0,
	GH__ROPE_LLAMA3,
	GH__ROPE_YARN,
	GH__ROPE_LINEAR
} gh__rope_scaling_kind;

typedef struct gh__rope_scaling {
	gh__rope_scaling_kind kind;
	double factor;
	double low_freq_factor, high_freq_factor; /* llama3 */
	double beta_fast, beta_slow;              /* yarn: 32, 1 */
	int64_t original_max_positions;
} gh__rope_scaling;

typedef struct gh__hf_config {
	char architecture[64]; /* architectures[0], "Qwen2ForCausalLM" */
	char model_type[64];
	int64_t hidden, intermediate, layers, heads, kv_heads;
	int64_t head_dim; /* 0: absent; hidden / heads is then meant */
	int64_t vocab, max_positions;
	double rms_norm_eps, rope_theta;
	gh__rope_scaling rope_scaling;
	bool tie_word_embeddings, use_sliding_window;
	int64_t max_window_layers; /* -1: absent */
	int attention_bias;        /* -1: absent */
	int mlp_bias;              /* -1: absent */
	char hidden_act[32];
	gh_dtype torch_dtype;          /* GH_DTYPE_NONE: absent */
	int64_t bos, eos[GH__EOS_MAX]; /* -1: no bos */
	int eos_count;
	char quant_method[32]; /* "" : no quantization_config */
	json_t *quantization;  /* quantization_config, or NULL */
} gh__hf_config;

/* Field by field with ranges: every size is bounded (hidden 1 to 65536, layers 1 to 1024, vocab 2
 * to 2^24, positions 1 to 2^24, heads 1 to 1024, head_dim 1 to 1024, theta > 0 finite, eps > 0
 * ...). */
gh_status gh__hf_config_read(gh__hf_config *out, const char *folder, gh_error *error);
/* The same from the tree of a config.json, borrowed for the call. */
gh_status gh__hf_config_parse(gh__hf_config *out, const json_t *tree, gh_error *error);
void gh__hf_config_done(gh__hf_config *config);

typedef struct gh__generation_config {
	bool present; /* the file exists */
	bool has_temperature, has_top_p, has_top_k, has_min_p, has_repetition_penalty,
		has_max_new_tokens;
	double temperature, top_p, min_p, repetition_penalty;
	int64_t top_k, max_new_tokens;
	int64_t eos[GH__EOS_MAX];
	int eos_count;
} gh__generation_config;

/* A missing file is not an error. */
gh_status gh__generation_config_read(gh__generation_config *out, const char *folder,
				     gh_error *error);

/* A whole small file (folder/name) through open and read; caller frees (gh__free). GH_ENOENT. */
gh_status gh__hub_read_file(char **out, size_t *len, const char *folder, const char *name,
			    size_t max, gh_error *error);

#endif
