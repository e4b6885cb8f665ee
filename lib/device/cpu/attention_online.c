#include "device/cpu/heads.h"
#include "device/cpu/twin.h"

/*
 * Causal attention over the paged cache, prefill and decode alike.
 *
 * A row (a token and a query head) sees positions 0 to its own, in tiles of 128 absolute positions
 * within splits of 1024. In a tile:
 *   s[j] = (chain of fused multiply-adds over ascending d of q[d] k[j][d], from 0) * scale
 *   new  = max(m, max s); f = exp(m - new); p[j] = exp(s[j] - new), 0 beyond the row's position
 *   l    = l f + v8f_sum of the lanes' sums of p (position j in lane j mod 8, ascending)
 *   O[d] = a chain of fused multiply-adds over ascending j of round(p[j]) v[j][d], from O[d] f
 *   m    = new
 * beginning each split with O = 0, l = 0, m = -inf. Splits are folded in ascending order:
 *   m = max(m1, m2), a = exp(m1 - m), b = exp(m2 - m), O = fma(O2, b, O1 a), l = fma(l2, b, l1 a).
 * y = round(O / l). k and v of an e4m3 cache are their value times the scale, in f32. What lies
 * beyond a row's position is never multiplied, so no other row, and no stale slot, can reach it.
 *
 * A device that is to compute as tensor cores do forms both products in their steps
 * (tensor_core.h), those of v at multiples of 16 positions, and takes an e4m3 cache without its
 * scales: s[j] = ((q . k[j]) k_scale) scale, y = round((O v_scale) / l).
 *
 * 4 d FLOPs a row and position. A task is a run of one sequence's tokens times one kv head: its
 * query heads share every tile, which is widened once, k transposed into panels of 16 positions and
 * v into panels of 16 columns, so that both products are micro()'s.
 */
enum { TILE = GH__ATTENTION_TILE, SPLIT = GH__ATTENTION_SPLIT, ROWS = 96, AHEAD = 64 };

/* A thread's scratch, in floats. */
typedef struct arena {
	float *q;       /* [rows][dim] */
	float *k;       /* [tile / 16][dim][16] */
	float *v;       /* [columns / 16][tile][16] */
	float *p;       /* [rows][tile] scores, then probabilities */
	float *o;       /* [rows][columns] of this split */
	float *total;   /* [rows][columns] of the splits before */
	float *m, *l;   /* [rows] of this split */
	float *tm, *tl; /* [rows] of the splits before */
	int64_t *limit; /* [rows] positions that a row sees */
} arena;

typedef struct attention_job {
	const gh__cpu *cpu;
	const gh__attention_desc *desc;
	const gh__attention_args *args;
	const int32_t *runs; /* [count][2]: first row, rows */
	int64_t count;
	int64_t kv_first, kv_count; /* kv heads that query heads here use */
	int64_t columns;            /* head_dim, rounded up to 16 */
	gh_dtype core;              /* of the tensor core's steps, or GH_DTYPE_NONE */
	float k_scale, v_scale;     /* of k and v when they are read */
	float s_scale, o_scale;     /* of q . k, and of O in the end; the same two, or 1 */
} attention_job;

/* Rows of one task: at least one token with all the heads of a group. */
static int64_t rows_of(const gh__attention_desc *desc)
{
	int64_t heads = desc->group < desc->heads ? desc->group : desc->heads;

	return heads > ROWS ? heads : ROWS;
}

#if !defined(GH__LANES_AVX2)
size_t gh__attention_online_scratch(const gh__attention_desc *desc)
{
	int64_t columns = columns_of(desc), rows = rows_of(desc);

	return (size_t)(rows * (3 * columns + TILE + 4 + 2) + 2 * TILE * columns) * sizeof(float);
}
#endif

static void arena_init(arena *out, const attention_job *job, int thread)
{
	int64_t rows = rows_of(job->desc);
	float *at = gh__cpu_scratch(job->cpu, thread);

	out->k = at, at += TILE * job->columns;
	out->v = at, at += TILE * job->columns;
	out->q = at, at += rows * job->columns;
	out->o = at, at += rows * job->columns;
	out->total = at, at += rows * job->columns;
	out->p = at, at += rows * TILE;
	out->limit = (int64_t *)(void *)at, at += rows * 2;
	out->m = at, at += rows;
	out->l = at, at += rows;
	out->tm = at, at += rows;
	out->tl = at;
}

