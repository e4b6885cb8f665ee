#ifndef GH_POC_STAGED_H
#define GH_POC_STAGED_H

#include "model/weights.h"
#include "poc/tensors.h"

/*
 * The weights of a round's network as a source for the forward: every tensor is a piece of the
 * pool, and a layer is packed from it when the forward asks for it.
 *
 * Of the slots for a layer each, all but two keep the layer that they hold; two alternate, so that
 * a layer's pointers stay good while the next one is made. With as many slots as layers nothing is
 * ever packed twice. How many there are shows in no result.
 */
typedef struct gh__staged_options {
	const char *block_hash;      /* for the call */
	const gh_poc_params *params; /* checked; for the call */
	gh__poc_pool pool;           /* numbers borrowed for the source's life */
	int32_t slots; /* gh__staged_slots_min() to the number of layers; 0: nothing is
				       * allocated, the source only knows its bytes */
} gh__staged_options;

/* load: as gh__model_assemble() hands it. GH_ENOMEM, or what the device says. */
gh_status gh__staged_create(gh__weights *out, const gh__staged_options *options,
			    const gh__load *load, gh_error *error);

int32_t gh__staged_slots_min(const gh_poc_params *params);

/* Bytes on the device, the pool not counted: of what is always there, and of a slot. */
typedef struct gh__staged_bytes {
	int64_t fixed;
	int64_t slot;
} gh__staged_bytes;

gh__staged_bytes gh__staged_measure(const gh__weights *weights);

#endif
