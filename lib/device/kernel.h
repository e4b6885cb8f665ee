#ifndef GH_DEVICE_KERNEL_H
#define GH_DEVICE_KERNEL_H

#include <gonkahost/kernels.h>

#include "device/handle.h"

/*
 * What the public operations (kernel_*.c) share: a kernel as programs hold it, the reading of their
 * structs, and checks of arguments, each of which names the argument.
 */
enum { GH__KERNEL_ALIGNMENT = 256 }; /* of workspaces, packed matrices and caches */

struct gh_kernel {
	uint32_t magic;
	gh__op_desc desc;
	gh__device *device;
	gh__kernel *kernel;
	gh__kernel *behind; /* of a norm, the quantisation of what it wrote to the workspace */
};

/* A kernel of desc; its owner has checked the device. */
gh_status gh__kernel_create(gh_kernel **out, gh_device *device, const gh__op_desc *desc,
			    gh_error *error);

/* A kernel behind it. Frees kernel when there is none. */
gh_status gh__kernel_add(gh_kernel *kernel, const gh__op_desc *desc, gh_error *error);

/* The caller's struct into ours, whose size is `size`. */
gh_status gh__kernel_options(void *copy, size_t size, const void *options, const void *out,
			     gh_error *error);

/* Likewise what a run of `kind` works on. */
gh_status gh__kernel_args(void *copy, size_t size, const void *args, const gh_kernel *kernel,
			  gh__op_kind kind, gh_error *error);

gh_status gh__kernel_launch(const gh_kernel *kernel, const gh__kernel *which,
			    const gh__op_args *args, gh_stream *stream, gh_error *error);

/* ---- checks; each does nothing where *status is an error already ---- */

void gh__want_rows(gh_status *status, int64_t rows, gh_error *error);
void gh__want_zero(gh_status *status, const char *what, uint32_t value, gh_error *error);
void gh__want_bits(gh_status *status, const char *what, uint32_t flags, uint32_t known,
		   gh_error *error);

/* An address that is a multiple of `unit` and not 0. */
void gh__want_address(gh_status *status, const char *what, gh_devptr address, size_t unit,
		      gh_error *error);

/* A stride that is at least `least`, which it becomes when it is 0, and a multiple of `unit`. */
void gh__want_stride(gh_status *status, const char *what, int64_t *stride, int64_t least,
		     int64_t unit, gh_error *error);

/* 0 means 1. */
static inline float gh__scale_of(float scale)
{
	return scale == 0.0F ? 1.0F : scale;
}

#endif
