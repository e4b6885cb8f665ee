#include "device/cpu/open.h"

#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "device/check.h"
#include "device/cpu/machine.h"
#include "device/cpu/memory.h"

/*
 * The CPU device: its table of functions. Memory is the host's, launches run at once, and a kernel
 * is its descriptor, checked. An event is a time.
 */
struct gh__kernel {
	gh__op_desc desc;
};

struct gh__event {
	int64_t at; /* by gh__now(); 0: never recorded */
};

/* ---- memory ---- */

static void *cpu_alloc(void *self, size_t size, gh_error *error)
{
	(void)self;
	return gh__cpu_alloc(size, error);
}

static void cpu_release(void *self, void *memory)
{
	(void)self;
	gh__cpu_release(memory);
}

static gh_status cpu_copy(void *self, void *dst, const void *src, size_t size, gh_stream *stream,
			  gh_error *error)
{
	(void)self, (void)stream, (void)error;
	if (size)
		memmove(dst, src, size);
	return GH_OK;
}

static gh_status cpu_copy_rows(void *self, void *dst, size_t dst_pitch, const void *src,
			       size_t src_pitch, size_t width, size_t rows, gh_stream *stream,
			       gh_error *error)
{
	(void)self, (void)stream, (void)error;
	for (size_t i = 0; i < rows; i++)
		memcpy((char *)dst + i * dst_pitch, (const char *)src + i * src_pitch, width);
	return GH_OK;
}

static gh_status cpu_unite(void *self, void *dst, const void *src, size_t size, gh_stream *stream,
			   gh_error *error)
{
	unsigned char *to = dst;
	const unsigned char *from = src;

	(void)self, (void)stream, (void)error;
	for (size_t i = 0; i < size; i++)
		to[i] |= from[i];
	return GH_OK;
}

static gh_status cpu_synchronise(void *self, gh_stream *stream, gh_error *error)
{
	(void)self, (void)stream, (void)error;
	return GH_OK;
}

/* ---- events ---- */

static gh_status cpu_event_create(void *self, gh__event **out, gh_error *error)
{
	(void)self;
	*out = gh__calloc(1, sizeof **out);
	return *out ? GH_OK : gh__fail_nomem(error);
}

static void cpu_event_free(void *self, gh__event *event)
{
	(void)self;
	gh__free(event);
}

static gh_status cpu_event_record(void *self, gh__event *event, gh_stream *stream, gh_error *error)
{
	(void)self, (void)stream, (void)error;
	event->at = gh__now();
	return GH_OK;
}

static gh_status cpu_event_seconds(void *self, double *out, gh__event *begin, gh__event *end,
				   gh_error *error)
{
	(void)self;
	if (begin->at == 0 || end->at == 0)
		return gh__fail(error, GH_ESTATE, "event: never recorded");
	*out = (double)(end->at - begin->at) / (double)GH__SECOND;
	return GH_OK;
}

/* ---- kernels ---- */

static size_t scratch_need(const gh__op_desc *desc)
{
	switch (desc->kind) {
	case GH__OP_LINEAR:
		return gh__linear_scratch();
	case GH__OP_ATTENTION:
		return gh__attention_scratch(&desc->attention);
	case GH__OP_SAMPLE:
		return gh__sample_scratch(&desc->sample);
	default:
		return 0;
	}
}

static gh_status reserve_scratch(gh__cpu *cpu, size_t size, gh_error *error)
{
	size_t rounded = (size + 255) / 256 * 256;
	unsigned char *scratch;

	if (rounded <= cpu->scratch_size)
		return GH_OK;
	scratch = gh__aligned_alloc(256, rounded * (size_t)cpu->threads);
	if (!scratch)
		return gh__fail_nomem(error);
	gh__aligned_free(cpu->scratch);
	cpu->scratch = scratch;
	cpu->scratch_size = rounded;
	return GH_OK;
}

static gh_status cpu_prepare(void *self, const gh__op_desc *desc, gh__kernel **out, gh_error *error)
{
	gh__kernel *kernel;
	gh_status status = gh__op_check(desc, error);

	if (status == GH_OK && desc->kind == GH__OP_NORMALS)
		status = gh__fail(error, GH_ENOTSUP, "normals: the host draws them itself");
	if (status == GH_OK)
		status = reserve_scratch(self, scratch_need(desc), error);
	if (status != GH_OK)
		return status;
	kernel = gh__malloc(sizeof *kernel);
	if (!kernel)
		return gh__fail_nomem(error);
	kernel->desc = *desc;
	*out = kernel;
	return GH_OK;
}

static void cpu_kernel_free(void *self, gh__kernel *kernel)
{
	(void)self;
	gh__free(kernel);
}

static size_t cpu_workspace(void *self, const gh__kernel *kernel, int64_t rows)
{
	(void)self;
	switch (kernel->desc.kind) {
	case GH__OP_LINEAR:
		return gh__linear_workspace(&kernel->desc.linear, rows);
	case GH__OP_ATTENTION:
		return gh__attention_workspace(rows);
	default:
		return 0;
	}
}

