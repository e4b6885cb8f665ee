#include "engine/sampling.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/number.h"
#include "base/options.h"
#include "engine/internal.h"

#define CHOICES_MAX     128
#define GREEDY_BELOW    1e-5F /* a temperature below it means greedy */
#define TEMPERATURE_MIN 0.01F

#define FLAGS_KNOWN                                                                     \
	(GH_SAMPLING_IGNORE_EOS | GH_SAMPLING_INCLUDE_STOP | GH_SAMPLING_SHOW_SPECIAL | \
	 GH_SAMPLING_SEED | GH_SAMPLING_LOGPROBS)

/* A float as the client wrote it, most likely: the shortest decimal that means the same float. */
static const char *float_text(char text[GH__DOUBLE_SIZE], float value)
{
	double wide = (double)value;

	if (!isfinite(value))
		return isnan(value) ? "nan" : value > 0 ? "inf" : "-inf";
	double scale = 1.0;
	for (int digits = 0; digits < 9; digits++, scale *= 10.0) {
		double rounded = round(wide * scale) / scale;

		if ((float)rounded == value) {
			wide = rounded;
			break;
		}
	}
	gh__double_text(text, wide);
	return text;
}

static gh_status check_float(float value, bool right, const char *rule, gh_error *error)
{
	char text[GH__DOUBLE_SIZE];

	if (right)
		return GH_OK;
	return gh__fail(error, GH_EINVAL, "%s, got %s.", rule, float_text(text, value));
}

static gh_status check_filters(const gh_sampling *s, gh_error *error)
{
	gh_status status = check_float(s->presence_penalty,
				       s->presence_penalty >= -2 && s->presence_penalty <= 2,
				       "presence_penalty must be in [-2, 2]", error);

	if (status == GH_OK)
		status = check_float(s->frequency_penalty,
				     s->frequency_penalty >= -2 && s->frequency_penalty <= 2,
				     "frequency_penalty must be in [-2, 2]", error);
	if (status == GH_OK)
		status = check_float(s->repetition_penalty,
				     s->repetition_penalty > 0 && isfinite(s->repetition_penalty),
				     "repetition_penalty must be greater than zero", error);
	if (status == GH_OK)
		status =
			check_float(s->temperature, s->temperature >= 0 && isfinite(s->temperature),
				    "temperature must be non-negative", error);
	if (status == GH_OK)
		status = check_float(s->top_p, s->top_p > 0 && s->top_p <= 1,
				     "top_p must be in (0, 1]", error);
	if (status == GH_OK && s->top_k < -1)
		status = gh__fail(error, GH_EINVAL,
				  "top_k must be 0 (disable), or at least 1, got %d.", s->top_k);
	if (status == GH_OK)
		status = check_float(s->min_p, s->min_p >= 0 && s->min_p <= 1,
				     "min_p must be in [0, 1]", error);
	return status;
}

static gh_status check_counts(const gh_sampling *s, gh_error *error)
{
	if (s->n < 1)
		return gh__fail(error, GH_EINVAL, "n must be at least 1, got %d.", s->n);
	if (s->n > CHOICES_MAX)
		return gh__fail(error, GH_EINVAL, "n must be at most %d, got %d.", CHOICES_MAX,
				s->n);
	if (s->temperature < GREEDY_BELOW && s->n > 1)
		return gh__fail(error, GH_EINVAL, "n must be 1 when using greedy sampling, got %d.",
				s->n);
	if (s->max_tokens < 1 && s->max_tokens != -1)
		return gh__fail(error, GH_EINVAL, "max_tokens must be at least 1, got %d.",
				s->max_tokens);
	if (s->min_tokens < 0)
		return gh__fail(error, GH_EINVAL,
				"min_tokens must be greater than or equal to 0, got %d.",
				s->min_tokens);
	if (s->max_tokens != -1 && s->min_tokens > s->max_tokens)
		return gh__fail(error, GH_EINVAL,
				"min_tokens must be less than or equal to max_tokens=%d, got %d.",
				s->max_tokens, s->min_tokens);
	if (s->top_logprobs < 0)
		return gh__fail(error, GH_EINVAL, "`top_logprobs` must be a positive value.");
	if (s->prompt_logprobs < -1)
		return gh__fail(error, GH_EINVAL, "`prompt_logprobs` must be a positive value.");
	if (s->top_logprobs > GH__TOP_MAX || s->prompt_logprobs > GH__TOP_MAX)
		return gh__fail(error, GH_EINVAL, "Cannot request more than %d logprobs.",
				GH__TOP_MAX);
	if (s->flags & ~FLAGS_KNOWN)
		return gh__fail(error, GH_EINVAL, "flags: 0x%x has unknown bits",
				(unsigned)s->flags);
	return GH_OK;
}

