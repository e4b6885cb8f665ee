#include "model_session.h"

#include "model_reference.h"

static const char *const checkpoints[] = { "qwen2", "qwen2-tied", "qwen2-yarn", "llama3", "qwen3" };
enum { CHECKPOINTS = sizeof checkpoints / sizeof checkpoints[0] };

static float *logits_room(const session *s, int rows)
{
	float *out = gh__calloc((size_t)rows * (size_t)s->vocab, sizeof *out);

	ck_assert_ptr_nonnull(out);
	return out;
}

static gh_model_options options_of(int32_t dtype, int32_t quantization, int32_t kv)
{
	gh_model_options o = GH_MODEL_OPTIONS_INIT;

	o.dtype = dtype;
	o.quantization = quantization;
	o.kv_dtype = kv;
	o.threads = 2;
	return o;
}

/* ---- against transformers ---- */

static double worst(const float *ours, const float *theirs, size_t count)
{
	double difference = 0.0, most = 0.0;

	for (size_t i = 0; i < count; i++) {
		difference = fmax(difference, fabs((double)ours[i] - (double)theirs[i]));
		most = fmax(most, fabs((double)theirs[i]));
	}
	return difference / most;
}

START_TEST(logits_are_those_of_transformers)
{
	gh_model_options options = options_of(GH_F32, GH_QUANT_NONE, 0);
	session s;
	expected e;

	expected_load(&e, checkpoints[_i]);
	session_open(&s, checkpoint_folder(checkpoints[_i]), &options);
	ck_assert_int_eq(s.vocab, e.vocab);
	for (int i = 0; i < EXPECTED_PROMPTS; i++) {
		const expected_prompt *p = &e.prompts[i];
		float *logits = logits_room(&s, p->rows);
		double error;

		session_feed(&s, i, p->ids, p->rows, SESSION_TOKENS, logits);
		error = worst(logits, e.logits + (size_t)p->row * (size_t)e.vocab,
			      (size_t)p->rows * (size_t)e.vocab);
		ck_assert_msg(error < 1e-5, "%s, prompt %d: %g", checkpoints[_i], i, error);
		gh__free(logits);
	}
	session_close(&s);
	expected_free(&e);
}
END_TEST

/* The three prompts together, then each grows by its own choice. */
START_TEST(continuations_are_those_of_transformers)
{
	gh_model_options options = options_of(GH_F32, GH_QUANT_NONE, 0);
	feed feeds[EXPECTED_PROMPTS];
	gh__sample_result next[EXPECTED_PROMPTS];
	session s;
	expected e;

	expected_load(&e, checkpoints[_i]);
	session_open(&s, checkpoint_folder(checkpoints[_i]), &options);
	for (int i = 0; i < EXPECTED_PROMPTS; i++)
		feeds[i] = (feed){ i, 0, e.prompts[i].length, e.prompts[i].ids };
	for (int step = 0; step < EXPECTED_GREEDY; step++) {
		session_step(&s, feeds, EXPECTED_PROMPTS, NULL, next);
		for (int i = 0; i < EXPECTED_PROMPTS; i++) {
			int at = e.prompts[i].length + step;

			ck_assert_msg(next[i].token == e.prompts[i].ids[at],
				      "%s, prompt %d, token %d: %d, not %d", checkpoints[_i], i,
				      step, next[i].token, e.prompts[i].ids[at]);
			feeds[i] = (feed){ i, at, 1, &e.prompts[i].ids[at] };
		}
	}
	session_close(&s);
	expected_free(&e);
}
END_TEST

/* ---- against the judge ---- */

/* rms(a - b) / rms(b) */
static double distance(const double *a, const double *b, size_t count)
{
	double difference = 0.0, size = 0.0;

	for (size_t i = 0; i < count; i++) {
		difference += (a[i] - b[i]) * (a[i] - b[i]);
		size += b[i] * b[i];
	}
	return sqrt(difference / size);
}

