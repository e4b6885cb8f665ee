#include "device.h"

#include "device/quantise.h"

static const gh_dtype acts[] = { GH_F32, GH_F16, GH_BF16 };

/* ---- devices ---- */

START_TEST(opens_and_tells)
{
	gh_device_options options = GH_DEVICE_OPTIONS_INIT;
	gh_device_info info;
	gh__device *device = NULL;

	assert_ok(gh_device_info_get(&info, NULL, error));
	ck_assert_str_eq(info.kind, "cpu");
	ck_assert_int_ge(info.threads, 1);
	ck_assert_int_gt(info.memory, 1 << 20);
	ck_assert_int_gt(strlen(info.name), 0);
	options.threads = 3;
	options.flags = GH_DEVICE_SCALAR;
	assert_ok(gh_device_info_get(&info, &options, error));
	ck_assert_int_eq(info.threads, 3);
	ck_assert_int_eq(info.vector, 0);
	assert_ok(gh__device_open(&device, NULL, error));
	ck_assert_str_eq(device->table->kind, "cpu");
	ck_assert_uint_eq(device->table->abi, GH__DEVICE_ABI);
	ck_assert_int_eq(device->memory_total, info.memory);
	gh__device_close(device);
	gh__device_close(NULL);
}
END_TEST

START_TEST(refuses_what_is_not_there)
{
	gh_device_options options = GH_DEVICE_OPTIONS_INIT;
	gh_device_info info;

	options.kind = "abacus";
	assert_fails(GH_ENODEVICE, "\"abacus\"", gh_device_info_get(&info, &options, error));
	assert_fails(GH_ENODEVICE, "\"cpu\"", gh_device_info_get(&info, &options, error));
	options.kind = "cpu";
	options.index = 1;
	assert_fails(GH_ENODEVICE, "index: 1", gh_device_info_get(&info, &options, error));
	options.index = 0;
	options.threads = -1;
	assert_fails(GH_EINVAL, "threads: -1", gh_device_info_get(&info, &options, error));
	options.threads = 1025;
	assert_fails(GH_EINVAL, "threads: 1025", gh_device_info_get(&info, &options, error));
	options.threads = 0;
	options.flags = 10;
	assert_fails(GH_EINVAL, "flags: 0xa", gh_device_info_get(&info, &options, error));
	options.flags = 0;
	options.reserved = 1;
	assert_fails(GH_EINVAL, "reserved", gh_device_info_get(&info, &options, error));
	options.reserved = 0;
	options.struct_size = 0;
	ck_assert_int_eq(gh_device_info_get(&info, &options, NULL), GH_EINVAL);
	ck_assert_int_eq(gh_device_info_get(NULL, NULL, NULL), GH_EINVAL);
}
END_TEST

