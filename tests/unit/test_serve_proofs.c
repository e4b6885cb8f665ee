#include "unit.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <gonkahost/node.h>
#include <gonkahost/poc.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/thread.h"
#include "folder.h"
#include "http/client.h"
#include "json/json.h"

/* What an inference node asks of a worker for proofs, over its Unix socket. */

#define HASH "C0FFEE"
#define KEY  "02ab"

static const char small[] = "{\"dim\":128,\"n_layers\":16,\"n_heads\":16,\"n_kv_heads\":16,"
			    "\"vocab_size\":128,\"ffn_dim_multiplier\":16,\"multiple_of\":1024,"
			    "\"norm_eps\":1e-5,\"rope_theta\":500000,\"seq_len\":4}";
static const double r_target = 1.4013564660458173;

static gh_worker *worker;
static gh__http_client *client;
static char path[128];

static void set_up(void)
{
	gh_worker_options options = GH_WORKER_OPTIONS_INIT;

	make_root();
	snprintf(path, sizeof path, "%s/w.sock", root);
	options.unix_path = path;
	options.flags = GH_WORKER_NO_MODEL;
	assert_ok(gh_worker_start(&worker, &options, error));
	assert_ok(gh__http_client_create(&client, error));
}

static void tear_down(void)
{
	gh__http_client_free(client);
	gh_worker_stop(worker);
	remove_root();
}

static gh__http_call_options call_for(const char *route, const char *body)
{
	static const char *const headers[] = { "Content-Type: application/json", NULL };
	static char url[256];

	snprintf(url, sizeof url, "http://worker%s", route);
	return (gh__http_call_options){ .method = body ? "POST" : "GET",
					.url = url,
					.unix_path = path,
					.headers = headers,
					.body = body,
					.body_len = body ? strlen(body) : 0,
					.total_timeout = 120 * GH__SECOND };
}

/* The answer's object; its status must be this. */
static json_t *ask(const char *route, const char *body, int expected)
{
	gh__http_call_options call = call_for(route, body);
	int status = 0;
	char *text = NULL;
	size_t len;
	json_t *tree;

	assert_ok(gh__http_fetch(client, &call, &status, &text, &len, error));
	ck_assert_msg(status == expected, "%s: %d, not %d: %s", route, status, expected, text);
	tree = len ? gh__json_parse(text, len, true, NULL) : NULL;
	gh__free(text);
	return tree;
}

static void expect(const char *route, const char *body, int status, const char *words)
{
	json_t *tree = ask(route, body, status);
	char *text = gh__json_text(tree, NULL);

	ck_assert_msg(text && strstr(text, words), "%s: \"%s\" lacks \"%s\"", route,
		      text ? text : "", words);
	gh__free(text);
	json_decref(tree);
}

static void order_round(const char *hash, const char *params, const char *more, int status)
{
	char body[1024];

	snprintf(body, sizeof body, "{\"block_hash\":\"%s\",\"params\":%s%s}", hash, params, more);
	json_decref(ask("/control/proofs/round", body, status));
}

static void await(const char *state)
{
	int64_t deadline = gh__now() + 60 * GH__SECOND;
	bool there = false;

	while (!there) {
		json_t *tree = ask("/control/proofs/status", NULL, 200);

		there = strcmp(json_string_value(json_object_get(tree, "state")), state) == 0;
		json_decref(tree);
		ck_assert_msg(gh__now() < deadline, "the state is never %s", state);
		if (!there)
			usleep(2000);
	}
}

/* What the library itself computes. */
static void compute(const uint64_t *nonces, size_t count, double *dist)
{
	gh_poc_options options = GH_POC_OPTIONS_INIT;
	gh_poc_params params;
	gh_poc *poc;

	assert_ok(gh_poc_params_parse(&params, small, strlen(small), error));
	options.block_hash = HASH;
	options.params = &params;
	assert_ok(gh_poc_create(&poc, &options, error));
	assert_ok(gh_poc_distances(poc, KEY, nonces, count, dist, error));
	gh_poc_free(poc);
}

/* A generation, as it comes. */
typedef struct stream {
	pthread_mutex_t lock;
	pthread_cond_t news;
	gh__buf text;
	size_t lines;
	bool done;
	gh__http_call *call;
} stream;

static bool on_data(const void *data, size_t len, void *userdata)
{
	stream *s = userdata;

	pthread_mutex_lock(&s->lock);
	gh__buf_append(&s->text, data, len);
	for (size_t i = 0; i < len; i++)
		s->lines += ((const char *)data)[i] == '\n';
	pthread_cond_broadcast(&s->news);
	pthread_mutex_unlock(&s->lock);
	return true;
}

static void on_done(const gh__http_answer *answer, gh_status status, const gh_error *error,
		    void *userdata)
{
	stream *s = userdata;

	(void)answer, (void)status, (void)error;
	pthread_mutex_lock(&s->lock);
	s->done = true;
	pthread_cond_broadcast(&s->news);
	pthread_mutex_unlock(&s->lock);
}

