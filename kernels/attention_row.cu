#include "attention.cuh"

/*
 * Causal attention of packed sequences, a whole row of scores at once, with tensor cores.
 *
 * The order is that of device/cpu/attention_row.c with the tensor core's steps:
 *   u = round(round(chain of k16 steps over ascending d, from 0) scale)
 *   e = exp(u - max u), l = v8f_sum of the lanes' sums of e over all positions, ascending
 *   p = round(e / l), y = round(chain of k16 steps over ascending positions of p v, from 0)
 *
 * A sequence is passed over three times, for the maxima, the sums and the products with v, in tiles
 * of 64 positions; scores are formed anew each time, from the same operands, so they are the same.
 * So a sequence may be of any length. A block has 64 rows, a warp 16 of them; the next tile is on
 * its way while this one is computed with. 4 d FLOPs a row and position for the products, and twice
 * 2 d for scores formed again.
 */
enum { ROWS = 64, TILE = 64, THREADS = 128 };

template <int dim> struct row_shape {
	static constexpr int tile = TILE * dim * 2;
	static constexpr int k = 0, v = 2 * tile; /* two of each */
	static constexpr int line = 4 * tile;
	static constexpr int bytes = line + 2 * TILE * 8;
	static constexpr int blocks = dim > 128 ? 1 : dim > 64 ? 2 : dim > 32 ? 3 : 4;
	static constexpr bool keeps = dim <= 128; /* q in registers */
};

template <typename T, int dim> struct row_rows {
	const T *from[2];
	uint32_t q[row_shape<dim>::keeps ? dim / 16 : 1][4];
	float o[dim / 8][4];
	float m[2], even[2], odd[2]; /* even: at last the whole sum */
	int32_t limit[2];
};

/* A tile's k and, in the last pass, v on their way. `tile` counts through all three passes. */
template <int dim>
__device__ __forceinline__ void ask(const gh_attention &a, const gh_run &run, char *shared,
				    int32_t tile, int32_t tiles)
{
	using shape = row_shape<dim>;
	const int64_t *line = (const int64_t *)(shared + shape::line) + tile % 2 * TILE;
	const int64_t bytes = (int64_t)a.kv.head_dim * 2;
	const char *k = a.qkv + (a.heads + run.kv) * bytes;

	gh_copy_tile<dim * 2, true, TILE, THREADS>(shared + shape::k + tile % 2 * shape::tile, k,
						   line, bytes, a.unit);
	if (tile >= 2 * tiles)
		gh_copy_tile<dim * 2, true, TILE, THREADS>(shared + shape::v +
								   tile % 2 * shape::tile,
							   k + a.kv.kv_heads * bytes, line, bytes,
							   a.unit);
}

/* Where the tile's rows lie; -1: from `end` on, for zeros. */
template <int dim>
__device__ __forceinline__ void find_lines(const gh_attention &a, const gh_run &run, char *shared,
					   int32_t tile, int32_t tiles, int32_t end)
{
	int64_t *line = (int64_t *)(shared + row_shape<dim>::line) + tile % 2 * TILE;
	const int32_t at = tile % tiles * TILE + (int32_t)threadIdx.x;

	if (threadIdx.x < TILE)
		line[threadIdx.x] = at < end ? (run.token + at) * a.qkv_stride * 2 : -1;
}

/* u of the tile that begins at `first`; -infinity where a row does not see. */
template <typename T, int dim>
__device__ __forceinline__ void form_scores(float (&s)[8][4], row_rows<T, dim> &r,
					    const gh_attention &a, const char *k, int32_t first)
{
	const int32_t column = first + (int32_t)threadIdx.x % 4 * 2;
	const uint32_t from = gh_shared(k);

#pragma unroll
	for (int n = 0; n < 8; n++) {
#pragma unroll
		for (int j = 0; j < 4; j++)
			s[n][j] = 0.0F;
	}
#pragma unroll
	for (int step = 0; step < dim / 16; step++) {
		uint32_t(&q)[4] = r.q[row_shape<dim>::keeps ? step : 0];

		if (!row_shape<dim>::keeps)
			gh_load_query<T>(q, r.from[0], r.from[1], step, a.kv.head_dim, a.q_pairs);
#pragma unroll
		for (int n = 0; n < 8; n += 2)
			gh_score_step<T, dim>(s[n], s[n + 1], q, from, n * 8, step);
	}
#pragma unroll
	for (int n = 0; n < 8; n++) {
#pragma unroll
		for (int j = 0; j < 4; j++) {
			s[n][j] = gh_round<T>(__fmul_rn(gh_round<T>(s[n][j]), a.scale));
			if (column + n * 8 + j % 2 >= r.limit[j / 2])
				s[n][j] = -INFINITY;
		}
	}
}

template <typename T, int dim>
__device__ __forceinline__ void find_most(row_rows<T, dim> &r, const float (&s)[8][4])
{
#pragma unroll
	for (int n = 0; n < 8; n++) {
#pragma unroll
		for (int j = 0; j < 4; j++)
			r.m[j / 2] = fmaxf(r.m[j / 2], s[n][j]);
	}
}

template <typename T, int dim>
__device__ __forceinline__ void add_up(row_rows<T, dim> &r, const float (&s)[8][4])
{
#pragma unroll
	for (int n = 0; n < 8; n++) {
#pragma unroll
		for (int i = 0; i < 2; i++) {
			r.even[i] =
				__fadd_rn(r.even[i], gh_exp_below(__fsub_rn(s[n][i * 2], r.m[i])));
			r.odd[i] = __fadd_rn(r.odd[i],
					     gh_exp_below(__fsub_rn(s[n][i * 2 + 1], r.m[i])));
		}
	}
}

