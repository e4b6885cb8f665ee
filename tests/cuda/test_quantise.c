#include "pair.h"

#include <gonkahost/device.h>

/*
 * Rows to e4m3, products of such rows, and the reader of memory, whose bits are the CPU's; and the
 * clock of a GPU.
 */
static const gh_dtype acts[] = { GH_F32, GH_F16, GH_BF16 };

/* m rows of n, `off` elements away from an aligned address. */
static void check_quantise(gh_dtype act, int64_t n, int64_t m, int64_t gap, size_t off, bool nan)
{
	const int64_t stride = n + gap, y_stride = (n + 15) / 16 * 16 + (gap ? 16 : 0);
	gh__op_desc desc = { .kind = GH__OP_QUANTISE, .quantise = { act, n } };
	uint64_t state = (uint64_t)(n + m);
	void *numbers = random_numbers(act, m * stride, 5, &state);
	gh__kernel *kernels[DEVICES];
	gh__op_args args[DEVICES];
	tensor x, y = tensor_poisoned(GH_E4M3, m * y_stride), scale = tensor_poisoned(GH_F32, m);
	const tensor *all[] = { &x, &y, &scale };

	if (nan)
		put(act, numbers, n - 1, NAN);
	x = tensor_at(numbers, (size_t)(m * stride) * size_of(act), off * size_of(act));
	pair_prepare(kernels, &desc);
	for (int d = 0; d < DEVICES; d++)
		args[d].quantise =
			(gh__quantise_args){ x.at[d], stride, y.at[d], y_stride, scale.at[d], m };
	pair_check("quantise", kernels, args, all, nan ? 2 : 3); /* a NaN may be any */
	pair_kernel_free(kernels);
	tensor_free(&x);
	tensor_free(&y);
	tensor_free(&scale);
	gh__free(numbers);
}

START_TEST(quantises_rows)
{
	static const int64_t sizes[] = { 1,   7,   15,   16,   17,   128,  129,
					 576, 896, 3584, 4096, 4100, 5120, 18944 };

	for (size_t c = 0; c < COUNT(acts) * COUNT(sizes); c++) {
		gh_dtype act = acts[c % 3];
		int64_t n = sizes[c / 3];

		check_quantise(act, n, 1, 0, 0, false);
		check_quantise(act, n, 37, 8, 0, false);
		check_quantise(act, n, 5, 3, 1, false);
		check_quantise(act, n, 5, 0, 0, true);
	}
	check_quantise(GH_F16, 3584, 0, 0, 0, false);
}
END_TEST

typedef struct product {
	gh_dtype out;
	gh__epilogue epilogue;
	bool bias;
	int64_t n, k, m;
} product;

static void check_product(const product *p)
{
	const int64_t stride = (p->k + 15) / 16 * 16;
	const int64_t columns = p->epilogue == GH__EPILOGUE_SWIGLU ? p->n / 2 : p->n;
	gh__op_desc desc = { .kind = GH__OP_LINEAR,
			     .linear = { .weight = GH_E4M3,
					 .act = GH_E4M3,
					 .out = p->out,
					 .epilogue = p->epilogue,
					 .bias = p->bias,
					 .n = p->n,
					 .k = p->k } };
	uint64_t state = (uint64_t)(p->n + p->k + p->m);
	uint8_t *codes = random_numbers(GH_E4M3, p->m * stride, 400, &state);
	void *w = random_numbers(GH_E4M3, p->n * p->k, 400, &state);
	tensor w_scale = tensor_random(GH_F32, p->n, 0.001, &state), x;
	tensor x_scale = tensor_random(GH_F32, p->m, 0.01, &state);
	tensor bias = tensor_random(p->out, p->n, 2, &state);
	tensor y = tensor_poisoned(p->out, p->m * (columns + 5));
	const tensor *all[] = { &x, &x_scale, &w_scale, &bias, &y };
	void *packed[DEVICES], *workspace[DEVICES];
	gh__kernel *kernels[DEVICES];
	gh__op_args args[DEVICES];

	for (int64_t i = 0; i < p->m * stride; i++)
		codes[i] = i % stride < p->k ? codes[i] : 0;
	x = tensor_of(codes, (size_t)(p->m * stride));
	pair_prepare(kernels, &desc);
	for (int d = 0; d < DEVICES; d++) {
		const gh__device_table *table = devices[d]->table;
		void *self = devices[d]->self;

		packed[d] = device_alloc(devices[d], table->packed_size(self, kernels[d]));
		workspace[d] = device_alloc(devices[d], table->workspace(self, kernels[d], p->m));
		assert_ok(table->pack(self, kernels[d], packed[d], w, 0, p->n, error));
		args[d].linear = (gh__linear_args){ .x = x.at[d],
						    .x_stride = stride,
						    .w = packed[d],
						    .w_scale = w_scale.at[d],
						    .x_scale = x_scale.at[d],
						    .bias = bias.at[d],
						    .y = y.at[d],
						    .y_stride = columns + 5,
						    .workspace = workspace[d],
						    .m = p->m };
	}
	pair_check("product", kernels, args, all, COUNT(all));
	for (int d = 0; d < DEVICES; d++) {
		devices[d]->table->release(devices[d]->self, packed[d]);
		devices[d]->table->release(devices[d]->self, workspace[d]);
	}
	pair_kernel_free(kernels);
	tensor_free(&x);
	tensor_free(&x_scale);
	tensor_free(&w_scale);
	tensor_free(&bias);
	tensor_free(&y);
	gh__free(codes);
	gh__free(w);
}

