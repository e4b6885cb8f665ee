#include "network_node/broker.h"

#include <stdio.h>
#include <string.h>

#include "base/address.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/thread.h"
#include "network_node/broker_entries.h"
#include "registry/node.h"

enum { NODES_MAX = 4096, ANSWER_MAX = 1 << 20 };

void gh__broker_tell(gh__broker *broker)
{
	broker->news = true;
	pthread_cond_signal(&broker->wake);
}

/* ---- entries; with the lock held ---- */

static void ask_done(gh__ask *ask)
{
	gh__free(ask->body);
}

void gh__entry_release(gh__entry *entry)
{
	if (--entry->references)
		return;
	ask_done(&entry->look);
	ask_done(&entry->order);
	gh__free(entry->node);
	gh__free(entry->loaded_model);
	gh__free(entry->seen_model);
	gh__free(entry->seen_args);
	gh__free(entry->ordered);
	gh__round_release(entry->round);
	gh__free(entry);
}

gh__entry *gh__broker_find(const gh__broker *broker, const char *id)
{
	gh__entry *entry;

	for (entry = broker->entries; entry; entry = entry->next)
		if (strcmp(entry->node->id, id) == 0)
			return entry;
	return NULL;
}

static void append(gh__broker *broker, gh__entry *entry)
{
	gh__entry **at = &broker->entries;

	while (*at)
		at = &(*at)->next;
	*at = entry;
	broker->count++;
}

/* ---- calls: started unlocked, their results read by the broker's thread ---- */

/* Which ask of which entry a call belongs to; holds a reference. */
typedef struct ticket {
	gh__entry *entry;
	gh__ask *ask;
	unsigned turns; /* of the entry, then */
} ticket;

/* Takes body. */
static void put_answer(gh__ask *ask, const gh__http_answer *answer, char *body, gh_status status,
		       const gh_error *error)
{
	ask->under_way = false;
	ask->status = status == GH_OK ? answer->status : 0;
	ask->refused = answer->refused;
	ask->body = body;
	if (status != GH_OK)
		snprintf(ask->problem, sizeof ask->problem, "%s", error->text);
	ask->done = true;
}

static void on_answer(const gh__http_answer *answer, gh_status status, const gh_error *error,
		      void *userdata)
{
	ticket *t = userdata;
	gh__broker *broker = t->entry->broker;
	char *body = answer->body ? gh__strndup(answer->body, answer->len) : NULL;

	pthread_mutex_lock(&broker->lock);
	if (t->turns == t->entry->turns)
		put_answer(t->ask, answer, body, status, error);
	else
		gh__free(body);
	gh__broker_tell(broker);
	gh__entry_release(t->entry);
	pthread_mutex_unlock(&broker->lock);
	gh__free(t);
}

/* A call could not even be started: the same as no answer. */
static void not_started(ticket *t, const gh_error *error)
{
	gh__http_answer none = { 0 };

	on_answer(&none, GH_ENET, error, t);
}

static gh_status call_start(gh__broker *broker, ticket *t, const gh__ask_request *request,
			    gh_error *error)
{
	const char *headers[] = { "Content-Type: application/json", request->authorization, NULL };
	gh__http_call_options options = {
		.method = request->method,
		.url = request->url,
		.headers = request->body ? headers : headers + 1,
		.body = request->body,
		.body_len = request->body ? strlen(request->body) : 0,
		.total_timeout = request->total_timeout,
		.answer_max = ANSWER_MAX,
		.on_done = on_answer,
		.userdata = t,
	};

	return gh__http_call_start(broker->client, &options, NULL, error);
}

/* What the drivers want asked, taken out from under the lock. */
typedef struct wanted {
	ticket *ticket;
	gh__ask_request request;
	gh_error error;
	gh_status status;
} wanted;

static void collect(gh__entry *entry, gh__ask *ask, wanted *list, size_t *count)
{
	wanted *w = &list[*count];

	if (ask->kind == GH__ASK_NONE || ask->under_way || ask->done)
		return;
	memset(w, 0, sizeof *w);
	w->ticket = gh__malloc(sizeof *w->ticket);
	if (!w->ticket)
		return;
	w->ticket->entry = entry;
	w->ticket->ask = ask;
	w->ticket->turns = entry->turns;
	w->status = gh__driver_request(entry, ask, &w->request, &w->error);
	ask->under_way = true;
	entry->references++;
	(*count)++;
}

static void start(gh__broker *broker, wanted *w)
{
	if (w->status == GH_OK)
		w->status = call_start(broker, w->ticket, &w->request, &w->error);
	if (w->status != GH_OK)
		not_started(w->ticket, &w->error);
	gh__ask_request_done(&w->request);
}

enum { BATCH = 64 };

/* One pass over all entries; answers when the next is due. */
static int64_t pass(gh__broker *broker)
{
	wanted list[BATCH];
	size_t count = 0, i;
	int64_t now = gh__now(), next = now + 60 * GH__SECOND;
	gh__entry *entry;

	for (entry = broker->entries; entry && count + 2 <= BATCH; entry = entry->next) {
		int64_t due = gh__driver_step(entry, now);

		next = due < next ? due : next;
		collect(entry, &entry->order, list, &count);
		collect(entry, &entry->look, list, &count);
	}
	if (entry)
		next = now;
	if (count) {
		pthread_mutex_unlock(&broker->lock);
		for (i = 0; i < count; i++)
			start(broker, &list[i]);
		pthread_mutex_lock(&broker->lock);
	}
	return next;
}