static const struct {
	const char *name;
	int32_t act, quantization, kv;
	double bound; /* on the distance to the judge with the same rounding points */
} numerics[] = {
	{ "bf16/1", GH_BF16, GH_QUANT_NONE, 0, 1e-2 },
	{ "f16/1", GH_F16, GH_QUANT_NONE, 0, 4e-3 },
	{ "fp8-w8a8/1", GH_F16, GH_QUANT_FP8_W8A8, 0, 3e-2 },
	{ "fp8-w8a8/1+kv8", GH_F16, GH_QUANT_FP8_W8A8, GH_E4M3, 4e-2 },
	{ "f32/1", GH_F32, GH_QUANT_NONE, 0, 2e-6 },
	{ "fp8-w8a8-bf16/1", GH_BF16, GH_QUANT_FP8_W8A8, 0, 3e-2 },
	{ "fp8-w8a16/1", GH_F16, GH_QUANT_FP8_W8A16, 0, 4e-3 },
	{ "f16/1+kv8", GH_F16, GH_QUANT_NONE, GH_E4M3, 2e-2 },
};
enum {
	NUMERICS = sizeof numerics / sizeof numerics[0],
	PROMISED = 4 /* those at the front are tried in every layout */
};

/*
 * With the same rounding points only the order of sums differs, which now and then turns a last
 * bit and goes on from there. So the distance is bounded, and it must be no more than what the
 * rounding points themselves cost.
 */
START_TEST(rounding_points_are_those_of_the_judge)
{
	int which = _i / CHECKPOINTS;
	const char *name = checkpoints[_i % CHECKPOINTS];
	int32_t quantization = numerics[which].quantization;
	gh_model_options options =
		options_of(numerics[which].act, quantization, numerics[which].kv);
	reference exact, same;
	session s;
	expected e;
	const expected_prompt *p = &e.prompts[2];
	double *a, *b, *c, apart, ours, theirs;
	float *logits;
	size_t count;
	int rows;

	expected_load(&e, name);
	session_open(&s, checkpoint_folder(name), &options);
	ck_assert_str_eq(s.model->info.numerics, numerics[which].name);
	rows = p->length + EXPECTED_GREEDY;
	count = (size_t)rows * (size_t)s.vocab;
	logits = logits_room(&s, rows);
	a = numbers(count), b = numbers(count), c = numbers(count);
	session_feed(&s, 0, p->ids, rows, SESSION_TOKENS, logits);
	for (size_t i = 0; i < count; i++)
		a[i] = (double)logits[i];
	reference_open(&exact, checkpoint_folder(name), GH_F64, false, false, false);
	reference_logits(&exact, p->ids, rows, c);
	reference_open(&same, checkpoint_folder(name), (gh_dtype)numerics[which].act,
		       quantization != GH_QUANT_NONE, quantization == GH_QUANT_FP8_W8A8,
		       numerics[which].kv == GH_E4M3);
	reference_logits(&same, p->ids, rows, b);
	apart = distance(a, b, count);
	ours = distance(a, c, count);
	theirs = distance(b, c, count);
	if (getenv("GH_TEST_VERBOSE") != NULL)
		fprintf(stderr, "%-12s %-16s apart %.2e  ours %.2e  judge's %.2e\n", name,
			numerics[which].name, apart, ours, theirs);
	ck_assert_msg(apart < numerics[which].bound, "%s %s: %g from the judge", name,
		      numerics[which].name, apart);
	ck_assert_msg(ours < 1.3 * theirs + 1e-6, "%s %s: %g from exact, the judge %g", name,
		      numerics[which].name, ours, theirs);
	reference_close(&exact);
	reference_close(&same);
	gh__free(a);
	gh__free(b);
	gh__free(c);
	gh__free(logits);
	session_close(&s);
	expected_free(&e);
}
END_TEST

/* ---- the same bits, however it is computed ---- */

static void assert_same(const float *a, const float *b, size_t count, const char *name,
			const char *how)
{
	ck_assert_msg(memcmp(a, b, count * sizeof *a) == 0, "%s: other bits %s", name, how);
}

/* Prompt 2 with its continuation: whole, in chunks, token by token, beside others; layouts;
 * twin. The same with the tensor core's arithmetic. */
