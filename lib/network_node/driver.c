#include "network_node/entry.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "json/json.h"
#include "registry/node.h"

/*
 * How one node is driven: look (state, then health, then the loaded model), judge, give an order.
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

static const int64_t look_timeout = SECONDS(5);
static const int64_t stop_timeout = SECONDS(120);
static const int64_t up_timeout = SECONDS(1800);
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

void gh__entry_set_status(gh__entry *entry, gh__node_status status)
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
	gh__entry_set_status(entry, GH__NODE_FAILED);
	set_text(&entry->loaded_model, NULL);
}

/* ---- what the node is to serve ---- */

static bool names(const gh_node_model *model, const char *name)
{
	return same(model->id, name) || same(model->hf_repo, name);
}

/* The loaded model if it is among the node's, else its first. */
static const gh_node_model *wanted(const gh__entry *entry)
{
	size_t i;

	for (i = 0; i < entry->node->model_count; i++)
		if (names(&entry->node->models[i], entry->seen_model))
			return &entry->node->models[i];
	return entry->node->model_count ? &entry->node->models[0] : NULL;
}

/* A model that comes from another repository is served under its own name all the same. */
static json_t *args_json(const gh_node_model *model)
{
	json_t *args = json_array();
	size_t i;

	for (i = 0; i < model->arg_count; i++)
		json_array_append_new(args, json_string(model->args[i]));
	if (model->hf_repo) {
		json_array_append_new(args, json_string("--served-model-name"));
		json_array_append_new(args, json_string(model->id));
	}
	if (model->hf_commit) {
		json_array_append_new(args, json_string("--revision"));
		json_array_append_new(args, json_string(model->hf_commit));
	}
	return args;
}

