#ifndef GH_KERNELS_COMMON_CUH
#define GH_KERNELS_COMMON_CUH

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_fp8.h>
#include <stdint.h>

#include "launch.h"

/*
 * What all kernels share: narrow numbers, the exponential, and how a launch ends.
 *
 * Every step is one that the CPU device takes too (device/cpu/lanes.h), rounded alike: nothing is
 * contracted (the compiler is told not to), a fused multiply-add is written as one, divisions and
 * roots are exactly rounded, subnormals are numbers like others.
 */

/* The C++ type of an activation's or weight's dtype. */
template <gh_dtype dtype> struct gh_element;
template <> struct gh_element<GH_F32> {
	using type = float;
};
template <> struct gh_element<GH_F16> {
	using type = __half;
};
template <> struct gh_element<GH_BF16> {
	using type = __nv_bfloat16;
};
template <> struct gh_element<GH_E4M3> {
	using type = __nv_fp8_e4m3;
};

template <typename T> __device__ __forceinline__ float gh_widen(T x)
{
	return static_cast<float>(x);
}

/* Round to nearest even; e4m3 clamps to +-448. */
template <typename T> __device__ __forceinline__ T gh_narrow(float x);

template <> __device__ __forceinline__ float gh_narrow<float>(float x)
{
	return x;
}

template <> __device__ __forceinline__ __half gh_narrow<__half>(float x)
{
	return __float2half_rn(x);
}

template <> __device__ __forceinline__ __nv_bfloat16 gh_narrow<__nv_bfloat16>(float x)
{
	return __float2bfloat16_rn(x);
}

template <> __device__ __forceinline__ __nv_fp8_e4m3 gh_narrow<__nv_fp8_e4m3>(float x)
{
	__nv_fp8_e4m3 y;

	y.__x = __nv_cvt_float_to_fp8(x, __NV_SATFINITE, __NV_E4M3);
	return y;
}

/* Round to T and widen again. */
template <typename T> __device__ __forceinline__ float gh_round(float x)
{
	return gh_widen(gh_narrow<T>(x));
}

/* 16 bytes at once: vector loads and stores of neighbouring elements. */
template <typename T> struct alignas(16) gh_chunk {
	static constexpr int count = 16 / sizeof(T);
	T at[count];
};

/* e^(x - n ln 2), which is near 1. */
__device__ __forceinline__ float gh_exp_rest(float x, float n)
{
	float r = __fmaf_rn(n, -0x1.62e43p-1F, x), y = 1.0F / 5040;

	r = __fmaf_rn(n, 0x1.05c61p-29F, r);
	y = __fmaf_rn(y, r, 1.0F / 720);
	y = __fmaf_rn(y, r, 1.0F / 120);
	y = __fmaf_rn(y, r, 1.0F / 24);
	y = __fmaf_rn(y, r, 1.0F / 6);
	y = __fmaf_rn(y, r, 0.5F);
	y = __fmaf_rn(y, r, 1.0F);
	return __fmaf_rn(y, r, 1.0F);
}

/* e^x, see device/cpu/lanes.h: the same steps, the same bits. */
__device__ __forceinline__ float gh_exp(float x)
{
	const float magic = 0x1.8p23F;
	float shifted, n, y;
	int e, half;

	x = x < -104.0F ? -104.0F : x;
	x = x > 89.0F ? 89.0F : x;
	shifted = __fmaf_rn(x, 0x1.715476p0F, magic);
	n = __fsub_rn(shifted, magic);
	y = gh_exp_rest(x, n);
	e = __float_as_int(shifted) - __float_as_int(magic);
	half = e >> 1;
	y = __fmul_rn(y, __int_as_float((half + 127) << 23));
	return __fmul_rn(y, __int_as_float((e - half + 127) << 23));
}

__device__ __forceinline__ float gh_silu(float gate)
{
	return __fdiv_rn(gate, __fadd_rn(1.0F, gh_exp(__fsub_rn(0.0F, gate))));
}

/*
 * What rounds to f16 and to bf16 as gh_silu(gate) does, for every gate that is one of them, in half
 * the steps and without a branch. d is a quarter of 1 + e^-gate, which is 1 from -80 on; below -88.7
 * its inverse is 0, as the quotient of the infinite one is. The quotient is corrected once, if it is
 * a number and not exact.
 */
__device__ __forceinline__ float gh_silu_narrow(float gate)
{
	const float magic = 0x1.8p23F - 2.0F; /* e is smaller by two */
	const float x = fminf(fmaxf(-gate, -80.0F), 89.0F), quarter = __fmul_rn(gate, 0.25F);
	const float shifted = __fmaf_rn(x, 0x1.715476p0F, magic);
	const float y = gh_exp_rest(x, __fsub_rn(shifted, magic));
	const uint32_t scaled = __float_as_uint(y) + (__float_as_uint(shifted) << 23);
	const float d = __fadd_rn(0.25F, __uint_as_float(scaled));
	float inverse, q, rest;

	asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(inverse) : "f"(d));
	q = __fmul_rn(quarter, inverse);
	rest = __fmaf_rn(-d, q, quarter);
	return fabsf(rest) > 0.0F ? __fmaf_rn(rest, inverse, q) : q;
}

/* round(round(silu(gate)) up), still f32. */
template <typename T> __device__ __forceinline__ float gh_glu(float gate, float up)
{
	return gh_round<T>(__fmul_rn(gh_round<T>(gh_silu(gate)), up));
}

/* What the launches so far on this thread came to. */
static inline int gh_launched(void)
{
	return (int)cudaGetLastError();
}

static inline unsigned gh_blocks(int64_t work, int64_t a_block)
{
	return (unsigned)((work + a_block - 1) / a_block);
}

#endif
