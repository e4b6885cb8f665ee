#include "engine/internal.h"

gh_status gh__engine_create_model(gh_engine **out, gh_model *model, const gh_tokenizer *tokenizer,
				  const gh_engine_options *options, gh__metrics *metrics,
				  const char *served_name, gh_error *error)
{
	gh_engine_options o;
	gh__runner runner;
	gh_status status = gh__engine_options_complete(&o, options, error);

	if (status != GH_OK)
		return status;
	/* Every sequence that generates has a row in every step. */
	int32_t sequences = o.max_sequences < o.step_tokens ? o.max_sequences : o.step_tokens;
	const gh__runner_options runner_options = { .step_tokens = o.step_tokens,
						    .step_sequences = sequences,
						    .max_length = o.max_length,
						    .kv_blocks = o.kv_blocks,
						    .memory_share = o.memory_share };
	status = gh__model_runner(&runner, model, &runner_options, error);
	if (status != GH_OK)
		return status;
	status = gh__engine_create(out, &runner, tokenizer, &o, metrics, served_name, error);
	if (status != GH_OK)
		runner.table->free(runner.self);
	return status;
}

gh_status gh_engine_create(gh_engine **out, gh_model *model, const gh_tokenizer *tokenizer,
			   const gh_engine_options *options, gh_error *error)
{
	return gh__engine_create_model(out, model, tokenizer, options, NULL, NULL, error);
}
