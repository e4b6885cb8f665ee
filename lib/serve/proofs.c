#include "serve/proofs.h"

#include <math.h>
#include <string.h>

#include <gonkahost/poc.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/thread.h"
#include "json/json.h"
#include "json/write.h"
#include "poc/params.h"

#define LINES "application/x-ndjson"

enum {
	ASKED_MAX = 1024,     /* requests for distances that wait */
	NONCES_MAX = 1 << 16, /* of one of them */
	OUT_MAX = 8 << 20
};

/* A batch of a generation takes about so long: proofs leave early, and judging does not wait
 * long. */
static const double pace_seconds = 2.0;

/* A request for distances. */
typedef struct asked {
	gh__exchange *exchange;
	json_t *body;
	const char *public_key; /* in body */
	uint64_t *nonces;
	size_t count;
	struct asked *next;
} asked;

typedef struct generation {
	gh__proofs *proofs;
	gh__exchange *exchange;
	char *public_key;
	double r_target;
	int64_t node, nodes, group, groups, index;
	size_t batch; /* nonces of the next one */
	atomic_bool gone;
	bool finishing; /* under lock */
} generation;

typedef enum proofs_state { NONE = 0, BUILDING, READY, FAILED } proofs_state;

static const char *const state_names[] = { "none", "building", "ready", "failed" };

struct gh__proofs {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t news;
	bool started, closing;

	/* under lock: what is wanted. A new round has a new number. */
	uint64_t wanted;
	char *block_hash; /* NULL: no network */
	gh_poc_params params;
	int64_t budget;
	asked *first, **last;
	size_t waiting;
	generation *generation, *successor;
	const generation *computing; /* whose batch it is; NULL: none's */

	/* under lock, written by the thread: what is there */
	uint64_t made; /* round of poc, or of the failure */
	proofs_state state;
	gh_poc_info info;
	gh_error failure;
	gh_poc *poc;          /* used by the thread; others only interrupt it */
	_Atomic int progress; /* 0 to 1000 */
};

/* ---- answers ---- */

static void write_numbers(gh__buf *out, const double *numbers, size_t count)
{
	gh__buf_append_char(out, '[');
	for (size_t i = 0; i < count; i++) {
		if (i > 0)
			gh__buf_append_char(out, ',');
		gh__json_write_double(out, numbers[i]);
	}
	gh__buf_append_char(out, ']');
}

static void write_text(gh__buf *out, const char *text)
{
	gh__json_write_string(out, text, strlen(text));
}

/* Lock held. */
static void write_status(gh__buf *out, const gh__proofs *p)
{
	proofs_state state = !p->block_hash ? NONE : p->made != p->wanted ? BUILDING : p->state;

	gh__buf_printf(out, "{\"state\":\"%s\",\"progress\":", state_names[state]);
	gh__json_write_double(out, state == READY ? 1.0 : atomic_load(&p->progress) / 1000.0);
	gh__buf_append_str(out, ",\"error\":");
	if (state == FAILED)
		write_text(out, p->failure.text);
	else
		gh__buf_append_str(out, "null");
	if (state == READY) {
		gh__buf_printf(out, ",\"batch\":%d,\"bytes\":%lld,\"flops\":", (int)p->info.batch,
			       (long long)p->info.total_bytes);
		gh__json_write_double(out, p->info.flops);
	}
	gh__buf_append_char(out, '}');
}

static void respond_status(gh__exchange *x)
{
	gh__proofs *p = x->worker->proofs;
	gh__buf out = GH__BUF_INIT(4096);

	pthread_mutex_lock(&p->lock);
	write_status(&out, p);
	pthread_mutex_unlock(&p->lock);
	gh__exchange_json(x, &out);
}

/* ---- what is given up ---- */

static void asked_free(asked *a)
{
	json_decref(a->body);
	gh__free(a->nonces);
	gh__free(a);
}

/* A list that nobody else knows any more. */
static void refuse_all(asked *a, const char *why)
{
	while (a) {
		asked *next = a->next;

		gh__exchange_refuse(a->exchange, 503, GH__OPENAI_BUSY, "%s", why);
		asked_free(a);
		a = next;
	}
}

