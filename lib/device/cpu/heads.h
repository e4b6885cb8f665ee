#ifndef GH_DEVICE_CPU_HEADS_H
#define GH_DEVICE_CPU_HEADS_H

#include "device/cpu/micro.h"
#include "device/cpu/tensor_core.h"
#include "device/cpu/twin.h"

/* What both kinds of attention share: which heads belong together, and products with f32 panels of
 * 16 columns, one to six rows at a time. */

/* head_dim, rounded up to whole panels. */
GH__INLINE int64_t columns_of(const gh__attention_desc *desc)
{
	return ((int64_t)desc->kv.head_dim + 15) / 16 * 16;
}

/* Query heads [*first, *first + count) here belong to kv head `head` here. */
GH__INLINE int64_t heads_of(const gh__attention_desc *desc, int64_t head, int64_t *first)
{
	int64_t low = (head + desc->kv_first) * desc->group - desc->head_first;
	int64_t high = low + desc->group;

	*first = low < 0 ? 0 : low;
	return (high > desc->heads ? desc->heads : high) - *first;
}

/* kv heads [*first, *first + *count) here are those that query heads here belong to. */
GH__INLINE void kv_heads_of(const gh__attention_desc *desc, int64_t *first, int64_t *count)
{
	int64_t last = ((int64_t)desc->head_first + desc->heads - 1) / desc->group;

	*first = desc->head_first / desc->group - desc->kv_first;
	*count = last - desc->kv_first - *first + 1;
}

#define PRODUCT(rows)                                                                           \
	static void product_##rows(const float *x, int64_t x_stride, const float *w, int64_t k, \
				   float *acc, size_t acc_row, bool begin)                      \
	{                                                                                       \
		micro(WEIGHT_F32, rows, 1, x, x_stride, (const unsigned char *)w,               \
		      MICRO_HALF * sizeof(float), (const unsigned char *)w, 0, k, acc, acc_row, \
		      begin);                                                                   \
	}

PRODUCT(1)
PRODUCT(2)
PRODUCT(3)
PRODUCT(4)
PRODUCT(5)
PRODUCT(6)

typedef void product_fn(const float *x, int64_t x_stride, const float *w, int64_t k, float *acc,
			size_t acc_row, bool begin);

/* By rows. */
static product_fn *const product[MICRO_ROWS + 1] = { NULL,      product_1, product_2, product_3,
						     product_4, product_5, product_6 };

/* What the tensor core's steps take, or GH_DTYPE_NONE: another device, or no product of its. */
GH__INLINE gh_dtype core_of(const gh__cpu *cpu, const gh__attention_desc *desc)
{
	const gh_dtype act = desc->act, kv = desc->kv.dtype;

	if (!cpu->tensor_core || (act != GH_F16 && act != GH_BF16))
		return GH_DTYPE_NONE;
	if (desc->source == GH__KV_PAGED && kv != act && kv != GH_E4M3)
		return GH_DTYPE_NONE;
	return act;
}

/* Of `count` positions that rows see together, those whose products they can form together: whole
 * steps where there are steps. */
GH__INLINE int64_t together(gh_dtype core, int64_t count)
{
	return core == GH_DTYPE_NONE ? count : count - count % tensor_step(core);
}

GH__INLINE void multiply(gh_dtype core, int64_t rows, const float *x, int64_t x_stride,
			 const float *w, int64_t k, float *acc, size_t acc_row, bool begin)
{
	if (core == GH_DTYPE_NONE)
		product[rows](x, x_stride, w, k, acc, acc_row, begin);
	else
		tensor_chain(core, WEIGHT_F32, rows, x, x_stride, (const unsigned char *)w,
			     MICRO_HALF * sizeof(float), k, acc, acc_row, begin);
}

#endif
