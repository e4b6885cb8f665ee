/*
 * How fast proofs are made: bench_poc [COUNT]
 *
 * COUNT normal numbers (10^8) as the weight pool has them, in one stream and cut into segments by
 * one and two threads, beside the raw draws that bound them and, where python3 has NumPy, its
 * default_rng drawing as many into memory that is there. Then whole proofs: of testnet by eight,
 * and of inttest, beside the rate of the device's own products with the same matrices; of inttest
 * also by the scalar kernels and as plain loops would do it, one thread each.
 *
 * One JSON line a measurement, the best of several runs each; "ns" is of wall time and for one
 * number, "draws" how many raw draws that is, "times" how much faster ours is.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <gonkahost/poc.h>

#include "base/clock.h"
#include "poc/normals.h"
#include "poc/permutation.h"
#include "poc/seed.h"

#define RUNS 5
#define SEED "0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF"

static void must(gh_status status, const gh_error *error)
{
	if (status == GH_OK)
		return;
	fprintf(stderr, "%s\n", error->text);
	exit(EXIT_FAILURE);
}

static double seconds_since(int64_t start)
{
	return (double)(gh__now() - start) * 1e-9;
}

static double raw_draws(const gh__pcg64 *start, size_t count)
{
	double best = 1e9;

	for (int i = 0; i < RUNS; i++) {
		int64_t from = gh__now();
		gh__pcg64 rng = *start;
		volatile uint64_t kept;
		uint64_t sum = 0;

		for (size_t n = 0; n < count; n++)
			sum ^= gh__pcg64_draw(&rng);
		kept = sum;
		(void)kept;
		best = seconds_since(from) < best ? seconds_since(from) : best;
	}
	return best / (double)count * 1e9;
}

static double one_stream(const gh__normal_tables *tables, const gh__pcg64 *start, double *out,
			 size_t count)
{
	double best = 1e9;

	for (int i = 0; i < RUNS; i++) {
		int64_t from = gh__now();
		gh__pcg64 rng = *start;
		uint32_t draws = 0;

		for (size_t n = 0; n < count; n++)
			out[n] = gh__normal(tables, &rng, &draws);
		best = seconds_since(from) < best ? seconds_since(from) : best;
	}
	return best / (double)count * 1e9;
}

static double segmented(gh__normals *normals)
{
	double best = 1e9;

	for (int i = 0; i < RUNS; i++) {
		gh_error error = GH_ERROR_INIT;
		int64_t from = gh__now();

		must(gh__normals_fill(normals, NULL, &error), &error);
		best = seconds_since(from) < best ? seconds_since(from) : best;
	}
	return best / (double)normals->count * 1e9;
}

static double permutation(const gh__pcg64 *start)
{
	static uint32_t out[8196];
	double best = 1e9;

	for (int i = 0; i < 100 * RUNS; i++) {
		int64_t from = gh__now();
		gh__pcg64 rng = *start;

		gh__poc_permutation(out, sizeof out / sizeof out[0], &rng);
		best = seconds_since(from) < best ? seconds_since(from) : best;
	}
	return best * 1e6;
}

/* Nanoseconds a number, or 0: python3 or NumPy is not there. */
static double numpy(size_t count)
{
	static const char program[] = "python3 -c 'import numpy, time\n"
				      "out = numpy.empty(%zu)\n"
				      "best = 1e9\n"
				      "for run in range(4):\n"
				      "    rng = numpy.random.default_rng(run)\n"
				      "    start = time.perf_counter()\n"
				      "    rng.standard_normal(out=out)\n"
				      "    best = min(best, time.perf_counter() - start)\n"
				      "print(best)' 2>/dev/null";
	char command[sizeof program + 32], line[64] = "";
	FILE *python;

	snprintf(command, sizeof command, program, count);
	fflush(stdout);
	python = popen(command, "r");
	if (!python)
		return 0.0;
	if (!fgets(line, sizeof line, python))
		line[0] = '\0';
	pclose(python);
	return strtod(line, NULL) / (double)count * 1e9;
}

/* ---- whole proofs ---- */

