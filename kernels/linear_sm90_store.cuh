#ifndef GH_KERNELS_LINEAR_SM90_STORE_CUH
#define GH_KERNELS_LINEAR_SM90_STORE_CUH

#include "linear_sm90.cuh"

/*
 * A warpgroup's sums become y. Where y is of 16 bits and a tensor map can describe it, a warp lays
 * pieces of 16 rows and 64 columns into shared memory of its own, from where they are copied while
 * it goes on; otherwise straight from registers, slowly.
 */
/* Where a warp writes to: its `pieces` places, used in turn, and its first row and column of y. */
typedef struct gh_sm90_out {
	uint32_t at;
	int row, column;
} gh_sm90_out;

template <gh_dtype out> __device__ __forceinline__ uint32_t gh_sm90_pack(float low, float high)
{
	uint32_t packed;

	if (out == GH_F16)
		asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
	else
		asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
	return packed;
}

template <gh_dtype out> __device__ __forceinline__ float2 gh_sm90_unpack(uint32_t packed)
{
	if (out == GH_F16)
		return __half22float2(*reinterpret_cast<__half2 *>(&packed));
	return make_float2(__uint_as_float(packed << 16), __uint_as_float(packed & 0xffff0000U));
}

/* Two of y from two gates and two ups. A product of f16s is exact in f32, so it is rounded once. */
template <gh_dtype out> __device__ __forceinline__ uint32_t gh_sm90_glu(uint32_t gate, uint32_t up)
{
	const float2 g = gh_sm90_unpack<out>(gate), u = gh_sm90_unpack<out>(up);
	const uint32_t s = gh_sm90_pack<out>(gh_silu_narrow(g.x), gh_silu_narrow(g.y));
	const float2 v = gh_sm90_unpack<out>(s);
	uint32_t y;

	if (out != GH_F16)
		return gh_sm90_pack<out>(__fmul_rn(v.x, u.x), __fmul_rn(v.y, u.y));
	asm("mul.rn.f16x2 %0, %1, %2;" : "=r"(y) : "r"(s), "r"(up));
	return y;
}

/*
 * Eight columns of W's outputs rounded: v[0] of row g, v[1] of row g + 8. sum: the thread's four of
 * them; column: of its first two, as desc counts them, the last of its kind being `last`.
 */
template <typename T, gh_dtype out>
__device__ __forceinline__ void gh_sm90_finish(const gh_linear_epilogue &e, const float *sum,
					       const float (&scale)[2], int64_t column,
					       int64_t last, uint32_t *v)
{
	constexpr gh_linear_scaling scaling = gh_sm90_kind<T>::scaling;
	const int64_t c = column < last ? column : last, next = column < last ? column + 1 : last;

#pragma unroll
	for (int i = 0; i < 2; i++)
		v[i] = gh_sm90_pack<out>(gh_linear_finish<scaling>(e, sum[2 * i], scale[i], c),
					 gh_linear_finish<scaling>(e, sum[2 * i + 1], scale[i],
								   next));
}

/* 16 columns of y rounded, from 16 sums with SWIGLU and 8 without: v[i] as gh_store_tiles. */
template <typename T, gh_dtype out>
__device__ __forceinline__ void gh_sm90_finish_plain(const gh_linear_epilogue &e, const float *sum,
						     const float (&scale)[2], int64_t column,
						     uint32_t (&v)[4])
{
	for (int i = 0; i < 2; i++)
		gh_sm90_finish<T, out>(e, sum + 4 * i, scale, column + 8 * i, e.columns - 1,
				       v + 2 * i);
}

/* The same with SWIGLU, up to the rounding of gates, v[0 .. 1], and ups, v[2 .. 3]: twice. */
template <typename T, gh_dtype out>
__device__ __forceinline__ void gh_sm90_finish_glu(const gh_linear_epilogue &e, const float *sum,
						   const float (&scale)[2], int64_t column,
						   uint32_t *v)
{
	for (int i = 0; i < 2; i++) {
		gh_sm90_finish<T, out>(e, sum + 8 * i, scale, column + 8 * i, e.columns - 1,
				       v + 4 * i);
		gh_sm90_finish<T, out>(e, sum + 8 * i + 4, scale, e.columns + column + 8 * i,
				       2 * e.columns - 1, v + 4 * i + 2);
	}
}

/* 16 columns, the quarter `part` of a piece, into it; the first quarter waits until it is free. */
template <int pieces>
__device__ __forceinline__ void gh_sm90_lay(const gh_sm90_out &to, int piece, int part,
					    const uint32_t (&v)[4])
{
	const int lane = threadIdx.x % 32, row = lane % 16, chunk = 2 * part + lane / 16;
	const uint32_t at = to.at + piece % pieces * GH_SM90_PIECE;

	if (part == 0) {
		if (lane == 0)
			gh_copy_out_wait<pieces - 1>();
		__syncwarp();
	}
	gh_store_tiles(at + row * GH_SM90_BLOCK + (chunk ^ row % 8) * 16, v);
}

