#include "base/error.h"
#include "device/kernel.h"

/* norm, rope and swiglu, as programs call them: what goes row by row. */

#define NORM_FLAGS (GH_NORM_RESIDUAL | GH_NORM_QUANTISE)
#define ROPE_FLAGS (GH_ROPE_INTERLEAVED | GH_ROPE_ROUND_ONCE)

/* ---- norm; with a quantisation behind it, its rows lie in the workspace meanwhile ---- */

gh_status gh_norm_create(gh_kernel **out, gh_device *device, const gh_norm_options *options,
			 gh_error *error)
{
	gh__op_desc desc = { .kind = GH__OP_NORM }, behind = { .kind = GH__OP_QUANTISE };
	gh_norm_options all;
	gh_kernel *kernel = NULL;
	gh_status status = gh__kernel_options(&all, sizeof all, options, out, error);

	if (status == GH_OK)
		gh__want_bits(&status, "norm flags", all.flags, NORM_FLAGS, error);
	if (status == GH_OK)
		gh__want_zero(&status, "norm reserved", all.reserved, error);
	if (status == GH_OK && !(all.eps >= 0.0F))
		status = gh__fail(error, GH_EINVAL, "norm eps: %g is below 0", (double)all.eps);
	if (status != GH_OK)
		return status;
	desc.norm = (gh__norm_desc){ .act = (gh_dtype)all.dtype,
				     .rounding = GH__NORM_ROUND_TWICE,
				     .residual = (all.flags & GH_NORM_RESIDUAL) != 0,
				     .n = all.n,
				     .eps = all.eps };
	behind.quantise = (gh__quantise_desc){ .act = (gh_dtype)all.dtype, .n = all.n };
	status = gh__kernel_create(&kernel, device, &desc, error);
	if (status == GH_OK && all.flags & GH_NORM_QUANTISE)
		status = gh__kernel_add(kernel, &behind, error);
	if (status == GH_OK)
		*out = kernel;
	return status;
}

static gh_status check_norm(const gh_kernel *kernel, gh_norm_args *args, gh_error *error)
{
	const gh__norm_desc *desc = &kernel->desc.norm;
	const size_t size = gh_dtype_size(desc->act);
	const bool single = desc->residual || kernel->behind != NULL;
	gh_status status = GH_OK;

	if (args->groups == 0)
		args->groups = 1;
	if (args->groups < 1 || args->groups > (single ? 1 : 1 << 20))
		return gh__fail(error, GH_EINVAL, "groups: %lld, expected %s",
				(long long)args->groups,
				single ? "1 with these flags" : "1 to 1048576");
	gh__want_address(&status, "x", args->x, size, error);
	gh__want_stride(&status, "x_stride", &args->x_stride, args->groups * desc->n, 1, error);
	gh__want_address(&status, "weight", args->weight, size, error);
	if (desc->residual)
		gh__want_address(&status, "residual", args->residual, size, error);
	gh__want_address(&status, "y", args->y, kernel->behind ? 16 : size, error);
	gh__want_stride(&status, "y_stride", &args->y_stride, args->groups * desc->n,
			kernel->behind ? 16 : 1, error);
	if (kernel->behind != NULL) {
		gh__want_address(&status, "y_scale", args->y_scale, sizeof(float), error);
		gh__want_address(&status, "workspace", args->workspace, GH__KERNEL_ALIGNMENT,
				 error);
	}
	return status;
}

static gh_status quantise_behind(const gh_kernel *kernel, const gh_norm_args *args,
				 gh_stream *stream, gh_error *error)
{
	const gh__op_args run = { .quantise = { .x = gh__at(args->workspace),
						.x_stride = kernel->desc.norm.n,
						.y = gh__at(args->y),
						.y_stride = args->y_stride,
						.scale = gh__at(args->y_scale),
						.m = args->rows } };

	return gh__kernel_launch(kernel, kernel->behind, &run, stream, error);
}

gh_status gh_norm_run(const gh_kernel *kernel, const gh_norm_args *args, gh_stream *stream,
		      gh_error *error)
{
	gh_norm_args all;
	gh__op_args run;
	gh_status status = gh__kernel_args(&all, sizeof all, args, kernel, GH__OP_NORM, error);

	if (status == GH_OK)
		gh__want_rows(&status, all.rows, error);
	if (status != GH_OK || all.rows == 0)
		return status;
	status = check_norm(kernel, &all, error);
	if (status != GH_OK)
		return status;
	run.norm = (gh__norm_args){
		.x = gh__at(all.x),
		.x_stride = all.x_stride,
		.groups = all.groups,
		.residual = gh__at(all.residual),
		.weight = gh__at(all.weight),
		.y = gh__at(kernel->behind ? all.workspace : all.y),
		.y_stride = kernel->behind ? kernel->desc.norm.n : all.y_stride,
		.m = all.rows,
	};
	status = gh__kernel_launch(kernel, kernel->kernel, &run, stream, error);
	if (status == GH_OK && kernel->behind != NULL)
		status = quantise_behind(kernel, &all, stream, error);
	return status;
}

/* ---- rope ---- */

