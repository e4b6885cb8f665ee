#include "pair.h"

/*
 * linear on the GPU: bit for bit the CPU's, which forms products as tensor cores do; whatever the
 * number of rows, and wherever they lie.
 */
enum { ROWS = 300, SCALE_AT = 128 };

typedef struct pair_type {
	gh_dtype weight, act;
	gh__prologue prologue;
} pair_type;

static const pair_type types[] = {
	{ GH_F16, GH_F16, GH__PROLOGUE_NONE },      { GH_BF16, GH_BF16, GH__PROLOGUE_NONE },
	{ GH_E4M3, GH_F16, GH__PROLOGUE_NONE },     { GH_E4M3, GH_BF16, GH__PROLOGUE_NONE },
	{ GH_E4M3, GH_F16, GH__PROLOGUE_QUANTISE }, { GH_E4M3, GH_BF16, GH__PROLOGUE_QUANTISE },
	{ GH_E4M3, GH_F32, GH__PROLOGUE_QUANTISE }, { GH_F32, GH_F32, GH__PROLOGUE_NONE },
	{ GH_F16, GH_F32, GH__PROLOGUE_NONE },      { GH_BF16, GH_F32, GH__PROLOGUE_NONE },
	{ GH_E4M3, GH_F32, GH__PROLOGUE_NONE },     { GH_F32, GH_F16, GH__PROLOGUE_NONE },
	{ GH_BF16, GH_F16, GH__PROLOGUE_NONE },     { GH_F32, GH_BF16, GH__PROLOGUE_NONE },
	{ GH_F16, GH_BF16, GH__PROLOGUE_NONE },
};

/* The last two are enough for the largest tiles. */
static const int64_t shapes[][2] = {
	{ 1, 1 },     { 8, 8 },     { 24, 15 },    { 100, 16 },   { 129, 17 },
	{ 576, 31 },  { 1, 4096 },  { 24, 33 },    { 8, 64 },     { 100, 127 },
	{ 129, 128 }, { 64, 129 },  { 129, 576 },  { 100, 40 },   { 576, 1536 },
	{ 50, 4096 }, { 36, 1048 }, { 5700, 136 }, { 5634, 200 },
};

static const gh_dtype outs[] = { GH_F32, GH_F16, GH_BF16 };

/* One product's tensors. x and y have a gap behind every row, and may begin between two chunks. */
typedef struct product {
	gh__linear_desc desc;
	int64_t x_stride, y_stride;
	gh__kernel *kernels[DEVICES];
	void *w[DEVICES], *workspace[DEVICES];
	tensor x, shuffled, w_scale, bias, y;
} product;

static int64_t columns_of(const gh__linear_desc *desc)
{
	return desc->epilogue == GH__EPILOGUE_SWIGLU ? desc->n / 2 : desc->n;
}

/* Row `row` of the shuffled x is row shuffle(row) of x. */
static int64_t shuffle(int64_t row)
{
	return (row * 7 + 3) % ROWS;
}

/* Numbers whose blocks of 128 differ by up to 2^-8, with outliers; every fifth row is so small that
 * f16 has only subnormal numbers for it. */
static void *rows_of_x(const product *p, int64_t rows, uint64_t *state)
{
	gh_dtype act = p->desc.act;
	void *x = poisoned(act, rows * p->x_stride);

	for (int64_t i = 0; i < rows * p->x_stride; i++) {
		int64_t row = i / p->x_stride, k = i % p->x_stride;
		int down = (int)((row + k / SCALE_AT * 5) % 9) + (row % 5 == 3 ? 15 : 0);
		double v = random_unit(state);

		if (random_next(state) % 97 == 0)
			v *= 60;
		if (k < p->desc.k)
			put(act, x, i, (float)ldexp(v, -down));
	}
	return x;
}

static void shuffle_rows(const product *p, const void *x, void *to)
{
	size_t pitch = (size_t)p->x_stride * size_of(p->desc.act);

	for (int64_t row = 0; row < ROWS; row++)
		memcpy((char *)to + (size_t)row * pitch,
		       (const char *)x + (size_t)shuffle(row) * pitch, pitch);
}

static void *weights_of(const gh__linear_desc *desc, uint64_t *state)
{
	return random_numbers(desc->weight, desc->n * desc->k, desc->weight == GH_E4M3 ? 400 : 1,
			      state);
}

static void *pack_on(int d, const gh__kernel *kernel, const gh__linear_desc *desc, const void *w)
{
	gh__device *device = devices[d];
	void *packed = device_alloc(device, device->table->packed_size(device->self, kernel) + 1);

	/* In two parts, as a shard's rows may come. */
	assert_ok(device->table->pack(device->self, kernel, packed, w, 0, desc->n / 3, error));
	assert_ok(device->table->pack(device->self, kernel, packed,
				      (const char *)w + (size_t)(desc->n / 3 * desc->k) *
								size_of(desc->weight),
				      desc->n / 3, desc->n - desc->n / 3, error));
	assert_ok(device->table->synchronise(device->self, NULL, error));
	return packed;
}

