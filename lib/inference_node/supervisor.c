#include "inference_node/supervisor.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/thread.h"
#include "inference_node/workers.h"

static const int64_t term_patience = 5 * GH__SECOND;
static const int64_t empty_patience = 5 * GH__SECOND; /* what a worker that ends gives requests */
static const int64_t park_patience = 60 * GH__SECOND;

struct gh__supervisor {
	gh__workers_home home; /* with the lock */
	gh__http_client *traffic;
	int64_t park_patience;
	pthread_t thread;
	bool started;

	/* guarded by the lock; only the supervisor's thread writes the sets and waiting */
	gh__order *orders; /* that nobody has looked at, oldest first */
	bool closing;
	gh__workers *active; /* NULL: nothing runs */
	gh__workers *parked; /* PARKED or ENDING; NULL: none */
	gh__order *waiting;  /* for active to end or, if need be, parked */
	int64_t quiet_since; /* when the latest active set was gone */
	bool give_back;      /* parked is to be ended */
	bool ever_up, failed, cancelled;
	int64_t ordered_at; /* 0 = never */
};

static void wake(gh__supervisor *s)
{
	uint64_t one = 1;

	if (write(s->home.wake, &one, sizeof one) < 0)
		return; /* the counter is full: it is awake */
}

/* Lock held. The set that does what was ordered; NULL: none, or it is on its way out. */
static gh__workers *serving(const gh__supervisor *s)
{
	const gh__workers *a = s->active;

	return a && (a->phase == GH__WORKERS_STARTING || a->phase == GH__WORKERS_RUNNING ||
		     a->phase == GH__WORKERS_RESUMING)
		       ? s->active
		       : NULL;
}

/* ---- orders ---- */

/* Tell who waits. Unlocked for the call: it answers an HTTP request. */
static void order_tell(gh__supervisor *s, gh__order *o, const char *message)
{
	gh__supervisor_done_fn *done = o->done;

	o->done = NULL;
	if (!done)
		return;
	pthread_mutex_unlock(&s->home.lock);
	done(message, o->userdata);
	pthread_mutex_lock(&s->home.lock);
}

/* Whoever waited for something that now will not come about. */
static void supersede(gh__supervisor *s, gh__order *o, const char *message)
{
	if (!o)
		return;
	order_tell(s, o, o->kind == GH__ORDER_UP ? message : NULL);
	gh__order_free(o);
}

static gh_status submit(gh__supervisor *s, gh__order *o, gh_error *error)
{
	gh__order **at = &s->orders;
	gh_status status = GH_OK;

	pthread_mutex_lock(&s->home.lock);
	while (*at)
		at = &(*at)->next;
	if (s->closing)
		status = gh__fail(error, GH_ECLOSED, "the node is shutting down");
	else
		*at = o;
	pthread_mutex_unlock(&s->home.lock);
	if (status != GH_OK)
		gh__order_free(o);
	wake(s);
	return status;
}

gh_status gh__supervisor_up(gh__supervisor *s, const char *model, const char *dtype,
			    const json_t *args, gh__supervisor_done_fn *done, void *userdata,
			    gh_error *error)
{
	gh__order *o = NULL;
	gh_status status = gh__order_up(&o, model, dtype, args, error);

	if (status != GH_OK)
		return status;
	o->done = done;
	o->userdata = userdata;
	return submit(s, o, error);
}

gh_status gh__supervisor_stop(gh__supervisor *s, gh__supervisor_done_fn *done, void *userdata,
			      gh_error *error)
{
	gh__order *o = gh__order_new(GH__ORDER_STOP, done, userdata);

	return o ? submit(s, o, error) : gh__fail_nomem(error);
}

gh_status gh__supervisor_down(gh__supervisor *s, gh__supervisor_done_fn *done, void *userdata,
			      gh_error *error)
{
	gh__order *o = gh__order_new(GH__ORDER_DOWN, done, userdata);

	return o ? submit(s, o, error) : gh__fail_nomem(error);
}

void gh__supervisor_give_back(gh__supervisor *s)
{
	pthread_mutex_lock(&s->home.lock);
	s->give_back = s->parked != NULL;
	pthread_mutex_unlock(&s->home.lock);
	wake(s);
}

/* ---- what an order does to the sets ---- */

/* A model that could serve the next request; what is half there is not worth keeping. */
static bool worth_parking(const gh__workers *set)
{
	return set->phase == GH__WORKERS_RUNNING && set->order->model &&
	       gh__workers_ready(set) == set->count;
}

