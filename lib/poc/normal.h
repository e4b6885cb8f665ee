#ifndef GH_POC_NORMAL_H
#define GH_POC_NORMAL_H

#include <string.h>

#include "device/ops.h"
#include "poc/random.h"

#include <gonkahost/base.h>

/*
 * NumPy's standard normal numbers: a ziggurat of 256 layers over f64, every operation rounded by
 * itself. A sample takes one draw (98.5 % of the time) or more; what it is depends on the draws
 * alone.
 */

/* Compute the tables, read only from then on, and hold them against the digests that the network's
 * have. GH_ENOTSUP: this machine's exp and log round otherwise, so its proofs would be nobody
 * else's. */
gh_status gh__normal_tables_make(gh__normal_tables *out, gh_error *error);

/* Finish the sample that begins with this draw, which was not inside its layer; *more grows by the
 * draws used besides. */
double gh__normal_finish(const gh__normal_tables *tables, gh__pcg64 *rng, uint64_t draw,
			 uint32_t *more);

/* What the draw says: layer in the low 8 bits, sign, 52 bits of place; the top 3 are not used. */
static inline uint64_t gh__normal_place(uint64_t draw)
{
	return draw >> 9 & (UINT64_MAX >> 12);
}

static inline double gh__normal_value(const gh__normal_tables *tables, uint64_t draw)
{
	double x = (double)(int64_t)gh__normal_place(draw) * tables->w[draw & 0xff];
	uint64_t bits;

	memcpy(&bits, &x, sizeof bits);
	bits ^= draw << 55 & UINT64_C(1) << 63;
	memcpy(&x, &bits, sizeof x);
	return x;
}

/* Whether the draw lies inside its layer, as nearly all do: its value is then the sample. */
static inline bool gh__normal_inside(const gh__normal_tables *tables, uint64_t draw)
{
	return __builtin_expect(gh__normal_place(draw) < tables->k[draw & 0xff], 1);
}

/* The next sample of a stream; *draws grows by the draws it took. */
static inline double gh__normal(const gh__normal_tables *tables, gh__pcg64 *rng, uint32_t *draws)
{
	uint64_t draw = gh__pcg64_draw(rng);

	++*draws;
	if (gh__normal_inside(tables, draw))
		return gh__normal_value(tables, draw);
	return gh__normal_finish(tables, rng, draw, draws);
}

#endif
