#include "network_node/errands.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/error.h"

enum { ANSWER_MAX = 64 << 10, URL_MAX = 16384 };

typedef struct errand {
	gh__errand said;
	gh__errands *all;
	gh__http_call *call;
} errand;

struct gh__errands {
	gh__http_client *client; /* borrowed */
	pthread_mutex_t lock;
	pthread_cond_t over;
	size_t count, under_way;
	errand at[];
};

gh_status gh__errands_create(gh__errands **out, gh__http_client *client, size_t count,
			     gh_error *error)
{
	gh__errands *errands = gh__calloc(1, sizeof *errands + count * sizeof errands->at[0]);

	if (!errands)
		return gh__fail_nomem(error);
	errands->client = client;
	errands->count = count;
	pthread_mutex_init(&errands->lock, NULL);
	if (gh__cond_init(&errands->over) != GH_OK) {
		pthread_mutex_destroy(&errands->lock);
		gh__free(errands);
		return gh__fail_nomem(error);
	}
	*out = errands;
	return GH_OK;
}

gh__errand *gh__errands_at(gh__errands *errands, size_t index)
{
	return &errands->at[index].said;
}

static void finish(errand *e, const gh__http_answer *answer, gh_status status,
		   const gh_error *error)
{
	gh__errands *errands = e->all;

	pthread_mutex_lock(&errands->lock);
	if (status == GH_OK) {
		e->said.status = answer->status;
		e->said.answer = gh__strndup(answer->body ? answer->body : "", answer->len);
	} else {
		snprintf(e->said.problem, sizeof e->said.problem, "%s", error->text);
	}
	e->call = NULL;
	errands->under_way--;
	pthread_cond_signal(&errands->over);
	pthread_mutex_unlock(&errands->lock);
}

static void on_done(const gh__http_answer *answer, gh_status status, const gh_error *error,
		    void *userdata)
{
	finish(userdata, answer, status, error);
}

static void start(gh__errands *errands, errand *e)
{
	gh__buf authorization = GH__BUF_INIT(URL_MAX);
	const char *headers[] = { "Content-Type: application/json", NULL, NULL };
	gh__http_call_options options = {
		.method = "POST",
		.url = e->said.url ? e->said.url : "",
		.headers = headers,
		.body = e->said.body,
		.body_len = e->said.body ? strlen(e->said.body) : 0,
		.total_timeout = e->said.timeout,
		.answer_max = ANSWER_MAX,
		.on_done = on_done,
		.userdata = e,
	};
	gh_error error = GH_ERROR_INIT;
	gh_status status;

	if (e->said.token && e->said.token[0]) {
		gh__buf_printf(&authorization, "Authorization: Bearer %s", e->said.token);
		headers[1] = gh__buf_str(&authorization);
	}
	status = gh__http_call_start(errands->client, &options, &e->call, &error);
	gh__buf_free(&authorization);
	if (status != GH_OK)
		finish(e, NULL, status, &error);
}

static void cancel(gh__errands *errands)
{
	for (size_t i = 0; i < errands->count; i++) {
		gh__http_call *call;

		pthread_mutex_lock(&errands->lock);
		call = errands->at[i].call;
		pthread_mutex_unlock(&errands->lock);
		if (call)
			gh__http_call_cancel(errands->client, call);
	}
}

/* false: the deadline has passed. */
static bool all_over(gh__errands *errands, int64_t deadline)
{
	bool over;

	pthread_mutex_lock(&errands->lock);
	while (errands->under_way > 0 &&
	       gh__cond_wait_until(&errands->over, &errands->lock, deadline))
		continue;
	over = errands->under_way == 0;
	pthread_mutex_unlock(&errands->lock);
	return over;
}

gh_status gh__errands_run(gh__errands *errands, gh__going_fn *going, void *userdata)
{
	errands->under_way = errands->count;
	for (size_t i = 0; i < errands->count; i++) {
		errands->at[i].all = errands;
		start(errands, &errands->at[i]);
	}
	while (!all_over(errands, gh__now() + GH__SECOND / 4)) {
		if (going(userdata))
			continue;
		cancel(errands);
		all_over(errands, INT64_MAX);
		return GH_ECANCELLED;
	}
	return GH_OK;
}

char *gh__errand_url(const char *base, const char *path)
{
	gh__buf url = GH__BUF_INIT(URL_MAX);

	gh__buf_append_str(&url, base);
	gh__buf_append_str(&url, path);
	return gh__buf_take(&url);
}

void gh__errands_free(gh__errands *errands)
{
	if (!errands)
		return;
	for (size_t i = 0; i < errands->count; i++) {
		gh__free(errands->at[i].said.url);
		gh__free(errands->at[i].said.body);
		gh__free(errands->at[i].said.answer);
	}
	pthread_cond_destroy(&errands->over);
	pthread_mutex_destroy(&errands->lock);
	gh__free(errands);
}
