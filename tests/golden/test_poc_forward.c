/*
 * Distances of whole nonces against those of the network's own nodes: the small test set to the
 * bit, the others within the noise that two honest machines have. With the argument "long": the
 * larger sets and more nonces.
 */
#include "forward.h"

START_TEST(small_set_is_exact_however_it_is_computed)
{
	static const way ways[] = { { 0, 0, 16, 0, 16 },
				    { 1, 1, 16, 0, 16 },
				    { 3, 2, 2, 0, 16 },
				    { 5, 3, 5, 0, 16 },
				    { 16, 2, 2, GH_DEVICE_SCALAR, 2 } };
	known k = known_of("inttest", 16);

	assert_ways(k.dist, &k, NULL, ways, COUNT(ways));
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
	assert_close("devtest", NULL, 16, 2e-6);
}
END_TEST

START_TEST(middle_set_is_close)
{
	assert_close("testnet", NULL, 2, 4e-6);
}
END_TEST

START_TEST(middle_set_is_close_for_more)
{
	assert_close("testnet", NULL, 16, 4e-6);
}
END_TEST

START_TEST(large_set_is_close)
{
	assert_close("mainnet", NULL, 2, 4e-6);
}
END_TEST

int main(int argc, char **argv)
{
	Suite *suite = suite_create("poc_forward");
	TCase *tests = tcase_create("poc_forward");
	int result;

	if (!open_forward()) {
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
