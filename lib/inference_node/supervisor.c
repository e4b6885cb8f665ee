#include "inference_node/supervisor.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/thread.h"
#include "inference_node/launch.h"
#include "json/json.h"

enum {
	WORKERS_MAX = 128,
	SILENT_MAX = 5,  /* looks without an answer in a row, before a worker counts as hung */
	RESTARTS_MAX = 5 /* in a row, without having been ready between them */
};

static const int64_t look_ready = 2 * GH__SECOND;
static const int64_t look_loading = GH__SECOND / 5;
static const int64_t look_timeout = 2 * GH__SECOND;
static const int64_t term_patience = 5 * GH__SECOND;

typedef enum worker_state { WORKER_DOWN = 0, WORKER_LOADING, WORKER_READY } worker_state;

typedef struct worker {
	gh__process process;
	worker_state state;
	char socket[108];
	int inflight;
	uint64_t birth;
	int silent;   /* looks without an answer in a row */
	int restarts; /* in a row */
	int64_t next_look, restart_at;
	int64_t loading_since;
	bool looking; /* a look is under way */
	bool looked;  /* its result waits */
	int look_status;
	double progress;
} worker;

/* What is to be served, or the order to end. */
typedef struct order {
	bool up;
	char *model, *dtype;
	json_t *args;
	gh__supervisor_done_fn *done;
	void *userdata;
	struct order *next;
} order;

typedef enum phase { IDLE = 0, ENDING, STARTING, RUNNING } phase;

struct gh__supervisor {
	gh__supervisor_options options;
	char *program, *runtime_dir;
	pthread_t thread;
	int wake; /* eventfd */

	/* guarded by lock; only the supervisor's thread writes phase, workers and current */
	pthread_mutex_t lock;
	order *orders; /* waiting, oldest first */
	bool closing;
	phase phase;
	worker workers[WORKERS_MAX];
	int count;
	uint64_t generation; /* of the workers: counts the starts */
	uint64_t births;     /* processes that were started */
	order *current;      /* STARTING and RUNNING: what is served */
	order *waiting;      /* ENDING: what comes next */
	bool ever_up, failed, cancelled;
	int64_t ordered_at; /* 0 = never */
	int64_t term_at;    /* ENDING: when kindness ends */
	char problem[256];
	int looks_under_way;
};

static void wake(gh__supervisor *s)
{
	uint64_t one = 1;

	if (write(s->wake, &one, sizeof one) < 0)
		return; /* the counter is full: it is awake */
}

/* ---- orders ---- */

static void order_free(order *o)
{
	if (!o)
		return;
	gh__free(o->model);
	gh__free(o->dtype);
	json_decref(o->args);
	gh__free(o);
}

/* Tell who waits. Unlocked for the call: it answers an HTTP request. */
static void order_tell(gh__supervisor *s, order *o, const char *message)
{
	gh__supervisor_done_fn *done = o->done;

	o->done = NULL;
	if (!done)
		return;
	pthread_mutex_unlock(&s->lock);
	done(message, o->userdata);
	pthread_mutex_lock(&s->lock);
}

static gh_status submit(gh__supervisor *s, order *o, gh_error *error)
{
	order **at = &s->orders;
	gh_status status = GH_OK;

	pthread_mutex_lock(&s->lock);
	while (*at)
		at = &(*at)->next;
	if (s->closing)
		status = gh__fail(error, GH_ECLOSED, "the node is shutting down");
	else
		*at = o;
	pthread_mutex_unlock(&s->lock);
	if (status != GH_OK)
		order_free(o);
	wake(s);
	return status;
}

static order *order_new(bool up, gh__supervisor_done_fn *done, void *userdata)
{
	order *o = gh__calloc(1, sizeof *o);

	if (o) {
		o->up = up;
		o->done = done;
		o->userdata = userdata;
	}
	return o;
}

gh_status gh__supervisor_up(gh__supervisor *s, const char *model, const char *dtype,
			    const json_t *args, gh__supervisor_done_fn *done, void *userdata,
			    gh_error *error)
{
	order *o = order_new(true, done, userdata);

	if (!o)
		return gh__fail_nomem(error);
	o->model = model ? gh__strdup(model) : NULL;
	o->dtype = gh__strdup(dtype);
	o->args = json_deep_copy(args);
	if ((model && !o->model) || !o->dtype || !o->args) {
		order_free(o);
		return gh__fail_nomem(error);
	}
	if (json_array_size(args) > GH__LAUNCH_ARGS_MAX) {
		order_free(o);
		return gh__fail(error, GH_ETOOBIG, "additional_args: more than %d",
				GH__LAUNCH_ARGS_MAX);
	}
	return submit(s, o, error);
}