static product product_of(const gh__linear_desc *desc, int64_t gap, size_t off, uint64_t *state)
{
	gh__op_desc op = { .kind = GH__OP_LINEAR, .linear = *desc };
	product p = { .desc = *desc, .x_stride = desc->k + gap };
	size_t size;
	void *x, *moved, *w = weights_of(desc, state);

	p.y_stride = columns_of(desc) + gap;
	size = (size_t)(ROWS * p.x_stride) * size_of(desc->act);
	x = rows_of_x(&p, ROWS, state);
	moved = poisoned(desc->act, ROWS * p.x_stride);
	shuffle_rows(&p, x, moved);
	p.x = tensor_at(x, size, off * size_of(desc->act));
	p.shuffled = tensor_at(moved, size, off * size_of(desc->act));
	p.y = tensor_at(NULL, (size_t)(ROWS * p.y_stride) * size_of(desc->out),
			off * size_of(desc->out));
	p.w_scale = tensor_random(GH_F32, desc->n, 0x1p-8, state);
	p.bias = tensor_random(desc->act, desc->n, 4, state);
	pair_prepare(p.kernels, &op);
	for (int d = 0; d < DEVICES; d++) {
		p.w[d] = pack_on(d, p.kernels[d], desc, w);
		p.workspace[d] =
			device_alloc(devices[d], devices[d]->table->workspace(devices[d]->self,
									      p.kernels[d], ROWS) +
							 1);
	}
	gh__free(x);
	gh__free(moved);
	gh__free(w);
	return p;
}

static void product_free(product *p)
{
	for (int d = 0; d < DEVICES; d++) {
		devices[d]->table->release(devices[d]->self, p->w[d]);
		devices[d]->table->release(devices[d]->self, p->workspace[d]);
	}
	pair_kernel_free(p->kernels);
	tensor_free(&p->x);
	tensor_free(&p->shuffled);
	tensor_free(&p->w_scale);
	tensor_free(&p->bias);
	tensor_free(&p->y);
}

static void product_run(const product *p, int d, const tensor *x, int64_t m)
{
	gh__op_args args[DEVICES];

	tensor_reset_on(&p->y, d);
	args[d].linear = (gh__linear_args){
		.x = x->at[d],
		.x_stride = p->x_stride,
		.w = p->w[d],
		.w_scale = p->desc.weight == GH_E4M3 ? p->w_scale.at[d] : NULL,
		.bias = p->desc.bias ? p->bias.at[d] : NULL,
		.y = p->y.at[d],
		.y_stride = p->y_stride,
		.workspace = p->workspace[d],
		.m = m,
	};
	pair_run_on(d, p->kernels, args);
}

/* What the GPU wrote is rows [0, m) of the CPU's y, or the shuffled ones, and nothing besides. */
static void assert_rows(const product *p, int64_t m, bool shuffled)
{
	size_t pitch = (size_t)p->y_stride * size_of(p->desc.out);
	size_t start = (size_t)((char *)p->y.at[CPU] - (char *)p->y.base[CPU]);
	unsigned char *expected = gh__malloc(p->y.whole), *got = gh__malloc(p->y.whole);
	gh__device *gpu = devices[GPU];
	size_t i = 0;

	ck_assert(expected != NULL && got != NULL);
	memcpy(expected, p->y.first, p->y.whole);
	for (int64_t row = 0; row < m; row++)
		memcpy(expected + start + (size_t)row * pitch,
		       (char *)p->y.at[CPU] + (size_t)(shuffled ? shuffle(row) : row) * pitch,
		       (size_t)columns_of(&p->desc) * size_of(p->desc.out));
	assert_ok(gpu->table->download(gpu->self, got, p->y.base[GPU], p->y.whole, NULL, error));
	assert_ok(gpu->table->synchronise(gpu->self, NULL, error));
	while (i < p->y.whole && got[i] == expected[i])
		i++;
	if (i < p->y.whole) {
		int64_t at = ((int64_t)i - (int64_t)start) / (int64_t)size_of(p->desc.out);

		ck_abort_msg("%s weights, %s%s to %s, n %d, k %d%s%s, m %d%s: row %d, column %d",
			     gh_dtype_name(p->desc.weight), gh_dtype_name(p->desc.act),
			     p->desc.prologue == GH__PROLOGUE_QUANTISE ? " quantised" : "",
			     gh_dtype_name(p->desc.out), (int)p->desc.n, (int)p->desc.k,
			     p->desc.bias ? ", bias" : "",
			     p->desc.epilogue == GH__EPILOGUE_SWIGLU ? ", SWIGLU" : "", (int)m,
			     shuffled ? " shuffled" : "", (int)(at / p->y_stride),
			     (int)(at % p->y_stride));
	}
	gh__free(expected);
	gh__free(got);
}

