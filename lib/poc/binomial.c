#include "poc/binomial.h"

#include <math.h>

#include "base/error.h"

#define NEGLIGIBLE 0x1p-60

/* P[X = k]; in long double, for the logarithms of large n are large and nearly cancel. */
static double point(uint64_t k, uint64_t n, double p)
{
	int sign;
	long double ways = lgammal_r((long double)n + 1, &sign) -
			   lgammal_r((long double)k + 1, &sign) -
			   lgammal_r((long double)(n - k) + 1, &sign);

	return (double)expl(ways + (long double)k * logl((long double)p) +
			    (long double)(n - k) * log1pl(-(long double)p));
}

/* Terms k, k + 1 ... until they no longer count. */
static double sum_up(uint64_t k, uint64_t n, double p)
{
	double term = point(k, n, p), sum = term;
	double odds = p / (1.0 - p), mean = (double)n * p;

	for (uint64_t i = k; i < n; i++) {
		if (term <= sum * NEGLIGIBLE && (double)i > mean)
			break;
		term *= (double)(n - i) / (double)(i + 1) * odds;
		sum += term;
	}
	return sum;
}

/* Terms k, k - 1 ... 0, likewise. */
static double sum_down(uint64_t k, uint64_t n, double p)
{
	double term = point(k, n, p), sum = term;
	double odds = (1.0 - p) / p, mean = (double)n * p;

	for (uint64_t i = k; i > 0; i--) {
		if (term <= sum * NEGLIGIBLE && (double)i < mean)
			break;
		term *= (double)i / (double)(n - i + 1) * odds;
		sum += term;
	}
	return sum;
}

double gh__poc_binomial_tail(uint64_t k, uint64_t n, double p)
{
	if (k == 0)
		return 1.0;
	if (k > n)
		return 0.0;
	if ((double)k <= (double)n * p)
		return fmax(1.0 - sum_down(k - 1, n, p), 0.0);
	return fmin(sum_up(k, n, p), 1.0);
}

size_t gh_poc_filter(uint64_t *nonces, double *dist, size_t count, double r_target)
{
	size_t kept = 0;

	for (size_t i = 0; i < count; i++) {
		if (!(dist[i] < r_target))
			continue;
		nonces[kept] = nonces[i];
		dist[kept++] = dist[i];
	}
	return kept;
}

gh_status gh_poc_judge(gh_poc_verdict *out, const double *claimed, const double *computed,
		       size_t count, double r_target, double fraud_threshold, gh_error *error)
{
	gh_poc_verdict verdict = { 0 };

	if (isnan(r_target))
		return gh__fail(error, GH_EINVAL, "r_target: not a number");
	if (isnan(fraud_threshold))
		return gh__fail(error, GH_EINVAL, "fraud_threshold: not a number");
	for (size_t i = 0; i < count; i++) {
		if (!(claimed[i] < r_target))
			return gh__fail(error, GH_EINVAL,
					"dist[%zu]: %.17g is not below r_target, %.17g", i,
					claimed[i], r_target);
		if (isnan(computed[i]))
			return gh__fail(error, GH_ENUMERIC,
					"computed distance %zu: not a number, where %.17g was "
					"claimed",
					i, claimed[i]);
		verdict.n_invalid += computed[i] > r_target;
	}
	verdict.probability_honest =
		gh__poc_binomial_tail(verdict.n_invalid, count, GH__POC_WRONG_BY_ACCIDENT);
	verdict.fraud_detected = count > 0 && verdict.probability_honest < fraud_threshold;
	*out = verdict;
	return GH_OK;
}
