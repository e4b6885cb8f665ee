#include "poc/drawing.h"

#include "base/alloc.h"
#include "base/error.h"

static gh_status prepare(gh__poc_drawing *d, const gh__poc_shape *shape, gh_error *error)
{
	gh__op_desc pool = { .kind = GH__OP_NORMALS,
			     .normals = { .out = GH_F16,
					  .numbers = (int64_t)shape->pool_size,
					  .deviation = GH__POC_DEVIATION } };
	gh__op_desc input = { .kind = GH__OP_NORMALS,
			      .normals = { .out = GH_F16, .numbers = (int64_t)shape->input_size } };
	gh_status status = gh__device_prepare(d->device, &pool, &d->pool_kernel, error);

	if (status == GH_OK)
		status = gh__device_prepare(d->device, &input, &d->input_kernel, error);
	return status;
}

static void lay_out(gh__poc_drawing *d, const gh__poc_shape *shape, int32_t batch)
{
	const gh__device_table *table = d->device->table;
	size_t pool = table->workspace(d->device->self, d->pool_kernel, 1);
	size_t inputs = table->workspace(d->device->self, d->input_kernel, batch);

	d->pool = gh__arena_take(&d->memory, shape->pool_size * sizeof(uint16_t));
	d->tables = gh__arena_take(&d->memory, sizeof(gh__normal_tables));
	d->streams = gh__arena_take(&d->memory, (size_t)batch * sizeof(gh__normals_stream));
	d->workspace = gh__arena_take(&d->memory, pool > inputs ? pool : inputs);
}

bool gh__poc_drawing_there(int64_t *bytes, gh__device *device, const gh__poc_shape *shape,
			   int32_t batch)
{
	gh__poc_drawing d = { .device = device, .memory = { .device = device } };
	bool there = device->table->pack_slice != NULL && prepare(&d, shape, NULL) == GH_OK;

	*bytes = 0;
	if (there) {
		lay_out(&d, shape, batch);
		*bytes = (int64_t)(d.memory.used - shape->pool_size * sizeof(uint16_t));
	}
	gh__poc_drawing_close(&d);
	return there;
}

gh_status gh__poc_drawing_open(gh__poc_drawing *out, gh__device *device, const gh__poc_shape *shape,
			       const gh__normal_tables *tables, int32_t batch, gh_error *error)
{
	gh__poc_drawing *d = out;
	gh_status status;

	*d = (gh__poc_drawing){ .device = device, .memory = { .device = device } };
	d->starts = gh__calloc((size_t)batch, sizeof *d->starts);
	status = d->starts ? prepare(d, shape, error) : gh__fail_nomem(error);
	if (status != GH_OK)
		return status;
	lay_out(d, shape, batch);
	status = gh__arena_commit(&d->memory, error);
	if (status != GH_OK)
		return status;
	lay_out(d, shape, batch);
	return device->table->upload(device->self, d->tables, tables, sizeof *tables,
				     device->stream, error);
}

void gh__poc_drawing_close(gh__poc_drawing *d)
{
	if (d->device == NULL)
		return;
	gh__device_kernel_free(d->device, d->pool_kernel);
	gh__device_kernel_free(d->device, d->input_kernel);
	gh__arena_free(&d->memory);
	gh__free(d->starts);
}

static gh_status draw(gh__poc_drawing *d, gh__device *on, const gh__kernel *kernel, int32_t count,
		      void *y, gh_error *error)
{
	gh_status status = on->table->upload(on->self, d->streams, d->starts,
					     (size_t)count * sizeof *d->starts, on->stream, error);

	if (status != GH_OK)
		return status;
	return gh__device_run(on, kernel,
			      &(gh__op_args){ .normals = { .stream = d->streams,
							   .tables = d->tables,
							   .y = y,
							   .workspace = d->workspace,
							   .m = count } },
			      error);
}

gh_status gh__poc_draw_pool(gh__poc_drawing *d, const gh__pcg64 *start, gh_error *error)
{
	gh__device *on = d->device;
	gh_status status;

	d->starts[0] = gh__poc_stream_of(start);
	status = draw(d, on, d->pool_kernel, 1, d->pool, error);
	return status == GH_OK ? on->table->synchronise(on->self, on->stream, error) : status;
}

gh_status gh__poc_draw_inputs(gh__poc_drawing *d, gh__device *on, int32_t count, void *y,
			      gh_error *error)
{
	return draw(d, on, d->input_kernel, count, y, error);
}
