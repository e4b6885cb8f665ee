#ifndef GH_KERNELS_ATTENTION_ONLINE_CUH
#define GH_KERNELS_ATTENTION_ONLINE_CUH

#include "attention.cuh"

/*
 * What prefill and decode over the paged cache share: tiles of 128 positions, and the fold.
 */
enum { GH_TILE = GH__ATTENTION_TILE, GH_SPLIT = GH__ATTENTION_SPLIT, GH_THREADS = 128 };

/* Where k of the positions of a tile lies, in bytes; -1: from `end` on, for zeros. */
__device__ __forceinline__ void gh_find_lines(int64_t *line, const gh_attention &a,
					      const gh_run &run, int32_t first, int32_t end)
{
	const gh__kv_layout &kv = a.kv;
	const int32_t at = first + (int32_t)threadIdx.x;
	const int32_t *blocks = a.step->block_table + (int64_t)run.sequence * a.step->blocks_max;
	const int64_t size = (int64_t)kv.head_dim * (kv.dtype == GH_E4M3 ? 1 : 2);
	int64_t row = -1;

	if (at < end) {
		row = ((int64_t)blocks[at / kv.block_size] * 2 * kv.kv_heads + run.kv) *
			      kv.block_size +
		      at % kv.block_size;
		row *= size;
	}
	line[threadIdx.x] = row;
}

/* How many positions a row sees; none where there is no row. */
__device__ __forceinline__ int32_t gh_limit(const gh_attention &a, const gh_run &run, int32_t row)
{
	return row < run.rows ? a.step->position[gh_token_of(run, row)] + 1 : 0;
}

/* k or v of a tile on its way to shared memory. */
template <typename KV, int dim>
__device__ __forceinline__ void gh_ask_tile(const gh_attention &a, char *to, const int64_t *line,
					    int part)
{
	const int64_t bytes = (int64_t)a.kv.head_dim * sizeof(KV);

	gh_copy_tile<dim * sizeof(KV), sizeof(KV) == 2, GH_TILE, GH_THREADS>(
		to, a.cache + part * a.kv.kv_heads * a.kv.block_size * bytes, line, bytes, a.unit);
}

/* A product to a score: the cache's scale first, then the softmax's. */
template <typename KV>
__device__ __forceinline__ float gh_score(const gh_attention &a, float product)
{
	if (sizeof(KV) == 1)
		product = __fmul_rn(product, a.k_scale);
	return __fmul_rn(product, a.scale);
}

/* The end of a row's splits. */
template <typename KV>
__device__ __forceinline__ float gh_quotient(const gh_attention &a, float o, float l)
{
	if (sizeof(KV) == 1)
		o = __fmul_rn(o, a.v_scale);
	return __fdiv_rn(o, l);
}

/* What a row's splits came to so far, and how a further one joins them. */
typedef struct gh_total {
	float m, l;
	float before, here; /* factors of O so far and of the split's O */
} gh_total;

__device__ __forceinline__ void gh_fold(gh_total &total, float m, float l)
{
	const float most = fmaxf(total.m, m);

	total.before = gh_exp_below(__fsub_rn(total.m, most));
	total.here = gh_exp_below(__fsub_rn(m, most));
	total.m = most;
	total.l = __fmaf_rn(l, total.here, __fmul_rn(total.l, total.before));
}

__device__ __forceinline__ float gh_folded(const gh_total &total, float sum, float o)
{
	return __fmaf_rn(o, total.here, __fmul_rn(sum, total.before));
}

#endif
