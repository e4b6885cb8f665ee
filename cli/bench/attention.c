#include "bench.h"

#include <stdio.h>
#include <string.h>

/*
 * gonkahost bench attention: a causal prefill, against the yardstick's rate of products, and decodes
 * at several contexts and batches, against the rate at which memory is read. A decode's turns go
 * through several caches, so that keys and values come from memory.
 */
enum { BLOCK = 16 };

typedef struct attention {
	gh_kernel *kernel;
	gh_attention_args args;
	int32_t rows, batch, context, blocks, copies; /* rows, blocks: of a sequence */
	gh_devptr table;                              /* [copies, batch, blocks] */
	gh_devptr room;                               /* [copies], each of room_size bytes */
	size_t room_size;
	double kv_bytes; /* of all sequences of a copy */
} attention;

/* ---- what lies on the device ---- */

static int32_t position_of(const void *userdata, int64_t i)
{
	const attention *a = userdata;

	return a->context - a->rows + (int32_t)(i % a->rows);
}

static int32_t sequence_of(const void *userdata, int64_t i)
{
	return (int32_t)(i / ((const attention *)userdata)->rows);
}

static int32_t start_of(const void *userdata, int64_t i)
{
	return (int32_t)(i * ((const attention *)userdata)->rows);
}

/* From the last to the first, so that no table is an identity. */
static int32_t block_of(const void *userdata, int64_t i)
{
	const attention *a = userdata;

	return a->copies * a->batch * a->blocks - 1 - (int32_t)i;
}

static gh_status place(bench *b, attention *a, const bench_shape *shape, gh_dtype dtype,
		       gh_dtype kv, gh_error *error)
{
	const int64_t rows = (int64_t)a->batch * a->rows;
	const int64_t width = (int64_t)shape->heads * shape->head_dim;
	const int64_t tables = (int64_t)a->copies * a->batch * a->blocks;
	const int64_t cells = tables * 2 * shape->kv_heads * BLOCK * shape->head_dim;
	gh_attention_args *args = &a->args;
	gh_status status = bench_numbers(b, &args->q, dtype, rows * width, 1.0F, error);

	if (status == GH_OK)
		status = bench_numbers(b, &args->cache, kv, cells, kv == GH_E4M3 ? 50.0F : 1.0F,
				       error);
	if (status == GH_OK)
		status = bench_integers(b, &args->position, rows, position_of, a, error);
	if (status == GH_OK)
		status = bench_integers(b, &args->sequence, rows, sequence_of, a, error);
	if (status == GH_OK)
		status = bench_integers(b, &args->row_start, a->batch + 1, start_of, a, error);
	if (status == GH_OK)
		status = bench_integers(b, &a->table, tables, block_of, a, error);
	if (status == GH_OK)
		status = gh_device_alloc(b->device, &args->y,
					 (size_t)(rows * width) * gh_dtype_size(dtype), error);
	a->room_size = (gh_kernel_workspace(a->kernel, rows) + 255) / 256 * 256;
	if (status == GH_OK)
		status = gh_device_alloc(b->device, &a->room, a->room_size * (size_t)a->copies,
					 error);
	args->rows = (int32_t)rows;
	args->sequences = a->batch;
	args->blocks_max = a->blocks;
	args->k_scale = args->v_scale = kv == GH_E4M3 ? 0.02F : 1.0F;
	return status;
}

/* The arguments of a turn: its block tables, in a workspace of its own. */
static void turn_to(attention *a, int32_t turn)
{
	const size_t copy = (size_t)(turn % a->copies);

	a->args.block_table =
		a->table + copy * (size_t)a->batch * (size_t)a->blocks * sizeof(int32_t);
	a->args.workspace = a->room + copy * a->room_size;
}

static gh_status plan(attention *a, gh_error *error)
{
	gh_status status = GH_OK;

	for (int32_t turn = 0; turn < a->copies && status == GH_OK; turn++) {
		turn_to(a, turn);
		status = gh_attention_plan(a->kernel, &a->args, NULL, error);
	}
	return status;
}

static gh_status prepare(bench *b, attention *a, const bench_shape *shape, gh_dtype dtype,
			 gh_error *error)
{
	const gh_dtype kv = b->arguments->kv_fp8 ? GH_E4M3 : dtype;
	gh_attention_options options = GH_ATTENTION_OPTIONS_INIT;
	gh_status status;

	options.dtype = dtype;
	options.kv_dtype = kv;
	options.heads = shape->heads;
	options.kv_heads = shape->kv_heads;
	options.head_dim = shape->head_dim;
	options.block_size = BLOCK;
	a->args = (gh_attention_args)GH_ATTENTION_ARGS_INIT;
	a->blocks = (a->context + BLOCK - 1) / BLOCK;
	a->kv_bytes = 2.0 * shape->kv_heads * shape->head_dim * (double)a->context * a->batch *
		      (double)gh_dtype_size(kv);
	a->copies = a->rows > 1 ? 1 : bench_copies(b, a->kv_bytes);
	status = gh_attention_create(&a->kernel, b->device, &options, error);
	if (status == GH_OK)
		status = place(b, a, shape, dtype, kv, error);
	return status == GH_OK ? plan(a, error) : status;
}

