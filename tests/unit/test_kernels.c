#include "kernels.h"

/* The public operations against plain loops; their arguments' checks. */

/* ---- linear ---- */

enum { M = 3, N = 34, K = 160 };

typedef struct linear_case {
	gh_dtype weight, x, out;
	uint32_t flags;
} linear_case;

static void check_linear(const linear_case *c, bool per_row)
{
	gh_linear_options options = GH_LINEAR_OPTIONS_INIT;
	gh_linear_args args = GH_LINEAR_ARGS_INIT;
	gh_kernel *kernel = NULL;
	uint64_t state = c->flags + (uint64_t)c->x;
	const bool glu = c->flags & GH_LINEAR_SWIGLU, bias = c->flags & GH_LINEAR_BIAS;
	const int64_t columns = glu ? N / 2 : N;
	const gh_dtype bias_dtype = c->x == GH_E4M3 ? c->out : c->x;
	void *x = random_numbers(c->x, M * K, 2, &state);
	void *w = random_numbers(c->weight, N * K, c->weight == GH_E4M3 ? 300 : 1, &state);
	void *add = random_numbers(bias_dtype, N, 4, &state);
	float w_scale[N], x_scale[M];

	for (int i = 0; i < N; i++)
		w_scale[i] = per_row ? 0.001F * (float)(i + 1) : 0.004F;
	for (int i = 0; i < M; i++)
		x_scale[i] = 0.5F + (float)i;
	options.weight = c->weight;
	options.x = c->x;
	options.out = c->out;
	options.flags = c->flags;
	options.n = N;
	options.k = K;
	assert_ok(gh_linear_create(&kernel, device, &options, error));
	args.rows = M;
	args.x = put_there(x, (size_t)(M * K) * size_of(c->x));
	args.x_scale = put_there(x_scale, sizeof x_scale);
	args.w = take(gh_linear_packed_size(kernel));
	args.bias = put_there(add, (size_t)N * size_of(bias_dtype));
	args.y = take((size_t)(M * N) * size_of(c->out));
	args.workspace = workspace(kernel, M);
	assert_ok(gh_linear_pack(kernel, args.w, (char *)w + (size_t)(7 * K) * size_of(c->weight),
				 7, N - 7, error));
	assert_ok(gh_linear_pack(kernel, args.w, w, 0, 7, error));
	if (c->weight == GH_E4M3)
		assert_ok(gh_linear_pack_scales(kernel, args.w, w_scale, per_row ? N : 1, error));
	assert_ok(gh_linear_run(kernel, &args, NULL, error));
	for (int64_t i = 0; i < M * columns; i++) {
		int64_t row = i / columns, column = i % columns;
		double sum[2] = { 0, 0 };

		for (int half = 0; half < (glu ? 2 : 1); half++) {
			int64_t n = column + half * columns;

			for (int64_t k = 0; k < K; k++)
				sum[half] += (double)get(c->x, x, row * K + k) *
					     get(c->weight, w, n * K + k);
			if (c->weight == GH_E4M3)
				sum[half] *= w_scale[n];
			if (c->x == GH_E4M3)
				sum[half] *= x_scale[row];
			if (bias)
				sum[half] += get(bias_dtype, add, n);
		}
		if (glu)
			sum[0] = sum[0] / (1.0 + exp(-sum[0])) * sum[1];
		/* Quantised rows are off by up to 1/16 of each element. */
		if (c->flags & GH_LINEAR_QUANTISE)
			ck_assert_double_le(fabs(at(c->out, args.y, i) - sum[0]),
					    0.05 * fabs(sum[0]) + 4.0);
		else
			near(c->out, at(c->out, args.y, i), sum[0], glu ? 40 : 20);
	}
	gh_kernel_free(kernel);
	gh_device_release(device, args.x);
	gh_device_release(device, args.x_scale);
	gh_device_release(device, args.w);
	gh_device_release(device, args.bias);
	gh_device_release(device, args.y);
	gh_device_release(device, args.workspace);
	gh__free(x);
	gh__free(w);
	gh__free(add);
}

