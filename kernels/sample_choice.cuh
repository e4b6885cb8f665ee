#ifndef GH_KERNELS_SAMPLE_CHOICE_CUH
#define GH_KERNELS_SAMPLE_CHOICE_CUH

#include "device/ln.h"
#include "device/philox.h"
#include "sample_work.cuh"

/* Steps 5 and 6 of sample.cu: from filtered logits to the token, its logprob and the most probable
 * ones. */

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

#endif
