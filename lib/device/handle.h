#ifndef GH_DEVICE_HANDLE_H
#define GH_DEVICE_HANDLE_H

#include "device/device.h"

/* A device as programs hold it. */
enum { GH__DEVICE_MAGIC = 0x67686476 };

struct gh_device {
	uint32_t magic;
	gh__device *device;
};

/* The device inside; GH_EINVAL: it is none, or closed. */
gh_status gh__device_of(gh__device **out, const gh_device *device, gh_error *error);

static inline void *gh__at(gh_devptr address)
{
	return (void *)address; /* NOLINT(performance-no-int-to-ptr) */
}

#endif
