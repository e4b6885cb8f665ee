#include "engine/scheduler.h"

#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "engine/batch.h"

struct gh__scheduler {
	gh__scheduler_config config;
	gh__kv_blocks *blocks;
	gh__batch batch;
	gh__sequence **running; /* [running_count] oldest first */
	int32_t running_count;
	gh__sequence *waiting; /* oldest first: preempted, or behind their choice 0 */
	gh__request *queued_first, *queued_last; /* never ran; all younger than those above */
	int32_t *scratch;                        /* [block_size] */
	int64_t now;
	bool lost; /* some running request is */
};

gh_status gh__scheduler_create(gh__scheduler **out, const gh__scheduler_config *config,
			       gh_error *error)
{
	gh__scheduler *s = gh__calloc(1, sizeof *s);
	gh_status status;

	if (!s)
		return gh__fail_nomem(error);
	s->config = *config;
	status = gh__kv_blocks_create(&s->blocks, config->kv_blocks, config->block_size,
				      config->prefix_cache, error);
	if (status == GH_OK)
		status = gh__batch_init(&s->batch, config->step_tokens, config->max_sequences,
					config->max_length, config->block_size, error);
	if (status != GH_OK)
		goto fail;
	s->running = gh__calloc((size_t)config->max_sequences, sizeof(gh__sequence *));
	s->scratch = gh__calloc((size_t)config->block_size, sizeof *s->scratch);
	if (!s->running || !s->scratch) {
		status = gh__fail_nomem(error);
		goto fail;
	}
	*out = s;
	return GH_OK;
fail:
	gh__scheduler_free(s);
	return status;
}

void gh__scheduler_free(gh__scheduler *s)
{
	if (!s)
		return;
	gh__kv_blocks_free(s->blocks);
	gh__batch_free(&s->batch);
	gh__free(s->running);
	gh__free(s->scratch);
	gh__free(s);
}

/* ---- numbers for others ---- */

static void count(_Atomic uint64_t *counter, uint64_t amount)
{
	atomic_fetch_add_explicit(counter, amount, memory_order_relaxed);
}

static void publish(gh__scheduler *s)
{
	gh__counters *c = s->config.counters;
	int32_t used = gh__kv_blocks_used(s->blocks);
	int32_t open = atomic_load_explicit(&c->open, memory_order_relaxed);

	atomic_store_explicit(&c->running, s->running_count, memory_order_relaxed);
	atomic_store_explicit(&c->blocks_used, used, memory_order_relaxed);
	gh__telemetry_load(s->config.telemetry, s->running_count,
			   open > s->running_count ? open - s->running_count : 0,
			   (double)used / (double)s->config.kv_blocks);
}

/* ---- lists ---- */

static void unlink_queued(gh__scheduler *s, gh__request *r)
{
	*(r->prev ? &r->prev->next : &s->queued_first) = r->next;
	*(r->next ? &r->next->prev : &s->queued_last) = r->prev;
	r->prev = r->next = NULL;
	atomic_fetch_sub_explicit(&s->config.counters->queued, 1, memory_order_relaxed);
}

static void wait_in_order(gh__scheduler *s, gh__sequence *q)
{
	gh__sequence *before = NULL, *after = s->waiting;

	while (after && gh__sequence_older(after, q)) {
		before = after;
		after = after->next;
	}
	q->state = GH__SEQUENCE_WAITING;
	q->prev = before;
	q->next = after;
	*(before ? &before->next : &s->waiting) = q;
	if (after)
		after->prev = q;
}

static void unlink_waiting(gh__scheduler *s, gh__sequence *q)
{
	*(q->prev ? &q->prev->next : &s->waiting) = q->next;
	if (q->next)
		q->next->prev = q->prev;
	q->prev = q->next = NULL;
}

static void run_in_order(gh__scheduler *s, gh__sequence *q)
{
	int32_t at = s->running_count++;

	for (; at > 0 && gh__sequence_older(q, s->running[at - 1]); at--)
		s->running[at] = s->running[at - 1];
	s->running[at] = q;
	q->state = GH__SEQUENCE_RUNNING;
}

