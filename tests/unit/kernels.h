#ifndef GH_TESTS_KERNELS_H
#define GH_TESTS_KERNELS_H

#include <gonkahost/kernels.h>

#include "device.h"

/* What tests of the public operations share: an open CPU device, and numbers in its memory. */

static gh_device *device;

static inline void setup(void)
{
	gh_device_options options = GH_DEVICE_OPTIONS_INIT;

	options.kind = "cpu";
	options.threads = 2;
	assert_ok(gh_device_open(&device, &options, error));
}

static inline void teardown(void)
{
	gh_device_close(device);
}

static inline gh_devptr take(size_t size)
{
	gh_devptr memory = 0;

	assert_ok(gh_device_alloc(device, &memory, size, error));
	return memory;
}

/* A copy of host memory on the device. */
static inline gh_devptr put_there(const void *from, size_t size)
{
	gh_devptr memory = take(size);

	assert_ok(gh_device_upload(device, memory, from, size, NULL, error));
	return memory;
}

/* A workspace for so many rows. */
static inline gh_devptr workspace(const gh_kernel *kernel, int64_t rows)
{
	return take(gh_kernel_workspace(kernel, rows));
}

/* The device is the CPU: its memory can be read. */
static inline float at(gh_dtype dtype, gh_devptr p, int64_t i)
{
	return get(dtype, (const void *)p, i);
}

static inline void near(gh_dtype dtype, float x, double expected, double slack)
{
	double last = dtype == GH_F32 ? 0x1p-20 : dtype == GH_F16 ? 0x1p-10 : 0x1p-7;

	ck_assert_msg(fabs(x - expected) <= (fabs(expected) + slack) * last,
		      "%.9g is not near %.17g", x, expected);
}

#endif
