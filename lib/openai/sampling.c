#include "openai/request.h"

#include <float.h>

#include "base/number.h"

/*
 * Lengths, ranges, and what the engine is told. A field that a request leaves out has the value
 * of the model's generation_config.json, else a neutral one.
 */
#define LOGPROBS_MAX 20   /* the engine's */
#define CHOICES_MAX  4096 /* of all prompts of a request */
#define GREEDY_BELOW 1e-5

typedef struct effective {
	double temperature, top_p, min_p, repetition_penalty;
	int64_t top_k;
} effective;

static effective effective_of(const gh__openai_request *r, const gh__generation_config *d)
{
	return (effective){
		.temperature = r->has_temperature   ? r->temperature
			       : d->has_temperature ? d->temperature
						    : 1.0,
		.top_p = r->has_top_p   ? r->top_p
			 : d->has_top_p ? d->top_p
					: 1.0,
		.min_p = r->has_min_p   ? r->min_p
			 : d->has_min_p ? d->min_p
					: 0.0,
		.repetition_penalty = r->has_repetition_penalty   ? r->repetition_penalty
				      : d->has_repetition_penalty ? d->repetition_penalty
								  : 1.0,
		.top_k = r->has_top_k   ? r->top_k
			 : d->has_top_k ? d->top_k
					: 0,
	};
}

/* Tokens that the answer may have, where the request says how many. */
static int64_t asked_for(const gh__openai_request *r)
{
	return gh__openai_request_only_echo(r) ? 0 : r->max_tokens;
}

/* about: "" or "at least ". */
static gh_status refuse_length(const gh__openai_request *r, const gh__openai_model *model,
			       const char *about, size_t tokens, gh__openai_error *error)
{
	long long asked = asked_for(r);

	if (!r->has_max_tokens || asked < 0)
		return gh__openai_refuse(
			error,
			"This model's maximum context length is %d tokens. However, you requested "
			"%s%zu tokens in the messages, Please reduce the length of the messages.",
			model->max_length, about, tokens);
	return gh__openai_refuse(
		error,
		"This model's maximum context length is %d tokens. However, you requested %s%llu "
		"tokens (%s%zu in the messages, %lld in the completion). Please reduce the length "
		"of the messages or completion.",
		model->max_length, about, (unsigned long long)tokens + (unsigned long long)asked,
		about, tokens, asked);
}

gh_status gh__openai_too_long(const gh__openai_request *r, const gh__openai_model *model,
			      size_t at_least, gh__openai_error *error)
{
	return refuse_length(r, model, "at least ", at_least, error);
}

static gh_status check_length(const gh__openai_request *r, const gh__openai_model *model,
			      size_t tokens, gh__openai_error *error)
{
	int64_t asked = asked_for(r);
	int64_t total = (int64_t)tokens + (asked < INT32_MAX ? asked : INT32_MAX);

	if (r->has_max_tokens ? total > model->max_length : tokens >= (size_t)model->max_length)
		return refuse_length(r, model, "", tokens, error);
	return GH_OK;
}

static gh_status out_of_range(gh__openai_error *error, const char *rule, double got)
{
	char text[GH__DOUBLE_SIZE];

	gh__double_text(text, got);
	return gh__openai_refuse(error, "%s, got %s.", rule, text);
}

static gh_status check_reals(const gh__openai_request *r, const effective *e,
			     gh__openai_error *error)
{
	if (!(r->presence_penalty >= -2 && r->presence_penalty <= 2))
		return out_of_range(error, "presence_penalty must be in [-2, 2]",
				    r->presence_penalty);
	if (!(r->frequency_penalty >= -2 && r->frequency_penalty <= 2))
		return out_of_range(error, "frequency_penalty must be in [-2, 2]",
				    r->frequency_penalty);
	if (!(e->repetition_penalty > 0))
		return out_of_range(error, "repetition_penalty must be greater than zero",
				    e->repetition_penalty);
	if (!(e->temperature >= 0))
		return out_of_range(error, "temperature must be non-negative", e->temperature);
	if (!(e->top_p > 0 && e->top_p <= 1))
		return out_of_range(error, "top_p must be in (0, 1]", e->top_p);
	if (e->top_k < -1)
		return gh__openai_refuse(error,
					 "top_k must be 0 (disable), or at least 1, got %lld.",
					 (long long)e->top_k);
	if (!(e->min_p >= 0 && e->min_p <= 1))
		return out_of_range(error, "min_p must be in [0, 1]", e->min_p);
	return GH_OK;
}

