#include "network_node/orchestrator.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/thread.h"
#include "network_node/errands.h"
#include "network_node/handing.h"
#include "network_node/judging.h"
#include "network_node/reach.h"
#include "network_node/round.h"
#include "network_node/tally.h"
#include "registry/number.h"

enum { ATTEMPTS = 5 /* to hand a sample to its judge */ };

static const int64_t tick = GH__SECOND / 4;
static const int64_t probe_patience =
	10 * GH__SECOND;                           /* until those that miss us are left behind */
static const int64_t probe_again = 2 * GH__SECOND; /* they may come later */
static const int64_t start_patience = 600 * GH__SECOND;
static const int64_t exchange_patience = 30 * GH__SECOND;
static const int64_t exchange_blind =
	7 * GH__SECOND; /* for a node that tells no count: it posts every 5 s */
static const int64_t hand_again = 2 * GH__SECOND;

typedef enum stage {
	PROBING = 0,
	STARTING,
	GENERATING,
	EXCHANGING,
	VALIDATING,
	DONE,
	CANCELLED
} stage;

struct gh__orchestrator {
	gh__orchestrator_options options;
	char *callback_url, *identity;
	pthread_t thread;
	bool started;

	pthread_mutex_t lock;
	pthread_cond_t news;
	bool closing, cancelled;
	bool due;         /* a round waits for the thread */
	gh__round *round; /* the last; NULL = none so far */
	stage stage;
	int64_t stage_ends; /* base's clock; 0 = not known */
	gh__tally tally;    /* only the thread writes it, and only it reads without the lock */
	char problem[256];
};

/* ---- time ---- */

static bool called_off(const gh__orchestrator *o)
{
	return o->closing || o->cancelled;
}

/* false: the round is called off. */
static bool enter(gh__orchestrator *o, stage next, int64_t ends)
{
	static const char *const names[] = { "asks for callbacks", "starts", "generates",
					     "exchanges", "validates" };
	bool on;

	pthread_mutex_lock(&o->lock);
	on = !called_off(o);
	o->stage = next;
	o->stage_ends = ends;
	pthread_mutex_unlock(&o->lock);
	gh__info("round", "height=%lld %s", (long long)o->round->block_height, names[next]);
	return on;
}

static bool going(void *userdata)
{
	gh__orchestrator *o = userdata;
	bool on;

	pthread_mutex_lock(&o->lock);
	on = !called_off(o);
	pthread_mutex_unlock(&o->lock);
	return on;
}

/* false: the round is called off. */
static bool pause_for(gh__orchestrator *o, int64_t time)
{
	int64_t until = gh__now() + time;
	bool on;

	pthread_mutex_lock(&o->lock);
	while (!called_off(o) && gh__cond_wait_until(&o->news, &o->lock, until))
		continue;
	on = !called_off(o);
	pthread_mutex_unlock(&o->lock);
	return on;
}

static void note(gh__orchestrator *o, const gh_error *error)
{
	gh__error("round", "%s", error->text);
	pthread_mutex_lock(&o->lock);
	snprintf(o->problem, sizeof o->problem, "%s", error->text);
	pthread_mutex_unlock(&o->lock);
}

/* ---- what nodes do now ---- */

typedef struct fleet {
	gh__prover *nodes;
	size_t count;
} fleet;

static fleet look_around(gh__orchestrator *o)
{
	gh_error error = GH_ERROR_INIT;
	fleet f = { NULL, 0 };

	if (gh__broker_provers(o->options.broker, &f.nodes, &f.count, &error) != GH_OK)
		note(o, &error);
	return f;
}

static void fleet_done(fleet *f)
{
	gh__provers_free(f->nodes, f->count);
}

/* The rate counts from when the network was built. */
static void measure(gh__tally_node *node, const gh__prover *now)
{
	int64_t time;

	if (now->tried < 0 || !now->ready)
		return;
	if (!node->began_at) {
		node->began_at = now->seen_at;
		node->began_with = now->tried;
	}
	time = now->seen_at - node->began_at;
	if (time > 0 && now->tried > node->began_with)
		node->rate =
			(double)(now->tried - node->began_with) * (double)GH__SECOND / (double)time;
}

static const char *problem_of(const gh__prover *now)
{
	if (!now->enabled)
		return "disabled";
	if (!now->takes_part)
		return "registered after the shares of this block were fixed";
	return now->problem;
}

