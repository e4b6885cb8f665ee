#include "http_fixture.h"

#include <stdatomic.h>

#include "http/client.h"

static void send_on(gh__http_request *request, void *userdata)
{
	(void)userdata;
	gh__http_set_header(request, "Location", "/");
	gh__http_respond(request, 307, NULL, "", 0);
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

/* What redirects lead to is in the tests of the sender; without being asked for, to nothing. */
START_TEST(redirect_is_an_answer)
{
	static const gh__http_route moved[] = { { NULL, "*", send_on } };
	gh__http_server_options options = { .routes = moved, .route_count = 1 };
	gh__http_client *client;
	gh__http_server *server;
	int status;

	assert_ok(gh__http_server_start(&server, &options, error));
	assert_ok(gh__http_client_create(&client, error));
	gh__http_call_options call = { .url = url_of(server, "/") };
	assert_ok(gh__http_fetch(client, &call, &status, NULL, NULL, error));
	ck_assert_int_eq(status, 307);
	call.redirects_max = 3;
	assert_fails(GH_ENET, "redirects",
		     gh__http_fetch(client, &call, &status, NULL, NULL, error));
	gh__http_client_free(client);
	gh__http_server_stop(server, 0);
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
		(void)connect(fds[i], (struct sockaddr *)&at, sizeof at);
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
		{ "HTTP/1.1 200 OK\r\n", GH_ENET },
		{ "HTTP/1.1 200 OK\r\nContent-Le", GH_ENET },
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

START_TEST(all_calls_are_cancelled_at_once)
{
	fixture f;
	gh__http_client *client;
	gh__http_call_options later = { 0 };
	seen s[6];
	int status = 0;

	start(&f);
	assert_ok(gh__http_client_create(&client, error));
	gh__http_client_cancel(client); /* nothing runs */
	for (int i = 0; i < 6; i++) {
		seen_init(&s[i]);
		watch(client, &s[i],
		      (gh__http_call_options){
			      .url = url_of(f.server, i % 2 ? "/later" : "/stream") });
		flag_wait(&f.holding, i + 1);
	}
	gh__http_client_cancel(client);
	for (int i = 0; i < 6; i++) {
		flag_wait(&s[i].done, 1);
		ck_assert_int_eq(s[i].status, GH_ECANCELLED);
		seen_free(&s[i]);
	}
	flag_wait(&f.gone, 6);
	for (int i = 0; i < 6; i++)
		gh__http_stream_abort(f.held[i]);
	later.url = url_of(f.server, "/nowhere");
	assert_ok(gh__http_fetch(client, &later, &status, NULL, NULL, error));
	ck_assert_int_eq(status, 404);
	gh__http_client_free(client);
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

/* A proxy of a few lines: server -> client -> server, with a reader that is slower than the
 * source. */

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
	Suite *suite = suite_create("http_client");
	TCase *cases = tcase_create("http_client");

	tcase_add_test(cases, fetching_sends_what_was_given);
	tcase_add_test(cases, wrong_calls_are_refused);
	tcase_add_test(cases, redirect_is_an_answer);
	tcase_add_test(cases, silence_has_a_limit);
	tcase_add_test(cases, connecting_has_a_limit);
	tcase_add_test(cases, broken_answers_are_errors);
	tcase_add_test(cases, headers_come_in_order);
	tcase_add_test(cases, calls_pause_and_go_on);
	tcase_add_test(cases, calls_are_cancelled);
	tcase_add_test(cases, all_calls_are_cancelled_at_once);
	tcase_add_test(cases, callbacks_may_start_calls);
	tcase_add_loop_test(cases, a_slow_reader_slows_the_source_down, 0, 2);
	suite_add_tcase(suite, cases);
	return unit_main(suite);
}
