#include "engine_client.h"

#include <sched.h>

#include "base/thread.h"

/* ---- a request's answer depends on nothing but the request ---- */

enum { TARGETS = 12, OTHERS = 32 };

static query targets[TARGETS];
static answer *alone[TARGETS];

static void ask_alone(void)
{
	gh_engine_options o = GH_ENGINE_OPTIONS_INIT;
	dice d = { 2 };

	o.flags = GH_ENGINE_NO_PREFIX_CACHE;
	client *c = client_create(64, &o);
	int32_t tokens = 0;
	for (int i = 0; i < TARGETS; i++) {
		targets[i] = query_random(&d, 399);
		alone[i] = client_ask(c, &targets[i]);
		tokens += alone[i]->choice[0].count;
		client_is_empty(c);
	}
	ck_assert_int_gt(tokens, 5 * TARGETS); /* they say something */
	client_free(c);
}

static void forget_alone(void)
{
	for (int i = 0; i < TARGETS; i++)
		answer_free(alone[i]);
}

/* All targets among others, in one engine of these options, twice over. */
static gh_engine_stats ask_among_others(int64_t kv_blocks, const gh_engine_options *o)
{
	client *c = client_create(kv_blocks, o);
	gh_engine_stats stats;

	for (int round = 0; round < 2; round++) {
		answer *a[TARGETS], *other[OTHERS];
		dice d = { 77 };

		scripted_door(c->model, true); /* so that all of them are there at once */
		for (int i = 0; i < OTHERS; i++) {
			query q = query_random(&d, 399);

			other[i] = client_send(c, &q);
			if (i % 3 == 0 && i / 3 < TARGETS)
				a[i / 3] = client_send(c, &targets[i / 3]);
		}
		for (int i = OTHERS / 3 + 1; i < TARGETS; i++)
			a[i] = client_send(c, &targets[i]);
		scripted_door(c->model, false);
		for (int i = 0; i < TARGETS; i++) {
			same_answer(client_wait(c, a[i]), alone[i]);
			answer_free(a[i]);
		}
		for (int i = 0; i < OTHERS; i++)
			answer_free(client_wait(c, other[i]));
		client_is_empty(c);
	}
	gh_engine_stats_get(c->engine, &stats);
	client_free(c);
	return stats;
}

START_TEST(same_in_a_batch)
{
	gh_engine_options o = GH_ENGINE_OPTIONS_INIT;

	o.flags = GH_ENGINE_NO_PREFIX_CACHE;
	gh_engine_stats stats = ask_among_others(4096, &o);
	ck_assert_uint_eq(stats.cached_tokens, 0);
	ck_assert_uint_eq(stats.preemptions, 0);
}
END_TEST

START_TEST(same_from_the_prefix_cache)
{
	gh_engine_options o = GH_ENGINE_OPTIONS_INIT;
	gh_engine_stats stats = ask_among_others(4096, &o);

	ck_assert_uint_gt(stats.cached_tokens, 500);
}
END_TEST

START_TEST(same_in_pieces)
{
	static const int32_t budgets[] = { 1, 2, 7, 16, 100, 512 };
	gh_engine_options o = GH_ENGINE_OPTIONS_INIT;

	o.step_tokens = budgets[_i / 2];
	o.flags = _i % 2 ? GH_ENGINE_NO_PREFIX_CACHE : 0;
	ask_among_others(1024, &o);
}
END_TEST

START_TEST(same_after_preemption)
{
	gh_engine_options o = GH_ENGINE_OPTIONS_INIT;

	o.max_length = 256;
	o.step_tokens = _i % 2 ? 48 : 0;
	o.flags = _i / 2 ? GH_ENGINE_NO_PREFIX_CACHE : 0;
	gh_engine_stats stats = ask_among_others(24, &o);
	ck_assert_uint_gt(stats.preemptions, 3);
}
END_TEST

START_TEST(same_with_few_seats)
{
	gh_engine_options o = GH_ENGINE_OPTIONS_INIT;

	o.max_sequences = 1 + _i;
	ask_among_others(512, &o);
}
END_TEST

