#ifndef GH_KERNELS_ATTENTION_CUH
#define GH_KERNELS_ATTENTION_CUH

#include "ptx/tile.cuh"

/*
 * What attention's kernels share: which rows a block has, and the parts of a tile.
 *
 * A row is a token and a query head; the rows of a sequence and a kv head are packed in the order
 * token, head, so that all of them share the tiles of k and v. With tensor cores a warp has 16
 * rows: of a lane, with g = lane / 4 and t = lane % 4, they are rows g and g + 8, and of every
 * eight columns it holds 2 t and 2 t + 1.
 */
typedef struct gh_attention {
	const char *qkv;
	int64_t qkv_stride;
	const char *cache;      /* NULL: PACKED */
	float k_scale, v_scale; /* 1 unless the cache is e4m3 */
	float scale;
	const gh__step *step;
	char *y;
	int64_t y_stride;
	float *partial; /* splits on their way to the fold */
	int32_t heads, group, head_first, kv_first;
	gh__kv_layout kv;
	int32_t kv_begin, kv_count; /* kv heads that query heads here use */
	int32_t most_heads;         /* query heads of one of them, at most */
	int32_t parts, splits;      /* blocks that share a row's splits; splits a row, at most */
	int64_t room;               /* floats at partial */
	int64_t all_rows;           /* packed rows of one kv head, at most */
	int32_t tokens, sequences;  /* of the step, when it was launched */
	int64_t tiles;              /* of rows, at most */
	int32_t unit;          /* bytes that k and v can be copied at once: 16, 8 or an element */
	bool q_pairs, y_pairs; /* two elements lie at a multiple of their size */
	gh_dtype act;
} gh_attention;

enum {
	GH_ATTENTION_SHORT = 16, /* rows that attention_decode.cu takes */
	GH_ATTENTION_WHOLE = 256 /* positions that attention_row_short.cu takes */
};

/* How many blocks share a row's splits, where `tiles` tiles of rows are to fill `places` places for
 * blocks; 1: there is no need, or no room for the splits. */
void gh__cuda_attention_share(gh_attention *a, int64_t tiles, int64_t places);

int gh__cuda_attention_online(const gh__launch *on, const gh_attention *a);
int gh__cuda_attention_decode(const gh__launch *on, const gh_attention *a);
int gh__cuda_attention_row(const gh__launch *on, const gh_attention *a);
int gh__cuda_attention_row_short(const gh__launch *on, const gh_attention *a);
int gh__cuda_attention_fma(const gh__launch *on, const gh_attention *a);

/* head_dim as kernels are made for it: 16, 32, 64, 128 or 256. */
static inline int gh_padded_dim(int32_t head_dim)
{
	int dim = 16;

	while (dim < head_dim)
		dim *= 2;
	return dim;
}

/* Floats of one split of 16 rows: O, m, l. */
__host__ __device__ constexpr int64_t gh_partial_size(int dim)
{
	return 16 * ((int64_t)dim + 2);
}

/* ---- rows ---- */

/* The rows of one block: of a sequence and a kv head, from `row` on. */
typedef struct gh_run {
	int32_t sequence;
	int32_t token;       /* the sequence's first */
	int32_t row, rows;   /* packed rows; none: rows <= 0 */
	int32_t all;         /* of the sequence */
	int32_t head, heads; /* the query heads of the kv head */
	int32_t kv;
} gh_run;

/* Sequence s has the tiles from row_start[s] heads / rows + s on: room for all of its rows, and no
 * count of the sequences before it is needed. */
template <int rows>
__device__ __forceinline__ int64_t gh_first_tile(const int32_t *row_start, int32_t heads, int32_t s)
{
	return (int64_t)row_start[s] * heads / rows + s;
}

/* The sequence that has tile `tile`; -1: there are none. */
template <int rows>
__device__ inline int32_t gh_find_sequence(const gh__step *step, int32_t heads, int64_t tile)
{
	int32_t low = 0, high = step->sequences - 1;

	while (low < high) {
		int32_t middle = low + (high - low + 1) / 2;

		if (gh_first_tile<rows>(step->row_start, heads, middle) <= tile)
			low = middle;
		else
			high = middle - 1;
	}
	return high < 0 ? -1 : low;
}

/* Query heads [head, head + heads) here belong to kv head kv here. */
__device__ __forceinline__ void gh_set_heads(const gh_attention &a, gh_run &run, int32_t kv)
{
	int64_t low = ((int64_t)kv + a.kv_first) * a.group - a.head_first;
	int64_t high = low + a.group;

	run.kv = kv;
	run.head = low < 0 ? 0 : (int32_t)low;
	run.heads = (high > a.heads ? a.heads : (int32_t)high) - run.head;
}