START_TEST(checks_descriptors)
{
	gh__device *device = device_open(1, 0);
	gh__kernel *kernel = NULL;
	gh__op_desc desc;

	memset(&desc, 0, sizeof desc);
	assert_fails(GH_ENOTSUP, "operation: 0", gh__device_prepare(device, &desc, &kernel, error));
	desc.kind = GH__OP_LINEAR;
	desc.linear = (gh__linear_desc){
		.weight = GH_BF16, .act = GH_BF16, .out = GH_BF16, .n = 4, .k = 0
	};
	assert_fails(GH_EINVAL, "linear k: 0", gh__device_prepare(device, &desc, &kernel, error));
	desc.linear.k = INT64_MAX;
	assert_fails(GH_EINVAL, "linear k", gh__device_prepare(device, &desc, &kernel, error));
	desc.linear.k = 4;
	desc.linear.weight = GH_F64;
	assert_fails(GH_EINVAL, "weight", gh__device_prepare(device, &desc, &kernel, error));
	desc.linear.weight = GH_F16;
	desc.linear.prologue = GH__PROLOGUE_QUANTISE;
	assert_fails(GH_EINVAL, "QUANTISE", gh__device_prepare(device, &desc, &kernel, error));
	desc.kind = GH__OP_ATTENTION;
	desc.attention = (gh__attention_desc){
		.act = GH_F16, .softmax = GH__SOFTMAX_ROW, .source = GH__KV_PAGED, .causal = true
	};
	assert_fails(GH_ENOTSUP, "attention", gh__device_prepare(device, &desc, &kernel, error));
	desc.attention = (gh__attention_desc){ .act = GH_F16,
					       .softmax = GH__SOFTMAX_ONLINE,
					       .source = GH__KV_PAGED,
					       .causal = true,
					       .heads = 8,
					       .group = 2,
					       .kv = { GH_F16, 3, 64, 16 } };
	assert_fails(GH_EINVAL, "kv heads", gh__device_prepare(device, &desc, &kernel, error));
	desc.kind = GH__OP_SAMPLE;
	desc.sample = (gh__sample_desc){ GH_F16, -1 };
	assert_fails(GH_EINVAL, "vocab: -1", gh__device_prepare(device, &desc, &kernel, error));
	ck_assert_ptr_null(kernel);
	gh__device_kernel_free(device, NULL);
	gh__device_close(device);
}
END_TEST

START_TEST(memory_is_zeroed_and_aligned)
{
	gh__device *device = device_open(1, 0);
	static const size_t sizes[] = { 0, 1, 255, 4097, 5 << 20 };
	gh_error error = GH_ERROR_INIT;

	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		unsigned char *p = device_alloc(device, sizes[i]);

		ck_assert_uint_eq((uintptr_t)p % 256, 0);
		for (size_t j = 0; j < sizes[i]; j++)
			ck_assert_uint_eq(p[j], 0);
		device->table->release(device->self, p);
	}
	device->table->release(device->self, NULL);
	ck_assert_ptr_null(device->table->alloc(device->self, SIZE_MAX - 5, &error));
	ck_assert_int_eq(error.status, GH_ENOMEM);
	gh__device_close(device);
}
END_TEST

/* ---- narrow numbers ---- */

/* Nearest e4m3 value by search among all of them: ties to the even code. */
static uint8_t nearest_e4m3(double x)
{
	int best = 0;

	if (isnan(x))
		return 0x7f;
	if (fabs(x) > 448.0)
		x = copysign(448.0, x);
	for (int code = 0; code < 0x7f; code++) {
		double here = code < 8 ? code * 0x1p-9
				       : (1.0 + (code & 7) / 8.0) * ldexp(1.0, (code >> 3) - 7);
		double there = best < 8 ? best * 0x1p-9
					: (1.0 + (best & 7) / 8.0) * ldexp(1.0, (best >> 3) - 7);
		double d = fabs(fabs(x) - here), e = fabs(fabs(x) - there);

		if (d < e || (d == e && code % 2 == 0))
			best = code;
	}
	return (uint8_t)(best | (signbit(x) ? 0x80 : 0));
}

