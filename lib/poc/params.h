#ifndef GH_POC_PARAMS_H
#define GH_POC_PARAMS_H

#include <stdbool.h>

#include <gonkahost/poc.h>

/*
 * What follows from the parameters of a round's network.
 */

/* Far above any network there is, and such that no size derived from them overflows: a total stays
 * below 2^53 and a product of two is far from 2^63. */
#define GH__POC_DIM_MAX      65536
#define GH__POC_LAYERS_MAX   1024
#define GH__POC_VOCAB_MAX    (1 << 22)
#define GH__POC_HIDDEN_MAX   (1 << 24)
#define GH__POC_SEQ_LEN_MAX  (1 << 20)
#define GH__POC_MULTIPLE_MAX (1 << 20)

/* Derived sizes, in elements. */
typedef struct gh__poc_shape {
	int64_t head_dim;
	int64_t kv_dim; /* n_kv_heads * head_dim */
	int64_t hidden;
	uint64_t layer_size;   /* parameters of one layer */
	uint64_t total_size;   /* of all tensors */
	uint64_t pool_size;    /* normal numbers they are cut from */
	uint64_t input_size;   /* seq_len * dim */
	uint32_t tensor_count; /* see tensors.h */
} gh__poc_shape;

/* Name of the index-th set; NULL behind the last. */
const char *gh__poc_params_name(size_t index);

bool gh__poc_params_equal(const gh_poc_params *a, const gh_poc_params *b);

/* Check every field and derive the sizes. GH_EINVAL names the field. */
gh_status gh__poc_shape_of(gh__poc_shape *out, const gh_poc_params *params, gh_error *error);

#endif
