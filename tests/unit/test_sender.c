#include "http_fixture.h"

#include <signal.h>
#include <sys/wait.h>

#include "inference_node/sender.h"

enum { HEARD_MAX = 4096 };

/*
 * A network node: writes down what it is told and answers the n-th request with the n-th status of
 * a script; behind its end with 200. 0: it does not answer. 307 and the like: to /moved.
 */
typedef struct receiver {
	gh__http_server *server;
	pthread_mutex_t lock;
	const int *script;
	size_t script_len;
	struct {
		char *method, *path, *type, *body;
		int status;
	} heard[HEARD_MAX];
	size_t asked;
	gh__http_request *held[64];
	size_t held_count, held_most;
	flag requests;
} receiver;

static char folder[64], path[128];
static gh__spool *spool;
static gh__http_client *client;
static gh__sender *sender;
static receiver rx;

static void hear_out(gh__http_request *request, void *userdata)
{
	receiver *r = userdata;
	const char *type = gh__http_header(request, "Content-Type");
	const char *body = gh__http_body(request, NULL);

	pthread_mutex_lock(&r->lock);
	const size_t i = r->asked++;
	ck_assert_uint_lt(i, HEARD_MAX);
	const int status = i < r->script_len ? r->script[i] : 200;
	r->heard[i].method = gh__strdup(gh__http_method(request));
	r->heard[i].path = gh__strdup(gh__http_path(request));
	r->heard[i].type = gh__strdup(type ? type : "");
	r->heard[i].body = gh__strdup(body ? body : "");
	r->heard[i].status = status;
	if (status == 0)
		r->held[r->held_count++] = request;
	pthread_mutex_unlock(&r->lock);
	if (status >= 300 && status < 400)
		gh__http_set_header(request, "Location", "/moved?to=here");
	if (status)
		gh__http_respond(request, status, NULL, "no\x01\xff", status < 400 ? 0 : 4);
	flag_add(&r->requests);
}

static const gh__http_route rx_routes[] = { { NULL, "*", hear_out } };

static void rx_start(receiver *r, const int *script, size_t len)
{
	const gh__http_server_options options = { .routes = rx_routes,
						  .route_count = 1,
						  .userdata = r };

	memset(r, 0, sizeof *r);
	pthread_mutex_init(&r->lock, NULL);
	flag_init(&r->requests);
	r->script = script;
	r->script_len = len;
	assert_ok(gh__http_server_start(&r->server, &options, error));
}

static void rx_release(receiver *r)
{
	for (size_t i = 0; i < r->held_count; i++)
		gh__http_respond(r->held[i], 200, NULL, "", 0);
	r->held_count = 0;
}

static void rx_stop(receiver *r)
{
	rx_release(r);
	gh__http_server_stop(r->server, gh__now() + GH__SECOND);
	for (size_t i = 0; i < r->asked; i++) {
		gh__free(r->heard[i].method);
		gh__free(r->heard[i].path);
		gh__free(r->heard[i].type);
		gh__free(r->heard[i].body);
	}
}

/* The URL that an init request would name. */
static const char *rx_url(const receiver *r, const char *tail)
{
	static _Thread_local char url[4][128];
	static _Thread_local int turn;

	turn = (turn + 1) % 4;
	snprintf(url[turn], sizeof url[turn], "http://127.0.0.1:%d%s",
		 gh__http_server_port(r->server), tail);
	return url[turn];
}

static void open_spool(void)
{
	assert_ok(gh__spool_open(&spool, &(gh__spool_options){ .path = path }, error));
}

static void begin(int64_t interval)
{
	const gh__sender_options options = {
		.spool = spool,
		.client = client,
		.interval = interval,
		.timeout = GH__SECOND,
		.backoff_min = MS,
		.backoff_max = 20 * MS,
	};

	assert_ok(gh__sender_start(&sender, &options, error));
}