/* Choice i of n is what a request with seed + i answers. */
START_TEST(choices_are_requests)
{
	gh_engine_options o = GH_ENGINE_OPTIONS_INIT;
	int32_t prompt[77];

	for (int32_t i = 0; i < 77; i++)
		prompt[i] = (i * 53) % 390;
	o.flags = _i % 2 ? GH_ENGINE_NO_PREFIX_CACHE : 0;
	client *c = client_create(256, &o);
	for (size_t count = 1; count <= 77; count += 19) {
		query q = query_of(prompt, count);

		q.sampling.n = 5;
		q.sampling.max_tokens = 21;
		q.sampling.seed = 900;
		q.sampling.flags = GH_SAMPLING_SEED | GH_SAMPLING_LOGPROBS;
		q.sampling.top_logprobs = 3;
		q.sampling.prompt_logprobs = _i / 2 ? 1 : -1;
		answer *all = client_ask(c, &q);
		client_is_empty(c);
		q.sampling.n = 1;
		q.sampling.prompt_logprobs = -1;
		for (int32_t i = 0; i < 5; i++) {
			q.sampling.seed = 900 + (uint64_t)i;
			answer *one = client_ask(c, &q);
			same_choice(&one->choice[0], &all->choice[i]);
			answer_free(one);
		}
		ck_assert(!same_tokens(&all->choice[0], &all->choice[1]));
		answer_free(all);
	}
	client_free(c);
}
END_TEST

/* The prompt of several choices is computed once, but for its last, partial block. */
START_TEST(choices_share_a_prompt)
{
	gh_engine_options o = GH_ENGINE_OPTIONS_INIT;
	int32_t prompt[100];
	gh_engine_stats stats;

	for (int32_t i = 0; i < 100; i++)
		prompt[i] = i;
	o.flags = _i ? GH_ENGINE_NO_PREFIX_CACHE : 0;
	o.max_length = 112;
	/* 6 whole blocks shared and one for each choice: 10; apart it would be 28. */
	client *c = client_create(10, &o);
	query q = query_of(prompt, 100);
	q.sampling.n = 4;
	q.sampling.max_tokens = 12;
	answer_free(client_ask(c, &q));
	gh_engine_stats_get(c->engine, &stats);
	ck_assert_uint_eq(stats.prompt_tokens, 100);
	ck_assert_uint_eq(stats.output_tokens, 48);
	ck_assert_uint_eq(stats.preemptions, 0);
	client_is_empty(c);
	client_free(c);
}
END_TEST

START_TEST(counts_cached_tokens)
{
	int32_t prompt[64];

	for (int32_t i = 0; i < 64; i++)
		prompt[i] = i;
	client *c = client_create(256, NULL);
	static const size_t lengths[] = { 64, 64, 63, 17, 16, 65 };
	static const int32_t cached[] = { 0, 48, 48, 16, 0, 48 };
	for (int i = 0; i < 5; i++) {
		query q = query_of(prompt, lengths[i]);

		q.sampling.max_tokens = 1;
		answer *a = client_ask(c, &q);
		ck_assert_int_eq(a->cached_tokens, cached[i]);
		answer_free(a);
	}
	/* Who wants all of a prompt's logprobs has it computed. */
	query q = query_of(prompt, 64);
	q.sampling.max_tokens = 1;
	q.sampling.prompt_logprobs = 0;
	answer *a = client_ask(c, &q);
	ck_assert_int_eq(a->cached_tokens, 0);
	ck_assert_int_eq(a->prompt_count, 64);
	ck_assert_int_eq(a->prompt[0].actual.token, -1);
	ck_assert_int_eq(a->prompt[63].actual.token, 63);
	answer_free(a);
	/* An answer is a prefix too: of the next turn. */
	q.sampling.prompt_logprobs = -1;
	q.sampling.max_tokens = 40;
	a = client_ask(c, &q);
	ck_assert_int_eq(a->choice[0].count, 40);
	q = query_of(prompt, 64);
	for (int32_t i = 0; i < 40; i++)
		q.prompt[q.prompt_count++] = a->choice[0].token[i].token;
	q.sampling.max_tokens = 1;
	answer *next = client_ask(c, &q);
	ck_assert_int_eq(next->cached_tokens, 96);
	answer_free(next);
	answer_free(a);
	client_free(c);
}
END_TEST

