#include "model/kernels.h"

#include <math.h>
#include <string.h>

#include "base/error.h"

static gh_status prepare(gh__kernels *k, gh__kernel **out, gh__op_desc desc, gh_error *error)
{
	return gh__device_prepare(k->device, &desc, out, error);
}

static gh_status prepare_norms(gh__kernels *k, const gh__model_desc *desc, gh_dtype act,
			       gh_error *error)
{
	gh__norm_desc norm = {
		.act = act,
		.rounding = desc->arch->norm,
		.n = desc->shape.hidden,
		.eps = desc->eps,
	};
	gh_status status;

	status = prepare(k, &k->norm, (gh__op_desc){ .kind = GH__OP_NORM, .norm = norm }, error);
	if (status == GH_OK && desc->arch->qk_norm) {
		norm.n = desc->shape.head_dim;
		status = prepare(k, &k->head_norm,
				 (gh__op_desc){ .kind = GH__OP_NORM, .norm = norm }, error);
		norm.n = desc->shape.hidden;
	}
	if (status != GH_OK)
		return status;
	norm.residual = true;
	return prepare(k, &k->residual_norm, (gh__op_desc){ .kind = GH__OP_NORM, .norm = norm },
		       error);
}

static gh_status prepare_linear(gh__kernels *k, gh__kernel **out, const gh__numerics *numerics,
				gh__epilogue epilogue, bool bias, int64_t n, int64_t k_dim,
				gh_error *error)
{
	return prepare(k, out,
		       (gh__op_desc){ .kind = GH__OP_LINEAR,
				      .linear = { .weight = numerics->weight,
						  .act = numerics->act,
						  .out = numerics->act,
						  .prologue = numerics->quantise
								      ? GH__PROLOGUE_QUANTISE
								      : GH__PROLOGUE_NONE,
						  .epilogue = epilogue,
						  .bias = bias,
						  .n = n,
						  .k = k_dim } },
		       error);
}

static gh_status prepare_linears(gh__kernels *k, const gh__model_desc *desc,
				 const gh__numerics *numerics, const gh_plan *plan, gh_error *error)
{
	int64_t d = desc->shape.head_dim, hidden = desc->shape.hidden;
	int64_t inner = plan->intermediate.count;
	int64_t qkv = (plan->heads.count + 2 * plan->kv_heads.count) * d;
	gh_error refusal = GH_ERROR_INIT;
	gh_status status;

	status = prepare_linear(k, &k->qkv, numerics, GH__EPILOGUE_NONE, desc->arch->qkv_bias, qkv,
				hidden, error);
	if (status == GH_OK)
		status = prepare_linear(k, &k->o, numerics, GH__EPILOGUE_NONE, false,
					plan->hidden.count, desc->shape.heads * d, error);
	if (status == GH_OK)
		status = prepare_linear(k, &k->down, numerics, GH__EPILOGUE_NONE, false,
					plan->hidden.count, desc->shape.intermediate, error);
	if (status != GH_OK)
		return status;
	status = prepare_linear(k, &k->gate_up, numerics, GH__EPILOGUE_SWIGLU, false, 2 * inner,
				hidden, &refusal);
	if (status != GH_ENOTSUP)
		return status == GH_OK ? GH_OK : gh__fail(error, status, "%s", refusal.text);
	status = prepare_linear(k, &k->gate_up, numerics, GH__EPILOGUE_NONE, false, 2 * inner,
				hidden, error);
	if (status != GH_OK)
		return status;
	return prepare(k, &k->glu,
		       (gh__op_desc){ .kind = GH__OP_GLU,
				      .glu = { .act = numerics->act, .n = inner } },
		       error);
}

static gh_status prepare_attention(gh__kernels *k, const gh__model_desc *desc,
				   const gh__numerics *numerics, const gh_plan *plan,
				   gh_error *error)
{
	const gh__arch *arch = desc->arch;
	gh_status status;

	status = prepare(k, &k->rope,
			 (gh__op_desc){ .kind = GH__OP_ROPE,
					.rope = { .act = numerics->act,
						  .pairing = arch->pairing,
						  .rounding = arch->rotation,
						  .heads = (int32_t)plan->heads.count,
						  .kv = k->kv } },
			 error);
	if (status != GH_OK)
		return status;
	return prepare(k, &k->attention,
		       (gh__op_desc){
			       .kind = GH__OP_ATTENTION,
			       .attention = { .act = numerics->act,
					      .softmax = arch->softmax,
					      .source = arch->kv,
					      .causal = true,
					      .heads = (int32_t)plan->heads.count,
					      .group = desc->shape.heads / desc->shape.kv_heads,
					      .head_first = (int32_t)plan->heads.first,
					      .kv_first = (int32_t)plan->kv_heads.first,
					      .kv = k->kv,
					      .length = desc->max_length,
					      .scale =
						      (float)(1.0 / sqrt(desc->shape.head_dim)) } },
		       error);
}

