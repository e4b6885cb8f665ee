#include "device/cpu/micro.h"
#include "device/cpu/twin.h"

/*
 * y[m, n] = epilogue(prologue(x[m, k]) W^T), W packed in panels of 16 outputs (linear_pack.c).
 *
 * 2 m n k FLOPs. Weights are read once for each block of rows: n k elements for m up to 48; x is
 * widened to f32 once, in the workspace. Order of sums: micro.h; one chain over all of k, or with
 * QUANTISE a chain from 0 for each 128 of k, added up in ascending order. Neither depends on how
 * rows and panels are cut into tasks, groups of rows and blocks of k.
 *
 * A task is a block of rows times a chunk of four panels. Within it a block of k of one panel stays
 * in the first-level cache while groups of up to six rows pass over it; sums wait in a tile. One to
 * three rows (decoding) take several panels at once instead, to have enough independent chains.
 */
enum { X_BYTES = 512 << 10, W_BYTES = 16 << 10 }; /* caches to fill */

typedef void micro_fn(const float *x, int64_t x_stride, const unsigned char *w, size_t w_panel,
		      int64_t k, float *acc, size_t acc_panel, bool begin);

#define MICRO(kind, rows, panels)                                                              \
	static void micro_##kind##_##rows##x##panels(const float *x, int64_t x_stride,         \
						     const unsigned char *w, size_t w_panel,   \
						     int64_t k, float *acc, size_t acc_panel,  \
						     bool begin)                               \
	{                                                                                      \
		micro(WEIGHT_##kind, rows, panels, x, x_stride, w, w_panel, k, acc, GH__PANEL, \
		      acc_panel, begin);                                                       \
	}

#define MICROS(kind)      \
	MICRO(kind, 1, 1) \
	MICRO(kind, 2, 1) \
	MICRO(kind, 3, 1) \
	MICRO(kind, 4, 1) \
	MICRO(kind, 5, 1) \
	MICRO(kind, 6, 1) \
	MICRO(kind, 1, 4) \
	MICRO(kind, 2, 2) \
	MICRO(kind, 3, 2)

MICROS(F32)
MICROS(F16)
MICROS(BF16)
MICROS(E4M3)

/* One panel, and several at once, by rows. */
typedef struct micro_set {
	micro_fn *one[MICRO_ROWS + 1];
	micro_fn *several[4];
} micro_set;

#define MICRO_SET(kind)                                                                       \
	{                                                                                     \
		{ NULL,                                                                       \
		  micro_##kind##_1x1,                                                         \
		  micro_##kind##_2x1,                                                         \
		  micro_##kind##_3x1,                                                         \
		  micro_##kind##_4x1,                                                         \
		  micro_##kind##_5x1,                                                         \
		  micro_##kind##_6x1 },                                                       \
			{ NULL, micro_##kind##_1x4, micro_##kind##_2x2, micro_##kind##_3x2 }, \
	}

static const micro_set micro_sets[] = { [WEIGHT_F32] = MICRO_SET(F32),
					[WEIGHT_F16] = MICRO_SET(F16),
					[WEIGHT_BF16] = MICRO_SET(BF16),
					[WEIGHT_E4M3] = MICRO_SET(E4M3) };

typedef struct linear_job {
	const gh__cpu *cpu;
	const gh__linear_desc *desc;
	const gh__linear_args *args;
	weight_kind kind;
	bool blocks;  /* sums of 128 */
	float *wide;  /* x as f32 in the workspace; NULL: x is used as it is */
	float *scale; /* [m] with QUANTISE */
	const float *x;
	int64_t x_stride;
	int64_t rows;   /* a task */
	int64_t chunks; /* of panels */
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
			if (job->kind == WEIGHT_E4M3)
				v = v8f_mul(v, v8f_set1(256.0F));
			v8f_store(to + i, v);
		}
	}
}

/* ---- sums ---- */

/* Sums of `rows` rows and `panels` panels over k: one chain each, or a chain for each 128. */
static void multiply(const linear_job *job, micro_fn *fn, int64_t rows, int64_t panels,
		     const float *x, const unsigned char *w, size_t w_panel, int64_t k, float *acc,
		     size_t acc_panel, bool begin)
{
	_Alignas(32) float part[MICRO_PANELS * MICRO_ROWS * GH__PANEL];
	const size_t step = (size_t)GH__PANEL * weight_size(job->kind);

	if (!job->blocks) {
		fn(x, job->x_stride, w, w_panel, k, acc, acc_panel, begin);
		return;
	}
	for (int64_t at = 0; at < k; at += GH__BLOCK_K) {
		int64_t count = k - at < GH__BLOCK_K ? k - at : GH__BLOCK_K;

		fn(x + at, job->x_stride, w + (size_t)at * step, w_panel, count, part,
		   MICRO_ROWS * GH__PANEL, true);
		for (int64_t p = 0; p < panels; p++) {
			float *to = acc + (size_t)p * acc_panel;
			const float *from = part + p * MICRO_ROWS * GH__PANEL;

			for (int64_t i = 0; i < rows * GH__PANEL; i += 8) {
				v8f old = begin && at == 0 ? v8f_zero() : v8f_load(to + i);

				v8f_store(to + i, v8f_add(old, v8f_load(from + i)));
			}
		}
	}
}

