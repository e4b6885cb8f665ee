#ifndef GH_TESTS_HTTP_FIXTURE_H
#define GH_TESTS_HTTP_FIXTURE_H

/*
 * What tests of the HTTP room share: clients that are only a socket, handlers that leave requests
 * for the test to answer, and waiting for other threads.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "unit.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/thread.h"
#include "http/server.h"
#include "json/json.h"

#define CLOSE    "Connection: close\r\n\r\n"
#define MS       GH__MILLISECOND
#define PATIENCE (10 * GH__SECOND) /* far more than anything here takes */

/* Waiting for what another thread does. */

typedef struct flag {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	int value;
} flag;

static inline void flag_init(flag *f)
{
	pthread_mutex_init(&f->lock, NULL);
	gh__cond_init(&f->changed);
	f->value = 0;
}

static inline void flag_add(flag *f)
{
	pthread_mutex_lock(&f->lock);
	f->value++;
	pthread_cond_broadcast(&f->changed);
	pthread_mutex_unlock(&f->lock);
}

static inline int flag_get(flag *f)
{
	pthread_mutex_lock(&f->lock);
	int value = f->value;
	pthread_mutex_unlock(&f->lock);
	return value;
}

static inline void flag_wait(flag *f, int at_least)
{
	int64_t deadline = gh__now() + PATIENCE;

	pthread_mutex_lock(&f->lock);
	while (f->value < at_least)
		ck_assert_msg(gh__cond_wait_until(&f->changed, &f->lock, deadline),
			      "waited in vain: %d of %d", f->value, at_least);
	pthread_mutex_unlock(&f->lock);
}

/* A client that is only a socket. */

static inline int dial_port(int port)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	struct timeval limit = { .tv_sec = 10 };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&at, sizeof at), 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
	return fd;
}

static inline int dial(const gh__http_server *server)
{
	return dial_port(gh__http_server_port(server));
}

static inline int dial_unix(const char *path)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(at.sun_path, sizeof at.sun_path, "%s", path);
	if (connect(fd, (struct sockaddr *)&at, sizeof at) == 0)
		return fd;
	close(fd);
	return -1;
}

static inline void say_n(int fd, const char *text, size_t len)
{
	while (len) {
		ssize_t sent = send(fd, text, len, MSG_NOSIGNAL);

		ck_assert_int_gt(sent, 0);
		text += sent;
		len -= (size_t)sent;
	}
}

static inline void say(int fd, const char *text)
{
	say_n(fd, text, strlen(text));
}

/* Reads until the text holds `until` (NULL: to the end); caller frees. */
static inline char *hear(int fd, const char *until)
{
	gh__buf text = GH__BUF_INIT(64u << 20);
	char piece[65536];
	ssize_t got;

	while (!until || !strstr(gh__buf_str(&text), until)) {
		got = recv(fd, piece, until ? 1 : sizeof piece, 0);
		if (got <= 0)
			break;
		gh__buf_append(&text, piece, (size_t)got);
	}
	return gh__buf_take(&text);
}

/* One request on a connection of its own; all of the answer. Caller frees. */
static inline char *ask(const gh__http_server *server, const char *request)
{
	int fd = dial(server);

	say(fd, request);
	char *answer = hear(fd, NULL);
	close(fd);
	return answer;
}

static inline void assert_has(const char *text, const char *words)
{
	ck_assert_msg(strstr(text, words) != NULL, "\"%s\" lacks \"%s\"", text, words);
}

static inline void assert_answer(const gh__http_server *server, const char *request,
				 const char *first, const char *words)
{
	char *answer = ask(server, request);

	ck_assert_msg(strncmp(answer, first, strlen(first)) == 0, "%s: \"%s\"", request, answer);
	if (words)
		assert_has(answer, words);
	gh__free(answer);
}

/* Servers. */

#define HELD_MAX 256

/* What handlers leave for the test: requests to be answered later, and how often they were told
 * that a client went. */
typedef struct fixture {
	gh__http_server *server;
	gh__http_request *held[HELD_MAX];
	flag holding, gone, drained;
	int status; /* of streams */
} fixture;

static inline void on_gone(void *userdata)
{
	flag_add(userdata);
}