START_TEST(multiplies_quantised_rows)
{
	static const int64_t m[] = { 1, 16, 65 };
	static const int64_t k[] = { 17, 128, 896 };

	for (size_t c = 0; c < COUNT(m) * COUNT(k) * COUNT(acts); c++) {
		product p = { acts[c % 3], GH__EPILOGUE_NONE, false, 200, k[c / 3 % 3], m[c / 9] };

		check_product(&p);
		p.bias = true;
		p.n = 129;
		check_product(&p);
		p.bias = false;
		p.n = 256;
		p.epilogue = GH__EPILOGUE_SWIGLU;
		check_product(&p);
	}
}
END_TEST

START_TEST(reads_every_word)
{
	static const size_t sizes[] = { 0, 1, 31, 32, 33, 4095, 4096, 4097, 1000003 };
	static const uint64_t begin[2] = { 5, 6 };

	for (size_t s = 0; s < COUNT(sizes); s++) {
		gh__op_desc desc = { .kind = GH__OP_READ };
		uint64_t state = s;
		tensor x = tensor_random(GH_F32, (int64_t)sizes[s] * 4, 1, &state);
		tensor sum = tensor_of(begin, sizeof begin);
		const tensor *all[] = { &x, &sum };
		gh__kernel *kernels[DEVICES];
		gh__op_args args[DEVICES];

		pair_prepare(kernels, &desc);
		for (int d = 0; d < DEVICES; d++)
			args[d].read = (gh__read_args){ x.at[d], sizes[s] * 16, sum.at[d] };
		pair_check("read", kernels, args, all, COUNT(all));
		pair_kernel_free(kernels);
		tensor_free(&x);
		tensor_free(&sum);
	}
}
END_TEST

/* As programs see it: times are those of the device, and a device has rates. */
START_TEST(takes_times)
{
	enum { SIZE = 256 << 20 };
	gh_device_options options = GH_DEVICE_OPTIONS_INIT;
	gh_event *begin = NULL, *end = NULL;
	gh_device *device = NULL;
	gh_device_rates rates;
	gh_devptr a, b;
	double seconds = 0.0;

	options.kind = "cuda";
	assert_ok(gh_device_open(&device, &options, error));
	assert_ok(gh_device_alloc(device, &a, SIZE, error));
	assert_ok(gh_device_alloc(device, &b, SIZE, error));
	assert_ok(gh_event_create(&begin, device, error));
	assert_ok(gh_event_create(&end, device, error));
	assert_ok(gh_event_record(begin, NULL, error));
	assert_fails(GH_ESTATE, "event", gh_event_seconds(&seconds, begin, end, error));
	assert_ok(gh_device_copy(device, b, a, SIZE, NULL, error));
	assert_ok(gh_event_record(end, NULL, error));
	assert_ok(gh_event_seconds(&seconds, begin, end, error));
	ck_assert_double_gt(seconds, 1e-5);
	ck_assert_double_lt(seconds, 1.0);
	assert_ok(gh_device_measure(&rates, device, SIZE, error));
	ck_assert_double_gt(rates.read, 1e10);
	ck_assert_double_gt(rates.copy, 1e10);
	gh_event_free(begin);
	gh_event_free(end);
	gh_device_release(device, a);
	gh_device_release(device, b);
	gh_device_close(device);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("cuda_quantise");
	TCase *tcase = tcase_create("quantise");

	suite_add_tcase(suite, tcase);
	tcase_set_timeout(tcase, 600);
	tcase_add_test(tcase, quantises_rows);
	tcase_add_test(tcase, multiplies_quantised_rows);
	tcase_add_test(tcase, reads_every_word);
	tcase_add_test(tcase, takes_times);
	return pair_main(suite);
}
