#include "http_fixture.h"

#include <poll.h>

#include "http/route.h"

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

START_TEST(clients_come_from_allowed_networks)
{
	static const char request[] = "GET /echo HTTP/1.1\r\nHost: x\r\n" CLOSE;
	struct sockaddr_in from = { .sin_family = AF_INET };
	struct sockaddr_in to = { .sin_family = AF_INET };
	gh__http_server *refused;
	fixture f;
	char byte;

	start_with(&f, (gh__http_server_options){ .allow = "10.0.0.0/8,127.0.0.2" });
	int stranger = dial(f.server);
	(void)send(stranger, request, sizeof request - 1, MSG_NOSIGNAL);
	ck_assert_int_le(recv(stranger, &byte, 1, 0), 0);
	close(stranger);

	int friend = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	inet_pton(AF_INET, "127.0.0.2", &from.sin_addr);
	ck_assert_int_eq(bind(friend, (struct sockaddr *)&from, sizeof from), 0);
	inet_pton(AF_INET, "127.0.0.1", &to.sin_addr);
	to.sin_port = htons((uint16_t)gh__http_server_port(f.server));
	ck_assert_int_eq(connect(friend, (struct sockaddr *)&to, sizeof to), 0);
	say(friend, request);
	char *answer = hear(friend, NULL);
	assert_has(answer, "HTTP/1.1 200 ");
	gh__free(answer);
	close(friend);
	stop(&f);

	gh__http_server_options options = { .allow = "10.0.0.0/8,," };
	assert_fails(GH_EINVAL, "allow: \"\" is not a network",
		     gh__http_server_start(&refused, &options, error));
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

int main(void)
{
	Suite *suite = suite_create("http");
	TCase *cases = tcase_create("http");

	tcase_add_test(cases, patterns_match_paths);
	tcase_add_test(cases, escapes_are_decoded_once);
	tcase_add_test(cases, requests_are_routed);
	tcase_add_test(cases, options_shape_answers);
	tcase_add_test(cases, origins_are_checked);
	tcase_add_test(cases, old_clients_and_closing_ones);
	tcase_add_test(cases, requests_in_pieces_and_in_rows);
	tcase_add_test(cases, bodies_have_a_limit);
	tcase_add_test(cases, heads_have_a_limit);
	tcase_add_test(cases, idle_connections_are_closed);
	tcase_add_test(cases, connections_are_counted);
	tcase_add_test(cases, clients_come_from_allowed_networks);
	tcase_add_test(cases, memory_may_run_out);
	suite_add_tcase(suite, cases);
	return unit_main(suite);
}
