#ifndef GH_OPENAI_CHOICE_H
#define GH_OPENAI_CHOICE_H

#include "openai/request.h"

#define GH__ANSWER_MAX ((size_t)256 << 20) /* bytes of one part of an answer */

/* logprobs of a completion: four arrays side by side, without their brackets. */
typedef struct gh__columns {
	gh__buf offsets, values, tokens, tops;
	int64_t offset; /* of the next token: the decimal strings so far */
	bool any;
} gh__columns;

/* One choice as it grows. Streams empty the buffers with each chunk. */
typedef struct gh__choice {
	bool begun, ended;
	int32_t finish; /* a gh_finish */
	int32_t tokens;
	double cumulative; /* sum of the logprobs */
	gh__buf text;
	gh__buf reason;  /* of the stop, as JSON */
	gh__buf entries; /* chat: logprobs, comma between */
	gh__columns columns;
} gh__choice;

/* What the engine said of a prompt. */
typedef struct gh__prompt_facts {
	gh_prompt_logprob *logprobs; /* [count] owned, as is what top points to; NULL: none */
	gh_logprob *tops;
	size_t count;
	int32_t cached_tokens;
} gh__prompt_facts;

void gh__choice_init(gh__choice *choice);
void gh__choice_free(gh__choice *choice);

/* Keep what an event brings: echo first where it is wanted, then text and logprobs. */
void gh__choice_add(gh__choice *choice, const gh__openai_request *request,
		    const gh__openai_model *model, const gh__openai_prompt *prompt,
		    const gh__prompt_facts *facts, const gh_token_event *event);

/* "stop", "length", "abort"; NULL while it goes on. */
const char *gh__choice_finish(const gh__choice *choice);

/* {"text_offset":[...],...} */
void gh__columns_write(gh__buf *out, const gh__columns *columns);

gh_status gh__choice_status(const gh__choice *choice);

gh_status gh__prompt_facts_keep(gh__prompt_facts *facts, const gh_token_event *event);
void gh__prompt_facts_free(gh__prompt_facts *facts);

#endif
