#include <math.h>

#include "base/error.h"
#include "device/kernel.h"

/* attention, as programs call it. The step that the device reads is the head of the workspace, where
 * a plan puts it. */
_Static_assert(sizeof(gh__step) <= GH__KERNEL_ALIGNMENT, "the step fits before the rest");

static gh_status check_options(const gh_attention_options *all, gh_error *error)
{
	gh_status status = GH_OK;

	gh__want_zero(&status, "attention reserved", all->reserved, error);
	if (status == GH_OK &&
	    (all->kv_heads < 1 || all->heads < 1 || all->heads % all->kv_heads != 0))
		return gh__fail(error, GH_EINVAL, "heads: %d, expected a multiple of kv_heads, %d",
				(int)all->heads, (int)all->kv_heads);
	if (status == GH_OK && !(all->scale >= 0.0F && isfinite(all->scale)))
		return gh__fail(error, GH_EINVAL, "scale: %g, expected a number from 0 on",
				(double)all->scale);
	return status;
}

gh_status gh_attention_create(gh_kernel **out, gh_device *device,
			      const gh_attention_options *options, gh_error *error)
{
	gh__op_desc desc = { .kind = GH__OP_ATTENTION };
	gh_attention_options all;
	gh_status status = gh__kernel_options(&all, sizeof all, options, out, error);

	if (status == GH_OK)
		status = check_options(&all, error);
	if (status != GH_OK)
		return status;
	desc.attention = (gh__attention_desc){
		.act = (gh_dtype)all.dtype,
		.softmax = GH__SOFTMAX_ONLINE,
		.source = GH__KV_PAGED,
		.causal = true,
		.heads = all.heads,
		.group = all.heads / all.kv_heads,
		.kv = { (gh_dtype)(all.kv_dtype != 0 ? all.kv_dtype : all.dtype), all.kv_heads,
			all.head_dim, all.block_size != 0 ? all.block_size : 16 },
		.scale = all.scale != 0.0F ? all.scale : 1.0F / sqrtf((float)all.head_dim),
	};
	return gh__kernel_create(out, device, &desc, error);
}

static gh_status check_run(const gh__attention_desc *desc, gh_attention_args *args, gh_error *error)
{
	const int64_t columns = (int64_t)desc->heads * desc->kv.head_dim;
	const size_t size = gh_dtype_size(desc->act);
	gh_status status = GH_OK;

	if (args->sequences < 0 || args->sequences > args->rows)
		return gh__fail(error, GH_EINVAL, "sequences: %d is not between 0 and %d rows",
				(int)args->sequences, (int)args->rows);
	if (args->blocks_max < 1)
		return gh__fail(error, GH_EINVAL, "blocks_max: %d, expected at least 1",
				(int)args->blocks_max);
	gh__want_zero(&status, "attention reserved", args->reserved, error);
	gh__want_address(&status, "q", args->q, size, error);
	gh__want_stride(&status, "q_stride", &args->q_stride, columns, 1, error);
	gh__want_address(&status, "cache", args->cache, GH__KERNEL_ALIGNMENT, error);
	gh__want_address(&status, "position", args->position, sizeof(int32_t), error);
	gh__want_address(&status, "sequence", args->sequence, sizeof(int32_t), error);
	gh__want_address(&status, "row_start", args->row_start, sizeof(int32_t), error);
	gh__want_address(&status, "block_table", args->block_table, sizeof(int32_t), error);
	gh__want_address(&status, "y", args->y, size, error);
	gh__want_stride(&status, "y_stride", &args->y_stride, columns, 1, error);
	gh__want_address(&status, "workspace", args->workspace, GH__KERNEL_ALIGNMENT, error);
	return status;
}

/* The caller's arguments, checked, and their step. No rows: the step is not filled. */
static gh_status read_args(gh_attention_args *all, gh__step *step, const gh_kernel *kernel,
			   const gh_attention_args *args, gh_error *error)
{
	gh_status status = gh__kernel_args(all, sizeof *all, args, kernel, GH__OP_ATTENTION, error);

	if (status == GH_OK)
		gh__want_rows(&status, all->rows, error);
	if (status != GH_OK || all->rows == 0)
		return status;
	status = check_run(&kernel->desc.attention, all, error);
	*step = (gh__step){
		.tokens = all->rows,
		.sequences = all->sequences,
		.blocks_max = all->blocks_max,
		.position = gh__at(all->position),
		.sequence = gh__at(all->sequence),
		.row_start = gh__at(all->row_start),
		.block_table = gh__at(all->block_table),
	};
	return status;
}

gh_status gh_attention_plan(const gh_kernel *kernel, const gh_attention_args *args,
			    gh_stream *stream, gh_error *error)
{
	const gh__device *device;
	gh_attention_args all;
	gh__step step;
	gh_status status = read_args(&all, &step, kernel, args, error);

	if (status != GH_OK || all.rows == 0)
		return status;
	device = kernel->device;
	return device->table->upload(device->self, gh__at(all.workspace), &step, sizeof step,
				     stream, error);
}

gh_status gh_attention_run(const gh_kernel *kernel, const gh_attention_args *args,
			   gh_stream *stream, gh_error *error)
{
	gh_attention_args all;
	gh__op_args run;
	gh__step step;
	gh_status status = read_args(&all, &step, kernel, args, error);

	if (status != GH_OK || all.rows == 0)
		return status;
	run.attention = (gh__attention_args){
		.qkv = gh__at(all.q),
		.qkv_stride = all.q_stride,
		.cache = gh__at(all.cache),
		.k_scale = gh__scale_of(all.k_scale),
		.v_scale = gh__scale_of(all.v_scale),
		.step = gh__at(all.workspace),
		.host = &step,
		.y = gh__at(all.y),
		.y_stride = all.y_stride,
		.workspace = gh__at(all.workspace + GH__KERNEL_ALIGNMENT),
	};
	return gh__kernel_launch(kernel, kernel->kernel, &run, stream, error);
}
