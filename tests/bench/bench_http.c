/*
 * What a request and an event of a stream cost: bench_http [connections [events]].
 *
 * Everything runs in this process, so what the socket-only clients use is measured apart and the
 * server's share is the rest. One JSON line a measurement.
 */
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/thread.h"
#include "http/client.h"
#include "http/server.h"

#define REQUESTS 50  /* a connection */
#define EVENT    143 /* bytes; a chunk of a chat answer */

typedef struct bench {
	gh__http_server *server;
	int connections, events;
	gh__http_request **streams;
	atomic_int open, answered;
	int *fds;
	int epoll;
	int64_t writer_cpu;
} bench;

static int64_t cpu_of(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return t.tv_sec * GH__SECOND + t.tv_nsec;
}

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void hello(gh__http_request *request, void *userdata)
{
	(void)userdata;
	gh__http_respond(request, 200, "text/plain", "hello", 5);
}

static void open_stream(gh__http_request *request, void *userdata)
{
	bench *b = userdata;

	gh__http_stream_begin(request, 200, "text/event-stream");
	b->streams[atomic_fetch_add(&b->open, 1)] = request;
}

static void dial_all(bench *b)
{
	struct sockaddr_in at = { .sin_family = AF_INET,
				  .sin_port = htons((uint16_t)gh__http_server_port(b->server)),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

	b->epoll = epoll_create1(EPOLL_CLOEXEC);
	for (int i = 0; i < b->connections; i++) {
		struct epoll_event event = { .events = EPOLLIN, .data.u32 = (uint32_t)i };

		b->fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (b->fds[i] < 0 || connect(b->fds[i], (struct sockaddr *)&at, sizeof at) != 0)
			die("connect");
		epoll_ctl(b->epoll, EPOLL_CTL_ADD, b->fds[i], &event);
	}
}

static void hang_up(bench *b)
{
	for (int i = 0; i < b->connections; i++)
		close(b->fds[i]);
	close(b->epoll);
}

static void send_all(int fd, const char *text)
{
	if (send(fd, text, strlen(text), MSG_NOSIGNAL) != (ssize_t)strlen(text))
		die("send");
}

/* Each connection sends its next request when it has an answer. */
static void measure_requests(bench *b)
{
	static const char request[] = "GET /hello HTTP/1.1\r\nHost: bench\r\n\r\n";
	int *left = gh__calloc((size_t)b->connections, sizeof *left);
	int running = b->connections;
	struct epoll_event events[256];
	char text[4096];

	dial_all(b);
	int64_t begun = gh__now(), all = cpu_of(CLOCK_PROCESS_CPUTIME_ID);
	int64_t own = cpu_of(CLOCK_THREAD_CPUTIME_ID);
	for (int i = 0; i < b->connections; i++) {
		left[i] = REQUESTS;
		send_all(b->fds[i], request);
	}
	while (running) {
		int count = epoll_wait(b->epoll, events, 256, -1);

		for (int k = 0; k < count; k++) {
			uint32_t i = events[k].data.u32;

			/* An answer of 150 bytes comes in one piece. */
			if (recv(b->fds[i], text, sizeof text, 0) <= 0)
				die("recv");
			if (--left[i])
				send_all(b->fds[i], request);
			else
				running--;
		}
	}
	int64_t took = gh__now() - begun;
	own = cpu_of(CLOCK_THREAD_CPUTIME_ID) - own;
	all = cpu_of(CLOCK_PROCESS_CPUTIME_ID) - all;
	double total = (double)b->connections * REQUESTS;
	printf("{\"bench\":\"requests\",\"connections\":%d,\"per_s\":%.0f,\"server_us\":%.2f}\n",
	       b->connections, total * 1e9 / (double)took, (double)(all - own) / 1e3 / total);
	hang_up(b);
	gh__free(left);
}

static void write_events(void *opaque)
{
	bench *b = opaque;
	char event[EVENT];

	memset(event, 'e', sizeof event);
	for (int n = 0; n < b->events; n++) {
		int64_t round = gh__now();

		for (int i = 0; i < b->connections; i++)
			if (gh__http_stream_write(b->streams[i], event, sizeof event) != GH_OK)
				die("stream");
		/* As an engine's step does it: one event for everyone, then a while nothing. */
		gh__sleep(10 * GH__MILLISECOND - (gh__now() - round));
	}
	for (int i = 0; i < b->connections; i++)
		gh__http_stream_end(b->streams[i]);
	b->writer_cpu = cpu_of(CLOCK_THREAD_CPUTIME_ID);
}

static void measure_streams(bench *b)
{
	struct epoll_event events[256];
	struct rusage use;
	char text[65536];
	int running = b->connections;
	pthread_t writer;

	dial_all(b);
	for (int i = 0; i < b->connections; i++)
		send_all(b->fds[i],
			 "GET /stream HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n");
	while (atomic_load(&b->open) < b->connections)
		gh__sleep(GH__MILLISECOND);
	int64_t begun = gh__now(), all = cpu_of(CLOCK_PROCESS_CPUTIME_ID);
	int64_t own = cpu_of(CLOCK_THREAD_CPUTIME_ID);
	if (gh__thread_start(&writer, "writer", write_events, b, NULL) != GH_OK)
		die("thread");
	while (running) {
		int count = epoll_wait(b->epoll, events, 256, -1);

		for (int k = 0; k < count; k++) {
			int fd = b->fds[events[k].data.u32];

			if (recv(fd, text, sizeof text, 0) <= 0) {
				epoll_ctl(b->epoll, EPOLL_CTL_DEL, fd, NULL);
				running--;
			}
		}
	}
	int64_t took = gh__now() - begun;
	pthread_join(writer, NULL);
	own = cpu_of(CLOCK_THREAD_CPUTIME_ID) - own;
	all = cpu_of(CLOCK_PROCESS_CPUTIME_ID) - all;
	getrusage(RUSAGE_SELF, &use);
	double total = (double)b->connections * b->events;
	printf("{\"bench\":\"streams\",\"streams\":%d,\"events_per_s\":%.0f,\"server_us\":%.2f,"
	       "\"writer_us\":%.2f,\"peak_mb\":%.1f}\n",
	       b->connections, total * 1e9 / (double)took,
	       (double)(all - own - b->writer_cpu) / 1e3 / total,
	       (double)b->writer_cpu / 1e3 / total, (double)use.ru_maxrss / 1024);
	hang_up(b);
}

static void on_answer(const gh__http_answer *answer, gh_status status, const gh_error *error,
		      void *userdata)
{
	bench *b = userdata;

	if (status != GH_OK || answer->status != 200)
		fprintf(stderr, "call: %s\n", error->text);
	atomic_fetch_add(&b->answered, 1);
}

static void measure_client(bench *b)
{
	gh__http_client *client;
	char url[64];
	int total = b->connections * 10;
	gh__http_call_options options = { .url = url, .on_done = on_answer, .userdata = b };

	snprintf(url, sizeof url, "http://127.0.0.1:%d/hello", gh__http_server_port(b->server));
	if (gh__http_client_create(&client, NULL) != GH_OK)
		die("client");
	int64_t begun = gh__now(), all = cpu_of(CLOCK_PROCESS_CPUTIME_ID);
	for (int i = 0; i < total; i++) {
		while (i - atomic_load(&b->answered) >= b->connections)
			gh__sleep(GH__MILLISECOND / 10);
		if (gh__http_call_start(client, &options, NULL, NULL) != GH_OK)
			die("call");
	}
	while (atomic_load(&b->answered) < total)
		gh__sleep(GH__MILLISECOND / 10);
	int64_t took = gh__now() - begun;
	all = cpu_of(CLOCK_PROCESS_CPUTIME_ID) - all;
	printf("{\"bench\":\"client\",\"per_s\":%.0f,\"client_and_server_us\":%.2f}\n",
	       total * 1e9 / (double)took, (double)all / 1e3 / total);
	gh__http_client_free(client);
}

int main(int argc, char **argv)
{
	static const gh__http_route routes[] = { { "GET", "/hello", hello },
						 { "GET", "/stream", open_stream } };
	bench b = { .connections = argc > 1 ? atoi(argv[1]) : 200,
		    .events = argc > 2 ? atoi(argv[2]) : 100 };
	gh__http_server_options options = { .routes = routes, .route_count = 2, .userdata = &b };
	struct rlimit files;

	if (b.connections < 1 || b.events < 1)
		return 2;
	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	b.fds = gh__calloc((size_t)b.connections, sizeof *b.fds);
	b.streams = gh__calloc((size_t)b.connections, sizeof(gh__http_request *));
	if (!b.fds || !b.streams || gh__http_server_start(&b.server, &options, NULL) != GH_OK)
		return 1;
	measure_requests(&b);
	measure_streams(&b);
	measure_client(&b);
	gh__http_server_stop(b.server, gh__now() + GH__SECOND);
	gh__free(b.fds);
	gh__free(b.streams);
	return 0;
}
