#include "poc/tensors.h"

#include <stdio.h>
#include <string.h>

#include "poc/seed.h"

static const char *const part_names[] = {
	[GH__POC_EMBEDDINGS] = "tok_embeddings",
	[GH__POC_WQ] = "attention.wq",
	[GH__POC_WK] = "attention.wk",
	[GH__POC_WV] = "attention.wv",
	[GH__POC_WO] = "attention.wo",
	[GH__POC_W1] = "feed_forward.w1",
	[GH__POC_W2] = "feed_forward.w2",
	[GH__POC_W3] = "feed_forward.w3",
	[GH__POC_ATTENTION_NORM] = "attention_norm",
	[GH__POC_FFN_NORM] = "ffn_norm",
	[GH__POC_NORM] = "norm",
	[GH__POC_OUTPUT] = "output",
};

static int64_t rows_of(gh__poc_part part, const gh_poc_params *params, const gh__poc_shape *shape)
{
	switch (part) {
	case GH__POC_EMBEDDINGS:
	case GH__POC_OUTPUT:
		return params->vocab_size;
	case GH__POC_WK:
	case GH__POC_WV:
		return shape->kv_dim;
	case GH__POC_W1:
	case GH__POC_W3:
		return shape->hidden;
	default:
		return params->dim;
	}
}

void gh__poc_tensor_at(gh__poc_tensor *out, uint32_t index, const gh_poc_params *params,
		       const gh__poc_shape *shape)
{
	uint32_t norm = gh__poc_tensor_index(GH__POC_NORM, 0, params);
	bool in_layer = index > 0 && index < norm;

	memset(out, 0, sizeof *out);
	if (in_layer) {
		out->layer = (index - 1) / GH__POC_LAYER_PARTS;
		out->part = GH__POC_WQ + (gh__poc_part)((index - 1) % GH__POC_LAYER_PARTS);
		snprintf(out->name, sizeof out->name, "layers.%u.%s.weight", out->layer,
			 part_names[out->part]);
	} else {
		out->part = index == 0 ? GH__POC_EMBEDDINGS
				       : GH__POC_NORM + (gh__poc_part)(index - norm);
		snprintf(out->name, sizeof out->name, "%s.weight", part_names[out->part]);
	}
	out->rank = 2;
	out->dims[0] = (uint64_t)rows_of(out->part, params, shape);
	out->dims[1] = (uint64_t)(out->part == GH__POC_W2 ? shape->hidden : params->dim);
	if (out->part == GH__POC_ATTENTION_NORM || out->part == GH__POC_FFN_NORM ||
	    out->part == GH__POC_NORM) {
		out->rank = 1;
		out->dims[1] = 1;
	}
	out->size = out->dims[0] * out->dims[1];
}

gh_status gh__poc_slice_of(gh__slice *out, const char *block_hash, const gh__poc_tensor *tensor,
			   uint64_t pool_size, gh_error *error)
{
	uint32_t hash;
	gh_status status = gh__poc_name_hash(&hash, block_hash, tensor->name, error);

	if (status != GH_OK)
		return status;
	out->size = tensor->size;
	out->pool_size = pool_size;
	out->tiled = tensor->size > pool_size;
	out->start = hash % (out->tiled ? tensor->size : pool_size - tensor->size + 1);
	return GH_OK;
}

void gh__poc_slice_copy(uint16_t *dst, const uint16_t *pool, const gh__slice *slice, uint64_t first,
			uint64_t count)
{
	if (!slice->tiled) {
		memcpy(dst, pool + slice->start + first, count * sizeof *dst);
		return;
	}
	while (count > 0) { /* up to the end of the tensor or of the pool, whichever comes first */
		uint64_t at = (first + slice->start) % slice->size;
		uint64_t in_pool = at % slice->pool_size;
		uint64_t run = slice->pool_size - in_pool;

		if (run > slice->size - at)
			run = slice->size - at;
		if (run > count)
			run = count;
		memcpy(dst, pool + in_pool, run * sizeof *dst);
		dst += run;
		first += run;
		count -= run;
	}
}