static void unlink_running(gh__scheduler *s, const gh__sequence *q)
{
	int32_t at = 0;

	while (s->running[at] != q)
		at++;
	s->running_count--;
	memmove(&s->running[at], &s->running[at + 1],
		(size_t)(s->running_count - at) * sizeof(gh__sequence *));
}

/* ---- ends ---- */

/* Out of every list, and without blocks. */
static void detach(gh__scheduler *s, gh__sequence *q)
{
	if (q->state == GH__SEQUENCE_RUNNING)
		unlink_running(s, q);
	else if (q->state == GH__SEQUENCE_WAITING)
		unlink_waiting(s, q);
	gh__sequence_drop_blocks(q, s->blocks);
}

/* The books are right before anybody is told of the end. */
static void close_choice(gh__scheduler *s, gh__request *r, gh_finish finish, int32_t output_tokens)
{
	gh__telemetry *t = s->config.telemetry;

	atomic_fetch_sub_explicit(&s->config.counters->open, 1, memory_order_relaxed);
	gh__telemetry_choice_end(t, (int32_t)finish, output_tokens);
	if (--r->unfinished == 0) {
		r->times.ended = gh__now();
		gh__telemetry_request_end(t, &r->times, r->prompt_count, r->longest,
					  r->sampling.max_tokens, r->sampling.n);
	}
	publish(s);
}

static void end_request(gh__scheduler *s, gh__request *r, gh_finish finish, const gh_error *error)
{
	if (!r->choice)
		unlink_queued(s, r);
	for (int32_t i = 0; r->choice && i < r->sampling.n; i++) {
		if (r->choice[i].state != GH__SEQUENCE_ENDED)
			detach(s, &r->choice[i]);
	}
	for (int32_t i = 0; i < r->sampling.n; i++) {
		gh_token_event event;

		if (r->choice && r->choice[i].state == GH__SEQUENCE_ENDED)
			continue;
		gh__request_end_event(r, i, finish, error, &event);
		close_choice(s, r, finish, event.output_tokens);
		r->fn(&event, r->userdata);
	}
	s->config.release(r, s->config.userdata);
}

/* The request cannot go on; it ends when the step is over. */
static void lose(gh__scheduler *s, gh__request *r, const gh_error *error)
{
	if (r->lost)
		return;
	r->lost = true;
	r->error = *error;
	s->lost = true;
}

static void end_lost(gh__scheduler *s)
{
	while (s->lost) {
		gh__request *r = NULL;

		for (int32_t i = 0; i < s->running_count && !r; i++) {
			if (s->running[i]->request->lost)
				r = s->running[i]->request;
		}
		s->lost = r != NULL;
		if (!r)
			break;
		gh__warn("engine", "request failed id=%llu: %s", (unsigned long long)r->id,
			 r->error.text);
		end_request(s, r, GH_FINISH_ERROR, &r->error);
	}
}

void gh__scheduler_abort(gh__scheduler *s, gh__request *r)
{
	end_request(s, r, GH_FINISH_ABORT, NULL);
}

void gh__scheduler_end_all(gh__scheduler *s, gh_finish finish, const gh_error *error)
{
	while (s->running_count > 0)
		end_request(s, s->running[0]->request, finish, error);
	while (s->waiting)
		end_request(s, s->waiting->request, finish, error);
	while (s->queued_first)
		end_request(s, s->queued_first, finish, error);
}

/* ---- who runs ---- */

void gh__scheduler_add(gh__scheduler *s, gh__request *r)
{
	r->prev = s->queued_last;
	r->next = NULL;
	*(s->queued_last ? &s->queued_last->next : &s->queued_first) = r;
	s->queued_last = r;
}

bool gh__scheduler_idle(const gh__scheduler *s)
{
	return s->running_count == 0 && !s->waiting && !s->queued_first;
}

static void preempt_youngest(gh__scheduler *s)
{
	gh__sequence *q = s->running[s->running_count - 1];

	detach(s, q);
	wait_in_order(s, q);
	count(&s->config.counters->preemptions, 1);
	gh__metric_add(s->config.telemetry->preemptions, 1);
}