static inline void hello(gh__http_request *request, void *userdata)
{
	(void)userdata;
	gh__http_respond(request, 200, "text/plain", "hello", 5);
}

static inline void keep(gh__http_request *request, void *userdata)
{
	fixture *f = userdata;

	gh__http_on_gone(request, on_gone, &f->gone);
	f->held[flag_get(&f->holding)] = request;
	flag_add(&f->holding);
}

static inline void stream(gh__http_request *request, void *userdata)
{
	gh__http_stream_begin(request, 200, "text/event-stream; charset=utf-8");
	keep(request, userdata);
}

static inline void put_header(const char *name, const char *value, void *userdata)
{
	json_object_set_new(userdata, name, json_string(value));
}

/* Everything that can be read of a request. */
static inline void echo(gh__http_request *request, void *userdata)
{
	json_t *headers = json_object();
	size_t len;
	const char *body = gh__http_body(request, &len);
	const char *id = gh__http_param(request, "id"), *rest = gh__http_param(request, "*");
	const char *q = gh__http_query(request, "q"), *e = gh__http_query(request, "e");

	(void)userdata;
	ck_assert_uint_eq(strlen(body), len);
	gh__http_each_header(request, put_header, headers);
	gh__http_respond_json(request, 200,
			      json_pack("{s:s,s:s,s:s,s:s?,s:s?,s:s?,s:s?,s:i,s:s,s:o}", "method",
					gh__http_method(request), "path", gh__http_path(request),
					"target", gh__http_target(request), "id", id, "rest", rest,
					"q", q, "e", e, "len", (int)len, "body",
					len < 100 ? body : "long", "headers", headers));
}

static inline void refuse(gh__http_request *request, void *userdata)
{
	(void)userdata;
	gh__http_set_header(request, "X-Once", "first");
	gh__http_set_header(request, "x-once", "second");
	gh__http_add_header(request, "Set-Cookie", "a=1");
	gh__http_add_header(request, "Set-Cookie", "b=2");
	gh__http_set_header(request, "Content-Length", "99");
	gh__http_set_header(request, "X-Evil", "a\r\nX-Injected: 1");
	gh__http_fail(request, 418, "no <%s> %s", "tea", "\xff");
}

static const gh__http_route routes[] = {
	{ "GET", "/hello", hello },
	{ "POST", "/hello", hello },
	{ NULL, "/echo", echo },
	{ "GET", "/items/:id", echo },
	{ "PUT", "/items/:id/enable", echo },
	{ "GET", "/files/*", echo },
	{ NULL, "/v1*", echo },
	{ "GET", "/later", keep },
	{ "POST", "/later", keep },
	{ "GET", "/stream", stream },
	{ "HEAD", "/stream", stream },
	{ "GET", "/refuse", refuse },
};

static inline void start_with(fixture *f, gh__http_server_options options)
{
	flag_init(&f->holding);
	flag_init(&f->gone);
	flag_init(&f->drained);
	if (!options.routes) {
		options.routes = routes;
		options.route_count = COUNT(routes);
	}
	options.userdata = f;
	assert_ok(gh__http_server_start(&f->server, &options, error));
	ck_assert(options.unix_path || gh__http_server_port(f->server) > 0);
}

static inline void start(fixture *f)
{
	start_with(f, (gh__http_server_options){ 0 });
}

static inline void stop(fixture *f)
{
	gh__http_server_stop(f->server, gh__now() + PATIENCE);
}

static inline const char *url_of(const gh__http_server *server, const char *path)
{
	static _Thread_local char url[256];

	snprintf(url, sizeof url, "http://127.0.0.1:%d%s", gh__http_server_port(server), path);
	return url;
}

/* The payload of a chunked body, in place. */
static inline char *unchunk(char *answer)
{
	char *at = strstr(answer, "\r\n\r\n") + 4, *out = answer;
	size_t len;

	while ((len = strtoul(at, &at, 16)) > 0) {
		at += 2;
		memmove(out, at, len);
		out += len;
		at += len + 2;
	}
	ck_assert_str_eq(at, "\r\n\r\n");
	*out = '\0';
	return answer;
}

#endif