static void stream_start(stream *s, const char *more)
{
	char body[512];
	gh__http_call_options call;

	*s = (stream){ .text = GH__BUF_INIT(64 << 20) };
	pthread_mutex_init(&s->lock, NULL);
	gh__cond_init(&s->news);
	snprintf(body, sizeof body,
		 "{\"public_key\":\"" KEY "\",\"r_target\":%.17g,\"node_id\":1,\"node_count\":2%s}",
		 r_target, more);
	call = call_for("/control/proofs/generate", body);
	call.on_data = on_data;
	call.on_done = on_done;
	call.userdata = s;
	assert_ok(gh__http_call_start(client, &call, &s->call, error));
}

static void stream_wait(stream *s, size_t lines)
{
	int64_t deadline = gh__now() + 60 * GH__SECOND;

	pthread_mutex_lock(&s->lock);
	while (lines ? s->lines < lines && !s->done : !s->done)
		ck_assert(gh__cond_wait_until(&s->news, &s->lock, deadline));
	pthread_mutex_unlock(&s->lock);
}

static void stream_free(stream *s)
{
	gh__buf_free(&s->text);
	pthread_cond_destroy(&s->news);
	pthread_mutex_destroy(&s->lock);
}

START_TEST(rounds_come_and_go)
{
	set_up();
	json_decref(ask("/health", NULL, 200));
	expect("/v1/models", NULL, 503, "There is no model.");
	expect("/control/proofs/status", NULL, 200, "\"state\":\"none\"");
	expect("/control/proofs/distances", "{\"public_key\":\"" KEY "\",\"nonces\":[1]}", 503,
	       "there is no network");
	order_round(HASH, small, "", 200);
	await("ready");
	order_round(HASH, small, "", 200); /* the same: nothing happens */
	expect("/control/proofs/status", NULL, 200, "\"state\":\"ready\"");
	order_round("OTHER", small, "", 200);
	await("ready");
	order_round(HASH, small, ",\"budget\":1000", 200);
	await("failed");
	expect("/control/proofs/status", NULL, 200, "one nonce needs");
	expect("/control/proofs/distances", "{\"public_key\":\"" KEY "\",\"nonces\":[1]}", 503,
	       "one nonce needs");
	order_round(HASH, "{\"n_heads\":0}", "", 200);
	await("failed");
	expect("/control/proofs/status", NULL, 200, "n_heads: 0");
	expect("/control/proofs/stop", "", 200, "\"state\":\"none\"");
	/* A large one is given up at once for another. */
	order_round(HASH, "{\"dim\":1792,\"n_layers\":64,\"n_heads\":64,\"n_kv_heads\":64}", "",
		    200);
	order_round(HASH, small, "", 200);
	await("ready");
	tear_down();
}
END_TEST

START_TEST(distances_are_the_librarys)
{
	static const uint64_t nonces[] = { 3, 1, 3, 1000000007 };
	double dist[4];
	json_t *tree, *value;
	size_t i;

	set_up();
	order_round(HASH, small, "", 200);
	/* Asked before it is ready: answered then. */
	tree = ask("/control/proofs/distances",
		   "{\"public_key\":\"" KEY "\",\"nonces\":[3,1,3,1000000007]}", 200);
	compute(nonces, 4, dist);
	ck_assert_uint_eq(json_array_size(json_object_get(tree, "dist")), 4);
	json_array_foreach(json_object_get(tree, "dist"), i, value)
		ck_assert(json_real_value(value) == dist[i]);
	json_decref(tree);
	expect("/control/proofs/distances", "{\"public_key\":\"" KEY "\",\"nonces\":[]}", 200,
	       "\"dist\":[]");
	tear_down();
}
END_TEST

START_TEST(generation_skips_nothing)
{
	uint64_t nonces[64];
	double dist[64];
	size_t tried = 0, found = 0, hits = 0;
	stream s;

	set_up();
	order_round(HASH, small, "", 200);
	stream_start(&s, ",\"index\":5"); /* it waits for the network */
	stream_wait(&s, 6);
	json_decref(ask("/control/proofs/finish", "", 200));
	stream_wait(&s, 0);
	for (char *line = s.text.data, *end; line && *line; line = end + 1) {
		json_t *tree;

		end = strchr(line, '\n');
		ck_assert_ptr_nonnull(end);
		tree = gh__json_parse(line, (size_t)(end - line), true, NULL);
		ck_assert_int_eq(json_integer_value(json_object_get(tree, "index")),
				 5 + (int)tried);
		for (size_t i = 0;
		     i < json_array_size(json_object_get(tree, "nonces")) && found < 64; i++) {
			nonces[found] = (uint64_t)json_integer_value(
				json_array_get(json_object_get(tree, "nonces"), i));
			dist[found++] =
				json_real_value(json_array_get(json_object_get(tree, "dist"), i));
		}
		tried += (size_t)json_integer_value(json_object_get(tree, "tried"));
		json_decref(tree);
	}
	ck_assert_uint_ge(tried, 6);
	ck_assert_uint_ge(found, 1);
	/* The same by hand: nonces 1 + 2 x, from x = 5 on. */
	uint64_t all[256];
	double computed[256];
	size_t count = tried < 256 ? tried : 256;
	for (size_t i = 0; i < count; i++)
		all[i] = 1 + 2 * (5 + i);
	compute(all, count, computed);
	for (size_t i = 0; i < count && hits < found; i++) {
		if (!(computed[i] < r_target))
			continue;
		ck_assert_uint_eq(nonces[hits], all[i]);
		ck_assert(dist[hits] == computed[i]);
		hits++;
	}
	ck_assert_uint_ge(hits, 1);
	stream_free(&s);
	tear_down();
}
END_TEST

