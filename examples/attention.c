/*
 * Attention of new tokens over a paged cache on a device, checked against a plain loop.
 *
 *   cc attention.c $(pkg-config --cflags --libs gonkahost) -lm -o attention
 *   ./attention cuda 4096 1      decode: one row at position 4095
 *   ./attention cuda 4096 4096   prefill: all of them
 */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <gonkahost/gonkahost.h>

enum { HEADS = 28, KV_HEADS = 4, DIM = 128, BLOCK = 16, RUNS = 20 };
enum { Q = HEADS * DIM, BLOCK_CELLS = 2 * KV_HEADS * BLOCK * DIM };

typedef struct problem {
	int32_t context, rows; /* rows are the last ones of the context */
	int32_t blocks;
	float *q, *kv; /* [rows, Q], and the cache as the device has it, in f32 */
	gh_device *device;
	gh_kernel *kernel;
	gh_attention_args args;
} problem;

static float uniform(void)
{
	static uint32_t state = 1;

	state = state * 1664525 + 1013904223;
	return (float)(state >> 8) * 0x1p-23F - 1.0F;
}

/* Random numbers as f16 on the device, and in *exact what they are. */
static gh_status random_numbers(problem *p, float **exact, gh_devptr *there, size_t count,
				gh_error *error)
{
	uint16_t *halves = malloc(count * sizeof *halves);
	gh_status status = GH_ENOMEM;

	*exact = malloc(count * sizeof **exact);
	if (*exact && halves) {
		for (size_t i = 0; i < count; i++)
			(*exact)[i] = uniform();
		status = gh_convert(halves, GH_F16, *exact, GH_F32, count, error);
		if (status == GH_OK)
			status = gh_convert(*exact, GH_F32, halves, GH_F16, count, error);
		if (status == GH_OK)
			status = gh_device_alloc(p->device, there, count * 2, error);
		if (status == GH_OK)
			status =
				gh_device_upload(p->device, *there, halves, count * 2, NULL, error);
	}
	free(halves);
	return status;
}

/* first, first + step, ... on the device. */
static gh_status series(problem *p, gh_devptr *there, int32_t count, int32_t first, int32_t step,
			gh_error *error)
{
	int32_t *numbers = malloc((size_t)count * sizeof *numbers);
	gh_status status =
		numbers ? gh_device_alloc(p->device, there, (size_t)count * sizeof *numbers, error)
			: GH_ENOMEM;

	for (int32_t i = 0; i < count && numbers; i++)
		numbers[i] = first + i * step;
	if (status == GH_OK)
		status = gh_device_upload(p->device, *there, numbers,
					  (size_t)count * sizeof *numbers, NULL, error);
	free(numbers);
	return status;
}

/* One sequence, whose blocks lie in the cache from the last to the first. */
static gh_status prepare(problem *p, gh_error *error)
{
	gh_attention_options options = GH_ATTENTION_OPTIONS_INIT;
	gh_attention_args *args = &p->args;
	size_t y_size = (size_t)p->rows * Q * 2;
	gh_status status;

	options.dtype = GH_F16;
	options.heads = HEADS;
	options.kv_heads = KV_HEADS;
	options.head_dim = DIM;
	options.block_size = BLOCK;
	status = gh_attention_create(&p->kernel, p->device, &options, error);
	if (status == GH_OK)
		status = random_numbers(p, &p->q, &args->q, (size_t)p->rows * Q, error);
	if (status == GH_OK)
		status = random_numbers(p, &p->kv, &args->cache, (size_t)p->blocks * BLOCK_CELLS,
					error);
	if (status == GH_OK)
		status = series(p, &args->position, p->rows, p->context - p->rows, 1, error);
	if (status == GH_OK)
		status = series(p, &args->sequence, p->rows, 0, 0, error);
	if (status == GH_OK)
		status = series(p, &args->row_start, 2, 0, p->rows, error);
	if (status == GH_OK)
		status = series(p, &args->block_table, p->blocks, p->blocks - 1, -1, error);
	if (status == GH_OK)
		status = gh_device_alloc(p->device, &args->y, y_size, error);
	if (status == GH_OK)
		status = gh_device_alloc(p->device, &args->workspace,
					 gh_kernel_workspace(p->kernel, p->rows), error);
	args->rows = p->rows;
	args->sequences = 1;
	args->blocks_max = p->blocks;
	if (status == GH_OK)
		status = gh_attention_plan(p->kernel, args, NULL, error);
	return status;
}

/* Seconds of one run, the mean of several. */
static gh_status measure(const problem *p, double *seconds, gh_error *error)
{
	gh_event *begin = NULL, *end = NULL;
	gh_status status = gh_event_create(&begin, p->device, error);

	if (status == GH_OK)
		status = gh_event_create(&end, p->device, error);
	if (status == GH_OK)
		status = gh_attention_run(p->kernel, &p->args, NULL, error);
	if (status == GH_OK)
		status = gh_event_record(begin, NULL, error);
	for (int run = 0; run < RUNS && status == GH_OK; run++)
		status = gh_attention_run(p->kernel, &p->args, NULL, error);
	if (status == GH_OK)
		status = gh_event_record(end, NULL, error);
	if (status == GH_OK)
		status = gh_event_seconds(seconds, begin, end, error);
	*seconds /= RUNS;
	gh_event_free(begin);
	gh_event_free(end);
	return status;
}

