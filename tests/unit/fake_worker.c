/*
 * A worker that does what its model's name says, for tests of the inference node:
 *
 *   m      loads for a moment, then serves
 *   dies   says why on stderr and ends with status 3
 *   loads  loads for ever
 *
 * POST /crash kills it, POST /hang stops it, POST /hold begins an answer and does not end it, GET
 * /pid says which process it is, POST /control/proofs/round writes what it was told beside its
 * socket; every other path answers what was asked. Asked for proofs of the block "GAP" it hits with
 * every nonce, and says nonsense behind the first.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "http/server.h"

static const char *model = "";
static const char *socket_path = "";
static int64_t ready_at;

static void health(gh__http_request *request, void *userdata)
{
	(void)userdata;
	if (strcmp(model, "loads") == 0 || gh__now() < ready_at)
		gh__http_respond_json(request, 503,
				      json_pack("{s:s, s:f}", "status", "loading", "progress",
						0.25));
	else
		gh__http_respond(request, 200, NULL, "", 0);
}

static void crash(gh__http_request *request, void *userdata)
{
	(void)request;
	(void)userdata;
	kill(getpid(), SIGKILL);
}

static void hang(gh__http_request *request, void *userdata)
{
	(void)userdata;
	gh__http_respond(request, 200, "text/plain", "stopping", 8);
	kill(getpid(), SIGSTOP);
}

static void hold(gh__http_request *request, void *userdata)
{
	(void)userdata;
	gh__http_stream_begin(request, 200, "text/event-stream");
	if (gh__http_stream_write(request, "data: one\n\n", 11) != GH_OK)
		gh__http_stream_end(request);
}

static void pid(gh__http_request *request, void *userdata)
{
	char text[32];

	(void)userdata;
	snprintf(text, sizeof text, "%d", (int)getpid());
	gh__http_respond(request, 200, "text/plain", text, strlen(text));
}

static bool asks_for(gh__http_request *request, const char *words)
{
	const char *body = gh__http_body(request, NULL);

	return body && strstr(body, words);
}

/* Whole at once: the file is there when all of it is. */
static void told_round(gh__http_request *request, void *userdata)
{
	char path[256], whole[256];
	size_t len;
	const char *body = gh__http_body(request, &len);
	FILE *file;

	(void)userdata;
	snprintf(path, sizeof path, "%s.part", socket_path);
	snprintf(whole, sizeof whole, "%s.round", socket_path);
	file = fopen(path, "w");
	if (file && fwrite(body, 1, len, file) == len && fclose(file) == 0)
		(void)rename(path, whole);
	gh__http_respond_json(request, 200,
			      json_pack("{s:s}", "state",
					asks_for(request, "\"GAP\"") ? "ready" : "building"));
}

static void echo(gh__http_request *request, void *userdata)
{
	const char *type = gh__http_header(request, "Content-Type");
	const char *other = gh__http_header(request, "X-Other");
	gh__buf text = GH__BUF_INIT(1 << 20);
	size_t len;
	const char *body = gh__http_body(request, &len);

	(void)userdata;
	gh__buf_printf(&text, "%s %s type=%s other=%s body=%.*s", gh__http_method(request),
		       gh__http_target(request), type ? type : "-", other ? other : "-", (int)len,
		       body);
	gh__http_set_header(request, "X-Worker", "fake");
	gh__http_respond(request, 200, "text/x-echo", gh__buf_str(&text), text.len);
	gh__buf_free(&text);
}

/* Nonces 0, 1 and 2 of group 0; the answer does not end. */
static void proofs_generate(gh__http_request *request, void *userdata)
{
	const bool first = asks_for(request, "\"index\":0}");
	gh__buf lines = GH__BUF_INIT(4096);

	(void)userdata;
	gh__http_stream_begin(request, 200, "application/x-ndjson");
	for (int i = first ? 0 : 1; i < 3; i++) {
		if (first && i == 1)
			gh__buf_append_str(&lines, "nonsense\n");
		else
			gh__buf_printf(
				&lines,
				"{\"index\":%d,\"tried\":1,\"nonces\":[%d],\"dist\":[1.0]}\n", i,
				i);
	}
	if (gh__http_stream_write(request, gh__buf_str(&lines), lines.len) != GH_OK)
		gh__http_stream_end(request);
	gh__buf_free(&lines);
}

int main(int argc, char **argv)
{
	static const gh__http_route routes[] = {
		{ "GET", "/health", health },
		{ "POST", "/crash", crash },
		{ "POST", "/hang", hang },
		{ "POST", "/hold", hold },
		{ "POST", "/v1/hold", hold },
		{ "GET", "/pid", pid },
		{ "POST", "/control/proofs/round", told_round },
		{ "POST", "/control/proofs/generate", proofs_generate },
		{ NULL, "/*", echo },
	};
	gh__http_server_options options = { 0 };
	gh__http_server *server;
	gh_error error = GH_ERROR_INIT;
	int i;

	for (i = 1; i + 1 < argc; i++) {
		if (strcmp(argv[i], "--unix-socket") == 0)
			options.unix_path = socket_path = argv[i + 1];
		if (strcmp(argv[i], "--model") == 0)
			model = argv[i + 1];
	}
	if (strcmp(model, "dies") == 0) {
		fputs("error model: dies/config.json: No such file\n", stderr);
		return 3;
	}
	ready_at = gh__now() + GH__SECOND / 5;
	options.routes = routes;
	options.route_count = sizeof routes / sizeof routes[0];
	if (gh__http_server_start(&server, &options, &error) != GH_OK) {
		fprintf(stderr, "error worker: %s\n", error.text);
		return 1;
	}
	for (;;)
		pause();
}
