#ifndef GH_KERNELS_LINEAR_SM90_CUH
#define GH_KERNELS_LINEAR_SM90_CUH

#include "linear_epilogue.cuh"
#include "ptx/sm90.cuh"

/*
 * linear with Hopper's products (wgmma), the parts that its kernels share. They are two: for many
 * rows (linear_sm90_large.cuh) and for few (linear_sm90_small.cuh).
 *
 * Order of sums, in both: k is taken in blocks of 128 bytes, ascending, of which the last is filled
 * up with zeros. f16, bf16: all products in one accumulator. e4m3: a block's four products from
 * zero, added to the sum in f32. No k is split. Whether x or W is the first operand of a product,
 * how large a tile is, and where a row lies in it, change no bit.
 */
enum gh_sm90_ending { GH_SM90_PLAIN, GH_SM90_BIAS, GH_SM90_GLU, GH_SM90_SLOW };

typedef struct gh_sm90_linear {
	CUtensorMap x, w; /* boxes of 128 bytes of k, as many rows as the kernel wants */
	CUtensorMap y;    /* boxes of 64 columns and 16 rows, unless the ending is slow */
	gh_linear_epilogue epilogue;
	int32_t m, n;             /* n: rows of W as it lies */
	int32_t blocks;           /* of k */
	int32_t tiles_m, tiles_n; /* tiles of one cluster */
	int32_t band;             /* tiles of rows that pass over W together */
	gh_sm90_ending ending;    /* how sums become y, where there are many rows */
	bool settled;             /* see launch.h */
} gh_sm90_linear;

enum {
	GH_SM90_BLOCK = 128,         /* bytes of k */
	GH_SM90_SHARED = 227 * 1024, /* what a block may have */
	GH_SM90_SPARE = 2048,        /* of it: barriers, and to begin at a multiple of 1024 */
	GH_SM90_PIECE_COLUMNS = 64,  /* of y in one copy out of shared memory, in 16 bits */
	GH_SM90_PIECE_ROWS = 16,
	GH_SM90_PIECE = GH_SM90_PIECE_ROWS * GH_SM90_BLOCK, /* bytes */
};

/* The scaling that goes with a type of operands. */
template <typename T> struct gh_sm90_kind {
	static constexpr bool blocks = false; /* whether a block's sum is on its own */
	static constexpr gh_linear_scaling scaling = GH_LINEAR_PLAIN;
	static constexpr gh_dtype out = GH_F16; /* what y mostly is, beside f32 */
};
template <> struct gh_sm90_kind<__nv_bfloat16> {
	static constexpr bool blocks = false;
	static constexpr gh_linear_scaling scaling = GH_LINEAR_PLAIN;
	static constexpr gh_dtype out = GH_BF16;
};
template <> struct gh_sm90_kind<__nv_fp8_e4m3> {
	static constexpr bool blocks = true;
	static constexpr gh_linear_scaling scaling = GH_LINEAR_BOTH;
	static constexpr gh_dtype out = GH_BF16; /* or f16 */
};

/* Both maps of in, with boxes of that many rows. */
int gh__sm90_maps(gh_sm90_linear *a, const gh__linear_desc *desc, const gh_linear_operands *in,
		  int x_rows, int w_rows);

/* The ending, and the map of y if it takes one. */
int gh__sm90_ending(gh_sm90_linear *a, const gh_linear_operands *in);

/* By type of the operands. */
int gh__cuda_linear_sm90_e4m3(const gh__launch *on, const gh__linear_desc *desc,
			      const gh_linear_operands *in, gh_sm90_linear *a);
int gh__cuda_linear_sm90_f16(const gh__launch *on, const gh__linear_desc *desc,
			     const gh_linear_operands *in, gh_sm90_linear *a);
int gh__cuda_linear_sm90_bf16(const gh__launch *on, const gh__linear_desc *desc,
			      const gh_linear_operands *in, gh_sm90_linear *a);

/*
 * The kernel with that much shared memory beside its barriers, in clusters along its blocks. overlap:
 * it may start before the kernel in front of it on the stream is over.
 */
template <typename Kernel>
static int gh_sm90_launch(const gh__launch *on, Kernel *kernel, const gh_sm90_linear *a, int blocks,
			  int cluster, int threads, int shared, bool overlap)
{
	cudaLaunchConfig_t config = {};
	cudaLaunchAttribute attributes[2] = {};
	cudaError_t code =
		cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared);

	if (code != cudaSuccess)
		return static_cast<int>(code);
	if (cluster > 1) {
		attributes[config.numAttrs].id = cudaLaunchAttributeClusterDimension;
		attributes[config.numAttrs].val.clusterDim.x = static_cast<unsigned>(cluster);
		attributes[config.numAttrs].val.clusterDim.y = 1;
		attributes[config.numAttrs++].val.clusterDim.z = 1;
	}
	if (overlap) {
		attributes[config.numAttrs].id = cudaLaunchAttributeProgrammaticStreamSerialization;
		attributes[config.numAttrs++].val.programmaticStreamSerializationAllowed = 1;
	}
	config.gridDim = dim3(static_cast<unsigned>(blocks));
	config.blockDim = dim3(static_cast<unsigned>(threads));
	config.dynamicSmemBytes = static_cast<size_t>(shared);
	config.stream = on->stream;
	config.attrs = attributes;
	return static_cast<int>(cudaLaunchKernelEx(&config, kernel, *a));
}

#endif
