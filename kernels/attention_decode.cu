#include "attention_online.cuh"

/*
 * Causal attention over the paged cache, for few rows: the reads of k and v are its cost.
 *
 * The order is that of attention_online.cu; what differs is who computes what. A block has up to 16
 * rows, in decode the query heads of a token, and one split or several. In a tile each of four
 * warps has 32 positions' scores, and then a quarter of O's columns. The warps meet over the rows'
 * maxima and over p, which lies in shared memory unrounded: 128 threads are 16 rows times eight
 * lanes of the sum, whose tree is an exchange over distances 4, 2 and 1.
 *
 * Where a row's splits are shared by `parts` blocks, each leaves its (O, m, l) in the workspace and
 * a second kernel folds them in ascending order; else the block folds as it goes. The same steps.
 */
enum { SHORT = GH_ATTENTION_SHORT, P_PITCH = GH_TILE + 8, LANES = 8 };

template <typename KV, int dim> struct decode_shape {
	static constexpr bool codes = sizeof(KV) == 1;
	static constexpr int tile = GH_TILE * dim * 2, raw = GH_TILE * dim * (int)sizeof(KV);
	static constexpr int k = 0, v = k + raw, wide = v + raw;
	static constexpr int p = codes ? wide + tile : wide;
	static constexpr int line = p + SHORT * P_PITCH * 4;
	static constexpr int most = line + 2 * GH_TILE * 8;
	static constexpr int bytes = most + 4 * SHORT * 4;
	/* Columns of a warp; small heads leave some warps without. */
	static constexpr int columns = dim < 64 ? 16 : dim / 4;
	static constexpr int blocks = dim > 128 ? 1 : dim > 64 ? 3 : 4;
};

/* What a lane keeps: m of rows g and g + 8, its part of O, and, for row thread / 8, l. */
template <int dim, int columns> struct decode_rows {
	uint32_t q[dim / 16][4];
	float o[columns / 8][4], sum[columns / 8][4];
	float m[2];
	gh_total total[2]; /* of rows g and g + 8, without l */
	float l_m, l;
	gh_total l_total; /* of row thread / 8 */
	int32_t limit[2], l_limit;
};

template <int dim, int columns>
__device__ __forceinline__ void begin_split(decode_rows<dim, columns> &r)
{
#pragma unroll
	for (int i = 0; i < columns / 8; i++) {
#pragma unroll
		for (int j = 0; j < 4; j++)
			r.o[i][j] = 0.0F;
	}
	r.m[0] = r.m[1] = r.l_m = -INFINITY;
	r.l = 0.0F;
}

template <int dim, int columns>
__device__ __forceinline__ void fold_split(decode_rows<dim, columns> &r, int32_t split)
{
#pragma unroll
	for (int i = 0; i < 2; i++) {
		if (r.limit[i] > split)
			gh_fold(r.total[i], r.m[i], 0.0F);
	}
	if (r.l_limit > split)
		gh_fold(r.l_total, r.l_m, r.l);
#pragma unroll
	for (int i = 0; i < columns / 8; i++) {
#pragma unroll
		for (int j = 0; j < 4; j++) {
			if (r.limit[j / 2] > split)
				r.sum[i][j] = gh_folded(r.total[j / 2], r.sum[i][j], r.o[i][j]);
		}
	}
}

/* (O, m, l) of split `split` of the block's rows, to where the fold finds them. */
template <int dim, int columns>
__device__ __forceinline__ void leave_split(const decode_rows<dim, columns> &r, float *to,
					    int32_t rows, int column)
{
	const int32_t upper = (int32_t)(threadIdx.x % 32 / 4);
	const int32_t l_row = (int32_t)threadIdx.x / LANES;

#pragma unroll
	for (int i = 0; i < columns / 8; i++) {
#pragma unroll
		for (int j = 0; j < 2; j++) {
			if (upper + j * 8 < rows && column < dim)
				*(float2 *)(to + (upper + j * 8) * dim + column + i * 8 +
					    threadIdx.x % 4 * 2) =
					make_float2(r.o[i][j * 2], r.o[i][j * 2 + 1]);
		}
	}
	if (threadIdx.x % LANES == 0 && l_row < rows) {
		to[SHORT * dim + l_row] = r.l_m;
		to[SHORT * (dim + 1) + l_row] = r.l;
	}
}

