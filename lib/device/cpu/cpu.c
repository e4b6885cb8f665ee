#include "device/cpu/cpu.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include "base/alloc.h"
#include "base/error.h"

/*
 * The CPU device: its table of functions. Memory is the host's, launches run at once, and a kernel
 * is its descriptor, checked.
 */
struct gh__kernel {
	gh__op_desc desc;
};

/* Bounds of a descriptor's sizes: far above any model, and no product of two overflows. */
#define SIZE_BOUND (INT64_C(1) << 30)

/* ---- the machine ---- */

const gh__cpu_twin *gh__cpu_best(void)
{
#if defined(GH__HAVE_AVX2)
	unsigned a, b, c, d;

	if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
	    __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C))
		return &gh__cpu_twin_avx2;
#endif
	return &gh__cpu_twin_scalar;
}

static const gh__cpu_twin *choose_twin(const gh_device_options *options)
{
	return options->flags & GH_DEVICE_SCALAR ? &gh__cpu_twin_scalar : gh__cpu_best();
}

static int cores(void)
{
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof set, &set) == 0)
		return CPU_COUNT(&set);
	return 1;
}

static int64_t physical_memory(void)
{
	long pages = sysconf(_SC_PHYS_PAGES);
	long page = sysconf(_SC_PAGESIZE);

	return pages > 0 && page > 0 ? (int64_t)pages * page : 0;
}

static void maker_name(char *out, size_t size)
{
	unsigned words[12] = { 0 };

#if defined(__x86_64__)
	for (unsigned i = 0; i < 3; i++)
		(void)__get_cpuid(0x80000002 + i, &words[4 * i], &words[4 * i + 1],
				  &words[4 * i + 2], &words[4 * i + 3]);
#endif
	(void)snprintf(out, size, "%.48s", words[0] ? (const char *)words : "CPU");
}

static gh_status thread_count(int *out, const gh_device_options *options, gh_error *error)
{
	if (options->threads < 0 || options->threads > 1024)
		return gh__fail(error, GH_EINVAL, "device threads: %d is not between 0 and 1024",
				(int)options->threads);
	*out = options->threads ? options->threads : cores();
	return GH_OK;
}

gh_status gh__cpu_info(gh_device_info *out, const gh_device_options *options, gh_error *error)
{
	int threads;
	gh_status status = thread_count(&threads, options, error);

	if (status != GH_OK)
		return status;
	memset(out, 0, sizeof *out);
	(void)snprintf(out->kind, sizeof out->kind, "cpu");
	maker_name(out->name, sizeof out->name);
	out->memory = physical_memory();
	out->threads = threads;
	out->vector = choose_twin(options) != &gh__cpu_twin_scalar;
	return GH_OK;
}

/* ---- memory ---- */

/*
 * Large pieces come from the system, zeroed when they are first touched: a cache for many requests
 * costs nothing until they come. They are aligned so that the system may use huge pages: streaming
 * through weights is then not held up by address translation. What is handed out is preceded by
 * where and how long the mapping is; a small piece has no mapping.
 */
typedef struct mapping {
	void *begin; /* NULL: from gh__aligned_alloc() */
	size_t size;
} mapping;

enum { ALIGNMENT = 256, HUGE = 2 << 20 };

static void *cpu_alloc(void *self, size_t size, gh_error *error)
{
	bool large = size >= 2 * (size_t)HUGE;
	size_t before = large ? HUGE : ALIGNMENT;
	unsigned char *memory = NULL;
	mapping m = { NULL, 0 };

	(void)self;
	if (size <= SIZE_MAX - 2 * (size_t)HUGE)
		m.size = (size + before - 1) / before * before + 2 * before;
	if (m.size && large) {
		m.begin = mmap(NULL, m.size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			       -1, 0);
		if (m.begin != MAP_FAILED) {
			memory = m.begin;
			memory += HUGE - (uintptr_t)memory % HUGE;
			(void)madvise(memory, size, MADV_HUGEPAGE);
		}
	} else if (m.size) {
		memory = gh__aligned_alloc(ALIGNMENT, m.size);
		if (memory) {
			memset(memory, 0, m.size);
			memory += ALIGNMENT;
		}
	}
	if (!memory)
		return gh__fail(error, GH_ENOMEM, "%zu bytes of device memory: not there", size),
		       NULL;
	memcpy(memory - sizeof m, &m, sizeof m);
	return memory;
}

