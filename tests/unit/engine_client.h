#ifndef GH_TESTS_ENGINE_CLIENT_H
#define GH_TESTS_ENGINE_CLIENT_H

#include <stdio.h>

#include "base/metrics.h"
#include "base/utf8.h"
#include "engine/internal.h"
#include "scripted_runner.h"
#include "unit.h"

/*
 * A client of an engine: sends requests, keeps all that comes, and compares.
 */
enum { ANSWER_TOKENS = 512, ANSWER_TOP = 6, ANSWER_TEXT = 8192 };

typedef struct choice {
	int32_t count;
	gh_logprob token[ANSWER_TOKENS];
	gh_logprob top[ANSWER_TOKENS][ANSWER_TOP];
	size_t top_count[ANSWER_TOKENS];
	char text[ANSWER_TEXT], pieces[ANSWER_TEXT];
	size_t text_len, pieces_len;
	int32_t finish, stop_id, stop_string, error;
	char error_text[232];
} choice;

typedef struct answer {
	struct client *client;
	uint64_t id;
	int32_t n, ended, events, cached_tokens;
	int32_t watched;  /* somebody waits for so many events */
	int32_t abort_at; /* abort after so many events; 0 = never */
	gh_prompt_logprob *prompt;
	gh_logprob *prompt_top;
	int32_t prompt_count;
	choice *choice; /* [n] */
} answer;

typedef struct client {
	gh_engine *engine;
	scripted *model; /* NULL: another runner */
	gh_tokenizer *tokenizer;
	gh__metrics *metrics;
	pthread_mutex_t mutex;
	pthread_cond_t news;
} client;

/* A request that outlives its sender's stack. */
typedef struct query {
	gh_sampling sampling;
	int32_t prompt[512];
	size_t prompt_count;
} query;

static inline void client_keep_prompt(answer *a, const gh_token_event *event)
{
	if (!event->prompt)
		return;
	must(!a->prompt);
	a->prompt_count = event->prompt_tokens;
	a->prompt = calloc((size_t)event->prompt_tokens, sizeof *a->prompt);
	a->prompt_top = calloc((size_t)event->prompt_tokens * 20, sizeof *a->prompt_top);
	for (int32_t i = 0; i < event->prompt_tokens; i++) {
		a->prompt[i] = event->prompt[i];
		a->prompt[i].top = a->prompt_top + 20 * i;
		for (size_t j = 0; j < event->prompt[i].top_count; j++)
			a->prompt_top[20 * (size_t)i + j] = event->prompt[i].top[j];
	}
}

static inline void client_event(const gh_token_event *event, void *userdata)
{
	answer *a = userdata; /* its owner may free it once all has come */
	client *owner = a->client;

	pthread_mutex_lock(&owner->mutex);
	must(event->choice >= 0);
	must(event->choice < a->n);
	choice *c = &a->choice[event->choice];
	must(c->finish == GH_FINISH_NONE);
	must(gh__utf8_valid(event->text, event->text_len) && !event->text[event->text_len]);
	must(gh__utf8_valid(event->piece, event->piece_len) && !event->piece[event->piece_len]);
	a->events++;
	a->cached_tokens = event->cached_tokens;
	client_keep_prompt(a, event);
	if (event->token >= 0) {
		must(c->count < ANSWER_TOKENS);
		c->token[c->count] = event->logprob;
		c->token[c->count].token = event->token;
		must(event->top_count <= ANSWER_TOP);
		c->top_count[c->count] = event->top_count;
		for (size_t i = 0; i < event->top_count; i++)
			c->top[c->count][i] = event->top[i];
		c->count++;
	}
	must(event->output_tokens == c->count);
	must(c->text_len + event->text_len < sizeof c->text);
	must(c->pieces_len + event->piece_len < sizeof c->pieces);
	memcpy(c->text + c->text_len, event->text, event->text_len + 1);
	memcpy(c->pieces + c->pieces_len, event->piece, event->piece_len + 1);
	c->text_len += event->text_len;
	c->pieces_len += event->piece_len;
	c->finish = event->finish;
	c->stop_id = event->stop_id;
	c->stop_string = event->stop_string;
	if (event->finish == GH_FINISH_ERROR) {
		must(event->error);
		c->error = event->error->status;
		memcpy(c->error_text, event->error->text, sizeof c->error_text);
	} else {
		must(!event->error);
	}
	a->ended += event->finish != GH_FINISH_NONE;
	bool abort_now = a->events == a->abort_at;
	if (a->ended == a->n || a->events == a->watched)
		pthread_cond_broadcast(&owner->news);
	pthread_mutex_unlock(&owner->mutex);
	if (abort_now)
		gh_engine_abort(owner->engine, event->request);
}