START_TEST(e4m3_of_every_f16)
{
	static const struct {
		float x;
		uint8_t code;
	} known[] = { { 0.0F, 0x00 },     { 1.0F, 0x38 },  { 448.0F, 0x7e }, { 449.0F, 0x7e },
		      { 1e9F, 0x7e },     { 0x1p-10F, 0 }, { 0x1.8p-9F, 2 }, { 17.0F, 0x58 },
		      { 19.0F, 0x5a },    { NAN, 0x7f },   { -0.0F, 0x80 },  { 0x1p-9F, 0x01 },
		      { INFINITY, 0x7e }, { -1e9F, 0xfe }, { 0x1p-6F, 0x08 } };
	uint16_t *all = gh__malloc(65536 * sizeof *all);
	uint8_t *codes = gh__malloc(65536);
	static const float scales[] = { 1.0F, 0.37F, 100.0F, 3e-5F };

	for (size_t i = 0; i < sizeof known / sizeof *known; i++)
		ck_assert_uint_eq(gh__f32_to_e4m3(known[i].x), known[i].code);
	for (int i = 0; i < 65536; i++)
		all[i] = (uint16_t)i;
	for (size_t s = 0; s < sizeof scales / sizeof *scales; s++) {
		float inverse = 1.0F / scales[s];

		gh__quantise_weight(codes, all, GH_F16, 65536, scales[s]);
		for (int i = 0; i < 65536; i++) {
			float x = gh__f16_to_f32((uint16_t)i) * inverse;

			ck_assert_uint_eq(codes[i], nearest_e4m3(x));
			ck_assert_uint_eq(codes[i], gh__f32_to_e4m3(x));
		}
	}
	gh__convert(codes, GH_E4M3, all, GH_F16, 65536);
	for (int i = 0; i < 65536; i++)
		ck_assert_uint_eq(codes[i], nearest_e4m3(gh__f16_to_f32((uint16_t)i)));
	gh__quantise_weight(codes, all, GH_F16, 16, 0.0F);
	ck_assert_uint_eq(codes[15], 0);
	gh__free(all);
	gh__free(codes);
}
END_TEST

/* A row with every finite f16 of one sign and its scale: the division differs from the
 * reciprocal. */
START_TEST(activations_divide)
{
	enum { N = 0x7c00 };
	static const float most[] = { 448 * 41.0F, 448 * 47.0F, 448 * 83.0F, 3.0F, 0.3F, 1e-4F };
	float *row = gh__malloc(N * sizeof *row);
	uint8_t *codes = gh__malloc(N), *other = gh__malloc(N);
	int differ = 0;

	for (size_t m = 0; m < sizeof most / sizeof *most; m++) {
		float scale, expected;

		for (int i = 0; i < N; i++) {
			float x = gh__f16_to_f32((uint16_t)i);

			row[i] = x > most[m] ? -most[m] : x;
		}
		gh__quantise_row(codes, row, GH_F32, N, &scale);
		expected = fmaxf(most[m] / 448.0F, 1.0F / (448.0F * 512.0F));
		ck_assert_float_eq(scale, expected);
		ck_assert_float_eq(gh__absmax(row, GH_F32, N), most[m]);
		gh__quantise_weight(other, row, GH_F32, N, scale);
		for (int i = 0; i < N; i++) {
			ck_assert_uint_eq(codes[i], nearest_e4m3(row[i] / scale));
			differ += codes[i] != other[i];
		}
	}
	ck_assert_int_gt(differ, 0);
	ck_assert_float_eq(gh__absmax(row, GH_F32, 0), 0.0F);
	row[5] = NAN;
	ck_assert(isnan(gh__absmax(row, GH_F32, 9)));
	gh__free(row);
	gh__free(codes);
	gh__free(other);
}
END_TEST

/* Nearest narrow value of a double, by arithmetic on doubles. */
static double nearest(double x, int bits, int lowest)
{
	int exponent;
	double unit;

	if (x == 0.0 || !isfinite(x))
		return x;
	(void)frexp(x, &exponent);
	exponent -= bits;
	if (exponent < lowest)
		exponent = lowest;
	unit = ldexp(1.0, exponent);
	return nearbyint(x / unit) * unit;
}

