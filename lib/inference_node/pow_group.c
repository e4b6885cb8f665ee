#include "inference_node/pow_group.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "json/json.h"
#include "json/write.h"

enum { INBOX_FULL = 1 << 20 /* a worker waits while so much is unread */, LINE_HITS_MAX = 1 << 16 };

static const int64_t look_every = GH__SECOND / 2;
static const int64_t retry_after = 2 * GH__SECOND;
static const int64_t control_timeout = 30 * GH__SECOND;

/* ---- calls to workers ---- */

typedef struct call {
	gh__pow *pow;
	int index;
	uint64_t birth, network, stream;
	gh__claim *claim; /* with the piece that it is about */
	size_t first, count;
} call;

/* Lock held. NULL: the worker that was asked is no more. */
static gh__pow_group *group_of(const call *c)
{
	gh__pow_group *g = &c->pow->groups[c->index];

	return c->index < c->pow->group_count && g->birth == c->birth ? g : NULL;
}

/* Lock held. NULL: it generates something else by now, or nothing. */
static gh__pow_group *group_streaming(const call *c)
{
	gh__pow_group *g = group_of(c);

	return g && g->stream == c->stream ? g : NULL;
}

static bool start_call(gh__pow *p, int index, const char *route, gh__buf *body, int64_t timeout,
		       void (*on_done)(const gh__http_answer *, gh_status, const gh_error *,
				       void *),
		       bool (*on_data)(const void *, size_t, void *), const call *like)
{
	static const char *const headers[] = { "Content-Type: application/json", NULL };
	gh_error error = GH_ERROR_INIT;
	gh__pow_group *g = &p->groups[index];
	call *c = gh__malloc(sizeof *c);
	char url[128];
	gh_status status = GH_ENOMEM;

	snprintf(url, sizeof url, "http://worker/control/proofs/%s", route);
	if (c) {
		gh__http_call_options options = { .method = body ? "POST" : "GET",
						  .url = url,
						  .unix_path = g->socket,
						  .headers = headers,
						  .body = body ? gh__buf_str(body) : NULL,
						  .body_len = body ? body->len : 0,
						  .total_timeout = timeout,
						  .on_data = on_data,
						  .on_done = on_done,
						  .userdata = c };

		*c = *like;
		c->pow = p;
		c->index = index;
		c->birth = g->birth;
		status = body ? gh__buf_status(body) : GH_OK;
		/* Starting a call only queues it: this may be done under the lock. */
		if (status == GH_OK)
			status = gh__http_call_start(p->options.client, &options,
						     on_data ? &g->call : NULL, &error);
	}
	if (body)
		gh__buf_free(body);
	if (status != GH_OK)
		gh__free(c);
	return status == GH_OK;
}

static json_t *object_of(const gh__http_answer *answer, gh_status status)
{
	return status == GH_OK && answer->status == 200 && answer->body
		       ? gh__json_parse(answer->body, answer->len, false, NULL)
		       : NULL;
}

/* What a worker says of its network. */
static void on_state(const gh__http_answer *answer, gh_status status, const gh_error *error,
		     void *userdata)
{
	call *c = userdata;
	gh__pow *p = c->pow;
	json_t *object = object_of(answer, status);
	const char *state = json_string_value(json_object_get(object, "state"));
	const char *problem = json_string_value(json_object_get(object, "error"));
	gh__pow_group *g;

	(void)error;
	pthread_mutex_lock(&p->lock);
	g = group_of(c);
	if (g) {
		g->asking = false;
		g->next_look = gh__now() + (state ? look_every : retry_after);
	}
	if (g && state && c->network == p->network) {
		g->network = c->network;
		g->ready = strcmp(state, "ready") == 0;
		g->failed = strcmp(state, "failed") == 0;
		g->progress = json_number_value(json_object_get(object, "progress"));
		g->bytes = json_integer_value(json_object_get(object, "bytes"));
		/* What cannot be built is not asked for again and again: the service ends. */
		if (g->failed && !p->stop_at) {
			snprintf(p->problem, sizeof p->problem, "%s", problem ? problem : "failed");
			gh__error("pow", "worker %d: %s", c->index, p->problem);
			p->stop_at = gh__now();
		}
	}
	pthread_cond_signal(&p->news);
	pthread_mutex_unlock(&p->lock);
	json_decref(object);
	gh__free(c);
}

