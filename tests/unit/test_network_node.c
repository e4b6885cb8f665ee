#include "node_client.h"

#include <gonkahost/node.h>

#include "http/server.h"
#include "json/json.h"

/*
 * A network node against inference nodes that do as they are told.
 */

typedef struct fake {
	gh__http_server *server; /* both APIs on one port */
	pthread_mutex_t lock;
	char state[16];
	char model[64];   /* loaded */
	char ordered[64]; /* by the last inference/up */
	char args[256];
	int health;
	int bad_healths; /* answers of 503 that come first */
	int ups, stops, chats, healths;
	bool up_fails, up_hangs, garbage;
	int chat_status;        /* 0: stream; else refuse with it */
	gh__http_request *held; /* a chat that waits for fake_release() */
	bool hold;
} fake;

static char folder[] = "/tmp/gh-test-network-XXXXXX";
static gh_network_node *node;
static int32_t public_port, admin_port, callback_port;

static void set(char *to, const char *from, size_t size)
{
	snprintf(to, size, "%s", from);
}

/* ---- the fake's handlers ---- */

static void on_state(gh__http_request *request, void *userdata)
{
	fake *f = userdata;
	char body[64];
	bool garbage;

	pthread_mutex_lock(&f->lock);
	snprintf(body, sizeof body, "{\"state\":\"%s\"}", f->state);
	garbage = f->garbage;
	pthread_mutex_unlock(&f->lock);
	gh__http_respond(request, 200, "application/json", garbage ? "{[" : body,
			 garbage ? 2 : strlen(body));
}

static void on_health(gh__http_request *request, void *userdata)
{
	fake *f = userdata;
	int status;

	pthread_mutex_lock(&f->lock);
	f->healths++;
	status = f->bad_healths > 0 ? 503 : f->health;
	f->bad_healths -= f->bad_healths > 0;
	pthread_mutex_unlock(&f->lock);
	gh__http_respond(request, status, NULL, "", 0);
}

static void on_models(gh__http_request *request, void *userdata)
{
	fake *f = userdata;
	json_t *body;

	pthread_mutex_lock(&f->lock);
	body = json_pack("{s:[{s:s}]}", "data", "id", f->model);
	pthread_mutex_unlock(&f->lock);
	gh__http_respond_json(request, 200, body);
}

static void on_stop(gh__http_request *request, void *userdata)
{
	fake *f = userdata;

	pthread_mutex_lock(&f->lock);
	f->stops++;
	set(f->state, "STOPPED", sizeof f->state);
	pthread_mutex_unlock(&f->lock);
	gh__http_respond_json(request, 200, json_pack("{s:s}", "status", "OK"));
}

static void on_up(gh__http_request *request, void *userdata)
{
	fake *f = userdata;
	size_t len;
	const char *text = gh__http_body(request, &len);
	json_t *body = json_loadb(text, len, 0, NULL);
	char *args = json_dumps(json_object_get(body, "additional_args"), JSON_COMPACT);
	bool fails, hangs;

	pthread_mutex_lock(&f->lock);
	f->ups++;
	set(f->ordered, json_string_value(json_object_get(body, "model")), sizeof f->ordered);
	set(f->args, args, sizeof f->args);
	ck_assert_str_eq(json_string_value(json_object_get(body, "dtype")), "float16");
	fails = f->up_fails;
	hangs = f->up_hangs;
	if (hangs) {
		f->held = request;
	} else if (!fails) {
		set(f->state, "INFERENCE", sizeof f->state);
		set(f->model, f->ordered, sizeof f->model);
		f->health = 200;
	}
	pthread_mutex_unlock(&f->lock);
	free(args);
	json_decref(body);
	if (hangs)
		return;
	if (fails)
		gh__http_respond_json(request, 200,
				      json_pack("{s:s, s:s}", "status", "ERROR", "message",
						"vLLM process exited prematurely: None"));
	else
		gh__http_respond_json(request, 200, json_pack("{s:s}", "status", "OK"));
}

