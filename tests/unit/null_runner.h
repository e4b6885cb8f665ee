#ifndef GH_TESTS_NULL_RUNNER_H
#define GH_TESTS_NULL_RUNNER_H

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "model/runner.h"

/*
 * A runner that costs nothing: token i of an answer is the letter 'A' + i % 26 of a byte-level
 * vocabulary. Its steps can be held back by a door, and can fail.
 */
typedef struct null_runner {
	gh__runner_info info;
	pthread_mutex_t mutex;
	pthread_cond_t moved;
	bool closed; /* steps wait */
	bool inside; /* one waits */
	bool broken; /* the next step fails */
} null_runner;

static inline void null_free(void *self)
{
	(void)self;
}

static inline void null_info(const void *self, gh__runner_info *out)
{
	*out = ((const null_runner *)self)->info;
}

static inline void null_answer(gh__sample_result *r, const gh__sample_row *row)
{
	r->token = row->forced >= 0 ? row->forced : 32 + (int32_t)(row->position % 26);
	r->logprob = -0.5F;
	r->rank = 1;
	r->top_count = row->top;
	for (int32_t i = 0; i < row->top; i++) {
		r->top_id[i] = i;
		r->top_logprob[i] = -1.0F - (float)i;
	}
}

static inline gh_status null_step(void *self, const gh__step *step, const gh__sample_row *samples,
				  gh__sample_result *results, int32_t count, gh_error *error)
{
	null_runner *n = self;

	(void)step;
	pthread_mutex_lock(&n->mutex);
	while (n->closed) {
		n->inside = true;
		pthread_cond_broadcast(&n->moved);
		pthread_cond_wait(&n->moved, &n->mutex);
	}
	n->inside = false;
	bool broken = n->broken;
	pthread_mutex_unlock(&n->mutex);
	if (broken)
		return gh__fail(error, GH_ECUDA, "the device has fallen off");
	for (int32_t i = 0; i < count; i++)
		null_answer(&results[i], &samples[i]);
	return GH_OK;
}

static inline void null_door(null_runner *n, bool closed)
{
	pthread_mutex_lock(&n->mutex);
	n->closed = closed;
	pthread_cond_broadcast(&n->moved);
	pthread_mutex_unlock(&n->mutex);
}

/* Until a step waits at the closed door. */
static inline void null_wait_inside(null_runner *n)
{
	pthread_mutex_lock(&n->mutex);
	while (!n->inside)
		pthread_cond_wait(&n->moved, &n->mutex);
	pthread_mutex_unlock(&n->mutex);
}

static inline gh__runner null_runner_make(null_runner *n, int32_t vocab, int32_t max_length)
{
	static const gh__runner_table table = { null_free, null_info, null_step };

	memset(n, 0, sizeof *n);
	n->info = (gh__runner_info){ .vocab = vocab,
				     .max_length = max_length,
				     .block_size = 16,
				     .kv_blocks = 1 << 18,
				     .step_tokens = 2048,
				     .step_sequences = 256,
				     .numerics = "null/1" };
	pthread_mutex_init(&n->mutex, NULL);
	pthread_cond_init(&n->moved, NULL);
	return (gh__runner){ &table, n };
}

#endif
