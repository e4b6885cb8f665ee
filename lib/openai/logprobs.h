#ifndef GH_OPENAI_LOGPROBS_H
#define GH_OPENAI_LOGPROBS_H

#include "base/buf.h"
#include "openai/request.h"

/*
 * Logprobs as the network knows them: tokens are decimal ids in strings, minus infinity is -9999.
 */
void gh__logprob_write(gh__buf *out, float logprob);

/* {"token":...,"logprob":...,"bytes":[...],"top_logprobs":[...]}: the chosen token is the first of
 * the list, which has at most `most` entries. */
void gh__logprobs_chat_entry(gh__buf *out, const gh_token_event *event, int64_t most);

/* {"id":-0.1,...}: the chosen token, then up to `most` of the most probable ones. */
void gh__logprobs_map(gh__buf *out, const gh_logprob *chosen, const gh_logprob *top,
		      size_t top_count, int64_t most);

/* [null,{"id":{"logprob":...,"rank":...,"decoded_token":"..."},...},...] */
void gh__logprobs_prompt(gh__buf *out, const gh_prompt_logprob *prompt, size_t count, int64_t most,
			 const gh_tokenizer *tokenizer);

#endif
