#include <float.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/log.h"
#include "engine/internal.h"
#include "json/json.h"
#include "model/model.h"
#include "serve/environment.h"
#include "serve/worker.h"
#include "text/template.h"

/*
 * From arguments to an engine.
 */
#define TEMPLATE_MAX (1 << 20)

typedef struct loading {
	gh_worker *worker;
	const gh__args *args;
	gh__served *out;
	gh_error *error;
	char *folder;
	char *overrides; /* of config.json, as JSON */
	gh_model_options options;
} loading;

static gh_status resolve(char **folder, const loading *l, const char *model, const char *revision)
{
	gh_hub_options hub = GH_HUB_OPTIONS_INIT;

	hub.cache = l->args->download_dir;
	hub.revision = revision;
	return gh_hub_resolve(folder, model, &hub, l->error);
}

static int progress(double done, const char *phase, void *userdata)
{
	gh_worker *worker = userdata;

	(void)phase;
	/* The last part is the engine's. */
	atomic_store(&worker->progress, (int)(done * 990));
	return atomic_load(&worker->stopping);
}

/* ---- options of the model ---- */

static int32_t dtype_of(const char *name)
{
	static const struct {
		const char *name;
		int32_t dtype;
	} names[] = { { "half", GH_F16 },
		      { "float16", GH_F16 },
		      { "bfloat16", GH_BF16 },
		      { "float", GH_F32 },
		      { "float32", GH_F32 } };

	for (size_t i = 0; name && i < sizeof names / sizeof names[0]; i++) {
		if (strcmp(name, names[i].name) == 0)
			return names[i].dtype;
	}
	return GH_DTYPE_NONE; /* auto */
}

static int32_t quantization_of(const char *name)
{
	const char *forced = gh__environment("VLLM_TEST_FORCE_FP8_MARLIN");

	if (!name || strcmp(name, "fp8") != 0)
		return GH_QUANT_AUTO; /* compressed-tensors is what the checkpoint says itself */
	return forced && strcmp(forced, "1") == 0 ? GH_QUANT_FP8_W8A16 : GH_QUANT_FP8_W8A8;
}

static gh_status add_override(json_t *all, const char *key, const char *text, gh_error *error)
{
	json_t *value = text ? gh__json_parse(text, strlen(text), false, error) : NULL;

	if (!text)
		return GH_OK;
	if (!value)
		return GH_EINVAL;
	if (key)
		return json_object_set_new(all, key, value) == 0 ? GH_OK : gh__fail_nomem(error);
	int failed = json_object_update(all, value);
	json_decref(value);
	return failed ? gh__fail(error, GH_EINVAL, "--hf-overrides: a JSON object expected")
		      : GH_OK;
}

static gh_status make_overrides(loading *l, int64_t max_positions)
{
	json_t *all = json_object();
	gh_status status = add_override(all, NULL, l->args->hf_overrides, l->error);

	if (status == GH_OK)
		status = add_override(all, "rope_scaling", l->args->rope_scaling, l->error);
	if (status == GH_OK)
		status = add_override(all, "rope_theta", l->args->rope_theta, l->error);
	if (status == GH_OK && max_positions > 0 &&
	    json_object_set_new(all, "max_position_embeddings", json_integer(max_positions)) != 0)
		status = gh__fail_nomem(l->error);
	gh__free(l->overrides);
	l->overrides = NULL;
	if (status == GH_OK && json_object_size(all) > 0) {
		l->overrides = gh__json_text(all, NULL);
		if (!l->overrides)
			status = gh__fail_nomem(l->error);
	}
	json_decref(all);
	l->options.overrides = l->overrides;
	return status;
}

static gh_status check_parallel(const loading *l, const gh_model_info *info)
{
	if (l->args->tensor_parallel > info->heads)
		return gh__fail(l->error, GH_EINVAL,
				"Total number of attention heads (%d) must be divisible by tensor "
				"parallel size (%lld).",
				info->heads, (long long)l->args->tensor_parallel);
	return GH_OK;
}