static void write_params(gh__buf *out, const gh_poc_params *p)
{
	gh__buf_printf(out,
		       "{\"dim\":%lld,\"n_layers\":%lld,\"n_heads\":%lld,\"n_kv_heads\":%lld,"
		       "\"vocab_size\":%lld,\"multiple_of\":%lld,\"seq_len\":%lld,"
		       "\"use_scaled_rope\":%s,\"ffn_dim_multiplier\":",
		       (long long)p->dim, (long long)p->n_layers, (long long)p->n_heads,
		       (long long)p->n_kv_heads, (long long)p->vocab_size,
		       (long long)p->multiple_of, (long long)p->seq_len,
		       p->use_scaled_rope ? "true" : "false");
	gh__json_write_double(out, p->ffn_dim_multiplier);
	gh__buf_append_str(out, ",\"norm_eps\":");
	gh__json_write_double(out, p->norm_eps);
	gh__buf_append_str(out, ",\"rope_theta\":");
	gh__json_write_double(out, p->rope_theta);
	gh__buf_append_char(out, '}');
}

static void write_text(gh__buf *out, const char *text)
{
	gh__json_write_string(out, text, strlen(text));
}

static void tell_round(gh__pow *p, int index)
{
	const gh__pow_round *r = &p->round->round;
	gh__buf body = GH__BUF_INIT(64 << 10);

	gh__buf_append_str(&body, "{\"block_hash\":");
	write_text(&body, r->block_hash);
	gh__buf_append_str(&body, ",\"params\":");
	write_params(&body, &r->params);
	gh__buf_printf(&body, ",\"budget\":%lld}", (long long)p->budget);
	p->groups[index].ready = false;
	p->groups[index].asking = start_call(p, index, "round", &body, control_timeout, on_state,
					     NULL, &(call){ .network = p->network });
}

static void look(gh__pow *p, int index)
{
	p->groups[index].asking = start_call(p, index, "status", NULL, control_timeout, on_state,
					     NULL, &(call){ .network = p->network });
}

static void on_told(const gh__http_answer *answer, gh_status status, const gh_error *error,
		    void *userdata)
{
	call *c = userdata;
	gh__pow_group *g;

	(void)answer, (void)error;
	pthread_mutex_lock(&c->pow->lock);
	g = group_of(c);
	if (g && status != GH_OK)
		g->finish_told = false;
	pthread_mutex_unlock(&c->pow->lock);
	gh__free(c);
}

static void tell_finish(gh__pow *p, int index)
{
	gh__buf body = GH__BUF_INIT(16);

	gh__buf_append_str(&body, "");
	p->groups[index].finish_told =
		start_call(p, index, "finish", &body, control_timeout, on_told, NULL, &(call){ 0 });
}

/* ---- generating ---- */

static bool on_lines(const void *data, size_t len, void *userdata)
{
	call *c = userdata;
	gh__pow *p = c->pow;
	bool room = true;
	gh__pow_group *g;

	pthread_mutex_lock(&p->lock);
	g = group_streaming(c);
	if (g) {
		room = g->inbox.len < INBOX_FULL;
		if (room)
			gh__buf_append(&g->inbox, data, len);
	}
	pthread_cond_signal(&p->news);
	pthread_mutex_unlock(&p->lock);
	return room;
}

/* Bytes of the lines that have come whole. */
static size_t whole_lines(const gh__buf *inbox)
{
	const char *end = inbox->len ? memrchr(inbox->data, '\n', inbox->len) : NULL;

	return end ? (size_t)(end - inbox->data) + 1 : 0;
}

/* What was cut short is no line. */
static void keep_whole_lines(gh__buf *inbox)
{
	if (inbox->len == 0)
		return;
	inbox->len = whole_lines(inbox);
	inbox->data[inbox->len] = '\0';
}

static void on_stream_end(const gh__http_answer *answer, gh_status status, const gh_error *error,
			  void *userdata)
{
	call *c = userdata;
	gh__pow *p = c->pow;
	gh__pow_group *g;

	pthread_mutex_lock(&p->lock);
	g = group_streaming(c);
	if (g) {
		g->streaming = g->finish_told = false;
		g->call = NULL;
		keep_whole_lines(&g->inbox);
		if (status != GH_OK || answer->status != 200) {
			g->retry_at = gh__now() + retry_after;
			if (status != GH_ECANCELLED)
				gh__warn("pow", "worker %d: generating ended: %s", c->index,
					 status == GH_OK ? "refused" : error->text);
		}
	}
	pthread_cond_signal(&p->news);
	pthread_mutex_unlock(&p->lock);
	gh__free(c);
}

