#ifndef GONKAHOST_KERNELS_H
#define GONKAHOST_KERNELS_H

#include <gonkahost/base.h>
#include <gonkahost/device.h>

/*
 * Kernels: the operations of a transformer on memory of a device, one by one.
 *
 * Plan, then run: gh_<operation>_create() checks a shape once and answers a kernel;
 * gh_<operation>_run() checks its arguments and enqueues. A kernel may be run any number of times,
 * with any number of rows, on any stream. The number of rows, and what other rows hold, decide no
 * bit of a row.
 *
 *   Rows       are tokens. Matrices are row-major, and a stride is the number of elements from a
 *              row to the next. Rows 0 enqueue nothing, and then no pointer is looked at.
 *   Sums       are f32, in an order that docs/numerics.md writes down; "round" is to the nearest,
 *              ties to even, and to the dtype that is named.
 *   Workspace  gh_kernel_workspace() bytes of the device's, aligned to 256, which belong to the
 *              call until its stream has passed. Two streams need two.
 *   Memory     of arguments is borrowed until the stream has passed. Values that lie on the device
 *              (positions, block tables, slots) are not checked: the caller answers for them.
 *
 * They run on a GPU and on the CPU alike: without a GPU, or without the CUDA module,
 * gh_device_open() of "cuda" answers GH_ENODEVICE, and "cpu" does the same work.
 *
 * Threads: a kernel belongs to the thread that its device does.
 */
GH_BEGIN

/** An operation, made for one shape on one device. */
typedef struct gh_kernel gh_kernel;

/**
 * Free a kernel. NULL is allowed. What was enqueued with it may still be under way.
 *
 * Owner    takes kernel
 * Threads  one at a time
 * Errors   none
 * Since    0.1
 */
GH_API void gh_kernel_free(gh_kernel *kernel);

/**
 * Bytes of workspace that a run with this many rows needs; 0: none, the pointer may be 0. More rows
 * never need less.
 *
 * Owner    nothing
 * Threads  one at a time
 * Errors   none
 * Since    0.1
 */
GH_API size_t gh_kernel_workspace(const gh_kernel *kernel, int64_t rows);

/**
 * Convert numbers on the host: dst[i] = round(src[i]). E4M3 clamps to +-448, F16 goes to infinity.
 *
 * Shapes   dst and src [count], which do not overlap; F32, F16, BF16 or E4M3 each
 * Owner    borrows for the call
 * Threads  any
 * Errors   GH_EINVAL a dtype or a pointer
 * Since    0.1
 */
GH_API GH_NODISCARD gh_status gh_convert(void *dst, gh_dtype dst_dtype, const void *src,
					 gh_dtype src_dtype, size_t count, gh_error *error);

/* ---- linear: y = x W^T ---- */

/** Quantise the rows of x before the product: E4M3 weights only. */
#define GH_LINEAR_QUANTISE 1u
/** Add a bias. */
#define GH_LINEAR_BIAS 2u
/** W holds a gate, then an up matrix, n / 2 rows each: y [m, n / 2] = round(silu(gate) up). */
#define GH_LINEAR_SWIGLU 4u

/** Zero means default in every field but weight, x, n and k; new fields go at the end. */
typedef struct gh_linear_options {
	size_t struct_size; /**< set by GH_LINEAR_OPTIONS_INIT */
	int32_t weight;     /**< of W, a gh_dtype: F32, F16, BF16, E4M3 */
	int32_t x;      /**< of x: F32, F16, BF16; E4M3 with weight E4M3, rows quantised before */
	int32_t out;    /**< of y: F32, F16, BF16; 0 = as x, or F16 where x is E4M3 */
	uint32_t flags; /**< GH_LINEAR_* bits */
	int64_t n;      /**< rows of W, 1 to 2^30 */
	int64_t k;      /**< columns of W, 1 to 2^30 */
} gh_linear_options;