static inline answer *answer_create(client *c, const query *q)
{
	answer *a = calloc(1, sizeof *a);

	a->client = c;
	a->n = q->sampling.n;
	a->choice = calloc((size_t)a->n, sizeof *a->choice);
	return a;
}

static inline answer *client_send(client *c, const query *q)
{
	answer *a = answer_create(c, q);

	assert_ok(gh_engine_submit(c->engine, q->prompt, q->prompt_count, &q->sampling,
				   client_event, a, &a->id, error));
	return a;
}

static inline answer *client_wait(client *c, answer *a)
{
	pthread_mutex_lock(&c->mutex);
	while (a->ended < a->n)
		pthread_cond_wait(&c->news, &c->mutex);
	pthread_mutex_unlock(&c->mutex);
	return a;
}

static inline void client_await_events(client *c, answer *a, int32_t events)
{
	pthread_mutex_lock(&c->mutex);
	a->watched = events;
	while (a->events < events)
		pthread_cond_wait(&c->news, &c->mutex);
	pthread_mutex_unlock(&c->mutex);
}

static inline answer *client_ask(client *c, const query *q)
{
	return client_wait(c, client_send(c, q));
}

static inline void answer_free(answer *a)
{
	free(a->prompt);
	free(a->prompt_top);
	free(a->choice);
	free(a);
}

static inline void same_logprobs(const gh_logprob *a, const gh_logprob *b, size_t count)
{
	must(memcmp(a, b, count * sizeof *a) == 0); /* to the bit */
}

static inline bool same_tokens(const choice *a, const choice *b)
{
	bool same = a->count == b->count;

	for (int32_t i = 0; same && i < a->count; i++)
		same = a->token[i].token == b->token[i].token;
	return same;
}

static inline void same_choice(const choice *a, const choice *b)
{
	must(a->count == b->count);
	must(a->finish == b->finish);
	must(a->stop_id == b->stop_id);
	must(a->stop_string == b->stop_string);
	must(a->text_len == b->text_len);
	must(memcmp(a->text, b->text, a->text_len) == 0);
	must(a->pieces_len == b->pieces_len);
	must(memcmp(a->pieces, b->pieces, a->pieces_len) == 0);
	same_logprobs(a->token, b->token, (size_t)a->count);
	for (int32_t i = 0; i < a->count; i++) {
		must(a->top_count[i] == b->top_count[i]);
		same_logprobs(a->top[i], b->top[i], a->top_count[i]);
	}
}

static inline void same_answer(const answer *a, const answer *b)
{
	must(a->n == b->n);
	for (int32_t i = 0; i < a->n; i++)
		same_choice(&a->choice[i], &b->choice[i]);
	must(a->prompt_count == b->prompt_count);
	for (int32_t i = 0; i < a->prompt_count; i++) {
		same_logprobs(&a->prompt[i].actual, &b->prompt[i].actual, 1);
		must(a->prompt[i].top_count == b->prompt[i].top_count);
		same_logprobs(a->prompt[i].top, b->prompt[i].top, a->prompt[i].top_count);
	}
}

/* All but the engine. */
static inline void client_prepare(client *c, const char *checkpoint)
{
	char folder[512];

	memset(c, 0, sizeof *c);
	snprintf(folder, sizeof folder, "%s/checkpoints/%s", GH_TEST_DATA, checkpoint);
	assert_ok(gh_tokenizer_load(&c->tokenizer, folder, error));
	assert_ok(gh__metrics_create(&c->metrics, error));
	pthread_mutex_init(&c->mutex, NULL);
	pthread_cond_init(&c->news, NULL);
}

