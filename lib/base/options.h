#ifndef GH_BASE_OPTIONS_H
#define GH_BASE_OPTIONS_H

#include <gonkahost/base.h>

/*
 * Read a public option struct whose first field is its size, as the caller's headers knew it.
 *
 * known is our size, oldest the size in the first release. Fields the caller lacks become zero,
 * which is their default. GH_EINVAL: the size is not set. GH_ETOOBIG: a newer caller sets a field
 * that this library does not have.
 */
gh_status gh__options_copy(void *dst, size_t known, size_t oldest, const void *src,
			   gh_error *error);

#endif