static void take_order(gh__supervisor *s, gh__order *o)
{
	const char *message = o->kind == GH__ORDER_UP ? "the start was superseded by another"
						      : "the start was cancelled by a stop";
	gh__workers *a = serving(s);
	gh__order *passed = s->waiting;

	if (o->kind == GH__ORDER_UP) {
		s->ever_up = true;
		s->ordered_at = gh__now();
	}
	s->cancelled = s->cancelled || (a && a->phase != GH__WORKERS_RUNNING) ||
		       (passed && passed->kind == GH__ORDER_UP);
	s->waiting = o;
	if (a && o->kind == GH__ORDER_STOP && worth_parking(a))
		gh__workers_set_phase(a, GH__WORKERS_EMPTYING);
	else if (a)
		gh__workers_end(a, term_patience);
	else if (s->active && s->active->phase == GH__WORKERS_EMPTYING && o->kind == GH__ORDER_DOWN)
		gh__workers_end(s->active, term_patience);
	if (a)
		order_tell(s, a->order, message);
	supersede(s, passed, message);
}

static void start_failed(gh__supervisor *s, const char *message)
{
	gh__order *o = s->active->order;

	gh__error("supervisor", "model=%s %s", o->model ? o->model : "none", message);
	snprintf(s->home.problem, sizeof s->home.problem, "%s", message);
	s->failed = true;
	gh__workers_end(s->active, term_patience);
	order_tell(s, o, message);
}

static void bring_up(gh__supervisor *s, gh__order *o)
{
	gh_error error = GH_ERROR_INIT;

	s->home.problem[0] = '\0';
	s->failed = s->cancelled = false;
	if (s->parked && o->model) {
		gh__info("supervisor", "model=%s is still loaded", o->model);
		s->active = s->parked;
		s->parked = NULL;
		gh__workers_resume(s->active, o);
		return;
	}
	s->active = gh__workers_new(&s->home, o, s->parked ? !s->parked->slot : 0);
	if (!s->active) {
		s->failed = true;
		supersede(s, o, "out of memory");
	} else if (gh__workers_start(s->active, &error) != GH_OK) {
		start_failed(s, error.text);
	}
}

/* The model that is parked is in the way of an order: only the same one may stay, or go on. */
static bool in_the_way(const gh__supervisor *s, const gh__order *o)
{
	const gh__workers *p = s->parked;

	if (!p || o->kind == GH__ORDER_STOP || (o->kind == GH__ORDER_UP && !o->model))
		return false;
	return o->kind == GH__ORDER_DOWN || p->phase != GH__WORKERS_PARKED ||
	       !gh__order_same_model(o, p->order);
}

/* Nothing is active: the order that waited, unless it still has to. */
static bool proceed(gh__supervisor *s)
{
	gh__order *o = s->waiting;

	if (!o || in_the_way(s, o))
		return false;
	s->waiting = NULL;
	if (o->kind == GH__ORDER_UP)
		bring_up(s, o);
	else
		supersede(s, o, NULL);
	return true;
}

/* ---- what becomes of the sets ---- */

static void watch_serving(gh__supervisor *s)
{
	gh_error error = GH_ERROR_INIT;
	gh__workers *a = s->active;
	bool resuming = a->phase == GH__WORKERS_RESUMING;

	if (gh__workers_watch(a, &error) == GH_OK) {
		if (a->phase == GH__WORKERS_RUNNING)
			order_tell(s, a->order, NULL);
	} else if (resuming && !s->waiting) {
		/* It did not survive; the order is good for a new start. */
		gh__warn("supervisor", "model=%s is loaded anew: %s", a->order->model, error.text);
		s->waiting = a->order;
		a->order = NULL;
		gh__workers_end(a, 0);
	} else {
		start_failed(s, error.text);
	}
}

/* Requests may come to their end, for a while; no new ones come. */
static void watch_emptying(gh__supervisor *s)
{
	gh__workers *a = s->active;
	int64_t waited = gh__now() - a->since;

	if (gh__workers_lost_one(a) || waited > 2 * empty_patience) {
		gh__workers_end(a, term_patience); /* whoever still holds a lease loses it */
	} else if (gh__workers_leases(a) == 0 && a->looks_under_way == 0) {
		gh__info("supervisor", "model=%s stays loaded", a->order->model);
		gh__workers_set_phase(a, GH__WORKERS_PARKED);
		s->parked = a;
		s->active = NULL;
		s->quiet_since = gh__now();
	} else if (waited > empty_patience && s->traffic) {
		gh__http_client_cancel(s->traffic); /* which only queues it */
	}
}

static void watch_active(gh__supervisor *s)
{
	gh__workers *a = s->active;

	if (a->phase == GH__WORKERS_EMPTYING) {
		watch_emptying(s);
	} else if (a->phase != GH__WORKERS_ENDING) {
		watch_serving(s);
	} else if (gh__workers_gone(a)) {
		s->active = NULL;
		s->quiet_since = gh__now();
		gh__workers_free(a);
	}
}

