#include "cli.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { REPLY_MAX = 64 << 20 };

static size_t collect(char *data, size_t size, size_t count, void *userdata)
{
	cli_reply *reply = userdata;
	char *body;

	if (count > REPLY_MAX - reply->len)
		return 0;
	body = realloc(reply->body, reply->len + count + 1);
	if (!body)
		return 0;
	memcpy(body + reply->len, data, count);
	reply->body = body;
	reply->len += count;
	body[reply->len] = '\0';
	return size * count;
}

static CURL *prepare(const char *method, const char *url, const char *body,
		     struct curl_slist **headers)
{
	CURL *curl = curl_easy_init();

	if (!curl)
		return NULL;
	*headers = curl_slist_append(NULL, "Content-Type: application/json");
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, *headers);
	curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, 5L);
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	if (body)
		curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
	return curl;
}

bool cli_http(const char *name, const char *method, const char *url, const char *body,
	      cli_reply *reply)
{
	struct curl_slist *headers = NULL;
	CURL *curl = prepare(method, url, body, &headers);
	CURLcode code = CURLE_FAILED_INIT;

	memset(reply, 0, sizeof *reply);
	if (curl) {
		curl_easy_setopt(curl, CURLOPT_TIMEOUT, 60L);
		curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, collect);
		curl_easy_setopt(curl, CURLOPT_WRITEDATA, reply);
		code = curl_easy_perform(curl);
		curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &reply->status);
		curl_easy_cleanup(curl);
	}
	curl_slist_free_all(headers);
	if (code == CURLE_OK && !reply->body)
		reply->body = calloc(1, 1);
	if (code == CURLE_OK && reply->body)
		return true;
	cli_complain(name, CLI_FAILED, "%s: %s", url, curl_easy_strerror(code));
	free(reply->body);
	reply->body = NULL;
	return false;
}

/* The text of an error's body, whatever its shape. */
static int refused(const char *name, const cli_reply *reply)
{
	json_t *body = json_loads(reply->body, 0, NULL);
	const json_t *error = json_object_get(body, "error");
	const char *text = json_string_value(error);
	int code = reply->status == 400 ? CLI_USAGE : CLI_FAILED;

	if (!text)
		text = json_string_value(json_object_get(error, "message"));
	code = cli_complain(name, code, "%s (status %ld)", text ? text : reply->body,
			    reply->status);
	json_decref(body);
	return code;
}

int cli_http_json(const char *name, const char *method, const char *url, const char *body,
		  json_t **answer)
{
	cli_reply reply;
	int code = CLI_OK;

	*answer = NULL;
	if (!cli_http(name, method, url, body, &reply))
		return CLI_FAILED;
	if (reply.status / 100 != 2) {
		code = refused(name, &reply);
	} else {
		*answer = json_loads(reply.body, JSON_DECODE_ANY, NULL);
		if (!*answer)
			code = cli_complain(name, CLI_FAILED, "the answer is no JSON: %.100s",
					    reply.body);
	}
	free(reply.body);
	return code;
}

/* Lines of a text/event-stream as they come. */
typedef struct events {
	CURL *curl;
	cli_reply line; /* what has come since the last newline; the whole body of an error */
	cli_event_fn *fn;
	void *userdata;
	bool stopped;
} events;

static void hand_out(events *e, char *line)
{
	size_t len = strlen(line);

	if (len && line[len - 1] == '\r')
		line[len - 1] = '\0';
	if (!e->stopped && strncmp(line, "data:", 5) == 0)
		e->stopped = !e->fn(line + 5 + strspn(line + 5, " "), e->userdata);
}

static size_t on_piece(char *data, size_t size, size_t count, void *userdata)
{
	events *e = userdata;
	size_t start = 0;
	char *newline;
	long status = 0;

	if (collect(data, size, count, &e->line) != size * count)
		return 0;
	curl_easy_getinfo(e->curl, CURLINFO_RESPONSE_CODE, &status);
	if (status != 200)
		return size * count;
	while ((newline = memchr(e->line.body + start, '\n', e->line.len - start))) {
		*newline = '\0';
		hand_out(e, e->line.body + start);
		start = (size_t)(newline - e->line.body) + 1;
	}
	e->line.len -= start;
	memmove(e->line.body, e->line.body + start, e->line.len + 1);
	return e->stopped ? 0 : size * count;
}

bool cli_http_events(const char *name, const char *url, const char *body, cli_event_fn *fn,
		     void *userdata)
{
	struct curl_slist *headers = NULL;
	events e = { prepare("POST", url, body, &headers), { 0, NULL, 0 }, fn, userdata, false };
	CURLcode code = CURLE_FAILED_INIT;
	long status = 0;

	if (e.curl) {
		curl_easy_setopt(e.curl, CURLOPT_WRITEFUNCTION, on_piece);
		curl_easy_setopt(e.curl, CURLOPT_WRITEDATA, &e);
		code = curl_easy_perform(e.curl);
		curl_easy_getinfo(e.curl, CURLINFO_RESPONSE_CODE, &status);
		curl_easy_cleanup(e.curl);
	}
	curl_slist_free_all(headers);
	if (code != CURLE_OK && !e.stopped)
		cli_complain(name, CLI_FAILED, "%s: %s", url, curl_easy_strerror(code));
	else if (status != 200)
		cli_complain(name, CLI_FAILED, "%s: status %ld: %s", url, status,
			     e.line.body ? e.line.body : "");
	free(e.line.body);
	return status == 200 && (code == CURLE_OK || e.stopped);
}