START_TEST(bits_do_not_depend_on_the_way)
{
	static const struct {
		int tp, pp, threads;
		uint32_t flags;
	} ways[] = {
		{ 1, 1, 1, 0 }, { 1, 1, 2, GH_DEVICE_SCALAR },
		{ 2, 1, 2, 0 }, { 3, 1, 3, 0 },
		{ 4, 1, 4, 0 }, { 1, 2, 2, 0 },
		{ 2, 2, 4, 0 }, { 3, 2, 2, 0 },
		{ 4, 2, 1, 0 },
	};
	static const int pieces[] = { SESSION_TOKENS, 16, 1 };
	uint32_t core = _i / (PROMISED * CHECKPOINTS) ? GH_DEVICE_TENSOR_CORE : 0;
	int which = _i / CHECKPOINTS % PROMISED;
	const char *name = checkpoints[_i % CHECKPOINTS];
	float *first = NULL, *logits;
	char how[96];
	session s;
	expected e;
	const expected_prompt *p = &e.prompts[2];
	size_t count;
	int rows;

	expected_load(&e, name);
	rows = p->length + EXPECTED_GREEDY;
	for (size_t w = 0; w < sizeof ways / sizeof ways[0]; w++) {
		gh_model_options options =
			options_of(numerics[which].act, numerics[which].quantization,
				   numerics[which].kv);

		options.tensor_parallel = ways[w].tp;
		options.pipeline_parallel = ways[w].pp;
		options.threads = ways[w].threads;
		options.flags = ways[w].flags | core;
		if (strcmp(name, "qwen2-yarn") == 0 && ways[w].tp > 2)
			continue; /* two heads */
		if (core && ways[w].tp * ways[w].pp > 2)
			continue; /* slow, and the products do not know of ranks */
		session_open(&s, checkpoint_folder(name), &options);
		count = (size_t)rows * (size_t)s.vocab;
		logits = logits_room(&s, rows);
		for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
			memset(logits, 0xff, count * sizeof *logits);
			session_feed(&s, (int)i, p->ids, rows, pieces[i], logits);
			snprintf(how, sizeof how, "tp %d pp %d threads %d flags %u pieces of %d",
				 ways[w].tp, ways[w].pp, ways[w].threads, options.flags, pieces[i]);
			if (first == NULL)
				first = gh__memdup(logits, count * sizeof *logits);
			assert_same(first, logits, count, name, how);
		}
		gh__free(logits);
		session_close(&s);
	}
	gh__free(first);
	expected_free(&e);
}
END_TEST

/* Decoding among seven others of all lengths, which come and go. */
START_TEST(bits_do_not_depend_on_the_company)
{
	const char *name = "qwen2";
	gh_model_options options =
		options_of(numerics[_i].act, numerics[_i].quantization, numerics[_i].kv);
	int32_t other[SESSION_TOKENS];
	float *alone, *logits;
	session s;
	expected e;
	const expected_prompt *p = &e.prompts[2];
	int at = 0, rows = 60, filled[SESSION_SEQUENCES] = { 0 };

	expected_load(&e, name);
	session_open(&s, checkpoint_folder(name), &options);
	for (int i = 0; i < SESSION_TOKENS; i++)
		other[i] = (i * 37 + 5) % s.vocab;
	alone = logits_room(&s, rows);
	logits = logits_room(&s, SESSION_TOKENS);
	session_feed(&s, 0, p->ids, rows, SESSION_TOKENS, alone);
	for (int step = 0; at < rows; step++) {
		feed feeds[SESSION_SEQUENCES];
		int count = 0, mine = -1, n = 1 + step % 4, row = 0;

		n = n < rows - at ? n : rows - at;
		for (int i = 0; i < SESSION_SEQUENCES; i++) {
			int most = (i * 5 + step * 3) % 11;

			if (i == step % SESSION_SEQUENCES) {
				mine = row;
				feeds[count++] = (feed){ 7, at, n, p->ids + at };
				row += n;
			}
			if (i == 7 || most == 0)
				continue;
			if (filled[i] + most > SESSION_TOKENS)
				filled[i] = 0;
			feeds[count++] = (feed){ i, filled[i], most, other + filled[i] };
			filled[i] += most;
			row += most;
		}
		session_step(&s, feeds, count, logits, NULL);
		assert_same(alone + (size_t)at * (size_t)s.vocab,
			    logits + (size_t)mine * (size_t)s.vocab, (size_t)n * (size_t)s.vocab,
			    numerics[_i].name, "in company");
		at += n;
	}
	gh__free(alone);
	gh__free(logits);
	session_close(&s);
	expected_free(&e);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("forward");
	TCase *tests = tcase_create("forward");

	tcase_add_loop_test(tests, logits_are_those_of_transformers, 0, CHECKPOINTS);
	tcase_add_loop_test(tests, continuations_are_those_of_transformers, 0, CHECKPOINTS);
	tcase_add_loop_test(tests, rounding_points_are_those_of_the_judge, 0,
			    NUMERICS * CHECKPOINTS);
	tcase_add_loop_test(tests, bits_do_not_depend_on_the_way, 0, 2 * PROMISED * CHECKPOINTS);
	tcase_add_loop_test(tests, bits_do_not_depend_on_the_company, 0, NUMERICS);
	suite_add_tcase(suite, tests);
	return unit_main(suite);
}
