#include <float.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "hub/config.h"
#include "hub/json_file.h"
#include "hub/safetensors.h"
#include "json/json.h"

/* A string into an array of fixed size; one that does not fit is an error. */
static bool read_text(gh__json_reader *r, const char *key, char *out, size_t size)
{
	const char *text;

	if (!gh__json_string(r, key, &text))
		return false;
	if (strlen(text) >= size) {
		gh__json_fail(r, key, "%zu characters, at most %zu expected", strlen(text),
			      size - 1);
		return false;
	}
	memcpy(out, text, strlen(text) + 1);
	return true;
}

static void read_size(gh__json_reader *r, const char *key, int64_t max, int64_t *out)
{
	gh__json_require(r, key);
	gh__json_int(r, key, 1, max, out);
}

static int read_flag(gh__json_reader *r, const char *key)
{
	bool value;

	return gh__json_bool(r, key, &value) ? value : -1;
}

static void read_architecture(gh__json_reader *r, gh__hf_config *out)
{
	const json_t *list, *first;

	gh__json_require(r, "architectures");
	if (!gh__json_array(r, "architectures", &list))
		return;
	first = json_array_get(list, 0);
	if (!json_is_string(first) || json_string_length(first) == 0 ||
	    json_string_length(first) >= sizeof out->architecture ||
	    strlen(json_string_value(first)) != json_string_length(first))
		gh__json_fail(r, "architectures", "a list that begins with a name expected");
	else
		memcpy(out->architecture, json_string_value(first), json_string_length(first) + 1);
}

static void read_torch_dtype(gh__json_reader *r, gh__hf_config *out)
{
	static const struct {
		const char *name;
		gh_dtype dtype;
	} names[] = {
		{ "float32", GH_F32 }, { "float16", GH_F16 },        { "bfloat16", GH_BF16 },
		{ "float64", GH_F64 }, { "float8_e4m3fn", GH_E4M3 }, { "float8_e5m2", GH_E5M2 },
	};
	const char *key = "torch_dtype", *text;

	/* The name of the key up to transformers 4, and since 5. */
	if (!gh__json_string(r, key, &text) && !gh__json_string(r, key = "dtype", &text))
		return;
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		if (strcmp(text, names[i].name) == 0)
			out->torch_dtype = names[i].dtype;
	if (out->torch_dtype == GH_DTYPE_NONE)
		gh__json_fail(r, key, "\"%.40s\", a type such as \"bfloat16\" expected", text);
}

/* What a kind of scaling must say; the rest of its keys have no meaning for it. */
static void read_scaling_values(gh__json_reader *r, const char *kind, int64_t max_positions,
				gh__rope_scaling *out)
{
	static const char *const refused[] = { "attention_factor", "mscale", "mscale_all_dim",
					       "truncate" };

	gh__json_require(r, "factor");
	gh__json_real(r, "factor", 1.0, 65536.0, &out->factor);
	if (out->kind == GH__ROPE_LINEAR)
		return;
	if (out->kind == GH__ROPE_LLAMA3) {
		gh__json_require(r, "original_max_position_embeddings");
		gh__json_require(r, "low_freq_factor");
		gh__json_require(r, "high_freq_factor");
	}
	out->original_max_positions = max_positions;
	gh__json_int(r, "original_max_position_embeddings", 1, GH__TOKEN_MAX,
		     &out->original_max_positions);
	if (out->kind == GH__ROPE_LLAMA3) {
		gh__json_real(r, "low_freq_factor", 1e-6, 65536.0, &out->low_freq_factor);
		gh__json_real(r, "high_freq_factor", 1e-6, 65536.0, &out->high_freq_factor);
		if (gh__json_reader_status(r) == GH_OK &&
		    out->low_freq_factor >= out->high_freq_factor)
			gh__json_fail(r, "high_freq_factor",
				      "%g, more than low_freq_factor %g expected",
				      out->high_freq_factor, out->low_freq_factor);
		return;
	}
	out->beta_fast = 32.0;
	out->beta_slow = 1.0;
	gh__json_real(r, "beta_fast", 1e-6, 65536.0, &out->beta_fast);
	gh__json_real(r, "beta_slow", 1e-6, 65536.0, &out->beta_slow);
	if (gh__json_reader_status(r) == GH_OK && out->beta_slow >= out->beta_fast)
		gh__json_fail(r, "beta_fast", "%g, more than beta_slow %g expected", out->beta_fast,
			      out->beta_slow);
	for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++)
		if (json_is_number(json_object_get(r->object, refused[i])) ||
		    json_is_boolean(json_object_get(r->object, refused[i])))
			gh__json_fail(r, refused[i], "not supported with \"%s\"", kind);
}

/* The kind that a rope_scaling or rope_parameters object names. */
static void read_scaling_kind(gh__json_reader *r, gh__rope_scaling *out, const char **name)
{
	static const char *const kinds[] = {
		[GH__ROPE_PLAIN] = "default",
		[GH__ROPE_LLAMA3] = "llama3",
		[GH__ROPE_YARN] = "yarn",
		[GH__ROPE_LINEAR] = "linear",
	};
	const char *key = "rope_type";

	*name = kinds[GH__ROPE_PLAIN];
	if (!gh__json_string(r, key, name) && !gh__json_string(r, key = "type", name)) {
		/* Nothing but a theta may do without a kind. */
		if (json_object_get(r->object, "factor"))
			gh__json_require(r, "rope_type");
		return;
	}
	for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
		if (strcmp(*name, kinds[i]) == 0) {
			out->kind = (gh__rope_scaling_kind)i;
			return;
		}
	}
	gh__json_fail(r, key, "\"%.40s\" is not one of default, llama3, yarn, linear", *name);
}

