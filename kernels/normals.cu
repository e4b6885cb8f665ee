#include "common.cuh"
#include "normals.cuh"

/*
 * normals - y[i, :] = the first numbers of stream i, rounded to f32 and then to f16
 *
 * y [m, numbers] f16, 16-byte aligned; numbers below 2^31
 * A stream's draws are cut into segments (normals.cuh), a thread each. They are decoded twice: once
 * to count what each holds, then, when it is known where that goes, to write it. Between the two,
 * segments that were entered in the middle of a sample are mended (one in fifty), and counts are
 * added up. The last segment of a stream has no end: it goes on until there are enough numbers.
 * H200, 888 million numbers: 1.8 GB written, some hundred instructions a number.
 * Twin lib/poc/normals.c   Test tests/cuda/test_normals.c
 */
enum { THREADS = 256, ADDING = 1024, ITEMS = 8, WARP = 32 };

static __constant__ gh_leaps leaps = gh_leaps_make();

/* What is to be made, and the workspace: an entry for each segment, and one for each stream. */
typedef struct work {
	const gh__normals_stream *stream;
	const gh__normal_tables *tables;
	__half *y;
	int64_t numbers, total; /* of a stream; segments of all streams */
	uint32_t segments;      /* of a stream */
	double offset, scale;
	uint32_t *place;    /* samples of a segment; then, how many there are before it */
	uint32_t *overhang; /* by guess */
	uint32_t *entry;    /* where a segment's first sample begins */
	uint32_t *broken;   /* a stream's first segment where guess and truth never met */
} work;

static int64_t segments_of(int64_t numbers)
{
	/* A normal takes 1.02206 draws in the mean. */
	double draws = 1.0221 * (double)numbers + 1.3 * sqrt((double)numbers);

	return (int64_t)(draws / GH_SEGMENT) + 1;
}

static __device__ __forceinline__ void load_tables(gh__normal_tables *to,
						   const gh__normal_tables *from)
{
	for (unsigned i = threadIdx.x; i < sizeof *to / 8; i += blockDim.x)
		((uint64_t *)to)[i] = ((const uint64_t *)from)[i];
	__syncthreads();
}

static __device__ __forceinline__ gh_draws segment_at(const work *w, int64_t stream, uint32_t s)
{
	return gh_segment_at(w->stream + stream, &leaps, s);
}

static __global__ __launch_bounds__(THREADS) void count_kernel(work w)
{
	__shared__ gh__normal_tables tables;
	int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x;
	gh_content guess;

	load_tables(&tables, w.tables);
	if (i >= w.total)
		return;
	guess = gh_guess(&tables, segment_at(&w, i / w.segments, (uint32_t)(i % w.segments)));
	w.place[i] = guess.count;
	w.overhang[i] = guess.overhang;
}

static __device__ __forceinline__ gh_content truth(const work *w, const gh__normal_tables *tables,
						   int64_t stream, uint32_t s, uint32_t entry,
						   gh_content guess)
{
	return entry == 0 ? guess : gh_mend(tables, segment_at(w, stream, s), guess, entry);
}

/* Every segment is entered where the guess of the one before says. */
static __global__ __launch_bounds__(THREADS) void mend_kernel(work w)
{
	int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x, stream = i / w.segments;
	uint32_t s = (uint32_t)(i % w.segments), entry;
	gh_content guess, content;

	if (i >= w.total)
		return;
	guess = { w.place[i], w.overhang[i] };
	entry = s > 0 ? w.overhang[i - 1] : 0;
	content = truth(&w, w.tables, stream, s, entry, guess);
	w.place[i] = content.count;
	w.entry[i] = entry;
	if (content.overhang != guess.overhang)
		atomicMin(&w.broken[stream], s);
}

/* From the first segment on whose guess says nothing about the next, one after the other. */
static __device__ __forceinline__ void mend_rest(const work *w, int64_t stream)
{
	int64_t first = stream * w->segments;
	uint32_t s = w->broken[stream], entry;

	if (s >= w->segments)
		return;
	entry = w->entry[first + s];
	for (; s < w->segments; s++) {
		gh_content content = gh_guess(w->tables, segment_at(w, stream, s));

		content = truth(w, w->tables, stream, s, entry, content);
		w->place[first + s] = content.count;
		w->entry[first + s] = entry;
		entry = content.overhang;
	}
}

static __device__ __forceinline__ uint32_t add_up_warp(uint32_t value)
{
	for (int step = 1; step < WARP; step *= 2) {
		uint32_t below = __shfl_up_sync(~0U, value, step);

		value += threadIdx.x % WARP >= (unsigned)step ? below : 0;
	}
	return value;
}

/* The sum of value over the threads up to this one; *all: over the block's. */
static __device__ __forceinline__ uint32_t add_up(uint32_t value, uint32_t *all)
{
	__shared__ uint32_t warps[ADDING / WARP];
	unsigned warp = threadIdx.x / WARP;
	uint32_t sum = add_up_warp(value);

	__syncthreads();
	if (threadIdx.x % WARP == WARP - 1)
		warps[warp] = sum;
	__syncthreads();
	if (warp == 0)
		warps[threadIdx.x] = add_up_warp(warps[threadIdx.x]);
	__syncthreads();
	*all = warps[ADDING / WARP - 1];
	return sum + (warp > 0 ? warps[warp - 1] : 0);
}

