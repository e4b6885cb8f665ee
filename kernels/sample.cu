#include "sample_choice.cuh"

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
enum { TEAMS = 64 }; /* at most at work at once: their memory is bounded */

struct job {
	gh__sample_args args;
	gh_team_counter *counters; /* [teams] */
	board *boards;             /* [teams] */
	char *memory;              /* [teams], each one's l, e and flags */
	size_t memory_size;
	int vocab, blocks;
};

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

/* ---- 4: filters ---- */

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
