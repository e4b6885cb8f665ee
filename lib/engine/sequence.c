#include "engine/sequence.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"

bool gh__sequence_older(const gh__sequence *a, const gh__sequence *b)
{
	if (a->request->id != b->request->id)
		return a->request->id < b->request->id;
	return a->choice < b->choice;
}

int32_t gh__sequence_length(const gh__sequence *sequence)
{
	return sequence->request->prompt_count + sequence->output_count;
}

void gh__sequence_tokens(const gh__sequence *sequence, int32_t first, int32_t count, int32_t *out)
{
	const gh__request *request = sequence->request;
	int32_t from_prompt = request->prompt_count - first;

	if (from_prompt < 0)
		from_prompt = 0;
	if (from_prompt > count)
		from_prompt = count;
	if (from_prompt > 0)
		memcpy(out, request->prompt + first, (size_t)from_prompt * sizeof *out);
	if (count > from_prompt)
		memcpy(out + from_prompt,
		       sequence->output + (first + from_prompt - request->prompt_count),
		       (size_t)(count - from_prompt) * sizeof *out);
}

/* Room for count entries; at least doubles, so that growing is cheap. */
static bool reserve(int32_t **array, int32_t *capacity, int32_t count)
{
	if (count <= *capacity)
		return true;
	int32_t more = *capacity < 32 ? 32 : *capacity > INT32_MAX / 2 ? INT32_MAX : *capacity * 2;
	if (more < count)
		more = count;
	int32_t *larger = gh__realloc_array(*array, (size_t)more, sizeof **array);
	if (!larger)
		return false;
	*array = larger;
	*capacity = more;
	return true;
}

/* The other choice that has computed most of the prompt. */
static const gh__sequence *find_lender(const gh__sequence *s)
{
	const gh__request *request = s->request;
	const gh__sequence *lender = NULL;

	for (int32_t i = 0; i < request->sampling.n; i++) {
		const gh__sequence *other = &request->choice[i];

		if (other != s && (!lender || other->computed > lender->computed))
			lender = other;
	}
	return lender;
}

void gh__sequence_borrow(gh__sequence *s, gh__kv_blocks *blocks, int32_t block_size,
			 int32_t *scratch)
{
	const gh__request *request = s->request;
	int32_t most = (gh__sequence_length(s) - 1) / block_size;

	if (request->prompt_logprob && !request->prompt_done)
		return; /* all of the prompt's logits are wanted */
	if (!reserve(&s->block, &s->block_capacity, most))
		return; /* then it is computed instead */
	while (s->block_count < most) {
		gh__sequence_tokens(s, s->block_count * block_size, block_size, scratch);
		int32_t block = gh__kv_blocks_find(blocks, &s->link, scratch);

		if (block < 0)
			break;
		s->block[s->block_count++] = block;
	}
	const gh__sequence *lender = s->block_count == 0 ? find_lender(s) : NULL;
	if (lender) {
		int32_t shared = lender->computed < request->prompt_count ? lender->computed
									  : request->prompt_count;

		if (most > shared / block_size)
			most = shared / block_size;
		for (; s->block_count < most; s->block_count++) {
			s->block[s->block_count] = lender->block[s->block_count];
			gh__kv_blocks_hold(blocks, s->block[s->block_count]);
		}
	}
	s->computed = s->block_count * block_size;
	s->known = s->block_count;
}

gh_status gh__sequence_grow(gh__sequence *s, gh__kv_blocks *blocks, int32_t tokens,
			    int32_t block_size)
{
	int32_t need = (tokens - 1) / block_size + 1;

	if (!reserve(&s->block, &s->block_capacity, need))
		return GH_ENOMEM;
	while (s->block_count < need) {
		int32_t block = gh__kv_blocks_take(blocks);

		if (block < 0)
			return GH_EBUSY;
		s->block[s->block_count++] = block;
	}
	return GH_OK;
}

void gh__sequence_know(gh__sequence *s, gh__kv_blocks *blocks, int32_t block_size, int32_t *scratch)
{
	for (; s->known < s->computed / block_size; s->known++) {
		int32_t *block = &s->block[s->known];

		gh__sequence_tokens(s, s->known * block_size, block_size, scratch);
		*block = gh__kv_blocks_know(blocks, *block, &s->link, scratch);
	}
}

void gh__sequence_drop_blocks(gh__sequence *s, gh__kv_blocks *blocks)
{
	while (s->block_count > 0)
		gh__kv_blocks_drop(blocks, s->block[--s->block_count]);
	s->computed = 0;
	s->known = 0;
	s->link = GH__KV_ROOT;
}