/* What stands at the two ends of the model. */
static gh_status prepare_ends(gh__kernels *k, const gh__model_desc *desc,
			      const gh__numerics *numerics, const gh_plan *plan, gh_error *error)
{
	const int64_t hidden = desc->shape.hidden;
	const gh__op_desc embed = { .kind = GH__OP_EMBED,
				    .embed = { .act = numerics->act, .hidden = hidden } };
	const gh__op_desc select = { .kind = GH__OP_SELECT,
				     .select = { .act = numerics->act, .n = hidden } };
	const gh__op_desc select_heads = {
		.kind = GH__OP_SELECT,
		.select = { .act = numerics->act, .n = plan->heads.count * desc->shape.head_dim }
	};
	const gh__op_desc head = { .kind = GH__OP_LINEAR,
				   .linear = { .weight = numerics->act,
					       .act = numerics->act,
					       .out = numerics->logits,
					       .n = plan->vocab.count,
					       .k = hidden } };
	const gh__op_desc sample = { .kind = GH__OP_SAMPLE,
				     .sample = { .logits = numerics->logits,
						 .vocab = desc->shape.vocab } };
	gh_status status = prepare(k, &k->select, select, error);

	if (status == GH_OK && desc->arch->input == GH__INPUT_TOKENS)
		status = prepare(k, &k->embed, embed, error);
	if (status == GH_OK)
		status = prepare(k, &k->select_heads, select_heads, error);
	if (status == GH_OK)
		status = prepare(k, &k->head, head, error);
	if (status == GH_OK)
		status = prepare(k, &k->sample, sample, error);
	return status;
}

gh_status gh__kernels_prepare(gh__kernels *out, gh__device *device, const gh__model_desc *desc,
			      const gh__numerics *numerics, const gh_plan *plan, gh_error *error)
{
	gh_status status;

	*out = (gh__kernels){
		.device = device,
		.kv = { .dtype = numerics->kv,
			.kv_heads = (int32_t)plan->kv_heads.count,
			.head_dim = desc->shape.head_dim,
			.block_size = GH__KV_BLOCK },
	};
	status = prepare_norms(out, desc, numerics->act, error);
	if (status == GH_OK)
		status = prepare_linears(out, desc, numerics, plan, error);
	if (status == GH_OK)
		status = prepare_attention(out, desc, numerics, plan, error);
	if (status == GH_OK)
		status = prepare_ends(out, desc, numerics, plan, error);
	if (status != GH_OK)
		gh__kernels_free(out);
	return status;
}

/* All of them, in the order of the struct. */
enum { KERNELS = 15 };

static void list(const gh__kernels *k, gh__kernel *out[KERNELS])
{
	gh__kernel *const all[KERNELS] = { k->embed,        k->norm, k->residual_norm, k->head_norm,
					   k->qkv,          k->o,    k->gate_up,       k->down,
					   k->glu,          k->rope, k->attention,     k->select,
					   k->select_heads, k->head, k->sample };

	memcpy(out, all, sizeof all);
}

void gh__kernels_free(gh__kernels *kernels)
{
	gh__kernel *all[KERNELS];

	if (kernels->device == NULL)
		return;
	list(kernels, all);
	for (int i = 0; i < KERNELS; i++)
		if (all[i] != NULL)
			gh__device_kernel_free(kernels->device, all[i]);
	*kernels = (gh__kernels){ 0 };
}

size_t gh__kernels_workspace(const gh__kernels *kernels, int64_t rows)
{
	const gh__device *device = kernels->device;
	gh__kernel *all[KERNELS];
	size_t most = 0;

	list(kernels, all);
	for (int i = 0; i < KERNELS; i++) {
		size_t size =
			all[i] == NULL ? 0 : device->table->workspace(device->self, all[i], rows);

		most = size > most ? size : most;
	}
	return most;
}
