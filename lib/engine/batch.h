#ifndef GH_ENGINE_BATCH_H
#define GH_ENGINE_BATCH_H

#include "engine/sequence.h"
#include "model/runner.h"

/*
 * One step in the making: which sequences, which of their tokens, which logits.
 *
 * All arrays are made once, for the largest step.
 */
typedef struct gh__batch_entry {
	gh__sequence *sequence;
	int32_t count;                /* tokens computed */
	int32_t result, result_count; /* its slice of results */
} gh__batch_entry;

typedef struct gh__batch {
	gh__step step; /* as gh__batch_close() leaves it */
	gh__batch_entry *entry;
	gh__sample_row *sample;
	gh__sample_result *result;
	int32_t entries, tokens, samples;
	int32_t max_tokens, max_entries;
	int32_t block_size;
	int32_t *token, *position, *sequence, *row_start, *block_table, *logit_row;
	int64_t *slot;
} gh__batch;

gh_status gh__batch_init(gh__batch *batch, int32_t max_tokens, int32_t max_entries,
			 int32_t max_length, int32_t block_size, gh_error *error);
void gh__batch_free(gh__batch *batch);

void gh__batch_reset(gh__batch *batch);

/* Take up to most more of a sequence's tokens, as far as there is room. Its blocks are there.
 * Answers how many. */
int32_t gh__batch_add(gh__batch *batch, gh__sequence *sequence, int32_t most);

void gh__batch_close(gh__batch *batch);

#endif
