#include "device_linear.h"

/*
 * LINEAR against plain loops that follow the order of ops.h to the bit, and against doubles.
 */
typedef struct linear_case {
	gh_dtype weight, act, out;
	gh__prologue prologue;
	bool bias;
} linear_case;

static const linear_case linear_cases[] = {
	{ GH_F32, GH_F32, GH_F32, 0, false },    { GH_F32, GH_F32, GH_F32, 0, true },
	{ GH_F16, GH_F16, GH_F16, 0, true },     { GH_F16, GH_F16, GH_F32, 0, false },
	{ GH_BF16, GH_BF16, GH_BF16, 0, false }, { GH_BF16, GH_BF16, GH_BF16, 0, true },
	{ GH_BF16, GH_F32, GH_F16, 0, false },   { GH_E4M3, GH_F16, GH_F16, 0, false },
	{ GH_E4M3, GH_F32, GH_F32, 0, true },    { GH_E4M3, GH_BF16, GH_BF16, 0, true },
	{ GH_E4M3, GH_F16, GH_F16, 1, false },   { GH_E4M3, GH_F16, GH_F16, 1, true },
	{ GH_E4M3, GH_BF16, GH_F32, 1, true },   { GH_E4M3, GH_F32, GH_F32, 1, false },
};

enum { CASES = sizeof linear_cases / sizeof *linear_cases };

static gh__linear_desc desc_of(const linear_case *c, int64_t n, int64_t k)
{
	return (gh__linear_desc){ .weight = c->weight,
				  .act = c->act,
				  .out = c->out,
				  .prologue = c->prologue,
				  .bias = c->bias,
				  .n = n,
				  .k = k };
}

/* One output, as ops.h says. *exact: in doubles, of the same operands; *size: sum of magnitudes. */
static float element(const problem *p, const float *x, float s, int64_t n, double *exact,
		     double *size)
{
	const gh__linear_desc *d = &p->desc;
	bool blocks = d->prologue == GH__PROLOGUE_QUANTISE;
	float sum = 0, part = 0, scale = d->weight == GH_E4M3 ? p->scale[n] : 1.0F;
	float bias = d->bias ? get(d->act, p->bias, n) : 0.0F;

	*exact = *size = 0;
	for (int64_t k = 0; k < d->k; k++) {
		float w = get(d->weight, p->w, n * d->k + k);

		part = fmaf(x[k], w, part);
		*exact += (double)x[k] * w;
		*size += fabs((double)x[k] * w);
		if (blocks && (k % 128 == 127 || k == d->k - 1)) {
			sum = sum + part;
			part = 0;
		}
	}
	*exact = *exact * scale * s + bias;
	*size = *size * fabs((double)scale) * s + fabs((double)bias);
	return epilogue(p, blocks ? sum : part, s, n);
}

static void check_against_loops(const problem *p, const void *y)
{
	const gh__linear_desc *d = &p->desc;
	float *x = gh__malloc((size_t)d->k * sizeof *x);
	double last = d->out == GH_F32 ? 0x1p-22 : d->out == GH_F16 ? 0x1p-10 : 0x1p-7;

	for (int64_t row = 0; row < p->m; row++) {
		float s = operands(p, row, x);

		for (int64_t n = 0; n < d->n; n++) {
			double exact, size;
			float expected = rounded(d->out, element(p, x, s, n, &exact, &size));
			float got = get(d->out, y, row * p->y_stride + n);

			ck_assert_msg(gh__f32_bits(got) == gh__f32_bits(expected),
				      "w %d act %d m %d n %d k %d: [%d, %d] is %.9g, not %.9g",
				      d->weight, d->act, (int)p->m, (int)d->n, (int)d->k, (int)row,
				      (int)n, got, expected);
			ck_assert_double_le(fabs(got - exact),
					    (fabs(exact) + fabs((double)get(d->act, p->bias, n))) *
							    last * 2 +
						    size * (double)d->k * 0x1p-23 + 1e-6);
		}
		for (int64_t n = d->n; n < p->y_stride; n++)
			ck_assert(is_poison(d->out, y, row * p->y_stride + n));
	}
	gh__free(x);
}

