#ifndef GONKAHOST_DEVICE_H
#define GONKAHOST_DEVICE_H

#include <gonkahost/base.h>

/*
 * Devices: where a model's arithmetic runs.
 */
GH_BEGIN

/** Use the scalar twin of the vector kernels; the results are the same to the last bit. */
#define GH_DEVICE_SCALAR 1u

/**
 * Form products of f16, bf16 and e4m3 as the tensor cores of a Hopper GPU do: the results are those
 * of a CUDA device to the last bit. A CPU device only, and slow: it is what a GPU is checked by.
 */
#define GH_DEVICE_TENSOR_CORE 2u

/** Zero means default in every field; new fields go at the end. */
typedef struct gh_device_options {
	size_t struct_size; /**< set by GH_DEVICE_OPTIONS_INIT */
	const char *kind;   /**< "cpu" or "cuda"; NULL = "cpu"; borrows for the call */
	int32_t index;      /**< which one of several, from 0 */
	int32_t threads;    /**< threads on the host; 0 = one for each core */
	uint32_t flags;     /**< GH_DEVICE_* bits */
	uint32_t reserved;  /**< must be 0 */
} gh_device_options;

/** Initialiser: all defaults. */
#define GH_DEVICE_OPTIONS_INIT                              \
	{                                                   \
		sizeof(gh_device_options), NULL, 0, 0, 0, 0 \
	}

/** What a device is. */
typedef struct gh_device_info {
	char kind[16];   /**< "cpu" or "cuda" */
	char name[128];  /**< name as the maker gives it */
	int64_t memory;  /**< bytes in all */
	int32_t threads; /**< threads that it uses on the host */
	int32_t vector;  /**< CPU: 1 when the vector kernels are used */
} gh_device_info;

/**
 * Describe a device without holding it.
 *
 * Owner    *out is the caller's
 * Threads  any
 * Errors   GH_ENODEVICE there is no such device; GH_EINVAL options
 * Since    0.1
 */
GH_API GH_NODISCARD gh_status gh_device_info_get(gh_device_info *out,
						 const gh_device_options *options, gh_error *error);

GH_END
#endif
