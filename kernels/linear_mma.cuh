#ifndef GH_KERNELS_LINEAR_MMA_CUH
#define GH_KERNELS_LINEAR_MMA_CUH

#include "linear_epilogue.cuh"
#include "ptx/mma.cuh"

/*
 * y = epilogue(x W^T) with mma.sync: 2 m n k FLOPs, W read once for every `rows` rows of x.
 *
 * Order of sums: an output is one chain of k16 products over ascending k in the accumulator, of e4m3
 * with e4m3 a chain from zero for each 128 of k, added up in f32. No k is split, and nothing else
 * decides an order. Of 16 k's, which place in the product each takes is free: bytes take the places
 * that a lane finds them in.
 *
 * A block makes `rows` x `columns` outputs, a warp warp_rows x warp_columns of them. Stages of
 * depth k's lie in a ring in shared memory; while one is multiplied, the next ones are on their
 * way. A row of a stage is a run of 16-byte chunks, whose places are turned by the row's number, so
 * that eight rows' same chunk lies in different banks. In the end the ring holds the block's sums,
 * for whole rows to be written.
 */
typedef struct gh_linear_mma_args {
	const char *x, *w;
	int64_t x_pitch, w_pitch; /* bytes from row to row */
	int64_t x_width, w_width; /* bytes of a row that may be read: a multiple of 16 */
	int64_t m, n, k;          /* n: rows of W as it lies */
	int64_t tiles_m, tiles_n;
	bool aligned; /* else x is read by its elements, up to k */
	gh_linear_epilogue epilogue;
} gh_linear_mma_args;

int gh__cuda_linear_mma_e4m3(const gh__launch *on, const gh__linear_desc *desc,
			     gh_linear_mma_args *a);

template <typename T_, int x_size_, int w_size_, int rows_, int columns_, int warp_rows_,
	  int warp_columns_, int depth_, int stages_>
struct gh_linear_shape {
	using T = T_;                                            /* of the products */
	static constexpr int x_size = x_size_, w_size = w_size_; /* bytes an element */
	static constexpr int rows = rows_, columns = columns_;
	static constexpr int warp_rows = warp_rows_, warp_columns = warp_columns_;
	static constexpr int depth = depth_, stages = stages_;
	static constexpr int threads = rows / warp_rows * (columns / warp_columns) * 32;
	static constexpr int x_chunks = depth * x_size / 16, w_chunks = depth * w_size / 16;
	static constexpr int x_bytes = rows * depth * x_size, w_bytes = columns * depth * w_size;
	static constexpr int shared = stages * (x_bytes + w_bytes);
	static constexpr int pitch = columns + 8; /* of sums on their way to y, without conflicts */
	static constexpr int tall = warp_rows / 16, wide = warp_columns / 8; /* products a warp */
	static constexpr bool blocks = x_size == 1;                          /* sums of 128 */
	static constexpr bool mixed = x_size != w_size; /* a lane reads x as it reads bytes */
	static constexpr gh_linear_scaling scaling = w_size == 2 ? GH_LINEAR_PLAIN
						     : blocks    ? GH_LINEAR_BOTH
								 : GH_LINEAR_COLUMNS;

	static_assert(rows * pitch * static_cast<int>(sizeof(float)) <= shared, "sums fit");
	static_assert(!blocks || depth == 128, "a stage is a block of the sum");
	static_assert(warp_columns % 16 == 0, "columns are loaded in groups of 16");
};

/* Where chunk `chunk` of row `row` lies in a tile. pairs: two chunks stay side by side, for reads of
 * eight bytes. */
template <int chunks, bool pairs>
__device__ __forceinline__ uint32_t gh_chunk_at(int row, int chunk)
{
	int turn = pairs         ? (row & 3) * 2
		   : chunks >= 8 ? row & 7
				 : row / (8 / chunks) & (chunks - 1);

	return static_cast<uint32_t>(row * chunks + (chunk ^ turn)) * 16;
}

/* A tile of `rows` rows on its way: `left` rows and `width` bytes of each are there, the rest is
 * zeros. from: the tile's beginning. */
template <int rows, int chunks, bool pairs, int threads>
__device__ __forceinline__ void gh_fetch(uint32_t to, const char *from, int64_t pitch, int64_t left,
					 int64_t width)
{
	constexpr int step = threads / chunks;
	const int row = threadIdx.x / chunks, chunk = threadIdx.x % chunks;
	const bool inside = chunk * 16 < width;
	const char *at = from + row * pitch + chunk * 16;

	static_assert(threads % chunks == 0 && rows % step == 0, "threads share rows evenly");
#pragma unroll
	for (int i = 0; i < rows; i += step, at += step * pitch) {
		bool there = inside && row + i < left;

		gh_copy_async(to + gh_chunk_at<chunks, pairs>(row + i, chunk), there ? at : from,
			      there);
	}
}

