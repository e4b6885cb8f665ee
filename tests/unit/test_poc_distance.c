#include <math.h>
#include <string.h>

#include "poc/binomial.h"
#include "poc/distance.h"
#include "poc/permutation.h"
#include "poc/seed.h"
#include "unit.h"

#define COUNT_MAX 20000

static gh__normal_tables tables;

static void setup(void)
{
	assert_ok(gh__normal_tables_make(&tables, error));
}

/* Over lengths around those at which the order of the sum changes. */
START_TEST(test_distances)
{
	static const uint32_t counts[] = {
		2,   3,    7,    8,    9,    15,   16,   127,   128,
		129, 1000, 8191, 8192, 8193, 8196, 8200, 16384, COUNT_MAX
	};
	static uint32_t permutation[COUNT_MAX];
	static double target[COUNT_MAX];
	static float logits[COUNT_MAX];

	for (size_t i = 0; i < COUNT(counts); i++) {
		double norm = 0.0, product = 0.0, squares = 0.0, wide;
		uint32_t count = counts[i], drawn = 0;
		gh__pcg64 rng;

		assert_ok(gh__poc_target(target, count, &tables, "AB", error));
		assert_ok(gh__poc_seed_permutation(&rng, "AB", "key", count, error));
		gh__poc_permutation(permutation, count, &rng);
		for (uint32_t j = 0; j < count; j++)
			logits[j] = (float)gh__normal(&tables, &rng, &drawn);
		for (uint32_t j = 0; j < count; j++) {
			double y = (double)logits[permutation[j]];

			norm += target[j] * target[j];
			product += target[j] * y;
			squares += y * y;
		}
		ck_assert(fabs(norm - 1.0) < 1e-12);
		ck_assert(fabs(gh__poc_norm(target, count) - 1.0) < 1e-14);
		wide = sqrt(2.0 - 2.0 * product / sqrt(squares));
		ck_assert(fabs(gh__poc_distance(logits, permutation, target, count) - wide) < 1e-6);

		for (uint32_t j = 0; j < count; j++) /* the target itself is very near */
			logits[permutation[j]] = (float)target[j];
		ck_assert(gh__poc_distance(logits, permutation, target, count) < 1e-6);

		logits[count / 2] = NAN;
		ck_assert(isnan(gh__poc_distance(logits, permutation, target, count)));
		memset(logits, 0, sizeof logits);
		ck_assert(isnan(gh__poc_distance(logits, permutation, target, count)));
	}
}
END_TEST

/* The sum of squares in NumPy's order, written out for a length with every kind of rest. */
START_TEST(test_order_of_sums)
{
	enum { VALUES = 8192 + 21 };
	static double values[VALUES], squares[VALUES];
	gh__pcg64 rng;
	uint32_t draws = 0;
	double runs[2] = { 0.0 }, leaves[64], r[8];

	assert_ok(gh__poc_seed(&rng, "sums", 1, error));
	for (int i = 0; i < VALUES; i++) {
		values[i] = gh__normal(&tables, &rng, &draws);
		squares[i] = values[i] * values[i];
	}
	for (int leaf = 0; leaf < 64; leaf++) {
		for (int i = 0; i < 128; i++)
			r[i % 8] = i < 8 ? squares[128 * leaf + i]
					 : r[i % 8] + squares[128 * leaf + i];
		leaves[leaf] = ((r[0] + r[1]) + (r[2] + r[3])) + ((r[4] + r[5]) + (r[6] + r[7]));
	}
	for (int width = 64; width > 1; width /= 2)
		for (int i = 0; i < width / 2; i++)
			leaves[i] = leaves[2 * i] + leaves[2 * i + 1];
	runs[0] = leaves[0];
	for (int i = 0; i < 16; i++)
		r[i % 8] = i < 8 ? squares[8192 + i] : r[i % 8] + squares[8192 + i];
	runs[1] = ((r[0] + r[1]) + (r[2] + r[3])) + ((r[4] + r[5]) + (r[6] + r[7]));
	for (int i = 16; i < 21; i++)
		runs[1] += squares[8192 + i];
	ck_assert(gh__poc_norm(values, VALUES) == sqrt(runs[0] + runs[1]));
}
END_TEST