static void generation_end(generation *g, const char *problem)
{
	gh__buf out = GH__BUF_INIT(4096);

	if (!g)
		return;
	gh__http_on_gone(g->exchange->request, NULL, NULL);
	if (problem) {
		gh__buf_append_str(&out, "{\"error\":");
		write_text(&out, problem);
		gh__buf_append_str(&out, "}\n");
		(void)gh__exchange_write(g->exchange, gh__buf_str(&out), out.len);
		gh__buf_free(&out);
	}
	gh__exchange_end(g->exchange, true);
	gh__free(g->public_key);
	gh__free(g);
}

/* ---- computing; on the thread ---- */

/* NAN where a distance is no number. */
static gh_status distances(gh_poc *poc, const char *key, const uint64_t *nonces, size_t count,
			   double *dist, gh_error *error)
{
	gh_error whole = GH_ERROR_INIT;
	gh_status status = gh_poc_distances(poc, key, nonces, count, dist, &whole);

	if (status != GH_ENUMERIC)
		return status == GH_OK ? GH_OK : gh__fail(error, status, "%s", whole.text);
	for (size_t i = 0; i < count; i++) {
		gh_error one = GH_ERROR_INIT;

		status = gh_poc_distances(poc, key, &nonces[i], 1, &dist[i], &one);
		if (status == GH_ENUMERIC)
			dist[i] = NAN;
		else if (status != GH_OK)
			return gh__fail(error, status, "%s", one.text);
	}
	return GH_OK;
}

static void judge(gh_poc *poc, asked *a)
{
	double *dist = gh__calloc(a->count + 1, sizeof *dist);
	gh_error error = GH_ERROR_INIT;
	gh__buf out = GH__BUF_INIT(OUT_MAX);
	gh_status status = dist ? GH_OK : gh__fail_nomem(&error);

	if (status == GH_OK && !gh__http_gone(a->exchange->request))
		status = distances(poc, a->public_key, a->nonces, a->count, dist, &error);
	if (status == GH_OK) {
		gh__buf_append_str(&out, "{\"dist\":");
		write_numbers(&out, dist, a->count);
		gh__buf_append_char(&out, '}');
		gh__exchange_json(a->exchange, &out);
	} else {
		gh__exchange_refuse(a->exchange, status == GH_ECANCELLED ? 503 : 500,
				    status == GH_ECANCELLED ? GH__OPENAI_BUSY : GH__OPENAI_INTERNAL,
				    "%s", error.text);
	}
	gh__free(dist);
	asked_free(a);
}

/* A line of the answer: hits nonces of those that were tried, and their distances. */
static void write_batch(gh__buf *out, const generation *g, const uint64_t *nonces,
			const double *dist, size_t hits, double seconds)
{
	gh__buf_printf(out, "{\"index\":%lld,\"tried\":%zu,\"seconds\":", (long long)g->index,
		       g->batch);
	gh__json_write_double(out, seconds);
	gh__buf_append_str(out, ",\"nonces\":[");
	for (size_t i = 0; i < hits; i++)
		gh__buf_printf(out, "%s%llu", i > 0 ? "," : "", (unsigned long long)nonces[i]);
	gh__buf_append_str(out, "],\"dist\":[");
	for (size_t i = 0; i < hits; i++) {
		if (i > 0)
			gh__buf_append_char(out, ',');
		gh__json_write_double(out, dist[i]);
	}
	gh__buf_append_str(out, "]}\n");
}

