#include "common.cuh"

/*
 * slice - rows of a tensor out of a pool into a packed matrix
 *
 * dst [.][stride] elements of 16 bits, rows where launch.h has them, zeros behind k; the pool is
 * 16-byte aligned and may be read up to a multiple of 16 bytes. A tensor begins at any element of
 * the pool, so a thread reads the two aligned chunks that its eight elements lie in, and shifts.
 * Bytes 4 k a row: memory bound. H200, a layer of mainnet: 1.1 GB, so 0.23 ms at 4.8 TB/s.
 * Test tests/cuda/test_slice.c
 */
enum { THREADS = 256, CHUNK = 8 };

typedef struct work {
	const uint16_t *pool;
	uint16_t *dst;
	gh__slice slice;
	int64_t k, stride, row;
	int64_t half;    /* rows that are the gate's, where gate and up take turns; else 0 */
	unsigned across; /* blocks a row */
} work;

/* Element i of the tensor; *run: how many lie behind it in the pool, itself included. */
static __device__ __forceinline__ uint64_t find(const gh__slice *s, uint64_t i, uint64_t *run)
{
	uint64_t at, in_pool;

	*run = s->size - i;
	if (!s->tiled)
		return s->start + i;
	at = (s->start + i) % s->size;
	in_pool = at % s->pool_size;
	*run = s->size - at < s->pool_size - in_pool ? s->size - at : s->pool_size - in_pool;
	return in_pool;
}

/* Eight neighbours from element `at` on. */
static __device__ __forceinline__ uint4 read_run(const uint16_t *pool, uint64_t at)
{
	const uint4 *chunk = (const uint4 *)pool + at / CHUNK;
	const unsigned shift = (unsigned)(at % CHUNK), half = shift % 2 * 16;
	uint4 a = chunk[0], b = a;
	uint32_t w0, w1, w2, w3, w4;

	if (shift == 0)
		return a;
	b = chunk[1];
	if (shift & 4) {
		a.x = a.z, a.y = a.w, a.z = b.x, a.w = b.y;
		b.x = b.z, b.y = b.w;
	}
	w0 = shift & 2 ? a.y : a.x;
	w1 = shift & 2 ? a.z : a.y;
	w2 = shift & 2 ? a.w : a.z;
	w3 = shift & 2 ? b.x : a.w;
	w4 = shift & 2 ? b.y : b.x;
	return make_uint4(__funnelshift_r(w0, w1, half), __funnelshift_r(w1, w2, half),
			  __funnelshift_r(w2, w3, half), __funnelshift_r(w3, w4, half));
}

/* Where the elements do not lie behind each other, or are fewer than eight. */
static __device__ __forceinline__ void copy_some(const work *w, uint16_t *dst, uint64_t i,
						 int64_t count)
{
	for (int64_t j = 0; j < CHUNK; j++) {
		uint64_t run;

		dst[j] = j < count ? w->pool[find(&w->slice, i + (uint64_t)j, &run)] : (uint16_t)0;
	}
}

static __global__ __launch_bounds__(THREADS) void slice_kernel(work w)
{
	int64_t column = ((int64_t)(blockIdx.x % w.across) * THREADS + threadIdx.x) * CHUNK;
	int64_t from = blockIdx.x / w.across, to = w.row + from;
	uint64_t i = (uint64_t)(from * w.k + column), at, run;
	uint16_t *dst;

	if (column >= w.stride)
		return;
	if (w.half > 0 && to < w.half)
		to = to / 8 * 16 + to % 8;
	else if (w.half > 0)
		to = (to - w.half) / 8 * 16 + (to - w.half) % 8 + 8;
	dst = w.dst + to * w.stride + column;
	at = find(&w.slice, i, &run);
	if (column + CHUNK <= w.k && run >= CHUNK)
		*(uint4 *)dst = read_run(w.pool, at);
	else
		copy_some(&w, dst, i, w.k - column);
}

int gh__cuda_slice(const gh__launch *on, const gh__linear_desc *desc, void *dst, const void *pool,
		   const gh__slice *slice, int64_t row)
{
	work w = {};
	int64_t rows = (int64_t)slice->size / desc->k;

	if (rows == 0)
		return cudaSuccess;
	w.pool = (const uint16_t *)pool;
	w.dst = (uint16_t *)dst;
	w.slice = *slice;
	w.k = desc->k;
	w.stride = gh__cuda_linear_stride(desc);
	w.row = row;
	w.half = desc->epilogue == GH__EPILOGUE_SWIGLU ? desc->n / 2 : 0;
	w.across = gh_blocks(w.stride / CHUNK, THREADS);
	slice_kernel<<<(unsigned)rows * w.across, THREADS, 0, on->stream>>>(w);
	return gh_launched();
}
