#ifndef GH_MODEL_KERNELS_H
#define GH_MODEL_KERNELS_H

#include "device/device.h"
#include "model/arch.h"

enum { GH__KV_BLOCK = 16 }; /* tokens a block of the cache */

/* The operations of one rank's forward, prepared on its device. All layers are alike. */
typedef struct gh__kernels {
	gh__device *device; /* borrowed */
	gh__kv_layout kv;
	gh__kernel *embed;         /* NULL: rows are given */
	gh__kernel *norm;          /* of the first layer's input: nothing is added before */
	gh__kernel *residual_norm; /* of all others */
	gh__kernel *head_norm;     /* of each q and k head; NULL: the model has none */
	gh__kernel *qkv, *o, *gate_up, *down;
	gh__kernel *glu; /* NULL: gate_up is fused with it */
	gh__kernel *rope, *attention;
	gh__kernel *select, *select_heads; /* rows of hidden, and of what attention gives */
	gh__kernel *head, *sample;
} gh__kernels;

gh_status gh__kernels_prepare(gh__kernels *out, gh__device *device, const gh__model_desc *desc,
			      const gh__numerics *numerics, const gh_plan *plan, gh_error *error);
void gh__kernels_free(gh__kernels *kernels);

/* The most workspace that any of them wants for steps of so many rows. */
size_t gh__kernels_workspace(const gh__kernels *kernels, int64_t rows);

#endif
