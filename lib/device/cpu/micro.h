#ifndef GH_DEVICE_CPU_MICRO_H
#define GH_DEVICE_CPU_MICRO_H

#include "device/cpu/lanes.h"

/*
 * The inner product of every matrix kernel: a few rows of x times 16 or 32 outputs.
 *
 * Weights of neighbouring outputs lie next to each other for k = 0, 1, ..., so an output is a lane
 * and its sum is one chain of fused multiply-adds over ascending k, whatever the rows beside it
 * are. The chain may be cut anywhere: it continues from what acc holds.
 *
 * Weights are widened on the way, exactly. bf16 weights are stored in pairs (j, j + 8), so that a
 * shift and a mask widen 16 of them. e4m3 weights are widened to their value times 2^-8, by moving
 * their bits into f16; x must come in times 2^8.
 */
typedef enum weight_kind { WEIGHT_F32, WEIGHT_F16, WEIGHT_BF16, WEIGHT_E4M3 } weight_kind;

enum { MICRO_ROWS = 6, MICRO_HALF = 16 }; /* rows at most; outputs of two registers */

GH__INLINE size_t weight_size(weight_kind kind)
{
	return kind == WEIGHT_F32 ? 4 : kind == WEIGHT_E4M3 ? 1 : 2;
}

/* 16 weights of one k. */
GH__INLINE void load_weights(weight_kind kind, const unsigned char *w, v8f out[2])
{
	if (kind == WEIGHT_F32) {
		out[0] = v8f_load((const float *)(const void *)w);
		out[1] = v8f_load((const float *)(const void *)w + 8);
	} else if (kind == WEIGHT_F16) {
		out[0] = v8f_load_f16((const uint16_t *)(const void *)w);
		out[1] = v8f_load_f16((const uint16_t *)(const void *)w + 8);
#if defined(GH__LANES_AVX2)
	} else if (kind == WEIGHT_BF16) {
		__m256i pairs = _mm256_loadu_si256((const __m256i *)(const void *)w);

		out[0] = v8i_float(_mm256_slli_epi32(pairs, 16));
		out[1] = v8i_float(_mm256_and_si256(pairs, _mm256_set1_epi32(~0xffff)));
	} else {
		__m256i words =
			_mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)w));

		words = _mm256_and_si256(_mm256_slli_epi16(words, 7),
					 _mm256_set1_epi16((short)0xbf80));
		out[0] = _mm256_cvtph_ps(_mm256_castsi256_si128(words));
		out[1] = _mm256_cvtph_ps(_mm256_extracti128_si256(words, 1));
	}
#else
	} else if (kind == WEIGHT_BF16) {
		for (int i = 0; i < 8; i++) {
			out[0].at[i] = gh__bf16_to_f32(((const uint16_t *)(const void *)w)[2 * i]);
			out[1].at[i] =
				gh__bf16_to_f32(((const uint16_t *)(const void *)w)[2 * i + 1]);
		}
	} else {
		for (int i = 0; i < 16; i++)
			out[i / 8].at[i % 8] = gh__e4m3_to_f32(w[i]) * 0x1p-8F;
	}
#endif
}

/*
 * acc[r][h] (16 numbers each) continues, or begins from 0, with the sums over [0, k) of x[r] w[h].
 * kind, rows, halves, w_step: constants at compile time. x: rows x_stride apart; w: w_step bytes
 * from k to k, halves next to each other; acc: rows acc_row floats apart, halves next to each
 * other.
 *
 * One row streams through weights at the speed of memory, which the machine's own prefetching does
 * best. With more rows, the weights wanted next are asked for meanwhile: from `ahead` on,
 * ahead_step bytes for every k.
 */
GH__INLINE void micro(weight_kind kind, int rows, int halves, const float *x, int64_t x_stride,
		      const unsigned char *w, size_t w_step, const unsigned char *ahead,
		      size_t ahead_step, int64_t k, float *acc, size_t acc_row, bool begin)
{
	const size_t half = weight_size(kind) * MICRO_HALF;
	v8f sum[MICRO_ROWS][2][2];

	GH__UNROLL
	for (int r = 0; r < rows; r++) {
		GH__UNROLL
		for (int h = 0; h < halves; h++) {
			const float *from = acc + (size_t)r * acc_row + h * MICRO_HALF;

			sum[r][h][0] = begin ? v8f_zero() : v8f_load(from);
			sum[r][h][1] = begin ? v8f_zero() : v8f_load(from + 8);
		}
	}
	for (int64_t i = 0; i < k; i++, w += w_step, x++) {
		if (rows > 1) {
			__builtin_prefetch(ahead, 0, 2);
			ahead += ahead_step;
		}
		GH__UNROLL
		for (int h = 0; h < halves; h++) {
			v8f weight[2];

			/* Three rows fill the registers: load x again rather than keep it. */
			if (rows == 3)
				__asm__ volatile("" ::: "memory");
			load_weights(kind, w + (size_t)h * half, weight);
			GH__UNROLL
			for (int r = 0; r < rows; r++) {
				v8f factor = v8f_set1(x[r * x_stride]);

				sum[r][h][0] = v8f_fma(factor, weight[0], sum[r][h][0]);
				sum[r][h][1] = v8f_fma(factor, weight[1], sum[r][h][1]);
			}
		}
	}
	GH__UNROLL
	for (int r = 0; r < rows; r++) {
		GH__UNROLL
		for (int h = 0; h < halves; h++) {
			float *to = acc + (size_t)r * acc_row + h * MICRO_HALF;

			v8f_store(to, sum[r][h][0]);
			v8f_store(to + 8, sum[r][h][1]);
		}
	}
}

#endif