START_TEST(multiplies)
{
	static const linear_case cases[] = {
		{ GH_F32, GH_F32, GH_F32, 0 },
		{ GH_F16, GH_F16, GH_F16, GH_LINEAR_BIAS },
		{ GH_BF16, GH_BF16, GH_F32, GH_LINEAR_SWIGLU },
		{ GH_E4M3, GH_F16, GH_F16, 0 },
		{ GH_E4M3, GH_F16, GH_F16, GH_LINEAR_QUANTISE | GH_LINEAR_BIAS },
		{ GH_E4M3, GH_E4M3, GH_F16, 0 },
		{ GH_E4M3, GH_E4M3, GH_BF16, GH_LINEAR_BIAS },
		{ GH_E4M3, GH_E4M3, GH_F32, GH_LINEAR_SWIGLU },
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		check_linear(&cases[i], false);
		check_linear(&cases[i], true);
	}
}
END_TEST

START_TEST(refuses_linear)
{
	gh_linear_options options = GH_LINEAR_OPTIONS_INIT;
	gh_linear_args args = GH_LINEAR_ARGS_INIT;
	gh_kernel *kernel = NULL;
	gh_devptr memory = take(1 << 16);
	float scales[2] = { 1, 1 };

	assert_fails(GH_EINVAL, "options", gh_linear_create(&kernel, device, NULL, error));
	assert_fails(GH_EINVAL, "act", gh_linear_create(&kernel, device, &options, error));
	options.weight = options.x = GH_F16;
	options.n = options.k = 16;
	options.flags = 8;
	assert_fails(GH_EINVAL, "flags: 0x8", gh_linear_create(&kernel, device, &options, error));
	options.flags = GH_LINEAR_QUANTISE;
	assert_fails(GH_EINVAL, "QUANTISE", gh_linear_create(&kernel, device, &options, error));
	options.flags = 0;
	assert_fails(GH_EINVAL, "device", gh_linear_create(&kernel, NULL, &options, error));
	ck_assert_ptr_null(kernel);
	assert_ok(gh_linear_create(&kernel, device, &options, error));
	assert_ok(gh_linear_run(kernel, &args, NULL, error)); /* no rows */
	args.rows = -1;
	assert_fails(GH_EINVAL, "rows: -1", gh_linear_run(kernel, &args, NULL, error));
	args.rows = 1;
	assert_fails(GH_EINVAL, "x: 0x0", gh_linear_run(kernel, &args, NULL, error));
	args.x = memory + 1;
	assert_fails(GH_EINVAL, "multiple of 2", gh_linear_run(kernel, &args, NULL, error));
	args.x = memory;
	args.x_stride = 15;
	assert_fails(GH_EINVAL, "x_stride: 15", gh_linear_run(kernel, &args, NULL, error));
	args.x_stride = 0;
	args.w = args.y = memory;
	assert_fails(GH_EINVAL, "workspace", gh_linear_run(kernel, &args, NULL, error));
	args.struct_size = 0;
	assert_fails(GH_EINVAL, "struct_size", gh_linear_run(kernel, &args, NULL, error));
	assert_fails(GH_EINVAL, "kernel", gh_linear_run(NULL, &args, NULL, error));
	assert_fails(GH_EINVAL, "rows", gh_linear_pack(kernel, memory, scales, 15, 2, error));
	assert_fails(GH_EINVAL, "packed", gh_linear_pack(kernel, memory + 2, scales, 0, 1, error));
	assert_fails(GH_EINVAL, "have none",
		     gh_linear_pack_scales(kernel, memory, scales, 1, error));
	gh_kernel_free(kernel);
	options.weight = GH_E4M3;
	assert_ok(gh_linear_create(&kernel, device, &options, error));
	assert_fails(GH_EINVAL, "expected 1 or 16",
		     gh_linear_pack_scales(kernel, memory, scales, 2, error));
	ck_assert_uint_eq(gh_kernel_workspace(NULL, 1), 0);
	ck_assert_uint_eq(gh_linear_packed_size(NULL), 0);
	gh_kernel_free(kernel);
	gh_kernel_free(NULL);
	gh_device_release(device, memory);
}
END_TEST

