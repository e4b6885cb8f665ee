#include <math.h>
#include <string.h>

#include <gonkahost/poc.h>

#include "poc/normal.h"
#include "poc/permutation.h"
#include "poc/seed.h"
#include "unit.h"

static gh__pcg64 seeded(const char *string)
{
	gh__pcg64 rng;

	assert_ok(gh__poc_seed(&rng, string, 4, error));
	return rng;
}

static bool same_state(const gh__pcg64 *a, const gh__pcg64 *b)
{
	return a->state == b->state && a->inc == b->inc && a->half == b->half &&
	       a->has_half == b->has_half;
}

/* A missing word counts as 0. */
START_TEST(test_mix_few_words)
{
	static const uint32_t zero = 0;
	uint32_t none[GH__SEED_POOL], one[GH__SEED_POOL];

	gh__seed_mix(none, NULL, 0);
	gh__seed_mix(one, &zero, 1);
	ck_assert_mem_eq(none, one, sizeof none);
}
END_TEST

START_TEST(test_jump_is_steps)
{
	gh__pcg64 start = seeded("jump"), stepped = start;

	for (uint64_t draws = 0; draws < 3000; draws++) {
		gh__pcg64 jumped = start;

		gh__pcg64_jump(&jumped, draws);
		ck_assert(same_state(&jumped, &stepped));
		gh__pcg64_draw(&stepped);
	}
	for (int bit = 12; bit < 64; bit++) { /* far: two jumps are one */
		gh__pcg64 once = start, twice = start;

		gh__pcg64_jump(&once, (UINT64_C(1) << bit) + 12345);
		gh__pcg64_jump(&twice, 12345);
		gh__pcg64_jump(&twice, UINT64_C(1) << bit);
		ck_assert(same_state(&once, &twice));
	}
}
END_TEST

START_TEST(test_halves)
{
	gh__pcg64 rng = seeded("halves"), whole = rng;

	for (int i = 0; i < 100; i++) {
		uint64_t draw = gh__pcg64_draw(&whole);

		ck_assert_uint_eq(gh__pcg64_draw32(&rng), (uint32_t)draw);
		ck_assert_uint_eq(gh__pcg64_draw32(&rng), (uint32_t)(draw >> 32));
	}
	for (int i = 0; i < 1000; i++) {
		double unit = gh__pcg64_unit(&rng);

		ck_assert(unit >= 0.0 && unit < 1.0);
	}
}
END_TEST

START_TEST(test_seed_strings)
{
	gh__pcg64 made, written;

	assert_ok(gh__poc_seed_pool(&made, "AB", error));
	assert_ok(gh__poc_seed(&written, "AB", 4, error));
	ck_assert(same_state(&made, &written));
	assert_ok(gh__poc_seed_input(&made, "AB", "key", 17, error));
	assert_ok(gh__poc_seed(&written, "AB_key_nonce17", 4, error));
	ck_assert(same_state(&made, &written));
	assert_ok(gh__poc_seed_permutation(&made, "AB", "key", UINT64_MAX, error));
	assert_ok(
		gh__poc_seed(&written, "AB_key_nonce_18446744073709551615_permutations", 1, error));
	ck_assert(same_state(&made, &written));
	assert_ok(gh__poc_seed_target(&made, "", error));
	assert_ok(gh__poc_seed(&written, "_target", 1, error));
	ck_assert(same_state(&made, &written));
}
END_TEST

START_TEST(test_long_strings)
{
	char text[GH__POC_SEED_MAX + 2];
	uint32_t words[GH__POC_DIGEST_WORDS], hash;
	gh__pcg64 rng;

	memset(text, 'x', sizeof text);
	text[sizeof text - 1] = '\0';
	assert_fails(GH_ETOOBIG, "2049 bytes", gh__poc_words(words, text, 1, error));
	assert_fails(GH_ETOOBIG, "block_hash", gh__poc_seed_pool(&rng, text, error));
	text[GH__POC_SEED_MAX] = '\0';
	assert_ok(gh__poc_seed_pool(&rng, text, error));
	assert_fails(GH_ETOOBIG, "at most 2048", gh__poc_seed_target(&rng, text, error));
	assert_fails(GH_ETOOBIG, "public_key", gh__poc_seed_input(&rng, "AB", text, 1, error));
	assert_fails(GH_ETOOBIG, "public_key",
		     gh__poc_seed_permutation(&rng, text, text, 1, error));
	assert_fails(GH_ETOOBIG, "block_hash", gh__poc_name_hash(&hash, text, "norm", error));
}
END_TEST

