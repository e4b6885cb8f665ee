#ifndef GH_HUB_FILE_H
#define GH_HUB_FILE_H

#include <gonkahost/base.h>

/*
 * Files of a model folder through descriptors. Only regular files are opened: a pipe or a device
 * under a model's name is an error and cannot hang the caller.
 */

/* folder/name, read-only; *size is its length now. The caller closes *fd. GH_ENOENT: no such file;
 * a link whose target is missing is GH_EIO. */
gh_status gh__hub_open(int *fd, uint64_t *size, const char *folder, const char *name,
		       gh_error *error);

/* Exactly size bytes at offset; a file that ends before is GH_EIO. name is for the error's text. */
gh_status gh__hub_pread(int fd, void *dst, uint64_t offset, uint64_t size, const char *name,
			gh_error *error);

/* A relative path that stays below its folder: components that are not empty, "." or "..", no
 * backslash, no control character. Else status, with a text that begins with what. */
gh_status gh__hub_check_path(const char *path, const char *what, gh_status status, gh_error *error);

#endif
