#ifndef GH_TESTS_NODE_CLIENT_H
#define GH_TESTS_NODE_CLIENT_H

#include "unit.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"
#include "http/client.h"

/*
 * A client of nodes on this machine: exchanges that are waited for, and exchanges in the
 * background.
 */
enum { PATIENCE = 30 }; /* seconds that anything may take on a busy machine */

static gh__http_client *client;

/* The answer's body; caller frees (gh__free). type NULL: no Content-Type header is sent. */
static inline char *call(int port, const char *method, const char *path, const char *type,
			 const char *body, int *status)
{
	char url[512], header[128];
	const char *headers[] = { header, "X-Other: kept", NULL };
	gh__http_call_options options = { 0 };
	char *answer = NULL;
	size_t len;

	snprintf(url, sizeof url, "http://127.0.0.1:%d%s", port, path);
	snprintf(header, sizeof header, "Content-Type:%s%s", type ? " " : "", type ? type : "");
	options.method = method;
	options.url = url;
	options.headers = headers;
	options.body = body;
	options.body_len = body ? strlen(body) : 0;
	options.total_timeout = PATIENCE * GH__SECOND;
	assert_ok(gh__http_fetch(client, &options, status, &answer, &len, error));
	return answer;
}

static inline void expect(int port, const char *method, const char *path, const char *type,
			  const char *body, int status, const char *answer)
{
	int got;
	char *text = call(port, method, path, type, body, &got);

	ck_assert_msg(got == status && strcmp(text, answer) == 0, "%s %s: %d %s, not %d %s", method,
		      path, got, text, status, answer);
	gh__free(text);
}

/* ---- one exchange in the background ---- */

typedef struct exchange {
	gh__http_call *call;
	pthread_mutex_t lock;
	gh__buf body; /* what has come */
	bool done;
	gh_status status;
} exchange;

static inline bool exchange_data(const void *data, size_t len, void *userdata)
{
	exchange *e = userdata;

	pthread_mutex_lock(&e->lock);
	gh__buf_append(&e->body, data, len);
	pthread_mutex_unlock(&e->lock);
	return true;
}

static inline void exchange_done(const gh__http_answer *answer, gh_status status,
				 const gh_error *error, void *userdata)
{
	exchange *e = userdata;

	(void)answer;
	(void)error;
	pthread_mutex_lock(&e->lock);
	e->done = true;
	e->status = status;
	pthread_mutex_unlock(&e->lock);
}

static inline void exchange_start(exchange *e, int port, const char *path, const char *body)
{
	static const char *const headers[] = { "Content-Type: application/json", NULL };
	gh__http_call_options options = { 0 };
	char url[512];

	memset(e, 0, sizeof *e);
	gh__buf_init(&e->body, 65536);
	pthread_mutex_init(&e->lock, NULL);
	snprintf(url, sizeof url, "http://127.0.0.1:%d%s", port, path);
	options.method = "POST";
	options.url = url;
	options.headers = headers;
	options.body = body;
	options.body_len = strlen(body);
	options.on_data = exchange_data;
	options.on_done = exchange_done;
	options.userdata = e;
	assert_ok(gh__http_call_start(client, &options, &e->call, error));
}

/* Until the body holds the words or, words NULL, until it is over. */
static inline void exchange_await(exchange *e, const char *words)
{
	int64_t deadline = gh__now() + PATIENCE * GH__SECOND;
	bool there = false;

	while (!there && gh__now() < deadline) {
		pthread_mutex_lock(&e->lock);
		there = words ? strstr(gh__buf_str(&e->body), words) != NULL : e->done;
		pthread_mutex_unlock(&e->lock);
		if (!there)
			gh__sleep(GH__MILLISECOND);
	}
	ck_assert_msg(there, "'%s' did not come: %s", words ? words : "the end",
		      gh__buf_str(&e->body));
}

#endif