/* A warp's 32 positions of the tile, masked; the rows' maxima of them go to `most`. */
template <typename T, typename KV, int dim, int columns>
__device__ __forceinline__ void form_scores(float (&s)[4][4], const decode_rows<dim, columns> &r,
					    const gh_attention &a, const char *k, float *most,
					    int32_t first)
{
	const int position = (int)threadIdx.x / 32 * 32;
	const int32_t column = first + position + (int32_t)threadIdx.x % 4 * 2;
	const uint32_t from = gh_shared(k);
	float high[2] = { -INFINITY, -INFINITY };

#pragma unroll
	for (int n = 0; n < 4; n++) {
#pragma unroll
		for (int j = 0; j < 4; j++)
			s[n][j] = 0.0F;
	}
#pragma unroll
	for (int step = 0; step < dim / 16; step++) {
#pragma unroll
		for (int n = 0; n < 4; n += 2)
			gh_score_step<T, dim>(s[n], s[n + 1], r.q[step], from, position + n * 8,
					      step);
	}
#pragma unroll
	for (int n = 0; n < 4; n++) {
#pragma unroll
		for (int j = 0; j < 4; j++) {
			s[n][j] = gh_score<KV>(a, s[n][j]);
			if (column + n * 8 + j % 2 >= r.limit[j / 2])
				s[n][j] = -INFINITY;
			high[j / 2] = fmaxf(high[j / 2], s[n][j]);
		}
	}
#pragma unroll
	for (int i = 0; i < 2; i++) {
		high[i] = gh_row_max(high[i]);
		if (threadIdx.x % 4 == 0)
			most[threadIdx.x / 32 * SHORT + i * 8 + threadIdx.x % 32 / 4] = high[i];
	}
}

/* A row's new maximum. */
__device__ __forceinline__ float raise(float m, const float *most, int row)
{
#pragma unroll
	for (int i = 0; i < 4; i++)
		m = fmaxf(m, most[i * SHORT + row]);
	return m;
}

/* Scores to p in shared memory; O, l's factor and m move on. Answers the factor of l. */
template <int dim, int columns>
__device__ __forceinline__ float form_weights(const float (&s)[4][4], decode_rows<dim, columns> &r,
					      const float *most, float *p)
{
	const int upper = (int)threadIdx.x % 32 / 4;
	const int column = (int)threadIdx.x / 32 * 32 + (int)threadIdx.x % 4 * 2;
	const float l_m = raise(r.l_m, most, (int)threadIdx.x / LANES);
	const float l_factor = gh_exp_below(__fsub_rn(r.l_m, l_m));

#pragma unroll
	for (int i = 0; i < 2; i++) {
		const float m = raise(r.m[i], most, upper + i * 8);
		const float factor = gh_exp_below(__fsub_rn(r.m[i], m));

#pragma unroll
		for (int n = 0; n < 4; n++)
			*(float2 *)(p + (upper + i * 8) * P_PITCH + column + n * 8) =
				make_float2(gh_exp_below(__fsub_rn(s[n][i * 2], m)),
					    gh_exp_below(__fsub_rn(s[n][i * 2 + 1], m)));
#pragma unroll
		for (int n = 0; n < columns / 8; n++) {
			r.o[n][i * 2] = __fmul_rn(r.o[n][i * 2], factor);
			r.o[n][i * 2 + 1] = __fmul_rn(r.o[n][i * 2 + 1], factor);
		}
		r.m[i] = m;
	}
	r.l_m = l_m;
	return l_factor;
}