static void setup(void)
{
	setenv("http_proxy", "http://127.0.0.1:9", 1);
	setenv("ALL_PROXY", "http://127.0.0.1:9", 1);
	snprintf(folder, sizeof folder, "/tmp/gh-test-sender-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(folder));
	snprintf(path, sizeof path, "%s/spool.db", folder);
	open_spool();
	assert_ok(gh__http_client_create(&client, error));
}

static void teardown(void)
{
	char command[128];

	gh__sender_stop(sender, 0);
	gh__http_client_free(client);
	gh__spool_close(spool);
	sender = NULL;
	snprintf(command, sizeof command, "rm -rf '%s'", folder);
	ck_assert_int_eq(system(command), 0);
}

static void add_to(const char *url, int64_t first, size_t count)
{
	const gh__proof_round round = { url, "5A1E", "02aa", 31415, 1 };
	int64_t *nonces = gh__malloc(count * sizeof *nonces);
	double *dist = gh__malloc(count * sizeof *dist);

	for (size_t i = 0; i < count; i++) {
		nonces[i] = first + (int64_t)i;
		dist[i] = 1.25;
	}
	assert_ok(gh__spool_add(spool, &round, nonces, dist, count, NULL, error));
	gh__free(nonces);
	gh__free(dist);
}

static void wait_delivered(int64_t batches)
{
	const int64_t deadline = gh__now() + PATIENCE;
	gh__sender_stats stats;

	do {
		gh__sender_stats_get(sender, &stats);
		ck_assert_msg(gh__now() < deadline, "%lld delivered: %s",
			      (long long)stats.delivered_batches, stats.last_error);
		gh__sleep(MS);
	} while (stats.delivered_batches < batches);
}

static void wait_empty(void)
{
	const int64_t deadline = gh__now() + PATIENCE;
	gh__sender_stats stats;

	do {
		ck_assert(gh__now() < deadline);
		gh__sleep(MS);
		gh__sender_stats_get(sender, &stats);
	} while (stats.pending_batches || stats.pending_proofs);
}

START_TEST(speaks_as_the_protocol_says)
{
	static const int64_t nonces[] = { 1, 7, 11 };
	static const double dist[] = { 1.338, 1.4140000000000001, 1 };
	static const char verdict[] = "{\"public_key\": \"02bb\", \"fraud_threshold\": 1e-07}";
	gh__sender_stats stats;

	rx_start(&rx, NULL, 0);
	const gh__proof_round round = { rx_url(&rx, "/v1/poc-batches"), "5A1E", "02aa", 31415, 1 };
	assert_ok(gh__spool_add(spool, &round, nonces, dist, 3, NULL, error));
	begin(60 * GH__SECOND);
	wait_delivered(1);
	assert_ok(gh__spool_add_verdict(spool, round.url, "5A1E", 31415, verdict, error));
	gh__sender_flush(sender);
	wait_delivered(2);
	ck_assert_uint_eq(rx.asked, 2);
	ck_assert_str_eq(rx.heard[0].method, "POST");
	ck_assert_str_eq(rx.heard[0].path, "/v1/poc-batches/generated");
	ck_assert_str_eq(rx.heard[0].type, "application/json");
	ck_assert_str_eq(rx.heard[0].body,
			 "{\"public_key\": \"02aa\", \"block_hash\": \"5A1E\", \"block_height\": "
			 "31415, \"nonces\": [1, 7, 11], \"dist\": [1.338, 1.4140000000000001, "
			 "1.0], \"node_id\": 1}");
	ck_assert_str_eq(rx.heard[1].method, "POST");
	ck_assert_str_eq(rx.heard[1].path, "/v1/poc-batches/validated");
	ck_assert_str_eq(rx.heard[1].type, "application/json");
	ck_assert_str_eq(rx.heard[1].body, verdict);
	gh__sender_stats_get(sender, &stats);
	ck_assert_int_eq(stats.delivered_proofs, 3);
	ck_assert_int_eq(stats.pending_proofs, 0);
	ck_assert_int_eq(stats.pending_batches, 0);
	ck_assert_str_eq(stats.last_error, "");
	rx_stop(&rx);
}
END_TEST

/* What fails comes again as it was; what is new goes into another batch; nothing twice. */
START_TEST(tries_again)
{
	static const int script[] = { 500, 408, 429, 503 };
	gh__sender_stats stats;

	rx_start(&rx, script, COUNT(script));
	add_to(rx_url(&rx, ""), 0, 10);
	begin(60 * GH__SECOND);
	flag_wait(&rx.requests, 1);
	add_to(rx_url(&rx, ""), 5, 10);
	wait_delivered(1);
	gh__sender_flush(sender);
	wait_delivered(2);
	ck_assert_uint_eq(rx.asked, 6);
	for (int i = 1; i < 5; i++)
		ck_assert_str_eq(rx.heard[i].body, rx.heard[0].body);
	assert_has(rx.heard[0].body, "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]");
	assert_has(rx.heard[5].body, "[10, 11, 12, 13, 14]");
	gh__sender_stats_get(sender, &stats);
	ck_assert_int_eq(stats.delivered_proofs, 15);
	rx_stop(&rx);
}
END_TEST

/* A refusal is not asked for again, holds nobody up, survives a restart and ends with its round. */
START_TEST(refusals_are_kept)
{
	static const int script[] = { 400, 404 };
	gh__sender_stats stats;

	rx_start(&rx, script, COUNT(script));
	for (int i = 0; i < 2; i++) {
		add_to(rx_url(&rx, ""), 10 * i, 10);
		if (i == 0)
			begin(60 * GH__SECOND);
		gh__sender_flush(sender);
		flag_wait(&rx.requests, i + 1);
	}
	add_to(rx_url(&rx, ""), 20, 10);
	gh__sender_flush(sender);
	wait_delivered(1);
	gh__sender_stats_get(sender, &stats);
	ck_assert_int_eq(stats.refused_batches, 2);
	ck_assert_int_eq(stats.pending_batches, 2);
	ck_assert_int_eq(stats.pending_proofs, 20);
	gh__sender_stop(sender, gh__now() + PATIENCE);
	begin(MS);
	gh__sender_block(sender, "5A1E");
	gh__sender_stop(sender, gh__now() + PATIENCE);
	begin(MS);
	gh__sender_stats_get(sender, &stats);
	ck_assert_int_eq(stats.pending_batches, 2);
	gh__sender_block(sender, "other");
	wait_empty();
	ck_assert_uint_eq(rx.asked, 3);
	rx_stop(&rx);
}
END_TEST

/* Refused when its block is over already: under way then, made only later, left by another process.
 * Others than refused ones are delivered for all that. */
START_TEST(late_refusal)
{
	static const int script[] = { 500, 0, 400, 500, 0, 404 };
	gh__sender_stats stats;

	rx_start(&rx, script, COUNT(script));
	add_to(rx_url(&rx, ""), 0, 10);
	begin(60 * GH__SECOND);
	flag_wait(&rx.requests, 2);
	gh__sender_block(sender, "other");
	gh__http_fail(rx.held[0], 400, "late");
	rx.held_count = 0;
	wait_empty();
	gh__sender_stats_get(sender, &stats);
	ck_assert_int_eq(stats.refused_batches, 1);
	assert_has(stats.last_error, "status 400 {\"error\":\"late\"}");

	add_to(rx_url(&rx, ""), 10, 10);
	gh__sender_flush(sender);
	wait_empty();
	add_to(rx_url(&rx, ""), 20, 10);
	gh__sender_flush(sender);
	flag_wait(&rx.requests, 5);
	rx_release(&rx);
	wait_delivered(1);
	gh__sender_stats_get(sender, &stats);
	ck_assert_int_eq(stats.refused_batches, 2);
	ck_assert_int_eq(stats.delivered_proofs, 10);

	gh__sender_stop(sender, 0);
	add_to(rx_url(&rx, ""), 30, 10);
	begin(60 * GH__SECOND);
	flag_wait(&rx.requests, 6);
	gh__sender_block(sender, "other");
	wait_empty();
	ck_assert_uint_eq(rx.asked, 6);
	rx_stop(&rx);
}
END_TEST

START_TEST(url_that_is_none)
{
	static const char *const urls[] = { "", "ftp://127.0.0.1", "http://a b", "nonsense" };
	gh__sender_stats stats;

	for (size_t i = 0; i < COUNT(urls); i++)
		add_to(urls[i], 10 * (int64_t)i, 10);
	begin(MS);
	gh__sender_stop(sender, gh__now() + 200 * MS);
	begin(MS);
	gh__sender_stats_get(sender, &stats);
	ck_assert_int_eq(stats.pending_proofs, 40);
}
END_TEST

/* One that never answers costs others nothing, and is asked by a few at a time only. */
START_TEST(silence_holds_nobody_up)
{
	static const int silent[64];
	receiver deaf;
	gh__sender_stats stats;

	rx_start(&rx, NULL, 0);
	rx_start(&deaf, silent, 8);
	for (int i = 0; i < 8; i++)
		assert_ok(gh__spool_add_verdict(spool, rx_url(&deaf, ""), "5A1E", 31415, "{}",
						error));
	add_to(rx_url(&deaf, ""), 0, 10);
	add_to(rx_url(&rx, ""), 10, 10);
	begin(MS);
	wait_delivered(1);
	ck_assert_uint_eq(rx.asked, 1);
	flag_wait(&deaf.requests, 5);
	ck_assert_int_eq(flag_get(&deaf.requests), 5); /* four verdicts and the proofs */
	for (int64_t i = 20; i < 30; i++) {
		add_to(rx_url(&rx, ""), i, 1);
		wait_delivered(i - 18);
	}
	/* It times out, and then the other side has come to its senses. */
	wait_delivered(20);
	ck_assert_int_eq(deaf.requests.value, 17);
	gh__sender_stats_get(sender, &stats);
	ck_assert_int_eq(stats.pending_batches, 0);
	rx_stop(&deaf);
	rx_stop(&rx);
}
END_TEST

/* A server that is only a socket: each connection is answered with the next words, and closed. */
typedef struct raw {
	int listener, port;
	const char *const *words; /* NULL: a reset */
	size_t count;
	char *heard[16];
	pthread_t thread;
} raw;

static void be_raw(void *opaque)
{
	raw *r = opaque;

	for (size_t i = 0; i < r->count; i++) {
		const struct linger reset = { .l_onoff = 1 };
		int fd = accept(r->listener, NULL, NULL);

		r->heard[i] = hear(fd, "\"node_id\": 1}");
		if (r->words[i])
			say(fd, r->words[i]);
		else
			setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
		close(fd);
	}
	close(r->listener);
}

START_TEST(broken_exchanges)
{
	static const char *const words[] = {
		NULL,
		"",
		"nonsense\r\n\r\n",
		"HTTP/1.1 2",
		"HTTP/1.1 200 OK\r\nContent-Le",
		"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n123",
		"HTTP/1.1 500 No\r\nContent-Length: 10\r\n\r\n123",
		"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
	};
	raw r = { .words = words, .count = COUNT(words) };
	struct sockaddr_in at = { .sin_family = AF_INET };
	socklen_t len = sizeof at;
	char url[64];

	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	r.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(r.listener, (struct sockaddr *)&at, sizeof at), 0);
	ck_assert_int_eq(getsockname(r.listener, (struct sockaddr *)&at, &len), 0);
	snprintf(url, sizeof url, "http://127.0.0.1:%d", ntohs(at.sin_port));
	/* Nobody listens yet. */
	add_to(url, 0, 10);
	begin(MS);
	const int64_t deadline = gh__now() + PATIENCE;
	gh__sender_stats stats;
	do {
		ck_assert(gh__now() < deadline);
		gh__sender_stats_get(sender, &stats);
	} while (!stats.last_error[0]);
	ck_assert_int_eq(listen(r.listener, 8), 0);
	assert_ok(gh__thread_start(&r.thread, "raw", be_raw, &r, error));
	wait_delivered(1);
	pthread_join(r.thread, NULL);
	for (size_t i = 0; i < r.count; i++) {
		const char *body = strstr(r.heard[i], "\r\n\r\n");

		ck_assert_ptr_nonnull(body);
		ck_assert_str_eq(body, strstr(r.heard[0], "\r\n\r\n"));
	}
	for (size_t i = 0; i < r.count; i++)
		gh__free(r.heard[i]);
}
END_TEST

