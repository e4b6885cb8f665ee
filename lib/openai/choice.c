#include "openai/choice.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "json/write.h"
#include "openai/logprobs.h"

void gh__choice_init(gh__choice *choice)
{
	gh__buf *const all[] = { &choice->text,           &choice->reason,
				 &choice->entries,        &choice->columns.offsets,
				 &choice->columns.values, &choice->columns.tokens,
				 &choice->columns.tops };

	memset(choice, 0, sizeof *choice);
	for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
		gh__buf_init(all[i], GH__ANSWER_MAX);
}

void gh__choice_free(gh__choice *choice)
{
	gh__buf_free(&choice->text);
	gh__buf_free(&choice->reason);
	gh__buf_free(&choice->entries);
	gh__buf_free(&choice->columns.offsets);
	gh__buf_free(&choice->columns.values);
	gh__buf_free(&choice->columns.tokens);
	gh__buf_free(&choice->columns.tops);
}

gh_status gh__choice_status(const gh__choice *choice)
{
	const gh__buf *const all[] = { &choice->text,           &choice->reason,
				       &choice->entries,        &choice->columns.offsets,
				       &choice->columns.values, &choice->columns.tokens,
				       &choice->columns.tops };

	for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
		if (gh__buf_status(all[i]) != GH_OK)
			return gh__buf_status(all[i]);
	}
	return GH_OK;
}

const char *gh__choice_finish(const gh__choice *choice)
{
	switch (choice->finish) {
	case GH_FINISH_NONE:
		return NULL;
	case GH_FINISH_STOP:
		return "stop";
	case GH_FINISH_LENGTH:
		return "length";
	default:
		return "abort";
	}
}

/* ---- columns ---- */

static void add_column(gh__columns *c, int32_t token, bool known, const gh_logprob *chosen,
		       const gh_logprob *top, size_t top_count, int64_t most)
{
	char id[16];
	int len = snprintf(id, sizeof id, "%d", token);

	if (c->any) {
		gh__buf_append_char(&c->offsets, ',');
		gh__buf_append_char(&c->values, ',');
		gh__buf_append_char(&c->tokens, ',');
		gh__buf_append_char(&c->tops, ',');
	}
	c->any = true;
	gh__buf_printf(&c->offsets, "%lld", (long long)c->offset);
	c->offset += len;
	gh__buf_printf(&c->tokens, "\"%s\"", id);
	if (known) {
		gh__logprob_write(&c->values, chosen->logprob);
		gh__logprobs_map(&c->tops, chosen, top, top_count, most);
	} else {
		gh__buf_append_str(&c->values, "null");
		gh__buf_append_str(&c->tops, "null");
	}
}

void gh__columns_write(gh__buf *out, const gh__columns *c)
{
	gh__buf_append_str(out, "{\"text_offset\":[");
	gh__buf_append(out, gh__buf_str(&c->offsets), c->offsets.len);
	gh__buf_append_str(out, "],\"token_logprobs\":[");
	gh__buf_append(out, gh__buf_str(&c->values), c->values.len);
	gh__buf_append_str(out, "],\"tokens\":[");
	gh__buf_append(out, gh__buf_str(&c->tokens), c->tokens.len);
	gh__buf_append_str(out, "],\"top_logprobs\":[");
	gh__buf_append(out, gh__buf_str(&c->tops), c->tops.len);
	gh__buf_append_str(out, "]}");
}

/* ---- events ---- */

static void add_echo(gh__choice *choice, const gh__openai_request *request,
		     const gh__openai_prompt *prompt, const gh__prompt_facts *facts)
{
	gh__buf_append(&choice->text, prompt->text, prompt->text_len);
	if (!request->logprobs)
		return;
	for (size_t i = 0; i < prompt->count; i++) {
		const gh_prompt_logprob *p = i < facts->count ? &facts->logprobs[i] : NULL;
		bool known = p && p->actual.token >= 0;

		add_column(&choice->columns, prompt->ids[i], known, known ? &p->actual : NULL,
			   known ? p->top : NULL, known ? p->top_count : 0, request->top_logprobs);
	}
}

