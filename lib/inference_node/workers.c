#include "inference_node/workers.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "inference_node/launch.h"
#include "json/json.h"

enum {
	SILENT_MAX = 5,  /* looks without an answer in a row, before a worker counts as hung */
	RESTARTS_MAX = 5 /* in a row, without having been ready between them */
};

static const int64_t look_ready = 2 * GH__SECOND;
static const int64_t look_loading = GH__SECOND / 5;
static const int64_t look_timeout = 2 * GH__SECOND;

gh__workers *gh__workers_new(gh__workers_home *home, gh__order *order, int slot)
{
	gh__workers *set = gh__calloc(1, sizeof *set);

	if (!set)
		return NULL;
	set->home = home;
	set->order = order;
	set->slot = slot;
	set->generation = ++home->generations;
	gh__workers_set_phase(set, GH__WORKERS_STARTING);
	return set;
}

void gh__workers_free(gh__workers *set)
{
	if (!set)
		return;
	gh__order_free(set->order);
	gh__free(set);
}

void gh__workers_set_phase(gh__workers *set, gh__workers_phase phase)
{
	set->phase = phase;
	set->since = gh__now();
}

int gh__workers_ready(const gh__workers *set)
{
	int i, n = 0;

	for (i = 0; i < set->count; i++)
		n += set->list[i].state == GH__WORKER_READY;
	return n;
}

int gh__workers_leases(const gh__workers *set)
{
	int i, n = 0;

	for (i = 0; i < set->count; i++)
		n += set->list[i].inflight;
	return n;
}

/* ---- starting ---- */

static gh__launch launch_of(const gh__workers *set)
{
	return (gh__launch){ .program = set->home->program,
			     .model = set->order->model,
			     .dtype = set->order->dtype,
			     .args = set->order->args,
			     .gpus = set->home->gpus };
}

static gh_status spawn(gh__workers *set, int index, gh_error *error)
{
	gh__worker *w = &set->list[index];
	gh__launch launch = launch_of(set);
	gh_status status;

	gh__process_done(&w->process); /* nothing of an earlier one stays behind */
	status = gh__launch_start(&launch, index, w->socket, &w->process, error);
	w->state = status == GH_OK ? GH__WORKER_LOADING : GH__WORKER_DOWN;
	w->birth = ++set->home->births;
	w->silent = 0;
	w->progress = 0;
	w->loading_since = gh__now();
	w->next_look = w->loading_since + look_loading;
	return status;
}

gh_status gh__workers_start(gh__workers *set, gh_error *error)
{
	gh__launch launch = launch_of(set);
	int i, count = 0;
	gh_status status = gh__launch_count(&launch, set->home->instances_max, &count, error);

	for (i = 0; status == GH_OK && i < count; i++) {
		gh__worker *w = &set->list[i];

		w->process.output = -1;
		snprintf(w->socket, sizeof w->socket, "%s/worker-%d-%d.sock",
			 set->home->runtime_dir, set->slot, i);
		set->count++;
		status = spawn(set, i, error);
	}
	return status;
}

/* ---- ending ---- */

void gh__workers_end(gh__workers *set, int64_t patience)
{
	int i;

	for (i = 0; i < set->count; i++) {
		gh__process_signal(&set->list[i].process, SIGTERM);
		set->list[i].state = GH__WORKER_DOWN;
	}
	gh__workers_set_phase(set, GH__WORKERS_ENDING);
	set->term_at = set->since + patience;
}

bool gh__workers_gone(gh__workers *set)
{
	bool all = set->looks_under_way == 0;
	int i;

	for (i = 0; i < set->count; i++) {
		gh__worker *w = &set->list[i];

		if (!gh__process_ended(&w->process)) {
			all = false;
			if (gh__now() >= set->term_at)
				gh__process_signal(&w->process, SIGKILL);
		}
	}
	for (i = 0; all && i < set->count; i++) {
		gh__process_done(&set->list[i].process);
		unlink(set->list[i].socket);
	}
	return all;
}

bool gh__workers_lost_one(gh__workers *set)
{
	char reason[200];
	int i;

	for (i = 0; i < set->count; i++)
		if (gh__process_ended(&set->list[i].process)) {
			gh__process_reason(&set->list[i].process, reason, sizeof reason);
			gh__warn("supervisor", "worker %d, which nobody asks just now: %s", i,
				 reason);
			return true;
		}
	return false;
}

/* ---- looking ---- */

typedef struct look {
	gh__workers *set; /* lives while a look is under way */
	gh__worker *worker;
} look;

static void wake(const gh__workers_home *home)
{
	uint64_t one = 1;

	if (write(home->wake, &one, sizeof one) < 0)
		return; /* the counter is full: it is awake */
}

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
	gh__workers_home *home = l->set->home;
	gh__worker *w = l->worker;
	double progress = status == GH_OK ? progress_of(answer->body, answer->len) : 0;

	(void)error;
	pthread_mutex_lock(&home->lock);
	w->looking = false;
	w->looked = true;
	w->look_status = status == GH_OK ? answer->status : 0;
	w->progress = progress > 0 && progress <= 1 ? progress : w->progress;
	l->set->looks_under_way--;
	wake(home); /* under the lock: without it, set and home may be gone */
	pthread_mutex_unlock(&home->lock);
	gh__free(l);
}