/* ---- ends ---- */

static query long_query(int32_t prompt_count)
{
	int32_t prompt[512];

	for (int32_t i = 0; i < prompt_count; i++)
		prompt[i] = (i * 7 + prompt_count) % 390;
	query q = query_of(prompt, (size_t)prompt_count);
	q.sampling.max_tokens = 100;
	return q;
}

START_TEST(aborts_at_every_stage)
{
	gh_engine_options o = GH_ENGINE_OPTIONS_INIT;
	gh_engine_stats stats;

	o.step_tokens = 64;
	o.max_sequences = 1;
	client *c = client_create(256, &o);
	query q = long_query(300), q4 = long_query(40);
	q4.sampling.n = 4;

	/* While it generates, and another is queued. */
	scripted_door(c->model, true);
	answer *first = client_send(c, &q), *second = client_send(c, &q4);
	scripted_await(c->model);
	gh_engine_stats_get(c->engine, &stats);
	ck_assert_int_eq(stats.running, 1);
	ck_assert_int_eq(stats.waiting, 4);
	ck_assert_int_eq(stats.kv_blocks_used, 19); /* 300 tokens, in its first of five pieces */
	gh_engine_abort(c->engine, second->id);
	gh_engine_abort(c->engine, first->id);
	gh_engine_abort(c->engine, first->id);
	gh_engine_abort(c->engine, 12345);
	scripted_door(c->model, false);
	client_wait(c, second);
	client_wait(c, first);
	for (int i = 0; i < 4; i++) {
		ck_assert_int_eq(second->choice[i].finish, GH_FINISH_ABORT);
		ck_assert_int_eq(second->choice[i].count, 0);
	}
	ck_assert_int_eq(first->choice[0].finish, GH_FINISH_ABORT);
	ck_assert_int_eq(first->choice[0].count, 0);
	client_is_empty(c);
	answer_free(first);
	answer_free(second);

	/* After the k-th token, from inside of the callback. */
	for (int32_t k = 1; k < 20; k += 6) {
		query *which = k % 2 ? &q : &q4;
		answer *a = answer_create(c, which);

		a->abort_at = k;
		assert_ok(gh_engine_submit(c->engine, which->prompt, which->prompt_count,
					   &which->sampling, client_event, a, &a->id, error));
		client_wait(c, a);
		ck_assert_int_eq(a->choice[0].finish, GH_FINISH_ABORT);
		ck_assert_int_le(a->events, k + a->n + 1);
		client_is_empty(c);
		answer_free(a);
	}
	gh_engine_stats_get(c->engine, &stats);
	ck_assert_int_eq(stats.failed, 0);
	client_free(c);
}
END_TEST

static void ignore(const gh_token_event *event, void *userdata)
{
	(void)event;
	(void)userdata;
}

/* Let the step pass that is held, once the engine takes no requests any more. */
static void open_when_closing(void *arg)
{
	client *c = arg;
	query q = long_query(1);
	uint64_t id;

	while (gh_engine_submit(c->engine, q.prompt, q.prompt_count, &q.sampling, ignore, NULL, &id,
				NULL) == GH_OK)
		sched_yield();
	scripted_door(c->model, false);
}

START_TEST(closing_ends_everything)
{
	gh_engine_options o = GH_ENGINE_OPTIONS_INIT;
	pthread_t opener;

	o.max_sequences = 3;
	client *c = client_create(256, &o);
	query q = long_query(100);
	q.sampling.n = 2;
	q.sampling.max_tokens = 400;
	scripted_door(c->model, true);
	answer *a[9];
	for (int i = 0; i < 9; i++)
		a[i] = client_send(c, &q);
	scripted_await(c->model);
	assert_ok(gh__thread_start(&opener, "opener", open_when_closing, c, error));
	gh_engine_free(c->engine);
	pthread_join(opener, NULL);
	client_done(c);
	for (int i = 0; i < 9; i++) {
		ck_assert_int_eq(a[i]->ended, 2);
		ck_assert_int_eq(a[i]->choice[0].finish, GH_FINISH_ABORT);
		ck_assert_int_eq(a[i]->choice[1].finish, GH_FINISH_ABORT);
		answer_free(a[i]);
	}
	free(c);
}
END_TEST