/* The sum of row thread / 8: a chain for each lane, then the tree. */
__device__ __forceinline__ float add_weights(const float *p)
{
	const float *at = p + threadIdx.x / LANES * P_PITCH + threadIdx.x % LANES;
	float sum = 0.0F;

#pragma unroll
	for (int i = 0; i < GH_TILE / LANES; i++)
		sum = __fadd_rn(sum, at[i * LANES]);
	sum = __fadd_rn(sum, __shfl_xor_sync(~0U, sum, 4));
	sum = __fadd_rn(sum, __shfl_xor_sync(~0U, sum, 2));
	return __fadd_rn(sum, __shfl_xor_sync(~0U, sum, 1));
}

/* A warp's columns of O, from `column` on. */
template <typename T, int dim, int columns>
__device__ __forceinline__ void form_values(decode_rows<dim, columns> &r, const float *p,
					    const char *v, int column)
{
	const float *at = p + threadIdx.x % 32 / 4 * P_PITCH + threadIdx.x % 4 * 2;
	const uint32_t from = gh_shared(v);

#pragma unroll
	for (int step = 0; step < 8; step++) {
		uint32_t weights[4];

#pragma unroll
		for (int i = 0; i < 4; i++) {
			float2 two =
				*(const float2 *)(at + i % 2 * 8 * P_PITCH + step * 16 + i / 2 * 8);

			weights[i] = gh_pack<T>(two.x, two.y);
		}
#pragma unroll
		for (int n = 0; n < columns / 8; n += 2)
			gh_value_step<T, dim>(r.o[n], r.o[n + 1], weights, from, step * 16,
					      column + n * 8);
	}
}

/* y of the block's rows, by all of its threads. `l`: a place for the rows' sums. */
template <typename T, typename KV, int dim, int columns>
__device__ __forceinline__ void store_rows(const decode_rows<dim, columns> &r,
					   const gh_attention &a, const gh_run &run, float *l,
					   int column)
{
	const int32_t upper = (int32_t)(threadIdx.x % 32 / 4);

	if (threadIdx.x % LANES == 0)
		l[threadIdx.x / LANES] = r.l_total.l;
	__syncthreads();
#pragma unroll
	for (int i = 0; i < 2; i++) {
		const int32_t row = upper + i * 8;

		if (row >= run.rows)
			continue;
		T *y = gh_result<T>(a, run, row);
#pragma unroll
		for (int n = 0; n < columns / 8; n++)
			gh_store_pair(y, column + n * 8 + (int)threadIdx.x % 4 * 2, a.kv.head_dim,
				      gh_quotient<KV>(a, r.sum[n][i * 2], l[row]),
				      gh_quotient<KV>(a, r.sum[n][i * 2 + 1], l[row]), a.y_pairs);
	}
}

/* Short runs are one tile each. Heads too wide for attention_online.cu have all their rows here. */
template <int dim>
__device__ __forceinline__ gh_run find_rows(const gh_attention &a, int64_t tile, int32_t kv)
{
	gh_run run = {};

	if (dim > 128)
		return gh_find_rows<SHORT>(a, tile, kv);
	if (tile >= a.step->sequences)
		return run;
	gh_set_heads(a, run, a.kv_begin + kv);
	gh_set_rows(a.step, run, (int32_t)tile, SHORT);
	if (run.all > SHORT)
		run.rows = 0;
	return run;
}

/* The tile behind that at `first` of those that a block has. */
__device__ __forceinline__ int32_t tile_behind(const gh_attention &a, int32_t first)
{
	const int32_t next = first + GH_TILE;

	return next % GH_SPLIT == 0 ? next + (a.parts - 1) * GH_SPLIT : next;
}

