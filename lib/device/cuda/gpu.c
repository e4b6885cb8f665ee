#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "device/cuda/context.h"

/* Which GPUs there are. */

gh_status gh__cuda_fail(cudaError_t code, const char *what, gh_error *error)
{
	gh_status status = code == cudaErrorMemoryAllocation ? GH_ENOMEM : GH_ECUDA;

	/* What does not stick is not to be found again by the next call. */
	(void)cudaGetLastError();
	return gh__fail(error, status, "%s: %s (%s)", what, cudaGetErrorString(code),
			cudaGetErrorName(code));
}

static gh_status no_device(cudaError_t code, gh_error *error)
{
	switch (code) {
	case cudaErrorInsufficientDriver:
		return gh__fail(
			error, GH_ENODEVICE,
			"device kind: \"cuda\" needs NVIDIA's driver 580 or newer; there is "
			"none, or an older one");
	case cudaErrorNoDevice:
		return gh__fail(error, GH_ENODEVICE, "device kind: \"cuda\" finds no GPU");
	default:
		return gh__fail(error, GH_ENODEVICE, "device kind: \"cuda\": %s (%s)",
				cudaGetErrorString(code), cudaGetErrorName(code));
	}
}

gh_status gh__cuda_count(int *out, gh_error *error)
{
	cudaError_t code = cudaGetDeviceCount(out);

	if (code == cudaSuccess && *out > 0)
		return GH_OK;
	*out = 0;
	(void)cudaGetLastError();
	return no_device(code == cudaSuccess ? cudaErrorNoDevice : code, error);
}

static gh_status check_index(int index, gh_error *error)
{
	int count;
	gh_status status = gh__cuda_count(&count, error);

	if (status == GH_OK && (index < 0 || index >= count))
		return gh__fail(error, GH_ENODEVICE, "device index: %d is not below %d GPUs", index,
				count);
	return status;
}

gh_status gh__cuda_info(gh_device_info *out, int index, gh_error *error)
{
	struct cudaDeviceProp prop;
	gh_status status = check_index(index, error);

	if (status == GH_OK)
		status = gh__cuda_done(cudaGetDeviceProperties(&prop, index), "device", error);
	if (status != GH_OK)
		return status;
	if (prop.major < 8)
		return gh__fail(error, GH_ENODEVICE,
				"device: %s has compute capability %d.%d; the kernels are made for "
				"8.0 (Ampere) and newer",
				prop.name, prop.major, prop.minor);
	memset(out, 0, sizeof *out);
	(void)snprintf(out->kind, sizeof out->kind, "cuda");
	(void)snprintf(out->name, sizeof out->name, "%.127s", prop.name);
	out->memory = (int64_t)prop.totalGlobalMem;
	return GH_OK;
}

gh_status gh__cuda_available(int64_t *out, int index, gh_error *error)
{
	size_t left = 0, all = 0;
	gh_status status = check_index(index, error);

	*out = 0;
	if (status == GH_OK)
		status = gh__cuda_done(cudaSetDevice(index), "device", error);
	if (status == GH_OK)
		status = gh__cuda_done(cudaMemGetInfo(&left, &all), "device memory", error);
	*out = (int64_t)left;
	return status;
}
