#include "device/cpu/twin.h"

const gh__cpu_twin GH__TWIN(gh__cpu_twin) = {
	.linear = GH__TWIN(gh__cpu_linear),
	.attention = GH__TWIN(gh__cpu_attention),
	.norm = GH__TWIN(gh__cpu_norm),
	.rope = GH__TWIN(gh__cpu_rope),
	.glu = GH__TWIN(gh__cpu_glu),
	.sample = GH__TWIN(gh__cpu_sample),
	.convert = GH__TWIN(gh__cpu_convert),
	.absmax = GH__TWIN(gh__cpu_absmax),
	.quantise_weight = GH__TWIN(gh__cpu_quantise_weight),
	.quantise_row = GH__TWIN(gh__cpu_quantise_row),
};