/* ---- a tile of k and v ---- */

/* Where positions [first, first + 8) lie; those from count on repeat the last one. */
GH__INLINE void cache_lines(const char *lines[8], const attention_job *job, const int32_t *blocks,
			    int part, int64_t head, int64_t first, int64_t count)
{
	const gh__kv_layout *kv = &job->desc->kv;
	const size_t size = (size_t)kv->head_dim * v8_element(kv->dtype);
	int32_t column = (int32_t)first / kv->block_size, slot = (int32_t)first % kv->block_size;
	const char *line = NULL;

	for (int64_t r = 0; r < 8; r++, slot++, line += size) {
		if (r >= count) {
			lines[r] = lines[count - 1];
			continue;
		}
		if (slot == kv->block_size) {
			slot = 0;
			column++;
		}
		if (r == 0 || slot == 0) {
			int64_t at = (int64_t)blocks[column] * 2 + part;

			at = (at * kv->kv_heads + head) * kv->block_size + slot;
			line = (const char *)job->args->cache + (size_t)at * size;
		}
		lines[r] = line;
	}
}

/* Eight elements from i on; `whole`: a head is a multiple of eight. */
GH__INLINE v8f load_scaled(gh_dtype kv, bool whole, const char *line, int64_t i, int64_t dim,
			   v8f scale)
{
	v8f v = v8f_load_n(kv, line, i, whole ? 8 : dim - i);

	return kv == GH_E4M3 ? v8f_mul(v, scale) : v;
}

/* k of n positions, eight at most, transposed; the others' places become zeros. */
GH__INLINE void load_keys(gh_dtype kv, bool whole, const char *const lines[8], int n, int64_t dim,
			  float scale, float *to)
{
	for (int64_t i = 0; i < dim; i += 8) {
		v8f rows[8];

		GH__UNROLL
		for (int r = 0; r < 8; r++)
			rows[r] = r < n ? load_scaled(kv, whole, lines[r], i, dim, v8f_set1(scale))
					: v8f_zero();
		v8f_transpose(rows);
		GH__UNROLL
		for (int r = 0; r < 8; r++) {
			if (whole || i + r < dim)
				v8f_store(to + (i + r) * MICRO_HALF, rows[r]);
		}
	}
}

/* v of n positions, eight at most, in panels of 16 columns; columns past the head's are zeros. */
GH__INLINE void load_values(gh_dtype kv, bool whole, const char *const lines[8], int n, int64_t dim,
			    float scale, float *to)
{
	int64_t i;

	for (i = 0; i < dim; i += 8) {
		float *panel = to + i / 16 * 16 * TILE + i % 16;

		for (int r = 0; r < n; r++)
			v8f_store(panel + r * 16,
				  load_scaled(kv, whole, lines[r], i, dim, v8f_set1(scale)));
	}
	for (int r = 0; i % 16 == 8 && r < n; r++)
		v8f_store(to + i / 16 * 16 * TILE + 8 + r * 16, v8f_zero());
}

/* Ask for k and v of eight positions that will be wanted soon: blocks are small and lie scattered,
 * so the machine's own prefetching does not find them. */
GH__INLINE void ask_for(gh_dtype kv, const attention_job *job, const int32_t *blocks, int64_t head,
			int64_t first)
{
	const int64_t size = job->desc->kv.head_dim * (int64_t)v8_element(kv);
	const char *lines[8];

	for (int part = 0; part < 2; part++) {
		cache_lines(lines, job, blocks, part, head, first, 8);
		for (int r = 0; r < 8; r++) {
			for (int64_t i = 0; i < size; i += 64)
				__builtin_prefetch(lines[r] + i, 0, 2);
		}
	}
}