START_TEST(test_tail)
{
	double p = GH__POC_WRONG_BY_ACCIDENT;

	ck_assert(gh__poc_binomial_tail(0, 0, p) == 1.0);
	ck_assert(gh__poc_binomial_tail(1, 0, p) == 0.0);
	ck_assert(gh__poc_binomial_tail(201, 200, p) == 0.0);
	ck_assert(gh__poc_binomial_tail(200, 200, p) == 0.0); /* far below any f64 */
	ck_assert(fabs(gh__poc_binomial_tail(1, 1, p) - p) < 1e-15);
	/* by symmetry */
	ck_assert(fabs(gh__poc_binomial_tail(51, 101, 0.5) - 0.5) < 1e-12);
	ck_assert(fabs(gh__poc_binomial_tail(50001, 100001, 0.5) - 0.5) < 1e-11);
	for (uint64_t n = 1; n <= 20000; n = n * 3 + 1) {
		double before = 1.0;

		for (uint64_t k = 0; k <= n && k < 200; k++) {
			double tail = gh__poc_binomial_tail(k, n, p), none;

			ck_assert(tail >= 0.0 && tail <= before);
			before = tail;
			if (k != 1)
				continue;
			none = -expm1((double)n * log1p(-p)); /* 1 - P[none] */
			ck_assert(fabs(tail - none) <= 1e-10 * none);
		}
	}
}
END_TEST

START_TEST(test_least_fraud)
{
	static const struct {
		size_t n, k;
	} least[] = { { 10, 3 },   { 50, 4 },    { 100, 5 },   { 200, 5 },   { 500, 7 },
		      { 1000, 8 }, { 2000, 11 }, { 5000, 15 }, { 10000, 21 } };
	static double claimed[10000], computed[10000];

	for (size_t i = 0; i < COUNT(least); i++)
		for (size_t k = least[i].k - 1; k <= least[i].k; k++) {
			gh_poc_verdict verdict;

			for (size_t j = 0; j < least[i].n; j++) {
				claimed[j] = 1.39;
				computed[j] = j < k ? 1.5 : 1.39;
			}
			assert_ok(gh_poc_judge(&verdict, claimed, computed, least[i].n, 1.4, 1e-7,
					       error));
			ck_assert_uint_eq(verdict.n_invalid, k);
			ck_assert_int_eq(verdict.fraud_detected, k == least[i].k);
		}
}
END_TEST

START_TEST(test_verdicts)
{
	double claimed[3] = { 1.1, 1.2, 1.3 }, computed[3] = { 1.4, 1.4, 1.4 };
	gh_poc_verdict verdict = { 77, 0.0, true };

	/* on the border is valid, and so is infinitely near; what is claimed plays no part */
	computed[1] = -INFINITY;
	assert_ok(gh_poc_judge(&verdict, claimed, computed, 3, 1.4, 1e-7, error));
	ck_assert_uint_eq(verdict.n_invalid, 0);
	ck_assert(verdict.probability_honest == 1.0);
	ck_assert(!verdict.fraud_detected);
	computed[1] = nextafter(1.4, 2.0);
	assert_ok(gh_poc_judge(&verdict, claimed, computed, 3, 1.4, 1e-7, error));
	ck_assert_uint_eq(verdict.n_invalid, 1);
	ck_assert(!verdict.fraud_detected);
	/* the threshold itself is no fraud */
	assert_ok(gh_poc_judge(&verdict, claimed, computed, 3, 1.4, verdict.probability_honest,
			       error));
	ck_assert(!verdict.fraud_detected);
	assert_ok(gh_poc_judge(&verdict, claimed, computed, 3, 1.4,
			       nextafter(verdict.probability_honest, 1.0), error));
	ck_assert(verdict.fraud_detected);
	/* an empty batch is never fraud */
	assert_ok(gh_poc_judge(&verdict, NULL, NULL, 0, 1.4, 2.0, error));
	ck_assert(verdict.probability_honest == 1.0);
	ck_assert(!verdict.fraud_detected);

	verdict.n_invalid = 77;
	computed[2] = NAN;
	assert_fails(GH_ENUMERIC, "computed distance 2",
		     gh_poc_judge(&verdict, claimed, computed, 3, 1.4, 1e-7, error));
	claimed[1] = 1.4;
	assert_fails(GH_EINVAL, "dist[1]: 1.3999999999999999 is not below",
		     gh_poc_judge(&verdict, claimed, computed, 3, 1.4, 1e-7, error));
	claimed[1] = NAN;
	assert_fails(GH_EINVAL, "dist[1]: nan",
		     gh_poc_judge(&verdict, claimed, computed, 3, 1.4, 1e-7, error));
	assert_fails(GH_EINVAL, "r_target",
		     gh_poc_judge(&verdict, claimed, computed, 3, NAN, 1e-7, error));
	assert_fails(GH_EINVAL, "fraud_threshold",
		     gh_poc_judge(&verdict, claimed, computed, 3, 1.4, NAN, error));
	ck_assert_uint_eq(verdict.n_invalid, 77);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("poc_distance");
	TCase *tc = tcase_create("distance");

	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_test(tc, test_distances);
	tcase_add_test(tc, test_order_of_sums);
	tcase_add_test(tc, test_tail);
	tcase_add_test(tc, test_least_fraud);
	tcase_add_test(tc, test_verdicts);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
