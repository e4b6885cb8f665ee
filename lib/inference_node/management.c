#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/log.h"
#include "inference_node/routes.h"
#include "json/json.h"

/*
 * The management API. The order of checks is part of it: path and method, JSON syntax, conflict of
 * services, fields, then the act itself; so one function takes every request and goes through them.
 */

/* Bodies of orders; those that go to the model may be larger. */
enum { ORDER_MAX = 4 << 20 };

static const char *const service_names[] = { "", "POW", "INFERENCE", "TRAIN" };
static const char *const state_names[] = { "STOPPED", "POW", "INFERENCE", "TRAIN" };

/* ---- answers ---- */

json_t *gh__management_error(int status, const char *message, void *userdata)
{
	(void)status;
	(void)userdata;
	return json_pack("{s:s}", "detail", message);
}

static void answer_ok(gh__http_request *request)
{
	gh__http_respond_json(request, 200, json_pack("{s:s}", "status", "OK"));
}

static void answer_failure(gh__http_request *request, const char *message)
{
	if (message)
		gh__http_respond_json(request, 200,
				      json_pack("{s:s, s:s}", "status", "ERROR", "message",
						message));
	else
		answer_ok(request);
}

/* ---- state and stop ---- */

static gh__service running(gh_inference_node *node)
{
	gh__supervisor_state state;

	gh__supervisor_state_get(node->supervisor, &state);
	return !state.active  ? GH__SERVICE_NONE
	       : state.proofs ? GH__SERVICE_POW
			      : GH__SERVICE_INFERENCE;
}

static void get_state(gh_inference_node *node, gh__http_request *request, const json_t *body)
{
	gh__supervisor_state state;
	json_t *answer, *args;

	(void)body;
	gh__supervisor_state_get(node->supervisor, &state);
	answer = json_pack("{s:s}", "state", state_names[running(node)]);
	if (state.active && !state.proofs) {
		args = gh__supervisor_args(node->supervisor);
		json_object_set_new(answer, "poc_status",
				    json_string(state.healthy ? "IDLE" : "NO_BACKENDS"));
		json_object_set_new(answer, "inference_healthy", json_boolean(state.healthy));
		json_object_set_new(answer, "loaded_model", json_string(state.model));
		json_object_set_new(answer, "loaded_args", args ? args : json_null());
	}
	gh__http_respond_json(request, 200, answer);
}

static void on_down(const char *message, void *userdata)
{
	(void)message;
	answer_ok(userdata);
}

static void stop(gh_inference_node *node, gh__http_request *request, const json_t *body)
{
	gh_error error = GH_ERROR_INIT;
	gh_status status;

	(void)body;
	if (running(node) == GH__SERVICE_POW)
		status = gh__pow_stop(node->pow, on_down, request, &error);
	else
		status = gh__supervisor_stop(node->supervisor, on_down, request, &error);
	if (status != GH_OK)
		gh__http_fail(request, 500, "%s", error.text);
}

/* ---- inference ---- */

static const gh__field up_fields[] = {
	{ "model", GH__FIELD_STRING, true },
	{ "dtype", GH__FIELD_STRING, true },
	{ "additional_args", GH__FIELD_STRINGS, false },
};

static void on_up(const char *message, void *userdata)
{
	answer_failure(userdata, message);
}

static gh_status order_up(gh_inference_node *node, const json_t *body, gh__supervisor_done_fn *done,
			  void *userdata, gh_error *error)
{
	const json_t *args = json_object_get(body, "additional_args");
	json_t *none = json_array();
	gh_status status =
		gh__supervisor_up(node->supervisor,
				  json_string_value(json_object_get(body, "model")),
				  json_string_value(json_object_get(body, "dtype")),
				  json_is_array(args) ? args : none, done, userdata, error);

	json_decref(none);
	return status;
}

static void up(gh_inference_node *node, gh__http_request *request, const json_t *body)
{
	gh_error error = GH_ERROR_INIT;

	if (order_up(node, body, on_up, request, &error) != GH_OK)
		answer_failure(request, error.text);
}

