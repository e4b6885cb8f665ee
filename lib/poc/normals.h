#ifndef GH_POC_NORMALS_H
#define GH_POC_NORMALS_H

#include <stdatomic.h>

#include "poc/normal.h"

#include <gonkahost/base.h>

/*
 * Long streams of normal numbers by any number of threads, to the bit what one thread would draw.
 *
 * The stream's draws are cut into segments. Each is decoded as if a sample began at its first draw,
 * which is nearly always so; and where not, the decoder meets the true sequence almost at once, for
 * two decoders that share one start share all later ones. So every segment is decoded at once, and
 * then, in order, those that were entered in the middle of a sample are mended: decoded from the
 * true first start until that is a start of the guess too, or, meeting none, to the end. What is
 * true of the guess is then put in its place. How threads and segments are chosen never shows.
 */
typedef struct gh__normals {
	const gh__normal_tables *tables;
	gh__pcg64 start; /* the generator before the first draw */
	void *out;
	gh_dtype dtype; /* GH_F64, or GH_F16: rounded to f32 and then to f16 */
	size_t count;
	double deviation; /* normal(0, deviation); 0: standard normals as they are drawn */
	unsigned threads; /* this one included; 0 = 1. Fewer do it when no more can be started */
	uint32_t segment; /* draws, at most GH__NORMALS_SEGMENT_MAX; 0 = the fastest */

	/* Each may be NULL. A thread looks at *cancel after a few milliseconds' work at most; *done
	 * grows by all of count on the way. */
	const atomic_bool *cancel;
	_Atomic uint64_t *done;
} gh__normals;

#define GH__NORMALS_SEGMENT_MAX (UINT32_C(1) << 18)
#define GH__NORMALS_THREADS_MAX 1024

/* What was done to get there; the same for any number of threads. */
typedef struct gh__normals_account {
	uint64_t segments; /* that the numbers come from */
	uint64_t mended;   /* entered in the middle of a sample */
	uint64_t redone;   /* of these, decoded to their end, since no start was in common */
} gh__normals_account;

/* account may be NULL. GH_EINVAL dtype, segment or threads; GH_ECANCELLED; GH_ENOMEM. After a
 * failure part of out is written. */
gh_status gh__normals_fill(const gh__normals *normals, gh__normals_account *account,
			   gh_error *error);

#endif