static size_t cpu_packed_size(void *self, const gh__kernel *kernel)
{
	(void)self;
	return kernel->desc.kind == GH__OP_LINEAR ? gh__linear_packed_size(&kernel->desc.linear)
						  : 0;
}

/* What was interrupted has not been done. */
static gh_status verdict(const gh__cpu *cpu, gh_status status, gh_error *error)
{
	if (status == GH_OK && gh__pool_interrupted(cpu->pool))
		return gh__fail(error, GH_ECANCELLED, "the device was interrupted");
	return status;
}

static void cpu_interrupt(void *self, bool interrupted)
{
	const gh__cpu *cpu = self;

	gh__pool_interrupt(cpu->pool, interrupted);
}

static gh_status cpu_pack(void *self, const gh__kernel *kernel, void *dst, const void *src,
			  int64_t row, int64_t rows, gh_error *error)
{
	gh_status status = gh__op_check_pack(&kernel->desc, src, row, rows, error);

	if (status == GH_OK)
		gh__linear_pack(self, &kernel->desc.linear, dst, src, row, rows);
	return verdict(self, status, error);
}

static gh_status cpu_run(void *self, const gh__kernel *kernel, const gh__op_args *args,
			 gh_stream *stream, gh_error *error)
{
	const gh__cpu *cpu = self;
	const gh__op_desc *desc = &kernel->desc;

	(void)stream;
	switch (desc->kind) {
	case GH__OP_EMBED:
		gh__cpu_embed(cpu, &desc->embed, &args->embed);
		break;
	case GH__OP_NORM:
		cpu->twin->norm(cpu, &desc->norm, &args->norm);
		break;
	case GH__OP_LINEAR:
		cpu->twin->linear(cpu, &desc->linear, &args->linear);
		break;
	case GH__OP_ROPE:
		cpu->twin->rope(cpu, &desc->rope, &args->rope);
		break;
	case GH__OP_ATTENTION:
		cpu->twin->attention(cpu, &desc->attention, &args->attention);
		break;
	case GH__OP_GLU:
		cpu->twin->glu(cpu, &desc->glu, &args->glu);
		break;
	case GH__OP_SELECT:
		gh__cpu_select(cpu, &desc->select, &args->select);
		break;
	case GH__OP_SAMPLE:
		cpu->twin->sample(cpu, &desc->sample, &args->sample);
		break;
	case GH__OP_QUANTISE:
		gh__cpu_quantise(cpu, &desc->quantise, &args->quantise);
		break;
	case GH__OP_READ:
		gh__cpu_read(cpu, &args->read);
		break;
	default:
		return gh__fail(error, GH_EBUG, "operation: %d is unknown", (int)desc->kind);
	}
	return verdict(cpu, GH_OK, error);
}

static void cpu_close(void *self)
{
	gh__cpu *cpu = self;

	gh__pool_free(cpu->pool);
	gh__aligned_free(cpu->scratch);
	gh__free(cpu);
}

static const gh__device_table cpu_table = {
	.abi = GH__DEVICE_ABI,
	.kind = "cpu",
	.close = cpu_close,
	.alloc = cpu_alloc,
	.release = cpu_release,
	.upload = cpu_copy,
	.download = cpu_copy,
	.copy = cpu_copy_rows,
	.unite = cpu_unite,
	.synchronise = cpu_synchronise,
	.event_create = cpu_event_create,
	.event_free = cpu_event_free,
	.event_record = cpu_event_record,
	.event_seconds = cpu_event_seconds,
	.prepare = cpu_prepare,
	.kernel_free = cpu_kernel_free,
	.workspace = cpu_workspace,
	.packed_size = cpu_packed_size,
	.pack = cpu_pack,
	.run = cpu_run,
	.interrupt = cpu_interrupt,
};

gh_status gh__cpu_open(gh__device *out, const gh_device_options *options, gh_error *error)
{
	gh__cpu *cpu;
	int threads;
	gh_status status = gh__cpu_threads(&threads, options, error);

	if (status != GH_OK)
		return status;
	cpu = gh__calloc(1, sizeof *cpu);
	if (!cpu)
		return gh__fail_nomem(error);
	cpu->threads = threads;
	cpu->twin = gh__cpu_choose(options);
	cpu->tensor_core = (options->flags & GH_DEVICE_TENSOR_CORE) != 0;
	cpu->e4m3_as_f16 = (options->flags & GH_DEVICE_E4M3_AS_F16) != 0;
	status = gh__pool_create(&cpu->pool, threads, error);
	if (status != GH_OK) {
		gh__free(cpu);
		return status;
	}
	out->table = &cpu_table;
	out->self = cpu;
	out->stream = NULL;
	out->memory_total = gh__cpu_memory();
	return GH_OK;
}