START_TEST(follows_redirects)
{
	static const struct {
		int status;
		const char *method;
		bool whole; /* the body goes along */
	} cases[] = {
		{ 301, "POST", true }, { 302, "POST", true }, { 307, "POST", true },
		{ 308, "POST", true }, { 303, "GET", false },
	};
	int script[2] = { 0, 200 };

	for (size_t i = 0; i < COUNT(cases); i++) {
		script[0] = cases[i].status;
		rx_start(&rx, script, 2);
		add_to(rx_url(&rx, ""), 10 * (int64_t)i, 10);
		begin(60 * GH__SECOND);
		wait_delivered(1);
		gh__sender_stop(sender, gh__now() + PATIENCE);
		sender = NULL;
		ck_assert_uint_eq(rx.asked, 2);
		ck_assert_str_eq(rx.heard[1].path, "/moved");
		ck_assert_str_eq(rx.heard[1].method, cases[i].method);
		ck_assert_str_eq(rx.heard[1].body, cases[i].whole ? rx.heard[0].body : "");
		rx_stop(&rx);
	}
}
END_TEST

START_TEST(redirect_behind_which_it_fails)
{
	static const int script[] = { 307, 500, 307, 307, 307, 307, 307,
				      307, 307, 307, 307, 307, 307 };

	rx_start(&rx, script, COUNT(script));
	add_to(rx_url(&rx, ""), 0, 10);
	begin(60 * GH__SECOND);
	wait_delivered(1);
	/* One that ends at a 500, one of eleven steps, and one that finds the end. */
	ck_assert_uint_eq(rx.asked, 14);
	ck_assert_str_eq(rx.heard[13].path, "/generated");
	rx_stop(&rx);
}
END_TEST

