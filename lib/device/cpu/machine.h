#ifndef GH_DEVICE_CPU_MACHINE_H
#define GH_DEVICE_CPU_MACHINE_H

#include <gonkahost/device.h>

#include "device/cpu/kernels.h"

/* What this machine has, and what a device with these options takes of it. */

/* The vector build of the kernels where this machine can run it, else the scalar one. */
const gh__cpu_twin *gh__cpu_best(void);

/* Likewise, but for a device that may be told to be scalar. */
const gh__cpu_twin *gh__cpu_choose(const gh_device_options *options);

gh_status gh__cpu_threads(int *out, const gh_device_options *options, gh_error *error);

/* Bytes of physical memory; 0: not known. */
int64_t gh__cpu_memory(void);

/* Bytes that may be taken now without swapping: the machine's, or fewer where a control group
 * that we are in has a lower limit; 0: not known. root: what /proc and /sys are below; "" =
 * where they are. */
int64_t gh__cpu_available(const char *root);

gh_status gh__cpu_info(gh_device_info *out, const gh_device_options *options, gh_error *error);

#endif
