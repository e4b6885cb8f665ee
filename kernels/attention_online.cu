#include "attention_online.cuh"

/*
 * Causal attention over the paged cache, for runs of many rows: 4 d FLOPs a row and position, k and
 * v read once for every 64 rows.
 *
 * The order is that of device/cpu/attention_online.c with the tensor core's steps: in a tile of 128
 * absolute positions
 *   s = (chain of k16 steps over ascending d, from 0) * scale, of e4m3 times k_scale before
 *   new = max(m, max s); f = exp(m - new); p = exp(s - new), 0 beyond the row's position
 *   l = l f + (v8f_sum of the lanes' sums of p): a lane's columns of every eight are two of the
 *       eight chains, whose tree is two exchanges among four lanes
 *   O = a chain of eight k16 steps over ascending positions of round(p) v, from O f
 * and splits of 1024 are folded in ascending order. y = round(O / l), of e4m3 (O v_scale) / l.
 *
 * A block has 64 rows, a warp 16 of them. k of the next tile is on its way while this one's softmax
 * and second product are formed, v while the next scores are. Codes of e4m3 arrive as they are and
 * are widened to one place, of k and v in turn. Totals of the splits before lie in shared memory,
 * each thread's for itself; a sequence of one split never goes there.
 */
enum { ROWS = 64 };

template <typename KV, int dim> struct online_shape {
	static constexpr bool codes = sizeof(KV) == 1;
	static constexpr int tile = GH_TILE * dim * 2, raw = GH_TILE * dim * (int)sizeof(KV);
	static constexpr int k = 0, v = k + raw, wide = v + raw;
	static constexpr int total = codes ? wide + tile : wide;
	static constexpr int line = total + ROWS * dim * 4;
	static constexpr int limit = line + 2 * GH_TILE * 8;
	static constexpr int bytes = limit + ROWS * 4;
};

/* A lane's part of a warp's 16 rows: index 0 of a pair is row g, 1 row g + 8. */
template <typename T, int dim> struct online_rows {
	uint32_t q[dim / 16][4];
	float o[dim / 8][4];
	float m[2], l[2];
	gh_total total[2];
	int32_t limit[2];
};

template <typename T, int dim> __device__ __forceinline__ void begin_split(online_rows<T, dim> &r)
{
#pragma unroll
	for (int i = 0; i < dim / 8; i++) {
#pragma unroll
		for (int j = 0; j < 4; j++)
			r.o[i][j] = 0.0F;
	}
#pragma unroll
	for (int i = 0; i < 2; i++) {
		r.m[i] = -INFINITY;
		r.l[i] = 0.0F;
	}
}

/* Fold the split that begins at `split` into the totals; O becomes their sum. Rows that do not
 * reach it are left as they were. */
template <typename T, int dim>
__device__ __forceinline__ void end_split(online_rows<T, dim> &r, float *total, int32_t split)
{
#pragma unroll
	for (int i = 0; i < 2; i++) {
		if (r.limit[i] > split)
			gh_fold(r.total[i], r.m[i], r.l[i]);
	}
#pragma unroll
	for (int i = 0; i < dim / 8; i++) {
#pragma unroll
		for (int j = 0; j < 4; j++) {
			float sum = split > 0 ? total[(i * 4 + j) * GH_THREADS] : 0.0F;

			if (r.limit[j / 2] > split)
				sum = gh_folded(r.total[j / 2], sum, r.o[i][j]);
			r.o[i][j] = sum;
		}
	}
}

template <typename T, int dim>
__device__ __forceinline__ void keep_total(const online_rows<T, dim> &r, float *total)
{
#pragma unroll
	for (int i = 0; i < dim / 8; i++) {
#pragma unroll
		for (int j = 0; j < 4; j++)
			total[(i * 4 + j) * GH_THREADS] = r.o[i][j];
	}
}

template <typename T, int dim>
__device__ __forceinline__ void form_scores(float (&s)[16][4], const online_rows<T, dim> &r,
					    const char *k)
{
	const uint32_t from = gh_shared(k);

#pragma unroll
	for (int n = 0; n < 16; n++) {
#pragma unroll
		for (int j = 0; j < 4; j++)
			s[n][j] = 0.0F;
	}
#pragma unroll
	for (int step = 0; step < dim / 16; step++) {
#pragma unroll
		for (int n = 0; n < 16; n += 2)
			gh_score_step<T, dim>(s[n], s[n + 1], r.q[step], from, n * 8, step);
	}
}