/* The tally's view of a node, brought up to date. */
static void refresh(gh__orchestrator *o, const fleet *f)
{
	bool generating = o->stage == STARTING || o->stage == GENERATING;

	pthread_mutex_lock(&o->lock);
	for (size_t i = 0; i < f->count; i++) {
		const gh__prover *now = &f->nodes[i];
		gh__tally_node *node = gh__tally_find(&o->tally, now->number);

		if (!node)
			continue;
		node->status = now->status;
		node->joined |= generating && now->on_duty;
		node->tried = now->tried > node->tried ? now->tried : node->tried;
		if (generating && now->on_duty)
			measure(node, now);
		snprintf(node->problem, sizeof node->problem, "%s", problem_of(now));
		if (now->misreport[0])
			memcpy(node->fault, now->misreport, sizeof node->fault);
	}
	pthread_mutex_unlock(&o->lock);
}

/* ---- probing: does a node reach us? ---- */

/* All of them, or again those that missed us. false: the round is called off. */
static bool probe_once(gh__orchestrator *o, bool again, size_t *missed)
{
	gh__reach reach = { .client = o->options.client,
			    .broker = o->options.broker,
			    .url = o->round->url,
			    .identity = o->identity,
			    .going = going,
			    .userdata = o };
	gh_error error = GH_ERROR_INIT;
	gh_status status = gh__reach_ask(&reach, again, missed, &error);

	if (status != GH_OK && status != GH_ECANCELLED)
		note(o, &error);
	return status != GH_ECANCELLED;
}

static bool probe(gh__orchestrator *o)
{
	int64_t until = gh__now() + probe_patience;
	size_t missed = 0;
	bool on = enter(o, PROBING, until) && probe_once(o, false, &missed);

	while (on && missed > 0 && gh__now() < until)
		on = pause_for(o, probe_again) && probe_once(o, true, &missed);
	return on;
}

/* ---- generating ---- */

/* Those who miss us are asked now and then; one that comes late shares as if it had been in
 * time. */
static bool ask_again(gh__orchestrator *o, int64_t *asked)
{
	size_t missed;

	if (gh__now() - *asked < probe_again)
		return true;
	*asked = gh__now();
	return probe_once(o, true, &missed);
}

static bool none_to_wait_for(const fleet *f)
{
	for (size_t i = 0; i < f->count; i++)
		if (f->nodes[i].takes_part && !f->nodes[i].ready && !f->nodes[i].failed &&
		    f->nodes[i].callback != GH__CALLBACK_MISSED)
			return false;
	return true;
}

static bool start(gh__orchestrator *o)
{
	int64_t until = gh__now() + start_patience;
	bool on = enter(o, STARTING, 0), over = false;

	gh__broker_generate(o->options.broker, o->round);
	while (on && !over && gh__now() < until) {
		fleet f;

		on = pause_for(o, tick);
		f = look_around(o);
		refresh(o, &f);
		over = none_to_wait_for(&f);
		fleet_done(&f);
	}
	return on;
}

static bool generate(gh__orchestrator *o)
{
	int64_t until = gh__now() + o->round->generate, asked = gh__now();
	bool on = enter(o, GENERATING, until);

	while (on && gh__now() < until) {
		int64_t left = until - gh__now();
		fleet f;

		on = ask_again(o, &asked) && pause_for(o, left < tick ? left : tick);
		f = look_around(o);
		refresh(o, &f);
		fleet_done(&f);
	}
	return on;
}

/* ---- exchanging: what was found arrives ---- */

static bool all_told(const fleet *f, int64_t began)
{
	bool blind_over = gh__now() - began > exchange_blind;

	for (size_t i = 0; i < f->count; i++) {
		const gh__prover *node = &f->nodes[i];

		if (!node->takes_part || node->failed || node->misreport[0] ||
		    node->callback == GH__CALLBACK_MISSED)
			continue;
		if (!node->on_duty || node->unsent > 0 || (node->unsent < 0 && !blind_over))
			return false;
	}
	return true;
}

static bool exchange(gh__orchestrator *o)
{
	int64_t began = gh__now();
	bool on = enter(o, EXCHANGING, began + exchange_patience), over = false;

	gh__broker_validate(o->options.broker);
	while (on && !over && gh__now() - began < exchange_patience) {
		fleet f;

		on = pause_for(o, tick);
		f = look_around(o);
		refresh(o, &f);
		over = all_told(&f, began);
		fleet_done(&f);
	}
	return on;
}

/* ---- validating ---- */

/* A node that does not count its nonces has tried at least up to the last that it reported. */
static void estimate(gh__tally *tally, const gh__round *round)
{
	for (size_t i = 0; i < tally->count; i++) {
		gh__tally_node *node = &tally->nodes[i];
		int64_t last = -1;

		for (size_t k = 0; k < node->count; k++)
			last = node->nonces[k] > last ? node->nonces[k] : last;
		if (node->tried >= 0 || last < (int64_t)node->number)
			continue;
		node->tried = (last - (int64_t)node->number) / round->node_count + 1;
		if (round->generate > 0)
			node->rate =
				(double)node->tried * (double)GH__SECOND / (double)round->generate;
	}
}

