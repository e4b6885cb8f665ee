#include "linear_mma.cuh"

/*
 * Weights of e4m3. Activations f16 or bf16: weights are widened to their type between shared memory
 * and the product. Activations of e4m3, where no tensor core takes them: both are widened to f16.
 */
int gh__cuda_linear_mma_e4m3(const gh__launch *on, const gh__linear_desc *desc,
			     gh_linear_mma_args *a)
{
	if (gh__linear_blocks(desc))
		return gh_linear_mma_choose<__half, 1, 1>(on, a);
	if (desc->act == GH_F16)
		return gh_linear_mma_choose<__half, 2, 1>(on, a);
	return gh_linear_mma_choose<__nv_bfloat16, 2, 1>(on, a);
}