gh_status gh__supervisor_down(gh__supervisor *s, gh__supervisor_done_fn *done, void *userdata,
			      gh_error *error)
{
	order *o = order_new(false, done, userdata);

	return o ? submit(s, o, error) : gh__fail_nomem(error);
}

/* ---- starting workers ---- */

static gh__launch launch_of(const gh__supervisor *s)
{
	return (gh__launch){ .program = s->program,
			     .model = s->current->model,
			     .dtype = s->current->dtype,
			     .args = s->current->args,
			     .gpus = s->options.gpus };
}

static gh_status spawn(gh__supervisor *s, int index, gh_error *error)
{
	worker *w = &s->workers[index];
	gh__launch launch = launch_of(s);
	gh_status status;

	gh__process_done(&w->process); /* nothing of an earlier one stays behind */
	status = gh__launch_start(&launch, index, w->socket, &w->process, error);
	w->state = status == GH_OK ? WORKER_LOADING : WORKER_DOWN;
	w->birth = ++s->births;
	w->silent = 0;
	w->progress = 0;
	w->loading_since = gh__now();
	w->next_look = w->loading_since + look_loading;
	return status;
}

static void end_workers(gh__supervisor *s);

static void start_failed(gh__supervisor *s, const char *message)
{
	order *o = s->current;

	gh__error("supervisor", "model=%s %s", o->model ? o->model : "none", message);
	snprintf(s->problem, sizeof s->problem, "%s", message);
	s->failed = true;
	s->current = NULL;
	end_workers(s);
	order_tell(s, o, message);
	order_free(o);
}

static void start_workers(gh__supervisor *s, order *o)
{
	gh_error error = GH_ERROR_INIT;
	gh__launch launch;
	gh_status status;
	int i;

	s->current = o;
	s->phase = STARTING;
	s->generation++;
	s->count = 0;
	s->problem[0] = '\0';
	s->failed = s->cancelled = false;
	launch = launch_of(s);
	status = gh__launch_count(&launch, s->options.instances_max, &s->count, &error);
	for (i = 0; status == GH_OK && i < s->count; i++) {
		worker *w = &s->workers[i];

		memset(w, 0, sizeof *w);
		w->process.output = -1;
		snprintf(w->socket, sizeof w->socket, "%s/worker-%d.sock", s->runtime_dir, i);
		status = spawn(s, i, &error);
	}
	if (status != GH_OK)
		start_failed(s, error.text);
}

/* ---- ending them ---- */

static void end_workers(gh__supervisor *s)
{
	int i;

	for (i = 0; i < s->count; i++)
		gh__process_signal(&s->workers[i].process, SIGTERM);
	s->phase = ENDING;
	s->term_at = gh__now() + term_patience;
}

/* Nothing is left of the workers. */
static void ended(gh__supervisor *s)
{
	order *next = s->waiting;
	int i;

	for (i = 0; i < s->count; i++) {
		gh__process_done(&s->workers[i].process);
		unlink(s->workers[i].socket);
	}
	s->count = 0;
	s->generation++;
	s->phase = IDLE;
	s->waiting = NULL;
	if (!next)
		return;
	if (next->up) {
		start_workers(s, next);
	} else {
		order_tell(s, next, NULL);
		order_free(next);
	}
}

static void watch_ending(gh__supervisor *s)
{
	bool all = s->looks_under_way == 0;
	int i;

	for (i = 0; i < s->count; i++) {
		worker *w = &s->workers[i];

		w->state = WORKER_DOWN;
		if (!gh__process_ended(&w->process)) {
			all = false;
			if (gh__now() > s->term_at)
				gh__process_signal(&w->process, SIGKILL);
		}
	}
	if (all)
		ended(s);
}

/* ---- taking orders ---- */

/* Whoever waited for something that now will not come about. */
static void supersede(gh__supervisor *s, order *o, const char *message)
{
	if (!o)
		return;
	order_tell(s, o, o->up ? message : NULL);
	order_free(o);
}