/* One batch. What it answers other than GH_OK ends the generation. */
static gh_status generate(gh_poc *poc, generation *g, size_t batch_max, gh_error *error)
{
	uint64_t *nonces = gh__calloc(g->batch, sizeof *nonces);
	double *dist = gh__calloc(g->batch, sizeof *dist), seconds;
	gh__buf out = GH__BUF_INIT(OUT_MAX);
	int64_t began = gh__now();
	gh_status status = nonces && dist ? GH_OK : gh__fail_nomem(error);

	for (size_t i = 0; i < g->batch && status == GH_OK; i++)
		status = gh_poc_nonce(&nonces[i], (uint64_t)g->node, (uint64_t)g->nodes,
				      (uint64_t)g->group, (uint64_t)g->groups,
				      (uint64_t)g->index + i, error);
	if (status == GH_OK)
		status = distances(poc, g->public_key, nonces, g->batch, dist, error);
	if (status == GH_OK) {
		seconds = (double)(gh__now() - began) / (double)GH__SECOND;
		write_batch(&out, g, nonces, dist,
			    gh_poc_filter(nonces, dist, g->batch, g->r_target), seconds);
		g->index += (int64_t)g->batch;
		status = gh__buf_status(&out);
		if (status == GH_OK)
			status = gh__exchange_write(g->exchange, out.data, out.len);
		if (seconds < pace_seconds / 2 && g->batch < batch_max)
			g->batch = g->batch * 2 < batch_max ? g->batch * 2 : batch_max;
		else if (seconds > pace_seconds && g->batch > 1)
			g->batch /= 2;
		if (status != GH_OK)
			gh__fail(error, status, "the answer is not taken: %s",
				 gh_status_text(status));
	}
	gh__buf_free(&out);
	gh__free(nonces);
	gh__free(dist);
	return status;
}

/* ---- making a network; on the thread ---- */

typedef struct making {
	gh__proofs *proofs;
	uint64_t number;
} making;

static int on_progress(double done, const char *phase, void *userdata)
{
	making *m = userdata;
	bool outdated;

	(void)phase;
	atomic_store(&m->proofs->progress, (int)(done * 1000));
	pthread_mutex_lock(&m->proofs->lock);
	outdated = m->proofs->wanted != m->number || m->proofs->closing;
	pthread_mutex_unlock(&m->proofs->lock);
	return outdated;
}

/* Lock held, released meanwhile. */
static void make(gh__proofs *p)
{
	making m = { p, p->wanted };
	gh_poc *old = p->poc, *poc = NULL;
	char *hash = p->block_hash ? gh__strdup(p->block_hash) : NULL;
	gh_poc_params params = p->params;
	gh_poc_options options = GH_POC_OPTIONS_INIT;
	bool wanted = p->block_hash != NULL;
	gh_error error = GH_ERROR_INIT;
	int64_t began = gh__now();
	gh_status status = GH_OK;

	options.block_hash = hash;
	options.params = &params;
	options.budget = p->budget;
	options.progress = on_progress;
	options.userdata = &m;
	p->poc = NULL;
	p->state = wanted ? BUILDING : NONE;
	atomic_store(&p->progress, 0);
	pthread_mutex_unlock(&p->lock);
	gh_poc_free(old);
	if (wanted)
		status = hash ? gh_poc_create(&poc, &options, &error) : gh__fail_nomem(&error);
	gh__free(hash);
	pthread_mutex_lock(&p->lock);
	p->made = m.number;
	p->poc = poc;
	p->failure = error;
	if (poc) {
		gh_poc_info_get(poc, &p->info);
		p->state = READY;
		gh__info("proofs", "network ready in %.2f s: %.1f MiB, batches of %d, %s",
			 (double)(gh__now() - began) / (double)GH__SECOND,
			 (double)p->info.total_bytes / (1 << 20), (int)p->info.batch,
			 p->info.numerics);
	} else if (wanted) {
		p->state = FAILED;
		if (status != GH_ECANCELLED)
			gh__error("proofs", "%s", error.text);
	}
}

/* ---- the thread ---- */

/* Lock held, released meanwhile. */
static void judge_next(gh__proofs *p)
{
	asked *a = p->first;
	gh_poc *poc = p->poc;

	p->first = a->next;
	if (!p->first)
		p->last = &p->first;
	p->waiting--;
	pthread_mutex_unlock(&p->lock);
	judge(poc, a);
	pthread_mutex_lock(&p->lock);
}

