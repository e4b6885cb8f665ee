#include <string.h>

#include "device/cpu/kernels.h"

/*
 * Copies of rows. EMBED: y[i, :] = table[id[i] - first, :], zeros for an id that is not in this
 * slice. SELECT: y[i, :] = x[row[i], :]. No arithmetic; 2 m n elements moved.
 */
void gh__cpu_embed(const gh__cpu *cpu, const gh__embed_desc *desc, const gh__embed_args *args)
{
	size_t size = (size_t)desc->hidden * gh_dtype_size(desc->act);
	char *y = args->y;

	(void)cpu;
	for (int64_t i = 0; i < args->m; i++, y += size) {
		int64_t row = args->id[i] - args->first;

		if (args->id[i] >= 0 && row >= 0 && row < args->rows)
			memcpy(y, (const char *)args->table + (size_t)row * size, size);
		else
			memset(y, 0, size);
	}
}

void gh__cpu_select(const gh__cpu *cpu, const gh__select_desc *desc, const gh__select_args *args)
{
	size_t size = (size_t)desc->n * gh_dtype_size(desc->act);
	size_t stride = (size_t)args->x_stride * gh_dtype_size(desc->act);
	char *y = args->y;

	(void)cpu;
	for (int64_t i = 0; i < args->m; i++, y += size)
		memcpy(y, (const char *)args->x + (size_t)args->row[i] * stride, size);
}
