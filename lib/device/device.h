#ifndef GH_DEVICE_DEVICE_H
#define GH_DEVICE_DEVICE_H

#include <gonkahost/device.h>

#include "device/ops.h"

/*
 * A device: memory, streams and the operations of ops.h, behind one table of functions. The CPU
 * device fills it here; a CUDA module fills it at run time.
 *
 * Streams: NULL is the device's own. The CPU device does everything at once, whatever the stream.
 *
 * Threads: a device belongs to one thread at a time (its rank's). Memory may be read by others.
 */
typedef struct gh__kernel gh__kernel;
typedef struct gh__event gh__event;

#define GH__DEVICE_ABI 2

typedef struct gh__device_table {
	uint32_t abi;     /* GH__DEVICE_ABI */
	const char *kind; /* "cpu", "cuda": part of what bits depend on */
	void (*close)(void *self);

	void *(*alloc)(void *self, size_t size, gh_error *error); /* 256-byte aligned, zeroed */
	void (*release)(void *self, void *memory);
	gh_status (*upload)(void *self, void *dst, const void *src, size_t size, gh_stream *stream,
			    gh_error *error);
	gh_status (*download)(void *self, void *dst, const void *src, size_t size,
			      gh_stream *stream, gh_error *error);
	/* Between devices' memories: rows of `width` bytes, `pitch` bytes apart. */
	gh_status (*copy)(void *self, void *dst, size_t dst_pitch, const void *src,
			  size_t src_pitch, size_t width, size_t rows, gh_stream *stream,
			  gh_error *error);
	gh_status (*unite)(void *self, void *dst, const void *src, size_t size, gh_stream *stream,
			   gh_error *error); /* dst |= src, bit by bit */
	gh_status (*synchronise)(void *self, gh_stream *stream, gh_error *error);

	/* Marks in a stream, and the seconds between two, waiting for both. GH_ESTATE: one of them
	 * was never recorded. */
	gh_status (*event_create)(void *self, gh__event **out, gh_error *error);
	void (*event_free)(void *self, gh__event *event);
	gh_status (*event_record)(void *self, gh__event *event, gh_stream *stream, gh_error *error);
	gh_status (*event_seconds)(void *self, double *out, gh__event *begin, gh__event *end,
				   gh_error *error);

	gh_status (*prepare)(void *self, const gh__op_desc *desc, gh__kernel **out,
			     gh_error *error);
	void (*kernel_free)(void *self, gh__kernel *kernel);
	size_t (*workspace)(void *self, const gh__kernel *kernel, int64_t rows);
	size_t (*packed_size)(void *self, const gh__kernel *kernel);
	/* Pack rows [row, row + rows) of W from plain row-major memory on the host into dst, the
	 * whole packed matrix on the device. Of a SWIGLU kernel, rows count gate, then up. */
	gh_status (*pack)(void *self, const gh__kernel *kernel, void *dst, const void *src,
			  int64_t row, int64_t rows, gh_error *error);
	/* The same of all rows of a tensor of 16-bit elements out of a pool on the device; launched
	 * only. The pool is read, and zeros are written behind a row, up to the next multiple of 16
	 * bytes. kernel: of any device of the kind; NULL: dst is plain memory. The function is NULL
	 * where weights come from the host alone. */
	gh_status (*pack_slice)(void *self, const gh__kernel *kernel, void *dst, const void *pool,
				const gh__slice *slice, int64_t row, gh_stream *stream,
				gh_error *error);
	gh_status (*run)(void *self, const gh__kernel *kernel, const gh__op_args *args,
			 gh_stream *stream, gh_error *error);
	/* From any thread: what runs now or later is cut short, within the time of some launches,
	 * and its results are nothing; run and pack answer GH_ECANCELLED, until it is taken back. */
	void (*interrupt)(void *self, bool interrupted);
} gh__device_table;

typedef struct gh__device {
	const gh__device_table *table;
	void *self;
	gh_stream *stream;    /* the default one; NULL on the CPU */
	int64_t memory_total; /* bytes that a plan may count on */
	int code;             /* CUDA: what its kernels were made for: 80, 86, 89 or 90; CPU: 0 */
} gh__device;

/* As options say; "cuda" opens the module (device/cuda/module.h). */
gh_status gh__device_open(gh__device **out, const gh_device_options *options, gh_error *error);
void gh__device_close(gh__device *device);

/* How many of this kind there are; at least 1. GH_ENODEVICE: none. */
gh_status gh__device_count(int *out, const char *kind, gh_error *error);

/* Bytes of such a device that nobody uses now. */
gh_status gh__device_available(int64_t *out, const gh_device_options *options, gh_error *error);

gh_status gh__device_prepare(gh__device *device, const gh__op_desc *desc, gh__kernel **out,
			     gh_error *error);
void gh__device_kernel_free(gh__device *device, gh__kernel *kernel);
gh_status gh__device_run(gh__device *device, const gh__kernel *kernel, const gh__op_args *args,
			 gh_error *error);

#endif
