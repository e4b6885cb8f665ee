#ifndef GH_BASE_DTYPE_H
#define GH_BASE_DTYPE_H

#include <gonkahost/base.h>

/* The dtype that safetensors spells so; GH_DTYPE_NONE: none. */
gh_dtype gh__dtype_of(const char *name, size_t len);

#endif
