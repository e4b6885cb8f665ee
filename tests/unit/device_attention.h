#ifndef GH_TESTS_DEVICE_ATTENTION_H
#define GH_TESTS_DEVICE_ATTENTION_H

#include "device.h"

/*
 * What the tests of attention over the paged cache share: a sequence in a cache, and the answer of
 * a device for some of its rows.
 */
enum { BLOCK = 16 };

typedef struct fixture {
	gh__attention_desc desc;
	int64_t length; /* tokens of the sequence */
	int64_t stride; /* of qkv and, less k and v, of y */
	void *qkv;      /* [length, stride] */
	void *cache;    /* blocks in an order of their own */
	int64_t cells;
	int32_t *blocks; /* [blocks] */
	int32_t block_count;
	float k_scale, v_scale;
} fixture;

static inline int64_t cell(const fixture *f, int part, int64_t head, int64_t position)
{
	const gh__kv_layout *kv = &f->desc.kv;
	int64_t block = f->blocks[position / kv->block_size];

	return (((block * 2 + part) * kv->kv_heads + head) * kv->block_size +
		position % kv->block_size) *
	       kv->head_dim;
}

static inline void fixture_init(fixture *f, gh_dtype act, gh_dtype kv, int32_t heads, int32_t group,
				int32_t dim, int64_t length)
{
	int32_t kv_heads = (heads + group - 1) / group;
	uint64_t state = (uint64_t)dim * 1000 + (uint64_t)length;

	memset(f, 0, sizeof *f);
	f->desc = (gh__attention_desc){ .act = act,
					.softmax = GH__SOFTMAX_ONLINE,
					.source = GH__KV_PAGED,
					.causal = true,
					.heads = heads,
					.group = group,
					.kv = { kv, kv_heads, dim, BLOCK },
					.scale = 1.0F / sqrtf((float)dim) };
	f->length = length;
	f->stride = (int64_t)(heads + 2 * kv_heads) * dim + 4;
	/* One row more: a test may begin inside a row. */
	f->qkv = random_numbers(act, (length + 1) * f->stride, 4, &state);
	f->block_count = (int32_t)((length + BLOCK - 1) / BLOCK);
	f->blocks = gh__malloc((size_t)f->block_count * sizeof *f->blocks);
	for (int32_t i = 0; i < f->block_count; i++) /* backwards, every second one */
		f->blocks[i] = 2 * (f->block_count - 1 - i) + 1;
	f->cells = (int64_t)2 * f->block_count * 2 * kv_heads * BLOCK * dim;
	f->cache = poisoned(kv, f->cells);
	f->k_scale = kv == GH_E4M3 ? 0.11F : 1.0F;
	f->v_scale = kv == GH_E4M3 ? 0.07F : 1.0F;
	for (int64_t j = 0; j < length; j++) {
		for (int64_t i = 0; i < 2 * kv_heads * dim; i++) {
			int part = i >= kv_heads * dim;
			double x = random_unit(&state) * (kv == GH_E4M3 ? 40 : 4);

			put(kv, f->cache, cell(f, part, i / dim % kv_heads, j) + i % dim, (float)x);
		}
	}
}

static inline void fixture_free(fixture *f)
{
	gh__free(f->qkv);
	gh__free(f->cache);
	gh__free(f->blocks);
}

static inline int64_t width(const fixture *f)
{
	return (int64_t)f->desc.heads * f->desc.kv.head_dim;
}

/*
 * Rows [first, first + rows) of the sequence as one step, beside `others` sequences of one row
 * each (the same one at other positions) and a padding row. Caller frees (gh__free).
 */
static inline void *attend(gh__device *device, const fixture *f, int64_t first, int64_t rows,
			   int32_t others)
{
	gh__op_desc desc = { .kind = GH__OP_ATTENTION, .attention = f->desc };
	gh__kernel *kernel = device_prepare(device, &desc);
	size_t row = (size_t)f->stride * size_of(f->desc.act);
	int32_t tokens = (int32_t)(others + rows + 1);
	char *qkv = gh__malloc((size_t)tokens * row);
	int32_t *position = gh__calloc((size_t)tokens, sizeof *position);
	int32_t *sequence = gh__calloc((size_t)tokens, sizeof *sequence);
	int32_t *start = gh__calloc((size_t)others + 2, sizeof *start);
	int32_t *blocks = gh__calloc((size_t)(others + 1) * (size_t)f->block_count, sizeof *blocks);
	void *workspace =
		device_alloc(device, device->table->workspace(device->self, kernel, tokens));
	void *y = poisoned(f->desc.act, tokens * width(f)), *out;
	gh__step step = { .tokens = tokens,
			  .sequences = others + 1,
			  .blocks_max = f->block_count,
			  .position = position,
			  .sequence = sequence,
			  .row_start = start,
			  .block_table = blocks };
	gh__op_args args = { .attention = { .qkv = qkv,
					    .qkv_stride = f->stride,
					    .cache = f->cache,
					    .k_scale = f->k_scale,
					    .v_scale = f->v_scale,
					    .step = &step,
					    .y = y,
					    .y_stride = width(f),
					    .workspace = workspace } };

	memset(qkv, 0xff, (size_t)tokens * row);
	for (int32_t i = 0; i < others + (int32_t)rows; i++) {
		int64_t from = i < others ? i * 37 % f->length : first + i - others;

		memcpy(qkv + (size_t)i * row, (char *)f->qkv + (size_t)from * row, row);
		position[i] = (int32_t)from;
		sequence[i] = i < others ? i : others;
	}
	for (int32_t i = 0; i <= others; i++) {
		start[i] = i;
		memcpy(blocks + (size_t)i * (size_t)f->block_count, f->blocks,
		       (size_t)f->block_count * sizeof *blocks);
	}
	start[others + 1] = others + (int32_t)rows;
	device_run(device, kernel, &args);
	for (int64_t i = 0; i < width(f); i++)
		ck_assert_float_eq(get(f->desc.act, y, (tokens - 1) * width(f) + i), 0.0F);
	out = gh__memdup((char *)y + (size_t)(others * width(f)) * size_of(f->desc.act),
			 (size_t)(rows * width(f)) * size_of(f->desc.act));
	gh__free(y);
	gh__free(qkv);
	gh__free(position);
	gh__free(sequence);
	gh__free(start);
	gh__free(blocks);
	device->table->release(device->self, workspace);
	gh__device_kernel_free(device, kernel);
	return out;
}

#endif