/* k (which 0) or v (1) of a position, all DIM of it. */
static const float *cell(const problem *p, int which, int32_t position, int32_t head)
{
	int32_t block = p->blocks - 1 - position / BLOCK;

	return p->kv + ((((size_t)block * 2 + (size_t)which) * KV_HEADS + (size_t)head) * BLOCK +
			(size_t)(position % BLOCK)) *
			       DIM;
}

/* y of one row and head, by a softmax over all of its positions. */
static void attend(const problem *p, int32_t row, int32_t head, double *weight, double *y)
{
	const float *q = p->q + (size_t)row * Q + (size_t)head * DIM;
	const int32_t last = p->context - p->rows + row, kv_head = head / (HEADS / KV_HEADS);
	double most = -INFINITY, sum = 0.0;

	for (int32_t i = 0; i <= last; i++) {
		const float *k = cell(p, 0, i, kv_head);

		weight[i] = 0.0;
		for (int32_t d = 0; d < DIM; d++)
			weight[i] += (double)q[d] * k[d];
		weight[i] /= sqrt(DIM);
		most = fmax(most, weight[i]);
	}
	for (int32_t d = 0; d < DIM; d++)
		y[d] = 0.0;
	for (int32_t i = 0; i <= last; i++) {
		const float *v = cell(p, 1, i, kv_head);
		double e = exp(weight[i] - most);

		sum += e;
		for (int32_t d = 0; d < DIM; d++)
			y[d] += e * v[d];
	}
	for (int32_t d = 0; d < DIM; d++)
		y[d] /= sum;
}

/* The largest difference at the first and the last row. */
static gh_status check(const problem *p, double *worst, gh_error *error)
{
	const size_t row_size = (size_t)Q * 2;
	double *weight = malloc((size_t)p->context * sizeof *weight), expected[DIM];
	uint16_t halves[Q];
	float y[Q];
	gh_status status = weight ? GH_OK : GH_ENOMEM;

	*worst = 0.0;
	for (int end = 0; end < 2 && status == GH_OK; end++) {
		int32_t row = end == 0 ? 0 : p->rows - 1;

		status = gh_device_download(p->device, halves, p->args.y + (size_t)row * row_size,
					    row_size, NULL, error);
		if (status == GH_OK)
			status = gh_convert(y, GH_F32, halves, GH_F16, Q, error);
		for (int32_t head = 0; head < HEADS && status == GH_OK; head++) {
			attend(p, row, head, weight, expected);
			for (int32_t d = 0; d < DIM; d++)
				*worst = fmax(*worst, fabs(expected[d] - y[head * DIM + d]));
		}
	}
	free(weight);
	return status;
}

static void give_back(problem *p)
{
	const gh_attention_args *args = &p->args;
	const gh_devptr memory[] = { args->q,        args->cache,     args->position,
				     args->sequence, args->row_start, args->block_table,
				     args->y,        args->workspace };

	for (size_t i = 0; i < sizeof memory / sizeof memory[0]; i++)
		gh_device_release(p->device, memory[i]);
	gh_kernel_free(p->kernel);
	gh_device_close(p->device);
	free(p->q);
	free(p->kv);
}

static gh_status run(problem *p, const char *kind, gh_error *error)
{
	gh_device_options options = GH_DEVICE_OPTIONS_INIT;
	double seconds = 0.0, worst = 0.0, positions;
	gh_status status;

	options.kind = kind;
	status = gh_device_open(&p->device, &options, error);
	if (status == GH_OK)
		status = prepare(p, error);
	if (status == GH_OK)
		status = measure(p, &seconds, error);
	if (status == GH_OK)
		status = check(p, &worst, error);
	if (status != GH_OK)
		return status;
	positions = (double)p->rows * (p->context - (p->rows - 1) / 2.0);
	printf("%s: %d rows of %d positions in %.1f us: %.1f GFLOP/s, %.1f GB/s of k and v\n", kind,
	       (int)p->rows, (int)p->context, seconds * 1e6, 4e-9 * Q * positions / seconds,
	       4e-9 * KV_HEADS * DIM * p->context / seconds);
	printf("largest difference to a plain loop: %.1e\n", worst);
	return worst < 2e-3 ? GH_OK : GH_ENUMERIC;
}

int main(int argc, char **argv)
{
	gh_error error = GH_ERROR_INIT;
	problem p = { .args = GH_ATTENTION_ARGS_INIT };
	gh_status status;

	if (argc != 4) {
		fprintf(stderr, "usage: %s cpu|cuda CONTEXT ROWS\n", argv[0]);
		return 2;
	}
	p.context = atoi(argv[2]);
	p.rows = atoi(argv[3]);
	if (p.context < 1 || p.context > 1 << 20 || p.rows < 1 || p.rows > p.context) {
		fprintf(stderr, "%s: expected 1 to 1048576 positions, of which rows are some\n",
			argv[0]);
		return 2;
	}
	p.blocks = (p.context + BLOCK - 1) / BLOCK;
	status = run(&p, argv[1], &error);
	if (status != GH_OK)
		fprintf(stderr, "%s: %s\n", argv[0],
			error.text[0] ? error.text : gh_status_text(status));
	give_back(&p);
	return status == GH_OK ? 0 : 1;
}
