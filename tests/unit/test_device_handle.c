#include "device.h"

#include <gonkahost/device.h>

#include "device/quantise.h"

/* The public face of a device, and the small operations that came with it. */

static gh_device *open_cpu(int threads)
{
	gh_device_options options = GH_DEVICE_OPTIONS_INIT;
	gh_device *device = NULL;

	options.kind = "cpu";
	options.threads = threads;
	assert_ok(gh_device_open(&device, &options, error));
	return device;
}

START_TEST(moves_memory)
{
	gh_device *device = open_cpu(2);
	char there[] = "seven bytes, and more", back[sizeof there] = "";
	gh_devptr a = 0, b = 0, none = 1;

	ck_assert_str_eq(gh_device_kind(device), "cpu");
	ck_assert_str_eq(gh_device_kind(NULL), "");
	assert_ok(gh_device_alloc(device, &a, sizeof there, error));
	assert_ok(gh_device_alloc(device, &b, 2 * sizeof there, error));
	ck_assert_uint_eq(a % 256, 0);
	assert_ok(gh_device_upload(device, a, there, sizeof there, NULL, error));
	assert_ok(gh_device_copy(device, b + 5, a, sizeof there, NULL, error));
	assert_ok(gh_device_download(device, back, b + 5, sizeof back, NULL, error));
	ck_assert_str_eq(back, there);
	assert_ok(gh_device_synchronise(device, NULL, error));
	assert_ok(gh_device_upload(device, 0, NULL, 0, NULL, error));
	assert_fails(GH_EINVAL, "dst", gh_device_upload(device, 0, there, 1, NULL, error));
	assert_fails(GH_EINVAL, "src", gh_device_copy(device, b, 0, 1, NULL, error));
	assert_fails(GH_EINVAL, "dst", gh_device_download(device, NULL, a, 1, NULL, error));
	assert_fails(GH_ENOMEM, "", gh_device_alloc(device, &none, SIZE_MAX - 5, error));
	ck_assert_uint_eq(none, 0);
	gh_device_release(device, a);
	gh_device_release(device, b);
	gh_device_release(device, 0);
	gh_device_close(device);
	gh_device_close(NULL);
}
END_TEST

START_TEST(refuses_what_is_no_device)
{
	gh_device_options options = GH_DEVICE_OPTIONS_INIT;
	gh_device *device = NULL;
	gh_device_rates rates;
	gh_devptr a;

	options.kind = "abacus";
	assert_fails(GH_ENODEVICE, "abacus", gh_device_open(&device, &options, error));
	ck_assert_ptr_null(device);
	assert_fails(GH_EINVAL, "out", gh_device_open(NULL, NULL, error));
	assert_fails(GH_EINVAL, "device", gh_device_alloc(NULL, &a, 1, error));
	assert_fails(GH_EINVAL, "device", gh_device_synchronise(NULL, NULL, error));
	assert_fails(GH_EINVAL, "device", gh_device_measure(&rates, NULL, 0, error));
}
END_TEST

START_TEST(takes_times)
{
	gh_device *device = open_cpu(1), *other = open_cpu(1);
	gh_event *begin = NULL, *end = NULL, *foreign = NULL;
	double seconds = -1.0;

	assert_ok(gh_event_create(&begin, device, error));
	assert_ok(gh_event_create(&end, device, error));
	assert_ok(gh_event_create(&foreign, other, error));
	assert_ok(gh_event_record(begin, NULL, error));
	assert_fails(GH_ESTATE, "event", gh_event_seconds(&seconds, begin, end, error));
	assert_ok(gh_event_record(end, NULL, error));
	assert_ok(gh_event_seconds(&seconds, begin, end, error));
	ck_assert_double_ge(seconds, 0.0);
	ck_assert_double_lt(seconds, 60.0);
	assert_fails(GH_EINVAL, "two devices", gh_event_seconds(&seconds, begin, foreign, error));
	assert_fails(GH_EINVAL, "event", gh_event_record(NULL, NULL, error));
	gh_event_free(begin);
	gh_event_free(end);
	gh_event_free(foreign);
	gh_event_free(NULL);
	gh_device_close(device);
	gh_device_close(other);
}
END_TEST