__device__ __forceinline__ void gh_set_rows(const gh__step *step, gh_run &run, int32_t sequence,
					    int32_t most)
{
	int32_t left;

	run.sequence = sequence;
	run.token = step->row_start[sequence];
	run.all = (step->row_start[sequence + 1] - run.token) * run.heads;
	left = run.all - run.row;
	run.rows = left < most ? left : most;
}

/* Rows of tile `tile` for kv head kv of those in use. */
template <int rows>
__device__ inline gh_run gh_find_rows(const gh_attention &a, int64_t tile, int32_t kv)
{
	gh_run run = {};
	int32_t sequence;

	gh_set_heads(a, run, a.kv_begin + kv);
	sequence = gh_find_sequence<rows>(a.step, run.heads, tile);
	if (sequence < 0)
		return run;
	tile -= gh_first_tile<rows>(a.step->row_start, run.heads, sequence);
	if (tile * rows > INT32_MAX)
		return run;
	run.row = (int32_t)tile * rows;
	gh_set_rows(a.step, run, sequence, rows);
	return run;
}

__device__ __forceinline__ int32_t gh_token_of(const gh_run &run, int32_t row)
{
	return run.token + (run.row + row) / run.heads;
}

__device__ __forceinline__ int32_t gh_head_of(const gh_run &run, int32_t row)
{
	return run.head + (run.row + row) % run.heads;
}

/* Rows of no sequence pad the step: zeros. All the grid's blocks share them. */
template <typename T> __device__ inline void gh_zero_pads(const gh_attention &a)
{
	const gh__step *step = a.step;
	int32_t row = step->sequences > 0 ? step->row_start[step->sequences] : 0;
	int64_t width = (int64_t)a.heads * a.kv.head_dim;

	for (int64_t r = row + (int64_t)blockIdx.x; r < step->tokens; r += gridDim.x) {
		T *y = (T *)a.y + r * a.y_stride;

		for (int64_t i = threadIdx.x; i < width; i += blockDim.x)
			y[i] = gh_narrow<T>(0.0F);
	}
}

/* ---- numbers ---- */

/*
 * e^x of a number that is not above 0: gh_exp()'s bits in fewer steps. 2^n is one product too large
 * by 2^63, which is exact, and the way back rounds once, as gh_exp()'s second factor does.
 */
__device__ __forceinline__ float gh_exp_below(float x)
{
	const float magic = 0x1.8p23F + 190.0F;
	float shifted, y;

	x = gh_max_nan(x, -104.0F);
	shifted = __fmaf_rn(x, 0x1.715476p0F, magic);
	y = gh_exp_rest(x, __fsub_rn(shifted, magic));
	y = __fmul_rn(y, __int_as_float(__float_as_int(shifted) << 23));
	return __fmul_rn(y, 0x1p-63F);
}

/* Two numbers, rounded to T, in one register. */
template <typename T> __device__ __forceinline__ uint32_t gh_pack(float low, float high);

template <> __device__ __forceinline__ uint32_t gh_pack<__half>(float low, float high)
{
	__half2 pair = __floats2half2_rn(low, high);

	return *reinterpret_cast<uint32_t *>(&pair);
}

template <> __device__ __forceinline__ uint32_t gh_pack<__nv_bfloat16>(float low, float high)
{
	__nv_bfloat162 pair = __floats2bfloat162_rn(low, high);

	return *reinterpret_cast<uint32_t *>(&pair);
}

/* And back. */
template <typename T>
__device__ __forceinline__ void gh_split(uint32_t pair, float &low, float &high);

template <> __device__ __forceinline__ void gh_split<__half>(uint32_t pair, float &low, float &high)
{
	const float2 wide = __half22float2(*reinterpret_cast<__half2 *>(&pair));

	low = wide.x;
	high = wide.y;
}

template <>
__device__ __forceinline__ void gh_split<__nv_bfloat16>(uint32_t pair, float &low, float &high)
{
	low = __int_as_float((int)(pair << 16));
	high = __int_as_float((int)(pair & 0xffff0000U));
}

/* Two e4m3 as two T, exactly. */
template <typename T> __device__ __forceinline__ uint32_t gh_widen_pair(uint32_t codes)
{
	__half2_raw raw =
		__nv_cvt_fp8x2_to_halfraw2(static_cast<__nv_fp8x2_storage_t>(codes), __NV_E4M3);
	float2 wide = __half22float2(__half2(raw));

	return gh_pack<T>(wide.x, wide.y);
}

