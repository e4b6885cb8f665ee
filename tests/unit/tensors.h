#ifndef GH_TESTS_TENSORS_H
#define GH_TESTS_TENSORS_H

#include "folder.h"

/* Headers and indexes of safetensors, in strings. */

/* One tensor; the offsets are texts too, so that they may be wrong in every way. */
#define T(name, dtype, shape, begin, end)                                                    \
	"\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":[" begin \
	"," end "]}"

#define INDEX(map) "{\"metadata\":{\"total_size\":4},\"weight_map\":" map "}"

/* A safetensors file: announced length (0: the true one), header, and data bytes 0, 1, 2, ... */
static inline void write_tensors(const char *name, uint64_t announced, const char *header,
				 size_t data)
{
	uint64_t n = announced ? announced : strlen(header);
	FILE *file = fopen(at(name), "wb");

	ck_assert_msg(file != NULL, "%s", at(name));
	for (int i = 0; i < 8; i++)
		fputc((int)(n >> 8 * i & 0xff), file);
	fputs(header, file);
	for (size_t i = 0; i < data; i++)
		fputc((int)(i & 0xff), file);
	ck_assert_int_eq(fclose(file), 0);
}

#endif
