#ifndef GH_DEVICE_QUANTISE_H
#define GH_DEVICE_QUANTISE_H

#include <gonkahost/base.h>

/*
 * Conversions of whole arrays on the host: what the loading of weights needs.
 *
 * Exact or exactly rounded, element by element (see narrow.h), so how they are computed never
 * shows. dtypes: f32, f16, bf16, e4m3. Arrays do not overlap.
 */

/* dst[i] = round(src[i]); between two narrow dtypes through f32. */
void gh__convert(void *dst, gh_dtype dst_dtype, const void *src, gh_dtype src_dtype, size_t count);

/* max |src[i]|, 0 for an empty array; NaN if one is NaN. */
float gh__absmax(const void *src, gh_dtype dtype, size_t count);

/*
 * The weight rule: dst[i] = e4m3(clamp(src[i] * (1 / scale), -448, 448)). The reciprocal is formed
 * once and multiplied. scale is absmax / 448; 0 (a matrix of zeros) gives zeros.
 */
void gh__quantise_weight(uint8_t *dst, const void *src, gh_dtype dtype, size_t count, float scale);

/*
 * The activation rule, one row: *scale = max(absmax / 448, 1 / (448 * 512)), dst[i] =
 * e4m3(clamp(src[i] / *scale)), a true division.
 */
void gh__quantise_row(uint8_t *dst, const void *src, gh_dtype dtype, size_t count, float *scale);

#endif
