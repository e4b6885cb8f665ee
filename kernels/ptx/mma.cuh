#ifndef GH_KERNELS_PTX_MMA_CUH
#define GH_KERNELS_PTX_MMA_CUH

#include "common.cuh"

/*
 * Instructions of tensor cores, Ampere and newer. Of a warp's lane, g = lane / 4 and t = lane % 4.
 */

/* Shared memory's addresses are 32 bits. */
__device__ __forceinline__ uint32_t gh_shared(const void *at)
{
	return static_cast<uint32_t>(__cvta_generic_to_shared(at));
}

/* 16 bytes on their way from device memory to shared memory; !there: zeros instead. */
__device__ __forceinline__ void gh_copy_async(uint32_t to, const void *from, bool there)
{
	asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
		     :
		     : "r"(to), "l"(from), "r"(there ? 16 : 0)
		     : "memory");
}

/* Copies since the last mark belong together. */
__device__ __forceinline__ void gh_copy_mark()
{
	asm volatile("cp.async.commit_group;" : : : "memory");
}

/* Until all but the last `left` groups of this thread's copies are there. */
template <int left> __device__ __forceinline__ void gh_copy_wait()
{
	asm volatile("cp.async.wait_group %0;" : : "n"(left) : "memory");
}

/*
 * Four matrices of eight rows of 16 bytes; lanes 8 i to 8 i + 7 give the rows' addresses of matrix
 * i. Of each a lane gets bytes 4 t to 4 t + 3 of row g.
 */
__device__ __forceinline__ void gh_load_matrices(uint32_t (&to)[4], uint32_t from)
{
	asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
		     : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
		     : "r"(from)
		     : "memory");
}

/*
 * d[16, 8] += a[16, 16] b[8, 16]^T. A lane holds, two numbers a register:
 * a: rows g, g + 8, g, g + 8 at k = 2 t (twice) and 2 t + 8 (twice); b: row g at k = 2 t, 2 t + 8;
 * d: row g at columns 2 t and 2 t + 1, then row g + 8.
 */
template <typename T>
__device__ __forceinline__ void gh_mma(float (&d)[4], const uint32_t (&a)[4],
				       const uint32_t (&b)[2]);

template <>
__device__ __forceinline__ void gh_mma<__half>(float (&d)[4], const uint32_t (&a)[4],
					       const uint32_t (&b)[2])
{
	asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
	    "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
	    : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
	    : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

template <>
__device__ __forceinline__ void gh_mma<__nv_bfloat16>(float (&d)[4], const uint32_t (&a)[4],
						      const uint32_t (&b)[2])
{
	asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
	    "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
	    : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
	    : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/*
 * Four e4m3 as four T, exactly: the bits that e4m3 has in common with T are moved, which gives the
 * value times a power of two, subnormals included; a product takes that away.
 */
template <typename T> __device__ __forceinline__ void gh_widen_e4m3(uint32_t (&to)[2], uint32_t x);

template <> __device__ __forceinline__ void gh_widen_e4m3<__half>(uint32_t (&to)[2], uint32_t x)
{
	const uint32_t high[2] = { __byte_perm(x, 0, 0x1404), __byte_perm(x, 0, 0x3424) };

	for (int i = 0; i < 2; i++) {
		uint32_t bits = (high[i] & 0x80008000U) | (high[i] >> 1 & 0x3f803f80U);

		asm("mul.rn.f16x2 %0, %1, %2;" : "=r"(to[i]) : "r"(bits), "r"(0x5c005c00U));
	}
}

/* Ampere multiplies bf16 only with an addition: of -0, which leaves every product as it is. */
template <>
__device__ __forceinline__ void gh_widen_e4m3<__nv_bfloat16>(uint32_t (&to)[2], uint32_t x)
{
	const uint32_t high[2] = { __byte_perm(x, 0, 0x1404), __byte_perm(x, 0, 0x3424) };

	for (int i = 0; i < 2; i++) {
		uint32_t bits = (high[i] & 0x80008000U) | (high[i] >> 4 & 0x07f007f0U);

		asm("fma.rn.bf16x2 %0, %1, %2, %3;"
		    : "=r"(to[i])
		    : "r"(bits), "r"(0x7b807b80U), "r"(0x80008000U));
	}
}

#endif
