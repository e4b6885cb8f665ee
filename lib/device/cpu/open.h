#ifndef GH_DEVICE_CPU_OPEN_H
#define GH_DEVICE_CPU_OPEN_H

#include "device/device.h"

/* Fill out for the "cpu" kind. */
gh_status gh__cpu_open(gh__device *out, const gh_device_options *options, gh_error *error);

#endif