static gh_status check_choices(const gh__openai_request *r, const effective *e,
			       gh__openai_error *error)
{
	if (r->n < 1)
		return gh__openai_refuse(error, "n must be at least 1, got %lld.", (long long)r->n);
	if (r->best_of != 0 && r->best_of < r->n)
		return gh__openai_refuse(error,
					 "best_of must be greater than or equal to n, got n=%lld "
					 "and best_of=%lld.",
					 (long long)r->n, (long long)r->best_of);
	if (r->best_of != 0 && r->best_of != r->n && r->stream)
		return gh__openai_refuse(error, "best_of must equal n to use output_kind=DELTA");
	int64_t choices = r->best_of ? r->best_of : r->n;
	if (choices > 128)
		return gh__openai_refuse(error, "%s must be at most 128, got %lld.",
					 r->best_of ? "best_of" : "n", (long long)choices);
	if ((int64_t)r->prompt_count * choices > CHOICES_MAX)
		return gh__openai_refuse(error,
					 "prompt: %zu prompts of %lld choices are more than "
					 "%d answers",
					 r->prompt_count, (long long)choices, CHOICES_MAX);
	if (e->temperature < GREEDY_BELOW && choices > 1)
		return gh__openai_refuse(error, "n must be 1 when using greedy sampling, got %lld.",
					 (long long)choices);
	return GH_OK;
}

static int32_t clamp(int64_t value, int64_t low, int64_t high)
{
	return (int32_t)(value < low ? low : value > high ? high : value);
}

static float narrow(double value)
{
	return value > (double)FLT_MAX ? FLT_MAX : (float)value;
}

/* How many tokens at most. */
static int32_t most_tokens(const gh__openai_request *r, const gh__openai_model *model,
			   size_t tokens)
{
	int64_t room = model->max_length - (int64_t)tokens;
	int64_t most = gh__openai_request_only_echo(r) ? 1
		       : r->has_max_tokens             ? r->max_tokens
						       : room;

	if (model->defaults.has_max_new_tokens && most > model->defaults.max_new_tokens)
		most = model->defaults.max_new_tokens;
	return clamp(most < room ? most : room, 1, INT32_MAX);
}

static gh_status check_counts(const gh__openai_request *r, const gh__openai_model *model,
			      size_t tokens, gh__openai_error *error)
{
	int64_t most = model->max_logprobs < LOGPROBS_MAX ? model->max_logprobs : LOGPROBS_MAX;

	if (r->has_max_tokens && r->max_tokens < 1 && !gh__openai_request_only_echo(r))
		return gh__openai_refuse(error, "max_tokens must be at least 1, got %lld.",
					 (long long)r->max_tokens);
	if (r->min_tokens < 0)
		return gh__openai_refuse(error,
					 "min_tokens must be greater than or equal to 0, got %lld.",
					 (long long)r->min_tokens);
	if (r->min_tokens > most_tokens(r, model, tokens))
		return gh__openai_refuse(
			error, "min_tokens must be less than or equal to max_tokens=%d, got %lld.",
			most_tokens(r, model, tokens), (long long)r->min_tokens);
	for (size_t i = 0; i < r->stop_count; i++) {
		if (r->stop[i][0] == '\0')
			return gh__openai_refuse(error, "stop cannot contain an empty string.");
	}
	if ((r->logprobs && r->top_logprobs > most) || r->prompt_logprobs > most)
		return gh__openai_refuse(error, "Cannot request more than %lld logprobs.",
					 (long long)most);
	return GH_OK;
}

