/*
 * Distances of whole nonces against those of the network's own nodes: the small test set to the
 * bit, the others within the noise that two honest machines have. With the argument "long": the
 * larger sets and more nonces.
 */
#include "../unit/unit.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include <gonkahost/poc.h>

#include "json/json.h"

enum { NONCES_MAX = 16 };

static const char golden_file[] = GH_TEST_GOLDEN "/poc-v1-forward.json";
static json_t *golden;

typedef struct known {
	gh_poc_params params;
	uint64_t nonces[NONCES_MAX];
	double dist[NONCES_MAX];
	size_t count;
} known;

static known known_of(const char *set, size_t most)
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

static gh_poc_options options_for(const known *k)
{
	gh_poc_options options = GH_POC_OPTIONS_INIT;

	options.block_hash = json_string_value(json_object_get(golden, "block_hash"));
	options.params = &k->params;
	return options;
}

/* Distances of all its nonces with a network of these options. */
static void compute(double *dist, const known *k, const gh_poc_options *options)
{
	const char *key = json_string_value(json_object_get(golden, "public_key"));
	gh_poc *network = NULL;

	assert_ok(gh_poc_create(&network, options, error));
	assert_ok(gh_poc_distances(network, key, k->nonces, k->count, dist, error));
	gh_poc_free(network);
}

static void assert_close(const char *set, size_t count, double rms_most)
{
	known k = known_of(set, count);
	gh_poc_options options = options_for(&k);
	double dist[NONCES_MAX], squares = 0.0, most = 0.0;

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

START_TEST(small_set_is_exact_however_it_is_computed)
{
	static const struct {
		int32_t batch, threads, slots;
		uint32_t flags;
	} ways[] = { { 0, 0, 16, 0 },
		     { 1, 1, 16, 0 },
		     { 3, 2, 2, 0 },
		     { 5, 3, 5, 0 },
		     { 16, 2, 2, GH_DEVICE_SCALAR } };
	known k = known_of("inttest", 16);

	for (size_t i = 0; i < COUNT(ways); i++) {
		gh_poc_options options = options_for(&k);
		double dist[NONCES_MAX];
		gh_poc_info info;

		options.batch = ways[i].batch;
		options.threads = ways[i].threads;
		options.flags = ways[i].flags;
		k.count = ways[i].flags ? 2 : 16;
		assert_ok(gh_poc_inspect(&info, &options, error));
		options.budget =
			info.total_bytes - (info.layers_held - ways[i].slots) * info.layer_bytes;
		assert_ok(gh_poc_inspect(&info, &options, error));
		ck_assert_int_eq(info.layers_held, ways[i].slots);
		compute(dist, &k, &options);
		for (size_t j = 0; j < k.count; j++)
			ck_assert_msg(dist[j] == k.dist[j], "way %zu, nonce %zu: %.17g, not %.17g",
				      i, j, dist[j], k.dist[j]);
	}
}
END_TEST

START_TEST(budgets_are_held)
{
	known k = known_of("mainnet", 1);
	gh_poc_options options = options_for(&k);
	gh_poc_info info;

	options.budget = INT64_C(4) << 30;
	assert_ok(gh_poc_inspect(&info, &options, error));
	ck_assert_int_le(info.total_bytes, options.budget);
	ck_assert_int_ge(info.layers_held, 2);
	ck_assert_int_ge(info.batch, 1);
	options.budget = INT64_C(2) << 30;
	assert_fails(GH_ENOMEM, "one nonce needs", gh_poc_inspect(&info, &options, error));
	/* What is needed is enough. */
	options.budget = INT64_C(4) << 30;
	options.batch = 1;
	assert_ok(gh_poc_inspect(&info, &options, error));
	options.budget = info.total_bytes - (info.layers_held - 2) * info.layer_bytes;
	assert_ok(gh_poc_inspect(&info, &options, error));
	ck_assert_int_eq(info.batch, 1);
	ck_assert_int_eq(info.layers_held, 2);
	options.budget--;
	assert_fails(GH_ENOMEM, "bytes are too few", gh_poc_inspect(&info, &options, error));
}
END_TEST

START_TEST(tiled_and_scaled_set_is_close)
{
	assert_close("devtest", 16, 2e-6);
}
END_TEST

START_TEST(middle_set_is_close)
{
	assert_close("testnet", 2, 4e-6);
}
END_TEST

START_TEST(middle_set_is_close_for_more)
{
	assert_close("testnet", 16, 4e-6);
}
END_TEST

START_TEST(large_set_is_close)
{
	assert_close("mainnet", 2, 4e-6);
}
END_TEST

int main(int argc, char **argv)
{
	Suite *suite = suite_create("poc_forward");
	TCase *tests = tcase_create("poc_forward");
	int result;

	golden = json_load_file(golden_file, 0, NULL);
	if (!golden) {
		printf("1..0 # SKIP %s is not there\n", golden_file);
		return EXIT_SUCCESS;
	}
	if (argc > 1 && strcmp(argv[1], "long") == 0) {
		tcase_add_test(tests, middle_set_is_close_for_more);
		tcase_add_test(tests, large_set_is_close);
	} else {
		tcase_add_test(tests, small_set_is_exact_however_it_is_computed);
		tcase_add_test(tests, budgets_are_held);
		tcase_add_test(tests, tiled_and_scaled_set_is_close);
		tcase_add_test(tests, middle_set_is_close);
	}
	suite_add_tcase(suite, tests);
	result = unit_main(suite);
	json_decref(golden);
	return result;
}
