#include "serve/generate.h"

#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/random.h"
#include "openai/answer.h"

#define OUT_MAX     ((size_t)512 << 20)
#define ID_MAX      128
#define ID_DIGITS   32
#define CLIENT_GONE 499
#define SSE         "text/event-stream; charset=utf-8"

typedef struct job job;

/* What the engine hands back with each event. */
typedef struct slot {
	job *job;
	size_t prompt;
} slot;

/*
 * The lock covers what events change. It is held while the prompts are submitted, so that no event
 * comes before the stream has begun. Nothing that waits for gone() may be called under it.
 */
struct job {
	gh_worker *worker;
	gh__exchange *exchange;
	gh__openai_request request;
	gh__openai_answer *answer;
	slot *slots;   /* [prompts] */
	uint64_t *ids; /* [submitted] of the engine */
	atomic_size_t submitted;
	atomic_bool gone; /* the client */

	pthread_mutex_t lock;
	gh__buf out;
	size_t pending; /* choices that go on, and the one who prepares */
	bool streaming;
	bool dead; /* no more is written; error tells why, or the client is gone */
	gh__openai_error error;
};

/* Any thread; the engine ignores what has ended. */
static void abort_all(job *j)
{
	size_t submitted = atomic_load(&j->submitted);

	for (size_t i = 0; i < submitted; i++)
		gh_engine_abort(j->worker->served.engine, j->ids[i]);
}

static void gone(void *userdata)
{
	job *j = userdata;

	atomic_store(&j->gone, true);
	abort_all(j);
}

static void job_free(job *j)
{
	gh__openai_answer_free(j->answer);
	gh__openai_request_free(&j->request);
	gh__buf_free(&j->out);
	gh__free(j->slots);
	gh__free(j->ids);
	pthread_mutex_destroy(&j->lock);
	gh__free(j);
}

/* ---- the end ---- */

static void log_end(const job *j)
{
	gh__openai_usage usage = { 0 };

	if (j->worker->args.disable_log_requests || !j->answer)
		return;
	gh__openai_answer_usage(j->answer, &usage);
	gh__info("serve", "%s id=%s prompt=%lld output=%lld seconds=%.3f",
		 atomic_load(&j->gone) ? "client gone"
		 : j->error.status     ? "request failed"
				       : "request done",
		 gh__openai_answer_id(j->answer), (long long)usage.prompt_tokens,
		 (long long)usage.completion_tokens,
		 (double)(gh__now() - j->exchange->began) / (double)GH__SECOND);
}

static void end_stream(job *j)
{
	bool whole = !j->dead || j->error.status != 0;

	gh__buf_reset(&j->out);
	if (!j->dead)
		whole = gh__openai_answer_end(j->answer, &j->out) == GH_OK;
	else if (j->error.status != 0)
		gh__openai_answer_fail(&j->out, &j->error);
	if (whole)
		whole = gh__exchange_write(j->exchange, gh__buf_str(&j->out), j->out.len) == GH_OK;
	gh__exchange_end(j->exchange, whole);
}

static void end_body(job *j)
{
	if (j->error.status == 0 && gh__openai_answer_end(j->answer, &j->out) != GH_OK)
		gh__openai_fail(&j->error, 500, GH__OPENAI_INTERNAL, "the answer is too large");
	if (j->error.status != 0)
		gh__exchange_fail(j->exchange, &j->error);
	else
		gh__exchange_json(j->exchange, &j->out);
}

/* Nobody else knows the job any more, but for the client's connection. */
static void finish(void *userdata)
{
	job *j = userdata;

	log_end(j);
	if (atomic_load(&j->gone) && !j->streaming) /* nobody reads this */
		gh__openai_fail(&j->error, CLIENT_GONE, GH__OPENAI_REFUSED, "the client is gone");
	if (j->streaming)
		end_stream(j);
	else
		end_body(j);
	atomic_fetch_sub(&j->worker->running, 1);
	job_free(j);
}

/* One of those who keep the job is through. */
static void leave(job *j, bool last)
{
	if (!last)
		return;
	/* Texts of many prompt tokens are not the engine's thread's work. */
	if (!j->streaming && gh__openai_request_prompt_logprobs(&j->request) >= 0 &&
	    gh__crew_run(j->worker->crew, finish, j) == GH_OK)
		return;
	finish(j);
}

/* ---- events ---- */

/* Lock held. */
static void die(job *j)
{
	j->dead = true;
	abort_all(j);
}

static void check_engine(gh_worker *worker, const gh_error *error)
{
	gh_engine_stats stats;

	gh_engine_stats_get(worker->served.engine, &stats);
	if (stats.failed)
		gh__worker_fail(worker, error);
}

static void handle(job *j, size_t prompt, const gh_token_event *event)
{
	if (event->finish == GH_FINISH_ERROR) {
		const gh_error unknown = GH_ERROR_INIT;
		const gh_error *error = event->error ? event->error : &unknown;

		gh__openai_fail(&j->error, 500, GH__OPENAI_INTERNAL, "%s",
				error->text[0] ? error->text : "the engine has failed");
		die(j);
		return;
	}
	gh__buf_reset(&j->out);
	gh__openai_answer_event(j->answer, prompt, event, &j->out);
	if (!j->streaming || j->out.len == 0)
		return;
	gh_status status = gh__buf_status(&j->out);
	if (status == GH_OK)
		status = gh__exchange_write(j->exchange, j->out.data, j->out.len);
	if (status == GH_ETOOBIG)
		gh__warn("serve", "client reads too slowly id=%s", gh__openai_answer_id(j->answer));
	if (status != GH_OK)
		die(j);
}

