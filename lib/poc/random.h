#ifndef GH_POC_RANDOM_H
#define GH_POC_RANDOM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * NumPy's SeedSequence and PCG64, to the bit. All arithmetic wraps.
 */
__extension__ typedef unsigned __int128 gh__u128;

#define GH__SEED_POOL 4

/* Mix any number of entropy words into a pool; missing words count as 0. */
void gh__seed_mix(uint32_t pool[GH__SEED_POOL], const uint32_t *words, size_t count);

/* Seed words out of a pool. */
void gh__seed_draw(uint64_t *out, size_t count, const uint32_t pool[GH__SEED_POOL]);

/* One stream, owned by whoever draws from it. */
typedef struct gh__pcg64 {
	gh__u128 state;
	gh__u128 inc; /* odd; chooses the stream */
	uint32_t half;
	bool has_half; /* half is the upper part of a draw whose lower part was given out */
} gh__pcg64;

#define GH__PCG64_MULTIPLIER \
	((gh__u128)UINT64_C(0x2360ed051fc65da4) << 64 | UINT64_C(0x4385df649fccf645))

/* As default_rng(SeedSequence(words)). */
void gh__pcg64_seed(gh__pcg64 *rng, const uint32_t *words, size_t count);

/* What a number of draws does to a state: state * multiplier + increment. */
typedef struct gh__pcg64_leap {
	gh__u128 multiplier;
	gh__u128 increment;
} gh__pcg64_leap;

gh__pcg64_leap gh__pcg64_leap_of(const gh__pcg64 *rng, uint64_t draws);

/* Pass over this many 64-bit draws; a half that is kept stays kept. */
void gh__pcg64_jump(gh__pcg64 *rng, uint64_t draws);

/* The output of a state that has just been stepped to. */
static inline uint64_t gh__pcg64_output(gh__u128 state)
{
	uint64_t folded = (uint64_t)(state >> 64) ^ (uint64_t)state;
	unsigned turn = (unsigned)(state >> 122);

	return folded >> turn | folded << (-turn & 63);
}

static inline uint64_t gh__pcg64_draw(gh__pcg64 *rng)
{
	rng->state = rng->state * GH__PCG64_MULTIPLIER + rng->inc;
	return gh__pcg64_output(rng->state);
}

/* The lower half of a draw, then its upper half. */
static inline uint32_t gh__pcg64_draw32(gh__pcg64 *rng)
{
	uint64_t draw;

	if (rng->has_half) {
		rng->has_half = false;
		return rng->half;
	}
	draw = gh__pcg64_draw(rng);
	rng->has_half = true;
	rng->half = (uint32_t)(draw >> 32);
	return (uint32_t)draw;
}

/* Uniform in [0, 1), a multiple of 2^-53. */
static inline double gh__pcg64_unit(gh__pcg64 *rng)
{
	return (double)(gh__pcg64_draw(rng) >> 11) * 0x1p-53;
}

#endif