/* A tile of one kv head from `first` on, of the positions below `end`. */
GH__INLINE void load_tile_as(gh_dtype kv, const attention_job *job, const arena *a,
			     const int32_t *blocks, int64_t head, int64_t first, int64_t end)
{
	const int64_t dim = job->desc->kv.head_dim;
	const int64_t count = end - first < TILE ? end - first : TILE;
	const float k_scale = job->k_scale, v_scale = job->v_scale;
	const char *lines[8];

	for (int64_t j = 0; j < count; j += 8) {
		float *k = a->k + j / 16 * 16 * dim + j % 16, *v = a->v + j * 16;
		int n = count - j < 8 ? (int)(count - j) : 8;

		if (first + j + AHEAD + 8 <= end)
			ask_for(kv, job, blocks, head, first + j + AHEAD);
		cache_lines(lines, job, blocks, 0, head, first + j, n);
		if (n == 8 && dim % 8 == 0)
			load_keys(kv, true, lines, 8, dim, k_scale, k);
		else
			load_keys(kv, false, lines, n, dim, k_scale, k);
		cache_lines(lines, job, blocks, 1, head, first + j, n);
		if (n == 8 && dim % 8 == 0)
			load_values(kv, true, lines, 8, dim, v_scale, v);
		else
			load_values(kv, false, lines, n, dim, v_scale, v);
	}
}

static void load_tile(const attention_job *job, const arena *a, const int32_t *blocks, int64_t head,
		      int64_t first, int64_t end)
{
	switch (job->desc->kv.dtype) {
	case GH_F16:
		load_tile_as(GH_F16, job, a, blocks, head, first, end);
		break;
	case GH_BF16:
		load_tile_as(GH_BF16, job, a, blocks, head, first, end);
		break;
	case GH_E4M3:
		load_tile_as(GH_E4M3, job, a, blocks, head, first, end);
		break;
	default:
		load_tile_as(GH_F32, job, a, blocks, head, first, end);
		break;
	}
}

/* ---- products ---- */

/* Positions of the tile that a row sees: 0 to 128. */
GH__INLINE int64_t visible(const arena *a, int64_t row, int64_t first)
{
	int64_t n = a->limit[row] - first;

	return n < 0 ? 0 : n > TILE ? TILE : n;
}

static void scores(const attention_job *job, const arena *a, int64_t row, int64_t rows,
		   int64_t first)
{
	const int64_t dim = job->desc->kv.head_dim;
	int64_t count = 0;

	for (int64_t r = row; r < row + rows; r++)
		count = visible(a, r, first) > count ? visible(a, r, first) : count;
	for (int64_t j = 0; j < count; j += 16)
		multiply(job->core, rows, a->q + row * job->columns, job->columns, a->k + j * dim,
			 dim, a->p + row * TILE + j, TILE, true);
}

/* Scores to probabilities; O, l and m of the row move on to the new maximum. */
GH__INLINE void softmax_as(gh_dtype act, const attention_job *job, const arena *a, int64_t row,
			   int64_t first)
{
	const int64_t count = visible(a, row, first);
	const v8f scale = v8f_set1(job->desc->scale), k_scale = v8f_set1(job->s_scale);
	const v8f low = v8f_set1(-INFINITY);
	float *p = a->p + row * TILE;
	float *o = a->o + row * job->columns;
	v8f most = low, sum = v8f_zero(), old, factor;

	if (count == 0)
		return;
	for (int64_t j = 0; j < count; j += 8) {
		v8i seen = v8i_gt(v8i_set1((int32_t)(count - j)), v8i_iota());
		v8f s = v8f_mul(v8f_mul(v8f_load(p + j), k_scale), scale);

		s = v8f_select(seen, s, low);
		v8f_store(p + j, s);
		most = v8f_max(s, most);
	}
	old = v8f_set1(a->m[row]);
	most = v8f_max(v8f_set1(v8f_hmax(most)), old);
	factor = v8f_exp(v8f_sub(old, most));
	for (int64_t j = 0; j < count; j += 8) {
		v8f e = v8f_exp(v8f_sub(v8f_load(p + j), most));

		sum = v8f_add(sum, e);
		v8f_store(p + j, v8f_round(act, e));
	}
	for (int64_t i = 0; i < job->columns; i += 8)
		v8f_store(o + i, v8f_mul(v8f_load(o + i), factor));
	a->m[row] = v8f_first(most);
	a->l[row] = a->l[row] * v8f_first(factor) + v8f_sum(sum);
}

