#include "device.h"

/*
 * ATTENTION of packed sequences with whole rows of scores: against doubles with the same rounding
 * points, and against itself: whoever shares the step, a sequence's bits are the same.
 */
typedef struct packed_case {
	gh_dtype act;
	int32_t heads, group, dim, length;
} packed_case;

static const packed_case cases[] = {
	{ GH_F32, 1, 1, 8, 1 },    { GH_F32, 3, 1, 20, 33 },   { GH_F16, 5, 1, 28, 64 },
	{ GH_F16, 4, 2, 4, 7 },    { GH_BF16, 7, 7, 64, 130 }, { GH_F16, 2, 1, 128, 257 },
	{ GH_F16, 16, 1, 32, 16 }, { GH_F16, 3, 3, 8, 9 },
};

enum { CASES = sizeof cases / sizeof *cases };

static int64_t kv_heads(const packed_case *c)
{
	return (c->heads + c->group - 1) / c->group;
}

static int64_t stride_of(const packed_case *c)
{
	return (c->heads + 2 * kv_heads(c)) * c->dim + 3;
}

static gh__op_desc describe(const packed_case *c)
{
	return (gh__op_desc){ .kind = GH__OP_ATTENTION,
			      .attention = {
				      .act = c->act,
				      .softmax = GH__SOFTMAX_ROW,
				      .source = GH__KV_PACKED,
				      .causal = true,
				      .heads = c->heads,
				      .group = c->group,
				      .kv = { GH_DTYPE_NONE, (int32_t)kv_heads(c), c->dim, 0 },
				      .length = c->length,
				      .scale = 1.0F / sqrtf((float)c->dim) } };
}

/* Sequences of the first starts[1], starts[2] - starts[1], ... rows of qkv as one step, and a
 * padding row. Caller frees (gh__free). */
static void *attend(gh__device *device, const packed_case *c, const void *qkv, int32_t *starts,
		    int32_t sequences)
{
	gh__op_desc desc = describe(c);
	gh__kernel *kernel = device_prepare(device, &desc);
	int32_t rows = starts[sequences];
	int64_t width = (int64_t)c->heads * c->dim, stride = stride_of(c);
	size_t row = (size_t)stride * size_of(c->act);
	char *all = poisoned(c->act, (rows + 1) * stride);
	void *y = poisoned(c->act, (rows + 1) * width);
	gh__step step = { .tokens = rows + 1, .sequences = sequences, .row_start = starts };
	gh__op_args args = { .attention = { .qkv = all,
					    .qkv_stride = stride,
					    .step = &step,
					    .y = y,
					    .y_stride = width } };

	for (int32_t s = 0; s < sequences; s++)
		memcpy(all + (size_t)starts[s] * row, qkv,
		       (size_t)(starts[s + 1] - starts[s]) * row);
	device_run(device, kernel, &args);
	for (int64_t i = 0; i < width; i++)
		ck_assert_float_eq(get(c->act, y, rows * width + i), 0.0F);
	gh__free(all);
	gh__device_kernel_free(device, kernel);
	return y;
}

/* One row and head in doubles, rounded where the operation rounds. */
static void plain_row(const packed_case *c, const void *qkv, int64_t row, int64_t head, double *y,
		      double *size)
{
	int64_t stride = stride_of(c), k = (c->heads + head / c->group) * c->dim;
	int64_t v = k + kv_heads(c) * c->dim;
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
	void *qkv = random_numbers(c->act, n * stride_of(c), 1.5, &state);
	void *first = NULL;

	for (int d = 0; d < DEVICE_CASES; d++) {
		gh__device *device = device_open(device_cases[d].threads, device_cases[d].flags);
		void *y = attend(device, c, qkv, alone, 1);
		char *together = attend(device, c, qkv, many, 4);

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
	gh__op_desc desc = describe(&cases[2]);
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
