#ifndef GH_MODEL_NUMERICS_H
#define GH_MODEL_NUMERICS_H

#include <stdbool.h>

#include <gonkahost/model.h>

/*
 * Numerics as a value: everything but the model and the kind of device that decides a bit.
 *
 *   name     = base "/1" ["+shards" | "+channels"] ["+kv8"]
 *   base     = "f32" | "f16" | "bf16"             weights as the activations
 *            | "fp8-w8a8" | "fp8-w8a16"           e4m3 weights, f16 activations
 *            | either with "-bf16" or "-f32"      e4m3 weights, those activations
 *   +shards    q, k, v and gate, up keep a scale each, as the checkpoint has them
 *   +channels  each output channel has a scale, as the checkpoint has them
 *   +kv8       keys and values are kept in e4m3
 *
 * The number behind the slash is that of the order of all sums; a change of it is a new number.
 */
typedef enum gh__scales { GH__SCALE_MATRIX = 0, GH__SCALE_SHARD, GH__SCALE_CHANNEL } gh__scales;

typedef struct gh__numerics {
	gh_dtype act;         /* activations, norms, biases, embedding and head */
	gh_dtype logits;      /* as act; f32 where act is bf16, whose 8 bits leave too many ties */
	gh_dtype weight;      /* the matrices of the layers: act, or GH_E4M3 */
	bool quantise;        /* their inputs are quantised too: w8a8 */
	gh__scales scales;    /* of e4m3 weights: one for what */
	gh_dtype kv;          /* keys and values: act, or GH_E4M3; GH_DTYPE_NONE: none are kept */
	int32_t quantization; /* a gh_quantization, never AUTO */
	char name[64];
} gh__numerics;

/* act: GH_F32, GH_F16 or GH_BF16. kv: GH_DTYPE_NONE = act. GH_EINVAL names the option. */
gh_status gh__numerics_make(gh__numerics *out, int32_t act, int32_t quantization, gh__scales scales,
			    int32_t kv, gh_error *error);

#endif
