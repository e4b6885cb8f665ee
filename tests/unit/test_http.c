#include "unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/thread.h"
#include "http/client.h"
#include "http/route.h"
#include "http/server.h"
#include "json/json.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define PATIENCE     (10 * GH__SECOND) /* far more than anything here takes */

/* Waiting for what another thread does. */

typedef struct flag {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	int value;
} flag;

static void flag_init(flag *f)
{
	pthread_mutex_init(&f->lock, NULL);
	gh__cond_init(&f->changed);
	f->value = 0;
}

static void flag_add(flag *f)
{
	pthread_mutex_lock(&f->lock);
	f->value++;
	pthread_cond_broadcast(&f->changed);
	pthread_mutex_unlock(&f->lock);
}

static int flag_get(flag *f)
{
	pthread_mutex_lock(&f->lock);
	int value = f->value;
	pthread_mutex_unlock(&f->lock);
	return value;
}

static void flag_wait(flag *f, int at_least)
{
	int64_t deadline = gh__now() + PATIENCE;

	pthread_mutex_lock(&f->lock);
	while (f->value < at_least)
		ck_assert_msg(gh__cond_wait_until(&f->changed, &f->lock, deadline),
			      "waited in vain: %d of %d", f->value, at_least);
	pthread_mutex_unlock(&f->lock);
}

/* A client that is only a socket. */

static int dial_port(int port)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	struct timeval limit = { .tv_sec = 10 };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&at, sizeof at), 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
	return fd;
}

static int dial(const gh__http_server *server)
{
	return dial_port(gh__http_server_port(server));
}

static int dial_unix(const char *path)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(at.sun_path, sizeof at.sun_path, "%s", path);
	if (connect(fd, (struct sockaddr *)&at, sizeof at) == 0)
		return fd;
	close(fd);
	return -1;
}

static void say_n(int fd, const char *text, size_t len)
{
	while (len) {
		ssize_t sent = send(fd, text, len, MSG_NOSIGNAL);

		ck_assert_int_gt(sent, 0);
		text += sent;
		len -= (size_t)sent;
	}
}

static void say(int fd, const char *text)
{
	say_n(fd, text, strlen(text));
}

/* Reads until the text holds `until` (NULL: to the end); caller frees. */
static char *hear(int fd, const char *until)
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
static char *ask(const gh__http_server *server, const char *request)
{
	int fd = dial(server);

	say(fd, request);
	char *answer = hear(fd, NULL);
	close(fd);
	return answer;
}

static void assert_has(const char *text, const char *words)
{
	ck_assert_msg(strstr(text, words) != NULL, "\"%s\" lacks \"%s\"", text, words);
}

static void assert_answer(const gh__http_server *server, const char *request, const char *first,
			  const char *words)
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

static void on_gone(void *userdata)
{
	flag_add(userdata);
}

static void hello(gh__http_request *request, void *userdata)
{
	(void)userdata;
	gh__http_respond(request, 200, "text/plain", "hello", 5);
}

static void keep(gh__http_request *request, void *userdata)
{
	fixture *f = userdata;

	gh__http_on_gone(request, on_gone, &f->gone);
	f->held[flag_get(&f->holding)] = request;
	flag_add(&f->holding);
}

static void stream(gh__http_request *request, void *userdata)
{
	gh__http_stream_begin(request, 200, "text/event-stream; charset=utf-8");
	keep(request, userdata);
}

static void put_header(const char *name, const char *value, void *userdata)
{
	json_object_set_new(userdata, name, json_string(value));
}

/* Everything that can be read of a request. */
static void echo(gh__http_request *request, void *userdata)
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

static void refuse(gh__http_request *request, void *userdata)
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

static void start_with(fixture *f, gh__http_server_options options)
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

static void start(fixture *f)
{
	start_with(f, (gh__http_server_options){ 0 });
}

static void stop(fixture *f)
{
	gh__http_server_stop(f->server, gh__now() + PATIENCE);
}

/* Pure text. */

START_TEST(patterns_match_paths)
{
	static const struct {
		const char *pattern, *path,
			*value; /* value of the last parameter; NULL: no match */
	} cases[] = {
		{ "/", "/", "" },
		{ "/a", "/a", "" },
		{ "/a", "/a/", NULL },
		{ "/a", "/ab", NULL },
		{ "/a", "/", NULL },
		{ "/a/b", "/a%2Fb", NULL },
		{ "/a", "/%61", "" },
		{ "/:id", "/x", "x" },
		{ "/:id", "/", NULL },
		{ "/:id", "/x/y", NULL },
		{ "/:id", "/a%2Fb", "a%2Fb" },
		{ "/n/:id/on", "/n/7/on", "7" },
		{ "/n/:id/on", "/n/7/off", NULL },
		{ "/n/:id/on", "/n//on", NULL },
		{ "/n/:id/on", "/n/7", NULL },
		{ "/:a/:b", "/1/2", "2" },
		{ "/f/*", "/f/", "" },
		{ "/f/*", "/f/x/y", "x/y" },
		{ "/f/*", "/f", NULL },
		{ "/v1*", "/v1", "" },
		{ "/v1*", "/v1foo/x", "foo/x" },
		{ "/v1*", "/v", NULL },
		{ "/:id/*", "/7/rest", "rest" },
		{ "*", "*", "*" },
		{ "/a*b", "/a*b", "" },
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		gh__route_params params;
		bool fits = gh__route_match(cases[i].pattern, cases[i].path, strlen(cases[i].path),
					    &params);

		ck_assert_msg(fits == (cases[i].value != NULL), "%s %s", cases[i].pattern,
			      cases[i].path);
		if (!fits)
			continue;
		size_t last = params.count;
		ck_assert_uint_eq(last ? params.at[last - 1].value_len : 0, strlen(cases[i].value));
		if (last)
			ck_assert_mem_eq(params.at[last - 1].value, cases[i].value,
					 params.at[last - 1].value_len);
	}
}
END_TEST

START_TEST(escapes_are_decoded_once)
{
	static const struct {
		const char *text, *path, *query;
	} cases[] = {
		{ "", "", "" },
		{ "a+b", "a+b", "a b" },
		{ "a%20b", "a b", "a b" },
		{ "%2B", "+", "+" },
		{ "%252F", "%2F", "%2F" },
		{ "%c3%A9", "\xc3\xa9", "\xc3\xa9" },
		{ "100%", "100%", "100%" },
		{ "%4", "%4", "%4" },
		{ "%zz%41", "%zzA", "%zzA" },
		{ "%00x", "%00x", "%00x" },
	};
	char out[64];

	for (size_t i = 0; i < COUNT(cases); i++) {
		size_t len = strlen(cases[i].text);

		ck_assert_uint_eq(gh__percent_decode(out, cases[i].text, len, false),
				  strlen(cases[i].path));
		ck_assert_str_eq(out, cases[i].path);
		gh__percent_decode(out, cases[i].text, len, true);
		ck_assert_str_eq(out, cases[i].query);
	}
	ck_assert_uint_eq(gh__version_prefix("/v3.0.8/api"), 7);
	ck_assert_uint_eq(gh__version_prefix("/v3.0.8"), 7);
	ck_assert_uint_eq(gh__version_prefix("/v3.0.8?x"), 7);
	ck_assert_uint_eq(gh__version_prefix("/v10.22.333-post1/api"), 17);
	ck_assert_uint_eq(gh__version_prefix("/v1/models"), 0);
	ck_assert_uint_eq(gh__version_prefix("/v1.2/x"), 0);
	ck_assert_uint_eq(gh__version_prefix("/v3.0.8x/y"), 0);
	ck_assert_uint_eq(gh__version_prefix("/v3..8/y"), 0);
	ck_assert_uint_eq(gh__version_prefix("/vx"), 0);
	ck_assert_uint_eq(gh__version_prefix(""), 0);
}
END_TEST

/* Requests and answers. */

#define CLOSE "Connection: close\r\n\r\n"

