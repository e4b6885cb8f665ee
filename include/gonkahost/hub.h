#ifndef GONKAHOST_HUB_H
#define GONKAHOST_HUB_H

#include <gonkahost/base.h>

/*
 * The hub: where a model's files lie, and what is in them.
 *
 * Files are read with pread(2), never mapped, so a file that shrinks or a server that vanishes is
 * an error and not a signal.
 *
 * Threads: a checkpoint is immutable after gh_checkpoint_open() and may be shared.
 */
GH_BEGIN

/** Zero means default in every field; new fields go at the end. */
typedef struct gh_hub_options {
	size_t struct_size;   /**< set by GH_HUB_OPTIONS_INIT */
	const char *cache;    /**< borrows for the call; the folder that holds "models--…";
			       *   NULL = $HF_HUB_CACHE, $HUGGINGFACE_HUB_CACHE, $HF_HOME/hub,
			       *   $XDG_CACHE_HOME/huggingface/hub, ~/.cache/huggingface/hub */
	const char *revision; /**< borrows for the call; NULL = "main" */
} gh_hub_options;

/** Initialiser: all defaults. */
#define GH_HUB_OPTIONS_INIT                        \
	{                                          \
		sizeof(gh_hub_options), NULL, NULL \
	}

/**
 * Find the folder that holds a model's files. Reads the file system only, never the network.
 *
 * model is an existing directory (taken as it is) or a repository id "org/name", looked up in the
 * cache at the given revision: 40 hex digits are a commit, anything else a name under refs/. When
 * refs/main is missing and exactly one snapshot exists, that one is used and the log says so.
 *
 * Owner    *path: caller frees (gh_free)
 * Threads  any
 * Errors   GH_ENOENT nothing there: the text says where was looked, or lists the snapshots;
 *          GH_EINVAL an id or revision that leaves the cache
 * Source   layout of the Hugging Face hub cache
 * Since    0.1
 */
GH_API GH_NODISCARD gh_status gh_hub_resolve(char **path, const char *model,
					     const gh_hub_options *options, gh_error *error);

/** Largest number of dimensions that a tensor may have. */
#define GH_DIMS_MAX 8

/** Where a tensor lies. */
typedef struct gh_tensor_info {
	const char *name;           /**< borrows until gh_checkpoint_close() */
	const char *file;           /**< file name within the folder; borrows likewise */
	int64_t shape[GH_DIMS_MAX]; /**< row-major; unused ones are 1 */
	int32_t dims;               /**< 0 is a scalar */
	int32_t dtype;              /**< a gh_dtype */
	uint64_t offset;            /**< first byte in the file */
	uint64_t size;              /**< bytes */
} gh_tensor_info;

/** The safetensors files of a model folder, opened. */
typedef struct gh_checkpoint gh_checkpoint;

/**
 * Open model.safetensors, or the files that model.safetensors.index.json names, and check all
 * headers and every file's size. No tensor data is read.
 *
 * Owner    *out: caller frees (gh_checkpoint_close)
 * Threads  any
 * Errors   GH_ENOENT no such files; GH_EFORMAT a header that lies: the text names the file, the
 *          tensor and what was expected; GH_EIO
 * Source   safetensors format
 * Since    0.1
 */
GH_API GH_NODISCARD gh_status gh_checkpoint_open(gh_checkpoint **out, const char *folder,
						 gh_error *error);

/**
 * Close a checkpoint. NULL is allowed. Every pointer borrowed from it dies.
 *
 * Owner    takes checkpoint
 * Threads  one, when nobody uses it any more
 * Errors   none
 * Since    0.1
 */
GH_API void gh_checkpoint_close(gh_checkpoint *checkpoint);

/**
 * Number of tensors.
 *
 * Owner    nothing
 * Threads  any
 * Errors   none
 * Since    0.1
 */
GH_API size_t gh_checkpoint_count(const gh_checkpoint *checkpoint);

/**
 * The i-th tensor in byte order of names; NULL when i is not below the count.
 *
 * Owner    borrows until gh_checkpoint_close()
 * Threads  any
 * Errors   none
 * Since    0.1
 */
GH_API const gh_tensor_info *gh_checkpoint_at(const gh_checkpoint *checkpoint, size_t i);

/**
 * The tensor of a name; NULL when there is none.
 *
 * Owner    borrows until gh_checkpoint_close()
 * Threads  any
 * Errors   none
 * Since    0.1
 */
GH_API const gh_tensor_info *gh_checkpoint_find(const gh_checkpoint *checkpoint, const char *name);

/**
 * Read bytes [offset, offset + size) of a tensor's data.
 *
 * Owner    dst is the caller's
 * Threads  any, at the same time too
 * Errors   GH_EINVAL a range outside the tensor; GH_EIO the file is shorter than it was
 * Since    0.1
 */
GH_API GH_NODISCARD gh_status gh_checkpoint_read(const gh_checkpoint *checkpoint,
						 const gh_tensor_info *tensor, void *dst,
						 uint64_t offset, uint64_t size, gh_error *error);

GH_END
#endif