/* Killed when the request was there and the answer was not: it comes again, the same, and once. */
START_TEST(killed_before_the_answer)
{
	static const int script[] = { 0 };
	int pipes[2], port;

	gh__spool_close(spool);
	gh__http_client_free(client);
	client = NULL;
	ck_assert_int_eq(pipe(pipes), 0);
	pid_t child = fork();
	if (child == 0) {
		char url[64];

		ck_assert_int_eq(read(pipes[0], &port, sizeof port), sizeof port);
		snprintf(url, sizeof url, "http://127.0.0.1:%d", port);
		open_spool();
		assert_ok(gh__http_client_create(&client, error));
		add_to(url, 0, 10);
		begin(60 * GH__SECOND);
		for (;;)
			pause();
	}
	rx_start(&rx, script, 1);
	port = gh__http_server_port(rx.server);
	ck_assert_int_eq(write(pipes[1], &port, sizeof port), sizeof port);
	flag_wait(&rx.requests, 1);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	close(pipes[0]);
	close(pipes[1]);

	assert_ok(gh__http_client_create(&client, error));
	for (int i = 0; i < 3; i++) {
		open_spool();
		add_to(rx_url(&rx, ""), 0, 10);
		begin(60 * GH__SECOND);
		if (i == 0)
			wait_delivered(1);
		gh__sender_stop(sender, gh__now() + PATIENCE);
		sender = NULL;
		gh__spool_close(spool);
	}
	open_spool();
	ck_assert_uint_eq(rx.asked, 2);
	ck_assert_str_eq(rx.heard[1].body, rx.heard[0].body);
	rx_stop(&rx);
}
END_TEST

