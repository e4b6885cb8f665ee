#ifndef GH_KERNELS_PTX_SM90_CUH
#define GH_KERNELS_PTX_SM90_CUH

#include <cuda.h>

#include "ptx/mma.cuh"

/*
 * Hopper's own instructions: barriers in shared memory, copies of tiles by tensor maps, products of
 * a warpgroup (four warps). They exist only in code made for sm_90a: a kernel that uses them keeps
 * its body within #ifdef GH_SM90.
 *
 * Addresses are those of shared memory (gh_shared).
 */
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define GH_SM90 1
#endif

/* ---- barriers: eight bytes each; a phase ends when all arrived and all bytes are there ---- */

__device__ __forceinline__ void gh_barrier_init(uint32_t barrier, int arrivals)
{
	asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;"
		     :
		     : "r"(barrier), "r"(arrivals)
		     : "memory");
}

/* Barriers begun are seen by copies and by the cluster, after its next synchronisation. */
__device__ __forceinline__ void gh_barrier_publish()
{
	asm volatile("fence.mbarrier_init.release.cluster;" : : : "memory");
}

__device__ __forceinline__ void gh_barrier_arrive(uint32_t barrier)
{
	asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" : : "r"(barrier) : "memory");
}

/* At the same barrier of block `rank` of the cluster. */
__device__ __forceinline__ void gh_barrier_arrive_at(uint32_t barrier, uint32_t rank)
{
	asm volatile("{\n"
		     ".reg .b32 there;\n"
		     "mapa.shared::cluster.u32 there, %0, %1;\n"
		     "mbarrier.arrive.shared::cluster.b64 _, [there];\n"
		     "}"
		     :
		     : "r"(barrier), "r"(rank)
		     : "memory");
}

/* Arrive, and the phase also waits for that many bytes. */
__device__ __forceinline__ void gh_barrier_expect(uint32_t barrier, int bytes)
{
	asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;"
		     :
		     : "r"(barrier), "r"(bytes)
		     : "memory");
}

/* Until the phase of that parity is over; before the first phase, that of parity 1 is. */
__device__ __forceinline__ void gh_barrier_wait(uint32_t barrier, uint32_t parity)
{
	uint32_t over;

	do {
		asm volatile("{\n"
			     ".reg .pred p;\n"
			     "mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n"
			     "selp.u32 %0, 1, 0, p;\n"
			     "}"
			     : "=r"(over)
			     : "r"(barrier), "r"(parity)
			     : "memory");
	} while (!over);
}

/* Numbered barriers of a block (0 is __syncthreads); threads: who waits and who only arrives. */
__device__ __forceinline__ void gh_named_wait(int id, int threads)
{
	asm volatile("bar.sync %0, %1;" : : "r"(id), "r"(threads) : "memory");
}

__device__ __forceinline__ void gh_named_arrive(int id, int threads)
{
	asm volatile("bar.arrive %0, %1;" : : "r"(id), "r"(threads) : "memory");
}

/* ---- clusters ---- */

__device__ __forceinline__ uint32_t gh_cluster_rank()
{
	uint32_t rank;

	asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
	return rank;
}

/* Of all threads of the cluster, whole warps. */
__device__ __forceinline__ void gh_cluster_sync()
{
	asm volatile("barrier.cluster.arrive.release.aligned;\n"
		     "barrier.cluster.wait.acquire.aligned;"
		     :
		     :
		     : "memory");
}

/* ---- kernels that overlap on a stream: of those launched to do so, see gh_sm90_launch ---- */

/* The next one may start. */
__device__ __forceinline__ void gh_overlap_begin()
{
	asm volatile("griddepcontrol.launch_dependents;" : : : "memory");
}

/* Until the one before is over and what it wrote can be read. */
__device__ __forceinline__ void gh_overlap_end()
{
	asm volatile("griddepcontrol.wait;" : : : "memory");
}

/* ---- copies: the box of a tensor map at (column, row), counted in elements ---- */

/* How long L2 keeps what is read: read once, or read by many. */
__device__ __forceinline__ uint64_t gh_policy_once()
{
	uint64_t policy;

	asm volatile("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;" : "=l"(policy));
	return policy;
}

__device__ __forceinline__ uint64_t gh_policy_keep()
{
	uint64_t policy;

	asm volatile("createpolicy.fractional.L2::evict_last.b64 %0, 1.0;" : "=l"(policy));
	return policy;
}

__device__ __forceinline__ void gh_copy_prefetch(const CUtensorMap *map)
{
	asm volatile("prefetch.tensormap [%0];" : : "l"(map) : "memory");
}

