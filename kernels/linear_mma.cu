#include "linear_mma.cuh"

/* Weights f16 or bf16, activations alike; weights of e4m3 go to linear_mma_e4m3.cu. */
int gh__cuda_linear_mma(const gh__launch *on, const gh__linear_desc *desc,
			const gh_linear_operands *in)
{
	const int x_size = in->x_scale != NULL ? 1 : 2, w_size = desc->weight == GH_E4M3 ? 1 : 2;
	gh_linear_mma_args a = {};

	a.x = static_cast<const char *>(in->x);
	a.w = static_cast<const char *>(in->w);
	a.x_pitch = in->x_stride * x_size;
	a.w_width = a.w_pitch = gh__cuda_linear_stride(desc) * w_size;
	a.x_width = x_size == 1 ? a.w_width : desc->k * x_size;
	a.m = in->m;
	a.n = gh__cuda_linear_rows(desc);
	a.k = desc->k;
	a.aligned = gh__cuda_linear_aligned(desc, in);
	a.epilogue = gh_linear_epilogue_of(desc, in);
	if (w_size == 1)
		return gh__cuda_linear_mma_e4m3(on, desc, &a);
	if (desc->act == GH_F16)
		return gh_linear_mma_choose<__half, 2, 2>(on, &a);
	return gh_linear_mma_choose<__nv_bfloat16, 2, 2>(on, &a);
}
