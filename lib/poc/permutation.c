#include "poc/permutation.h"

/* The smallest 2^t - 1 that is not below value, which is not 0. */
static uint32_t mask_of(uint32_t value)
{
	return UINT32_MAX >> __builtin_clz(value);
}

void gh__poc_permutation(uint32_t *out, uint32_t count, gh__pcg64 *rng)
{
	for (uint32_t i = 0; i < count; i++)
		out[i] = i;
	for (uint32_t i = count; i-- > 1;) {
		uint32_t mask = mask_of(i), j, moved;

		do
			j = gh__pcg64_draw32(rng) & mask;
		while (j > i);
		moved = out[i];
		out[i] = out[j];
		out[j] = moved;
	}
}