static gh_status check_list(const void *list, int32_t count, int32_t max, const char *name,
			    gh_error *error)
{
	if (count < 0 || count > max)
		return gh__fail(error, GH_EINVAL, "%s: %d entries, not 0 to %d", name, count, max);
	if (count > 0 && !list)
		return gh__fail(error, GH_EINVAL, "%s: %d entries, but the list is NULL", name,
				count);
	return GH_OK;
}

static gh_status check_ids(const gh_sampling *s, int32_t vocab, gh_error *error)
{
	gh_status status = check_list(s->stop, s->stop_count, GH__STOP_MAX, "stop", error);

	if (status == GH_OK)
		status = check_list(s->stop_ids, s->stop_id_count, vocab, "stop_ids", error);
	if (status == GH_OK)
		status = check_list(s->eos_ids, s->eos_count, vocab, "eos_ids", error);
	if (status == GH_OK)
		status = check_list(s->bias_ids, s->bias_count, vocab, "bias_ids", error);
	if (status == GH_OK)
		status = check_list(s->bias, s->bias_count, vocab, "bias", error);
	if (status == GH_OK)
		status = check_list(s->allowed_ids, s->allowed_count, vocab, "allowed_ids", error);
	if (status != GH_OK)
		return status;
	for (int32_t i = 0; i < s->bias_count; i++) {
		if (s->bias_ids[i] < 0 || s->bias_ids[i] >= vocab)
			return gh__fail(error, GH_EINVAL,
					"token_id %d in logit_bias contains out-of-vocab token id",
					s->bias_ids[i]);
		if (isnan(s->bias[i]) || s->bias[i] == INFINITY)
			return gh__fail(error, GH_EINVAL,
					"logit_bias of token %d is not a finite number",
					s->bias_ids[i]);
	}
	for (int32_t i = 0; i < s->allowed_count; i++) {
		if (s->allowed_ids[i] < 0 || s->allowed_ids[i] >= vocab)
			return gh__fail(error, GH_EINVAL,
					"allowed_token_ids contains out-of-vocab token id");
	}
	return GH_OK;
}

gh_status gh__sampling_check(const gh_sampling *sampling, int32_t vocab, gh_error *error)
{
	gh_status status = check_filters(sampling, error);

	if (status == GH_OK)
		status = check_counts(sampling, error);
	if (status == GH_OK)
		status = check_ids(sampling, vocab, error);
	return status;
}

static int compare_ids(const void *a, const void *b)
{
	int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;

	return (x > y) - (x < y);
}

/* An id outside the vocabulary can never be chosen, so it ends nothing: it is left out. */
static int32_t add_ids(int32_t *out, int32_t count, const int32_t *ids, int32_t id_count,
		       int32_t vocab)
{
	for (int32_t i = 0; i < id_count; i++) {
		if (ids[i] >= 0 && ids[i] < vocab)
			out[count++] = ids[i];
	}
	return count;
}

static gh_status copy_ids(gh__sampling *out, const gh_sampling *s, int32_t vocab, gh_error *error)
{
	size_t ends = (size_t)s->eos_count + (size_t)s->stop_id_count;
	size_t bans = s->min_tokens > 0 ? ends : 0;
	size_t biases = (size_t)s->bias_count + bans;

	if (ends > 0) {
		out->end_ids = gh__calloc(ends, sizeof *out->end_ids);
		if (!out->end_ids)
			return gh__fail_nomem(error);
		if (!(s->flags & GH_SAMPLING_IGNORE_EOS))
			out->end_count = add_ids(out->end_ids, 0, s->eos_ids, s->eos_count, vocab);
		out->end_count =
			add_ids(out->end_ids, out->end_count, s->stop_ids, s->stop_id_count, vocab);
		qsort(out->end_ids, (size_t)out->end_count, sizeof *out->end_ids, compare_ids);
	}
	if (biases > 0) {
		out->bias_id = gh__calloc(biases, sizeof *out->bias_id);
		out->bias = gh__calloc(biases, sizeof *out->bias);
		if (!out->bias_id || !out->bias)
			return gh__fail_nomem(error);
		out->bias_count = s->bias_count;
		if (s->bias_count > 0) {
			memcpy(out->bias_id, s->bias_ids, (size_t)s->bias_count * sizeof(int32_t));
			memcpy(out->bias, s->bias, (size_t)s->bias_count * sizeof(float));
		}
		if (bans > 0) {
			int32_t *ban = out->bias_id + out->bias_count;

			/* Also the end tokens of a request that ignores them. */
			out->ban_count = add_ids(ban, 0, s->eos_ids, s->eos_count, vocab);
			out->ban_count =
				add_ids(ban, out->ban_count, s->stop_ids, s->stop_id_count, vocab);
			for (int32_t i = 0; i < out->ban_count; i++)
				out->bias[out->bias_count + i] = -INFINITY;
		}
	}
	if (s->allowed_count > 0) {
		out->allowed_id = gh__memdup(s->allowed_ids,
					     (size_t)s->allowed_count * sizeof *s->allowed_ids);
		if (!out->allowed_id)
			return gh__fail_nomem(error);
		out->allowed_count = s->allowed_count;
	}
	return GH_OK;
}