static gh_status set_up_judges(gh__orchestrator *o, const fleet *f, gh_error *error)
{
	bool *able = gh__calloc(o->tally.count + 1, sizeof *able);
	gh_status status;

	if (!able)
		return gh__fail_nomem(error);
	for (size_t i = 0; i < f->count; i++) {
		const gh__tally_node *node = gh__tally_find(&o->tally, f->nodes[i].number);

		if (node)
			able[node - o->tally.nodes] = f->nodes[i].on_duty;
	}
	pthread_mutex_lock(&o->lock);
	status = gh__judging_read_claims(&o->tally, o->round, o->options.proofs, error);
	if (status == GH_OK) {
		estimate(&o->tally, o->round);
		status = gh__judging_assign(&o->tally, o->round, able, error);
	}
	pthread_mutex_unlock(&o->lock);
	gh__free(able);
	return status;
}

/* Samples to their judges; who does not take his is asked again for a while. */
static bool hand_out(gh__orchestrator *o)
{
	gh__handing handing = { .client = o->options.client,
				.broker = o->options.broker,
				.round = o->round,
				.tally = &o->tally,
				.lock = &o->lock,
				.going = going,
				.userdata = o };
	bool on = true, again = true;

	for (int i = 0; on && again && i < ATTEMPTS; i++) {
		gh_error error = GH_ERROR_INIT;
		gh_status status;

		on = i == 0 || pause_for(o, hand_again);
		status = on ? gh__handing_once(&handing, &again, &error) : GH_ECANCELLED;
		on = status != GH_ECANCELLED;
		if (on && status != GH_OK)
			note(o, &error);
	}
	return on;
}

static bool collect(gh__orchestrator *o, int64_t until)
{
	int64_t cursor = 0;
	bool on = true, settled = false;

	while (on && !settled && gh__now() < until) {
		gh_error error = GH_ERROR_INIT;
		gh_status status;
		fleet f;

		on = pause_for(o, tick);
		f = look_around(o);
		refresh(o, &f);
		fleet_done(&f);
		pthread_mutex_lock(&o->lock);
		status = gh__judging_collect(&o->tally, o->round, o->options.proofs, &cursor,
					     &error);
		settled = gh__tally_settled(&o->tally);
		pthread_mutex_unlock(&o->lock);
		if (status != GH_OK) {
			note(o, &error);
			return on;
		}
	}
	return on;
}

static bool validate(gh__orchestrator *o)
{
	int64_t until = gh__now() + o->round->validate;
	bool on = enter(o, VALIDATING, until);
	gh_error error = GH_ERROR_INIT;
	fleet f = look_around(o);
	gh_status status = set_up_judges(o, &f, &error);

	fleet_done(&f);
	if (status != GH_OK) {
		note(o, &error);
		return on;
	}
	return on && hand_out(o) && collect(o, until);
}

/* ---- the thread ---- */

static void conduct(gh__orchestrator *o)
{
	bool whole = probe(o) && start(o) && generate(o) && exchange(o) && validate(o);

	gh__info("round", "height=%lld is %s", (long long)o->round->block_height,
		 whole ? "over" : "called off");
	gh__broker_serve(o->options.broker);
	pthread_mutex_lock(&o->lock);
	if (whole)
		gh__tally_conclude(&o->tally);
	o->stage = whole ? DONE : CANCELLED;
	o->stage_ends = 0;
	o->due = false; /* from here on another order may replace the round */
	pthread_mutex_unlock(&o->lock);
}

static void run(void *arg)
{
	gh__orchestrator *o = arg;

	pthread_mutex_lock(&o->lock);
	while (!o->closing) {
		if (o->due) {
			pthread_mutex_unlock(&o->lock);
			conduct(o);
			pthread_mutex_lock(&o->lock);
		} else {
			pthread_cond_wait(&o->news, &o->lock);
		}
	}
	pthread_mutex_unlock(&o->lock);
}

gh_status gh__orchestrator_create(gh__orchestrator **out, const gh__orchestrator_options *options,
				  gh_error *error)
{
	gh__orchestrator *o = gh__calloc(1, sizeof *o);
	gh_status status;

	if (!o)
		return gh__fail_nomem(error);
	o->options = *options;
	o->callback_url = gh__strdup(options->callback_url);
	o->identity = gh__strdup(options->identity);
	pthread_mutex_init(&o->lock, NULL);
	status = gh__cond_init(&o->news);
	if (status == GH_OK && o->callback_url && o->identity)
		status = gh__thread_start(&o->thread, "gh-round", run, o, error);
	else
		status = gh__fail_nomem(error);
	o->started = status == GH_OK;
	if (status != GH_OK) {
		gh__orchestrator_free(o);
		return status;
	}
	*out = o;
	return GH_OK;
}