/* A block for each stream: from counts to places. */
static __global__ __launch_bounds__(ADDING) void place_kernel(work w)
{
	uint32_t *place = w.place + (int64_t)blockIdx.x * w.segments;
	uint32_t before = 0;

	if (threadIdx.x == 0)
		mend_rest(&w, blockIdx.x);
	__syncthreads();
	for (uint32_t at = 0; at < w.segments; at += ADDING * ITEMS) {
		uint32_t first = at + threadIdx.x * ITEMS, sum = 0, all, count[ITEMS];

#pragma unroll
		for (int i = 0; i < ITEMS; i++) {
			count[i] = first + i < w.segments ? place[first + i] : 0;
			sum += count[i];
		}
		sum = before + add_up(sum, &all) - sum;
#pragma unroll
		for (int i = 0; i < ITEMS; i++) {
			if (first + i < w.segments)
				place[first + i] = sum;
			sum += count[i];
		}
		before += all;
	}
}

/* The latest eight numbers that a thread has made, and where the next one goes. Eight neighbours
 * that are aligned go out together. */
typedef struct out {
	__half *y;
	int64_t at, first;
	uint64_t low, high;
} out;

/* The last `count` of them, one by one. */
static __device__ __forceinline__ void write_some(const out *o, int64_t count)
{
	for (int64_t i = 1; i <= count; i++) {
		uint64_t four = i <= 4 ? o->high : o->low;
		uint16_t bits = (uint16_t)(four >> (4 - (i <= 4 ? i : i - 4)) * 16);

		o->y[o->at - i] = __ushort_as_half(bits);
	}
}

static __device__ __forceinline__ void put(out *o, __half value)
{
	o->low = o->low >> 16 | o->high << 48;
	o->high = o->high >> 16 | (uint64_t)__half_as_ushort(value) << 48;
	if (++o->at % 8 != 0)
		return;
	if (o->at - o->first >= 8)
		*(ulonglong2 *)(o->y + o->at - 8) = { o->low, o->high };
	else
		write_some(o, o->at - o->first);
}

static __global__ __launch_bounds__(THREADS) void write_kernel(work w)
{
	__shared__ gh__normal_tables tables;
	int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x, stream = i / w.segments, end;
	uint32_t s = (uint32_t)(i % w.segments), position, stop;
	gh_draws draws;
	out o;

	load_tables(&tables, w.tables);
	if (i >= w.total || w.place[i] >= w.numbers)
		return;
	draws = segment_at(&w, stream, s);
	for (position = 0; position < w.entry[i]; position++)
		gh_draw(&draws);
	stop = s == w.segments - 1 ? UINT32_MAX : GH_SEGMENT;
	o.y = w.y;
	o.at = o.first = stream * w.numbers + w.place[i];
	o.low = o.high = 0;
	end = (stream + 1) * w.numbers;
	while (position < stop && o.at < end) {
		double x = gh_normal(&tables, &draws, &position);

		put(&o, __float2half_rn(__double2float_rn(w.offset + w.scale * x)));
	}
	write_some(&o, o.at - o.first < o.at % 8 ? o.at - o.first : o.at % 8);
}

size_t gh__cuda_normals_workspace(const gh__normals_desc *desc, int64_t streams)
{
	return (size_t)(streams * (3 * segments_of(desc->numbers) + 1)) * sizeof(uint32_t);
}

int gh__cuda_normals(const gh__launch *on, const gh__normals_desc *desc,
		     const gh__normals_args *args)
{
	work w = {};
	unsigned blocks;
	cudaError_t code;

	if (args->m == 0)
		return cudaSuccess;
	w.stream = args->stream;
	w.tables = args->tables;
	w.y = (__half *)args->y;
	w.numbers = desc->numbers;
	w.segments = (uint32_t)segments_of(desc->numbers);
	w.total = args->m * w.segments;
	w.offset = desc->deviation != 0.0 ? 0.0 : -0.0; /* -0 changes nothing */
	w.scale = desc->deviation != 0.0 ? desc->deviation : 1.0;
	w.place = (uint32_t *)args->workspace;
	w.overhang = w.place + w.total;
	w.entry = w.overhang + w.total;
	w.broken = w.entry + w.total;
	code = cudaMemsetAsync(w.broken, 0xff, (size_t)args->m * sizeof *w.broken, on->stream);
	if (code != cudaSuccess)
		return (int)code;
	blocks = gh_blocks(w.total, THREADS);
	count_kernel<<<blocks, THREADS, 0, on->stream>>>(w);
	mend_kernel<<<blocks, THREADS, 0, on->stream>>>(w);
	place_kernel<<<(unsigned)args->m, ADDING, 0, on->stream>>>(w);
	write_kernel<<<blocks, THREADS, 0, on->stream>>>(w);
	return gh_launched();
}