/* Lock held, released meanwhile: the spool is asked where to go on. */
static void generate(gh__pow *p, int index)
{
	gh__pow_group *g = &p->groups[index];
	gh__pow_held *h = gh__pow_hold(p->round);
	const gh__pow_round *r = &h->round;
	uint64_t birth = g->birth, sequence = p->sequence, from = 0;
	int groups = p->group_count;
	gh_error error = GH_ERROR_INIT;
	gh__buf body = GH__BUF_INIT(64 << 10);
	gh__proof_round whose;
	gh_status status;

	pthread_mutex_unlock(&p->lock);
	whose = gh__pow_whose(r);
	status = gh__spool_next(p->options.spool, &whose, r->node_count, index, groups, &from,
				&error);
	gh__buf_append_str(&body, "{\"public_key\":");
	write_text(&body, r->public_key);
	gh__buf_append_str(&body, ",\"r_target\":");
	gh__json_write_double(&body, r->r_target);
	gh__buf_printf(&body,
		       ",\"node_id\":%lld,\"node_count\":%lld,\"group\":%d,\"groups\":%d,"
		       "\"index\":%llu}",
		       (long long)r->node_id, (long long)r->node_count, index, groups,
		       (unsigned long long)from);
	pthread_mutex_lock(&p->lock);
	if (status != GH_OK)
		snprintf(p->problem, sizeof p->problem, "%s", error.text);
	if (status != GH_OK || g->birth != birth || p->sequence != sequence ||
	    groups != p->group_count) {
		g->retry_at = gh__now() + (status == GH_OK ? 0 : retry_after);
		gh__buf_free(&body);
		gh__pow_release(h);
		return;
	}
	g->stream = ++p->streams;
	g->streaming = start_call(p, index, "generate", &body, 0, on_stream_end, on_lines,
				  &(call){ .stream = g->stream });
	if (!g->streaming) {
		gh__pow_release(h);
		return;
	}
	gh__pow_release(g->of);
	g->of = h;
	g->sequence = sequence;
	g->finish_told = false;
}

/* One line of a worker: what was tried, and what of it hits. No lock. False: it is not stored. */
static bool take_line(gh__pow *p, const gh__pow_round *r, int index, int groups, const char *line,
		      size_t len, uint64_t *tried, uint64_t *hits)
{
	json_t *object = gh__json_parse(line, len, false, NULL);
	const json_t *nonces = json_object_get(object, "nonces");
	const json_t *dist = json_object_get(object, "dist");
	const char *problem = json_string_value(json_object_get(object, "error"));
	size_t count = json_array_size(nonces), added = 0;
	int64_t from = json_integer_value(json_object_get(object, "index"));
	int64_t done = json_integer_value(json_object_get(object, "tried"));
	int64_t *numbers = gh__calloc(count + 1, sizeof *numbers);
	double *distances = gh__calloc(count + 1, sizeof *distances);
	const gh__proof_round whose = gh__pow_whose(r);
	gh_error error = GH_ERROR_INIT;
	gh_status status = GH_OK;

	if (problem) {
		gh__warn("pow", "worker %d: %s", index, problem);
	} else if (!numbers || !distances || count > LINE_HITS_MAX ||
		   count != json_array_size(dist) || done < 1) {
		gh__error("pow", "worker %d: a line that is none: %.100s", index, line);
		status = GH_EFORMAT;
	} else {
		for (size_t i = 0; i < count; i++) {
			numbers[i] = json_integer_value(json_array_get(nonces, i));
			distances[i] = json_number_value(json_array_get(dist, i));
		}
		if (count)
			status = gh__spool_add(p->options.spool, &whose, numbers, distances, count,
					       &added, &error);
		/* Behind the proofs: what is not stored is tried again. */
		if (status == GH_OK)
			status = gh__spool_advance(p->options.spool, &whose, r->node_count, index,
						   groups, (uint64_t)(from + done), &error);
		if (status != GH_OK)
			gh__error("pow", "proofs are not stored: %s", error.text);
		else
			*tried += (uint64_t)done;
		*hits += added;
	}
	gh__free(numbers);
	gh__free(distances);
	json_decref(object);
	return status == GH_OK;
}

/* Lock held. Nothing more of it is taken. */
static void drop_stream(gh__pow *p, gh__pow_group *g)
{
	if (g->call)
		gh__http_call_cancel(p->options.client, g->call);
	g->call = NULL;
	g->stream = 0;
	g->streaming = g->finish_told = false;
	gh__buf_reset(&g->inbox);
}