void gh__orchestrator_free(gh__orchestrator *o)
{
	if (!o)
		return;
	if (o->started) {
		pthread_mutex_lock(&o->lock);
		o->closing = true;
		pthread_cond_broadcast(&o->news);
		pthread_mutex_unlock(&o->lock);
		pthread_join(o->thread, NULL);
	}
	gh__tally_free(&o->tally);
	gh__round_release(o->round);
	pthread_cond_destroy(&o->news);
	pthread_mutex_destroy(&o->lock);
	gh__free(o->callback_url);
	gh__free(o->identity);
	gh__free(o);
}

/* ---- orders ---- */

static gh_status make_round(gh__orchestrator *o, const json_t *order, gh__round **out,
			    gh_error *error)
{
	char *url = gh__errand_url(o->callback_url, "/v1/poc-batches");
	uint64_t highest = 0;
	int64_t height = 0;
	gh_status status = url ? GH_OK : gh__fail_nomem(error);

	if (status == GH_OK)
		status = gh__proof_store_height(o->options.proofs, &height, error);
	if (status == GH_OK)
		status = gh__round_create(out, order, height + 1, url, error);
	gh__free(url);
	if (status == GH_OK)
		status = gh__registry_highest(o->options.registry, &highest, error);
	if (status == GH_OK && highest == 0)
		status = gh__fail(error, GH_ESTATE, "no node is registered");
	if (status == GH_OK)
		status = gh__proof_store_share(o->options.proofs, (*out)->block_hash,
					       (*out)->block_height, 1, highest,
					       &(*out)->node_count, error);
	return status;
}

static gh_status make_tally(gh__orchestrator *o, gh__tally *out, gh_error *error)
{
	gh__prover *nodes;
	size_t count;
	gh_status status = gh__broker_provers(o->options.broker, &nodes, &count, error);

	if (status != GH_OK)
		return status;
	out->nodes = gh__calloc(count + 1, sizeof *out->nodes);
	out->count = out->nodes ? count : 0;
	for (size_t i = 0; i < out->count; i++) {
		out->nodes[i] = (gh__tally_node){ .number = nodes[i].number,
						  .id = nodes[i].id,
						  .status = nodes[i].status,
						  .tried = -1 };
		nodes[i].id = NULL; /* it is the tally's now */
	}
	gh__provers_free(nodes, count);
	return out->nodes ? GH_OK : gh__fail_nomem(error);
}

gh_status gh__orchestrator_begin(gh__orchestrator *o, const json_t *order, gh_error *error)
{
	gh__tally tally = { NULL, 0 };
	gh__round *round = NULL;
	gh_status status = make_round(o, order, &round, error);

	if (status == GH_OK)
		status = make_tally(o, &tally, error);
	if (status == GH_OK && tally.count == 0)
		status = gh__fail(error, GH_ESTATE, "no node is registered");
	pthread_mutex_lock(&o->lock);
	if (status == GH_OK && o->due)
		status = gh__fail(error, GH_EBUSY, "a round is under way: height %lld",
				  (long long)o->round->block_height);
	if (status == GH_OK) {
		gh__tally_free(&o->tally);
		gh__round_release(o->round);
		o->tally = tally;
		o->round = round;
		o->stage = PROBING;
		o->problem[0] = '\0';
		o->cancelled = false;
		o->due = true;
		tally = (gh__tally){ NULL, 0 };
		round = NULL;
		pthread_cond_broadcast(&o->news);
	}
	pthread_mutex_unlock(&o->lock);
	gh__tally_free(&tally);
	gh__round_release(round);
	return status;
}

bool gh__orchestrator_cancel(gh__orchestrator *o)
{
	bool there;

	pthread_mutex_lock(&o->lock);
	there = o->due;
	o->cancelled |= there;
	pthread_cond_broadcast(&o->news);
	pthread_mutex_unlock(&o->lock);
	return there;
}

/* ---- telling ---- */

json_t *gh__orchestrator_report(gh__orchestrator *o)
{
	static const char *const names[] = { "PROBING",    "STARTING", "GENERATING", "EXCHANGING",
					     "VALIDATING", "DONE",     "CANCELLED" };
	json_t *report = NULL;
	int64_t left;

	pthread_mutex_lock(&o->lock);
	if (o->round) {
		left = o->stage_ends - gh__now();
		report = gh__round_object(o->round);
		json_object_set_new(report, "stage", json_string(names[o->stage]));
		json_object_set_new(report, "seconds_left",
				    o->stage_ends == 0
					    ? json_null()
					    : json_real(left > 0 ? (double)left / (double)GH__SECOND
								 : 0));
		json_object_set_new(report, "problem",
				    o->problem[0] ? json_string(o->problem) : json_null());
		json_object_set_new(report, "nodes", gh__tally_array(&o->tally));
	}
	pthread_mutex_unlock(&o->lock);
	return report;
}
