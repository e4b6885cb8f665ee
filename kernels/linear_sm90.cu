#include "linear_sm90.cuh"

/*
 * linear on Hopper, the host's side: what its kernels are told, and by which type they are chosen.
 */
typedef CUresult (*encode_function)(CUtensorMap *, CUtensorMapDataType, cuuint32_t, void *,
				    const cuuint64_t *, const cuuint64_t *, const cuuint32_t *,
				    const cuuint32_t *, CUtensorMapInterleave, CUtensorMapSwizzle,
				    CUtensorMapL2promotion, CUtensorMapFloatOOBfill);

/* The driver's maker of tensor maps. Threads that meet here find the same one. */
static encode_function find_encode(void)
{
	static void *found;
	cudaDriverEntryPointQueryResult result = cudaDriverEntryPointSymbolNotFound;
	void *at = __atomic_load_n(&found, __ATOMIC_RELAXED);

	if (at == NULL &&
	    (cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &at, 12000,
					      cudaEnableDefault, &result) != cudaSuccess ||
	     result != cudaDriverEntryPointSuccess))
		return NULL;
	__atomic_store_n(&found, at, __ATOMIC_RELAXED);
	return reinterpret_cast<encode_function>(at);
}

/*
 * A matrix [rows][k] of elements of `size` bytes, whose rows begin `stride` bytes apart. What a box
 * covers beyond the rows and beyond k comes as zeros.
 */
static CUresult encode(CUtensorMap *map, encode_function make, const void *base, int size,
		       int64_t rows, int64_t k, int64_t stride, int box_rows,
		       CUtensorMapL2promotion promotion)
{
	const cuuint64_t extent[2] = { static_cast<cuuint64_t>(k), static_cast<cuuint64_t>(rows) };
	const cuuint64_t strides[1] = { static_cast<cuuint64_t>(stride) };
	const cuuint32_t box[2] = { static_cast<cuuint32_t>(GH_SM90_BLOCK / size),
				    static_cast<cuuint32_t>(box_rows) };
	const cuuint32_t steps[2] = { 1, 1 };

	return make(map, size == 1 ? CU_TENSOR_MAP_DATA_TYPE_UINT8 : CU_TENSOR_MAP_DATA_TYPE_UINT16,
		    2, const_cast<void *>(base), extent, strides, box, steps,
		    CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B, promotion,
		    CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
}

int gh__sm90_maps(gh_sm90_linear *a, const gh__linear_desc *desc, const gh_linear_operands *in,
		  int x_rows, int w_rows)
{
	const encode_function make = find_encode();
	const int size = desc->weight == GH_E4M3 ? 1 : 2;

	if (make == NULL)
		return static_cast<int>(cudaErrorNotSupported);
	if (encode(&a->x, make, in->x, size, in->m, desc->k, in->x_stride * size, x_rows,
		   CU_TENSOR_MAP_L2_PROMOTION_L2_128B) != CUDA_SUCCESS ||
	    encode(&a->w, make, in->w, size, gh__cuda_linear_rows(desc), desc->k,
		   gh__cuda_linear_stride(desc) * size, w_rows,
		   CU_TENSOR_MAP_L2_PROMOTION_L2_256B) != CUDA_SUCCESS)
		return static_cast<int>(cudaErrorInvalidValue);
	return static_cast<int>(cudaSuccess);
}

int gh__sm90_ending(gh_sm90_linear *a, const gh_linear_operands *in)
{
	const encode_function make = find_encode();
	const gh_linear_epilogue *e = &a->epilogue;

	a->ending = e->glu ? GH_SM90_GLU : e->bias != NULL ? GH_SM90_BIAS : GH_SM90_PLAIN;
	if (e->out == GH_F32 || in->y_stride % 8 != 0 ||
	    reinterpret_cast<uintptr_t>(in->y) % 16 != 0)
		a->ending = GH_SM90_SLOW;
	if (a->ending == GH_SM90_SLOW)
		return static_cast<int>(cudaSuccess);
	if (make == NULL)
		return static_cast<int>(cudaErrorNotSupported);
	if (encode(&a->y, make, in->y, 2, in->m, e->columns, in->y_stride * 2, GH_SM90_PIECE_ROWS,
		   CU_TENSOR_MAP_L2_PROMOTION_NONE) != CUDA_SUCCESS)
		return static_cast<int>(cudaErrorInvalidValue);
	return static_cast<int>(cudaSuccess);
}

int gh__cuda_linear_sm90(const gh__launch *on, const gh__linear_desc *desc,
			 const gh_linear_operands *in)
{
	const int64_t size = desc->weight == GH_E4M3 ? 1 : 2;
	const int64_t bound = INT32_MAX / 4;
	gh_sm90_linear a;

	if (on->arch != 90 || in->m > bound || desc->n > bound || desc->k > bound)
		return static_cast<int>(cudaErrorNotSupported);
	a.epilogue = gh_linear_epilogue_of(desc, in);
	a.settled = on->settled;
	a.m = static_cast<int32_t>(in->m);
	a.n = static_cast<int32_t>(gh__cuda_linear_rows(desc));
	a.blocks = static_cast<int32_t>((desc->k * size + GH_SM90_BLOCK - 1) / GH_SM90_BLOCK);
	if (desc->weight == GH_E4M3)
		return gh__cuda_linear_sm90_e4m3(on, desc, in, &a);
	if (desc->weight == GH_F16)
		return gh__cuda_linear_sm90_f16(on, desc, in, &a);
	return gh__cuda_linear_sm90_bf16(on, desc, in, &a);
}