/* Scores to p, rounded and packed as the second product takes them; O, l and m move on. */
template <typename T, typename KV, int dim>
__device__ __forceinline__ void form_weights(uint32_t (&p)[8][4], float (&s)[16][4],
					     online_rows<T, dim> &r, const gh_attention &a,
					     int32_t first)
{
	const int32_t column = first + (int32_t)threadIdx.x % 4 * 2;
	const bool whole = __all_sync(~0U, min(r.limit[0], r.limit[1]) >= first + GH_TILE);
	float even[2] = {}, odd[2] = {}, most[2] = { -INFINITY, -INFINITY }, factor[2];

#pragma unroll
	for (int n = 0; n < 16; n++) {
#pragma unroll
		for (int j = 0; j < 4; j++) {
			s[n][j] = gh_score<KV>(a, s[n][j]);
			if (!whole && column + n * 8 + j % 2 >= r.limit[j / 2])
				s[n][j] = -INFINITY;
			most[j / 2] = fmaxf(most[j / 2], s[n][j]);
		}
	}
#pragma unroll
	for (int i = 0; i < 2; i++) {
		most[i] = fmaxf(r.m[i], gh_row_max(most[i]));
		factor[i] = gh_exp_below(__fsub_rn(r.m[i], most[i]));
		r.m[i] = most[i];
	}
#pragma unroll
	for (int n = 0; n < 16; n++) {
#pragma unroll
		for (int i = 0; i < 2; i++) {
			float low = gh_exp_below(__fsub_rn(s[n][i * 2], most[i]));
			float high = gh_exp_below(__fsub_rn(s[n][i * 2 + 1], most[i]));

			even[i] = __fadd_rn(even[i], low);
			odd[i] = __fadd_rn(odd[i], high);
			p[n / 2][n % 2 * 2 + i] = gh_pack<T>(low, high);
		}
	}
#pragma unroll
	for (int i = 0; i < 2; i++)
		r.l[i] = __fadd_rn(__fmul_rn(r.l[i], factor[i]), gh_row_sum(even[i], odd[i]));
#pragma unroll
	for (int i = 0; i < dim / 8; i++) {
#pragma unroll
		for (int j = 0; j < 4; j++)
			r.o[i][j] = __fmul_rn(r.o[i][j], factor[j / 2]);
	}
}

template <typename T, int dim>
__device__ __forceinline__ void form_values(online_rows<T, dim> &r, const uint32_t (&p)[8][4],
					    const char *v)
{
	const uint32_t from = gh_shared(v);

#pragma unroll
	for (int step = 0; step < 8; step++) {
#pragma unroll
		for (int i = 0; i < dim / 8; i += 2)
			gh_value_step<T, dim>(r.o[i], r.o[i + 1], p[step], from, step * 16, i * 8);
	}
}

template <typename T, typename KV, int dim>
__device__ __forceinline__ void store_rows(const online_rows<T, dim> &r, const gh_attention &a,
					   const gh_run &run)
{
	const int32_t upper = (int32_t)(threadIdx.x / 32 * 16 + threadIdx.x % 32 / 4);

#pragma unroll
	for (int i = 0; i < 2; i++) {
		const int32_t row = upper + i * 8;

		if (row >= run.rows)
			continue;
		T *y = gh_result<T>(a, run, row);
#pragma unroll
		for (int n = 0; n < dim / 8; n++)
			gh_store_pair(y, n * 8 + (int)threadIdx.x % 4 * 2, a.kv.head_dim,
				      gh_quotient<KV>(a, r.o[n][i * 2], r.total[i].l),
				      gh_quotient<KV>(a, r.o[n][i * 2 + 1], r.total[i].l),
				      a.y_pairs);
	}
}

/* q, how far the rows see, and nothing summed yet; answers how far the block sees. */
template <typename T, int dim>
__device__ __forceinline__ int32_t load_rows(online_rows<T, dim> &r, const gh_attention &a,
					     const gh_run &run, int32_t *limit)
{
	const int32_t upper = (int32_t)(threadIdx.x / 32 * 16 + threadIdx.x % 32 / 4);
	const T *q[2] = { gh_query<T>(a, run, upper), gh_query<T>(a, run, upper + 8) };

	if (threadIdx.x < ROWS)
		limit[threadIdx.x] = gh_limit(a, run, (int32_t)threadIdx.x);
	__syncthreads();
#pragma unroll
	for (int step = 0; step < dim / 16; step++)
		gh_load_query<T>(r.q[step], q[0], q[1], step, a.kv.head_dim, a.q_pairs);
#pragma unroll
	for (int i = 0; i < 2; i++) {
		r.limit[i] = limit[upper + i * 8];
		r.total[i] = { -INFINITY, 0.0F, 0.0F, 0.0F };
	}
	begin_split(r);
	return __reduce_max_sync(~0U, max(limit[threadIdx.x % 32], limit[threadIdx.x % 32 + 32]));
}

