#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "device/check.h"
#include "device/cuda/context.h"

/* The CUDA device: its table of functions. A kernel is its descriptor, checked; launchers choose. */

static gh_status enter_on(gh__cuda *cuda, gh_stream *stream, gh_error *error)
{
	cuda->on.stream = stream != NULL ? (struct CUstream_st *)(void *)stream : cuda->own;
	cuda->on.settled = cuda->on.stream == cuda->own && !cuda->sliced;
	return gh__cuda_done(cudaSetDevice(cuda->index), "device", error);
}

/* On the device's own stream. */
static gh_status enter(gh__cuda *cuda, gh_error *error)
{
	return enter_on(cuda, NULL, error);
}

/* ---- memory ---- */

static void *cuda_alloc(void *self, size_t size, gh_error *error)
{
	gh__cuda *cuda = self;
	void *memory = NULL;
	cudaError_t code;

	size = size > 0 ? size : 1;
	if (enter(cuda, error) != GH_OK)
		return NULL;
	code = cudaMalloc(&memory, size);
	if (code == cudaSuccess)
		code = cudaMemsetAsync(memory, 0, size, cuda->on.stream);
	if (code == cudaSuccess)
		code = cudaStreamSynchronize(cuda->on.stream);
	if (code == cudaSuccess)
		return memory;
	if (memory != NULL)
		(void)cudaFree(memory);
	gh__cuda_fail(code, "memory", error);
	return NULL;
}

static void cuda_release(void *self, void *memory)
{
	if (enter(self, NULL) == GH_OK)
		(void)cudaFree(memory);
}

static gh_status copy(gh__cuda *cuda, void *dst, const void *src, size_t size,
		      enum cudaMemcpyKind kind, gh_stream *stream, gh_error *error)
{
	gh_status status = enter_on(cuda, stream, error);

	if (status != GH_OK || size == 0)
		return status;
	return gh__cuda_done(cudaMemcpyAsync(dst, src, size, kind, cuda->on.stream), "copy", error);
}

static gh_status cuda_upload(void *self, void *dst, const void *src, size_t size, gh_stream *stream,
			     gh_error *error)
{
	return copy(self, dst, src, size, cudaMemcpyHostToDevice, stream, error);
}

static gh_status cuda_download(void *self, void *dst, const void *src, size_t size,
			       gh_stream *stream, gh_error *error)
{
	return copy(self, dst, src, size, cudaMemcpyDeviceToHost, stream, error);
}

/* Of another GPU's memory, too: addresses are the process's. */
static gh_status cuda_copy(void *self, void *dst, size_t dst_pitch, const void *src,
			   size_t src_pitch, size_t width, size_t rows, gh_stream *stream,
			   gh_error *error)
{
	gh__cuda *cuda = self;
	gh_status status = enter_on(cuda, stream, error);

	if (status != GH_OK || width == 0 || rows == 0)
		return status;
	if (rows == 1)
		return copy(cuda, dst, src, width, cudaMemcpyDefault, stream, error);
	return gh__cuda_done(cudaMemcpy2DAsync(dst, dst_pitch, src, src_pitch, width, rows,
					       cudaMemcpyDefault, cuda->on.stream),
			     "copy", error);
}

static gh_status cuda_unite(void *self, void *dst, const void *src, size_t size, gh_stream *stream,
			    gh_error *error)
{
	gh__cuda *cuda = self;
	gh_status status = enter_on(cuda, stream, error);

	if (status != GH_OK)
		return status;
	return gh__cuda_done((cudaError_t)gh__cuda_unite(&cuda->on, dst, src, size), "merge",
			     error);
}

/* What was interrupted has not been done. */
static gh_status verdict(gh__cuda *cuda, gh_status status, gh_error *error)
{
	if (status == GH_OK && atomic_load(&cuda->interrupted))
		return gh__fail(error, GH_ECANCELLED, "the device was interrupted");
	return status;
}

static gh_status cuda_synchronise(void *self, gh_stream *stream, gh_error *error)
{
	gh__cuda *cuda = self;
	gh_status status = enter_on(cuda, stream, error);

	if (status != GH_OK)
		return status;
	return gh__cuda_done(cudaStreamSynchronize(cuda->on.stream), "kernels", error);
}

static void cuda_interrupt(void *self, bool interrupted)
{
	gh__cuda *cuda = self;

	atomic_store(&cuda->interrupted, interrupted);
}

/* ---- events ---- */

