#ifndef GH_KERNELS_LANES_CUH
#define GH_KERNELS_LANES_CUH

#include "common.cuh"

/* The 32 lanes of a sum, one in each thread of a warp: groups of eight as (0 + 1) + (2 + 3), then
 * v8f_sum()'s tree. Every thread gets the sum; a + b is b + a, so all get the same bits. */
__device__ __forceinline__ float gh_sum_lanes(float x)
{
	const int steps[5] = { 8, 16, 4, 2, 1 };

#pragma unroll
	for (int i = 0; i < 5; i++)
		x = __fadd_rn(x, __shfl_xor_sync(0xffffffff, x, steps[i]));
	return x;
}

/* `count` neighbours, loaded and stored at once. */
template <typename T, int count>
struct alignas(count * sizeof(T) < 16 ? count * sizeof(T) : 16) gh_piece {
	T at[count];
};

/* Whether an address, and every `stride` bytes from it, lie on whole `unit`s. */
static inline bool gh_aligned(const void *p, int64_t stride, int64_t unit)
{
	return (int64_t)(uintptr_t)p % unit == 0 && stride % unit == 0;
}

/* Threads of a block that is to do `work` things, one each or in turns. */
static inline unsigned gh_threads(int64_t work, unsigned most)
{
	return work >= most ? most : (unsigned)((work + 31) / 32 * 32);
}

#endif