START_TEST(follows_its_order)
{
	static const int64_t shapes[][3] = { { 0, 5, 3 },      { 1, 1, 1 },     { 1, 16, 128 },
					     { 2, 15, 127 },   { 3, 33, 129 },  { 1, 64, 256 },
					     { 2, 70, 256 },   { 3, 65, 40 },   { 4, 64, 7 },
					     { 5, 31, 300 },   { 6, 17, 257 },  { 7, 96, 64 },
					     { 13, 50, 1025 }, { 17, 81, 100 }, { 200, 18, 530 } };
	const linear_case *c = &linear_cases[_i];

	for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
		gh__linear_desc desc = desc_of(c, shapes[i][1], shapes[i][2]);
		problem p;

		problem_init(&p, &desc, shapes[i][0], i + 1);
		for (int d = 0; d < DEVICE_CASES; d++) {
			gh__device *device;
			void *y;

			if (p.m > 100 && device_cases[d].flags) /* slow, and 17 rows did it */
				continue;
			device = device_open(device_cases[d].threads, device_cases[d].flags);
			y = solve(device, &p, p.x, p.m);
			check_against_loops(&p, y);
			gh__free(y);
			gh__device_close(device);
		}
		problem_free(&p);
	}
}
END_TEST

/* Rows [first, first + m) alone give what they give among all. */
START_TEST(rows_do_not_depend_on_others)
{
	static const int64_t sizes[] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 63, 64, 65, 191, 193, 256 };
	enum { ALL = 256, N = 87, K = 521 };
	gh__linear_desc desc = desc_of(&linear_cases[_i], N, K);
	gh__device *device = device_open(2, 0);
	size_t x_row, y_row;
	char *all, *y, *mixed;
	problem p;

	problem_init(&p, &desc, ALL, 11);
	x_row = (size_t)p.x_stride * size_of(desc.act);
	y_row = (size_t)p.y_stride * size_of(desc.out);
	all = solve(device, &p, p.x, ALL);
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		int64_t m = sizes[i], first = (ALL - m) / 3;

		y = solve(device, &p, (char *)p.x + (size_t)first * x_row, m);
		ck_assert_mem_eq(y, all + (size_t)first * y_row, (size_t)m * y_row);
		gh__free(y);
	}
	mixed = gh__malloc(ALL * x_row);
	for (int64_t i = 0; i < ALL; i++) /* 77 has no factor in common with 256 */
		memcpy(mixed + (size_t)i * x_row, (char *)p.x + (size_t)(i * 77 % ALL) * x_row,
		       x_row);
	for (int64_t k = 0; k < K; k++) /* a row of NaN stays by itself */
		put(desc.act, mixed, 5 * p.x_stride + k, NAN);
	y = solve(device, &p, mixed, ALL);
	for (int64_t i = 0; i < ALL; i++) {
		if (i != 5)
			ck_assert_mem_eq(y + (size_t)i * y_row,
					 all + (size_t)(i * 77 % ALL) * y_row, y_row);
	}
	for (int64_t n = 0; n < N; n++)
		ck_assert(isnan(get(desc.out, y, 5 * p.y_stride + n)));
	gh__free(y);
	gh__free(mixed);
	gh__free(all);
	problem_free(&p);
	gh__device_close(device);
}
END_TEST

/* SWIGLU gives what LINEAR and then GLU give. */
START_TEST(fused_is_composed)
{
	static const int64_t shapes[][3] = { { 1, 2, 5 },    { 1, 32, 64 },  { 2, 34, 130 },
					     { 3, 126, 65 }, { 5, 64, 100 }, { 30, 194, 257 } };
	const linear_case *c = &linear_cases[_i];

	if (c->bias || c->act != c->out)
		return;
	for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
		int64_t m = shapes[i][0], n = shapes[i][1] / 2;
		gh__linear_desc desc = desc_of(c, 2 * n, shapes[i][2]);
		void *first = NULL;
		problem plain, fused;

		problem_init(&plain, &desc, m, i);
		desc.epilogue = GH__EPILOGUE_SWIGLU;
		problem_init(&fused, &desc, m, i);
		for (int d = 0; d < DEVICE_CASES; d++) {
			gh__device *device =
				device_open(device_cases[d].threads, device_cases[d].flags);
			gh__op_desc glu = { .kind = GH__OP_GLU, .glu = { desc.out, n } };
			gh__kernel *kernel = device_prepare(device, &glu);
			void *products = solve(device, &plain, plain.x, m);
			void *composed = poisoned(desc.out, m * fused.y_stride);
			gh__op_args args = { .glu = { products, plain.y_stride, composed,
						      fused.y_stride, m } };
			void *y = solve(device, &fused, fused.x, m);
			size_t size = (size_t)(m * fused.y_stride) * size_of(desc.out);

			device_run(device, kernel, &args);
			ck_assert_mem_eq(y, composed, size);
			if (!first)
				first = gh__memdup(y, size);
			ck_assert_mem_eq(y, first, size);
			gh__free(products);
			gh__free(composed);
			gh__free(y);
			gh__device_kernel_free(device, kernel);
			gh__device_close(device);
		}
		gh__free(first);
		problem_free(&plain);
		problem_free(&fused);
	}
}
END_TEST

