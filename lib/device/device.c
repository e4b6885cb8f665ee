#include "device/device.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/options.h"
#include "device/cpu/machine.h"
#include "device/cpu/open.h"
#include "device/cuda/module.h"

static bool is_cuda(const gh_device_options *options)
{
	return strcmp(options->kind, "cuda") == 0;
}

/* A GPU where the module finds one that it has kernels for, unless what is asked for is a CPU's. */
static const char *best_kind(uint32_t flags)
{
	const gh__cuda_module *module;
	gh_device_info info;

	if (flags == 0 && gh__cuda_module_get(&module, NULL) == GH_OK &&
	    module->info(&info, 0, NULL) == GH_OK)
		return "cuda";
	return "cpu";
}

static gh_status read_options(gh_device_options *out, const gh_device_options *options,
			      gh_error *error)
{
	gh_status status =
		gh__options_copy(out, sizeof *out, sizeof(gh_device_options), options, error);

	if (status != GH_OK)
		return status;
	if (out->flags & ~GH_DEVICE_FLAGS)
		return gh__fail(error, GH_EINVAL, "device flags: 0x%x has unknown bits",
				(unsigned)out->flags);
	if (out->reserved != 0)
		return gh__fail(error, GH_EINVAL, "device reserved: %u, expected 0",
				(unsigned)out->reserved);
	if (out->kind == NULL)
		out->kind = best_kind(out->flags);
	if (strcmp(out->kind, "cpu") != 0 && !is_cuda(out))
		return gh__fail(error, GH_ENODEVICE,
				"device kind: \"%.32s\" is not here; \"cpu\" and \"cuda\" are",
				out->kind);
	if (is_cuda(out) && out->flags != 0)
		return gh__fail(error, GH_EINVAL, "device flags: 0x%x are a cpu's, not a GPU's",
				(unsigned)out->flags);
	if (!is_cuda(out) && out->index != 0)
		return gh__fail(error, GH_ENODEVICE,
				"device index: %d is not here; the cpu's only one is 0",
				(int)out->index);
	return GH_OK;
}

gh_status gh_device_info_get(gh_device_info *out, const gh_device_options *options, gh_error *error)
{
	const gh__cuda_module *module;
	gh_device_options all;
	gh_status status;

	if (!out)
		return gh__fail(error, GH_EINVAL, "out: NULL");
	status = read_options(&all, options, error);
	if (status != GH_OK || !is_cuda(&all))
		return status == GH_OK ? gh__cpu_info(out, &all, error) : status;
	status = gh__cuda_module_get(&module, error);
	if (status == GH_OK)
		status = module->info(out, all.index, error);
	return status == GH_OK ? gh__cpu_threads(&out->threads, &all, error) : status;
}

gh_status gh__device_count(int *out, const char *kind, gh_error *error)
{
	const gh__cuda_module *module;
	gh_device_options all, options = GH_DEVICE_OPTIONS_INIT;
	gh_status status;

	options.kind = kind;
	status = read_options(&all, &options, error);
	*out = 1;
	if (status != GH_OK || !is_cuda(&all))
		return status;
	status = gh__cuda_module_get(&module, error);
	return status == GH_OK ? module->count(out, error) : status;
}

gh_status gh__device_available(int64_t *out, const gh_device_options *options, gh_error *error)
{
	const gh__cuda_module *module;
	gh_device_options all;
	gh_status status = read_options(&all, options, error);

	*out = 0;
	if (status != GH_OK)
		return status;
	if (!is_cuda(&all)) {
		*out = gh__cpu_available("");
		return GH_OK;
	}
	status = gh__cuda_module_get(&module, error);
	return status == GH_OK ? module->available(out, all.index, error) : status;
}

static gh_status fill(gh__device *device, const gh_device_options *options, gh_error *error)
{
	const gh__cuda_module *module;
	gh_status status;

	if (!is_cuda(options))
		return gh__cpu_open(device, options, error);
	status = gh__cuda_module_get(&module, error);
	return status == GH_OK ? module->open(device, options, error) : status;
}

gh_status gh__device_open(gh__device **out, const gh_device_options *options, gh_error *error)
{
	gh_device_options all;
	gh__device *device;
	gh_status status = read_options(&all, options, error);

	if (status != GH_OK)
		return status;
	device = gh__calloc(1, sizeof *device);
	if (!device)
		return gh__fail_nomem(error);
	status = fill(device, &all, error);
	if (status != GH_OK) {
		gh__free(device);
		return status;
	}
	*out = device;
	return GH_OK;
}

void gh__device_close(gh__device *device)
{
	if (!device)
		return;
	device->table->close(device->self);
	gh__free(device);
}

gh_status gh__device_prepare(gh__device *device, const gh__op_desc *desc, gh__kernel **out,
			     gh_error *error)
{
	return device->table->prepare(device->self, desc, out, error);
}

void gh__device_kernel_free(gh__device *device, gh__kernel *kernel)
{
	if (kernel)
		device->table->kernel_free(device->self, kernel);
}

gh_status gh__device_run(gh__device *device, const gh__kernel *kernel, const gh__op_args *args,
			 gh_error *error)
{
	return device->table->run(device->self, kernel, args, device->stream, error);
}
