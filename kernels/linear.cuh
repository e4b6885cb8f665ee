#ifndef GH_KERNELS_LINEAR_CUH
#define GH_KERNELS_LINEAR_CUH

#include "launch.h"

/*
 * linear, inside: the dispatcher (linear.cu) puts x where a kernel can read it, then hands over to
 * one of the families below. Each covers every m, bias and SWIGLU; none depends on m in its bits.
 */
typedef struct gh_linear_operands {
	const void *x;    /* [m, k]; of e4m3 where x_scale is given, else of desc->act */
	int64_t x_stride; /* in elements */
	const float *x_scale;
	const void *w; /* as launch.h lays it out */
	const float *w_scale;
	const void *bias;
	void *y;
	int64_t y_stride;
	int64_t m;
} gh_linear_operands;

/* Whether rows of x start at multiples of 16 bytes and may be read to k rounded up to 16 bytes,
 * with zeros behind k: so with e4m3, and where k itself is such a multiple. */
bool gh__cuda_linear_aligned(const gh__linear_desc *desc, const gh_linear_operands *in);

/*
 * Hopper's own instructions: e4m3 with e4m3, f16 with f16, bf16 with bf16. x is aligned, as above.
 * Arch 90 only. FP8 takes 128 of k a chain, added up in f32; the others are one chain.
 */
int gh__cuda_linear_sm90(const gh__launch *on, const gh__linear_desc *desc,
			 const gh_linear_operands *in);

/* Tensor cores of every device: act and weight f16 or bf16 alike, or weights e4m3. Any x. */
int gh__cuda_linear_mma(const gh__launch *on, const gh__linear_desc *desc,
			const gh_linear_operands *in);

/* All other pairs, by fused multiply-adds in f32. Any x. */
int gh__cuda_linear_fma(const gh__launch *on, const gh__linear_desc *desc,
			const gh_linear_operands *in);

#endif