/** Initialiser. */
#define GH_LINEAR_OPTIONS_INIT                              \
	{                                                   \
		sizeof(gh_linear_options), 0, 0, 0, 0, 0, 0 \
	}

/** What gh_linear_run() works on. */
typedef struct gh_linear_args {
	size_t struct_size; /**< set by GH_LINEAR_ARGS_INIT */
	int64_t rows;       /**< m */
	gh_devptr x; /**< [m, k]. E4M3: aligned to 16 bytes, zeros from k to a multiple of 16 */
	int64_t x_stride;    /**< at least k; E4M3: a multiple of 16; 0 = k, or that multiple */
	gh_devptr x_scale;   /**< [m] f32, x E4M3 only: a row is x * x_scale */
	gh_devptr w;         /**< packed by gh_linear_pack() */
	gh_devptr bias;      /**< [n] as x, or as y where x is E4M3; with GH_LINEAR_BIAS */
	gh_devptr y;         /**< [m, n], with GH_LINEAR_SWIGLU [m, n / 2] */
	int64_t y_stride;    /**< at least y's columns; 0 = that */
	gh_devptr workspace; /**< gh_kernel_workspace() bytes */
} gh_linear_args;

/** Initialiser. */
#define GH_LINEAR_ARGS_INIT                                       \
	{                                                         \
		sizeof(gh_linear_args), 0, 0, 0, 0, 0, 0, 0, 0, 0 \
	}

/**
 * Make the product of rows with a matrix that is packed once and used often.
 *
 * weight F32, F16, BF16: y = round(x W^T + bias).
 * weight E4M3 with E4M3 x, or with GH_LINEAR_QUANTISE (FP8 by FP8): sums of 128 of k each are added
 * up in f32; then y = round(sum * w_scale * x_scale + bias). Without (w8a16): the products are
 * those of x with the widened weights, y = round(sum * w_scale), and a bias is added behind that.
 * GH_LINEAR_SWIGLU: y = round(round(silu(g)) * u) of the products g and u rounded so; n even, no
 * bias.
 *
 * Owner    *out: caller frees (gh_kernel_free); borrows device until then
 * Threads  one at a time
 * Errors   GH_EINVAL a dtype, a size or a flag by name; GH_ENOTSUP no kernel for these dtypes on
 *          this device
 * Source   docs/numerics.md
 * Since    0.1
 */
GH_API GH_NODISCARD gh_status gh_linear_create(gh_kernel **out, gh_device *device,
					       const gh_linear_options *options, gh_error *error);

/**
 * Bytes of a device's memory that the packed matrix and its scales take; 0: no linear kernel.
 *
 * Owner    nothing
 * Threads  one at a time
 * Errors   none
 * Since    0.1
 */
GH_API size_t gh_linear_packed_size(const gh_kernel *kernel);

/**
 * Put rows of W from the host where the kernel wants them. All n rows must be packed before the
 * first run, in any pieces and any order. A matrix packed for one kernel serves any other of the
 * same device, options but GH_LINEAR_QUANTISE, GH_LINEAR_BIAS, x and out being equal.
 *
 * Shapes   src [rows, k] of the weight's dtype, dense: rows first to first + rows - 1 of W; of a
 *          GH_LINEAR_SWIGLU matrix, gate's rows come before up's
 * Owner    borrows src for the call; when it returns, the rows are there for every stream
 * Threads  one at a time
 * Errors   GH_EINVAL no such rows; GH_ENUMERIC an E4M3 weight is no number; GH_ECUDA
 * Since    0.1
 */
GH_API GH_NODISCARD gh_status gh_linear_pack(const gh_kernel *kernel, gh_devptr packed,
					     const void *src, int64_t first, int64_t rows,
					     gh_error *error);

