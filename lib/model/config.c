#include <string.h>

#include "base/error.h"
#include "hub/json_file.h"
#include "json/json.h"
#include "model/arch.h"

static gh_status refuse(gh_error *error, const char *key, const char *value, const char *expected)
{
	return gh__fail(error, GH_ENOTSUP, "config.json: %s: %s is not supported, %s expected", key,
			value, expected);
}

/* ---- overrides ---- */

/* transformers 5 keeps theta and scaling in one object, rope_parameters. */
static int override_rope(json_t *config, json_t *over)
{
	json_t *parameters = json_object_get(config, "rope_parameters");
	json_t *scaling = json_object_get(over, "rope_scaling");
	json_t *theta = json_object_get(over, "rope_theta");
	int failed = 0;

	if (!json_is_object(parameters))
		return 0;
	if (scaling != NULL) {
		json_t *old_theta = json_object_get(parameters, "rope_theta");
		json_t *fresh = json_is_object(scaling) ? json_copy(scaling) : json_object();

		if (old_theta != NULL && json_object_get(fresh, "rope_theta") == NULL)
			failed |= json_object_set(fresh, "rope_theta", old_theta);
		failed |= json_object_set_new(config, "rope_parameters", fresh);
		parameters = fresh;
		failed |= json_object_del(over, "rope_scaling");
	}
	if (theta != NULL)
		failed |= json_object_set(parameters, "rope_theta", theta);
	return failed;
}

static gh_status lay_over(json_t *config, const char *overrides, gh_error *error)
{
	json_t *over = gh__json_parse(overrides, strlen(overrides), false, error);
	const char *key;
	json_t *value;
	int failed;

	if (over == NULL) {
		gh__error_prefix(error, "overrides: ");
		return error != NULL && error->status != GH_OK ? (gh_status)error->status
							       : GH_EFORMAT;
	}
	if (!json_is_object(over)) {
		json_decref(over);
		return gh__fail(error, GH_EINVAL, "overrides: a JSON object expected");
	}
	failed = override_rope(config, over);
	json_object_foreach(over, key, value)
	{
		if (json_is_null(value))
			json_object_del(config, key);
		else
			failed |= json_object_set(config, key, value);
	}
	json_decref(over);
	return failed ? gh__fail_nomem(error) : GH_OK;
}

/* ---- quantization_config ---- */

/* Modules kept out of the quantisation: the head, which never is quantised, and no other. */
static gh_status only_head_ignored(const json_t *list, const char *key, gh_error *error)
{
	size_t i;
	json_t *name;

	json_array_foreach(list, i, name)
	{
		const char *text = json_string_value(name);

		if (text == NULL || strcmp(text, "lm_head") != 0)
			return refuse(error, key, text != NULL ? text : "an entry", "only lm_head");
	}
	return GH_OK;
}

/* One { num_bits 8, type float } of compressed-tensors. */
static gh_status fp8_scheme(gh__json_reader *r, bool dynamic, const char **strategy,
			    gh_error *error)
{
	int64_t bits = 0;
	const char *type = "";
	bool symmetric = true, is_dynamic = false;

	*strategy = "";
	gh__json_require(r, "strategy");
	gh__json_int(r, "num_bits", 1, 64, &bits);
	gh__json_string(r, "type", &type);
	gh__json_bool(r, "symmetric", &symmetric);
	gh__json_bool(r, "dynamic", &is_dynamic);
	gh__json_string(r, "strategy", strategy);
	if (gh__json_reader_status(r) != GH_OK)
		return gh__json_reader_status(r);
	if (bits != 8 || strcmp(type, "float") != 0 || !symmetric)
		return refuse(error, "quantization_config.config_groups", "the scheme",
			      "num_bits 8, type float, symmetric");
	if (is_dynamic != dynamic)
		return refuse(error, "quantization_config.config_groups",
			      is_dynamic ? "dynamic true" : "dynamic false",
			      "static weights and dynamic activations");
	return GH_OK;
}

