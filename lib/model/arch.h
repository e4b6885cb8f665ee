#ifndef GH_MODEL_ARCH_H
#define GH_MODEL_ARCH_H

#include <stdbool.h>

#include <gonkahost/parallel.h>

#include "device/ops.h"
#include "hub/config.h"
#include "model/numerics.h"

/*
 * What differs between models is data: a row of one table for the architecture, and the sizes of
 * config.json. There is one forward for all of them.
 */
typedef enum gh__model_input {
	GH__INPUT_TOKENS = 1, /* rows of the embedding */
	GH__INPUT_ROWS        /* rows as they are given: there is no embedding */
} gh__model_input;

typedef struct gh__arch {
	const char *name;       /* as in config.json */
	gh__model_input input;  /* what goes in */
	bool qkv_bias;          /* q, k and v have a bias */
	bool qk_norm;           /* q and k are normalised, head by head */
	gh__norm_rounding norm; /* of all norms */
	gh__rope_pairing pairing;
	gh__rope_rounding rotation;
	gh__softmax softmax;
	gh__kv_source kv;
} gh__arch;

/* NULL: not in the table. */
const gh__arch *gh__arch_find(const char *name);

/* How a checkpoint stores the matrices of the layers. */
typedef struct gh__stored {
	bool e4m3;            /* F8_E4M3 with a "<name>.weight_scale" each */
	gh__scales scales;    /* one for what */
	int32_t quantization; /* the gh_quantization that it was made for */
} gh__stored;

typedef struct gh__model_desc {
	const gh__arch *arch;
	gh_plan_shape shape;
	int32_t max_length; /* positions, rope scaling included */
	float eps;
	bool tied;      /* the head is the embedding */
	gh_dtype dtype; /* the checkpoint's, GH_F32 where it says nothing */
	double rope_theta;
	gh__rope_scaling rope_scaling;
	gh__stored stored;
	int64_t eos[GH__EOS_MAX]; /* of config.json */
	int eos_count;
} gh__model_desc;

/*
 * Read folder/config.json with overrides (a JSON object, or NULL) laid over it, key by key at the
 * top; null removes a key. rope_theta and rope_scaling work on both spellings of config.json.
 * GH_ENOTSUP names the value that no arithmetic here stands for.
 */
gh_status gh__model_desc_read(gh__model_desc *out, const char *folder, const char *overrides,
			      gh_error *error);

/* Weights of the whole model. */
int64_t gh__model_parameters(const gh__model_desc *desc);

/* Of a pair of a head's elements: its angle grows by so much from a position to the next. */
float gh__rope_frequency(const gh__model_desc *desc, int pair);

/* [positions, head_dim] f32: head_dim / 2 cosines, then as many sines; caller frees (gh__free). */
float *gh__rope_table(const gh__model_desc *desc, int64_t positions);

#endif
