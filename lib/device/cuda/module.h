#ifndef GH_DEVICE_CUDA_MODULE_H
#define GH_DEVICE_CUDA_MODULE_H

#include <gonkahost/kernels.h>

#include "device/device.h"

/*
 * The module libgonkahost-cuda.so, as the library sees it: one symbol that answers a table. Both
 * are built from one tree; the number says so, and is looked at before anything else.
 */
#define GH__CUDA_ABI    2u
#define GH__CUDA_MODULE "libgonkahost-cuda.so"
#define GH__CUDA_SYMBOL "gh_cuda_module"

/* A product by the vendor's library: y [rows, n] = x [rows, k] W [n, k]^T. */
typedef struct gh__yardstick_desc {
	gh_dtype operand; /* of x and W: f16, bf16, e4m3 */
	gh_dtype out;
	int64_t rows, n, k;
} gh__yardstick_desc;

struct gh_yardstick {
	gh_status (*run)(gh_yardstick *self, const void *x, const void *w, void *y,
			 gh_stream *stream, gh_error *error);
	void (*free)(gh_yardstick *self);
};

typedef struct gh__cuda_module {
	uint32_t abi; /* GH__CUDA_ABI; first for ever */
	gh_status (*count)(int *out, gh_error *error);
	gh_status (*info)(gh_device_info *out, int index, gh_error *error);
	gh_status (*available)(int64_t *out, int index, gh_error *error);
	gh_status (*open)(gh__device *out, const gh_device_options *options, gh_error *error);
	gh_status (*yardstick)(gh_yardstick **out, gh__device *device,
			       const gh__yardstick_desc *desc, gh_error *error);
} gh__cuda_module;

/*
 * The module: opened once a process, never closed. It lies beside the library, or where the
 * library's run path says.
 *
 * Errors  GH_ENODEVICE there is no module, it is of another build, or no driver or GPU is there;
 *         the text says which and what would help
 */
gh_status gh__cuda_module_get(const gh__cuda_module **out, gh_error *error);

#endif