/**
 * Put the scales of an E4M3 matrix beside it: W is w * w_scale. Before the first run; until then
 * they are 0.
 *
 * Shapes   scales [count] on the host; count 1: one for all of W; count n: one for each of its rows
 * Owner    borrows scales for the call; when it returns, they are there for every stream
 * Threads  one at a time
 * Errors   GH_EINVAL count, or the weights are not E4M3; GH_ENOMEM; GH_ECUDA
 * Since    0.1
 */
GH_API GH_NODISCARD gh_status gh_linear_pack_scales(const gh_kernel *kernel, gh_devptr packed,
						    const float *scales, int64_t count,
						    gh_error *error);

/**
 * Multiply.
 *
 * Shapes   gh_linear_args
 * Cost     2 m n k operations; n k elements of W, m k of x and m n of y
 * Stream   enqueued; may be captured in a graph
 * Owner    borrows all device memory until the stream has passed
 * Threads  one at a time
 * Errors   GH_EINVAL an argument by name, or no linear kernel; GH_ECUDA
 * Since    0.1
 */
GH_API GH_NODISCARD gh_status gh_linear_run(const gh_kernel *kernel, const gh_linear_args *args,
					    gh_stream *stream, gh_error *error);

/* ---- quantise: rows to E4M3 ---- */

/** All fields but struct_size must be set; new fields go at the end. */
typedef struct gh_quantise_options {
	size_t struct_size; /**< set by GH_QUANTISE_OPTIONS_INIT */
	int32_t x;          /**< F32, F16, BF16 */
	uint32_t reserved;  /**< must be 0 */
	int64_t n;          /**< columns, 1 to 2^30 */
} gh_quantise_options;

/** Initialiser. */
#define GH_QUANTISE_OPTIONS_INIT                     \
	{                                            \
		sizeof(gh_quantise_options), 0, 0, 0 \
	}

/** What gh_quantise_run() works on. */
typedef struct gh_quantise_args {
	size_t struct_size; /**< set by GH_QUANTISE_ARGS_INIT */
	int64_t rows;       /**< m */
	gh_devptr x;        /**< [m, n] */
	int64_t x_stride;   /**< at least n; 0 = n */
	gh_devptr y;      /**< [m, n] E4M3, aligned to 16 bytes; zeros from n to a multiple of 16 */
	int64_t y_stride; /**< a multiple of 16, at least n; 0 = the least */
	gh_devptr scale;  /**< [m] f32 */
} gh_quantise_args;

/** Initialiser. */
#define GH_QUANTISE_ARGS_INIT                              \
	{                                                  \
		sizeof(gh_quantise_args), 0, 0, 0, 0, 0, 0 \
	}

/**
 * Make the quantisation of rows to E4M3, a scale each: what gh_linear_run() takes as E4M3 x.
 *
 * Units    scale = max(max|x| / 448, 1 / (448 * 512)); y = e4m3(x / scale), x ~= y * scale
 * Owner    *out: caller frees (gh_kernel_free); borrows device until then
 * Threads  one at a time
 * Errors   GH_EINVAL options
 * Source   docs/numerics.md
 * Since    0.1
 */
GH_API GH_NODISCARD gh_status gh_quantise_create(gh_kernel **out, gh_device *device,
						 const gh_quantise_options *options,
						 gh_error *error);

/**
 * Quantise. A row with a NaN becomes NaN as a whole.
 *
 * Shapes   gh_quantise_args
 * Cost     m n elements of x, m n bytes of y; memory bound
 * Stream   enqueued; may be captured in a graph
 * Owner    borrows all device memory until the stream has passed
 * Threads  one at a time
 * Errors   GH_EINVAL an argument by name, or no such kernel; GH_ECUDA
 * Since    0.1
 */
GH_API GH_NODISCARD gh_status gh_quantise_run(const gh_kernel *kernel, const gh_quantise_args *args,
					      gh_stream *stream, gh_error *error);

/* ---- norm: root mean square norm ---- */

/** Add x to a residual stream first, and norm that. */
#define GH_NORM_RESIDUAL 1u
/** Quantise the normed rows: y is E4M3 with a scale each. */
#define GH_NORM_QUANTISE 2u

