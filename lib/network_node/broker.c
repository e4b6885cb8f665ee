#include "network_node/broker.h"

#include <stdio.h>
#include <string.h>

#include "base/address.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/thread.h"
#include "network_node/entry.h"
#include "registry/node.h"

enum { NODES_MAX = 4096, ANSWER_MAX = 1 << 20 };

struct gh__broker {
	gh__http_client *client; /* borrowed */
	pthread_mutex_t lock;
	pthread_cond_t wake;
	pthread_t thread;
	gh__entry *entries;
	size_t count;
	bool news; /* something came in since the thread's last pass began */
	bool closing;
};

static void tell(gh__broker *broker)
{
	broker->news = true;
	pthread_cond_signal(&broker->wake);
}

/* ---- entries; with the lock held ---- */

static void ask_done(gh__ask *ask)
{
	gh__free(ask->body);
}

static void entry_release(gh__entry *entry)
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
	gh__free(entry);
}

static gh__entry *find(const gh__broker *broker, const char *id)
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
	unsigned moves; /* of the entry, then */
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
	if (t->moves == t->entry->moves)
		put_answer(t->ask, answer, body, status, error);
	else
		gh__free(body);
	tell(broker);
	entry_release(t->entry);
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
	w->ticket->moves = entry->moves;
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
	tell(broker);
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
		entry_release(entry);
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

/* What is known, and what is under way, is of another place: the node serves nothing at this one
 * before it has been seen there. */
static void move(gh__entry *entry)
{
	entry->moves++;
	ask_done(&entry->look);
	ask_done(&entry->order);
	entry->look = entry->order = (gh__ask){ 0 };
	gh__free(entry->loaded_model);
	gh__free(entry->ordered);
	entry->loaded_model = entry->ordered = NULL;
	entry->unhealthy_since = 0;
}

/* Whoever leased or asked keeps the entry; the record under it is the new one. */
static void update(gh__entry *entry, gh_node *node)
{
	if (!same_place(entry->node, node))
		move(entry);
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
	entry = find(broker, copy->id);
	if (entry)
		update(entry, copy);
	else
		status = add(broker, copy, error);
	tell(broker);
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
		entry_release(entry);
		break;
	}
	pthread_mutex_unlock(&broker->lock);
}

void gh__broker_enable(gh__broker *broker, const char *id, bool enabled, uint64_t epoch)
{
	gh__entry *entry;

	pthread_mutex_lock(&broker->lock);
	entry = find(broker, id);
	if (entry) {
		entry->node->enabled = enabled;
		entry->node->admin_epoch = epoch;
	}
	pthread_mutex_unlock(&broker->lock);
}

/* ---- what the admin API shows ---- */

static json_t *state_object(const gh__entry *entry)
{
	char since[GH__RFC3339_SIZE], look[GH__RFC3339_SIZE];
	json_t *state = json_object();

	gh__rfc3339(since, entry->status_since);
	json_object_set_new(state, "intended_status",
			    json_string(gh__node_status_name(entry->intended)));
	json_object_set_new(state, "current_status",
			    json_string(gh__node_status_name(entry->current)));
	if (entry->order.kind != GH__ASK_NONE)
		json_object_set_new(state, "reconcile_info",
				    json_pack("{s:i, s:s, s:i}", "status", (int)entry->intended,
					      "poc_status", "IDLE", "training_task_id", 0));
	json_object_set_new(state, "poc_intended_status", json_string("IDLE"));
	json_object_set_new(state, "poc_current_status", json_string("IDLE"));
	json_object_set_new(state, "lock_count", json_integer(entry->locks));
	json_object_set_new(state, "failure_reason", json_string(entry->failure));
	json_object_set_new(state, "status_timestamp", json_string(since));
	json_object_set_new(state, "admin_state",
			    json_pack("{s:b, s:I}", "enabled", (int)entry->node->enabled, "epoch",
				      (json_int_t)entry->node->admin_epoch));
	json_object_set_new(state, "epoch_models", json_object());
	json_object_set_new(state, "epoch_ml_nodes", json_object());
	json_object_set_new(state, "loaded_model",
			    entry->loaded_model ? json_string(entry->loaded_model) : json_null());
	gh__rfc3339(look, entry->last_look);
	json_object_set_new(state, "last_seen", entry->last_look ? json_string(look) : json_null());
	return state;
}