START_TEST(conversions_round_to_nearest_even)
{
	enum { N = 70001 };
	float *x = gh__malloc(N * sizeof *x);
	uint16_t *half = gh__malloc(N * sizeof *half), *brain = gh__malloc(N * sizeof *brain);
	float *back = gh__malloc(N * sizeof *back);
	uint64_t state = 1;

	for (int i = 0; i < N; i++) {
		uint32_t bits = (uint32_t)random_next(&state);

		if (i % 3 == 0) /* ties and neighbours of f16 and bf16 */
			bits = (bits & 0xffff0000) | (uint32_t[]){ 0x8000, 0x7fff, 0x8001,
								   0x1000, 0x0fff, 0x3000 }[i % 6];
		if (i % 2 == 0) /* exponents around f16's range */
			bits = (bits & 0x807fffff) | (uint32_t)(100 + i % 48) << 23;
		x[i] = gh__f32_of(bits);
	}
	x[0] = 65519.996F, x[1] = 65520.0F, x[2] = 0x1p-25F, x[3] = 0x1.000002p-25F, x[4] = -0.0F;
	gh__convert(half, GH_F16, x, GH_F32, N);
	gh__convert(brain, GH_BF16, x, GH_F32, N);
	for (int i = 0; i < N; i++) {
		double f16 = nearest(x[i], 11, -24), bf16 = nearest(x[i], 8, -133);

		ck_assert_uint_eq(half[i], gh__f32_to_f16(x[i]));
		ck_assert_uint_eq(brain[i], gh__f32_to_bf16(x[i]));
		if (isnan(x[i])) {
			ck_assert(isnan(gh__f16_to_f32(half[i])));
			ck_assert(isnan(gh__bf16_to_f32(brain[i])));
			continue;
		}
		if (fabs(f16) > 65504.0)
			f16 = copysign(INFINITY, f16);
		ck_assert_double_eq(gh__f16_to_f32(half[i]), f16);
		ck_assert_double_eq(gh__bf16_to_f32(brain[i]), (double)(float)bf16);
		ck_assert_int_eq(signbit(x[i]) != 0, half[i] >> 15);
	}
	gh__convert(back, GH_F32, half, GH_F16, N);
	for (int i = 0; i < N; i++)
		ck_assert_uint_eq(gh__f32_bits(back[i]), gh__f32_bits(gh__f16_to_f32(half[i])));
	gh__convert(half, GH_F16, brain, GH_BF16, N);
	for (int i = 0; i < N; i++)
		ck_assert_uint_eq(half[i], gh__f32_to_f16(gh__bf16_to_f32(brain[i])));
	gh__free(x);
	gh__free(half);
	gh__free(brain);
	gh__free(back);
}
END_TEST

/* ---- rows ---- */

START_TEST(embeds_and_selects)
{
	static const int32_t id[] = { 12, 9, 10, 19, 20, -1, 2000000000, 10 };
	static const int32_t pick[] = { 3, 3, 0 };
	enum { M = sizeof id / sizeof *id, FIRST = 10, ROWS = 10 };
	gh__device *device = device_open(2, 0);

	for (int a = 0; a < 3; a++) {
		for (int64_t n = 1; n < 40; n += 19) {
			gh__op_desc desc = { .kind = GH__OP_EMBED, .embed = { acts[a], n } };
			gh__op_desc select = { .kind = GH__OP_SELECT, .select = { acts[a], n } };
			gh__kernel *kernel = device_prepare(device, &desc);
			gh__kernel *chooser = device_prepare(device, &select);
			uint64_t state = 7;
			void *table = random_numbers(acts[a], ROWS * n, 1, &state);
			void *y = poisoned(acts[a], M * n), *z = poisoned(acts[a], 3 * n);
			gh__op_args args = { .embed = { table, FIRST, ROWS, id, y, M } };
			gh__op_args rows = { .select = { table, n, pick, z, 3 } };

			device_run(device, kernel, &args);
			for (int64_t i = 0; i < M * n; i++) {
				int64_t row = (int64_t)id[i / n] - FIRST;
				float expected = row >= 0 && row < ROWS
							 ? get(acts[a], table, row * n + i % n)
							 : 0.0F;

				ck_assert_float_eq(get(acts[a], y, i), expected);
			}
			device_run(device, chooser, &rows);
			for (int64_t i = 0; i < 3 * n; i++)
				ck_assert_float_eq(get(acts[a], z, i),
						   get(acts[a], table, pick[i / n] * n + i % n));
			args.embed.m = rows.select.m = 0;
			device_run(device, kernel, &args);
			device_run(device, chooser, &rows);
			gh__device_kernel_free(device, kernel);
			gh__device_kernel_free(device, chooser);
			gh__free(table);
			gh__free(y);
			gh__free(z);
		}
	}
	gh__device_close(device);
}
END_TEST

