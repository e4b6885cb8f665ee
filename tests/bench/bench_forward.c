/*
 * How fast the forward is: bench_forward [MODEL [DTYPE [THREADS [PART...]]]]
 *
 * MODEL is a folder or a repository id (SmolLM2-135M-Instruct), DTYPE f32, f16, bf16, fp8 (w8a8)
 * or fp8-w8a16, THREADS 0 = all cores, parts read, load, decode1, decode16, prefill (all of them).
 * One JSON line a measurement, the best of several runs each:
 *
 *   {"bench":"read","gb_s":...}                       summing f32 from memory with as many threads
 *   {"bench":"decode","batch":1,"tok_s":...,"gb_s":...,"of_read":...}   gb_s: weights read a second
 *   {"bench":"prefill","tokens":512,"tok_s":...,"gflop_s":...}
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <gonkahost/device.h>

#include "base/clock.h"
#include "model/runner.h"

enum { BATCH_MAX = 16, PREFILL = 512, CONTEXT = 64, BLOCK = 16, STEPS = 24 };
enum { BLOCKS = PREFILL / BLOCK }; /* a sequence */

static double best(double a, double b)
{
	return a == 0.0 || b < a ? b : a;
}

static double seconds_since(int64_t begin)
{
	return (double)(gh__now() - begin) / (double)GH__SECOND;
}

static void check(gh_status status, const gh_error *error)
{
	if (status == GH_OK)
		return;
	fprintf(stderr, "bench_forward: %s\n", error->text);
	exit(EXIT_FAILURE);
}

/* ---- the machine's read rate ---- */

typedef struct reading {
	const float *from;
	size_t count;
	float sum;
	pthread_t thread;
} reading;

/* Independent sums, so that the memory is what is waited for. */
static void *read_all(void *arg)
{
	enum { SUMS = 64 };
	reading *r = arg;
	float sums[SUMS] = { 0 };

	for (size_t i = 0; i + SUMS <= r->count; i += SUMS)
		for (int j = 0; j < SUMS; j++)
			sums[j] += r->from[i + (size_t)j];
	for (int j = 0; j < SUMS; j++)
		r->sum += sums[j];
	return NULL;
}

static double read_rate(int threads)
{
	const size_t count = (size_t)64 << 20;
	float *data = malloc(count * sizeof *data);
	reading *r = calloc((size_t)threads, sizeof *r);
	double fastest = 0.0;

	if (!data || !r)
		exit(EXIT_FAILURE);
	for (size_t i = 0; i < count; i++)
		data[i] = (float)(i & 7);
	for (int run = 0; run < 7; run++) {
		int64_t begin = gh__now();

		for (int t = 0; t < threads; t++) {
			r[t].from = data + count / (size_t)threads * (size_t)t;
			r[t].count = count / (size_t)threads;
			if (t > 0 && pthread_create(&r[t].thread, NULL, read_all, &r[t]) != 0)
				exit(EXIT_FAILURE);
		}
		read_all(&r[0]);
		for (int t = 1; t < threads; t++)
			pthread_join(r[t].thread, NULL);
		fastest = best(fastest, seconds_since(begin));
	}
	free(data);
	free(r);
	return (double)(count * sizeof *data) / fastest / 1e9;
}

/* ---- steps ---- */

/* `count` tokens of each of `batch` sequences from position `first`; one choice each. */
static double step(gh__runner *runner, int32_t vocab, int32_t batch, int32_t first, int32_t count)
{
	static int32_t token[BATCH_MAX * PREFILL], position[BATCH_MAX * PREFILL];
	static int32_t sequence[BATCH_MAX * PREFILL], table[BATCH_MAX * BLOCKS];
	static int64_t slot[BATCH_MAX * PREFILL];
	static gh__sample_row rows[BATCH_MAX];
	static gh__sample_result results[BATCH_MAX];
	int32_t row_start[BATCH_MAX + 1] = { 0 }, logit_row[BATCH_MAX];
	gh__step s = { .sequences = batch,
		       .logit_rows = batch,
		       .blocks_max = BLOCKS,
		       .token = token,
		       .position = position,
		       .slot = slot,
		       .sequence = sequence,
		       .row_start = row_start,
		       .block_table = table,
		       .logit_row = logit_row };
	gh_error error = GH_ERROR_INIT;
	int64_t begin;

	for (int32_t i = 0; i < batch; i++) {
		for (int32_t b = 0; b < BLOCKS; b++)
			table[i * BLOCKS + b] = i * BLOCKS + b;
		for (int32_t j = 0; j < count; j++, s.tokens++) {
			token[s.tokens] = (first * 31 + i * 7 + j * 13) % vocab;
			position[s.tokens] = first + j;
			sequence[s.tokens] = i;
			slot[s.tokens] = (int64_t)i * BLOCKS * BLOCK + first + j;
		}
		row_start[i + 1] = s.tokens;
		logit_row[i] = s.tokens - 1;
		rows[i] = (gh__sample_row){
			.row = i, .forced = -1, .repetition = 1.0F, .top_p = 1.0F
		};
	}
	begin = gh__now();
	check(runner->table->step(runner->self, &s, rows, results, batch, &error), &error);
	return seconds_since(begin);
}

