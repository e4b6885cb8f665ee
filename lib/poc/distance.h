#ifndef GH_POC_DISTANCE_H
#define GH_POC_DISTANCE_H

#include "poc/normal.h"

#include <gonkahost/base.h>

/*
 * How far a nonce's logits are from the round's target, with NumPy's order of sums.
 */

/* The unit vector that the block hash fixes. count: vocab_size. */
gh_status gh__poc_target(double *out, uint32_t count, const gh__normal_tables *tables,
			 const char *block_hash, gh_error *error);

/* permutation acts on the logits: its j-th entry is the one compared with target[j]. NaN when a
 * logit is, or when all are 0. */
double gh__poc_distance(const float *logits, const uint32_t *permutation, const double *target,
			uint32_t count);

/* The square root of the sum of squares, as the target is divided by. */
double gh__poc_norm(const double *values, uint32_t count);

#endif