START_TEST(judging_goes_first_and_clients_may_leave)
{
	stream first, second;

	set_up();
	order_round(HASH, small, "", 200);
	stream_start(&first, "");
	stream_wait(&first, 2);
	for (int i = 0; i < 5; i++)
		json_decref(ask("/control/proofs/distances",
				"{\"public_key\":\"x\",\"nonces\":[1,2,3]}", 200));
	/* Another takes its place, and is left alone. */
	stream_start(&second, ",\"group\":1,\"groups\":2");
	stream_wait(&first, 0);
	stream_wait(&second, 2);
	gh__http_call_cancel(client, second.call);
	stream_wait(&second, 0);
	json_decref(ask("/control/proofs/distances", "{\"public_key\":\"x\",\"nonces\":[1]}", 200));
	/* Another round ends a generation. */
	stream_free(&first);
	stream_start(&first, "");
	stream_wait(&first, 1);
	order_round("OTHER", small, "", 200);
	stream_wait(&first, 0);
	stream_free(&first);
	stream_free(&second);
	/* Stopping ends one too. */
	await("ready");
	stream_start(&first, "");
	stream_wait(&first, 1);
	tear_down();
	ck_assert(first.done);
	stream_free(&first);
}
END_TEST

START_TEST(bad_requests_are_told)
{
	static const struct {
		const char *route, *body, *words;
	} bad[] = {
		{ "round", "{", "" },
		{ "round", "[]", "" },
		{ "round", "{}", "block_hash" },
		{ "round", "{\"block_hash\":1}", "block_hash" },
		{ "round", "{\"block_hash\":\"a\",\"params\":{\"dim\":\"x\"}}", "dim" },
		{ "round", "{\"block_hash\":\"a\",\"budget\":-1}", "budget" },
		{ "distances", "{\"public_key\":\"a\"}", "nonces" },
		{ "distances", "{\"public_key\":\"a\",\"nonces\":[-1]}", "nonces" },
		{ "distances", "{\"public_key\":\"a\",\"nonces\":[\"1\"]}", "nonces" },
		{ "distances", "{\"public_key\":\"a\",\"nonces\":null}", "nonces" },
		{ "distances", "{\"nonces\":[1]}", "public_key" },
		{ "generate", "{\"public_key\":\"a\",\"r_target\":1,\"node_id\":0}", "node_count" },
		{ "generate",
		  "{\"public_key\":\"a\",\"r_target\":1,\"node_id\":-1,\"node_count\":1}",
		  "node_id" },
		{ "generate", "{\"public_key\":7,\"r_target\":1,\"node_id\":0,\"node_count\":1}",
		  "public_key" },
	};

	set_up();
	for (size_t i = 0; i < COUNT(bad); i++) {
		char route[64];

		snprintf(route, sizeof route, "/control/proofs/%s", bad[i].route);
		expect(route, bad[i].body, 400, bad[i].words);
	}
	json_decref(ask("/control/proofs/nothing", NULL, 404));
	expect("/control/proofs/status", NULL, 200, "none");
	tear_down();
}
END_TEST

START_TEST(only_a_nodes_worker_has_them)
{
	static const char model[] = GH_TEST_DATA "/checkpoints/qwen2";
	const char *args[] = { model, "--host", "127.0.0.1", "--port", "0" };
	gh_worker_options options = GH_WORKER_OPTIONS_INIT;
	char url[128];
	int status = 0;

	options.args = args;
	options.arg_count = COUNT(args);
	assert_ok(gh_worker_start(&worker, &options, error));
	assert_ok(gh__http_client_create(&client, error));
	snprintf(url, sizeof url, "http://127.0.0.1:%d/control/proofs/status",
		 (int)gh_worker_port(worker));
	gh__http_call_options call = { .url = url };
	assert_ok(gh__http_fetch(client, &call, &status, NULL, NULL, error));
	ck_assert_int_eq(status, 404);
	gh__http_client_free(client);
	gh_worker_stop(worker);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("serve_proofs");
	TCase *tests = tcase_create("proofs");

	tcase_add_test(tests, rounds_come_and_go);
	tcase_add_test(tests, distances_are_the_librarys);
	tcase_add_test(tests, generation_skips_nothing);
	tcase_add_test(tests, judging_goes_first_and_clients_may_leave);
	tcase_add_test(tests, bad_requests_are_told);
	tcase_add_test(tests, only_a_nodes_worker_has_them);
	suite_add_tcase(suite, tests);
	return unit_main(suite);
}