/* |x - expected| within a few last places of the dtype (and of f32 sums). */
static void assert_near(gh_dtype dtype, float x, double expected, double slack)
{
	double last = dtype == GH_F32 ? 0x1p-22 : dtype == GH_F16 ? 0x1p-10 : 0x1p-7;

	ck_assert_msg(fabs(x - expected) <= fabs(expected) * last * slack + 1e-7 * slack,
		      "%.9g is not near %.17g", x, expected);
}

START_TEST(normalises)
{
	static const int64_t sizes[] = { 1, 7, 8, 31, 32, 33, 64, 576, 1001 };
	enum { M = 5, GROUPS = 3, GAP = 5 };

	for (int c = 0; c < 3 * 2 * 9; c++) {
		gh_dtype act = acts[c % 3];
		bool residual = c / 3 % 2;
		int64_t n = sizes[c / 6], groups = residual ? 1 : GROUPS;
		int64_t stride = groups * n + GAP;
		uint64_t state = 3;
		void *x = random_numbers(act, M * stride, 4, &state);
		void *rest = random_numbers(act, M * n, 4, &state);
		void *weight = random_numbers(act, n, 2, &state);
		void *first = NULL;

		for (int d = 0; d < DEVICE_CASES; d++) {
			gh__device *device =
				device_open(device_cases[d].threads, device_cases[d].flags);
			gh__op_desc desc = { .kind = GH__OP_NORM,
					     .norm = { act, GH__NORM_ROUND_TWICE, residual, n,
						       1e-5F } };
			gh__kernel *kernel = device_prepare(device, &desc);
			void *y = poisoned(act, M * stride);
			void *r = gh__memdup(rest, (size_t)(M * n) * size_of(act));
			gh__op_args args = { .norm = { .x = x,
						       .x_stride = stride,
						       .groups = groups,
						       .residual = r,
						       .weight = weight,
						       .y = y,
						       .y_stride = stride,
						       .m = M } };

			device_run(device, kernel, &args);
			for (int64_t v = 0; v < M * groups; v++) {
				int64_t at = v / groups * stride + v % groups * n;
				double sum = 0, s;

				for (int64_t i = 0; i < n; i++) {
					double e = get(act, x, at + i);

					if (residual) {
						e = rounded(act,
							    (float)e + get(act, rest, v * n + i));
						ck_assert_float_eq(get(act, r, v * n + i),
								   (float)e);
					}
					sum += e * e;
				}
				s = 1.0 / sqrt(sum / (double)n + 1e-5F);
				for (int64_t i = 0; i < n; i++) {
					double e = residual ? get(act, r, v * n + i)
							    : get(act, x, at + i);

					e = rounded(act, (float)(e * s));
					assert_near(act, get(act, y, at + i),
						    e * get(act, weight, i), 3);
				}
			}
			for (int64_t i = 0; i < M * GAP; i++)
				ck_assert(
					is_poison(act, y, i / GAP * stride + groups * n + i % GAP));
			if (!first)
				first = gh__memdup(y, (size_t)(M * stride) * size_of(act));
			ck_assert_mem_eq(first, y, (size_t)(M * stride) * size_of(act));
			memcpy(y, x, (size_t)(M * stride) * size_of(act)); /* in place */
			args.norm.x = y;
			memcpy(r, rest, (size_t)(M * n) * size_of(act));
			device_run(device, kernel, &args);
			for (int64_t i = 0; i < M; i++)
				ck_assert_mem_eq((char *)first +
							 (size_t)(i * stride) * size_of(act),
						 (char *)y + (size_t)(i * stride) * size_of(act),
						 (size_t)(groups * n) * size_of(act));
			gh__free(y);
			gh__free(r);
			gh__device_kernel_free(device, kernel);
			gh__device_close(device);
		}
		gh__free(x);
		gh__free(rest);
		gh__free(weight);
		gh__free(first);
	}
}
END_TEST

