#include "network_node/entry.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "json/json.h"

/*
 * How one node is driven: look (state, then health and the loaded model, or what it proves), judge,
 * give an order.
 *
 * A look never waits for an order, so that the admin API shows a node that loads for minutes as it
 * is; an order never waits for a look that hangs.
 *
 * A node that serves is taken at its word, but not at its silence: a look that brings nothing, or
 * that its server is not ready, takes it out of service when the next one does so too. Only where
 * nobody listens for inference any more there is nothing to wait for.
 */

#define SECONDS(n) ((n)*GH__SECOND)

enum { FAILED_LOOKS = 2 /* in a row, until a node is out of service */, BACKOFF_MAX = 60 };

static const int64_t look_settled = SECONDS(5);
static const int64_t look_unsettled = SECONDS(1);
static const int64_t look_failing = SECONDS(2);
static const int64_t look_hurried = SECONDS(1) / 5; /* from one look to the next, with news */
static const int64_t patience = SECONDS(600);       /* with a server that others are loading */

const char *gh__node_status_name(gh__node_status status)
{
	static const char *const names[] = { "UNKNOWN",  "INFERENCE", "POC",
					     "TRAINING", "STOPPED",   "FAILED" };

	return names[status];
}

static void set_status(gh__entry *entry, gh__node_status status)
{
	if (entry->current == status)
		return;
	gh__info("broker", "node %s: %s -> %s", entry->node->id,
		 gh__node_status_name(entry->current), gh__node_status_name(status));
	entry->current = status;
	entry->status_since = gh__wall();
}

static void set_text(char **to, const char *text)
{
	gh__free(*to);
	*to = text ? gh__strdup(text) : NULL;
}

void gh__ask_set(gh__ask *ask, gh__ask_kind kind)
{
	gh__free(ask->body);
	memset(ask, 0, sizeof *ask);
	ask->kind = kind;
}

void gh__entry_turn(gh__entry *entry)
{
	entry->turns++;
	gh__ask_set(&entry->look, GH__ASK_NONE);
	gh__ask_set(&entry->order, GH__ASK_NONE);
	set_text(&entry->loaded_model, NULL);
	set_text(&entry->ordered, NULL);
	entry->poc_told = GH__POC_IDLE;
	entry->unhealthy_since = 0;
	entry->retry_at = 0;
	entry->failed_orders = entry->failed_looks = 0;
	entry->look_wanted = true;
}

static bool same(const char *a, const char *b)
{
	return a && b && strcmp(a, b) == 0;
}

static void fail(gh__entry *entry, const char *format, ...) GH_PRINTF(2, 3);

static void fail(gh__entry *entry, const char *format, ...)
{
	char text[sizeof entry->failure];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	if (strcmp(text, entry->failure) != 0)
		gh__warn("broker", "node %s: %s", entry->node->id, text);
	memcpy(entry->failure, text, sizeof text);
	set_status(entry, GH__NODE_FAILED);
	set_text(&entry->loaded_model, NULL);
}

/* ---- what the node is to serve ---- */

static char *order_text(const gh_node_model *model)
{
	json_t *order = json_pack("[s, o]", model->id, gh__entry_args(model));
	char *text = order ? gh__json_text(order, NULL) : NULL;

	json_decref(order);
	return text;
}

/* Serves what is wanted: the model, and its arguments as far as anybody tells them. */
static bool as_wanted(const gh__entry *entry, const gh_node_model *model)
{
	json_t *args;
	char *text, *order;
	bool ok = true;

	if (!gh__entry_names(model, entry->seen_model))
		return false;
	args = gh__entry_args(model);
	text = args ? gh__json_text(args, NULL) : NULL;
	order = order_text(model);
	if (entry->seen_args)
		ok = same(entry->seen_args, text);
	else if (entry->ordered)
		ok = same(entry->ordered, order);
	gh_free(text);
	gh_free(order);
	json_decref(args);
	return ok;
}

/* Was ordered to serve just that. */
static bool told(const gh__entry *entry, const gh_node_model *model)
{
	char *order = order_text(model);
	bool yes = same(entry->ordered, order);

	gh_free(order);
	return yes;
}

/* ---- reading what a look brought ---- */

static gh__node_status status_of(const char *state)
{
	if (same(state, "INFERENCE"))
		return GH__NODE_INFERENCE;
	if (same(state, "POW"))
		return GH__NODE_POC;
	if (same(state, "TRAIN"))
		return GH__NODE_TRAINING;
	if (same(state, "STOPPED"))
		return GH__NODE_STOPPED;
	return GH__NODE_UNKNOWN;
}

