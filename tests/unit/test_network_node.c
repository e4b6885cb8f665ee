#include "network_fixture.h"

/* How a network node drives its inference nodes, and what clients get. */

/* ---- driving nodes ---- */

START_TEST(node_is_brought_to_its_model)
{
	fake f;

	fake_start(&f, 0);
	set(f.state, "POW", sizeof f.state);
	add("n", &f, 5, "m");
	await_state("n", "current_status", "INFERENCE");
	await_state("n", "loaded_model", "m");
	ck_assert_int_eq(fake_count(&f, &f.stops), 1);
	ck_assert_int_eq(fake_count(&f, &f.ups), 1);
	ck_assert_str_eq(f.ordered, "m");
	ck_assert_str_eq(f.args, "[\"--quantization\",\"fp8\"]");
	expect(public_port, "GET", "/v1/models", "application/json", NULL, 200,
	       "{\"object\":\"list\",\"data\":[{\"id\":\"m\",\"object\":\"model\",\"created\":0,"
	       "\"owned_by\":\"gonka\"}],\"models\":[{\"id\":\"m\"}]}\n");
	/* Another model is wanted now. */
	add("n", &f, 5, "other");
	await_state("n", "loaded_model", "other");
	ck_assert_int_eq(fake_count(&f, &f.ups), 2);
	fake_stop(&f);
}
END_TEST

START_TEST(failures_are_told_and_mended)
{
	char reason[256];
	int port;
	fake f;

	fake_start(&f, 0);
	port = gh__http_server_port(f.server);
	f.up_fails = true;
	add("n", &f, 5, "m");
	await_state("n", "failure_reason", "vLLM process exited prematurely: None");
	await_state("n", "current_status", "FAILED");
	pthread_mutex_lock(&f.lock);
	f.up_fails = false;
	pthread_mutex_unlock(&f.lock);
	await_state("n", "current_status", "INFERENCE");
	state_of("n", "failure_reason", reason);
	ck_assert_str_eq(reason, "");
	pthread_mutex_lock(&f.lock);
	f.garbage = true;
	pthread_mutex_unlock(&f.lock);
	await_state("n", "current_status", "FAILED");
	await_state("n", "failure_reason", "/api/v1/state: expected an object with a state");
	fake_stop(&f);
	await_state("n", "failure_reason", "onnect");
	fake_start(&f, port);
	await_state("n", "current_status", "INFERENCE");
	fake_stop(&f);
}
END_TEST

static void set_number(fake *f, int *to, int value)
{
	pthread_mutex_lock(&f->lock);
	*to = value;
	pthread_mutex_unlock(&f->lock);
}

/* A node that serves stays in service when one look goes wrong. */
START_TEST(one_bad_look_is_forgiven)
{
	char since[256], now[256];
	int healths;
	fake f;

	fake_start(&f, 0);
	add("n", &f, 5, "m");
	await_state("n", "loaded_model", "m");
	state_of("n", "status_timestamp", since);
	/* An inference that fails brings a look at once, and that one fails too. */
	set_number(&f, &f.chat_status, 503);
	set_number(&f, &f.bad_healths, 1);
	healths = fake_count(&f, &f.healths);
	expect(public_port, "POST", "/v1/chat/completions", "application/json", "{}", 503,
	       "refused here");
	while (fake_count(&f, &f.healths) < healths + 2)
		gh__sleep(GH__MILLISECOND);
	await_state("n", "loaded_model", "m");
	state_of("n", "status_timestamp", now);
	ck_assert_str_eq(since, now);
	/* Two in a row are too much; then it comes back, without having been started anew. */
	set_number(&f, &f.bad_healths, 1000);
	expect(public_port, "POST", "/v1/chat/completions", "application/json", "{}", 503,
	       "refused here");
	await_state("n", "failure_reason", "not ready: /health answers 503");
	await_state("n", "current_status", "FAILED");
	set_number(&f, &f.bad_healths, 0);
	await_state("n", "current_status", "INFERENCE");
	ck_assert_int_eq(fake_count(&f, &f.ups), 1);
	fake_stop(&f);
}
END_TEST

/* At its new address a node serves nothing until it has been seen to. */
START_TEST(a_node_moves)
{
	fake old, new;

	fake_start(&old, 0);
	fake_start(&new, 0);
	new.up_fails = true;
	add("n", &old, 5, "m");
	await_state("n", "loaded_model", "m");
	add("n", &new, 5, "m");
	expect(public_port, "POST", "/v1/chat/completions", "application/json", "{}", 500,
	       "{\"error\":\"no nodes available for inference\"}\n");
	ck_assert_int_eq(fake_count(&new, &new.chats), 0);
	pthread_mutex_lock(&new.lock);
	new.up_fails = false;
	pthread_mutex_unlock(&new.lock);
	await_state("n", "loaded_model", "m");
	expect(public_port, "POST", "/v1/chat/completions", "application/json", "{}", 200,
	       "data: one\n\ndata: two\n\n");
	ck_assert_int_eq(fake_count(&new, &new.chats), 1);
	fake_stop(&old);
	fake_stop(&new);
}
END_TEST

