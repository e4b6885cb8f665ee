#ifndef GH_TESTS_TENSOR_CORE_H
#define GH_TESTS_TENSOR_CORE_H

#include <limits.h>

#include "device.h"

/*
 * The step of a tensor core, written with doubles, which hold every product: what a device opened
 * with GH_DEVICE_TENSOR_CORE must equal to the bit.
 */
enum { CORE = GH_DEVICE_TENSOR_CORE };

static const device_case core_cases[] = {
	{ 1, CORE }, { 1, CORE | GH_DEVICE_SCALAR }, { 3, CORE }, { 2, CORE | GH_DEVICE_SCALAR }
};

enum { CORES = sizeof core_cases / sizeof *core_cases };

/* A subnormal number has the exponent of the smallest normal one. Not of zeros. */
static inline int exponent_of(gh_dtype type, float x)
{
	int least = type == GH_F16 ? -14 : type == GH_E4M3 ? -6 : -126;
	int e = ilogbf(x);

	return e < least ? least : e;
}

/* `bits` significant bits of x, the rest cut off. */
static inline double cut(double x, int bits)
{
	int e;

	frexp(x, &e);
	return ldexp(trunc(ldexp(x, bits - e)), e - bits);
}

static inline float plain_step(gh_dtype type, const float *a, const float *b, int64_t n, float c)
{
	const int fraction = type == GH_E4M3 ? 13 : 25, bits = type == GH_E4M3 ? 14 : 24;
	int most = INT_MIN;
	double sum = 0;

	if (!isfinite(c))
		return NAN;
	if (c != 0)
		most = exponent_of(GH_F32, c);
	for (int64_t i = 0; i < n; i++) {
		if (!isfinite(a[i]) || !isfinite(b[i]))
			return NAN;
		if (a[i] != 0 && b[i] != 0) {
			int e = exponent_of(type, a[i]) + exponent_of(type, b[i]);

			most = e > most ? e : most;
		}
	}
	if (most == INT_MIN)
		return 0;
	/* Whole numbers below 2^33. */
	sum = trunc(ldexp(c, fraction - most));
	for (int64_t i = 0; i < n; i++)
		sum += trunc(ldexp((double)a[i] * b[i], fraction - most));
	return (float)ldexp(cut(sum, bits), most - fraction);
}

static inline float plain_chain(gh_dtype type, const float *a, const float *b, int64_t n, float c)
{
	int64_t step = type == GH_E4M3 ? 32 : 16;

	for (int64_t i = 0; i < n; i += step)
		c = plain_step(type, a + i, b + i, n - i < step ? n - i : step, c);
	return c;
}

#endif
