#ifndef GH_TESTS_CUDA_ATTENTION_STEP_H
#define GH_TESTS_CUDA_ATTENTION_STEP_H

#include "pair.h"

/*
 * Steps of attention on a pair of devices: sequences of which each has some rows, from any position
 * on, and rows that pad. All that no row may see is NaN: pads, and cache cells of no position.
 */
enum { STEP_PADS = 2 };

typedef struct step_run {
	int32_t first, rows; /* position of the sequence's first row here */
} step_run;

typedef struct step_case {
	gh_dtype act, kv; /* kv GH_DTYPE_NONE: PACKED */
	int32_t heads, group, dim;
	int32_t head_first, kv_first, kv_heads;
	int32_t block_size;
	int32_t gap; /* elements between rows of qkv */
} step_case;

/* One step, its tensors on both devices. */
typedef struct attention_step {
	gh__op_desc desc;
	gh__step host[DEVICES];
	void *step[DEVICES], *workspace[DEVICES];
	tensor qkv, cache, position, sequence, row_start, blocks, y;
	gh__kernel *kernels[DEVICES];
	gh__op_args args[DEVICES];
	int32_t tokens, sequences;
} attention_step;

/* Products as the GPU forms them, or of f32 and mixed types plain ones: which CPU device it is. */
static gh__device *step_cpus[2];

static inline void step_open(void)
{
	step_cpus[0] = devices[CPU];
	step_cpus[1] = device_open(2, GH_DEVICE_TENSOR_CORE);
}

static inline void step_close(void)
{
	devices[CPU] = step_cpus[0];
	gh__device_close(step_cpus[1]);
}

static inline gh__op_desc step_desc(const step_case *c, int32_t length)
{
	const bool packed = c->kv == GH_DTYPE_NONE;

	return (gh__op_desc){
		.kind = GH__OP_ATTENTION,
		.attention = { .act = c->act,
			       .softmax = packed ? GH__SOFTMAX_ROW : GH__SOFTMAX_ONLINE,
			       .source = packed ? GH__KV_PACKED : GH__KV_PAGED,
			       .causal = true,
			       .heads = c->heads,
			       .group = c->group,
			       .head_first = c->head_first,
			       .kv_first = c->kv_first,
			       .kv = { c->kv, c->kv_heads, c->dim, packed ? 0 : c->block_size },
			       .length = packed ? length : 0,
			       .scale = 1.0F / sqrtf((float)c->dim) }
	};
}

static inline int64_t step_stride(const step_case *c)
{
	return (int64_t)(c->heads + 2 * c->kv_heads) * c->dim + c->gap;
}

/* The cache of `count` blocks: position p of sequence s lies in column p / block_size of its table;
 * cells that no sequence has are NaN. */
static inline void *step_cache(const step_case *c, const step_run *runs, int32_t sequences,
			       const int32_t *table, int32_t columns, int64_t count)
{
	const int64_t block = (int64_t)2 * c->kv_heads * c->block_size * c->dim;
	void *cache = poisoned(c->kv, count * block);
	uint64_t state = 77;

	for (int32_t s = 0; s < sequences; s++) {
		for (int32_t p = 0; p < runs[s].first + runs[s].rows; p++) {
			int64_t at = table[s * columns + p / c->block_size] * block;

			for (int32_t h = 0; h < 2 * c->kv_heads; h++) {
				int64_t line =
					at +
					((int64_t)h * c->block_size + p % c->block_size) * c->dim;

				for (int32_t d = 0; d < c->dim; d++)
					put(c->kv, cache, line + d,
					    (float)(random_unit(&state) *
						    (c->kv == GH_E4M3 ? 40 : 4)));
			}
		}
	}
	return cache;
}

/* Block tables: blocks in a scattered order, -1 (no block) where a sequence has none. */
static inline int32_t *step_blocks(const step_case *c, const step_run *runs, int32_t sequences,
				   int32_t *columns, int64_t *count)
{
	int32_t *table;
	int64_t given = 0, total = 0;

	*columns = 1;
	for (int32_t s = 0; s < sequences; s++) {
		int32_t n = (runs[s].first + runs[s].rows + c->block_size - 1) / c->block_size;

		*columns = n > *columns ? n : *columns;
		total += n;
	}
	/* A prime above: i * 7919 visits every block once. */
	*count = total + 1;
	while (*count % 7919 == 0)
		++*count;
	table = gh__malloc((size_t)(sequences + 1) * (size_t)*columns * sizeof *table);
	memset(table, 0xff, (size_t)(sequences + 1) * (size_t)*columns * sizeof *table);
	for (int32_t s = 0; s < sequences; s++) {
		for (int32_t b = 0; b * c->block_size < runs[s].first + runs[s].rows; b++)
			table[s * *columns + b] = (int32_t)(++given * 7919 % *count);
	}
	return table;
}

/* Rows of the step: positions, sequences, where each begins; pads are of none. */
static inline void step_rows(attention_step *s, const step_run *runs)
{
	int32_t *position = gh__calloc((size_t)s->tokens, sizeof *position);
	int32_t *sequence = gh__calloc((size_t)s->tokens, sizeof *sequence);
	int32_t *start = gh__calloc((size_t)s->sequences + 1, sizeof *start);
	int32_t row = 0;

	for (int32_t i = 0; i < s->sequences; i++) {
		for (int32_t j = 0; j < runs[i].rows; j++, row++) {
			position[row] = runs[i].first + j;
			sequence[row] = i;
		}
		start[i + 1] = row;
	}
	s->position = tensor_of(position, (size_t)s->tokens * sizeof *position);
	s->sequence = tensor_of(sequence, (size_t)s->tokens * sizeof *sequence);
	s->row_start = tensor_of(start, ((size_t)s->sequences + 1) * sizeof *start);
	gh__free(position);
	gh__free(sequence);
	gh__free(start);
}