/* A block for the next token, from the youngest if need be. false: it cannot run now. */
static bool make_room(gh__scheduler *s, gh__sequence *q)
{
	for (;;) {
		gh_error error = GH_ERROR_INIT;
		gh_status status = gh__sequence_grow(q, s->blocks, gh__sequence_length(q),
						     s->config.block_size);

		if (status == GH_OK)
			return true;
		if (status != GH_EBUSY) {
			gh__fail_nomem(&error);
			lose(s, q->request, &error);
			return false;
		}
		preempt_youngest(s);
		if (q->state != GH__SEQUENCE_RUNNING)
			return false;
	}
}

static bool generates(const gh__sequence *q)
{
	return gh__sequence_length(q) - q->computed == 1;
}

static void add_running(gh__scheduler *s)
{
	for (int32_t i = 0; i < s->running_count; i++) {
		gh__sequence *q = s->running[i];

		if (generates(q) && make_room(s, q))
			gh__batch_add(&s->batch, q, 1);
	}
	for (int32_t i = 0; i < s->running_count; i++) {
		if (!generates(s->running[i]))
			gh__batch_add(&s->batch, s->running[i], INT32_MAX);
	}
}

/* The oldest that waits; starts a queued request when no other is there. */
static gh__sequence *next_waiting(gh__scheduler *s)
{
	while (!s->waiting && s->queued_first) {
		gh__request *r = s->queued_first;
		gh_error error = GH_ERROR_INIT;
		gh_status status =
			gh__request_start(r, s->config.tokenizer, s->config.vocab, &error);

		if (status != GH_OK && !r->choice) {
			end_request(s, r, GH_FINISH_ERROR, &error);
			continue;
		}
		unlink_queued(s, r);
		if (status != GH_OK)
			end_request(s, r, GH_FINISH_ERROR, &error);
		else
			wait_in_order(s, &r->choice[0]);
	}
	return s->waiting;
}

static void note_cached(gh__scheduler *s, gh__sequence *q)
{
	gh__request *r = q->request;

	if (s->config.prefix_cache) {
		gh__metric_add(s->config.telemetry->prefix_queries, gh__sequence_length(q));
		gh__metric_add(s->config.telemetry->prefix_hits, q->computed);
	}
	if (r->times.started > 0)
		return;
	r->times.started = s->now;
	r->cached_tokens = q->computed;
	count(&s->config.counters->cached_tokens, (uint64_t)q->computed);
}

/* Let the sequence in, with blocks for all of its tokens and one to spare for each that runs. */
static bool let_in(gh__scheduler *s, gh__sequence *q)
{
	int32_t spare = s->running_count;
	int32_t before = gh__kv_blocks_available(s->blocks);
	int32_t length = gh__sequence_length(q);

	if (spare > 0 && before < q->shortage + spare)
		return false;
	gh__sequence_borrow(q, s->blocks, s->config.block_size, s->scratch);
	int32_t available = gh__kv_blocks_available(s->blocks);
	int32_t need = (length - 1) / s->config.block_size + 1 - q->block_count;
	if (available < need + spare) {
		q->shortage = need + (before - available);
		gh__sequence_drop_blocks(q, s->blocks);
		return false;
	}
	q->shortage = 0;
	unlink_waiting(s, q);
	run_in_order(s, q);
	note_cached(s, q);
	return make_room(s, q);
}

static void add_waiting(gh__scheduler *s)
{
	while (s->running_count < s->config.max_sequences &&
	       s->batch.tokens < s->batch.max_tokens) {
		gh__sequence *q = next_waiting(s);

		if (!q)
			break;
		if (!let_in(s, q)) {
			if (q->state == GH__SEQUENCE_WAITING)
				break;
			continue; /* no memory: it is lost */
		}
		gh__batch_add(&s->batch, q, INT32_MAX);
	}
}

/* ---- what a step brought ---- */

static void note_token(gh__scheduler *s, gh__sequence *q)
{
	gh__request *r = q->request;
	gh__telemetry *t = s->config.telemetry;

	if (r->times.first_token == 0) {
		r->times.first_token = s->now;
		gh__metric_observe(t->first_token,
				   (double)(s->now - r->times.arrived) / (double)GH__SECOND);
	}
	if (q->last_time > 0)
		gh__metric_observe(t->output_token,
				   (double)(s->now - q->last_time) / (double)GH__SECOND);
	q->last_time = s->now;
	count(&s->config.counters->output_tokens, 1);
	gh__metric_add(t->generation_tokens, 1);
}