/* ---- rows ---- */

/* A norm with QUANTISE is a norm, then quantise: the same bits. */
START_TEST(norms)
{
	enum { WIDTH = 40, STRIDE = 48 };
	gh_norm_options options = GH_NORM_OPTIONS_INIT;
	gh_quantise_options narrow = GH_QUANTISE_OPTIONS_INIT;
	gh_norm_args args = GH_NORM_ARGS_INIT;
	gh_quantise_args behind = GH_QUANTISE_ARGS_INIT;
	gh_kernel *plain = NULL, *both = NULL, *quantise = NULL;
	uint64_t state = 1;
	void *x = random_numbers(GH_F16, M * WIDTH, 3, &state);
	void *rest = random_numbers(GH_F16, M * WIDTH, 3, &state);
	void *weight = random_numbers(GH_F16, WIDTH, 1, &state);
	gh_devptr y, scale = take(M * sizeof(float)), q = take(M * STRIDE);

	options.dtype = narrow.x = GH_F16;
	options.n = narrow.n = WIDTH;
	options.eps = 1e-5F;
	options.flags = GH_NORM_RESIDUAL;
	assert_ok(gh_norm_create(&plain, device, &options, error));
	options.flags = GH_NORM_RESIDUAL | GH_NORM_QUANTISE;
	assert_ok(gh_norm_create(&both, device, &options, error));
	assert_ok(gh_quantise_create(&quantise, device, &narrow, error));
	args.rows = behind.rows = M;
	args.x = put_there(x, M * WIDTH * 2);
	args.weight = put_there(weight, WIDTH * 2);
	args.residual = put_there(rest, M * WIDTH * 2);
	args.y = y = take(M * WIDTH * 2);
	assert_ok(gh_norm_run(plain, &args, NULL, error));
	for (int64_t i = 0; i < M; i++) {
		double sum = 0;

		for (int64_t j = 0; j < WIDTH; j++) {
			double r = at(GH_F16, args.residual, i * WIDTH + j);

			near(GH_F16, (float)r,
			     get(GH_F16, x, i * WIDTH + j) + get(GH_F16, rest, i * WIDTH + j), 0);
			sum += r * r;
		}
		for (int64_t j = 0; j < WIDTH; j++)
			near(GH_F16, at(GH_F16, y, i * WIDTH + j),
			     at(GH_F16, args.residual, i * WIDTH + j) / sqrt(sum / WIDTH + 1e-5) *
				     get(GH_F16, weight, j),
			     1);
	}
	behind.x = y;
	behind.y = q;
	behind.scale = scale;
	assert_ok(gh_quantise_run(quantise, &behind, NULL, error));
	gh_device_release(device, args.residual);
	args.residual = put_there(rest, M * WIDTH * 2);
	args.y = take(M * STRIDE);
	args.y_scale = take(M * sizeof(float));
	assert_fails(GH_EINVAL, "workspace", gh_norm_run(both, &args, NULL, error));
	args.workspace = workspace(both, M);
	assert_ok(gh_norm_run(both, &args, NULL, error));
	ck_assert_mem_eq((void *)args.y, (void *)q, M * STRIDE);
	ck_assert_mem_eq((void *)args.y_scale, (void *)scale, M * sizeof(float));
	args.groups = 2;
	assert_fails(GH_EINVAL, "groups: 2", gh_norm_run(both, &args, NULL, error));
	gh_kernel_free(plain);
	gh_kernel_free(both);
	gh_kernel_free(quantise);
	gh_device_release(device, args.x);
	gh_device_release(device, args.weight);
	gh_device_release(device, args.residual);
	gh_device_release(device, args.y);
	gh_device_release(device, args.y_scale);
	gh_device_release(device, args.workspace);
	gh_device_release(device, y);
	gh_device_release(device, scale);
	gh_device_release(device, q);
	gh__free(x);
	gh__free(rest);
	gh__free(weight);
}
END_TEST

