#include "team.cuh"

#include "device/ln.h"
#include "device/philox.h"
#include "lanes.cuh"

#include <cuda_pipeline.h>

/*
 * From a row of logits to a token and its logprobs: the steps of device/cpu/sample.c, its twin, in
 * the same order and with the same roundings.
 *
 * A team of blocks has a row; each block has a run of the vocabulary, in units of 128 ids, and each
 * thread always the same fours of neighbouring ids in it. Whatever is a maximum, a count or a sum
 * of multiples of 2^-60 is exact, so threads and blocks form it as they come. The sums of
 * probabilities have an order: 32 chains, that one warp of the team's first block has; it passes
 * over groups of 32 ids that are all +0, which change nothing, so after a filter they are short.
 * Without one they are the longest part: vocab / 32 dependent additions.
 *
 * vocab elements read, and written and read again as f32 a few times, in cache.
 */
enum {
	THREADS = GH_TEAM_THREADS,
	FOUR = 4,
	UNIT = 32 * FOUR,      /* ids of a warp at once */
	TEAMS = 64,            /* at most at work at once: their memory is bounded */
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

struct job {
	gh__sample_args args;
	gh_team_counter *counters; /* [teams] */
	board *boards;             /* [teams] */
	char *memory;              /* [teams], each one's l, e and flags */
	size_t memory_size;
	int vocab, blocks;
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

/* ---- 1 to 3: logits ---- */

/* false: there is a NaN or +inf. */
template <typename T>
static __device__ bool load_logits(work &w, const gh__sample_row &row, const T *from)
{
	const bool aligned = (uintptr_t)from % (FOUR * sizeof(T)) == 0;
	bool good = true;

	for (int i = first_of(w); i < w.high; i += STEP) {
		uint32_t allowed = 0xf;
		gh_piece<T, FOUR> x;
		four v;

		if (row.allowed != NULL && i < w.vocab)
			allowed = row.allowed[i / 32] >> i % 32;
		if (aligned && i + FOUR <= w.vocab)
			x = *(const gh_piece<T, FOUR> *)(from + i);
#pragma unroll
		for (int j = 0; j < FOUR; j++) {
			if (!(aligned && i + FOUR <= w.vocab) && i + j < w.vocab)
				x.at[j] = from[i + j];
			v.at[j] = i + j < w.vocab ? gh_widen(x.at[j]) : -INFINITY;
			good &= v.at[j] <= 3.4028234663852886e38F;
			if (!(allowed >> j & 1))
				v.at[j] = -INFINITY;
		}
		four_at(w.l, i) = v;
	}
	return good;
}

/* A thread has all entries of its ids, in their order. */
template <typename T> static __device__ void add_bias(work &w, const gh__sample_row &row)
{
	for (int i = 0; i < row.bias_count; i++) {
		const int id = row.bias_id[i];

		if (is_mine(w, id))
			w.l[id] = gh_round<T>(__fadd_rn(w.l[id], row.bias[i]));
	}
}

static __device__ bool is_penalised(const gh__sample_row &row)
{
	return row.repetition != 1.0F || row.frequency != 0.0F || row.presence != 0.0F;
}

/* This block's ids: how often in the output, and the highest bit: in the prompt. */
static __device__ void count_tokens(work &w, const gh__sample_row &row)
{
	uint32_t *count = (uint32_t *)w.e;
	const int prompts = row.repetition != 1.0F ? row.prompt_count : 0;
	const int high = w.high < w.vocab ? w.high : w.vocab;

	for (int i = first_of(w); i < w.high; i += STEP)
		*(uint4 *)(count + i) = make_uint4(0, 0, 0, 0);
	__syncthreads();
	for (int i = threadIdx.x; i < prompts; i += THREADS) {
		if (row.prompt[i] >= w.low && row.prompt[i] < high)
			atomicOr(&count[row.prompt[i]], 0x80000000);
	}
	for (int i = threadIdx.x; i < row.output_count; i += THREADS) {
		if (row.output[i] >= w.low && row.output[i] < high)
			atomicAdd(&count[row.output[i]], 1);
	}
	__syncthreads();
}

template <typename T> static __device__ void penalise(work &w, const gh__sample_row &row)
{
	const float repetition = gh_round<T>(row.repetition);
	const float frequency = gh_round<T>(row.frequency);
	const float presence = gh_round<T>(row.presence);

	count_tokens(w, row);
	for (int i = first_of(w); i < w.high; i += STEP) {
		const uint4 counts = __ldcg((const uint4 *)((const uint32_t *)w.e + i));
		const uint32_t of[FOUR] = { counts.x, counts.y, counts.z, counts.w };

		for (int j = 0; j < FOUR; j++) {
			const int count = (int)(of[j] & 0x7fffffff);
			float l = w.l[i + j];

			if (of[j] == 0)
				continue;
			if (row.repetition != 1.0F)
				l = gh_round<T>(l > 0.0F ? __fdiv_rn(l, repetition)
							 : __fmul_rn(l, repetition));
			if (count > 0 && row.frequency != 0.0F)
				l = gh_round<T>(
					__fsub_rn(l, gh_round<T>(__fmul_rn(frequency,
									   gh_round<T>((
										   float)count)))));
			if (count > 0 && row.presence != 0.0F)
				l = gh_round<T>(__fsub_rn(l, presence));
			w.l[i + j] = l;
		}
	}
}

template <typename T> static __device__ __forceinline__ float most_finite();

template <> __device__ __forceinline__ float most_finite<float>()
{
	return 0x1.fffffep127F;
}

template <> __device__ __forceinline__ float most_finite<__half>()
{
	return 65504.0F;
}

template <> __device__ __forceinline__ float most_finite<__nv_bfloat16>()
{
	return 0x1.fep127F;
}

template <typename T> static __device__ float temperature_of(const gh__sample_row &row)
{
	float t = row.temperature > 0.01F ? row.temperature : 0.01F;

	if (row.temperature == 0.0F)
		return 1.0F;
	return gh_round<T>(t > most_finite<T>() ? most_finite<T>() : t);
}

/* What is known of a row's logits before they are filtered. */
struct extent {
	float max;        /* +inf: there is a NaN or +inf */
	float warp_floor; /* each of the team's warps has a logit that reaches it */
	float thread_floor;
};

static __device__ extent divide(work &w, float temperature, bool good)
{
	uint32_t most = key_of(-INFINITY);
	uint64_t found[3];

	for (int i = first_of(w); i < w.high; i += STEP) {
		four v = four_at(w.l, i);

#pragma unroll
		for (int j = 0; j < FOUR; j++) {
			if (temperature != 1.0F)
				v.at[j] = __fdiv_rn(v.at[j], temperature);
			if (v.at[j] > value_of(most))
				most = key_of(v.at[j]);
		}
		if (temperature != 1.0F)
			four_at(w.l, i) = v;
	}
	found[0] = good ? most : key_of(INFINITY);
	found[1] = (uint32_t)~__reduce_max_sync(0xffffffff, most);
	found[2] = (uint32_t)~most;
	gh_team_all<false>(w.team, found);
	return { value_of((uint32_t)found[0]), value_of(~(uint32_t)found[1]),
		 value_of(~(uint32_t)found[2]) };
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

/* ---- 4: filters ---- */

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

/* Logits below `least` go. */
static __device__ void drop_below(work &w, float least)
{
	for (int i = first_of(w); i < w.high; i += STEP) {
		four v = four_at(w.l, i);

#pragma unroll
		for (int j = 0; j < FOUR; j++)
			v.at[j] = v.at[j] < least ? -INFINITY : v.at[j];
		four_at(w.l, i) = v;
	}
}

/* -0 and 0 are one. */
static __device__ __forceinline__ uint32_t merged_key_of(float x)
{
	return key_of(__fadd_rn(x, 0.0F));
}

static __device__ void top_k(work &w, const gh__sample_row &row, const extent &all)
{
	const int k = row.top_k, threads = w.team.blocks * THREADS;
	const float floor = k <= threads / 32 ? all.warp_floor
			    : k <= threads    ? all.thread_floor
					      : -INFINITY;
	const int vocab = w.vocab;
	const uint32_t key = largest_key(w, k, [=](int id, float l, uint32_t *key) -> uint64_t {
		*key = merged_key_of(l);
		return id < vocab && floor <= l;
	});

	drop_below(w, value_of(key));
}

/* Of the tokens that equal the threshold, `count` in all, some may go too, the highest ids first;
 * the most probable token of all stays. below: the weight of what is dropped already. */
static __device__ void drop_equal(work &w, float least, bool spare, uint64_t below, uint64_t weight,
				  float most)
{
	uint64_t count[1] = { 0 };
	int low = 0, high, cut;

	for (int i = first_of(w); i < w.high; i += STEP) {
		const four l = four_at(w.l, i);

#pragma unroll
		for (int j = 0; j < FOUR; j++)
			count[0] += l.at[j] == least;
	}
	gh_team_all<true>(w.team, count);
	/* How many go: the largest number whose weights are dropped. */
	high = (int)count[0] - spare;
	while (low < high) {
		const int middle = high - (high - low) / 2;
		const uint64_t sum = below + (uint64_t)middle * weight;

		if (__fmul_rn(__ull2float_rn(sum), 0x1p-60F) <= most)
			low = middle;
		else
			high = middle - 1;
	}
	if (low <= 0)
		return;
	cut = (int)largest_key(w, low, [=](int id, float l, uint32_t *key) -> uint64_t {
		*key = (uint32_t)id;
		return l == least;
	});
	for (int i = first_of(w); i < w.high; i += STEP) {
		for (int j = 0; j < FOUR; j++) {
			if (i + j >= cut && w.l[i + j] == least)
				w.l[i + j] = -INFINITY;
		}
	}
}

template <typename T>
static __device__ void top_p(work &w, const gh__sample_row &row, const extent &all)
{
	const float sum = exponentials(w, all.max).sum, max = all.max;
	const float most = gh_round<T>(__fsub_rn(1.0F, gh_round<T>(row.top_p)));
	const float *e = w.e;
	/* A probability as a multiple of 2^-60. */
	const auto weigh = [=](float e) -> uint64_t {
		return __float2ull_rz(__fmul_rn(__fdiv_rn(e, sum), 0x1p60F));
	};
	uint64_t below;
	const uint32_t key = descend(
		w,
		[=](int id, float l, uint32_t *key) -> uint64_t {
			*key = merged_key_of(l);
			return l > -INFINITY ? weigh(e[id]) : 0;
		},
		[=](uint64_t sum, uint64_t) {
			return __fmul_rn(__ull2float_rn(sum), 0x1p-60F) <= most;
		},
		&below);
	const float least = key == UINT32_MAX ? max : value_of(key);

	if (key == UINT32_MAX) /* all of it is <= 1 - p */
		below = 0;
	drop_below(w, least);
	drop_equal(w, least, least == max, below, weigh(gh_exp(__fsub_rn(least, max))), most);
}

static __device__ void min_p(work &w, const gh__sample_row &row, const extent &all)
{
	const float sum = exponentials(w, all.max).sum;
	const float bound = __fmul_rn(row.min_p, __fdiv_rn(1.0F, sum));

	for (int i = first_of(w); i < w.high; i += STEP) {
		const four e = four_at(w.e, i);
		four l = four_at(w.l, i);

#pragma unroll
		for (int j = 0; j < FOUR; j++)
			l.at[j] = __fdiv_rn(e.at[j], sum) < bound ? -INFINITY : l.at[j];
		four_at(w.l, i) = l;
	}
}

/* ---- 5 and 6: choice and report ---- */

/* Of a value above 0 and an id: larger values first, then lower ids. */
static __device__ __forceinline__ uint64_t rank_key(uint32_t value, int id)
{
	return (uint64_t)value << 32 | ~(uint32_t)id;
}

static __device__ __forceinline__ double uniform_of(uint32_t word)
{
	return ((double)word + 0.5) * 0x1p-32;
}

/* The words of four ids, of which `id` is one: word id mod 4. */
static __device__ __forceinline__ void draw(uint32_t words[FOUR], const gh__sample_row &row, int id)
{
	const uint32_t counter[4] = { (uint32_t)id / FOUR, row.position, row.stream, 0 };
	uint64_t seed = row.seed;

	/* Else the keys of all rounds are kept in registers for the next draw. */
	asm volatile("" : "+l"(seed));
	gh__philox(words, counter, seed);
}

static __device__ __forceinline__ float race(float p, uint32_t word)
{
	return __fdiv_rn(p, (float)-gh__ln(uniform_of(word)));
}

/*
 * The id of the largest p / q. The most probable token is drawn for first, by every thread: others
 * are looked at only where they can win. -ln(u) >= 1 - u, which is at least ~word 2^-32; and no q
 * is below 1.1e-10.
 */
static __device__ int choose(work &w, const gh__sample_row &row, const survivors &left)
{
	const int first = left.first < 0 ? 0 : left.first;
	uint32_t words[FOUR], word;
	uint64_t best[1];
	float most;

	draw(words, row, first);
	word = first % 4 == 0   ? words[0]
	       : first % 4 == 1 ? words[1]
	       : first % 4 == 2 ? words[2]
				: words[3];
	most = race(__fdiv_rn(1.0F, left.sum), word);
	best[0] = rank_key(__float_as_uint(most), first);
	for (int i = first_of(w); i < w.high; i += STEP) {
		const four e = four_at(w.e, i);
		float p[FOUR];
		bool able = false;

#pragma unroll
		for (int j = 0; j < FOUR; j++) {
			p[j] = __fdiv_rn(e.at[j], left.sum);
			able |= p[j] > 0.0F && p[j] >= __fmul_rn(most, 1.1e-10F);
		}
		if (!able)
			continue;
		draw(words, row, i);
		/* One body, not four: a logarithm takes many registers. */
#pragma unroll 1
		for (int j = 0; j < FOUR; j++) {
			const float least = __fmul_rn((float)~words[0], 0x1p-32F);

			if (p[0] > 0.0F && p[0] >= __fmul_rn(__fmul_rn(least, most), 0.9998F)) {
				const float value = race(p[0], words[0]);
				const uint64_t key = rank_key(__float_as_uint(value), i + j);

				if (key > best[0]) {
					best[0] = key;
					most = value;
				}
			}
#pragma unroll
			for (int k = 0; k < FOUR - 1; k++) {
				p[k] = p[k + 1];
				words[k] = words[k + 1];
			}
		}
	}
	gh_team_all<false>(w.team, best);
	return (int)~(uint32_t)best[0];
}

/* logprob = (l - max) - ln(sum) */
struct logprobs {
	float max, log_sum;

	__device__ __forceinline__ float of(float l) const
	{
		return __fsub_rn(__fsub_rn(l, max), log_sum);
	}
};

/* The most probable tokens of this block's ids, by falling logprob, then id, to the board. */
static __device__ void list_top(work &w, const logprobs &log, int top)
{
	uint64_t limit = UINT64_MAX, best = 0;

	for (int n = 0; n < top; n++) {
		uint64_t most[1];

		/* Whose best one was taken, and at first all of them, look for the next. */
		if (n == 0 || best == limit) {
			best = 0;
			for (int i = first_of(w); i < w.high; i += STEP) {
				const four l = four_at(w.l, i);

#pragma unroll
				for (int j = 0; j < FOUR; j++) {
					const uint64_t key =
						rank_key(merged_key_of(log.of(l.at[j])), i + j);

					if (i + j < w.vocab && key < limit && key > best)
						best = key;
				}
			}
		}
		most[0] = best;
		gh_block_all<false>(w.team, most);
		limit = most[0];
		if (threadIdx.x == 0)
			w.all->top[w.team.block][n] = limit;
	}
}

/* All blocks' lists into one; in the first block. A key's place is how many are above it. */
static __device__ void merge_top(work &w, int top, int count, gh__sample_result *out)
{
	const int keys = w.team.blocks * top;

	__syncthreads();
	for (int i = threadIdx.x; i < keys; i += THREADS)
		w.keys[i] = __ldcg(&w.all->top[i / top][i % top]);
	__syncthreads();
	for (int i = threadIdx.x; i < keys; i += THREADS) {
		const uint64_t key = w.keys[i];
		int place = 0;

		for (int j = 0; j < keys; j++)
			place += w.keys[j] > key;
		if (key != 0 && place < count) {
			out->top_id[place] = (int32_t) ~(uint32_t)key;
			out->top_logprob[place] = value_of((uint32_t)(key >> 32));
		}
	}
}

/* Nothing chosen: what a result is at first. By the first block's threads. */
static __device__ void clear(gh__sample_result *out)
{
	static_assert(sizeof(*out) % 4 == 0, "a result is not whole words");
	for (int i = threadIdx.x; i < (int)(sizeof(*out) / 4); i += THREADS)
		((int32_t *)out)[i] = 0;
	__syncthreads();
	if (threadIdx.x == 0) {
		out->token = -1;
		out->logprob = -INFINITY;
	}
}

/* From filtered logits to the result. */
static __device__ void report(work &w, const gh__sample_row &row, float max, gh__sample_result *out)
{
	const survivors left = exponentials(w, max);
	const logprobs log = { left.max, (float)gh__ln(left.sum) };
	const float most = log.of(left.max);
	const bool greedy = row.forced < 0 && row.temperature == 0.0F;
	const int wanted = row.top < GH__TOP_MAX ? row.top : GH__TOP_MAX;
	const int top = wanted < w.vocab ? wanted : w.vocab;
	int token = row.forced;
	float logprob = -INFINITY;
	uint64_t first[1] = { 0 }, above[1] = { 0 };

	if (row.forced < 0 && !greedy)
		token = choose(w, row, left);
	if (top > 0)
		list_top(w, log, top);
	if (greedy) {
		/* The lowest id of those whose logprobs, not logits, are the largest. */
		for (int i = first_of(w); i < w.high; i += STEP) {
			const four l = four_at(w.l, i);

#pragma unroll
			for (int j = 0; j < FOUR; j++) {
				if (log.of(l.at[j]) == most && first[0] == 0)
					first[0] = ~(uint32_t)(i + j);
			}
		}
		gh_team_all<false>(w.team, first);
		token = first[0] != 0 ? (int)~(uint32_t)first[0] : -1;
		logprob = first[0] != 0 ? most : -INFINITY;
	} else {
		if (token < w.vocab)
			logprob = log.of(__ldcg(&w.l[token]));
		for (int i = first_of(w); i < w.high; i += STEP) {
			const four l = four_at(w.l, i);

#pragma unroll
			for (int j = 0; j < FOUR; j++)
				above[0] += log.of(l.at[j]) > logprob;
		}
		gh_team_all<true>(w.team, above);
	}
	if (w.team.block != 0)
		return;
	clear(out);
	if (threadIdx.x == 0) {
		out->token = token;
		out->logprob = logprob;
		out->rank = 1 + (int)above[0];
		out->top_count = top > 0 ? top : 0;
	}
	if (top > 0)
		merge_top(w, top, top, out);
}

/* ---- rows ---- */

template <typename T>
static __device__ void sample_row(work &w, const gh__sample_args &args, int64_t index)
{
	const gh__sample_row &row = args.row[index];
	const bool random = row.temperature != 0.0F;
	const bool good = load_logits(w, row, (const T *)args.logits + row.row * args.stride);
	extent all;

	add_bias<T>(w, row);
	if (is_penalised(row))
		penalise<T>(w, row);
	all = divide(w, temperature_of<T>(row), good);
	if (!(all.max > -INFINITY && all.max < INFINITY)) {
		if (w.team.block == 0)
			clear(&args.result[index]);
		return;
	}
	if (random && row.top_k > 0 && row.top_k < w.vocab)
		top_k(w, row, all);
	if (random && row.top_p < 1.0F)
		top_p<T>(w, row, all);
	if (random && row.min_p > 0.0F)
		min_p(w, row, all);
	report(w, row, all.max, &args.result[index]);
}

template <typename T>
static __global__ void __launch_bounds__(THREADS, 2) sample_kernel(const job job)
{
	__shared__ work w;
	const int teams = gridDim.x / job.blocks, team = blockIdx.x / job.blocks;
	const int block = blockIdx.x % job.blocks;
	const int64_t size = padded(job.vocab), units = size / UNIT;

	if (threadIdx.x == 0) {
		w.all = &job.boards[team];
		w.team.counter = &job.counters[team];
		w.team.slots = &w.all->slots;
		w.team.block = block;
		w.team.blocks = job.blocks;
		w.team.turn = 0;
		w.l = (float *)(job.memory + team * job.memory_size);
		w.e = w.l + size;
		w.flags = (uint8_t *)(w.e + size);
		w.vocab = job.vocab;
		w.low = (int)(units * block / job.blocks) * UNIT;
		w.high = (int)(units * (block + 1) / job.blocks) * UNIT;
		w.bins = 0;
	}
	__syncthreads();
	for (int i = threadIdx.x; i < BINS && block == 0; i += THREADS)
		w.all->bins[0][i] = 0;
	for (int64_t i = team; i < job.args.m; i += teams)
		sample_row<T>(w, job.args, i);
}

/* ---- launch ---- */

/* One team's l, e and flags. */
static size_t memory_of(int64_t vocab)
{
	const size_t size = (size_t)padded(vocab);

	return (size * 2 * sizeof(float) + size / UNIT + 255) / 256 * 256;
}

static int64_t teams_of(int64_t rows)
{
	return rows < (int)TEAMS ? rows : (int)TEAMS;
}

extern "C" size_t gh__cuda_sample_workspace(const gh__sample_desc *desc, int64_t rows)
{
	const size_t teams = (size_t)teams_of(rows);

	return teams * (sizeof(gh_team_counter) + sizeof(board) + 255 + memory_of(desc->vocab));
}

/* Blocks that are at work at the same time are shared out among the rows, or else rows take turns.
 * More blocks than have a few ids a thread would only wait for each other. */
template <typename T> static int sample(const gh__launch *on, job *job)
{
	const int64_t useful = (job->vocab + STEP - 1) / STEP;
	const int64_t most = useful < (int)GH_TEAM_BLOCKS ? useful : (int)GH_TEAM_BLOCKS;
	int64_t teams = teams_of(job->args.m), room;
	cudaLaunchAttribute together = {};
	cudaLaunchConfig_t config = {};
	int a_unit = 0;
	cudaError_t code = cudaOccupancyMaxActiveBlocksPerMultiprocessor(&a_unit, sample_kernel<T>,
									 THREADS, 0);

	if (code != cudaSuccess)
		return (int)code;
	room = (int64_t)a_unit * on->units;
	teams = teams < room ? teams : room;
	job->blocks = (int)(room / teams < most ? room / teams : most);
	if (job->blocks > 1)
		code = cudaMemsetAsync(job->counters, 0, (size_t)teams * sizeof(*job->counters),
				       on->stream);
	if (code != cudaSuccess)
		return (int)code;
	together.id = cudaLaunchAttributeCooperative;
	together.val.cooperative = 1;
	config.gridDim = dim3((unsigned)(teams * job->blocks));
	config.blockDim = dim3(THREADS);
	config.stream = on->stream;
	config.attrs = &together;
	config.numAttrs = job->blocks > 1;
	return (int)cudaLaunchKernelEx(&config, sample_kernel<T>, *job);
}

extern "C" int gh__cuda_sample(const gh__launch *on, const gh__sample_desc *desc,
			       const gh__sample_args *args, void *workspace)
{
	const int64_t teams = teams_of(args->m);
	job job = {};

	if (args->m == 0)
		return 0;
	job.args = *args;
	job.vocab = (int)desc->vocab;
	job.memory_size = memory_of(desc->vocab);
	job.memory = (char *)workspace;
	job.counters = (gh_team_counter *)(job.memory + teams * job.memory_size);
	job.boards = (board *)(job.counters + teams);
	if (desc->logits == GH_F16)
		return sample<__half>(on, &job);
	if (desc->logits == GH_BF16)
		return sample<__nv_bfloat16>(on, &job);
	return sample<float>(on, &job);
}