START_TEST(test_nonces_are_shared)
{
	enum { NODES = 3, GROUPS = 2, EACH = 20 };
	int seen[NODES * GROUPS * EACH] = { 0 };
	uint64_t nonce;

	for (uint64_t node = 0; node < NODES; node++)
		for (uint64_t group = 0; group < GROUPS; group++)
			for (uint64_t i = 0; i < EACH; i++) {
				assert_ok(
					gh_poc_nonce(&nonce, node, NODES, group, GROUPS, i, error));
				ck_assert_uint_eq(nonce, node + group * NODES + i * GROUPS * NODES);
				seen[nonce]++;
			}
	for (int i = 0; i < NODES * GROUPS * EACH; i++)
		ck_assert_int_eq(seen[i], 1);
	/* Networks count their nodes from 0 or from 1. */
	assert_ok(gh_poc_nonce(&nonce, 3, 3, 0, 1, 2, error));
	ck_assert_uint_eq(nonce, 9);
	assert_fails(GH_EINVAL, "node_count: 0", gh_poc_nonce(&nonce, 0, 0, 0, 1, 0, error));
	assert_fails(GH_EINVAL, "group: 2", gh_poc_nonce(&nonce, 0, 3, 2, 2, 0, error));
	assert_fails(GH_ETOOBIG, "nonce", gh_poc_nonce(&nonce, 1, 2, 0, 1, UINT64_MAX, error));
	assert_fails(GH_ETOOBIG, "node_count",
		     gh_poc_nonce(&nonce, 1, UINT64_MAX, 0, 2, UINT64_MAX, error));
	assert_ok(gh_poc_nonce(&nonce, 0, 1, 0, 1, INT64_MAX, error));
	ck_assert_uint_eq(nonce, INT64_MAX);
}
END_TEST

START_TEST(test_permutations)
{
	for (uint32_t count = 0; count < 300; count++) {
		gh__pcg64 rng = seeded("permutation");
		uint32_t order[300];
		bool seen[300] = { false };

		gh__poc_permutation(order, count, &rng);
		for (uint32_t i = 0; i < count; i++) {
			ck_assert_uint_lt(order[i], count);
			ck_assert(!seen[order[i]]);
			seen[order[i]] = true;
		}
	}
}
END_TEST

START_TEST(test_normal_moments)
{
	static gh__normal_tables tables;
	gh__pcg64 rng = seeded("moments"), jumped = rng;
	double sum = 0.0, squares = 0.0;
	uint64_t draws = 0;
	enum { NORMALS = 1000000 };

	assert_ok(gh__normal_tables_make(&tables, error));
	for (int i = 0; i < NORMALS; i++) {
		uint32_t taken = 0;
		double x = gh__normal(&tables, &rng, &taken);

		ck_assert_uint_ge(taken, 1);
		draws += taken;
		sum += x;
		squares += x * x;
	}
	gh__pcg64_jump(&jumped, draws); /* the draws are counted right */
	ck_assert(same_state(&jumped, &rng));
	ck_assert(fabs(sum / NORMALS) < 0.005);
	ck_assert(fabs(squares / NORMALS - 1.0) < 0.01);
	ck_assert(fabs((double)draws / NORMALS - 1.02206) < 0.001);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("poc_random");
	TCase *tc = tcase_create("random");

	tcase_add_test(tc, test_mix_few_words);
	tcase_add_test(tc, test_jump_is_steps);
	tcase_add_test(tc, test_halves);
	tcase_add_test(tc, test_seed_strings);
	tcase_add_test(tc, test_long_strings);
	tcase_add_test(tc, test_nonces_are_shared);
	tcase_add_test(tc, test_permutations);
	tcase_add_test(tc, test_normal_moments);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