START_TEST(queue_is_bounded)
{
	gh_engine_options o = GH_ENGINE_OPTIONS_INIT;
	answer nobody = { .n = 1 };
	uint64_t id = 99;

	o.queue_max = 3;
	o.max_sequences = 1;
	client *c = client_create(256, &o);
	query q = long_query(10);
	q.sampling.max_tokens = 3;
	scripted_door(c->model, true);
	answer *a[4];
	a[0] = client_send(c, &q);
	scripted_await(c->model);
	for (int i = 1; i < 4; i++)
		a[i] = client_send(c, &q);
	assert_fails(GH_EBUSY, "3 requests wait",
		     gh_engine_submit(c->engine, q.prompt, q.prompt_count, &q.sampling,
				      client_event, &nobody, &id, error));
	ck_assert_uint_eq(id, 99);
	scripted_door(c->model, false);
	for (int i = 0; i < 4; i++)
		answer_free(client_wait(c, a[i]));
	answer_free(client_ask(c, &q));
	ck_assert_int_eq(nobody.events, 0);
	client_is_empty(c);
	client_free(c);
}
END_TEST

START_TEST(nan_ends_its_request_only)
{
	client *c = client_create(256, NULL);
	query good = long_query(40), bad = long_query(40);

	bad.prompt[20] = SCRIPT_NAN;
	bad.sampling.n = 3;
	bad.sampling.prompt_logprobs = _i ? 2 : -1;
	good.sampling.flags = GH_SAMPLING_SEED;
	answer *before = client_ask(c, &good);
	scripted_door(c->model, true);
	answer *a = client_send(c, &good), *b = client_send(c, &bad), *d = client_send(c, &good);
	scripted_door(c->model, false);
	same_answer(client_wait(c, a), before);
	same_answer(client_wait(c, d), before);
	client_wait(c, b);
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(b->choice[i].finish, GH_FINISH_ERROR);
		ck_assert_int_eq(b->choice[i].error, GH_ENUMERIC);
		ck_assert_int_eq(b->choice[i].count, 0);
	}
	client_is_empty(c);
	answer_free(before);
	answer_free(a);
	answer_free(b);
	answer_free(d);
	client_free(c);
}
END_TEST

START_TEST(a_failing_runner_ends_the_engine)
{
	gh_engine_options o = GH_ENGINE_OPTIONS_INIT;
	gh_engine_stats stats;
	answer nobody = { .n = 1 };
	uint64_t id;

	o.max_sequences = 2;
	client *c = client_create(256, &o);
	c->model->fail_at = 7;
	query q = long_query(40);
	answer *a[5];
	scripted_door(c->model, true);
	for (int i = 0; i < 5; i++)
		a[i] = client_send(c, &q);
	scripted_door(c->model, false);
	for (int i = 0; i < 5; i++) {
		client_wait(c, a[i]);
		ck_assert_int_eq(a[i]->choice[0].finish, GH_FINISH_ERROR);
		ck_assert_int_eq(a[i]->choice[0].error, GH_ECUDA);
		ck_assert_str_eq(a[i]->choice[0].error_text, "device: fell off the bus");
		answer_free(a[i]);
	}
	client_is_empty(c);
	gh_engine_stats_get(c->engine, &stats);
	ck_assert_int_eq(stats.failed, 1);
	assert_fails(GH_ECLOSED, "fell off the bus",
		     gh_engine_submit(c->engine, q.prompt, q.prompt_count, &q.sampling,
				      client_event, &nobody, &id, error));
	gh_engine_abort(c->engine, 1);
	client_free(c);
}
END_TEST

/* ---- many at once ---- */

enum { SENDERS = 4, REQUESTS = 1000, OPEN = 20 };

typedef struct sender {
	client *client;
	pthread_t thread;
	uint64_t seed;
	uint64_t ids[REQUESTS / SENDERS];
	answer *open[OPEN];
	int32_t finishes[5];
} sender;