/* Likewise by elements of two bytes; width may be any even number. */
template <int rows, int chunks, bool pairs, int threads>
__device__ __forceinline__ void gh_fetch_elements(char *to, const char *from, int64_t pitch,
						  int64_t left, int64_t width)
{
	for (int i = threadIdx.x; i < rows * chunks; i += threads) {
		const int row = i / chunks, chunk = i % chunks;
		const char *at = from + row * pitch + chunk * 16;
		gh_chunk<uint16_t> v;

		for (int j = 0; j < 8; j++)
			v.at[j] = row < left && chunk * 16 + 2 * j < width
					  ? reinterpret_cast<const uint16_t *>(at)[j]
					  : static_cast<uint16_t>(0);
		*reinterpret_cast<gh_chunk<uint16_t> *>(to +
							gh_chunk_at<chunks, pairs>(row, chunk)) = v;
	}
}

/* Stage `stage`, which is k's depth * at on. */
template <typename S>
__device__ __forceinline__ void gh_fetch_stage(const gh_linear_mma_args &a, char *ring, int stage,
					       int64_t at, int64_t row, int64_t column)
{
	char *x = ring + stage * (S::x_bytes + S::w_bytes);
	const int64_t x_at = at * S::depth * S::x_size, w_at = at * S::depth * S::w_size;
	const char *from = a.x + row * a.x_pitch + x_at;

	if (S::x_size == 1 || a.aligned)
		gh_fetch<S::rows, S::x_chunks, S::mixed, S::threads>(gh_shared(x), from, a.x_pitch,
								     a.m - row, a.x_width - x_at);
	else
		gh_fetch_elements<S::rows, S::x_chunks, S::mixed, S::threads>(x, from, a.x_pitch,
									      a.m - row,
									      2 * a.k - x_at);
	gh_fetch<S::columns, S::w_chunks, false, S::threads>(gh_shared(x + S::x_bytes),
							     a.w + column * a.w_pitch + w_at,
							     a.w_pitch, a.n - column,
							     a.w_width - w_at);
}

/* What 32 bytes of a warp's rows of W are multiplied with: one product of f16, or two of e4m3. x as
 * it is multiplied, or, of e4m3, both products' in one. */
template <typename S> struct gh_linear_operands_of {
	uint32_t w[S::wide / 2][4];
	uint32_t x[S::tall][S::mixed ? 2 : 1][4];
};

/* Of 16 k's of x, those that a lane holds of W's bytes: four neighbours. */
template <typename S>
__device__ __forceinline__ void gh_load_x_mixed(uint32_t (&to)[4], const char *x, int row, int at)
{
	const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;

	for (int i = 0; i < 2; i++) {
		uint32_t place = gh_chunk_at<S::x_chunks, true>(row + g + 8 * i, 2 * at + t / 2);
		uint2 v = *reinterpret_cast<const uint2 *>(x + place + t % 2 * 8);

		to[i] = v.x;
		to[i + 2] = v.y;
	}
}

/* Chunks 2 at and 2 at + 1 of W's rows, and their share of x. */
template <typename S>
__device__ __forceinline__ void gh_load_operands(gh_linear_operands_of<S> &to, const char *x,
						 int row, int column, int at)
{
	const int lane = threadIdx.x % 32, w_row = column + lane / 16 * 8 + lane % 8;
	const uint32_t w = gh_shared(x + S::x_bytes);

#pragma unroll
	for (int j = 0; j < S::wide / 2; j++)
		gh_load_matrices(to.w[j],
				 w + gh_chunk_at<S::w_chunks, false>(w_row + 16 * j,
								     2 * at + lane / 8 % 2));
#pragma unroll
	for (int i = 0; i < S::tall; i++) {
		if (S::mixed) {
			gh_load_x_mixed<S>(to.x[i][0], x, row + 16 * i, 2 * at);
			gh_load_x_mixed<S>(to.x[i][S::mixed], x, row + 16 * i, 2 * at + 1);
		} else {
			gh_load_matrices(to.x[i][0],
					 gh_shared(x) + gh_chunk_at<S::x_chunks, false>(
								row + 16 * i + lane % 16,
								2 * at + lane / 16));
		}
	}
}

