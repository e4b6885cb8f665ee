#ifndef GH_KERNELS_PTX_TILE_CUH
#define GH_KERNELS_PTX_TILE_CUH

#include "ptx/mma.cuh"

/* Instructions of attention's tiles, Ampere and newer. Of a warp's lane, g = lane / 4, t = lane % 4. */

/*
 * As gh_load_matrices(), with each matrix turned: of its eight rows of eight 16-bit numbers a lane
 * gets the numbers g of rows 2 t and 2 t + 1.
 */
__device__ __forceinline__ void gh_load_matrices_turned(uint32_t (&to)[4], uint32_t from)
{
	asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
		     : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
		     : "r"(from)
		     : "memory");
}

/* As gh_copy_async(), eight bytes. */
__device__ __forceinline__ void gh_copy_async_8(uint32_t to, const void *from, bool there)
{
	asm volatile("cp.async.ca.shared.global [%0], [%1], 8, %2;"
		     :
		     : "r"(to), "l"(from), "r"(there ? 8 : 0)
		     : "memory");
}

/* The greater of two numbers; a NaN where one of them is. */
__device__ __forceinline__ float gh_max_nan(float a, float b)
{
	float most;

	asm("max.NaN.f32 %0, %1, %2;" : "=f"(most) : "f"(a), "f"(b));
	return most;
}

/* Of two pairs, each side's lesser number; a NaN only where both are. */
template <typename T> __device__ __forceinline__ uint32_t gh_pair_least(uint32_t a, uint32_t b);

template <> __device__ __forceinline__ uint32_t gh_pair_least<__half>(uint32_t a, uint32_t b)
{
	uint32_t least;

	asm("min.f16x2 %0, %1, %2;" : "=r"(least) : "r"(a), "r"(b));
	return least;
}

template <> __device__ __forceinline__ uint32_t gh_pair_least<__nv_bfloat16>(uint32_t a, uint32_t b)
{
	uint32_t least;

	asm("min.bf16x2 %0, %1, %2;" : "=r"(least) : "r"(a), "r"(b));
	return least;
}

/* The greater number; a NaN where one of them is. */
template <typename T> __device__ __forceinline__ uint32_t gh_pair_most(uint32_t a, uint32_t b);

template <> __device__ __forceinline__ uint32_t gh_pair_most<__half>(uint32_t a, uint32_t b)
{
	uint32_t most;

	asm("max.NaN.f16x2 %0, %1, %2;" : "=r"(most) : "r"(a), "r"(b));
	return most;
}

template <> __device__ __forceinline__ uint32_t gh_pair_most<__nv_bfloat16>(uint32_t a, uint32_t b)
{
	uint32_t most;

	asm("max.NaN.bf16x2 %0, %1, %2;" : "=r"(most) : "r"(a), "r"(b));
	return most;
}

#endif