void gh__pow_take_lines(gh__pow *p, int index)
{
	gh__pow_group *g = &p->groups[index];
	size_t len = whole_lines(&g->inbox);
	char *text = len ? gh__memdup(g->inbox.data, len) : NULL;
	uint64_t tried = 0, hits = 0, stream = g->stream;
	gh__http_call *paused = g->call;
	int groups = p->group_count;
	bool stored = true;
	gh__pow_held *h;

	if (!text || !g->of) {
		gh__free(text);
		return;
	}
	h = gh__pow_hold(g->of);
	gh__buf_consume(&g->inbox, len);
	pthread_mutex_unlock(&p->lock);
	for (char *line = text; stored && line < text + len;) {
		char *stop = memchr(line, '\n', (size_t)(text + len - line));

		*stop = '\0';
		stored = take_line(p, &h->round, index, groups, line, (size_t)(stop - line), &tried,
				   &hits);
		line = stop + 1;
	}
	gh__free(text);
	if (paused)
		gh__http_call_resume(p->options.client, paused);
	pthread_mutex_lock(&p->lock);
	/* What comes behind a line that was not stored would count it as tried. */
	if (!stored && g->stream == stream) {
		drop_stream(p, g);
		g->retry_at = gh__now() + retry_after;
	}
	p->tried += tried;
	p->hits += hits;
	gh__pow_release(h);
}

/* ---- judging ---- */

static void on_piece(const gh__http_answer *answer, gh_status status, const gh_error *error,
		     void *userdata)
{
	call *c = userdata;
	gh__pow *p = c->pow;
	json_t *object = object_of(answer, status);
	gh__pow_group *g;

	(void)error;
	pthread_mutex_lock(&p->lock);
	g = group_of(c);
	if (g)
		g->computing = false;
	gh__claim_give(c->claim, c->first, c->count, object);
	pthread_cond_signal(&p->news);
	pthread_mutex_unlock(&p->lock);
	json_decref(object);
	gh__free(c);
}

static void compute(gh__pow *p, int index)
{
	for (gh__claim *c = p->claims; c; c = c->next) {
		gh__buf body = GH__BUF_INIT(1 << 20);
		size_t first, count;

		if (!gh__claim_take(c, &first, &count))
			continue;
		gh__claim_ask(&body, c, first, count);
		p->groups[index].computing =
			start_call(p, index, "distances", &body, 0, on_piece, NULL,
				   &(call){ .claim = c, .first = first, .count = count });
		if (!p->groups[index].computing)
			gh__claim_give(c, first, count, NULL);
		return;
	}
}

void gh__pow_forget(gh__pow *p, int index)
{
	gh__pow_group *g = &p->groups[index];

	drop_stream(p, g);
	gh__buf_free(&g->inbox);
	gh__pow_release(g->of);
	*g = (gh__pow_group){ .inbox = GH__BUF_INIT(GH__POW_INBOX_MAX) };
}

void gh__pow_drive(gh__pow *p, int index, int64_t now)
{
	gh__pow_group *g = &p->groups[index];
	gh__worker_lease worker;

	gh__pow_take_lines(p, index);
	if (!gh__supervisor_prover(p->options.supervisor, index, &worker)) {
		if (g->birth)
			gh__pow_forget(p, index);
		return;
	}
	if (g->birth != worker.birth) {
		gh__pow_forget(p, index);
		g->birth = worker.birth;
		memcpy(g->socket, worker.socket, sizeof g->socket);
	}
	if (!p->round)
		return;
	if (g->streaming && !g->finish_told &&
	    (p->phase != GH__POW_GENERATE || g->sequence != p->sequence || p->stop_at))
		tell_finish(p, index);
	if (g->asking || p->stop_at)
		return;
	if (g->network != p->network) {
		if (gh__pow_has_room(p, worker.generation))
			tell_round(p, index);
	} else if (!g->ready && now >= g->next_look) {
		look(p, index);
	} else if (g->ready && !g->streaming && !g->inbox.len && p->phase == GH__POW_GENERATE &&
		   now >= g->retry_at) {
		generate(p, index); /* behind the lines of the stream before, which are its own */
	} else if (g->ready && !g->streaming && !g->computing && p->phase == GH__POW_VALIDATE) {
		compute(p, index);
	}
}