/** Zero means default in flags; new fields go at the end. */
typedef struct gh_norm_options {
	size_t struct_size; /**< set by GH_NORM_OPTIONS_INIT */
	int32_t dtype;      /**< F32, F16, BF16 */
	uint32_t flags;     /**< GH_NORM_* bits */
	int64_t n;          /**< elements of a vector, 1 to 2^30 */
	float eps;          /**< added to the mean square */
	uint32_t reserved;  /**< must be 0 */
} gh_norm_options;

/** Initialiser. */
#define GH_NORM_OPTIONS_INIT                           \
	{                                              \
		sizeof(gh_norm_options), 0, 0, 0, 0, 0 \
	}

/** What gh_norm_run() works on. */
typedef struct gh_norm_args {
	size_t struct_size;  /**< set by GH_NORM_ARGS_INIT */
	int64_t rows;        /**< m */
	gh_devptr x;         /**< [m, groups, n] */
	int64_t x_stride;    /**< at least groups * n; 0 = that */
	int64_t groups;      /**< vectors a row, as the heads of q; 0 = 1. With flags: 1 */
	gh_devptr residual;  /**< [m, n] dense; receives the sum; with GH_NORM_RESIDUAL */
	gh_devptr weight;    /**< [n] */
	gh_devptr y;         /**< as x, may be x; with GH_NORM_QUANTISE as gh_quantise_args.y */
	int64_t y_stride;    /**< likewise; 0 = the least */
	gh_devptr y_scale;   /**< [m] f32, with GH_NORM_QUANTISE */
	gh_devptr workspace; /**< gh_kernel_workspace() bytes */
} gh_norm_args;

/** Initialiser. */
#define GH_NORM_ARGS_INIT                                          \
	{                                                          \
		sizeof(gh_norm_args), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 \
	}

/**
 * Make a root mean square norm: y = round(round(r / sqrt(mean(r^2) + eps)) * weight), with r = x,
 * or r = round(x + residual), which replaces the residual.
 *
 * Owner    *out: caller frees (gh_kernel_free); borrows device until then
 * Threads  one at a time
 * Errors   GH_EINVAL options
 * Source   docs/numerics.md
 * Since    0.1
 */
GH_API GH_NODISCARD gh_status gh_norm_create(gh_kernel **out, gh_device *device,
					     const gh_norm_options *options, gh_error *error);

/**
 * Norm.
 *
 * Shapes   gh_norm_args
 * Cost     2 to 4 elements moved for each of x; memory bound
 * Stream   enqueued; may be captured in a graph
 * Owner    borrows all device memory until the stream has passed
 * Threads  one at a time
 * Errors   GH_EINVAL an argument by name, or no such kernel; GH_ECUDA
 * Since    0.1
 */
GH_API GH_NODISCARD gh_status gh_norm_run(const gh_kernel *kernel, const gh_norm_args *args,
					  gh_stream *stream, gh_error *error);

/* ---- rope: rotary embedding, and the write of the KV cache ---- */

/** Element 2 i pairs with 2 i + 1, not i with i + head_dim / 2. */
#define GH_ROPE_INTERLEAVED 1u
/** Products are not rounded to the dtype before they are added. */
#define GH_ROPE_ROUND_ONCE 2u

/** Zero means default in flags, kv_dtype and block_size; new fields go at the end. */
typedef struct gh_rope_options {
	size_t struct_size; /**< set by GH_ROPE_OPTIONS_INIT */
	int32_t dtype;      /**< of q, k, v: F32, F16, BF16 */
	int32_t kv_dtype;   /**< of the cache: F32, F16, BF16, E4M3; 0 = none is written */
	int32_t heads;      /**< of q */
	int32_t kv_heads;   /**< of k and v */
	int32_t head_dim;   /**< even */
	int32_t block_size; /**< tokens of a block of the cache; 0 = 16 */
	uint32_t flags;     /**< GH_ROPE_* bits */
	uint32_t reserved;  /**< must be 0 */
} gh_rope_options;