typedef struct proofs {
	gh_poc_info info;
	double rate;    /* nonces a second */
	double ceiling; /* operations a second */
} proofs;

/* The best of `runs` batches, and of the ceilings before each of them and behind the last. */
static proofs measure(const char *set, int32_t batch, int32_t threads, uint32_t flags, int runs)
{
	gh_error error = GH_ERROR_INIT;
	gh_poc_options options = GH_POC_OPTIONS_INIT;
	gh_poc_params params;
	proofs p = { .rate = 0.0 };
	gh_poc *poc = NULL;
	uint64_t *nonces;
	double *dist, ceiling;

	must(gh_poc_params_named(&params, set, &error), &error);
	options.block_hash = SEED;
	options.params = &params;
	options.batch = batch;
	options.threads = threads;
	options.flags = flags;
	must(gh_poc_create(&poc, &options, &error), &error);
	gh_poc_info_get(poc, &p.info);
	nonces = calloc((size_t)p.info.batch, sizeof *nonces);
	dist = calloc((size_t)p.info.batch, sizeof *dist);
	if (!nonces || !dist)
		exit(EXIT_FAILURE);
	for (int32_t i = 0; i < p.info.batch; i++)
		nonces[i] = (uint64_t)i;
	must(gh_poc_distances(poc, "02", nonces, 1, dist, &error), &error); /* packs the layers */
	for (int i = 0; i <= runs; i++) {
		int64_t from;
		double rate;

		must(gh_poc_ceiling(poc, &ceiling, &error), &error);
		p.ceiling = ceiling > p.ceiling ? ceiling : p.ceiling;
		if (i == runs)
			break;
		from = gh__now();
		must(gh_poc_distances(poc, "02", nonces, (size_t)p.info.batch, dist, &error),
		     &error);
		rate = (double)p.info.batch / seconds_since(from);
		p.rate = rate > p.rate ? rate : p.rate;
	}
	gh_poc_free(poc);
	free(nonces);
	free(dist);
	return p;
}

static void tell(const char *set, const char *how, int threads, const proofs *p)
{
	double flops = p->rate * p->info.flops;

	printf("{\"bench\":\"proofs\",\"set\":\"%s\",\"how\":\"%s\",\"threads\":%d,\"batch\":%d,"
	       "\"nonces_s\":%.4g,\"gflop_s\":%.1f,\"ceiling_gflop_s\":%.1f,\"ratio\":%.3f}\n",
	       set, how, threads, (int)p->info.batch, p->rate, flops / 1e9, p->ceiling / 1e9,
	       flops / p->ceiling);
	fflush(stdout);
}

/* y[rows, n] = x[rows, k] W^T as a textbook has it. */
static void plain_product(float *y, const float *x, const float *w, int64_t rows, int64_t n,
			  int64_t k)
{
	for (int64_t row = 0; row < rows; row++)
		for (int64_t i = 0; i < n; i++) {
			float sum = 0.0F;

			for (int64_t j = 0; j < k; j++)
				sum += x[row * k + j] * w[i * k + j];
			y[row * n + i] = sum;
		}
}

/* Operations a second of plain loops over a layer's matrices, one nonce at a time and everything
 * else for nothing. */
static double plain_loops(const gh_poc_params *params, const gh_poc_info *info)
{
	int64_t dim = params->dim, hidden = info->hidden, rows = params->seq_len;
	int64_t kv = params->n_kv_heads * info->head_dim;
	const struct {
		int64_t n, k;
	} shapes[] = { { dim, dim },    { kv, dim },     { kv, dim },    { dim, dim },
		       { hidden, dim }, { dim, hidden }, { hidden, dim } };
	float *w = calloc((size_t)(dim * hidden), sizeof *w);
	float *x = calloc((size_t)(rows * hidden), sizeof *x);
	float *y = calloc((size_t)(rows * hidden), sizeof *y);
	double best = 1e9, flops = 0.0;

	if (!w || !x || !y)
		exit(EXIT_FAILURE);
	for (int64_t i = 0; i < dim * hidden; i++)
		w[i] = (float)(i % 97 - 48) * 1e-3F;
	for (int64_t i = 0; i < rows * hidden; i++)
		x[i] = (float)(i % 89 - 44) * 1e-2F;
	for (int run = 0; run < RUNS; run++) {
		int64_t from = gh__now();

		flops = 0.0;
		for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
			plain_product(y, x, w, rows, shapes[i].n, shapes[i].k);
			flops += 2.0 * (double)(rows * shapes[i].n * shapes[i].k);
		}
		best = seconds_since(from) < best ? seconds_since(from) : best;
	}
	free(w);
	free(x);
	free(y);
	return flops / best;
}