struct gh__event {
	cudaEvent_t event;
	bool recorded;
};

static gh_status cuda_event_create(void *self, gh__event **out, gh_error *error)
{
	gh__event *event;
	gh_status status = enter(self, error);

	if (status != GH_OK)
		return status;
	event = gh__calloc(1, sizeof *event);
	if (event == NULL)
		return gh__fail_nomem(error);
	status = gh__cuda_done(cudaEventCreate(&event->event), "event", error);
	if (status != GH_OK) {
		gh__free(event);
		return status;
	}
	*out = event;
	return GH_OK;
}

static void cuda_event_free(void *self, gh__event *event)
{
	if (enter(self, NULL) == GH_OK)
		(void)cudaEventDestroy(event->event);
	gh__free(event);
}

static gh_status cuda_event_record(void *self, gh__event *event, gh_stream *stream, gh_error *error)
{
	const gh__cuda *cuda = self;
	gh_status status = enter_on(self, stream, error);

	if (status == GH_OK)
		status = gh__cuda_done(cudaEventRecord(event->event, cuda->on.stream), "event",
				       error);
	if (status == GH_OK)
		event->recorded = true;
	return status;
}

static gh_status cuda_event_seconds(void *self, double *out, gh__event *begin, gh__event *end,
				    gh_error *error)
{
	float milliseconds = 0.0F;
	gh_status status = enter(self, error);

	if (status == GH_OK && (!begin->recorded || !end->recorded))
		return gh__fail(error, GH_ESTATE, "event: never recorded");
	if (status == GH_OK)
		status = gh__cuda_done(cudaEventSynchronize(begin->event), "kernels", error);
	if (status == GH_OK)
		status = gh__cuda_done(cudaEventSynchronize(end->event), "kernels", error);
	if (status == GH_OK)
		status =
			gh__cuda_done(cudaEventElapsedTime(&milliseconds, begin->event, end->event),
				      "event", error);
	*out = (double)milliseconds * 1e-3;
	return status;
}

/* ---- kernels ---- */

/* GH_ENOTSUP: sensible, but not here. */
static gh_status check_here(const gh__cuda *cuda, const gh__op_desc *desc, gh_error *error)
{
	const gh__linear_desc *linear = &desc->linear;
	const gh__attention_desc *attention = &desc->attention;

	if (desc->kind == GH__OP_LINEAR && !gh__cuda_linear_here(&cuda->on, linear))
		return gh__fail(error, GH_ENOTSUP, "linear: no kernel for %s weights with %s",
				gh_dtype_name(linear->weight), gh_dtype_name(linear->act));
	if (desc->kind == GH__OP_ATTENTION && !gh__cuda_attention_here(&cuda->on, attention))
		return gh__fail(error, GH_ENOTSUP,
				"attention: no kernel for %s with head_dim %d over a %s cache",
				gh_dtype_name(attention->act), (int)attention->kv.head_dim,
				gh_dtype_name(attention->kv.dtype));
	return GH_OK;
}

static gh_status cuda_prepare(void *self, const gh__op_desc *desc, gh__kernel **out,
			      gh_error *error)
{
	gh__kernel *kernel;
	gh_status status = gh__op_check(desc, error);

	if (status == GH_OK)
		status = check_here(self, desc, error);
	if (status != GH_OK)
		return status;
	kernel = gh__malloc(sizeof *kernel);
	if (kernel == NULL)
		return gh__fail_nomem(error);
	kernel->desc = *desc;
	*out = kernel;
	return GH_OK;
}

static void cuda_kernel_free(void *self, gh__kernel *kernel)
{
	(void)self;
	gh__free(kernel);
}

static size_t cuda_workspace(void *self, const gh__kernel *kernel, int64_t rows)
{
	const gh__cuda *cuda = self;

	switch (kernel->desc.kind) {
	case GH__OP_LINEAR:
		return gh__cuda_linear_workspace(&cuda->on, &kernel->desc.linear, rows);
	case GH__OP_ATTENTION:
		return gh__cuda_attention_workspace(&cuda->on, &kernel->desc.attention, rows);
	case GH__OP_NORMALS:
		return gh__cuda_normals_workspace(&kernel->desc.normals, rows);
	default:
		return 0;
	}
}

static size_t cuda_packed_size(void *self, const gh__kernel *kernel)
{
	const gh__linear_desc *desc = &kernel->desc.linear;

	(void)self;
	if (kernel->desc.kind != GH__OP_LINEAR)
		return 0;
	return (size_t)(gh__cuda_linear_rows(desc) * gh__cuda_linear_stride(desc)) *
	       gh_dtype_size(desc->weight);
}