START_TEST(measures_memory)
{
	gh_device *device = open_cpu(2);
	gh_device_rates rates = { 0 };

	assert_ok(gh_device_measure(&rates, device, 1000000, error));
	ck_assert_int_ge(rates.bytes, 1000000);
	ck_assert_double_gt(rates.read, 0.0);
	ck_assert_double_gt(rates.copy, 0.0);
	assert_fails(GH_EINVAL, "bytes: -1", gh_device_measure(&rates, device, -1, error));
	gh_device_close(device);
}
END_TEST

/* ---- read ---- */

START_TEST(reads_every_word)
{
	static const size_t sizes[] = { 0, 1, 7, 8, 9, 65535, 65536, 65537, 200003 };

	for (size_t s = 0; s < COUNT(sizes); s++) {
		gh__device *device = device_open(3, 0);
		gh__op_desc desc = { .kind = GH__OP_READ };
		gh__kernel *kernel = device_prepare(device, &desc);
		uint64_t *x = device_alloc(device, sizes[s] * 16), sum[2] = { 5, 6 };
		uint64_t expected[2] = { 5, 6 }, state = s;
		gh__op_args args = { .read = { x, sizes[s] * 16, sum } };

		for (size_t i = 0; i < 2 * sizes[s]; i++) {
			x[i] = random_next(&state);
			expected[i % 2] += x[i];
		}
		device_run(device, kernel, &args);
		ck_assert_uint_eq(sum[0], expected[0]);
		ck_assert_uint_eq(sum[1], expected[1]);
		device->table->release(device->self, x);
		gh__device_kernel_free(device, kernel);
		gh__device_close(device);
	}
}
END_TEST

/* ---- quantise, and linear of what it made ---- */

enum { M = 5 };

static void quantise(gh__device *device, gh_dtype act, const void *x, int64_t n, uint8_t *y,
		     int64_t stride, float *scale)
{
	gh__op_desc desc = { .kind = GH__OP_QUANTISE, .quantise = { act, n } };
	gh__kernel *kernel = device_prepare(device, &desc);
	gh__op_args args = { .quantise = { x, n, y, stride, scale, M } };

	device_run(device, kernel, &args);
	gh__device_kernel_free(device, kernel);
}

START_TEST(quantises_rows)
{
	static const gh_dtype acts[] = { GH_F32, GH_F16, GH_BF16 };
	static const int64_t sizes[] = { 1, 15, 16, 17, 129 };

	for (size_t c = 0; c < COUNT(acts) * COUNT(sizes); c++) {
		gh_dtype act = acts[c % COUNT(acts)];
		int64_t n = sizes[c / COUNT(acts)], padded = (n + 15) / 16 * 16;
		int64_t stride = padded + 16;
		uint64_t state = c;
		void *x = random_numbers(act, M * n, 9, &state);

		for (int d = 0; d < DEVICE_CASES; d++) {
			gh__device *device =
				device_open(device_cases[d].threads, device_cases[d].flags);
			uint8_t *y = poisoned(GH_E4M3, M * stride), expected[256];
			float scale[M] = { 0 }, one;

			quantise(device, act, x, n, y, stride, scale);
			for (int64_t i = 0; i < M; i++) {
				gh__quantise_row(expected,
						 (char *)x + (size_t)(i * n) * size_of(act), act,
						 (size_t)n, &one);
				ck_assert_float_eq(scale[i], one);
				ck_assert_mem_eq(y + i * stride, expected, (size_t)n);
				for (int64_t j = n; j < padded; j++)
					ck_assert_uint_eq(y[i * stride + j], 0);
				ck_assert(is_poison(GH_E4M3, y, i * stride + padded));
			}
			gh__free(y);
			gh__device_close(device);
		}
		gh__free(x);
	}
}
END_TEST

typedef struct product {
	gh__linear_desc desc;
	const void *x, *w, *bias;
	const float *x_scale, *w_scale;
	int64_t x_stride;
} product;

/* y [M, n]; caller frees. */
static void *multiply(gh__device *device, const product *p)
{
	gh__op_desc desc = { .kind = GH__OP_LINEAR, .linear = p->desc };
	gh__kernel *kernel = device_prepare(device, &desc);
	void *packed = device_alloc(device, device->table->packed_size(device->self, kernel));
	void *workspace = device_alloc(device, device->table->workspace(device->self, kernel, M));
	void *y = gh__calloc((size_t)(M * p->desc.n), 4);
	gh__op_args args = { .linear = { .x = p->x,
					 .x_stride = p->x_stride,
					 .w = packed,
					 .w_scale = p->w_scale,
					 .x_scale = p->x_scale,
					 .bias = p->bias,
					 .y = y,
					 .y_stride = p->desc.n,
					 .workspace = workspace,
					 .m = M } };

	assert_ok(device->table->pack(device->self, kernel, packed, p->w, 0, p->desc.n, error));
	device_run(device, kernel, &args);
	device->table->release(device->self, packed);
	device->table->release(device->self, workspace);
	gh__device_kernel_free(device, kernel);
	return y;
}