template <typename T, typename KV, int dim>
__global__ void __launch_bounds__(GH_THREADS, 2) online_kernel(const gh_attention a)
{
	using shape = online_shape<KV, dim>;
	extern __shared__ __align__(128) char shared[];
	float *total = (float *)(shared + shape::total) + threadIdx.x;
	int64_t *line = (int64_t *)(shared + shape::line);
	char *k = shared + shape::k, *v = shared + shape::v, *wide = shared + shape::wide;
	/* The rows at a sequence's end see most, and long blocks are to start first. */
	const gh_run run = gh_find_rows<ROWS>(a, a.tiles - 1 - blockIdx.x / a.kv_count,
					      (int32_t)(blockIdx.x % a.kv_count));
	online_rows<T, dim> r;
	uint32_t p[8][4];
	int32_t end;

	gh_zero_pads<T>(a);
	if (run.rows <= 0 || run.all <= GH_ATTENTION_SHORT)
		return;
	if (a.kv.head_dim < dim)
		gh_clear(shared, shape::wide);
	end = load_rows(r, a, run, (int32_t *)(shared + shape::limit));
	gh_find_lines(line, a, run, 0, end);
	__syncthreads();
	gh_ask_tile<KV, dim>(a, k, line, 0);
	gh_copy_mark();
	gh_ask_tile<KV, dim>(a, v, line, 1);
	gh_copy_mark();
	for (int32_t first = 0; first < end; first += GH_TILE) {
		const int32_t next = first + GH_TILE;
		const int64_t *next_line = line + next / GH_TILE % 2 * GH_TILE;
		const bool sees = __any_sync(~0U, max(r.limit[0], r.limit[1]) > first);

		if (first > 0 && first % GH_SPLIT == 0) {
			end_split(r, total, first - GH_SPLIT);
			keep_total(r, total);
			begin_split(r);
		}
		gh_find_lines(line + next / GH_TILE % 2 * GH_TILE, a, run, next, end);
		gh_copy_wait<1>();
		__syncthreads();
		if (shape::codes) {
			gh_widen_tile<T, dim, GH_TILE, GH_THREADS>(wide, k);
			__syncthreads();
			if (next < end)
				gh_ask_tile<KV, dim>(a, k, next_line, 0);
			gh_copy_mark();
		}
		{
			float s[16][4];

			if (sees)
				form_scores<T, dim>(s, r, shape::codes ? wide : k);
			if (!shape::codes) {
				__syncthreads();
				if (next < end)
					gh_ask_tile<KV, dim>(a, k, next_line, 0);
				gh_copy_mark();
			}
			if (sees)
				form_weights<T, KV, dim>(p, s, r, a, first);
		}
		gh_copy_wait<1>();
		__syncthreads();
		if (shape::codes) {
			gh_widen_tile<T, dim, GH_TILE, GH_THREADS>(wide, v);
			__syncthreads();
			if (next < end)
				gh_ask_tile<KV, dim>(a, v, next_line, 1);
			gh_copy_mark();
		}
		if (sees)
			form_values<T, dim>(r, p, shape::codes ? wide : v);
		if (!shape::codes) {
			__syncthreads();
			if (next < end)
				gh_ask_tile<KV, dim>(a, v, next_line, 1);
			gh_copy_mark();
		}
	}
	end_split(r, total, (end - 1) / GH_SPLIT * GH_SPLIT);
	store_rows<T, KV, dim>(r, a, run);
}

/* ---- choice ---- */

template <typename T, typename KV, int dim>
static int launch_as(const gh__launch *on, const gh_attention *a)
{
	constexpr int bytes = online_shape<KV, dim>::bytes;
	cudaError_t code = cudaFuncSetAttribute(online_kernel<T, KV, dim>,
						cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);

	if (code != cudaSuccess)
		return (int)code;
	online_kernel<T, KV, dim>
		<<<gh_blocks(a->tiles * a->kv_count, 1), GH_THREADS, bytes, on->stream>>>(*a);
	return gh_launched();
}

template <typename T, typename KV>
static int launch_dim(const gh__launch *on, const gh_attention *a)
{
	switch (gh_padded_dim(a->kv.head_dim)) {
	case 16:
		return launch_as<T, KV, 16>(on, a);
	case 32:
		return launch_as<T, KV, 32>(on, a);
	case 64:
		return launch_as<T, KV, 64>(on, a);
	default:
		return launch_as<T, KV, 128>(on, a);
	}
}

int gh__cuda_attention_online(const gh__launch *on, const gh_attention *a)
{
	gh_attention b = *a;
	const bool codes = a->kv.dtype == GH_E4M3;

	b.tiles = a->all_rows / ROWS + a->sequences;
	if (a->act == GH_F16)
		return codes ? launch_dim<__half, __nv_fp8_e4m3>(on, &b)
			     : launch_dim<__half, __half>(on, &b);
	return codes ? launch_dim<__nv_bfloat16, __nv_fp8_e4m3>(on, &b)
		     : launch_dim<__nv_bfloat16, __nv_bfloat16>(on, &b);
}