START_TEST(gates)
{
	static const int64_t sizes[] = { 1, 7, 8, 9, 96, 1537 };
	enum { M = 3, GAP = 3 };

	for (int c = 0; c < 3 * 6; c++) {
		gh_dtype act = acts[c % 3];
		int64_t n = sizes[c / 3], stride = 2 * n + GAP, y_stride = n + 1;
		uint64_t state = 3;
		void *x = random_numbers(act, M * stride, 40, &state);
		void *first = NULL;

		put(act, x, 0, -200.0F);
		put(act, x, stride, INFINITY);
		for (int d = 0; d < DEVICE_CASES; d++) {
			gh__device *device =
				device_open(device_cases[d].threads, device_cases[d].flags);
			gh__op_desc desc = { .kind = GH__OP_GLU, .glu = { act, n } };
			gh__kernel *kernel = device_prepare(device, &desc);
			void *y = poisoned(act, M * y_stride);
			gh__op_args args = { .glu = { x, stride, y, y_stride, M } };

			device_run(device, kernel, &args);
			for (int64_t i = 0; i < M * n; i++) {
				int64_t at = i / n * stride + i % n;
				double g = get(act, x, at);
				double s = rounded(act, (float)(g / (1 + exp(-g))));

				if (!isfinite(s))
					continue;
				assert_near(act, get(act, y, i / n * y_stride + i % n),
					    s * get(act, x, at + n), 3);
			}
			ck_assert(is_poison(act, y, n));
			if (!first)
				first = gh__memdup(y, (size_t)(M * y_stride) * size_of(act));
			ck_assert_mem_eq(first, y, (size_t)(M * y_stride) * size_of(act));
			gh__free(y);
			gh__device_kernel_free(device, kernel);
			gh__device_close(device);
		}
		gh__free(x);
		gh__free(first);
	}
}
END_TEST

/* ---- rotary embedding and the cache ---- */

