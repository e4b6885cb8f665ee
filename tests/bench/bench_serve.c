/*
 * What a worker costs beside its model: bench_serve [FOLDER]
 *
 * FOLDER has the tokenizer and chat template (default: a tiny checkpoint of the tests). The model
 * is a runner that costs nothing, so what is measured is the engine alone and then all of HTTP,
 * JSON, template, tokenizer and server-sent events around it. Times are of the processor, without
 * the client's share, so that other programs disturb little; the best of several runs.
 */
#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../unit/null_runner.h"
#include "base/clock.h"
#include "engine/internal.h"
#include "serve/worker.h"

enum { RUNS = 5, REQUESTS = 2000, TOKENS = 20000, VOCAB = 419, LENGTH = 1 << 17 };

static const char *folder = GH_TEST_DATA "/checkpoints/qwen2";
static null_runner runner;

static void must(bool good, const char *what)
{
	if (good)
		return;
	fprintf(stderr, "bench_serve: %s\n", what);
	exit(EXIT_FAILURE);
}

static gh_status load(gh__served *out, gh_worker *worker, void *userdata, gh_error *error)
{
	gh__runner r = null_runner_make(&runner, VOCAB, LENGTH);
	gh_status status = gh_tokenizer_load(&out->tokenizer, folder, error);

	(void)userdata;
	out->vocab = VOCAB;
	if (status == GH_OK)
		status = gh_template_load(&out->chat_template, folder, error);
	if (status == GH_OK)
		status = gh__engine_create(&out->engine, &r, out->tokenizer, NULL, worker->metrics,
					   "m", error);
	return status;
}

/* ---- the engine alone ---- */

typedef struct waiter {
	pthread_mutex_t mutex;
	pthread_cond_t ended;
	bool done;
} waiter;

static void on_event(const gh_token_event *event, void *userdata)
{
	waiter *w = userdata;

	if (event->finish == GH_FINISH_NONE)
		return;
	pthread_mutex_lock(&w->mutex);
	w->done = true;
	pthread_cond_signal(&w->ended);
	pthread_mutex_unlock(&w->mutex);
}

static void submit(gh_engine *engine, int32_t tokens)
{
	static const int32_t prompt[17] = { 1, 2, 3 };
	waiter w = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false };
	gh_sampling sampling;

	gh_sampling_init(&sampling);
	sampling.max_tokens = tokens;
	must(gh_engine_submit(engine, prompt, 17, &sampling, on_event, &w, NULL, NULL) == GH_OK,
	     "the engine refuses");
	pthread_mutex_lock(&w.mutex);
	while (!w.done)
		pthread_cond_wait(&w.ended, &w.mutex);
	pthread_mutex_unlock(&w.mutex);
}

/* ---- all of it ---- */

static int dial(int port)
{
	struct sockaddr_in to = { .sin_family = AF_INET,
				  .sin_port = htons((uint16_t)port),
				  .sin_addr = { htonl(INADDR_LOOPBACK) } };
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	must(fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof to) == 0, "no connection");
	return fd;
}

/* Over one connection that stays open: until the end of the answer is seen. */
static void ask(int fd, int tokens, bool stream)
{
	static char piece[1 << 16];
	char body[256], head[256], tail[64] = "";
	const char *end = stream ? "0\r\n\r\n" : "null}";
	size_t end_len = strlen(end), kept = 0;
	int len = snprintf(body, sizeof body,
			   "{\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}],"
			   "\"max_tokens\":%d,\"stream\":%s}",
			   tokens, stream ? "true" : "false");
	int head_len = snprintf(head, sizeof head,
				"POST /v1/chat/completions HTTP/1.1\r\nHost: h\r\nContent-Type: "
				"application/json\r\nContent-Length: %d\r\n\r\n%s",
				len, body);

	must(send(fd, head, (size_t)head_len, 0) == head_len, "cannot send");
	while (kept < end_len || memcmp(tail + kept - end_len, end, end_len) != 0) {
		ssize_t got = read(fd, piece, sizeof piece);

		must(got > 0, "the connection broke");
		size_t fresh = (size_t)got < 32 ? (size_t)got : 32;
		if (kept > 32) {
			memmove(tail, tail + kept - 32, 32);
			kept = 32;
		}
		memcpy(tail + kept, piece + got - fresh, fresh);
		kept += fresh;
	}
}

/* ---- runs ---- */

static double seconds_of(int who)
{
	struct rusage u;

	getrusage(who, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

/* Of the whole process but this thread, which is the client. */
static double busy(void)
{
	return seconds_of(RUSAGE_SELF) - seconds_of(RUSAGE_THREAD);
}

static void best(double *so_far, double began, int count)
{
	double us = (busy() - began) * 1e6 / count;

	if (*so_far == 0 || us < *so_far)
		*so_far = us;
}

int main(int argc, char **argv)
{
	static const char *const args[] = { "m", "--port", "0", "--host", "127.0.0.1" };
	gh_worker_options options = GH_WORKER_OPTIONS_INIT;
	double request[2] = { 0, 0 }, token[2] = { 0, 0 };
	gh_worker *worker;

	if (argc > 1)
		folder = argv[1];
	options.args = args;
	options.arg_count = 5;
	must(gh__worker_start(&worker, &options, load, NULL, NULL) == GH_OK, "cannot start");
	while (atomic_load(&worker->state) == GH__WORKER_LOADING)
		gh__sleep(GH__MILLISECOND);
	must(atomic_load(&worker->state) == GH__WORKER_READY, "cannot load");
	int fd = dial(gh_worker_port(worker));
	for (int run = 0; run < RUNS; run++) {
		double began = busy();
		for (int i = 0; i < REQUESTS; i++)
			submit(worker->served.engine, 1);
		best(&request[0], began, REQUESTS);
		began = busy();
		submit(worker->served.engine, TOKENS);
		best(&token[0], began, TOKENS);
		began = busy();
		for (int i = 0; i < REQUESTS; i++)
			ask(fd, 1, false);
		best(&request[1], began, REQUESTS);
		began = busy();
		ask(fd, TOKENS, true);
		best(&token[1], began, TOKENS);
	}
	for (int i = 0; i < 2; i++)
		printf("{\"bench\":\"%s\",\"request_us\":%.1f,\"token_us\":%.2f}\n",
		       i ? "server" : "engine", request[i], token[i]);
	close(fd);
	gh_worker_stop(worker);
	return EXIT_SUCCESS;
}