__device__ __forceinline__ void gh_copy_box(uint32_t to, const CUtensorMap *map, int column,
					    int row, uint32_t barrier)
{
	asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::"
		     "bytes [%0], [%1, {%2, %3}], [%4];"
		     :
		     : "r"(to), "l"(map), "r"(column), "r"(row), "r"(barrier)
		     : "memory");
}

__device__ __forceinline__ void gh_copy_box(uint32_t to, const CUtensorMap *map, int column,
					    int row, uint32_t barrier, uint64_t policy)
{
	asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::"
		     "bytes.L2::cache_hint [%0], [%1, {%2, %3}], [%4], %5;"
		     :
		     : "r"(to), "l"(map), "r"(column), "r"(row), "r"(barrier), "l"(policy)
		     : "memory");
}

/* To the same place of every block in the mask, telling the same barrier of each. */
__device__ __forceinline__ void gh_copy_box_to(uint32_t to, const CUtensorMap *map, int column,
					       int row, uint32_t barrier, uint16_t mask)
{
	asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::"
		     "bytes.multicast::cluster [%0], [%1, {%2, %3}], [%4], %5;"
		     :
		     : "r"(to), "l"(map), "r"(column), "r"(row), "r"(barrier), "h"(mask)
		     : "memory");
}

/*
 * The other way: 16-bit elements of shared memory become the box; what lies beyond the matrix is
 * dropped. A thread's copies since its last mark belong together, and it alone can wait for them.
 */
__device__ __forceinline__ void gh_copy_out(const CUtensorMap *map, uint32_t from, int column,
					    int row)
{
	asm volatile("cp.async.bulk.tensor.2d.global.shared::cta.tile.bulk_group [%0, {%2, %3}], "
		     "[%1];"
		     :
		     : "l"(map), "r"(from), "r"(column), "r"(row)
		     : "memory");
}

__device__ __forceinline__ void gh_copy_out_mark()
{
	asm volatile("cp.async.bulk.commit_group;" : : : "memory");
}

/* Until all but the last `left` groups have been read from shared memory. */
template <int left> __device__ __forceinline__ void gh_copy_out_wait()
{
	asm volatile("cp.async.bulk.wait_group.read %0;" : : "n"(left) : "memory");
}

/* What this thread wrote to shared memory is seen by copies that begin after it. */
__device__ __forceinline__ void gh_copy_out_begin()
{
	asm volatile("fence.proxy.async.shared::cta;" : : : "memory");
}

/*
 * Four 8 x 8 tiles of 16 bits, as accumulators hold them, to shared memory: lane l says where row
 * l % 8 of tile l / 8 goes.
 */
__device__ __forceinline__ void gh_store_tiles(uint32_t to, const uint32_t (&v)[4])
{
	asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};"
		     :
		     : "r"(to), "r"(v[0]), "r"(v[1]), "r"(v[2]), "r"(v[3])
		     : "memory");
}

/* ---- registers: a warpgroup gives some up, or takes more ---- */

template <int count> __device__ __forceinline__ void gh_registers_give()
{
	asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" : : "n"(count));
}

template <int count> __device__ __forceinline__ void gh_registers_take()
{
	asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" : : "n"(count));
}

/*
 * ---- products of a warpgroup: d[64, n] (+)= a[64, 32 bytes] b[n, 32 bytes]^T ----
 *
 * Operands lie in shared memory as a box of 128-byte rows with the 128-byte swizzle puts them, at
 * multiples of 1024 bytes. A thread of warp w and lane 4 g + t holds, for each eight columns j,
 * d[4 j .. 4 j + 3]: row 16 w + g at columns 8 j + 2 t and one further, then row 8 further.
 */

/* The operand at an address. 32 bytes further in k: + 2; whole boxes further: + bytes / 16. */
__device__ __forceinline__ uint32_t gh_operand(uint32_t at)
{
	return 1U << 16 | at >> 4;
}

/* Before the first product that reads or writes registers touched since. */
__device__ __forceinline__ void gh_product_begin()
{
	asm volatile("wgmma.fence.sync.aligned;" : : : "memory");
}

/* Products since the last mark belong together. */
__device__ __forceinline__ void gh_product_mark()
{
	asm volatile("wgmma.commit_group.sync.aligned;" : : : "memory");
}

/* Until all but the last `left` groups of products are done. */
template <int left> __device__ __forceinline__ void gh_product_wait()
{
	asm volatile("wgmma.wait_group.sync.aligned %0;" : : "n"(left) : "memory");
}

