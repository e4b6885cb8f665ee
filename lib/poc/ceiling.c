#include "poc/ceiling.h"

#include <stdlib.h>

#include "base/clock.h"
#include "model/rank.h"

/* Passes over the matrices that are timed: few of a large network, more of a small one. */
enum { PASSES_MIN = 3, PASSES_MAX = 64 };
#define PASSES_TIME (400 * GH__MILLISECOND)

enum { PRODUCTS = 4 };

typedef struct product {
	const gh__kernel *kernel;
	const gh__matrix *w;
	const void *x;
	void *y;
	int64_t k, n, y_columns; /* n is more when y is what a fused kernel makes of it */
} product;

/* As the forward has them. The third makes what the fourth reads. */
static void find_products(product out[PRODUCTS], const gh__rank *r, const gh__layer_weights *w)
{
	const gh_plan_shape *shape = &r->model->desc.shape;
	const gh__buffers *b = &r->buf;
	int64_t hidden = shape->hidden, inner = shape->intermediate;
	int64_t q = (int64_t)shape->heads * shape->head_dim;
	int64_t qkv = q + 2 * (int64_t)shape->kv_heads * shape->head_dim;
	bool fused = r->kernels.glu == NULL;

	out[0] = (product){ r->kernels.qkv, &w->qkv, b->normed, b->qkv, hidden, qkv, qkv };
	out[1] = (product){ r->kernels.o, &w->o, b->heads, b->part, q, hidden, hidden };
	out[2] = (product){ r->kernels.gate_up,
			    &w->gate_up,
			    b->normed,
			    fused ? b->inner : b->gate_up,
			    hidden,
			    2 * inner,
			    fused ? inner : 2 * inner };
	out[3] = (product){ r->kernels.down, &w->down, b->inner, b->part, inner, hidden, hidden };
}

static double flops(const product products[PRODUCTS], int64_t rows)
{
	double sum = 0.0;

	for (int i = 0; i < PRODUCTS; i++)
		sum += 2.0 * (double)rows * (double)products[i].n * (double)products[i].k;
	return sum;
}

/* Numbers to multiply, since a device may be faster with zeros. */
static gh_status fill(const gh__rank *r, void *to, size_t count, const gh__poc_pool *pool,
		      gh_error *error)
{
	const gh__slice all = { .size = count, .pool_size = pool->size, .tiled = true };
	gh__device *device = r->device;
	gh_status status = GH_OK;

	if (pool->on_device)
		return device->table->pack_slice(device->self, NULL, to, pool->numbers, &all, 0,
						 device->stream, error);
	for (size_t at = 0, some; at < count && status == GH_OK; at += some) {
		some = count - at < pool->size ? count - at : pool->size;
		status = device->table->upload(device->self, (uint16_t *)to + at, pool->numbers,
					       some * sizeof *pool->numbers, device->stream, error);
	}
	return status;
}

static gh_status pass(const gh__rank *r, const product products[PRODUCTS], int64_t rows,
		      gh_error *error)
{
	gh_status status = GH_OK;

	for (int i = 0; i < PRODUCTS && status == GH_OK; i++) {
		const product *p = &products[i];

		status = gh__device_run(r->device, p->kernel,
					&(gh__op_args){ .linear = { .x = p->x,
								    .x_stride = p->k,
								    .w = p->w->data,
								    .w_scale = p->w->scale,
								    .y = p->y,
								    .y_stride = p->y_columns,
								    .workspace = r->buf.workspace,
								    .m = rows } },
					error);
	}
	if (status == GH_OK)
		status = r->device->table->synchronise(r->device->self, r->device->stream, error);
	return status;
}

static int by_size(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

gh_status gh__poc_ceiling(double *flops_per_second, const gh__runner *runner,
			  const gh__poc_pool *pool, gh_error *error)
{
	const gh__rank *r = gh__runner_rank(runner, 0);
	int64_t rows = r->limits.step_tokens, took[PASSES_MAX], middle, began;
	product products[PRODUCTS];
	gh__layer_weights weights;
	int passes = 0;
	gh_status status =
		r->weights->table->layer(r->weights->self, r->device, 0, &weights, error);

	if (status != GH_OK)
		return status;
	find_products(products, r, &weights);
	status = fill(r, r->buf.normed, (size_t)(rows * products[0].k), pool, error);
	if (status == GH_OK)
		status = fill(r, r->buf.heads, (size_t)(rows * products[1].k), pool, error);
	if (status == GH_OK)
		status = pass(r, products, rows, error); /* the first is slower */
	began = gh__now();
	while (status == GH_OK && passes < PASSES_MAX &&
	       (passes < PASSES_MIN || gh__now() - began < PASSES_TIME)) {
		int64_t from = gh__now();

		status = pass(r, products, rows, error);
		took[passes++] = gh__now() - from;
	}
	if (status != GH_OK)
		return status;
	qsort(took, (size_t)passes, sizeof *took, by_size);
	middle = took[passes / 2];
	*flops_per_second = flops(products, rows) / ((double)middle * 1e-9);
	return GH_OK;
}
