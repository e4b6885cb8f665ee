#ifndef GH_MODEL_RANK_H
#define GH_MODEL_RANK_H

#include "model/arena.h"
#include "model/model.h"
#include "model/runner.h"

/* Rows whose logits are formed at once; more are taken in turns. Decides memory, never bits. */
enum { GH__LOGIT_ROWS = 256 };

/* Where a rank's forward keeps its numbers; T = step_tokens. Without tensor parallelism the whole
 * and the rank's part are the same memory. */
typedef struct gh__buffers {
	void *residual;      /* [T, hidden] the residual stream */
	void *hidden;        /* [T, hidden] what a block adds to it */
	void *normed;        /* [T, hidden] */
	void *part;          /* [T, plan.hidden] the rank's columns of hidden */
	void *qkv;           /* [T, q, k and v of the rank's heads] */
	void *heads;         /* [T, the rank's heads x head_dim] attention */
	void *all_heads;     /* [T, heads x head_dim] */
	void *gate_up;       /* [T, 2 plan.intermediate]; NULL when gate_up is fused */
	void *inner;         /* [T, plan.intermediate] */
	void *all_inner;     /* [T, intermediate] */
	void *last_residual; /* [GH__LOGIT_ROWS, hidden] rows that survive */
	void *last_hidden;
	void *last_heads; /* [GH__LOGIT_ROWS, the rank's heads x head_dim] */
	void *last_normed;
	void *logits;     /* [GH__LOGIT_ROWS, plan.vocab] */
	void *all_logits; /* [GH__LOGIT_ROWS, vocab] */
	void *workspace;
	void *rope; /* [max_length, head_dim] */
	void *step; /* gh__step and its arrays */
} gh__buffers;

/* What one rank of a runner owns. */
typedef struct gh__rank {
	const gh_model *model;
	const gh_plan *plan;
	gh__weights *weights;
	gh__device *device;
	gh__kernels kernels;
	gh__comm *stage; /* ranks that share the layers */
	gh__comm *line;  /* this rank's peers in the other stages */
	gh__runner_options limits;
	gh__end_weights ends;
	gh__arena memory; /* of the buffers */
	gh__buffers buf;
	gh__arena cache_memory;
	void **cache;      /* [layers here] */
	char *staging;     /* the step on the host, as it will lie on the device */
	void *row;         /* [max(hidden, vocab)] one row on the host, to look for NaN */
	int32_t *bad_rows; /* [step_tokens] rows of the last step whose logits are not finite */
	int32_t bad_count;
} gh__rank;

/* Count (device memory NULL) and, after a commit, set the buffers. */
void gh__rank_lay_out(gh__rank *rank);
size_t gh__rank_step_size(const gh__runner_options *limits);

/* One step on one rank, in concert with the others. */
typedef struct gh__job {
	const gh__step *step; /* on the host */
	const gh__sample_row *samples;
	gh__sample_result *results;
	int32_t sample_count;
	/* [tokens, hidden] act, on the host, or where the rank has its residual stream, put there by
	 * operations of its device; NULL: tokens are ids */
	const void *input;
	void *logits; /* [logit_rows, vocab] to the host; NULL: only samples are wanted */
	/* Not sampled: the step is run again to tell in which layer these rows went wrong. */
	const int32_t *suspects;
	int32_t suspect_count;
} gh__job;

gh_status gh__forward(gh__rank *rank, const gh__job *job, gh_error *error);

/* Rank `index` behind a runner of gh__model_runner(); between steps its buffers may be looked
 * at. */
const gh__rank *gh__runner_rank(const gh__runner *runner, int index);

#endif
