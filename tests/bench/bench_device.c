/*
 * How fast the CPU device is, and how fast this machine lets it be: bench_device [THREADS [NAME]]
 *
 * One JSON object a line. Every rate stands beside a ceiling measured in the same run: the rate at
 * which the same number of threads reads memory, or the FLOP rate of OpenBLAS's sgemm on the same
 * shape. A time is the sum of the best times of short pieces (a matrix, a megabyte) over several
 * rounds through more memory than caches hold, so that a machine with other work to do measures
 * nearly what an idle one does. NAME runs one part: read, decode, prefill, attention or sample.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "device/cpu/pool.h"
#include "device/device.h"
#include "device/quantise.h"

#if defined(GH__BENCH_BLAS)
#include <cblas.h>
#endif

#define ROUNDS 15

static int threads;
static gh__device *device;

static double now(void)
{
	return (double)gh__now() * 1e-9;
}

static void need(gh_status status, const gh_error *error)
{
	if (status != GH_OK) {
		fprintf(stderr, "bench_device: %s\n", error->text);
		exit(EXIT_FAILURE);
	}
}

static void *alloc(size_t size)
{
	gh_error error = GH_ERROR_INIT;
	void *memory = device->table->alloc(device->self, size, &error);

	need(memory ? GH_OK : GH_ENOMEM, &error);
	return memory;
}

static void release(void *memory)
{
	device->table->release(device->self, memory);
}

static gh__kernel *prepare(const gh__op_desc *desc)
{
	gh_error error = GH_ERROR_INIT;
	gh__kernel *kernel = NULL;

	need(gh__device_prepare(device, desc, &kernel, &error), &error);
	return kernel;
}

static void run(const gh__kernel *kernel, const gh__op_args *args)
{
	gh_error error = GH_ERROR_INIT;

	need(gh__device_run(device, kernel, args, &error), &error);
}

static size_t size_of(gh_dtype dtype)
{
	return dtype == GH_F32 ? 4 : dtype == GH_E4M3 ? 1 : 2;
}

static const char *name_of(gh_dtype dtype)
{
	return dtype == GH_F32    ? "f32"
	       : dtype == GH_F16  ? "f16"
	       : dtype == GH_BF16 ? "bf16"
				  : "e4m3";
}

static void fill(void *p, gh_dtype dtype, size_t count, float scale)
{
	static float noise[4096];
	static uint32_t state = 1;

	for (size_t i = 0; i < 4096; i++) {
		state = state * 1664525 + 1013904223;
		noise[i] = scale * ((float)(state >> 8) * 0x1p-23F - 1.0F);
	}
	for (size_t i = 0; i < count; i += 4096)
		gh__convert((char *)p + i * size_of(dtype), dtype, noise, GH_F32,
			    count - i < 4096 ? count - i : 4096);
}

static void keep_best(double *best, double seconds)
{
	if (*best == 0 || seconds < *best)
		*best = seconds;
}

/* ---- memory ---- */

enum { READ_BYTES = 256 << 20, PIECE = 4 << 20, PIECES = READ_BYTES / PIECE };

typedef struct reader {
	const char *from;
	uint64_t sum[64]; /* a thread */
} reader;

/* Eight independent sums of 16 bytes: fast enough for memory to be what is measured. */
typedef uint64_t lanes __attribute__((vector_size(16)));

static void read_part(void *arg, int64_t task, int thread)
{
	reader *r = arg;
	size_t count = (size_t)PIECE / (size_t)threads / 128 * 8;
	const lanes *from = (const lanes *)(const void *)r->from + (size_t)task * count;
	lanes s0 = { 0 }, s1 = s0, s2 = s0, s3 = s0, s4 = s0, s5 = s0, s6 = s0, s7 = s0;

	for (size_t i = 0; i < count; i += 8) {
		s0 += from[i];
		s1 += from[i + 1];
		s2 += from[i + 2];
		s3 += from[i + 3];
		s4 += from[i + 4];
		s5 += from[i + 5];
		s6 += from[i + 6];
		s7 += from[i + 7];
	}
	s0 += s1 + s2 + s3 + s4 + s5 + s6 + s7;
	r->sum[thread % 64] += s0[0] + s0[1];
}

