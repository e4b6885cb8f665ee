#include "attention.cuh"

/*
 * attention_row.cu's computation, to the bit, where no sequence is longer than 256 rows and no kv
 * head has more than one query head: all of a row's scores fit in registers, so they are formed
 * once, and each exponential is taken once.
 *
 * A block has a sequence and a head: q, k and v lie in shared memory. A warp has four tiles of 16
 * rows, two from the short end of the triangle and two from the long one, and goes as far as a
 * tile's last row sees, in steps of 16 positions. 4 d FLOPs a row and position, about 38
 * instructions of a thread for each score; each byte is read once.
 *
 * Where all of a warp's scores are within NEAR of their row's greatest, and none is a NaN,
 * exponentials are normal numbers: 2^n is an addition to the exponent. e / l is then q = e r with r
 * = 1 / l rounded, and q + (e - q l) r: within 2^-22 last places of the quotient before its last
 * rounding. Rounded to 11 bits or fewer it is the quotient rounded twice: of two f32 whose quotient
 * is that near to a tie, a search found none for which the two differ.
 */
enum { LONGEST = GH_ATTENTION_WHOLE, THREADS = 128, STEP = 16, WIDE = STEP / 8, TURNS = 4 };

static constexpr float NEAR = 60.0F;

template <int dim> struct short_shape {
	static constexpr int part = LONGEST * dim * 2;
	static constexpr int q = 0, k = part, v = 2 * part;
	static constexpr int line = 3 * part;
	static constexpr int bytes = line + LONGEST * 8;
};

/* Blocks that share a multiprocessor's registers. */
template <typename T, int dim> static constexpr int blocks_of = 2;
template <int dim> static constexpr int blocks_of<__half, dim> = dim > 32 ? 2 : 3;

/* The scores of a warp's 16 rows, then their exponentials, and what is known of the two rows that a
 * lane has. */
struct short_rows {
	float s[LONGEST / 8][4];
	float m[2], l[2];
	int32_t tile; /* and the last step that its rows see */
};

/* q, k and v of the head; places behind the last row and behind a head's end are zeros. */
template <int dim>
__device__ __forceinline__ void load_head(const gh_attention &a, const gh_run &run, char *shared)
{
	using shape = short_shape<dim>;
	int64_t *line = (int64_t *)(shared + shape::line);
	const int64_t bytes = (int64_t)a.kv.head_dim * 2;
	const char *k = a.qkv + (a.heads + run.kv) * bytes;

	for (int32_t row = (int32_t)threadIdx.x; row < LONGEST; row += THREADS)
		line[row] = row < run.rows ? (run.token + row) * a.qkv_stride * 2 : -1;
	for (uint32_t chunk = (uint32_t)a.kv.head_dim / 8; chunk < dim / 8; chunk++) {
		for (uint32_t row = threadIdx.x; row < 3 * LONGEST; row += THREADS)
			*(uint4 *)(shared + gh_chunk_place<dim>(row, chunk)) =
				make_uint4(0, 0, 0, 0);
	}
	__syncthreads();
	gh_copy_tile<dim * 2, true, LONGEST, THREADS>(shared + shape::q, a.qkv + run.head * bytes,
						      line, bytes, a.unit);
	gh_copy_tile<dim * 2, true, LONGEST, THREADS>(shared + shape::k, k, line, bytes, a.unit);
	gh_copy_tile<dim * 2, true, LONGEST, THREADS>(shared + shape::v, k + a.kv.kv_heads * bytes,
						      line, bytes, a.unit);
	gh_copy_mark();
	gh_copy_wait<0>();
	__syncthreads();
}

/* u of a step from the sums; least and most of each row's pairs go on. */
template <typename T>
__device__ __forceinline__ void scale_scores(short_rows &r, int step, float scale,
					     uint32_t (&least)[2], uint32_t (&most)[2])
{
	const int32_t seen = r.tile * 16 + (int32_t)threadIdx.x % 32 / 4 -
			     (int32_t)threadIdx.x % 4 * 2 - step * STEP;

#pragma unroll
	for (int n = 0; n < WIDE; n++) {
#pragma unroll
		for (int i = 0; i < 2; i++) {
			float &low = r.s[step * WIDE + n][i * 2];
			float &high = r.s[step * WIDE + n][i * 2 + 1];
			uint32_t u;

			gh_split<T>(gh_pack<T>(low, high), low, high);
			u = gh_pack<T>(__fmul_rn(low, scale), __fmul_rn(high, scale));
			gh_split<T>(u, low, high);
			if (step == r.tile) {
				const bool sees = n * 8 <= seen + i * 8;
				const bool both = n * 8 < seen + i * 8;
				const uint32_t there =
					gh_pack<T>(sees ? low : INFINITY, both ? high : INFINITY);

				low = sees ? low : -INFINITY;
				high = both ? high : -INFINITY;
				u = gh_pack<T>(low, high);
				least[i] = gh_pair_least<T>(least[i], there);
			} else {
				least[i] = gh_pair_least<T>(least[i], u);
			}
			most[i] = gh_pair_most<T>(most[i], u);
		}
	}
}

