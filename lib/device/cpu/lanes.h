#ifndef GH_DEVICE_CPU_LANES_H
#define GH_DEVICE_CPU_LANES_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <gonkahost/base.h>

#include "device/narrow.h"

/*
 * Eight lanes of f32: what every kernel is written in.
 *
 * A kernel's source is compiled twice. With GH__LANES_AVX2 the lanes are a ymm register, without
 * they are a loop over eight numbers. Each function below is exactly rounded, or defined by exactly
 * rounded steps in a fixed order, so both give the same bits, and the scalar build runs anywhere.
 * GH__TWIN(name) keeps the two builds' symbols apart. Only the vector build needs everything
 * inlined and short loops unrolled.
 */
#if defined(GH__LANES_AVX2)

#include <immintrin.h>

#define GH__TWIN(name) name##_avx2
#define GH__INLINE     static inline __attribute__((always_inline))
#if defined(__clang__)
#define GH__UNROLL _Pragma("clang loop unroll(full)")
#else
#define GH__UNROLL _Pragma("GCC unroll 16")
#endif

typedef __m256 v8f;
typedef __m256i v8i; /* 32-bit lanes; as a mask: all ones or all zeros */

GH__INLINE v8f v8f_set1(float x)
{
	return _mm256_set1_ps(x);
}

GH__INLINE v8f v8f_zero(void)
{
	return _mm256_setzero_ps();
}

GH__INLINE v8f v8f_load(const float *p)
{
	return _mm256_loadu_ps(p);
}

GH__INLINE void v8f_store(float *p, v8f a)
{
	_mm256_storeu_ps(p, a);
}

GH__INLINE float v8f_first(v8f a)
{
	return _mm256_cvtss_f32(a);
}

GH__INLINE v8f v8f_add(v8f a, v8f b)
{
	return _mm256_add_ps(a, b);
}

GH__INLINE v8f v8f_sub(v8f a, v8f b)
{
	return _mm256_sub_ps(a, b);
}

GH__INLINE v8f v8f_mul(v8f a, v8f b)
{
	return _mm256_mul_ps(a, b);
}

GH__INLINE v8f v8f_div(v8f a, v8f b)
{
	return _mm256_div_ps(a, b);
}

GH__INLINE v8f v8f_fma(v8f a, v8f b, v8f c)
{
	return _mm256_fmadd_ps(a, b, c);
}

GH__INLINE v8f v8f_max(v8f a, v8f b)
{
	return _mm256_max_ps(a, b);
}

GH__INLINE v8f v8f_min(v8f a, v8f b)
{
	return _mm256_min_ps(a, b);
}

GH__INLINE v8i v8f_lt(v8f a, v8f b)
{
	return _mm256_castps_si256(_mm256_cmp_ps(a, b, _CMP_LT_OQ));
}

GH__INLINE v8i v8f_le(v8f a, v8f b)
{
	return _mm256_castps_si256(_mm256_cmp_ps(a, b, _CMP_LE_OQ));
}

GH__INLINE v8f v8f_select(v8i mask, v8f a, v8f b)
{
	return _mm256_blendv_ps(b, a, _mm256_castsi256_ps(mask));
}

GH__INLINE unsigned v8i_mask(v8i mask)
{
	return (unsigned)_mm256_movemask_ps(_mm256_castsi256_ps(mask));
}

GH__INLINE v8i v8f_bits(v8f a)
{
	return _mm256_castps_si256(a);
}

GH__INLINE v8f v8i_float(v8i a)
{
	return _mm256_castsi256_ps(a);
}

GH__INLINE v8i v8i_set1(int32_t x)
{
	return _mm256_set1_epi32(x);
}

GH__INLINE v8i v8i_iota(void)
{
	return _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
}

GH__INLINE v8i v8i_add(v8i a, v8i b)
{
	return _mm256_add_epi32(a, b);
}

GH__INLINE v8i v8i_sub(v8i a, v8i b)
{
	return _mm256_sub_epi32(a, b);
}

GH__INLINE v8i v8i_and(v8i a, v8i b)
{
	return _mm256_and_si256(a, b);
}