static void check_product(const gh__linear_desc *desc, int64_t gap, size_t off, uint64_t *state)
{
	static const int64_t counts[] = { 0,  1,  2,  7,   8,   9,   15,  16,  17,  32,
					  63, 64, 65, 127, 128, 129, 255, 256, ROWS };
	product p = product_of(desc, gap, off, state);

	product_run(&p, CPU, &p.x, ROWS);
	for (size_t i = 0; i < COUNT(counts); i++) {
		product_run(&p, GPU, &p.x, counts[i]);
		assert_rows(&p, counts[i], false);
	}
	product_run(&p, GPU, &p.shuffled, ROWS);
	assert_rows(&p, ROWS, true);
	product_run(&p, GPU, &p.shuffled, 5);
	assert_rows(&p, 5, true);
	product_free(&p);
}

START_TEST(equals_the_cpu)
{
	const pair_type *type = &types[_i];

	for (size_t s = 0; s < COUNT(shapes); s++) {
		uint64_t state = (uint64_t)_i * 100 + s + 1;
		gh__linear_desc desc = { .weight = type->weight,
					 .act = type->act,
					 .out = s % 2 ? type->act : outs[s / 2 % 3],
					 .prologue = type->prologue,
					 .bias = s % 3 == 0,
					 .n = shapes[s][0],
					 .k = shapes[s][1] };

		check_product(&desc,
			      s % 4 == 1   ? 3
			      : s % 4 == 2 ? 16
					   : 0,
			      s % 5 == 4 ? 1 : 0, &state);
		if (desc.n % 2 != 0)
			continue;
		desc.bias = false;
		desc.epilogue = GH__EPILOGUE_SWIGLU;
		check_product(&desc, s % 4 == 3 ? 5 : 0, 0, &state);
	}
}
END_TEST

/* ---- on the GPU alone ---- */

static void *gpu_of(const void *bytes, size_t size)
{
	gh__device *gpu = devices[GPU];
	void *memory = device_alloc(gpu, size);

	assert_ok(gpu->table->upload(gpu->self, memory, bytes, size, NULL, error));
	assert_ok(gpu->table->synchronise(gpu->self, NULL, error));
	return memory;
}

static void gpu_run(const gh__op_desc *desc, const gh__op_args *args)
{
	gh__kernel *kernel = device_prepare(devices[GPU], desc);

	device_run(devices[GPU], kernel, args);
	assert_ok(devices[GPU]->table->synchronise(devices[GPU]->self, NULL, error));
	gh__device_kernel_free(devices[GPU], kernel);
}

static char *gpu_bytes(const void *from, size_t size)
{
	gh__device *gpu = devices[GPU];
	char *bytes = gh__malloc(size);

	ck_assert_ptr_nonnull(bytes);
	assert_ok(gpu->table->download(gpu->self, bytes, from, size, NULL, error));
	assert_ok(gpu->table->synchronise(gpu->self, NULL, error));
	return bytes;
}

/* A product on the GPU: x, W and scales are there, y and the workspace are its own. */
typedef struct gpu_product {
	gh__op_desc desc;
	void *x, *w, *w_scale, *y, *workspace;
	int64_t m, columns;
	size_t y_size;
} gpu_product;

static gpu_product gpu_product_of(const gh__linear_desc *desc, const void *x, const void *w,
				  int64_t m, uint64_t *state)
{
	gh__device *gpu = devices[GPU];
	gpu_product p = { .desc = { .kind = GH__OP_LINEAR, .linear = *desc }, .m = m };
	gh__kernel *kernel = device_prepare(gpu, &p.desc);
	void *scale = random_numbers(GH_F32, desc->n, 0x1p-8, state);

	p.columns = columns_of(desc);
	p.y_size = (size_t)(m * p.columns) * size_of(desc->out);
	p.x = gpu_of(x, (size_t)(m * desc->k) * size_of(desc->act));
	p.w = pack_on(GPU, kernel, desc, w);
	p.w_scale = gpu_of(scale, (size_t)desc->n * sizeof(float));
	p.y = device_alloc(gpu, p.y_size);
	p.workspace = device_alloc(gpu, gpu->table->workspace(gpu->self, kernel, m) + 1);
	gh__device_kernel_free(gpu, kernel);
	gh__free(scale);
	return p;
}

static void gpu_product_free(gpu_product *p)
{
	void *all[] = { p->x, p->w, p->w_scale, p->y, p->workspace };

	for (size_t i = 0; i < COUNT(all); i++)
		devices[GPU]->table->release(devices[GPU]->self, all[i]);
}

