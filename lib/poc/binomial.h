#ifndef GH_POC_BINOMIAL_H
#define GH_POC_BINOMIAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <gonkahost/base.h>

/*
 * Whether a batch of another participant is honest: how likely so many wrong entries are when each
 * is wrong by accident.
 */
#define GH__POC_WRONG_BY_ACCIDENT 5e-4

/* P[X >= k] of n trials that succeed with probability p, 0 < p < 1: to 1e-10 of its value for n up
 * to 10^7, also where it is very small. */
double gh__poc_binomial_tail(uint64_t k, uint64_t n, double p);

typedef struct gh__poc_verdict {
	uint64_t n_invalid;
	double probability_honest;
	bool fraud_detected;
} gh__poc_verdict;

/*
 * Judge count claimed distances by the computed ones. GH_EINVAL: r_target or the threshold is no
 * number, or a claimed distance is none or not below r_target, which makes no hit; GH_ENUMERIC: a
 * computed distance is none.
 */
gh_status gh__poc_verdict_of(gh__poc_verdict *out, const double *claimed, const double *computed,
			     size_t count, double r_target, double fraud_threshold,
			     gh_error *error);

#endif
