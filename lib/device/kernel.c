#include "device/kernel.h"

#include "base/alloc.h"
#include "base/error.h"
#include "base/options.h"
#include "device/quantise.h"

enum { MAGIC = 0x67686b6e };

#define ROWS_MAX (INT64_C(1) << 30)

gh_status gh__kernel_options(void *copy, size_t size, const void *options, const void *out,
			     gh_error *error)
{
	if (out == NULL)
		return gh__fail(error, GH_EINVAL, "out: NULL");
	if (options == NULL)
		return gh__fail(error, GH_EINVAL, "options: NULL, expected a shape");
	return gh__options_copy(copy, size, size, options, error);
}

gh_status gh__kernel_args(void *copy, size_t size, const void *args, const gh_kernel *kernel,
			  gh__op_kind kind, gh_error *error)
{
	if (kernel == NULL || kernel->magic != MAGIC || kernel->desc.kind != kind)
		return gh__fail(error, GH_EINVAL, "kernel: expected one of this operation");
	if (args == NULL)
		return gh__fail(error, GH_EINVAL, "args: NULL");
	return gh__options_copy(copy, size, size, args, error);
}

gh_status gh__kernel_create(gh_kernel **out, gh_device *device, const gh__op_desc *desc,
			    gh_error *error)
{
	gh__device *inside;
	gh_kernel *kernel;
	gh_status status = gh__device_of(&inside, device, error);

	if (status != GH_OK)
		return status;
	kernel = gh__calloc(1, sizeof *kernel);
	if (kernel == NULL)
		return gh__fail_nomem(error);
	kernel->magic = MAGIC;
	kernel->desc = *desc;
	kernel->device = inside;
	status = gh__device_prepare(inside, desc, &kernel->kernel, error);
	if (status != GH_OK) {
		gh_kernel_free(kernel);
		return status;
	}
	*out = kernel;
	return GH_OK;
}

gh_status gh__kernel_add(gh_kernel *kernel, const gh__op_desc *desc, gh_error *error)
{
	gh_status status = gh__device_prepare(kernel->device, desc, &kernel->behind, error);

	if (status != GH_OK)
		gh_kernel_free(kernel);
	return status;
}

void gh_kernel_free(gh_kernel *kernel)
{
	if (kernel == NULL || kernel->magic != MAGIC)
		return;
	kernel->magic = 0;
	gh__device_kernel_free(kernel->device, kernel->kernel);
	gh__device_kernel_free(kernel->device, kernel->behind);
	gh__free(kernel);
}

size_t gh_kernel_workspace(const gh_kernel *kernel, int64_t rows)
{
	size_t size;

	if (kernel == NULL || kernel->magic != MAGIC || rows < 1 || rows > ROWS_MAX)
		return 0;
	size = kernel->device->table->workspace(kernel->device->self, kernel->kernel, rows);
	if (kernel->desc.kind == GH__OP_ATTENTION)
		size += GH__KERNEL_ALIGNMENT;
	if (kernel->behind != NULL)
		size += (size_t)(rows * kernel->desc.norm.n) * gh_dtype_size(kernel->desc.norm.act);
	return size;
}

gh_status gh__kernel_launch(const gh_kernel *kernel, const gh__kernel *which,
			    const gh__op_args *args, gh_stream *stream, gh_error *error)
{
	return kernel->device->table->run(kernel->device->self, which, args, stream, error);
}

/* ---- checks ---- */

void gh__want_rows(gh_status *status, int64_t rows, gh_error *error)
{
	if (*status == GH_OK && (rows < 0 || rows > ROWS_MAX))
		*status = gh__fail(error, GH_EINVAL, "rows: %lld is not between 0 and %lld",
				   (long long)rows, (long long)ROWS_MAX);
}

void gh__want_zero(gh_status *status, const char *what, uint32_t value, gh_error *error)
{
	if (*status == GH_OK && value != 0)
		*status = gh__fail(error, GH_EINVAL, "%s: %u, expected 0", what, (unsigned)value);
}

void gh__want_bits(gh_status *status, const char *what, uint32_t flags, uint32_t known,
		   gh_error *error)
{
	if (*status == GH_OK && (flags & ~known) != 0)
		*status = gh__fail(error, GH_EINVAL, "%s: 0x%x has unknown bits", what,
				   (unsigned)flags);
}

void gh__want_address(gh_status *status, const char *what, gh_devptr address, size_t unit,
		      gh_error *error)
{
	if (*status == GH_OK && (address == 0 || address % unit != 0))
		*status = gh__fail(error, GH_EINVAL,
				   "%s: 0x%llx, expected an address that is a multiple of %zu",
				   what, (unsigned long long)address, unit);
}

void gh__want_stride(gh_status *status, const char *what, int64_t *stride, int64_t least,
		     int64_t unit, gh_error *error)
{
	if (*stride == 0)
		*stride = (least + unit - 1) / unit * unit;
	if (*status == GH_OK && (*stride < least || *stride % unit != 0 || *stride > ROWS_MAX * 16))
		*status = gh__fail(error, GH_EINVAL,
				   "%s: %lld, expected at least %lld and a multiple of %lld", what,
				   (long long)*stride, (long long)least, (long long)unit);
}

/* ---- numbers on the host ---- */

static bool is_number(gh_dtype dtype)
{
	return dtype == GH_F32 || dtype == GH_F16 || dtype == GH_BF16 || dtype == GH_E4M3;
}

gh_status gh_convert(void *dst, gh_dtype dst_dtype, const void *src, gh_dtype src_dtype,
		     size_t count, gh_error *error)
{
	if (!is_number(dst_dtype) || !is_number(src_dtype))
		return gh__fail(error, GH_EINVAL, "dtype: %s is not F32, F16, BF16 or F8_E4M3",
				gh_dtype_name(is_number(dst_dtype) ? src_dtype : dst_dtype));
	if (count > 0 && (dst == NULL || src == NULL))
		return gh__fail(error, GH_EINVAL, "%s: NULL", dst == NULL ? "dst" : "src");
	if (count > 0)
		gh__convert(dst, dst_dtype, src, src_dtype, count);
	return GH_OK;
}