START_TEST(requests_are_routed)
{
	fixture f;

	start(&f);
	assert_answer(f.server, "GET /hello HTTP/1.1\r\nHost: x\r\n" CLOSE, "HTTP/1.1 200 OK\r\n",
		      "\r\n\r\nhello");
	assert_answer(f.server, "GET /nowhere HTTP/1.1\r\nHost: x\r\n" CLOSE,
		      "HTTP/1.1 404 Not Found\r\n", "{\"error\":\"Not Found\"}");
	assert_answer(f.server, "DELETE /hello HTTP/1.1\r\nHost: x\r\n" CLOSE, "HTTP/1.1 405 ",
		      "Allow: GET, POST\r\n");
	assert_answer(f.server, "OPTIONS /hello HTTP/1.1\r\nHost: x\r\nOrigin: http://a\r\n" CLOSE,
		      "HTTP/1.1 405 ", "{\"error\":\"Method Not Allowed\"}");
	assert_answer(f.server, "HEAD /hello HTTP/1.1\r\nHost: x\r\n" CLOSE, "HTTP/1.1 405 ",
		      "Content-Length: 30\r\n");
	char *head = ask(f.server, "HEAD /echo HTTP/1.1\r\nHost: x\r\n" CLOSE);
	ck_assert_str_eq(strstr(head, "\r\n\r\n"), "\r\n\r\n");
	gh__free(head);
	assert_answer(
		f.server, "GET /items/a%2Fb?q=1+2%263&e HTTP/1.1\r\nHost: x\r\n" CLOSE,
		"HTTP/1.1 200 ",
		"\"method\":\"GET\",\"path\":\"/items/a/b\",\"target\":\"/items/a%2Fb?q=1+2%263"
		"&e\",\"id\":\"a/b\",\"rest\":null,\"q\":\"1 2&3\",\"e\":\"\"");
	assert_answer(f.server, "GET /items/a/b HTTP/1.1\r\nHost: x\r\n" CLOSE, "HTTP/1.1 404 ",
		      NULL);
	assert_answer(f.server, "GET /items/ HTTP/1.1\r\nHost: x\r\n" CLOSE, "HTTP/1.1 404 ", NULL);
	assert_answer(f.server, "GET /files/x/%2e%2e/y HTTP/1.1\r\nHost: x\r\n" CLOSE,
		      "HTTP/1.1 200 ", "\"rest\":\"x/../y\"");
	assert_answer(f.server, "BREW /v1foo HTTP/1.1\r\nHost: x\r\n" CLOSE, "HTTP/1.1 200 ",
		      "\"method\":\"BREW\"");
	assert_answer(f.server, "GET http://host:80/echo?q=7 HTTP/1.1\r\nHost: x\r\n" CLOSE,
		      "HTTP/1.1 200 ", "\"target\":\"/echo?q=7\"");
	/* Neither the version nor the last slash is left out unless asked for. */
	assert_answer(f.server, "GET /v3.0.8/hello HTTP/1.1\r\nHost: x\r\n" CLOSE, "HTTP/1.1 404 ",
		      NULL);
	assert_answer(f.server, "GET /hello/ HTTP/1.1\r\nHost: x\r\n" CLOSE, "HTTP/1.1 404 ", NULL);
	ck_assert_uint_eq(gh__http_server_active(f.server), 0);
	stop(&f);
}
END_TEST

static json_t *own_error(int status, const char *message, void *userdata)
{
	ck_assert_ptr_nonnull(userdata);
	return json_pack("{s:{s:i,s:s}}", "detail", "code", status, "text", message);
}

START_TEST(options_shape_answers)
{
	fixture f;

	start_with(&f, (gh__http_server_options){ .host = "localhost",
						  .error_body = own_error,
						  .strip_version = true,
						  .slash_ignored = true,
						  .newline = true,
						  .escape_html = true,
						  .pretty = true,
						  .json_type = "application/json; charset=UTF-8" });
	assert_answer(f.server, "GET /nowhere HTTP/1.1\r\nHost: x\r\n" CLOSE, "HTTP/1.1 404 ",
		      "\r\n\r\n{\"detail\":{\"code\":404,\"text\":\"Not Found\"}}\n");
	assert_answer(f.server, "GET /nowhere?pretty HTTP/1.1\r\nHost: x\r\n" CLOSE,
		      "HTTP/1.1 404 ",
		      "\r\n\r\n{\n  \"detail\": {\n    \"code\": 404,\n    \"text\": \"Not "
		      "Found\"\n  }\n}\n");
	char *answer = ask(f.server, "GET /refuse HTTP/1.1\r\nHost: x\r\n" CLOSE);
	assert_has(answer, "HTTP/1.1 418 ");
	assert_has(answer, "no \\u003ctea\\u003e \xef\xbf\xbd");
	assert_has(answer, "Content-Type: application/json; charset=UTF-8\r\n");
	assert_has(answer, "x-once: second\r\n");
	assert_has(answer, "Set-Cookie: a=1\r\n");
	assert_has(answer, "Set-Cookie: b=2\r\n");
	ck_assert_ptr_null(strstr(answer, "first"));
	ck_assert_ptr_null(strstr(answer, "X-Injected"));
	ck_assert_ptr_null(strstr(answer, "Content-Length: 99"));
	gh__free(answer);
	assert_answer(f.server, "GET /v3.0.8/hello HTTP/1.1\r\nHost: x\r\n" CLOSE, "HTTP/1.1 200 ",
		      "hello");
	assert_answer(f.server, "GET /v3.0.8/v1/models/?q=1 HTTP/1.1\r\nHost: x\r\n" CLOSE,
		      "HTTP/1.1 200 ", "\"target\":\"/v1/models/?q=1\"");
	assert_answer(f.server, "GET /hello/ HTTP/1.1\r\nHost: x\r\n" CLOSE, "HTTP/1.1 200 ", NULL);
	assert_answer(f.server, "DELETE /hello/ HTTP/1.1\r\nHost: x\r\n" CLOSE, "HTTP/1.1 405 ",
		      "Allow: GET, POST\r\n");
	assert_answer(f.server, "GET /v3.0.8 HTTP/1.1\r\nHost: x\r\n" CLOSE, "HTTP/1.1 404 ", NULL);
	stop(&f);
}
END_TEST

START_TEST(origins_are_checked)
{
	static const char *const any[] = { "*", NULL };
	static const char *const some[] = { "http://a", "http://b", NULL };
	static const char *const methods[] = { "GET", NULL };
	static const char *const headers[] = { "X-Key", "Content-Type", NULL };
	fixture f;

	start_with(&f, (gh__http_server_options){ .cors_origins = any });
	char *answer =
		ask(f.server, "GET /hello HTTP/1.1\r\nHost: x\r\nOrigin: http://q\r\n" CLOSE);
	assert_has(answer, "Access-Control-Allow-Origin: *\r\n");
	ck_assert_ptr_null(strstr(answer, "Vary"));
	gh__free(answer);
	answer = ask(f.server, "GET /hello HTTP/1.1\r\nHost: x\r\n" CLOSE);
	ck_assert_ptr_null(strstr(answer, "Access-Control"));
	gh__free(answer);
	answer = ask(f.server, "OPTIONS /nowhere HTTP/1.1\r\nHost: x\r\nOrigin: http://q\r\n"
			       "Access-Control-Request-Method: POST\r\n"
			       "Access-Control-Request-Headers: x-one, x-two\r\n" CLOSE);
	assert_has(answer, "HTTP/1.1 200 ");
	assert_has(answer, "Access-Control-Allow-Methods: DELETE, GET, HEAD, OPTIONS, PATCH, POST");
	assert_has(answer, "Access-Control-Allow-Headers: x-one, x-two\r\n");
	assert_has(answer, "Access-Control-Max-Age: 600\r\n");
	gh__free(answer);
	assert_answer(f.server, "OPTIONS /hello HTTP/1.1\r\nHost: x\r\nOrigin: http://q\r\n" CLOSE,
		      "HTTP/1.1 405 ", "Access-Control-Allow-Origin: *\r\n");
	stop(&f);

	start_with(&f, (gh__http_server_options){ .cors_origins = some,
						  .cors_methods = methods,
						  .cors_headers = headers,
						  .cors_credentials = true });
	answer = ask(f.server, "GET /hello HTTP/1.1\r\nHost: x\r\nOrigin: http://b\r\n" CLOSE);
	assert_has(answer, "Access-Control-Allow-Origin: http://b\r\n");
	assert_has(answer, "Access-Control-Allow-Credentials: true\r\n");
	assert_has(answer, "Vary: Origin\r\n");
	gh__free(answer);
	answer = ask(f.server, "GET /hello HTTP/1.1\r\nHost: x\r\nOrigin: http://evil\r\n" CLOSE);
	assert_has(answer, "HTTP/1.1 200 ");
	ck_assert_ptr_null(strstr(answer, "Access-Control-Allow-Origin"));
	gh__free(answer);
#define PREFLIGHT(origin, method, names)                                                          \
	"OPTIONS /hello HTTP/1.1\r\nHost: x\r\nOrigin: " origin                                   \
	"\r\nAccess-Control-Request-Method: " method "\r\nAccess-Control-Request-Headers: " names \
	"\r\n" CLOSE
	assert_answer(f.server, PREFLIGHT("http://evil", "GET", "x-key"), "HTTP/1.1 400 ",
		      "Disallowed CORS origin");
	assert_answer(f.server, PREFLIGHT("http://a", "POST", "x-key"), "HTTP/1.1 400 ",
		      "Disallowed CORS method");
	assert_answer(f.server, PREFLIGHT("http://a", "GET", "x-key, x-other"), "HTTP/1.1 400 ",
		      "Disallowed CORS headers");
	assert_answer(f.server, PREFLIGHT("http://a", "GET", "content-type,x-key"), "HTTP/1.1 200 ",
		      "Access-Control-Allow-Headers: X-Key, Content-Type\r\n");
	stop(&f);
}
END_TEST