static void take_order(gh__supervisor *s, order *o)
{
	static const char *const why[] = { "the start was cancelled by a stop",
					   "the start was superseded by another" };
	const char *message = why[o->up]; /* o may be gone at the end */
	order *before = s->current;

	if (o->up) {
		s->ever_up = true;
		s->ordered_at = gh__now();
	}
	if (s->phase == STARTING)
		s->cancelled = true;
	s->current = NULL;
	if (s->phase == ENDING) {
		order *passed = s->waiting;

		s->waiting = o;
		supersede(s, passed, message);
	} else if (s->phase == IDLE) {
		if (o->up) {
			start_workers(s, o);
		} else {
			order_tell(s, o, NULL);
			order_free(o);
		}
	} else {
		s->waiting = o;
		end_workers(s);
	}
	supersede(s, before, message);
}

/* ---- looking at workers ---- */

typedef struct look {
	gh__supervisor *supervisor;
	uint64_t generation;
	int index;
} look;

static double progress_of(const char *body, size_t len)
{
	json_t *object = body ? gh__json_parse(body, len, false, NULL) : NULL;
	double progress = json_number_value(json_object_get(object, "progress"));

	json_decref(object);
	return progress;
}

static void on_look(const gh__http_answer *answer, gh_status status, const gh_error *error,
		    void *userdata)
{
	look *l = userdata;
	gh__supervisor *s = l->supervisor;
	worker *w = &s->workers[l->index];
	double progress = status == GH_OK ? progress_of(answer->body, answer->len) : 0;

	(void)error;
	pthread_mutex_lock(&s->lock);
	s->looks_under_way--;
	if (l->generation == s->generation && l->index < s->count) {
		w->looking = false;
		w->looked = true;
		w->look_status = status == GH_OK ? answer->status : 0;
		w->progress = progress > 0 && progress <= 1 ? progress : w->progress;
	}
	pthread_mutex_unlock(&s->lock);
	wake(s);
	gh__free(l);
}

static void look_at(gh__supervisor *s, int index)
{
	gh_error error = GH_ERROR_INIT;
	worker *w = &s->workers[index];
	look *l = gh__malloc(sizeof *l);
	gh__http_call_options options = {
		.url = "http://worker/health",
		.unix_path = w->socket,
		.total_timeout = look_timeout,
		.answer_max = 4096,
		.on_done = on_look,
		.userdata = l,
	};

	w->next_look = gh__now() + (w->state == WORKER_READY ? look_ready : look_loading);
	if (!l)
		return;
	l->supervisor = s;
	l->generation = s->generation;
	l->index = index;
	w->looking = true;
	s->looks_under_way++;
	/* Starting a call only queues it: this may be done under the lock. */
	if (gh__http_call_start(s->options.client, &options, NULL, &error) == GH_OK)
		return;
	w->looking = false;
	s->looks_under_way--;
	gh__free(l);
}

/* A worker that was given up: again, or not at all when it never gets ready. */
static void replace(gh__supervisor *s, int index, const char *reason)
{
	worker *w = &s->workers[index];
	int wait = 1 << (w->restarts < 4 ? w->restarts : 4);

	snprintf(s->problem, sizeof s->problem, "worker %d was replaced: %s", index, reason);
	gh__error("supervisor", "%s", s->problem);
	w->state = WORKER_DOWN;
	w->restart_at = gh__now() + (w->restarts ? wait * GH__SECOND / 2 : 0);
	w->restarts++;
}

static void worker_ended(gh__supervisor *s, int index)
{
	worker *w = &s->workers[index];
	char reason[200], message[256];

	gh__process_reason(&w->process, reason, sizeof reason);
	if (s->phase == STARTING) {
		snprintf(message, sizeof message, "vLLM process exited prematurely: %s", reason);
		start_failed(s, message);
	} else if (w->restarts >= RESTARTS_MAX) {
		snprintf(message, sizeof message, "worker %d ended %d times in a row: %s", index,
			 w->restarts, reason);
		start_failed(s, message);
	} else {
		replace(s, index, reason);
	}
}

static void restart(gh__supervisor *s, int index)
{
	gh_error error = GH_ERROR_INIT;

	if (spawn(s, index, &error) != GH_OK)
		replace(s, index, error.text);
}

