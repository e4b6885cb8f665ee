#ifndef GH_DEVICE_CUDA_YARDSTICK_H
#define GH_DEVICE_CUDA_YARDSTICK_H

#include "device/cuda/module.h"

/* See gh_yardstick_create(): cuBLASLt, loaded at the first call. */
gh_status gh__cuda_yardstick(gh_yardstick **out, gh__device *device, const gh__yardstick_desc *desc,
			     gh_error *error);

#endif
