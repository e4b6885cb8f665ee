#include "device_linear.h"
#include "tensor_core.h"

/*
 * A device that computes as tensor cores do: its steps and its matrices are plain loops over the
 * model of a step, to the bit.
 */
/* The model itself, by hand. */
START_TEST(the_model_is_the_one_meant)
{
	const float one[] = { 1, 1 }, half[] = { 1.5F, 1 }, tiny[] = { 1.5F, 0x1p-13F };
	const float small[] = { 0x1p-12F, 0x1p-12F }, subnormal = 0x1p-20F;

	/* Units of 2^(m - 13), then 14 bits: 2.25 has the exponent 0, its last bit is 2^-12. */
	ck_assert_float_eq(plain_step(GH_E4M3, one, tiny, 2, 0), 1.5F + 0x1p-13F);
	ck_assert_float_eq(plain_step(GH_E4M3, half, tiny, 2, 0), 2.25F);
	ck_assert_float_eq(plain_step(GH_E4M3, one, tiny + 1, 1, 2), 2);
	/* Units of 2^(m - 25), then 24 bits, toward zero. */
	ck_assert_float_eq(plain_step(GH_F16, small, small, 2, -1), -1 + 0x1p-23F);
	ck_assert_float_eq(plain_step(GH_F16, small, small, 1, 1), 1);
	ck_assert_float_eq(plain_step(GH_F16, small, small, 1, -1), -1 + 0x1p-24F);
	ck_assert_float_eq(plain_step(GH_F16, small, one, 1, -0x1p14F), -0x1p14F);
	/* A subnormal number has the exponent -14: C falls below 2^-39. In bf16 it is a normal one.
	 */
	ck_assert_float_eq(plain_step(GH_F16, &subnormal, one, 1, 0x1p-40F), 0x1p-20F);
	ck_assert_float_eq(plain_step(GH_BF16, &subnormal, one, 1, 0x1p-40F), 0x1p-20F + 0x1p-40F);
	ck_assert(isnan(plain_step(GH_BF16, one, one, 1, INFINITY)));
}
END_TEST

/* ---- steps and chains, with any numbers ---- */

/* A number of any exponent of the type, or of a few of them; zeros and subnormals among them. */
static float any_number(gh_dtype type, int low, int high, uint64_t *state)
{
	uint64_t kind = random_next(state) % 32;
	int e = low + (int)(random_next(state) % (uint64_t)(high - low + 1));
	double m = 1 + (double)(random_next(state) % 1024) / 1024;

	if (kind == 0)
		return 0;
	if (kind == 1) /* all ones */
		m = 2 - ldexp(1, type == GH_F16 ? -10 : type == GH_E4M3 ? -2 : -7);
	if (random_next(state) % 2)
		m = -m;
	return rounded(type, (float)ldexp(m, e));
}

typedef struct range {
	gh_dtype type;
	int x_low, x_high, w_low, w_high;
} range;

static const range ranges[] = {
	{ GH_F16, -24, 14, -24, 14 },    { GH_F16, -3, 0, -3, 0 },
	{ GH_F16, -24, -15, -24, -14 },  { GH_F16, 14, 14, 14, 14 },
	{ GH_F16, -24, -13, -2, 2 },     { GH_BF16, -60, 60, -60, 60 },
	{ GH_BF16, -4, 0, -2, 2 },       { GH_BF16, -133, -100, 60, 127 },
	{ GH_BF16, -133, 0, -133, -1 },  { GH_BF16, 30, 60, 30, 58 },
	{ GH_BF16, -80, -70, -60, -40 }, { GH_BF16, 60, 63, 60, 64 },
	{ GH_E4M3, -9, 7, -9, 7 },       { GH_E4M3, -9, -6, -9, -6 },
	{ GH_E4M3, -1, 1, -1, 1 },       { GH_E4M3, 7, 7, -9, 7 },
};

/*
 * x and w of a range; every third pair of neighbouring products is one and its opposite, and
 * everything in one row of three has the same sign. With e4m3, x is f32 and has a scale of 1: 448
 * stands in front, opposite zeros.
 */
