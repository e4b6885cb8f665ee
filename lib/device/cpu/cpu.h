#ifndef GH_DEVICE_CPU_CPU_H
#define GH_DEVICE_CPU_CPU_H

#include "device/cpu/pool.h"

/* The CPU device, as its kernels see it: threads, and room for each of them. */
typedef struct gh__cpu {
	gh__pool *pool;
	const struct gh__cpu_twin *twin;
	int threads;
	bool tensor_core;       /* GH_DEVICE_TENSOR_CORE */
	bool e4m3_as_f16;       /* GH_DEVICE_E4M3_AS_F16 */
	unsigned char *scratch; /* [threads][scratch_size], 256-byte aligned */
	size_t scratch_size;    /* what the greediest kernel needs */
} gh__cpu;

static inline void *gh__cpu_scratch(const gh__cpu *cpu, int thread)
{
	return cpu->scratch + (size_t)thread * cpu->scratch_size;
}

/*
 * Split rows [0, rows) over the pool in pieces of at least `least` rows and call fn for each.
 */
typedef void gh__cpu_rows_fn(void *arg, int64_t first, int64_t count);
void gh__cpu_rows(const gh__cpu *cpu, gh__cpu_rows_fn *fn, void *arg, int64_t rows, int64_t least);

#endif
