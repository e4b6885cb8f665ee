#ifndef GH_DEVICE_CUDA_CONTEXT_H
#define GH_DEVICE_CUDA_CONTEXT_H

#include <cuda_runtime_api.h>
#include <stdatomic.h>

#include "device/device.h"
#include "launch.h"

/*
 * A CUDA device: a stream of its own on one GPU, whose memory it shares with the others of the
 * process. Every entry makes the GPU the thread's current one, and its stream the one that all goes
 * to until the next.
 */
typedef struct gh__cuda {
	gh__launch on;           /* on.stream: the stream of the call under way */
	struct CUstream_st *own; /* the device's */
	int index;
	bool sliced; /* kernels have written weights here: see gh__launch.settled */
	atomic_bool interrupted;

	/* The host is never more than two runs of launches ahead: each event ends one. */
	cudaEvent_t pace[2];
	unsigned launches;

	/* of samples: what their rows point to, gathered for one copy, and the results' way back */
	char *samples_host;   /* pinned */
	char *samples_device; /* likewise laid out, and the kernel's workspace */
	size_t samples_size, samples_device_size;
} gh__cuda;

struct gh__kernel {
	gh__op_desc desc;
};

/* GH_ECUDA, with the driver's own words: "what: words (name)". */
gh_status gh__cuda_fail(cudaError_t code, const char *what, gh_error *error);

/* GH_OK, or what went wrong in doing `what`. */
static inline gh_status gh__cuda_done(cudaError_t code, const char *what, gh_error *error)
{
	return code == cudaSuccess ? GH_OK : gh__cuda_fail(code, what, error);
}

/* Weights from the host to where the kernels want them. */
gh_status gh__cuda_pack(gh__cuda *cuda, const gh__linear_desc *desc, void *dst, const void *src,
			int64_t row, int64_t rows, gh_error *error);

/* Choices of rows whose settings and results lie on the host. */
gh_status gh__cuda_sample_rows(gh__cuda *cuda, const gh__sample_desc *desc,
			       const gh__sample_args *args, gh_error *error);

/* What a GPU is, and opening one. */
gh_status gh__cuda_count(int *out, gh_error *error);
gh_status gh__cuda_info(gh_device_info *out, int index, gh_error *error);
gh_status gh__cuda_available(int64_t *out, int index, gh_error *error);
gh_status gh__cuda_open(gh__device *out, const gh_device_options *options, gh_error *error);

#endif
