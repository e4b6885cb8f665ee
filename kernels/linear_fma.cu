#include "linear_epilogue.cuh"

/*
 * linear for pairs of types that no tensor core multiplies: with f32, or of two narrow types. 2 m n
 * k FLOPs. An output is one chain of fused multiply-adds over ascending k in f32, from 0: the CPU
 * device's bits.
 *
 * A block makes 64 x 64 outputs, a thread four by four of them, so that a column of SWIGLU's gate
 * and its up, eight rows of W further, are one thread's. DEPTH k's at a time lie widened in shared
 * memory, k outermost. Beyond k nothing is added, not even zeros: a sum may be -0.
 */
enum { TILE = 64, DEPTH = 16, EACH = 4, THREADS = 256, PITCH = TILE + 1 };

/* x and W [tile's rows][DEPTH] from k on, widened and turned; what is not there is zeros. */
template <typename T>
__device__ __forceinline__ void fetch(float (*to)[PITCH], const T *from, int64_t stride,
				      int64_t left, int64_t left_k)
{
	for (int i = threadIdx.x; i < TILE * DEPTH; i += THREADS) {
		int row = i / DEPTH, k = i % DEPTH;

		to[k][row] = row < left && k < left_k ? gh_widen(from[row * stride + k]) : 0.0F;
	}
}

/* Of a thread's four columns the first two are gate and up, and so are the others. */
__device__ __forceinline__ int column_of(int i)
{
	return threadIdx.x % 16 / 8 * 32 + threadIdx.x % 8 + i * 8;
}

__device__ __forceinline__ int row_of(int i)
{
	return threadIdx.x / 16 + i * 16;
}

__device__ __forceinline__ void multiply(float (&sum)[EACH][EACH], const float (*x)[PITCH],
					 const float (*w)[PITCH], int k)
{
	float a[EACH], b[EACH];

#pragma unroll
	for (int i = 0; i < EACH; i++) {
		a[i] = x[k][row_of(i)];
		b[i] = w[k][column_of(i)];
	}
#pragma unroll
	for (int i = 0; i < EACH; i++)
#pragma unroll
		for (int j = 0; j < EACH; j++)
			sum[i][j] = __fmaf_rn(a[i], b[j], sum[i][j]);
}

template <gh_linear_scaling scaling>
__device__ __forceinline__ void write(const gh_linear_epilogue &e, const float (&sum)[EACH][EACH],
				      int64_t row, int64_t column)
{
#pragma unroll
	for (int i = 0; i < EACH; i++) {
		int64_t r = row + row_of(i);

		if (r >= e.m)
			continue;
#pragma unroll
		for (int j = 0; j < EACH; j++) {
			int64_t c = column + column_of(j);

			if (e.glu && j % 2 != 0)
				continue;
			c = e.glu ? c / 16 * 8 + c % 8 : c;
			if (c < e.columns)
				gh_linear_put(e, r, c,
					      gh_linear_value<scaling>(e, sum[i][j], sum[i][j | 1],
								       1.0F, c));
		}
	}
}

template <typename X, typename W>
__global__ void __launch_bounds__(THREADS)
	linear_fma_kernel(const X *x, int64_t x_stride, const W *w, int64_t w_stride, int64_t n,
			  int64_t k, const __grid_constant__ gh_linear_epilogue e)
{
	constexpr gh_linear_scaling scaling = sizeof(W) == 1 ? GH_LINEAR_COLUMNS : GH_LINEAR_PLAIN;
	__shared__ float x_tile[DEPTH][PITCH], w_tile[DEPTH][PITCH];
	const int64_t tiles = (n + TILE - 1) / TILE;
	const int64_t row = blockIdx.x / tiles * TILE, column = blockIdx.x % tiles * TILE;
	float sum[EACH][EACH] = {};

	for (int64_t at = 0; at < k; at += DEPTH) {
		fetch(x_tile, x + row * x_stride + at, x_stride, e.m - row, k - at);
		fetch(w_tile, w + column * w_stride + at, w_stride, n - column, k - at);
		__syncthreads();
		if (k - at >= DEPTH) {
#pragma unroll
			for (int i = 0; i < DEPTH; i++)
				multiply(sum, x_tile, w_tile, i);
		} else {
			for (int i = 0; i < k - at; i++)
				multiply(sum, x_tile, w_tile, i);
		}
		__syncthreads();
	}
	write<scaling>(e, sum, row, column);
}

template <typename X, typename W>
static int launch(const gh__launch *on, const gh__linear_desc *desc, const gh_linear_operands *in)
{
	const int64_t n = gh__cuda_linear_rows(desc);
	const int64_t tiles = static_cast<int64_t>(gh_blocks(in->m, TILE)) * gh_blocks(n, TILE);

	linear_fma_kernel<<<gh_blocks(tiles, 1), THREADS, 0, on->stream>>>(
		static_cast<const X *>(in->x), in->x_stride, static_cast<const W *>(in->w),
		gh__cuda_linear_stride(desc), n, desc->k, gh_linear_epilogue_of(desc, in));
	return gh_launched();
}

int gh__cuda_linear_fma(const gh__launch *on, const gh__linear_desc *desc,
			const gh_linear_operands *in)
{
	const bool half = desc->weight == GH_F16, brain = desc->weight == GH_BF16;

	if (desc->act == GH_F16)
		return brain ? launch<__half, __nv_bfloat16>(on, desc, in)
			     : launch<__half, float>(on, desc, in);
	if (desc->act == GH_BF16)
		return half ? launch<__nv_bfloat16, __half>(on, desc, in)
			    : launch<__nv_bfloat16, float>(on, desc, in);
	if (desc->weight == GH_E4M3)
		return launch<float, __nv_fp8_e4m3>(on, desc, in);
	if (half)
		return launch<float, __half>(on, desc, in);
	return brain ? launch<float, __nv_bfloat16>(on, desc, in)
		     : launch<float, float>(on, desc, in);
}
