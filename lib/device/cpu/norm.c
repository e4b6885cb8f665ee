#include "device/cpu/twin.h"

/*
 * Root mean square norm, one vector r of n elements at a time.
 *
 * r = x, or round(x + residual), stored back. Sum of squares: element i goes to lane i mod 32, each
 * lane a chain of fused multiply-adds in ascending order from 0; the four groups of eight lanes are
 * added as (0 + 1) + (2 + 3), then v8f_sum(). s = 1 / sqrt(sum / n + eps);
 * y = round(round(r s) w). About 4 n FLOPs; 3 n elements read, n to 2 n written.
 */
typedef struct norm_job {
	const gh__norm_desc *desc;
	const gh__norm_args *args;
} norm_job;

/* Eight elements of r, from i on; n of them are there. */
GH__INLINE v8f form(gh_dtype act, bool residual, const char *x, char *rest, int64_t i, int64_t n)
{
	v8f r = v8f_load_n(act, x, i, n);

	if (residual) {
		r = v8f_round(act, v8f_add(r, v8f_load_n(act, rest, i, n)));
		v8f_store_n(act, rest, i, r, n);
	}
	return r;
}

GH__INLINE void norm_vector(gh_dtype act, bool residual, const norm_job *job, const char *x,
			    char *rest, char *y)
{
	int64_t n = job->desc->n;
	v8f sum[4] = { v8f_zero(), v8f_zero(), v8f_zero(), v8f_zero() };
	int64_t i = 0;
	float mean;
	v8f scale;

	for (; i + 32 <= n; i += 32) {
		for (int j = 0; j < 4; j++) {
			v8f r = form(act, residual, x, rest, i + 8 * j, 8);

			sum[j] = v8f_fma(r, r, sum[j]);
		}
	}
	for (int j = 0; i < n; i += 8, j++) {
		v8f r = form(act, residual, x, rest, i, n - i);

		sum[j] = v8f_fma(r, r, sum[j]);
	}
	mean = v8f_sum(v8f_add(v8f_add(sum[0], sum[1]), v8f_add(sum[2], sum[3]))) / (float)n;
	scale = v8f_set1(1.0F / sqrtf(mean + job->desc->eps));
	for (i = 0; i < n; i += 8) {
		v8f r = v8f_load_n(act, residual ? rest : x, i, n - i);
		v8f w = v8f_load_n(act, job->args->weight, i, n - i);

		v8f_store_n(act, y, i, v8f_mul(v8f_round(act, v8f_mul(r, scale)), w), n - i);
	}
}

GH__INLINE void norm_rows_as(gh_dtype act, bool residual, const norm_job *job, int64_t first,
			     int64_t count)
{
	const gh__norm_args *args = job->args;
	size_t size = v8_element(act);
	size_t n = (size_t)job->desc->n * size;

	for (int64_t row = first; row < first + count; row++) {
		const char *x = (const char *)args->x + (size_t)(row * args->x_stride) * size;
		char *y = (char *)args->y + (size_t)(row * args->y_stride) * size;
		char *rest = residual ? (char *)args->residual + (size_t)row * n : NULL;

		for (int64_t group = 0; group < args->groups; group++)
			norm_vector(act, residual, job, x + (size_t)group * n, rest,
				    y + (size_t)group * n);
	}
}

static void norm_rows(void *arg, int64_t first, int64_t count)
{
	const norm_job *job = arg;
	bool residual = job->desc->residual;

	switch (job->desc->act) {
	case GH_F16:
		if (residual)
			norm_rows_as(GH_F16, true, job, first, count);
		else
			norm_rows_as(GH_F16, false, job, first, count);
		break;
	case GH_BF16:
		if (residual)
			norm_rows_as(GH_BF16, true, job, first, count);
		else
			norm_rows_as(GH_BF16, false, job, first, count);
		break;
	default:
		norm_rows_as(GH_F32, residual, job, first, count);
		break;
	}
}

void GH__TWIN(gh__cpu_norm)(const gh__cpu *cpu, const gh__norm_desc *desc,
			    const gh__norm_args *args)
{
	norm_job job = { desc, args };

	gh__cpu_rows(cpu, norm_rows, &job, args->m, 1 + 32768 / (desc->n * args->groups + 1));
}