static void settle(sender *s, int slot)
{
	answer *a = s->open[slot];

	if (!a)
		return;
	client_wait(s->client, a);
	ck_assert_int_eq(a->ended, a->n);
	for (int32_t k = 0; k < a->n; k++)
		s->finishes[a->choice[k].finish]++;
	answer_free(a);
	s->open[slot] = NULL;
}

static void *send_many(void *arg)
{
	sender *s = arg;
	dice d = { s->seed };

	for (int i = 0; i < REQUESTS / SENDERS; i++) {
		query q = query_random(&d, 399);
		answer *a = answer_create(s->client, &q);

		if (throw(&d, 50) == 0)
			q.prompt[0] = SCRIPT_NAN;
		a->abort_at = throw(&d, 4) == 0 ? 1 + throw(&d, 20) : 0;
		assert_ok(gh_engine_submit(s->client->engine, q.prompt, q.prompt_count, &q.sampling,
					   client_event, a, &a->id, error));
		s->ids[i] = a->id;
		if (throw(&d, 5) == 0) /* some earlier one, whatever became of it */
			gh_engine_abort(s->client->engine, s->ids[throw(&d, i + 1)]);
		settle(s, i % OPEN);
		s->open[i % OPEN] = a;
	}
	for (int i = 0; i < OPEN; i++)
		settle(s, i);
	return NULL;
}

START_TEST(a_thousand_requests_leave_nothing_behind)
{
	gh_engine_options o = GH_ENGINE_OPTIONS_INIT;
	sender senders[SENDERS];
	int32_t finishes[5] = { 0 };
	gh_engine_stats stats;

	o.max_length = 256;
	o.step_tokens = _i ? 40 : 400;
	o.max_sequences = _i ? 20 : 256;
	client *c = client_create(_i ? 40 : 120, &o);
	for (int i = 0; i < SENDERS; i++) {
		senders[i] = (sender){ .client = c, .seed = (uint64_t)(i + 1) };
		pthread_create(&senders[i].thread, NULL, send_many, &senders[i]);
	}
	for (int i = 0; i < SENDERS; i++) {
		pthread_join(senders[i].thread, NULL);
		for (int j = 0; j < 5; j++)
			finishes[j] += senders[i].finishes[j];
	}
	for (int i = GH_FINISH_STOP; i <= GH_FINISH_ERROR; i++)
		ck_assert_int_gt(finishes[i], 0);
	client_is_empty(c);
	gh_engine_stats_get(c->engine, &stats);
	ck_assert_int_eq(stats.failed, 0);
	if (_i)
		ck_assert_uint_gt(stats.preemptions, 0);
	/* What is cached by now is still right. */
	for (int i = 0; i < TARGETS; i++) {
		answer *a = client_ask(c, &targets[i]);

		same_answer(a, alone[i]);
		answer_free(a);
	}
	client_free(c);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("engine");
	TCase *same = tcase_create("same");
	TCase *ends = tcase_create("ends");

	tcase_add_checked_fixture(same, ask_alone, forget_alone);
	tcase_add_test(same, same_in_a_batch);
	tcase_add_test(same, same_from_the_prefix_cache);
	tcase_add_loop_test(same, same_in_pieces, 0, 12);
	tcase_add_loop_test(same, same_after_preemption, 0, 4);
	tcase_add_loop_test(same, same_with_few_seats, 0, 4);
	tcase_add_loop_test(same, a_thousand_requests_leave_nothing_behind, 0, 2);
	suite_add_tcase(suite, same);

	tcase_add_loop_test(ends, choices_are_requests, 0, 4);
	tcase_add_loop_test(ends, choices_share_a_prompt, 0, 2);
	tcase_add_test(ends, counts_cached_tokens);
	tcase_add_test(ends, aborts_at_every_stage);
	tcase_add_test(ends, closing_ends_everything);
	tcase_add_test(ends, queue_is_bounded);
	tcase_add_loop_test(ends, nan_ends_its_request_only, 0, 2);
	tcase_add_test(ends, a_failing_runner_ends_the_engine);
	suite_add_tcase(suite, ends);
	return unit_main(suite);
}