static json_t *answer_object(const gh__ask *ask)
{
	json_t *value =
		ask->body ? gh__json_parse(ask->body, strlen(ask->body), false, NULL) : NULL;

	if (value && !json_is_object(value)) {
		json_decref(value);
		value = NULL;
	}
	return value;
}

/* A look that brought nothing usable. */
static void look_failed(gh__entry *entry, const char *what, int64_t now)
{
	const gh__ask *look = &entry->look;

	entry->failed_looks++;
	if (entry->failed_looks >= FAILED_LOOKS || entry->current == GH__NODE_UNKNOWN) {
		if (look->status)
			fail(entry, "%s answered with status %d", what, look->status);
		else
			fail(entry, "%s: %s", what, look->problem);
	}
	gh__ask_set(&entry->look, GH__ASK_NONE);
	entry->next_look = now + look_failing;
}

/* The answer to a look, read: true when the look is over and to be judged. */
static bool read_state(gh__entry *entry, int64_t now)
{
	json_t *answer = entry->look.status == 200 ? answer_object(&entry->look) : NULL;
	const char *state = json_string_value(json_object_get(answer, "state"));
	const json_t *args = json_object_get(answer, "loaded_args");
	char *text;

	if (!state) {
		if (entry->look.status == 200)
			snprintf(entry->look.problem, sizeof entry->look.problem,
				 "expected an object with a state");
		entry->look.status = entry->look.status == 200 ? 0 : entry->look.status;
		json_decref(answer);
		look_failed(entry, "/api/v1/state", now);
		return false;
	}
	entry->last_look = gh__wall();
	entry->seen = status_of(state);
	set_text(&entry->seen_model, json_string_value(json_object_get(answer, "loaded_model")));
	text = json_is_array(args) ? gh__json_text(args, NULL) : NULL;
	set_text(&entry->seen_args, text);
	gh_free(text);
	json_decref(answer);
	entry->seen_healthy = false;
	entry->poc_seen = (gh__poc_seen){ .tried = -1, .unsent = -1, .at = now };
	if (entry->seen == GH__NODE_INFERENCE)
		gh__ask_set(&entry->look, GH__ASK_HEALTH);
	else if (entry->round && (entry->seen == GH__NODE_POC || gh__driver_told(entry)))
		gh__ask_set(&entry->look, GH__ASK_POC_STATUS);
	else
		gh__ask_set(&entry->look, GH__ASK_NONE);
	return entry->look.kind == GH__ASK_NONE;
}

static bool serves(const gh__entry *entry)
{
	return entry->current == GH__NODE_INFERENCE && entry->loaded_model;
}

static bool not_ready(gh__entry *entry, const char *path, int64_t now)
{
	bool refused = entry->look.refused;

	entry->unready = path;
	entry->unready_status = entry->look.status;
	gh__ask_set(&entry->look, GH__ASK_NONE);
	if (!serves(entry) || refused || ++entry->failed_looks >= FAILED_LOOKS)
		return true;
	entry->next_look = now + look_unsettled;
	return false;
}

static bool read_health(gh__entry *entry, int64_t now)
{
	if (entry->look.status != 200)
		return not_ready(entry, "/health", now);
	gh__ask_set(&entry->look, GH__ASK_MODELS);
	return false;
}

static bool read_proving(gh__entry *entry, int64_t now)
{
	if (entry->look.status != 200) {
		look_failed(entry, gh__driver_path(&entry->look), now);
		return false;
	}
	gh__driver_read_poc(entry, now);
	gh__ask_set(&entry->look, GH__ASK_NONE);
	return true;
}

static bool read_models(gh__entry *entry, int64_t now)
{
	json_t *answer = entry->look.status == 200 ? answer_object(&entry->look) : NULL;
	const json_t *first = json_array_get(json_object_get(answer, "data"), 0);
	const char *id = json_string_value(json_object_get(first, "id"));

	if (id)
		set_text(&entry->seen_model, id);
	json_decref(answer);
	if (!entry->seen_model)
		return not_ready(entry, "/v1/models", now);
	entry->seen_healthy = true;
	gh__ask_set(&entry->look, GH__ASK_NONE);
	return true;
}

/* ---- orders ---- */

