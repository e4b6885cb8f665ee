#include "model/tensors.h"

#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/map.h"

/* The sizes that shapes are made of. */
typedef enum size_name { ONE, HIDDEN, QUERY, KEY, INNER, VOCAB, HEAD_DIM } size_name;
typedef enum presence { ALWAYS, WITH_BIAS, WITH_QK_NORM, UNTIED } presence;

static const struct {
	const char *name;
	size_name rows, columns; /* columns ONE: a vector */
	presence when;
} slots[GH__SLOTS] = {
	[GH__SLOT_EMBED] = { "model.embed_tokens.weight", VOCAB, HIDDEN, ALWAYS },
	[GH__SLOT_NORM] = { "model.norm.weight", HIDDEN, ONE, ALWAYS },
	[GH__SLOT_HEAD] = { "lm_head.weight", VOCAB, HIDDEN, UNTIED },
	[GH__SLOT_INPUT_NORM] = { "input_layernorm.weight", HIDDEN, ONE, ALWAYS },
	[GH__SLOT_Q] = { "self_attn.q_proj.weight", QUERY, HIDDEN, ALWAYS },
	[GH__SLOT_K] = { "self_attn.k_proj.weight", KEY, HIDDEN, ALWAYS },
	[GH__SLOT_V] = { "self_attn.v_proj.weight", KEY, HIDDEN, ALWAYS },
	[GH__SLOT_Q_BIAS] = { "self_attn.q_proj.bias", QUERY, ONE, WITH_BIAS },
	[GH__SLOT_K_BIAS] = { "self_attn.k_proj.bias", KEY, ONE, WITH_BIAS },
	[GH__SLOT_V_BIAS] = { "self_attn.v_proj.bias", KEY, ONE, WITH_BIAS },
	[GH__SLOT_Q_NORM] = { "self_attn.q_norm.weight", HEAD_DIM, ONE, WITH_QK_NORM },
	[GH__SLOT_K_NORM] = { "self_attn.k_norm.weight", HEAD_DIM, ONE, WITH_QK_NORM },
	[GH__SLOT_O] = { "self_attn.o_proj.weight", HIDDEN, QUERY, ALWAYS },
	[GH__SLOT_POST_NORM] = { "post_attention_layernorm.weight", HIDDEN, ONE, ALWAYS },
	[GH__SLOT_GATE] = { "mlp.gate_proj.weight", INNER, HIDDEN, ALWAYS },
	[GH__SLOT_UP] = { "mlp.up_proj.weight", INNER, HIDDEN, ALWAYS },
	[GH__SLOT_DOWN] = { "mlp.down_proj.weight", HIDDEN, INNER, ALWAYS },
};

static int64_t size_of(const gh_plan_shape *s, size_name name)
{
	switch (name) {
	case ONE:
		return 1;
	case HIDDEN:
		return s->hidden;
	case QUERY:
		return (int64_t)s->heads * s->head_dim;
	case KEY:
		return (int64_t)s->kv_heads * s->head_dim;
	case INNER:
		return s->intermediate;
	case VOCAB:
		return s->vocab;
	case HEAD_DIM:
		return s->head_dim;
	}
	return 0;
}

bool gh__tensor_describe(gh__tensor *out, const gh__model_desc *desc, gh__slot slot, int32_t layer)
{
	if ((slots[slot].when == WITH_BIAS && !desc->arch->qkv_bias) ||
	    (slots[slot].when == WITH_QK_NORM && !desc->arch->qk_norm) ||
	    (slots[slot].when == UNTIED && desc->tied))
		return false;
	*out = (gh__tensor){
		.slot = slot,
		.layer = slot < GH__SLOT_LAYER ? -1 : layer,
		.dims = slots[slot].columns == ONE ? 1 : 2,
		.rows = size_of(&desc->shape, slots[slot].rows),
		.columns = size_of(&desc->shape, slots[slot].columns),
	};
	out->matrix = slot >= GH__SLOT_LAYER && out->dims == 2;
	if (slot < GH__SLOT_LAYER)
		snprintf(out->name, sizeof out->name, "%s", slots[slot].name);
	else
		snprintf(out->name, sizeof out->name, "model.layers.%d.%s", layer,
			 slots[slot].name);
	return true;
}

static bool ends_with(const char *text, const char *end)
{
	size_t len = strlen(text), n = strlen(end);

	return len >= n && strcmp(text + len - n, end) == 0;
}

/* Tensors that may be there beside those of the table. */
static bool known_extra(const gh__model_desc *desc, const char *name)
{
	static const char *const anywhere[] = { ".rotary_emb.inv_freq", ".k_scale", ".v_scale",
						".kv_scale", "_proj.output_scale" };

	for (size_t i = 0; i < sizeof anywhere / sizeof anywhere[0]; i++)
		if (ends_with(name, anywhere[i]))
			return true;
	return (desc->tied && strcmp(name, slots[GH__SLOT_HEAD].name) == 0) ||
	       (desc->stored.e4m3 && ends_with(name, "_proj.input_scale"));
}