/* f16 subnormals are data, in x, in W and in y. */
START_TEST(subnormals_live)
{
	gh__linear_desc desc = desc_of(&linear_cases[3], 17, 2);
	gh__linear_desc narrow = desc;
	gh__device *device = device_open(1, 0);
	problem p;
	void *y;

	narrow.out = GH_F16;
	problem_init(&p, &desc, 1, 1);
	for (int64_t n = 0; n < 17; n++) {
		put(GH_F16, p.w, 2 * n, (float)(n + 1) * 0x1p-24F);
		put(GH_F16, p.w, 2 * n + 1, 0.0F);
	}
	put(GH_F16, p.x, 0, 0x1p-24F);
	put(GH_F16, p.x, 1, 0.0F);
	y = solve(device, &p, p.x, 1);
	for (int64_t n = 0; n < 17; n++)
		ck_assert_float_eq(get(GH_F32, y, n), (float)(n + 1) * 0x1p-48F);
	gh__free(y);
	p.desc = narrow;
	put(GH_F16, p.x, 0, 1.0F);
	y = solve(device, &p, p.x, 1);
	for (int64_t n = 0; n < 17; n++)
		ck_assert_float_eq(get(GH_F16, y, n), (float)(n + 1) * 0x1p-24F);
	gh__free(y);
	problem_free(&p);
	gh__device_close(device);
}
END_TEST

START_TEST(packing_checks)
{
	gh__op_desc desc = {
		.kind = GH__OP_LINEAR,
		.linear = { .weight = GH_E4M3, .act = GH_F16, .out = GH_F16, .n = 20, .k = 9 }
	};
	gh__op_desc glu = { .kind = GH__OP_GLU, .glu = { GH_F16, 4 } };
	gh__device *device = device_open(1, 0);
	const gh__device_table *table = device->table;
	gh__kernel *kernel = device_prepare(device, &desc), *other = device_prepare(device, &glu);
	void *packed = device_alloc(device, table->packed_size(device->self, kernel));
	uint8_t w[20 * 9] = { 0 };

	assert_fails(GH_EINVAL, "rows: 20 from 1",
		     table->pack(device->self, kernel, packed, w, 1, 20, error));
	assert_fails(GH_EINVAL, "rows: -1",
		     table->pack(device->self, kernel, packed, w, 0, -1, error));
	assert_fails(GH_EINVAL, "no weights",
		     table->pack(device->self, other, packed, w, 0, 1, error));
	w[3 * 9 + 4] = 0xff;
	assert_fails(GH_ENUMERIC, "row 13, column 4",
		     table->pack(device->self, kernel, packed, w, 10, 10, error));
	ck_assert_uint_eq(table->packed_size(device->self, other), 0);
	ck_assert_uint_eq(table->workspace(device->self, other, 100), 0);
	table->release(device->self, packed);
	gh__device_kernel_free(device, kernel);
	gh__device_kernel_free(device, other);
	gh__device_close(device);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("device_linear");
	TCase *tcase = tcase_create("linear");

	suite_add_tcase(suite, tcase);
	tcase_add_loop_test(tcase, follows_its_order, 0, CASES);
	tcase_add_loop_test(tcase, rows_do_not_depend_on_others, 0, CASES);
	tcase_add_loop_test(tcase, fused_is_composed, 0, CASES);
	tcase_add_test(tcase, subnormals_live);
	tcase_add_test(tcase, packing_checks);
	return unit_main(suite);
}
