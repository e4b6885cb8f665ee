#include <gonkahost/engine.h>

#include "model/model.h"

void gh_sampling_recommended(gh_sampling *sampling, const gh_model *model)
{
	const gh__generation_config *c = gh__model_generation_config(model);

	gh_sampling_init(sampling);
	if (c->has_temperature)
		sampling->temperature = (float)c->temperature;
	if (c->has_top_p)
		sampling->top_p = (float)c->top_p;
	if (c->has_top_k && c->top_k > 0)
		sampling->top_k = (int32_t)c->top_k;
	if (c->has_min_p)
		sampling->min_p = (float)c->min_p;
	if (c->has_repetition_penalty)
		sampling->repetition_penalty = (float)c->repetition_penalty;
	sampling->eos_ids = gh__model_eos(model, &sampling->eos_count);
}
