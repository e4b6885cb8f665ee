#include "device/quantise.h"

#include "device/cpu/machine.h"

void gh__convert(void *dst, gh_dtype dst_dtype, const void *src, gh_dtype src_dtype, size_t count)
{
	gh__cpu_best()->convert(dst, dst_dtype, src, src_dtype, count);
}

float gh__absmax(const void *src, gh_dtype dtype, size_t count)
{
	return gh__cpu_best()->absmax(src, dtype, count);
}

void gh__quantise_weight(uint8_t *dst, const void *src, gh_dtype dtype, size_t count, float scale)
{
	gh__cpu_best()->quantise_weight(dst, src, dtype, count, scale);
}

void gh__quantise_row(uint8_t *dst, const void *src, gh_dtype dtype, size_t count, float *scale)
{
	gh__cpu_best()->quantise_row(dst, src, dtype, count, scale);
}