static void read_look(gh__supervisor *s, int index)
{
	worker *w = &s->workers[index];

	w->looked = false;
	if (w->look_status == 200) {
		if (w->state != WORKER_READY)
			gh__info("supervisor", "worker %d is ready", index);
		w->state = WORKER_READY;
		w->silent = w->restarts = 0;
	} else if (w->look_status) {
		if (w->state == WORKER_READY)
			w->loading_since = gh__now();
		w->state = WORKER_LOADING; /* it answers: it lives */
		w->silent = 0;
	} else if (w->state == WORKER_READY && ++w->silent >= SILENT_MAX) {
		gh__process_done(&w->process);
		replace(s, index, "it did not answer for a while");
	}
}

static void watch_worker(gh__supervisor *s, int index, int64_t now)
{
	worker *w = &s->workers[index];

	if (w->state == WORKER_DOWN) {
		if (now >= w->restart_at)
			restart(s, index);
		return;
	}
	if (gh__process_ended(&w->process)) {
		worker_ended(s, index);
		return;
	}
	if (w->looked)
		read_look(s, index);
	if (s->phase == RUNNING && w->state == WORKER_LOADING &&
	    now - w->loading_since > s->options.start_timeout) {
		gh__process_done(&w->process);
		replace(s, index, "it did not get ready again in time");
	}
	if (w->state != WORKER_DOWN && !w->looking && now >= w->next_look)
		look_at(s, index);
}

static int ready(const gh__supervisor *s)
{
	int i, n = 0;

	for (i = 0; i < s->count; i++)
		n += s->workers[i].state == WORKER_READY;
	return n;
}

static void watch_running(gh__supervisor *s)
{
	int64_t now = gh__now();
	int i;

	for (i = 0; i < s->count && (s->phase == STARTING || s->phase == RUNNING); i++)
		watch_worker(s, i, now);
	if (s->phase != STARTING)
		return;
	if (ready(s) == s->count) {
		s->phase = RUNNING;
		order_tell(s, s->current, NULL);
	} else if (now - s->ordered_at > s->options.start_timeout) {
		start_failed(s, "vLLM failed to start within the expected timeout: None");
	}
}

/* ---- the thread ---- */

static void wait_for_news(gh__supervisor *s)
{
	struct pollfd fds[WORKERS_MAX + 1];
	int index[WORKERS_MAX + 1];
	uint64_t count;
	nfds_t n = 0, i;
	int k, timeout = s->phase == IDLE ? 1000 : 100;

	fds[n++] = (struct pollfd){ s->wake, POLLIN, 0 };
	for (k = 0; k < s->count; k++)
		if (s->workers[k].process.output >= 0) {
			index[n] = k;
			fds[n++] = (struct pollfd){ s->workers[k].process.output, POLLIN, 0 };
		}
	pthread_mutex_unlock(&s->lock);
	poll(fds, n, timeout);
	if (fds[0].revents && read(s->wake, &count, sizeof count) < 0 && errno != EAGAIN)
		gh__warn("supervisor", "eventfd: %s", strerror(errno));
	/* Nobody but this thread knows the processes; what they say goes to the log, which may block. */
	for (i = 1; i < n; i++)
		if (fds[i].revents)
			gh__process_read(&s->workers[index[i]].process);
	pthread_mutex_lock(&s->lock);
}

static void run(void *arg)
{
	gh__supervisor *s = arg;

	pthread_mutex_lock(&s->lock);
	while (!s->closing || s->phase != IDLE || s->orders) {
		order *o = s->orders;

		if (o) {
			s->orders = o->next;
			o->next = NULL;
			take_order(s, o);
			continue;
		}
		if (s->closing && s->phase != IDLE && s->phase != ENDING) {
			order_free(s->current);
			s->current = NULL;
			end_workers(s);
		}
		if (s->phase == ENDING)
			watch_ending(s);
		else if (s->phase != IDLE)
			watch_running(s);
		if (!s->orders && !(s->closing && s->phase == IDLE))
			wait_for_news(s);
	}
	pthread_mutex_unlock(&s->lock);
}

gh_status gh__supervisor_create(gh__supervisor **out, const gh__supervisor_options *options,
				gh_error *error)
{
	gh__supervisor *s = gh__calloc(1, sizeof *s);
	gh_status status = GH_OK;

	if (!s)
		return gh__fail_nomem(error);
	s->options = *options;
	if (s->options.instances_max > WORKERS_MAX)
		s->options.instances_max = WORKERS_MAX;
	s->program = gh__strdup(options->program);
	s->runtime_dir = gh__strdup(options->runtime_dir);
	s->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	pthread_mutex_init(&s->lock, NULL);
	if (!s->program || !s->runtime_dir)
		status = gh__fail_nomem(error);
	else if (s->wake < 0)
		status = gh__fail_errno(error, GH_EIO, errno, "supervisor: eventfd");
	if (status == GH_OK)
		status = gh__thread_start(&s->thread, "gh-supervisor", run, s, error);
	if (status != GH_OK) {
		if (s->wake >= 0)
			close(s->wake);
		gh__free(s->program);
		gh__free(s->runtime_dir);
		gh__free(s);
		return status;
	}
	*out = s;
	return GH_OK;
}

