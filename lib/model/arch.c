#include "model/arch.h"

#include <string.h>

#include "base/error.h"

#define DECODER                                                                            \
	.input = GH__INPUT_TOKENS, .norm = GH__NORM_ROUND_TWICE, .pairing = GH__ROPE_HALF, \
	.rotation = GH__ROPE_ROUND_PRODUCTS, .softmax = GH__SOFTMAX_ONLINE, .kv = GH__KV_PAGED

static const gh__arch table[] = {
	{ .name = "Qwen2ForCausalLM", DECODER, .qkv_bias = true },
	{ .name = "LlamaForCausalLM", DECODER },
	{ .name = "Qwen3ForCausalLM", DECODER, .qk_norm = true },
};

const gh__arch *gh__arch_find(const char *name)
{
	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
		if (strcmp(table[i].name, name) == 0)
			return &table[i];
	return NULL;
}

int64_t gh__model_parameters(const gh__model_desc *desc)
{
	const gh_plan_shape *s = &desc->shape;
	int64_t q = (int64_t)s->heads * s->head_dim, kv = (int64_t)s->kv_heads * s->head_dim;
	int64_t layer = s->hidden * (2 * q + 2 * kv + 3 * s->intermediate + 2);

	if (desc->arch->qkv_bias)
		layer += q + 2 * kv;
	if (desc->arch->qk_norm)
		layer += 2 * (int64_t)s->head_dim;
	return layer * s->layers + s->hidden + (desc->tied ? 1 : 2) * s->vocab * s->hidden;
}
