#include "base/options.h"

#include <string.h>

#include "base/error.h"

/* No option struct comes near it: a larger size is a struct that was never initialised. */
#define SIZE_LIMIT 4096

gh_status gh__options_copy(void *dst, size_t known, size_t oldest, const void *src, gh_error *error)
{
	const unsigned char *bytes = src;
	size_t given;

	memset(dst, 0, known);
	if (!src)
		return GH_OK;
	memcpy(&given, src, sizeof given);
	if (given < oldest || given > SIZE_LIMIT)
		return gh__fail(error, GH_EINVAL,
				"options: struct_size %zu is not between %zu and %d; begin with "
				"the INIT macro",
				given, oldest, SIZE_LIMIT);
	for (size_t i = known; i < given; i++) {
		if (bytes[i] != 0)
			return gh__fail(error, GH_ETOOBIG,
					"options: a field at byte %zu is set, this library knows "
					"%zu bytes; it is older than the program",
					i, known);
	}
	memcpy(dst, src, given < known ? given : known);
	memcpy(dst, &known, sizeof known);
	return GH_OK;
}