static void fill_row(gh__sample_row *row, const gh_sampling *s, int32_t vocab)
{
	bool greedy = s->temperature < GREEDY_BELOW;

	memset(row, 0, sizeof *row);
	row->forced = -1;
	row->repetition = s->repetition_penalty;
	row->frequency = s->frequency_penalty;
	row->presence = s->presence_penalty;
	row->top_p = 1.0F;
	row->logprobs = (s->flags & GH_SAMPLING_LOGPROBS) != 0;
	row->top = row->logprobs ? s->top_logprobs : 0;
	if (greedy)
		return;
	row->temperature = s->temperature < TEMPERATURE_MIN ? TEMPERATURE_MIN : s->temperature;
	row->top_k = s->top_k > 0 && s->top_k < vocab ? s->top_k : 0;
	row->top_p = s->top_p;
	row->min_p = s->min_p;
}

gh_status gh__sampling_init(gh__sampling *out, const gh_sampling *given, int32_t vocab,
			    uint64_t seed, gh_error *error)
{
	gh_sampling s;
	gh_status status = GH_OK;

	memset(out, 0, sizeof *out);
	if (given)
		status = gh__options_copy(&s, sizeof s, sizeof s, given, error);
	else
		gh_sampling_init(&s);
	if (status == GH_OK)
		status = gh__sampling_check(&s, vocab, error);
	if (status != GH_OK)
		return status;
	out->n = s.n;
	out->asked_max = s.max_tokens;
	out->max_tokens = s.max_tokens < 0 ? INT32_MAX : s.max_tokens;
	out->min_tokens = s.min_tokens;
	out->prompt_logprobs = s.prompt_logprobs;
	out->flags = s.flags;
	out->seed = s.flags & GH_SAMPLING_SEED ? s.seed : seed;
	fill_row(&out->row, &s, vocab);
	status = gh__stop_list_init(&out->stops, s.stop, s.stop_count,
				    (s.flags & GH_SAMPLING_INCLUDE_STOP) != 0, error);
	if (status == GH_OK)
		status = copy_ids(out, &s, vocab, error);
	if (status != GH_OK)
		gh__sampling_free(out);
	return status;
}

void gh__sampling_free(gh__sampling *sampling)
{
	gh__stop_list_free(&sampling->stops);
	gh__free(sampling->end_ids);
	gh__free(sampling->bias_id);
	gh__free(sampling->bias);
	gh__free(sampling->allowed_id);
	gh__free(sampling->allowed);
	memset(sampling, 0, sizeof *sampling);
}

gh_status gh__sampling_start(gh__sampling *sampling, int32_t vocab, gh_error *error)
{
	if (sampling->allowed_count == 0)
		return GH_OK;
	sampling->allowed = gh__calloc(((size_t)vocab + 31) / 32, sizeof *sampling->allowed);
	if (!sampling->allowed)
		return gh__fail_nomem(error);
	for (int32_t i = 0; i < sampling->allowed_count; i++) {
		uint32_t id = (uint32_t)sampling->allowed_id[i];

		sampling->allowed[id / 32] |= UINT32_C(1) << (id % 32);
	}
	return GH_OK;
}

bool gh__sampling_ends(const gh__sampling *sampling, int32_t token)
{
	return sampling->end_count > 0 &&
	       bsearch(&token, sampling->end_ids, (size_t)sampling->end_count,
		       sizeof *sampling->end_ids, compare_ids) != NULL;
}

void gh__sampling_row(gh__sample_row *row, const gh__sampling *sampling, int32_t choice,
		      const int32_t *prompt, int32_t prompt_count, const int32_t *output,
		      int32_t output_count)
{
	*row = sampling->row;
	row->allowed = sampling->allowed;
	row->bias_id = sampling->bias_id;
	row->bias = sampling->bias;
	row->bias_count = sampling->bias_count;
	if (output_count < sampling->min_tokens)
		row->bias_count += sampling->ban_count;
	row->prompt = prompt;
	row->prompt_count = prompt_count;
	row->output = output;
	row->output_count = output_count;
	/* Choice i is what a request of its own with seed + i would answer, so it has no stream. */
	row->seed = sampling->seed + (uint64_t)choice;
	row->position = (uint32_t)output_count;
}

void gh__sampling_prompt_row(gh__sample_row *row, const gh__sampling *sampling, int32_t token)
{
	*row = sampling->row;
	row->forced = token;
	row->repetition = 1.0F;
	row->frequency = 0.0F;
	row->presence = 0.0F;
	row->logprobs = true;
	row->top = sampling->prompt_logprobs;
}