/** Initialiser. */
#define GH_ROPE_OPTIONS_INIT                                    \
	{                                                       \
		sizeof(gh_rope_options), 0, 0, 0, 0, 0, 0, 0, 0 \
	}

/** What gh_rope_run() works on. */
typedef struct gh_rope_args {
	size_t struct_size; /**< set by GH_ROPE_ARGS_INIT */
	int64_t rows;       /**< m */
	gh_devptr qkv;      /**< [m, (heads + 2 kv_heads) head_dim]: q, k, v; q and k are turned */
	int64_t qkv_stride; /**< at least its columns; 0 = that */
	gh_devptr table;    /**< [positions, head_dim]: head_dim / 2 cosines, then as many sines */
	gh_devptr position; /**< [m] int32, rows of table */
	gh_devptr slot;     /**< [m] int64: block * block_size + offset; -1 = nothing is written */
	gh_devptr cache;    /**< [blocks, 2: k, v, kv_heads, block_size, head_dim] */
	float k_scale;      /**< of an E4M3 cache, k ~= cache * k_scale; 0 = 1 */
	float v_scale;      /**< likewise */
} gh_rope_args;

/** Initialiser. */
#define GH_ROPE_ARGS_INIT                                       \
	{                                                       \
		sizeof(gh_rope_args), 0, 0, 0, 0, 0, 0, 0, 0, 0 \
	}

/**
 * Make a rotary embedding of q and k in place, which also writes k and v to a paged cache.
 *
 * Owner    *out: caller frees (gh_kernel_free); borrows device until then
 * Threads  one at a time
 * Errors   GH_EINVAL options
 * Source   docs/numerics.md
 * Since    0.1
 */
GH_API GH_NODISCARD gh_status gh_rope_create(gh_kernel **out, gh_device *device,
					     const gh_rope_options *options, gh_error *error);

/**
 * Turn, and write the cache.
 *
 * Shapes   gh_rope_args
 * Cost     a row is read and written once, k and v once more; memory bound
 * Stream   enqueued; may be captured in a graph
 * Owner    borrows all device memory until the stream has passed
 * Threads  one at a time
 * Errors   GH_EINVAL an argument by name, or no such kernel; GH_ECUDA
 * Since    0.1
 */
GH_API GH_NODISCARD gh_status gh_rope_run(const gh_kernel *kernel, const gh_rope_args *args,
					  gh_stream *stream, gh_error *error);

/* ---- attention over a paged cache ---- */

/** Zero means default in kv_dtype, block_size and scale; new fields go at the end. */
typedef struct gh_attention_options {
	size_t struct_size; /**< set by GH_ATTENTION_OPTIONS_INIT */
	int32_t dtype;      /**< of q and y: F32, F16, BF16 */
	int32_t kv_dtype;   /**< of the cache: F32, F16, BF16, E4M3; 0 = dtype */
	int32_t heads;      /**< of q, a multiple of kv_heads: heads / kv_heads share one */
	int32_t kv_heads;   /**< of the cache */
	int32_t head_dim;   /**< elements of a head */
	int32_t block_size; /**< tokens of a block of the cache; 0 = 16 */
	float scale;        /**< of q k; 0 = head_dim^-0.5 */
	uint32_t reserved;  /**< must be 0 */
} gh_attention_options;

/** Initialiser. */
#define GH_ATTENTION_OPTIONS_INIT                                    \
	{                                                            \
		sizeof(gh_attention_options), 0, 0, 0, 0, 0, 0, 0, 0 \
	}

/**
 * What gh_attention_run() works on: rows of any number of sequences. A sequence's rows lie behind
 * each other, at ascending positions; one row is a decode, many are a prefill or a piece of one. k
 * and v of all its positions up to the last, those of the rows included, are in the cache already.
 */