/* All scores of a tile; whether they are near their rows' greatest. */
template <typename T, int dim>
__device__ __forceinline__ bool form_scores(short_rows &r, const gh_attention &a,
					    const char *shared)
{
	const uint32_t lane = threadIdx.x % 32, k = gh_shared(shared + short_shape<dim>::k);
	const uint32_t from = gh_shared(shared + short_shape<dim>::q) + r.tile * 16 * dim * 2;
	const uint32_t none = gh_pack<T>(INFINITY, INFINITY);
	uint32_t least[2] = { none, none }, most[2];
	bool near = true;

	most[0] = most[1] = gh_pack<T>(-INFINITY, -INFINITY);
#pragma unroll
	for (int step = 0; step < LONGEST / STEP; step++) {
		if (step > 0 && step > r.tile)
			continue;
#pragma unroll
		for (int n = 0; n < WIDE; n++) {
#pragma unroll
			for (int j = 0; j < 4; j++)
				r.s[step * WIDE + n][j] = 0.0F;
		}
#pragma unroll
		for (int i = 0; i < dim / 16; i++) {
			uint32_t q[4];

			/* Each time anew: registers are short. */
			gh_load_matrices(q,
					 from + gh_chunk_place<dim>(lane % 16, i * 2 + lane / 16));
#pragma unroll
			for (int n = 0; n < WIDE; n += 2)
				gh_score_step<T, dim>(r.s[step * WIDE + n],
						      r.s[step * WIDE + n + 1], q, k,
						      step * STEP + n * 8, i);
		}
		scale_scores<T>(r, step, a.scale, least, most);
	}
#pragma unroll
	for (int i = 0; i < 2; i++) {
		float low, high;

		gh_split<T>(least[i], low, high);
		const float far = -gh_row_max(-fminf(low, high));

		gh_split<T>(most[i], low, high);
		high = gh_max_nan(low, high);
		high = gh_max_nan(high, __shfl_xor_sync(~0U, high, 1));
		r.m[i] = gh_max_nan(high, __shfl_xor_sync(~0U, high, 2));
		near = near && __fsub_rn(r.m[i], far) <= NEAR;
	}
	return __all_sync(~0U, near);
}

/* e^x of -NEAR <= x <= 0: gh_exp()'s bits. */
__device__ __forceinline__ float exp_near(float x)
{
	const float magic = 0x1.8p23F, shifted = __fmaf_rn(x, 0x1.715476p0F, magic);
	const float y = gh_exp_rest(x, __fsub_rn(shifted, magic));

	return __int_as_float(__float_as_int(y) + (int)((uint32_t)__float_as_int(shifted) << 23));
}

template <bool near> __device__ __forceinline__ void add_up(short_rows &r)
{
	float even[2] = { 0.0F, 0.0F }, odd[2] = { 0.0F, 0.0F };

#pragma unroll
	for (int step = 0; step < LONGEST / STEP; step++) {
		if (step > 0 && step > r.tile)
			continue;
#pragma unroll
		for (int n = 0; n < WIDE; n++) {
#pragma unroll
			for (int j = 0; j < 4; j++) {
				float &s = r.s[step * WIDE + n][j];
				const float x = __fsub_rn(s, r.m[j / 2]);
				const float e = near ? exp_near(x) : gh_exp_below(x);

				s = near && step == r.tile && s == -INFINITY ? 0.0F : e;
			}
#pragma unroll
			for (int i = 0; i < 2; i++) {
				even[i] = __fadd_rn(even[i], r.s[step * WIDE + n][i * 2]);
				odd[i] = __fadd_rn(odd[i], r.s[step * WIDE + n][i * 2 + 1]);
			}
		}
	}
#pragma unroll
	for (int i = 0; i < 2; i++)
		r.l[i] = gh_row_sum(even[i], odd[i]);
}

template <bool near> __device__ __forceinline__ float divide(float e, float l, float inverse)
{
	const float q = __fmul_rn(e, inverse);

	return near ? __fmaf_rn(__fmaf_rn(-q, l, e), inverse, q) : __fdiv_rn(e, l);
}

