#ifndef GH_POC_BINOMIAL_H
#define GH_POC_BINOMIAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <gonkahost/poc.h>

/*
 * Whether a batch of another participant is honest: how likely so many wrong entries are when each
 * is wrong by accident.
 */
#define GH__POC_WRONG_BY_ACCIDENT 5e-4

/* P[X >= k] of n trials that succeed with probability p, 0 < p < 1: to 1e-10 of its value for n up
 * to 10^7, also where it is very small. */
double gh__poc_binomial_tail(uint64_t k, uint64_t n, double p);

#endif
