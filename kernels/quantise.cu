#include "common.cuh"

/*
 * Rows to e4m3, each with a scale of its own: s = max(absmax / 448, 1 / (448 * 512)),
 * q = e4m3(clamp(x / s)). A block takes a row, reads it twice (the second time from the cache) and
 * writes it once. A maximum is the same in any order; a NaN is the greatest, so its row's scale is
 * one, and with it all that is made of the row.
 */
enum { THREADS = 512, WARPS = THREADS / 32, EACH = 8 };

/* EACH elements from `at` on, zeros from k on. */
template <typename T>
__device__ __forceinline__ void load(float (&v)[EACH], const T *x, int64_t at, int64_t k,
				     bool aligned)
{
	constexpr int count = gh_chunk<T>::count;

	if (aligned && at + EACH <= k) {
#pragma unroll
		for (int i = 0; i < EACH; i += count) {
			gh_chunk<T> c = *reinterpret_cast<const gh_chunk<T> *>(x + at + i);

#pragma unroll
			for (int j = 0; j < count; j++)
				v[i + j] = gh_widen(c.at[j]);
		}
		return;
	}
#pragma unroll
	for (int i = 0; i < EACH; i++)
		v[i] = at + i < k ? gh_widen(x[at + i]) : 0.0F;
}

/* The greatest of all threads' values; every thread gets it. */
__device__ __forceinline__ uint32_t greatest(uint32_t value)
{
	__shared__ uint32_t of_warp[WARPS];
	const int lane = threadIdx.x % 32;

	value = __reduce_max_sync(0xffffffffU, value);
	if (lane == 0)
		of_warp[threadIdx.x / 32] = value;
	__syncthreads();
	return __reduce_max_sync(0xffffffffU, of_warp[lane % WARPS]);
}

template <typename T>
__global__ void __launch_bounds__(THREADS)
	quantise_kernel(const T *x, int64_t x_stride, int64_t k, uint8_t *q, int64_t q_stride,
			float *scale, bool aligned)
{
	const int64_t padded = (k + 15) / 16 * 16;
	const T *row = x + blockIdx.x * x_stride;
	uint8_t *to = q + blockIdx.x * q_stride;
	uint32_t most = 0;
	float v[EACH], s;

	for (int64_t at = threadIdx.x * EACH; at < k; at += THREADS * EACH) {
		load(v, row, at, k, aligned);
#pragma unroll
		for (int i = 0; i < EACH; i++)
			most = max(most, __float_as_uint(v[i]) & 0x7fffffffU);
	}
	s = __fdiv_rn(__uint_as_float(greatest(most)), 448.0F);
	s = s < 1.0F / (448.0F * 512.0F) ? 1.0F / (448.0F * 512.0F) : s;
	if (threadIdx.x == 0)
		scale[blockIdx.x] = s;
	for (int64_t at = threadIdx.x * EACH; at < padded; at += THREADS * EACH) {
		union {
			__nv_fp8_storage_t at[EACH];
			uint2 all;
		} out;

		load(v, row, at, k, aligned);
#pragma unroll
		for (int i = 0; i < EACH; i++)
			out.at[i] = at + i < k ? gh_narrow<__nv_fp8_e4m3>(__fdiv_rn(v[i], s)).__x
					       : (__nv_fp8_storage_t)0;
		*reinterpret_cast<uint2 *>(to + at) = out.all;
	}
}

template <typename T>
static int quantise(const gh__launch *on, const gh__quantise_desc *desc,
		    const gh__quantise_args *args)
{
	const bool aligned = reinterpret_cast<uintptr_t>(args->x) % 16 == 0 &&
			     args->x_stride * static_cast<int64_t>(sizeof(T)) % 16 == 0;

	quantise_kernel<T>
		<<<gh_blocks(args->m, 1), THREADS, 0, on->stream>>>(static_cast<const T *>(args->x),
								    args->x_stride, desc->n,
								    static_cast<uint8_t *>(args->y),
								    args->y_stride, args->scale,
								    aligned);
	return gh_launched();
}

int gh__cuda_quantise(const gh__launch *on, const gh__quantise_desc *desc,
		      const gh__quantise_args *args)
{
	if (args->m <= 0)
		return 0;
	if (desc->act == GH_F16)
		return quantise<__half>(on, desc, args);
	if (desc->act == GH_BF16)
		return quantise<__nv_bfloat16>(on, desc, args);
	return quantise<float>(on, desc, args);
}
