#include "model_session.h"

#include <math.h>

/*
 * SmolLM2-135M-Instruct against transformers. Skipped (exit status 77) where
 * examples/fetch_model.sh has not put it into the cache.
 */
enum { PROMPTS = 6, STEPS = 48, TOP = 5 };

static const char repository[] = "HuggingFaceTB/SmolLM2-135M-Instruct";

typedef struct prompt {
	int32_t ids[SESSION_TOKENS + STEPS]; /* the prompt, then what f32 arithmetic chose */
	int length;
	int32_t top_id[STEPS][TOP];
	double top[STEPS][TOP];
	int32_t choice[STEPS]; /* in bf16 arithmetic, fed the same tokens */
	double gap[STEPS];
} prompt;

static prompt prompts[PROMPTS];

static void read_prompt(prompt *p, const json_t *tree)
{
	const json_t *ids = json_object_get(tree, "ids"), *f32 = json_object_get(tree, "f32");
	const json_t *bf16 = json_object_get(tree, "bf16");

	p->length = (int)json_array_size(ids);
	ck_assert_int_le(p->length, SESSION_TOKENS);
	for (int i = 0; i < p->length; i++)
		p->ids[i] = (int32_t)json_integer_value(json_array_get(ids, (size_t)i));
	for (size_t i = 0; i < STEPS; i++) {
		const json_t *top = json_array_get(json_object_get(f32, "top"), i);

		p->ids[p->length + (int)i] = (int32_t)json_integer_value(
			json_array_get(json_object_get(f32, "tokens"), i));
		for (size_t j = 0; j < TOP; j++) {
			const json_t *pair = json_array_get(top, j);

			p->top_id[i][j] = (int32_t)json_integer_value(json_array_get(pair, 0));
			p->top[i][j] = json_number_value(json_array_get(pair, 1));
		}
		p->choice[i] = (int32_t)json_integer_value(
			json_array_get(json_object_get(bf16, "choices"), i));
		p->gap[i] = json_number_value(json_array_get(json_object_get(bf16, "gaps"), i));
	}
}

static void setup(void)
{
	json_t *tree = json_load_file(GH_TEST_DATA "/smollm2_expected.json", 0, NULL);
	const json_t *list = json_object_get(tree, "prompts");

	ck_assert_uint_eq(json_array_size(list), PROMPTS);
	for (size_t i = 0; i < PROMPTS; i++)
		read_prompt(&prompts[i], json_array_get(list, i));
	json_decref(tree);
}

/* The six prompts side by side; each takes its own choices. */
START_TEST(f32_is_that_of_transformers)
{
	gh_model_options options = GH_MODEL_OPTIONS_INIT;
	gh__sample_result results[PROMPTS];
	feed feeds[PROMPTS];
	double worst = 0.0;
	session s;

	options.dtype = GH_F32;
	session_open(&s, repository, &options);
	for (int i = 0; i < PROMPTS; i++) {
		feeds[i] = (feed){ i, 0, prompts[i].length, prompts[i].ids };
		session_step(&s, &feeds[i], 1, NULL, &results[i]);
	}
	for (int step = 0; step < STEPS; step++) {
		for (int i = 0; i < PROMPTS; i++) {
			const prompt *p = &prompts[i];

			ck_assert_msg(results[i].token == p->ids[p->length + step],
				      "prompt %d, token %d: %d, not %d", i, step, results[i].token,
				      p->ids[p->length + step]);
			for (int j = 0; j < TOP; j++) {
				ck_assert_int_eq(results[i].top_id[j], p->top_id[step][j]);
				worst = fmax(worst, fabs((double)results[i].top_logprob[j] -
							 p->top[step][j]));
			}
			feeds[i] = (feed){ i, p->length + step, 1, &p->ids[p->length + step] };
		}
		if (step + 1 < STEPS)
			session_step(&s, feeds, PROMPTS, NULL, results);
	}
	ck_assert_msg(worst < 1e-4, "logprobs differ by %g", worst);
	session_close(&s);
}
END_TEST

/* Its choice is ours wherever it was clear. */
START_TEST(bf16_agrees_where_it_is_clear)
{
	gh_model_options options = GH_MODEL_OPTIONS_INIT;
	int clear = 0;
	float *logits;
	session s;

	session_open(&s, repository, &options);
	ck_assert_str_eq(s.model->info.numerics, "bf16/1");
	logits = gh__calloc((size_t)(SESSION_TOKENS + STEPS) * (size_t)s.vocab, sizeof *logits);
	ck_assert_ptr_nonnull(logits);
	for (int i = 0; i < PROMPTS; i++) {
		const prompt *p = &prompts[i];

		session_feed(&s, i, p->ids, p->length + STEPS - 1, SESSION_TOKENS, logits);
		for (int step = 0; step < STEPS; step++) {
			const float *row =
				logits + (size_t)(p->length - 1 + step) * (size_t)s.vocab;
			int best = 0;

			if (p->gap[step] <= 0.2)
				continue;
			for (int id = 1; id < s.vocab; id++)
				best = row[id] > row[best] ? id : best;
			ck_assert_msg(best == p->choice[step], "prompt %d, token %d: %d, not %d", i,
				      step, best, p->choice[step]);
			clear++;
		}
	}
	ck_assert_int_gt(clear, PROMPTS * STEPS / 2);
	gh__free(logits);
	session_close(&s);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("model_real");
	TCase *tests = tcase_create("model_real");
	gh_model_info info;
	gh_error error = GH_ERROR_INIT;

	if (gh_model_inspect(&info, repository, NULL, &error) != GH_OK) {
		printf("1..0 # SKIP %s\n", error.text);
		return 77;
	}
	tcase_add_checked_fixture(tests, setup, NULL);
	tcase_add_test(tests, f32_is_that_of_transformers);
	tcase_add_test(tests, bf16_agrees_where_it_is_clear);
	suite_add_tcase(suite, tests);
	return unit_main(suite);
}
