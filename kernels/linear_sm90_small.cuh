#ifndef GH_KERNELS_LINEAR_SM90_SMALL_CUH
#define GH_KERNELS_LINEAR_SM90_SMALL_CUH

#include "linear_sm90.cuh"

/*
 * linear for few rows: W is read once, and that is what it costs.
 *
 * A block makes all rows of y for `height` rows of W at a time. Two warps keep a deep ring in
 * shared memory filled, one with W, one with x, four blocks of k a stage; one warpgroup multiplies,
 * W as the first operand, of which a product takes 64 rows. With height 32 it reads on into what lies
 * behind them, and the rows made of that are dropped: there are twice as many blocks then, which a W
 * of few rows needs.
 *
 * A launch lets the next one start at once, and where weights are settled, it fills its ring with W
 * before the one in front of it is over; x, its scales and y wait for that.
 */
enum {
	GH_SM90_SMALL = 64, /* the most rows of x */
	GH_SM90_FOUR = 4,   /* blocks of k a stage */
	GH_SM90_READY = 1,  /* the named barrier after the scales of x */
};

template <typename T_, int height_, int rows_> struct gh_sm90_stream {
	using T = T_;
	static constexpr int height = height_, rows = rows_; /* of W, of x */
	static constexpr int threads = 192;
	static constexpr int w_bytes = height * GH_SM90_BLOCK, x_bytes = rows * GH_SM90_BLOCK;
	static constexpr int stage = GH_SM90_FOUR * (w_bytes + x_bytes);
	static constexpr int fit = (GH_SM90_SHARED - GH_SM90_SPARE) / stage;
	static constexpr int stages = fit < 16 ? fit : 16;
	static constexpr int shared = stages * stage + 1024;
	static constexpr int sums = rows / 2; /* a thread */

	static_assert(height == 64 || (height == 32 && GH_SM90_FOUR * x_bytes >= w_bytes),
		      "the last product of a stage reads nothing beyond it");
};

/*
 * One thread's work: all stages of all of the block's tiles, what one map has of them. rows: of a
 * box; at: where its boxes begin in a stage; moves: whether the tile's rows are of this matrix.
 */
template <typename S, int rows, int at, bool moves>
__device__ __forceinline__ void gh_sm90_stream_fetch(const gh_sm90_linear &a,
						     const CUtensorMap *map, uint64_t policy,
						     uint32_t ring, uint32_t full, uint32_t empty)
{
	constexpr int width = GH_SM90_BLOCK / static_cast<int>(sizeof(typename S::T));
	constexpr int bytes = rows * GH_SM90_BLOCK;
	uint32_t parity = 1;
	int slot = 0;

	for (int tile = blockIdx.x; tile < a.tiles_n; tile += gridDim.x) {
		for (int k = 0; k < a.blocks; k += GH_SM90_FOUR) {
			const int left = a.blocks - k < GH_SM90_FOUR ? a.blocks - k : GH_SM90_FOUR;
			const uint32_t to = ring + slot * S::stage + at, barrier = full + 8 * slot;

			gh_barrier_wait(empty + 8 * slot, parity);
			gh_barrier_expect(barrier, left * bytes);
			for (int i = 0; i < left; i++)
				gh_copy_box(to + i * bytes, map, (k + i) * width,
					    moves ? tile * rows : 0, barrier, policy);
			if (++slot == S::stages) {
				slot = 0;
				parity ^= 1;
			}
		}
	}
}

/* The products of one block of k: d = or += W x^T. */
template <typename S>
__device__ __forceinline__ void gh_sm90_stream_multiply(float (&d)[S::sums], uint32_t w, uint32_t x,
							int more)
{
#pragma unroll
	for (int i = 0; i < 4; i++)
		gh_product<typename S::T, S::rows>::run(d, w + 2 * i, x + 2 * i, i == 0 ? more : 1);
}

template <int sums>
__device__ __forceinline__ void gh_sm90_stream_add(float (&sum)[sums], float (&part)[sums])
{
	gh_product_done(part);
#pragma unroll
	for (int i = 0; i < sums; i++)
		sum[i] = __fadd_rn(sum[i], part[i]);
}

/*
 * `count` blocks of k of a stage, 1 or 4, the first of them at the operands; more 0: the first of
 * all. Sums of blocks are made at the same time and added in their order.
 */