/* Lock held, released meanwhile. */
static void take_turn(gh__proofs *p)
{
	generation *g = p->generation;
	bool over = g->finishing || atomic_load(&g->gone);
	gh_error error = GH_ERROR_INIT;
	size_t batch_max = (size_t)p->info.batch;
	gh_poc *poc = p->poc;
	gh_status status = GH_OK;

	if (!over) {
		p->computing = g;
		pthread_mutex_unlock(&p->lock);
		status = generate(poc, g, batch_max, &error);
		pthread_mutex_lock(&p->lock);
		p->computing = NULL;
	}
	if (!over && status == GH_OK)
		return;
	/* What was interrupted because another round is wanted is not an error of this one. */
	p->generation = p->successor;
	p->successor = NULL;
	pthread_mutex_unlock(&p->lock);
	generation_end(g, status == GH_OK || status == GH_ECANCELLED ? NULL : error.text);
	pthread_mutex_lock(&p->lock);
}

/* Whether the interruption was for somebody who is no longer there. Lock held. */
static void go_on(gh__proofs *p)
{
	if (p->poc && p->made == p->wanted && !p->closing)
		gh_poc_interrupt(p->poc, 0);
}

static void run(void *arg)
{
	gh__proofs *p = arg;

	pthread_mutex_lock(&p->lock);
	while (!p->closing) {
		if (p->made != p->wanted) {
			make(p);
		} else if (p->state == READY && p->first) {
			go_on(p);
			judge_next(p);
		} else if (p->state == READY && p->generation) {
			go_on(p);
			take_turn(p);
		} else if (p->state != READY && p->state != BUILDING &&
			   (p->first || p->generation)) {
			asked *all = p->first;
			generation *g = p->generation, *next = p->successor;
			gh_error failure = p->failure;
			const char *why = p->state == FAILED ? failure.text : "there is no network";

			p->first = NULL;
			p->last = &p->first;
			p->waiting = 0;
			p->generation = p->successor = NULL;
			pthread_mutex_unlock(&p->lock);
			refuse_all(all, why);
			generation_end(g, why);
			generation_end(next, why);
			pthread_mutex_lock(&p->lock);
		} else {
			pthread_cond_wait(&p->news, &p->lock);
		}
	}
	pthread_mutex_unlock(&p->lock);
}

gh_status gh__proofs_create(gh__proofs **out, gh_error *error)
{
	gh__proofs *p = gh__calloc(1, sizeof *p);
	gh_status status;

	if (!p)
		return gh__fail_nomem(error);
	p->last = &p->first;
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->news, NULL);
	status = gh__thread_start(&p->thread, "gh-proofs", run, p, error);
	if (status != GH_OK) {
		gh__proofs_free(p);
		return status;
	}
	p->started = true;
	*out = p;
	return GH_OK;
}

void gh__proofs_stop(gh__proofs *p)
{
	asked *all;
	generation *g, *next;

	if (!p || !p->started)
		return;
	pthread_mutex_lock(&p->lock);
	p->closing = true;
	if (p->poc)
		gh_poc_interrupt(p->poc, 1);
	pthread_cond_signal(&p->news);
	pthread_mutex_unlock(&p->lock);
	pthread_join(p->thread, NULL);
	p->started = false;
	pthread_mutex_lock(&p->lock);
	all = p->first;
	g = p->generation;
	next = p->successor;
	p->first = NULL;
	p->last = &p->first;
	p->generation = p->successor = NULL;
	pthread_mutex_unlock(&p->lock);
	refuse_all(all, "the worker stops");
	generation_end(g, NULL);
	generation_end(next, NULL);
}

void gh__proofs_free(gh__proofs *p)
{
	if (!p)
		return;
	gh__proofs_stop(p);
	gh_poc_free(p->poc);
	gh__free(p->block_hash);
	pthread_cond_destroy(&p->news);
	pthread_mutex_destroy(&p->lock);
	gh__free(p);
}

/* ---- the routes ---- */

/* The body's object; NULL: answered. */
static json_t *read_body(gh__exchange *x, gh__json_reader *r, gh_error *error)
{
	size_t len;
	const char *body = gh__http_body(x->request, &len);
	json_t *tree = gh__json_parse(body, len, true, error);

	if (!tree) {
		gh__exchange_refuse(x, 400, GH__OPENAI_FIELD, "%s", error->text);
		return NULL;
	}
	gh__json_root(r, tree, NULL, error);
	return tree;
}

