#include <string.h>

#include "base/error.h"
#include "device/cuda/module.h"
#include "device/kernel.h"

/* The vendor's product: what a kernel of ours is held against. Only the CUDA module has one. */

gh_status gh_yardstick_create(gh_yardstick **out, gh_device *device,
			      const gh_linear_options *options, int64_t rows, gh_error *error)
{
	const gh__cuda_module *module;
	gh__yardstick_desc desc;
	gh_linear_options all;
	gh__device *inside;
	gh_status status = gh__kernel_options(&all, sizeof all, options, out, error);

	if (status == GH_OK)
		status = gh__device_of(&inside, device, error);
	if (status == GH_OK)
		gh__want_rows(&status, rows, error);
	if (status != GH_OK)
		return status;
	if (rows < 1 || all.n < 16 || all.k < 16 || all.n % 16 != 0 || all.k % 16 != 0)
		return gh__fail(error, GH_EINVAL,
				"yardstick: %lld x %lld x %lld, expected multiples of 16 behind "
				"the rows",
				(long long)rows, (long long)all.n, (long long)all.k);
	if (strcmp(inside->table->kind, "cuda") != 0)
		return gh__fail(error, GH_ENOTSUP, "yardstick: a device of kind \"%s\" has none",
				inside->table->kind);
	desc = (gh__yardstick_desc){ .operand = (gh_dtype)all.weight,
				     .out = (gh_dtype)(all.out != 0 ? all.out : GH_F16),
				     .rows = rows,
				     .n = all.n,
				     .k = all.k };
	status = gh__cuda_module_get(&module, error);
	return status == GH_OK ? module->yardstick(out, inside, &desc, error) : status;
}

void gh_yardstick_free(gh_yardstick *yardstick)
{
	if (yardstick != NULL)
		yardstick->free(yardstick);
}

gh_status gh_yardstick_run(gh_yardstick *yardstick, gh_devptr x, gh_devptr w, gh_devptr y,
			   gh_stream *stream, gh_error *error)
{
	gh_status status = GH_OK;

	if (yardstick == NULL)
		return gh__fail(error, GH_EINVAL, "yardstick: NULL");
	gh__want_address(&status, "x", x, 16, error);
	gh__want_address(&status, "w", w, 16, error);
	gh__want_address(&status, "y", y, 16, error);
	if (status != GH_OK)
		return status;
	return yardstick->run(yardstick, gh__at(x), gh__at(w), gh__at(y), stream, error);
}