static void fill(problem *p, const range *r, uint64_t seed)
{
	const gh__linear_desc *d = &p->desc;

	for (int64_t row = 0; row < p->m; row++) {
		for (int64_t k = 0; k < d->k; k++) {
			float x = any_number(r->type, r->x_low, r->x_high, &seed);

			if (k % 6 == 1)
				x = get(d->act, p->x, row * p->x_stride + k - 1);
			put(d->act, p->x, row * p->x_stride + k, row % 3 ? x : fabsf(x));
		}
	}
	for (int64_t n = 0; n < d->n; n++) {
		for (int64_t k = 0; k < d->k; k++) {
			float w = any_number(r->type, r->w_low, r->w_high, &seed);

			if (k % 6 == 1)
				w = -get(d->weight, p->w, n * d->k + k - 1);
			put(d->weight, p->w, n * d->k + k, n % 3 ? w : fabsf(w));
		}
		p->scale[n] = 1;
		if (r->type == GH_E4M3)
			put(d->weight, p->w, n * d->k, 0);
	}
	for (int64_t row = 0; row < p->m && r->type == GH_E4M3; row++)
		put(d->act, p->x, row * p->x_stride, 448);
}

/* What products of e4m3 with e4m3 are formed as. */
static gh_dtype e4m3_as = GH_E4M3;

/* One output's sum, as ops.h says of such a device. */
static float plain_sum(const problem *p, const float *x, const float *w)
{
	const gh__linear_desc *d = &p->desc;
	float sum = 0;

	if (d->prologue != GH__PROLOGUE_QUANTISE)
		return plain_chain(d->act, x, w, d->k, 0);
	for (int64_t k = 0; k < d->k; k += 128)
		sum = sum + plain_chain(e4m3_as, x + k, w + k, d->k - k < 128 ? d->k - k : 128, 0);
	return sum;
}

static void check_linear(const problem *p, const void *y)
{
	const gh__linear_desc *d = &p->desc;
	float *x = gh__malloc((size_t)d->k * sizeof *x), *w = gh__malloc((size_t)d->k * sizeof *w);

	for (int64_t row = 0; row < p->m; row++) {
		float s = operands(p, row, x);

		for (int64_t n = 0; n < d->n; n++) {
			float got = get(d->out, y, row * p->y_stride + n), expected;

			for (int64_t k = 0; k < d->k; k++)
				w[k] = get(d->weight, p->w, n * d->k + k);
			expected = rounded(d->out, epilogue(p, plain_sum(p, x, w), s, n));
			ck_assert_msg(got == expected || (isnan(got) && isnan(expected)),
				      "w %d act %d m %d n %d k %d: [%d, %d] is %.9g, not %.9g",
				      d->weight, d->act, (int)p->m, (int)d->n, (int)d->k, (int)row,
				      (int)n, got, expected);
		}
	}
	gh__free(x);
	gh__free(w);
}

/* y of all devices, which agree. Caller frees (gh__free). */
static void *solve_all(const problem *p)
{
	size_t size = (size_t)(p->m * p->y_stride) * size_of(p->desc.out);
	void *first = NULL;

	for (int i = 0; i < CORES; i++) {
		gh__device *device = device_open(core_cases[i].threads, core_cases[i].flags);
		void *y = solve(device, p, p->x, p->m);

		if (!first)
			first = gh__memdup(y, size);
		ck_assert_mem_eq(y, first, size);
		gh__free(y);
		gh__device_close(device);
	}
	return first;
}

START_TEST(steps_are_those_of_the_model)
{
	static const int64_t lengths[] = { 2, 16, 17, 32, 33, 128, 200, 256, 1000 };
	const range *r = &ranges[_i];

	for (size_t i = 0; i < COUNT(lengths); i++) {
		gh__linear_desc desc = { .weight = r->type,
					 .act = r->type == GH_E4M3 ? GH_F32 : r->type,
					 .out = GH_F32,
					 .prologue = r->type == GH_E4M3,
					 .n = 40,
					 .k = lengths[i] };
		problem p;
		void *y;

		problem_init(&p, &desc, 9, 1);
		fill(&p, r, (uint64_t)lengths[i]);
		y = solve_all(&p);
		check_linear(&p, y);
		gh__free(y);
		problem_free(&p);
	}
}
END_TEST

/* Sixteen times the largest product, and a sum as large: 33 bits. */
START_TEST(the_largest_sums_fit)
{
	gh_dtype type = _i % 2 ? GH_F16 : GH_BF16;
	float most = type == GH_F16 ? 2047 : 255, sign = _i / 2 ? -1.0F : 1.0F;
	gh__linear_desc desc = { .weight = type, .act = type, .out = GH_F32, .n = 1, .k = 64 };
	problem p;
	void *y;

	problem_init(&p, &desc, 1, 1);
	for (int64_t k = 0; k < desc.k; k++) {
		put(type, p.x, k, most);
		/* The first step gives the largest sum of the exponent that products have then. */
		put(type, p.w, k, sign * (k >= 16 ? most : type == GH_F16 ? 64 : 8));
	}
	y = solve_all(&p);
	check_linear(&p, y);
	gh__free(y);
	problem_free(&p);
}
END_TEST

