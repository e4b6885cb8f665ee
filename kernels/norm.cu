#include "lanes.cuh"

/*
 * Root mean square norm, one vector r of n elements at a time.
 *
 * r = x, or round(x + residual), stored back. Sum of squares: element i goes to lane i mod 32, each
 * lane a chain of fused multiply-adds in ascending order from 0, then gh_sum_lanes().
 * s = 1 / sqrt(sum / n + eps); y = round(round(r s) w). 3 n elements read, n to 2 n written: memory
 * bound, but for one row the chains' latency shows. Twin: device/cpu/norm.c.
 *
 * row_kernel: a block a vector, which stays in its registers; one warp has the chains, through
 * shared memory. vector_kernel: a warp a vector, any n, strides and addresses; r is read again for
 * the second pass.
 */
enum {
	THREADS = 256, /* most of a row_kernel's block */
	VECTORS = 4,   /* of a vector_kernel's block: one a warp */
	AHEAD = 8,     /* loads of a warp on their way */
	SHORT = 512    /* n up to which a warp is enough */
};

static __device__ __forceinline__ float scale_of(float sum, const gh__norm_desc &desc)
{
	const float mean = __fdiv_rn(gh_sum_lanes(sum), (float)desc.n);

	return __fdiv_rn(1.0F, __fsqrt_rn(__fadd_rn(mean, desc.eps)));
}

template <typename T> static __device__ __forceinline__ T normal(T r, float scale, T w)
{
	const float x = gh_round<T>(__fmul_rn(gh_widen(r), scale));

	return gh_narrow<T>(__fmul_rn(x, gh_widen(w)));
}

/* One thread's lane of the sum of n elements that lie in shared memory. */
template <typename T> static __device__ __forceinline__ float lane_of(const T *r, int n)
{
	float sum = 0.0F;

#pragma unroll 16
	for (int i = threadIdx.x; i < n; i += 32) {
		float x = gh_widen(r[i]);

		sum = __fmaf_rn(x, x, sum);
	}
	return sum;
}

/* pieces: 16 bytes each, of one thread; the block's threads take turns. */
template <typename T, int pieces>
static __global__ void __launch_bounds__(THREADS)
	row_kernel(const gh__norm_desc desc, const gh__norm_args args)
{
	using chunk = gh_chunk<T>;
	extern __shared__ uint4 memory[];
	__shared__ float scale;
	const int n = (int)desc.n, count = n / chunk::count;
	const uint32_t groups = (uint32_t)args.groups;
	const int64_t row = blockIdx.x / groups, group = blockIdx.x % groups;
	const chunk *x = (const chunk *)((const T *)args.x + row * args.x_stride + group * n);
	chunk *rest = (chunk *)((T *)args.residual + row * n);
	chunk *y = (chunk *)((T *)args.y + row * args.y_stride + group * n);
	const chunk *weight = (const chunk *)args.weight;
	chunk r[pieces], w[pieces], before[pieces];

#pragma unroll
	for (int p = 0; p < pieces; p++) {
		const int i = p * blockDim.x + threadIdx.x;

		if (i < count)
			r[p] = x[i];
		if (desc.residual && i < count)
			before[p] = rest[i];
	}
#pragma unroll
	for (int p = 0; p < pieces; p++) {
		const int i = p * blockDim.x + threadIdx.x;

		if (i >= count)
			continue;
		if (desc.residual) {
#pragma unroll
			for (int j = 0; j < chunk::count; j++)
				r[p].at[j] = gh_narrow<T>(
					__fadd_rn(gh_widen(r[p].at[j]), gh_widen(before[p].at[j])));
			rest[i] = r[p];
		}
		((chunk *)memory)[i] = r[p];
	}
	__syncthreads();
#pragma unroll
	for (int p = 0; p < pieces; p++) {
		const int i = p * blockDim.x + threadIdx.x;

		if (i < count)
			w[p] = weight[i];
	}
	if (threadIdx.x < 32) {
		const float s = scale_of(lane_of((const T *)memory, n), desc);

		if (threadIdx.x == 0)
			scale = s;
	}
	__syncthreads();
#pragma unroll
	for (int p = 0; p < pieces; p++) {
		const int i = p * blockDim.x + threadIdx.x;

		if (i >= count)
			continue;
#pragma unroll
		for (int j = 0; j < chunk::count; j++)
			r[p].at[j] = normal(r[p].at[j], scale, w[p].at[j]);
		y[i] = r[p];
	}
}

