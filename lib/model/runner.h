#ifndef GH_MODEL_RUNNER_H
#define GH_MODEL_RUNNER_H

#include <gonkahost/model.h>

#include "device/ops.h"

/*
 * A runner takes steps: it is all that an engine sees of a model. One thread calls it.
 *
 * The model's runner hands a step to its ranks' threads, runs the forward there, samples on the
 * last stage, and answers when all is done. Tests and benchmarks bring runners of their own.
 */
typedef struct gh__runner_info {
	int32_t vocab;
	int32_t max_length;  /* positions */
	int32_t block_size;  /* tokens a KV block */
	int64_t kv_blocks;   /* how many there are */
	int32_t step_tokens; /* rows a step may have */
	int32_t step_sequences;
	const char *numerics; /* borrows for the runner's life */
} gh__runner_info;

typedef struct gh__runner_table {
	void (*free)(void *self);
	void (*info)(const void *self, gh__runner_info *out);

	/*
	 * Run one step; all arrays are on the host and borrowed for the call. samples[i] refers to
	 * logit row samples[i].row (an index into step->logit_row); results[i] answers it. A NaN
	 * marks its own row (token -1); an error here means that the whole runner is lost.
	 */
	gh_status (*step)(void *self, const gh__step *step, const gh__sample_row *samples,
			  gh__sample_result *results, int32_t sample_count, gh_error *error);
} gh__runner_table;

typedef struct gh__runner {
	const gh__runner_table *table;
	void *self;
} gh__runner;

typedef struct gh__runner_options {
	int32_t step_tokens, step_sequences;
	int32_t max_length;   /* at most the model's; 0 = that */
	int64_t kv_blocks;    /* 0: as many as fit, and not more than can be used (memory.h) */
	int64_t memory_limit; /* bytes of the device instead of a share; 0 = none */
	double memory_share;  /* of the device's memory, weights included; 0 = 0.9, and on a CPU,
			      * which others use too, at most a quarter for the KV cache */
} gh__runner_options;

/*
 * A step of a model whose input is rows (GH__INPUT_ROWS), or whose logits are wanted as they are:
 * input [tokens, hidden] in the activations' type, NULL where the step's tokens are the input;
 * logits [logit_rows, vocab] in the logits' type. Both on the host; for gh__model_runner()'s only.
 * Rows that were made on the device of a runner of one rank are its buf.residual (rank.h) instead.
 * Arrays of the step that the model does not read may be NULL: token with GH__INPUT_ROWS; slot and
 * block_table with packed attention, where a sequence is its rows, at positions 0, 1, ...
 */
gh_status gh__runner_logits(gh__runner *runner, const gh__step *step, const void *input,
			    void *logits, gh_error *error);

/* From any thread: the step that is under way ends with GH_ECANCELLED within milliseconds, and so
 * does every other until it is taken back. For gh__model_runner()'s only. A runner of several ranks
 * is lost by that. */
void gh__runner_interrupt(gh__runner *runner, bool interrupted);

/* Bytes that activations and workspace of a runner take on the rank that needs most. */
gh_status gh__model_runner_measure(int64_t *out, gh_model *model, const gh__runner_options *options,
				   gh_error *error);

/* KV cache, activations and workspace of a model, allocated here and once. Borrows the model. The
 * plan is logged as a table; what does not fit is GH_ENOMEM with the bytes and the option that
 * would help. out->self is freed by out->table->free. */
gh_status gh__model_runner(gh__runner *out, gh_model *model, const gh__runner_options *options,
			   gh_error *error);

#endif