static void up_async(gh_inference_node *node, gh__http_request *request, const json_t *body)
{
	gh_error error = GH_ERROR_INIT;

	if (order_up(node, body, NULL, NULL, &error) != GH_OK)
		gh__http_fail(request, 500, "%s", error.text);
	else
		gh__http_respond_json(request, 200,
				      json_pack("{s:s, s:s}", "status", "starting", "message",
						"Inference startup initiated in background"));
}

/* Not for a while, as a stop: the model does not stay loaded. */
static void down(gh_inference_node *node, gh__http_request *request, const json_t *body)
{
	gh_error error = GH_ERROR_INIT;

	(void)body;
	if (gh__supervisor_down(node->supervisor, on_down, request, &error) != GH_OK)
		gh__http_fail(request, 500, "%s", error.text);
}

static void up_status(gh_inference_node *node, gh__http_request *request, const json_t *body)
{
	gh__supervisor_state state;
	const char *status = "not_started";
	json_t *elapsed = json_null(), *error = json_null();

	(void)body;
	gh__supervisor_state_get(node->supervisor, &state);
	if (state.starting)
		status = "in_progress";
	else if (state.active)
		status = "completed";
	else if (state.failed)
		status = "failed";
	else if (state.cancelled)
		status = "cancelled";
	if (state.starting || state.active)
		elapsed = json_real(state.elapsed);
	else if (state.failed)
		error = json_string(state.problem);
	else if (state.cancelled)
		error = json_string("Startup was cancelled");
	gh__http_respond_json(request, 200,
			      json_pack("{s:s, s:b, s:b, s:o, s:o}", "status", status,
					"is_starting", (int)state.starting, "is_running",
					(int)(state.active && !state.starting), "elapsed_seconds",
					elapsed, "error", error));
}

/* ---- training: not supported, and never running ---- */

static void train_start(gh_inference_node *node, gh__http_request *request, const json_t *body)
{
	(void)node;
	(void)body;
	gh__http_fail(request, 501, "Training is not supported");
}

static void train_stop(gh_inference_node *node, gh__http_request *request, const json_t *body)
{
	(void)node;
	(void)body;
	gh__http_fail(request, 400, "Training is not running");
}

static void train_status(gh_inference_node *node, gh__http_request *request, const json_t *body)
{
	(void)node;
	(void)body;
	gh__http_respond_json(request, 200, json_pack("{s:b}", "status", 0));
}

/* ---- health ---- */

static void health(gh_inference_node *node, gh__http_request *request, const json_t *body)
{
	gh__supervisor_state state;
	json_t *answer;
	bool well;

	(void)body;
	gh__supervisor_state_get(node->supervisor, &state);
	well = !state.active || state.starting || state.healthy;
	answer = json_pack("{s:s, s:s, s:{s:b, s:i, s:[]}, s:{s:{s:b, s:b}, s:{s:b, s:b}}}",
			   "status", well ? "healthy" : "unhealthy", "service_state",
			   state_names[running(node)], "gpu", "available", (int)(node->gpus > 0),
			   "count", (int)node->gpus, "devices", "managers", "inference", "running",
			   (int)(state.active && !state.proofs), "healthy",
			   (int)(state.healthy && !state.proofs), "train", "running", 0, "healthy",
			   0);
	json_object_set_new(answer, "workers",
			    json_pack("{s:i, s:i, s:f, s:i}", "count", state.workers, "ready",
				      state.ready, "progress", state.progress, "parked",
				      state.parked));
	json_object_set_new(answer, "reason",
			    state.problem[0] ? json_string(state.problem) : json_null());
	gh__http_respond_json(request, well ? 200 : 503, answer);
}

static void readyz(gh_inference_node *node, gh__http_request *request, const json_t *body)
{
	gh__supervisor_state state;
	bool ready;

	(void)body;
	gh__supervisor_state_get(node->supervisor, &state);
	ready = !state.active || state.healthy;
	gh__http_respond_json(request, ready ? 200 : 503, json_pack("{s:b}", "ready", (int)ready));
}

/* ---- routes ---- */

