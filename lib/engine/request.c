#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "engine/sequence.h"

static gh_status check_prompt(const int32_t *prompt, size_t count, int32_t vocab,
			      int32_t max_length, gh_error *error)
{
	if (count == 0 || !prompt)
		return gh__fail(error, GH_EINVAL, "The decoder prompt cannot be empty");
	if (count >= (size_t)max_length)
		return gh__fail(error, GH_ETOOBIG,
				"This model's maximum context length is %d tokens. However, you "
				"requested %zu tokens in the messages, Please reduce the length "
				"of the messages.",
				max_length, count);
	for (size_t i = 0; i < count; i++) {
		if (prompt[i] < 0 || prompt[i] >= vocab)
			return gh__fail(error, GH_EINVAL, "Token id %d is out of vocabulary",
					prompt[i]);
	}
	return GH_OK;
}

static gh_status limit_length(gh__request *request, int32_t max_length, gh_error *error)
{
	gh__sampling *sampling = &request->sampling;
	int32_t room = max_length - request->prompt_count;

	if (sampling->asked_max > room)
		return gh__fail(error, GH_ETOOBIG,
				"This model's maximum context length is %d tokens. However, you "
				"requested %lld tokens (%d in the messages, %d in the completion). "
				"Please reduce the length of the messages or completion.",
				max_length, (long long)request->prompt_count + sampling->asked_max,
				request->prompt_count, sampling->asked_max);
	if (sampling->max_tokens > room)
		sampling->max_tokens = room;
	return GH_OK;
}

gh_status gh__request_create(gh__request **out, const int32_t *prompt, size_t prompt_count,
			     const gh_sampling *sampling, int32_t vocab, int32_t max_length,
			     uint64_t seed, gh_error *error)
{
	gh_status status = check_prompt(prompt, prompt_count, vocab, max_length, error);

	if (status != GH_OK)
		return status;
	gh__request *request = gh__calloc(1, sizeof *request);
	if (!request)
		return gh__fail_nomem(error);
	status = gh__sampling_init(&request->sampling, sampling, vocab, seed, error);
	if (status != GH_OK)
		goto fail;
	request->prompt_count = (int32_t)prompt_count;
	request->unfinished = request->sampling.n;
	status = limit_length(request, max_length, error);
	if (status != GH_OK)
		goto fail;
	request->prompt = gh__memdup(prompt, prompt_count * sizeof *prompt);
	if (!request->prompt) {
		status = gh__fail_nomem(error);
		goto fail;
	}
	*out = request;
	return GH_OK;
fail:
	gh__request_free(request);
	return status;
}

void gh__request_free(gh__request *request)
{
	if (!request)
		return;
	for (int32_t i = 0; request->choice && i < request->sampling.n; i++)
		gh__sequence_release(&request->choice[i]);
	gh__free(request->choice);
	gh__free(request->prompt_logprob);
	gh__free(request->prompt_top);
	gh__sampling_free(&request->sampling);
	gh__free(request->prompt);
	gh__free(request);
}

static gh_status start_prompt_logprobs(gh__request *request, gh_error *error)
{
	size_t count = (size_t)request->prompt_count;
	size_t top = (size_t)request->sampling.prompt_logprobs;

	request->prompt_logprob = gh__calloc(count, sizeof *request->prompt_logprob);
	request->prompt_top = gh__calloc(count * top, sizeof *request->prompt_top);
	if (!request->prompt_logprob || !request->prompt_top)
		return gh__fail_nomem(error);
	request->prompt_logprob[0].actual.token = -1;
	return GH_OK;
}

gh_status gh__request_start(gh__request *request, const gh_tokenizer *tokenizer, int32_t vocab,
			    gh_error *error)
{
	const gh__sampling *sampling = &request->sampling;
	uint32_t flags = sampling->flags & GH_SAMPLING_SHOW_SPECIAL ? 0 : GH_DECODE_SKIP_SPECIAL;
	gh_status status = gh__sampling_start(&request->sampling, vocab, error);

	if (status == GH_OK && sampling->prompt_logprobs >= 0)
		status = start_prompt_logprobs(request, error);
	if (status != GH_OK)
		return status;
	request->choice = gh__calloc((size_t)sampling->n, sizeof *request->choice);
	if (!request->choice)
		return gh__fail_nomem(error);
	for (int32_t i = 0; i < sampling->n; i++) {
		gh__sequence *s = &request->choice[i];

		s->request = request;
		s->choice = i;
		s->link = GH__KV_ROOT;
		gh__stop_text_init(&s->text);
	}
	for (int32_t i = 0; i < sampling->n; i++) {
		status = gh_detokenizer_create(&request->choice[i].detokenizer, tokenizer, flags,
					       error);
		if (status != GH_OK)
			return status;
	}
	return GH_OK;
}

void gh__request_prompt_result(gh__request *request, int32_t index, const gh__sample_result *result)
{
	gh_prompt_logprob *out = &request->prompt_logprob[index];
	int32_t most = request->sampling.prompt_logprobs;
	gh_logprob *top = request->prompt_top + (size_t)index * (size_t)most;

	out->actual.token = request->prompt[index];
	out->actual.rank = result->rank;
	out->actual.logprob = result->logprob;
	out->top = top;
	out->top_count = (size_t)(result->top_count < most ? result->top_count : most);
	for (size_t i = 0; i < out->top_count; i++)
		top[i] = (gh_logprob){ result->top_id[i], (int32_t)i + 1, result->top_logprob[i],
				       0 };
}