static void on_event(const gh_token_event *event, void *userdata)
{
	const slot *s = userdata;
	job *j = s->job;

	pthread_mutex_lock(&j->lock);
	if (atomic_load(&j->gone))
		j->dead = true;
	if (!j->dead)
		handle(j, s->prompt, event);
	if (event->finish != GH_FINISH_NONE)
		j->pending--;
	bool last = j->pending == 0;
	gh_worker *worker = j->worker; /* the job may be gone once the lock is free */
	pthread_mutex_unlock(&j->lock);
	if (event->finish == GH_FINISH_ERROR && event->error)
		check_engine(worker, event->error);
	leave(j, last);
}

/* ---- the beginning ---- */

static gh_status submit(job *j, size_t i, const gh_sampling *sampling)
{
	const gh__openai_prompt *prompt = &j->request.prompts[i];
	gh_error error = GH_ERROR_INIT;
	gh_status status;

	j->slots[i] = (slot){ j, i };
	j->pending += (size_t)sampling->n;
	status = gh_engine_submit(j->worker->served.engine, prompt->ids, prompt->count, sampling,
				  on_event, &j->slots[i], &j->ids[i], &error);
	if (status == GH_OK) {
		atomic_store(&j->submitted, i + 1);
		return GH_OK;
	}
	j->pending -= (size_t)sampling->n;
	gh__openai_error_of(&j->error, status, &error);
	return status;
}

/* All prompts or none. */
static void submit_all(job *j)
{
	const gh__openai_model *model = &j->worker->model;
	gh_sampling sampling;
	gh_status status = GH_OK;

	for (size_t i = 0; i < j->request.prompt_count && status == GH_OK; i++)
		status = gh__openai_request_sampling(&sampling, &j->request, model,
						     &j->request.prompts[i], &j->error);
	pthread_mutex_lock(&j->lock);
	for (size_t i = 0; i < j->request.prompt_count && status == GH_OK; i++) {
		status = gh__openai_request_sampling(&sampling, &j->request, model,
						     &j->request.prompts[i], &j->error);
		if (status == GH_OK)
			status = submit(j, i, &sampling);
	}
	if (status != GH_OK) {
		die(j);
	} else if (j->request.stream) {
		j->streaming = true;
		gh__exchange_stream(j->exchange, SSE);
		gh__openai_answer_begin(j->answer, &j->out);
		if (j->out.len > 0 &&
		    gh__exchange_write(j->exchange, j->out.data, j->out.len) != GH_OK)
			die(j);
	}
	j->pending--;
	bool last = j->pending == 0;
	/* A client that went away while ids were missing was not seen by gone(). */
	if (!last && atomic_load(&j->gone))
		abort_all(j);
	pthread_mutex_unlock(&j->lock);
	leave(j, last);
}

static void make_id(char out[ID_MAX], const job *j)
{
	const char *given = gh__http_header(j->exchange->request, "X-Request-Id");

	if (!given || given[0] == '\0')
		given = j->request.request_id;
	if (given && given[0] != '\0') {
		size_t len = strnlen(given, ID_MAX - 1);

		memcpy(out, given, len);
		out[len] = '\0';
	} else {
		gh__random_hex(out, ID_DIGITS);
	}
	if (j->worker->args.request_id_headers)
		gh__http_set_header(j->exchange->request, "X-Request-Id", out);
}

static gh_status prepare(job *j, gh__openai_kind kind)
{
	const gh__openai_model *model = &j->worker->model;
	char id[ID_MAX];
	size_t len, prompts;
	const char *body = gh__http_body(j->exchange->request, &len);
	gh_status status = gh__openai_request_parse(&j->request, kind, model, body, len, &j->error);

	if (status != GH_OK)
		return status;
	make_id(id, j);
	status = gh__openai_request_encode(&j->request, model, &j->error);
	if (status != GH_OK)
		return status;
	prompts = j->request.prompt_count;
	j->slots = gh__calloc(prompts, sizeof *j->slots);
	j->ids = gh__calloc(prompts, sizeof *j->ids);
	if (!j->slots || !j->ids)
		return gh__openai_fail(&j->error, 500, GH__OPENAI_INTERNAL, "out of memory");
	gh_sampling sampling;
	status = gh__openai_request_sampling(&sampling, &j->request, model, &j->request.prompts[0],
					     &j->error);
	if (status == GH_OK && gh__openai_answer_create(&j->answer, &j->request, model, id,
							gh__wall() / GH__SECOND) != GH_OK)
		status = gh__openai_fail(&j->error, 500, GH__OPENAI_INTERNAL, "out of memory");
	return status;
}

void gh__generate(gh__exchange *x, gh__openai_kind kind)
{
	job *j = gh__calloc(1, sizeof *j);

	if (!j) {
		gh__exchange_refuse(x, 500, GH__OPENAI_INTERNAL, "out of memory");
		return;
	}
	j->worker = x->worker;
	j->exchange = x;
	j->pending = 1;
	pthread_mutex_init(&j->lock, NULL);
	gh__buf_init(&j->out, OUT_MAX);
	atomic_fetch_add(&x->worker->running, 1);
	atomic_store(&j->gone, gh__http_gone(x->request));
	if (atomic_load(&j->gone) || prepare(j, kind) != GH_OK) {
		finish(j);
		return;
	}
	gh__http_on_gone(x->request, gone, j);
	submit_all(j);
}