json_t *gh__broker_state(gh__broker *broker, const char *id)
{
	json_t *state = NULL;
	gh__entry *entry;

	pthread_mutex_lock(&broker->lock);
	entry = find(broker, id);
	if (entry)
		state = state_object(entry);
	pthread_mutex_unlock(&broker->lock);
	return state;
}

static void add_once(json_t *ids, const char *id)
{
	const json_t *known;
	size_t i;

	json_array_foreach(ids, i, known) if (strcmp(json_string_value(known), id) == 0) return;
	json_array_append_new(ids, json_string(id));
}

json_t *gh__broker_models(gh__broker *broker, bool loaded_only)
{
	json_t *ids = json_array();
	const gh__entry *entry;
	size_t i;

	pthread_mutex_lock(&broker->lock);
	for (entry = broker->entries; entry; entry = entry->next) {
		if (!loaded_only)
			for (i = 0; i < entry->node->model_count; i++)
				add_once(ids, entry->node->models[i].id);
		else if (entry->loaded_model)
			add_once(ids, entry->loaded_model);
	}
	pthread_mutex_unlock(&broker->lock);
	return ids;
}

/* ---- leases ---- */

struct gh__lease {
	gh__entry *entry; /* a reference */
	char *url, *token, *node;
	bool counts;
};

static bool avoided(const gh__entry *entry, gh__lease *const *avoid)
{
	for (; avoid && *avoid; avoid++)
		if ((*avoid)->entry == entry)
			return true;
	return false;
}

/* Without a chain the latest epoch stays 0, and an operator's switch bites at the next proof of
 * compute: until then a disabled node goes on serving. */
static bool eligible(const gh__entry *entry, const char *model)
{
	return entry->intended == GH__NODE_INFERENCE && entry->current == GH__NODE_INFERENCE &&
	       entry->order.kind == GH__ASK_NONE && entry->loaded_model &&
	       entry->locks < entry->node->max_concurrent &&
	       (!model || strcmp(model, entry->loaded_model) == 0);
}

static gh__entry *choose(gh__broker *broker, const char *model, gh__lease *const *avoid)
{
	gh__entry *entry, *best = NULL;

	for (entry = broker->entries; entry; entry = entry->next)
		if (eligible(entry, model) && !avoided(entry, avoid) &&
		    (!best || entry->locks < best->locks))
			best = entry;
	return best;
}

gh__lease *gh__broker_lease(gh__broker *broker, const char *model, gh__lease *const *avoid)
{
	gh__lease *lease = gh__calloc(1, sizeof *lease);
	gh__entry *entry;

	if (!lease)
		return NULL;
	pthread_mutex_lock(&broker->lock);
	entry = choose(broker, model, avoid);
	if (entry) {
		lease->entry = entry;
		lease->url = gh__node_inference_url(entry->node);
		lease->token = gh__strdup(entry->node->auth_token);
		lease->node = gh__strdup(entry->node->id);
		lease->counts = true;
		entry->locks++;
		entry->references++;
	}
	pthread_mutex_unlock(&broker->lock);
	if (!entry) {
		gh__free(lease);
		return NULL;
	}
	if (!lease->url || !lease->token || !lease->node) {
		gh__lease_free(lease);
		return NULL;
	}
	return lease;
}

const char *gh__lease_url(const gh__lease *lease)
{
	return lease->url;
}

const char *gh__lease_token(const gh__lease *lease)
{
	return lease->token;
}

const char *gh__lease_node(const gh__lease *lease)
{
	return lease->node;
}

void gh__lease_return(gh__lease *lease, bool failed)
{
	gh__entry *entry = lease->entry;
	gh__broker *broker = entry->broker;

	if (!lease->counts)
		return;
	pthread_mutex_lock(&broker->lock);
	lease->counts = false;
	entry->locks--;
	if (failed) {
		entry->look_wanted = true;
		tell(broker);
	}
	pthread_mutex_unlock(&broker->lock);
}

void gh__lease_free(gh__lease *lease)
{
	gh__broker *broker;

	if (!lease)
		return;
	gh__lease_return(lease, false);
	broker = lease->entry->broker;
	pthread_mutex_lock(&broker->lock);
	entry_release(lease->entry);
	pthread_mutex_unlock(&broker->lock);
	gh__free(lease->url);
	gh__free(lease->token);
	gh__free(lease->node);
	gh__free(lease);
}