template <> __device__ __forceinline__ uint32_t gh_widen_pair<__half>(uint32_t codes)
{
	__half2_raw raw =
		__nv_cvt_fp8x2_to_halfraw2(static_cast<__nv_fp8x2_storage_t>(codes), __NV_E4M3);

	return raw.x | (uint32_t)raw.y << 16;
}

/* The greatest, and v8f_sum's tree, of what the four lanes of a row hold. */
__device__ __forceinline__ float gh_row_max(float x)
{
	x = fmaxf(x, __shfl_xor_sync(~0U, x, 1));
	return fmaxf(x, __shfl_xor_sync(~0U, x, 2));
}

__device__ __forceinline__ float gh_row_sum(float even, float odd)
{
	even = __fadd_rn(even, __shfl_xor_sync(~0U, even, 2));
	odd = __fadd_rn(odd, __shfl_xor_sync(~0U, odd, 2));
	even = __fadd_rn(even, __shfl_xor_sync(~0U, even, 1));
	odd = __fadd_rn(odd, __shfl_xor_sync(~0U, odd, 1));
	return __fadd_rn(even, odd);
}

/* ---- tiles in shared memory: rows of `dim` 16-bit numbers, chunks of 16 bytes ---- */

/* Where a chunk of a row lies: turned by the row, so that eight rows' same chunk, which ldmatrix
 * reads together, lies in different banks. */
template <int dim> __device__ __forceinline__ uint32_t gh_chunk_place(uint32_t row, uint32_t chunk)
{
	constexpr uint32_t chunks = dim / 8, lines = chunks < 8 ? 8 / chunks : 1;
	constexpr uint32_t turns = chunks < 8 ? chunks : 8;

	return row * (chunks * 16) + (chunk ^ (row / lines & (turns - 1))) * 16;
}

/*
 * Copies a tile's rows, of `bytes` bytes, from where line[row] says, in units of `unit` bytes; a
 * negative line reads as zeros. `width`: bytes of a row in shared memory. What lies behind a row's
 * end is not touched. Not there before the copies are waited for and the block has met.
 */
template <int unit, int width, bool turned, int rows, int threads>
__device__ __forceinline__ void gh_copy_units(char *to, const char *from, const int64_t *line,
					      int64_t bytes)
{
	constexpr int units = width / unit < threads ? width / unit : threads;
	constexpr int step = threads / units;
	/* Rows that a thread copies are turned alike where they are multiples of eight apart. */
	constexpr bool alike = !turned || step % 8 == 0;
	const int first = threadIdx.x / units;

	for (int at = threadIdx.x % units * unit; at < bytes; at += units * unit) {
		const int chunk = at / 16, rest = turned ? at % 16 : first * width + at;
		char *begin =
			to + rest + (turned && alike ? gh_chunk_place<width / 2>(first, chunk) : 0);

#pragma unroll 2
		for (int i = 0; i < rows; i += step) {
			const int64_t place = line[first + i];
			const char *source = from + at + (place < 0 ? 0 : place);
			char *target =
				begin +
				(alike ? i * width : gh_chunk_place<width / 2>(first + i, chunk));

			if (unit == 16)
				gh_copy_async(gh_shared(target), source, place >= 0);
			else if (unit == 8)
				gh_copy_async_8(gh_shared(target), source, place >= 0);
			else if (unit == 2)
				*(uint16_t *)target = place < 0 ? 0 : *(const uint16_t *)source;
			else
				*target = place < 0 ? 0 : *source;
		}
	}
}

/* turned: rows of 16-bit numbers for ldmatrix; else of e4m3 as they are. */
template <int width, bool turned, int rows, int threads>
__device__ __forceinline__ void gh_copy_tile(char *to, const char *from, const int64_t *line,
					     int64_t bytes, int unit)
{
	if (unit == 16)
		gh_copy_units<16, width, turned, rows, threads>(to, from, line, bytes);
	else if (unit == 8)
		gh_copy_units<8, width, turned, rows, threads>(to, from, line, bytes);
	else
		gh_copy_units<turned ? 2 : 1, width, turned, rows, threads>(to, from, line, bytes);
}

/* Zeros, where rows are shorter than their place: copies leave them be. */
__device__ __forceinline__ void gh_clear(char *to, int bytes)
{
	for (int i = threadIdx.x * 16; i < bytes; i += blockDim.x * 16)
		*(uint4 *)(to + i) = make_uint4(0, 0, 0, 0);
}