static bool refused(gh__exchange *x, const gh__json_reader *r, const gh_error *error)
{
	if (gh__json_reader_status(r) == GH_OK)
		return false;
	gh__exchange_refuse(x, 400, GH__OPENAI_FIELD, "%s", error->text);
	return true;
}

void gh__proofs_status(gh__exchange *x)
{
	respond_status(x);
}

/* The parameters as the object says, defaults filled in. */
static bool read_params(gh__exchange *x, const json_t *object, gh_poc_params *out)
{
	gh_error error = GH_ERROR_INIT;
	size_t len = 2;
	char *text = object ? gh__json_text(object, &len) : NULL;
	gh_status status = gh_poc_params_parse(out, text ? text : "{}", len, &error);

	gh__free(text);
	if (status != GH_OK)
		gh__exchange_refuse(x, 400, GH__OPENAI_FIELD, "%s", error.text);
	return status == GH_OK;
}

/* Lock held: another round, or none (hash NULL). Takes hash. */
static void want(gh__proofs *p, char *hash, const gh_poc_params *params, int64_t budget)
{
	gh__free(p->block_hash);
	p->block_hash = hash;
	p->params = *params;
	p->budget = budget;
	p->wanted++;
	if (p->generation)
		p->generation->finishing = true;
	if (p->poc)
		gh_poc_interrupt(p->poc, 1);
	pthread_cond_signal(&p->news);
}

void gh__proofs_round(gh__exchange *x)
{
	gh__proofs *p = x->worker->proofs;
	gh_error error = GH_ERROR_INIT;
	const json_t *object = NULL;
	gh_poc_params params;
	const char *hash = NULL;
	int64_t budget = 0;
	gh__json_reader r;
	json_t *tree = read_body(x, &r, &error);
	char *copy;

	if (!tree)
		return;
	gh__json_require(&r, "block_hash");
	gh__json_string(&r, "block_hash", &hash);
	gh__json_object(&r, "params", &object);
	gh__json_int(&r, "budget", 0, INT64_MAX, &budget);
	if (refused(x, &r, &error) || !read_params(x, object, &params)) {
		json_decref(tree);
		return;
	}
	copy = gh__strdup(hash);
	json_decref(tree);
	if (!copy) {
		gh__exchange_refuse(x, 500, GH__OPENAI_INTERNAL, "out of memory");
		return;
	}
	pthread_mutex_lock(&p->lock);
	/* A round that has failed is tried again. */
	if (p->block_hash && strcmp(p->block_hash, copy) == 0 && p->budget == budget &&
	    gh__poc_params_equal(&p->params, &params) &&
	    !(p->made == p->wanted && p->state == FAILED))
		gh__free(copy);
	else
		want(p, copy, &params, budget);
	pthread_mutex_unlock(&p->lock);
	respond_status(x);
}

void gh__proofs_end(gh__exchange *x)
{
	const gh_poc_params none = { 0 };
	gh__proofs *p = x->worker->proofs;

	pthread_mutex_lock(&p->lock);
	want(p, NULL, &none, 0);
	pthread_mutex_unlock(&p->lock);
	respond_status(x);
}

static void on_gone(void *userdata)
{
	generation *g = userdata;
	gh__proofs *p = g->proofs;

	atomic_store(&g->gone, true);
	pthread_mutex_lock(&p->lock);
	if (p->computing == g && p->poc)
		gh_poc_interrupt(p->poc, 1);
	pthread_cond_signal(&p->news);
	pthread_mutex_unlock(&p->lock);
}