START_TEST(stop_delivers_what_is_there)
{
	rx_start(&rx, NULL, 0);
	begin(3600 * GH__SECOND);
	for (int i = 0; i < 20; i++)
		assert_ok(
			gh__spool_add_verdict(spool, rx_url(&rx, ""), "5A1E", 31415, "{}", error));
	add_to(rx_url(&rx, ""), 0, 100000);
	gh__sender_stop(sender, gh__now() + 3600 * GH__SECOND);
	sender = NULL;
	ck_assert_uint_eq(rx.asked, 20 + 7); /* 100000 proofs are seven bodies */
	gh__spool_counts counts;
	gh__spool_counts_get(spool, &counts);
	ck_assert_int_eq(counts.proofs, 0);
	ck_assert_int_eq(counts.batches, 0);
	rx_stop(&rx);
}
END_TEST

START_TEST(stop_ends_in_time)
{
	static const int silent[64];

	rx_start(&rx, silent, 64);
	add_to(rx_url(&rx, ""), 0, 10);
	begin(MS);
	flag_wait(&rx.requests, 1);
	gh__sender_stop(sender, gh__now() + 50 * MS);
	sender = NULL;
	gh__spool_counts counts;
	gh__spool_counts_get(spool, &counts);
	ck_assert_int_eq(counts.proofs, 10);
	ck_assert_int_eq(counts.batches, 1);
	rx_stop(&rx);
}
END_TEST

