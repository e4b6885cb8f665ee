#ifndef GH_HUB_SAFETENSORS_H
#define GH_HUB_SAFETENSORS_H

#include <gonkahost/hub.h>

/*
 * One safetensors file: 8 bytes little-endian N, N bytes of JSON, data. The descriptor stays open,
 * so a file that is replaced or unlinked meanwhile does not matter; one that changes its length is
 * an error at the next read.
 */
typedef struct gh__safetensors {
	char *name; /* within the folder; every tensor's file points here */
	int fd;     /* -1: closed */
	uint64_t size;
	gh_tensor_info *tensors; /* in the order of their names, which they own */
	size_t count;
} gh__safetensors;

#define GH__SAFETENSORS_HEADER_MAX 100000000u

/* Open folder/name and check its whole header. After a failure *out is as after _done(). */
gh_status gh__safetensors_open(gh__safetensors *out, const char *folder, const char *name,
			       gh_error *error);
void gh__safetensors_done(gh__safetensors *file);

/* size bytes at offset of the file. GH_EIO: its length is not what it was. */
gh_status gh__safetensors_read(const gh__safetensors *file, void *dst, uint64_t offset,
			       uint64_t size, gh_error *error);

#endif