/* Bytes a second, all threads together. */
static double read_rate(gh__pool *pool)
{
	static double best[PIECES];
	char *memory = alloc(READ_BYTES);
	reader r = { memory, { 0 } };
	double seconds = 0;

	memset(memory, 1, READ_BYTES);
	for (int round = 0; round < 2 * ROUNDS; round++) {
		for (int i = 0; i < PIECES; i++) {
			double start = now();

			r.from = memory + (size_t)i * PIECE;
			gh__pool_run(pool, read_part, &r, threads);
			keep_best(&best[i], now() - start);
		}
	}
	for (int i = 0; i < PIECES; i++)
		seconds += best[i];
	release(memory);
	return r.sum[0] == 1 ? 0 : READ_BYTES / seconds;
}

/* ---- linear ---- */

typedef struct matrix {
	gh__kernel *kernel;
	void *packed;
	gh_dtype weight;
	size_t bytes;
	int64_t n, k;
	double flops; /* a row */
} matrix;

typedef struct shape {
	int64_t n, k;
	gh__epilogue epilogue;
} shape;

/* The kernel of a matrix; its weights are yet to be packed. */
static matrix make_matrix(const shape *s, gh_dtype weight, gh_dtype act, gh__prologue prologue)
{
	gh__op_desc desc = { .kind = GH__OP_LINEAR,
			     .linear = { .weight = weight,
					 .act = act,
					 .out = act,
					 .prologue = prologue,
					 .epilogue = s->epilogue,
					 .n = s->n,
					 .k = s->k } };
	matrix out = {
		.n = s->n, .k = s->k, .weight = weight, .flops = 2.0 * (double)s->n * (double)s->k
	};

	out.kernel = prepare(&desc);
	out.bytes = device->table->packed_size(device->self, out.kernel);
	return out;
}

static void pack_matrix(matrix *m, void *packed)
{
	gh_error error = GH_ERROR_INIT;
	void *plain = alloc((size_t)(m->n * m->k) * size_of(m->weight));

	m->packed = packed;
	fill(plain, m->weight, (size_t)(m->n * m->k), m->weight == GH_E4M3 ? 400.0F : 0.1F);
	need(device->table->pack(device->self, m->kernel, packed, plain, 0, m->n, &error), &error);
	release(plain);
}

typedef struct buffers {
	void *x, *y, *workspace;
	float *scale;
} buffers;

static buffers make_buffers(gh_dtype act, int64_t m, int64_t widest)
{
	buffers b = { alloc((size_t)(m * widest) * size_of(act)),
		      alloc((size_t)(m * widest) * size_of(act)),
		      alloc((size_t)(m * (widest + 32) + 64) * sizeof(float)),
		      alloc((size_t)widest * sizeof(float)) };

	fill(b.x, act, (size_t)(m * widest), 1.0F);
	fill(b.scale, GH_F32, (size_t)widest, 0.001F);
	return b;
}

static void free_buffers(buffers *b)
{
	release(b->x);
	release(b->y);
	release(b->workspace);
	release(b->scale);
}

static void multiply(const matrix *w, const buffers *b, int64_t m)
{
	gh__op_args args = { .linear = { .x = b->x,
					 .x_stride = w->k,
					 .w = w->packed,
					 .w_scale = b->scale,
					 .y = b->y,
					 .y_stride = w->n,
					 .workspace = b->workspace,
					 .m = m } };

	run(w->kernel, &args);
}

typedef struct model {
	const char *name;
	int layers;
	shape shapes[4];
} model;

static const model models[] = {
	{ "SmolLM2-135M",
	  30,
	  { { 960, 576, 0 },
	    { 576, 576, 0 },
	    { 3072, 576, GH__EPILOGUE_SWIGLU },
	    { 576, 1536, 0 } } },
	{ "Qwen2.5-7B",
	  1,
	  { { 4608, 3584, 0 },
	    { 3584, 3584, 0 },
	    { 37888, 3584, GH__EPILOGUE_SWIGLU },
	    { 3584, 18944, 0 } } },
};