START_TEST(old_clients_and_closing_ones)
{
	fixture f;

	start(&f);
	char *answer = ask(f.server, "GET /hello HTTP/1.0\r\n\r\n");
	assert_has(answer, "Content-Length: 5\r\n");
	assert_has(answer, "\r\n\r\nhello");
	gh__free(answer);

	/* A stream for 1.0 is not chunked and ends with the connection. */
	int fd = dial(f.server);
	say(fd, "GET /stream HTTP/1.0\r\n\r\n");
	flag_wait(&f.holding, 1);
	ck_assert_int_eq(gh__http_stream_write(f.held[0], "data: 1\n\n", 9), GH_OK);
	answer = hear(fd, "\n\n");
	gh__free(answer);
	ck_assert_int_eq(gh__http_stream_write(f.held[0], "data: 2\n\n", 9), GH_OK);
	gh__http_stream_end(f.held[0]);
	answer = hear(fd, NULL);
	ck_assert_str_eq(answer, "data: 2\n\n");
	gh__free(answer);
	close(fd);

	/* 1.0 with keep-alive is asked twice. */
	fd = dial(f.server);
	for (int i = 0; i < 2; i++) {
		say(fd, "GET /hello HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n");
		answer = hear(fd, "hello");
		assert_has(answer, "HTTP/1.1 200");
		gh__free(answer);
	}
	close(fd);
	ck_assert_int_eq(flag_get(&f.gone), 0);
	stop(&f);
}
END_TEST

START_TEST(requests_in_pieces_and_in_rows)
{
	static const char post[] =
		"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nabcde";
	static const char chunked[] = "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: "
				      "chunked\r\n\r\n3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\n\r\n";
	fixture f;

	start(&f);
	int fd = dial(f.server);
	for (size_t i = 0; i < sizeof post - 1; i++)
		say_n(fd, post + i, 1);
	char *answer = hear(fd, "}}");
	assert_has(answer, "\"len\":5,\"body\":\"abcde\"");
	gh__free(answer);
	for (size_t i = 0; i < sizeof chunked - 1; i++)
		say_n(fd, chunked + i, 1);
	answer = hear(fd, "}}");
	assert_has(answer, "\"len\":7,\"body\":\"abcdefg\"");
	gh__free(answer);

	/* Three in one write; the one in the middle is answered late, and the order stays. */
	say(fd, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\nGET /later HTTP/1.1\r\nHost: x\r\n\r\n"
		"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi");
	answer = hear(fd, "hello");
	gh__free(answer);
	flag_wait(&f.holding, 1);
	ck_assert_uint_eq(gh__http_server_active(f.server), 1);
	gh__http_respond(f.held[0], 202, NULL, "late", 4);
	answer = hear(fd, "}}");
	ck_assert_int_eq(strncmp(answer, "HTTP/1.1 202 ", 13), 0);
	assert_has(answer, "\r\n\r\nlateHTTP/1.1 200 ");
	ck_assert_ptr_null(strstr(strstr(answer, "\r\n"), "Content-Type: text"));
	assert_has(answer, "\"body\":\"hi\"");
	gh__free(answer);
	close(fd);
	stop(&f);
}
END_TEST

START_TEST(bodies_have_a_limit)
{
	const size_t max = 3 << 20;
	fixture f;
	char head[256], *answer;

	start_with(&f, (gh__http_server_options){ .body_max = max });
	/* Exactly the limit goes, whole or in chunks. */
	char *body = gh__malloc(max + 1);
	memset(body, 'b', max + 1);
	int fd = dial(f.server);
	snprintf(head, sizeof head,
		 "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\nExpect: "
		 "100-continue\r\n\r\n",
		 max);
	say(fd, head);
	answer = hear(fd, "\r\n\r\n");
	ck_assert_str_eq(answer, "HTTP/1.1 100 Continue\r\n\r\n");
	gh__free(answer);
	say_n(fd, body, max);
	answer = hear(fd, "}}");
	assert_has(answer, "\"len\":3145728,");
	gh__free(answer);

	/* One more is refused before it comes. */
	snprintf(head, sizeof head, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n",
		 max + 1);
	say(fd, head);
	answer = hear(fd, NULL);
	assert_has(answer, "HTTP/1.1 413 ");
	assert_has(answer, "{\"error\":\"Request Entity Too Large\"}");
	gh__free(answer);
	close(fd);

	/* A client that sends all of it regardless still gets to read the answer. */
	fd = dial(f.server);
	say(fd, head);
	say_n(fd, body, max + 1);
	answer = hear(fd, NULL);
	assert_has(answer, "HTTP/1.1 413 ");
	gh__free(answer);
	close(fd);

	fd = dial(f.server);
	say(fd, "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n300001\r\n");
	say_n(fd, body, max + 1);
	answer = hear(fd, NULL);
	assert_has(answer, "HTTP/1.1 413 ");
	assert_has(answer, "\r\n\r\n{\"error\":\"Request Entity Too Large\"}");
	gh__free(answer);
	close(fd);
	gh__free(body);

	assert_answer(f.server,
		      "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n"
		      "\r\n",
		      "HTTP/1.1 413 ", NULL);
	assert_answer(f.server, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
		      "HTTP/1.1 400 ", NULL);
	assert_answer(f.server,
		      "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 3\r\n"
		      "\r\nabc",
		      "HTTP/1.1 400 ", NULL);
	assert_answer(f.server,
		      "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nTransfer-Encoding: "
		      "chunked\r\n\r\n0\r\n\r\n",
		      "HTTP/1.1 400 ", NULL);
	assert_answer(f.server,
		      "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\nabc",
		      "HTTP/1.1 400 ", NULL);
	assert_answer(f.server,
		      "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
		      "HTTP/1.1 400 ", NULL);
	assert_answer(f.server, "nonsense\r\n\r\n", "", NULL);
	ck_assert_uint_eq(gh__http_server_active(f.server), 0);
	stop(&f);
}
END_TEST

START_TEST(heads_have_a_limit)
{
	fixture f;
	char *big = gh__malloc(40000);

	start(&f);
	memset(big, 'a', 39999);
	big[39999] = '\0';
	for (int kind = 0; kind < 2; kind++) {
		gh__buf request = GH__BUF_INIT(100000);

		gh__buf_printf(&request,
			       kind ? "GET /hello?%s HTTP/1.1\r\nHost: x\r\n\r\n"
				    : "GET /hello HTTP/1.1\r\nHost: x\r\nX-Big: %s\r\n\r\n",
			       big);
		int fd = dial(f.server);
		say(fd, request.data);
		char *answer = hear(fd, NULL);
		ck_assert_msg(strncmp(answer, "HTTP/1.1 4", 10) == 0 || *answer == '\0', "%s",
			      answer);
		gh__free(answer);
		close(fd);
		gh__buf_free(&request);
	}
	/* Eight thousand bytes are still welcome. */
	big[8000] = '\0';
	gh__buf request = GH__BUF_INIT(100000);
	gh__buf_printf(&request, "GET /hello HTTP/1.1\r\nHost: x\r\nX-Big: %s\r\n" CLOSE, big);
	assert_answer(f.server, request.data, "HTTP/1.1 200 ", "hello");
	gh__buf_free(&request);
	gh__free(big);
	stop(&f);
}
END_TEST