static bool listed(const gh__openai_request *request, int32_t id)
{
	for (size_t i = 0; i < request->stop_id_count; i++) {
		if (request->stop_ids[i] == id)
			return true;
	}
	return false;
}

/* An id is told only when the client asked for it: clients take a number here badly. */
static void set_reason(gh__choice *choice, const gh__openai_request *request,
		       const gh__openai_model *model, const gh_token_event *event)
{
	bool is_end = event->stop_id == model->eos_id && !request->ignore_eos;

	if (event->stop_string >= 0 && (size_t)event->stop_string < request->stop_count) {
		const char *text = request->stop[event->stop_string];

		gh__json_write_string(&choice->reason, text, strlen(text));
	} else if (event->stop_id >= 0 && !is_end && listed(request, event->stop_id)) {
		gh__buf_printf(&choice->reason, "%d", event->stop_id);
	}
}

static void add_logprobs(gh__choice *choice, const gh__openai_request *request,
			 const gh_token_event *event)
{
	if (request->kind == GH__OPENAI_CHAT) {
		if (choice->entries.len > 0)
			gh__buf_append_char(&choice->entries, ',');
		gh__logprobs_chat_entry(&choice->entries, event, request->top_logprobs);
	} else {
		add_column(&choice->columns, event->token, true, &event->logprob, event->top,
			   event->top_count, request->top_logprobs);
	}
}

void gh__choice_add(gh__choice *choice, const gh__openai_request *request,
		    const gh__openai_model *model, const gh__openai_prompt *prompt,
		    const gh__prompt_facts *facts, const gh_token_event *event)
{
	if (!choice->begun && request->echo && request->kind == GH__OPENAI_COMPLETION)
		add_echo(choice, request, prompt, facts);
	choice->begun = true;
	choice->finish = event->finish;
	choice->ended = event->finish != GH_FINISH_NONE;
	if (gh__openai_request_only_echo(request)) {
		if (event->finish == GH_FINISH_STOP)
			choice->finish = GH_FINISH_LENGTH;
		return;
	}
	gh__buf_append(&choice->text, event->text, event->text_len);
	if (event->token >= 0) {
		choice->tokens++;
		choice->cumulative += (double)event->logprob.logprob;
		if (request->logprobs)
			add_logprobs(choice, request, event);
	}
	if (event->finish == GH_FINISH_STOP)
		set_reason(choice, request, model, event);
}

/* ---- prompts ---- */

gh_status gh__prompt_facts_keep(gh__prompt_facts *facts, const gh_token_event *event)
{
	size_t tops = 0, at = 0;

	facts->cached_tokens = event->cached_tokens;
	if (!event->prompt || facts->logprobs)
		return GH_OK;
	size_t count = (size_t)event->prompt_tokens;
	for (size_t i = 0; i < count; i++)
		tops += event->prompt[i].top_count;
	facts->logprobs = gh__memdup(event->prompt, count * sizeof *facts->logprobs);
	facts->tops = gh__calloc(tops, sizeof *facts->tops);
	if (!facts->logprobs || !facts->tops) {
		gh__prompt_facts_free(facts);
		return GH_ENOMEM;
	}
	facts->count = count;
	for (size_t i = 0; i < count; i++) {
		gh_prompt_logprob *p = &facts->logprobs[i];

		if (p->top_count > 0)
			memcpy(facts->tops + at, p->top, p->top_count * sizeof *p->top);
		p->top = facts->tops + at;
		at += p->top_count;
	}
	return GH_OK;
}

void gh__prompt_facts_free(gh__prompt_facts *facts)
{
	gh__free(facts->logprobs);
	gh__free(facts->tops);
	facts->logprobs = NULL;
	facts->tops = NULL;
	facts->count = 0;
}