GH__INLINE v8i v8i_or(v8i a, v8i b)
{
	return _mm256_or_si256(a, b);
}

GH__INLINE v8i v8i_gt(v8i a, v8i b)
{
	return _mm256_cmpgt_epi32(a, b);
}

GH__INLINE v8i v8i_max(v8i a, v8i b)
{
	return _mm256_max_epi32(a, b);
}

/* Shifts by a constant: left, right with zeros, right with the sign. */
#define v8i_sll(a, n) _mm256_slli_epi32(a, n)
#define v8i_srl(a, n) _mm256_srli_epi32(a, n)
#define v8i_sra(a, n) _mm256_srai_epi32(a, n)

/* (0 + 4) + (2 + 6), (1 + 5) + (3 + 7), then the two. */
GH__INLINE float v8f_sum(v8f a)
{
	__m128 x = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));

	x = _mm_add_ps(x, _mm_movehl_ps(x, x));
	return _mm_cvtss_f32(_mm_add_ss(x, _mm_movehdup_ps(x)));
}

GH__INLINE float v8f_hmax(v8f a)
{
	__m128 x = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));

	x = _mm_max_ps(x, _mm_movehl_ps(x, x));
	return _mm_cvtss_f32(_mm_max_ss(x, _mm_movehdup_ps(x)));
}

GH__INLINE v8f v8f_load_bf16(const uint16_t *p)
{
	__m128i half = _mm_loadu_si128((const __m128i *)(const void *)p);

	return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16));
}

GH__INLINE v8f v8f_load_f16(const uint16_t *p)
{
	return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)p));
}

GH__INLINE void v8f_store_f16(uint16_t *p, v8f a)
{
	_mm_storeu_si128((__m128i *)(void *)p, _mm256_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT));
}

GH__INLINE v8i v8f_to_bf16_bits(v8f a)
{
	v8i bits = v8f_bits(a);
	v8i lsb = v8i_and(v8i_srl(bits, 16), v8i_set1(1));
	v8i rounded = v8i_srl(v8i_add(bits, v8i_add(lsb, v8i_set1(0x7fff))), 16);
	v8i quiet = v8i_or(v8i_srl(bits, 16), v8i_set1(0x40));
	__m256 nan = _mm256_cmp_ps(a, a, _CMP_UNORD_Q);

	return _mm256_blendv_epi8(rounded, quiet, _mm256_castps_si256(nan));
}

GH__INLINE void v8f_store_bf16(uint16_t *p, v8f a)
{
	__m256i words = _mm256_packus_epi32(v8f_to_bf16_bits(a), _mm256_setzero_si256());

	words = _mm256_permute4x64_epi64(words, 0x08);
	_mm_storeu_si128((__m128i *)(void *)p, _mm256_castsi256_si128(words));
}

/* e4m3 through f16: the exponent's bias differs by 8, and 0x7f must stay a NaN. */
GH__INLINE v8f v8f_load_e4m3(const uint8_t *p)
{
	__m128i word = _mm_cvtepi8_epi16(_mm_loadl_epi64((const __m128i *)(const void *)p));
	__m128i half = _mm_and_si128(_mm_slli_epi16(word, 7), _mm_set1_epi16((short)0xbf80));
	__m128i rest = _mm_and_si128(word, _mm_set1_epi16(0x7f));

	half = _mm_or_si128(half, _mm_srli_epi16(_mm_cmpeq_epi16(rest, _mm_set1_epi16(0x7f)), 1));
	return _mm256_mul_ps(_mm256_cvtph_ps(half), _mm256_set1_ps(256.0F));
}

/* Low bytes of the lanes. */
GH__INLINE void v8i_store_bytes(uint8_t *p, v8i a)
{
	__m128i words = _mm_packus_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));

	_mm_storel_epi64((__m128i *)(void *)p, _mm_packus_epi16(words, words));
}

GH__INLINE v8i v8f_truncate(v8f a)
{
	return _mm256_cvttps_epi32(a);
}

GH__INLINE v8f v8i_number(v8i a)
{
	return _mm256_cvtepi32_ps(a);
}