/* All matrices of a model, one after the other, as decoding reads them. */
static void decode(const model *what, gh_dtype weight, gh_dtype act, gh__prologue prologue,
		   double ceiling)
{
	static const int64_t rows[] = { 1, 2, 4, 8, 16, 32 };
	const int count = what->layers * 4;
	matrix *w = calloc((size_t)count, sizeof *w);
	double *times = calloc((size_t)count, sizeof *times);
	char *memory;
	size_t bytes = 0;
	double alone = 0;
	int made = 0;
	buffers b = make_buffers(act, 32, 37888);

	if (!w || !times)
		exit(EXIT_FAILURE);
	for (int i = 0; i < count; i++) {
		w[i] = make_matrix(&what->shapes[i % 4], weight, act, prologue);
		bytes += w[i].bytes;
	}
	/* In one piece, as a model's are. */
	memory = alloc(bytes);
	for (size_t at = 0; made < count; at += w[made++].bytes)
		pack_matrix(&w[made], memory + at);
	for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
		double best = 0;

		memset(times, 0, (size_t)count * sizeof *times);
		for (int round = 0; round < ROUNDS; round++) {
			for (int i = 0; i < count; i++) {
				double start = now();

				multiply(&w[i], &b, rows[r]);
				keep_best(&times[i], now() - start);
			}
		}
		for (int i = 0; i < count; i++)
			best += times[i];
		if (r == 0)
			alone = best;
		printf("{\"bench\": \"decode\", \"model\": \"%s\", \"weight\": \"%s\", \"act\": "
		       "\"%s\", \"quantise\": %d, \"m\": %d, \"ms\": %.3f, \"gb_s\": %.2f, "
		       "\"ceiling_gb_s\": %.2f, \"ratio\": %.3f, \"tokens_s_over_m1\": %.2f}\n",
		       what->name, name_of(weight), name_of(act), prologue, (int)rows[r],
		       best * 1e3, (double)bytes / best * 1e-9, ceiling * 1e-9,
		       (double)bytes / best / ceiling, (double)rows[r] * alone / best);
		fflush(stdout);
	}
	for (int i = 0; i < count; i++)
		gh__device_kernel_free(device, w[i].kernel);
	release(memory);
	free(w);
	free(times);
	free_buffers(&b);
}

static double blas_rate(int64_t m, int64_t n, int64_t k)
{
#if defined(GH__BENCH_BLAS)
	float *x = alloc((size_t)(m * k) * sizeof(float));
	float *w = alloc((size_t)(n * k) * sizeof(float));
	float *y = alloc((size_t)(m * n) * sizeof(float));
	double best = 0;

	fill(x, GH_F32, (size_t)(m * k), 1.0F);
	fill(w, GH_F32, (size_t)(n * k), 1.0F);
	openblas_set_num_threads(threads);
	for (int round = 0; round < 2 * ROUNDS; round++) {
		double start = now();

		cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)m, (int)n, (int)k, 1.0F,
			    x, (int)k, w, (int)k, 0.0F, y, (int)n);
		keep_best(&best, now() - start);
	}
	release(x);
	release(w);
	release(y);
	return 2.0 * (double)m * (double)n * (double)k / best;
#else
	(void)m, (void)n, (void)k;
	return 0.0;
#endif
}

static void prefill(const shape *s, int64_t m, gh_dtype weight, gh_dtype act, gh__prologue prologue)
{
	matrix w = make_matrix(s, weight, act, prologue);
	void *packed = alloc(w.bytes);
	buffers b = make_buffers(act, m, s->n > s->k ? s->n : s->k);
	double best = 0, ceiling = blas_rate(m, s->n, s->k), rate;

	pack_matrix(&w, packed);
	for (int round = 0; round < 2 * ROUNDS; round++) {
		double start = now();

		multiply(&w, &b, m);
		keep_best(&best, now() - start);
	}
	rate = w.flops * (double)m / best;
	printf("{\"bench\": \"prefill\", \"m\": %d, \"n\": %d, \"k\": %d, \"weight\": \"%s\", "
	       "\"act\": \"%s\", \"quantise\": %d, \"ms\": %.3f, \"gflop_s\": %.1f, "
	       "\"sgemm_gflop_s\": %.1f, \"ratio\": %.3f}\n",
	       (int)m, (int)s->n, (int)s->k, name_of(weight), name_of(act), prologue, best * 1e3,
	       rate * 1e-9, ceiling * 1e-9, ceiling > 0 ? rate / ceiling : 0.0);
	fflush(stdout);
	gh__device_kernel_free(device, w.kernel);
	release(packed);
	free_buffers(&b);
}

/* ---- attention ---- */

