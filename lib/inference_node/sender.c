#include "inference_node/sender.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/thread.h"
#include "base/utf8.h"

enum {
	KNOWN_MAX = 4096, /* batches in memory, without their bodies */
	RUNNING_MAX = 16,
	PER_URL_MAX = 4,
	OPEN_MAX = 4, /* batches of a round that wait to be taken, before proofs are held for a
		       * larger one */
	REDIRECTS_MAX = 10
};

typedef struct delivery {
	gh__sender *sender;
	gh__spool_batch *batch;
	struct delivery *next;
	int64_t due;
	int failures;
	bool running; /* the client has it */
	bool taken;   /* only the spool does not know yet */
	gh__http_call *call;

	/* While it runs the client's; written under lock in the end. */
	bool answered;
	gh_status status;
	int http_status;
	char why[256]; /* the error's text, or the beginning of the answer */
	size_t why_len;
} delivery;

struct gh__sender {
	gh__sender_options options;
	pthread_t thread;

	pthread_mutex_t lock;
	pthread_cond_t news;
	bool flush, stopping;
	bool another; /* block than before */
	char *block;  /* the one at hand; NULL: not told */
	int64_t deadline;
	size_t answered;
	int64_t delivered_proofs, delivered_batches, refused_batches;
	char last_error[256];

	/* of the thread */
	delivery *first, **last; /* by number */
	size_t known;
	bool more;    /* the spool has batches that are not known */
	int64_t seen; /* number of the last batch that was looked at */
	delivery *at[RUNNING_MAX];
	size_t running;
	int64_t next_round;
};

/* ---- failures ---- */

/* Says it aloud only if it is news: a receiver that is away fails each batch in the same words. */
static void note_failure(gh__sender *s, const char *what, bool aloud)
{
	char clean[sizeof s->last_error];

	gh__utf8_copy(clean, sizeof clean, what, strlen(what));
	pthread_mutex_lock(&s->lock);
	const bool news = strcmp(s->last_error, clean) != 0;
	memcpy(s->last_error, clean, sizeof clean);
	pthread_mutex_unlock(&s->lock);
	if (aloud && news)
		gh__warn("sender", "%s", clean);
	else
		gh__debug("sender", "%s", clean);
}

static void note_error(gh__sender *s, const gh_error *error)
{
	note_failure(s, error->text, true);
}

static int64_t backoff(const gh__sender *s, int failures)
{
	int64_t pause = s->options.backoff_min;

	while (--failures > 0 && pause < s->options.backoff_max)
		pause *= 2;
	return pause < s->options.backoff_max ? pause : s->options.backoff_max;
}

static void try_later(gh__sender *s, delivery *d)
{
	d->failures++;
	d->due = gh__now() + backoff(s, d->failures);
}

/* ---- what the client calls ---- */

static bool on_data(const void *data, size_t len, void *userdata)
{
	delivery *d = userdata;
	const size_t room = sizeof d->why - 1 - d->why_len;

	if (len > room)
		len = room;
	memcpy(d->why + d->why_len, data, len);
	d->why_len += len;
	d->why[d->why_len] = '\0';
	return true;
}

static void on_done(const gh__http_answer *answer, gh_status status, const gh_error *error,
		    void *userdata)
{
	delivery *d = userdata;
	gh__sender *s = d->sender;

	pthread_mutex_lock(&s->lock);
	d->status = status;
	d->http_status = answer->status;
	if (status != GH_OK)
		snprintf(d->why, sizeof d->why, "%s", error->text);
	d->answered = true;
	s->answered++;
	pthread_cond_signal(&s->news);
	pthread_mutex_unlock(&s->lock);
}

/* ---- one delivery; the sender's thread ---- */