typedef struct gh_attention_args {
	size_t struct_size;  /**< set by GH_ATTENTION_ARGS_INIT */
	int32_t rows;        /**< m */
	int32_t sequences;   /**< s */
	int32_t blocks_max;  /**< b, columns of block_table */
	uint32_t reserved;   /**< must be 0 */
	gh_devptr q;         /**< [m, heads, head_dim] */
	int64_t q_stride;    /**< at least heads * head_dim; 0 = that */
	gh_devptr cache;     /**< as gh_rope_args.cache */
	gh_devptr position;  /**< [m] int32, from 0 on */
	gh_devptr sequence;  /**< [m] int32, the sequence that a row belongs to */
	gh_devptr row_start; /**< [s + 1] int32, first row of each sequence; the last: behind all */
	gh_devptr block_table; /**< [s, b] int32, blocks of a sequence's positions */
	gh_devptr y;           /**< [m, heads, head_dim]; rows of no sequence become zeros */
	int64_t y_stride;      /**< at least heads * head_dim; 0 = that */
	gh_devptr workspace;   /**< gh_kernel_workspace() bytes */
	float k_scale;         /**< of an E4M3 cache, k ~= cache * k_scale; 0 = 1 */
	float v_scale;         /**< likewise */
} gh_attention_args;

/** Initialiser. */
#define GH_ATTENTION_ARGS_INIT                                                                  \
	{                                                                                       \
		sizeof(gh_attention_args), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0.0F, 0.0F \
	}

/**
 * Make causal attention over a paged cache: y = softmax(scale q k) v over the positions up to a
 * row's own. Prefill and decode are the same computation, with the same bits.
 *
 * Owner    *out: caller frees (gh_kernel_free); borrows device until then
 * Threads  one at a time
 * Errors   GH_EINVAL options; GH_ENOTSUP no kernel for such heads on this device
 * Source   docs/numerics.md
 * Since    0.1
 */
GH_API GH_NODISCARD gh_status gh_attention_create(gh_kernel **out, gh_device *device,
						  const gh_attention_options *options,
						  gh_error *error);

/**
 * Tell the device what runs are to go through: rows, sequences, blocks_max, position, sequence,
 * row_start and block_table of args, by a few bytes at the head of its workspace. Before the first
 * run with a workspace, and again when one of these fields changes; what the pointers point to may
 * change without.
 *
 * Stream   enqueued
 * Owner    copies args; borrows the workspace until the stream has passed
 * Threads  one at a time
 * Errors   GH_EINVAL an argument by name, or no such kernel; GH_ECUDA
 * Since    0.1
 */
GH_API GH_NODISCARD gh_status gh_attention_plan(const gh_kernel *kernel,
						const gh_attention_args *args, gh_stream *stream,
						gh_error *error);

/**
 * Attend, with a workspace for which gh_attention_plan() was told the same.
 *
 * Shapes   gh_attention_args
 * Cost     4 heads head_dim operations for each row and position; k and v of every sequence once
 * Stream   enqueued; may be captured in a graph
 * Owner    borrows all device memory until the stream has passed
 * Threads  one at a time
 * Errors   GH_EINVAL an argument by name, or no such kernel; GH_ECUDA
 * Since    0.1
 */
GH_API GH_NODISCARD gh_status gh_attention_run(const gh_kernel *kernel,
					       const gh_attention_args *args, gh_stream *stream,
					       gh_error *error);

/* ---- swiglu ---- */

/** All fields but struct_size must be set; new fields go at the end. */
typedef struct gh_swiglu_options {
	size_t struct_size; /**< set by GH_SWIGLU_OPTIONS_INIT */
	int32_t dtype;      /**< F32, F16, BF16 */
	uint32_t reserved;  /**< must be 0 */
	int64_t n;          /**< columns of y, 1 to 2^30 */
} gh_swiglu_options;

/** Initialiser. */
#define GH_SWIGLU_OPTIONS_INIT                     \
	{                                          \
		sizeof(gh_swiglu_options), 0, 0, 0 \
	}