/* Nor does it wait there for what was asked at the old one. */
START_TEST(a_node_moves_while_it_loads)
{
	fake old, new;

	fake_start(&old, 0);
	fake_start(&new, 0);
	old.up_hangs = true;
	add("n", &old, 5, "m");
	while (fake_count(&old, &old.ups) == 0)
		gh__sleep(GH__MILLISECOND);
	set(new.state, "INFERENCE", sizeof new.state);
	set(new.model, "m", sizeof new.model);
	new.health = 200;
	add("n", &new, 5, "m");
	await_state("n", "loaded_model", "m");
	expect(public_port, "POST", "/v1/chat/completions", "application/json", "{}", 200,
	       "data: one\n\ndata: two\n\n");
	gh__http_fail(take_held(&old), 500, "no");
	add("n", &new, 6, "m");
	await_state("n", "loaded_model", "m");
	await_state("n", "failure_reason", "");
	ck_assert_int_eq(fake_count(&new, &new.stops) + fake_count(&new, &new.ups), 0);
	fake_stop(&old);
	fake_stop(&new);
}
END_TEST

/* ---- clients' requests ---- */

static void expect_chat(const char *answer)
{
	expect(public_port, "POST", "/v1/chat/completions", "application/json", chat_text, 200,
	       answer);
}

START_TEST(chat_goes_through)
{
	fake f;

	fake_start(&f, 0);
	expect(public_port, "POST", "/v1/chat/completions", "application/json", chat_text, 500,
	       "{\"error\":\"no nodes available for inference\"}\n");
	add("n", &f, 5, "m");
	await_state("n", "loaded_model", "m");
	expect_chat("data: one\n\ndata: two\n\n");
	expect(public_port, "POST", "/v1/chat/completions", "application/json",
	       "{\"model\":\"unknown\"}", 500,
	       "{\"error\":\"no nodes available for inference\"}\n");
	expect(public_port, "POST", "/api/v1/chat/completions", "application/json", "{}", 200,
	       "data: one\n\ndata: two\n\n");
	pthread_mutex_lock(&f.lock);
	f.chat_status = 404;
	pthread_mutex_unlock(&f.lock);
	expect(public_port, "POST", "/v1/chat/completions", "application/json", chat_text, 404,
	       "refused here");
	await_state("n", "lock_count", "0");
	fake_stop(&f);
}
END_TEST

START_TEST(another_node_is_tried_while_nothing_was_sent)
{
	fake bad, good;
	int i;

	fake_start(&bad, 0);
	fake_start(&good, 0);
	add("bad", &bad, 5, "m");
	await_state("bad", "loaded_model", "m");
	add("good", &good, 5, "m");
	await_state("good", "loaded_model", "m");
	pthread_mutex_lock(&bad.lock);
	bad.chat_status = 503;
	pthread_mutex_unlock(&bad.lock);
	for (i = 0; i < 4; i++)
		expect_chat("data: one\n\ndata: two\n\n");
	ck_assert_int_ge(fake_count(&bad, &bad.chats), 1);
	pthread_mutex_lock(&good.lock);
	good.chat_status = 502;
	pthread_mutex_unlock(&good.lock);
	expect(public_port, "POST", "/v1/chat/completions", "application/json", chat_text, 502,
	       "refused here");
	fake_stop(&bad);
	fake_stop(&good);
}
END_TEST

START_TEST(streams_count_to_their_end)
{
	gh__http_request *held;
	exchange e;
	fake f;

	fake_start(&f, 0);
	f.hold = true;
	add("n", &f, 1, "m");
	await_state("n", "loaded_model", "m");
	exchange_start(&e, public_port, "/v1/chat/completions", chat_text);
	exchange_await(&e, "data: one"); /* unbuffered: the second piece has not been written */
	await_state("n", "lock_count", "1");
	expect(public_port, "POST", "/v1/chat/completions", "application/json", chat_text, 500,
	       "{\"error\":\"no nodes available for inference\"}\n");
	held = take_held(&f);
	ck_assert_int_eq(gh__http_stream_write(held, "data: end\n\n", 11), GH_OK);
	gh__http_stream_end(held);
	exchange_await(&e, NULL);
	ck_assert_int_eq(e.status, GH_OK);
	ck_assert_str_eq(gh__buf_str(&e.body), "data: one\n\ndata: end\n\n");
	gh__buf_free(&e.body);
	await_state("n", "lock_count", "0");
	/* A client that goes away frees the node. */
	exchange_start(&e, public_port, "/v1/chat/completions", chat_text);
	exchange_await(&e, "data: one");
	gh__http_call_cancel(client, e.call);
	exchange_await(&e, NULL);
	await_state("n", "lock_count", "0");
	gh__buf_free(&e.body);
	fake_stop(&f);
}
END_TEST

