#include "openai/answer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "json/write.h"
#include "openai/choice.h"
#include "openai/logprobs.h"

#define ID_MAX     300
#define PREFIX_MAX (64 << 10)

struct gh__openai_answer {
	const gh__openai_request *request;
	const gh__openai_model *model;
	const char *name; /* of the model, as the request has it */
	const char *role; /* chat */
	char id[ID_MAX];
	int64_t created;
	gh__buf prefix;          /* of every chunk, up to the choice's index */
	size_t choices;          /* a prompt, in the engine */
	gh__choice *choice;      /* [prompts * choices] */
	gh__prompt_facts *facts; /* [prompts] */
	gh_status status;
};

static bool is_chat(const gh__openai_answer *a)
{
	return a->request->kind == GH__OPENAI_CHAT;
}

static void write_text(gh__buf *out, const char *text)
{
	gh__json_write_string(out, text, strlen(text));
}

/* {"id":...,"object":...,"created":...,"model":... */
static void write_head(gh__buf *out, const gh__openai_answer *a, const char *object)
{
	gh__buf_append_str(out, "{\"id\":");
	write_text(out, a->id);
	gh__buf_printf(out, ",\"object\":\"%s\",\"created\":%lld,\"model\":", object,
		       (long long)a->created);
	write_text(out, a->name);
}

gh_status gh__openai_answer_create(gh__openai_answer **out, const gh__openai_request *request,
				   const gh__openai_model *model, const char *id, int64_t created)
{
	gh__openai_answer *a = gh__calloc(1, sizeof *a);
	bool chat = request->kind == GH__OPENAI_CHAT;

	if (!a)
		return GH_ENOMEM;
	a->request = request;
	a->model = model;
	a->name = request->model && request->model[0] ? request->model : model->names[0];
	a->created = created;
	a->choices = (size_t)(request->best_of ? request->best_of : request->n);
	a->choice = gh__calloc(request->prompt_count * a->choices, sizeof *a->choice);
	a->facts = gh__calloc(request->prompt_count, sizeof *a->facts);
	if (!a->choice || !a->facts) {
		gh__openai_answer_free(a);
		return GH_ENOMEM;
	}
	for (size_t i = 0; i < request->prompt_count * a->choices; i++)
		gh__choice_init(&a->choice[i]);
	snprintf(a->id, sizeof a->id, "%s-%s", chat ? "chatcmpl" : "cmpl", id);
	if (chat)
		a->role = gh__openai_role(request, model);
	gh__buf_init(&a->prefix, PREFIX_MAX);
	gh__buf_append_str(&a->prefix, "data: ");
	write_head(&a->prefix, a, chat ? "chat.completion.chunk" : "text_completion");
	gh__buf_append_str(&a->prefix, ",\"choices\":[");
	if (gh__buf_status(&a->prefix) != GH_OK) {
		gh__openai_answer_free(a);
		return GH_ENOMEM;
	}
	*out = a;
	return GH_OK;
}

void gh__openai_answer_free(gh__openai_answer *a)
{
	if (!a)
		return;
	for (size_t i = 0; a->choice && i < a->request->prompt_count * a->choices; i++)
		gh__choice_free(&a->choice[i]);
	for (size_t i = 0; a->facts && i < a->request->prompt_count; i++)
		gh__prompt_facts_free(&a->facts[i]);
	gh__buf_free(&a->prefix);
	gh__free(a->choice);
	gh__free(a->facts);
	gh__free(a);
}

const char *gh__openai_answer_id(const gh__openai_answer *a)
{
	return a->id;
}

/* ---- usage ---- */

void gh__openai_answer_usage(const gh__openai_answer *a, gh__openai_usage *out)
{
	*out = (gh__openai_usage){ 0 };
	for (size_t i = 0; i < a->request->prompt_count; i++) {
		out->prompt_tokens += (int64_t)a->request->prompts[i].count;
		out->cached_tokens += a->facts[i].cached_tokens;
	}
	for (size_t i = 0; i < a->request->prompt_count * a->choices; i++)
		out->completion_tokens += a->choice[i].tokens;
}

/* details: the key is there, null or not. */
static void write_usage(gh__buf *out, const gh__openai_answer *a, int64_t completion_tokens,
			bool details)
{
	gh__openai_usage u;

	gh__openai_answer_usage(a, &u);
	gh__buf_printf(out,
		       "{\"prompt_tokens\":%lld,\"total_tokens\":%lld,\"completion_tokens\":%lld",
		       (long long)u.prompt_tokens, (long long)(u.prompt_tokens + completion_tokens),
		       (long long)completion_tokens);
	if (a->model->prompt_tokens_details)
		gh__buf_printf(out, ",\"prompt_tokens_details\":{\"cached_tokens\":%lld}",
			       (long long)u.cached_tokens);
	else if (details)
		gh__buf_append_str(out, ",\"prompt_tokens_details\":null");
	gh__buf_append_char(out, '}');
}

/* ---- streams ---- */

