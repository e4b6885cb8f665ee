#include "device/cpu/heads.h"

/*
 * Causal attention of packed sequences, a whole row of scores at once.
 *
 * A row (a token and a query head) sees positions 0 to its own of its sequence, all in this step:
 *   u[j] = round(round(chain of fused multiply-adds over ascending d of q[d] k[j][d], from 0)
 *   scale)
 *   e[j] = exp(u[j] - max u), l = v8f_sum of the lanes' sums of e (position j in lane j mod 8,
 *          ascending), p[j] = round(e[j] / l)
 *   y[d] = round(chain of fused multiply-adds over ascending j of p[j] v[j][d], from 0)
 *
 * A device that is to compute as tensor cores do forms both products in their steps
 * (tensor_core.h), those of v at multiples of 16 positions.
 *
 * 4 d FLOPs a row and position. A task is one sequence and one kv head: k is transposed into panels
 * of 16 positions and v laid into panels of 16 columns once, so that both products are micro()'s.
 */
typedef struct row_job {
	const gh__cpu *cpu;
	const gh__attention_desc *desc;
	const gh__attention_args *args;
	int64_t kv_first, kv_count; /* kv heads that query heads here use */
	int64_t columns;            /* head_dim, rounded up to 16 */
	int64_t length;             /* the longest sequence, rounded up to 16 */
	gh_dtype core;              /* of the tensor core's steps, or GH_DTYPE_NONE */
} row_job;

/* A thread's scratch, in floats. */
typedef struct row_arena {
	float *k; /* [length / 16][dim][16] */
	float *v; /* [columns / 16][length][16] */
	float *q; /* [rows][columns] */
	float *p; /* [rows][length] scores, then probabilities */
	float *o; /* [rows][columns] */
} row_arena;

static int64_t whole_length(const gh__attention_desc *desc)
{
	return ((int64_t)desc->length + 15) / 16 * 16;
}

#if !defined(GH__LANES_AVX2)
size_t gh__attention_row_scratch(const gh__attention_desc *desc)
{
	int64_t columns = columns_of(desc), length = whole_length(desc);

	return (size_t)(2 * length * columns + MICRO_ROWS * (2 * columns + length)) * sizeof(float);
}
#endif

static void arena_init(row_arena *out, const row_job *job, int thread)
{
	float *at = gh__cpu_scratch(job->cpu, thread);

	out->k = at, at += job->length * job->columns;
	out->v = at, at += job->length * job->columns;
	out->q = at, at += MICRO_ROWS * job->columns;
	out->p = at, at += MICRO_ROWS * job->length;
	out->o = at;
}

/* k and v of a sequence's rows; places behind the last row, and behind a head's end, are zeros. */
GH__INLINE void load_sequence(gh_dtype act, const row_job *job, const row_arena *a, int64_t first,
			      int64_t rows, int64_t head)
{
	const gh__attention_desc *desc = job->desc;
	const int64_t dim = desc->kv.head_dim;
	const int64_t kv = desc->heads + head, step = desc->kv.kv_heads * dim;

	for (int64_t j = 0; j < rows; j += 8) {
		float *k = a->k + j / 16 * 16 * dim + j % 16;

		for (int64_t i = 0; i < dim; i += 8) {
			v8f lines[8];

			for (int64_t r = 0; r < 8; r++) {
				int64_t at = (first + j + r) * job->args->qkv_stride + kv * dim + i;
				float *v = a->v + (i / 16 * job->length + j + r) * 16 + i % 16;

				lines[r] = v8f_zero();
				if (j + r >= rows)
					continue;
				lines[r] = v8f_load_n(act, job->args->qkv, at, dim - i);
				v8f_store(v, v8f_load_n(act, job->args->qkv, at + step, dim - i));
				if (i + 8 >= dim && i % 16 == 0)
					v8f_store(v + 8, v8f_zero());
			}
			v8f_transpose(lines);
			for (int64_t r = 0; r < 8 && i + r < dim; r++)
				v8f_store(k + (i + r) * MICRO_HALF, lines[r]);
		}
		/* The other half of the last panel. */
		for (int64_t i = 0; j + 8 >= rows && j % 16 == 0 && i < dim; i++)
			v8f_store(k + i * MICRO_HALF + 8, v8f_zero());
	}
}