template <typename T, int dim>
__device__ __forceinline__ void form_values(row_rows<T, dim> &r, const float (&s)[8][4],
					    const char *v)
{
	const uint32_t from = gh_shared(v);

#pragma unroll
	for (int step = 0; step < TILE / 16; step++) {
		uint32_t p[4];

#pragma unroll
		for (int i = 0; i < 4; i++) {
			const float(&u)[4] = s[step * 2 + i / 2];
			const float m = r.m[i % 2], l = r.even[i % 2];
			const float low = gh_exp_below(__fsub_rn(u[i % 2 * 2], m));
			const float high = gh_exp_below(__fsub_rn(u[i % 2 * 2 + 1], m));

			p[i] = gh_pack<T>(__fdiv_rn(low, l), __fdiv_rn(high, l));
		}
#pragma unroll
		for (int n = 0; n < dim / 8; n += 2)
			gh_value_step<T, dim>(r.o[n], r.o[n + 1], p, from, step * 16, n * 8);
	}
}

template <typename T, int dim>
__device__ __forceinline__ void begin(row_rows<T, dim> &r, const gh_attention &a, const gh_run &run)
{
	const int32_t upper = (int32_t)(threadIdx.x / 32 * 16 + threadIdx.x % 32 / 4);

#pragma unroll
	for (int i = 0; i < 2; i++) {
		const int32_t row = upper + i * 8;

		r.from[i] = gh_query<T>(a, run, row);
		r.limit[i] = row < run.rows ? gh_token_of(run, row) - run.token + 1 : 0;
		r.m[i] = -INFINITY;
		r.even[i] = r.odd[i] = 0.0F;
	}
#pragma unroll
	for (int step = 0; row_shape<dim>::keeps && step < dim / 16; step++)
		gh_load_query<T>(r.q[step], r.from[0], r.from[1], step, a.kv.head_dim, a.q_pairs);
#pragma unroll
	for (int n = 0; n < dim / 8; n++) {
#pragma unroll
		for (int j = 0; j < 4; j++)
			r.o[n][j] = 0.0F;
	}
}

template <typename T, int dim>
__device__ __forceinline__ void store_rows(const row_rows<T, dim> &r, const gh_attention &a,
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
				      r.o[n][i * 2], r.o[n][i * 2 + 1], a.y_pairs);
	}
}

template <typename T, int dim>
__global__ void __launch_bounds__(THREADS, row_shape<dim>::blocks) row_kernel(const gh_attention a)
{
	using shape = row_shape<dim>;
	extern __shared__ __align__(128) char shared[];
	const gh_run run =
		gh_find_rows<ROWS>(a, blockIdx.x / a.kv_count, (int32_t)(blockIdx.x % a.kv_count));
	row_rows<T, dim> r;
	int32_t end, tiles;

	gh_zero_pads<T>(a);
	if (run.rows <= 0)
		return;
	begin(r, a, run);
	end = gh_token_of(run, run.rows - 1) - run.token + 1;
	tiles = (end + TILE - 1) / TILE;
	if (a.kv.head_dim < dim)
		gh_clear(shared, shape::line);
	find_lines<dim>(a, run, shared, 0, tiles, end);
	__syncthreads();
	ask<dim>(a, run, shared, 0, tiles);
	find_lines<dim>(a, run, shared, 1, tiles, end);
	gh_copy_mark();
	for (int32_t tile = 0; tile < 3 * tiles; tile++) {
		const char *k = shared + shape::k + tile % 2 * shape::tile;
		const char *v = shared + shape::v + tile % 2 * shape::tile;
		const int32_t first = tile % tiles * TILE;
		float s[8][4];

		gh_copy_wait<0>();
		__syncthreads();
		if (tile + 1 < 3 * tiles)
			ask<dim>(a, run, shared, tile + 1, tiles);
		gh_copy_mark();
		find_lines<dim>(a, run, shared, tile + 2, tiles, end);
		form_scores<T, dim>(s, r, a, k, first);
		if (tile < tiles)
			find_most(r, s);
		else if (tile < 2 * tiles)
			add_up(r, s);
		else
			form_values(r, s, v);
#pragma unroll
		for (int i = 0; i < 2; i++) {
			if (tile == tiles - 1)
				r.m[i] = gh_row_max(r.m[i]);
			if (tile == 2 * tiles - 1)
				r.even[i] = gh_row_sum(r.even[i], r.odd[i]);
		}
	}
	store_rows(r, a, run);
}

/* ---- choice ---- */

template <typename T, int dim> static int launch_as(const gh__launch *on, const gh_attention *a)
{
	constexpr int bytes = row_shape<dim>::bytes;
	cudaError_t code = cudaFuncSetAttribute(row_kernel<T, dim>,
						cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);

	if (code != cudaSuccess)
		return (int)code;
	row_kernel<T, dim><<<gh_blocks((a->all_rows / ROWS + a->sequences) * a->kv_count, 1),
			     THREADS, bytes, on->stream>>>(*a);
	return gh_launched();
}

template <typename T> static int launch_dim(const gh__launch *on, const gh_attention *a)
{
	switch (gh_padded_dim(a->kv.head_dim)) {
	case 16:
		return launch_as<T, 16>(on, a);
	case 32:
		return launch_as<T, 32>(on, a);
	case 64:
		return launch_as<T, 64>(on, a);
	case 128:
		return launch_as<T, 128>(on, a);
	default:
		return launch_as<T, 256>(on, a);
	}
}

int gh__cuda_attention_row(const gh__launch *on, const gh_attention *a)
{
	return a->act == GH_F16 ? launch_dim<__half>(on, a) : launch_dim<__nv_bfloat16>(on, a);
}
