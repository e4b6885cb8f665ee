#ifndef GH_MODEL_TENSORS_H
#define GH_MODEL_TENSORS_H

#include "model/arch.h"

/*
 * The tensors of a checkpoint: which there must be, of what shape.
 */
typedef enum gh__slot {
	GH__SLOT_EMBED,
	GH__SLOT_NORM,
	GH__SLOT_HEAD,
	GH__SLOT_LAYER, /* from here on: one in each layer */
	GH__SLOT_INPUT_NORM = GH__SLOT_LAYER,
	GH__SLOT_Q,
	GH__SLOT_K,
	GH__SLOT_V,
	GH__SLOT_Q_BIAS,
	GH__SLOT_K_BIAS,
	GH__SLOT_V_BIAS,
	GH__SLOT_Q_NORM,
	GH__SLOT_K_NORM,
	GH__SLOT_O,
	GH__SLOT_POST_NORM,
	GH__SLOT_GATE,
	GH__SLOT_UP,
	GH__SLOT_DOWN,
	GH__SLOTS
} gh__slot;

typedef struct gh__tensor {
	char name[96];
	gh__slot slot;
	int32_t layer;         /* -1: of none */
	int32_t dims;          /* 1: a vector, columns is 1 */
	int64_t rows, columns; /* [out, in] */
	bool matrix;           /* of a layer: what quantisation is about */
} gh__tensor;

/* false: a model of this description has no such tensor. layer is heeded where it applies. */
bool gh__tensor_describe(gh__tensor *out, const gh__model_desc *desc, gh__slot slot, int32_t layer);

/* All of them, there and of the right shape and type, and nothing else. Errors name tensor,
 * file. */
gh_status gh__tensors_check(const gh__model_desc *desc, const gh_checkpoint *checkpoint,
			    gh_error *error);

#endif
