#include "engine_client.h"

/*
 * The promise with real arithmetic: alone, among others, in pieces, after preemption, from the
 * prefix cache, over several ranks: the same tokens and logprobs to the last bit.
 */
enum { TARGETS = 6, OTHERS = 32, GROWING = 5, VOCAB = 300 };

typedef struct arithmetic {
	const char *checkpoint;
	int32_t dtype, quantization, kv_dtype;
	const char *name;
} arithmetic;

static const arithmetic kinds[] = {
	{ "qwen2", GH_BF16, GH_QUANT_NONE, 0, "bf16/1" },
	{ "qwen2", GH_BF16, GH_QUANT_FP8_W8A8, 0, "fp8-w8a8-bf16/1" },
	{ "qwen2", GH_BF16, GH_QUANT_FP8_W8A8, GH_E4M3, "fp8-w8a8-bf16/1+kv8" },
	{ "qwen2-tied", GH_F32, GH_QUANT_NONE, 0, "f32/1" },
	{ "qwen2-tied", GH_F16, GH_QUANT_FP8_W8A8, GH_E4M3, "fp8-w8a8/1+kv8" },
};

typedef struct setting {
	int32_t tensor_parallel, pipeline_parallel;
	gh_engine_options options;
	bool preempts;
} setting;

static const setting settings[] = {
	{ 1, 1, { .struct_size = sizeof(gh_engine_options), .kv_blocks = 2000 }, false },
	{ 1,
	  1,
	  { .struct_size = sizeof(gh_engine_options), .kv_blocks = 500, .step_tokens = 1 },
	  false },
	{ 1,
	  1,
	  { .struct_size = sizeof(gh_engine_options), .kv_blocks = 500, .step_tokens = 16 },
	  false },
	{ 1,
	  1,
	  { .struct_size = sizeof(gh_engine_options),
	    .kv_blocks = 24,
	    .max_length = 256,
	    .step_tokens = 512,
	    .flags = GH_ENGINE_NO_PREFIX_CACHE },
	  true },
	{ 2, 1, { .struct_size = sizeof(gh_engine_options), .kv_blocks = 500 }, false },
	{ 1,
	  2,
	  { .struct_size = sizeof(gh_engine_options),
	    .kv_blocks = 24,
	    .max_length = 256,
	    .step_tokens = 64 },
	  true },
};

static gh_model *load(const arithmetic *kind, int32_t tensor_parallel, int32_t pipeline_parallel)
{
	gh_model_options o = GH_MODEL_OPTIONS_INIT;
	gh_model_info info;
	gh_model *model;
	char folder[512];

	snprintf(folder, sizeof folder, "%s/checkpoints/%s", GH_TEST_DATA, kind->checkpoint);
	o.device = "cpu";
	o.dtype = kind->dtype;
	o.quantization = kind->quantization;
	o.kv_dtype = kind->kv_dtype;
	o.tensor_parallel = tensor_parallel;
	o.pipeline_parallel = pipeline_parallel;
	o.threads = 1;
	assert_ok(gh_model_create(&model, folder, &o, error));
	gh_model_info_get(model, &info);
	ck_assert_str_eq(info.numerics, kind->name);
	return model;
}

static void open_client(client *c, gh_model *model, const char *checkpoint,
			const gh_engine_options *o)
{
	client_prepare(c, checkpoint);
	assert_ok(gh__engine_create_model(&c->engine, model, c->tokenizer, o, c->metrics, "tiny",
					  error));
}

static int32_t ask_alone(const arithmetic *kind, query *target, answer **alone)
{
	gh_engine_options o = GH_ENGINE_OPTIONS_INIT;
	gh_model *model = load(kind, 1, 1);
	dice d = { 11 };
	int32_t tokens = 0;
	client c;

	o.kv_blocks = 64;
	o.flags = GH_ENGINE_NO_PREFIX_CACHE;
	open_client(&c, model, kind->checkpoint, &o);
	for (int i = 0; i < TARGETS; i++) {
		target[i] = query_random(&d, VOCAB);
		target[i].sampling.top_p = i % 2 ? 0.9F : 1.0F;
		target[i].sampling.top_k = i % 3 ? 40 : 0;
		alone[i] = client_ask(&c, &target[i]);
		tokens += alone[i]->choice[0].count;
	}
	client_stop(&c);
	gh_model_free(model);
	return tokens;
}

START_TEST(same_whatever_runs_beside)
{
	const arithmetic *kind = &kinds[_i];
	query target[TARGETS];
	answer *alone[TARGETS];
	query grow = query_of((int32_t[]){ 9, 8, 7 }, 3); /* begins small, needs many blocks */

	grow.sampling.max_tokens = 110;
	ck_assert_int_gt(ask_alone(kind, target, alone), 3 * TARGETS);
	for (size_t s = 0; s < sizeof settings / sizeof settings[0]; s++) {
		const setting *set = &settings[s];
		gh_model *model = load(kind, set->tensor_parallel, set->pipeline_parallel);
		answer *a[TARGETS], *other[OTHERS], *growing[GROWING];
		gh_engine_stats stats;
		dice d = { 78 };
		client c;

		open_client(&c, model, kind->checkpoint, &set->options);
		/* No event passes before all are there, so that they do run beside each other. */
		pthread_mutex_lock(&c.mutex);
		for (int i = 0; i < OTHERS; i++) {
			query q = query_random(&d, VOCAB);

			other[i] = client_send(&c, &q);
			if (i % 5 == 0 && i / 5 < TARGETS)
				a[i / 5] = client_send(&c, &target[i / 5]);
			if (i < GROWING)
				growing[i] = client_send(&c, &grow);
		}
		pthread_mutex_unlock(&c.mutex);
		for (int i = 0; i < TARGETS; i++) {
			same_answer(client_wait(&c, a[i]), alone[i]);
			answer_free(a[i]);
		}
		for (int i = 0; i < OTHERS; i++)
			answer_free(client_wait(&c, other[i]));
		for (int i = 0; i < GROWING; i++)
			answer_free(client_wait(&c, growing[i]));
		/* Once more, from what is cached by now. */
		for (int i = 0; i < TARGETS; i++) {
			answer *again = client_ask(&c, &target[i]);

			same_answer(again, alone[i]);
			answer_free(again);
		}
		gh_engine_stats_get(c.engine, &stats);
		ck_assert_int_eq(stats.kv_blocks_used, 0);
		ck_assert(!set->preempts || stats.preemptions > 0);
		ck_assert((set->options.flags & GH_ENGINE_NO_PREFIX_CACHE) ||
			  stats.cached_tokens > 0);
		client_stop(&c);
		gh_model_free(model);
	}
	for (int i = 0; i < TARGETS; i++)
		answer_free(alone[i]);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("engine_model");
	TCase *tc = tcase_create("model");

	tcase_add_loop_test(tc, same_whatever_runs_beside, 0,
			    (int)(sizeof kinds / sizeof kinds[0]));
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
