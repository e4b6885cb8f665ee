#ifndef GH_TESTS_DEVICE_ATTENTION_ROW_H
#define GH_TESTS_DEVICE_ATTENTION_ROW_H

#include "device.h"

/*
 * What the tests of attention of packed sequences share: its shapes, and the answer of a device.
 */
typedef struct packed_case {
	gh_dtype act;
	int32_t heads, group, dim, length;
} packed_case;

static inline int64_t kv_heads_of(const packed_case *c)
{
	return (c->heads + c->group - 1) / c->group;
}

static inline int64_t packed_stride(const packed_case *c)
{
	return (c->heads + 2 * kv_heads_of(c)) * c->dim + 3;
}

static inline gh__op_desc describe_packed(const packed_case *c)
{
	return (gh__op_desc){ .kind = GH__OP_ATTENTION,
			      .attention = {
				      .act = c->act,
				      .softmax = GH__SOFTMAX_ROW,
				      .source = GH__KV_PACKED,
				      .causal = true,
				      .heads = c->heads,
				      .group = c->group,
				      .kv = { GH_DTYPE_NONE, (int32_t)kv_heads_of(c), c->dim, 0 },
				      .length = c->length,
				      .scale = 1.0F / sqrtf((float)c->dim) } };
}

/* Sequences of the first starts[1], starts[2] - starts[1], ... rows of qkv as one step, and a
 * padding row. Caller frees (gh__free). */
static inline void *attend_packed(gh__device *device, const packed_case *c, const void *qkv,
				  int32_t *starts, int32_t sequences)
{
	gh__op_desc desc = describe_packed(c);
	gh__kernel *kernel = device_prepare(device, &desc);
	int32_t rows = starts[sequences];
	int64_t width = (int64_t)c->heads * c->dim, stride = packed_stride(c);
	size_t row = (size_t)stride * size_of(c->act);
	char *all = poisoned(c->act, (rows + 1) * stride);
	void *y = poisoned(c->act, (rows + 1) * width);
	gh__step step = { .tokens = rows + 1, .sequences = sequences, .row_start = starts };
	gh__op_args args = { .attention = { .qkv = all,
					    .qkv_stride = stride,
					    .step = &step,
					    .y = y,
					    .y_stride = width } };

	for (int32_t s = 0; s < sequences; s++)
		memcpy(all + (size_t)starts[s] * row, qkv,
		       (size_t)(starts[s + 1] - starts[s]) * row);
	device_run(device, kernel, &args);
	for (int64_t i = 0; i < width; i++)
		ck_assert_float_eq(get(c->act, y, rows * width + i), 0.0F);
	gh__free(all);
	gh__device_kernel_free(device, kernel);
	return y;
}

#endif
