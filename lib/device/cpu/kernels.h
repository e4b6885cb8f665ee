#ifndef GH_DEVICE_CPU_KERNELS_H
#define GH_DEVICE_CPU_KERNELS_H

#include "device/cpu/cpu.h"
#include "device/ops.h"

/*
 * What the kernels of the CPU device are called by.
 *
 * The families (linear.c, attention*.c, norm.c, rope.c, glu.c, sample.c, convert.c) are compiled
 * twice, see lanes.h; each build fills one gh__cpu_twin, and the device picks one when it is
 * opened. What only moves memory is there once.
 */
typedef struct gh__cpu_twin {
	void (*linear)(const gh__cpu *cpu, const gh__linear_desc *desc,
		       const gh__linear_args *args);
	void (*attention)(const gh__cpu *cpu, const gh__attention_desc *desc,
			  const gh__attention_args *args);
	void (*norm)(const gh__cpu *cpu, const gh__norm_desc *desc, const gh__norm_args *args);
	void (*rope)(const gh__cpu *cpu, const gh__rope_desc *desc, const gh__rope_args *args);
	void (*glu)(const gh__cpu *cpu, const gh__glu_desc *desc, const gh__glu_args *args);
	void (*sample)(const gh__cpu *cpu, const gh__sample_desc *desc,
		       const gh__sample_args *args);

	void (*convert)(void *dst, gh_dtype dst_dtype, const void *src, gh_dtype src_dtype,
			size_t count);
	float (*absmax)(const void *src, gh_dtype dtype, size_t count);
	void (*quantise_weight)(uint8_t *dst, const void *src, gh_dtype dtype, size_t count,
				float scale);
	void (*quantise_row)(uint8_t *dst, const void *src, gh_dtype dtype, size_t count,
			     float *scale);
} gh__cpu_twin;

extern const gh__cpu_twin gh__cpu_twin_scalar;
extern const gh__cpu_twin gh__cpu_twin_avx2;

/* ---- linear: shapes shared by packing and the kernels ---- */
enum {
	GH__PANEL = 32,     /* outputs a panel */
	GH__ROWS_MAX = 192, /* rows a task */
	GH__BLOCK_K = 128   /* k of one sum of e4m3 products */
};

/* Outputs of one panel after the epilogue: SWIGLU's panels hold 16 gates and their 16 ups. */
static inline int64_t gh__linear_panel_columns(const gh__linear_desc *desc)
{
	return desc->epilogue == GH__EPILOGUE_SWIGLU ? GH__PANEL / 2 : GH__PANEL;
}

static inline int64_t gh__linear_columns(const gh__linear_desc *desc)
{
	return desc->epilogue == GH__EPILOGUE_SWIGLU ? desc->n / 2 : desc->n;
}

static inline int64_t gh__linear_panels(const gh__linear_desc *desc)
{
	int64_t width = gh__linear_panel_columns(desc);

	return (gh__linear_columns(desc) + width - 1) / width;
}

/* Rows of widened x are this many elements apart. */
static inline int64_t gh__linear_x_stride(const gh__linear_desc *desc)
{
	return (desc->k + 15) / 16 * 16;
}

size_t gh__linear_workspace(const gh__linear_desc *desc, int64_t rows);
size_t gh__linear_packed_size(const gh__linear_desc *desc);
void gh__linear_pack(const gh__cpu *cpu, const gh__linear_desc *desc, void *dst, const void *src,
		     int64_t row, int64_t rows);
size_t gh__linear_scratch(void);

size_t gh__attention_workspace(int64_t rows);
size_t gh__attention_scratch(const gh__attention_desc *desc);
size_t gh__attention_online_scratch(const gh__attention_desc *desc);
size_t gh__attention_row_scratch(const gh__attention_desc *desc);
size_t gh__sample_scratch(const gh__sample_desc *desc);

void gh__cpu_embed(const gh__cpu *cpu, const gh__embed_desc *desc, const gh__embed_args *args);
void gh__cpu_select(const gh__cpu *cpu, const gh__select_desc *desc, const gh__select_args *args);
void gh__cpu_quantise(const gh__cpu *cpu, const gh__quantise_desc *desc,
		      const gh__quantise_args *args);
void gh__cpu_read(const gh__cpu *cpu, const gh__read_args *args);

#endif
