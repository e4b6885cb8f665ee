#ifndef GH_ENGINE_SCHEDULER_H
#define GH_ENGINE_SCHEDULER_H

#include <stdatomic.h>

#include "engine/sequence.h"
#include "engine/telemetry.h"
#include "model/runner.h"

/*
 * Who runs in the next step. One thread.
 *
 * In a step come first those that generate, oldest first, then prompts in pieces, oldest first,
 * then those that wait, in order of arrival and never past one that must go on waiting. A sequence
 * is let in when the blocks for all of its tokens are there; so only a generating one can find
 * none, and then the youngest gives its blocks back and waits again, keeping its tokens.
 */
typedef struct gh__scheduler gh__scheduler;

/* Written by the scheduler, read by anyone. */
typedef struct gh__counters {
	_Atomic int32_t running; /* sequences in the batch */
	_Atomic int32_t open;    /* sequences that were submitted and have not ended */
	_Atomic int32_t queued;  /* requests that never ran */
	_Atomic int64_t blocks_used;
	_Atomic uint64_t steps, prompt_tokens, output_tokens, cached_tokens, preemptions;
} gh__counters;

typedef struct gh__scheduler_config {
	gh__runner runner;
	const gh_tokenizer *tokenizer;
	int32_t vocab;
	int32_t max_length;
	int32_t max_sequences; /* in a step, at most step_tokens */
	int32_t step_tokens;
	int32_t block_size;
	int64_t kv_blocks; /* at least what one sequence of max_length needs */
	bool prefix_cache;
	gh__counters *counters;
	gh__telemetry *telemetry;
	void (*release)(gh__request *request, void *userdata); /* it has ended; takes it */
	void *userdata;
} gh__scheduler_config;

gh_status gh__scheduler_create(gh__scheduler **out, const gh__scheduler_config *config,
			       gh_error *error);
void gh__scheduler_free(gh__scheduler *scheduler); /* nothing is left in it */

void gh__scheduler_add(gh__scheduler *scheduler, gh__request *request);
void gh__scheduler_abort(gh__scheduler *scheduler, gh__request *request);
bool gh__scheduler_idle(const gh__scheduler *scheduler);

/* Take a step. An error is the runner's: nothing can go on. */
gh_status gh__scheduler_step(gh__scheduler *scheduler, gh_error *error);

/* End everything there is. */
void gh__scheduler_end_all(gh__scheduler *scheduler, gh_finish finish, const gh_error *error);

#endif