static const gh__management_route routes[] = {
	{ "GET", "/api/v1/state", GH__SERVICE_NONE, GH__BODY_IGNORED, GH__NO_FIELDS, get_state },
	{ "POST", "/api/v1/stop", GH__SERVICE_NONE, GH__BODY_IGNORED, GH__NO_FIELDS, stop },
	{ "POST", "/api/v1/inference/up", GH__SERVICE_INFERENCE, GH__BODY_OBJECT,
	  GH__FIELDS(up_fields), up },
	{ "POST", "/api/v1/inference/up/async", GH__SERVICE_INFERENCE, GH__BODY_OBJECT,
	  GH__FIELDS(up_fields), up_async },
	{ "GET", "/api/v1/inference/up/status", GH__SERVICE_INFERENCE, GH__BODY_IGNORED,
	  GH__NO_FIELDS, up_status },
	{ "POST", "/api/v1/inference/down", GH__SERVICE_INFERENCE, GH__BODY_IGNORED, GH__NO_FIELDS,
	  down },
	{ "POST", "/api/v1/train/start", GH__SERVICE_TRAIN, GH__BODY_DICT, GH__NO_FIELDS,
	  train_start },
	{ "POST", "/api/v1/train/stop", GH__SERVICE_TRAIN, GH__BODY_IGNORED, GH__NO_FIELDS,
	  train_stop },
	{ "GET", "/api/v1/train/status", GH__SERVICE_TRAIN, GH__BODY_IGNORED, GH__NO_FIELDS,
	  train_status },
	{ "POST", "/api/v1/callback/probe", GH__SERVICE_NONE, GH__BODY_OBJECT,
	  GH__FIELDS(gh__probe_fields), gh__callback_probe },
	{ "GET", "/health", GH__SERVICE_NONE, GH__BODY_IGNORED, GH__NO_FIELDS, health },
	{ "GET", "/livez", GH__SERVICE_NONE, GH__BODY_IGNORED, GH__NO_FIELDS, health },
	{ "GET", "/readyz", GH__SERVICE_NONE, GH__BODY_IGNORED, GH__NO_FIELDS, readyz },
};

enum { ROUTES = sizeof routes / sizeof routes[0] };

/* ---- the checks, in their order ---- */

static bool same_path(const char *path, const char *of_route)
{
	size_t len = strlen(of_route);

	if (strncmp(path, of_route, len) != 0)
		return false;
	return path[len] == '\0' || (path[len] == '/' && path[len + 1] == '\0');
}

/* NULL: answered. */
static const gh__management_route *find(gh__http_request *request)
{
	const char *path = gh__http_path(request), *allowed = NULL;
	size_t i;

	for (i = 0; i < ROUTES + gh__pow_route_count; i++) {
		const gh__management_route *r =
			i < ROUTES ? &routes[i] : &gh__pow_routes[i - ROUTES];

		if (!same_path(path, r->path))
			continue;
		if (strcmp(r->method, gh__http_method(request)) == 0)
			return r;
		allowed = r->method;
	}
	if (allowed) {
		gh__http_set_header(request, "allow", allowed);
		gh__http_fail(request, 405, "Method Not Allowed");
	} else {
		gh__http_fail(request, 404, "Not Found");
	}
	return NULL;
}

/* No type counts as JSON: drivers send none. */
static bool is_json(const gh__http_request *request)
{
	const char *type = gh__http_header(request, "Content-Type");
	size_t len = type ? strcspn(type, "; ") : 0;

	if (!type)
		return true;
	if (len == 16 && strncasecmp(type, "application/json", 16) == 0)
		return true;
	return len > 17 && strncasecmp(type, "application/", 12) == 0 &&
	       strncasecmp(type + len - 5, "+json", 5) == 0;
}

static void unprocessable(gh__http_request *request, json_t *findings)
{
	gh__http_respond_json(request, 422, gh__findings_body(findings));
}

static void one_finding(gh__http_request *request, json_t *finding)
{
	unprocessable(request, json_pack("[o]", finding));
}

