#include "sample_rows.h"

#include "device/philox.h"

/*
 * SAMPLE against a plain implementation in doubles that sorts, and against known answers.
 */
static void sample(int device_case_index, gh_dtype dtype, int64_t vocab, const void *logits,
		   int64_t stride, const gh__sample_row *rows, gh__sample_result *results,
		   int64_t m)
{
	const device_case *c = &device_cases[device_case_index];
	gh__device *device = device_open(c->threads, c->flags);
	gh__op_desc desc = { .kind = GH__OP_SAMPLE, .sample = { dtype, vocab } };
	gh__kernel *kernel = device_prepare(device, &desc);
	gh__op_args args = { .sample = { logits, stride, rows, results, m } };

	memset(results, 0xff, (size_t)m * sizeof *results);
	device_run(device, kernel, &args);
	gh__device_kernel_free(device, kernel);
	gh__device_close(device);
}

static gh__sample_result sample_one(gh_dtype dtype, int64_t vocab, const void *logits,
				    const gh__sample_row *row)
{
	gh__sample_result result, other;

	sample(0, dtype, vocab, logits, vocab, row, &result, 1);
	sample(1, dtype, vocab, logits, vocab, row, &other, 1);
	ck_assert_mem_eq(&result, &other, sizeof result);
	return result;
}

/* From Random123's kat_vectors. */
START_TEST(philox_known_answers)
{
	static const struct {
		uint32_t counter[4];
		uint64_t key;
		uint32_t out[4];
	} known[] = {
		{ { 0, 0, 0, 0 }, 0, { 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8 } },
		{ { UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX },
		  UINT64_MAX,
		  { 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd } },
		{ { 0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344 },
		  0x299f31d0a4093822,
		  { 0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1 } },
	};

	for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
		uint32_t out[4];

		gh__philox(out, known[i].counter, known[i].key);
		ck_assert_mem_eq(out, known[i].out, sizeof out);
	}
}
END_TEST

/* ---- a plain implementation ---- */

enum { VOCAB_MAX = 4099 };

typedef struct plain {
	double l[VOCAB_MAX], p[VOCAB_MAX]; /* p: 0 when filtered out */
	int order[VOCAB_MAX];              /* by falling value, then id */
	int survivors;
	bool close; /* a filter's decision hung on the last bits */
} plain;

static const double *sort_values;

static int by_value(const void *a, const void *b)
{
	int i = *(const int *)a, j = *(const int *)b;

	if (sort_values[i] != sort_values[j])
		return sort_values[i] < sort_values[j] ? 1 : -1;
	return i - j;
}

static void normalise(plain *s, int vocab)
{
	double max = -INFINITY, sum = 0;

	for (int i = 0; i < vocab; i++)
		max = fmax(max, s->l[i]);
	for (int i = 0; i < vocab; i++)
		sum += s->p[i] = exp(s->l[i] - max);
	s->survivors = 0;
	for (int i = 0; i < vocab; i++) {
		s->p[i] /= sum;
		s->survivors += s->l[i] > -INFINITY;
	}
}

static void plain_logits(plain *s, gh_dtype dtype, int vocab, const void *logits,
			 const gh__sample_row *row)
{
	float r = rounded(dtype, row->repetition), f = rounded(dtype, row->frequency);
	float presence = rounded(dtype, row->presence);

	for (int i = 0; i < vocab; i++) {
		float l = get(dtype, logits, i);
		int count = 0;
		bool seen = false;

		if (row->allowed && !(row->allowed[i / 32] >> i % 32 & 1))
			l = -INFINITY;
		for (int j = 0; j < row->bias_count; j++) {
			if (row->bias_id[j] == i)
				l = rounded(dtype, l + row->bias[j]);
		}
		for (int j = 0; j < row->output_count; j++)
			count += row->output[j] == i;
		for (int j = 0; j < row->prompt_count; j++)
			seen |= row->prompt[j] == i;
		if (seen || count)
			l = rounded(dtype, l > 0 ? l / r : l * r);
		l = rounded(dtype, l - rounded(dtype, f * rounded(dtype, (float)count)));
		l = rounded(dtype, l - (count ? presence : 0));
		s->l[i] = l;
		if (row->temperature > 0)
			s->l[i] = (float)(l / rounded(dtype, row->temperature));
	}
}