static void back_off(gh__entry *entry, int64_t now)
{
	int wait = 1 << (entry->failed_orders < 6 ? entry->failed_orders : 6);

	entry->failed_orders++;
	entry->retry_at = now + SECONDS(wait < BACKOFF_MAX ? wait : BACKOFF_MAX);
	entry->next_look = now + look_unsettled;
	set_text(&entry->ordered, NULL);
}

static void order_failed(gh__entry *entry, int64_t now)
{
	back_off(entry, now);
	gh__ask_set(&entry->order, GH__ASK_NONE);
}

/* The way from where the node is to what is intended. */
static gh__ask_kind next_order(const gh__entry *entry)
{
	bool proves = entry->seen == GH__NODE_POC && entry->intended == GH__NODE_POC;

	if (entry->seen != GH__NODE_STOPPED && !proves)
		return GH__ASK_STOP;
	if (entry->intended == GH__NODE_INFERENCE)
		return GH__ASK_UP;
	if (entry->intended != GH__NODE_POC)
		return GH__ASK_NONE;
	return entry->poc_intended == GH__POC_GENERATING ? GH__ASK_GENERATE : GH__ASK_VALIDATE;
}

static void read_stop(gh__entry *entry, int64_t now)
{
	if (entry->order.status / 100 != 2) {
		fail(entry, "/api/v1/stop: %s",
		     entry->order.status ? "refused" : entry->order.problem);
		order_failed(entry, now);
		return;
	}
	entry->seen = GH__NODE_STOPPED;
	gh__ask_set(&entry->order, next_order(entry));
	entry->next_look = now;
}

static void read_up(gh__entry *entry, int64_t now)
{
	json_t *answer = entry->order.status / 100 == 2 ? answer_object(&entry->order) : NULL;
	const char *status = json_string_value(json_object_get(answer, "status"));
	const char *message = json_string_value(json_object_get(answer, "message"));

	if (same(status, "OK")) {
		gh__ask_set(&entry->order, GH__ASK_NONE);
		entry->next_look = now;
	} else {
		if (entry->order.status == 0)
			fail(entry, "/api/v1/inference/up: %s", entry->order.problem);
		else if (message)
			fail(entry, "/api/v1/inference/up: %s", message);
		else
			fail(entry, "/api/v1/inference/up answered with status %d: %.120s",
			     entry->order.status, entry->order.body ? entry->order.body : "");
		order_failed(entry, now);
	}
	json_decref(answer);
}

/* Proofs: the node is taken at its status code. */
static void read_init(gh__entry *entry, int64_t now)
{
	bool generate = entry->order.kind == GH__ASK_GENERATE;

	if (entry->order.status / 100 == 2) {
		entry->poc_told = generate ? GH__POC_GENERATING : GH__POC_VALIDATING;
		gh__ask_set(&entry->order, GH__ASK_NONE);
		entry->next_look = now;
		return;
	}
	if (entry->order.status == 0)
		fail(entry, "%s: %s", gh__driver_path(&entry->order), entry->order.problem);
	else
		fail(entry, "%s answered with status %d: %.120s", gh__driver_path(&entry->order),
		     entry->order.status, entry->order.body ? entry->order.body : "");
	order_failed(entry, now);
}

static void give_order(gh__entry *entry)
{
	static const char *const words[] = { [GH__ASK_STOP] = "stopping what it runs",
					     [GH__ASK_UP] = "starting its model",
					     [GH__ASK_GENERATE] = "starting proofs",
					     [GH__ASK_VALIDATE] = "starting to judge proofs" };
	const gh_node_model *model = gh__entry_model(entry);
	gh__ask_kind kind = next_order(entry);

	set_text(&entry->loaded_model, NULL);
	set_text(&entry->ordered, NULL);
	if (entry->intended == GH__NODE_INFERENCE && model) {
		char *text = order_text(model);

		set_text(&entry->ordered, text);
		gh_free(text);
	}
	gh__ask_set(&entry->order, kind);
	gh__info("broker", "node %s: %s", entry->node->id, words[kind]);
}

/* ---- judging ---- */

static void settle(gh__entry *entry, int64_t now)
{
	set_status(entry, entry->seen);
	entry->failure[0] = '\0';
	entry->failed_orders = 0;
	entry->unhealthy_since = 0;
	entry->next_look = now + (entry->round ? look_unsettled : look_settled);
}

