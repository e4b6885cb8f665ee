#include "attention.cuh"

/*
 * Attention by fused multiply-adds: of f32, and of pairs of types that tensor cores do not take.
 *
 * The orders are those of device/cpu/attention_online.c and attention_row.c, to the bit. A warp has
 * one row. Of 128 positions a lane has four, each a chain over ascending d; of O it has every 32nd
 * column, each a chain over ascending positions; eight lanes have the eight chains of a sum. Meant
 * to be right rather than fast: 2 d multiply-adds a row and position, no k or v shared by rows.
 */
enum { TILE = GH__ATTENTION_TILE, SPLIT = GH__ATTENTION_SPLIT, WARP = 32, OWN = TILE / WARP };

/* A warp's row; its arrays lie in shared memory. */
typedef struct fma_row {
	int32_t sequence, token; /* the sequence's first */
	int32_t kv, limit;       /* positions that it sees */
	float *q, *o, *total;    /* [head_dim]; of this split, of those before */
	float *p;                /* [128] */
} fma_row;

/* Element 0 of k (part 0) or v (1) of a position. */
template <typename KV>
__device__ __forceinline__ const KV *find_line(const gh_attention &a, const fma_row &r,
					       int32_t position, int part)
{
	const gh__kv_layout &kv = a.kv;
	int64_t line;

	if (a.cache == nullptr)
		return (const KV *)a.qkv + (r.token + position) * a.qkv_stride +
		       ((int64_t)a.heads + part * kv.kv_heads + r.kv) * kv.head_dim;
	line = a.step->block_table[(int64_t)r.sequence * a.step->blocks_max +
				   position / kv.block_size];
	line = ((line * 2 + part) * kv.kv_heads + r.kv) * kv.block_size + position % kv.block_size;
	return (const KV *)a.cache + line * kv.head_dim;
}

/* An e4m3 cache reads as value times scale. */
template <typename KV> __device__ __forceinline__ float read(KV x, float scale)
{
	float wide = gh_widen(x);

	return sizeof(KV) == 1 ? __fmul_rn(wide, scale) : wide;
}

/* Products of the positions first + lane, + 32, ... with q. */
template <typename KV>
__device__ void form_products(float (&s)[OWN], const gh_attention &a, const fma_row &r,
			      int32_t first)
{
	for (int i = 0; i < OWN; i++) {
		const int32_t at = first + i * WARP + (int32_t)threadIdx.x;
		const KV *k;

		s[i] = 0.0F;
		if (at >= r.limit)
			continue;
		k = find_line<KV>(a, r, at, 0);
		for (int32_t d = 0; d < a.kv.head_dim; d++)
			s[i] = __fmaf_rn(r.q[d], read(k[d], a.k_scale), s[i]);
	}
}

/* Scores: no number's place is above a row's own. */
__device__ __forceinline__ void mask(float (&s)[OWN], const fma_row &r, int32_t first)
{
	for (int i = 0; i < OWN; i++) {
		if (first + i * WARP + (int32_t)threadIdx.x >= r.limit)
			s[i] = -INFINITY;
	}
}

__device__ __forceinline__ float find_most(const float (&s)[OWN])
{
	float most = s[0];

	for (int i = 1; i < OWN; i++)
		most = fmaxf(most, s[i]);
	for (int distance = 16; distance > 0; distance /= 2)
		most = fmaxf(most, __shfl_xor_sync(~0U, most, distance));
	return most;
}

/* exp(s - m) of the tile, to p; the eight lanes' chains go on. */
__device__ __forceinline__ float add_weights(const float (&s)[OWN], const fma_row &r, float m,
					     float sum)
{
	__syncwarp();
	for (int i = 0; i < OWN; i++)
		r.p[i * WARP + threadIdx.x] = gh_exp_below(__fsub_rn(s[i], m));
	__syncwarp();
	for (int i = 0; i < TILE / 8; i++)
		sum = __fadd_rn(sum, r.p[i * 8 + threadIdx.x % 8]);
	return sum;
}