void gh__proofs_generate(gh__exchange *x)
{
	gh__proofs *p = x->worker->proofs;
	gh_error error = GH_ERROR_INIT;
	generation *g = gh__calloc(1, sizeof *g), *passed = NULL;
	const char *key = NULL;
	gh__json_reader r;
	json_t *tree = g ? read_body(x, &r, &error) : NULL;

	if (!g)
		gh__exchange_refuse(x, 500, GH__OPENAI_INTERNAL, "out of memory");
	if (!tree) {
		gh__free(g);
		return;
	}
	g->proofs = p;
	g->exchange = x;
	g->batch = 1;
	g->groups = 1;
	for (const char *const *name = (const char *const[]){ "public_key", "r_target", "node_id",
							      "node_count", NULL };
	     *name; name++)
		gh__json_require(&r, *name);
	gh__json_string(&r, "public_key", &key);
	gh__json_real(&r, "r_target", -1e308, 1e308, &g->r_target);
	gh__json_int(&r, "node_id", 0, INT64_MAX, &g->node);
	gh__json_int(&r, "node_count", 1, INT64_MAX, &g->nodes);
	gh__json_int(&r, "group", 0, INT64_MAX, &g->group);
	gh__json_int(&r, "groups", 1, INT64_MAX, &g->groups);
	gh__json_int(&r, "index", 0, INT64_MAX, &g->index);
	g->public_key = key ? gh__strdup(key) : NULL;
	json_decref(tree);
	if (refused(x, &r, &error) || !g->public_key) {
		gh__free(g->public_key);
		gh__free(g);
		return;
	}
	gh__exchange_stream(x, LINES);
	gh__http_on_gone(x->request, on_gone, g);
	pthread_mutex_lock(&p->lock);
	if (p->closing) {
		passed = g;
	} else if (p->generation) {
		p->generation->finishing = true;
		passed = p->successor;
		p->successor = g;
	} else {
		p->generation = g;
	}
	pthread_cond_signal(&p->news);
	pthread_mutex_unlock(&p->lock);
	generation_end(passed, NULL);
}

void gh__proofs_finish(gh__exchange *x)
{
	gh__proofs *p = x->worker->proofs;
	generation *passed;

	pthread_mutex_lock(&p->lock);
	if (p->generation)
		p->generation->finishing = true;
	passed = p->successor;
	p->successor = NULL;
	pthread_cond_signal(&p->news);
	pthread_mutex_unlock(&p->lock);
	generation_end(passed, NULL);
	respond_status(x);
}

static bool read_nonces(asked *a, gh__json_reader *r, const json_t *list)
{
	const json_t *value;
	size_t i;

	a->count = json_array_size(list);
	if (a->count > NONCES_MAX) {
		gh__json_fail(r, "nonces", "expected at most %d, got %zu", NONCES_MAX, a->count);
		return false;
	}
	a->nonces = gh__calloc(a->count + 1, sizeof *a->nonces);
	if (!a->nonces)
		return false;
	json_array_foreach(list, i, value)
	{
		if (!json_is_integer(value) || json_integer_value(value) < 0) {
			gh__json_fail(r, "nonces", "expected integers from 0 on");
			return false;
		}
		a->nonces[i] = (uint64_t)json_integer_value(value);
	}
	return true;
}

void gh__proofs_distances(gh__exchange *x)
{
	gh__proofs *p = x->worker->proofs;
	gh_error error = GH_ERROR_INIT;
	asked *a = gh__calloc(1, sizeof *a);
	const json_t *list = NULL;
	gh__json_reader r;
	bool full;

	if (!a) {
		gh__exchange_refuse(x, 500, GH__OPENAI_INTERNAL, "out of memory");
		return;
	}
	a->exchange = x;
	a->body = read_body(x, &r, &error);
	if (!a->body) {
		gh__free(a);
		return;
	}
	gh__json_require(&r, "public_key");
	gh__json_require(&r, "nonces");
	gh__json_string(&r, "public_key", &a->public_key);
	if (gh__json_array(&r, "nonces", &list) && !read_nonces(a, &r, list) &&
	    gh__json_reader_status(&r) == GH_OK)
		gh__json_fail(&r, "nonces", "out of memory");
	if (refused(x, &r, &error)) {
		asked_free(a);
		return;
	}
	pthread_mutex_lock(&p->lock);
	full = p->waiting >= ASKED_MAX || p->closing;
	if (!full) {
		*p->last = a;
		p->last = &a->next;
		p->waiting++;
		pthread_cond_signal(&p->news);
	}
	pthread_mutex_unlock(&p->lock);
	if (full)
		refuse_all(a, "too many requests wait");
}
