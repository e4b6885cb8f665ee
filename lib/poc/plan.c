#include "poc/plan.h"

#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/options.h"
#include "poc/drawing.h"

/* Rows of a batch from which on more do not make the matrices faster, and packing costs little: of
 * a CPU, and of a GPU. */
enum { CPU_ROWS = 2048, GPU_ROWS = 32768, BATCH_MAX = 512 };

static bool is_cpu(const gh_device_info *machine)
{
	return strcmp(machine->kind, "cpu") == 0;
}

/* ---- what the model's forward is told ---- */

static const gh__arch arch = {
	.name = "PoC",
	.input = GH__INPUT_ROWS,
	.norm = GH__NORM_ROUND_TWICE,
	.pairing = GH__ROPE_INTERLEAVED,
	.rotation = GH__ROPE_ROUND_ONCE,
	.softmax = GH__SOFTMAX_ROW,
	.kv = GH__KV_PACKED,
};

static const gh__numerics numerics = {
	.act = GH_F16,
	.logits = GH_F16,
	.weight = GH_F16,
	.kv = GH_DTYPE_NONE,
	.quantization = GH_QUANT_NONE,
	.name = "poc-v1",
};

void gh__poc_describe(gh__model_desc *out, const gh_poc_params *p, const gh__poc_shape *shape)
{
	*out = (gh__model_desc){ .arch = &arch,
				 .shape = { .hidden = p->dim,
					    .intermediate = shape->hidden,
					    .vocab = p->vocab_size,
					    .layers = (int32_t)p->n_layers,
					    .heads = (int32_t)p->n_heads,
					    .kv_heads = (int32_t)p->n_kv_heads,
					    .head_dim = (int32_t)shape->head_dim },
				 .max_length = (int32_t)p->seq_len,
				 .eps = (float)p->norm_eps,
				 .dtype = GH_F16,
				 .rope_theta = p->rope_theta };
	if (p->use_scaled_rope)
		out->rope_scaling = (gh__rope_scaling){ .kind = GH__ROPE_LLAMA3,
							.factor = 8.0,
							.low_freq_factor = 1.0,
							.high_freq_factor = 4.0,
							.original_max_positions = 8192 };
}

static gh_status make_weights(gh__weights *out, const gh__load *load, void *userdata,
			      gh_error *error)
{
	return gh__staged_create(out, userdata, load, error);
}

gh_status gh__poc_assemble(gh_model **out, const gh__poc_request *request,
			   gh__staged_options *weights, gh_error *error)
{
	gh__model_desc desc;

	gh__poc_describe(&desc, &request->params, &request->shape);
	return gh__model_assemble(out, &desc, &numerics, &request->device, make_weights, weights,
				  error);
}

gh__runner_options gh__poc_runner_options(const gh_poc_params *params, const gh__poc_plan *plan)
{
	return (gh__runner_options){ .step_tokens = plan->batch * (int32_t)params->seq_len,
				     .step_sequences = plan->batch,
				     .memory_limit = plan->total };
}

/* ---- what is asked for ---- */

int64_t gh__poc_budget(const gh_device_info *machine)
{
	return is_cpu(machine) ? machine->memory / 2 : machine->memory / 10 * 9;
}

gh_status gh__poc_request_read(gh__poc_request *out, const gh_poc_options *given, gh_error *error)
{
	gh_poc_options options;
	gh_status status = gh__options_copy(&options, sizeof options, sizeof options, given, error);

	*out = (gh__poc_request){ .device = GH_DEVICE_OPTIONS_INIT };
	if (status == GH_OK && !options.block_hash)
		status = gh__fail(error, GH_EINVAL, "block_hash: a string expected");
	if (status == GH_OK && options.params && options.params->reserved)
		status = gh__fail(error, GH_EINVAL, "params: reserved is not 0");
	if (status == GH_OK && options.batch < 0)
		status = gh__fail(error, GH_EINVAL, "batch: %d is below 0", (int)options.batch);
	if (status == GH_OK && options.budget < 0)
		status = gh__fail(error, GH_EINVAL, "budget: %lld is below 0",
				  (long long)options.budget);
	if (status == GH_OK && !(options.r_target >= 0 && options.r_target <= 2))
		status = gh__fail(error, GH_EINVAL, "r_target: %g is not between 0 and 2",
				  options.r_target);
	if (status != GH_OK)
		return status;
	out->r_target = options.r_target > 0 ? options.r_target : GH_POC_R_TARGET;
	out->block_hash = options.block_hash;
	out->batch = options.batch;
	out->device.kind = options.device;
	out->device.threads = options.threads;
	out->device.flags = options.flags;
	if (options.params)
		out->params = *options.params;
	else
		status = gh_poc_params_named(&out->params, "mainnet", error);
	if (status == GH_OK)
		status = gh__poc_shape_of(&out->shape, &out->params, error);
	if (status == GH_OK)
		status = gh_device_info_get(&out->machine, &out->device, error);
	out->budget = options.budget ? options.budget : gh__poc_budget(&out->machine);
	return status;
}

/* ---- the plan ---- */