/* False: it is to be tried again. */
static bool forget(gh__sender *s, delivery *d)
{
	const int64_t proofs = d->batch->proofs;
	gh_error error = GH_ERROR_INIT;

	if (gh__spool_forget(s->options.spool, d->batch->number, &error) != GH_OK) {
		note_error(s, &error);
		try_later(s, d);
		return false;
	}
	if (!d->taken)
		return true;
	pthread_mutex_lock(&s->lock);
	s->delivered_batches++;
	s->delivered_proofs += proofs;
	s->last_error[0] = '\0';
	pthread_mutex_unlock(&s->lock);
	gh__info("sender", "delivered batch=%lld proofs=%lld url=%s", (long long)d->batch->number,
		 (long long)proofs, d->batch->url);
	return true;
}

static bool settle_refused(gh__sender *s, delivery *d, const char *what)
{
	gh_error error = GH_ERROR_INIT;

	note_failure(s, what, false);
	gh__warn("sender", "refused, not tried again: batch=%lld proofs=%lld: %s",
		 (long long)d->batch->number, (long long)d->batch->proofs, what);
	pthread_mutex_lock(&s->lock);
	const bool over = s->block && strcmp(s->block, d->batch->block_hash) != 0;
	s->refused_batches++;
	pthread_mutex_unlock(&s->lock);
	if (over)
		return forget(s, d);
	if (gh__spool_refuse(s->options.spool, d->batch->number, &error) == GH_OK)
		return true;
	note_error(s, &error);
	try_later(s, d);
	return false;
}

/* The exchange is over. True: the batch needs nobody any more. */
static bool settle(gh__sender *s, delivery *d)
{
	const int http = d->http_status;
	char what[512];

	if (d->status == GH_ECANCELLED)
		return false;
	if (d->status == GH_OK && http < 400) {
		d->taken = true;
		return forget(s, d);
	}
	if (d->status == GH_OK)
		snprintf(what, sizeof what, "%.120s: status %d %s", d->batch->url, http, d->why);
	else
		snprintf(what, sizeof what, "%s", d->why);
	if (d->status == GH_EINVAL ||
	    (d->status == GH_OK && http < 500 && http != 408 && http != 429))
		return settle_refused(s, d, what);
	note_failure(s, what, d->failures == 0);
	try_later(s, d);
	return false;
}

/* True: the batch needs nobody any more. */
static bool begin(gh__sender *s, delivery *d)
{
	static const char *const headers[] = { "Content-Type: application/json", NULL };
	gh_error error = GH_ERROR_INIT;
	char *body;
	size_t len;

	if (d->taken)
		return forget(s, d);
	gh_status status = gh__spool_body(s->options.spool, d->batch->number, &body, &len, &error);
	if (status == GH_ENOENT)
		return true; /* grown too old */
	if (status == GH_OK) {
		const gh__http_call_options call = {
			.method = "POST",
			.url = d->batch->url,
			.headers = headers,
			.body = body,
			.body_len = len,
			.connect_timeout = s->options.timeout,
			.total_timeout = s->options.timeout,
			.redirects_max = REDIRECTS_MAX,
			.on_data = on_data,
			.on_done = on_done,
			.userdata = d,
		};

		d->answered = false;
		d->why[0] = '\0';
		d->why_len = 0;
		status = gh__http_call_start(s->options.client, &call, &d->call, &error);
		gh__free(body);
		if (status == GH_OK) {
			d->running = true;
			s->at[s->running++] = d;
			return false;
		}
	}
	if (status == GH_EINVAL)
		return settle_refused(s, d, error.text);
	note_error(s, &error);
	try_later(s, d);
	return false;
}

/* ---- all of them ---- */

static void drop(gh__sender *s, delivery *d)
{
	delivery **link = &s->first;

	while (*link != d)
		link = &(*link)->next;
	*link = d->next;
	if (s->last == &d->next)
		s->last = link;
	s->known--;
	gh__free(d->batch);
	gh__free(d);
}

/* True: the spool has lost some. */
static bool settle_answered(gh__sender *s)
{
	delivery *done[RUNNING_MAX];
	size_t count = 0, left = 0;
	bool lost = false;

	pthread_mutex_lock(&s->lock);
	s->answered = 0;
	for (size_t i = 0; i < s->running; i++) {
		delivery *d = s->at[i];

		d->running = !d->answered;
		if (d->running)
			s->at[left++] = d;
		else
			done[count++] = d;
	}
	pthread_mutex_unlock(&s->lock);
	s->running = left;
	for (size_t i = 0; i < count; i++) {
		if (!settle(s, done[i]))
			continue;
		drop(s, done[i]);
		lost = true;
	}
	return lost;
}

