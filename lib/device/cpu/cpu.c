#include "device/cpu/cpu.h"

typedef struct rows_job {
	gh__cpu_rows_fn *fn;
	void *arg;
	int64_t rows, piece;
} rows_job;

static void rows_task(void *arg, int64_t task, int thread)
{
	const rows_job *job = arg;
	int64_t first = task * job->piece;
	int64_t left = job->rows - first;

	(void)thread;
	job->fn(job->arg, first, left < job->piece ? left : job->piece);
}

void gh__cpu_rows(const gh__cpu *cpu, gh__cpu_rows_fn *fn, void *arg, int64_t rows, int64_t least)
{
	rows_job job = { fn, arg, rows, 0 };

	if (rows <= 0)
		return;
	job.piece = (rows + cpu->threads - 1) / cpu->threads;
	if (job.piece < least)
		job.piece = least;
	gh__pool_run(cpu->pool, rows_task, &job, (rows + job.piece - 1) / job.piece);
}
