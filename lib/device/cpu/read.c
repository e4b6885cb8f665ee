#include "device/cpu/kernels.h"

/*
 * Sums of the words of 64 bits at even and at odd places. Pieces of a megabyte are tasks; in each,
 * eight independent sums of 16 bytes let memory be what is waited for. size bytes read.
 */
typedef uint64_t words __attribute__((vector_size(16)));

enum { PIECE = 1 << 16 }; /* words of a task */

typedef struct read_job {
	const words *x;
	size_t count;
	uint64_t *sum;
} read_job;

static void read_piece(void *arg, int64_t task, int thread)
{
	const read_job *job = arg;
	size_t i = (size_t)task * PIECE, end = i + PIECE < job->count ? i + PIECE : job->count;
	words sum[8] = { { 0 } };

	(void)thread;
	for (; i + 8 <= end; i += 8) {
		for (size_t j = 0; j < 8; j++)
			sum[j] += job->x[i + j];
	}
	for (; i < end; i++)
		sum[0] += job->x[i];
	for (size_t j = 1; j < 8; j++)
		sum[0] += sum[j];
	__atomic_fetch_add(&job->sum[0], sum[0][0], __ATOMIC_RELAXED);
	__atomic_fetch_add(&job->sum[1], sum[0][1], __ATOMIC_RELAXED);
}

void gh__cpu_read(const gh__cpu *cpu, const gh__read_args *args)
{
	read_job job = { args->x, args->size / sizeof(words), args->sum };

	gh__pool_run(cpu->pool, read_piece, &job, (int64_t)((job.count + PIECE - 1) / PIECE));
}