static void on_chat(gh__http_request *request, void *userdata)
{
	fake *f = userdata;
	int status;
	bool hold;

	pthread_mutex_lock(&f->lock);
	f->chats++;
	status = f->chat_status;
	hold = f->hold;
	pthread_mutex_unlock(&f->lock);
	if (status) {
		gh__http_respond(request, status, "text/plain", "refused here", 12);
		return;
	}
	gh__http_set_header(request, "X-Request-Id", "r1");
	gh__http_stream_begin(request, 200, "text/event-stream; charset=utf-8");
	ck_assert_int_eq(gh__http_stream_write(request, "data: one\n\n", 11), GH_OK);
	if (hold) {
		pthread_mutex_lock(&f->lock);
		f->held = request;
		pthread_mutex_unlock(&f->lock);
		return;
	}
	ck_assert_int_eq(gh__http_stream_write(request, "data: two\n\n", 11), GH_OK);
	gh__http_stream_end(request);
}

static gh__http_request *take_held(fake *f)
{
	gh__http_request *held;

	pthread_mutex_lock(&f->lock);
	held = f->held;
	f->held = NULL;
	pthread_mutex_unlock(&f->lock);
	return held;
}

static void fake_start(fake *f, int port)
{
	static const gh__http_route routes[] = {
		{ "GET", "/api/v1/state", on_state },
		{ "POST", "/api/v1/stop", on_stop },
		{ "POST", "/api/v1/inference/up", on_up },
		{ "GET", "/health", on_health },
		{ "GET", "/v1/models", on_models },
		{ "POST", "/v1/chat/completions", on_chat },
	};
	gh__http_server_options options = { 0 };

	memset(f, 0, sizeof *f);
	pthread_mutex_init(&f->lock, NULL);
	set(f->state, "STOPPED", sizeof f->state);
	f->health = 503;
	options.port = port;
	options.routes = routes;
	options.route_count = sizeof routes / sizeof routes[0];
	options.userdata = f;
	assert_ok(gh__http_server_start(&f->server, &options, error));
}

static void fake_stop(fake *f)
{
	gh__http_request *held = take_held(f);

	if (held)
		gh__http_stream_end(held);
	gh__http_server_stop(f->server, gh__now());
	pthread_mutex_destroy(&f->lock);
}

static int fake_count(fake *f, const int *counter)
{
	int value;

	pthread_mutex_lock(&f->lock);
	value = *counter;
	pthread_mutex_unlock(&f->lock);
	return value;
}

/* ---- the node and its clients ---- */

static void start_node(uint32_t flags, const char *node_config)
{
	gh_network_node_options options = GH_NETWORK_NODE_OPTIONS_INIT;

	options.data_dir = folder;
	options.node_config = node_config;
	options.public_port = options.callback_port = options.admin_port = -1;
	options.flags = flags;
	assert_ok(gh_network_node_start(&node, &options, error));
	gh_network_node_ports(node, &public_port, &callback_port, &admin_port);
}

static void setup(void)
{
	memcpy(folder + sizeof folder - 7, "XXXXXX", 7);
	ck_assert_ptr_nonnull(mkdtemp(folder));
	assert_ok(gh__http_client_create(&client, error));
	start_node(GH_NETWORK_NODE_ALLOW_UNSIGNED, NULL);
}

static void teardown(void)
{
	char command[160];

	gh_network_node_stop(node);
	gh__http_client_free(client);
	snprintf(command, sizeof command, "rm -rf %s", folder);
	ck_assert_int_eq(system(command), 0);
}

static char *node_text(const char *id, int port, int max_concurrent, const char *model)
{
	char *text = NULL;

	ck_assert_int_gt(
		asprintf(&text,
			 "{\"id\":\"%s\",\"host\":\"http://127.0.0.1\",\"inference_port\":%d,"
			 "\"poc_port\":%d,\"max_concurrent\":%d,\"models\":{\"%s\":{\"args\":["
			 "\"--quantization\",\"fp8\"]}}}",
			 id, port, port, max_concurrent, model),
		0);
	return text;
}