static void tell_not_ready(gh__entry *entry)
{
	if (entry->current != GH__NODE_INFERENCE && entry->current != GH__NODE_UNKNOWN)
		return;
	if (entry->unready_status == 200)
		fail(entry, "the inference server is not ready: %s names no model", entry->unready);
	else if (entry->unready_status)
		fail(entry, "the inference server is not ready: %s answers %d", entry->unready,
		     entry->unready_status);
	else
		fail(entry, "the inference server does not answer");
}

static void judge_serving(gh__entry *entry, int64_t now)
{
	const gh_node_model *model = gh__entry_model(entry);

	entry->next_look = now + look_unsettled;
	if (entry->seen_healthy && as_wanted(entry, model)) {
		settle(entry, now);
		if (!same(entry->loaded_model, model->id))
			set_text(&entry->loaded_model, model->id);
		return;
	}
	set_text(&entry->loaded_model, NULL);
	if (entry->order.kind != GH__ASK_NONE || now < entry->retry_at)
		return;
	if (entry->seen_healthy && told(entry, model)) {
		fail(entry,
		     "after the order to serve %.60s it serves %.60s, or with other arguments",
		     model->id, entry->seen_model ? entry->seen_model : "what it does not name");
		back_off(entry, now);
		return;
	}
	if (!entry->seen_healthy) {
		/* Loading, or mending itself: give it time before it is started anew. */
		if (!entry->unhealthy_since)
			entry->unhealthy_since = now;
		tell_not_ready(entry);
		if (now - entry->unhealthy_since < patience &&
		    (!entry->seen_model || as_wanted(entry, model)))
			return;
	}
	entry->unhealthy_since = 0;
	give_order(entry);
}

static void judge(gh__entry *entry, int64_t now)
{
	entry->failed_looks = 0;
	if (entry->intended == GH__NODE_INFERENCE && entry->seen == GH__NODE_INFERENCE) {
		judge_serving(entry, now);
		return;
	}
	set_text(&entry->loaded_model, NULL);
	entry->next_look = now + look_unsettled;
	if (entry->intended == GH__NODE_POC ? gh__driver_proves(entry)
					    : entry->seen == entry->intended) {
		settle(entry, now);
		entry->poc_current = entry->poc_seen.phase;
		return;
	}
	entry->poc_current = entry->seen == GH__NODE_POC ? entry->poc_seen.phase : GH__POC_IDLE;
	if (entry->order.kind != GH__ASK_NONE || now < entry->retry_at)
		return;
	if (entry->seen == GH__NODE_STOPPED && gh__driver_told(entry)) {
		fail(entry, "its proofs ended by themselves%s%s",
		     entry->poc_seen.problem[0] ? ": " : "", entry->poc_seen.problem);
		entry->poc_told = GH__POC_IDLE;
		back_off(entry, now);
		return;
	}
	set_status(entry, entry->seen);
	give_order(entry);
}

static void read_look(gh__entry *entry, int64_t now)
{
	bool over;

	if (entry->look_began_at != entry->orders_done) {
		gh__ask_set(&entry->look, GH__ASK_NONE);
		entry->next_look = now;
		return;
	}
	if (entry->look.kind == GH__ASK_STATE)
		over = read_state(entry, now);
	else if (entry->look.kind == GH__ASK_HEALTH)
		over = read_health(entry, now);
	else if (entry->look.kind == GH__ASK_POC_STATUS)
		over = read_proving(entry, now);
	else
		over = read_models(entry, now);
	if (over)
		judge(entry, now);
}

/* News cut short the pause until the next look, but not that after a failed one: two looks at once
 * are as good as one. */
static int64_t look_due(const gh__entry *entry)
{
	int64_t hurried = entry->look_began + look_hurried;

	if (!entry->look_wanted || entry->failed_looks > 0 || hurried > entry->next_look)
		return entry->next_look;
	return hurried;
}

int64_t gh__driver_step(gh__entry *entry, int64_t now)
{
	if (entry->order.done) {
		entry->orders_done++;
		if (entry->order.kind == GH__ASK_STOP)
			read_stop(entry, now);
		else if (entry->order.kind == GH__ASK_UP)
			read_up(entry, now);
		else
			read_init(entry, now);
	}
	if (entry->look.done)
		read_look(entry, now);
	if (entry->look.kind == GH__ASK_NONE && now >= look_due(entry)) {
		gh__ask_set(&entry->look, GH__ASK_STATE);
		entry->look_wanted = false;
		entry->look_began = now;
		entry->look_began_at = entry->orders_done;
	}
	return entry->look.kind == GH__ASK_NONE ? look_due(entry) : INT64_MAX;
}