/* Scores of the first `count` positions to probabilities, in place. */
GH__INLINE void normalise(gh_dtype act, const row_job *job, float *p, int64_t count)
{
	const v8f scale = v8f_set1(job->desc->scale), low = v8f_set1(-INFINITY);
	v8f most = low, sum = v8f_zero();

	for (int64_t j = 0; j < count; j += 8) {
		v8i seen = v8i_gt(v8i_set1((int32_t)(count - j)), v8i_iota());
		v8f u = v8f_round(act, v8f_mul(v8f_round(act, v8f_load(p + j)), scale));

		u = v8f_select(seen, u, low);
		v8f_store(p + j, u);
		most = v8f_max(u, most);
	}
	most = v8f_set1(v8f_hmax(most));
	for (int64_t j = 0; j < count; j += 8) {
		v8f e = v8f_exp(v8f_sub(v8f_load(p + j), most));

		v8f_store(p + j, e);
		sum = v8f_add(sum, e);
	}
	sum = v8f_set1(v8f_sum(sum));
	for (int64_t j = 0; j < count; j += 8)
		v8f_store(p + j, v8f_round(act, v8f_div(v8f_load(p + j), sum)));
}

/* Query head `head` of rows [token, token + rows) of the sequence that begins at `first`. */
GH__INLINE void attend(gh_dtype act, const row_job *job, const row_arena *a, int64_t first,
		       int64_t token, int64_t rows, int64_t head)
{
	const gh__attention_args *args = job->args;
	const int64_t dim = job->desc->kv.head_dim, columns = job->columns;
	const int64_t shared = together(job->core, token + 1);

	for (int64_t r = 0; r < rows; r++) {
		int64_t at = (first + token + r) * args->qkv_stride + head * dim;

		for (int64_t i = 0; i < dim; i += 8)
			v8f_store(a->q + r * columns + i,
				  v8f_load_n(act, args->qkv, at + i, dim - i));
	}
	for (int64_t j = 0; j < token + rows; j += 16)
		multiply(job->core, rows, a->q, columns, a->k + j * dim, dim, a->p + j,
			 (size_t)job->length, true);
	for (int64_t r = 0; r < rows; r++)
		normalise(act, job, a->p + r * job->length, token + r + 1);
	for (int64_t i = 0; i < columns; i += 16) {
		const float *v = a->v + i * job->length;

		/* What all rows see together, then each row's own. */
		multiply(job->core, rows, a->p, job->length, v, shared, a->o + i, (size_t)columns,
			 true);
		for (int64_t r = 0; r < rows; r++)
			multiply(job->core, 1, a->p + r * job->length + shared, job->length,
				 v + shared * 16, token + 1 + r - shared, a->o + r * columns + i,
				 (size_t)columns, false);
	}
	for (int64_t r = 0; r < rows; r++) {
		int64_t at = (first + token + r) * args->y_stride + head * dim;

		for (int64_t i = 0; i < dim; i += 8)
			v8f_store_n(act, args->y, at + i, v8f_load(a->o + r * columns + i),
				    dim - i);
	}
}

GH__INLINE void sequence_as(gh_dtype act, const row_job *job, const row_arena *a, int64_t first,
			    int64_t rows, int64_t kv)
{
	int64_t head, heads = heads_of(job->desc, kv, &head);

	load_sequence(act, job, a, first, rows, kv);
	for (int64_t h = head; h < head + heads; h++) {
		for (int64_t t = 0; t < rows; t += MICRO_ROWS)
			attend(act, job, a, first, t, rows - t < MICRO_ROWS ? rows - t : MICRO_ROWS,
			       h);
	}
}

static void row_task(void *arg, int64_t task, int thread)
{
	const row_job *job = arg;
	const int32_t *start = job->args->step->row_start + task / job->kv_count;
	int64_t first = start[0], rows = start[1] - first;
	int64_t kv = job->kv_first + task % job->kv_count;
	row_arena a;

	arena_init(&a, job, thread);
	switch (job->desc->act) {
	case GH_F16:
		sequence_as(GH_F16, job, &a, first, rows, kv);
		break;
	case GH_BF16:
		sequence_as(GH_BF16, job, &a, first, rows, kv);
		break;
	default:
		sequence_as(GH_F32, job, &a, first, rows, kv);
		break;
	}
}

void GH__TWIN(gh__cpu_attention_row)(const gh__cpu *cpu, const gh__attention_desc *desc,
				     const gh__attention_args *args)
{
	row_job job = { .cpu = cpu, .desc = desc, .args = args };

	job.columns = columns_of(desc);
	job.length = whole_length(desc);
	job.core = core_of(cpu, desc);
	kv_heads_of(desc, &job.kv_first, &job.kv_count);
	gh__pool_run(cpu->pool, row_task, &job, args->step->sequences * job.kv_count);
}