static void add(const char *id, const fake *f, int max_concurrent, const char *model)
{
	char *text = node_text(id, gh__http_server_port(f->server), max_concurrent, model);
	int status;
	char *answer =
		call(admin_port, "POST", "/admin/v1/nodes", "application/json", text, &status);

	ck_assert_msg(status == 200, "%d %s", status, answer);
	gh__free(answer);
	free(text);
}

/* A field of a node's state as text; "" when the node is unknown. */
static void state_of(const char *id, const char *field, char out[256])
{
	int status;
	char *text = call(admin_port, "GET", "/admin/v1/nodes", NULL, NULL, &status);
	json_t *list = json_loads(text, 0, NULL), *entry;
	size_t i;

	out[0] = '\0';
	ck_assert_int_eq(status, 200);
	json_array_foreach(list, i, entry)
	{
		const json_t *value = json_object_get(json_object_get(entry, "state"), field);

		if (strcmp(json_string_value(json_object_get(json_object_get(entry, "node"), "id")),
			   id) != 0)
			continue;
		if (json_is_integer(value))
			snprintf(out, 256, "%d", (int)json_integer_value(value));
		else if (json_is_string(value))
			snprintf(out, 256, "%s", json_string_value(value));
	}
	json_decref(list);
	gh__free(text);
}

static void await_state(const char *id, const char *field, const char *wanted)
{
	int64_t deadline = gh__now() + PATIENCE * GH__SECOND;
	char got[256];

	do {
		state_of(id, field, got);
		if (strstr(got, wanted) && (wanted[0] || !got[0]))
			return;
		gh__sleep(GH__MILLISECOND * 20);
	} while (gh__now() < deadline);
	ck_abort_msg("node %s: %s is '%s', not '%s'", id, field, got, wanted);
}

static const char chat_text[] = "{\"model\":\"m\",\"stream\":true,\"messages\":[]}";

/* ---- admin API ---- */