START_TEST(gates)
{
	enum { WIDTH = 21 };
	gh_swiglu_options options = GH_SWIGLU_OPTIONS_INIT;
	gh_swiglu_args args = GH_SWIGLU_ARGS_INIT;
	gh_kernel *kernel = NULL;
	uint64_t state = 2;
	void *x = random_numbers(GH_BF16, M * 2 * WIDTH, 6, &state);

	options.dtype = GH_BF16;
	options.n = WIDTH;
	assert_ok(gh_swiglu_create(&kernel, device, &options, error));
	args.rows = M;
	args.x = put_there(x, M * 2 * WIDTH * 2);
	args.y = take(M * WIDTH * 2);
	assert_ok(gh_swiglu_run(kernel, &args, NULL, error));
	for (int64_t i = 0; i < M * WIDTH; i++) {
		int64_t from = i / WIDTH * 2 * WIDTH + i % WIDTH;
		double gate = get(GH_BF16, x, from);

		near(GH_BF16, at(GH_BF16, args.y, i),
		     gate / (1 + exp(-gate)) * get(GH_BF16, x, from + WIDTH), 0.01);
	}
	args.y_stride = WIDTH - 1;
	assert_fails(GH_EINVAL, "y_stride: 20", gh_swiglu_run(kernel, &args, NULL, error));
	gh_kernel_free(kernel);
	gh_device_release(device, args.x);
	gh_device_release(device, args.y);
	gh__free(x);
}
END_TEST

START_TEST(has_no_yardstick_here)
{
	gh_linear_options options = GH_LINEAR_OPTIONS_INIT;
	gh_yardstick *yardstick = NULL;

	options.weight = options.x = GH_F16;
	options.n = options.k = 32;
	assert_fails(GH_ENOTSUP, "cpu",
		     gh_yardstick_create(&yardstick, device, &options, 4, error));
	options.k = 8;
	assert_fails(GH_EINVAL, "multiples",
		     gh_yardstick_create(&yardstick, device, &options, 4, error));
	assert_fails(GH_EINVAL, "NULL", gh_yardstick_run(NULL, 16, 16, 16, NULL, error));
	gh_yardstick_free(NULL);
}
END_TEST

START_TEST(converts)
{
	float x[] = { 1.0F, -3.0F, 500.0F };
	uint8_t codes[3];
	uint16_t halves[3];

	assert_ok(gh_convert(codes, GH_E4M3, x, GH_F32, 3, error));
	ck_assert_uint_eq(codes[0], 0x38);
	ck_assert_uint_eq(codes[2], 0x7e);
	assert_ok(gh_convert(halves, GH_F16, codes, GH_E4M3, 3, error));
	ck_assert_float_eq(gh__f16_to_f32(halves[1]), -3.0F);
	assert_ok(gh_convert(NULL, GH_F16, NULL, GH_F32, 0, error));
	assert_fails(GH_EINVAL, "src", gh_convert(halves, GH_F16, NULL, GH_F32, 1, error));
	assert_fails(GH_EINVAL, "F64", gh_convert(halves, GH_F64, x, GH_F32, 1, error));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("kernels");
	TCase *tcase = tcase_create("kernels");

	suite_add_tcase(suite, tcase);
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, multiplies);
	tcase_add_test(tcase, refuses_linear);
	tcase_add_test(tcase, norms);
	tcase_add_test(tcase, gates);
	tcase_add_test(tcase, has_no_yardstick_here);
	tcase_add_test(tcase, converts);
	return unit_main(suite);
}