static void cpu_release(void *self, void *memory)
{
	mapping m;

	(void)self;
	if (!memory)
		return;
	memcpy(&m, (unsigned char *)memory - sizeof m, sizeof m);
	if (m.begin)
		(void)munmap(m.begin, m.size);
	else
		gh__aligned_free((unsigned char *)memory - ALIGNMENT);
}

static gh_status cpu_copy(void *self, void *dst, const void *src, size_t size, gh_stream *stream,
			  gh_error *error)
{
	(void)self, (void)stream, (void)error;
	if (size)
		memmove(dst, src, size);
	return GH_OK;
}

static gh_status cpu_synchronise(void *self, gh_stream *stream, gh_error *error)
{
	(void)self, (void)stream, (void)error;
	return GH_OK;
}

/* ---- descriptors ---- */

static gh_status check_size(const char *what, int64_t value, gh_error *error)
{
	if (value < 1 || value > SIZE_BOUND)
		return gh__fail(error, GH_EINVAL, "%s: %lld is not between 1 and %lld", what,
				(long long)value, (long long)SIZE_BOUND);
	return GH_OK;
}

static gh_status check_act(const char *what, gh_dtype dtype, gh_error *error)
{
	if (dtype != GH_F32 && dtype != GH_F16 && dtype != GH_BF16)
		return gh__fail(error, GH_EINVAL, "%s: %s is not F32, F16 or BF16", what,
				gh_dtype_name(dtype));
	return GH_OK;
}

static gh_status check_kv(const gh__kv_layout *kv, gh_error *error)
{
	gh_status status = check_size("kv heads", kv->kv_heads, error);

	if (status == GH_OK)
		status = check_size("head_dim", kv->head_dim, error);
	if (status == GH_OK && kv->head_dim > 4096)
		status =
			gh__fail(error, GH_EINVAL, "head_dim: %d is above 4096", (int)kv->head_dim);
	if (status == GH_OK && kv->dtype != GH_DTYPE_NONE)
		status = check_size("kv block_size", kv->block_size, error);
	if (status == GH_OK && kv->dtype != GH_DTYPE_NONE && kv->dtype != GH_E4M3)
		status = check_act("kv dtype", kv->dtype, error);
	return status;
}

static gh_status check_embed(const gh__embed_desc *desc, gh_error *error)
{
	gh_status status = check_act("embed act", desc->act, error);

	return status == GH_OK ? check_size("embed hidden", desc->hidden, error) : status;
}

static gh_status check_norm(const gh__norm_desc *desc, gh_error *error)
{
	gh_status status = check_act("norm act", desc->act, error);

	if (status == GH_OK)
		status = check_size("norm n", desc->n, error);
	if (status == GH_OK && desc->rounding != GH__NORM_ROUND_TWICE)
		status = gh__fail(error, GH_ENOTSUP, "norm rounding: %d is unknown",
				  (int)desc->rounding);
	return status;
}

