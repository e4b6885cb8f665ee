#ifndef GH_TESTS_WORKER_CLIENT_H
#define GH_TESTS_WORKER_CLIENT_H

#include "unit.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <gonkahost/node.h>

#include "base/buf.h"
#include "json/json.h"

/* Raw HTTP to a worker: what is sent is what the test writes. */

#define CHECKPOINT GH_TEST_DATA "/checkpoints/qwen2"
#define JSON_TYPE  "Content-Type: application/json\r\n"
#define CHAT       "/v1/chat/completions"
#define COMPLETION "/v1/completions"

typedef struct reply {
	int status;
	char *text; /* everything, owned */
	char *head; /* status line and headers */
	char *body; /* without chunks */
	size_t len;
} reply;

static inline void reply_free(reply *r)
{
	free(r->text);
	*r = (reply){ 0 };
}

static inline int dial(int port)
{
	struct sockaddr_in to = { .sin_family = AF_INET,
				  .sin_port = htons((uint16_t)port),
				  .sin_addr = { htonl(INADDR_LOOPBACK) } };
	const struct timeval patience = { .tv_sec = 30 };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ck_assert_int_ge(fd, 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
	return fd;
}

static inline void put(int fd, const char *text, size_t len)
{
	while (len > 0) {
		ssize_t sent = send(fd, text, len, MSG_NOSIGNAL);

		if (sent <= 0)
			return; /* it answers before it has read everything */
		text += sent;
		len -= (size_t)sent;
	}
}

static inline void put_request(int fd, const char *method, const char *path, const char *headers,
			       const char *body, size_t len)
{
	gh__buf head = GH__BUF_INIT(1 << 20);

	gh__buf_printf(&head,
		       "%s %s HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: "
		       "%zu\r\n%s\r\n",
		       method, path, len, headers);
	put(fd, head.data, head.len);
	put(fd, body, len);
	gh__buf_free(&head);
}

static inline size_t unchunk(char *body)
{
	char *in = body, *out = body;

	for (;;) {
		size_t size = strtoul(in, &in, 16);

		ck_assert(in[0] == '\r' && in[1] == '\n');
		if (size == 0)
			break;
		memmove(out, in + 2, size);
		out += size;
		in += 2 + size + 2;
	}
	*out = '\0';
	return (size_t)(out - body);
}

/* To the end of the connection. */
static inline reply take(int fd)
{
	size_t capacity = 1 << 16, len = 0;
	reply r = { .text = malloc(capacity) };
	ssize_t got;

	while ((got = read(fd, r.text + len, capacity - len - 1)) > 0) {
		len += (size_t)got;
		if (capacity - len < 4096) {
			capacity *= 2;
			r.text = realloc(r.text, capacity);
		}
	}
	close(fd);
	r.text[len] = '\0';
	r.head = r.text;
	ck_assert_msg(sscanf(r.text, "HTTP/1.1 %d", &r.status) == 1, "\"%.80s\"", r.text);
	char *end = strstr(r.text, "\r\n\r\n");
	ck_assert_ptr_nonnull(end);
	*end = '\0';
	r.body = end + 4;
	r.len = strcasestr(r.head, "transfer-encoding: chunked") ? unchunk(r.body) : strlen(r.body);
	return r;
}

static inline reply ask(int port, const char *method, const char *path, const char *headers,
			const char *body)
{
	int fd = dial(port);

	put_request(fd, method, path, headers, body, strlen(body));
	return take(fd);
}

static inline reply get(int port, const char *path)
{
	return ask(port, "GET", path, "", "");
}

/* Single quotes stand for double ones. */
static inline reply post(int port, const char *path, const char *body)
{
	char *text = strdup(body);

	for (char *c = text; *c; c++)
		*c = *c == '\'' ? '"' : *c;
	reply r = ask(port, "POST", path, JSON_TYPE, text);
	free(text);
	return r;
}

/* A chat with fields beside the messages. */
static inline reply chat(int port, const char *fields)
{
	char body[8192];

	snprintf(body, sizeof body, "{'messages':[{'role':'user','content':'Hi'}]%s%s}",
		 fields[0] ? "," : "", fields);
	return post(port, CHAT, body);
}

static inline json_t *tree_of(const reply *r)
{
	gh_error error = GH_ERROR_INIT;
	json_t *tree = gh__json_parse(r->body, r->len, true, &error);

	ck_assert_msg(tree != NULL, "%d %s: %s", r->status, error.text, r->body);
	return tree;
}

/* "choices.0.message.content"; borrowed. */
static inline json_t *at(const json_t *tree, const char *path)
{
	char copy[256], *save = NULL;

	snprintf(copy, sizeof copy, "%s", path);
	for (char *step = strtok_r(copy, ".", &save); step; step = strtok_r(NULL, ".", &save))
		tree = json_is_array(tree) ? json_array_get(tree, (size_t)atoi(step))
					   : json_object_get(tree, step);
	return (json_t *)tree;
}

/* Keys of an object, in order, with a space behind each. */
static inline const char *keys_of(const json_t *object)
{
	static char text[1024];
	const char *key;
	json_t *value;
	size_t len = 0;

	text[0] = '\0';
	json_object_foreach((json_t *)object, key, value)
	{
		len += (size_t)snprintf(text + len, sizeof text - len, "%s ", key);
		ck_assert_uint_lt(len, sizeof text);
	}
	return text;
}

/* The data of event number index of a stream; NULL: there are fewer. Owned. */
static inline char *event(const reply *r, int index)
{
	const char *at_event = r->body;

	for (int i = 0; at_event && *at_event; i++) {
		const char *end = strstr(at_event, "\n\n");

		ck_assert_ptr_nonnull(end);
		ck_assert_msg(strncmp(at_event, "data: ", 6) == 0, "%.60s", at_event);
		if (i == index)
			return strndup(at_event + 6, (size_t)(end - at_event) - 6);
		at_event = end + 2;
	}
	return NULL;
}

/* A gauge or counter of /metrics, by the beginning of its line. */
static inline double metric(int port, const char *line)
{
	reply r = get(port, "/metrics");
	const char *found = r.body;
	double value = -1;

	while (found && strncmp(found, line, strlen(line)) != 0) {
		found = strchr(found, '\n');
		found = found ? found + 1 : NULL;
	}
	if (found) {
		const char *end = strchr(found, '\n');

		while (end > found && end[-1] != ' ')
			end--;
		value = atof(end);
	}
	reply_free(&r);
	return value;
}

/* Ask until the metric has the value; the test's own time limit ends a wait for ever. */
static inline void wait_metric(int port, const char *line, double value)
{
	while (metric(port, line) != value)
		usleep(1000);
}

static inline void wait_ready(int port)
{
	int status = 503;

	while (status == 503) {
		reply r = get(port, "/health");

		status = r.status;
		reply_free(&r);
	}
	ck_assert_int_eq(status, 200);
}

static inline gh_worker *worker_with(const char *const *more, size_t count)
{
	static const char checkpoint[] = CHECKPOINT;
	const char *args[32] = { checkpoint, "--port", "0", "--host", "127.0.0.1" };
	gh_worker_options options = GH_WORKER_OPTIONS_INIT;
	gh_worker *worker = NULL;

	for (size_t i = 0; i < count; i++)
		args[5 + i] = more[i];
	options.args = args;
	options.arg_count = 5 + count;
	assert_ok(gh_worker_start(&worker, &options, error));
	return worker;
}

#endif