static void attention(int32_t sequences, int32_t rows, int32_t context, int32_t heads,
		      int32_t group, int32_t dim, gh_dtype act)
{
	int32_t kv_heads = heads / group, blocks = (context + 15) / 16;
	gh__op_desc desc = { .kind = GH__OP_ATTENTION,
			     .attention = { .act = act,
					    .softmax = GH__SOFTMAX_ONLINE,
					    .source = GH__KV_PAGED,
					    .causal = true,
					    .heads = heads,
					    .group = group,
					    .kv = { act, kv_heads, dim, 16 },
					    .scale = 0.1F } };
	gh__kernel *kernel = prepare(&desc);
	int32_t tokens = sequences * rows;
	int64_t stride = (int64_t)(heads + 2 * kv_heads) * dim;
	size_t cells = (size_t)sequences * (size_t)blocks * 2 * (size_t)kv_heads * 16 * (size_t)dim;
	int32_t *position = alloc((size_t)tokens * 4), *sequence = alloc((size_t)tokens * 4);
	int32_t *start = alloc((size_t)(sequences + 1) * 4);
	int32_t *table = alloc((size_t)sequences * (size_t)blocks * 4);
	void *qkv = alloc((size_t)(tokens * stride) * size_of(act));
	void *cache = alloc(cells * size_of(act)), *y = alloc((size_t)(tokens * stride) * 4);
	void *workspace = alloc(device->table->workspace(device->self, kernel, tokens));
	gh__step step = { .tokens = tokens,
			  .sequences = sequences,
			  .blocks_max = blocks,
			  .position = position,
			  .sequence = sequence,
			  .row_start = start,
			  .block_table = table };
	gh__op_args args = { .attention = { .qkv = qkv,
					    .qkv_stride = stride,
					    .cache = cache,
					    .k_scale = 1,
					    .v_scale = 1,
					    .step = &step,
					    .y = y,
					    .y_stride = (int64_t)heads * dim,
					    .workspace = workspace } };
	double best = 0, flops = 0, bytes = (double)cells * (double)size_of(act);

	fill(qkv, act, (size_t)(tokens * stride), 1.0F);
	fill(cache, act, cells, 1.0F);
	for (int32_t i = 0; i < tokens; i++) {
		sequence[i] = i / rows;
		position[i] = context - rows + i % rows;
		flops += 4.0 * dim * heads * (position[i] + 1);
	}
	for (int32_t i = 0; i <= sequences; i++)
		start[i] = i * rows;
	for (int32_t i = 0; i < sequences * blocks; i++)
		table[i] = i;
	for (int round = 0; round < 2 * ROUNDS; round++) {
		double from = now();

		run(kernel, &args);
		keep_best(&best, now() - from);
	}
	printf("{\"bench\": \"attention\", \"sequences\": %d, \"rows\": %d, \"context\": %d, "
	       "\"heads\": %d, \"group\": %d, \"dim\": %d, \"dtype\": \"%s\", \"ms\": %.3f, "
	       "\"gflop_s\": %.1f, \"kv_gb_s\": %.2f}\n",
	       sequences, rows, context, heads, group, dim, name_of(act), best * 1e3,
	       flops / best * 1e-9, bytes / best * 1e-9);
	fflush(stdout);
	gh__device_kernel_free(device, kernel);
	release(position);
	release(sequence);
	release(start);
	release(table);
	release(qkv);
	release(cache);
	release(y);
	release(workspace);
}

/* ---- sampling ---- */

static void sample(const char *what, gh__sample_row row, int64_t vocab, float spread)
{
	gh__op_desc desc = { .kind = GH__OP_SAMPLE, .sample = { GH_F16, vocab } };
	gh__kernel *kernel = prepare(&desc);
	void *logits = alloc((size_t)vocab * 2);
	gh__sample_result result;
	gh__op_args args = { .sample = { logits, vocab, &row, &result, 1 } };
	double best = 0;

	fill(logits, GH_F16, (size_t)vocab, spread);
	for (int round = 0; round < 2 * ROUNDS; round++) {
		double start = now();

		run(kernel, &args);
		keep_best(&best, now() - start);
		row.position++;
	}
	printf("{\"bench\": \"sample\", \"what\": \"%s\", \"vocab\": %d, \"spread\": %.1f, "
	       "\"ms\": %.3f}\n",
	       what, (int)vocab, spread, best * 1e3);
	fflush(stdout);
	gh__device_kernel_free(device, kernel);
	release(logits);
}

