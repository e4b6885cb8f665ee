#ifndef GH_KERNELS_SAMPLE_WORK_CUH
#define GH_KERNELS_SAMPLE_WORK_CUH

#include <cuda_pipeline.h>

#include "lanes.cuh"
#include "team.cuh"

/*
 * What the steps of sample.cu work with: a row's logits, shared out among a team, sums of
 * probabilities in their one order, and the search for a threshold among exact sums.
 */
enum {
	THREADS = GH_TEAM_THREADS,
	FOUR = 4,
	UNIT = 32 * FOUR,      /* ids of a warp at once */
	BINS = 2048,           /* of one level of a descent */
	TILE = 64,             /* groups of 32 ids on their way to the chains at once */
	STAGES = 4,            /* tiles on their way */
	SEGMENT = 2 * THREADS, /* units whose groups are listed at once */
	KEYS = GH_TEAM_BLOCKS * GH__TOP_MAX
};

/* What a team's blocks share. */
struct board {
	gh_team_slots slots;
	float sum;
	uint64_t top[GH_TEAM_BLOCKS][GH__TOP_MAX];
	uint64_t bins[3][BINS]; /* the one in use, the next one, which is zeros, and the last */
};

/* A block's shared memory: where its row is worked on, and by whom. */
struct work {
	gh_team team;
	board *all;
	float *l;       /* [padded] logits as they are worked on; padding is -inf */
	float *e;       /* [padded] exp(l - max); before that, counts of the penalties */
	uint8_t *flags; /* [units] which of a unit's groups of 32 are not all +0 in e */
	int vocab;
	int low, high; /* this block's ids */
	int bins;      /* of the board, in use */
	uint32_t bin;  /* what a descent found, and the weight below it */
	uint64_t below;
	union {
		struct {
			uint32_t weight_low[BINS], weight_high[BINS];
		};
		struct {
			alignas(16) float tile[STAGES][TILE][32];
			uint16_t list[4 * SEGMENT];
		};
		uint64_t keys[KEYS];
	};
};

using four = gh_piece<float, FOUR>;

static __host__ __device__ int64_t padded(int64_t vocab)
{
	return (vocab + UNIT - 1) / UNIT * UNIT;
}

static __device__ __forceinline__ int first_of(work &w)
{
	return w.low + (int)threadIdx.x * FOUR;
}

static constexpr int STEP = THREADS * FOUR;

static __device__ __forceinline__ bool is_mine(work &w, int id)
{
	return id >= w.low && id < w.high && id < w.vocab &&
	       (id - w.low) / FOUR % THREADS == (int)threadIdx.x;
}

static __device__ __forceinline__ four &four_at(float *x, int i)
{
	return *(four *)(x + i);
}

/* A number whose unsigned order is the order of floats (no NaN), above 0; and back. */
static __device__ __forceinline__ uint32_t key_of(float x)
{
	const uint32_t bits = __float_as_uint(x);

	return bits >> 31 ? ~bits : bits | 0x80000000;
}

static __device__ __forceinline__ float value_of(uint32_t key)
{
	return __uint_as_float(key >> 31 ? key & 0x7fffffff : ~key);
}

/* -0 and 0 are one. */
static __device__ __forceinline__ uint32_t merged_key_of(float x)
{
	return key_of(__fadd_rn(x, 0.0F));
}

/* ---- sums of probabilities ---- */

/* Which of SEGMENT units' groups are to be added, from unit `first` on, into the list; how many. */
static __device__ int list_groups(work &w, int first, int units)
{
	const int unit = 2 * (int)threadIdx.x;
	uint32_t bits = 0;
	uint64_t total;
	int at;

	if (unit < units)
		bits = __ldcg(&w.flags[first + unit]);
	if (unit + 1 < units)
		bits |= (uint32_t)__ldcg(&w.flags[first + unit + 1]) << 4;
	at = (int)gh_block_scan(w.team, __popc(bits), &total);
	for (; bits != 0; bits &= bits - 1)
		w.list[at++] = (uint16_t)(4 * unit + __ffs((int)bits) - 1);
	__syncthreads();
	return (int)total;
}

/* Tile `tile` of the listed groups, from e, on its way: 16 bytes a thread. */
static __device__ __forceinline__ void fetch(work &w, const float *e, int tile, int groups)
{
	const int in_tile = threadIdx.x / 8, part = threadIdx.x % 8 * FOUR;
	const int group = tile * TILE + in_tile;

	static_assert(THREADS == TILE * 8, "a tile is not 16 bytes a thread");
	if (group < groups)
		__pipeline_memcpy_async(&w.tile[tile % STAGES][in_tile][part],
					e + w.list[group] * 32 + part, 16);
	__pipeline_commit();
}

/* The sum of e, in the order of the 32 lanes; in the first warp. */
static __device__ float add_up(work &w)
{
	const int units = (int)(padded(w.vocab) / UNIT), lane = threadIdx.x % 32;
	float sum = 0.0F;

	for (int first = 0; first < units; first += SEGMENT) {
		const int left = units - first < SEGMENT ? units - first : SEGMENT;
		const int groups = list_groups(w, first, left);
		const float *e = w.e + (int64_t)first * UNIT;

		for (int tile = 0; tile < STAGES - 1; tile++)
			fetch(w, e, tile, groups);
		for (int tile = 0; tile * TILE < groups; tile++) {
			const float(*at)[32] = w.tile[tile % STAGES];
			const int count = groups - tile * TILE;

			__pipeline_wait_prior(STAGES - 2);
			__syncthreads();
			fetch(w, e, tile + STAGES - 1, groups);
			if (threadIdx.x >= 32)
				continue;
			if (count >= TILE) {
#pragma unroll
				for (int i = 0; i < TILE; i++)
					sum = __fadd_rn(sum, at[i][lane]);
			} else {
				for (int i = 0; i < count; i++)
					sum = __fadd_rn(sum, at[i][lane]);
			}
		}
		__pipeline_wait_prior(0);
		__syncthreads();
	}
	return gh_sum_lanes(sum);
}