/* Workers that hit the same nonces, a receiver that fails half of the time. */

enum { WORKERS = 4, NONCES = 20000 };

static void work(void *opaque)
{
	const char *url = opaque;

	for (int64_t i = 0; i < NONCES; i += 500)
		add_to(url, i, 700);
}

START_TEST(each_nonce_once)
{
	static int script[HEARD_MAX];
	static unsigned char seen[NONCES + 200];
	pthread_t threads[WORKERS];

	for (size_t i = 0; i < COUNT(script); i++)
		script[i] = i % 2 ? 200 : i % 4 ? 502 : 429;
	rx_start(&rx, script, COUNT(script));
	char *url = gh__strdup(rx_url(&rx, ""));
	begin(MS);
	for (int i = 0; i < WORKERS; i++)
		assert_ok(gh__thread_start(&threads[i], "work", work, url, error));
	for (int i = 0; i < WORKERS; i++)
		pthread_join(threads[i], NULL);
	gh__sender_stop(sender, gh__now() + PATIENCE);
	sender = NULL;
	for (size_t i = 0; i < rx.asked; i++) {
		if (rx.heard[i].status != 200)
			continue;
		json_t *body =
			gh__json_parse(rx.heard[i].body, strlen(rx.heard[i].body), true, NULL);
		ck_assert_ptr_nonnull(body);
		json_t *nonces = json_object_get(body, "nonces"), *nonce;
		size_t k;
		ck_assert_uint_eq(json_array_size(nonces),
				  json_array_size(json_object_get(body, "dist")));
		json_array_foreach(nonces, k, nonce)
			ck_assert_uint_eq(seen[json_integer_value(nonce)]++, 0);
		json_decref(body);
	}
	for (size_t i = 0; i < COUNT(seen); i++)
		ck_assert_uint_eq(seen[i], 1);
	gh__free(url);
	rx_stop(&rx);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("sender");
	TCase *tc = tcase_create("sender");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, speaks_as_the_protocol_says);
	tcase_add_test(tc, tries_again);
	tcase_add_test(tc, refusals_are_kept);
	tcase_add_test(tc, late_refusal);
	tcase_add_test(tc, url_that_is_none);
	tcase_add_test(tc, silence_holds_nobody_up);
	tcase_add_test(tc, broken_exchanges);
	tcase_add_test(tc, follows_redirects);
	tcase_add_test(tc, redirect_behind_which_it_fails);
	tcase_add_test(tc, killed_before_the_answer);
	tcase_add_test(tc, stop_delivers_what_is_there);
	tcase_add_test(tc, stop_ends_in_time);
	tcase_add_test(tc, each_nonce_once);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
