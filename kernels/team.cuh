#ifndef GH_KERNELS_TEAM_CUH
#define GH_KERNELS_TEAM_CUH

#include "common.cuh"

/*
 * A team: blocks that work on one thing together and wait for each other, all of them at work at
 * the same time (a cooperative launch sees to that); a block alone is one too. What they tell each
 * other are maxima and sums of whole numbers, so who comes when decides nothing.
 *
 * Waiting makes what the blocks have written visible to the team; what another block has written is
 * read with __ldcg(), past this multiprocessor's cache.
 */
enum {
	GH_TEAM_THREADS = 512,
	GH_TEAM_WARPS = GH_TEAM_THREADS / 32,
	GH_TEAM_BLOCKS = 32, /* at most: one for each thread of a warp */
	GH_TEAM_WORDS = 3    /* told at once, at most */
};

struct alignas(128) gh_team_counter {
	unsigned arrived; /* 0 before the launch */
};

/* Two turns: what was told last may still be read. */
struct gh_team_slots {
	uint64_t at[2][GH_TEAM_BLOCKS][GH_TEAM_WORDS];
};

/* In shared memory: it is the block's. */
struct gh_team {
	gh_team_counter *counter;
	gh_team_slots *slots;
	int block, blocks;
	int turn;
	uint64_t part[GH_TEAM_WARPS][GH_TEAM_WORDS];
};

/* All threads of all blocks. */
static __device__ __forceinline__ void gh_team_meet(const gh_team &team)
{
	__syncthreads();
	if (team.blocks == 1)
		return;
	if (threadIdx.x == 0) {
		volatile unsigned *arrived = &team.counter->arrived;
		unsigned goal;

		__threadfence();
		goal = atomicAdd(&team.counter->arrived, 1) / team.blocks * team.blocks +
		       team.blocks;
		while (*arrived < goal) {
		}
		__threadfence();
	}
	__syncthreads();
}

template <bool sum> static __device__ __forceinline__ uint64_t gh_warp_all(uint64_t x)
{
#pragma unroll
	for (int step = 16; step > 0; step /= 2) {
		const uint64_t other = __shfl_xor_sync(0xffffffff, x, step);

		x = sum ? x + other : x > other ? x : other;
	}
	return x;
}

/* v: the sums, or the maxima, over the block's threads, in all of them. */
template <bool sum, int words>
static __device__ __forceinline__ void gh_block_all(gh_team &team, uint64_t (&v)[words])
{
	const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;

#pragma unroll
	for (int i = 0; i < words; i++)
		v[i] = gh_warp_all<sum>(v[i]);
	__syncthreads(); /* the last ones have been read */
#pragma unroll
	for (int i = 0; i < words && lane == 0; i++)
		team.part[warp][i] = v[i];
	__syncthreads();
#pragma unroll
	for (int i = 0; i < words; i++)
		v[i] = gh_warp_all<sum>(lane < GH_TEAM_WARPS ? team.part[lane][i] : 0);
}

/* Over the threads of the whole team; all have met. */
template <bool sum, int words>
static __device__ __forceinline__ void gh_team_all(gh_team &team, uint64_t (&v)[words])
{
	static_assert(words <= GH_TEAM_WORDS, "slots are too few");
	uint64_t(*slots)[GH_TEAM_WORDS] = team.slots->at[team.turn];
	const int lane = threadIdx.x % 32;

	gh_block_all<sum>(team, v);
	if (team.blocks == 1)
		return;
	if (threadIdx.x == 0) {
#pragma unroll
		for (int i = 0; i < words; i++)
			slots[team.block][i] = v[i];
		team.turn ^= 1;
	}
	gh_team_meet(team);
#pragma unroll
	for (int i = 0; i < words; i++)
		v[i] = gh_warp_all<sum>(lane < team.blocks ? __ldcg(&slots[lane][i]) : 0);
}

/* The sum over the block's threads before this one; *total: over all of them. */
static __device__ __forceinline__ uint64_t gh_block_scan(gh_team &team, uint64_t x, uint64_t *total)
{
	const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
	uint64_t upto = x, part;

#pragma unroll
	for (int step = 1; step < 32; step *= 2) {
		const uint64_t other = __shfl_up_sync(0xffffffff, upto, step);

		upto += lane >= step ? other : 0;
	}
	__syncthreads();
	if (lane == 31)
		team.part[warp][0] = upto;
	__syncthreads();
	part = lane < GH_TEAM_WARPS ? team.part[lane][0] : 0;
	*total = gh_warp_all<true>(part);
	return gh_warp_all<true>(lane < warp ? part : 0) + upto - x;
}

#endif