/* Choice 0 has computed the prompt: the others need not. */
static void note_prompt(gh__scheduler *s, gh__request *r)
{
	r->prompt_done = true;
	count(&s->config.counters->prompt_tokens, (uint64_t)r->prompt_count);
	gh__metric_add(s->config.telemetry->prompt_tokens, r->prompt_count);
	for (int32_t i = r->sampling.n - 1; i > 0; i--)
		wait_in_order(s, &r->choice[i]);
}

static void emit(gh__scheduler *s, gh__sequence *q, const gh__sample_result *result)
{
	gh__request *r = q->request;
	gh_error error = GH_ERROR_INIT;
	gh_logprob top[GH__TOP_MAX];
	gh_token_event event;

	note_token(s, q);
	if (gh__sequence_accept(q, result, top, &event, &error) != GH_OK) {
		lose(s, r, &error);
		return;
	}
	if (event.finish == GH_FINISH_NONE) {
		r->fn(&event, r->userdata);
		return;
	}
	detach(s, q);
	q->state = GH__SEQUENCE_ENDED;
	close_choice(s, r, (gh_finish)event.finish, q->output_count);
	r->fn(&event, r->userdata);
	gh__sequence_release(q);
	if (r->unfinished == 0)
		s->config.release(r, s->config.userdata);
}

static bool check_results(gh__scheduler *s, const gh__batch_entry *entry)
{
	const gh__sequence *q = entry->sequence;
	gh_error error = GH_ERROR_INIT;

	for (int32_t i = 0; i < entry->result_count; i++) {
		int32_t token = s->batch.result[entry->result + i].token;

		if (token >= 0 && token < s->config.vocab)
			continue;
		gh__fail(&error, GH_ENUMERIC,
			 "logits behind token %d of choice %d: not a number, or no token is "
			 "allowed",
			 q->computed + entry->count - entry->result_count + i + 1, q->choice);
		lose(s, q->request, &error);
		return false;
	}
	return true;
}

static void apply(gh__scheduler *s, const gh__batch_entry *entry)
{
	gh__sequence *q = entry->sequence;
	gh__request *r = q->request;
	const gh__sample_result *result = s->batch.result + entry->result;
	bool chosen = entry->count == gh__sequence_length(q) - q->computed;

	if (r->lost || !check_results(s, entry))
		return;
	for (int32_t i = 0; i < entry->result_count - chosen; i++)
		gh__request_prompt_result(r, q->computed + i + 1, &result[i]);
	q->computed += entry->count;
	gh__sequence_know(q, s->blocks, s->config.block_size, s->scratch);
	if (!chosen)
		return;
	if (!r->prompt_done)
		note_prompt(s, r);
	emit(s, q, &result[entry->result_count - 1]);
}

gh_status gh__scheduler_step(gh__scheduler *s, gh_error *error)
{
	gh__batch *batch = &s->batch;
	const gh__runner *runner = &s->config.runner;

	s->now = gh__now();
	gh__batch_reset(batch);
	add_running(s);
	add_waiting(s);
	publish(s);
	if (batch->tokens == 0) {
		if (!s->lost && !gh__scheduler_idle(s))
			return gh__fail(error, GH_EBUG,
					"scheduler: sequences wait, yet none can run");
		end_lost(s);
		return GH_OK;
	}
	gh__batch_close(batch);
	gh_status status = runner->table->step(runner->self, &batch->step, batch->sample,
					       batch->result, batch->samples, error);
	if (status != GH_OK)
		return status;
	s->now = gh__now();
	count(&s->config.counters->steps, 1);
	gh__metric_observe(s->config.telemetry->step_tokens, batch->tokens);
	for (int32_t i = 0; i < batch->entries; i++)
		apply(s, &batch->entry[i]);
	end_lost(s);
	publish(s);
	return GH_OK;
}
