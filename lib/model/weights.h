#ifndef GH_MODEL_WEIGHTS_H
#define GH_MODEL_WEIGHTS_H

#include <pthread.h>

#include "comm/comm.h"
#include "model/kernels.h"
#include "model/reader.h"

/*
 * A weight source hands the forward its matrices, layer by layer; the forward does not know where
 * they come from. Pointers are on the rank's device.
 */
typedef struct gh__matrix {
	const void *data;   /* packed for its kernel */
	const float *scale; /* [n]; NULL: not quantised */
} gh__matrix;

typedef struct gh__layer_weights {
	const void *input_norm, *post_norm; /* [hidden] */
	const void *q_norm, *k_norm;        /* [head_dim]; NULL: none */
	const void *qkv_bias;               /* [n of qkv]; NULL: none */
	gh__matrix qkv, o, gate_up, down;
	float k_scale, v_scale; /* of an e4m3 cache */
} gh__layer_weights;

typedef struct gh__end_weights {
	const void *embed; /* [vocab.count, hidden], plain; first stage */
	const void *norm;  /* [hidden]; last stage */
	gh__matrix head;   /* last stage */
} gh__end_weights;

typedef struct gh__weights_table {
	void (*free)(void *self);
	int64_t (*bytes)(const void *self); /* on the device */
	void (*ends)(const void *self, gh__end_weights *out);
	/* layer: of the whole model, one that the rank holds. on: the rank's device, which reads it;
	 * a source that makes layers does so there, in order with what reads them, and may write
	 * over the layer before the last. */
	gh_status (*layer)(void *self, gh__device *on, int32_t layer, gh__layer_weights *out,
			   gh_error *error);
} gh__weights_table;

typedef struct gh__weights {
	const gh__weights_table *table; /* NULL: none */
	void *self;
} gh__weights;

void gh__weights_free(gh__weights *weights);

/* How far the loading of all ranks is. Whichever rank has news calls fn, so that it is asked as
 * long as any of them loads. */
typedef struct gh__load_progress {
	gh_progress_fn *fn; /* NULL: nobody asks */
	void *userdata;
	int64_t total;        /* elements */
	pthread_mutex_t lock; /* of the rest; held while fn runs */
	int64_t done;
	bool cancelled; /* fn is not called any more */
} gh__load_progress;

/* Adds to it. GH_ECANCELLED: this load is to end. */
gh_status gh__load_report(gh__load_progress *progress, int64_t elements, gh_error *error);

typedef struct gh__load {
	const gh__reader *reader;
	const gh__model_desc *desc;
	const gh__numerics *numerics;
	const gh_plan *plan;
	gh__device *device;
	const gh__kernels *kernels; /* of the device; they say how weights are packed */
	gh__comm *comm;             /* ranks of the stage */
	gh__load_progress *progress;
} gh__load;

/*
 * Everything resident: read in pieces, only what the rank holds, converted to the activations'
 * type, quantised and packed on the way. At any time the host holds one piece, or, while
 * quantising, the rank's part of one matrix.
 *
 * Quantising e4m3(clamp(w / scale)): the scale is that of the whole fused matrix, whatever the
 * layout; the ranks of a stage find the maximum together. Called on all of them at once.
 */
gh_status gh__weights_resident(gh__weights *out, const gh__load *load, gh_error *error);

/* Elements that gh__weights_resident() will report, for gh__load_progress.total. */
int64_t gh__weights_work(const gh__model_desc *desc, const gh_plan *plan);

#endif