/** What gh_swiglu_run() works on. */
typedef struct gh_swiglu_args {
	size_t struct_size; /**< set by GH_SWIGLU_ARGS_INIT */
	int64_t rows;       /**< m */
	gh_devptr x;        /**< [m, 2 n]: gate, then up */
	int64_t x_stride;   /**< at least 2 n; 0 = that */
	gh_devptr y;        /**< [m, n] */
	int64_t y_stride;   /**< at least n; 0 = that */
} gh_swiglu_args;

/** Initialiser. */
#define GH_SWIGLU_ARGS_INIT                           \
	{                                             \
		sizeof(gh_swiglu_args), 0, 0, 0, 0, 0 \
	}

/**
 * Make a gated unit: y = round(round(silu(gate)) * up), silu(g) = g / (1 + exp(-g)) in f32.
 *
 * Owner    *out: caller frees (gh_kernel_free); borrows device until then
 * Threads  one at a time
 * Errors   GH_EINVAL options
 * Source   docs/numerics.md
 * Since    0.1
 */
GH_API GH_NODISCARD gh_status gh_swiglu_create(gh_kernel **out, gh_device *device,
					       const gh_swiglu_options *options, gh_error *error);

/**
 * Gate.
 *
 * Shapes   gh_swiglu_args
 * Cost     3 m n elements; memory bound
 * Stream   enqueued; may be captured in a graph
 * Owner    borrows all device memory until the stream has passed
 * Threads  one at a time
 * Errors   GH_EINVAL an argument by name, or no such kernel; GH_ECUDA
 * Since    0.1
 */
GH_API GH_NODISCARD gh_status gh_swiglu_run(const gh_kernel *kernel, const gh_swiglu_args *args,
					    gh_stream *stream, gh_error *error);

/* ---- a yardstick ---- */

/** A product by the device maker's own library, to hold gh_linear_run() against. */
typedef struct gh_yardstick gh_yardstick;

/**
 * Make a yardstick: on a CUDA device cuBLASLt, loaded when the first one is made, with the
 * algorithm that it proposes first. E4M3 operands are multiplied without scales and without its fast
 * accumulation, F16 and BF16 ones with sums in f32. Nothing else of the library depends on it.
 *
 * Shapes   rows of x; options->weight, out, n and k; x is of the weight's dtype
 * Needs    k % 16 == 0, n % 16 == 0
 * Owner    *out: caller frees (gh_yardstick_free); borrows device until then
 * Threads  one at a time
 * Errors   GH_ENOTSUP the device's kind has none, or these dtypes; GH_ENODEVICE the library is not
 *          there: the text says how to get it; GH_EINVAL options
 * Source   cuBLAS 13, chapter "Using the cuBLASLt API"
 * Since    0.1
 */
GH_API GH_NODISCARD gh_status gh_yardstick_create(gh_yardstick **out, gh_device *device,
						  const gh_linear_options *options, int64_t rows,
						  gh_error *error);

/**
 * Free a yardstick. NULL is allowed. Waits for the device.
 *
 * Owner    takes yardstick
 * Threads  one at a time
 * Errors   none
 * Since    0.1
 */
GH_API void gh_yardstick_free(gh_yardstick *yardstick);

/**
 * Multiply: y = x W^T.
 *
 * Shapes   x [rows, k], w [n, k], y [rows, n], all dense and row-major, aligned to 16 bytes
 * Stream   enqueued
 * Owner    borrows all device memory until the stream has passed
 * Threads  one at a time
 * Errors   GH_EINVAL a pointer is missing; GH_ECUDA
 * Since    0.1
 */
GH_API GH_NODISCARD gh_status gh_yardstick_run(gh_yardstick *yardstick, gh_devptr x, gh_devptr w,
					       gh_devptr y, gh_stream *stream, gh_error *error);

GH_END
#endif
