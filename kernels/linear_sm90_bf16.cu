#include "linear_sm90_large.cuh"
#include "linear_sm90_small.cuh"

int gh__cuda_linear_sm90_bf16(const gh__launch *on, const gh__linear_desc *desc,
			      const gh_linear_operands *in, gh_sm90_linear *a)
{
	if (in->m <= GH_SM90_SMALL)
		return gh_sm90_small<__nv_bfloat16>(on, desc, in, a);
	return gh_sm90_large<__nv_bfloat16, 2, 256>(on, desc, in, a);
}
