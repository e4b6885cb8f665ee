#ifndef GH_DEVICE_OPS_H
#define GH_DEVICE_OPS_H

#include <stdbool.h>

#include <gonkahost/base.h>

/*
 * Operations: what a forward pass is made of, as data.
 *
 * The model asks a device for descriptors, never for functions. gh__device_prepare() turns a
 * descriptor into a kernel: an identity, the way it wants its weights packed, and its workspace.
 * gh__device_run() only launches. A device may answer GH_ENOTSUP for a fused descriptor; the caller
 * then composes the parts, and both give the same bits. Everything that decides a bit is in the
 * descriptor: the number of rows, and what the other rows hold, never is.
 *
 * Rows are tokens. Matrices are row-major; a row stride is counted in elements. "act" below is the
 * activation dtype (f32, f16 or bf16); sums are f32 unless said otherwise, rounded to act at the
 * points named.
 *
 * A CUDA device, and a CPU device opened with GH_DEVICE_TENSOR_CORE, form the products of LINEAR and
 * ATTENTION that "tensor core" names below in steps of 16 of k (e4m3: 32) of the tensor core, one
 * ascending chain from 0, the last step filled up with zeros. cpu/tensor_core.h defines the step.
 */

typedef enum gh__op_kind {
	GH__OP_EMBED = 1,
	GH__OP_NORM,
	GH__OP_LINEAR,
	GH__OP_ROPE,
	GH__OP_ATTENTION,
	GH__OP_GLU,
	GH__OP_SELECT, /* copy chosen rows */
	GH__OP_SAMPLE,
	GH__OP_NORMALS,
	GH__OP_QUANTISE,
	GH__OP_READ
} gh__op_kind;

/* ---- y[i, :] = table[id[i] - first, :] where first <= id < first + rows, else 0 ---- */
typedef struct gh__embed_desc {
	gh_dtype act; /* table and y */
	int64_t hidden;
} gh__embed_desc;

typedef struct gh__embed_args {
	const void *table;   /* [rows, hidden] */
	int64_t first, rows; /* the slice of the vocabulary that is here */
	const int32_t *id;   /* [m] */
	void *y;             /* [m, hidden] */
	int64_t m;
} gh__embed_args;

/*
 * ---- root mean square norm ----
 * With residual: r = round(x + residual), stored back into residual, and normalised; else r = x.
 * s = 1 / sqrt(mean(r^2) + eps) in f32; y = round(round(r * s) * w).
 */
typedef enum gh__norm_rounding { GH__NORM_ROUND_TWICE = 1 } gh__norm_rounding;

typedef struct gh__norm_desc {
	gh_dtype act;
	gh__norm_rounding rounding;
	bool residual;
	int64_t n; /* elements of one normalised vector */
	float eps;
} gh__norm_desc;

typedef struct gh__norm_args {
	const void *x;      /* [m, groups, n]: groups vectors a row */
	int64_t x_stride;   /* from row to row */
	int64_t groups;     /* 1; heads for a norm of each head */
	void *residual;     /* [m, n] dense, groups 1 */
	const void *weight; /* [n] act */
	void *y;            /* may be x */
	int64_t y_stride;
	int64_t m;
} gh__norm_args;