static void check_rope(gh_dtype act, gh_dtype kv, gh__rope_pairing pairing,
		       gh__rope_rounding rounding, int32_t dim)
{
	enum { M = 5, HEADS = 3, KV = 2, BLOCK = 4, BLOCKS = 3, POSITIONS = 9 };
	static const int32_t position[M] = { 0, 8, 3, 3, 1 };
	static const int64_t slot[M] = { 2, 11, 4, -1, 0 };
	const float scale[2] = { 0.25F, 0.3F };
	const gh_dtype product = rounding == GH__ROPE_ROUND_ONCE ? GH_F32 : act;
	int64_t width = (HEADS + 2 * KV) * dim, stride = width + 3;
	int64_t cells = BLOCKS * 2 * KV * BLOCK * dim;
	uint64_t state = 5;
	void *x = random_numbers(act, M * stride, 3, &state);
	void *table = random_numbers(act, POSITIONS * dim, 1, &state);
	void *first = NULL, *first_cache = NULL;

	for (int d = 0; d < DEVICE_CASES; d++) {
		gh__device *device = device_open(device_cases[d].threads, device_cases[d].flags);
		gh__op_desc desc = {
			.kind = GH__OP_ROPE,
			.rope = { act, pairing, rounding, HEADS, { kv, KV, dim, BLOCK } }
		};
		gh__kernel *kernel = device_prepare(device, &desc);
		void *y = gh__memdup(x, (size_t)(M * stride) * size_of(act));
		void *cache = poisoned(kv, cells);
		gh__op_args args = { .rope = { y, stride, table, position, slot, cache, scale[0],
					       scale[1], M } };

		device_run(device, kernel, &args);
		for (int64_t i = 0; i < M * width; i++) {
			int64_t row = i / width, column = i % width, head = column / dim;
			int64_t e = column % dim, half = dim / 2;
			bool second = pairing == GH__ROPE_HALF ? e >= half : e % 2;
			int64_t pair = pairing == GH__ROPE_HALF ? e % half : e / 2;
			int64_t mate = pairing == GH__ROPE_HALF ? (e + half) % dim : e ^ 1;
			float a = get(act, x, row * stride + column);
			float b = get(act, x, row * stride + head * dim + mate);
			float c = get(act, table, position[row] * (int64_t)dim + pair);
			float s = get(act, table, position[row] * (int64_t)dim + half + pair);
			float expected = a;

			if (head < HEADS + KV)
				expected = rounded(act, second ? rounded(product, a * c) +
									 rounded(product, b * s)
							       : rounded(product, a * c) -
									 rounded(product, b * s));
			ck_assert_uint_eq(gh__f32_bits(get(act, y, row * stride + column)),
					  gh__f32_bits(expected));
			if (head < HEADS || slot[row] < 0 || kv == GH_DTYPE_NONE)
				continue;
			head -= HEADS;
			if (kv == GH_E4M3)
				expected /= scale[head / KV];
			e += (((slot[row] / BLOCK * 2 + head / KV) * KV + head % KV) * BLOCK +
			      slot[row] % BLOCK) *
			     dim;
			ck_assert_uint_eq(gh__f32_bits(get(kv, cache, e)),
					  gh__f32_bits(rounded(kv, expected)));
		}
		for (int64_t i = 0; i < M * 3; i++) /* between the rows */
			ck_assert_float_eq(get(act, y, i / 3 * stride + width + i % 3),
					   get(act, x, i / 3 * stride + width + i % 3));
		if (!first) {
			first = gh__memdup(y, (size_t)(M * stride) * size_of(act));
			first_cache = gh__memdup(cache, (size_t)cells * size_of(kv));
		}
		ck_assert_mem_eq(first, y, (size_t)(M * stride) * size_of(act));
		ck_assert_mem_eq(first_cache, cache, (size_t)cells * size_of(kv));
		gh__free(y);
		gh__free(cache);
		gh__device_kernel_free(device, kernel);
		gh__device_close(device);
	}
	gh__free(x);
	gh__free(table);
	gh__free(first);
	gh__free(first_cache);
}

START_TEST(rotates_and_writes_the_cache)
{
	static const gh_dtype kvs[] = { GH_DTYPE_NONE, GH_F32, GH_F16, GH_BF16, GH_E4M3 };
	static const int32_t dims[] = { 2, 8, 10, 32, 128 };

	for (int a = 0; a < 3; a++) {
		for (int kv = 0; kv < 5; kv++) {
			for (int i = 0; i < 5; i++) {
				check_rope(acts[a], kvs[kv], GH__ROPE_HALF, GH__ROPE_ROUND_PRODUCTS,
					   dims[i]);
				check_rope(acts[a], kvs[kv], GH__ROPE_INTERLEAVED,
					   GH__ROPE_ROUND_ONCE, dims[i]);
			}
		}
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("device");
	TCase *tcase = tcase_create("device");

	suite_add_tcase(suite, tcase);
	tcase_add_test(tcase, opens_and_tells);
	tcase_add_test(tcase, refuses_what_is_not_there);
	tcase_add_test(tcase, checks_descriptors);
	tcase_add_test(tcase, memory_is_zeroed_and_aligned);
	tcase_add_test(tcase, e4m3_of_every_f16);
	tcase_add_test(tcase, activations_divide);
	tcase_add_test(tcase, conversions_round_to_nearest_even);
	tcase_add_test(tcase, embeds_and_selects);
	tcase_add_test(tcase, normalises);
	tcase_add_test(tcase, gates);
	tcase_add_test(tcase, rotates_and_writes_the_cache);
	return unit_main(suite);
}