static void plain_filters(plain *s, gh_dtype dtype, int vocab, const gh__sample_row *row)
{
	double limit = rounded(dtype, 1 - rounded(dtype, row->top_p)), sum = 0, top;

	for (int i = 0; i < vocab; i++)
		s->order[i] = i;
	sort_values = s->l;
	qsort(s->order, (size_t)vocab, sizeof *s->order, by_value);
	if (row->top_k > 0 && row->top_k < vocab) {
		double least = s->l[s->order[row->top_k - 1]];

		for (int i = 0; i < vocab; i++)
			s->l[i] = s->l[i] < least ? -INFINITY : s->l[i];
	}
	normalise(s, vocab);
	for (int i = vocab - 1; i > 0 && row->top_p < 1; i--) {
		sum += s->p[s->order[i]];
		s->close |= fabs(sum - limit) < 1e-5;
		if (sum <= limit)
			s->l[s->order[i]] = -INFINITY;
	}
	normalise(s, vocab);
	top = s->p[s->order[0]];
	for (int i = 0; i < vocab && row->min_p > 0; i++) {
		s->close |= fabs(s->p[i] - row->min_p * top) < 1e-6 * top;
		if (s->p[i] < row->min_p * top)
			s->l[i] = -INFINITY;
	}
	normalise(s, vocab);
}

/* Of a random choice: the largest p / q in doubles; `close` when another is nearly as large. */
static int plain_choice(plain *s, int vocab, const gh__sample_row *row)
{
	double best = 0, second = 0;
	int id = -1;

	for (int i = 0; i < vocab; i++) {
		uint32_t counter[4] = { (uint32_t)i / 4, row->position, row->stream, 0 }, out[4];
		double value;

		gh__philox(out, counter, row->seed);
		value = s->p[i] / -log((out[i % 4] + 0.5) * 0x1p-32);
		if (value > best) {
			second = best;
			best = value;
			id = i;
		} else if (value > second) {
			second = value;
		}
	}
	s->close |= best - second < best * 1e-5;
	return id;
}

static void check_row(gh_dtype dtype, int vocab, const void *logits, const gh__sample_row *row,
		      const gh__sample_result *got)
{
	static plain s;
	int64_t expected = row->forced;

	s.close = false;
	plain_logits(&s, dtype, vocab, logits, row);
	if (row->temperature > 0) {
		plain_filters(&s, dtype, vocab, row);
		if (expected < 0)
			expected = plain_choice(&s, vocab, row);
	} else {
		normalise(&s, vocab);
		for (int i = vocab - 1; i >= 0 && row->forced < 0; i--)
			expected = expected < 0 || s.l[i] >= s.l[expected] ? i : expected;
	}
	if (s.close)
		return;
	if (row->temperature > 0 || row->forced >= 0)
		ck_assert_int_eq(got->token, expected);
	else /* f32 logprobs of different logits may be equal */
		ck_assert_double_eq_tol(s.l[got->token], s.l[expected], 2e-6);
	if (s.l[got->token] == -INFINITY)
		ck_assert_float_eq(got->logprob, -INFINITY);
	else
		ck_assert_double_eq_tol(got->logprob, log(s.p[got->token]), 2e-5);
	ck_assert_int_eq(got->top_count, row->top < vocab ? row->top : vocab);
	sort_values = s.l;
	for (int i = 0; i < vocab; i++)
		s.order[i] = i;
	qsort(s.order, (size_t)vocab, sizeof *s.order, by_value);
	for (int i = 0; i < got->top_count; i++) {
		double logprob = log(s.p[s.order[i]]);

		if (s.l[s.order[i]] == -INFINITY) {
			ck_assert_int_eq(got->top_id[i], s.order[i]);
			ck_assert_float_eq(got->top_logprob[i], -INFINITY);
			continue;
		}
		ck_assert_double_eq_tol(got->top_logprob[i], logprob, 2e-5);
		ck_assert_double_eq_tol(s.l[got->top_id[i]], s.l[s.order[i]], 4e-6);
		if (got->top_id[i] == got->token)
			ck_assert_int_le(got->rank, i + 1);
	}
}