/* Bytes of the matrices that one token goes through: all but the embedding. */
static double streamed_bytes(const gh_model_info *info)
{
	double act = (double)gh_dtype_size((gh_dtype)info->dtype);

	return (double)info->weight_bytes - (double)info->vocab * (double)info->hidden * act;
}

static void decode(gh__runner *runner, const gh_model_info *info, int32_t batch, double read)
{
	double fastest = 0.0, rate;

	step(runner, info->vocab, batch, 0, CONTEXT);
	for (int32_t i = 0; i < STEPS; i++)
		fastest = best(fastest, step(runner, info->vocab, batch, CONTEXT + i, 1));
	rate = streamed_bytes(info) / fastest / 1e9;
	printf("{\"bench\":\"decode\",\"batch\":%d,\"ms\":%.3f,\"tok_s\":%.1f,\"gb_s\":%.2f,"
	       "\"of_read\":%.2f}\n",
	       batch, fastest * 1e3, batch / fastest, rate, read > 0.0 ? rate / read : 0.0);
}

static void prefill(gh__runner *runner, const gh_model_info *info)
{
	double fastest = 0.0;
	double q = (double)info->heads * info->head_dim;
	double kv = (double)info->kv_heads * info->head_dim;
	double weights = (double)info->layers * (double)info->hidden *
			 (2.0 * q + 2.0 * kv + 3.0 * (double)info->intermediate);

	for (int run = 0; run < 4; run++)
		fastest = best(fastest, step(runner, info->vocab, 1, 0, PREFILL));
	printf("{\"bench\":\"prefill\",\"tokens\":%d,\"ms\":%.1f,\"tok_s\":%.1f,"
	       "\"gflop_s\":%.1f}\n",
	       PREFILL, fastest * 1e3, PREFILL / fastest, 2.0 * weights * PREFILL / fastest / 1e9);
}

/* ---- arguments ---- */

static bool wanted(int argc, char **argv, const char *part)
{
	for (int i = 4; i < argc; i++)
		if (strcmp(argv[i], part) == 0)
			return true;
	return argc <= 4;
}

static void set_dtype(gh_model_options *options, const char *name)
{
	static const struct {
		const char *name;
		int32_t dtype, quantization;
	} names[] = {
		{ "f32", GH_F32, GH_QUANT_NONE },
		{ "f16", GH_F16, GH_QUANT_NONE },
		{ "bf16", GH_BF16, GH_QUANT_NONE },
		{ "fp8", GH_F16, GH_QUANT_FP8_W8A8 },
		{ "fp8-w8a16", GH_F16, GH_QUANT_FP8_W8A16 },
	};

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		if (strcmp(names[i].name, name) == 0) {
			options->dtype = names[i].dtype;
			options->quantization = names[i].quantization;
			return;
		}
	}
	fprintf(stderr, "bench_forward: dtype %s is not f32, f16, bf16, fp8, fp8-w8a16\n", name);
	exit(EXIT_FAILURE);
}

int main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : "HuggingFaceTB/SmolLM2-135M-Instruct";
	gh_model_options options = GH_MODEL_OPTIONS_INIT;
	gh_device_options device = GH_DEVICE_OPTIONS_INIT;
	gh__runner_options limits = { .step_tokens = BATCH_MAX * CONTEXT,
				      .step_sequences = BATCH_MAX,
				      .max_length = PREFILL,
				      .kv_blocks = (int64_t)BATCH_MAX * BLOCKS };
	gh_error error = GH_ERROR_INIT;
	gh_device_info device_info;
	gh_model_info info;
	gh__runner runner;
	gh_model *model;
	double read = 0.0;
	int64_t begin;

	set_dtype(&options, argc > 2 ? argv[2] : "bf16");
	options.threads = argc > 3 ? atoi(argv[3]) : 0;
	device.threads = options.threads;
	check(gh_device_info_get(&device_info, &device, &error), &error);
	if (wanted(argc, argv, "read")) {
		read = read_rate(device_info.threads);
		printf("{\"bench\":\"read\",\"threads\":%d,\"gb_s\":%.2f}\n", device_info.threads,
		       read);
	}
	begin = gh__now();
	check(gh_model_create(&model, name, &options, &error), &error);
	gh_model_info_get(model, &info);
	printf("{\"bench\":\"load\",\"numerics\":\"%s\",\"mib\":%.1f,\"seconds\":%.2f}\n",
	       info.numerics, (double)info.weight_bytes / (1 << 20), seconds_since(begin));
	check(gh__model_runner(&runner, model, &limits, &error), &error);
	if (wanted(argc, argv, "decode1"))
		decode(&runner, &info, 1, read);
	if (wanted(argc, argv, "decode16"))
		decode(&runner, &info, BATCH_MAX, read);
	if (wanted(argc, argv, "prefill"))
		prefill(&runner, &info);
	runner.table->free(runner.self);
	gh_model_free(model);
	return EXIT_SUCCESS;
}