static void begin_event(const gh__request *request, int32_t choice, gh_token_event *event)
{
	memset(event, 0, sizeof *event);
	event->request = request->id;
	event->choice = choice;
	event->token = -1;
	event->text = "";
	event->piece = "";
	event->stop_id = -1;
	event->stop_string = -1;
	event->prompt_tokens = request->prompt_count;
	event->cached_tokens = request->cached_tokens;
}

static void add_logprobs(const gh__sample_result *result, gh_logprob *top, gh_token_event *event)
{
	event->logprob.token = result->token;
	event->logprob.rank = result->rank;
	event->logprob.logprob = result->logprob;
	for (int32_t i = 0; i < result->top_count; i++)
		top[i] = (gh_logprob){ result->top_id[i], i + 1, result->top_logprob[i], 0 };
	event->top = top;
	event->top_count = (size_t)result->top_count;
}

static gh_status accept_text(gh__sequence *s, bool ends, bool look, gh_token_event *event,
			     gh_error *error)
{
	const gh__sampling *sampling = &s->request->sampling;
	const gh__stop_list *stops = &sampling->stops;
	bool hidden = ends && !stops->include; /* the end token's own text */
	gh_status status = GH_OK;

	if (stops->count == 0) {
		if (!hidden) {
			event->text = event->piece;
			event->text_len = event->piece_len;
		}
		return GH_OK;
	}
	if (!hidden)
		status = gh__stop_text_add(&s->text, stops, event->piece, event->piece_len,
					   look && !ends, &event->stop_string);
	if (status == GH_OK)
		status = gh__stop_text_give(&s->text, stops,
					    ends || event->stop_string >= 0 ||
						    s->output_count >= sampling->max_tokens,
					    &event->text, &event->text_len);
	return status == GH_OK ? GH_OK
			       : gh__fail(error, status, "text of output token %d: %s",
					  s->output_count, gh_status_text(status));
}

gh_status gh__sequence_accept(gh__sequence *s, const gh__sample_result *result, gh_logprob *top,
			      gh_token_event *event, gh_error *error)
{
	gh__request *request = s->request;
	const gh__sampling *sampling = &request->sampling;

	if (!reserve(&s->output, &s->output_capacity, s->output_count + 1))
		return gh__fail_nomem(error);
	s->output[s->output_count++] = result->token;
	begin_event(request, s->choice, event);
	event->token = result->token;
	event->output_tokens = s->output_count;

	bool may_stop = s->output_count >= sampling->min_tokens;
	bool ends = may_stop && gh__sampling_ends(sampling, result->token);
	gh_status status = gh_detokenizer_push(s->detokenizer, result->token, &event->piece,
					       &event->piece_len, error);
	if (status == GH_OK)
		status = accept_text(s, ends, may_stop, event, error);
	if (status != GH_OK) {
		s->output_count--; /* nobody will hear of it */
		return status;
	}
	if (s->output_count > request->longest)
		request->longest = s->output_count;
	if (sampling->row.logprobs)
		add_logprobs(result, top, event);
	if (request->prompt_logprob && s->choice == 0 && !request->prompt_given) {
		event->prompt = request->prompt_logprob;
		request->prompt_given = true;
	}
	if (ends) {
		event->finish = GH_FINISH_STOP;
		event->stop_id = result->token;
	} else if (event->stop_string >= 0) {
		event->finish = GH_FINISH_STOP;
	} else if (s->output_count >= sampling->max_tokens) {
		event->finish = GH_FINISH_LENGTH;
	}
	return GH_OK;
}

void gh__request_end_event(gh__request *request, int32_t choice, gh_finish finish,
			   const gh_error *error, gh_token_event *event)
{
	begin_event(request, choice, event);
	event->finish = finish;
	event->error = error;
	if (!request->choice)
		return;
	gh__sequence *s = &request->choice[choice];
	event->output_tokens = s->output_count;
	if (request->sampling.stops.count > 0 &&
	    gh__stop_text_give(&s->text, &request->sampling.stops, true, &event->text,
			       &event->text_len) != GH_OK) {
		event->text = ""; /* no memory to hand it over: the choice ends all the same */
		event->text_len = 0;
	}
}

void gh__sequence_release(gh__sequence *s)
{
	gh_detokenizer_free(s->detokenizer);
	s->detokenizer = NULL;
	gh__stop_text_free(&s->text);
	gh__free(s->output);
	s->output = NULL;
	gh__free(s->block);
	s->block = NULL;
	s->block_capacity = 0;
}
