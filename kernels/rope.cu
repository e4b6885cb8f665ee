#include "lanes.cuh"

/*
 * Rotary embedding of q and k in place, then k and v of every row into the cache.
 *
 * y_a = round(r(a c) - r(b s)), y_b = round(r(b c) + r(a s)), r as the descriptor says; nothing is
 * summed. A cache narrower than act rounds to nearest even; e4m3 divides by the scale first and
 * clamps. A row is read and written once, k and v written once more: memory bound. A thread has
 * `count` pairs of one head, 16 bytes of each side where dims and addresses allow it, else one
 * pair. Twin: device/cpu/rope.c.
 */
enum { THREADS = 256, ROWS = 4 };

/* count elements to line[at], of a cache of K. */
template <typename K, int count>
static __device__ __forceinline__ void put(void *cache, int64_t at, const float *x)
{
	gh_piece<K, count> out;

#pragma unroll
	for (int i = 0; i < count; i++)
		out.at[i] = gh_narrow<K>(x[i]);
	*(gh_piece<K, count> *)((K *)cache + at) = out;
}

template <int count>
static __device__ __forceinline__ void write(gh_dtype kv, void *cache, int64_t at, float *x,
					     float scale)
{
	switch (kv) {
	case GH_E4M3:
#pragma unroll
		for (int i = 0; i < count; i++)
			x[i] = __fdiv_rn(x[i], scale);
		put<__nv_fp8_e4m3, count>(cache, at, x);
		break;
	case GH_F16:
		put<__half, count>(cache, at, x);
		break;
	case GH_BF16:
		put<__nv_bfloat16, count>(cache, at, x);
		break;
	default:
		put<float, count>(cache, at, x);
		break;
	}
}

/* Where a head of a slot begins: [block][2: k, v][kv_head][slot][head_dim]. */
static __device__ __forceinline__ int64_t line_of(const gh__kv_layout &kv, int64_t slot, int part,
						  int head)
{
	const uint32_t size = (uint32_t)kv.block_size;
	/* A division of 64 bits is long; few caches need it. */
	const int64_t block = slot >> 32 ? slot / size : (uint32_t)slot / size;
	const int64_t line = (block * 2 + part) * kv.kv_heads + head;

	return (line * size + (slot - block * size)) * kv.head_dim;
}

template <typename T, int count>
static __device__ __forceinline__ void rotate(bool once, float (&a)[count], float (&b)[count],
					      const gh_piece<T, count> &c,
					      const gh_piece<T, count> &s)
{
#pragma unroll
	for (int i = 0; i < count; i++) {
		float cos = gh_widen(c.at[i]), sin = gh_widen(s.at[i]);
		float ac = __fmul_rn(a[i], cos), as = __fmul_rn(a[i], sin);
		float bc = __fmul_rn(b[i], cos), bs = __fmul_rn(b[i], sin);

		if (!once) {
			ac = gh_round<T>(ac), as = gh_round<T>(as);
			bc = gh_round<T>(bc), bs = gh_round<T>(bs);
		}
		a[i] = gh_round<T>(__fsub_rn(ac, bs));
		b[i] = gh_round<T>(__fadd_rn(bc, as));
	}
}

/* 2 count neighbours in memory, low and high, to the pairs' first and second elements. */
template <int count>
static __device__ __forceinline__ void split(float (&low)[count], float (&high)[count])
{
	float all[2 * count];

#pragma unroll
	for (int i = 0; i < count; i++) {
		all[i] = low[i];
		all[count + i] = high[i];
	}
#pragma unroll
	for (int i = 0; i < count; i++) {
		low[i] = all[2 * i];
		high[i] = all[2 * i + 1];
	}
}

/* And back. */
template <int count>
static __device__ __forceinline__ void join(float (&a)[count], float (&b)[count])
{
	float all[2 * count];

#pragma unroll
	for (int i = 0; i < count; i++) {
		all[2 * i] = a[i];
		all[2 * i + 1] = b[i];
	}
#pragma unroll
	for (int i = 0; i < count; i++) {
		a[i] = all[i];
		b[i] = all[count + i];
	}
}

/* A block: a row, or a part of it. */
template <typename T, int count>
static __global__ void __launch_bounds__(THREADS)
	rope_kernel(const gh__rope_desc desc, const gh__rope_args args)
{
	using piece = gh_piece<T, count>;
	const int dim = desc.kv.head_dim, half = dim / 2, turned = desc.heads + desc.kv.kv_heads;
	const int parts = half / count;
	const bool cached = desc.kv.dtype != GH_DTYPE_NONE;
	const int work = (turned + (cached ? desc.kv.kv_heads : 0)) * parts;
	const int64_t slot = cached ? args.slot[blockIdx.x] : -1;
	const T *table = (const T *)args.table + args.position[blockIdx.x] * (int64_t)dim;
	T *row = (T *)args.qkv + blockIdx.x * args.qkv_stride;

	for (int unit = blockIdx.y * blockDim.x + threadIdx.x; unit < work;
	     unit += gridDim.y * blockDim.x) {
		const int head = unit / parts, i = unit % parts * count;
		const bool turn = head < turned;
		const bool pairs = turn && desc.pairing == GH__ROPE_INTERLEAVED;
		const int first = pairs ? 2 * i : i, second = pairs ? first + count : half + i;
		T *at = row + (int64_t)head * dim;
		const piece x = *(piece *)(at + first), y = *(piece *)(at + second);
		float a[count], b[count];

#pragma unroll
		for (int j = 0; j < count; j++) {
			a[j] = gh_widen(x.at[j]);
			b[j] = gh_widen(y.at[j]);
		}
		if (turn) {
			const piece c = *(const piece *)(table + i);
			const piece s = *(const piece *)(table + half + i);

			if (pairs)
				split<count>(a, b);
			rotate<T, count>(desc.rounding == GH__ROPE_ROUND_ONCE, a, b, c, s);
			if (pairs)
				join<count>(a, b);
			put<T, count>(at, first, a);
			put<T, count>(at, second, b);
		}
		if (head >= desc.heads && slot >= 0) {
			const int part = !turn;
			const int kv_head = head - desc.heads - part * desc.kv.kv_heads;
			const int64_t line = line_of(desc.kv, slot, part, kv_head);
			const float scale = part ? args.v_scale : args.k_scale;

			write<count>(desc.kv.dtype, args.cache, line + first, a, scale);
			write<count>(desc.kv.dtype, args.cache, line + second, b, scale);
		}
	}
}