static void look_at(gh__workers *set, gh__worker *w)
{
	gh_error error = GH_ERROR_INIT;
	look *l = gh__malloc(sizeof *l);
	gh__http_call_options options = {
		.url = "http://worker/health",
		.unix_path = w->socket,
		.total_timeout = look_timeout,
		.answer_max = 4096,
		.on_done = on_look,
		.userdata = l,
	};

	w->next_look = gh__now() + (w->state == GH__WORKER_READY ? look_ready : look_loading);
	if (!l)
		return;
	l->set = set;
	l->worker = w;
	w->looking = true;
	set->looks_under_way++;
	/* Starting a call only queues it: this may be done under the lock. */
	if (gh__http_call_start(set->home->client, &options, NULL, &error) == GH_OK)
		return;
	w->looking = false;
	set->looks_under_way--;
	gh__free(l);
}

/* ---- watching ---- */

/* A worker that was given up: again, or not at all when it never gets ready. */
static void replace(gh__workers *set, int index, const char *reason)
{
	gh__worker *w = &set->list[index];
	int wait = 1 << (w->restarts < 4 ? w->restarts : 4);

	snprintf(set->home->problem, sizeof set->home->problem, "worker %d was replaced: %s", index,
		 reason);
	gh__error("supervisor", "%s", set->home->problem);
	w->state = GH__WORKER_DOWN;
	w->restart_at = gh__now() + (w->restarts ? wait * GH__SECOND / 2 : 0);
	w->restarts++;
}

static gh_status worker_ended(gh__workers *set, int index, gh_error *error)
{
	gh__worker *w = &set->list[index];
	char reason[200];

	gh__process_reason(&w->process, reason, sizeof reason);
	if (set->phase == GH__WORKERS_STARTING)
		return gh__fail(error, GH_EIO, "vLLM process exited prematurely: %s", reason);
	if (set->phase == GH__WORKERS_RESUMING)
		return gh__fail(error, GH_EIO, "worker %d: %s", index, reason);
	if (w->restarts >= RESTARTS_MAX)
		return gh__fail(error, GH_EIO, "worker %d ended %d times in a row: %s", index,
				w->restarts, reason);
	replace(set, index, reason);
	return GH_OK;
}

static void restart(gh__workers *set, int index)
{
	gh_error error = GH_ERROR_INIT;

	if (spawn(set, index, &error) != GH_OK)
		replace(set, index, error.text);
}

static gh_status read_look(gh__workers *set, int index, gh_error *error)
{
	gh__worker *w = &set->list[index];

	w->looked = false;
	if (w->look_status == 200) {
		if (w->state != GH__WORKER_READY)
			gh__info("supervisor", "worker %d is ready", index);
		w->state = GH__WORKER_READY;
		w->silent = w->restarts = 0;
	} else if (set->phase == GH__WORKERS_RESUMING) {
		return gh__fail(error, GH_EIO, "worker %d: its health is %d", index,
				w->look_status);
	} else if (w->look_status) {
		if (w->state == GH__WORKER_READY)
			w->loading_since = gh__now();
		w->state = GH__WORKER_LOADING; /* it answers: it lives */
		w->silent = 0;
	} else if (w->state == GH__WORKER_READY && ++w->silent >= SILENT_MAX) {
		gh__process_done(&w->process);
		replace(set, index, "it did not answer for a while");
	}
	return GH_OK;
}

static gh_status watch_worker(gh__workers *set, int index, int64_t now, gh_error *error)
{
	gh__worker *w = &set->list[index];
	gh_status status = GH_OK;

	if (w->state == GH__WORKER_DOWN) {
		if (now >= w->restart_at)
			restart(set, index);
		return GH_OK;
	}
	if (gh__process_ended(&w->process))
		return worker_ended(set, index, error);
	if (w->looked)
		status = read_look(set, index, error);
	if (set->phase == GH__WORKERS_RUNNING && w->state == GH__WORKER_LOADING &&
	    now - w->loading_since > set->home->start_timeout) {
		gh__process_done(&w->process);
		replace(set, index, "it did not get ready again in time");
	}
	if (status == GH_OK && w->state != GH__WORKER_DOWN && !w->looking && now >= w->next_look)
		look_at(set, w);
	return status;
}

gh_status gh__workers_watch(gh__workers *set, gh_error *error)
{
	int64_t now = gh__now();
	gh_status status = GH_OK;
	int i;

	for (i = 0; status == GH_OK && i < set->count; i++)
		status = watch_worker(set, i, now, error);
	if (status != GH_OK || set->phase == GH__WORKERS_RUNNING)
		return status;
	if (gh__workers_ready(set) == set->count)
		gh__workers_set_phase(set, GH__WORKERS_RUNNING);
	else if (now - set->since > set->home->start_timeout)
		status = gh__fail(error, GH_ETIMEOUT,
				  "vLLM failed to start within the expected timeout: None");
	return status;
}

void gh__workers_resume(gh__workers *set, gh__order *order)
{
	int i;

	gh__order_free(set->order);
	set->order = order;
	gh__workers_set_phase(set, GH__WORKERS_RESUMING);
	for (i = 0; i < set->count; i++) {
		gh__worker *w = &set->list[i];

		w->state = GH__WORKER_LOADING;
		w->looked = false;
		w->next_look = w->loading_since = set->since;
	}
}