static void bench_proofs(void)
{
	gh_error error = GH_ERROR_INIT;
	gh_device_options options = GH_DEVICE_OPTIONS_INIT;
	gh_device_info device;
	gh_poc_params params;
	proofs ours, scalar;
	double plain;

	must(gh_device_info_get(&device, &options, &error), &error);
	ours = measure("testnet", 8, 0, 0, 2);
	tell("testnet", "vector kernels", device.threads, &ours);
	ours = measure("inttest", 0, 0, 0, RUNS);
	tell("inttest", "vector kernels", device.threads, &ours);
	scalar = measure("inttest", 4, 1, GH_DEVICE_SCALAR, 1);
	must(gh_poc_params_named(&params, "inttest", &error), &error);
	plain = plain_loops(&params, &ours.info) / ours.info.flops;
	printf("{\"bench\":\"naive\",\"set\":\"inttest\",\"how\":\"scalar kernels\",\"threads\":1,"
	       "\"nonces_s\":%.4g,\"times\":%.1f}\n",
	       scalar.rate, ours.rate / scalar.rate);
	printf("{\"bench\":\"naive\",\"set\":\"inttest\",\"how\":\"plain loops\",\"threads\":1,"
	       "\"nonces_s\":%.4g,\"times\":%.1f}\n",
	       plain, ours.rate / plain);
}

int main(int argc, char **argv)
{
	size_t count = argc > 1 ? strtoull(argv[1], NULL, 10) : 100000000;
	size_t some = count < 10000000 ? count : 10000000;
	static gh__normal_tables tables;
	gh_error error = GH_ERROR_INIT;
	gh__normals normals = {
		.tables = &tables, .dtype = GH_F16, .count = count, .deviation = 0.02
	};
	double draw, stream, ns[3], theirs;

	must(gh__normal_tables_make(&tables, &error), &error);
	must(gh__poc_seed_pool(&normals.start, SEED, &error), &error);
	/* zeroed memory that has not been touched would be fetched page by page in the first run */
	normals.out = malloc(count * sizeof(double) / 4 + some * sizeof(double));
	if (!normals.out)
		return EXIT_FAILURE;

	draw = raw_draws(&normals.start, some);
	printf("{\"bench\":\"draw\",\"ns\":%.3f}\n", draw);
	stream = one_stream(&tables, &normals.start, normals.out, some);
	printf("{\"bench\":\"normals\",\"how\":\"one stream\",\"threads\":1,\"count\":%zu,"
	       "\"ns\":%.3f,\"draws\":%.2f}\n",
	       some, stream, stream / draw);
	for (normals.threads = 1; normals.threads <= 2; normals.threads++) {
		ns[normals.threads] = segmented(&normals);
		printf("{\"bench\":\"normals\",\"how\":\"segments\",\"threads\":%u,\"count\":%zu,"
		       "\"ns\":%.3f,\"draws\":%.2f}\n",
		       normals.threads, count, ns[normals.threads], ns[normals.threads] / draw);
	}
	printf("{\"bench\":\"permutation\",\"count\":8196,\"us\":%.1f}\n",
	       permutation(&normals.start));
	free(normals.out);
	theirs = numpy(count);
	if (theirs > 0.0)
		printf("{\"bench\":\"numpy\",\"threads\":1,\"count\":%zu,\"ns\":%.3f,"
		       "\"times\":%.2f}\n",
		       count, theirs, theirs / ns[1]);
	bench_proofs();
	return EXIT_SUCCESS;
}