/*
 * ---- y = epilogue(prologue(x) W^T): W [n, k] ----
 *
 * weight f32, f16, bf16: one ascending chain of fused multiply-adds over k in f32, starting at 0.
 * weight e4m3 with prologue QUANTISE (w8a8): row scale s = max(absmax(row) / 448, 1 / (448 * 512)),
 *   q = e4m3(clamp(x / s)); for each block of 128 of k, ascending: p = an ascending chain from 0,
 *   acc = acc + p; then t = acc * w_scale[n], y = round(t * s), with a bias
 *   y = round(fma(t, s, bias)).
 * weight e4m3, act e4m3 (w8a8 of rows that QUANTISE below has made, or a caller): as with the
 *   prologue, with s from x_scale; out is what a bias is of. Rows of x begin at multiples of 16
 *   bytes, and what lies between k and the next multiple of 16 is zeros.
 * weight e4m3 without prologue (w8a16): products of act with the widened weight, one chain, then
 *   y = round(acc * w_scale[n]), and a bias is added after that rounding, rounding again.
 * Otherwise a bias is added in f32 before the one rounding: round(acc + bias).
 *
 * Tensor core: weight and act both f16 or both bf16; w8a16 with act f16 or bf16, the weights widened
 * to act; w8a8, each block's p. All else is as above.
 *
 * SWIGLU: W holds gate and up interleaved as pack() likes it; y [m, n / 2] = GLU of the rounded
 * products, bit for bit what LINEAR followed by GLU gives.
 */
typedef enum gh__prologue { GH__PROLOGUE_NONE = 0, GH__PROLOGUE_QUANTISE } gh__prologue;
typedef enum gh__epilogue { GH__EPILOGUE_NONE = 0, GH__EPILOGUE_SWIGLU } gh__epilogue;

typedef struct gh__linear_desc {
	gh_dtype weight; /* as stored on the device */
	gh_dtype act;    /* of x; e4m3 with weight e4m3 only, and no prologue */
	gh_dtype out;    /* of y */
	gh__prologue prologue;
	gh__epilogue epilogue;
	bool bias; /* [n] act; of an e4m3 act, out */
	int64_t n, k;
} gh__linear_desc;

typedef struct gh__linear_args {
	const void *x; /* [m, k] */
	int64_t x_stride;
	const void *w;        /* packed by gh__device_pack() */
	const float *w_scale; /* [n], e4m3 only */
	const float *x_scale; /* [m], act e4m3 only */
	const void *bias;     /* [n] */
	void *y;              /* [m, n] */
	int64_t y_stride;
	void *workspace; /* gh__kernel_workspace(kernel, m) bytes */
	int64_t m;
} gh__linear_args;

/* Whether products are of e4m3 with e4m3: sums of 128 of k each, and rows with a scale. */
static inline bool gh__linear_blocks(const gh__linear_desc *desc)
{
	return desc->prologue == GH__PROLOGUE_QUANTISE || desc->act == GH_E4M3;
}

/*
 * ---- rows to e4m3: y[i, :] and scale[i] of x[i, :] ----
 * s = max(absmax(row) / 448, 1 / (448 * 512)), q = e4m3(clamp(x / s)); zeros from n to the next
 * multiple of 16. A NaN makes its row's scale, and with it all of the row, NaN.
 */
typedef struct gh__quantise_desc {
	gh_dtype act; /* of x */
	int64_t n;
} gh__quantise_desc;

typedef struct gh__quantise_args {
	const void *x; /* [m, n] */
	int64_t x_stride;
	void *y;          /* [m, n] e4m3, 16-byte aligned */
	int64_t y_stride; /* a multiple of 16, at least n */
	float *scale;     /* [m] */
	int64_t m;
} gh__quantise_args;

/*
 * ---- rotary embedding of q and k in place, and the write of k and v to the cache ----
 * HALF: element i pairs with i + d/2; INTERLEAVED: 2i with 2i + 1. With c and s from the table:
 * y_a = round(r(a c) - r(b s)), y_b = round(r(b c) + r(a s)). r rounds products to act, or, with
 * ROUND_ONCE, to f32.
 * e4m3 cache: e4m3(clamp(x / scale)); other caches round to nearest even.
 */
typedef enum gh__rope_pairing { GH__ROPE_HALF = 1, GH__ROPE_INTERLEAVED } gh__rope_pairing;
typedef enum gh__rope_rounding {
	GH__ROPE_ROUND_PRODUCTS = 1,
	GH__ROPE_ROUND_ONCE
} gh__rope_rounding;