static gh_status check_length(loading *l, const gh_model_info *info)
{
	const char *allowed = gh__environment("VLLM_ALLOW_LONG_MAX_MODEL_LEN");
	int64_t asked = l->args->max_model_len;

	if (asked <= info->max_length)
		return GH_OK;
	if (allowed && strcmp(allowed, "1") == 0)
		return make_overrides(l, asked);
	return gh__fail(l->error, GH_EINVAL,
			"User-specified max_model_len (%lld) is greater than the derived "
			"max_model_len (%d)",
			(long long)asked, info->max_length);
}

static gh_status prepare_options(loading *l)
{
	const gh_model_options defaults = GH_MODEL_OPTIONS_INIT;
	const gh__args *args = l->args;
	gh_model_info info;
	gh_status status;

	l->options = defaults;
	l->options.cache = args->download_dir;
	l->options.revision = args->revision;
	if (args->device && strcmp(args->device, "auto") != 0)
		l->options.device = args->device;
	l->options.dtype = dtype_of(args->dtype);
	l->options.quantization = quantization_of(args->quantization);
	if (args->kv_cache_dtype && strcmp(args->kv_cache_dtype, "auto") != 0)
		l->options.kv_dtype = GH_E4M3;
	status = make_overrides(l, 0);
	if (status == GH_OK)
		status = gh_model_inspect(&info, l->folder, &l->options, l->error);
	if (status == GH_OK)
		status = check_parallel(l, &info);
	if (status == GH_OK)
		status = check_length(l, &info);
	l->options.tensor_parallel = (int32_t)args->tensor_parallel;
	l->options.pipeline_parallel = (int32_t)args->pipeline_parallel;
	l->options.progress = progress;
	l->options.userdata = l->worker;
	return status;
}

/* ---- text ---- */

static gh_status load_tokenizer(loading *l)
{
	const gh__args *args = l->args;
	char *folder = NULL;
	gh_status status;

	if (!args->tokenizer)
		return gh_tokenizer_load(&l->out->tokenizer, l->folder, l->error);
	status = resolve(&folder, l, args->tokenizer,
			 args->tokenizer_revision ? args->tokenizer_revision : args->revision);
	if (status == GH_OK)
		status = gh_tokenizer_load(&l->out->tokenizer, folder, l->error);
	gh_free(folder);
	return status;
}

/* --chat-template: a file, or the template itself. */
static gh_status given_template(loading *l, const char *given)
{
	const char *slash = strrchr(given, '/');
	char *folder = slash ? gh__strndup(given, (size_t)(slash - given) + 1) : gh__strdup(".");
	char *text = NULL;
	size_t len = 0;
	gh_error missing = GH_ERROR_INIT;
	gh_status status;

	if (!folder)
		return gh__fail_nomem(l->error);
	status = gh__hub_read_file(&text, &len, folder, slash ? slash + 1 : given, TEMPLATE_MAX,
				   &missing);
	gh__free(folder);
	if (status == GH_OK)
		status = gh__template_load_text(&l->out->chat_template, l->folder, text, len,
						l->error);
	else if (strpbrk(given, "{}\n") != NULL)
		status = gh__template_load_text(&l->out->chat_template, l->folder, given,
						strlen(given), l->error);
	else
		status = gh__fail(l->error, status, "--chat-template: %s", missing.text);
	gh__free(text);
	return status;
}

static gh_status load_template(loading *l)
{
	gh_error inner = GH_ERROR_INIT;
	gh_status status;

	if (l->args->chat_template)
		return given_template(l, l->args->chat_template);
	status = gh_template_load(&l->out->chat_template, l->folder, &inner);
	if (status == GH_ENOENT) {
		gh__warn("serve", "the model has no chat template: chat requests are refused");
		return GH_OK;
	}
	return status == GH_OK ? GH_OK : gh__fail(l->error, status, "%s", inner.text);
}

/* ---- how to generate ---- */