/* e4m3 rows as they are to rows of T for ldmatrix. */
template <typename T, int dim, int rows, int threads>
__device__ __forceinline__ void gh_widen_tile(char *to, const char *from)
{
	constexpr int units = dim / 16;

#pragma unroll 1
	for (int i = threadIdx.x; i < rows * units; i += threads) {
		const uint4 codes = ((const uint4 *)from)[i];
		const uint32_t row = i / units, chunk = i % units * 2;
		uint4 low, high;

		low.x = gh_widen_pair<T>(codes.x & 0xffff);
		low.y = gh_widen_pair<T>(codes.x >> 16);
		low.z = gh_widen_pair<T>(codes.y & 0xffff);
		low.w = gh_widen_pair<T>(codes.y >> 16);
		high.x = gh_widen_pair<T>(codes.z & 0xffff);
		high.y = gh_widen_pair<T>(codes.z >> 16);
		high.z = gh_widen_pair<T>(codes.w & 0xffff);
		high.w = gh_widen_pair<T>(codes.w >> 16);
		*(uint4 *)(to + gh_chunk_place<dim>(row, chunk)) = low;
		*(uint4 *)(to + gh_chunk_place<dim>(row, chunk + 1)) = high;
	}
}

/* ---- products ---- */

/* Elements i and i + 1 of a row of n; those that are not there are zeros. */
template <typename T>
__device__ __forceinline__ uint32_t gh_load_pair(const T *row, int i, int n, bool pairs)
{
	const uint16_t *at = (const uint16_t *)row + i;

	if (row == nullptr || i >= n)
		return 0;
	if (pairs)
		return *(const uint32_t *)at;
	return at[0] | (i + 1 < n ? (uint32_t)at[1] << 16 : 0);
}

template <typename T>
__device__ __forceinline__ void gh_store_pair(T *row, int i, int n, float low, float high,
					      bool pairs)
{
	if (i >= n)
		return;
	if (pairs) {
		*(uint32_t *)(row + i) = gh_pack<T>(low, high);
		return;
	}
	row[i] = gh_narrow<T>(low);
	if (i + 1 < n)
		row[i + 1] = gh_narrow<T>(high);
}

/* Where row `row` of the run has its q; NULL: the run is shorter. */
template <typename T>
__device__ __forceinline__ const T *gh_query(const gh_attention &a, const gh_run &run, int32_t row)
{
	return row < run.rows ? (const T *)a.qkv + gh_token_of(run, row) * a.qkv_stride +
					(int64_t)gh_head_of(run, row) * a.kv.head_dim
			      : nullptr;
}

template <typename T>
__device__ __forceinline__ T *gh_result(const gh_attention &a, const gh_run &run, int32_t row)
{
	return (T *)a.y + gh_token_of(run, row) * a.y_stride +
	       (int64_t)gh_head_of(run, row) * a.kv.head_dim;
}

/* A step's 16 elements of the two rows of q that a lane holds. */
template <typename T>
__device__ __forceinline__ void gh_load_query(uint32_t (&q)[4], const T *upper, const T *lower,
					      int step, int n, bool pairs)
{
	const int i = step * 16 + threadIdx.x % 4 * 2;

	q[0] = gh_load_pair(upper, i, n, pairs);
	q[1] = gh_load_pair(lower, i, n, pairs);
	q[2] = gh_load_pair(upper, i + 8, n, pairs);
	q[3] = gh_load_pair(lower, i + 8, n, pairs);
}

/*
 * s of 16 positions, from `position` on, continues by one step of 16 d. Chunks are turned alike
 * every eight rows, so that places of different positions, multiples of 16, are a constant apart.
 */
template <typename T, int dim>
__device__ __forceinline__ void gh_score_step(float (&left)[4], float (&right)[4],
					      const uint32_t (&q)[4], uint32_t k, int position,
					      int step)
{
	const uint32_t lane = threadIdx.x % 32, row = lane / 16 * 8 + lane % 8;
	uint32_t b[4];

	k += gh_chunk_place<dim>(row, step * 2 + lane / 8 % 2);
	gh_load_matrices(b, k + position * dim * 2);
	gh_mma<T>(left, q, { b[0], b[1] });
	gh_mma<T>(right, q, { b[2], b[3] });
}

/* O of 16 columns, from `column` on, continues by one step of 16 positions. */
template <typename T, int dim>
__device__ __forceinline__ void gh_value_step(float (&left)[4], float (&right)[4],
					      const uint32_t (&p)[4], uint32_t v, int position,
					      int column)
{
	const uint32_t lane = threadIdx.x % 32;
	uint32_t b[4];

	v += gh_chunk_place<dim>(lane % 16, column / 8 + lane / 16);
	gh_load_matrices_turned(b, v + position * dim * 2);
	gh_mma<T>(left, p, { b[0], b[1] });
	gh_mma<T>(right, p, { b[2], b[3] });
}

#endif