/* rows[i] lane j <-> rows[j] lane i. */
GH__INLINE void v8f_transpose(v8f rows[8])
{
	__m256 a0 = _mm256_unpacklo_ps(rows[0], rows[1]);
	__m256 a1 = _mm256_unpackhi_ps(rows[0], rows[1]);
	__m256 a2 = _mm256_unpacklo_ps(rows[2], rows[3]);
	__m256 a3 = _mm256_unpackhi_ps(rows[2], rows[3]);
	__m256 a4 = _mm256_unpacklo_ps(rows[4], rows[5]);
	__m256 a5 = _mm256_unpackhi_ps(rows[4], rows[5]);
	__m256 a6 = _mm256_unpacklo_ps(rows[6], rows[7]);
	__m256 a7 = _mm256_unpackhi_ps(rows[6], rows[7]);
	__m256 b0 = _mm256_shuffle_ps(a0, a2, 0x44);
	__m256 b1 = _mm256_shuffle_ps(a0, a2, 0xee);
	__m256 b2 = _mm256_shuffle_ps(a1, a3, 0x44);
	__m256 b3 = _mm256_shuffle_ps(a1, a3, 0xee);
	__m256 b4 = _mm256_shuffle_ps(a4, a6, 0x44);
	__m256 b5 = _mm256_shuffle_ps(a4, a6, 0xee);
	__m256 b6 = _mm256_shuffle_ps(a5, a7, 0x44);
	__m256 b7 = _mm256_shuffle_ps(a5, a7, 0xee);

	rows[0] = _mm256_permute2f128_ps(b0, b4, 0x20);
	rows[1] = _mm256_permute2f128_ps(b1, b5, 0x20);
	rows[2] = _mm256_permute2f128_ps(b2, b6, 0x20);
	rows[3] = _mm256_permute2f128_ps(b3, b7, 0x20);
	rows[4] = _mm256_permute2f128_ps(b0, b4, 0x31);
	rows[5] = _mm256_permute2f128_ps(b1, b5, 0x31);
	rows[6] = _mm256_permute2f128_ps(b2, b6, 0x31);
	rows[7] = _mm256_permute2f128_ps(b3, b7, 0x31);
}

#else

#define GH__TWIN(name) name##_scalar
#define GH__INLINE     static inline
#define GH__UNROLL

typedef struct v8f {
	float at[8];
} v8f;

typedef struct v8i {
	uint32_t at[8];
} v8i;

#define GH__LANES_MAP(type, name, params, expression) \
	GH__INLINE type name params                   \
	{                                             \
		type r;                               \
                                                      \
		for (int i = 0; i < 8; i++)           \
			r.at[i] = (expression);       \
		return r;                             \
	}