static void watch_parked(gh__supervisor *s)
{
	gh__workers *p = s->parked;
	bool quiet = !s->active && !s->waiting;

	if (p->phase == GH__WORKERS_ENDING) {
		if (gh__workers_gone(p)) {
			gh__info("supervisor", "model=%s is no longer loaded", p->order->model);
			s->parked = NULL;
			s->give_back = false;
			gh__workers_free(p);
		}
	} else if (gh__workers_lost_one(p) || s->give_back ||
		   (s->waiting && in_the_way(s, s->waiting)) ||
		   (quiet && gh__now() - s->quiet_since > s->park_patience)) {
		gh__workers_end(p, term_patience);
	}
}

static void close_down(gh__supervisor *s)
{
	static const char message[] = "the node is shutting down";
	gh__order *o = s->waiting;
	gh__workers *a = serving(s);

	s->waiting = NULL;
	if (s->active && s->active->phase != GH__WORKERS_ENDING)
		gh__workers_end(s->active, term_patience);
	if (s->parked && s->parked->phase != GH__WORKERS_ENDING)
		gh__workers_end(s->parked, term_patience);
	if (a)
		order_tell(s, a->order, message);
	supersede(s, o, message);
}

/* ---- the thread ---- */

/* How long nothing may happen before time itself is news, in milliseconds. */
static int rest(const gh__supervisor *s)
{
	int64_t left;

	if (s->active || s->waiting || (s->parked && s->parked->phase == GH__WORKERS_ENDING))
		return 100;
	left = s->parked ? s->quiet_since + s->park_patience - gh__now() : GH__SECOND;
	if (left > GH__SECOND)
		left = GH__SECOND;
	return left > 0 ? (int)(left / GH__MILLISECOND) + 1 : 1;
}

static void wait_for_news(gh__supervisor *s)
{
	enum { MOST = 2 * GH__WORKERS_MAX + 1 };
	gh__workers *sets[] = { s->active, s->parked };
	struct pollfd fds[MOST];
	gh__process *of[MOST];
	uint64_t count;
	nfds_t n = 0, i;
	int k, timeout = rest(s);

	fds[n++] = (struct pollfd){ s->home.wake, POLLIN, 0 };
	for (i = 0; i < 2; i++)
		for (k = 0; sets[i] && k < sets[i]->count; k++) {
			gh__process *process = &sets[i]->list[k].process;

			if (process->output < 0)
				continue;
			of[n] = process;
			fds[n++] = (struct pollfd){ process->output, POLLIN, 0 };
		}
	pthread_mutex_unlock(&s->home.lock);
	poll(fds, n, timeout);
	if (fds[0].revents && read(s->home.wake, &count, sizeof count) < 0 && errno != EAGAIN)
		gh__warn("supervisor", "eventfd: %s", strerror(errno));
	/* Nobody but this thread knows the processes. What they say goes to the log, which may
	 * block. */
	for (i = 1; i < n; i++)
		if (fds[i].revents)
			gh__process_read(of[i]);
	pthread_mutex_lock(&s->home.lock);
}

static void run(void *arg)
{
	gh__supervisor *s = arg;

	pthread_mutex_lock(&s->home.lock);
	while (!s->closing || s->active || s->parked || s->waiting || s->orders) {
		gh__order *o = s->orders;

		if (o) {
			s->orders = o->next;
			o->next = NULL;
			take_order(s, o);
			continue;
		}
		if (s->closing)
			close_down(s);
		if (s->active)
			watch_active(s);
		if (s->parked)
			watch_parked(s);
		if (!s->active && proceed(s))
			continue;
		if (!s->orders && (s->active || s->parked || !s->closing))
			wait_for_news(s);
	}
	pthread_mutex_unlock(&s->home.lock);
}

gh_status gh__supervisor_create(gh__supervisor **out, const gh__supervisor_options *options,
				gh_error *error)
{
	gh__supervisor *s = gh__calloc(1, sizeof *s);
	gh_status status = GH_OK;

	if (!s)
		return gh__fail_nomem(error);
	s->traffic = options->traffic;
	s->park_patience = options->park_patience ? options->park_patience : park_patience;
	s->home.gpus = options->gpus;
	s->home.instances_max =
		options->instances_max < GH__WORKERS_MAX ? options->instances_max : GH__WORKERS_MAX;
	s->home.start_timeout = options->start_timeout;
	s->home.client = options->client;
	s->home.program = gh__strdup(options->program);
	s->home.runtime_dir = gh__strdup(options->runtime_dir);
	s->home.wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	pthread_mutex_init(&s->home.lock, NULL);
	if (!s->home.program || !s->home.runtime_dir)
		status = gh__fail_nomem(error);
	else if (s->home.wake < 0)
		status = gh__fail_errno(error, GH_EIO, errno, "supervisor: eventfd");
	if (status == GH_OK)
		status = gh__thread_start(&s->thread, "gh-supervisor", run, s, error);
	s->started = status == GH_OK;
	if (status != GH_OK) {
		gh__supervisor_free(s);
		return status;
	}
	*out = s;
	return GH_OK;
}