static void release(bench *b, attention *a)
{
	const gh_devptr memory[] = { a->args.q,         a->args.cache,
				     a->args.position,  a->args.sequence,
				     a->args.row_start, a->args.y,
				     a->table,          a->room };

	for (size_t i = 0; i < sizeof memory / sizeof memory[0]; i++)
		gh_device_release(b->device, memory[i]);
	gh_kernel_free(a->kernel);
}

static gh_status attend(void *work, int32_t turn, gh_error *error)
{
	attention *a = work;

	turn_to(a, turn);
	return gh_attention_run(a->kernel, &a->args, NULL, error);
}

/* ---- measurements ---- */

static gh_status measure(bench *b, const bench_shape *shape, gh_dtype dtype, attention *a,
			 double ceiling, gh_error *error)
{
	const bool prefill = a->rows > 1;
	const double positions = (double)a->batch * a->rows * (a->context - (a->rows - 1) / 2.0);
	const double flops = 4.0 * shape->heads * shape->head_dim * positions;
	double seconds = 0.0;
	json_t *line;
	gh_status status = prepare(b, a, shape, dtype, error);

	if (status == GH_OK)
		status = bench_time(b, &seconds, attend, a, prefill ? 1 : bench_turns(a->copies),
				    error);
	release(b, a);
	if (status != GH_OK)
		return status;
	line = json_pack("{s:s, s:s, s:s, s:s, s:i, s:i, s:i, s:f, s:f}", "bench",
			 prefill ? "attention-prefill" : "attention-decode", "model", shape->name,
			 "dtype", gh_dtype_name(dtype), "kv",
			 gh_dtype_name(b->arguments->kv_fp8 ? GH_E4M3 : dtype), "batch",
			 (int)a->batch, "rows", (int)a->rows, "context", (int)a->context, "us",
			 seconds * 1e6, "tflop_s", flops / seconds * 1e-12);
	if (prefill) {
		json_object_set_new(line, "cublaslt_tflop_s", bench_number(ceiling * 1e-12));
		json_object_set_new(line, "of_cublaslt", bench_ratio(flops / seconds, ceiling));
	} else {
		json_object_set_new(line, "kv_gb_s", json_real(a->kv_bytes / seconds * 1e-9));
		json_object_set_new(line, "read_gb_s", json_real(b->rates.read * 1e-9));
		json_object_set_new(line, "of_read",
				    bench_ratio(a->kv_bytes / seconds, b->rates.read));
	}
	bench_print(b->arguments, line);
	return GH_OK;
}

static gh_status measure_model(bench *b, const bench_shape *shape, gh_dtype dtype, double ceiling,
			       gh_error *error)
{
	static const bench_list batches[] = { { 2, { 1, 4 } }, { 3, { 1, 16, 64 } } };
	static const bench_list contexts[] = { { 1, { 1024 } }, { 3, { 1024, 8192, 32768 } } };
	const bench_arguments *arguments = b->arguments;
	const bench_list *batch = arguments->batch.count ? &arguments->batch : &batches[b->cuda];
	const bench_list *context =
		arguments->context.count ? &arguments->context : &contexts[b->cuda];
	const int32_t prompt = arguments->prompt ? arguments->prompt : b->cuda ? 8192 : 512;
	attention prefill = { .rows = prompt, .batch = 1, .context = prompt };
	gh_status status = measure(b, shape, dtype, &prefill, ceiling, error);

	for (int i = 0; i < batch->count * context->count && status == GH_OK; i++) {
		attention decode = { .rows = 1,
				     .batch = batch->at[i % batch->count],
				     .context = context->at[i / batch->count] };

		status = measure(b, shape, dtype, &decode, 0.0, error);
	}
	return status;
}

static gh_status read_dtype(const bench_arguments *arguments, gh_dtype *dtype, gh_error *error)
{
	const char *name = arguments->dtype ? arguments->dtype : "float16";

	*dtype = strcmp(name, "bfloat16") == 0 ? GH_BF16 : GH_F16;
	if (*dtype == GH_BF16 || strcmp(name, "float16") == 0)
		return GH_OK;
	snprintf(error->text, sizeof error->text,
		 "--dtype: expected float16 or bfloat16, got '%.32s'", name);
	return GH_EINVAL;
}

int bench_attention(const bench_arguments *arguments)
{
	gh_error error = GH_ERROR_INIT;
	double ceiling = 0.0;
	gh_dtype dtype;
	bench b = { .arguments = arguments };
	gh_status status = read_dtype(arguments, &dtype, &error);

	if (status == GH_OK)
		status = bench_open(&b, arguments, &error);
	if (status == GH_OK)
		status = bench_flops(&b, dtype, &ceiling, &error);
	for (int i = 0; i < BENCH_KINDS && status == GH_OK; i++)
		if (bench_wants(arguments, &bench_shapes[i]))
			status = measure_model(&b, &bench_shapes[i], dtype, ceiling, &error);
	bench_close(&b);
	return status == GH_OK ? CLI_OK : cli_fail("bench", status, &error);
}
