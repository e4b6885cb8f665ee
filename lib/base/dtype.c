#include "base/dtype.h"

#include <string.h>

static const struct {
	const char *name; /* as safetensors spells it */
	size_t size;
} dtypes[] = {
	[GH_F32] = { "F32", 4 },      [GH_F16] = { "F16", 2 },      [GH_BF16] = { "BF16", 2 },
	[GH_E4M3] = { "F8_E4M3", 1 }, [GH_E5M2] = { "F8_E5M2", 1 }, [GH_F64] = { "F64", 8 },
	[GH_BOOL] = { "BOOL", 1 },    [GH_U8] = { "U8", 1 },        [GH_I8] = { "I8", 1 },
	[GH_U16] = { "U16", 2 },      [GH_I16] = { "I16", 2 },      [GH_U32] = { "U32", 4 },
	[GH_I32] = { "I32", 4 },      [GH_U64] = { "U64", 8 },      [GH_I64] = { "I64", 8 },
};

#define DTYPES ((int)(sizeof dtypes / sizeof dtypes[0]))

size_t gh_dtype_size(gh_dtype dtype)
{
	return (int)dtype > GH_DTYPE_NONE && (int)dtype < DTYPES ? dtypes[dtype].size : 0;
}

const char *gh_dtype_name(gh_dtype dtype)
{
	return (int)dtype > GH_DTYPE_NONE && (int)dtype < DTYPES ? dtypes[dtype].name : "?";
}

gh_dtype gh__dtype_of(const char *name, size_t len)
{
	for (int i = GH_DTYPE_NONE + 1; i < DTYPES; i++)
		if (strlen(dtypes[i].name) == len && memcmp(dtypes[i].name, name, len) == 0)
			return (gh_dtype)i;
	return GH_DTYPE_NONE;
}
