#include "pair.h"

#include "../golden/forward.h"

/*
 * Distances of whole nonces on a GPU against those of the network's own nodes, and against each
 * other: whatever is computed together, and however many layers are held.
 */

START_TEST(small_set_is_exact_however_it_is_computed)
{
	static const way ways[] = {
		{ 0, 0, 16, 0, 16 }, { 1, 0, 16, 0, 16 }, { 3, 1, 2, 0, 16 }, { 16, 2, 5, 0, 16 }
	};
	known k = known_of("inttest", 16);

	assert_ways(k.dist, &k, "cuda", ways, COUNT(ways));
}
END_TEST

START_TEST(tiled_and_scaled_set_is_close)
{
	assert_close("devtest", "cuda", 16, 2e-6);
}
END_TEST

START_TEST(middle_set_is_close)
{
	assert_close("testnet", "cuda", 16, 4e-6);
}
END_TEST

START_TEST(large_set_is_close)
{
	assert_close("mainnet", "cuda", 16, 4e-6);
}
END_TEST

START_TEST(no_batch_and_no_budget_shows)
{
	static const struct {
		const char *set;
		way ways[4];
	} sets[] = {
		{ "devtest",
		  { { 1, 0, 16, 0, 16 },
		    { 3, 0, 2, 0, 16 },
		    { 5, 0, 7, 0, 16 },
		    { 16, 0, 2, 0, 16 } } },
		{ "testnet",
		  { { 1, 0, 32, 0, 4 },
		    { 3, 0, 2, 0, 16 },
		    { 16, 0, 9, 0, 16 },
		    { 5, 0, 2, 0, 8 } } },
	};

	for (size_t i = 0; i < COUNT(sets); i++) {
		way all = { .slots = sets[i].ways[0].slots, .count = 16 };
		known k = known_of(sets[i].set, 16);
		double dist[NONCES_MAX];

		compute_way(dist, &k, "cuda", &all);
		assert_ways(dist, &k, "cuda", sets[i].ways, COUNT(sets[i].ways));
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("cuda_poc");
	TCase *tcase = tcase_create("poc");
	int result;

	if (!open_forward()) {
		printf("1..0 # SKIP %s is not there\n", golden_file);
		return 77;
	}
	suite_add_tcase(suite, tcase);
	tcase_add_test(tcase, small_set_is_exact_however_it_is_computed);
	tcase_add_test(tcase, tiled_and_scaled_set_is_close);
	tcase_add_test(tcase, middle_set_is_close);
	tcase_add_test(tcase, large_set_is_close);
	tcase_add_test(tcase, no_batch_and_no_budget_shows);
	result = pair_main(suite);
	json_decref(golden);
	return result;
}
