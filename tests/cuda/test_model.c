#include "../unit/model_session.h"

#include "pair.h"

/*
 * Whole models: a CUDA device gives the bits of the CPU device that adds up as its tensor cores do,
 * for every architecture and numerics, whatever way a sequence is fed.
 */
static const char *const checkpoints[] = { "qwen2", "qwen2-tied", "qwen2-yarn", "llama3", "qwen3" };

static const struct {
	int32_t act, quantization, kv;
} numerics[] = {
	{ GH_F32, GH_QUANT_NONE, 0 },           { GH_BF16, GH_QUANT_NONE, 0 },
	{ GH_F16, GH_QUANT_NONE, 0 },           { GH_F16, GH_QUANT_FP8_W8A8, 0 },
	{ GH_F16, GH_QUANT_FP8_W8A8, GH_E4M3 }, { GH_BF16, GH_QUANT_FP8_W8A8, 0 },
	{ GH_F16, GH_QUANT_FP8_W8A16, 0 },      { GH_F16, GH_QUANT_NONE, GH_E4M3 },
};

static gh_model_options options_of(size_t which, const char *device)
{
	gh_model_options o = GH_MODEL_OPTIONS_INIT;

	o.device = device;
	o.dtype = numerics[which].act;
	o.quantization = numerics[which].quantization;
	o.kv_dtype = numerics[which].kv;
	o.flags = strcmp(device, "cpu") == 0 ? pair_oracle(devices[GPU]) : 0;
	return o;
}

/* Prompt 2 with its continuation in pieces; the caller frees. */
static float *logits_of(const char *name, size_t which, const char *device, int piece, int tp,
			int pp, size_t *count)
{
	gh_model_options options = options_of(which, device);
	float *logits;
	session s;
	expected e;
	int rows;

	options.tensor_parallel = tp;
	options.pipeline_parallel = pp;
	expected_load(&e, name);
	session_open(&s, checkpoint_folder(name), &options);
	rows = e.prompts[2].length + EXPECTED_GREEDY;
	*count = (size_t)rows * (size_t)s.vocab;
	logits = gh__calloc(*count, sizeof *logits);
	ck_assert_ptr_nonnull(logits);
	session_feed(&s, 0, e.prompts[2].ids, rows, piece, logits);
	session_close(&s);
	expected_free(&e);
	return logits;
}

START_TEST(logits_are_those_of_the_cpu)
{
	static const struct {
		int piece, tp, pp;
	} ways[] = { { SESSION_TOKENS, 1, 1 }, { 16, 1, 1 }, { 1, 1, 1 },
		     { SESSION_TOKENS, 2, 1 }, { 16, 2, 2 }, { SESSION_TOKENS, 4, 1 } };
	const size_t which = (size_t)_i / COUNT(checkpoints);
	const char *name = checkpoints[(size_t)_i % COUNT(checkpoints)];
	size_t count, other;
	float *cpu = logits_of(name, which, "cpu", SESSION_TOKENS, 1, 1, &count);

	for (size_t i = 0; i < COUNT(ways); i++) {
		float *cuda;
		size_t at = 0;

		if (strcmp(name, "qwen2-yarn") == 0 && ways[i].tp > 2)
			continue; /* two heads */
		cuda = logits_of(name, which, "cuda", ways[i].piece, ways[i].tp, ways[i].pp,
				 &other);

		ck_assert_uint_eq(count, other);
		while (at < count && memcmp(&cpu[at], &cuda[at], sizeof *cpu) == 0)
			at++;
		ck_assert_msg(at == count,
			      "%s, numerics %zu, pieces of %d, tp %d, pp %d: logit %zu of %zu: %g, "
			      "not %g",
			      name, which, ways[i].piece, ways[i].tp, ways[i].pp, at, count,
			      (double)cuda[at], (double)cpu[at]);
		gh__free(cuda);
	}
	gh__free(cpu);
}
END_TEST

/* The sampler's own choices, fed back. */
START_TEST(continuations_are_those_of_transformers)
{
	const char *name = checkpoints[_i];
	gh_model_options options = options_of(0, "cuda");
	gh__sample_result next;
	session s;
	expected e;

	expected_load(&e, name);
	session_open(&s, checkpoint_folder(name), &options);
	for (int i = 0; i < EXPECTED_PROMPTS; i++) {
		const expected_prompt *p = &e.prompts[i];
		feed f = { i, 0, p->length, p->ids };

		for (int step = 0; step < EXPECTED_GREEDY; step++) {
			session_step(&s, &f, 1, NULL, &next);
			ck_assert_int_eq(next.token, p->ids[p->length + step]);
			f = (feed){ i, p->length + step, 1, &p->ids[p->length + step] };
		}
	}
	session_close(&s);
	expected_free(&e);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("model");
	TCase *tests = tcase_create("model");

	tcase_add_loop_test(tests, logits_are_those_of_the_cpu, 0,
			    (int)(COUNT(numerics) * COUNT(checkpoints)));
	tcase_add_loop_test(tests, continuations_are_those_of_transformers, 0,
			    (int)COUNT(checkpoints));
	suite_add_tcase(suite, tests);
	return pair_main(suite);
}