/* v8f_sum's tree. */
__device__ __forceinline__ float add_lanes(float sum)
{
	for (int distance = 4; distance > 0; distance /= 2)
		sum = __fadd_rn(sum, __shfl_xor_sync(~0U, sum, distance));
	return sum;
}

/* O, times `factor` first, goes on by the tile's p, rounded to T. */
template <typename T, typename KV>
__device__ void add_values(const gh_attention &a, const fma_row &r, int32_t first, float factor)
{
	const int32_t count = r.limit - first < TILE ? r.limit - first : TILE;

	for (int32_t d = (int32_t)threadIdx.x; d < a.kv.head_dim; d += WARP)
		r.o[d] = __fmul_rn(r.o[d], factor);
	for (int32_t j = 0; j < count; j++) {
		const KV *v = find_line<KV>(a, r, first + j, 1);
		const float p = gh_round<T>(r.p[j]);

		for (int32_t d = (int32_t)threadIdx.x; d < a.kv.head_dim; d += WARP)
			r.o[d] = __fmaf_rn(p, read(v[d], a.v_scale), r.o[d]);
	}
}

__device__ __forceinline__ void clear(float *to, int32_t count)
{
	for (int32_t d = (int32_t)threadIdx.x; d < count; d += WARP)
		to[d] = 0.0F;
}

/* The row of this block: the sequence that it belongs to, and q. False: it has none. */
template <typename T> __device__ bool find_row(fma_row &r, const gh_attention &a, float *shared)
{
	const gh__step *step = a.step;
	const int32_t row = (int32_t)(blockIdx.x / a.heads), head = (int32_t)(blockIdx.x % a.heads);
	const T *q = (const T *)a.qkv + row * a.qkv_stride + (int64_t)head * a.kv.head_dim;
	int32_t low = 0, high = step->sequences - 1;

	if (row >= step->tokens || high < 0 || row >= step->row_start[step->sequences])
		return false;
	while (low < high) {
		int32_t middle = low + (high - low + 1) / 2;

		if (step->row_start[middle] <= row)
			low = middle;
		else
			high = middle - 1;
	}
	r.sequence = low;
	r.token = step->row_start[low];
	r.kv = (a.head_first + head) / a.group - a.kv_first;
	r.limit = (a.cache == nullptr ? row - r.token : step->position[row]) + 1;
	r.p = shared;
	r.q = r.p + TILE;
	r.o = r.q + a.kv.head_dim;
	r.total = r.o + a.kv.head_dim;
	for (int32_t d = (int32_t)threadIdx.x; d < a.kv.head_dim; d += WARP)
		r.q[d] = gh_widen(q[d]);
	clear(r.o, a.kv.head_dim);
	clear(r.total, a.kv.head_dim);
	__syncwarp();
	return true;
}

template <typename T> __device__ __forceinline__ T *find_result(const gh_attention &a)
{
	return (T *)a.y + blockIdx.x / a.heads * a.y_stride +
	       (int64_t)(blockIdx.x % a.heads) * a.kv.head_dim;
}

template <typename T, typename KV>
__global__ void __launch_bounds__(WARP) fma_online_kernel(const gh_attention a)
{
	extern __shared__ float shared[];
	float m = -INFINITY, l = 0.0F, total_m = -INFINITY, total_l = 0.0F;
	fma_row r;

	gh_zero_pads<T>(a);
	if (!find_row<T>(r, a, shared))
		return;
	for (int32_t first = 0; first < r.limit; first += TILE) {
		float s[OWN], most, factor, sum;

		form_products<KV>(s, a, r, first);
		for (int i = 0; i < OWN; i++)
			s[i] = __fmul_rn(s[i], a.scale);
		mask(s, r, first);
		most = fmaxf(m, find_most(s));
		factor = gh_exp_below(__fsub_rn(m, most));
		sum = add_lanes(add_weights(s, r, most, 0.0F));
		l = __fadd_rn(__fmul_rn(l, factor), sum);
		m = most;
		add_values<T, KV>(a, r, first, factor);
		if (first + TILE < r.limit && (first + TILE) % SPLIT != 0)
			continue;
		most = fmaxf(total_m, m);
		factor = gh_exp_below(__fsub_rn(total_m, most));
		sum = gh_exp_below(__fsub_rn(m, most));
		for (int32_t d = (int32_t)threadIdx.x; d < a.kv.head_dim; d += WARP)
			r.total[d] = __fmaf_rn(r.o[d], sum, __fmul_rn(r.total[d], factor));
		total_l = __fmaf_rn(l, sum, __fmul_rn(total_l, factor));
		total_m = most;
		clear(r.o, a.kv.head_dim);
		m = -INFINITY;
		l = 0.0F;
	}
	for (int32_t d = (int32_t)threadIdx.x; d < a.kv.head_dim; d += WARP)
		find_result<T>(a)[d] = gh_narrow<T>(__fdiv_rn(r.total[d], total_l));
}

