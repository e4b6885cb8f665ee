#include "../unit/model_session.h"

#include <math.h>

#include "pair.h"

/*
 * SmolLM2-135M-Instruct: the GPU against the CPU that adds up alike, to the bit, and in FP8 against
 * the plain CPU by the network's measure of two hosts' answers. Skipped (77) without the model.
 * What transformers says of it: unit/test_model_real.c.
 */
enum { PROMPTS = 6, STEPS = 48, TOP = 5, ROWS_MAX = SESSION_TOKENS + STEPS };

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

/* The most probable tokens of a row, with their logprobs, by falling logprob. */
static void top_of(const float *row, int vocab, int32_t id[TOP], double logprob[TOP])
{
	double most = -INFINITY, sum = 0.0;

	for (int i = 0; i < vocab; i++)
		most = row[i] > most ? row[i] : most;
	for (int i = 0; i < vocab; i++)
		sum += exp(row[i] - most);
	for (int t = 0; t < TOP; t++) {
		id[t] = -1;
		for (int i = 0; i < vocab; i++) {
			bool taken = false;

			for (int j = 0; j < t; j++)
				taken |= id[j] == i;
			if (!taken && (id[t] < 0 || row[i] > row[id[t]]))
				id[t] = i;
		}
		logprob[t] = row[id[t]] - most - log(sum);
	}
}

/* How far one position of an answer is from another's, as the network compares them. */
static double apart(const float *original, const float *other, int vocab)
{
	int32_t id[TOP], at[TOP];
	double was[TOP], is[TOP], distance = 0.0;

	top_of(original, vocab, id, was);
	top_of(other, vocab, at, is);
	for (int v = 0; v < TOP; v++) {
		double o = was[TOP - 1] - (was[TOP - 2] - was[TOP - 1]);

		for (int j = 0; j < TOP; j++)
			o = id[j] == at[v] ? was[j] : o;
		distance += fabs(is[v] - o) / (1e-6 + fabs(is[v]) + fabs(o)) / 2;
	}
	return distance / TOP;
}

START_TEST(fp8_is_similar_to_the_plain_cpu)
{
	double distance = 0.0;
	int positions = 0;
	session cpu, gpu;

	open_on(&cpu, (size_t)_i, "cpu", 0);
	open_on(&gpu, (size_t)_i, "cuda", 0);
	for (int i = 0; i < PROMPTS; i++) {
		float *a = logits_of(&cpu, i), *b = logits_of(&gpu, i);

		for (int row = prompts[i].length - 1; row < prompts[i].length + STEPS - 1; row++) {
			size_t at = (size_t)row * (size_t)cpu.vocab;

			distance += apart(a + at, b + at, cpu.vocab);
			positions++;
		}
		gh__free(a);
		gh__free(b);
	}
	printf("# %s: similarity %.5f\n", gpu.model->info.numerics, 1.0 - distance / positions);
	ck_assert_double_ge(1.0 - distance / positions, 0.995);
	session_close(&cpu);
	session_close(&gpu);
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
	tcase_add_loop_test(tests, fp8_is_similar_to_the_plain_cpu, 3, 5);
	suite_add_tcase(suite, tests);
	return pair_main(suite);
}