static bool crowded(const gh__sender *s, const char *url)
{
	size_t there = 0;

	for (size_t i = 0; i < s->running; i++)
		there += strcmp(s->at[i]->batch->url, url) == 0;
	return there >= PER_URL_MAX;
}

/* Start what is due, the oldest first, as long as there is room; the end of another makes more, and
 * is news. Answers when the next of those that are not due will be. */
static int64_t begin_due(gh__sender *s)
{
	const int64_t now = gh__now();
	int64_t next = INT64_MAX;

	for (delivery *d = s->first, *below; d && s->running < RUNNING_MAX; d = below) {
		below = d->next;
		if (d->running || (d->due <= now && crowded(s, d->batch->url)))
			continue;
		if (d->due <= now && begin(s, d))
			drop(s, d);
		else if (!d->running && d->due < next)
			next = d->due;
	}
	return next;
}

/* Learn of batches that came since; false: not of all. */
static bool all_known(gh__sender *s)
{
	gh__spool_batch *batch;
	gh_error error = GH_ERROR_INIT;

	while (s->known < KNOWN_MAX) {
		if (gh__spool_after(s->options.spool, s->seen, &batch, &error) != GH_OK) {
			note_error(s, &error);
			return false;
		}
		if (!batch)
			return true;
		delivery *d = batch->refused ? NULL : gh__calloc(1, sizeof *d);
		if (!batch->refused && !d) {
			gh__free(batch);
			return false;
		}
		s->seen = batch->number;
		if (!d) {
			gh__free(batch);
			continue;
		}
		d->sender = s;
		d->batch = batch;
		*s->last = d;
		s->last = &d->next;
		s->known++;
	}
	return false;
}

static void join_and_look(gh__sender *s)
{
	gh_error error = GH_ERROR_INIT;

	if (gh__spool_join(s->options.spool, OPEN_MAX, &error) != GH_OK)
		note_error(s, &error);
	s->more = !all_known(s);
	s->next_round = gh__now() + s->options.interval;
}

/* Takes what was asked for; lock not held. */
static void follow_orders(gh__sender *s)
{
	gh_error error = GH_ERROR_INIT;

	pthread_mutex_lock(&s->lock);
	const bool flush = s->flush;
	char *block = s->another && s->block ? gh__strdup(s->block) : NULL;
	s->flush = s->another = false;
	pthread_mutex_unlock(&s->lock);

	if (flush)
		join_and_look(s);
	for (delivery *d = s->first; flush && d; d = d->next)
		d->due = 0;
	if (block && gh__spool_give_up(s->options.spool, block, &error) != GH_OK)
		note_error(s, &error);
	gh__free(block);
}

/* ---- the thread ---- */

/* Everything was taken, as far as anybody ever takes it. */
static bool idle(gh__sender *s)
{
	gh__spool_counts counts;

	gh__spool_counts_get(s->options.spool, &counts);
	return counts.loose == 0 && !s->first && all_known(s) && !s->first;
}

static void cancel_running(gh__sender *s)
{
	for (size_t i = 0; i < s->running; i++)
		gh__http_call_cancel(s->options.client, s->at[i]->call);
	pthread_mutex_lock(&s->lock);
	while (s->answered < s->running)
		pthread_cond_wait(&s->news, &s->lock);
	pthread_mutex_unlock(&s->lock);
	settle_answered(s); /* some may have been taken before */
}

/* Proofs were held back that would fill a batch, or for which no later round comes. */
static bool held_back(gh__sender *s, bool stopping)
{
	gh__spool_counts counts;

	gh__spool_counts_get(s->options.spool, &counts);
	return counts.loose >= (stopping ? 1 : GH__SPOOL_BATCH_MAX);
}