static gh_status check_shape(const gh__tensor *t, const gh_tensor_info *info, gh_error *error)
{
	char want[48], have[GH_DIMS_MAX * 22] = "";
	size_t len = 0;

	/* Dimensions that a tensor does not have are 1, on both sides. */
	if (info->dims == t->dims && info->shape[0] == t->rows && info->shape[1] == t->columns)
		return GH_OK;
	if (t->dims == 1)
		snprintf(want, sizeof want, "%lld", (long long)t->rows);
	else
		snprintf(want, sizeof want, "%lld, %lld", (long long)t->rows,
			 (long long)t->columns);
	for (int32_t i = 0; i < info->dims && len < sizeof have; i++)
		len += (size_t)snprintf(have + len, sizeof have - len, "%s%lld", i > 0 ? ", " : "",
					(long long)info->shape[i]);
	return gh__fail(error, GH_EFORMAT, "%s in %s: shape [%s], [%s] expected", t->name,
			info->file, have, want);
}

static gh_status check_tensor(const gh__model_desc *desc, const gh__tensor *t,
			      const gh_tensor_info *info, gh_error *error)
{
	if (desc->stored.e4m3 && t->matrix) {
		if (info->dtype != GH_E4M3)
			return gh__fail(error, GH_ENOTSUP, "%s in %s: %s, F8_E4M3 expected",
					t->name, info->file, gh_dtype_name((gh_dtype)info->dtype));
	} else if (info->dtype != GH_F32 && info->dtype != GH_F16 && info->dtype != GH_BF16) {
		return gh__fail(error, GH_ENOTSUP, "%s in %s: %s, F32, F16 or BF16 expected",
				t->name, info->file, gh_dtype_name((gh_dtype)info->dtype));
	}
	return check_shape(t, info, error);
}

/* The scale of a stored e4m3 matrix: a number, or one for each row. */
static gh_status check_scale(const gh__tensor *t, const char *name, const gh_tensor_info *info,
			     gh_error *error)
{
	uint64_t count = 1;

	for (int32_t i = 0; i < info->dims; i++)
		count *= (uint64_t)info->shape[i];
	if (count != 1 && (count != (uint64_t)t->rows || info->shape[0] != t->rows))
		return gh__fail(error, GH_EFORMAT, "%s in %s: %llu scales, 1 or %lld expected",
				name, info->file, (unsigned long long)count, (long long)t->rows);
	if (info->dtype != GH_F32 && info->dtype != GH_BF16 && info->dtype != GH_F16)
		return gh__fail(error, GH_ENOTSUP, "%s in %s: %s, F32 or BF16 expected", name,
				info->file, gh_dtype_name((gh_dtype)info->dtype));
	return GH_OK;
}

/* Find one tensor (with its scale), check it, and remember its name. */
static gh_status expect(gh__map *names, const gh__model_desc *desc, const gh__tensor *t,
			const gh_checkpoint *checkpoint, gh_error *error)
{
	const gh_tensor_info *info = gh_checkpoint_find(checkpoint, t->name);
	char scale[sizeof t->name + 8];
	gh_status status;

	if (info == NULL)
		return gh__fail(error, GH_EFORMAT, "%s: not in the checkpoint, %s expects it",
				t->name, desc->arch->name);
	status = check_tensor(desc, t, info, error);
	if (status == GH_OK)
		status = gh__map_put(names, t->name, (void *)(uintptr_t)info, error);
	if (status != GH_OK || !desc->stored.e4m3 || !t->matrix)
		return status;
	snprintf(scale, sizeof scale, "%s_scale", t->name);
	info = gh_checkpoint_find(checkpoint, scale);
	if (info == NULL)
		return gh__fail(error, GH_EFORMAT, "%s: not in the checkpoint", scale);
	status = check_scale(t, scale, info, error);
	return status != GH_OK ? status : gh__map_put(names, scale, (void *)(uintptr_t)info, error);
}

gh_status gh__tensors_check(const gh__model_desc *desc, const gh_checkpoint *checkpoint,
			    gh_error *error)
{
	gh__map *names;
	gh__tensor t;
	gh_status status = gh__map_create(&names, NULL, error);

	if (status != GH_OK)
		return status;
	for (int slot = 0; slot < GH__SLOTS && status == GH_OK; slot++) {
		int32_t layers = slot < GH__SLOT_LAYER ? 1 : desc->shape.layers;

		for (int32_t layer = 0; layer < layers && status == GH_OK; layer++)
			if (gh__tensor_describe(&t, desc, (gh__slot)slot, layer))
				status = expect(names, desc, &t, checkpoint, error);
	}
	for (size_t i = 0; i < gh_checkpoint_count(checkpoint) && status == GH_OK; i++) {
		const gh_tensor_info *info = gh_checkpoint_at(checkpoint, i);

		if (gh__map_get(names, info->name) == NULL && !known_extra(desc, info->name))
			status = gh__fail(error, GH_EFORMAT, "%s in %s: %s has no such tensor",
					  info->name, info->file, desc->arch->name);
	}
	gh__map_free(names);
	return status;
}
