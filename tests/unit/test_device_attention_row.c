#include "device_attention_row.h"

/*
 * ATTENTION of packed sequences with whole rows of scores: against doubles with the same rounding
 * points, and against itself: whoever shares the step, a sequence's bits are the same.
 */
static const packed_case cases[] = {
	{ GH_F32, 1, 1, 8, 1 },    { GH_F32, 3, 1, 20, 33 },   { GH_F16, 5, 1, 28, 64 },
	{ GH_F16, 4, 2, 4, 7 },    { GH_BF16, 7, 7, 64, 130 }, { GH_F16, 2, 1, 128, 257 },
	{ GH_F16, 16, 1, 32, 16 }, { GH_F16, 3, 3, 8, 9 },
};

enum { CASES = sizeof cases / sizeof *cases };

/* One row and head in doubles, rounded where the operation rounds. */
static void plain_row(const packed_case *c, const void *qkv, int64_t row, int64_t head, double *y,
		      double *size)
{
	int64_t stride = packed_stride(c), k = (c->heads + head / c->group) * c->dim;
	int64_t v = k + kv_heads_of(c) * c->dim;
	double u[512], most = -INFINITY, sum = 0;

	for (int64_t j = 0; j <= row; j++) {
		double s = 0;

		for (int64_t i = 0; i < c->dim; i++)
			s += (double)get(c->act, qkv, row * stride + head * c->dim + i) *
			     get(c->act, qkv, j * stride + k + i);
		u[j] = rounded(c->act, rounded(c->act, (float)s) / sqrtf((float)c->dim));
		most = fmax(most, u[j]);
	}
	for (int64_t j = 0; j <= row; j++)
		sum += u[j] = exp(u[j] - most);
	memset(y, 0, (size_t)c->dim * sizeof *y);
	memset(size, 0, (size_t)c->dim * sizeof *size);
	for (int64_t j = 0; j <= row; j++) {
		double p = rounded(c->act, (float)(u[j] / sum));

		for (int64_t i = 0; i < c->dim; i++) {
			y[i] += p * get(c->act, qkv, j * stride + v + i);
			size[i] += p * fabs((double)get(c->act, qkv, j * stride + v + i));
		}
	}
}

static void check_against_doubles(const packed_case *c, const void *qkv, const void *got)
{
	double last = c->act == GH_F32 ? 0x1p-18 : c->act == GH_F16 ? 0x1p-9 : 0x1p-6;
	double y[256], size[256];

	for (int64_t i = 0; i < (int64_t)c->length * c->heads; i++) {
		plain_row(c, qkv, i / c->heads, i % c->heads, y, size);
		for (int64_t e = 0; e < c->dim; e++)
			ck_assert_double_eq_tol(get(c->act, got, i * c->dim + e), y[e],
						last * (fabs(y[e]) + size[e]) + 1e-6);
	}
}

START_TEST(is_the_plain_loop_and_depends_on_nothing_else)
{
	const packed_case *c = &cases[_i];
	int32_t n = c->length, alone[] = { 0, n }, short_one = n / 2 + 1;
	int32_t many[] = { 0, short_one, short_one + n, short_one + n, 2 * short_one + n };
	size_t row = (size_t)c->heads * (size_t)c->dim * size_of(c->act);
	uint64_t state = (uint64_t)_i + 1;
	void *qkv = random_numbers(c->act, n * packed_stride(c), 1.5, &state);
	void *first = NULL;

	for (int d = 0; d < DEVICE_CASES; d++) {
		gh__device *device = device_open(device_cases[d].threads, device_cases[d].flags);
		void *y = attend_packed(device, c, qkv, alone, 1);
		char *together = attend_packed(device, c, qkv, many, 4);

		if (!first) {
			check_against_doubles(c, qkv, y);
			first = gh__memdup(y, (size_t)n * row);
		}
		ck_assert_mem_eq(y, first, (size_t)n * row);
		ck_assert_mem_eq(together, first, (size_t)short_one * row);
		ck_assert_mem_eq(together + (size_t)many[1] * row, first, (size_t)n * row);
		ck_assert_mem_eq(together + (size_t)many[3] * row, first, (size_t)short_one * row);
		gh__free(y);
		gh__free(together);
		gh__device_close(device);
	}
	gh__free(first);
	gh__free(qkv);
}
END_TEST

START_TEST(refuses_what_is_not_here)
{
	gh__device *device = device_open(1, 0);
	gh__op_desc desc = describe_packed(&cases[2]);
	gh__kernel *kernel = NULL;

	desc.attention.length = 0;
	assert_fails(GH_EINVAL, "attention length: 0",
		     gh__device_prepare(device, &desc, &kernel, error));
	desc.attention.length = 1 << 20;
	assert_fails(GH_EINVAL, "attention length: 1048576",
		     gh__device_prepare(device, &desc, &kernel, error));
	desc.attention.length = 1;
	desc.attention.causal = false;
	assert_fails(GH_ENOTSUP, "attention", gh__device_prepare(device, &desc, &kernel, error));
	desc.attention.causal = true;
	desc.attention.softmax = GH__SOFTMAX_ONLINE;
	assert_fails(GH_ENOTSUP, "attention", gh__device_prepare(device, &desc, &kernel, error));
	ck_assert_ptr_null(kernel);
	gh__device_close(device);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("device_attention_row");
	TCase *tests = tcase_create("attention_row");

	tcase_add_loop_test(tests, is_the_plain_loop_and_depends_on_nothing_else, 0, CASES);
	tcase_add_test(tests, refuses_what_is_not_here);
	suite_add_tcase(suite, tests);
	return unit_main(suite);
}