static void run(void *arg)
{
	gh__broker *broker = arg;

	pthread_mutex_lock(&broker->lock);
	while (!broker->closing) {
		int64_t next;

		broker->news = false;
		next = pass(broker); /* unlocks meanwhile: answers may have come in */
		while (!broker->closing && !broker->news && gh__now() < next)
			gh__cond_wait_until(&broker->wake, &broker->lock, next);
	}
	pthread_mutex_unlock(&broker->lock);
}

/* ---- life ---- */

gh_status gh__broker_create(gh__broker **out, gh__http_client *client, gh_error *error)
{
	gh__broker *broker = gh__calloc(1, sizeof *broker);
	gh_status status;

	if (!broker)
		return gh__fail_nomem(error);
	broker->client = client;
	pthread_mutex_init(&broker->lock, NULL);
	status = gh__cond_init(&broker->wake);
	if (status == GH_OK)
		status = gh__thread_start(&broker->thread, "gh-broker", run, broker, error);
	if (status != GH_OK) {
		gh__free(broker);
		return status;
	}
	*out = broker;
	return GH_OK;
}

void gh__broker_stop(gh__broker *broker)
{
	pthread_mutex_lock(&broker->lock);
	broker->closing = true;
	gh__broker_tell(broker);
	pthread_mutex_unlock(&broker->lock);
	pthread_join(broker->thread, NULL);
}

void gh__broker_free(gh__broker *broker)
{
	gh__entry *entry;

	if (!broker)
		return;
	while ((entry = broker->entries)) {
		broker->entries = entry->next;
		gh__entry_release(entry);
	}
	pthread_cond_destroy(&broker->wake);
	pthread_mutex_destroy(&broker->lock);
	gh__free(broker);
}

/* ---- registration ---- */

static gh_status add(gh__broker *broker, gh_node *node, gh_error *error)
{
	gh__entry *entry;

	if (broker->count >= NODES_MAX)
		return gh__fail(error, GH_ETOOBIG, "broker: more than %d nodes", NODES_MAX);
	entry = gh__calloc(1, sizeof *entry);
	if (!entry)
		return gh__fail_nomem(error);
	entry->broker = broker;
	entry->references = 1;
	entry->node = node;
	entry->intended = GH__NODE_INFERENCE;
	entry->current = GH__NODE_UNKNOWN;
	entry->status_since = gh__wall();
	append(broker, entry);
	return GH_OK;
}

static bool same_place(const gh_node *a, const gh_node *b)
{
	return strcmp(a->host, b->host) == 0 && a->inference_port == b->inference_port &&
	       a->poc_port == b->poc_port &&
	       strcmp(a->inference_segment, b->inference_segment) == 0 &&
	       strcmp(a->poc_segment, b->poc_segment) == 0 && strcmp(a->base_url, b->base_url) == 0;
}

/* Whoever leased or asked keeps the entry; the record under it is the new one. */
static void update(gh__entry *entry, gh_node *node)
{
	/* At another place it serves nothing before it has been seen there. */
	if (!same_place(entry->node, node))
		gh__entry_turn(entry);
	node->number = entry->node->number;
	node->enabled = entry->node->enabled;
	node->admin_epoch = entry->node->admin_epoch;
	gh__free(entry->node);
	entry->node = node;
	entry->retry_at = 0;
	entry->failed_orders = entry->failed_looks = 0;
	entry->look_wanted = true;
}

gh_status gh__broker_put(gh__broker *broker, const gh_node *node, gh_error *error)
{
	gh_node *copy;
	gh__entry *entry;
	gh_status status = gh__node_copy_clean(&copy, node, error);

	if (status != GH_OK)
		return status;
	if (gh__address_public(copy->host))
		gh__warn(
			"broker",
			"node %s has a public address: whoever reaches its ports drives it host=%s",
			copy->id, copy->host);
	pthread_mutex_lock(&broker->lock);
	entry = gh__broker_find(broker, copy->id);
	if (entry)
		update(entry, copy);
	else
		status = add(broker, copy, error);
	gh__broker_tell(broker);
	pthread_mutex_unlock(&broker->lock);
	if (status != GH_OK)
		gh__free(copy);
	return status;
}

void gh__broker_remove(gh__broker *broker, const char *id)
{
	gh__entry **at, *entry;

	pthread_mutex_lock(&broker->lock);
	for (at = &broker->entries; (entry = *at); at = &entry->next) {
		if (strcmp(entry->node->id, id) != 0)
			continue;
		*at = entry->next;
		broker->count--;
		gh__entry_release(entry);
		break;
	}
	pthread_mutex_unlock(&broker->lock);
}

void gh__broker_enable(gh__broker *broker, const char *id, bool enabled, uint64_t epoch)
{
	gh__entry *entry;

	pthread_mutex_lock(&broker->lock);
	entry = gh__broker_find(broker, id);
	if (entry) {
		entry->node->enabled = enabled;
		entry->node->admin_epoch = epoch;
	}
	pthread_mutex_unlock(&broker->lock);
}
