#ifndef GH_POC_MEASURE_H
#define GH_POC_MEASURE_H

#include <pthread.h>

#include <gonkahost/base.h>

/*
 * From the logits of a batch to distances, by threads of their own, so that the device may compute
 * the next batch meanwhile. One batch at a time.
 */
typedef struct gh__measure {
	const char *block_hash; /* borrowed */
	const double *target;   /* [vocab], borrowed */
	uint32_t vocab;
	int threads; /* helpers and whoever waits */
	float *wide; /* [threads, vocab] */
	uint32_t *permutation;

	/* of the batch */
	const char *public_key;
	const uint64_t *nonces;
	const uint16_t *logits; /* [count, vocab] f16 */
	double *dist;
	size_t count;
	pthread_t *helpers; /* [threads - 1] */
	int started;

	pthread_mutex_t lock; /* of the rest */
	size_t next;          /* nonce that nobody has taken */
	int lanes;            /* threads that have come: a place in wide and permutation each */
	size_t failed_at;     /* the first nonce that failed; count: none */
	gh_status status;
	gh_error error;
} gh__measure;

/* threads: at least 1. GH_ENOMEM; out is to be freed all the same. */
gh_status gh__measure_make(gh__measure *out, const char *block_hash, const double *target,
			   uint32_t vocab, int threads, gh_error *error);
void gh__measure_free(gh__measure *measure);

/* Begin with a batch; every pointer is borrowed until gh__measure_end(). */
void gh__measure_begin(gh__measure *measure, const char *public_key, const uint64_t *nonces,
		       size_t count, const uint16_t *logits, double *dist);

/* Help, and wait until all of dist is there. GH_ENUMERIC: the first nonce whose distance is no
 * number; what the seed says. */
gh_status gh__measure_end(gh__measure *measure, gh_error *error);

#endif