/* Whatever is no number makes its own outputs NaN, and is no harm elsewhere. */
START_TEST(no_numbers_stay_by_themselves)
{
	gh_dtype type = _i % 2 ? GH_F16 : GH_BF16;
	float bad = _i / 2 ? INFINITY : NAN;
	gh__linear_desc desc = { .weight = type, .act = type, .out = GH_F32, .n = 40, .k = 40 };
	problem p;
	float *y;

	problem_init(&p, &desc, 3, 1);
	put(type, p.x, p.x_stride + 20, bad);
	put(type, p.w, 7 * desc.k + 5, -bad);
	put(type, p.x, 5, 0);
	y = solve_all(&p);
	check_linear(&p, y);
	for (int64_t i = 0; i < 3 * 40; i++)
		ck_assert_int_eq(isnan(y[i / 40 * p.y_stride + i % 40]) != 0,
				 i / 40 == 1 || i % 40 == 7);
	gh__free(y);
	problem_free(&p);
}
END_TEST

/* ---- linear ---- */

static const gh__linear_desc linear_cases[] = {
	{ GH_F16, GH_F16, GH_F16, 0, 0, false, 0, 0 },
	{ GH_BF16, GH_BF16, GH_BF16, 0, 0, false, 0, 0 },
	{ GH_F16, GH_F16, GH_F16, 0, 0, true, 0, 0 },
	{ GH_F16, GH_F16, GH_F32, 0, 0, false, 0, 0 },
	{ GH_BF16, GH_BF16, GH_BF16, 0, 0, true, 0, 0 },
	{ GH_BF16, GH_BF16, GH_F32, 0, 0, false, 0, 0 },
	{ GH_E4M3, GH_F16, GH_F16, 0, 0, true, 0, 0 },
	{ GH_E4M3, GH_BF16, GH_F32, 0, 0, false, 0, 0 },
	{ GH_E4M3, GH_F16, GH_F16, 1, 0, false, 0, 0 },
	{ GH_E4M3, GH_F16, GH_F32, 1, 0, true, 0, 0 },
	{ GH_E4M3, GH_BF16, GH_BF16, 1, 0, true, 0, 0 },
	{ GH_E4M3, GH_F32, GH_F32, 1, 0, false, 0, 0 },
};

/* Blocks of 128 that differ in size, so that their sums round. */
static void scale_blocks(problem *p)
{
	for (int64_t i = 0; i < p->m * p->x_stride; i++) {
		int64_t k = i % p->x_stride;
		float x = get(p->desc.act, p->x, i);

		put(p->desc.act, p->x, i, ldexpf(x, -(int)(k / 128 * 5 % 9)));
	}
}

START_TEST(matrices_are_chains)
{
	static const int64_t shapes[][3] = { { 1, 1, 1 },    { 1, 33, 129 }, { 2, 70, 256 },
					     { 3, 65, 40 },  { 4, 64, 7 },   { 5, 31, 300 },
					     { 6, 17, 257 }, { 7, 96, 640 }, { 14, 20, 1100 } };
	size_t differ = 0;

	for (size_t i = 0; i < COUNT(shapes); i++) {
		gh__linear_desc desc = linear_cases[_i];
		gh__device *other = device_open(1, 0);
		size_t size;
		problem p;
		void *y, *fused;

		desc.n = shapes[i][1];
		desc.k = shapes[i][2];
		problem_init(&p, &desc, shapes[i][0], i + 1);
		scale_blocks(&p);
		y = solve_all(&p);
		check_linear(&p, y);
		size = (size_t)(p.m * p.y_stride) * size_of(desc.out);
		fused = solve(other, &p, p.x, p.m);
		differ += memcmp(y, fused, size) != 0;
		gh__free(y);
		gh__free(fused);
		gh__device_close(other);
		problem_free(&p);
	}
	ck_assert(differ > 0 || linear_cases[_i].out != GH_F32);
}
END_TEST