static void begin_chunk(gh__buf *out, const gh__openai_answer *a, size_t index)
{
	gh__buf_append(out, a->prefix.data, a->prefix.len);
	gh__buf_printf(out, "{\"index\":%zu,", index);
}

/* Behind the choice. */
static void end_chunk(gh__buf *out, const gh__openai_answer *a, int64_t completion_tokens)
{
	gh__buf_append_str(out, "}]");
	if (a->request->continuous_usage) {
		gh__buf_append_str(out, ",\"usage\":");
		write_usage(out, a, completion_tokens, false);
	} else if (!is_chat(a)) {
		gh__buf_append_str(out, ",\"usage\":null");
	}
	gh__buf_append_str(out, "}\n\n");
}

/* The last message, where it is the beginning of the answer. */
static const json_t *echoed(const gh__openai_answer *a)
{
	const json_t *list = a->request->conversation;
	const json_t *last = json_array_get(list, json_array_size(list) - 1);
	const char *role = json_string_value(json_object_get(last, "role"));

	if (!is_chat(a) || !a->request->echo || !role || strcmp(role, a->role) != 0)
		return NULL;
	return json_object_get(last, "content");
}

void gh__openai_answer_begin(gh__openai_answer *a, gh__buf *out)
{
	const json_t *echo = echoed(a);

	if (!is_chat(a))
		return;
	for (size_t i = 0; i < a->choices; i++) {
		begin_chunk(out, a, i);
		gh__buf_append_str(out, "\"delta\":{\"role\":");
		write_text(out, a->role);
		gh__buf_append_str(out,
				   ",\"content\":\"\"},\"logprobs\":null,\"finish_reason\":null");
		end_chunk(out, a, 0);
	}
	for (size_t i = 0; i < a->choices && json_string_length(echo) > 0; i++) {
		begin_chunk(out, a, i);
		gh__buf_append_str(out, "\"delta\":{\"content\":");
		gh__json_write_string(out, json_string_value(echo), json_string_length(echo));
		gh__buf_append_char(out, '}');
		end_chunk(out, a, 0);
	}
}

static void write_chat_chunk(gh__buf *out, const gh__openai_answer *a, const gh__choice *c,
			     size_t index)
{
	const char *finish = gh__choice_finish(c);

	begin_chunk(out, a, index);
	gh__buf_append_str(out, "\"delta\":{\"content\":");
	gh__json_write_string(out, gh__buf_str(&c->text), c->text.len);
	gh__buf_append_str(out, ",\"tool_calls\":[]}");
	if (a->request->logprobs) {
		gh__buf_append_str(out, ",\"logprobs\":{\"content\":[");
		gh__buf_append(out, gh__buf_str(&c->entries), c->entries.len);
		gh__buf_append_str(out, "]}");
	}
	if (finish)
		gh__buf_printf(out, ",\"finish_reason\":\"%s\"", finish);
	if (c->reason.len > 0) {
		gh__buf_append_str(out, ",\"stop_reason\":");
		gh__buf_append(out, c->reason.data, c->reason.len);
	}
	end_chunk(out, a, c->tokens);
}

static void write_finish(gh__buf *out, const gh__choice *c)
{
	const char *finish = gh__choice_finish(c);

	if (finish)
		gh__buf_printf(out, ",\"finish_reason\":\"%s\",\"stop_reason\":", finish);
	else
		gh__buf_append_str(out, ",\"finish_reason\":null,\"stop_reason\":");
	if (c->reason.len > 0)
		gh__buf_append(out, c->reason.data, c->reason.len);
	else
		gh__buf_append_str(out, "null");
}

/* "text":...,"logprobs":...,"finish_reason":...,"stop_reason":... */
static void write_completion_choice(gh__buf *out, const gh__openai_answer *a, const gh__choice *c)
{
	gh__buf_append_str(out, "\"text\":");
	gh__json_write_string(out, gh__buf_str(&c->text), c->text.len);
	gh__buf_append_str(out, ",\"logprobs\":");
	if (a->request->logprobs)
		gh__columns_write(out, &c->columns);
	else
		gh__buf_append_str(out, "null");
	write_finish(out, c);
}

static void write_chunk(gh__buf *out, gh__openai_answer *a, gh__choice *c, size_t index)
{
	if (is_chat(a)) {
		write_chat_chunk(out, a, c, index);
	} else {
		begin_chunk(out, a, index);
		write_completion_choice(out, a, c);
		end_chunk(out, a, c->tokens);
	}
	if (gh__choice_status(c) != GH_OK)
		a->status = gh__choice_status(c);
	gh__buf_reset(&c->text);
	gh__buf_reset(&c->entries);
	gh__buf_reset(&c->columns.offsets);
	gh__buf_reset(&c->columns.values);
	gh__buf_reset(&c->columns.tokens);
	gh__buf_reset(&c->columns.tops);
	c->columns.any = false;
}