static gh_status check_linear(const gh__linear_desc *desc, gh_error *error)
{
	gh_status status = check_act("linear act", desc->act, error);

	if (status == GH_OK)
		status = check_act("linear out", desc->out, error);
	if (status == GH_OK && desc->weight != GH_E4M3)
		status = check_act("linear weight", desc->weight, error);
	if (status == GH_OK)
		status = check_size("linear n", desc->n, error);
	if (status == GH_OK)
		status = check_size("linear k", desc->k, error);
	if (status != GH_OK)
		return status;
	if (desc->prologue == GH__PROLOGUE_QUANTISE && desc->weight != GH_E4M3)
		return gh__fail(error, GH_EINVAL,
				"linear prologue: QUANTISE needs F8_E4M3 weights, not %s",
				gh_dtype_name(desc->weight));
	if (desc->epilogue == GH__EPILOGUE_SWIGLU && (desc->n % 2 != 0 || desc->bias))
		return gh__fail(error, GH_ENOTSUP,
				"linear epilogue: SWIGLU needs an even n and no bias");
	return GH_OK;
}

static gh_status check_rope(const gh__rope_desc *desc, gh_error *error)
{
	gh_status status = check_act("rope act", desc->act, error);

	if (status == GH_OK)
		status = check_kv(&desc->kv, error);
	if (status == GH_OK)
		status = check_size("rope heads", desc->heads, error);
	if (status == GH_OK && desc->kv.head_dim % 2 != 0)
		status = gh__fail(error, GH_EINVAL, "rope head_dim: %d is odd",
				  (int)desc->kv.head_dim);
	if (status == GH_OK && desc->pairing != GH__ROPE_HALF &&
	    desc->pairing != GH__ROPE_INTERLEAVED)
		status = gh__fail(error, GH_ENOTSUP, "rope pairing: %d is unknown",
				  (int)desc->pairing);
	return status;
}

static gh_status check_attention(const gh__attention_desc *desc, gh_error *error)
{
	gh_status status;

	if (desc->softmax != GH__SOFTMAX_ONLINE || desc->source != GH__KV_PAGED || !desc->causal)
		return gh__fail(error, GH_ENOTSUP,
				"attention: only causal, ONLINE and PAGED is here");
	status = check_act("attention act", desc->act, error);
	if (status == GH_OK)
		status = check_kv(&desc->kv, error);
	if (status == GH_OK)
		status = check_size("attention heads", desc->heads, error);
	if (status == GH_OK)
		status = check_size("attention group", desc->group, error);
	if (status == GH_OK && desc->kv.dtype == GH_DTYPE_NONE)
		status = gh__fail(error, GH_EINVAL, "attention kv dtype: not set");
	if (status != GH_OK)
		return status;
	if (desc->head_first < 0 || desc->kv_first < 0 ||
	    desc->head_first / desc->group < desc->kv_first ||
	    ((int64_t)desc->head_first + desc->heads - 1) / desc->group - desc->kv_first >=
		    desc->kv.kv_heads)
		return gh__fail(error, GH_EINVAL,
				"attention heads: %d from %d, in groups of %d, lack kv heads "
				"among %d from %d",
				(int)desc->heads, (int)desc->head_first, (int)desc->group,
				(int)desc->kv.kv_heads, (int)desc->kv_first);
	return GH_OK;
}

static gh_status check_desc(const gh__op_desc *desc, gh_error *error)
{
	gh_status status;

	switch (desc->kind) {
	case GH__OP_EMBED:
		return check_embed(&desc->embed, error);
	case GH__OP_NORM:
		return check_norm(&desc->norm, error);
	case GH__OP_LINEAR:
		return check_linear(&desc->linear, error);
	case GH__OP_ROPE:
		return check_rope(&desc->rope, error);
	case GH__OP_ATTENTION:
		return check_attention(&desc->attention, error);
	case GH__OP_GLU:
		status = check_act("glu act", desc->glu.act, error);
		return status == GH_OK ? check_size("glu n", desc->glu.n, error) : status;
	case GH__OP_SELECT:
		status = check_act("select act", desc->select.act, error);
		return status == GH_OK ? check_size("select n", desc->select.n, error) : status;
	case GH__OP_SAMPLE:
		status = check_act("sample logits", desc->sample.logits, error);
		return status == GH_OK ? check_size("sample vocab", desc->sample.vocab, error)
				       : status;
	}
	return gh__fail(error, GH_ENOTSUP, "operation: %d is unknown", (int)desc->kind);
}

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
	gh_status status = check_desc(desc, error);

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