START_TEST(agrees_with_plain_sorting)
{
	static const gh_dtype dtypes[] = { GH_F32, GH_F16, GH_BF16 };
	static const int vocabs[] = { 1, 2, 7, 31, 32, 33, 100, 1000, VOCAB_MAX };
	uint64_t state = (uint64_t)_i + 1;
	gh_dtype dtype = dtypes[_i % 3];
	int vocab = vocabs[_i / 3];
	gh__sample_result results[SAMPLE_ROWS], others[SAMPLE_ROWS];
	sample_rows rows;

	sample_rows_make(&rows, dtype, vocab, &state);
	sample(0, dtype, vocab, rows.logits, rows.stride, rows.row, results, SAMPLE_ROWS);
	for (int t = 0; t < SAMPLE_ROWS; t++)
		check_row(dtype, vocab,
			  (char *)rows.logits + (size_t)(t * rows.stride) * size_of(dtype),
			  &rows.row[t], &results[t]);
	for (int d = 1; d < DEVICE_CASES; d++) {
		sample(d, dtype, vocab, rows.logits, rows.stride, rows.row, others, SAMPLE_ROWS);
		ck_assert_mem_eq(results, others, sizeof results);
	}
	sample_rows_free(&rows);
}
END_TEST

/* ---- known answers ---- */

START_TEST(penalties_round_to_the_dtype)
{
	float l[4] = { 3, -3, 3, 0 };
	int32_t prompt[] = { 0, 1 }, output[] = { 2, 2, 2 };
	gh__sample_row row = neutral();
	gh__sample_result result;
	uint16_t half[4];
	double a, b, c, max = 0.0;

	for (int i = 0; i < 4; i++)
		put(GH_F16, half, i, l[i]);
	row.prompt = prompt, row.prompt_count = 2;
	row.output = output, row.output_count = 3;
	row.repetition = 1.05F, row.frequency = 0.1F, row.presence = 0.2F;
	row.top = 4, row.temperature = 0;
	result = sample_one(GH_F16, 4, half, &row);
	/* 1.05 is 1.0498046875, 0.1 is 0.0999755859375, 0.2 is 0.199951171875 in f16. */
	a = rounded(GH_F16, 3 / 1.0498046875F);
	b = rounded(GH_F16, -3 * 1.0498046875F);
	c = rounded(GH_F16, (float)a - rounded(GH_F16, 3 * 0.0999755859375F));
	c = rounded(GH_F16, (float)c - 0.199951171875F);
	max = log(exp(a) + exp(b) + exp(c) + 1);
	ck_assert_int_eq(result.token, 0);
	ck_assert_int_eq(result.top_id[1], 2);
	ck_assert_int_eq(result.top_id[2], 3);
	ck_assert_int_eq(result.top_id[3], 1);
	ck_assert_double_eq_tol(result.top_logprob[0], a - max, 1e-6);
	ck_assert_double_eq_tol(result.top_logprob[1], c - max, 1e-6);
	ck_assert_double_eq_tol(result.top_logprob[3], b - max, 1e-6);
}
END_TEST

/* Kept ids of 6 equal and unequal logits, as a bit mask read from the top list. */
static unsigned kept(const float *l, int vocab, int top_k, float top_p, float min_p)
{
	gh__sample_row row = neutral();
	gh__sample_result result;
	unsigned mask = 0;

	row.top_k = top_k, row.top_p = top_p, row.min_p = min_p, row.top = 20;
	result = sample_one(GH_F32, vocab, l, &row);
	for (int i = 0; i < result.top_count; i++)
		mask |= (unsigned)(result.top_logprob[i] > -INFINITY) << result.top_id[i];
	ck_assert(mask >> result.token & 1);
	return mask;
}