/* q, how far rows see, nothing summed yet; answers how far the block sees. */
template <typename T, int dim, int columns>
__device__ __forceinline__ int32_t load_rows(decode_rows<dim, columns> &r, const gh_attention &a,
					     const gh_run &run)
{
	const int32_t upper = (int32_t)(threadIdx.x % 32 / 4);
	const T *q[2] = { gh_query<T>(a, run, upper), gh_query<T>(a, run, upper + 8) };

#pragma unroll
	for (int step = 0; step < dim / 16; step++)
		gh_load_query<T>(r.q[step], q[0], q[1], step, a.kv.head_dim, a.q_pairs);
#pragma unroll
	for (int i = 0; i < 2; i++) {
		r.limit[i] = gh_limit(a, run, upper + i * 8);
		r.total[i] = { -INFINITY, 0.0F, 0.0F, 0.0F };
	}
	r.l_limit = gh_limit(a, run, (int32_t)threadIdx.x / LANES);
	r.l_total = { -INFINITY, 0.0F, 0.0F, 0.0F };
	begin_split(r);
#pragma unroll
	for (int i = 0; i < columns / 8; i++) {
#pragma unroll
		for (int j = 0; j < 4; j++)
			r.sum[i][j] = 0.0F;
	}
	return __reduce_max_sync(~0U, max(r.limit[0], r.limit[1]));
}

template <typename T, typename KV, int dim>
__global__ void __launch_bounds__(GH_THREADS, decode_shape<KV, dim>::blocks)
	decode_kernel(const gh_attention a)
{
	using shape = decode_shape<KV, dim>;
	extern __shared__ __align__(128) char shared[];
	float *p = (float *)(shared + shape::p), *most = (float *)(shared + shape::most);
	int64_t *line = (int64_t *)(shared + shape::line), *next_line;
	char *k = shared + shape::k, *v = shared + shape::v, *wide = shared + shape::wide;
	const int column = (int)threadIdx.x / 32 * shape::columns;
	const int64_t tile = blockIdx.x / a.parts;
	const gh_run run = find_rows<dim>(a, tile / a.kv_count, (int32_t)(tile % a.kv_count));
	decode_rows<dim, shape::columns> r;
	int32_t first = (int32_t)(blockIdx.x % a.parts) * GH_SPLIT, next, end;

	gh_zero_pads<T>(a);
	if (run.rows <= 0)
		return;
	end = load_rows<T>(r, a, run);
	if (first >= end)
		return;
	if (a.kv.head_dim < dim)
		gh_clear(shared, shape::wide);
	gh_find_lines(line, a, run, first, end);
	__syncthreads();
	gh_ask_tile<KV, dim>(a, k, line, 0);
	gh_copy_mark();
	gh_ask_tile<KV, dim>(a, v, line, 1);
	gh_copy_mark();
	next_line = line + GH_TILE;
	for (; first < end; first = next) {
		const int32_t split = first - first % GH_SPLIT;
		float s[4][4], factor, sum;

		next = tile_behind(a, first);
		gh_find_lines(next_line, a, run, next, end);
		gh_copy_wait<1>();
		__syncthreads();
		if (shape::codes) {
			gh_widen_tile<T, dim, GH_TILE, GH_THREADS>(wide, k);
			__syncthreads();
		}
		form_scores<T, KV, dim>(s, r, a, shape::codes ? wide : k, most, first);
		__syncthreads();
		if (next < end)
			gh_ask_tile<KV, dim>(a, k, next_line, 0);
		gh_copy_mark();
		factor = form_weights(s, r, most, p);
		gh_copy_wait<1>();
		__syncthreads();
		if (shape::codes) {
			gh_widen_tile<T, dim, GH_TILE, GH_THREADS>(wide, v);
			__syncthreads();
		}
		sum = add_weights(p);
		r.l = __fadd_rn(__fmul_rn(r.l, factor), sum);
		if (column < dim)
			form_values<T, dim>(r, p, shape::codes ? wide : v, column);
		__syncthreads();
		if (next < end)
			gh_ask_tile<KV, dim>(a, v, next_line, 1);
		gh_copy_mark();
		next_line = next_line == line ? line + GH_TILE : line;
		if (next < end && next % GH_SPLIT != 0)
			continue;
		if (a.parts > 1)
			leave_split(r,
				    a.partial + (tile * a.splits + split / GH_SPLIT) *
							gh_partial_size(dim),
				    run.rows, column);
		else
			fold_split(r, split);
		begin_split(r);
	}
	if (a.parts == 1)
		store_rows<T, KV, dim>(r, a, run, most, column);
}