static void softmax(const attention_job *job, const arena *a, int64_t row, int64_t first)
{
	switch (job->desc->act) {
	case GH_F16:
		softmax_as(GH_F16, job, a, row, first);
		break;
	case GH_BF16:
		softmax_as(GH_BF16, job, a, row, first);
		break;
	default:
		softmax_as(GH_F32, job, a, row, first);
		break;
	}
}

/* O continues over the positions that all rows see together, then over each row's own. */
static void values(const attention_job *job, const arena *a, int64_t row, int64_t rows,
		   int64_t first)
{
	int64_t shared = TILE;

	for (int64_t r = row; r < row + rows; r++)
		shared = visible(a, r, first) < shared ? visible(a, r, first) : shared;
	shared = together(job->core, shared);
	for (int64_t i = 0; i < job->columns; i += 16) {
		const float *v = a->v + i * TILE;

		if (shared > 0)
			multiply(job->core, rows, a->p + row * TILE, TILE, v, shared,
				 a->o + row * job->columns + i, (size_t)job->columns, false);
		for (int64_t r = row; r < row + rows; r++) {
			int64_t own = visible(a, r, first) - shared;

			if (own > 0)
				multiply(job->core, 1, a->p + r * TILE + shared, TILE,
					 v + shared * 16, own, a->o + r * job->columns + i,
					 (size_t)job->columns, false);
		}
	}
}

/* Fold the split's (O, m, l) of a row into the totals. */
static void fold(const attention_job *job, const arena *a, int64_t row)
{
	float *o = a->o + row * job->columns, *total = a->total + row * job->columns;
	v8f m1 = v8f_set1(a->tm[row]), m2 = v8f_set1(a->m[row]);
	v8f m = v8f_max(m1, m2);
	v8f f1 = v8f_exp(v8f_sub(m1, m)), f2 = v8f_exp(v8f_sub(m2, m));
	v8f l = v8f_fma(v8f_set1(a->l[row]), f2, v8f_mul(v8f_set1(a->tl[row]), f1));

	for (int64_t i = 0; i < job->columns; i += 8)
		v8f_store(total + i,
			  v8f_fma(v8f_load(o + i), f2, v8f_mul(v8f_load(total + i), f1)));
	a->tm[row] = v8f_first(m);
	a->tl[row] = v8f_first(l);
}

/* ---- a task ---- */

/* Rows in the order token, head. */
static int64_t load_queries(const attention_job *job, const arena *a, const int32_t *run,
			    int64_t first, int64_t heads)
{
	const gh__attention_desc *desc = job->desc;
	const int64_t dim = desc->kv.head_dim;
	int64_t row = 0, most = 0;

	for (int64_t t = run[0]; t < run[0] + run[1]; t++) {
		for (int64_t h = first; h < first + heads; h++, row++) {
			int64_t at = t * job->args->qkv_stride + h * dim;

			for (int64_t i = 0; i < dim; i += 8)
				v8f_store(a->q + row * job->columns + i,
					  v8f_load_n(desc->act, job->args->qkv, at + i, dim - i));
			a->limit[row] = (int64_t)job->args->step->position[t] + 1;
			most = a->limit[row] > most ? a->limit[row] : most;
			a->tm[row] = -INFINITY;
			a->tl[row] = 0.0F;
		}
	}
	memset(a->total, 0, (size_t)(row * job->columns) * sizeof(float));
	return most;
}

