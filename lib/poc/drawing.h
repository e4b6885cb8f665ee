#ifndef GH_POC_DRAWING_H
#define GH_POC_DRAWING_H

#include "model/arena.h"
#include "poc/random.h"
#include "poc/tensors.h"

/*
 * A round's normal numbers drawn by the device itself, where it can: the pool, which lies there
 * from then on, and the inputs of a batch. Where it cannot, the host draws them (normals.h), and
 * both draw the same.
 */
typedef struct gh__poc_drawing {
	gh__device *device; /* holds the memory */
	gh__kernel *pool_kernel, *input_kernel;
	gh__arena memory;
	void *tables, *streams, *workspace, *pool;
	gh__normals_stream *starts; /* [batch] on the host */
} gh__poc_drawing;

/* Whether the device draws the numbers of such a network and packs slices of its pool; bytes: what
 * it then takes, the pool not counted. */
bool gh__poc_drawing_there(int64_t *bytes, gh__device *device, const gh__poc_shape *shape,
			   int32_t batch);

/* Memory is allocated here and once. Borrows the device. GH_ENOMEM, or what the device says; out is
 * to be closed all the same. */
gh_status gh__poc_drawing_open(gh__poc_drawing *out, gh__device *device, const gh__poc_shape *shape,
			       const gh__normal_tables *tables, int32_t batch, gh_error *error);
void gh__poc_drawing_close(gh__poc_drawing *drawing);

/* The pool; it is there on return. */
gh_status gh__poc_draw_pool(gh__poc_drawing *drawing, const gh__pcg64 *start, gh_error *error);

/* The inputs of the starts [0, count) behind each other at y, in order with what else is launched
 * on `on`, a device of the same memory. */
gh_status gh__poc_draw_inputs(gh__poc_drawing *drawing, gh__device *on, int32_t count, void *y,
			      gh_error *error);

static inline gh__normals_stream gh__poc_stream_of(const gh__pcg64 *start)
{
	return (gh__normals_stream){ { (uint64_t)start->state, (uint64_t)(start->state >> 64) },
				     { (uint64_t)start->inc, (uint64_t)(start->inc >> 64) } };
}

#endif
