#ifndef GH_ENGINE_INTERNAL_H
#define GH_ENGINE_INTERNAL_H

#include <gonkahost/engine.h>

#include "base/metrics.h"
#include "model/runner.h"

/* gh_engine_create() over any runner (taken on GH_OK). metrics: where the vllm:* families go, with
 * label model_name = served_name; NULL = nowhere; borrowed. */
gh_status gh__engine_create(gh_engine **out, const gh__runner *runner,
			    const gh_tokenizer *tokenizer, const gh_engine_options *options,
			    gh__metrics *metrics, const char *served_name, gh_error *error);

/* As gh_engine_create(), with metrics. */
gh_status gh__engine_create_model(gh_engine **out, gh_model *model, const gh_tokenizer *tokenizer,
				  const gh_engine_options *options, gh__metrics *metrics,
				  const char *served_name, gh_error *error);

#endif
