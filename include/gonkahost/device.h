#ifndef GONKAHOST_DEVICE_H
#define GONKAHOST_DEVICE_H

#include <gonkahost/base.h>

/*
 * Devices: where a model's arithmetic runs. What runs on an open one: gonkahost/kernels.h.
 *
 * Threads: an open device, with all that was made on it, belongs to one thread at a time.
 */
GH_BEGIN

/** Use the scalar twin of the vector kernels; the results are the same to the last bit. */
#define GH_DEVICE_SCALAR 1u

/**
 * Form products of f16, bf16 and e4m3 as the tensor cores of a Hopper GPU do: the results are those
 * of a CUDA device to the last bit. A CPU device only, and slow: it is what a GPU is checked by.
 */
#define GH_DEVICE_TENSOR_CORE 2u

/**
 * With GH_DEVICE_TENSOR_CORE: products of e4m3 with e4m3 as GPUs before Hopper get them here, both
 * widened to f16.
 */
#define GH_DEVICE_E4M3_AS_F16 4u

/** All of these. */
#define GH_DEVICE_FLAGS 7u

/** Zero means default in every field; new fields go at the end. */
typedef struct gh_device_options {
	size_t struct_size; /**< set by GH_DEVICE_OPTIONS_INIT */
	const char *kind;   /**< "cpu" or "cuda"; NULL = the best; borrows for the call */
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

/** An open device: its memory, and one stream of its own. */
typedef struct gh_device gh_device;

/**
 * An order of work on a device. Every function that takes one takes NULL for the device's own; of
 * a CUDA device, a cudaStream_t of the same GPU may be cast to it. What is enqueued on two streams
 * has no order but that which the caller makes. The CPU device runs everything at once and asks for
 * none.
 */
typedef struct gh_stream gh_stream;

/** An address in a device's memory, 0 for none. Of a CUDA device, what the runtime counts as one;
 * of the CPU device, a pointer. Sums with byte offsets are addresses too. */
typedef uintptr_t gh_devptr;

/**
 * Open a device. options NULL or with kind NULL: the best there is.
 *
 * Owner    *out: caller frees (gh_device_close)
 * Threads  any
 * Errors   GH_ENODEVICE there is no such device, or no module or driver for its kind: the text says
 *          what is missing; GH_EINVAL options
 * Since    0.1
 */
GH_API GH_NODISCARD gh_status gh_device_open(gh_device **out, const gh_device_options *options,
					     gh_error *error);

/**
 * Close a device, once what was enqueued on its own stream is done. NULL is allowed. Events and
 * kernels made on it must be freed before, and its memory released.
 *
 * Owner    takes device
 * Threads  one, when nobody uses it any more
 * Errors   none
 * Since    0.1
 */
GH_API void gh_device_close(gh_device *device);

/**
 * Kind of an open device, "cpu" or "cuda".
 *
 * Owner    static string
 * Threads  any
 * Errors   none
 * Since    0.1
 */
GH_API const char *gh_device_kind(const gh_device *device);

/**
 * Take memory of a device: size bytes, zeroed, aligned to 256 bytes. Waits for the device.
 *
 * Owner    *out: caller frees (gh_device_release); 0 on failure
 * Threads  one at a time
 * Errors   GH_ENOMEM there is not so much; GH_ECUDA
 * Since    0.1
 */
GH_API GH_NODISCARD gh_status gh_device_alloc(gh_device *device, gh_devptr *out, size_t size,
					      gh_error *error);

/**
 * Give memory back; what uses it must be done. 0 is allowed.
 *
 * Owner    takes memory, as gh_device_alloc() answered it
 * Threads  one at a time
 * Errors   none
 * Since    0.1
 */
GH_API void gh_device_release(gh_device *device, gh_devptr memory);

/**
 * Copy size bytes from the host to a device.
 *
 * Stream   enqueued. Of plain memory src may be changed as soon as the call returns; of memory that
 *          CUDA has pinned, once the stream has passed
 * Owner    borrows src, see Stream
 * Threads  one at a time
 * Errors   GH_EINVAL a pointer is missing; GH_ECUDA
 * Since    0.1
 */
GH_API GH_NODISCARD gh_status gh_device_upload(gh_device *device, gh_devptr dst, const void *src,
					       size_t size, gh_stream *stream, gh_error *error);

/**
 * Copy size bytes from a device to the host, behind what was enqueued before on the stream, and
 * wait: dst holds them when the call returns.
 *
 * Owner    borrows dst for the call
 * Threads  one at a time
 * Errors   GH_EINVAL a pointer is missing; GH_ECUDA also by what was enqueued before
 * Since    0.1
 */
GH_API GH_NODISCARD gh_status gh_device_download(gh_device *device, void *dst, gh_devptr src,
						 size_t size, gh_stream *stream, gh_error *error);

/**
 * Copy size bytes on a device, or from another GPU's memory; the two places do not overlap.
 *
 * Cost     2 * size bytes
 * Stream   enqueued
 * Owner    nothing
 * Threads  one at a time
 * Errors   GH_EINVAL a pointer is missing; GH_ECUDA
 * Since    0.1
 */
GH_API GH_NODISCARD gh_status gh_device_copy(gh_device *device, gh_devptr dst, gh_devptr src,
					     size_t size, gh_stream *stream, gh_error *error);

/**
 * Wait until all is done that was enqueued on a stream.
 *
 * Owner    nothing
 * Threads  one at a time
 * Errors   GH_ECUDA a kernel failed: the device is lost to this process
 * Since    0.1
 */
GH_API GH_NODISCARD gh_status gh_device_synchronise(gh_device *device, gh_stream *stream,
						    gh_error *error);

/** A mark in a stream, whose time the device takes when it passes. */
typedef struct gh_event gh_event;

/**
 * Make an event.
 *
 * Owner    *out: caller frees (gh_event_free); borrows device until then
 * Threads  one at a time
 * Errors   GH_ENOMEM; GH_ECUDA
 * Since    0.1
 */
GH_API GH_NODISCARD gh_status gh_event_create(gh_event **out, gh_device *device, gh_error *error);

/**
 * Free an event. NULL is allowed.
 *
 * Owner    takes event
 * Threads  one at a time
 * Errors   none
 * Since    0.1
 */
GH_API void gh_event_free(gh_event *event);

/**
 * Put an event behind what was enqueued before on a stream. It may be recorded again; the last
 * time counts.
 *
 * Stream   enqueued
 * Owner    nothing
 * Threads  one at a time
 * Errors   GH_ECUDA
 * Since    0.1
 */
GH_API GH_NODISCARD gh_status gh_event_record(gh_event *event, gh_stream *stream, gh_error *error);

/**
 * Seconds from one event to another of the same device, by the device's clock (the CPU's is the
 * host's). Waits until both have passed.
 *
 * Units    seconds; a CUDA device counts in half microseconds
 * Owner    *out is the caller's
 * Threads  one at a time
 * Errors   GH_ESTATE one was never recorded; GH_EINVAL they are of two devices; GH_ECUDA
 * Since    0.1
 */
GH_API GH_NODISCARD gh_status gh_event_seconds(double *out, gh_event *begin, gh_event *end,
					       gh_error *error);

/** How fast a device's memory is. */
typedef struct gh_device_rates {
	double read;   /**< bytes a second of a kernel that only reads */
	double copy;   /**< bytes a second of a copy on the device, read and written ones counted */
	int64_t bytes; /**< that each of them went through in one run */
} gh_device_rates;

/**
 * Measure how fast a device's memory is: what a kernel bound by memory is held against. The median
 * of several runs by events, after a first that does not count.
 *
 * Needs    as much memory as the runs go through: bytes, or with 0 an amount that no cache holds
 *          (2 GiB, of a CPU 256 MiB). It is taken and given back
 * Owner    *out is the caller's
 * Threads  one at a time
 * Errors   GH_ENOMEM; GH_EINVAL bytes is below 0; GH_ECUDA
 * Since    0.1
 */
GH_API GH_NODISCARD gh_status gh_device_measure(gh_device_rates *out, gh_device *device,
						int64_t bytes, gh_error *error);

GH_END
#endif