START_TEST(admin_answers)
{
	char *text = node_text("a/b +c", 4000, 5, "m");
	int status;
	char *answer;

	expect(admin_port, "GET", "/admin/v1/nodes", "application/json", NULL, 200, "[]\n");
	expect(admin_port, "POST", "/admin/v1/nodes", "application/json", text, 200,
	       "{\"host\":\"127.0.0.1\",\"inference_segment\":\"\",\"inference_port\":4000,"
	       "\"poc_segment\":\"\",\"poc_port\":4000,\"base_url\":\"\",\"auth_token\":\"\","
	       "\"models\":{\"m\":{\"args\":[\"--quantization\",\"fp8\"]}},\"id\":\"a/b +c\","
	       "\"max_concurrent\":5,\"hardware\":null}\n");
	expect(admin_port, "POST", "/admin/v1/nodes/a%2Fb%20+c/disable", "application/json", NULL,
	       200, "{\"message\":\"node disabled successfully\",\"node_id\":\"a/b +c\"}\n");
	expect(admin_port, "POST", "/admin/v1/nodes/a%2Fb%20+c/enable", "application/json", NULL,
	       200, "{\"message\":\"node enabled successfully\",\"node_id\":\"a/b +c\"}\n");
	expect(admin_port, "POST", "/admin/v1/nodes/x/enable", "application/json", NULL, 404,
	       "{\"error\":\"node not found: x\"}\n");
	expect(admin_port, "DELETE", "/admin/v1/nodes/a%2Fb%20+c", "application/json", NULL, 200,
	       "true\n");
	expect(admin_port, "DELETE", "/admin/v1/nodes/a%2Fb%20+c", "application/json", NULL, 200,
	       "false\n");
	expect(admin_port, "GET", "/admin/v1/other", "application/json", NULL, 404,
	       "{\"error\":\"Not Found\"}\n");
	expect(admin_port, "PATCH", "/admin/v1/nodes", "application/json", NULL, 405,
	       "{\"error\":\"Method Not Allowed\"}\n");
	expect(admin_port, "POST", "/admin/v1/nodes", "application/json", "{\"id\":\"x<y\"}", 400,
	       "{\"error\":\"failed to create node: validation failed: host is required and cannot "
	       "be empty; inference_port must be between 1 and 65535, got 0; poc_port must be "
	       "between 1 and 65535, got 0; max_concurrent must be greater than 0, got 0; at least "
	       "one model must be specified\"}\n");
	answer = call(admin_port, "POST", "/admin/v1/nodes", "application/json", "{", &status);
	ck_assert_int_eq(status, 400);
	ck_assert_ptr_nonnull(strstr(answer, "{\"error\":\"invalid request body: "));
	gh__free(answer);
	answer = call(admin_port, "POST", "/admin/v1/nodes", "application/json",
		      "{\"poc_port\":\"x\"}", &status);
	ck_assert_int_eq(status, 400);
	ck_assert_ptr_nonnull(strstr(answer, "poc_port"));
	gh__free(answer);
	answer = call(admin_port, "POST", "/admin/v1/nodes", "text/plain", text, &status);
	ck_assert_int_eq(status, 400);
	ck_assert_ptr_nonnull(strstr(answer, "Unsupported Media Type"));
	gh__free(answer);
	answer = call(admin_port, "POST", "/admin/v1/nodes", "application/jsonx", text, &status);
	ck_assert_int_eq(status, 400);
	ck_assert_ptr_nonnull(strstr(answer, "Unsupported Media Type"));
	gh__free(answer);
	answer = call(admin_port, "POST", "/admin/v1/nodes", "Application/JSON ; charset=UTF-8",
		      text, &status);
	ck_assert_int_eq(status, 200);
	gh__free(answer);
	free(text);
}
END_TEST

/* A POST of node "n", in which the k-th allocation fails; 0: there was no answer. */
static int put_short_of_memory(size_t k, int max_concurrent)
{
	static const char *const headers[] = { "Content-Type: application/json", NULL };
	char *text = node_text("n", 4000, max_concurrent, "m"), *answer = NULL, url[128];
	gh__http_call_options options = { 0 };
	int status = 0;
	size_t len;

	snprintf(url, sizeof url, "http://127.0.0.1:%d/admin/v1/nodes", admin_port);
	options.method = "POST";
	options.url = url;
	options.headers = headers;
	options.body = text;
	options.body_len = strlen(text);
	options.total_timeout = PATIENCE * GH__SECOND;
	gh__alloc_fail_at(k);
	if (gh__http_fetch(client, &options, &status, &answer, &len, NULL) != GH_OK)
		status = 0;
	gh__alloc_fail_at(0);
	gh__free(answer);
	free(text);
	return status;
}

/* What the registry holds the broker knows, wherever memory ended: a node is put whole or not. */
START_TEST(admin_short_of_memory)
{
	int status, failed = 0;

	for (size_t k = 1; k <= 240; k++) {
		int wanted = 5 + (int)k, answered = put_short_of_memory(k, wanted), count;
		char *text = call(admin_port, "GET", "/admin/v1/nodes", NULL, NULL, &status);
		json_t *list = json_loads(text, 0, NULL), *entry = json_array_get(list, 0);

		ck_assert_int_eq(status, 200);
		count = (int)json_array_size(list);
		ck_assert_int_le(count, 1);
		if (count == 1) {
			int stored = (int)json_integer_value(
				json_object_get(json_object_get(entry, "node"), "max_concurrent"));

			ck_assert_msg(json_object_get(json_object_get(entry, "state"),
						      "current_status") != NULL,
				      "%zu: the broker does not know the node", k);
			ck_assert_msg(stored == wanted || answered != 200, "%zu: %d", k, stored);
		}
		ck_assert_msg(count == 1 || answered != 200, "%zu: not there", k);
		failed += answered == 500;
		json_decref(list);
		gh__free(text);
		/* a new one each second time, else one that is updated */
		if (k % 2 == 0)
			gh__free(call(admin_port, "DELETE", "/admin/v1/nodes/n", NULL, NULL,
				      &status));
	}
	ck_assert_int_gt(failed, 0);
}
END_TEST