/* W's column group `j` of eight, for product `half`. */
template <typename S>
__device__ __forceinline__ void gh_take_w(uint32_t (&to)[2], const gh_linear_operands_of<S> &from,
					  int j, int half)
{
	const uint32_t(&raw)[4] = from.w[j / 2];

	if (S::w_size == 1) {
		gh_widen_e4m3<typename S::T>(to, raw[j % 2 * 2 + half]);
	} else {
		to[0] = raw[j % 2 * 2];
		to[1] = raw[j % 2 * 2 + 1];
	}
}

/* 16 rows of x, for product `half`. */
template <typename S>
__device__ __forceinline__ void gh_take_x(uint32_t (&to)[4], const gh_linear_operands_of<S> &from,
					  int i, int half)
{
	const uint32_t(&raw)[4] = from.x[i][S::mixed ? half : 0];
	uint32_t top[2], bottom[2];

	if (S::x_size == 2) {
		for (int j = 0; j < 4; j++)
			to[j] = raw[j];
		return;
	}
	gh_widen_e4m3<typename S::T>(top, raw[2 * half]);
	gh_widen_e4m3<typename S::T>(bottom, raw[2 * half + 1]);
	to[0] = top[0];
	to[1] = bottom[0];
	to[2] = top[1];
	to[3] = bottom[1];
}

template <typename S>
__device__ __forceinline__ void gh_multiply(float (&sum)[S::tall][S::wide][4],
					    const gh_linear_operands_of<S> &operands)
{
#pragma unroll
	for (int half = 0; half < 2 / S::w_size; half++) {
		uint32_t b[S::wide][2], a[4];

#pragma unroll
		for (int j = 0; j < S::wide; j++)
			gh_take_w<S>(b[j], operands, j, half);
#pragma unroll
		for (int i = 0; i < S::tall; i++) {
			gh_take_x<S>(a, operands, i, half);
#pragma unroll
			for (int j = 0; j < S::wide; j++)
				gh_mma<typename S::T>(sum[i][j], a, b[j]);
		}
	}
}

/* A stage: the next operands are on their way to registers while these are multiplied. */
template <typename S>
__device__ __forceinline__ void gh_multiply_stage(float (&sum)[S::tall][S::wide][4], const char *x,
						  int row, int column)
{
	constexpr int steps = S::w_chunks / 2;
	gh_linear_operands_of<S> operands[2];

	gh_load_operands<S>(operands[0], x, row, column, 0);
#pragma unroll
	for (int i = 0; i < steps; i++) {
		if (i + 1 < steps)
			gh_load_operands<S>(operands[(i + 1) % 2], x, row, column, i + 1);
		gh_multiply<S>(sum, operands[i % 2]);
	}
}

/* A block of the sum is done: it is added, and the next begins. */
template <typename S>
__device__ __forceinline__ void gh_promote(float (&sum)[S::tall][S::wide][4],
					   float (&part)[S::tall][S::wide][4])
{
#pragma unroll
	for (int i = 0; i < S::tall * S::wide * 4; i++) {
		float &p = part[i / 4 / S::wide][i / 4 % S::wide][i % 4];
		float &to = sum[i / 4 / S::wide][i / 4 % S::wide][i % 4];

		to = __fadd_rn(to, p);
		p = 0.0F;
	}
}

/* A warp's sums to where the block's lie: [rows][pitch]. */
template <typename S>
__device__ __forceinline__ void gh_put_sums(float *to, const float (&sum)[S::tall][S::wide][4],
					    int row, int column)
{
	const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;

#pragma unroll
	for (int i = 0; i < S::tall * 2; i++)
#pragma unroll
		for (int j = 0; j < S::wide; j++) {
			const float *v = sum[i / 2][j] + i % 2 * 2;
			float *at = to + (row + 8 * i + g) * S::pitch + column + 8 * j + 2 * t;

			*reinterpret_cast<float2 *>(at) = make_float2(v[0], v[1]);
		}
}

/* The block's sums to y, two neighbours a thread; its first is row `row`, and row `column` of W. */
template <typename S>
__device__ __forceinline__ void gh_linear_write(const gh_linear_epilogue &e, const float *sums,
						int64_t row, int64_t column)
{
	const int pairs = S::columns / (e.glu ? 4 : 2); /* a row's */
	const int left = e.m - row < S::rows ? static_cast<int>(e.m - row) : S::rows;
	const int64_t first = e.glu ? column / 2 : column;

#pragma unroll 2
	for (int i = threadIdx.x; i < left * pairs; i += S::threads) {
		const int r = i / pairs, c = i % pairs * 2;
		const float *gate = sums + r * S::pitch + (e.glu ? c / 8 * 16 + c % 8 : c);
		float scale = S::scaling == GH_LINEAR_BOTH ? e.x_scale[row + r] : 1.0F;

		gh_linear_store<S::scaling>(e, row + r, first + c, gate, e.glu ? gate + 8 : gate,
					    scale);
	}
}