GH__LANES_MAP(v8f, v8f_set1, (float x), x)
GH__LANES_MAP(v8f, v8f_zero, (void), 0.0F)
GH__LANES_MAP(v8f, v8f_load, (const float *p), p[i])
GH__LANES_MAP(v8f, v8f_add, (v8f a, v8f b), a.at[i] + b.at[i])
GH__LANES_MAP(v8f, v8f_sub, (v8f a, v8f b), a.at[i] - b.at[i])
GH__LANES_MAP(v8f, v8f_mul, (v8f a, v8f b), a.at[i] * b.at[i])
GH__LANES_MAP(v8f, v8f_div, (v8f a, v8f b), a.at[i] / b.at[i])
GH__LANES_MAP(v8f, v8f_fma, (v8f a, v8f b, v8f c), fmaf(a.at[i], b.at[i], c.at[i]))
GH__LANES_MAP(v8f, v8f_max, (v8f a, v8f b), a.at[i] > b.at[i] ? a.at[i] : b.at[i])
GH__LANES_MAP(v8f, v8f_min, (v8f a, v8f b), a.at[i] < b.at[i] ? a.at[i] : b.at[i])
GH__LANES_MAP(v8i, v8f_lt, (v8f a, v8f b), a.at[i] < b.at[i] ? UINT32_MAX : 0)
GH__LANES_MAP(v8i, v8f_le, (v8f a, v8f b), a.at[i] <= b.at[i] ? UINT32_MAX : 0)
GH__LANES_MAP(v8f, v8f_select, (v8i mask, v8f a, v8f b), mask.at[i] >> 31 ? a.at[i] : b.at[i])
GH__LANES_MAP(v8i, v8f_bits, (v8f a), gh__f32_bits(a.at[i]))
GH__LANES_MAP(v8f, v8i_float, (v8i a), gh__f32_of(a.at[i]))
GH__LANES_MAP(v8i, v8i_set1, (int32_t x), (uint32_t)x)
GH__LANES_MAP(v8i, v8i_iota, (void), (uint32_t)i)
GH__LANES_MAP(v8i, v8i_add, (v8i a, v8i b), a.at[i] + b.at[i])
GH__LANES_MAP(v8i, v8i_sub, (v8i a, v8i b), a.at[i] - b.at[i])
GH__LANES_MAP(v8i, v8i_and, (v8i a, v8i b), a.at[i] & b.at[i])
GH__LANES_MAP(v8i, v8i_or, (v8i a, v8i b), a.at[i] | b.at[i])
GH__LANES_MAP(v8i, v8i_gt, (v8i a, v8i b), (int32_t)a.at[i] > (int32_t)b.at[i] ? UINT32_MAX : 0)
GH__LANES_MAP(v8i, v8i_max, (v8i a, v8i b), (int32_t)a.at[i] > (int32_t)b.at[i] ? a.at[i] : b.at[i])
GH__LANES_MAP(v8i, v8i_sll, (v8i a, int n), a.at[i] << n)
GH__LANES_MAP(v8i, v8i_srl, (v8i a, int n), a.at[i] >> n)
GH__LANES_MAP(v8i, v8i_sra, (v8i a, int n), (uint32_t)((int32_t)a.at[i] >> n))
GH__LANES_MAP(v8f, v8f_load_bf16, (const uint16_t *p), gh__bf16_to_f32(p[i]))
GH__LANES_MAP(v8f, v8f_load_f16, (const uint16_t *p), gh__f16_to_f32(p[i]))
GH__LANES_MAP(v8f, v8f_load_e4m3, (const uint8_t *p), gh__e4m3_to_f32(p[i]))
GH__LANES_MAP(v8i, v8f_truncate, (v8f a), (uint32_t)(int32_t)a.at[i])
GH__LANES_MAP(v8f, v8i_number, (v8i a), (float)(int32_t)a.at[i])

GH__INLINE void v8f_store(float *p, v8f a)
{
	memcpy(p, a.at, sizeof a.at);
}

GH__INLINE float v8f_first(v8f a)
{
	return a.at[0];
}

GH__INLINE unsigned v8i_mask(v8i mask)
{
	unsigned bits = 0;

	for (int i = 0; i < 8; i++)
		bits |= mask.at[i] >> 31 << i;
	return bits;
}

GH__INLINE float v8f_sum(v8f a)
{
	float x[4];

	for (int i = 0; i < 4; i++)
		x[i] = a.at[i] + a.at[i + 4];
	return (x[0] + x[2]) + (x[1] + x[3]);
}

GH__INLINE float v8f_hmax(v8f a)
{
	float x[4];

	for (int i = 0; i < 4; i++)
		x[i] = a.at[i] > a.at[i + 4] ? a.at[i] : a.at[i + 4];
	x[0] = x[0] > x[2] ? x[0] : x[2];
	x[1] = x[1] > x[3] ? x[1] : x[3];
	return x[0] > x[1] ? x[0] : x[1];
}

GH__INLINE void v8f_store_f16(uint16_t *p, v8f a)
{
	for (int i = 0; i < 8; i++)
		p[i] = gh__f32_to_f16(a.at[i]);
}

GH__INLINE void v8f_store_bf16(uint16_t *p, v8f a)
{
	for (int i = 0; i < 8; i++)
		p[i] = gh__f32_to_bf16(a.at[i]);
}

GH__INLINE void v8i_store_bytes(uint8_t *p, v8i a)
{
	for (int i = 0; i < 8; i++)
		p[i] = (uint8_t)a.at[i];
}

