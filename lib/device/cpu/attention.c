#include "device/cpu/twin.h"

#if !defined(GH__LANES_AVX2)
size_t gh__attention_workspace(int64_t rows)
{
	return (size_t)rows * 2 * sizeof(int32_t);
}

size_t gh__attention_scratch(const gh__attention_desc *desc)
{
	return desc->softmax == GH__SOFTMAX_ROW ? gh__attention_row_scratch(desc)
						: gh__attention_online_scratch(desc);
}
#endif

void GH__TWIN(gh__cpu_attention)(const gh__cpu *cpu, const gh__attention_desc *desc,
				 const gh__attention_args *args)
{
	const gh__step *step = args->step;
	const size_t size = v8_element(desc->act);

	if (desc->softmax == GH__SOFTMAX_ROW)
		GH__TWIN(gh__cpu_attention_row)(cpu, desc, args);
	else
		GH__TWIN(gh__cpu_attention_online)(cpu, desc, args);
	/* Rows of no sequence pad the step. */
	for (int64_t row = step->sequences ? step->row_start[step->sequences] : 0;
	     row < step->tokens; row++)
		memset((char *)args->y + (size_t)(row * args->y_stride) * size, 0,
		       (size_t)desc->heads * (size_t)desc->kv.head_dim * size);
}