/* What is known of the logits that are left. */
struct survivors {
	float sum; /* of e */
	float max; /* the largest, with its sign of zero */
	int first; /* the lowest id that has it */
};

/* e = exp(l - max), and their sum. */
static __device__ __noinline__ survivors exponentials(work &w, float max)
{
	const int lane = threadIdx.x % 32;
	uint64_t found[2] = { 0, 0 };
	float sum;

	for (int i = first_of(w); i < w.high; i += STEP) {
		const four l = four_at(w.l, i);
		bool some = false;
		uint32_t lanes;
		four e;

#pragma unroll
		for (int j = 0; j < FOUR; j++) {
			e.at[j] = gh_exp(__fsub_rn(l.at[j], max));
			some |= e.at[j] != 0.0F;
			if (l.at[j] == max && key_of(l.at[j]) > found[0])
				found[0] = key_of(l.at[j]);
			if (l.at[j] == max && found[1] == 0)
				found[1] = ~(uint32_t)(i + j);
		}
		four_at(w.e, i) = e;
		lanes = __ballot_sync(0xffffffff, some);
		if (lane == 0)
			w.flags[i / UNIT] =
				(uint8_t)(((lanes & 0xff) != 0) | ((lanes & 0xff00) != 0) << 1 |
					  ((lanes & 0xff0000) != 0) << 2 |
					  ((lanes & 0xff000000) != 0) << 3);
	}
	gh_team_all<false>(w.team, found);
	if (w.team.block == 0) {
		sum = add_up(w);
		if (threadIdx.x == 0)
			w.all->sum = sum;
	}
	gh_team_meet(w.team);
	return { __ldcg(&w.all->sum), value_of((uint32_t)found[0]), ~(int)(uint32_t)found[1] };
}

/* ---- thresholds ---- */

/*
 * The smallest key that is not dropped whole when weights are added up from the smallest key on,
 * and the weight of all smaller ones; all dropped: UINT32_MAX. visit(id, l, &key) answers a weight,
 * dropped(sum, total) grows from true to false. A radix descent over the keys, 11, 11 and 10 bits.
 */
template <typename Visit, typename Dropped>
static __device__ uint32_t descend(work &w, const Visit &visit, const Dropped &dropped,
				   uint64_t *below)
{
	uint32_t prefix = 0;
	uint64_t total = 0;

	*below = 0;
	for (int level = 0; level < 3; level++) {
		const int shift = level == 0 ? 21 : level == 1 ? 10 : 0;
		const uint32_t mask = level < 2 ? 2047 : 1023;
		const uint32_t open = level == 0 ? 0 : level == 1 ? 0xffe00000 : 0xfffffc00;
		unsigned long long *bins = (unsigned long long *)w.all->bins[w.bins];
		uint64_t held[BINS / THREADS], sum = 0, whole;

		const int next = (w.bins + 1) % 3;

		__syncthreads();
		for (int i = threadIdx.x; i < BINS; i += THREADS) {
			w.weight_low[i] = w.weight_high[i] = 0;
			if (w.team.block == 0)
				w.all->bins[next][i] = 0;
		}
		if (threadIdx.x == 0) {
			w.bins = next;
			w.bin = BINS;
		}
		__syncthreads();
		for (int i = first_of(w); i < w.high; i += STEP) {
			const four l = four_at(w.l, i);

#pragma unroll
			for (int j = 0; j < FOUR; j++) {
				uint32_t key, old, high;
				const uint64_t weight = visit(i + j, l.at[j], &key);

				if (weight == 0 || ((key ^ prefix) & open) != 0)
					continue;
				key = key >> shift & mask;
				old = atomicAdd(&w.weight_low[key], (uint32_t)weight);
				high = (uint32_t)(weight >> 32) + (old + (uint32_t)weight < old);
				if (high != 0)
					atomicAdd(&w.weight_high[key], high);
			}
		}
		__syncthreads();
		for (int i = threadIdx.x; i < BINS; i += THREADS) {
			const uint64_t weight = (uint64_t)w.weight_high[i] << 32 | w.weight_low[i];

			if (weight != 0)
				atomicAdd(&bins[i], (unsigned long long)weight);
		}
		gh_team_meet(w.team);
#pragma unroll
		for (int i = 0; i < BINS / THREADS; i++) {
			held[i] = __ldcg(&bins[threadIdx.x * (BINS / THREADS) + i]);
			sum += held[i];
		}
		sum = *below + gh_block_scan(w.team, sum, &whole);
		if (level == 0)
			total = whole;
#pragma unroll
		for (int i = 0; i < BINS / THREADS; i++) {
			const uint32_t bin = threadIdx.x * (BINS / THREADS) + i;

			if (!dropped(sum + held[i], total) && (bin == 0 || dropped(sum, total))) {
				w.bin = bin;
				w.below = sum;
			}
			sum += held[i];
		}
		__syncthreads();
		if (w.bin == BINS)
			return UINT32_MAX;
		*below = w.below;
		prefix |= w.bin << shift;
	}
	return prefix;
}

/* The k-th largest key among those that visit() gives the weight 1; there are as many. */
template <typename Visit> static __device__ uint32_t largest_key(work &w, int k, const Visit &visit)
{
	uint64_t below;

	return descend(
		w, visit, [=](uint64_t sum, uint64_t total) { return sum <= total - (uint64_t)k; },
		&below);
}

#endif