static gh_status read_group(gh__json_reader *groups, const char *key, const json_t *value,
			    gh__stored *out, gh_error *error)
{
	static const char where[] = "quantization_config.config_groups";
	const json_t *weights, *inputs, *targets;
	gh__json_reader group, scheme;
	const char *strategy;
	gh_status status;

	gh__json_child(&group, groups, key, -1, value);
	if (gh__json_array(&group, "targets", &targets) &&
	    (json_array_size(targets) != 1 || !json_is_string(json_array_get(targets, 0)) ||
	     strcmp(json_string_value(json_array_get(targets, 0)), "Linear") != 0))
		return refuse(error, where, "targets", "[\"Linear\"]");
	gh__json_require(&group, "weights");
	if (!gh__json_object(&group, "weights", &weights))
		return gh__json_reader_status(&group);
	gh__json_child(&scheme, &group, "weights", -1, weights);
	status = fp8_scheme(&scheme, false, &strategy, error);
	if (status != GH_OK)
		return status;
	if (strcmp(strategy, "channel") == 0)
		out->scales = GH__SCALE_CHANNEL;
	else if (strcmp(strategy, "tensor") == 0)
		out->scales = GH__SCALE_SHARD;
	else
		return refuse(error, where, strategy, "strategy channel or tensor");
	if (!gh__json_object(&group, "input_activations", &inputs)) {
		out->quantization = GH_QUANT_FP8_W8A16;
		return gh__json_reader_status(&group);
	}
	gh__json_child(&scheme, &group, "input_activations", -1, inputs);
	status = fp8_scheme(&scheme, true, &strategy, error);
	if (status == GH_OK && strcmp(strategy, "token") != 0)
		status = refuse(error, where, strategy, "strategy token");
	return status;
}

static gh_status read_compressed(gh__json_reader *r, gh__stored *out, gh_error *error)
{
	const char *format = "float-quantized";
	const json_t *groups, *ignore;
	gh__json_reader child;
	gh_status status;
	json_t *group;

	gh__json_string(r, "format", &format);
	gh__json_require(r, "config_groups");
	if (!gh__json_object(r, "config_groups", &groups))
		return gh__json_reader_status(r);
	if (strcmp(format, "float-quantized") != 0)
		return refuse(error, "quantization_config.format", format, "float-quantized");
	if (json_is_object(json_object_get(r->object, "kv_cache_scheme")))
		return refuse(error, "quantization_config.kv_cache_scheme", "a scheme", "none");
	if (json_object_size(groups) != 1)
		return refuse(error, "quantization_config.config_groups", "their number",
			      "one group");
	if (gh__json_array(r, "ignore", &ignore)) {
		status = only_head_ignored(ignore, "quantization_config.ignore", error);
		if (status != GH_OK)
			return status;
	}
	gh__json_child(&child, r, "config_groups", -1, groups);
	group = json_object_iter_value(json_object_iter((json_t *)groups));
	return read_group(&child, json_object_iter_key(json_object_iter((json_t *)groups)), group,
			  out, error);
}

static gh_status read_fp8(gh__json_reader *r, gh__stored *out, gh_error *error)
{
	const char *scheme = "dynamic";
	const json_t *list;

	gh__json_string(r, "activation_scheme", &scheme);
	if (gh__json_array(r, "weight_block_size", &list))
		return refuse(error, "quantization_config.weight_block_size", "fp8 in blocks",
			      "one scale a tensor");
	if (strcmp(scheme, "dynamic") != 0)
		return refuse(error, "quantization_config.activation_scheme", scheme, "dynamic");
	out->scales = GH__SCALE_SHARD;
	if (gh__json_array(r, "ignored_layers", &list))
		return only_head_ignored(list, "quantization_config.ignored_layers", error);
	return gh__json_reader_status(r);
}

static gh_status read_method(gh__stored *out, const gh__hf_config *config, gh_error *error)
{
	gh__json_reader r;

	gh__json_root(&r, config->quantization, "config.json: quantization_config", error);
	if (strcmp(config->quant_method, "fp8") == 0)
		return read_fp8(&r, out, error);
	if (strcmp(config->quant_method, "compressed-tensors") == 0)
		return read_compressed(&r, out, error);
	return refuse(error, "quantization_config.quant_method", config->quant_method,
		      "fp8 or compressed-tensors");
}

