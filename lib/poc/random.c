#include "poc/random.h"

/* ---- SeedSequence ---- */

typedef struct scrambler {
	uint32_t word;
	uint32_t multiplier;
} scrambler;

static uint32_t scramble(scrambler *s, uint32_t value)
{
	value ^= s->word;
	s->word *= s->multiplier;
	value *= s->word;
	return value ^ value >> 16;
}

static uint32_t fold(uint32_t a, uint32_t b)
{
	uint32_t t = UINT32_C(0xca01f9dd) * a - UINT32_C(0x4973f715) * b;

	return t ^ t >> 16;
}

void gh__seed_mix(uint32_t pool[GH__SEED_POOL], const uint32_t *words, size_t count)
{
	scrambler s = { UINT32_C(0x43b0d7e5), UINT32_C(0x931e8875) };

	for (size_t i = 0; i < GH__SEED_POOL; i++)
		pool[i] = scramble(&s, i < count ? words[i] : 0);
	for (size_t from = 0; from < GH__SEED_POOL; from++)
		for (size_t to = 0; to < GH__SEED_POOL; to++)
			if (to != from)
				pool[to] = fold(pool[to], scramble(&s, pool[from]));
	for (size_t i = GH__SEED_POOL; i < count; i++)
		for (size_t to = 0; to < GH__SEED_POOL; to++)
			pool[to] = fold(pool[to], scramble(&s, words[i]));
}

void gh__seed_draw(uint64_t *out, size_t count, const uint32_t pool[GH__SEED_POOL])
{
	scrambler s = { UINT32_C(0x8b51f9dd), UINT32_C(0x58f38ded) };

	for (size_t i = 0; i < count; i++) {
		uint64_t low = scramble(&s, pool[2 * i % GH__SEED_POOL]);

		out[i] = low | (uint64_t)scramble(&s, pool[(2 * i + 1) % GH__SEED_POOL]) << 32;
	}
}

/* ---- PCG64 ---- */

void gh__pcg64_seed(gh__pcg64 *rng, const uint32_t *words, size_t count)
{
	uint32_t pool[GH__SEED_POOL];
	uint64_t q[4];

	gh__seed_mix(pool, words, count);
	gh__seed_draw(q, 4, pool);
	*rng = (gh__pcg64){ .inc = ((gh__u128)q[2] << 64 | q[3]) << 1 | 1 };
	rng->state = rng->inc + ((gh__u128)q[0] << 64 | q[1]);
	rng->state = rng->state * GH__PCG64_MULTIPLIER + rng->inc;
}

/* By repeated squaring. */
gh__pcg64_leap gh__pcg64_leap_of(const gh__pcg64 *rng, uint64_t draws)
{
	gh__pcg64_leap leap = { 1, 0 };
	gh__pcg64_leap power = { GH__PCG64_MULTIPLIER, rng->inc };

	for (; draws > 0; draws >>= 1) {
		if (draws & 1) {
			leap.multiplier *= power.multiplier;
			leap.increment = leap.increment * power.multiplier + power.increment;
		}
		power.increment *= power.multiplier + 1;
		power.multiplier *= power.multiplier;
	}
	return leap;
}

void gh__pcg64_jump(gh__pcg64 *rng, uint64_t draws)
{
	gh__pcg64_leap leap = gh__pcg64_leap_of(rng, draws);

	rng->state = rng->state * leap.multiplier + leap.increment;
}