START_TEST(filters_treat_ties)
{
	const float ties[6] = { 1, 2, 1, 0, 2, 1 }, flat[4] = { 5, 5, 5, 5 };
	const float low[3] = { 0, -200, -INFINITY };

	ck_assert_uint_eq(kept(ties, 6, 1, 1, 0), 0x12);
	ck_assert_uint_eq(kept(ties, 6, 2, 1, 0), 0x12);
	ck_assert_uint_eq(kept(ties, 6, 3, 1, 0), 0x37);
	ck_assert_uint_eq(kept(ties, 6, 5, 1, 0), 0x37);
	ck_assert_uint_eq(kept(ties, 6, 6, 1, 0), 0x3f);
	ck_assert_uint_eq(kept(ties, 6, 100, 1, 0), 0x3f);
	/* A quarter each: a sum that equals 1 - p is dropped. */
	ck_assert_uint_eq(kept(flat, 4, 0, 0.75F, 0), 0x7);
	ck_assert_uint_eq(kept(flat, 4, 0, 0.5F, 0), 0x3);
	ck_assert_uint_eq(kept(flat, 4, 0, 0.25F, 0), 0x1);
	ck_assert_uint_eq(kept(flat, 4, 0, 1e-9F, 0), 0x1);
	ck_assert_uint_eq(kept(flat, 4, 0, 0.76F, 0), 0xf);
	ck_assert_uint_eq(kept(flat, 4, 1, 0.5F, 0), 0x3);
	ck_assert_uint_eq(kept(ties, 6, 0, 1, 1), 0x12);
	ck_assert_uint_eq(kept(ties, 6, 0, 1, 0.3F), 0x37);
	ck_assert_uint_eq(kept(low, 3, 0, 1, 0), 0x3);
	ck_assert_uint_eq(kept(low, 3, 0, 0.99F, 0), 0x1);
	ck_assert_uint_eq(kept(low, 3, 3, 1, 0), 0x3);
}
END_TEST

START_TEST(ties_and_fillers_are_the_lowest_ids)
{
	float l[10] = { 0, 1, 7, 7, 1, 0, 7, -INFINITY, 1, 0 };
	gh__sample_row row = neutral();
	gh__sample_result result;

	row.temperature = 0, row.top = 5;
	result = sample_one(GH_F32, 10, l, &row);
	ck_assert_int_eq(result.token, 2);
	ck_assert_int_eq(result.rank, 1);
	ck_assert_mem_eq(result.top_id, ((int32_t[]){ 2, 3, 6, 1, 4 }), 5 * sizeof(int32_t));
	row.temperature = 1, row.top_k = 1, row.forced = 8;
	result = sample_one(GH_F32, 10, l, &row);
	ck_assert_int_eq(result.token, 8);
	ck_assert_float_eq(result.logprob, -INFINITY);
	ck_assert_int_eq(result.rank, 4); /* behind the three that are left */
	ck_assert_mem_eq(result.top_id, ((int32_t[]){ 2, 3, 6, 0, 1 }), 5 * sizeof(int32_t));
	ck_assert_float_eq(result.top_logprob[3], -INFINITY);
	row.forced = 3;
	result = sample_one(GH_F32, 10, l, &row);
	ck_assert_int_eq(result.rank, 1); /* nobody is above it */
	row.forced = 4000000;
	result = sample_one(GH_F32, 10, l, &row);
	ck_assert_int_eq(result.token, 4000000);
	ck_assert_float_eq(result.logprob, -INFINITY);
}
END_TEST

START_TEST(nothing_to_choose_is_no_token)
{
	float l[40], bad[] = { NAN, INFINITY };
	uint32_t none[2] = { 0, 0 };
	gh__sample_row row = neutral();
	gh__sample_result result;

	for (int i = 0; i < 40; i++)
		l[i] = (float)i;
	row.top = 3;
	for (int i = 0; i < 2; i++) {
		l[17] = bad[i];
		for (int t = 0; t < 2; t++) {
			row.temperature = (float)t;
			row.forced = t ? 3 : -1;
			result = sample_one(GH_F32, 40, l, &row);
			ck_assert_int_eq(result.token, -1);
			ck_assert_int_eq(result.top_count, 0);
			ck_assert_float_eq(result.logprob, -INFINITY);
		}
	}
	l[17] = 17;
	row.forced = -1;
	row.allowed = none;
	ck_assert_int_eq(sample_one(GH_F32, 40, l, &row).token, -1);
	none[1] = 1U << 5;
	result = sample_one(GH_F32, 40, l, &row);
	ck_assert_int_eq(result.token, 37);
	ck_assert_float_eq(result.logprob, 0.0F);
	none[1] = 1U << 8; /* no such column */
	ck_assert_int_eq(sample_one(GH_F32, 40, l, &row).token, -1);
}
END_TEST