/* Row i of the runs holds the numbers of its run's seed and its position: the same ones wherever
 * the row is. */
static inline void step_qkv(attention_step *s, const step_case *c, const step_run *runs)
{
	const int64_t stride = step_stride(c);
	void *qkv = poisoned(c->act, s->tokens * stride);
	int64_t row = 0;

	for (int32_t i = 0; i < s->sequences; i++) {
		for (int32_t j = 0; j < runs[i].rows; j++, row++) {
			uint64_t state = (uint64_t)(runs[i].first + j) * 1000003;

			for (int64_t e = 0; e < stride - c->gap; e++)
				put(c->act, qkv, row * stride + e,
				    (float)(random_unit(&state) *
					    ldexp(3, -(int)(random_next(&state) % 6))));
		}
	}
	s->qkv = tensor_of(qkv, (size_t)(s->tokens * stride) * size_of(c->act));
	gh__free(qkv);
}

static inline void step_devices(attention_step *s, const step_case *c, int32_t columns)
{
	for (int d = 0; d < DEVICES; d++) {
		gh__device *device = devices[d];
		size_t size = device->table->workspace(device->self, s->kernels[d], s->tokens);

		s->host[d] = (gh__step){ .tokens = s->tokens,
					 .sequences = s->sequences,
					 .blocks_max = columns,
					 .position = s->position.at[d],
					 .sequence = s->sequence.at[d],
					 .row_start = s->row_start.at[d],
					 .block_table = s->blocks.at[d] };
		s->step[d] = device_alloc(device, sizeof(gh__step));
		assert_ok(device->table->upload(device->self, s->step[d], &s->host[d],
						sizeof(gh__step), NULL, error));
		s->workspace[d] = device_alloc(device, size + 1);
		s->args[d].attention =
			(gh__attention_args){ .qkv = s->qkv.at[d],
					      .qkv_stride = step_stride(c),
					      .cache = c->kv == GH_DTYPE_NONE ? NULL
									      : s->cache.at[d],
					      .k_scale = c->kv == GH_E4M3 ? 0.11F : 1.0F,
					      .v_scale = c->kv == GH_E4M3 ? 0.07F : 1.0F,
					      .step = s->step[d],
					      .host = &s->host[d],
					      .y = s->y.at[d],
					      .y_stride = (int64_t)c->heads * c->dim + c->gap,
					      .workspace = s->workspace[d] };
	}
}

/* Of PACKED, every run begins at 0. */
static inline void step_init(attention_step *s, const step_case *c, const step_run *runs,
			     int32_t sequences)
{
	const bool core =
		c->act != GH_F32 && (c->kv == GH_DTYPE_NONE || c->kv == c->act || c->kv == GH_E4M3);
	int32_t columns = 1, longest = 1, *table;
	int64_t count;

	memset(s, 0, sizeof *s);
	devices[CPU] = step_cpus[core];
	s->sequences = sequences;
	s->tokens = STEP_PADS;
	for (int32_t i = 0; i < sequences; i++) {
		s->tokens += runs[i].rows;
		longest = runs[i].rows > longest ? runs[i].rows : longest;
	}
	s->desc = step_desc(c, longest);
	pair_prepare(s->kernels, &s->desc);
	step_rows(s, runs);
	step_qkv(s, c, runs);
	if (c->kv != GH_DTYPE_NONE) {
		table = step_blocks(c, runs, sequences, &columns, &count);
		void *cache = step_cache(c, runs, sequences, table, columns, count);

		s->blocks = tensor_of(table, (size_t)sequences * (size_t)columns * sizeof *table);
		s->cache = tensor_of(cache, (size_t)count * 2 * (size_t)c->kv_heads *
						    (size_t)c->block_size * (size_t)c->dim *
						    size_of(c->kv));
		gh__free(cache);
		gh__free(table);
	} else {
		s->blocks = tensor_of(NULL, 4);
		s->cache = tensor_of(NULL, 4);
	}
	s->y = tensor_poisoned(c->act, s->tokens * ((int64_t)c->heads * c->dim + c->gap));
	step_devices(s, c, columns);
}

static inline void step_free(attention_step *s)
{
	tensor *all[] = { &s->qkv,       &s->cache,  &s->position, &s->sequence,
			  &s->row_start, &s->blocks, &s->y };

	for (size_t i = 0; i < COUNT(all); i++)
		tensor_free(all[i]);
	for (int d = 0; d < DEVICES; d++) {
		devices[d]->table->release(devices[d]->self, s->step[d]);
		devices[d]->table->release(devices[d]->self, s->workspace[d]);
	}
	pair_kernel_free(s->kernels);
}

/* The GPU's bits, twice, are the CPU's, and nothing but y is written. */
static inline void step_check(attention_step *s, const char *what)
{
	const tensor *all[] = { &s->qkv,       &s->cache,  &s->position, &s->sequence,
				&s->row_start, &s->blocks, &s->y };

	pair_check(what, s->kernels, s->args, all, COUNT(all));
}

/* y of the GPU alone. Caller frees (gh__free). */
static inline char *step_run_gpu(attention_step *s)
{
	gh__device *gpu = devices[GPU];
	char *y = gh__malloc(s->y.size);

	ck_assert_ptr_nonnull(y);
	tensor_reset_on(&s->y, GPU);
	pair_run_on(GPU, s->kernels, s->args);
	assert_ok(gpu->table->download(gpu->self, y, s->y.at[GPU], s->y.size, NULL, error));
	assert_ok(gpu->table->synchronise(gpu->self, NULL, error));
	return y;
}

#endif
