#ifndef GH_ENGINE_SAMPLING_H
#define GH_ENGINE_SAMPLING_H

#include <stdbool.h>

#include <gonkahost/engine.h>

#include "device/ops.h"
#include "engine/stop.h"

/*
 * The sampling fields of a request: checked, copied, and turned into rows for the sample operation.
 */
typedef struct gh__sampling {
	gh__sample_row row; /* what all rows of the request have in common */
	uint64_t seed;      /* of choice 0 */
	int32_t n;
	int32_t max_tokens; /* never more than the context has room for */
	int32_t min_tokens;
	int32_t asked_max; /* as given: -1 = no limit */
	int32_t prompt_logprobs;
	uint32_t flags;
	gh__stop_list stops;
	int32_t *end_ids; /* [end_count] sorted: end tokens unless ignored, and stop tokens */
	int32_t end_count;
	int32_t *bias_id; /* [bias_count] given ones, then [ban_count] for min_tokens */
	float *bias;
	int32_t bias_count, ban_count;
	int32_t *allowed_id; /* [allowed_count] */
	int32_t allowed_count;
	uint32_t *allowed; /* the same as a mask, once gh__sampling_start() was called */
} gh__sampling;

/* Check, complete and copy; seed is for requests that bring none. max_tokens of *out is as given
 * or INT32_MAX: the caller lowers it to what the context has room for. */
gh_status gh__sampling_init(gh__sampling *out, const gh_sampling *given, int32_t vocab,
			    uint64_t seed, gh_error *error);
void gh__sampling_free(gh__sampling *sampling);

/* What only a running request needs. */
gh_status gh__sampling_start(gh__sampling *sampling, int32_t vocab, gh_error *error);

bool gh__sampling_ends(const gh__sampling *sampling, int32_t token);

/* The row that chooses output token number output_count. */
void gh__sampling_row(gh__sample_row *row, const gh__sampling *sampling, int32_t choice,
		      const int32_t *prompt, int32_t prompt_count, const int32_t *output,
		      int32_t output_count);

/* The row that tells how probable a prompt token is: temperature and filters, nothing else. */
void gh__sampling_prompt_row(gh__sample_row *row, const gh__sampling *sampling, int32_t token);

#endif
