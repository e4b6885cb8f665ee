#include "inference_node/pow.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/thread.h"
#include "inference_node/pow_group.h"

enum { CLAIMS_MAX = 1024 }; /* batches of others that wait */

static const int64_t tick = GH__SECOND / 10;
static const int64_t stop_patience = 4 * GH__SECOND;

static void drop_claims(gh__pow *p, bool all);

/* Lock held. Takes h. */
static void take_round(gh__pow *p, gh__pow_held *h, gh__pow_phase phase)
{
	const gh__pow_round *before = p->round ? &p->round->round : NULL;
	bool network = !before || !gh__pow_same_network(before, &h->round);

	p->network += network;
	p->sequence += !before || !gh__pow_same_sequence(before, &h->round);
	gh__pow_release(p->round);
	p->round = h;
	p->phase = phase;
	if (network)
		drop_claims(p, true);
}

/* ---- claims; lock held ---- */

/* Those that nothing is under way for; with `all`, the others are lost when their pieces come
 * back. */
static void drop_claims(gh__pow *p, bool all)
{
	gh__claim **at = &p->claims;

	while (*at) {
		gh__claim *c = *at;

		if (all)
			gh__claim_cancel(c);
		if (!gh__claim_is_lost(c)) {
			at = &c->next;
			continue;
		}
		*at = c->next;
		p->claim_count--;
		if (!gh__claim_is_cancelled(c))
			gh__error("pow", "a batch of %.20s could not be computed: dropped",
				  c->public_key);
		gh__claim_free(c);
	}
	p->last_claim = at;
}

/* A claim that is whole: its verdict to the spool. Lock held, released meanwhile. */
static void conclude(gh__pow *p)
{
	gh__claim **at = &p->claims, *c;
	gh__buf payload = GH__BUF_INIT(64 << 20);
	gh_error error = GH_ERROR_INIT;
	gh_status status;
	double threshold;
	gh__pow_held *h;

	while (*at && !gh__claim_is_whole(*at))
		at = &(*at)->next;
	c = *at;
	if (!c)
		return;
	*at = c->next;
	if (p->last_claim == &c->next)
		p->last_claim = at;
	p->claim_count--;
	h = gh__pow_hold(p->round);
	threshold = h->round.fraud_threshold;
	pthread_mutex_unlock(&p->lock);
	status = gh__claim_judge(&payload, c, threshold, &error);
	if (status == GH_OK)
		status = gh__spool_add_verdict(p->options.spool, h->round.url, c->block_hash,
					       c->block_height, gh__buf_str(&payload), &error);
	if (status != GH_OK)
		gh__error("pow", "a verdict on %.20s is lost: %s", c->public_key, error.text);
	gh__buf_free(&payload);
	gh__claim_free(c);
	pthread_mutex_lock(&p->lock);
	gh__pow_release(h);
}

static bool any_whole(const gh__pow *p)
{
	for (const gh__claim *c = p->claims; c; c = c->next)
		if (gh__claim_is_whole(c))
			return true;
	return false;
}

static bool quiet(const gh__pow *p)
{
	for (int i = 0; i < p->group_count; i++)
		if (p->groups[i].streaming || p->groups[i].inbox.len)
			return false;
	return true;
}

/* Lock held, released meanwhile. */
static void tell_all(gh__pow *p, gh__pow_waiter **list, const char *message)
{
	gh__pow_waiter *w = *list;

	*list = NULL;
	pthread_mutex_unlock(&p->lock);
	while (w) {
		gh__pow_waiter *next = w->next;

		w->done(message, w->userdata);
		gh__free(w);
		w = next;
	}
	pthread_mutex_lock(&p->lock);
}

static void on_down(const char *message, void *userdata)
{
	gh__pow *p = userdata;

	(void)message;
	pthread_mutex_lock(&p->lock);
	tell_all(p, &p->stopping, NULL);
	pthread_mutex_unlock(&p->lock);
}

/* Everything that was found has been taken in, or patience has ended. */
static void finish_stop(gh__pow *p)
{
	gh_error error = GH_ERROR_INIT;
	gh_status status;

	p->stop_at = 0;
	gh__pow_release(p->round);
	p->round = NULL;
	p->phase = GH__POW_IDLE;
	drop_claims(p, true);
	for (int i = 0; i < p->group_count; i++)
		gh__pow_forget(p, i);
	p->group_count = 0;
	pthread_mutex_unlock(&p->lock);
	gh__sender_flush(p->options.sender);
	status = gh__supervisor_stop(p->options.supervisor, on_down, p, &error);
	pthread_mutex_lock(&p->lock);
	if (status != GH_OK)
		tell_all(p, &p->stopping, NULL);
}