static gh_status override_defaults(gh__generation_config *c, const char *text, gh_error *error)
{
	json_t *tree = gh__json_parse(text, strlen(text), false, error);
	gh__json_reader r;
	gh_status status;

	if (!tree)
		return GH_EINVAL;
	gh__json_root(&r, tree, "--override-generation-config", error);
	c->has_temperature |= gh__json_real(&r, "temperature", 0.0, 1e6, &c->temperature);
	c->has_top_p |= gh__json_real(&r, "top_p", DBL_MIN, 1.0, &c->top_p);
	c->has_top_k |= gh__json_int(&r, "top_k", -1, INT32_MAX, &c->top_k);
	c->has_min_p |= gh__json_real(&r, "min_p", 0.0, 1.0, &c->min_p);
	c->has_repetition_penalty |=
		gh__json_real(&r, "repetition_penalty", DBL_MIN, 1e6, &c->repetition_penalty);
	c->has_max_new_tokens |=
		gh__json_int(&r, "max_new_tokens", 1, INT32_MAX, &c->max_new_tokens);
	status = gh__json_reader_status(&r);
	json_decref(tree);
	return status;
}

static void add_eos(gh__served *out, int64_t id)
{
	bool there = id < 0 || id >= out->vocab;

	for (int32_t i = 0; i < out->eos_count; i++)
		there = there || out->eos[i] == id;
	if (!there && out->eos_count < (int32_t)(sizeof out->eos / sizeof out->eos[0]))
		out->eos[out->eos_count++] = (int32_t)id;
}

static gh_status load_defaults(loading *l)
{
	const char *where = l->args->generation_config;
	gh__served *out = l->out;
	gh_status status = GH_OK;
	const int32_t *eos;
	int32_t count;

	add_eos(out, gh_tokenizer_eos(out->tokenizer));
	if (!where || strcmp(where, "auto") == 0) {
		out->defaults = *gh__model_generation_config(out->model);
		eos = gh__model_eos(out->model, &count);
		for (int32_t i = 0; i < count; i++)
			add_eos(out, eos[i]);
	} else if (strcmp(where, "vllm") != 0) {
		status = gh__generation_config_read(&out->defaults, where, l->error);
		if (status == GH_OK && !out->defaults.present)
			status = gh__fail(l->error, GH_ENOENT,
					  "--generation-config: %s holds no generation_config.json",
					  where);
		for (int i = 0; i < out->defaults.eos_count; i++)
			add_eos(out, out->defaults.eos[i]);
	}
	if (status == GH_OK && l->args->override_generation_config)
		status = override_defaults(&out->defaults, l->args->override_generation_config,
					   l->error);
	return status;
}

/* ---- engine ---- */

static gh_status start_engine(loading *l)
{
	gh_engine_options options = GH_ENGINE_OPTIONS_INIT;
	const gh__args *args = l->args;

	options.max_length = (int32_t)args->max_model_len;
	options.max_sequences = (int32_t)args->max_num_seqs;
	options.step_tokens = (int32_t)args->max_num_batched_tokens;
	options.queue_max = (int32_t)args->queue_max;
	options.kv_blocks = args->kv_blocks;
	options.memory_share = args->memory_share;
	if (args->no_prefix_cache)
		options.flags |= GH_ENGINE_NO_PREFIX_CACHE;
	if (args->has_seed) {
		options.flags |= GH_ENGINE_SEEDED;
		options.seed = (uint64_t)args->seed;
	}
	return gh__engine_create_model(&l->out->engine, l->out->model, l->out->tokenizer, &options,
				       l->worker->metrics, l->worker->names[0], l->error);
}

static gh_status load_model(loading *l)
{
	gh_model_info info;
	gh_status status = gh_model_create(&l->out->model, l->folder, &l->options, l->error);

	if (status != GH_OK)
		return status;
	gh_model_info_get(l->out->model, &info);
	l->out->vocab = info.vocab;
	snprintf(l->out->numerics, sizeof l->out->numerics, "%s", info.numerics);
	return GH_OK;
}

gh_status gh__worker_load(gh__served *out, gh_worker *worker, void *userdata, gh_error *error)
{
	loading l = { .worker = worker, .args = &worker->args, .out = out, .error = error };
	gh_status status = resolve(&l.folder, &l, worker->args.model, worker->args.revision);

	(void)userdata;
	if (status == GH_OK)
		status = prepare_options(&l);
	if (status == GH_OK)
		status = load_tokenizer(&l);
	if (status == GH_OK)
		status = load_template(&l);
	if (status == GH_OK)
		status = load_model(&l);
	if (status == GH_OK)
		status = load_defaults(&l);
	if (status == GH_OK)
		status = start_engine(&l);
	gh__free(l.overrides);
	gh_free(l.folder);
	return status;
}