static char *order_text(const gh_node_model *model)
{
	json_t *order = json_pack("[s, o]", model->id, args_json(model));
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

	if (!names(model, entry->seen_model))
		return false;
	args = args_json(model);
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

/* ---- asking ---- */

static void want(gh__ask *ask, gh__ask_kind kind)
{
	gh__free(ask->body);
	memset(ask, 0, sizeof *ask);
	ask->kind = kind;
}

static gh_status up_body(const gh__entry *entry, char **out, gh_error *error)
{
	const gh_node_model *model = wanted(entry);
	json_t *body;

	if (!model)
		return gh__fail(error, GH_EINVAL, "node %s has no models", entry->node->id);
	body = json_pack("{s:s, s:s, s:o}", "model", model->hf_repo ? model->hf_repo : model->id,
			 "dtype", "float16", "additional_args", args_json(model));
	*out = body ? gh__json_text(body, NULL) : NULL;
	json_decref(body);
	return *out ? GH_OK : gh__fail_nomem(error);
}

gh_status gh__driver_request(const gh__entry *entry, const gh__ask *ask, gh__ask_request *out,
			     gh_error *error)
{
	static const struct {
		const char *method, *path;
		bool inference;
	} calls[] = {
		[GH__ASK_STATE] = { "GET", "/api/v1/state", false },
		[GH__ASK_HEALTH] = { "GET", "/health", true },
		[GH__ASK_MODELS] = { "GET", "/v1/models", true },
		[GH__ASK_STOP] = { "POST", "/api/v1/stop", false },
		[GH__ASK_UP] = { "POST", "/api/v1/inference/up", false },
	};
	const gh_node *node = entry->node;
	char *base = calls[ask->kind].inference ? gh__node_inference_url(node)
						: gh__node_management_url(node);
	int made = -1;

	memset(out, 0, sizeof *out);
	out->method = calls[ask->kind].method;
	out->total_timeout = look_timeout;
	if (ask->kind == GH__ASK_STOP)
		out->total_timeout = stop_timeout;
	if (ask->kind == GH__ASK_UP)
		out->total_timeout = up_timeout;
	if (base) {
		gh__buf url = GH__BUF_INIT(16384);

		gh__buf_append_str(&url, base);
		gh__buf_append_str(&url, calls[ask->kind].path);
		out->url = gh__buf_take(&url);
		made = out->url ? 0 : -1;
	}
	gh__free(base);
	if (made == 0 && node->auth_token[0]) {
		gh__buf header = GH__BUF_INIT(16384);

		gh__buf_printf(&header, "Authorization: Bearer %s", node->auth_token);
		out->authorization = gh__buf_take(&header);
	}
	if (made < 0)
		return gh__fail_nomem(error);
	return ask->kind == GH__ASK_UP ? up_body(entry, &out->body, error) : GH_OK;
}

void gh__ask_request_done(gh__ask_request *request)
{
	gh__free(request->url);
	gh__free(request->body);
	gh__free(request->authorization);
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
	want(&entry->look, GH__ASK_NONE);
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
	want(&entry->look, entry->seen == GH__NODE_INFERENCE ? GH__ASK_HEALTH : GH__ASK_NONE);
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
	want(&entry->look, GH__ASK_NONE);
	if (!serves(entry) || refused || ++entry->failed_looks >= FAILED_LOOKS)
		return true;
	entry->next_look = now + look_unsettled;
	return false;
}

static bool read_health(gh__entry *entry, int64_t now)
{
	if (entry->look.status != 200)
		return not_ready(entry, "/health", now);
	want(&entry->look, GH__ASK_MODELS);
	return false;
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
	want(&entry->look, GH__ASK_NONE);
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
	want(&entry->order, GH__ASK_NONE);
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
	want(&entry->order, entry->intended == GH__NODE_INFERENCE ? GH__ASK_UP : GH__ASK_NONE);
	entry->next_look = now;
}

static void read_up(gh__entry *entry, int64_t now)
{
	json_t *answer = entry->order.status / 100 == 2 ? answer_object(&entry->order) : NULL;
	const char *status = json_string_value(json_object_get(answer, "status"));
	const char *message = json_string_value(json_object_get(answer, "message"));

	if (same(status, "OK")) {
		want(&entry->order, GH__ASK_NONE);
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

static void give_order(gh__entry *entry)
{
	const gh_node_model *model = wanted(entry);
	bool stopped = entry->seen == GH__NODE_STOPPED;

	set_text(&entry->loaded_model, NULL);
	set_text(&entry->ordered, NULL);
	if (entry->intended == GH__NODE_INFERENCE && model) {
		char *text = order_text(model);

		set_text(&entry->ordered, text);
		gh_free(text);
	}
	want(&entry->order, stopped ? GH__ASK_UP : GH__ASK_STOP);
	gh__info("broker", "node %s: %s", entry->node->id,
		 stopped ? "starting its model" : "stopping what it runs");
}

/* ---- judging ---- */

static void settle(gh__entry *entry, int64_t now)
{
	gh__entry_set_status(entry, entry->seen);
	entry->failure[0] = '\0';
	entry->failed_orders = 0;
	entry->unhealthy_since = 0;
	entry->next_look = now + look_settled;
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
	const gh_node_model *model = wanted(entry);

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
	if (entry->seen == entry->intended) {
		settle(entry, now);
		return;
	}
	if (entry->order.kind != GH__ASK_NONE || now < entry->retry_at)
		return;
	gh__entry_set_status(entry, entry->seen);
	give_order(entry);
}

static void read_look(gh__entry *entry, int64_t now)
{
	bool over;

	if (entry->look_began_at != entry->orders_done) {
		want(&entry->look, GH__ASK_NONE);
		entry->next_look = now;
		return;
	}
	if (entry->look.kind == GH__ASK_STATE)
		over = read_state(entry, now);
	else if (entry->look.kind == GH__ASK_HEALTH)
		over = read_health(entry, now);
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
		else
			read_up(entry, now);
	}
	if (entry->look.done)
		read_look(entry, now);
	if (entry->look.kind == GH__ASK_NONE && now >= look_due(entry)) {
		want(&entry->look, GH__ASK_STATE);
		entry->look_wanted = false;
		entry->look_began = now;
		entry->look_began_at = entry->orders_done;
	}
	return entry->look.kind == GH__ASK_NONE ? look_due(entry) : INT64_MAX;
}