/*
 * Neighbours as pairs, and no cache: where a head begins is of no matter to memory. A block has ROWS
 * rows, a thread the same 16 bytes of each, a multiple of two pairs.
 */
template <typename T>
static __global__ void __launch_bounds__(THREADS)
	neighbours_kernel(const gh__rope_desc desc, const gh__rope_args args)
{
	using chunk = gh_chunk<T>;
	using piece = gh_piece<T, 2>;
	const int dim = desc.kv.head_dim, half = dim / 2;
	const int chunks = (desc.heads + desc.kv.kv_heads) * dim / chunk::count;
	const int64_t first = (int64_t)blockIdx.x * ROWS;
	const int rows = args.m - first < ROWS ? (int)(args.m - first) : ROWS;
	T *qkv = (T *)args.qkv + first * args.qkv_stride;

	for (int unit = threadIdx.x; unit < chunks; unit += blockDim.x) {
		const int pair = unit * (chunk::count / 2) % half;
		T *at = qkv + (int64_t)unit * chunk::count;
		chunk x[ROWS];

#pragma unroll
		for (int r = 0; r < ROWS; r++) {
			if (r < rows)
				x[r] = *(const chunk *)(at + r * args.qkv_stride);
		}
#pragma unroll
		for (int r = 0; r < ROWS; r++) {
			if (r >= rows)
				break;
			const T *table =
				(const T *)args.table + args.position[first + r] * (int64_t)dim;

#pragma unroll
			for (int i = 0; i < chunk::count; i += 4) {
				const int angle = pair + i / 2 - (pair + i / 2 < half ? 0 : half);
				T *y = x[r].at + i;
				float a[2] = { gh_widen(y[0]), gh_widen(y[2]) };
				float b[2] = { gh_widen(y[1]), gh_widen(y[3]) };

				rotate<T, 2>(desc.rounding == GH__ROPE_ROUND_ONCE, a, b,
					     *(const piece *)(table + angle),
					     *(const piece *)(table + half + angle));
				y[0] = gh_narrow<T>(a[0]);
				y[1] = gh_narrow<T>(b[0]);
				y[2] = gh_narrow<T>(a[1]);
				y[3] = gh_narrow<T>(b[1]);
			}
			*(chunk *)(at + r * args.qkv_stride) = x[r];
		}
	}
}

template <typename T>
static void rope_neighbours(const gh__launch *on, const gh__rope_desc *desc,
			    const gh__rope_args *args)
{
	const int64_t heads = (int64_t)desc->heads + desc->kv.kv_heads;
	const int64_t work = heads * desc->kv.head_dim / gh_chunk<T>::count;
	const int64_t rounds = gh_blocks(work, THREADS);
	const unsigned threads = gh_threads((work + rounds - 1) / rounds, THREADS);

	neighbours_kernel<T><<<gh_blocks(args->m, ROWS), threads, 0, on->stream>>>(*desc, *args);
}

template <typename T, int count>
static void rope(const gh__launch *on, const gh__rope_desc *desc, const gh__rope_args *args)
{
	const int64_t heads = (int64_t)desc->heads + 2 * (int64_t)desc->kv.kv_heads;
	const int64_t work = heads * (desc->kv.head_dim / 2 / count);
	const unsigned threads = gh_threads(work, THREADS);
	const unsigned parts = gh_blocks(work, threads);
	const dim3 grid((unsigned)args->m, parts < 65535 ? parts : 65535);

	rope_kernel<T, count><<<grid, threads, 0, on->stream>>>(*desc, *args);
}

template <typename T>
static void rope_as(const gh__launch *on, const gh__rope_desc *desc, const gh__rope_args *args)
{
	constexpr int count = 16 / sizeof(T);
	const int64_t turned = (int64_t)desc->heads + desc->kv.kv_heads;
	const int64_t dim = desc->kv.head_dim;
	const bool aligned = gh_aligned(args->qkv, args->qkv_stride * (int64_t)sizeof(T), 16) &&
			     gh_aligned(args->table, 0, 16);

	if (desc->pairing == GH__ROPE_INTERLEAVED && desc->kv.dtype == GH_DTYPE_NONE &&
	    dim % 4 == 0 && turned * dim % count == 0 && aligned)
		rope_neighbours<T>(on, desc, args);
	else if (dim % (2 * count) == 0 && aligned && gh_aligned(args->cache, 0, 16))
		rope<T, count>(on, desc, args);
	else
		rope<T, 1>(on, desc, args);
}

extern "C" int gh__cuda_rope(const gh__launch *on, const gh__rope_desc *desc,
			     const gh__rope_args *args)
{
	if (args->m == 0)
		return 0;
	if (desc->act == GH_F16)
		rope_as<__half>(on, desc, args);
	else if (desc->act == GH_BF16)
		rope_as<__nv_bfloat16>(on, desc, args);
	else
		rope_as<float>(on, desc, args);
	return gh_launched();
}