void gh__supervisor_free(gh__supervisor *s)
{
	if (!s)
		return;
	pthread_mutex_lock(&s->lock);
	s->closing = true;
	pthread_mutex_unlock(&s->lock);
	wake(s);
	pthread_join(s->thread, NULL);
	close(s->wake);
	pthread_mutex_destroy(&s->lock);
	gh__free(s->program);
	gh__free(s->runtime_dir);
	gh__free(s);
}

/* ---- snapshots and leases ---- */

void gh__supervisor_state_get(gh__supervisor *s, gh__supervisor_state *out)
{
	int i;

	memset(out, 0, sizeof *out);
	pthread_mutex_lock(&s->lock);
	out->ever_up = s->ever_up;
	out->active = s->phase == STARTING || s->phase == RUNNING;
	out->starting = s->phase == STARTING || (s->waiting && s->waiting->up) ||
			(s->orders && s->orders->up);
	out->workers = s->count;
	out->ready = out->active ? ready(s) : 0;
	out->healthy = out->ready > 0;
	out->elapsed =
		s->ordered_at ? (double)(gh__now() - s->ordered_at) / (double)GH__SECOND : -1.0;
	out->proofs = out->active && s->current && !s->current->model;
	if (s->current && s->current->model)
		snprintf(out->model, sizeof out->model, "%s", s->current->model);
	memcpy(out->problem, s->problem, sizeof out->problem);
	out->failed = s->failed;
	out->cancelled = s->cancelled;
	for (i = 0; i < s->count; i++)
		out->progress += s->workers[i].state == WORKER_READY ? 1 : s->workers[i].progress;
	out->progress = s->count ? out->progress / s->count : 0;
	pthread_mutex_unlock(&s->lock);
}

json_t *gh__supervisor_args(gh__supervisor *s)
{
	json_t *args = NULL;

	pthread_mutex_lock(&s->lock);
	if (s->current)
		args = json_deep_copy(s->current->args);
	pthread_mutex_unlock(&s->lock);
	return args;
}

/* Lock held: workers exist that serve a model, or else that compute proofs. */
static bool serves(const gh__supervisor *s, bool a_model)
{
	return (s->phase == STARTING || s->phase == RUNNING) && s->current &&
	       (s->current->model != NULL) == a_model;
}

bool gh__supervisor_prover(gh__supervisor *s, int index, gh__worker_lease *out)
{
	bool there;

	pthread_mutex_lock(&s->lock);
	there = serves(s, false) && index < s->count && s->workers[index].state == WORKER_READY;
	if (there) {
		out->generation = s->generation;
		out->birth = s->workers[index].birth;
		out->index = index;
		memcpy(out->socket, s->workers[index].socket, sizeof out->socket);
	}
	pthread_mutex_unlock(&s->lock);
	return there;
}

bool gh__supervisor_lease(gh__supervisor *s, gh__worker_lease *out)
{
	worker *best = NULL;
	int i;

	pthread_mutex_lock(&s->lock);
	for (i = 0; i < s->count && serves(s, true); i++) {
		worker *w = &s->workers[i];

		if (w->state == WORKER_READY && (!best || w->inflight < best->inflight)) {
			best = w;
			out->index = i;
		}
	}
	if (best) {
		best->inflight++;
		out->generation = s->generation;
		out->birth = best->birth;
		memcpy(out->socket, best->socket, sizeof out->socket);
	}
	pthread_mutex_unlock(&s->lock);
	return best != NULL;
}

void gh__supervisor_release(gh__supervisor *s, const gh__worker_lease *lease, bool failed)
{
	pthread_mutex_lock(&s->lock);
	if (lease->generation == s->generation && lease->index < s->count) {
		s->workers[lease->index].inflight--;
		if (failed)
			s->workers[lease->index].next_look = 0;
	}
	pthread_mutex_unlock(&s->lock);
	if (failed)
		wake(s);
}
