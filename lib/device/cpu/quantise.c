#include <string.h>

#include "device/cpu/kernels.h"

/* Rows to e4m3, each with a scale of its own; zeros behind n. n elements read, n bytes written. */
typedef struct quantise_job {
	const gh__cpu *cpu;
	const gh__quantise_desc *desc;
	const gh__quantise_args *args;
} quantise_job;

static void quantise_rows(void *arg, int64_t first, int64_t count)
{
	const quantise_job *job = arg;
	const gh__quantise_args *args = job->args;
	const gh_dtype act = job->desc->act;
	const size_t n = (size_t)job->desc->n, padded = (n + 15) / 16 * 16;

	for (int64_t row = first; row < first + count; row++) {
		const char *x =
			(const char *)args->x + (size_t)(row * args->x_stride) * gh_dtype_size(act);
		uint8_t *y = (uint8_t *)args->y + row * args->y_stride;

		job->cpu->twin->quantise_row(y, x, act, n, &args->scale[row]);
		memset(y + n, 0, padded - n);
	}
}

void gh__cpu_quantise(const gh__cpu *cpu, const gh__quantise_desc *desc,
		      const gh__quantise_args *args)
{
	quantise_job job = { cpu, desc, args };

	gh__cpu_rows(cpu, quantise_rows, &job, args->m, 1 + 32768 / desc->n);
}
