#ifndef GH_POC_PERMUTATION_H
#define GH_POC_PERMUTATION_H

#include "poc/random.h"

/* NumPy's permutation(count) of a fresh generator. */
void gh__poc_permutation(uint32_t *out, uint32_t count, gh__pcg64 *rng);

#endif