static gh_status cpu_pack(void *self, const gh__kernel *kernel, void *dst, const void *src,
			  int64_t row, int64_t rows, gh_error *error)
{
	const gh__linear_desc *desc = &kernel->desc.linear;

	if (kernel->desc.kind != GH__OP_LINEAR)
		return gh__fail(error, GH_EINVAL, "operation: %d has no weights to pack",
				(int)kernel->desc.kind);
	if (row < 0 || rows < 0 || row > desc->n || rows > desc->n - row)
		return gh__fail(error, GH_EINVAL, "rows: %lld from %lld are not among %lld",
				(long long)rows, (long long)row, (long long)desc->n);
	return gh__linear_pack(self, desc, dst, src, row, rows, error);
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
		return GH_OK;
	case GH__OP_NORM:
		cpu->twin->norm(cpu, &desc->norm, &args->norm);
		return GH_OK;
	case GH__OP_LINEAR:
		cpu->twin->linear(cpu, &desc->linear, &args->linear);
		return GH_OK;
	case GH__OP_ROPE:
		cpu->twin->rope(cpu, &desc->rope, &args->rope);
		return GH_OK;
	case GH__OP_ATTENTION:
		cpu->twin->attention(cpu, &desc->attention, &args->attention);
		return GH_OK;
	case GH__OP_GLU:
		cpu->twin->glu(cpu, &desc->glu, &args->glu);
		return GH_OK;
	case GH__OP_SELECT:
		gh__cpu_select(cpu, &desc->select, &args->select);
		return GH_OK;
	case GH__OP_SAMPLE:
		cpu->twin->sample(cpu, &desc->sample, &args->sample);
		return GH_OK;
	}
	return gh__fail(error, GH_EBUG, "operation: %d is unknown", (int)desc->kind);
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
	.synchronise = cpu_synchronise,
	.prepare = cpu_prepare,
	.kernel_free = cpu_kernel_free,
	.workspace = cpu_workspace,
	.packed_size = cpu_packed_size,
	.pack = cpu_pack,
	.run = cpu_run,
};

gh_status gh__cpu_open(gh__device *out, const gh_device_options *options, gh_error *error)
{
	gh__cpu *cpu;
	int threads;
	gh_status status = thread_count(&threads, options, error);

	if (status != GH_OK)
		return status;
	cpu = gh__calloc(1, sizeof *cpu);
	if (!cpu)
		return gh__fail_nomem(error);
	cpu->threads = threads;
	cpu->twin = choose_twin(options);
	status = gh__pool_create(&cpu->pool, threads, error);
	if (status != GH_OK) {
		gh__free(cpu);
		return status;
	}
	out->table = &cpu_table;
	out->self = cpu;
	out->stream = NULL;
	out->memory_total = physical_memory();
	return GH_OK;
}

/* ---- rows over the pool ---- */

typedef struct rows_job {
	gh__cpu_rows_fn *fn;
	void *arg;
	int64_t rows, piece;
} rows_job;

static void rows_task(void *arg, int64_t task, int thread)
{
	const rows_job *job = arg;
	int64_t first = task * job->piece;
	int64_t left = job->rows - first;

	(void)thread;
	job->fn(job->arg, first, left < job->piece ? left : job->piece);
}

void gh__cpu_rows(const gh__cpu *cpu, gh__cpu_rows_fn *fn, void *arg, int64_t rows, int64_t least)
{
	rows_job job = { fn, arg, rows, 0 };

	if (rows <= 0)
		return;
	job.piece = (rows + cpu->threads - 1) / cpu->threads;
	if (job.piece < least)
		job.piece = least;
	gh__pool_run(cpu->pool, rows_task, &job, (rows + job.piece - 1) / job.piece);
}