/* Rows [first, first + count) of x; y begins at its own beginning. */
static void gpu_product_run(const gpu_product *p, int64_t first, int64_t count)
{
	const gh__linear_desc *desc = &p->desc.linear;
	gh__op_args args = { .linear = {
				     .x = (char *)p->x +
					  (size_t)(first * desc->k) * size_of(desc->act),
				     .x_stride = desc->k,
				     .w = p->w,
				     .w_scale = desc->weight == GH_E4M3 ? p->w_scale : NULL,
				     .y = p->y,
				     .y_stride = p->columns,
				     .workspace = p->workspace,
				     .m = count,
			     } };

	gpu_run(&p->desc, &args);
}

/* The rows of a large step are those of small ones. */
START_TEST(large_equals_small)
{
	enum { M = 8192, N = 9496, K = 3592 };
	static const int64_t parts[][2] = {
		{ 0, 1 },     { 1, 16 },   { 100, 17 },   { 1000, 64 },
		{ 4000, 65 }, { 8191, 1 }, { 7900, 292 }, { 2048, 1024 }
	};
	const pair_type *type = &types[_i];
	gh__linear_desc desc = { .weight = type->weight,
				 .act = type->act,
				 .out = type->act,
				 .prologue = type->prologue,
				 .epilogue = _i % 2 ? GH__EPILOGUE_SWIGLU : GH__EPILOGUE_NONE,
				 .n = N,
				 .k = K };
	product shape = { .desc = desc, .x_stride = K };
	uint64_t state = (uint64_t)_i + 77;
	void *x = rows_of_x(&shape, M, &state), *w = weights_of(&desc, &state);
	gpu_product p = gpu_product_of(&desc, x, w, M, &state);
	size_t pitch = (size_t)p.columns * size_of(desc.out);
	char *whole, *part;

	gpu_product_run(&p, 0, M);
	whole = gpu_bytes(p.y, p.y_size);
	for (size_t i = 0; i < COUNT(parts); i++) {
		gpu_product_run(&p, parts[i][0], parts[i][1]);
		part = gpu_bytes(p.y, (size_t)parts[i][1] * pitch);
		ck_assert_msg(memcmp(part, whole + (size_t)parts[i][0] * pitch,
				     (size_t)parts[i][1] * pitch) == 0,
			      "%d rows from %d on", (int)parts[i][1], (int)parts[i][0]);
		gh__free(part);
	}
	gpu_product_run(&p, 0, M);
	part = gpu_bytes(p.y, p.y_size);
	ck_assert_msg(memcmp(part, whole, p.y_size) == 0, "a second run");
	gh__free(part);
	gh__free(whole);
	gh__free(x);
	gh__free(w);
	gpu_product_free(&p);
}
END_TEST

/* SWIGLU is LINEAR, then GLU. */
START_TEST(fused_equals_composed)
{
	enum { M = 150, N = 616, K = 1000 };
	const pair_type *type = &types[_i];
	gh__linear_desc desc = { .weight = type->weight,
				 .act = type->act,
				 .out = type->act,
				 .prologue = type->prologue,
				 .n = N,
				 .k = K };
	gh__op_desc glu = { .kind = GH__OP_GLU, .glu = { type->act, N / 2 } };
	product shape = { .desc = desc, .x_stride = K };
	uint64_t state = (uint64_t)_i + 7, seed;
	void *x = rows_of_x(&shape, M, &state), *w = weights_of(&desc, &state);
	gpu_product parts, fused;
	gh__op_args args;
	char *expected, *got;

	seed = state;
	parts = gpu_product_of(&desc, x, w, M, &state);
	desc.epilogue = GH__EPILOGUE_SWIGLU;
	fused = gpu_product_of(&desc, x, w, M, &seed);
	gpu_product_run(&fused, 0, M);
	got = gpu_bytes(fused.y, fused.y_size);
	gpu_product_run(&parts, 0, M);
	args.glu = (gh__glu_args){ parts.y, N, fused.y, N / 2, M };
	gpu_run(&glu, &args);
	expected = gpu_bytes(fused.y, fused.y_size);
	ck_assert_mem_eq(got, expected, fused.y_size);
	gh__free(expected);
	gh__free(got);
	gh__free(x);
	gh__free(w);
	gpu_product_free(&parts);
	gpu_product_free(&fused);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("cuda_linear");
	TCase *tcase = tcase_create("linear");

	suite_add_tcase(suite, tcase);
	tcase_add_loop_test(tcase, equals_the_cpu, 0, COUNT(types));
	tcase_add_loop_test(tcase, fused_equals_composed, 0, COUNT(types));
	tcase_add_loop_test(tcase, large_equals_small, 0, 6);
	return pair_main(suite);
}