START_TEST(older_gpus_widen_e4m3)
{
	const gh__linear_desc desc = { .weight = GH_E4M3,
				       .act = GH_F16,
				       .out = GH_F32,
				       .prologue = GH__PROLOGUE_QUANTISE,
				       .n = 40,
				       .k = 650 };
	gh__device *vector = device_open(1, CORE | GH_DEVICE_E4M3_AS_F16);
	gh__device *scalar = device_open(2, CORE | GH_DEVICE_E4M3_AS_F16 | GH_DEVICE_SCALAR);
	gh__device *hopper = device_open(1, CORE);
	void *y, *same, *other;
	problem p;
	size_t size;

	problem_init(&p, &desc, 5, 9);
	scale_blocks(&p);
	size = (size_t)(p.m * p.y_stride) * sizeof(float);
	y = solve(vector, &p, p.x, p.m);
	same = solve(scalar, &p, p.x, p.m);
	other = solve(hopper, &p, p.x, p.m);
	e4m3_as = GH_F16;
	check_linear(&p, y);
	e4m3_as = GH_E4M3;
	ck_assert_mem_eq(y, same, size);
	ck_assert_mem_ne(y, other, size);
	gh__free(y);
	gh__free(same);
	gh__free(other);
	problem_free(&p);
	gh__device_close(vector);
	gh__device_close(scalar);
	gh__device_close(hopper);
}
END_TEST

/* SWIGLU is LINEAR and then GLU; rows do not depend on others. */
START_TEST(matrices_keep_their_promises)
{
	enum { M = 200, N = 70, K = 300 };
	gh__linear_desc desc = linear_cases[_i];
	gh__device *device = device_open(2, CORE);
	gh__op_desc glu = { .kind = GH__OP_GLU, .glu = { desc.out, N / 2 } };
	gh__kernel *kernel = device_prepare(device, &glu);
	void *composed, *few;
	char *all, *y;
	problem p, fused;
	size_t x_row, y_row;

	desc.n = N;
	desc.k = K;
	problem_init(&p, &desc, M, 5);
	x_row = (size_t)p.x_stride * size_of(desc.act);
	y_row = (size_t)p.y_stride * size_of(desc.out);
	all = solve(device, &p, p.x, M);
	for (int64_t m = 1; m < M; m = m * 2 + 1) {
		few = solve(device, &p, (char *)p.x + 2 * x_row, m);
		ck_assert_mem_eq(few, all + 2 * y_row, (size_t)m * y_row);
		gh__free(few);
	}
	desc.epilogue = GH__EPILOGUE_SWIGLU;
	if (!desc.bias && desc.act == desc.out) {
		gh__op_args args;

		problem_init(&fused, &desc, M, 5);
		composed = poisoned(desc.out, M * fused.y_stride);
		args.glu = (gh__glu_args){ all, p.y_stride, composed, fused.y_stride, M };
		device_run(device, kernel, &args);
		y = solve(device, &fused, fused.x, M);
		ck_assert_mem_eq(y, composed, (size_t)(M * fused.y_stride) * size_of(desc.out));
		gh__free(y);
		gh__free(composed);
		problem_free(&fused);
	}
	gh__free(all);
	problem_free(&p);
	gh__device_kernel_free(device, kernel);
	gh__device_close(device);
}
END_TEST

/* What no tensor core multiplies is what it is without. */
START_TEST(other_products_stay)
{
	static const gh_dtype types[][2] = {
		{ GH_F32, GH_F32 }, { GH_F16, GH_F32 }, { GH_F16, GH_BF16 }, { GH_E4M3, GH_F32 }
	};
	gh__linear_desc desc = {
		.weight = types[_i][0], .act = types[_i][1], .out = GH_F32, .n = 50, .k = 500
	};
	gh__device *core = device_open(1, CORE), *other = device_open(1, 0);
	problem p;
	void *y, *z;

	problem_init(&p, &desc, 5, 1);
	y = solve(core, &p, p.x, p.m);
	z = solve(other, &p, p.x, p.m);
	ck_assert_mem_eq(y, z, (size_t)(p.m * p.y_stride) * 4);
	gh__free(y);
	gh__free(z);
	problem_free(&p);
	gh__device_close(core);
	gh__device_close(other);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("tensor_core");
	TCase *tcase = tcase_create("tensor_core");

	suite_add_tcase(suite, tcase);
	tcase_add_test(tcase, the_model_is_the_one_meant);
	tcase_add_loop_test(tcase, steps_are_those_of_the_model, 0, COUNT(ranges));
	tcase_add_loop_test(tcase, the_largest_sums_fit, 0, 4);
	tcase_add_loop_test(tcase, no_numbers_stay_by_themselves, 0, 4);
	tcase_add_loop_test(tcase, matrices_are_chains, 0, COUNT(linear_cases));
	tcase_add_test(tcase, older_gpus_widen_e4m3);
	tcase_add_loop_test(tcase, matrices_keep_their_promises, 0, COUNT(linear_cases));
	tcase_add_loop_test(tcase, other_products_stay, 0, 4);
	return unit_main(suite);
}
