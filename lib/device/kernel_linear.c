#include "base/alloc.h"
#include "base/error.h"
#include "device/kernel.h"

/*
 * linear and quantise, as programs call them. A packed matrix of e4m3 has its scales behind it, n of
 * them, so that a run needs one pointer.
 */
#define LINEAR_FLAGS (GH_LINEAR_QUANTISE | GH_LINEAR_BIAS | GH_LINEAR_SWIGLU)

static size_t matrix_size(const gh_kernel *kernel)
{
	size_t size = kernel->device->table->packed_size(kernel->device->self, kernel->kernel);

	return (size + GH__KERNEL_ALIGNMENT - 1) / GH__KERNEL_ALIGNMENT * GH__KERNEL_ALIGNMENT;
}

/* Where the scales of a packed matrix are; NULL: it has none. */
static float *scales_of(const gh_kernel *kernel, gh_devptr packed)
{
	if (kernel->desc.linear.weight != GH_E4M3)
		return NULL;
	return gh__at(packed + matrix_size(kernel));
}

gh_status gh_linear_create(gh_kernel **out, gh_device *device, const gh_linear_options *options,
			   gh_error *error)
{
	gh__op_desc desc = { .kind = GH__OP_LINEAR };
	gh_linear_options all;
	gh_status status = gh__kernel_options(&all, sizeof all, options, out, error);

	if (status == GH_OK)
		gh__want_bits(&status, "linear flags", all.flags, LINEAR_FLAGS, error);
	if (status != GH_OK)
		return status;
	if (all.out == 0)
		all.out = all.x == GH_E4M3 ? GH_F16 : all.x;
	desc.linear = (gh__linear_desc){
		.weight = (gh_dtype)all.weight,
		.act = (gh_dtype)all.x,
		.out = (gh_dtype)all.out,
		.prologue =
			all.flags & GH_LINEAR_QUANTISE ? GH__PROLOGUE_QUANTISE : GH__PROLOGUE_NONE,
		.epilogue = all.flags & GH_LINEAR_SWIGLU ? GH__EPILOGUE_SWIGLU : GH__EPILOGUE_NONE,
		.bias = (all.flags & GH_LINEAR_BIAS) != 0,
		.n = all.n,
		.k = all.k,
	};
	return gh__kernel_create(out, device, &desc, error);
}

static bool is_linear(const gh_kernel *kernel)
{
	gh_error none = GH_ERROR_INIT;
	gh_linear_args copy, args = GH_LINEAR_ARGS_INIT;

	return gh__kernel_args(&copy, sizeof copy, &args, kernel, GH__OP_LINEAR, &none) == GH_OK;
}

size_t gh_linear_packed_size(const gh_kernel *kernel)
{
	size_t scales = 0;

	if (!is_linear(kernel))
		return 0;
	if (kernel->desc.linear.weight == GH_E4M3)
		scales = (size_t)kernel->desc.linear.n * sizeof(float);
	return matrix_size(kernel) + scales;
}

gh_status gh_linear_pack(const gh_kernel *kernel, gh_devptr packed, const void *src, int64_t first,
			 int64_t rows, gh_error *error)
{
	gh__device *device;
	gh_status status = GH_OK;

	if (!is_linear(kernel))
		return gh__fail(error, GH_EINVAL, "kernel: expected one of linear");
	gh__want_address(&status, "packed", packed, GH__KERNEL_ALIGNMENT, error);
	if (status == GH_OK && src == NULL && rows > 0)
		status = gh__fail(error, GH_EINVAL, "src: NULL");
	if (status != GH_OK)
		return status;
	device = kernel->device;
	status = device->table->pack(device->self, kernel->kernel, gh__at(packed), src, first, rows,
				     error);
	if (status != GH_OK)
		return status;
	return device->table->synchronise(device->self, NULL, error);
}

gh_status gh_linear_pack_scales(const gh_kernel *kernel, gh_devptr packed, const float *scales,
				int64_t count, gh_error *error)
{
	gh__device *device;
	gh_status status = GH_OK;
	int64_t n;
	float *all;

	if (!is_linear(kernel))
		return gh__fail(error, GH_EINVAL, "kernel: expected one of linear");
	gh__want_address(&status, "packed", packed, GH__KERNEL_ALIGNMENT, error);
	if (status != GH_OK)
		return status;
	device = kernel->device;
	n = kernel->desc.linear.n;
	if (kernel->desc.linear.weight != GH_E4M3)
		return gh__fail(error, GH_EINVAL, "scales: weights of %s have none",
				gh_dtype_name(kernel->desc.linear.weight));
	if (scales == NULL || (count != 1 && count != n))
		return gh__fail(error, GH_EINVAL, "scales: %lld, expected 1 or %lld",
				scales ? (long long)count : 0LL, (long long)n);
	all = gh__malloc((size_t)n * sizeof *all);
	if (all == NULL)
		return gh__fail_nomem(error);
	for (int64_t i = 0; i < n; i++)
		all[i] = scales[count == 1 ? 0 : i];
	status = device->table->upload(device->self, scales_of(kernel, packed), all,
				       (size_t)n * sizeof *all, NULL, error);
	if (status == GH_OK)
		status = device->table->synchronise(device->self, NULL, error);
	gh__free(all);
	return status;
}