static void turn(gh__pow *p)
{
	gh__supervisor_state state;
	int64_t now = gh__now();
	bool spoke = any_whole(p);

	gh__supervisor_state_get(p->options.supervisor, &state);
	if (state.proofs && state.workers <= GH__POW_GROUPS_MAX) {
		for (int i = p->group_count; i < state.workers; i++)
			p->groups[i] = (gh__pow_group){ .inbox = GH__BUF_INIT(GH__POW_INBOX_MAX) };
		p->group_count = state.workers > p->group_count ? state.workers : p->group_count;
	}
	for (int i = 0; i < p->group_count; i++)
		gh__pow_drive(p, i, now);
	while (p->round && any_whole(p))
		conclude(p);
	drop_claims(p, false);
	if (spoke) {
		pthread_mutex_unlock(&p->lock);
		gh__sender_flush(p->options.sender);
		pthread_mutex_lock(&p->lock);
	}
	if (p->stop_at && (quiet(p) || now > p->stop_at))
		finish_stop(p);
}

static void run(void *arg)
{
	gh__pow *p = arg;

	pthread_mutex_lock(&p->lock);
	while (!p->closing) {
		turn(p);
		if (!p->closing)
			gh__cond_wait_until(&p->news, &p->lock,
					    gh__now() + (p->round || p->group_count ? tick
										    : GH__SECOND));
	}
	pthread_mutex_unlock(&p->lock);
}

gh_status gh__pow_create(gh__pow **out, const gh__pow_options *options, gh_error *error)
{
	gh__pow *p = gh__calloc(1, sizeof *p);
	gh_status status;

	if (!p)
		return gh__fail_nomem(error);
	p->options = *options;
	p->last_claim = &p->claims;
	pthread_mutex_init(&p->lock, NULL);
	if (gh__cond_init(&p->news) != GH_OK) {
		pthread_mutex_destroy(&p->lock);
		gh__free(p);
		return gh__fail_nomem(error);
	}
	status = gh__thread_start(&p->thread, "gh-pow", run, p, error);
	p->started = status == GH_OK;
	if (status != GH_OK) {
		gh__pow_free(p);
		return status;
	}
	*out = p;
	return GH_OK;
}

void gh__pow_close(gh__pow *p)
{
	if (!p || !p->started)
		return;
	pthread_mutex_lock(&p->lock);
	p->closing = true;
	pthread_cond_signal(&p->news);
	pthread_mutex_unlock(&p->lock);
	pthread_join(p->thread, NULL);
	p->started = false;
	pthread_mutex_lock(&p->lock);
	for (int i = 0; i < p->group_count; i++)
		gh__pow_take_lines(p, i); /* what is here is not lost */
	tell_all(p, &p->starting, "the node is shutting down");
	tell_all(p, &p->stopping, NULL);
	pthread_mutex_unlock(&p->lock);
}

void gh__pow_free(gh__pow *p)
{
	if (!p)
		return;
	gh__pow_close(p);
	for (int i = 0; i < p->group_count; i++) {
		gh__buf_free(&p->groups[i].inbox);
		gh__pow_release(p->groups[i].of);
	}
	while (p->claims) {
		gh__claim *next = p->claims->next;

		gh__claim_free(p->claims);
		p->claims = next;
	}
	gh__pow_release(p->round);
	pthread_cond_destroy(&p->news);
	pthread_mutex_destroy(&p->lock);
	gh__free(p);
}

/* ---- orders ---- */

static bool add_waiter(gh__pow_waiter **list, gh__pow_done_fn *done, void *userdata)
{
	gh__pow_waiter *w = gh__malloc(sizeof *w);

	if (!w)
		return false;
	*w = (gh__pow_waiter){ done, userdata, *list };
	*list = w;
	return true;
}

static void on_up(const char *message, void *userdata)
{
	gh__pow *p = userdata;

	pthread_mutex_lock(&p->lock);
	p->ordered = false;
	if (message) {
		snprintf(p->problem, sizeof p->problem, "%s", message);
		gh__pow_release(p->round);
		p->round = NULL;
		p->phase = GH__POW_IDLE;
	}
	tell_all(p, &p->starting, message);
	pthread_cond_signal(&p->news);
	pthread_mutex_unlock(&p->lock);
}

gh_status gh__pow_start(gh__pow *p, const gh__pow_round *round, gh__pow_phase phase,
			gh__pow_done_fn *done, void *userdata, gh_error *error)
{
	gh__pow_held *h = gh__pow_held_new(round);
	gh__supervisor_state state;
	gh_status status = GH_OK;
	bool order = false, wait = false;

	if (!h)
		return gh__fail_nomem(error);
	gh__supervisor_state_get(p->options.supervisor, &state);
	pthread_mutex_lock(&p->lock);
	if (p->closing || p->stop_at) {
		status = gh__fail(error, GH_ESTATE, "the service is being stopped");
		gh__pow_release(h);
	} else if (p->ordered || !p->round || !state.proofs) {
		wait = add_waiter(&p->starting, done, userdata);
		order = wait && !p->ordered;
		if (wait) {
			take_round(p, h, phase);
			p->ordered = true;
			p->problem[0] = '\0';
		} else {
			gh__pow_release(h);
			status = gh__fail_nomem(error);
		}
	} else {
		take_round(p, h, phase);
	}
	pthread_cond_signal(&p->news);
	pthread_mutex_unlock(&p->lock);
	if (status == GH_OK)
		gh__sender_block(p->options.sender, round->block_hash);
	if (order) {
		json_t *none = json_array();
		gh_error inner = GH_ERROR_INIT;

		if (gh__supervisor_up(p->options.supervisor, NULL, "auto", none, on_up, p,
				      &inner) != GH_OK)
			on_up(inner.text, p);
		json_decref(none);
	} else if (status == GH_OK && !wait) {
		done(NULL, userdata);
	}
	return status;
}