/* p, a row's pair where the exponentials of the upper row were: registers are short. */
template <bool near, typename T> __device__ __forceinline__ void form_shares(short_rows &r)
{
	const float inverse[2] = { __frcp_rn(r.l[0]), __frcp_rn(r.l[1]) };

#pragma unroll
	for (int step = 0; step < LONGEST / STEP; step++) {
		if (step > 0 && step > r.tile)
			continue;
#pragma unroll
		for (int n = 0; n < WIDE; n++) {
			float(&e)[4] = r.s[step * WIDE + n];

#pragma unroll
			for (int j = 0; j < 4; j++)
				e[j] = divide<near>(e[j], r.l[j / 2], inverse[j / 2]);
			e[0] = __int_as_float((int)gh_pack<T>(e[0], e[1]));
			e[1] = __int_as_float((int)gh_pack<T>(e[2], e[3]));
		}
	}
}

template <typename T, int dim>
__device__ __forceinline__ void form_values(float (&o)[dim / 8][4], const short_rows &r,
					    const char *v)
{
	const uint32_t from = gh_shared(v);

#pragma unroll
	for (int step = 0; step < LONGEST / STEP; step++) {
		if (step > 0 && step > r.tile)
			continue;
#pragma unroll
		for (int n = 0; n < WIDE; n += 2) {
			uint32_t p[4];

#pragma unroll
			for (int i = 0; i < 4; i++)
				p[i] = (uint32_t)__float_as_int(
					r.s[step * WIDE + n + i / 2][i % 2]);
#pragma unroll
			for (int c = 0; c < dim / 8; c += 2)
				gh_value_step<T, dim>(o[c], o[c + 1], p, from, step * STEP + n * 8,
						      c * 8);
		}
	}
}

template <typename T, int dim>
__device__ __forceinline__ void attend(const gh_attention &a, const gh_run &run, const char *shared,
				       int32_t tile)
{
	float o[dim / 8][4] = {};
	short_rows r;
	bool near;

	r.tile = tile;
	near = form_scores<T, dim>(r, a, shared);
	if (near) {
		add_up<true>(r);
		form_shares<true, T>(r);
	} else {
		add_up<false>(r);
		form_shares<false, T>(r);
	}
	form_values<T, dim>(o, r, shared + short_shape<dim>::v);
#pragma unroll
	for (int i = 0; i < 2; i++) {
		const int32_t row = r.tile * 16 + (int32_t)threadIdx.x % 32 / 4 + i * 8;
		T *y = (T *)a.y + (run.token + row) * a.y_stride +
		       (int64_t)run.head * a.kv.head_dim;

		if (row >= run.rows)
			continue;
#pragma unroll
		for (int n = 0; n < dim / 8; n++)
			gh_store_pair(y, n * 8 + (int)threadIdx.x % 4 * 2, a.kv.head_dim,
				      o[n][i * 2], o[n][i * 2 + 1], a.y_pairs);
	}
}

template <typename T, int dim>
__global__ void __launch_bounds__(THREADS, blocks_of<T, dim>) short_kernel(const gh_attention a)
{
	extern __shared__ __align__(128) char shared[];
	const int32_t sequence = (int32_t)(blockIdx.x / a.kv_count);
	const int32_t warp = (int32_t)threadIdx.x / 32;
	gh_run run = {};

	gh_zero_pads<T>(a);
	if (sequence >= a.step->sequences)
		return;
	gh_set_heads(a, run, a.kv_begin + (int32_t)(blockIdx.x % a.kv_count));
	gh_set_rows(a.step, run, sequence, LONGEST);
	if (run.rows <= 0)
		return;
	load_head<dim>(a, run, shared);
#pragma unroll 1
	for (int32_t turn = 0; turn < TURNS; turn++) {
		const int32_t tile = turn * 4 + (turn % 2 == 0 ? warp : 3 - warp);

		if (tile * 16 < run.rows)
			attend<T, dim>(a, run, shared, tile);
	}
}

/* ---- choice ---- */

template <typename T, int dim> static int launch_as(const gh__launch *on, const gh_attention *a)
{
	constexpr int bytes = short_shape<dim>::bytes;
	cudaError_t code = cudaFuncSetAttribute(short_kernel<T, dim>,
						cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);

	if (code != cudaSuccess)
		return (int)code;
	short_kernel<T, dim>
		<<<gh_blocks((int64_t)a->sequences * a->kv_count, 1), THREADS, bytes, on->stream>>>(
			*a);
	return gh_launched();
}

template <typename T> static int launch_dim(const gh__launch *on, const gh_attention *a)
{
	switch (gh_padded_dim(a->kv.head_dim)) {
	case 16:
		return launch_as<T, 16>(on, a);
	case 32:
		return launch_as<T, 32>(on, a);
	default:
		return launch_as<T, 64>(on, a);
	}
}

int gh__cuda_attention_row_short(const gh__launch *on, const gh_attention *a)
{
	return a->act == GH_F16 ? launch_dim<__half>(on, a) : launch_dim<__nv_bfloat16>(on, a);
}