static gh_status measure_batch(gh__poc_plan *plan, gh_model *model, const gh__poc_request *request,
			       gh_error *error)
{
	const gh__runner_options options = gh__poc_runner_options(&request->params, plan);
	int64_t a_nonce = (int64_t)sizeof(uint16_t) *
			  ((int64_t)request->shape.input_size + 2 * request->params.vocab_size);
	int64_t drawing;
	gh_status status = gh__model_runner_measure(&plan->batch_bytes, model, &options, error);

	plan->draws = gh__poc_drawing_there(&drawing, model->rank[0].device, &request->shape,
					    plan->batch);
	plan->batch_bytes += plan->draws ? drawing : a_nonce * plan->batch;
	plan->total = plan->pool + plan->ends + plan->slots * plan->slot + plan->batch_bytes;
	return status;
}

/* The largest batch that fits beside the fewest slots, then as many slots as fit beside it. */
static gh_status choose(gh__poc_plan *plan, gh_model *model, const gh__poc_request *request,
			gh_error *error)
{
	gh_status status = measure_batch(plan, model, request, error);

	while (status == GH_OK && plan->total > request->budget && plan->batch > 1) {
		plan->batch /= 2;
		status = measure_batch(plan, model, request, error);
	}
	if (status != GH_OK)
		return status;
	if (plan->total > request->budget)
		return gh__fail(error, GH_ENOMEM,
				"budget: %lld bytes are too few: one nonce needs %lld (pool %lld, "
				"layers %lld, ends %lld, a batch of one %lld)",
				(long long)request->budget, (long long)plan->total,
				(long long)plan->pool, (long long)(plan->slots * plan->slot),
				(long long)plan->ends, (long long)plan->batch_bytes);
	while (plan->slots < request->params.n_layers &&
	       plan->total + plan->slot <= request->budget) {
		plan->slots++;
		plan->total += plan->slot;
	}
	return GH_OK;
}

static int32_t batch_that_pays(const gh__poc_request *request)
{
	int64_t rows = is_cpu(&request->machine) ? CPU_ROWS : GPU_ROWS, most = request->batch;
	int64_t batch = (rows + request->params.seq_len - 1) / request->params.seq_len;

	batch = batch > BATCH_MAX ? BATCH_MAX : batch;
	return (int32_t)(most > 0 && most < batch ? most : batch);
}

gh_status gh__poc_plan_make(gh__poc_plan *out, const gh__poc_request *request, gh_error *error)
{
	gh__staged_options nothing = { .params = &request->params };
	gh_model *model = NULL;
	gh_status status = gh__poc_assemble(&model, request, &nothing, error);

	*out = (gh__poc_plan){ 0 };
	if (status == GH_OK) {
		gh__staged_bytes bytes = gh__staged_measure(&model->rank[0].weights);

		out->pool = (int64_t)(request->shape.pool_size * sizeof(uint16_t));
		out->ends = bytes.fixed;
		out->slot = bytes.slot;
		out->slots = gh__staged_slots_min(&request->params);
		out->batch = batch_that_pays(request);
		status = choose(out, model, request, error);
	}
	gh_model_free(model);
	return status;
}

/* ---- what there is to tell ---- */

/* Operations that one nonce needs: all positions of the layers, but in the last one only k and v of
 * all of them; half of the scores' square; the logits of the last position. */
static double flops(const gh_poc_params *p, const gh__poc_shape *shape)
{
	double s = (double)p->seq_len, dim = (double)p->dim, kv = (double)shape->kv_dim;
	double rest = 2 * dim * dim + 3 * dim * (double)shape->hidden;
	double layer = 2 * s * (rest + 2 * dim * kv) + 4 * dim * s * (s + 1) / 2;
	double last = 2 * s * 2 * dim * kv + 2 * rest + 4 * dim * s;

	return ((double)p->n_layers - 1) * layer + last + 2 * dim * (double)p->vocab_size;
}

void gh__poc_info(gh_poc_info *out, const gh__poc_request *request, const gh__poc_plan *plan)
{
	const gh__poc_shape *shape = &request->shape;

	*out = (gh_poc_info){ .parameters = (int64_t)shape->total_size,
			      .pool = (int64_t)shape->pool_size,
			      .head_dim = shape->head_dim,
			      .hidden = shape->hidden,
			      .flops = flops(&request->params, shape),
			      .pool_bytes = plan->pool,
			      .ends_bytes = plan->ends,
			      .layer_bytes = plan->slot,
			      .batch_bytes = plan->batch_bytes,
			      .total_bytes = plan->total,
			      .layers_held = plan->slots,
			      .batch = plan->batch };
	snprintf(out->numerics, sizeof out->numerics, "%s", numerics.name);
	snprintf(out->device, sizeof out->device, "%s", request->machine.kind);
}

gh_status gh_poc_inspect(gh_poc_info *out, const gh_poc_options *options, gh_error *error)
{
	gh__poc_request request;
	gh__poc_plan plan;
	gh_status status = gh__poc_request_read(&request, options, error);

	if (status == GH_OK)
		status = gh__poc_plan_make(&plan, &request, error);
	if (status == GH_OK)
		gh__poc_info(out, &request, &plan);
	return status;
}