static gh_status read_stored(gh__stored *out, const gh__hf_config *config, gh_error *error)
{
	gh_error inner = GH_ERROR_INIT;
	gh_status status;

	*out = (gh__stored){ .quantization = GH_QUANT_NONE };
	if (config->quantization == NULL)
		return GH_OK;
	out->e4m3 = true;
	out->quantization = GH_QUANT_FP8_W8A8;
	status = read_method(out, config, &inner);
	if (status == GH_OK)
		return GH_OK;
	/* To a reader of JSON a wrong type is an argument; here it is a file that lies. */
	return gh__fail(error, status == GH_EINVAL ? GH_EFORMAT : status, "%s", inner.text);
}

/* ---- the rest ---- */

static gh_status check_config(const gh__arch *arch, const gh__hf_config *c, gh_error *error)
{
	if (strcmp(c->hidden_act, "silu") != 0)
		return refuse(error, "hidden_act", c->hidden_act, "silu");
	if (c->use_sliding_window)
		return refuse(error, "use_sliding_window", "true", "false");
	if (c->attention_bias == 1 && !arch->qkv_bias)
		return refuse(error, "attention_bias", "true", "false");
	if (c->mlp_bias == 1)
		return refuse(error, "mlp_bias", "true", "false");
	if (c->kv_heads < 1 || c->heads % c->kv_heads != 0)
		return gh__fail(error, GH_EFORMAT,
				"config.json: num_key_value_heads: %lld does not divide "
				"num_attention_heads %lld",
				(long long)c->kv_heads, (long long)c->heads);
	if (c->head_dim == 0 && c->hidden % c->heads != 0)
		return gh__fail(error, GH_EFORMAT,
				"config.json: hidden_size: %lld is no multiple of the %lld heads, "
				"and head_dim is absent",
				(long long)c->hidden, (long long)c->heads);
	if ((c->head_dim != 0 ? c->head_dim : c->hidden / c->heads) % 2 != 0)
		return refuse(error, "head_dim", "an odd number", "an even one");
	return GH_OK;
}

static int32_t positions(const gh__hf_config *c)
{
	const gh__rope_scaling *s = &c->rope_scaling;
	double most = (double)c->max_positions;

	if (s->kind == GH__ROPE_YARN)
		most = (double)s->original_max_positions * s->factor;
	else if (s->kind == GH__ROPE_LINEAR)
		most *= s->factor;
	return most < INT32_MAX / 2 ? (int32_t)most : INT32_MAX / 2;
}

static gh_status describe(gh__model_desc *out, const gh__hf_config *c, gh_error *error)
{
	const gh__arch *arch = gh__arch_find(c->architecture);
	gh_status status;

	if (arch == NULL)
		return refuse(error, "architectures", c->architecture,
			      "Qwen2ForCausalLM, LlamaForCausalLM or Qwen3ForCausalLM");
	status = check_config(arch, c, error);
	if (status != GH_OK)
		return status;
	*out = (gh__model_desc){
		.arch = arch,
		.shape = {
			.hidden = c->hidden,
			.intermediate = c->intermediate,
			.vocab = c->vocab,
			.layers = (int32_t)c->layers,
			.heads = (int32_t)c->heads,
			.kv_heads = (int32_t)c->kv_heads,
			.head_dim = (int32_t)(c->head_dim != 0 ? c->head_dim :
								 c->hidden / c->heads),
		},
		.max_length = positions(c),
		.eps = (float)c->rms_norm_eps,
		.tied = c->tie_word_embeddings,
		.dtype = c->torch_dtype == GH_DTYPE_NONE ? GH_F32 : c->torch_dtype,
		.rope_theta = c->rope_theta,
		.rope_scaling = c->rope_scaling,
		.eos_count = c->eos_count,
	};
	memcpy(out->eos, c->eos, sizeof out->eos);
	return read_stored(&out->stored, c, error);
}

gh_status gh__model_desc_read(gh__model_desc *out, const char *folder, const char *overrides,
			      gh_error *error)
{
	gh__hf_config config;
	json_t *tree = NULL;
	gh_status status = gh__hub_read_json(&tree, folder, "config.json", error);

	if (status == GH_OK && overrides != NULL)
		status = lay_over(tree, overrides, error);
	if (status == GH_OK)
		status = gh__hf_config_parse(&config, tree, error);
	json_decref(tree);
	if (status != GH_OK)
		return status;
	status = describe(out, &config, error);
	gh__hf_config_done(&config);
	return status;
}