GH__INLINE void v8f_transpose(v8f rows[8])
{
	for (int i = 0; i < 8; i++) {
		for (int j = 0; j < i; j++) {
			float t = rows[i].at[j];

			rows[i].at[j] = rows[j].at[i];
			rows[j].at[i] = t;
		}
	}
}

#endif

/* ---- the same steps for both ---- */

GH__INLINE v8f v8f_abs(v8f a)
{
	return v8i_float(v8i_and(v8f_bits(a), v8i_set1(0x7fffffff)));
}

/* Eight elements from p[i] on; any dtype that the device computes with. */
GH__INLINE v8f v8f_load_as(gh_dtype dtype, const void *p, int64_t i)
{
	switch (dtype) {
	case GH_F16:
		return v8f_load_f16((const uint16_t *)p + i);
	case GH_BF16:
		return v8f_load_bf16((const uint16_t *)p + i);
	case GH_E4M3:
		return v8f_load_e4m3((const uint8_t *)p + i);
	default:
		return v8f_load((const float *)p + i);
	}
}

/* e4m3 values (still f32) that a becomes; NaN stays NaN. gh__e4m3_round() in lanes. */
GH__INLINE v8f v8f_round_e4m3(v8f a)
{
	v8i sign = v8i_and(v8f_bits(a), v8i_set1(INT32_MIN));
	v8f rest = v8f_min(v8f_set1(GH__E4M3_MAX), v8f_abs(a)); /* a NaN passes: it is second */
	v8i bits = v8f_bits(rest);
	v8i lsb = v8i_and(v8i_srl(bits, 20), v8i_set1(1));
	v8f magic = v8f_set1(0x1p14F);
	v8f small = v8f_sub(v8f_add(rest, magic), magic);
	v8f large;

	bits = v8i_add(bits, v8i_add(lsb, v8i_set1(0x7ffff)));
	large = v8i_float(v8i_and(bits, v8i_set1((int32_t)0xfff00000)));
	large = v8f_select(v8f_lt(rest, v8f_set1(0x1p-6F)), small, large);
	rest = v8f_select(v8f_le(rest, v8f_set1(GH__E4M3_MAX)), large, v8f_set1(NAN));
	return v8i_float(v8i_or(v8f_bits(rest), sign));
}

GH__INLINE void v8f_store_e4m3(uint8_t *p, v8f a)
{
	v8f value = v8f_round_e4m3(a);
	v8f rest = v8f_abs(value);
	v8i sign = v8i_and(v8i_srl(v8f_bits(value), 24), v8i_set1(0x80));
	v8i small = v8f_truncate(v8f_min(v8f_mul(rest, v8f_set1(0x1p9F)), v8f_set1(8.0F)));
	v8i large = v8i_srl(v8i_sub(v8f_bits(rest), v8i_set1(120 << 23)), 20);
	v8f code = v8f_select(v8f_lt(rest, v8f_set1(0x1p-6F)), v8i_float(small), v8i_float(large));

	code = v8i_float(v8i_or(v8f_bits(code), sign));
	code = v8f_select(v8f_le(rest, v8f_set1(GH__E4M3_MAX)), code, v8i_float(v8i_set1(0x7f)));
	v8i_store_bytes(p, v8f_bits(code));
}

GH__INLINE void v8f_store_as(gh_dtype dtype, void *p, int64_t i, v8f a)
{
	switch (dtype) {
	case GH_F16:
		v8f_store_f16((uint16_t *)p + i, a);
		break;
	case GH_BF16:
		v8f_store_bf16((uint16_t *)p + i, a);
		break;
	case GH_E4M3:
		v8f_store_e4m3((uint8_t *)p + i, a);
		break;
	default:
		v8f_store((float *)p + i, a);
		break;
	}
}

GH__INLINE size_t v8_element(gh_dtype dtype)
{
	return dtype == GH_F32 ? 4 : dtype == GH_E4M3 ? 1 : 2;
}

