#include "model/numerics.h"

#include <stdio.h>

#include "base/error.h"

static const char *act_name(gh_dtype act)
{
	return act == GH_F32 ? "f32" : act == GH_F16 ? "f16" : "bf16";
}

gh_status gh__numerics_make(gh__numerics *out, int32_t act, int32_t quantization, gh__scales scales,
			    int32_t kv, gh_error *error)
{
	static const char *const suffix[] = { "", "+shards", "+channels" };
	const char *base, *inputs = "";

	if (act != GH_F32 && act != GH_F16 && act != GH_BF16)
		return gh__fail(error, GH_EINVAL, "dtype: %s is not F32, F16 or BF16",
				gh_dtype_name((gh_dtype)act));
	if (kv != GH_DTYPE_NONE && kv != act && kv != GH_E4M3)
		return gh__fail(error, GH_EINVAL, "kv_dtype: %s is neither F8_E4M3 nor %s",
				gh_dtype_name((gh_dtype)kv), gh_dtype_name((gh_dtype)act));
	*out = (gh__numerics){
		.act = (gh_dtype)act,
		.logits = act == GH_BF16 ? GH_F32 : (gh_dtype)act,
		.weight = GH_E4M3,
		.scales = scales,
		.kv = kv == GH_DTYPE_NONE ? (gh_dtype)act : (gh_dtype)kv,
		.quantization = quantization,
	};
	switch (quantization) {
	case GH_QUANT_NONE:
		base = act_name(out->act);
		out->weight = out->act;
		break;
	case GH_QUANT_FP8_W8A8:
		base = "fp8-w8a8";
		out->quantise = true;
		break;
	case GH_QUANT_FP8_W8A16:
		base = "fp8-w8a16";
		break;
	default:
		return gh__fail(error, GH_EINVAL, "quantization: %d is no gh_quantization",
				quantization);
	}
	if (quantization != GH_QUANT_NONE && act != GH_F16)
		inputs = act == GH_F32 ? "-f32" : "-bf16";
	snprintf(out->name, sizeof out->name, "%s%s/1%s%s", base, inputs, suffix[scales],
		 out->kv == GH_E4M3 ? "+kv8" : "");
	return GH_OK;
}