/* How broken JSON is told: where, and what was expected there. */
static void broken_json(gh__http_request *request, const char *body, size_t len)
{
	json_error_t problem;
	json_t *value = json_loadb(body, len, JSON_DECODE_ANY | JSON_ALLOW_NUL, &problem);
	const char *expected = "Expecting value";
	json_t *finding, *empty = json_object();

	json_decref(value);
	if (strstr(problem.text, "'}'") || strstr(problem.text, "']'"))
		expected = "Expecting ',' delimiter";
	else if (strstr(problem.text, "':'"))
		expected = "Expecting ':' delimiter";
	else if (strstr(problem.text, "string or"))
		expected = "Expecting property name enclosed in double quotes";
	finding = gh__finding("json_invalid", NULL, "JSON decode error", empty,
			      json_pack("{s:s}", "error", expected));
	json_array_append_new(json_object_get(finding, "loc"),
			      json_integer(value ? 0 : problem.position));
	json_decref(empty);
	one_finding(request, finding);
}

static void not_an_object(gh__http_request *request, gh__body_kind kind, const json_t *input)
{
	if (kind == GH__BODY_BATCH)
		one_finding(request,
			    gh__finding("dataclass_type", NULL,
					"Input should be a dictionary or an instance of "
					"ProofBatch",
					input, json_pack("{s:s}", "class_name", "ProofBatch")));
	else if (kind == GH__BODY_DICT)
		one_finding(request,
			    gh__finding("dict_type", NULL, "Input should be a valid dictionary",
					input, NULL));
	else
		one_finding(request, gh__finding("model_attributes_type", NULL,
						 "Input should be a valid dictionary or object to "
						 "extract fields from",
						 input, NULL));
}

/* The body as a value: JSON null when there is none, a string when its type is not JSON. NULL:
 * answered. */
static json_t *read_body(gh__http_request *request)
{
	gh_error error = GH_ERROR_INIT;
	const char *body;
	json_t *value;
	size_t len;

	body = gh__http_body(request, &len);
	if (len == 0)
		return json_null();
	if (len > ORDER_MAX) {
		gh__http_fail(request, 413, "Request Entity Too Large");
		return NULL;
	}
	if (!is_json(request)) {
		value = json_stringn(body, len);
		return value ? value : json_string("");
	}
	value = gh__json_parse(body, len, false, &error);
	if (!value)
		broken_json(request, body, len);
	return value;
}

/* false: answered with the conflict. */
static bool free_to_act(gh_inference_node *node, gh__http_request *request, gh__service wanted)
{
	gh__service now = running(node);

	if (wanted == GH__SERVICE_NONE || now == GH__SERVICE_NONE || now == wanted)
		return true;
	gh__http_fail(request, 409,
		      "Cannot run %s because MLNode is currently in ServiceState.%s mode. Please "
		      "stop ServiceState.%s first.",
		      service_names[wanted], service_names[now], service_names[now]);
	return false;
}

/* false: answered with what is wrong. */
static bool fields_fit(gh__http_request *request, const gh__management_route *r, const json_t *body)
{
	json_t *findings;

	if (json_is_null(body)) {
		one_finding(request, gh__finding("missing", NULL, "Field required", body, NULL));
		return false;
	}
	if (!json_is_object(body)) {
		not_an_object(request, r->body, body);
		return false;
	}
	findings = gh__fields_check(body, r->fields, r->field_count);
	if (json_array_size(findings) > 0) {
		unprocessable(request, findings);
		return false;
	}
	json_decref(findings);
	return true;
}

static void go_through(gh_inference_node *node, gh__http_request *request,
		       const gh__management_route *r)
{
	json_t *body = NULL;

	if (r->body != GH__BODY_IGNORED) {
		body = read_body(request);
		if (!body)
			return;
	}
	if (free_to_act(node, request, r->service) &&
	    (r->body == GH__BODY_IGNORED || fields_fit(request, r, body)))
		r->act(node, request, body);
	json_decref(body);
}

void gh__management_handle(gh__http_request *request, void *userdata)
{
	const gh__management_route *r;

	if (strncmp(gh__http_path(request), "/v1", 3) == 0) {
		gh__proxy_handle(request, userdata);
		return;
	}
	r = find(request);
	if (r)
		go_through(userdata, request, r);
}
