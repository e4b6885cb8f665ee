#include "device/cpu/micro.h"
#include "device/cpu/tensor_core.h"
#include "device/cpu/twin.h"

/*
 * y[m, n] = epilogue(prologue(x[m, k]) W^T), W packed in panels of 32 outputs (linear_pack.c).
 *
 * 2 m n k FLOPs. Weights are read once for each block of rows, in the order they lie in: n k
 * elements for m up to 48; x is widened to f32 once, in the workspace. Order of sums: micro.h; one
 * chain over all of k, or of e4m3 products a chain from 0 for each 128 of k, added up in ascending
 * order. Neither depends on how rows and panels are cut into tasks, groups and blocks of k. A device
 * that is to compute as tensor cores do has their chains instead (tensor_core.h); blocks of k are
 * whole steps.
 *
 * A task is a block of rows times a run of panels. Within it a block of k of one panel stays in the
 * first-level cache while groups of up to six rows pass over it, and sums wait in a tile. Groups of
 * one to three rows take all 32 outputs at once, larger ones 16, for as many chains as there are
 * registers.
 */
enum {
	X_BYTES = 512 << 10, /* of a block of rows: second-level cache */
	W_BYTES = 16 << 10   /* of a block of k: first-level cache */
};

typedef void micro_fn(const float *x, int64_t x_stride, const unsigned char *w,
		      const unsigned char *ahead, size_t ahead_step, int64_t k, float *acc,
		      bool begin);