static gh_status cuda_pack(void *self, const gh__kernel *kernel, void *dst, const void *src,
			   int64_t row, int64_t rows, gh_error *error)
{
	gh__cuda *cuda = self;
	gh_status status = gh__op_check_pack(&kernel->desc, src, row, rows, error);

	if (status == GH_OK)
		status = enter(cuda, error);
	if (status == GH_OK)
		status = gh__cuda_pack(cuda, &kernel->desc.linear, dst, src, row, rows, error);
	return verdict(cuda, status, error);
}

/* Plain memory is a matrix of one row. */
static gh_status cuda_pack_slice(void *self, const gh__kernel *kernel, void *dst, const void *pool,
				 const gh__slice *slice, int64_t row, gh_stream *stream,
				 gh_error *error)
{
	gh__cuda *cuda = self;
	const gh__op_desc plain = { .kind = GH__OP_LINEAR,
				    .linear = {
					    .weight = GH_F16, .n = 1, .k = (int64_t)slice->size } };
	const gh__op_desc *desc = kernel != NULL ? &kernel->desc : &plain;
	gh_status status = gh__op_check_slice(desc, slice, row, error);

	if (status == GH_OK)
		status = enter_on(cuda, stream, error);
	cuda->sliced = true;
	if (status == GH_OK)
		status = gh__cuda_done((cudaError_t)gh__cuda_slice(&cuda->on, &desc->linear, dst,
								   pool, slice, row),
				       "weights", error);
	return verdict(cuda, status, error);
}

static int launch(const gh__launch *on, const gh__op_desc *desc, const gh__op_args *args)
{
	switch (desc->kind) {
	case GH__OP_EMBED:
		return gh__cuda_embed(on, &desc->embed, &args->embed);
	case GH__OP_NORM:
		return gh__cuda_norm(on, &desc->norm, &args->norm);
	case GH__OP_LINEAR:
		return gh__cuda_linear(on, &desc->linear, &args->linear);
	case GH__OP_ROPE:
		return gh__cuda_rope(on, &desc->rope, &args->rope);
	case GH__OP_ATTENTION:
		return gh__cuda_attention(on, &desc->attention, &args->attention);
	case GH__OP_GLU:
		return gh__cuda_glu(on, &desc->glu, &args->glu);
	case GH__OP_SELECT:
		return gh__cuda_select(on, &desc->select, &args->select);
	case GH__OP_QUANTISE:
		return gh__cuda_quantise(on, &desc->quantise, &args->quantise);
	case GH__OP_READ:
		return gh__cuda_read(on, &args->read);
	case GH__OP_NORMALS:
		return gh__cuda_normals(on, &desc->normals, &args->normals);
	default:
		return cudaErrorInvalidValue;
	}
}

static const char *name_of(gh__op_kind kind)
{
	static const char *const names[] = {
		[GH__OP_EMBED] = "embed",         [GH__OP_NORM] = "norm",
		[GH__OP_LINEAR] = "linear",       [GH__OP_ROPE] = "rope",
		[GH__OP_ATTENTION] = "attention", [GH__OP_GLU] = "glu",
		[GH__OP_SELECT] = "select",       [GH__OP_SAMPLE] = "sample",
		[GH__OP_QUANTISE] = "quantise",   [GH__OP_READ] = "read",
		[GH__OP_NORMALS] = "normals",
	};

	return names[kind];
}

/*
 * What was launched cannot be taken back, so little is launched ahead: an interrupt, and a failure,
 * are then seen while they matter.
 */
static cudaError_t keep_pace(gh__cuda *cuda)
{
	enum { RUN = 12 };
	cudaEvent_t event;
	cudaError_t code;

	if (++cuda->launches % RUN != 0 || cuda->on.stream != cuda->own)
		return cudaSuccess;
	event = cuda->pace[cuda->launches / RUN % 2];
	code = cudaEventSynchronize(event);
	return code == cudaSuccess ? cudaEventRecord(event, cuda->own) : code;
}

