#ifndef GH_KERNELS_LAUNCH_H
#define GH_KERNELS_LAUNCH_H

#include <stddef.h>

#include "device/ops.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * The launchers: what host code calls of the kernels. One for each operation, with the descriptor
 * and the arguments of ops.h, whose pointers are the device's unless ops.h says otherwise.
 *
 * A launcher chooses a kernel by descriptor, number of rows and device, launches it on the stream
 * and returns at once. It allocates nothing and waits for nothing, so it can be captured in a
 * graph. The choice never decides a bit. Rows 0 launch nothing.
 *
 * Answers a cudaError_t: 0, or why nothing was launched.
 */
typedef struct gh__launch {
	struct CUstream_st *stream;
	int arch;  /* which code this device runs: 80, 86, 89, or 90 for Hopper's own */
	int units; /* multiprocessors */
	/*
	 * Whether weights and their scales were written before anything that may still run on the
	 * stream was put there, as when a model is loaded once. linear of few rows then reads them
	 * while the kernel in front of it runs. false where kernels on the stream write weights.
	 */
	bool settled;
} gh__launch;

/* The version of the code that this device runs, from the compiler's own mark in it. */
int gh__cuda_arch(int *arch);

int gh__cuda_embed(const gh__launch *on, const gh__embed_desc *desc, const gh__embed_args *args);
int gh__cuda_select(const gh__launch *on, const gh__select_desc *desc, const gh__select_args *args);
int gh__cuda_norm(const gh__launch *on, const gh__norm_desc *desc, const gh__norm_args *args);
int gh__cuda_rope(const gh__launch *on, const gh__rope_desc *desc, const gh__rope_args *args);
int gh__cuda_glu(const gh__launch *on, const gh__glu_desc *desc, const gh__glu_args *args);
int gh__cuda_quantise(const gh__launch *on, const gh__quantise_desc *desc,
		      const gh__quantise_args *args);
int gh__cuda_read(const gh__launch *on, const gh__read_args *args);

/* dst |= src, bit by bit. */
int gh__cuda_unite(const gh__launch *on, void *dst, const void *src, size_t size);

/*
 * linear. W lies as it comes, [rows][stride], the stride k rounded up to 16 bytes, zeros behind k.
 * Of a SWIGLU matrix, gate and up take turns in groups of eight rows: column c of the gate is row
 * c / 8 * 16 + c % 8, that of up 8 further; rows of a last group that is not full are zeros. So one
 * thread of a tensor core's accumulator holds a column's gate and its up.
 */
static inline int64_t gh__cuda_linear_stride(const gh__linear_desc *desc)
{
	int64_t unit = 16 / (desc->weight == GH_F32 ? 4 : desc->weight == GH_E4M3 ? 1 : 2);

	return (desc->k + unit - 1) / unit * unit;
}

static inline int64_t gh__cuda_linear_rows(const gh__linear_desc *desc)
{
	return desc->epilogue == GH__EPILOGUE_SWIGLU ? (desc->n / 2 + 7) / 8 * 16 : desc->n;
}

/* Which row of W, as it lies, output `row` of the matrix is. */
static inline int64_t gh__cuda_linear_row(const gh__linear_desc *desc, int64_t row)
{
	int64_t half = desc->n / 2;

	if (desc->epilogue != GH__EPILOGUE_SWIGLU)
		return row;
	return row < half ? row / 8 * 16 + row % 8 : (row - half) / 8 * 16 + (row - half) % 8 + 8;
}

/* Whether there is a kernel for it on this device; workspace: bytes for that many rows. */
bool gh__cuda_linear_here(const gh__launch *on, const gh__linear_desc *desc);
size_t gh__cuda_linear_workspace(const gh__launch *on, const gh__linear_desc *desc, int64_t rows);
int gh__cuda_linear(const gh__launch *on, const gh__linear_desc *desc, const gh__linear_args *args);

/* attention: the arguments' host copy of the step says how much there is to launch. */
bool gh__cuda_attention_here(const gh__launch *on, const gh__attention_desc *desc);
size_t gh__cuda_attention_workspace(const gh__launch *on, const gh__attention_desc *desc,
				    int64_t rows);
int gh__cuda_attention(const gh__launch *on, const gh__attention_desc *desc,
		       const gh__attention_args *args);

/*
 * sample. The rows of args lie where the device reads them, with all that they point to, and so do
 * the results; workspace: of m rows.
 */
size_t gh__cuda_sample_workspace(const gh__sample_desc *desc, int64_t rows);
int gh__cuda_sample(const gh__launch *on, const gh__sample_desc *desc, const gh__sample_args *args,
		    void *workspace);

/* normals; workspace: of m streams. */
size_t gh__cuda_normals_workspace(const gh__normals_desc *desc, int64_t streams);
int gh__cuda_normals(const gh__launch *on, const gh__normals_desc *desc,
		     const gh__normals_args *args);

/* All rows of a tensor of 16-bit elements out of a pool, from row `row` of the matrix on. */
int gh__cuda_slice(const gh__launch *on, const gh__linear_desc *desc, void *dst, const void *pool,
		   const gh__slice *slice, int64_t row);

#ifdef __cplusplus
}
#endif
#endif
