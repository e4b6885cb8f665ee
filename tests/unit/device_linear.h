#ifndef GH_TESTS_DEVICE_LINEAR_H
#define GH_TESTS_DEVICE_LINEAR_H

#include "device.h"

/*
 * What the tests of LINEAR share: a problem, its answer by a device, and what plain loops need.
 */
typedef struct problem {
	gh__linear_desc desc;
	int64_t m, x_stride, y_stride;
	void *x, *w, *bias;
	float *scale;
} problem;

static inline void problem_init(problem *p, const gh__linear_desc *desc, int64_t m, uint64_t seed)
{
	int64_t columns = desc->epilogue == GH__EPILOGUE_SWIGLU ? desc->n / 2 : desc->n;

	p->desc = *desc;
	p->m = m;
	p->x_stride = desc->k + 3;
	p->y_stride = columns + 5;
	p->x = random_numbers(desc->act, m * p->x_stride, 3, &seed);
	p->w = random_numbers(desc->weight, desc->n * desc->k, desc->weight == GH_E4M3 ? 400 : 1,
			      &seed);
	p->bias = random_numbers(desc->act, desc->n, 2, &seed);
	p->scale = random_numbers(GH_F32, desc->n, 0.01, &seed);
}

static inline void problem_free(problem *p)
{
	gh__free(p->x);
	gh__free(p->w);
	gh__free(p->bias);
	gh__free(p->scale);
}

/* y of a device; rows of x are taken from `from` on. Caller frees (gh__free). */
static inline void *solve(gh__device *device, const problem *p, const void *x, int64_t m)
{
	gh__op_desc desc = { .kind = GH__OP_LINEAR, .linear = p->desc };
	gh__kernel *kernel = device_prepare(device, &desc);
	const gh__device_table *table = device->table;
	void *packed = device_alloc(device, table->packed_size(device->self, kernel));
	void *workspace = device_alloc(device, table->workspace(device->self, kernel, m));
	void *y = poisoned(p->desc.out, m * p->y_stride);
	gh__op_args args = { .linear = { .x = x,
					 .x_stride = p->x_stride,
					 .w = packed,
					 .w_scale = p->scale,
					 .bias = p->bias,
					 .y = y,
					 .y_stride = p->y_stride,
					 .workspace = workspace,
					 .m = m } };
	size_t row = (size_t)p->desc.k * size_of(p->desc.weight);

	/* In three pieces, from the end. */
	for (int piece = 2; piece >= 0; piece--) {
		int64_t first = p->desc.n * piece / 3, end = p->desc.n * (piece + 1) / 3;

		assert_ok(table->pack(device->self, kernel, packed,
				      (const char *)p->w + (size_t)first * row, first, end - first,
				      error));
	}
	device_run(device, kernel, &args);
	table->release(device->self, packed);
	table->release(device->self, workspace);
	gh__device_kernel_free(device, kernel);
	return y;
}

/* x of a row as the products see it. */
static inline float operands(const problem *p, int64_t row, float *x)
{
	const gh__linear_desc *d = &p->desc;
	float most = 0, s = 1;

	for (int64_t k = 0; k < d->k; k++) {
		x[k] = get(d->act, p->x, row * p->x_stride + k);
		most = fmaxf(most, fabsf(x[k]));
	}
	if (d->prologue != GH__PROLOGUE_QUANTISE)
		return 1.0F;
	s = fmaxf(most / 448.0F, 1.0F / (448.0F * 512.0F));
	for (int64_t k = 0; k < d->k; k++)
		x[k] = gh__e4m3_to_f32(gh__f32_to_e4m3(x[k] / s));
	return s;
}

/* What becomes of a sum, before the rounding to out; s: what operands() answers. */
static inline float epilogue(const problem *p, float sum, float s, int64_t n)
{
	const gh__linear_desc *d = &p->desc;
	float bias = d->bias ? get(d->act, p->bias, n) : 0.0F;

	if (d->weight != GH_E4M3)
		return d->bias ? sum + bias : sum;
	sum = sum * p->scale[n];
	if (d->prologue == GH__PROLOGUE_QUANTISE)
		return d->bias ? fmaf(sum, s, bias) : sum * s;
	return d->bias ? rounded(d->out, sum) + bias : sum;
}

#endif