START_TEST(broken_streams_do_not_pass_for_whole)
{
	gh__http_request *held;
	exchange e;
	fake f;

	fake_start(&f, 0);
	f.hold = true;
	add("n", &f, 1, "m");
	await_state("n", "loaded_model", "m");
	exchange_start(&e, public_port, "/v1/chat/completions", chat_text);
	exchange_await(&e, "data: one");
	held = take_held(&f);
	ck_assert_int_eq(gh__http_stream_write(held, "data: ha", 8), GH_OK);
	gh__http_stream_abort(held);
	exchange_await(&e, NULL);
	ck_assert_ptr_nonnull(strstr(gh__buf_str(&e.body), "data: one\n\ndata: {\"error\":"));
	ck_assert_int_ne(e.status, GH_OK);
	await_state("n", "lock_count", "0");
	gh__buf_free(&e.body);
	fake_stop(&f);
}
END_TEST

START_TEST(unsigned_requests_are_refused)
{
	static const char *const headers[] = { "Authorization: c2lnbmF0dXJl", NULL };
	gh__http_call_options options = { 0 };
	char url[64], *answer;
	size_t len;
	int status;

	gh_network_node_stop(node);
	start_node(0, NULL);
	expect(public_port, "POST", "/v1/chat/completions", "application/json", chat_text, 401,
	       "{\"error\":\"Authorization is required\"}\n");
	snprintf(url, sizeof url, "http://127.0.0.1:%d/v1/chat/completions", (int)public_port);
	options.url = url;
	options.headers = headers;
	options.body = chat_text;
	options.body_len = sizeof chat_text - 1;
	assert_ok(gh__http_fetch(client, &options, &status, &answer, &len, error));
	ck_assert_int_eq(status, 401);
	ck_assert_ptr_nonnull(strstr(answer, "Unable to validate request against PubKey:"));
	gh__free(answer);
}
END_TEST

START_TEST(public_answers)
{
	expect(public_port, "GET", "/v1/status", "application/json", NULL, 200,
	       "{\"status\":\"ok\"}\n");
	expect(public_port, "GET", "/health", "application/json", NULL, 200, "healthy\n");
	expect(public_port, "GET", "/v1/models", "application/json", NULL, 200,
	       "{\"object\":\"list\",\"data\":[],\"models\":null}\n");
	expect(public_port, "GET", "/nothing", "application/json", NULL, 404,
	       "{\"error\":\"Not Found\"}\n");
	expect(callback_port, "GET", "/nothing", "application/json", NULL, 404,
	       "{\"error\":\"Not Found\"}\n");
}
END_TEST

/* ---- over restarts ---- */

START_TEST(nodes_come_back)
{
	char file[128];
	FILE *out;
	fake f;

	fake_start(&f, 0);
	add("n", &f, 5, "m");
	await_state("n", "loaded_model", "m");
	gh_network_node_stop(node);
	snprintf(file, sizeof file, "%s/node-config.json", folder);
	out = fopen(file, "w");
	ck_assert_ptr_nonnull(out);
	fputs("[{\"id\":\"c\",\"host\":\"127.0.0.1\",\"inference_port\":1,\"poc_port\":1,"
	      "\"max_concurrent\":1,\"models\":{\"m\":{\"args\":[]}}}]",
	      out);
	fclose(out);
	start_node(GH_NETWORK_NODE_ALLOW_UNSIGNED, file);
	await_state("n", "loaded_model", "m"); /* it served on: it is not started anew */
	ck_assert_int_eq(fake_count(&f, &f.ups), 1);
	await_state("c", "current_status", "FAILED");
	fake_stop(&f);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("network_node");
	TCase *tcase = tcase_create("network_node");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, node_is_brought_to_its_model);
	tcase_add_test(tcase, failures_are_told_and_mended);
	tcase_add_test(tcase, one_bad_look_is_forgiven);
	tcase_add_test(tcase, a_node_moves);
	tcase_add_test(tcase, a_node_moves_while_it_loads);
	tcase_add_test(tcase, chat_goes_through);
	tcase_add_test(tcase, another_node_is_tried_while_nothing_was_sent);
	tcase_add_test(tcase, streams_count_to_their_end);
	tcase_add_test(tcase, broken_streams_do_not_pass_for_whole);
	tcase_add_test(tcase, unsigned_requests_are_refused);
	tcase_add_test(tcase, public_answers);
	tcase_add_test(tcase, nodes_come_back);
	suite_add_tcase(suite, tcase);
	return unit_main(suite);
}