static void store_rows(const attention_job *job, const arena *a, const int32_t *run, int64_t first,
		       int64_t heads)
{
	const int64_t dim = job->desc->kv.head_dim;
	int64_t row = 0;

	for (int64_t t = run[0]; t < run[0] + run[1]; t++) {
		for (int64_t h = first; h < first + heads; h++, row++) {
			v8f l = v8f_set1(a->tl[row]), scale = v8f_set1(job->o_scale);
			int64_t at = t * job->args->y_stride + h * dim;

			for (int64_t i = 0; i < dim; i += 8) {
				v8f o = v8f_load(a->total + row * job->columns + i);

				v8f_store_n(job->desc->act, job->args->y, at + i,
					    v8f_div(v8f_mul(o, scale), l), dim - i);
			}
		}
	}
}

static void attend_tile(const attention_job *job, const arena *a, int64_t rows, int64_t first)
{
	for (int64_t row = 0; row < rows; row += MICRO_ROWS) {
		int64_t size = rows - row < MICRO_ROWS ? rows - row : MICRO_ROWS;

		scores(job, a, row, size, first);
		for (int64_t r = row; r < row + size; r++)
			softmax(job, a, r, first);
		values(job, a, row, size, first);
	}
}

static void attention_task(void *arg, int64_t task, int thread)
{
	const attention_job *job = arg;
	const gh__step *step = job->args->step;
	/* From the last run on: the rows at the end see most, and long tasks are to start first. */
	const int32_t *run = job->runs + 2 * (job->count - 1 - task / job->kv_count);
	const int64_t kv = job->kv_first + task % job->kv_count;
	const int32_t *blocks =
		step->block_table + (int64_t)step->sequence[run[0]] * step->blocks_max;
	int64_t first, heads, rows, most;
	arena a;

	arena_init(&a, job, thread);
	heads = heads_of(job->desc, kv, &first);
	rows = run[1] * heads;
	most = load_queries(job, &a, run, first, heads);
	for (int64_t split = 0; split < most; split += SPLIT) {
		memset(a.o, 0, (size_t)(rows * job->columns) * sizeof(float));
		for (int64_t row = 0; row < rows; row++) {
			a.m[row] = -INFINITY;
			a.l[row] = 0.0F;
		}
		for (int64_t at = split; at < split + SPLIT && at < most; at += TILE) {
			load_tile(job, &a, blocks, kv, at, most);
			attend_tile(job, &a, rows, at);
		}
		for (int64_t row = 0; row < rows; row++) {
			if (a.limit[row] > split)
				fold(job, &a, row);
		}
	}
	store_rows(job, &a, run, first, heads);
}

/* Cut every sequence's rows into runs of at most `most`; answers how many. */
static int64_t cut_runs(int32_t *runs, const gh__step *step, int32_t most)
{
	int64_t count = 0;

	for (int32_t s = 0; s < step->sequences; s++) {
		int32_t end = step->row_start[s + 1];

		for (int32_t row = step->row_start[s]; row < end; row += most, count++) {
			runs[2 * count] = row;
			runs[2 * count + 1] = end - row < most ? end - row : most;
		}
	}
	return count;
}

/* An e4m3 cache has scales. The tensor core multiplies what it holds, and they come afterwards. */
static void set_scales(attention_job *job)
{
	const bool scaled = job->desc->kv.dtype == GH_E4M3, after = job->core != GH_DTYPE_NONE;
	const float k = scaled ? job->args->k_scale : 1.0F, v = scaled ? job->args->v_scale : 1.0F;

	job->k_scale = after ? 1.0F : k;
	job->v_scale = after ? 1.0F : v;
	job->s_scale = after ? k : 1.0F;
	job->o_scale = after ? v : 1.0F;
}

void GH__TWIN(gh__cpu_attention_online)(const gh__cpu *cpu, const gh__attention_desc *desc,
					const gh__attention_args *args)
{
	attention_job job = { .cpu = cpu, .desc = desc, .args = args };
	const gh__step *step = args->step;
	int64_t heads = desc->group < desc->heads ? desc->group : desc->heads;

	job.runs = args->workspace;
	job.columns = columns_of(desc);
	job.core = core_of(cpu, desc);
	set_scales(&job);
	kv_heads_of(desc, &job.kv_first, &job.kv_count);
	job.count = cut_runs(args->workspace, step, (int32_t)(rows_of(desc) / heads));
	gh__pool_run(cpu->pool, attention_task, &job, job.count * job.kv_count);
}