/* What products wrote is read after this, not before. */
template <int count> __device__ __forceinline__ void gh_product_done(float (&d)[count])
{
#pragma unroll
	for (int i = 0; i < count; i++)
		asm volatile("" : "+f"(d[i]) : : "memory");
}

/*
 * run(d, a, b, more): operands as gh_operand() says; more 0: d is overwritten, not added to. The
 * upper half of an operand says: 128-byte swizzle, 1024 bytes from eight rows to the next.
 */
template <typename T, int n> struct gh_product;

#define GH_NAMES_4  "%0, %1, %2, %3"
#define GH_NAMES_8  GH_NAMES_4 ", %4, %5, %6, %7"
#define GH_NAMES_16 GH_NAMES_8 ", %8, %9, %10, %11, %12, %13, %14, %15"
#define GH_NAMES_32 \
	GH_NAMES_16 \
	", %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define GH_NAMES_64                                                                        \
	GH_NAMES_32                                                                        \
	", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, "    \
	"%47, %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, " \
	"%63"
#define GH_NAMES_128                                                                       \
	GH_NAMES_64                                                                        \
	", %64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, "    \
	"%79, %80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, " \
	"%95, %96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, "  \
	"%109, %110, %111, %112, %113, %114, %115, %116, %117, %118, %119, %120, %121, "   \
	"%122, %123, %124, %125, %126, %127"
#define GH_SUMS_4(i)   "+f"(d[i]), "+f"(d[(i) + 1]), "+f"(d[(i) + 2]), "+f"(d[(i) + 3])
#define GH_SUMS_8(i)   GH_SUMS_4(i), GH_SUMS_4((i) + 4)
#define GH_SUMS_16(i)  GH_SUMS_8(i), GH_SUMS_8((i) + 8)
#define GH_SUMS_32(i)  GH_SUMS_16(i), GH_SUMS_16((i) + 16)
#define GH_SUMS_64(i)  GH_SUMS_32(i), GH_SUMS_32((i) + 32)
#define GH_SUMS_128(i) GH_SUMS_64(i), GH_SUMS_64((i) + 64)

/* n columns are `sums` registers; operands a, b and more have the numbers behind them. */
#define GH_PRODUCT(T, shape, type, end, n, sums, a_at, b_at, more_at)                           \
	template <> struct gh_product<T, n> {                                                   \
		static __device__ __forceinline__ void run(float (&d)[sums], uint32_t a,        \
							   uint32_t b, int more)                \
		{                                                                               \
			asm volatile("{\n"                                                      \
				     ".reg .pred p;\n"                                          \
				     ".reg .b64 a, b;\n"                                        \
				     "mov.b64 a, {%" #a_at ", 0x40000040};\n"                   \
				     "mov.b64 b, {%" #b_at ", 0x40000040};\n"                   \
				     "setp.ne.b32 p, %" #more_at ", 0;\n"                       \
				     "wgmma.mma_async.sync.aligned.m64n" #n shape ".f32." type  \
				     "." type " {" GH_NAMES_##sums "}, a, b, p, 1, 1" end ";\n" \
								   "}"                          \
				     : GH_SUMS_##sums(0)                                        \
				     : "r"(a), "r"(b), "r"(more));                              \
		}                                                                               \
	};
#define GH_PRODUCTS(T, shape, type, end)                     \
	GH_PRODUCT(T, shape, type, end, 8, 4, 4, 5, 6)       \
	GH_PRODUCT(T, shape, type, end, 16, 8, 8, 9, 10)     \
	GH_PRODUCT(T, shape, type, end, 32, 16, 16, 17, 18)  \
	GH_PRODUCT(T, shape, type, end, 64, 32, 32, 33, 34)  \
	GH_PRODUCT(T, shape, type, end, 128, 64, 64, 65, 66) \
	GH_PRODUCT(T, shape, type, end, 256, 128, 128, 129, 130)

GH_PRODUCTS(__half, "k16", "f16", ", 0, 0")
GH_PRODUCTS(__nv_bfloat16, "k16", "bf16", ", 0, 0")
GH_PRODUCTS(__nv_fp8_e4m3, "k32", "e4m3", "")

#undef GH_PRODUCTS
#undef GH_PRODUCT
#undef GH_SUMS_128
#undef GH_SUMS_64
#undef GH_SUMS_32
#undef GH_SUMS_16
#undef GH_SUMS_8
#undef GH_SUMS_4
#undef GH_NAMES_128
#undef GH_NAMES_64
#undef GH_NAMES_32
#undef GH_NAMES_16
#undef GH_NAMES_8
#undef GH_NAMES_4

#endif