/* Rows are cut into groups of at most six whose sizes differ by at most one. */
static void multiply_panels(const linear_job *job, int64_t first, int64_t rows, int64_t panel,
			    int64_t panels, float *tile)
{
	const micro_set *set = &micro_sets[job->kind];
	const int64_t k = job->desc->k;
	const size_t step = (size_t)GH__PANEL * weight_size(job->kind);
	const size_t w_panel = (size_t)k * step;
	const size_t acc_panel = GH__ROWS_MAX * GH__PANEL;
	const int64_t groups = (rows + MICRO_ROWS - 1) / MICRO_ROWS;
	const int64_t block = groups == 1 ? k : (int64_t)(W_BYTES / step);
	const int64_t most = (rows + groups - 1) / groups;
	const int64_t at_once = most == 1 ? 4 : most <= 3 ? 2 : 1;

	for (int64_t p = 0; p < panels;) {
		bool several = at_once > 1 && p + at_once <= panels;
		const unsigned char *w =
			(const unsigned char *)job->args->w + (size_t)(panel + p) * w_panel;

		for (int64_t at = 0; at < k; at += block) {
			int64_t count = k - at < block ? k - at : block;

			for (int64_t g = 0, row = 0; g < groups; g++) {
				int64_t size = rows / groups + (g < rows % groups);
				micro_fn *fn =
					several && size < 4 ? set->several[size] : set->one[size];

				multiply(job, fn, size, several ? at_once : 1,
					 job->x + (first + row) * job->x_stride + at,
					 w + (size_t)at * step, w_panel, count,
					 tile + (size_t)p * acc_panel + row * GH__PANEL, acc_panel,
					 at == 0);
				row += size;
			}
		}
		p += several ? at_once : 1;
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
		bias = v8f_load_n(desc->act, args->bias, column, count);
	if (desc->weight != GH_E4M3)
		return desc->bias ? v8f_add(sum, bias) : sum;
	sum = v8f_mul(sum, v8f_load_n(GH_F32, args->w_scale, column, count));
	if (desc->prologue == GH__PROLOGUE_QUANTISE) {
		v8f scale = v8f_set1(job->scale[row]);

		return desc->bias ? v8f_fma(sum, scale, bias) : v8f_mul(sum, scale);
	}
	return desc->bias ? v8f_add(v8f_round(desc->out, sum), bias) : sum;
}

static void store_panels(const linear_job *job, int64_t first, int64_t rows, int64_t panel,
			 int64_t panels, const float *tile)
{
	const gh__linear_desc *desc = job->desc;
	const bool glu = desc->epilogue == GH__EPILOGUE_SWIGLU;
	const int64_t columns = glu ? desc->n / 2 : desc->n;
	const int64_t step = glu ? 2 : 1;

	for (int64_t p = 0; p < panels; p += step) {
		int64_t column = (panel + p) / step * GH__PANEL;
		const float *acc = tile + (size_t)p * GH__ROWS_MAX * GH__PANEL;

		for (int64_t row = 0; row < rows; row++) {
			for (int64_t i = 0; i < GH__PANEL && column + i < columns; i += 8) {
				int64_t count = columns - column - i;
				const float *from = acc + row * GH__PANEL + i;
				v8f v = finish(job, from, first + row, column + i, count);

				if (glu) {
					v8f up = finish(job, from + GH__ROWS_MAX * GH__PANEL,
							first + row, columns + column + i, count);

					v = v8f_glu(desc->out, v8f_round(desc->out, v),
						    v8f_round(desc->out, up));
				}
				v8f_store_n(desc->out, job->args->y,
					    (first + row) * job->args->y_stride + column + i, v,
					    count);
			}
		}
	}
}

static void linear_task(void *arg, int64_t task, int thread)
{
	const linear_job *job = arg;
	float *tile = gh__cpu_scratch(job->cpu, thread);
	int64_t first = task / job->chunks * job->rows;
	int64_t panel = task % job->chunks * GH__CHUNK;
	int64_t rows = job->args->m - first;
	int64_t panels = gh__linear_panels(job->desc) - panel;

	if (rows > job->rows)
		rows = job->rows;
	if (panels > GH__CHUNK)
		panels = GH__CHUNK;
	multiply_panels(job, first, rows, panel, panels, tile);
	store_panels(job, first, rows, panel, panels, tile);
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

/* Rows a task: as many as keep the block of x in the second-level cache. */
static int64_t rows_a_task(int64_t k)
{
	int64_t rows = X_BYTES / (k * (int64_t)sizeof(float)) / MICRO_ROWS * MICRO_ROWS;

	return rows < 48 ? 48 : rows > GH__ROWS_MAX ? GH__ROWS_MAX : rows;
}

void GH__TWIN(gh__cpu_linear)(const gh__cpu *cpu, const gh__linear_desc *desc,
			      const gh__linear_args *args)
{
	linear_job job = { .cpu = cpu, .desc = desc, .args = args, .kind = kind_of(desc->weight) };

	if (args->m <= 0)
		return;
	job.blocks = desc->prologue == GH__PROLOGUE_QUANTISE;
	if (desc->act == GH_F32 && job.kind != WEIGHT_E4M3) {
		job.x = args->x;
		job.x_stride = args->x_stride;
	} else {
		job.scale = args->workspace;
		job.wide = job.scale + (args->m + 15) / 16 * 16;
		job.x = job.wide;
		job.x_stride = gh__linear_x_stride(desc);
		gh__cpu_rows(cpu, widen_rows, &job, args->m, 1 + 32768 / desc->k);
	}
	job.rows = rows_a_task(desc->k);
	job.chunks = (gh__linear_panels(desc) + GH__CHUNK - 1) / GH__CHUNK;
	gh__pool_run(cpu->pool, linear_task, &job,
		     (args->m + job.rows - 1) / job.rows * job.chunks);
}
