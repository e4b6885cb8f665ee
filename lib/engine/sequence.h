#ifndef GH_ENGINE_SEQUENCE_H
#define GH_ENGINE_SEQUENCE_H

#include <stdbool.h>

#include <gonkahost/engine.h>

#include "engine/kv_blocks.h"
#include "engine/sampling.h"
#include "engine/stop.h"
#include "engine/telemetry.h"

/*
 * A request, and its choices as sequences of tokens.
 *
 * Until it is started a request is its prompt and its fields; a queue of a hundred thousand of them
 * stays small. Its sequences, their texts and masks are made when its turn comes.
 */
typedef struct gh__request gh__request;
typedef struct gh__sequence gh__sequence;

typedef enum gh__sequence_state {
	GH__SEQUENCE_HELD = 0, /* waits for choice 0 to compute the prompt they share */
	GH__SEQUENCE_WAITING,
	GH__SEQUENCE_RUNNING,
	GH__SEQUENCE_ENDED
} gh__sequence_state;

struct gh__sequence {
	gh__request *request;
	int32_t choice;
	gh__sequence_state state;
	int32_t *output; /* [output_count] */
	int32_t output_count, output_capacity;
	int32_t computed; /* tokens whose keys and values are in blocks */
	int32_t *block;   /* [block_count] */
	int32_t block_count, block_capacity;
	int32_t known;     /* blocks whose content was said to the block manager */
	uint64_t link;     /* of the last of them */
	int32_t shortage;  /* blocks it lacked when it last tried to run */
	int64_t last_time; /* when its last token came */
	gh_detokenizer *detokenizer;
	gh__stop_text text;
	gh__sequence *prev, *next; /* among those that wait */
};

struct gh__request {
	uint64_t id; /* in order of arrival */
	int32_t *prompt;
	int32_t prompt_count;
	gh__sampling sampling;
	gh_token_fn *fn;
	void *userdata;

	gh__sequence *choice; /* [sampling.n] once started */
	int32_t unfinished;   /* choices that go on */
	int32_t cached_tokens;
	int32_t longest; /* output tokens of the longest choice so far */
	bool prompt_done;
	bool prompt_given;                 /* prompt logprobs were in an event */
	bool lost;                         /* failed in this step, to be ended after it */
	gh_prompt_logprob *prompt_logprob; /* [prompt_count] when they were asked for */
	gh_logprob *prompt_top;            /* [prompt_count, sampling.prompt_logprobs] */
	gh_error error;
	gh__request_times times;

	gh__request *prev, *next; /* queued */
	gh__request *alike;       /* engine.c: next one of the same bucket */
	gh__request *next_abort;  /* engine.c */
	bool aborting, ended;     /* engine.c */
};

/* Checks lengths and ids too. seed is for requests that bring none. */
gh_status gh__request_create(gh__request **out, const int32_t *prompt, size_t prompt_count,
			     const gh_sampling *sampling, int32_t vocab, int32_t max_length,
			     uint64_t seed, gh_error *error);
void gh__request_free(gh__request *request); /* holds no blocks any more */

gh_status gh__request_start(gh__request *request, const gh_tokenizer *tokenizer, int32_t vocab,
			    gh_error *error);

/* Store what a step says of prompt token number index (1 to prompt_count - 1). */
void gh__request_prompt_result(gh__request *request, int32_t index,
			       const gh__sample_result *result);

/* How old a sequence is: by request, then choice. */
bool gh__sequence_older(const gh__sequence *a, const gh__sequence *b);
int32_t gh__sequence_length(const gh__sequence *sequence); /* prompt and output */
void gh__sequence_tokens(const gh__sequence *sequence, int32_t first, int32_t count, int32_t *out);

/* Hold what is computed already of its tokens, by others or earlier; at least one is left to
 * compute. scratch: block_size ids. Only for a sequence without blocks. */
void gh__sequence_borrow(gh__sequence *sequence, gh__kv_blocks *blocks, int32_t block_size,
			 int32_t *scratch);

/* Take blocks for its first tokens. GH_EBUSY: not enough are available. */
gh_status gh__sequence_grow(gh__sequence *sequence, gh__kv_blocks *blocks, int32_t tokens,
			    int32_t block_size);

/* Say what the blocks contain that are full by now. */
void gh__sequence_know(gh__sequence *sequence, gh__kv_blocks *blocks, int32_t block_size,
		       int32_t *scratch);
void gh__sequence_drop_blocks(gh__sequence *sequence, gh__kv_blocks *blocks);

/*
 * Append a chosen token: its text, whether it ends the choice, and the event that says so. top has
 * room for GH__TOP_MAX entries. The event borrows until the next call for this sequence.
 */
gh_status gh__sequence_accept(gh__sequence *sequence, const gh__sample_result *result,
			      gh_logprob *top, gh_token_event *event, gh_error *error);

/* An event that only ends a choice; what was held back of its text comes with it. */
void gh__request_end_event(gh__request *request, int32_t choice, gh_finish finish,
			   const gh_error *error, gh_token_event *event);

/* What the choice needed memory for beyond its last event. */
void gh__sequence_release(gh__sequence *sequence);

#endif