/* A whole piece on its way. */
template <int pieces>
__device__ __forceinline__ void gh_sm90_send(const gh_sm90_linear &a, const gh_sm90_out &to,
					     int piece)
{
	gh_copy_out_begin();
	__syncwarp();
	if (threadIdx.x % 32 == 0) {
		gh_copy_out(&a.y, to.at + piece % pieces * GH_SM90_PIECE,
			    to.column + piece * GH_SM90_PIECE_COLUMNS, to.row);
		gh_copy_out_mark();
	}
}

/* The scales of that many of W's columns, or of their gates and ups, are wanted soon: by a warp. */
__device__ __forceinline__ void gh_sm90_warm(const gh_sm90_linear &a, int column, int columns)
{
	const gh_linear_epilogue &e = a.epilogue;
	const int lane = threadIdx.x % 32, lines = columns / 32, half = e.glu ? lines / 2 : lines;
	const int64_t n = column + lane % half * 32;

	if (lane < lines && n < e.columns)
		asm volatile("prefetch.global.L1 [%0];"
			     :
			     : "l"(e.w_scale + n + (lane < half ? 0 : e.columns)));
}

/* The scales of a thread's rows. */
template <typename T>
__device__ __forceinline__ void gh_sm90_scales(const gh_sm90_linear &a, int row, float (&scale)[2])
{
	row += threadIdx.x % 32 / 4;
	for (int i = 0; i < 2; i++)
		scale[i] = gh_sm90_kind<T>::scaling == GH_LINEAR_BOTH && row + 8 * i < a.m
				   ? a.epilogue.x_scale[row + 8 * i]
				   : 1.0F;
}

/* All of a warp's sums by way of its pieces. */
template <typename T, bool glu, bool bias, gh_dtype out, int pieces, int sums>
__device__ __forceinline__ void gh_sm90_write_pieces(const gh_sm90_linear &a,
						     const float (&sum)[sums],
						     const float (&scale)[2], const gh_sm90_out &to)
{
	constexpr int per = glu ? 16 : 8; /* sums of 16 columns */
	gh_linear_epilogue e = a.epilogue;

	if (!bias)
		e.bias = NULL;
#pragma unroll
	for (int i = 0; i < sums / per; i++) {
		const int column = to.column + i * 16 + threadIdx.x % 4 * 2;
		uint32_t v[4], w[8];

		if (glu) {
			gh_sm90_finish_glu<T, out>(e, sum + i * per, scale, column, w);
			for (int j = 0; j < 4; j++)
				v[j] = gh_sm90_glu<out>(w[j / 2 * 4 + j % 2],
							w[j / 2 * 4 + j % 2 + 2]);
		} else {
			gh_sm90_finish_plain<T, out>(e, sum + i * per, scale, column, v);
		}
		gh_sm90_lay<pieces>(to, i / 4, i % 4, v);
		if (i % 4 == 3)
			gh_sm90_send<pieces>(a, to, i / 4);
	}
}

/* A thread's sums of the warp's 16 rows from `row` on, straight to y. */
template <typename T, int sums>
__device__ __forceinline__ void gh_sm90_write_slowly(const gh_sm90_linear &a,
						     const float (&sum)[sums],
						     const float (&scale)[2], int row, int column)
{
	constexpr gh_linear_scaling scaling = gh_sm90_kind<T>::scaling;
	const gh_linear_epilogue &e = a.epilogue;
	const int first = row + threadIdx.x % 32 / 4;

#pragma unroll
	for (int i = 0; i < sums; i += 2) {
		const int64_t c = column + i / 4 * 8 + threadIdx.x % 4 * 2;
		const int at = first + i % 4 / 2 * 8;

		if (at >= a.m || (e.glu && i % 8 >= 4))
			continue;
		gh_linear_store<scaling>(e, at, e.glu ? (c - c % 16) / 2 + c % 8 : c, sum + i,
					 sum + (i | 4), scale[i % 4 / 2]);
	}
}

/* sum: a thread's of the warp's rows; column: the first, of W; glu: whether it can be asked for. */
template <typename T, gh_dtype out, bool glu, int pieces, int sums>
__device__ __forceinline__ void gh_sm90_write(const gh_sm90_linear &a, const float (&sum)[sums],
					      const float (&scale)[2], const gh_sm90_out &to,
					      int column)
{
	if constexpr (glu)
		if (a.ending == GH_SM90_GLU)
			return gh_sm90_write_pieces<T, true, false, out, pieces>(a, sum, scale, to);
	if (a.ending == GH_SM90_PLAIN)
		gh_sm90_write_pieces<T, false, false, out, pieces>(a, sum, scale, to);
	else if (a.ending == GH_SM90_BIAS)
		gh_sm90_write_pieces<T, false, true, out, pieces>(a, sum, scale, to);
	else
		gh_sm90_write_slowly<T>(a, sum, scale, to.row, column);
}

#endif