/* Lock held. */
static bool runs(const gh__pow *p, const gh__supervisor_state *state)
{
	return p->round && !p->stop_at && (state->proofs || p->ordered);
}

gh_status gh__pow_set_phase(gh__pow *p, gh__pow_phase phase, gh_error *error)
{
	gh__supervisor_state state;
	gh_status status = GH_OK;

	gh__supervisor_state_get(p->options.supervisor, &state);
	pthread_mutex_lock(&p->lock);
	if (!runs(p, &state))
		status = gh__fail(error, GH_ESTATE, "PoW is not running");
	else if (phase == GH__POW_GENERATE &&
		 (p->round->round.node_id < 0 || p->round->round.node_count < 0))
		status = gh__fail(error, GH_EINVAL,
				  "Node ID and node count must be set to start generating");
	else
		p->phase = phase;
	pthread_cond_signal(&p->news);
	pthread_mutex_unlock(&p->lock);
	if (status == GH_OK)
		gh__sender_flush(p->options.sender);
	return status;
}

gh_status gh__pow_judge(gh__pow *p, const json_t *body, gh_error *error)
{
	const char *hash = json_string_value(json_object_get(body, "block_hash"));
	int64_t height = json_integer_value(json_object_get(body, "block_height"));
	gh__supervisor_state state;
	gh__claim *claim = NULL;
	gh_status status = GH_OK;
	double r_target = 0;

	gh__supervisor_state_get(p->options.supervisor, &state);
	pthread_mutex_lock(&p->lock);
	if (!runs(p, &state))
		status = gh__fail(error, GH_ESTATE, "PoW is not running");
	else if (strcmp(hash, p->round->round.block_hash) != 0)
		status = gh__fail(error, GH_EINVAL, "block_hash: expected %.80s, got %.80s",
				  p->round->round.block_hash, hash);
	else if (height != p->round->round.block_height)
		status = gh__fail(error, GH_EINVAL, "block_height: expected %lld, got %lld",
				  (long long)p->round->round.block_height, (long long)height);
	else if (p->claim_count >= CLAIMS_MAX)
		status = gh__fail(error, GH_EBUSY, "%d batches wait", CLAIMS_MAX);
	else
		r_target = p->round->round.r_target;
	pthread_mutex_unlock(&p->lock);
	if (status == GH_OK)
		status = gh__claim_create(&claim, body, r_target, error);
	if (status != GH_OK)
		return status;
	pthread_mutex_lock(&p->lock);
	/* Another order may have come meanwhile. */
	if (p->round && !p->stop_at && strcmp(hash, p->round->round.block_hash) == 0) {
		*p->last_claim = claim;
		p->last_claim = &claim->next;
		p->claim_count++;
		claim = NULL;
	} else {
		status = gh__fail(error, GH_ESTATE, "PoW is not running");
	}
	pthread_cond_signal(&p->news);
	pthread_mutex_unlock(&p->lock);
	gh__claim_free(claim);
	return status;
}

gh_status gh__pow_stop(gh__pow *p, gh__pow_done_fn *done, void *userdata, gh_error *error)
{
	gh_status status = GH_OK;

	pthread_mutex_lock(&p->lock);
	if (p->closing)
		status = gh__fail(error, GH_ECLOSED, "the node is shutting down");
	else if (!add_waiter(&p->stopping, done, userdata))
		status = gh__fail_nomem(error);
	else if (!p->stop_at)
		p->stop_at = gh__now() + stop_patience;
	pthread_cond_signal(&p->news);
	pthread_mutex_unlock(&p->lock);
	return status;
}

void gh__pow_status_get(gh__pow *p, gh__pow_status *out)
{
	gh__supervisor_state state;
	double progress = 0;
	int ready = 0;

	*out = (gh__pow_status){ 0 };
	gh__supervisor_state_get(p->options.supervisor, &state);
	pthread_mutex_lock(&p->lock);
	out->running = runs(p, &state);
	out->phase = p->phase;
	for (int i = 0; i < p->group_count; i++) {
		bool built = p->groups[i].ready && p->groups[i].network == p->network;

		ready += built;
		progress += built ? 1.0 : p->groups[i].progress;
	}
	out->initialised = p->group_count > 0 && ready == state.workers;
	out->progress = p->group_count ? progress / p->group_count : 0;
	snprintf(out->problem, sizeof out->problem, "%s", p->problem);
	out->tried = p->tried;
	out->hits = p->hits;
	out->waiting = p->claim_count;
	pthread_mutex_unlock(&p->lock);
}