template <typename S, int count>
__device__ __forceinline__ void gh_sm90_stream_take(float (&sum)[S::sums], uint32_t w, uint32_t x,
						    int more)
{
	constexpr bool blocks = gh_sm90_kind<typename S::T>::blocks;
	constexpr int w_step = S::w_bytes / 16, x_step = S::x_bytes / 16;

	gh_product_begin();
	if constexpr (!blocks) {
#pragma unroll
		for (int i = 0; i < count; i++)
			gh_sm90_stream_multiply<S>(sum, w + i * w_step, x + i * x_step,
						   i == 0 ? more : 1);
		gh_product_mark();
		gh_product_wait<0>();
		gh_product_done(sum);
	} else {
		float part[count][S::sums] = {};

#pragma unroll
		for (int i = 0; i < count; i++) {
			gh_sm90_stream_multiply<S>(part[i], w + i * w_step, x + i * x_step, 0);
			gh_product_mark();
		}
		if constexpr (count == GH_SM90_FOUR) {
			gh_product_wait<3>();
			gh_sm90_stream_add(sum, part[0]);
			gh_product_wait<2>();
			gh_sm90_stream_add(sum, part[1]);
			gh_product_wait<1>();
			gh_sm90_stream_add(sum, part[2]);
		}
		gh_product_wait<0>();
		gh_sm90_stream_add(sum, part[count - 1]);
	}
}

/* What finishes the sums of a thread's two rows of W: gate and up with SWIGLU. */
typedef struct gh_sm90_rows {
	int64_t column; /* of y, of the first; the other's is 8 further, or it has none */
	float w_scale[2];
	float bias[2];
} gh_sm90_rows;

template <typename S>
__device__ __forceinline__ gh_sm90_rows gh_sm90_stream_rows(const gh_sm90_linear &a, int64_t tile)
{
	const gh_linear_epilogue &e = a.epilogue;
	const int64_t row = tile * S::height + threadIdx.x / 32 * 16;
	gh_sm90_rows rows;

	rows.column = (e.glu ? row / 2 : row) + threadIdx.x % 32 / 4;
#pragma unroll
	for (int i = 0; i < 2; i++) {
		const int64_t column = rows.column + (e.glu ? 0 : 8 * i);
		const int64_t n = column + (e.glu && i == 1 ? e.columns : 0);
		const bool there = column < e.columns;

		rows.w_scale[i] = rows.bias[i] = 0.0F;
		if (gh_sm90_kind<typename S::T>::scaling == GH_LINEAR_BOTH && there)
			rows.w_scale[i] = e.w_scale[n];
		if (e.bias != NULL && there)
			rows.bias[i] = gh_linear_load(e.bias_type, e.bias, n);
	}
	return rows;
}

/*
 * A thread's sums become y: d[4 j + {0, 1}] are W's first row, of x rows 8 j + 2 t and the next. All
 * are made, then stored, so that their steps overlap.
 */
template <typename S, bool glu, gh_dtype out>
__device__ __forceinline__ void gh_sm90_stream_write(const gh_sm90_linear &a,
						     const float (&sum)[S::sums],
						     const gh_sm90_rows &rows, const float *x_scale)
{
	constexpr gh_linear_scaling scaling = gh_sm90_kind<typename S::T>::scaling;
	gh_linear_epilogue e = a.epilogue;
	float v[S::sums];

	e.out = out;
#pragma unroll
	for (int i = 0; i < S::sums; i++) {
		const float scale = scaling == GH_LINEAR_BOTH
					    ? x_scale[i / 4 * 8 + threadIdx.x % 4 * 2 + i % 2]
					    : 1.0F;

		v[i] = gh_linear_scaled<scaling>(e, sum[i], rows.w_scale[i / 2 % 2], scale,
						 rows.bias[i / 2 % 2]);
	}
#pragma unroll
	for (int i = 0; i < S::sums; i++)
		if (glu && i % 4 < 2)
			v[i] = gh_linear_glu(out, v[i], v[i + 2]);
#pragma unroll
	for (int i = 0; i < S::sums; i++) {
		const int token = i / 4 * 8 + threadIdx.x % 4 * 2 + i % 2;
		const int64_t column = rows.column + (i % 4 < 2 ? 0 : 8);

		if (token < a.m && column < e.columns && !(glu && i % 4 >= 2))
			gh_linear_put(e, token, column, v[i]);
	}
}

template <typename S, bool glu>
__device__ __forceinline__ void gh_sm90_stream_end(const gh_sm90_linear &a,
						   const float (&sum)[S::sums],
						   const gh_sm90_rows &rows, const float *x_scale)
{
	if (threadIdx.x / 32 * 16 >= S::height)
		return;
	if (a.epilogue.out == GH_F16)
		gh_sm90_stream_write<S, glu, GH_F16>(a, sum, rows, x_scale);
	else if (a.epilogue.out == GH_BF16)
		gh_sm90_stream_write<S, glu, GH_BF16>(a, sum, rows, x_scale);
	else
		gh_sm90_stream_write<S, glu, GH_F32>(a, sum, rows, x_scale);
}