gh_status gh_rope_create(gh_kernel **out, gh_device *device, const gh_rope_options *options,
			 gh_error *error)
{
	gh__op_desc desc = { .kind = GH__OP_ROPE };
	gh_rope_options all;
	gh_status status = gh__kernel_options(&all, sizeof all, options, out, error);

	if (status == GH_OK)
		gh__want_bits(&status, "rope flags", all.flags, ROPE_FLAGS, error);
	if (status == GH_OK)
		gh__want_zero(&status, "rope reserved", all.reserved, error);
	if (status != GH_OK)
		return status;
	desc.rope = (gh__rope_desc){
		.act = (gh_dtype)all.dtype,
		.pairing = all.flags & GH_ROPE_INTERLEAVED ? GH__ROPE_INTERLEAVED : GH__ROPE_HALF,
		.rounding = all.flags & GH_ROPE_ROUND_ONCE ? GH__ROPE_ROUND_ONCE
							   : GH__ROPE_ROUND_PRODUCTS,
		.heads = all.heads,
		.kv = { (gh_dtype)all.kv_dtype, all.kv_heads, all.head_dim,
			all.block_size != 0 ? all.block_size : 16 },
	};
	return gh__kernel_create(out, device, &desc, error);
}

static gh_status check_rope(const gh__rope_desc *desc, gh_rope_args *args, gh_error *error)
{
	const int64_t heads = (int64_t)desc->heads + 2 * (int64_t)desc->kv.kv_heads;
	const size_t size = gh_dtype_size(desc->act);
	gh_status status = GH_OK;

	gh__want_address(&status, "qkv", args->qkv, size, error);
	gh__want_stride(&status, "qkv_stride", &args->qkv_stride, heads * desc->kv.head_dim, 1,
			error);
	gh__want_address(&status, "table", args->table, size, error);
	gh__want_address(&status, "position", args->position, sizeof(int32_t), error);
	if (desc->kv.dtype == GH_DTYPE_NONE)
		return status;
	gh__want_address(&status, "slot", args->slot, sizeof(int64_t), error);
	gh__want_address(&status, "cache", args->cache, GH__KERNEL_ALIGNMENT, error);
	return status;
}

gh_status gh_rope_run(const gh_kernel *kernel, const gh_rope_args *args, gh_stream *stream,
		      gh_error *error)
{
	gh_rope_args all;
	gh__op_args run;
	gh_status status = gh__kernel_args(&all, sizeof all, args, kernel, GH__OP_ROPE, error);

	if (status == GH_OK)
		gh__want_rows(&status, all.rows, error);
	if (status != GH_OK || all.rows == 0)
		return status;
	status = check_rope(&kernel->desc.rope, &all, error);
	if (status != GH_OK)
		return status;
	run.rope = (gh__rope_args){
		.qkv = gh__at(all.qkv),
		.qkv_stride = all.qkv_stride,
		.table = gh__at(all.table),
		.position = gh__at(all.position),
		.slot = gh__at(all.slot),
		.cache = gh__at(all.cache),
		.k_scale = gh__scale_of(all.k_scale),
		.v_scale = gh__scale_of(all.v_scale),
		.m = all.rows,
	};
	return gh__kernel_launch(kernel, kernel->kernel, &run, stream, error);
}

/* ---- swiglu ---- */

gh_status gh_swiglu_create(gh_kernel **out, gh_device *device, const gh_swiglu_options *options,
			   gh_error *error)
{
	gh__op_desc desc = { .kind = GH__OP_GLU };
	gh_swiglu_options all;
	gh_status status = gh__kernel_options(&all, sizeof all, options, out, error);

	if (status == GH_OK)
		gh__want_zero(&status, "swiglu reserved", all.reserved, error);
	if (status != GH_OK)
		return status;
	desc.glu = (gh__glu_desc){ .act = (gh_dtype)all.dtype, .n = all.n };
	return gh__kernel_create(out, device, &desc, error);
}

gh_status gh_swiglu_run(const gh_kernel *kernel, const gh_swiglu_args *args, gh_stream *stream,
			gh_error *error)
{
	gh_swiglu_args all;
	gh__op_args run;
	gh_status status = gh__kernel_args(&all, sizeof all, args, kernel, GH__OP_GLU, error);

	if (status == GH_OK)
		gh__want_rows(&status, all.rows, error);
	if (status != GH_OK || all.rows == 0)
		return status;
	gh__want_address(&status, "x", all.x, gh_dtype_size(kernel->desc.glu.act), error);
	gh__want_stride(&status, "x_stride", &all.x_stride, 2 * kernel->desc.glu.n, 1, error);
	gh__want_address(&status, "y", all.y, gh_dtype_size(kernel->desc.glu.act), error);
	gh__want_stride(&status, "y_stride", &all.y_stride, kernel->desc.glu.n, 1, error);
	if (status != GH_OK)
		return status;
	run.glu = (gh__glu_args){
		.gate_up = gh__at(all.x),
		.stride = all.x_stride,
		.y = gh__at(all.y),
		.y_stride = all.y_stride,
		.m = all.rows,
	};
	return gh__kernel_launch(kernel, kernel->kernel, &run, stream, error);
}