static void samples(void)
{
	static const float spreads[] = { 1.0F, 20.0F };

	for (int i = 0; i < 2; i++) {
		gh__sample_row row = {
			.forced = -1, .repetition = 1, .top_p = 1, .top = 5, .logprobs = true
		};

		sample("greedy", row, 152064, spreads[i]);
		row.temperature = 1;
		sample("random", row, 152064, spreads[i]);
		row.top_k = 20;
		sample("top_k 20", row, 152064, spreads[i]);
		row.top_p = 0.8F;
		sample("top_k 20, top_p 0.8", row, 152064, spreads[i]);
		row.top_k = 0;
		sample("top_p 0.8", row, 152064, spreads[i]);
	}
}

static bool wanted(const char *only, const char *part)
{
	return !only || strcmp(only, part) == 0;
}

int main(int argc, char **argv)
{
	static const shape smol[] = { { 576, 576, 0 },
				      { 192, 576, 0 },
				      { 1536, 576, 0 },
				      { 576, 1536, 0 },
				      { 3072, 576, GH__EPILOGUE_SWIGLU } };
	gh_device_options options = GH_DEVICE_OPTIONS_INIT;
	gh_error error = GH_ERROR_INIT;
	gh_device_info info;
	const char *only = argc > 2 ? argv[2] : NULL;
	double ceiling = 0;

	/* OpenBLAS reads this when it is loaded: begin again without it. */
	if (getenv("OPENBLAS_CORETYPE")) {
		unsetenv("OPENBLAS_CORETYPE");
		execv("/proc/self/exe", argv);
	}
	options.threads = argc > 1 ? atoi(argv[1]) : 0;
	need(gh_device_info_get(&info, &options, &error), &error);
	need(gh__device_open(&device, &options, &error), &error);
	threads = info.threads;
	printf("{\"bench\": \"device\", \"name\": \"%s\", \"threads\": %d, \"vector\": %d}\n",
	       info.name, info.threads, info.vector);
	if (wanted(only, "read") || wanted(only, "decode")) {
		gh__pool *pool = NULL;

		need(gh__pool_create(&pool, threads, &error), &error);
		ceiling = read_rate(pool);
		gh__pool_free(pool);
		printf("{\"bench\": \"read\", \"gb_s\": %.2f}\n", ceiling * 1e-9);
	}
	if (wanted(only, "decode")) {
		decode(&models[0], GH_BF16, GH_BF16, 0, ceiling);
		decode(&models[0], GH_F16, GH_F16, 0, ceiling);
		decode(&models[0], GH_F32, GH_F32, 0, ceiling);
		decode(&models[0], GH_E4M3, GH_F16, GH__PROLOGUE_QUANTISE, ceiling);
		decode(&models[0], GH_E4M3, GH_F16, 0, ceiling);
		decode(&models[1], GH_BF16, GH_BF16, 0, ceiling);
		decode(&models[1], GH_E4M3, GH_F16, GH__PROLOGUE_QUANTISE, ceiling);
	}
	for (size_t i = 0; i < sizeof smol / sizeof *smol && wanted(only, "prefill"); i++) {
		prefill(&smol[i], 512, GH_BF16, GH_BF16, 0);
		prefill(&smol[i], 512, GH_F32, GH_F32, 0);
		prefill(&smol[i], 512, GH_F16, GH_F16, 0);
		prefill(&smol[i], 512, GH_E4M3, GH_F16, GH__PROLOGUE_QUANTISE);
	}
	if (wanted(only, "attention")) {
		attention(1, 1, 1024, 9, 3, 64, GH_BF16);
		attention(1, 1, 8192, 9, 3, 64, GH_BF16);
		attention(16, 1, 1024, 9, 3, 64, GH_BF16);
		attention(1, 512, 512, 9, 3, 64, GH_BF16);
		attention(1, 512, 4096, 9, 3, 64, GH_BF16);
		attention(1, 1, 4096, 28, 7, 128, GH_F16);
		attention(1, 512, 2048, 28, 7, 128, GH_F16);
	}
	if (wanted(only, "sample"))
		samples();
	gh__device_close(device);
	return EXIT_SUCCESS;
}
