#include "device/cuda/context.h"
#include "device/cuda/module.h"
#include "device/cuda/yardstick.h"

/* The one face of libgonkahost-cuda.so. */
__attribute__((visibility("default"))) const gh__cuda_module *gh_cuda_module(void);

const gh__cuda_module *gh_cuda_module(void)
{
	static const gh__cuda_module module = {
		.abi = GH__CUDA_ABI,
		.count = gh__cuda_count,
		.info = gh__cuda_info,
		.available = gh__cuda_available,
		.open = gh__cuda_open,
		.yardstick = gh__cuda_yardstick,
	};

	return &module;
}