/* An engine on the scripted runner. */
static inline client *client_create(int64_t kv_blocks, const gh_engine_options *options)
{
	client *c = malloc(sizeof *c);
	gh__runner runner = scripted_create(kv_blocks, 512);

	client_prepare(c, "qwen2");
	c->model = runner.self;
	assert_ok(gh__engine_create(&c->engine, &runner, c->tokenizer, options, c->metrics, "tiny",
				    error));
	return c;
}

/* The engine is freed. */
static inline void client_done(client *c)
{
	gh__metrics_free(c->metrics);
	gh_tokenizer_free(c->tokenizer);
	pthread_mutex_destroy(&c->mutex);
	pthread_cond_destroy(&c->news);
}

static inline void client_stop(client *c)
{
	gh_engine_free(c->engine);
	client_done(c);
}

static inline void client_free(client *c)
{
	client_stop(c);
	free(c);
}

static inline void client_is_empty(const client *c)
{
	gh_engine_stats stats;

	gh_engine_stats_get(c->engine, &stats);
	must(stats.kv_blocks_used == 0);
	must(stats.running == 0);
	must(stats.waiting == 0);
}

static inline query query_of(const int32_t *prompt, size_t count)
{
	query q;

	gh_sampling_init(&q.sampling);
	memcpy(q.prompt, prompt, count * sizeof *prompt);
	q.prompt_count = count;
	return q;
}

/* A request whose answer is the text's tokens. */
static inline query query_echo(const client *c, const char *text)
{
	query q;
	int32_t *ids;
	size_t count;

	assert_ok(gh_tokenizer_encode(c->tokenizer, text, strlen(text), 0, &ids, &count, error));
	must(count + 2 < 400);
	gh_sampling_init(&q.sampling);
	q.prompt[0] = SCRIPT_ECHO;
	q.prompt[1] = (int32_t)count + 2;
	memcpy(q.prompt + 2, ids, count * sizeof *ids);
	q.prompt_count = count + 2;
	q.sampling.max_tokens = (int32_t)count;
	gh_free(ids);
	return q;
}

typedef struct dice {
	uint64_t state;
} dice;

static inline int32_t throw(dice * d, int32_t sides)
{
	d->state = scramble(d->state);
	return (int32_t)(d->state % (uint64_t)sides);
}

/* Some request: many fields set, prompts that often begin alike. vocab: ids it may name. */
static inline query query_random(dice *d, int32_t vocab)
{
	static const char *const stops[] = { "th", "e a", "\n", " ", "is", "zz" };
	static const int32_t ends[] = { 3, 50, 77, 120, 200, 201, 202, 203 };
	query q;
	gh_sampling *s = &q.sampling;
	int32_t family = throw(d, 4), shared = throw(d, 5) * 20;

	gh_sampling_init(s);
	q.prompt_count = (size_t)(shared + 1 + throw(d, 60));
	for (int32_t i = 0; i < (int32_t)q.prompt_count; i++)
		q.prompt[i] = i < shared ? (family * 97 + i * 31) % vocab : throw(d, vocab);
	s->max_tokens = 1 + throw(d, throw(d, 3) ? 30 : 110);
	s->temperature = throw(d, 3) ? 0.3F + 0.2F * (float) throw(d, 5) : 0.0F;
	s->n = s->temperature > 0 && throw(d, 3) == 0 ? 1 + throw(d, 4) : 1;
	s->flags = GH_SAMPLING_SEED | (throw(d, 2) ? GH_SAMPLING_LOGPROBS : 0) |
		   (throw(d, 4) == 0 ? GH_SAMPLING_INCLUDE_STOP : 0) |
		   (throw(d, 4) == 0 ? GH_SAMPLING_SHOW_SPECIAL : 0);
	s->seed = (uint64_t) throw(d, 1000);
	s->top_logprobs = throw(d, 6);
	s->prompt_logprobs = throw(d, 6) == 0 ? throw(d, 4) : -1;
	s->repetition_penalty = throw(d, 3) ? 1.0F : 1.2F;
	s->frequency_penalty = throw(d, 3) ? 0.0F : 0.5F;
	s->min_tokens = throw(d, 4) ? 0 : throw(d, s->max_tokens);
	if (throw(d, 2)) {
		s->stop = stops + throw(d, 3);
		s->stop_count = 1 + throw(d, 3);
	}
	if (throw(d, 2)) {
		s->eos_ids = ends;
		s->eos_count = 8;
	}
	return q;
}

#endif
