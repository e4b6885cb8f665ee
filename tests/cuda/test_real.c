#include "../unit/model_session.h"

#include <math.h>

#include "../unit/model_reference.h"
#include "pair.h"

/*
 * SmolLM2-135M-Instruct: the GPU against the CPU that adds up alike, to the bit, and against a judge
 * in f64 beside the plain CPU. Skipped (77) without the model.
 * What transformers says of it: unit/test_model_real.c.
 */
enum { PROMPTS = 6, STEPS = 48, ROWS_MAX = SESSION_TOKENS + STEPS };

static const char repository[] = "HuggingFaceTB/SmolLM2-135M-Instruct";

typedef struct prompt {
	int32_t ids[ROWS_MAX]; /* and what f32 arithmetic went on with */
	int length;
} prompt;

static prompt prompts[PROMPTS];

static void setup(void)
{
	json_t *tree = json_load_file(GH_TEST_DATA "/smollm2_expected.json", 0, NULL);
	const json_t *list = json_object_get(tree, "prompts");

	ck_assert_uint_eq(json_array_size(list), PROMPTS);
	for (size_t i = 0; i < PROMPTS; i++) {
		const json_t *item = json_array_get(list, i);
		const json_t *ids = json_object_get(item, "ids");
		const json_t *next = json_object_get(json_object_get(item, "f32"), "tokens");
		prompt *p = &prompts[i];

		p->length = (int)json_array_size(ids);
		ck_assert_int_le(p->length, SESSION_TOKENS);
		for (int j = 0; j < p->length; j++)
			p->ids[j] = (int32_t)json_integer_value(json_array_get(ids, (size_t)j));
		for (int j = 0; j < STEPS; j++)
			p->ids[p->length + j] =
				(int32_t)json_integer_value(json_array_get(next, (size_t)j));
	}
	json_decref(tree);
}

static const struct {
	int32_t act, quantization, kv;
} numerics[] = {
	{ GH_F32, GH_QUANT_NONE, 0 },           { GH_BF16, GH_QUANT_NONE, 0 },
	{ GH_F16, GH_QUANT_NONE, 0 },           { GH_F16, GH_QUANT_FP8_W8A8, 0 },
	{ GH_F16, GH_QUANT_FP8_W8A8, GH_E4M3 }, { GH_F16, GH_QUANT_FP8_W8A16, 0 },
};

static void open_on(session *s, size_t which, const char *device, uint32_t flags)
{
	gh_model_options options = GH_MODEL_OPTIONS_INIT;

	options.device = device;
	options.flags = flags;
	options.dtype = numerics[which].act;
	options.quantization = numerics[which].quantization;
	options.kv_dtype = numerics[which].kv;
	session_open(s, repository, &options);
}

/* Logits of every position of a prompt and its continuation; the caller frees. */
static float *logits_of(session *s, int number)
{
	const prompt *p = &prompts[number];
	int rows = p->length + STEPS - 1;
	float *logits = gh__calloc((size_t)rows * (size_t)s->vocab, sizeof *logits);

	ck_assert_ptr_nonnull(logits);
	session_feed(s, number, p->ids, rows, SESSION_TOKENS, logits);
	return logits;
}

START_TEST(bits_are_those_of_the_cpu)
{
	session cpu, gpu;

	open_on(&cpu, (size_t)_i, "cpu", pair_oracle(devices[GPU]));
	open_on(&gpu, (size_t)_i, "cuda", 0);
	for (int i = 0; i < PROMPTS; i += 5) {
		float *a = logits_of(&cpu, i), *b = logits_of(&gpu, i);
		size_t count = (size_t)(prompts[i].length + STEPS - 1) * (size_t)cpu.vocab, at = 0;

		while (at < count && memcmp(&a[at], &b[at], sizeof *a) == 0)
			at++;
		ck_assert_msg(at == count, "%s, prompt %d: logit %zu of %zu: %g, not %g",
			      gpu.model->info.numerics, i, at, count, (double)b[at], (double)a[at]);
		gh__free(a);
		gh__free(b);
	}
	session_close(&cpu);
	session_close(&gpu);
}
END_TEST

enum { JUDGED = 3 }; /* prompts that the judge goes through, which takes its time */

static double *exact[JUDGED];

static size_t count_of(int number, int vocab)
{
	return (size_t)(prompts[number].length + STEPS - 1) * (size_t)vocab;
}

/* In f64, without any rounding. */
static void judge(int vocab)
{
	gh_hub_options hub = GH_HUB_OPTIONS_INIT;
	reference r;
	char *folder;

	assert_ok(gh_hub_resolve(&folder, repository, &hub, error));
	reference_open(&r, folder, GH_F64, false, false, false);
	for (int i = 0; i < JUDGED; i++) {
		exact[i] = numbers(count_of(i, vocab));
		reference_logits(&r, prompts[i].ids, prompts[i].length + STEPS - 1, exact[i]);
	}
	reference_close(&r);
	gh_free(folder);
}

/* rms(logits - judge's) / rms(judge's), over all judged prompts. */
static double error_of(session *s)
{
	double difference = 0.0, size = 0.0;

	for (int i = 0; i < JUDGED; i++) {
		float *logits = logits_of(s, i);

		for (size_t j = 0; j < count_of(i, s->vocab); j++) {
			double apart = (double)logits[j] - exact[i][j];

			difference += apart * apart;
			size += exact[i][j] * exact[i][j];
		}
		gh__free(logits);
	}
	return sqrt(difference / size);
}

/* The GPU is no worse than the plain CPU. */
START_TEST(errors_are_those_of_the_cpu)
{
	for (size_t which = 1; which < COUNT(numerics); which++) {
		session cpu, gpu;
		double ours, theirs;

		open_on(&cpu, which, "cpu", 0);
		open_on(&gpu, which, "cuda", 0);
		if (exact[0] == NULL)
			judge(cpu.vocab);
		theirs = error_of(&cpu);
		ours = error_of(&gpu);
		printf("# %s: error %.4e, the plain CPU's %.4e\n", gpu.model->info.numerics, ours,
		       theirs);
		ck_assert_double_le(ours, 1.1 * theirs);
		session_close(&cpu);
		session_close(&gpu);
	}
	for (int i = 0; i < JUDGED; i++)
		gh__free(exact[i]);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("real");
	TCase *tests = tcase_create("real");
	gh_model_options options = GH_MODEL_OPTIONS_INIT;
	gh_error error = GH_ERROR_INIT;
	gh_model_info info;

	options.device = "cpu";
	if (gh_model_inspect(&info, repository, &options, &error) != GH_OK) {
		printf("1..0 # SKIP %s\n", error.text);
		return 77;
	}
	tcase_add_unchecked_fixture(tests, setup, NULL);
	tcase_add_loop_test(tests, bits_are_those_of_the_cpu, 0, (int)COUNT(numerics));
	tcase_add_test(tests, errors_are_those_of_the_cpu);
	suite_add_tcase(suite, tests);
	return pair_main(suite);
}
