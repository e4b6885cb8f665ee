#ifndef GH_DEVICE_CPU_MICRO_H
#define GH_DEVICE_CPU_MICRO_H

#include "device/cpu/lanes.h"

/*
 * The inner product of every matrix kernel: a few rows of x times panels of 16 outputs.
 *
 * A panel holds, for k = 0, 1, ..., the 16 weights w[0 .. 16)[k] next to each other, so an output is
 * a lane and its sum is one chain of fused multiply-adds over ascending k, whatever the rows beside
 * it are. The chain may be cut anywhere: it continues from what acc holds.
 *
 * Weights are widened on the way, exactly. bf16 panels are stored in pairs (j, j + 8), so that a
 * shift and a mask widen them. e4m3 weights are widened to their value times 2^-8, by moving their
 * bits into f16; x must come in times 2^8.
 */
typedef enum weight_kind { WEIGHT_F32, WEIGHT_F16, WEIGHT_BF16, WEIGHT_E4M3 } weight_kind;

enum { MICRO_ROWS = 6, MICRO_PANELS = 4 };

GH__INLINE size_t weight_size(weight_kind kind)
{
	return kind == WEIGHT_F32 ? 4 : kind == WEIGHT_E4M3 ? 1 : 2;
}

/* The 16 weights of one k. */
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
 * acc[r][p] (16 numbers each) continues, or begins from 0, with x[r][0 .. k) w[p][0 .. k).
 * rows, panels, kind: constants at compile time. x: rows x_stride apart; w: panels w_panel bytes
 * apart; acc: rows acc_row, panels acc_panel floats apart.
 */
GH__INLINE void micro(weight_kind kind, int rows, int panels, const float *x, int64_t x_stride,
		      const unsigned char *w, size_t w_panel, int64_t k, float *acc, size_t acc_row,
		      size_t acc_panel, bool begin)
{
	v8f sum[MICRO_ROWS][MICRO_PANELS][2];
	const size_t step = weight_size(kind) * 16;

	GH__UNROLL
	for (int r = 0; r < rows; r++) {
		GH__UNROLL
		for (int p = 0; p < panels; p++) {
			const float *from = acc + (size_t)r * acc_row + (size_t)p * acc_panel;

			sum[r][p][0] = begin ? v8f_zero() : v8f_load(from);
			sum[r][p][1] = begin ? v8f_zero() : v8f_load(from + 8);
		}
	}
	for (int64_t i = 0; i < k; i++) {
		GH__UNROLL
		for (int p = 0; p < panels; p++) {
			v8f weight[2];

			load_weights(kind, w + (size_t)p * w_panel, weight);
			GH__UNROLL
			for (int r = 0; r < rows; r++) {
				v8f factor = v8f_set1(x[r * x_stride]);

				sum[r][p][0] = v8f_fma(factor, weight[0], sum[r][p][0]);
				sum[r][p][1] = v8f_fma(factor, weight[1], sum[r][p][1]);
			}
		}
		w += step;
		x++;
	}
	GH__UNROLL
	for (int r = 0; r < rows; r++) {
		GH__UNROLL
		for (int p = 0; p < panels; p++) {
			float *to = acc + (size_t)r * acc_row + (size_t)p * acc_panel;

			v8f_store(to, sum[r][p][0]);
			v8f_store(to + 8, sum[r][p][1]);
		}
	}
}

#endif