/* Which tile a block makes: eight tiles of rows pass over W together, so that it is read once. */
__device__ __forceinline__ void gh_linear_tile(const gh_linear_mma_args &a, int64_t *tile_m,
					       int64_t *tile_n)
{
	const int64_t whole = 8 * a.tiles_n, id = blockIdx.x;
	const int64_t first = id / whole * 8, inside = id % whole;
	const int64_t tall = a.tiles_m - first < 8 ? a.tiles_m - first : 8;

	*tile_m = first + inside % tall;
	*tile_n = inside / tall;
}

template <typename S>
__global__ void __launch_bounds__(S::threads, 1)
	linear_mma_kernel(const __grid_constant__ gh_linear_mma_args a)
{
	extern __shared__ __align__(128) char ring[];
	const int warp = threadIdx.x / 32;
	const int warp_row = warp / (S::columns / S::warp_columns) * S::warp_rows;
	const int warp_column = warp % (S::columns / S::warp_columns) * S::warp_columns;
	const int stages =
		static_cast<int>((a.w_width + S::depth * S::w_size - 1) / (S::depth * S::w_size));
	float acc[S::tall][S::wide][4] = {}, part[S::tall][S::wide][4] = {};
	int64_t row, column;
	int slot = 0;

	gh_linear_tile(a, &row, &column);
	row *= S::rows;
	column *= S::columns;
	for (int i = 0; i < S::stages - 1; i++) {
		if (i < stages)
			gh_fetch_stage<S>(a, ring, i, i, row, column);
		gh_copy_mark();
	}
	for (int at = 0; at < stages; at++) {
		const char *x = ring + slot * (S::x_bytes + S::w_bytes);
		const int behind = slot == 0 ? S::stages - 1 : slot - 1;

		gh_copy_wait<S::stages - 2>();
		__syncthreads();
		if (at + S::stages - 1 < stages)
			gh_fetch_stage<S>(a, ring, behind, at + S::stages - 1, row, column);
		gh_copy_mark();
		gh_multiply_stage<S>(S::blocks ? part : acc, x, warp_row, warp_column);
		if (S::blocks)
			gh_promote<S>(acc, part);
		slot = slot == S::stages - 1 ? 0 : slot + 1;
	}
	__syncthreads();
	gh_put_sums<S>(reinterpret_cast<float *>(ring), acc, warp_row, warp_column);
	__syncthreads();
	gh_linear_write<S>(a.epilogue, reinterpret_cast<const float *>(ring), row, column);
}

template <typename S> static int gh_linear_mma_launch(const gh__launch *on, gh_linear_mma_args *a)
{
	cudaError_t code =
		cudaFuncSetAttribute(linear_mma_kernel<S>,
				     cudaFuncAttributeMaxDynamicSharedMemorySize, S::shared);

	if (code != cudaSuccess)
		return static_cast<int>(code);
	a->tiles_m = gh_blocks(a->m, S::rows);
	a->tiles_n = gh_blocks(a->n, S::columns);
	linear_mma_kernel<S>
		<<<gh_blocks(a->tiles_m * a->tiles_n, 1), S::threads, S::shared, on->stream>>>(*a);
	return gh_launched();
}

/*
 * Up to 16 rows are a matter of reading W: narrow blocks, so that there are many, with much of it
 * on its way. Large tiles as soon as there is one for each multiprocessor.
 */
template <typename T, int x_size, int w_size>
static int gh_linear_mma_choose(const gh__launch *on, gh_linear_mma_args *a)
{
	constexpr int deep = 128, depth = x_size == 1 ? 128 : 64;
	using few = gh_linear_shape<T, x_size, w_size, 16, 32, 16, 16, deep, 8>;
	using some = gh_linear_shape<T, x_size, w_size, 64, 64, 32, 32, depth, 4>;
	using many = gh_linear_shape<T, x_size, w_size, 128, 128, 64, 32, depth, 3>;

	if (a->m <= few::rows)
		return gh_linear_mma_launch<few>(on, a);
	if (a->m <= some::rows ||
	    static_cast<int64_t>(gh_blocks(a->m, many::rows)) * gh_blocks(a->n, many::columns) <
		    on->units)
		return gh_linear_mma_launch<some>(on, a);
	return gh_linear_mma_launch<many>(on, a);
}

#endif
