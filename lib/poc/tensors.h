#ifndef GH_POC_TENSORS_H
#define GH_POC_TENSORS_H

#include "device/ops.h"
#include "poc/params.h"

/*
 * The weights of a round's network: their names in order, their shapes, and where in the pool each
 * lies. A matrix is row-major, [out, in].
 */
typedef enum gh__poc_part {
	GH__POC_EMBEDDINGS, /* counts, but is never read */
	GH__POC_WQ,         /* from here to FFN_NORM: once a layer, in this order */
	GH__POC_WK,
	GH__POC_WV,
	GH__POC_WO,
	GH__POC_W1,
	GH__POC_W2,
	GH__POC_W3,
	GH__POC_ATTENTION_NORM,
	GH__POC_FFN_NORM,
	GH__POC_NORM,
	GH__POC_OUTPUT
} gh__poc_part;

#define GH__POC_LAYER_PARTS (GH__POC_FFN_NORM - GH__POC_WQ + 1)

typedef struct gh__poc_tensor {
	gh__poc_part part;
	uint32_t layer; /* 0 outside the layers */
	char name[48];
	int rank;         /* 1 or 2 */
	uint64_t dims[2]; /* of a vector: its length and 1 */
	uint64_t size;
} gh__poc_tensor;

/* Place in the order of all tensors; layer is passed over outside the layers. */
static inline uint32_t gh__poc_tensor_index(gh__poc_part part, uint32_t layer,
					    const gh_poc_params *params)
{
	uint32_t behind = 1 + (uint32_t)params->n_layers * GH__POC_LAYER_PARTS;

	if (part == GH__POC_EMBEDDINGS)
		return 0;
	if (part >= GH__POC_NORM)
		return behind + (uint32_t)(part - GH__POC_NORM);
	return 1 + layer * GH__POC_LAYER_PARTS + (uint32_t)(part - GH__POC_WQ);
}

/* index is below shape->tensor_count. */
void gh__poc_tensor_at(gh__poc_tensor *out, uint32_t index, const gh_poc_params *params,
		       const gh__poc_shape *shape);

/* The numbers that all tensors are cut out of, and their deviation. */
#define GH__POC_DEVIATION 0.02

typedef struct gh__poc_pool {
	const uint16_t *numbers; /* [size] f16 */
	uint64_t size;
	bool on_device; /* numbers lie there, not on the host */
} gh__poc_pool;

/* Where in the pool a tensor's elements are. */
gh_status gh__poc_slice_of(gh__slice *out, const char *block_hash, const gh__poc_tensor *tensor,
			   uint64_t pool_size, gh_error *error);

/* Elements first to first + count - 1 of the tensor; within its size. */
void gh__poc_slice_copy(uint16_t *dst, const uint16_t *pool, const gh__slice *slice, uint64_t first,
			uint64_t count);

#endif
