#ifndef GH_TESTS_NETWORK_FIXTURE_H
#define GH_TESTS_NETWORK_FIXTURE_H

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

static inline void set(char *to, const char *from, size_t size)
{
	snprintf(to, size, "%s", from);
}

/* ---- the fake's handlers ---- */

static inline void on_state(gh__http_request *request, void *userdata)
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

static inline void on_health(gh__http_request *request, void *userdata)
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

static inline void on_models(gh__http_request *request, void *userdata)
{
	fake *f = userdata;
	json_t *body;

	pthread_mutex_lock(&f->lock);
	body = json_pack("{s:[{s:s}]}", "data", "id", f->model);
	pthread_mutex_unlock(&f->lock);
	gh__http_respond_json(request, 200, body);
}

static inline void on_stop(gh__http_request *request, void *userdata)
{
	fake *f = userdata;

	pthread_mutex_lock(&f->lock);
	f->stops++;
	set(f->state, "STOPPED", sizeof f->state);
	pthread_mutex_unlock(&f->lock);
	gh__http_respond_json(request, 200, json_pack("{s:s}", "status", "OK"));
}

static inline void on_up(gh__http_request *request, void *userdata)
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

static inline void on_chat(gh__http_request *request, void *userdata)
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

static inline gh__http_request *take_held(fake *f)
{
	gh__http_request *held;

	pthread_mutex_lock(&f->lock);
	held = f->held;
	f->held = NULL;
	pthread_mutex_unlock(&f->lock);
	return held;
}

static inline void fake_start(fake *f, int port)
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

static inline void fake_stop(fake *f)
{
	gh__http_request *held = take_held(f);

	if (held)
		gh__http_stream_end(held);
	gh__http_server_stop(f->server, gh__now());
	pthread_mutex_destroy(&f->lock);
}

static inline int fake_count(fake *f, const int *counter)
{
	int value;

	pthread_mutex_lock(&f->lock);
	value = *counter;
	pthread_mutex_unlock(&f->lock);
	return value;
}

/* ---- the node and its clients ---- */

static inline void start_node(uint32_t flags, const char *node_config)
{
	gh_network_node_options options = GH_NETWORK_NODE_OPTIONS_INIT;

	options.data_dir = folder;
	options.node_config = node_config;
	options.public_port = options.callback_port = options.admin_port = -1;
	options.flags = flags;
	assert_ok(gh_network_node_start(&node, &options, error));
	gh_network_node_ports(node, &public_port, &callback_port, &admin_port);
}

static inline void setup(void)
{
	memcpy(folder + sizeof folder - 7, "XXXXXX", 7);
	ck_assert_ptr_nonnull(mkdtemp(folder));
	assert_ok(gh__http_client_create(&client, error));
	start_node(GH_NETWORK_NODE_ALLOW_UNSIGNED, NULL);
}

static inline void teardown(void)
{
	char command[160];

	gh_network_node_stop(node);
	gh__http_client_free(client);
	snprintf(command, sizeof command, "rm -rf %s", folder);
	ck_assert_int_eq(system(command), 0);
}

static inline char *node_text(const char *id, int port, int max_concurrent, const char *model)
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

static inline void add(const char *id, const fake *f, int max_concurrent, const char *model)
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
static inline void state_of(const char *id, const char *field, char out[256])
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

static inline void await_state(const char *id, const char *field, const char *wanted)
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

#endif
