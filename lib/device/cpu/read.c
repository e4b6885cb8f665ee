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
	words s0 = { 0 }, s1 = s0, s2 = s0, s3 = s0, s4 = s0, s5 = s0, s6 = s0, s7 = s0;

	(void)thread;
	for (; i + 8 <= end; i += 8) {
		s0 += job->x[i];
		s1 += job->x[i + 1];
		s2 += job->x[i + 2];
		s3 += job->x[i + 3];
		s4 += job->x[i + 4];
		s5 += job->x[i + 5];
		s6 += job->x[i + 6];
		s7 += job->x[i + 7];
	}
	for (; i < end; i++)
		s0 += job->x[i];
	s0 += s1 + s2 + s3 + s4 + s5 + s6 + s7;
	__atomic_fetch_add(&job->sum[0], s0[0], __ATOMIC_RELAXED);
	__atomic_fetch_add(&job->sum[1], s0[1], __ATOMIC_RELAXED);
}

void gh__cpu_read(const gh__cpu *cpu, const gh__read_args *args)
{
	read_job job = { args->x, args->size / sizeof(words), args->sum };

	gh__pool_run(cpu->pool, read_piece, &job, (int64_t)((job.count + PIECE - 1) / PIECE));
}
