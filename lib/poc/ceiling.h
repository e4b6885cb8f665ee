#ifndef GH_POC_CEILING_H
#define GH_POC_CEILING_H

#include "model/runner.h"
#include "poc/tensors.h"

/*
 * The rate of the device's own products with the matrices of one layer, at the rows of a whole
 * batch: what the proofs of a network cannot surpass on this device. Runs in the runner's own
 * buffers, between steps, on numbers of the pool.
 */
gh_status gh__poc_ceiling(double *flops_per_second, const gh__runner *runner,
			  const gh__poc_pool *pool, gh_error *error);

#endif