/* Three passes, for the maximum, the sum and the product with v; scores are formed anew in each. */
__global__ void __launch_bounds__(WARP) fma_row_kernel(const gh_attention a)
{
	extern __shared__ float shared[];
	float most = -INFINITY, sum = 0.0F;
	fma_row r;

	gh_zero_pads<float>(a);
	if (!find_row<float>(r, a, shared))
		return;
	for (int pass = 0; pass < 3; pass++) {
		for (int32_t first = 0; first < r.limit; first += TILE) {
			float s[OWN];

			form_products<float>(s, a, r, first);
			for (int i = 0; i < OWN; i++)
				s[i] = __fmul_rn(s[i], a.scale);
			mask(s, r, first);
			if (pass == 0)
				most = fmaxf(most, find_most(s));
			else if (pass == 1)
				sum = add_weights(s, r, most, sum);
			if (pass < 2)
				continue;
			add_weights(s, r, most, 0.0F);
			__syncwarp();
			for (int i = 0; i < OWN; i++)
				r.p[i * WARP + threadIdx.x] =
					__fdiv_rn(r.p[i * WARP + threadIdx.x], sum);
			__syncwarp();
			add_values<float, float>(a, r, first, 1.0F);
		}
		if (pass == 1)
			sum = add_lanes(sum);
	}
	for (int32_t d = (int32_t)threadIdx.x; d < a.kv.head_dim; d += WARP)
		find_result<float>(a)[d] = r.o[d];
}

/* ---- choice ---- */

template <typename T, typename KV> static int launch_as(const gh__launch *on, const gh_attention *a)
{
	const unsigned blocks = gh_blocks((int64_t)a->tokens * a->heads, 1);
	const size_t bytes = (TILE + 3 * (size_t)a->kv.head_dim) * sizeof(float);

	fma_online_kernel<T, KV><<<blocks, WARP, bytes, on->stream>>>(*a);
	return gh_launched();
}

static int launch_row(const gh__launch *on, const gh_attention *a)
{
	const unsigned blocks = gh_blocks((int64_t)a->tokens * a->heads, 1);
	const size_t bytes = (TILE + 3 * (size_t)a->kv.head_dim) * sizeof(float);

	fma_row_kernel<<<blocks, WARP, bytes, on->stream>>>(*a);
	return gh_launched();
}

/* Of f16 and bf16 only the pairs that tensor cores leave. */
int gh__cuda_attention_fma(const gh__launch *on, const gh_attention *a)
{
	const gh_dtype kv = a->kv.dtype;

	if (a->act == GH_F16)
		return kv == GH_BF16 ? launch_as<__half, __nv_bfloat16>(on, a)
				     : launch_as<__half, float>(on, a);
	if (a->act == GH_BF16)
		return kv == GH_F16 ? launch_as<__nv_bfloat16, __half>(on, a)
				    : launch_as<__nv_bfloat16, float>(on, a);
	if (a->cache == NULL)
		return launch_row(on, a);
	switch (kv) {
	case GH_F16:
		return launch_as<float, __half>(on, a);
	case GH_BF16:
		return launch_as<float, __nv_bfloat16>(on, a);
	case GH_E4M3:
		return launch_as<float, __nv_fp8_e4m3>(on, a);
	default:
		return launch_as<float, float>(on, a);
	}
}
