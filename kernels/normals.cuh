#ifndef GH_KERNELS_NORMALS_CUH
#define GH_KERNELS_NORMALS_CUH

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "device/ops.h"

/*
 * One segment of a stream of normal numbers, by one thread: what lib/poc/random.h, normal.h and
 * normals.c have for the host, with the same roundings. Only exp and log1p are the device's own.
 * Their last bits decide a comparison, or are some forty bits below those of an f16; that either
 * shows is less likely than one in a million for a pool of 10^9 numbers.
 */
__extension__ typedef unsigned __int128 gh_u128;

/* Draws of a segment. */
enum { GH_SEGMENT = 1024 };

#define GH_PCG64_MULTIPLIER ((gh_u128)0x2360ed051fc65da4 << 64 | 0x4385df649fccf645)

/* Where the tail begins. */
#define GH_TAIL_START   0x1.d3bb48209ad33p+1
#define GH_TAIL_INVERSE 0x1.183aa6c20e8c1p-2

typedef struct gh_draws {
	gh_u128 state, inc;
} gh_draws;

__device__ __forceinline__ gh_u128 gh_wide(const uint64_t half[2])
{
	return (gh_u128)half[1] << 64 | half[0];
}

__device__ __forceinline__ uint64_t gh_draw(gh_draws *d)
{
	uint64_t folded;
	unsigned turn;

	d->state = d->state * GH_PCG64_MULTIPLIER + d->inc;
	folded = (uint64_t)(d->state >> 64) ^ (uint64_t)d->state;
	turn = (unsigned)(d->state >> 122);
	return folded >> turn | folded << (-turn & 63);
}

__device__ __forceinline__ double gh_unit(gh_draws *d)
{
	return (double)(int64_t)(gh_draw(d) >> 11) * 0x1p-53;
}

/* What 2^i segments of draws do to a state: state * multiplier + inc * sum. */
enum { GH_LEAPS = 32 };

typedef struct gh_leaps {
	gh_u128 multiplier[GH_LEAPS], sum[GH_LEAPS];
} gh_leaps;

constexpr gh_leaps gh_leaps_make()
{
	gh_leaps leaps = {};
	gh_u128 multiplier = GH_PCG64_MULTIPLIER, sum = 1;

	for (int i = 1; i < GH_SEGMENT; i *= 2) {
		sum *= multiplier + 1;
		multiplier *= multiplier;
	}
	for (int i = 0; i < GH_LEAPS; i++) {
		leaps.multiplier[i] = multiplier;
		leaps.sum[i] = sum;
		sum *= multiplier + 1;
		multiplier *= multiplier;
	}
	return leaps;
}

/* A stream at the first draw of a segment. */
__device__ __forceinline__ gh_draws gh_segment_at(const gh__normals_stream *stream,
						  const gh_leaps *leaps, uint32_t segment)
{
	gh_draws d = { gh_wide(stream->state), gh_wide(stream->inc) };

	for (int i = 0; segment > 0; i++, segment >>= 1)
		if (segment & 1)
			d.state = d.state * leaps->multiplier[i] + d.inc * leaps->sum[i];
	return d;
}

__device__ __forceinline__ double gh_tail(gh_draws *d, uint64_t place, uint32_t *position)
{
	double a, b;

	do {
		a = -GH_TAIL_INVERSE * log1p(-gh_unit(d));
		b = -log1p(-gh_unit(d));
		*position += 2;
	} while (!(b + b > a * a));
	/* the sign of a tail comes from another bit than that of the layers */
	return place >> 8 & 1 ? -(GH_TAIL_START + a) : GH_TAIL_START + a;
}

/* The next sample; *position grows by the draws that it took. */
__device__ __forceinline__ double gh_normal(const gh__normal_tables *tables, gh_draws *d,
					    uint32_t *position)
{
	for (;;) {
		uint64_t draw = gh_draw(d), place = draw >> 9 & UINT64_MAX >> 12;
		unsigned layer = draw & 0xff;
		double x = (double)(int64_t)place * tables->w[layer];

		x = draw & 0x100 ? -x : x;
		++*position;
		if (place < tables->k[layer])
			return x;
		if (layer == 0)
			return gh_tail(d, place, position);
		++*position;
		if ((tables->f[layer - 1] - tables->f[layer]) * gh_unit(d) + tables->f[layer] <
		    exp(-0.5 * x * x))
			return x;
	}
}

/* What a segment holds. */
typedef struct gh_content {
	uint32_t count;    /* samples */
	uint32_t overhang; /* draws that its last sample takes of the segments behind it */
} gh_content;

/* As if a sample began at its first draw, which is nearly always so. */
__device__ __forceinline__ gh_content gh_guess(const gh__normal_tables *tables, gh_draws d)
{
	gh_content content = { 0, 0 };
	uint32_t position = 0;

	while (position < GH_SEGMENT) {
		gh_normal(tables, &d, &position);
		content.count++;
	}
	content.overhang = position - GH_SEGMENT;
	return content;
}

/*
 * In truth: the first sample begins at draw `entry`. Two decoders go on side by side, the guess and
 * the true one, until both are at one place, which is soon; from there on they are the same. If the
 * true one leaves the segment before, what it has found is all.
 */
__device__ __forceinline__ gh_content gh_mend(const gh__normal_tables *tables, gh_draws d,
					      gh_content guess, uint32_t entry)
{
	gh_content content = { 0, 0 };
	gh_draws guessing = d;
	uint32_t guessed = 0, dropped = 0;

	for (uint32_t i = 0; i < entry; i++)
		gh_draw(&d);
	while (entry < GH_SEGMENT && entry != guessed) {
		bool behind = guessed < entry;
		gh_draws at = behind ? guessing : d;
		uint32_t position = behind ? guessed : entry;

		gh_normal(tables, &at, &position);
		guessing = behind ? at : guessing;
		guessed = behind ? position : guessed;
		dropped += behind;
		d = behind ? d : at;
		entry = behind ? entry : position;
		content.count += !behind;
	}
	if (entry < GH_SEGMENT) {
		content.count += guess.count - dropped;
		content.overhang = guess.overhang;
	} else {
		content.overhang = entry - GH_SEGMENT;
	}
	return content;
}

#endif
