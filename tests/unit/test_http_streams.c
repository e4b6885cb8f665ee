#include "http_fixture.h"

#include <sys/stat.h>

#include "http/client.h"

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

int main(void)
{
	Suite *suite = suite_create("http_streams");
	TCase *cases = tcase_create("http_streams");

	tcase_add_test(cases, a_client_that_leaves_is_noticed);
	tcase_add_test(cases, the_gone_function_may_finish_the_request);
	tcase_add_test(cases, many_streams_keep_their_order);
	tcase_add_test(cases, a_head_goes_out_before_the_first_piece);
	tcase_add_test(cases, slow_readers_are_bounded);
	tcase_add_test(cases, stopping_waits_for_answers);
	tcase_add_test(cases, stopping_cuts_at_the_deadline);
	tcase_add_test(cases, addresses_are_checked);
	tcase_add_test(cases, unix_sockets_both_ways);
	suite_add_tcase(suite, cases);
	return unit_main(suite);
}