template <typename T>
static __global__ void __launch_bounds__(32 * VECTORS)
	vector_kernel(const gh__norm_desc desc, const gh__norm_args args)
{
	const uint32_t groups = (uint32_t)args.groups;
	const uint32_t vector = blockIdx.x * VECTORS + threadIdx.x / 32;
	const int64_t n = desc.n, row = vector / groups, group = vector % groups;
	const int lane = threadIdx.x % 32;
	const T *x = (const T *)args.x + row * args.x_stride + group * n;
	const T *weight = (const T *)args.weight;
	T *rest = (T *)args.residual + row * n;
	T *y = (T *)args.y + row * args.y_stride + group * n;
	float sum = 0.0F;

	if (row >= args.m)
		return;
	for (int64_t i = lane; i < n; i += 32 * AHEAD) {
		T r[AHEAD], before[AHEAD];

#pragma unroll
		for (int j = 0; j < AHEAD; j++) {
			if (i + 32 * j < n)
				r[j] = x[i + 32 * j];
			if (desc.residual && i + 32 * j < n)
				before[j] = rest[i + 32 * j];
		}
#pragma unroll
		for (int j = 0; j < AHEAD; j++) {
			float value;

			if (i + 32 * j >= n)
				break;
			if (desc.residual) {
				r[j] = gh_narrow<T>(__fadd_rn(gh_widen(r[j]), gh_widen(before[j])));
				rest[i + 32 * j] = r[j];
			}
			value = gh_widen(r[j]);
			sum = __fmaf_rn(value, value, sum);
		}
	}
	sum = scale_of(sum, desc);
	if (desc.residual)
		x = rest;
	for (int64_t i = lane; i < n; i += 32 * AHEAD) {
		T r[AHEAD], w[AHEAD];

#pragma unroll
		for (int j = 0; j < AHEAD; j++) {
			if (i + 32 * j < n) {
				r[j] = x[i + 32 * j];
				w[j] = weight[i + 32 * j];
			}
		}
#pragma unroll
		for (int j = 0; j < AHEAD; j++) {
			if (i + 32 * j < n)
				y[i + 32 * j] = normal(r[j], sum, w[j]);
		}
	}
}

template <typename T, int pieces>
static void rows(const gh__launch *on, const gh__norm_desc *desc, const gh__norm_args *args)
{
	const int64_t count = desc->n / gh_chunk<T>::count;
	const unsigned threads = (unsigned)((count + 32 * pieces - 1) / (32 * pieces) * 32);

	row_kernel<T, pieces><<<(unsigned)(args->m * args->groups), threads,
				(size_t)desc->n * sizeof(T), on->stream>>>(*desc, *args);
}

/* Whether row_kernel can: all of it on 16 bytes, and no more than its threads hold. */
template <typename T> static bool fits(const gh__norm_desc *desc, const gh__norm_args *args)
{
	const int64_t size = sizeof(T);

	return desc->n % gh_chunk<T>::count == 0 && desc->n / gh_chunk<T>::count <= 8 * THREADS &&
	       gh_aligned(args->x, args->x_stride * size, 16) &&
	       gh_aligned(args->y, args->y_stride * size, 16) && gh_aligned(args->weight, 0, 16) &&
	       (!desc->residual || gh_aligned(args->residual, 0, 16));
}

template <typename T>
static void norm_as(const gh__launch *on, const gh__norm_desc *desc, const gh__norm_args *args)
{
	const int64_t chunks = desc->n / gh_chunk<T>::count;

	if (desc->n <= SHORT || !fits<T>(desc, args))
		vector_kernel<T><<<gh_blocks(args->m * args->groups, VECTORS), 32 * VECTORS, 0,
				   on->stream>>>(*desc, *args);
	else if (chunks <= THREADS)
		rows<T, 1>(on, desc, args);
	else if (chunks <= 2 * THREADS)
		rows<T, 2>(on, desc, args);
	else if (chunks <= 4 * THREADS)
		rows<T, 4>(on, desc, args);
	else
		rows<T, 8>(on, desc, args);
}

extern "C" int gh__cuda_norm(const gh__launch *on, const gh__norm_desc *desc,
			     const gh__norm_args *args)
{
	if (args->m == 0 || args->groups == 0)
		return 0;
	if (desc->act == GH_F16)
		norm_as<__half>(on, desc, args);
	else if (desc->act == GH_BF16)
		norm_as<__nv_bfloat16>(on, desc, args);
	else
		norm_as<float>(on, desc, args);
	return gh_launched();
}