/* ---- the draws ---- */

START_TEST(draws_follow_the_distribution)
{
	enum { VOCAB = 6, DRAWS = 60000 };
	static const double p[VOCAB] = { 0.5, 0.25, 0.125, 0.0625, 0.05, 0.0125 };
	static gh__sample_row rows[DRAWS];
	static gh__sample_result results[DRAWS];
	float l[VOCAB];

	for (int i = 0; i < VOCAB; i++)
		l[i] = (float)log(p[i]);
	/* Three ways to move on: the position, the seed, the stream. */
	for (int way = 0; way < 3; way++) {
		int counts[VOCAB] = { 0 }, pairs[VOCAB] = { 0 };
		double chi = 0;

		for (int i = 0; i < DRAWS; i++) {
			rows[i] = neutral();
			rows[i].seed = way == 1 ? (uint64_t)i : 1234;
			rows[i].position = way == 0 ? (uint32_t)i : 9;
			rows[i].stream = way == 2 ? (uint32_t)i : 0;
		}
		sample(2, GH_F32, VOCAB, l, VOCAB, rows, results, DRAWS);
		for (int i = 0; i < DRAWS; i++) {
			counts[results[i].token]++;
			pairs[results[i].token] += i > 0 && results[i - 1].token == 0;
		}
		for (int i = 0; i < VOCAB; i++) {
			double expected = DRAWS * p[i], follow = counts[0] * p[i];

			chi += (counts[i] - expected) * (counts[i] - expected) / expected;
			ck_assert_double_le(fabs(pairs[i] - follow), 5 * sqrt(follow) + 5);
		}
		ck_assert_double_le(chi, 25.7); /* 5 degrees of freedom: p = 0.0001 */
	}
}
END_TEST

/* A result is a function of its own row only. */
START_TEST(rows_do_not_depend_on_others)
{
	enum { VOCAB = 777, M = 9 };
	uint64_t state = 4;
	void *logits = random_numbers(GH_F16, M * VOCAB, 9, &state);
	gh__sample_row rows[M];
	gh__sample_result all[M], one;

	for (int i = 0; i < M; i++) {
		rows[i] = neutral();
		rows[i].row = M - 1 - i;
		rows[i].seed = random_next(&state);
		rows[i].top = i;
		rows[i].top_k = i % 3 * 20;
		rows[i].top_p = i % 2 ? 0.9F : 1;
	}
	put(GH_F16, logits, 4 * VOCAB + 5, NAN);
	sample(3, GH_F16, VOCAB, logits, VOCAB, rows, all, M);
	ck_assert_int_eq(all[4].token, -1);
	for (int i = 0; i < M; i++) {
		sample(0, GH_F16, VOCAB, logits, VOCAB, &rows[i], &one, 1);
		ck_assert_mem_eq(&one, &all[i], sizeof one);
	}
	sample(2, GH_F16, VOCAB, logits, VOCAB, rows, all, 0);
	gh__free(logits);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("device_sample");
	TCase *tcase = tcase_create("sample");

	suite_add_tcase(suite, tcase);
	tcase_add_test(tcase, philox_known_answers);
	tcase_add_loop_test(tcase, agrees_with_plain_sorting, 0, 27);
	tcase_add_test(tcase, penalties_round_to_the_dtype);
	tcase_add_test(tcase, filters_treat_ties);
	tcase_add_test(tcase, ties_and_fillers_are_the_lowest_ids);
	tcase_add_test(tcase, nothing_to_choose_is_no_token);
	tcase_add_test(tcase, draws_follow_the_distribution);
	tcase_add_test(tcase, rows_do_not_depend_on_others);
	return unit_main(suite);
}
