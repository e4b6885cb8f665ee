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

/* Check options and put the defaults in for zeros; lengths and blocks stay 0 where they are the
 * model's. */
gh_status gh__engine_options_complete(gh_engine_options *out, const gh_engine_options *given,
				      gh_error *error);

/* The checks of gh_engine_submit() that need no prompt, for those who must answer before they
 * queue. The texts of errors are those that clients know. */
gh_status gh__sampling_check(const gh_sampling *sampling, int32_t vocab, gh_error *error);

#endif