static gh_status check_ids(const gh__openai_request *r, const gh__openai_model *model,
			   gh__openai_error *error)
{
	for (size_t i = 0; i < r->bias_count; i++) {
		if (r->bias_ids[i] >= model->vocab)
			return gh__openai_refuse(
				error, "token_id %d in logit_bias contains out-of-vocab token id",
				r->bias_ids[i]);
	}
	for (size_t i = 0; i < r->allowed_count; i++) {
		if (r->allowed[i] < 0 || r->allowed[i] >= model->vocab)
			return gh__openai_refuse(
				error, "allowed_token_ids contains out-of-vocab token id");
	}
	return GH_OK;
}

static void fill(gh_sampling *out, const gh__openai_request *r, const gh__openai_model *model,
		 const effective *e, size_t tokens)
{
	gh_sampling_init(out);
	out->n = clamp(r->best_of ? r->best_of : r->n, 1, 128);
	out->max_tokens = most_tokens(r, model, tokens);
	out->min_tokens = clamp(r->min_tokens, 0, out->max_tokens);
	out->top_k = clamp(e->top_k < 0 ? 0 : e->top_k, 0, INT32_MAX);
	out->temperature = narrow(e->temperature);
	out->top_p = narrow(e->top_p);
	out->min_p = narrow(e->min_p);
	out->repetition_penalty = narrow(e->repetition_penalty);
	out->frequency_penalty = narrow(r->frequency_penalty);
	out->presence_penalty = narrow(r->presence_penalty);
	out->top_logprobs = r->logprobs ? clamp(r->top_logprobs, 0, LOGPROBS_MAX) : 0;
	out->prompt_logprobs = clamp(gh__openai_request_prompt_logprobs(r), -1, LOGPROBS_MAX);
	/* best_of chooses by the sum of the logprobs. */
	if (r->logprobs || r->best_of > r->n)
		out->flags |= GH_SAMPLING_LOGPROBS;
	if (r->ignore_eos)
		out->flags |= GH_SAMPLING_IGNORE_EOS;
	if (r->include_stop)
		out->flags |= GH_SAMPLING_INCLUDE_STOP;
	if (!r->skip_special)
		out->flags |= GH_SAMPLING_SHOW_SPECIAL;
	if (r->has_seed)
		out->flags |= GH_SAMPLING_SEED;
	out->seed = (uint64_t)r->seed;
	out->stop = r->stop;
	out->stop_count = clamp((int64_t)r->stop_count, 0, INT32_MAX);
	out->stop_ids = r->stop_ids;
	out->stop_id_count = clamp((int64_t)r->stop_id_count, 0, INT32_MAX);
	out->eos_ids = model->eos;
	out->eos_count = model->eos_count;
	out->bias_ids = r->bias_ids;
	out->bias = r->bias;
	out->bias_count = clamp((int64_t)r->bias_count, 0, INT32_MAX);
	out->allowed_ids = r->allowed;
	out->allowed_count = clamp((int64_t)r->allowed_count, 0, INT32_MAX);
}

gh_status gh__openai_request_sampling(gh_sampling *out, const gh__openai_request *r,
				      const gh__openai_model *model,
				      const gh__openai_prompt *prompt, gh__openai_error *error)
{
	effective e = effective_of(r, &model->defaults);
	gh_status status = check_length(r, model, prompt->count, error);

	if (status == GH_OK && prompt->count == 0)
		status = gh__openai_refuse(error, "The decoder prompt cannot be empty");
	if (status == GH_OK)
		status = check_reals(r, &e, error);
	if (status == GH_OK)
		status = check_choices(r, &e, error);
	if (status == GH_OK)
		status = check_counts(r, model, prompt->count, error);
	if (status == GH_OK)
		status = check_ids(r, model, error);
	if (status == GH_OK)
		fill(out, r, model, &e, prompt->count);
	return status;
}