/* The paged cache of one layer on one rank: [block][2: k, v][kv_head][slot][head_dim]. */
typedef struct gh__kv_layout {
	gh_dtype dtype;
	int32_t kv_heads;
	int32_t head_dim;
	int32_t block_size; /* tokens a block, 16 */
} gh__kv_layout;

typedef struct gh__rope_desc {
	gh_dtype act;
	gh__rope_pairing pairing;
	gh__rope_rounding rounding;
	int32_t heads;
	gh__kv_layout kv; /* kv.dtype GH_DTYPE_NONE: nothing is written */
} gh__rope_desc;

typedef struct gh__rope_args {
	void *qkv; /* [m, (heads + 2 kv_heads) head_dim]: q, k, v of a row behind each other */
	int64_t qkv_stride;
	const void *table;       /* [positions, head_dim] act: d/2 cosines, then d/2 sines */
	const int32_t *position; /* [m] */
	const int64_t *slot;     /* [m] block * block_size + offset; -1: padding, nothing written */
	void *cache;
	float k_scale, v_scale;
	int64_t m;
} gh__rope_args;

/*
 * ---- attention ----
 * ONLINE: tiles of 128 absolute positions within splits of 1024. In a tile: s = (q . k) * scale in
 *   f32; new maximum; p = exp(s - max) in f32, rounded to act before the product with v; O and l
 *   are rescaled at every tile. Splits are folded in ascending order by
 *   m = max(m1, m2), O = O1 exp(m1 - m) + O2 exp(m2 - m), likewise l. y = round(O / l).
 *   l adds up p before it is rounded. An e4m3 cache reads as value * scale in f32, not rounded.
 *   Prefill and decode are this same computation. Positions of a row's sequence beyond its own
 *   never reach it. Rows of no sequence (from row_start[sequences] on) come out as zeros.
 * ROW: over positions 0 to its own, u = round(round(q . k) scale); e = exp(u - max u) in f32;
 *   p = round(e / sum of e); y = round(p . v). Order of sums: attention_row.c.
 * Tensor core: act f16 or bf16, with ONLINE and a cache of act or e4m3. q . k is a chain over d; p . v
 * one over positions, in steps at multiples of 16 that continue from 0 with ROW, from the rescaled
 * O with ONLINE, p and v beyond the row's own position being zeros. An e4m3 cache is widened to act
 * without its scales: s = ((q . k) * k_scale) * scale, y = round((O * v_scale) / l).
 * PAGED reads k and v through block tables only; PACKED reads them from qkv (no cache): a sequence
 * is in the step as a whole, and its rows are positions 0, 1, ...
 * A device has ONLINE with PAGED and ROW with PACKED.
 */
typedef enum gh__softmax { GH__SOFTMAX_ONLINE = 1, GH__SOFTMAX_ROW } gh__softmax;
typedef enum gh__kv_source { GH__KV_PAGED = 1, GH__KV_PACKED } gh__kv_source;

enum { GH__ATTENTION_TILE = 128, GH__ATTENTION_SPLIT = 1024 };

typedef struct gh__attention_desc {
	gh_dtype act;
	gh__softmax softmax;
	gh__kv_source source;
	bool causal;
	int32_t heads;      /* query heads here */
	int32_t group;      /* query heads a kv head, of the whole model */
	int32_t head_first; /* absolute index of the first query head here */
	int32_t kv_first;   /* absolute index of the first kv head here */
	gh__kv_layout kv;
	int32_t length; /* PACKED: rows of the longest sequence */
	float scale;    /* head_dim^-0.5 */
} gh__attention_desc;

typedef struct gh__attention_args {
	const void *qkv; /* rows as in gh__rope_args */
	int64_t qkv_stride;
	const void *cache;
	float k_scale, v_scale;
	const struct gh__step *step; /* device copy */
	const struct gh__step *host; /* a copy of it on the host: its counts say what to launch */
	void *y;                     /* [m, heads * head_dim] */
	int64_t y_stride;
	void *workspace;
} gh__attention_args;