/* The warpgroup's work; x_scale: room for those of all rows. */
template <typename S>
__device__ __forceinline__ void gh_sm90_stream_make(const gh_sm90_linear &a, uint32_t ring,
						    uint32_t full, uint32_t empty, float *x_scale)
{
	const uint32_t first = gh_operand(ring);
	uint32_t parity = 0;
	int slot = 0;

	gh_overlap_end();
	if (gh_sm90_kind<typename S::T>::scaling == GH_LINEAR_BOTH && threadIdx.x < S::rows)
		x_scale[threadIdx.x] = static_cast<int>(threadIdx.x) < a.m
					       ? a.epilogue.x_scale[threadIdx.x]
					       : 0.0F;
	gh_named_wait(GH_SM90_READY, 128);
	for (int tile = blockIdx.x; tile < a.tiles_n; tile += gridDim.x) {
		const gh_sm90_rows rows = gh_sm90_stream_rows<S>(a, tile);
		float sum[S::sums] = {};

		for (int k = 0; k < a.blocks; k += GH_SM90_FOUR) {
			const uint32_t w = first + slot * (S::stage / 16);
			const uint32_t x = w + GH_SM90_FOUR * S::w_bytes / 16;

			gh_barrier_wait(full + 8 * slot, parity);
			if (k + GH_SM90_FOUR <= a.blocks)
				gh_sm90_stream_take<S, GH_SM90_FOUR>(sum, w, x, k > 0);
			else
				for (int i = 0; k + i < a.blocks; i++)
					gh_sm90_stream_take<S, 1>(sum, w + i * (S::w_bytes / 16),
								  x + i * (S::x_bytes / 16),
								  k + i > 0);
			if (threadIdx.x % 32 == 0)
				gh_barrier_arrive(empty + 8 * slot);
			if (++slot == S::stages) {
				slot = 0;
				parity ^= 1;
			}
		}
		if (a.epilogue.glu)
			gh_sm90_stream_end<S, true>(a, sum, rows, x_scale);
		else
			gh_sm90_stream_end<S, false>(a, sum, rows, x_scale);
	}
}

template <typename S>
__global__ void __launch_bounds__(S::threads, 1)
	linear_sm90_small_kernel(const __grid_constant__ gh_sm90_linear a)
{
#ifdef GH_SM90
	extern __shared__ char memory[];
	__shared__ uint64_t barriers[2][S::stages];
	__shared__ float x_scale[S::rows];
	const uint32_t ring = (gh_shared(memory) + 1023) / 1024 * 1024;
	const uint32_t full = gh_shared(barriers[0]), empty = gh_shared(barriers[1]);
	const int warp = __shfl_sync(~0U, threadIdx.x / 32, 0);

	gh_overlap_begin();
	if (threadIdx.x == 0) {
		for (int i = 0; i < S::stages; i++) {
			gh_barrier_init(full + 8 * i, 2);
			gh_barrier_init(empty + 8 * i, 4);
		}
		gh_barrier_publish();
	}
	__syncthreads();
	if (warp < 4) {
		gh_sm90_stream_make<S>(a, ring, full, empty, x_scale);
	} else if (threadIdx.x == 128) {
		if (!a.settled)
			gh_overlap_end();
		gh_sm90_stream_fetch<S, S::height, 0, true>(a, &a.w, gh_policy_once(), ring, full,
							    empty);
	} else if (threadIdx.x == 160) {
		gh_overlap_end();
		gh_sm90_stream_fetch<S, S::rows, GH_SM90_FOUR * S::w_bytes, false>(a, &a.x,
										   gh_policy_keep(),
										   ring, full,
										   empty);
	}
#endif
}

template <typename S>
static int gh_sm90_small_launch(const gh__launch *on, const gh__linear_desc *desc,
				const gh_linear_operands *in, gh_sm90_linear *a)
{
	const int code = gh__sm90_maps(a, desc, in, S::rows, S::height);

	if (code != 0)
		return code;
	a->tiles_m = 1;
	a->tiles_n = static_cast<int32_t>(gh_blocks(a->n, S::height));
	return gh_sm90_launch(on, linear_sm90_small_kernel<S>, a,
			      a->tiles_n < on->units ? a->tiles_n : on->units, 1, S::threads,
			      S::shared, on->settled);
}

/* Half products, if every multiprocessor then has one of them at most; else whole ones. */
template <typename T, int rows>
static int gh_sm90_small_rows(const gh__launch *on, const gh__linear_desc *desc,
			      const gh_linear_operands *in, gh_sm90_linear *a)
{
	if (gh_blocks(a->n, 32) <= static_cast<unsigned>(on->units))
		return gh_sm90_small_launch<gh_sm90_stream<T, 32, rows>>(on, desc, in, a);
	return gh_sm90_small_launch<gh_sm90_stream<T, 64, rows>>(on, desc, in, a);
}

template <typename T>
static int gh_sm90_small(const gh__launch *on, const gh__linear_desc *desc,
			 const gh_linear_operands *in, gh_sm90_linear *a)
{
	if (a->m <= 8)
		return gh_sm90_small_rows<T, 8>(on, desc, in, a);
	if (a->m <= 16)
		return gh_sm90_small_rows<T, 16>(on, desc, in, a);
	if (a->m <= 32)
		return gh_sm90_small_rows<T, 32>(on, desc, in, a);
	return gh_sm90_small_rows<T, 64>(on, desc, in, a);
}

#endif