START_TEST(admin_put)
{
	char *text = node_text("n", 4000, 5, "m");
	int status;
	char *answer =
		call(admin_port, "PUT", "/admin/v1/nodes/other", "application/json", text, &status);

	ck_assert_int_eq(status, 400);
	ck_assert_ptr_nonnull(strstr(answer, "the path names node 'other', the body node 'n'"));
	gh__free(answer);
	answer = call(admin_port, "PUT", "/admin/v1/nodes/n", "application/json", text, &status);
	ck_assert_int_eq(status, 200);
	gh__free(answer);
	free(text);
	text = node_text("", 4100, 6, "m");
	answer = call(admin_port, "PUT", "/admin/v1/nodes/n", "application/json", text, &status);
	ck_assert_msg(status == 200, "%s", answer);
	ck_assert_ptr_nonnull(strstr(answer, "\"max_concurrent\":6"));
	gh__free(answer);
	free(text);
	answer = call(admin_port, "GET", "/admin/v1/nodes?pretty", NULL, NULL, &status);
	ck_assert_ptr_nonnull(strstr(answer, "[\n  {\n    \"node\": {"));
	ck_assert_ptr_nonnull(strstr(answer, "\"node_num\": 1"));
	gh__free(answer);
	text = node_text("n", 70000, 6, "m");
	answer = call(admin_port, "POST", "/admin/v1/nodes", "application/json", text, &status);
	ck_assert_int_eq(status, 400);
	ck_assert_ptr_nonnull(strstr(answer, "failed to update node: validation failed: "));
	gh__free(answer);
	free(text);
}
END_TEST

START_TEST(admin_batch)
{
	char *a = node_text("a", 4001, 5, "m"), *b = node_text("b", 70000, 5, "m"), *body, *answer;
	int status;

	ck_assert_int_gt(asprintf(&body, "[%s,%s]", a, b), 0);
	answer = call(admin_port, "POST", "/admin/v1/nodes/batch", "application/json", body,
		      &status);
	ck_assert_int_eq(status, 206);
	ck_assert_ptr_nonnull(strstr(answer, "{\"errors\":[\"node[1] (id: b): validation failed: "
					     "inference_port must be"));
	ck_assert_ptr_nonnull(strstr(answer, "\"nodes\":[{\"host\":\"127.0.0.1\""));
	gh__free(answer);
	free(body);
	ck_assert_int_gt(asprintf(&body, "[%s]", b), 0);
	answer = call(admin_port, "POST", "/admin/v1/nodes/batch", "application/json", body,
		      &status);
	ck_assert_int_eq(status, 400);
	ck_assert_ptr_nonnull(
		strstr(answer,
		       "{\"error\":{\"error\":\"all nodes failed validation\",\"errors\":[\"node"));
	gh__free(answer);
	free(body);
	ck_assert_int_gt(asprintf(&body, "[%s]", a), 0);
	answer = call(admin_port, "POST", "/admin/v1/nodes/batch", "application/json", body,
		      &status);
	ck_assert_int_eq(status, 201);
	ck_assert_int_eq(answer[0], '[');
	gh__free(answer);
	free(body);
	free(a);
	free(b);
}
END_TEST

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
	tcase_add_test(tcase, admin_answers);
	tcase_add_test(tcase, admin_short_of_memory);
	tcase_add_test(tcase, admin_put);
	tcase_add_test(tcase, admin_batch);
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