void gh__openai_answer_event(gh__openai_answer *a, size_t prompt, const gh_token_event *event,
			     gh__buf *out)
{
	if (prompt >= a->request->prompt_count || event->choice < 0 ||
	    (size_t)event->choice >= a->choices)
		return;
	size_t index = prompt * a->choices + (size_t)event->choice;
	gh__choice *c = &a->choice[index];
	if (gh__prompt_facts_keep(&a->facts[prompt], event) != GH_OK)
		a->status = GH_ENOMEM;
	gh__choice_add(c, a->request, a->model, &a->request->prompts[prompt], &a->facts[prompt],
		       event);
	if (a->request->stream)
		write_chunk(out, a, c, index);
}

/* ---- whole bodies ---- */

static void write_prompt_logprobs(gh__buf *out, const gh__openai_answer *a, size_t prompt)
{
	const gh__prompt_facts *f = &a->facts[prompt];

	if (f->logprobs)
		gh__logprobs_prompt(out, f->logprobs, f->count,
				    gh__openai_request_prompt_logprobs(a->request),
				    a->model->tokenizer);
	else
		gh__buf_append_str(out, "null");
}

static void write_chat_choice(gh__buf *out, const gh__openai_answer *a, const gh__choice *c)
{
	const json_t *echo = echoed(a);

	gh__buf_append_str(out, "\"message\":{\"role\":");
	write_text(out, a->role);
	gh__buf_append_str(out, ",\"reasoning_content\":null,\"content\":\"");
	if (echo)
		gh__json_write_escaped(out, json_string_value(echo), json_string_length(echo));
	gh__json_write_escaped(out, gh__buf_str(&c->text), c->text.len);
	gh__buf_append_str(out, "\",\"tool_calls\":[]},\"logprobs\":");
	if (a->request->logprobs) {
		gh__buf_append_str(out, "{\"content\":[");
		gh__buf_append(out, gh__buf_str(&c->entries), c->entries.len);
		gh__buf_append_str(out, "]}");
	} else {
		gh__buf_append_str(out, "null");
	}
	write_finish(out, c);
}

static int by_cumulative(const void *a, const void *b)
{
	const gh__choice *x = a, *y = b;

	return (x->cumulative < y->cumulative) - (x->cumulative > y->cumulative);
}

/* best_of: the most probable ones go first, the others away. */
static void choose_best(gh__openai_answer *a)
{
	size_t kept = (size_t)a->request->n;

	if (a->choices <= kept)
		return;
	for (size_t p = 0; p < a->request->prompt_count; p++) {
		gh__choice *first = a->choice + p * a->choices;

		qsort(first, a->choices, sizeof *first, by_cumulative);
		for (size_t i = kept; i < a->choices; i++)
			first[i].tokens = 0;
	}
}

static void write_body(gh__openai_answer *a, gh__buf *out)
{
	size_t n = (size_t)a->request->n, written = 0;
	gh__openai_usage usage;

	choose_best(a);
	gh__openai_answer_usage(a, &usage);
	write_head(out, a, is_chat(a) ? "chat.completion" : "text_completion");
	gh__buf_append_str(out, ",\"choices\":[");
	for (size_t p = 0; p < a->request->prompt_count; p++) {
		for (size_t i = 0; i < n; i++, written++) {
			const gh__choice *c = &a->choice[p * a->choices + i];

			gh__buf_printf(out, written ? ",{\"index\":%zu," : "{\"index\":%zu,",
				       written);
			if (is_chat(a)) {
				write_chat_choice(out, a, c);
			} else {
				write_completion_choice(out, a, c);
				gh__buf_append_str(out, ",\"prompt_logprobs\":");
				write_prompt_logprobs(out, a, p);
			}
			gh__buf_append_char(out, '}');
			if (gh__choice_status(c) != GH_OK)
				a->status = gh__choice_status(c);
		}
	}
	gh__buf_append_str(out, "],\"usage\":");
	write_usage(out, a, usage.completion_tokens, true);
	if (is_chat(a)) {
		gh__buf_append_str(out, ",\"prompt_logprobs\":");
		write_prompt_logprobs(out, a, 0);
	}
	gh__buf_append_str(out, ",\"kv_transfer_params\":null}");
}

gh_status gh__openai_answer_end(gh__openai_answer *a, gh__buf *out)
{
	gh__openai_usage usage;

	if (!a->request->stream) {
		write_body(a, out);
	} else {
		if (a->request->include_usage) {
			gh__openai_answer_usage(a, &usage);
			gh__buf_append(out, a->prefix.data, a->prefix.len);
			gh__buf_append_str(out, "],\"usage\":");
			write_usage(out, a, usage.completion_tokens, false);
			gh__buf_append_str(out, "}\n\n");
		}
		gh__buf_append_str(out, "data: [DONE]\n\n");
	}
	return a->status != GH_OK ? a->status : gh__buf_status(out);
}

void gh__openai_answer_fail(gh__buf *out, const gh__openai_error *error)
{
	gh__buf_append_str(out, "data: {\"error\":");
	gh__openai_error_write(out, error);
	gh__buf_append_str(out, "}\n\ndata: [DONE]\n\n");
}
