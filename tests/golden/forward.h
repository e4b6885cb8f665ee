#ifndef GH_TESTS_GOLDEN_FORWARD_H
#define GH_TESTS_GOLDEN_FORWARD_H

#include <math.h>
#include <stdio.h>
#include <string.h>

#include <gonkahost/poc.h>

#include "../unit/unit.h"
#include "json/json.h"

/* Distances of the network's own nodes, and networks of ours to be held against them. */

enum { NONCES_MAX = 16 };

static const char golden_file[] = GH_TEST_GOLDEN "/poc-v1-forward.json";
static json_t *golden;

typedef struct known {
	gh_poc_params params;
	uint64_t nonces[NONCES_MAX];
	double dist[NONCES_MAX];
	size_t count;
} known;

/* The file; NULL: not there. */
static inline json_t *open_forward(void)
{
	golden = json_load_file(golden_file, 0, NULL);
	return golden;
}

static inline known known_of(const char *set, size_t most)
{
	const json_t *list = json_object_get(json_object_get(json_object_get(golden, "sets"), set),
					     "reference_dist");
	known k = { .count = 0 };

	ck_assert_uint_ge(json_array_size(list), most);
	assert_ok(gh_poc_params_named(&k.params, set, error));
	for (; k.count < most; k.count++) {
		k.nonces[k.count] = k.count;
		k.dist[k.count] = strtod(json_string_value(json_array_get(list, k.count)), NULL);
	}
	return k;
}

static inline gh_poc_options options_for(const known *k)
{
	gh_poc_options options = GH_POC_OPTIONS_INIT;

	options.block_hash = json_string_value(json_object_get(golden, "block_hash"));
	options.params = &k->params;
	return options;
}

/* Distances of all its nonces with a network of these options. */
static inline void compute(double *dist, const known *k, const gh_poc_options *options)
{
	const char *key = json_string_value(json_object_get(golden, "public_key"));
	gh_poc *network = NULL;

	assert_ok(gh_poc_create(&network, options, error));
	assert_ok(gh_poc_distances(network, key, k->nonces, k->count, dist, error));
	gh_poc_free(network);
}

/* device: NULL for the best that is there. */
static inline void assert_close(const char *set, const char *device, size_t count, double rms_most)
{
	known k = known_of(set, count);
	gh_poc_options options = options_for(&k);
	double dist[NONCES_MAX], squares = 0.0, most = 0.0;

	options.device = device;
	options.budget = INT64_C(3600) << 20; /* a few layers of the large set at a time */
	compute(dist, &k, &options);
	for (size_t i = 0; i < count; i++) {
		double off = fabs(dist[i] - k.dist[i]);

		squares += off * off;
		most = off > most ? off : most;
	}
	fprintf(stderr, "# %s: %zu nonces, rms %.2g, max %.2g\n", set, count,
		sqrt(squares / (double)count), most);
	ck_assert_double_le(sqrt(squares / (double)count), rms_most);
	ck_assert_double_le(most, 1.5e-5);
}

/* A way to compute a set, which shows in no result. */
typedef struct way {
	int32_t batch, threads, slots;
	uint32_t flags;
	size_t count; /* nonces */
} way;

/* A budget that holds so many layers. */
static inline void compute_way(double *dist, known *k, const char *device, const way *w)
{
	gh_poc_options options = options_for(k);
	gh_poc_info info;

	options.device = device;
	options.batch = w->batch;
	options.threads = w->threads;
	options.flags = w->flags;
	k->count = w->count;
	assert_ok(gh_poc_inspect(&info, &options, error));
	options.budget = info.total_bytes - (info.layers_held - w->slots) * info.layer_bytes;
	assert_ok(gh_poc_inspect(&info, &options, error));
	ck_assert_int_eq(info.layers_held, w->slots);
	compute(dist, k, &options);
}

/* All ways give these distances, to the bit. */
static inline void assert_ways(const double *dist, known *k, const char *device, const way *ways,
			       size_t count)
{
	for (size_t i = 0; i < count; i++) {
		double got[NONCES_MAX];

		compute_way(got, k, device, &ways[i]);
		for (size_t j = 0; j < k->count; j++)
			ck_assert_msg(got[j] == dist[j], "way %zu, nonce %zu: %.17g, not %.17g", i,
				      j, got[j], dist[j]);
	}
}

#endif
