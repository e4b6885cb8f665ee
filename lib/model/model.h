#ifndef GH_MODEL_MODEL_H
#define GH_MODEL_MODEL_H

#include "hub/config.h"
#include "model/weights.h"

/* A loaded model: what its runners borrow. */
typedef struct gh__model_rank {
	gh_plan plan;
	gh__device *device; /* holds the weights' memory */
	gh__weights weights;
} gh__model_rank;

struct gh_model {
	uint32_t magic;
	gh__model_desc desc;
	gh__numerics numerics;
	gh_model_info info;
	char device[16];
	uint32_t device_flags;
	int32_t threads; /* over all ranks */
	int ranks;
	gh__model_rank *rank; /* [ranks] */
	gh__generation_config generation;
	int32_t eos[GH__EOS_MAX]; /* end tokens: generation's, else config.json's */
	int32_t eos_count;
};

/*
 * A model that stands in no folder: of one rank, described by its maker, its weights from a source
 * of its own. make is called once; load has no reader, kernels, comm or progress. desc->arch:
 * borrowed until gh_model_free().
 */
typedef gh_status gh__make_weights_fn(gh__weights *out, const gh__load *load, void *userdata,
				      gh_error *error);
gh_status gh__model_assemble(gh_model **out, const gh__model_desc *desc,
			     const gh__numerics *numerics, const gh_device_options *device,
			     gh__make_weights_fn *make, void *userdata, gh_error *error);

/* What the model's makers recommend; borrowed until gh_model_free(). */
const gh__generation_config *gh__model_generation_config(const gh_model *model);
/* [*count] end tokens, borrowed likewise. */
const int32_t *gh__model_eos(const gh_model *model, int32_t *count);

/* A device for rank `rank`, with its share of the threads. */
gh_status gh__model_device(const gh_model *model, int rank, gh__device **out, gh_error *error);

#endif