static void run(void *opaque)
{
	gh__sender *s = opaque;

	for (;;) {
		follow_orders(s);
		const bool lost = settle_answered(s);

		pthread_mutex_lock(&s->lock);
		const bool stopping = s->stopping;
		const int64_t deadline = stopping ? s->deadline : INT64_MAX;
		pthread_mutex_unlock(&s->lock);
		if (s->next_round <= gh__now() || (lost && held_back(s, stopping)))
			join_and_look(s);
		else if (lost && s->more)
			s->more = !all_known(s);
		if (stopping && (gh__now() >= deadline || idle(s)))
			break;

		int64_t wake = begin_due(s);
		wake = s->next_round < wake ? s->next_round : wake;
		wake = deadline < wake ? deadline : wake;
		pthread_mutex_lock(&s->lock);
		while (!s->flush && !s->another && !s->answered && s->stopping == stopping &&
		       gh__cond_wait_until(&s->news, &s->lock, wake))
			;
		pthread_mutex_unlock(&s->lock);
	}
	cancel_running(s);
}

/* ---- for callers ---- */

static void release(gh__sender *s)
{
	while (s->first)
		drop(s, s->first);
	gh__free(s->block);
	pthread_cond_destroy(&s->news);
	pthread_mutex_destroy(&s->lock);
	gh__free(s);
}

gh_status gh__sender_start(gh__sender **out, const gh__sender_options *options, gh_error *error)
{
	gh__sender *s = gh__calloc(1, sizeof *s);
	gh__sender_options *own;
	gh_status status;

	*out = NULL;
	if (!s)
		return gh__fail_nomem(error);
	own = &s->options;
	*own = *options;
	own->interval = own->interval > 0 ? own->interval : 5 * GH__SECOND;
	own->timeout = own->timeout > 0 ? own->timeout : 10 * GH__SECOND;
	own->backoff_min = own->backoff_min > 0 ? own->backoff_min : GH__SECOND;
	own->backoff_max = own->backoff_max > 0 ? own->backoff_max : 30 * GH__SECOND;
	s->last = &s->first;
	pthread_mutex_init(&s->lock, NULL);
	status = gh__cond_init(&s->news);
	if (status == GH_OK)
		status = gh__thread_start(&s->thread, "sender", run, s, error);
	else
		gh__fail(error, status, "sender: a condition variable");
	if (status != GH_OK) {
		release(s);
		return status;
	}
	*out = s;
	return GH_OK;
}

void gh__sender_stop(gh__sender *sender, int64_t deadline)
{
	if (!sender)
		return;
	pthread_mutex_lock(&sender->lock);
	sender->stopping = sender->flush = true;
	sender->deadline = deadline;
	pthread_cond_signal(&sender->news);
	pthread_mutex_unlock(&sender->lock);
	pthread_join(sender->thread, NULL);
	release(sender);
}

void gh__sender_flush(gh__sender *sender)
{
	pthread_mutex_lock(&sender->lock);
	sender->flush = true;
	pthread_cond_signal(&sender->news);
	pthread_mutex_unlock(&sender->lock);
}

void gh__sender_block(gh__sender *sender, const char *block_hash)
{
	pthread_mutex_lock(&sender->lock);
	if (!sender->block || strcmp(sender->block, block_hash) != 0) {
		gh__free(sender->block);
		sender->block = gh__strdup(block_hash); /* no memory: as if nobody had told */
		sender->another = true;
		pthread_cond_signal(&sender->news);
	}
	pthread_mutex_unlock(&sender->lock);
}

void gh__sender_stats_get(gh__sender *sender, gh__sender_stats *out)
{
	gh__spool_counts counts;

	gh__spool_counts_get(sender->options.spool, &counts);
	pthread_mutex_lock(&sender->lock);
	*out = (gh__sender_stats){
		.pending_proofs = counts.proofs,
		.pending_batches = counts.batches,
		.delivered_proofs = sender->delivered_proofs,
		.delivered_batches = sender->delivered_batches,
		.refused_batches = sender->refused_batches,
	};
	memcpy(out->last_error, sender->last_error, sizeof out->last_error);
	pthread_mutex_unlock(&sender->lock);
}