/* ---- the fold ---- */

/* One thread an element: the splits that its row sees, in ascending order. */
template <typename T, typename KV, int dim>
__global__ void __launch_bounds__(GH_THREADS) fold_kernel(const gh_attention a)
{
	constexpr int parts = SHORT * dim / GH_THREADS;
	const int64_t tile = blockIdx.x / parts;
	const gh_run run = find_rows<dim>(a, tile / a.kv_count, (int32_t)(tile % a.kv_count));
	const int32_t place = (int32_t)(blockIdx.x % parts * GH_THREADS + threadIdx.x);
	const int32_t row = place / dim, column = place % dim;
	const float *from = a.partial + tile * a.splits * gh_partial_size(dim);
	gh_total total = { -INFINITY, 0.0F, 0.0F, 0.0F };
	float o = 0.0F;
	int32_t splits;

	if (row >= run.rows || column >= a.kv.head_dim)
		return;
	splits = (gh_limit(a, run, row) + GH_SPLIT - 1) / GH_SPLIT;
#pragma unroll 4
	for (int32_t i = 0; i < splits; i++, from += gh_partial_size(dim)) {
		const float m = from[SHORT * dim + row], l = from[SHORT * (dim + 1) + row];

		gh_fold(total, m, l);
		o = gh_folded(total, o, from[place]);
	}
	gh_result<T>(a, run, row)[column] = gh_narrow<T>(gh_quotient<KV>(a, o, total.l));
}

/* ---- choice ---- */

template <typename T, typename KV, int dim>
static int launch_as(const gh__launch *on, gh_attention *a)
{
	constexpr int bytes = decode_shape<KV, dim>::bytes;
	const int64_t tiles = dim > 128 ? a->all_rows / SHORT + a->sequences : a->sequences;
	cudaError_t code = cudaFuncSetAttribute(decode_kernel<T, KV, dim>,
						cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);

	if (code != cudaSuccess)
		return (int)code;
	gh__cuda_attention_share(a, tiles * a->kv_count,
				 (int64_t)on->units * decode_shape<KV, dim>::blocks);
	decode_kernel<T, KV, dim>
		<<<gh_blocks(tiles * a->kv_count * a->parts, 1), GH_THREADS, bytes, on->stream>>>(
			*a);
	code = cudaGetLastError();
	if (a->parts > 1 && code == cudaSuccess)
		fold_kernel<T, KV, dim><<<gh_blocks(tiles * a->kv_count * SHORT * dim, GH_THREADS),
					  GH_THREADS, 0, on->stream>>>(*a);
	return code == cudaSuccess ? gh_launched() : (int)code;
}

template <typename T, typename KV> static int launch_dim(const gh__launch *on, gh_attention *a)
{
	switch (gh_padded_dim(a->kv.head_dim)) {
	case 16:
		return launch_as<T, KV, 16>(on, a);
	case 32:
		return launch_as<T, KV, 32>(on, a);
	case 64:
		return launch_as<T, KV, 64>(on, a);
	case 128:
		return launch_as<T, KV, 128>(on, a);
	default:
		return launch_as<T, KV, 256>(on, a);
	}
}

int gh__cuda_attention_decode(const gh__launch *on, const gh_attention *a)
{
	gh_attention b = *a;
	const bool codes = a->kv.dtype == GH_E4M3;

	if (a->act == GH_F16)
		return codes ? launch_dim<__half, __nv_fp8_e4m3>(on, &b)
			     : launch_dim<__half, __half>(on, &b);
	return codes ? launch_dim<__nv_bfloat16, __nv_fp8_e4m3>(on, &b)
		     : launch_dim<__nv_bfloat16, __nv_bfloat16>(on, &b);
}
