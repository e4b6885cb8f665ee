/*
 * How fast the proofs' random numbers are drawn: bench_poc [COUNT]
 *
 * COUNT normal numbers (10^8) as the weight pool has them, in one stream and cut into segments by one
 * and two threads, beside the raw draws that bound them. One JSON line a measurement, the best of
 * several runs each; "ns" is of wall time and for one number, "draws" how many raw draws that is.
 */
#include <stdio.h>
#include <stdlib.h>

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

int main(int argc, char **argv)
{
	size_t count = argc > 1 ? strtoull(argv[1], NULL, 10) : 100000000;
	size_t some = count < 10000000 ? count : 10000000;
	static gh__normal_tables tables;
	gh_error error = GH_ERROR_INIT;
	gh__normals normals = {
		.tables = &tables, .dtype = GH_F16, .count = count, .deviation = 0.02
	};
	double draw, stream;

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
		double ns = segmented(&normals);

		printf("{\"bench\":\"normals\",\"how\":\"segments\",\"threads\":%u,\"count\":%zu,"
		       "\"ns\":%.3f,\"draws\":%.2f}\n",
		       normals.threads, count, ns, ns / draw);
	}
	printf("{\"bench\":\"permutation\",\"count\":8196,\"us\":%.1f}\n",
	       permutation(&normals.start));
	free(normals.out);
	return EXIT_SUCCESS;
}