static gh_status check_run(const gh_kernel *kernel, gh_linear_args *args, gh_error *error)
{
	const gh__linear_desc *desc = &kernel->desc.linear;
	const bool narrow = desc->act == GH_E4M3;
	const int64_t columns = desc->epilogue == GH__EPILOGUE_SWIGLU ? desc->n / 2 : desc->n;
	gh_status status = GH_OK;

	gh__want_address(&status, "x", args->x, narrow ? 16 : gh_dtype_size(desc->act), error);
	gh__want_stride(&status, "x_stride", &args->x_stride, desc->k, narrow ? 16 : 1, error);
	if (narrow)
		gh__want_address(&status, "x_scale", args->x_scale, sizeof(float), error);
	gh__want_address(&status, "w", args->w, GH__KERNEL_ALIGNMENT, error);
	if (desc->bias)
		gh__want_address(&status, "bias", args->bias,
				 gh_dtype_size(narrow ? desc->out : desc->act), error);
	gh__want_address(&status, "y", args->y, gh_dtype_size(desc->out), error);
	gh__want_stride(&status, "y_stride", &args->y_stride, columns, 1, error);
	if (gh_kernel_workspace(kernel, args->rows) > 0)
		gh__want_address(&status, "workspace", args->workspace, GH__KERNEL_ALIGNMENT,
				 error);
	return status;
}

gh_status gh_linear_run(const gh_kernel *kernel, const gh_linear_args *args, gh_stream *stream,
			gh_error *error)
{
	gh_linear_args all;
	gh__op_args run;
	gh_status status = gh__kernel_args(&all, sizeof all, args, kernel, GH__OP_LINEAR, error);

	if (status == GH_OK)
		gh__want_rows(&status, all.rows, error);
	if (status != GH_OK || all.rows == 0)
		return status;
	status = check_run(kernel, &all, error);
	if (status != GH_OK)
		return status;
	run.linear = (gh__linear_args){
		.x = gh__at(all.x),
		.x_stride = all.x_stride,
		.w = gh__at(all.w),
		.w_scale = scales_of(kernel, all.w),
		.x_scale = gh__at(all.x_scale),
		.bias = gh__at(all.bias),
		.y = gh__at(all.y),
		.y_stride = all.y_stride,
		.workspace = gh__at(all.workspace),
		.m = all.rows,
	};
	return gh__kernel_launch(kernel, kernel->kernel, &run, stream, error);
}

/* ---- quantise ---- */

gh_status gh_quantise_create(gh_kernel **out, gh_device *device, const gh_quantise_options *options,
			     gh_error *error)
{
	gh__op_desc desc = { .kind = GH__OP_QUANTISE };
	gh_quantise_options all;
	gh_status status = gh__kernel_options(&all, sizeof all, options, out, error);

	if (status == GH_OK)
		gh__want_zero(&status, "quantise reserved", all.reserved, error);
	if (status != GH_OK)
		return status;
	desc.quantise = (gh__quantise_desc){ .act = (gh_dtype)all.x, .n = all.n };
	return gh__kernel_create(out, device, &desc, error);
}

gh_status gh_quantise_run(const gh_kernel *kernel, const gh_quantise_args *args, gh_stream *stream,
			  gh_error *error)
{
	gh_quantise_args all;
	gh__op_args run;
	gh_status status = gh__kernel_args(&all, sizeof all, args, kernel, GH__OP_QUANTISE, error);

	if (status == GH_OK)
		gh__want_rows(&status, all.rows, error);
	if (status != GH_OK || all.rows == 0)
		return status;
	gh__want_address(&status, "x", all.x, gh_dtype_size(kernel->desc.quantise.act), error);
	gh__want_stride(&status, "x_stride", &all.x_stride, kernel->desc.quantise.n, 1, error);
	gh__want_address(&status, "y", all.y, 16, error);
	gh__want_stride(&status, "y_stride", &all.y_stride, kernel->desc.quantise.n, 16, error);
	gh__want_address(&status, "scale", all.scale, sizeof(float), error);
	if (status != GH_OK)
		return status;
	run.quantise = (gh__quantise_args){
		.x = gh__at(all.x),
		.x_stride = all.x_stride,
		.y = gh__at(all.y),
		.y_stride = all.y_stride,
		.scale = gh__at(all.scale),
		.m = all.rows,
	};
	return gh__kernel_launch(kernel, kernel->kernel, &run, stream, error);
}