static gh_status cuda_run(void *self, const gh__kernel *kernel, const gh__op_args *args,
			  gh_stream *stream, gh_error *error)
{
	gh__cuda *cuda = self;
	const gh__op_desc *desc = &kernel->desc;
	gh_status status = verdict(cuda, enter_on(cuda, stream, error), error);

	if (status == GH_OK && desc->kind == GH__OP_SAMPLE)
		status = gh__cuda_sample_rows(cuda, &desc->sample, &args->sample, error);
	else if (status == GH_OK)
		status = gh__cuda_done((cudaError_t)launch(&cuda->on, desc, args),
				       name_of(desc->kind), error);
	if (status == GH_OK)
		status = gh__cuda_done(keep_pace(cuda), "kernels", error);
	return verdict(cuda, status, error);
}

/* ---- the device ---- */

/* So that kernels reach the memory of other ranks' GPUs. Where that cannot be, they will say. */
static void reach_peers(int index)
{
	int count = 0, can;

	(void)cudaGetDeviceCount(&count);
	for (int peer = 0; peer < count; peer++) {
		if (peer != index && cudaDeviceCanAccessPeer(&can, index, peer) == cudaSuccess &&
		    can)
			(void)cudaDeviceEnablePeerAccess(peer, 0);
	}
	(void)cudaGetLastError(); /* some had been reached before */
}

static cudaError_t make_streams(gh__cuda *cuda)
{
	cudaError_t code = cudaStreamCreateWithFlags(&cuda->own, cudaStreamNonBlocking);

	for (int i = 0; i < 2 && code == cudaSuccess; i++)
		code = cudaEventCreateWithFlags(&cuda->pace[i], cudaEventDisableTiming);
	return code;
}

static void free_streams(gh__cuda *cuda)
{
	for (int i = 0; i < 2; i++)
		if (cuda->pace[i] != NULL)
			(void)cudaEventDestroy(cuda->pace[i]);
	if (cuda->own != NULL)
		(void)cudaStreamDestroy(cuda->own);
}

static void cuda_close(void *self)
{
	gh__cuda *cuda = self;

	if (enter(cuda, NULL) == GH_OK) {
		(void)cudaStreamSynchronize(cuda->on.stream);
		if (cuda->samples_device != NULL)
			(void)cudaFree(cuda->samples_device);
		if (cuda->samples_host != NULL)
			(void)cudaFreeHost(cuda->samples_host);
		free_streams(cuda);
	}
	gh__free(cuda);
}

static const gh__device_table cuda_table = {
	.abi = GH__DEVICE_ABI,
	.kind = "cuda",
	.close = cuda_close,
	.alloc = cuda_alloc,
	.release = cuda_release,
	.upload = cuda_upload,
	.download = cuda_download,
	.copy = cuda_copy,
	.unite = cuda_unite,
	.synchronise = cuda_synchronise,
	.event_create = cuda_event_create,
	.event_free = cuda_event_free,
	.event_record = cuda_event_record,
	.event_seconds = cuda_event_seconds,
	.prepare = cuda_prepare,
	.kernel_free = cuda_kernel_free,
	.workspace = cuda_workspace,
	.packed_size = cuda_packed_size,
	.pack = cuda_pack,
	.pack_slice = cuda_pack_slice,
	.run = cuda_run,
	.interrupt = cuda_interrupt,
};

gh_status gh__cuda_open(gh__device *out, const gh_device_options *options, gh_error *error)
{
	gh_device_info info;
	gh__cuda *cuda;
	cudaError_t code;
	gh_status status = gh__cuda_info(&info, options->index, error);

	if (status != GH_OK)
		return status;
	cuda = gh__calloc(1, sizeof *cuda);
	if (cuda == NULL)
		return gh__fail_nomem(error);
	cuda->index = options->index;
	code = cudaSetDevice(cuda->index);
	if (code == cudaSuccess)
		code = (cudaError_t)gh__cuda_arch(&cuda->on.arch);
	if (code == cudaSuccess)
		code = cudaDeviceGetAttribute(&cuda->on.units, cudaDevAttrMultiProcessorCount,
					      cuda->index);
	if (code == cudaSuccess)
		code = make_streams(cuda);
	if (code != cudaSuccess) {
		free_streams(cuda);
		gh__free(cuda);
		if (code == cudaErrorNoKernelImageForDevice)
			return gh__fail(error, GH_ENODEVICE,
					"device: %s is older than what the kernels are made for, "
					"Ampere (compute capability 8.0)",
					info.name);
		return gh__cuda_fail(code, "device", error);
	}
	reach_peers(cuda->index);
	out->table = &cuda_table;
	out->self = cuda;
	out->stream = NULL;
	out->memory_total = info.memory;
	out->code = cuda->on.arch;
	return GH_OK;
}