/* The prologue, and QUANTISE before: the same bits. */
static void check_product(gh__device *device, gh_dtype act, int64_t n, int64_t k, bool bias,
			  gh__epilogue epilogue)
{
	int64_t stride = (k + 15) / 16 * 16;
	uint64_t state = (uint64_t)(n * k);
	void *x = random_numbers(act, M * k, 3, &state),
	     *w = random_numbers(GH_E4M3, n * k, 400, &state);
	void *add = random_numbers(act, n, 1, &state);
	float *scale = random_numbers(GH_F32, n, 0.01, &state), row[M];
	uint8_t *q = poisoned(GH_E4M3, M * stride);
	product p = { .desc = { .weight = GH_E4M3,
				.act = act,
				.out = act,
				.prologue = GH__PROLOGUE_QUANTISE,
				.epilogue = epilogue,
				.bias = bias,
				.n = n,
				.k = k },
		      .x = x,
		      .w = w,
		      .bias = add,
		      .w_scale = scale,
		      .x_stride = k };
	void *fused = multiply(device, &p), *parts;

	quantise(device, act, x, k, q, stride, row);
	p.desc.act = GH_E4M3;
	p.desc.prologue = GH__PROLOGUE_NONE;
	p.x = q;
	p.x_stride = stride;
	p.x_scale = row;
	parts = multiply(device, &p);
	ck_assert_mem_eq(fused, parts, (size_t)(M * n) * 4);
	gh__free(x);
	gh__free(w);
	gh__free(add);
	gh__free(scale);
	gh__free(q);
	gh__free(fused);
	gh__free(parts);
}

START_TEST(multiplies_quantised_rows)
{
	static const gh_dtype acts[] = { GH_F32, GH_F16, GH_BF16 };
	static const int64_t k[] = { 1, 127, 128, 130, 300 };

	for (int d = 0; d < DEVICE_CASES; d++) {
		gh__device *device = device_open(device_cases[d].threads, device_cases[d].flags);

		for (size_t a = 0; a < COUNT(acts); a++) {
			for (size_t i = 0; i < COUNT(k); i++) {
				check_product(device, acts[a], 37, k[i], false, GH__EPILOGUE_NONE);
				check_product(device, acts[a], 32, k[i], true, GH__EPILOGUE_NONE);
				check_product(device, acts[a], 70, k[i], false,
					      GH__EPILOGUE_SWIGLU);
			}
		}
		gh__device_close(device);
	}
}
END_TEST

START_TEST(refuses_what_is_quantised_twice)
{
	gh__device *device = device_open(1, 0);
	gh__kernel *kernel = NULL;
	gh__op_desc desc = {
		.kind = GH__OP_LINEAR,
		.linear = { .weight = GH_F16, .act = GH_E4M3, .out = GH_F16, .n = 4, .k = 4 }
	};

	assert_fails(GH_EINVAL, "act", gh__device_prepare(device, &desc, &kernel, error));
	desc.linear.weight = GH_E4M3;
	desc.linear.prologue = GH__PROLOGUE_QUANTISE;
	assert_fails(GH_EINVAL, "already", gh__device_prepare(device, &desc, &kernel, error));
	desc.kind = GH__OP_QUANTISE;
	desc.quantise = (gh__quantise_desc){ GH_E4M3, 4 };
	assert_fails(GH_EINVAL, "quantise act", gh__device_prepare(device, &desc, &kernel, error));
	gh__device_close(device);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("device_handle");
	TCase *tcase = tcase_create("device_handle");

	suite_add_tcase(suite, tcase);
	tcase_add_test(tcase, moves_memory);
	tcase_add_test(tcase, refuses_what_is_no_device);
	tcase_add_test(tcase, takes_times);
	tcase_add_test(tcase, measures_memory);
	tcase_add_test(tcase, reads_every_word);
	tcase_add_test(tcase, quantises_rows);
	tcase_add_test(tcase, multiplies_quantised_rows);
	tcase_add_test(tcase, refuses_what_is_quantised_twice);
	return unit_main(suite);
}