/* rope_scaling beside rope_theta (transformers 4), or rope_parameters with both (5). */
static void read_rope(gh__json_reader *r, gh__hf_config *out)
{
	const double theta_max = 1e12;
	const char *key = "rope_parameters", *kind;
	const json_t *object;
	gh__json_reader rope;

	out->rope_theta = 10000.0;
	gh__json_real(r, "rope_theta", 1.0, theta_max, &out->rope_theta);
	if (!gh__json_object(r, key, &object) && !gh__json_object(r, key = "rope_scaling", &object))
		return;
	gh__json_child(&rope, r, key, -1, object);
	gh__json_real(&rope, "rope_theta", 1.0, theta_max, &out->rope_theta);
	read_scaling_kind(&rope, &out->rope_scaling, &kind);
	if (out->rope_scaling.kind != GH__ROPE_PLAIN)
		read_scaling_values(&rope, kind, out->max_positions, &out->rope_scaling);
}

static void read_quantization(gh__json_reader *r, gh__hf_config *out)
{
	gh__json_reader child;
	const json_t *object;

	if (!gh__json_object(r, "quantization_config", &object))
		return;
	gh__json_child(&child, r, "quantization_config", -1, object);
	gh__json_require(&child, "quant_method");
	read_text(&child, "quant_method", out->quant_method, sizeof out->quant_method);
	out->quantization = json_incref((json_t *)object);
}

/* Sizes that must fit each other, whatever the architecture. */
static void check_heads(gh__json_reader *r, const gh__hf_config *c)
{
	if (gh__json_reader_status(r) != GH_OK)
		return;
	if (c->heads % c->kv_heads != 0)
		gh__json_fail(r, "num_key_value_heads",
			      "%lld, a divisor of num_attention_heads %lld expected",
			      (long long)c->kv_heads, (long long)c->heads);
	else if (c->head_dim == 0 && c->hidden % c->heads != 0)
		gh__json_fail(r, "hidden_size",
			      "%lld, a multiple of num_attention_heads %lld expected where "
			      "head_dim is absent",
			      (long long)c->hidden, (long long)c->heads);
}

static void read_fields(gh__json_reader *r, gh__hf_config *out)
{
	read_text(r, "model_type", out->model_type, sizeof out->model_type);
	read_size(r, "hidden_size", 65536, &out->hidden);
	read_size(r, "intermediate_size", (int64_t)1 << 20, &out->intermediate);
	read_size(r, "num_hidden_layers", 1024, &out->layers);
	read_size(r, "num_attention_heads", 1024, &out->heads);
	out->kv_heads = out->heads;
	gh__json_int(r, "num_key_value_heads", 1, 1024, &out->kv_heads);
	gh__json_int(r, "head_dim", 1, 1024, &out->head_dim);
	read_size(r, "vocab_size", GH__TOKEN_MAX, &out->vocab);
	read_size(r, "max_position_embeddings", GH__TOKEN_MAX, &out->max_positions);
	gh__json_require(r, "rms_norm_eps");
	gh__json_real(r, "rms_norm_eps", DBL_MIN, 1.0, &out->rms_norm_eps);
	gh__json_bool(r, "tie_word_embeddings", &out->tie_word_embeddings);
	gh__json_bool(r, "use_sliding_window", &out->use_sliding_window);
	gh__json_int(r, "max_window_layers", 0, 1024, &out->max_window_layers);
	out->attention_bias = read_flag(r, "attention_bias");
	out->mlp_bias = read_flag(r, "mlp_bias");
	read_text(r, "hidden_act", out->hidden_act, sizeof out->hidden_act);
	gh__json_int(r, "bos_token_id", -1, GH__TOKEN_MAX - 1, &out->bos);
	gh__hub_read_ids(r, "eos_token_id", out->eos, &out->eos_count);
	read_torch_dtype(r, out);
	read_rope(r, out);
	read_quantization(r, out);
	check_heads(r, out);
}

gh_status gh__hf_config_parse(gh__hf_config *out, const json_t *tree, gh_error *error)
{
	char name[128];
	gh_error inner = GH_ERROR_INIT;
	gh__json_reader r;

	memset(out, 0, sizeof *out);
	out->max_window_layers = -1;
	out->bos = -1;
	memcpy(out->hidden_act, "silu", sizeof "silu");
	gh__json_root(&r, tree, "config.json", &inner);
	read_architecture(&r, out);
	if (gh__json_reader_status(&r) == GH_OK) {
		/* A field may be missing because the architecture has no such thing: name it. */
		snprintf(name, sizeof name, "config.json (%s)", out->architecture);
		gh__json_root(&r, tree, name, &inner);
		read_fields(&r, out);
	}
	if (gh__json_reader_status(&r) == GH_OK)
		return GH_OK;
	gh__hf_config_done(out);
	return gh__fail(error, GH_EFORMAT, "%s", inner.text);
}

gh_status gh__hf_config_read(gh__hf_config *out, const char *folder, gh_error *error)
{
	json_t *tree;
	gh_status status = gh__hub_read_json(&tree, folder, "config.json", error);

	if (status != GH_OK)
		return status;
	status = gh__hf_config_parse(out, tree, error);
	json_decref(tree);
	return status;
}

void gh__hf_config_done(gh__hf_config *config)
{
	json_decref(config->quantization);
	memset(config, 0, sizeof *config);
}
