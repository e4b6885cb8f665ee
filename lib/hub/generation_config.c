#include <float.h>
#include <string.h>

#include "base/error.h"
#include "hub/config.h"
#include "hub/json_file.h"

gh_status gh__generation_config_read(gh__generation_config *out, const char *folder,
				     gh_error *error)
{
	static const char name[] = "generation_config.json";
	gh_error inner = GH_ERROR_INIT;
	gh__json_reader r;
	json_t *tree;
	gh_status status;

	memset(out, 0, sizeof *out);
	status = gh__hub_read_json(&tree, folder, name, &inner);
	if (status == GH_ENOENT)
		return GH_OK;
	if (status != GH_OK)
		return gh__fail(error, status, "%s", inner.text);
	out->present = true;
	gh__json_root(&r, tree, name, &inner);
	out->has_temperature = gh__json_real(&r, "temperature", 0.0, 1e6, &out->temperature);
	out->has_top_p = gh__json_real(&r, "top_p", DBL_MIN, 1.0, &out->top_p);
	out->has_top_k = gh__json_int(&r, "top_k", -1, INT32_MAX, &out->top_k);
	out->has_min_p = gh__json_real(&r, "min_p", 0.0, 1.0, &out->min_p);
	out->has_repetition_penalty =
		gh__json_real(&r, "repetition_penalty", DBL_MIN, 1e6, &out->repetition_penalty);
	out->has_max_new_tokens =
		gh__json_int(&r, "max_new_tokens", 1, INT32_MAX, &out->max_new_tokens);
	gh__hub_read_ids(&r, "eos_token_id", out->eos, &out->eos_count);
	status = gh__json_reader_status(&r);
	json_decref(tree);
	return status == GH_OK ? GH_OK : gh__fail(error, GH_EFORMAT, "%s", inner.text);
}