/* The first n (at most 8) of eight elements; the others read as zero. */
GH__INLINE v8f v8f_load_n(gh_dtype dtype, const void *p, int64_t i, int64_t n)
{
	_Alignas(32) unsigned char pad[32] = { 0 };

	if (n >= 8)
		return v8f_load_as(dtype, p, i);
	memcpy(pad, (const char *)p + (size_t)i * v8_element(dtype), (size_t)n * v8_element(dtype));
	return v8f_load_as(dtype, pad, 0);
}

GH__INLINE void v8f_store_n(gh_dtype dtype, void *p, int64_t i, v8f a, int64_t n)
{
	_Alignas(32) unsigned char pad[32];

	if (n >= 8) {
		v8f_store_as(dtype, p, i, a);
		return;
	}
	v8f_store_as(dtype, pad, 0, a);
	memcpy((char *)p + (size_t)i * v8_element(dtype), pad, (size_t)n * v8_element(dtype));
}

/* Round to a dtype and widen again. */
GH__INLINE v8f v8f_round(gh_dtype dtype, v8f a)
{
#if defined(GH__LANES_AVX2)
	if (dtype == GH_F16)
		return _mm256_cvtph_ps(_mm256_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT));
	if (dtype == GH_BF16)
		return v8i_float(v8i_sll(v8f_to_bf16_bits(a), 16));
#else
	for (int i = 0; i < 8 && dtype == GH_F16; i++)
		a.at[i] = gh__f16_to_f32(gh__f32_to_f16(a.at[i]));
	for (int i = 0; i < 8 && dtype == GH_BF16; i++)
		a.at[i] = gh__bf16_to_f32(gh__f32_to_bf16(a.at[i]));
#endif
	return a;
}

/*
 * e^x to about one last place; exp(0) = 1, exp(-inf) = +0, exp(x > 89) = inf, NaN stays NaN.
 *
 * n = x / ln 2 rounded, r = x - n ln 2 in two steps, Taylor's polynomial of degree 7 (its rest is
 * below 2^-27 for |r| <= ln 2 / 2), then 2^n as two factors so that subnormals come out rounded.
 */
GH__INLINE v8f v8f_exp(v8f x)
{
	const v8f magic = v8f_set1(0x1.8p23F);
	v8f shifted, n, r, y;
	v8i e, half;

	x = v8f_max(v8f_set1(-104.0F), x); /* a NaN passes: it is second */
	x = v8f_min(v8f_set1(89.0F), x);
	shifted = v8f_fma(x, v8f_set1(0x1.715476p0F), magic);
	n = v8f_sub(shifted, magic);
	r = v8f_fma(n, v8f_set1(-0x1.62e43p-1F), x);
	r = v8f_fma(n, v8f_set1(0x1.05c61p-29F), r);
	y = v8f_set1(1.0F / 5040);
	y = v8f_fma(y, r, v8f_set1(1.0F / 720));
	y = v8f_fma(y, r, v8f_set1(1.0F / 120));
	y = v8f_fma(y, r, v8f_set1(1.0F / 24));
	y = v8f_fma(y, r, v8f_set1(1.0F / 6));
	y = v8f_fma(y, r, v8f_set1(0.5F));
	y = v8f_fma(y, r, v8f_set1(1.0F));
	y = v8f_fma(y, r, v8f_set1(1.0F));
	e = v8i_sub(v8f_bits(shifted), v8f_bits(magic));
	half = v8i_sra(e, 1);
	y = v8f_mul(y, v8i_float(v8i_sll(v8i_add(half, v8i_set1(127)), 23)));
	return v8f_mul(y, v8i_float(v8i_sll(v8i_add(v8i_sub(e, half), v8i_set1(127)), 23)));
}

/* round(round(silu(g)) u), silu(g) = g / (1 + exp(-g)). */
GH__INLINE v8f v8f_glu(gh_dtype act, v8f gate, v8f up)
{
	v8f negative = v8f_sub(v8f_zero(), gate);
	v8f silu = v8f_div(gate, v8f_add(v8f_set1(1.0F), v8f_exp(negative)));

	return v8f_round(act, v8f_mul(v8f_round(act, silu), up));
}

#endif
