/*
 * A worker that does what its model's name says, for tests of the inference node:
 *
 *   m      loads for a moment, then serves
 *   dies   says why on stderr and ends with status 3
 *   loads  loads for ever
 *
 * POST /crash kills it, POST /hang stops it, POST /hold begins an answer and does not end it, GET
 * /pid says which process it is, POST /control/proofs/round writes what it was told beside its
 * socket; every other path answers what was asked.
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
	gh__http_respond_json(request, 200, json_pack("{s:s}", "state", "building"));
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
