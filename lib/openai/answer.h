#ifndef GH_OPENAI_ANSWER_H
#define GH_OPENAI_ANSWER_H

#include "openai/request.h"

/*
 * What goes back to a client: token events in, bytes of a JSON body or of server-sent events out.
 *
 * One thread at a time. Everything is written straight into buffers, without a tree; the part that
 * all chunks share is made once. Failures of memory stick in the buffers.
 */
typedef struct gh__openai_answer gh__openai_answer;

/* Both are borrowed until gh__openai_answer_free(). id: without "chatcmpl-"; created: seconds. */
gh_status gh__openai_answer_create(gh__openai_answer **out, const gh__openai_request *request,
				   const gh__openai_model *model, const char *id, int64_t created);
void gh__openai_answer_free(gh__openai_answer *answer);

const char *gh__openai_answer_id(const gh__openai_answer *answer); /* "chatcmpl-..." */

/* Streams: what comes before the first token. */
void gh__openai_answer_begin(gh__openai_answer *answer, gh__buf *out);

/* An event of prompt number `prompt`. Streams: its chunk is appended to out; else it is kept, and
 * out may be NULL. */
void gh__openai_answer_event(gh__openai_answer *answer, size_t prompt, const gh_token_event *event,
			     gh__buf *out);

/* After the last event: the body, or the end of the stream. GH_ENOMEM, GH_ETOOBIG: parts are
 * lost. */
gh_status gh__openai_answer_end(gh__openai_answer *answer, gh__buf *out);

/* An error event and the end of the stream. */
void gh__openai_answer_fail(gh__buf *out, const gh__openai_error *error);

typedef struct gh__openai_usage {
	int64_t prompt_tokens, cached_tokens, completion_tokens;
} gh__openai_usage;
void gh__openai_answer_usage(const gh__openai_answer *answer, gh__openai_usage *out);

#endif