#define MICRO(kind, rows, halves)                                                                  \
	static void micro_##kind##_##rows(const float *x, int64_t x_stride,                        \
					  const unsigned char *w, const unsigned char *ahead,      \
					  size_t ahead_step, int64_t k, float *acc, bool begin)    \
	{                                                                                          \
		micro(WEIGHT_##kind, rows, halves, x, x_stride, w,                                 \
		      GH__PANEL *weight_size(WEIGHT_##kind), ahead, ahead_step, k, acc, GH__PANEL, \
		      begin);                                                                      \
	}

#define MICROS(kind)                                                 \
	MICRO(kind, 1, 2)                                            \
	MICRO(kind, 2, 2)                                            \
	MICRO(kind, 3, 2)                                            \
	MICRO(kind, 4, 1)                                            \
	MICRO(kind, 5, 1)                                            \
	MICRO(kind, 6, 1)                                            \
	static micro_fn *const micros_##kind[] = { NULL,             \
						   micro_##kind##_1, \
						   micro_##kind##_2, \
						   micro_##kind##_3, \
						   micro_##kind##_4, \
						   micro_##kind##_5, \
						   micro_##kind##_6 };

MICROS(F32)
MICROS(F16)
MICROS(BF16)
MICROS(E4M3)

/* By kind of weight and rows. */
static micro_fn *const *const micros[] = { [WEIGHT_F32] = micros_F32,
					   [WEIGHT_F16] = micros_F16,
					   [WEIGHT_BF16] = micros_BF16,
					   [WEIGHT_E4M3] = micros_E4M3 };

typedef struct linear_job {
	const gh__cpu *cpu;
	const gh__linear_desc *desc;
	const gh__linear_args *args;
	weight_kind kind;
	gh_dtype core;        /* operands of the tensor core's steps; GH_DTYPE_NONE: micro() */
	bool blocks;          /* sums of 128 */
	float *wide;          /* x as f32 in the workspace; NULL: x is used as it is */
	float *scale;         /* [m] with QUANTISE, in the workspace */
	const float *x_scale; /* [m] with blocks */
	const float *x;
	int64_t x_stride;
	int64_t rows;  /* a task */
	int64_t span;  /* panels a task */
	int64_t spans; /* tasks a block of rows */
} linear_job;

/* ---- x to f32 ---- */

static void widen_rows(void *arg, int64_t first, int64_t count)
{
	const linear_job *job = arg;
	const gh__linear_args *args = job->args;
	gh_dtype act = job->desc->act;
	int64_t k = job->desc->k;

	for (int64_t row = first; row < first + count; row++) {
		const char *x =
			(const char *)args->x + (size_t)(row * args->x_stride) * v8_element(act);
		float *to = job->wide + row * job->x_stride;
		v8f scale = v8f_set1(1.0F);

		if (job->desc->prologue == GH__PROLOGUE_QUANTISE) {
			float s = GH__TWIN(gh__cpu_absmax)(x, act, (size_t)k) / GH__E4M3_MAX;

			if (s < 1.0F / (448.0F * 512.0F))
				s = 1.0F / (448.0F * 512.0F);
			job->scale[row] = s;
			scale = v8f_set1(s);
		}
		for (int64_t i = 0; i < k; i += 8) {
			v8f v = v8f_load_n(act, x, i, k - i);

			if (job->desc->prologue == GH__PROLOGUE_QUANTISE)
				v = v8f_round_e4m3(v8f_div(v, scale));
			if (job->kind == WEIGHT_E4M3 && job->core == GH_DTYPE_NONE)
				v = v8f_mul(v, v8f_set1(256.0F));
			v8f_store(to + i, v);
		}
	}
}

/* ---- sums ---- */

/* Weights of a panel for a block of k, and those that one pass over them is to ask for. */
typedef struct weights {
	const unsigned char *at, *ahead;
	size_t step;       /* bytes from k to k */
	size_t ahead_step; /* bytes of `ahead` for every k */
} weights;

/* How often a group of rows goes over a panel: once, or once for each half. */
static size_t passes(int64_t rows)
{
	return rows > 3 ? 2 : 1;
}

/* Sums of one to six rows with one panel over k. */
static void multiply(const linear_job *job, int64_t rows, const float *x, const weights *w,
		     int64_t k, float *acc, bool begin)
{
	micro_fn *fn = micros[job->kind][rows];

	if (job->core != GH_DTYPE_NONE) {
		for (size_t half = 0; half < 2; half++)
			tensor_chain(job->core, job->kind, rows, x, job->x_stride,
				     w->at + half * w->step / 2, w->step, k,
				     acc + half * MICRO_HALF, GH__PANEL, begin);
		return;
	}
	fn(x, job->x_stride, w->at, w->ahead, w->ahead_step, k, acc, begin);
	if (rows > 3)
		fn(x, job->x_stride, w->at + w->step / 2, w->ahead + (size_t)k * w->ahead_step,
		   w->ahead_step, k, acc + MICRO_HALF, begin);
}

/* Likewise with a chain for each 128 of k. */
static void multiply_blocks(const linear_job *job, int64_t rows, const float *x, weights w,
			    int64_t k, float *acc, bool begin)
{
	_Alignas(32) float part[MICRO_ROWS * GH__PANEL];

	for (; k > 0; k -= GH__BLOCK_K, x += GH__BLOCK_K, begin = false) {
		multiply(job, rows, x, &w, k < GH__BLOCK_K ? k : GH__BLOCK_K, part, true);
		w.at += GH__BLOCK_K * w.step;
		w.ahead += GH__BLOCK_K * passes(rows) * w.ahead_step;
		for (int64_t i = 0; i < rows * GH__PANEL; i += 8) {
			v8f old = begin ? v8f_zero() : v8f_load(acc + i);

			v8f_store(acc + i, v8f_add(old, v8f_load(part + i)));
		}
	}
}

/*
 * Rows are cut into groups of at most six whose sizes differ by at most one. While they pass over a
 * block of k, each asks for its share of the next block, which lies behind this one.
 */
static void multiply_panel(const linear_job *job, int64_t first, int64_t rows, int64_t panel,
			   float *acc)
{
	const int64_t k = job->desc->k;
	const size_t step = GH__PANEL * weight_size(job->kind);
	const int64_t groups = (rows + MICRO_ROWS - 1) / MICRO_ROWS;
	const int64_t block = rows <= 3 ? k : (int64_t)(W_BYTES / step);
	const size_t shares = (size_t)(rows % groups) * passes(rows / groups + 1) +
			      (size_t)(groups - rows % groups) * passes(rows / groups);
	const unsigned char *from =
		(const unsigned char *)job->args->w + (size_t)panel * (size_t)k * step;

	for (int64_t at = 0; at < k; at += block) {
		int64_t count = k - at < block ? k - at : block;
		weights w = { from + (size_t)at * step, from + (size_t)(at + count) * step, step,
			      (step + shares - 1) / shares };

		for (int64_t g = 0, row = 0; g < groups; g++) {
			int64_t size = rows / groups + (g < rows % groups);
			const float *x = job->x + (first + row) * job->x_stride + at;
			float *to = acc + row * GH__PANEL;

			if (job->blocks)
				multiply_blocks(job, size, x, w, count, to, at == 0);
			else
				multiply(job, size, x, &w, count, to, at == 0);
			w.ahead += (size_t)count * passes(size) * w.ahead_step;
			row += size;
		}
	}
}

/* ---- epilogues ---- */

/* Eight finished outputs of row and column on, before the rounding to out; acc: their sums. */
GH__INLINE v8f finish(const linear_job *job, const float *acc, int64_t row, int64_t column,
		      int64_t count)
{
	const gh__linear_desc *desc = job->desc;
	const gh__linear_args *args = job->args;
	v8f sum = v8f_load(acc);
	v8f bias = v8f_zero();

	if (desc->bias)
		bias = v8f_load_n(desc->act == GH_E4M3 ? desc->out : desc->act, args->bias, column,
				  count);
	if (desc->weight != GH_E4M3)
		return desc->bias ? v8f_add(sum, bias) : sum;
	sum = v8f_mul(sum, v8f_load_n(GH_F32, args->w_scale, column, count));
	if (job->blocks) {
		v8f scale = v8f_set1(job->x_scale[row]);

		return desc->bias ? v8f_fma(sum, scale, bias) : v8f_mul(sum, scale);
	}
	return desc->bias ? v8f_add(v8f_round(desc->out, sum), bias) : sum;
}

static void store_panel(const linear_job *job, int64_t first, int64_t rows, int64_t panel,
			const float *acc)
{
	const gh__linear_desc *desc = job->desc;
	const bool glu = desc->epilogue == GH__EPILOGUE_SWIGLU;
	const int64_t columns = gh__linear_columns(desc);
	const int64_t width = gh__linear_panel_columns(desc);

	for (int64_t row = first; row < first + rows; row++, acc += GH__PANEL) {
		for (int64_t i = 0; i < width && panel * width + i < columns; i += 8) {
			int64_t column = panel * width + i, count = columns - column;
			v8f v = finish(job, acc + i, row, column, count);

			if (glu) {
				v8f up = finish(job, acc + width + i, row, columns + column, count);

				v = v8f_glu(desc->out, v8f_round(desc->out, v),
					    v8f_round(desc->out, up));
			}
			v8f_store_n(desc->out, job->args->y, row * job->args->y_stride + column, v,
				    count);
		}
	}
}

static void linear_task(void *arg, int64_t task, int thread)
{
	const linear_job *job = arg;
	float *tile = gh__cpu_scratch(job->cpu, thread);
	int64_t first = task / job->spans * job->rows;
	int64_t panel = task % job->spans * job->span;
	int64_t end = gh__linear_panels(job->desc);
	int64_t rows = job->args->m - first;

	rows = rows < job->rows ? rows : job->rows;
	end = end < panel + job->span ? end : panel + job->span;
	for (; panel < end; panel++) {
		multiply_panel(job, first, rows, panel, tile);
		store_panel(job, first, rows, panel, tile);
	}
}

static weight_kind kind_of(gh_dtype weight)
{
	switch (weight) {
	case GH_F16:
		return WEIGHT_F16;
	case GH_BF16:
		return WEIGHT_BF16;
	case GH_E4M3:
		return WEIGHT_E4M3;
	default:
		return WEIGHT_F32;
	}
}

/* What the tensor core's steps take, or GH_DTYPE_NONE: another device, or no product of its. */
static gh_dtype core_of(const gh__cpu *cpu, const gh__linear_desc *desc)
{
	if (!cpu->tensor_core)
		return GH_DTYPE_NONE;
	if (gh__linear_blocks(desc))
		return cpu->e4m3_as_f16 ? GH_F16 : GH_E4M3;
	if (desc->act != GH_F16 && desc->act != GH_BF16)
		return GH_DTYPE_NONE;
	return desc->weight == desc->act || desc->weight == GH_E4M3 ? desc->act : GH_DTYPE_NONE;
}

/* Rows a task: as many as keep the block of x in the second-level cache. */
static int64_t rows_a_task(int64_t k)
{
	int64_t rows = X_BYTES / (k * (int64_t)sizeof(float)) / MICRO_ROWS * MICRO_ROWS;

	return rows < 48 ? 48 : rows > GH__ROWS_MAX ? GH__ROWS_MAX : rows;
}

/* A few tasks a thread, each a run of neighbouring panels, so that memory is read in long
 * pieces. */
static int64_t panels_a_task(const gh__linear_desc *desc, int threads)
{
	const int64_t panels = gh__linear_panels(desc);
	int64_t tasks = panels / 3;

	tasks = tasks < threads ? threads : tasks > 4 * threads ? 4 * threads : tasks;
	return (panels + tasks - 1) / tasks;
}

void GH__TWIN(gh__cpu_linear)(const gh__cpu *cpu, const gh__linear_desc *desc,
			      const gh__linear_args *args)
{
	linear_job job = { .cpu = cpu, .desc = desc, .args = args, .kind = kind_of(desc->weight) };

	if (args->m <= 0)
		return;
	job.core = core_of(cpu, desc);
	job.blocks = gh__linear_blocks(desc);
	if (desc->act == GH_F32 && job.kind != WEIGHT_E4M3) {
		job.x = args->x;
		job.x_stride = args->x_stride;
	} else {
		job.scale = args->workspace;
		job.x_scale = desc->act == GH_E4M3 ? args->x_scale : job.scale;
		job.wide = job.scale + (args->m + 15) / 16 * 16;
		job.x = job.wide;
		job.x_stride = gh__linear_x_stride(desc);
		gh__cpu_rows(cpu, widen_rows, &job, args->m, 1 + 32768 / desc->k);
	}
	job.rows = rows_a_task(desc->k);
	job.span = panels_a_task(desc, cpu->threads);
	job.spans = (gh__linear_panels(desc) + job.span - 1) / job.span;
	gh__pool_run(cpu->pool, linear_task, &job, (args->m + job.rows - 1) / job.rows * job.spans);
}