/* ---- y = round(round(silu(g)) * u), silu(g) = g / (1 + exp(-g)) in f32 ---- */
typedef struct gh__glu_desc {
	gh_dtype act;
	int64_t n; /* columns of y */
} gh__glu_desc;

typedef struct gh__glu_args {
	const void *gate_up; /* [m, 2 n]: gate, then up */
	int64_t stride;
	void *y; /* [m, n] */
	int64_t y_stride;
	int64_t m;
} gh__glu_args;

/* ---- y[i, :] = x[row[i], :] ---- */
typedef struct gh__select_desc {
	gh_dtype act;
	int64_t n;
} gh__select_desc;

typedef struct gh__select_args {
	const void *x;
	int64_t x_stride;
	const int32_t *row; /* [m] */
	void *y;            /* [m, n] */
	int64_t m;
} gh__select_args;

/*
 * ---- sum[0] += x[0] + x[2] + ..., sum[1] += x[1] + x[3] + ..., modulo 2^64 ----
 * Words of 64 bits, read as fast as the device can: the ceiling of what is bound by memory.
 */
typedef struct gh__read_args {
	const void *x; /* 16-byte aligned */
	size_t size;   /* in bytes, a multiple of 16 */
	uint64_t *sum; /* [2] */
} gh__read_args;

/*
 * ---- sampling: from a row of logits to a token and its logprobs ----
 *
 * A pure function of the row and of gh__sample_row: ties go to the lower id; random numbers are
 * Philox 4x32-10 keyed by seed, counted by (stream, position, id): the draw of a token is word id
 * mod 4 of counter (id / 4, position, stream, 0). The order of the steps is that of the struct's
 * fields. Steps up to the penalties round to the logits' dtype, the rest is f32; temperature (at
 * least 0.01 when not 0), top_p and 1 - top_p are rounded to that dtype too, min_p is not. Ids that
 * are no column are passed over, in prompt, output and bias. rank is 1 + how many logprobs are
 * greater.
 */
enum { GH__TOP_MAX = 20 };

typedef struct gh__sample_row {
	int32_t row;             /* of the logits */
	int32_t forced;          /* report this token instead of choosing; -1 = choose */
	const uint32_t *allowed; /* bit mask over the vocabulary; NULL = all */
	const int32_t *bias_id;  /* added to the logits; -INFINITY bans */
	const float *bias;
	int32_t bias_count;
	const int32_t *prompt, *output; /* for the penalties; read only when one is active */
	int32_t prompt_count, output_count;
	float repetition;  /* 1 = off; over the tokens of prompt and output */
	float frequency;   /* 0 = off; over the output */
	float presence;    /* 0 = off */
	float temperature; /* 0 = greedy: the most probable token, logprobs at temperature 1 */
	int32_t top_k;     /* 0 = off */
	float top_p;       /* 1 = off */
	float min_p;       /* 0 = off */
	uint64_t seed;
	uint32_t stream, position; /* choice and index of the output token */
	int32_t top;               /* most probable tokens to report, 0 to GH__TOP_MAX */
	bool logprobs;             /* report any */
} gh__sample_row;

typedef struct gh__sample_result {
	int32_t token; /* -1: the row holds a NaN or +infinity, or nothing is allowed */
	float logprob; /* -INFINITY: filtered out */
	int32_t rank;  /* 1 = most probable */
	int32_t top_count;
	int32_t top_id[GH__TOP_MAX]; /* by falling logprob, then id; fillers are the lowest ids */
	float top_logprob[GH__TOP_MAX];
} gh__sample_result;

typedef struct gh__sample_desc {
	gh_dtype logits; /* f32, f16 or bf16 */
	int64_t vocab;   /* columns that are tokens */
} gh__sample_desc;