START_TEST(idle_connections_are_closed)
{
	fixture f;

	start_with(&f, (gh__http_server_options){ .idle_seconds = 1 });
	int fd = dial(f.server), sleeper = dial(f.server);
	say(fd, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
	say(sleeper, "GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
	int64_t begun = gh__now();
	char *answer = hear(fd, NULL);
	int64_t took = gh__now() - begun;
	assert_has(answer, "hello");
	ck_assert_int_gt(took, GH__SECOND / 2);
	ck_assert_int_lt(took, 5 * GH__SECOND);
	gh__free(answer);
	close(fd);
	/* Who waits for an answer is not idle. */
	flag_wait(&f.holding, 1);
	ck_assert_int_eq(flag_get(&f.gone), 0);
	gh__http_respond(f.held[0], 200, NULL, "here", 4);
	answer = hear(sleeper, "here");
	assert_has(answer, "here");
	gh__free(answer);
	close(sleeper);
	stop(&f);
}
END_TEST

START_TEST(connections_are_counted)
{
	fixture f;

	start_with(&f, (gh__http_server_options){ .connections_max = 2 });
	int first = dial(f.server), second = dial(f.server);
	say(first, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
	gh__free(hear(first, "hello"));
	say(second, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
	gh__free(hear(second, "hello"));
	int third = dial(f.server); /* waits in the kernel's queue */
	say(third, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
	struct pollfd readable = { third, POLLIN, 0 };
	ck_assert_int_eq(poll(&readable, 1, 200), 0);
	close(first);
	char *answer = hear(third, "hello");
	assert_has(answer, "hello");
	gh__free(answer);
	close(second);
	close(third);
	stop(&f);
}
END_TEST

START_TEST(memory_may_run_out)
{
	static const char request[] = "POST /echo?q=1 HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n"
				      "Connection: close\r\n\r\nabc";
	fixture f;
	int answered = 0;

	start(&f);
	for (size_t k = 1; k <= 60; k++) {
		char answer[4096];
		int fd = dial(f.server);

		gh__alloc_fail_at(k);
		say(fd, request);
		ssize_t got = recv(fd, answer, sizeof answer, MSG_WAITALL);
		gh__alloc_fail_at(0);
		close(fd);
		answered += got > 0;
		ck_assert_int_eq(flag_get(&f.holding), 0);
	}
	ck_assert_int_ge(answered, 10); /* a request makes far fewer than 50 allocations */
	ck_assert_int_lt(answered, 60);
	assert_answer(f.server, request, "HTTP/1.1 200 ", "\"body\":\"abc\"");
	ck_assert_uint_eq(gh__http_server_active(f.server), 0);
	stop(&f);
}
END_TEST

/* Clients that leave. */

START_TEST(a_client_that_leaves_is_noticed)
{
	fixture f;

	start(&f);
	/* Before the answer. */
	int fd = dial(f.server);
	say(fd, "POST /later HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi");
	flag_wait(&f.holding, 1);
	ck_assert(!gh__http_gone(f.held[0]));
	int64_t begun = gh__now();
	close(fd);
	flag_wait(&f.gone, 1);
	ck_assert_int_lt(gh__now() - begun, GH__SECOND);
	ck_assert(gh__http_gone(f.held[0]));
	ck_assert_str_eq(gh__http_body(f.held[0], NULL), "hi"); /* still ours to read */
	ck_assert_str_eq(gh__http_header(f.held[0], "hOST"), "x");
	gh__http_respond_json(f.held[0], 200, json_object());

	/* In a stream, between two pieces. */
	fd = dial(f.server);
	say(fd, "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n");
	flag_wait(&f.holding, 2);
	ck_assert_int_eq(gh__http_stream_write(f.held[1], "data: 1\n\n", 9), GH_OK);
	gh__free(hear(fd, "data: 1\n\n"));
	close(fd);
	flag_wait(&f.gone, 2);
	ck_assert_int_eq(gh__http_stream_write(f.held[1], "data: 2\n\n", 9), GH_ECLOSED);
	ck_assert_uint_eq(gh__http_stream_pending(f.held[1]), 0);
	/* Asking late is answered at once. */
	gh__http_on_gone(f.held[1], on_gone, &f.gone);
	ck_assert_int_eq(flag_get(&f.gone), 3);
	gh__http_stream_end(f.held[1]);

	/* Nobody is told once the function is removed. */
	fd = dial(f.server);
	say(fd, "GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
	flag_wait(&f.holding, 3);
	gh__http_on_gone(f.held[2], NULL, NULL);
	close(fd);
	for (int64_t until = gh__now() + PATIENCE; !gh__http_gone(f.held[2]);)
		ck_assert_int_lt(gh__now(), until);
	gh__http_fail(f.held[2], 500, "too late");
	ck_assert_int_eq(flag_get(&f.gone), 3);

	/* Before the body is whole there is nobody to tell. */
	fd = dial(f.server);
	say(fd, "POST /later HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\nhi");
	close(fd);
	/* With a reset instead of a farewell. */
	struct linger now = { .l_onoff = 1, .l_linger = 0 };
	fd = dial(f.server);
	say(fd, "GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
	flag_wait(&f.holding, 4);
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
	close(fd);
	flag_wait(&f.gone, 4);
	ck_assert_uint_eq(gh__http_server_active(f.server), 1);
	gh__http_stream_abort(f.held[3]);
	ck_assert_uint_eq(gh__http_server_active(f.server), 0);
	ck_assert_int_eq(flag_get(&f.holding), 4);
	stop(&f);
}
END_TEST

static void end_when_gone(void *userdata)
{
	gh__http_request *request = userdata;

	gh__http_stream_end(request);
}

static void stream_until_gone(gh__http_request *request, void *userdata)
{
	fixture *f = userdata;

	gh__http_stream_begin(request, 200, "text/plain");
	gh__http_on_gone(request, end_when_gone, request);
	flag_add(&f->holding);
}

START_TEST(the_gone_function_may_finish_the_request)
{
	static const gh__http_route own[] = { { "GET", "/", stream_until_gone } };
	fixture f;

	start_with(&f, (gh__http_server_options){ .routes = own, .route_count = 1 });
	int fds[20];
	for (size_t i = 0; i < COUNT(fds); i++) {
		fds[i] = dial(f.server);
		say(fds[i], "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
	}
	flag_wait(&f.holding, COUNT(fds));
	for (size_t i = 0; i < COUNT(fds); i += 2)
		close(fds[i]);
	for (int64_t until = gh__now() + PATIENCE; gh__http_server_active(f.server) > 10;)
		ck_assert_int_lt(gh__now(), until);
	/* The rest is cut. */
	gh__http_server_stop(f.server, gh__now());
	for (size_t i = 1; i < COUNT(fds); i += 2) {
		char *answer = hear(fds[i], NULL);

		assert_has(answer, "HTTP/1.1 200 ");
		ck_assert_ptr_null(strstr(answer, "0\r\n\r\n"));
		gh__free(answer);
		close(fds[i]);
	}
}
END_TEST

/* Streams. */

#define STREAMS 200
#define PIECES  50
#define WRITERS 4

typedef struct writer {
	fixture *f;
	int first;
} writer;

static void write_numbers(void *opaque)
{
	writer *w = opaque;
	char piece[64];

	for (int n = 0; n < PIECES; n++)
		for (int i = w->first; i < STREAMS; i += WRITERS) {
			int len = snprintf(piece, sizeof piece, "data: %s %d\n\n",
					   gh__http_query(w->f->held[i], "q"), n);

			if (gh__http_stream_write(w->f->held[i], piece, (size_t)len) != GH_OK)
				return;
		}
	for (int i = w->first; i < STREAMS; i += WRITERS)
		gh__http_stream_end(w->f->held[i]);
}

/* The payload of a chunked body, in place. */
static char *unchunk(char *answer)
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

START_TEST(many_streams_keep_their_order)
{
	fixture f;
	int fds[STREAMS];
	pthread_t threads[WRITERS];
	writer writers[WRITERS];

	start(&f);
	for (int i = 0; i < STREAMS; i++) {
		char request[128];

		fds[i] = dial(f.server);
		snprintf(request, sizeof request, "GET /stream?q=s%d HTTP/1.1\r\nHost: x\r\n" CLOSE,
			 i);
		say(fds[i], request);
	}
	flag_wait(&f.holding, STREAMS);
	ck_assert_uint_eq(gh__http_server_active(f.server), STREAMS);
	for (int i = 0; i < WRITERS; i++) {
		writers[i] = (writer){ &f, i };
		assert_ok(
			gh__thread_start(&threads[i], "writer", write_numbers, &writers[i], error));
	}
	for (int i = 0; i < STREAMS; i++) {
		gh__buf expected = GH__BUF_INIT(1 << 20);
		char *answer = hear(fds[i], NULL);

		assert_has(answer, "Content-Type: text/event-stream; charset=utf-8\r\n");
		assert_has(answer, "Cache-Control: no-cache\r\n");
		assert_has(answer, "X-Accel-Buffering: no\r\n");
		for (int n = 0; n < PIECES; n++)
			gh__buf_printf(&expected, "data: s%d %d\n\n", i, n);
		ck_assert_str_eq(unchunk(answer), gh__buf_str(&expected));
		gh__buf_free(&expected);
		gh__free(answer);
		close(fds[i]);
	}
	for (int i = 0; i < WRITERS; i++)
		pthread_join(threads[i], NULL);
	ck_assert_int_eq(flag_get(&f.gone), 0);
	stop(&f);
}
END_TEST

START_TEST(a_head_goes_out_before_the_first_piece)
{
	fixture f;

	start(&f);
	int fd = dial(f.server);
	say(fd, "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n");
	char *answer = hear(fd, "\r\n\r\n");
	assert_has(answer, "HTTP/1.1 200 ");
	assert_has(answer, "Transfer-Encoding: chunked\r\n");
	gh__free(answer);
	flag_wait(&f.holding, 1);
	ck_assert_int_eq(gh__http_stream_write(f.held[0], "", 0), GH_OK);
	ck_assert_int_eq(gh__http_stream_write(f.held[0], "one", 3), GH_OK);
	answer = hear(fd, "one\r\n");
	ck_assert_str_eq(answer, "3\r\none\r\n");
	gh__free(answer);

	/* A broken end: what was written arrives, the last chunk does not. */
	ck_assert_int_eq(gh__http_stream_write(f.held[0], "two", 3), GH_OK);
	gh__http_stream_abort(f.held[0]);
	answer = hear(fd, NULL);
	ck_assert_str_eq(answer, "3\r\ntwo\r\n");
	gh__free(answer);
	close(fd);

	/* HEAD has no body: the owner learns that nobody listens. */
	fd = dial(f.server);
	say(fd, "HEAD /stream HTTP/1.1\r\nHost: x\r\n\r\n");
	flag_wait(&f.gone, 1);
	ck_assert_int_eq(gh__http_stream_write(f.held[1], "three", 5), GH_ECLOSED);
	gh__http_stream_end(f.held[1]);
	say(fd, "GET /hello HTTP/1.1\r\nHost: x\r\n" CLOSE);
	answer = hear(fd, NULL);
	ck_assert_ptr_null(strstr(answer, "three"));
	assert_has(answer, "\r\n\r\nHTTP/1.1 200 OK\r\n");
	gh__free(answer);
	close(fd);
	stop(&f);
}
END_TEST

START_TEST(slow_readers_are_bounded)
{
	const size_t max = 64 << 10;
	char piece[8000];
	size_t written = 0;
	fixture f;
	gh_status status;

	start_with(&f, (gh__http_server_options){ .pending_max = max });
	int fd = dial(f.server);
	say(fd, "GET /stream HTTP/1.1\r\nHost: x\r\n" CLOSE);
	flag_wait(&f.holding, 1);
	gh__http_stream_on_drain(f.held[0], on_gone, &f.drained);
	memset(piece, 'p', sizeof piece);
	/* The kernel takes some megabytes, then the stream holds what is allowed, then no more. */
	while ((status = gh__http_stream_write(f.held[0], piece, sizeof piece)) == GH_OK ||
	       (status == GH_ETOOBIG && flag_get(&f.drained) > 0 && written < (1u << 20))) {
		written += status == GH_OK ? sizeof piece : 0;
		ck_assert_uint_lt(written, 100u << 20);
		if (status == GH_OK)
			continue;
		flag_wait(&f.drained, 1);
	}
	ck_assert_int_eq(status, GH_ETOOBIG);
	size_t pending = gh__http_stream_pending(f.held[0]);
	ck_assert_uint_le(pending, max);
	int drained = flag_get(&f.drained);
	/* Once the reader goes on, we are told. */
	char *some = gh__malloc(written + 1);
	size_t got = 0;
	while (flag_get(&f.drained) == drained) {
		ssize_t more = recv(fd, some, written, 0);
		ck_assert_int_gt(more, 0);
		got += (size_t)more;
	}
	ck_assert_uint_le(gh__http_stream_pending(f.held[0]), max / 2);
	gh__free(some);
	gh__http_stream_on_drain(f.held[0], NULL, NULL);
	gh__http_stream_end(f.held[0]);
	char *rest = hear(fd, NULL);
	ck_assert_uint_gt(got + strlen(rest), written);
	gh__free(rest);
	close(fd);
	stop(&f);
}
END_TEST

/* The end of a server. */

static void answer_soon(void *opaque)
{
	fixture *f = opaque;

	flag_wait(&f->drained, 1); /* the test has called for the end */
	gh__http_respond(f->held[0], 200, "text/plain", "just in time", 12);
}

static void stop_server(void *opaque)
{
	stop(opaque);
}

START_TEST(stopping_waits_for_answers)
{
	fixture f;
	pthread_t answerer, stopper;
	gh__http_server *server;

	start(&f);
	server = f.server;
	int port = gh__http_server_port(server);
	int fd = dial(server), idle = dial(server), other = dial(server);
	say(fd, "GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
	say(other, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
	gh__free(hear(other, "hello"));
	flag_wait(&f.holding, 1);
	assert_ok(gh__thread_start(&answerer, "answer", answer_soon, &f, error));
	assert_ok(gh__thread_start(&stopper, "stop", stop_server, &f, error));
	/* New connections are refused, new requests turned away. */
	for (int64_t until = gh__now() + PATIENCE;;) {
		struct sockaddr_in at = { .sin_family = AF_INET,
					  .sin_port = htons((uint16_t)port),
					  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
		int probe = socket(AF_INET, SOCK_STREAM, 0);
		int refused = connect(probe, (struct sockaddr *)&at, sizeof at);

		close(probe);
		if (refused != 0)
			break;
		ck_assert_int_lt(gh__now(), until);
	}
	say(other, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
	char *answer = hear(other, NULL);
	assert_has(answer, "HTTP/1.1 503 ");
	assert_has(answer, "Connection: close\r\n");
	gh__free(answer);
	flag_add(&f.drained);
	answer = hear(fd, NULL);
	assert_has(answer, "just in time");
	assert_has(answer, "Connection: close\r\n");
	gh__free(answer);
	pthread_join(answerer, NULL);
	pthread_join(stopper, NULL);
	ck_assert_int_eq(flag_get(&f.gone), 0);
	close(fd);
	close(idle);
	close(other);
}
END_TEST

START_TEST(stopping_cuts_at_the_deadline)
{
	fixture f;
	int fds[8];

	start(&f);
	for (int i = 0; i < 8; i++) {
		fds[i] = dial(f.server);
		say(fds[i], i % 2 ? "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n"
				  : "GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
	}
	flag_wait(&f.holding, 8);
	int64_t begun = gh__now();
	gh__http_server_stop(f.server, gh__now() + GH__SECOND / 5);
	int64_t took = gh__now() - begun;
	ck_assert_int_ge(took, GH__SECOND / 5);
	ck_assert_int_lt(took, 3 * GH__SECOND);
	ck_assert_int_eq(flag_get(&f.gone), 8);
	/* Their owners come too late, but may. */
	for (int i = 0; i < 8; i++) {
		ck_assert(gh__http_gone(f.held[i]));
		if (strcmp(gh__http_path(f.held[i]), "/stream") == 0) {
			ck_assert_int_eq(gh__http_stream_write(f.held[i], "x", 1), GH_ECLOSED);
			gh__http_stream_end(f.held[i]);
		} else if (i) {
			gh__http_respond_json(f.held[i], 200, json_object());
		} else {
			gh__http_fail(f.held[i], 500, "x");
		}
		char *answer = hear(fds[i], NULL);
		ck_assert_ptr_null(strstr(answer, "0\r\n\r\n"));
		gh__free(answer);
		close(fds[i]);
	}
}
END_TEST

START_TEST(addresses_are_checked)
{
	static const char *const hosts[] = { "example.com", "256.1.1.1", "", "127.0.0.1:80" };
	gh__http_server *server, *second;

	for (size_t i = 0; i < COUNT(hosts); i++) {
		gh__http_server_options options = { .host = hosts[i] };

		assert_fails(GH_EINVAL, "is not an IP address",
			     gh__http_server_start(&server, &options, error));
	}
	gh__http_server_options options = { .port = 65536 };
	assert_fails(GH_EINVAL, "65536", gh__http_server_start(&server, &options, error));
	options.port = 0;
	assert_ok(gh__http_server_start(&server, &options, error));
	options.port = gh__http_server_port(server);
	assert_fails(GH_ENET, "Address already in use",
		     gh__http_server_start(&second, &options, error));
	gh__http_server_stop(server, gh__now());
	/* And again on the port that was just left. */
	assert_ok(gh__http_server_start(&server, &options, error));
	gh__http_server_stop(server, gh__now());
}
END_TEST

START_TEST(unix_sockets_both_ways)
{
	char folder[] = "/tmp/http-test-XXXXXX", path[64], file[64];
	fixture f;
	gh__http_server *second;
	gh__http_client *client;
	struct stat info;

	ck_assert_ptr_nonnull(mkdtemp(folder));
	snprintf(path, sizeof path, "%s/s", folder);
	snprintf(file, sizeof file, "%s/f", folder);
	gh__http_server_options options = { .unix_path = path };
	start_with(&f, options);
	ck_assert_int_eq(stat(path, &info), 0);
	ck_assert_int_eq(info.st_mode & 0777, 0600);
	ck_assert_int_eq(gh__http_server_port(f.server), 0);
	assert_fails(GH_EBUSY, "another server", gh__http_server_start(&second, &options, error));

	int fd = dial_unix(path);
	say(fd, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
	char *answer = hear(fd, "hello");
	assert_has(answer, "HTTP/1.1 200 ");
	gh__free(answer);
	say(fd, "GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
	flag_wait(&f.holding, 1);
	close(fd);
	flag_wait(&f.gone, 1);
	gh__http_stream_abort(f.held[0]);

	assert_ok(gh__http_client_create(&client, error));
	gh__http_call_options call = {
		.url = "http://worker/echo?q=1", .unix_path = path, .body = "{}", .body_len = 2
	};
	int status;
	size_t len;
	assert_ok(gh__http_fetch(client, &call, &status, &answer, &len, error));
	ck_assert_int_eq(status, 200);
	assert_has(answer, "\"Host\":\"worker\"");
	assert_has(answer, "\"method\":\"POST\"");
	ck_assert_uint_eq(len, strlen(answer));
	gh__free(answer);
	stop(&f);
	ck_assert_int_ne(stat(path, &info), 0);
	assert_fails(GH_ENET, "POST http://worker/echo: ",
		     gh__http_fetch(client, &call, NULL, NULL, NULL, error));
	gh__http_client_free(client);

	/* A socket nobody listens on is replaced, a file is not. */
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	snprintf(at.sun_path, sizeof at.sun_path, "%s", path);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
	close(fd);
	start_with(&f, options);
	stop(&f);
	FILE *plain = fopen(file, "w");
	fclose(plain);
	options.unix_path = file;
	assert_fails(GH_EEXIST, "not a socket", gh__http_server_start(&second, &options, error));
	ck_assert_int_eq(unlink(file), 0);
	ck_assert_int_eq(rmdir(folder), 0);
	char name[200];
	memset(name, 'n', sizeof name);
	name[199] = '\0';
	options.unix_path = name;
	assert_fails(GH_EINVAL, "unix_path", gh__http_server_start(&second, &options, error));
}
END_TEST

/* Client. */

static const char *url_of(const gh__http_server *server, const char *path)
{
	static _Thread_local char url[256];

	snprintf(url, sizeof url, "http://127.0.0.1:%d%s", gh__http_server_port(server), path);
	return url;
}

START_TEST(fetching_sends_what_was_given)
{
	static const char *const headers[] = { "X-One: 1", "Accept:", "Content-Type: a/b", NULL };
	static const struct {
		gh__http_call_options call;
		const char *words[4], *without;
	} cases[] = {
		{ { .url = "" }, { "\"method\":\"GET\"", "\"len\":0", "\"Accept\"" }, "Content" },
		{ { .body = "abc", .body_len = 3 },
		  { "\"method\":\"POST\"", "\"len\":3,\"body\":\"abc\"",
		    "\"Content-Length\":\"3\"" },
		  "Content-Type" },
		{ { .method = "POST" },
		  { "\"method\":\"POST\"", "\"Content-Length\":\"0\"" },
		  "Content-Type" },
		{ { .method = "PUT", .body = "x", .body_len = 1, .headers = headers },
		  { "\"method\":\"PUT\"", "\"X-One\":\"1\"", "\"Content-Type\":\"a/b\"" },
		  "Accept" },
		{ { .method = "DELETE" }, { "\"method\":\"DELETE\"" }, "Content" },
		{ { .method = "GET", .body = "q", .body_len = 1 },
		  { "\"method\":\"GET\"", "\"body\":\"q\"" },
		  "Expect" },
	};
	fixture f;
	gh__http_client *client;
	char *body;
	int status;

	setenv("http_proxy", "http://127.0.0.1:9", 1);
	setenv("ALL_PROXY", "http://127.0.0.1:9", 1);
	start(&f);
	assert_ok(gh__http_client_create(&client, error));
	for (size_t i = 0; i < COUNT(cases); i++) {
		gh__http_call_options call = cases[i].call;

		call.url = url_of(f.server, "/v1/../x/./%2e?q=7");
		assert_ok(gh__http_fetch(client, &call, &status, &body, NULL, error));
		ck_assert_int_eq(status, 200);
		assert_has(body, "\"target\":\"/v1/../x/./%2e?q=7\"");
		for (size_t k = 0; k < 4 && cases[i].words[k]; k++)
			assert_has(body, cases[i].words[k]);
		ck_assert_ptr_null(strstr(body, cases[i].without));
		ck_assert_ptr_null(strstr(body, "User-Agent"));
		gh__free(body);
	}
	/* A large body goes without asking first. */
	gh__http_call_options call = { .url = url_of(f.server, "/echo"), .body_len = 5u << 20 };
	char *large = gh__malloc(call.body_len);
	memset(large, 'l', call.body_len);
	call.body = large;
	assert_ok(gh__http_fetch(client, &call, &status, &body, NULL, error));
	assert_has(body, "\"len\":5242880,");
	ck_assert_ptr_null(strstr(body, "Expect"));
	gh__free(body);
	gh__free(large);
	/* Errors of the other side are answers. */
	call = (gh__http_call_options){ .url = url_of(f.server, "/nowhere") };
	assert_ok(gh__http_fetch(client, &call, &status, &body, NULL, error));
	ck_assert_int_eq(status, 404);
	ck_assert_str_eq(body, "{\"error\":\"Not Found\"}");
	gh__free(body);
	gh__http_client_free(client);
	stop(&f);
}
END_TEST

START_TEST(wrong_calls_are_refused)
{
	static const char *const evil[] = { "X: a\r\nY: b", NULL };
	static const char *const urls[] = { "ftp://127.0.0.1/x",   "file:///etc/passwd",
					    "gopher://127.0.0.1/", "http://",
					    "http://a b/",         "" };
	gh__http_client *client;

	assert_ok(gh__http_client_create(&client, error));
	for (size_t i = 0; i < COUNT(urls); i++) {
		gh__http_call_options call = { .url = urls[i] };

		assert_fails(GH_EINVAL, "GET ",
			     gh__http_fetch(client, &call, NULL, NULL, NULL, error));
	}
	gh__http_call_options call = { .url = NULL };
	assert_fails(GH_EINVAL, "url", gh__http_fetch(client, &call, NULL, NULL, NULL, error));
	call = (gh__http_call_options){ .url = "http://127.0.0.1:1/", .headers = evil };
	assert_fails(GH_EINVAL, "headers", gh__http_fetch(client, &call, NULL, NULL, NULL, error));
	call = (gh__http_call_options){ .url = "http://127.0.0.1:1/", .method = "GET / X" };
	assert_fails(GH_EINVAL, "method", gh__http_fetch(client, &call, NULL, NULL, NULL, error));
	call = (gh__http_call_options){ .url = "http://127.0.0.1:1/secret?key=hidden" };
	assert_fails(GH_ENET, "GET http://127.0.0.1:1/secret: ",
		     gh__http_fetch(client, &call, NULL, NULL, NULL, error));
	gh_error error = GH_ERROR_INIT;
	gh__http_fetch(client, &call, NULL, NULL, NULL, &error);
	ck_assert_ptr_null(strstr(error.text, "hidden"));
	ck_assert_int_eq(error.domain, GH_DOMAIN_CURL);
	gh__http_client_free(client);
}
END_TEST

/* A server that is only a socket: says what it is told to one connection, then holds it open. */
typedef struct mute {
	int listener, port;
	const char *words;
	flag over, heard;
	pthread_t thread;
	bool closes;
} mute;

static void be_mute(void *opaque)
{
	mute *m = opaque;
	int fd = accept(m->listener, NULL, NULL);

	if (m->words) {
		gh__free(hear(fd, "\r\n\r\n"));
		say(fd, m->words);
	}
	flag_add(&m->heard);
	if (!m->closes)
		flag_wait(&m->over, 1);
	close(fd);
}

static const char *mute_start(mute *m, const char *words, bool closes)
{
	struct sockaddr_in at = { .sin_family = AF_INET };
	socklen_t len = sizeof at;
	static _Thread_local char url[64];

	*m = (mute){ .words = words, .closes = closes };
	flag_init(&m->over);
	flag_init(&m->heard);
	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	m->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(m->listener, (struct sockaddr *)&at, sizeof at), 0);
	ck_assert_int_eq(listen(m->listener, 5), 0);
	getsockname(m->listener, (struct sockaddr *)&at, &len);
	m->port = ntohs(at.sin_port);
	assert_ok(gh__thread_start(&m->thread, "mute", be_mute, m, error));
	snprintf(url, sizeof url, "http://127.0.0.1:%d/", m->port);
	return url;
}

static void mute_stop(mute *m)
{
	flag_add(&m->over);
	pthread_join(m->thread, NULL);
	close(m->listener);
}

#define MS GH__MILLISECOND

START_TEST(silence_has_a_limit)
{
	static const struct {
		const char *words;
		int64_t idle, total;
	} cases[] = {
		{ NULL, 200 * MS, 0 },
		{ NULL, 0, 200 * MS },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc", 200 * MS, 0 },
		{ "HTTP/1.1 200 OK\r\nContent-Le", 200 * MS, 0 },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc", 0, 200 * MS },
	};
	gh__http_client *client;

	assert_ok(gh__http_client_create(&client, error));
	for (size_t i = 0; i < COUNT(cases); i++) {
		mute m;
		gh__http_call_options call = { .idle_timeout = cases[i].idle,
					       .total_timeout = cases[i].total };

		call.url = mute_start(&m, cases[i].words, false);
		int64_t begun = gh__now();
		assert_fails(GH_ETIMEOUT, "GET ",
			     gh__http_fetch(client, &call, NULL, NULL, NULL, error));
		int64_t took = gh__now() - begun;
		ck_assert_int_ge(took, 190 * MS);
		ck_assert_int_lt(took, 3 * GH__SECOND);
		mute_stop(&m);
	}
	gh__http_client_free(client);
}
END_TEST

START_TEST(connecting_has_a_limit)
{
	struct sockaddr_in at = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof at;
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), fds[8];
	gh__http_client *client;
	char url[64];

	/* Nobody accepts, and once the queue of one is full nobody is let in. */
	ck_assert_int_eq(bind(listener, (struct sockaddr *)&at, sizeof at), 0);
	ck_assert_int_eq(listen(listener, 0), 0);
	getsockname(listener, (struct sockaddr *)&at, &len);
	for (size_t i = 0; i < COUNT(fds); i++) {
		fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		connect(fds[i], (struct sockaddr *)&at, sizeof at);
	}
	snprintf(url, sizeof url, "http://127.0.0.1:%d/", ntohs(at.sin_port));
	gh__http_call_options call = { .url = url, .connect_timeout = 200 * MS };
	assert_ok(gh__http_client_create(&client, error));
	int64_t begun = gh__now();
	assert_fails(GH_ETIMEOUT, "GET ", gh__http_fetch(client, &call, NULL, NULL, NULL, error));
	int64_t took = gh__now() - begun;
	ck_assert_int_ge(took, 190 * MS);
	ck_assert_int_lt(took, 3 * GH__SECOND);
	gh__http_client_free(client);
	for (size_t i = 0; i < COUNT(fds); i++)
		close(fds[i]);
	close(listener);
}
END_TEST

START_TEST(broken_answers_are_errors)
{
	static const struct {
		const char *words;
		gh_status status;
	} cases[] = {
		{ "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", GH_ENET },
		{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", GH_ENET },
		{ "", GH_ENET },
		{ "SSH-2.0-OpenSSH\r\n", GH_ENET },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n12345678", GH_ETOOBIG },
		{ "HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n", GH_OK },
		{ "HTTP/1.0 200 OK\r\n\r\nabc", GH_OK },
	};
	gh__http_client *client;

	assert_ok(gh__http_client_create(&client, error));
	for (size_t i = 0; i < COUNT(cases); i++) {
		mute m;
		gh__http_call_options call = { .answer_max = 7 };
		gh_error error = GH_ERROR_INIT;
		int status = -1;

		call.url = mute_start(&m, cases[i].words, true);
		gh_status got = gh__http_fetch(client, &call, &status, NULL, NULL, &error);
		ck_assert_msg(got == cases[i].status, "case %zu: %s", i, error.text);
		if (cases[i].status == GH_ETOOBIG)
			assert_has(error.text, "more than 7 bytes");
		ck_assert_int_eq(status, i == 5 ? 302 : i == 2 || i == 3 ? 0 : 200);
		mute_stop(&m);
	}
	gh__http_client_free(client);
}
END_TEST

/* What callbacks saw of a call. */
typedef struct seen {
	gh__buf headers, data;
	flag pieces, done;
	int pauses; /* how many pieces to refuse at first */
	gh_status status;
	int http_status;
} seen;

static void seen_init(seen *s)
{
	memset(s, 0, sizeof *s);
	gh__buf_init(&s->headers, 1 << 20);
	gh__buf_init(&s->data, 64 << 20);
	flag_init(&s->pieces);
	flag_init(&s->done);
}

static void seen_free(seen *s)
{
	gh__buf_free(&s->headers);
	gh__buf_free(&s->data);
}

static void see_header(int status, const char *name, const char *value, void *userdata)
{
	seen *s = userdata;

	gh__buf_printf(&s->headers, "%d %s=%s|", status, name ? name : "-", value ? value : "-");
}

static bool see_data(const void *data, size_t len, void *userdata)
{
	seen *s = userdata;
	bool taken = s->pauses-- <= 0;

	if (taken)
		gh__buf_append(&s->data, data, len);
	flag_add(&s->pieces);
	return taken;
}

static void see_done(const gh__http_answer *answer, gh_status status, const gh_error *error,
		     void *userdata)
{
	seen *s = userdata;

	ck_assert_int_eq(error->status, status);
	s->status = status;
	s->http_status = answer->status;
	flag_add(&s->done);
}

static gh__http_call *watch(gh__http_client *client, seen *s, gh__http_call_options call)
{
	gh__http_call *ticket = NULL;

	call.on_header = see_header;
	call.on_data = see_data;
	call.on_done = see_done;
	call.userdata = s;
	assert_ok(gh__http_call_start(client, &call, &ticket, error));
	ck_assert_ptr_nonnull(ticket);
	return ticket;
}

START_TEST(headers_come_in_order)
{
	mute m;
	seen s;
	gh__http_client *client;

	seen_init(&s);
	assert_ok(gh__http_client_create(&client, error));
	watch(client, &s,
	      (gh__http_call_options){
		      .url = mute_start(&m,
					"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
					"HTTP/1.1 207 Multi\r\nX-A:  b c \r\nX-Empty:\r\n"
					"Transfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n"
					"3\r\nabc\r\n0\r\nX-T: late\r\n\r\n",
					true) });
	flag_wait(&s.done, 1);
	ck_assert_int_eq(s.status, GH_OK);
	ck_assert_int_eq(s.http_status, 207);
	ck_assert_str_eq(gh__buf_str(&s.headers),
			 "207 -=-|207 X-A=b c |207 X-Empty=|207 "
			 "Transfer-Encoding=chunked|207 Trailer=X-T|207 =|");
	ck_assert_str_eq(gh__buf_str(&s.data), "abc");
	mute_stop(&m);
	gh__http_client_free(client);
	seen_free(&s);
}
END_TEST

START_TEST(calls_pause_and_go_on)
{
	fixture f;
	gh__http_client *client;
	seen s;

	start(&f);
	seen_init(&s);
	s.pauses = 2;
	assert_ok(gh__http_client_create(&client, error));
	gh__http_call *call = watch(client, &s,
				    (gh__http_call_options){ .url = url_of(f.server, "/stream"),
							     .idle_timeout = 300 * MS });
	flag_wait(&f.holding, 1);
	gh__http_stream_write(f.held[0], "first", 5);
	flag_wait(&s.pieces, 1);
	gh__http_call_resume(client, call);
	flag_wait(&s.pieces, 2); /* refused again */
	gh__sleep(500 * MS);     /* a pause is no silence */
	ck_assert_int_eq(flag_get(&s.done), 0);
	gh__http_call_resume(client, call);
	flag_wait(&s.pieces, 3);
	gh__http_call_resume(client, call); /* not paused: nothing happens */
	gh__http_stream_write(f.held[0], "second", 6);
	gh__http_stream_end(f.held[0]);
	flag_wait(&s.done, 1);
	ck_assert_int_eq(s.status, GH_OK);
	ck_assert_str_eq(gh__buf_str(&s.data), "firstsecond");
	gh__http_call_resume(client, call); /* over: a ticket is no pointer */
	gh__http_call_cancel(client, call);
	gh__http_client_free(client);
	seen_free(&s);
	stop(&f);
}
END_TEST

START_TEST(calls_are_cancelled)
{
	fixture f;
	gh__http_client *client;
	seen s[6];
	gh__http_call *calls[6];

	start(&f);
	assert_ok(gh__http_client_create(&client, error));
	for (int i = 0; i < 6; i++) {
		seen_init(&s[i]);
		s[i].pauses = i == 2;
		calls[i] = watch(client, &s[i],
				 (gh__http_call_options){
					 .url = url_of(f.server, i % 2 ? "/later" : "/stream") });
		flag_wait(&f.holding, i + 1);
	}
	gh__http_stream_write(f.held[0], "x", 1);
	gh__http_stream_write(f.held[2], "x", 1);
	flag_wait(&s[0].pieces, 1);
	flag_wait(&s[2].pieces, 1); /* paused */
	for (int i = 0; i < 4; i++) {
		gh__http_call_cancel(client, calls[i]);
		flag_wait(&s[i].done, 1);
		ck_assert_int_eq(s[i].status, GH_ECANCELLED);
		gh__http_call_cancel(client, calls[i]);
	}
	flag_wait(&f.gone, 4); /* the other side notices */
	/* What still runs ends with the client. */
	gh__http_client_free(client);
	for (int i = 0; i < 6; i++) {
		ck_assert_int_eq(flag_get(&s[i].done), 1);
		ck_assert_int_eq(s[i].status, GH_ECANCELLED);
		seen_free(&s[i]);
	}
	flag_wait(&f.gone, 6);
	for (int i = 0; i < 6; i++)
		gh__http_stream_abort(f.held[i]);
	stop(&f);
}
END_TEST

typedef struct chain {
	gh__http_client *client;
	const char *url;
	int left;
	flag done;
	gh_status last;
} chain;

static void call_again(const gh__http_answer *answer, gh_status status, const gh_error *error,
		       void *userdata)
{
	chain *c = userdata;
	gh__http_call_options next = { .url = c->url, .on_done = call_again, .userdata = c };

	(void)error;
	c->last = status;
	if (status == GH_OK && answer->status == 200 && strcmp(answer->body, "hello") == 0 &&
	    --c->left > 0 && gh__http_call_start(c->client, &next, NULL, NULL) == GH_OK)
		return;
	flag_add(&c->done);
}

START_TEST(callbacks_may_start_calls)
{
	fixture f;
	chain chains[8];
	gh__http_client *client;

	start(&f);
	const char *url = url_of(f.server, "/hello");
	assert_ok(gh__http_client_create(&client, error));
	for (size_t i = 0; i < COUNT(chains); i++) {
		chains[i] = (chain){ .client = client, .url = url, .left = 50 };
		flag_init(&chains[i].done);
		gh__http_call_options first = { .url = chains[i].url,
						.on_done = call_again,
						.userdata = &chains[i] };
		assert_ok(gh__http_call_start(client, &first, NULL, error));
	}
	for (size_t i = 0; i < COUNT(chains); i++) {
		flag_wait(&chains[i].done, 1);
		ck_assert_int_eq(chains[i].last, GH_OK);
		ck_assert_int_eq(chains[i].left, 0);
	}
	gh__http_client_free(client);
	stop(&f);
}
END_TEST

/* A proxy of a few lines: server -> client -> server, with a reader that is slower than the source. */

#define PASSED (24u << 20) /* more than the kernel keeps for us */

typedef struct proxy {
	gh__http_client *client;
	const char *url;
	gh__http_request *request;
	_Atomic(gh__http_call *) call;
	flag refused;
} proxy;

static bool pass_data(const void *data, size_t len, void *userdata)
{
	proxy *p = userdata;

	if (gh__http_stream_write(p->request, data, len) != GH_ETOOBIG)
		return true;
	flag_add(&p->refused);
	return false;
}

static void pass_done(const gh__http_answer *answer, gh_status status, const gh_error *error,
		      void *userdata)
{
	proxy *p = userdata;

	(void)answer;
	(void)error;
	if (status == GH_OK)
		gh__http_stream_end(p->request);
	else
		gh__http_stream_abort(p->request);
}

static void pass_more(void *userdata)
{
	proxy *p = userdata;

	gh__http_call_resume(p->client, p->call);
}

static void pass(gh__http_request *request, void *userdata)
{
	proxy *p = userdata;
	gh__http_call_options options = {
		.url = p->url, .on_data = pass_data, .on_done = pass_done, .userdata = p
	};
	gh__http_call *call;

	p->request = request;
	gh__http_stream_begin(request, 200, NULL);
	assert_ok(gh__http_call_start(p->client, &options, &call, error));
	p->call = call;
	gh__http_stream_on_drain(request, pass_more, p);
}

static void large(gh__http_request *request, void *userdata)
{
	char *body = gh__malloc(PASSED);

	(void)userdata;
	for (size_t i = 0; i < PASSED; i++)
		body[i] = (char)('a' + i * 7 / 64 % 26);
	gh__http_respond(request, 200, NULL, body, PASSED);
	gh__free(body);
}

/* _i: the minor version of HTTP the reader speaks, so both ways to send a stream are used. */
START_TEST(a_slow_reader_slows_the_source_down)
{
	static const gh__http_route source_routes[] = { { "GET", "/", large } };
	static const gh__http_route proxy_routes[] = { { "GET", "/", pass } };
	gh__http_server *source, *front;
	proxy p = { 0 };
	gh__http_server_options options = { .routes = source_routes, .route_count = 1 };

	flag_init(&p.refused);
	assert_ok(gh__http_client_create(&p.client, error));
	assert_ok(gh__http_server_start(&source, &options, error));
	p.url = url_of(source, "/");
	options = (gh__http_server_options){
		.routes = proxy_routes, .route_count = 1, .userdata = &p, .pending_max = 100000
	};
	assert_ok(gh__http_server_start(&front, &options, error));
	int fd = dial(front);
	say(fd, _i ? "GET / HTTP/1.1\r\nHost: x\r\n" CLOSE : "GET / HTTP/1.0\r\n\r\n");
	flag_wait(&p.refused, 1);
	char *answer = hear(fd, NULL);
	const char *body = _i ? unchunk(answer) : strstr(answer, "\r\n\r\n") + 4;
	ck_assert_uint_eq(strlen(body), PASSED);
	for (size_t i = 0; i < PASSED; i++)
		if (body[i] != (char)('a' + i * 7 / 64 % 26))
			ck_abort_msg("byte %zu is %c", i, body[i]);
	gh__free(answer);
	close(fd);
	gh__http_server_stop(front, gh__now() + PATIENCE);
	gh__http_client_free(p.client);
	gh__http_server_stop(source, gh__now() + PATIENCE);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("http");
	TCase *server = tcase_create("server"), *client = tcase_create("client");

	tcase_set_timeout(server, 30);
	tcase_set_timeout(client, 30);
	tcase_add_test(server, patterns_match_paths);
	tcase_add_test(server, escapes_are_decoded_once);
	tcase_add_test(server, requests_are_routed);
	tcase_add_test(server, options_shape_answers);
	tcase_add_test(server, origins_are_checked);
	tcase_add_test(server, old_clients_and_closing_ones);
	tcase_add_test(server, requests_in_pieces_and_in_rows);
	tcase_add_test(server, bodies_have_a_limit);
	tcase_add_test(server, heads_have_a_limit);
	tcase_add_test(server, idle_connections_are_closed);
	tcase_add_test(server, connections_are_counted);
	tcase_add_test(server, memory_may_run_out);
	tcase_add_test(server, a_client_that_leaves_is_noticed);
	tcase_add_test(server, the_gone_function_may_finish_the_request);
	tcase_add_test(server, many_streams_keep_their_order);
	tcase_add_test(server, a_head_goes_out_before_the_first_piece);
	tcase_add_test(server, slow_readers_are_bounded);
	tcase_add_test(server, stopping_waits_for_answers);
	tcase_add_test(server, stopping_cuts_at_the_deadline);
	tcase_add_test(server, addresses_are_checked);
	tcase_add_test(server, unix_sockets_both_ways);
	suite_add_tcase(suite, server);
	tcase_add_test(client, fetching_sends_what_was_given);
	tcase_add_test(client, wrong_calls_are_refused);
	tcase_add_test(client, silence_has_a_limit);
	tcase_add_test(client, connecting_has_a_limit);
	tcase_add_test(client, broken_answers_are_errors);
	tcase_add_test(client, headers_come_in_order);
	tcase_add_test(client, calls_pause_and_go_on);
	tcase_add_test(client, calls_are_cancelled);
	tcase_add_test(client, callbacks_may_start_calls);
	tcase_add_loop_test(client, a_slow_reader_slows_the_source_down, 0, 2);
	suite_add_tcase(suite, client);
	return unit_main(suite);
}
