#ifndef GH_KERNELS_LINEAR_SM90_STORE_CUH
#define GH_KERNELS_LINEAR_SM90_STORE_CUH

#include "linear_sm90.cuh"

/*
 * A warpgroup's sums become y, straight from registers. The four lanes of a row exchange what they
 * hold of four groups of eight columns, so that each stores 16 bytes and the row 64.
 */

template <gh_dtype out> __device__ __forceinline__ uint32_t gh_sm90_pack(float low, float high)
{
	uint32_t packed;

	if (out == GH_F16)
		asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
	else
		asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
	return packed;
}

/* Lane t of four gets, in v[i], what lane i had in v[t]. */
__device__ __forceinline__ void gh_sm90_turn(uint32_t (&v)[4])
{
	const bool odd = threadIdx.x & 1, upper = threadIdx.x & 2;
	uint32_t got;

#pragma unroll
	for (int i = 0; i < 4; i += 2) {
		got = __shfl_xor_sync(~0U, odd ? v[i] : v[i + 1], 1);
		v[i] = odd ? got : v[i];
		v[i + 1] = odd ? v[i + 1] : got;
	}
#pragma unroll
	for (int i = 0; i < 2; i++) {
		got = __shfl_xor_sync(~0U, upper ? v[i] : v[i + 2], 2);
		v[i] = upper ? got : v[i];
		v[i + 2] = upper ? v[i + 2] : got;
	}
}

/* Eight columns of a row, or as many as are left. */
__device__ __forceinline__ void gh_sm90_put(uint16_t *y, const uint32_t (&v)[4], int64_t left,
					    bool whole)
{
	if (whole && left >= 8) {
		*reinterpret_cast<uint4 *>(y) = make_uint4(v[0], v[1], v[2], v[3]);
		return;
	}
#pragma unroll
	for (int i = 0; i < 8; i++)
		if (i < left)
			y[i] = static_cast<uint16_t>(v[i / 2] >> i % 2 * 16);
}

/*
 * Four groups of eight columns of y from `first` on, of row `row` if it is there. sum: a thread's
 * sums of them, `step` groups of W's rows for one of y's columns, of the upper or lower row.
 */
template <typename T, int step, gh_dtype out>
__device__ __forceinline__ void gh_sm90_write_four(const gh_linear_epilogue &e, const float *sum,
						   int64_t row, bool there, float scale,
						   int64_t first, bool whole)
{
	constexpr gh_linear_scaling scaling = gh_sm90_kind<T>::scaling;
	const int64_t last = e.columns - 1;
	const int t = threadIdx.x % 4;
	uint32_t v[4];

#pragma unroll
	for (int i = 0; i < 4; i++) {
		const float *gate = sum + i * step * 4, *up = gate + (step - 1) * 4;
		const int64_t c = first + i * 8 + 2 * t;

		if (out == GH_F32) {
			if (there)
				gh_linear_store<scaling>(e, row, c, gate, up, scale);
			continue;
		}
		v[i] = gh_sm90_pack<out>(gh_linear_value<scaling>(e, gate[0], up[0], scale,
								  c < last ? c : last),
					 gh_linear_value<scaling>(e, gate[1], up[1], scale,
								  c < last ? c + 1 : last));
	}
	if (out == GH_F32)
		return;
	gh_sm90_turn(v);
	if (there)
		gh_sm90_put(static_cast<uint16_t *>(e.y) + row * e.y_stride + first + t * 8, v,
			    e.columns - first - t * 8, whole);
}

/* All sums of a thread: of row `row` those at 4 j and 4 j + 1, then of the row 8 further. */
template <typename T, bool glu, gh_dtype out, int sums>
__device__ __forceinline__ void gh_sm90_write_rows(const gh_sm90_linear &a,
						   const float (&sum)[sums], int64_t row,
						   int64_t column)
{
	constexpr int step = glu ? 2 : 1;
	gh_linear_epilogue e = a.epilogue;
	float scale[2] = { 1.0F, 1.0F };

	e.glu = glu;
	e.out = out;
	if (glu)
		e.bias = NULL; /* SWIGLU has none: registers */
	for (int i = 0; i < 2; i++)
		if (gh_sm90_kind<T>::scaling == GH_LINEAR_BOTH && row + 8 * i < a.m)
			scale[i] = e.x_scale[row + 8 * i];
#pragma unroll
	for (int j = 0; j < sums; j += 16 * step)
#pragma unroll
		for (int i = 0; i < 2; i++)
			gh_sm90_write_four<T, step, out>(e, sum + j + 2 * i, row + 8 * i,
							 row + 8 * i < a.m, scale[i],
							 (column + 2 * j) / step, a.chunks);
}

/* The 64 rows from `row` on, of sums / 4 groups of eight of W's rows from `column` on. */
template <typename T, int sums>
__device__ __forceinline__ void gh_sm90_write(const gh_sm90_linear &a, const float (&sum)[sums],
					      int64_t row, int64_t column)
{
	const gh_dtype out = a.epilogue.out;
	const bool glu = a.epilogue.glu;

	row += threadIdx.x % 128 / 32 * 16 + threadIdx.x % 32 / 4; /* a warp has 16 rows */
	if (out == GH_F16 && glu)
		gh_sm90_write_rows<T, true, GH_F16>(a, sum, row, column);
	else if (out == GH_F16)
		gh_sm90_write_rows<T, false, GH_F16>(a, sum, row, column);
	else if (out == GH_BF16 && glu)
		gh_sm90_write_rows<T, true, GH_BF16>(a, sum, row, column);
	else if (out == GH_BF16)
		gh_sm90_write_rows<T, false, GH_BF16>(a, sum, row, column);
	else if (glu)
		gh_sm90_write_rows<T, true, GH_F32>(a, sum, row, column);
	else
		gh_sm90_write_rows<T, false, GH_F32>(a, sum, row, column);
}

#endif