typedef struct gh__sample_args {
	const void *logits; /* [rows, stride] */
	int64_t stride;
	const gh__sample_row *row; /* [m] on the host */
	gh__sample_result *result; /* [m] on the host */
	int64_t m;
} gh__sample_args;

/*
 * ---- y[i, :] = the first numbers of stream i: NumPy's normal numbers ----
 *
 * A stream is a PCG64, before its first draw; its draws become numbers by a ziggurat of 256 layers
 * over f64, every operation rounded by itself (poc/normal.h has the steps). y is 0 + deviation z,
 * or z itself where deviation is 0, rounded to f32 and then to f16. A stream of any length takes
 * the same time as many short ones. Devices without it answer GH_ENOTSUP.
 */
enum { GH__NORMAL_LAYERS = 256 };

typedef struct gh__normal_tables {
	uint64_t k[GH__NORMAL_LAYERS];
	double w[GH__NORMAL_LAYERS];
	double f[GH__NORMAL_LAYERS];
} gh__normal_tables;

/* Numbers of 128 bits, the lower half first. */
typedef struct gh__normals_stream {
	uint64_t state[2];
	uint64_t inc[2]; /* odd */
} gh__normals_stream;

typedef struct gh__normals_desc {
	gh_dtype out;    /* f16 */
	int64_t numbers; /* of each stream */
	double deviation;
} gh__normals_desc;

typedef struct gh__normals_args {
	const gh__normals_stream *stream; /* [m] */
	const gh__normal_tables *tables;
	void *y;         /* [m, numbers], dense */
	void *workspace; /* gh__kernel_workspace(kernel, m) bytes */
	int64_t m;
} gh__normals_args;

/*
 * ---- a tensor that is cut out of a pool (gh__device_table.pack_slice) ----
 *
 * Element i of one no larger than the pool is pool[start + i]; a larger one is tiled: the pool over
 * and over, beginning at start and going round after size elements, so that element i is
 * pool[(i + start) mod size mod pool_size].
 */
typedef struct gh__slice {
	uint64_t size; /* elements */
	uint64_t pool_size;
	uint64_t start; /* not tiled: at most pool_size - size; tiled: below size */
	bool tiled;
} gh__slice;

/*
 * ---- a step: which sequences, and their new tokens ----
 *
 * Prefill chunks and decodes are rows of the same step. All arrays lie where the device reads them.
 */
typedef struct gh__step {
	int32_t tokens; /* rows */
	int32_t sequences;
	int32_t logit_rows;
	int32_t blocks_max;      /* columns of block_table */
	const int32_t *token;    /* [tokens] */
	const int32_t *position; /* [tokens] absolute */
	const int64_t *slot;     /* [tokens] where k and v go; -1 = padding */
	const int32_t *sequence; /* [tokens] to which sequence a row belongs */
	const int32_t
		*row_start; /* [sequences + 1] first row of a sequence; its rows are one run */
	const int32_t *block_table; /* [sequences, blocks_max] */
	const int32_t *logit_row;   /* [logit_rows] rows whose logits are wanted, ascending */
} gh__step;

/* ---- one descriptor, one set of arguments ---- */
typedef struct gh__op_desc {
	gh__op_kind kind;
	union {
		gh__embed_desc embed;
		gh__norm_desc norm;
		gh__linear_desc linear;
		gh__rope_desc rope;
		gh__attention_desc attention;
		gh__glu_desc glu;
		gh__select_desc select;
		gh__sample_desc sample;
		gh__normals_desc normals;
		gh__quantise_desc quantise;
	};
} gh__op_desc;

typedef struct gh__op_args {
	union {
		gh__embed_args embed;
		gh__norm_args norm;
		gh__linear_args linear;
		gh__rope_args rope;
		gh__attention_args attention;
		gh__glu_args glu;
		gh__select_args select;
		gh__sample_args sample;
		gh__normals_args normals;
		gh__quantise_args quantise;
		gh__read_args read;
	};
} gh__op_args;

#endif