void gh__supervisor_close(gh__supervisor *s)
{
	if (!s || !s->started)
		return;
	pthread_mutex_lock(&s->home.lock);
	s->closing = true;
	pthread_mutex_unlock(&s->home.lock);
	wake(s);
	pthread_join(s->thread, NULL);
	s->started = false;
}

void gh__supervisor_free(gh__supervisor *s)
{
	if (!s)
		return;
	gh__supervisor_close(s);
	if (s->home.wake >= 0)
		close(s->home.wake);
	pthread_mutex_destroy(&s->home.lock);
	gh__free(s->home.program);
	gh__free(s->home.runtime_dir);
	gh__free(s);
}

/* ---- snapshots and leases ---- */

void gh__supervisor_state_get(gh__supervisor *s, gh__supervisor_state *out)
{
	const gh__workers *a;
	int i;

	memset(out, 0, sizeof *out);
	pthread_mutex_lock(&s->home.lock);
	a = serving(s);
	out->ever_up = s->ever_up;
	out->active = a != NULL;
	out->starting = (a && a->phase != GH__WORKERS_RUNNING) ||
			(s->waiting && s->waiting->kind == GH__ORDER_UP) ||
			(s->orders && s->orders->kind == GH__ORDER_UP);
	out->ready = a ? gh__workers_ready(a) : 0;
	out->healthy = out->ready > 0;
	out->proofs = a && !a->order->model;
	if (a && a->order->model)
		snprintf(out->model, sizeof out->model, "%s", a->order->model);
	out->elapsed =
		s->ordered_at ? (double)(gh__now() - s->ordered_at) / (double)GH__SECOND : -1.0;
	memcpy(out->problem, s->home.problem, sizeof out->problem);
	out->failed = s->failed;
	out->cancelled = s->cancelled;
	out->parked = s->parked ? s->parked->count : 0;
	out->workers = s->active ? s->active->count : 0;
	for (i = 0; i < out->workers; i++) {
		const gh__worker *w = &s->active->list[i];

		out->progress += w->state == GH__WORKER_READY ? 1 : w->progress;
	}
	out->progress = out->workers ? out->progress / out->workers : 0;
	pthread_mutex_unlock(&s->home.lock);
}

json_t *gh__supervisor_args(gh__supervisor *s)
{
	const gh__workers *a;
	json_t *args;

	pthread_mutex_lock(&s->home.lock);
	a = serving(s);
	args = a ? json_deep_copy(a->order->args) : NULL;
	pthread_mutex_unlock(&s->home.lock);
	return args;
}

/* Lock held: the set that serves a model or, else, computes proofs. */
static gh__workers *set_for(const gh__supervisor *s, bool a_model)
{
	gh__workers *a = serving(s);

	return a && (a->order->model != NULL) == a_model ? a : NULL;
}

static void describe(gh__worker_lease *out, const gh__workers *set, int index)
{
	out->generation = set->generation;
	out->birth = set->list[index].birth;
	out->index = index;
	memcpy(out->socket, set->list[index].socket, sizeof out->socket);
}

bool gh__supervisor_prover(gh__supervisor *s, int index, gh__worker_lease *out)
{
	const gh__workers *a;
	bool there;

	pthread_mutex_lock(&s->home.lock);
	a = set_for(s, false);
	there = a && index < a->count && a->list[index].state == GH__WORKER_READY;
	if (there)
		describe(out, a, index);
	pthread_mutex_unlock(&s->home.lock);
	return there;
}

bool gh__supervisor_lease(gh__supervisor *s, gh__worker_lease *out)
{
	gh__workers *a;
	int i, best = -1;

	pthread_mutex_lock(&s->home.lock);
	a = set_for(s, true);
	for (i = 0; a && i < a->count; i++)
		if (a->list[i].state == GH__WORKER_READY &&
		    (best < 0 || a->list[i].inflight < a->list[best].inflight))
			best = i;
	if (best >= 0) {
		a->list[best].inflight++;
		describe(out, a, best);
	}
	pthread_mutex_unlock(&s->home.lock);
	return best >= 0;
}

void gh__supervisor_release(gh__supervisor *s, const gh__worker_lease *lease, bool failed)
{
	gh__workers *a;
	bool news = failed;

	pthread_mutex_lock(&s->home.lock);
	a = s->active;
	if (a && a->generation == lease->generation) {
		a->list[lease->index].inflight--;
		if (failed)
			a->list[lease->index].next_look = 0;
		news = news || a->phase == GH__WORKERS_EMPTYING;
	}
	pthread_mutex_unlock(&s->home.lock);
	if (news)
		wake(s);
}
