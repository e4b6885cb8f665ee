#include <math.h>
#include <stdio.h>

#include "base/alloc.h"
#include "base/error.h"
#include "inference_node/routes.h"
#include "json/json.h"
#include "poc/params.h"

/*
 * The management API's routes for proofs of compute.
 */
static const gh__field init_fields[] = {
	{ "block_hash", GH__FIELD_STRING, true }, { "block_height", GH__FIELD_INT, true },
	{ "public_key", GH__FIELD_STRING, true }, { "batch_size", GH__FIELD_INT, true },
	{ "r_target", GH__FIELD_FLOAT, true },    { "fraud_threshold", GH__FIELD_FLOAT, true },
	{ "params", GH__FIELD_OBJECT, false },    { "url", GH__FIELD_STRING, true },
	{ "node_id", GH__FIELD_INT, false },      { "node_count", GH__FIELD_INT, false },
};

static const gh__field batch_fields[] = {
	{ "public_key", GH__FIELD_STRING, true }, { "block_hash", GH__FIELD_STRING, true },
	{ "block_height", GH__FIELD_INT, true },  { "nonces", GH__FIELD_INTS, true },
	{ "dist", GH__FIELD_FLOATS, true },       { "node_id", GH__FIELD_INT, true },
};

/* ---- answers ---- */

static const char *status_name(const gh__pow_status *s)
{
	if (!s->running)
		return "NOT_LOADED";
	if (s->phase == GH__POW_GENERATE)
		return "GENERATING";
	if (s->phase == GH__POW_VALIDATE)
		return "VALIDATING";
	return s->initialised ? "IDLE" : "LOADING";
}

/* Behind the fields that drivers know, what tells an operator more. */
static json_t *status_object(gh_inference_node *node)
{
	gh__sender_stats sent;
	gh__pow_status s;
	json_t *object;

	gh__pow_status_get(node->pow, &s);
	gh__sender_stats_get(node->sender, &sent);
	object = json_pack("{s:s}", "status", status_name(&s));
	if (s.running) {
		json_object_set_new(object, "is_model_initialized", json_boolean(s.initialised));
		json_object_set_new(object, "progress", json_real(s.progress));
		json_object_set_new(object, "nonces_tried", json_integer((json_int_t)s.tried));
		json_object_set_new(object, "hits", json_integer((json_int_t)s.hits));
		json_object_set_new(object, "batches_to_validate",
				    json_integer((json_int_t)s.waiting));
		json_object_set_new(object, "proofs_to_send",
				    json_integer((json_int_t)sent.pending_proofs));
	}
	if (s.problem[0])
		json_object_set_new(object, "problem", json_string(s.problem));
	if (sent.last_error[0])
		json_object_set_new(object, "callback_problem", json_string(sent.last_error));
	return object;
}

static void answer_running(gh_inference_node *node, gh__http_request *request)
{
	gh__pow_status s;

	gh__pow_status_get(node->pow, &s);
	gh__http_respond_json(request, 200,
			      json_pack("{s:s, s:{s:s, s:b}}", "status", "OK", "pow_status",
					"status", status_name(&s), "is_model_initialized",
					(int)s.initialised));
}

static void fail(gh__http_request *request, gh_status status, const gh_error *error)
{
	int code = status == GH_EINVAL || status == GH_EFORMAT ? 400
		   : status == GH_ESTATE                       ? 400
		   : status == GH_EBUSY                        ? 429
							       : 500;

	gh__http_fail(request, code, "%s", error->text);
}

/* ---- init ---- */

typedef struct starting {
	gh_inference_node *node;
	gh__http_request *request;
} starting;

static void on_started(const char *message, void *userdata)
{
	starting *s = userdata;

	if (message)
		gh__http_fail(s->request, 500, "%s", message);
	else
		answer_running(s->node, s->request);
	gh__free(s);
}

static int64_t int_of(const json_t *body, const char *name, int64_t otherwise)
{
	const json_t *value = json_object_get(body, name);

	if (json_is_integer(value))
		return json_integer_value(value);
	return json_is_real(value) ? (int64_t)json_real_value(value) : otherwise;
}

/* The strings are borrowed from body. */
static gh_status read_round(gh__pow_round *out, const json_t *body, gh_error *error)
{
	const json_t *params = json_object_get(body, "params");
	gh__poc_shape shape;
	size_t len = 2;
	char *text = json_is_object(params) ? gh__json_text(params, &len) : NULL;
	gh_status status = gh_poc_params_parse(&out->params, text ? text : "{}", len, error);

	gh__free(text);
	out->block_hash = (char *)json_string_value(json_object_get(body, "block_hash"));
	out->public_key = (char *)json_string_value(json_object_get(body, "public_key"));
	out->url = (char *)json_string_value(json_object_get(body, "url"));
	out->block_height = int_of(body, "block_height", 0);
	out->node_id = int_of(body, "node_id", -1);
	out->node_count = int_of(body, "node_count", -1);
	out->r_target = json_number_value(json_object_get(body, "r_target"));
	out->fraud_threshold = json_number_value(json_object_get(body, "fraud_threshold"));
	if (status == GH_OK)
		status = gh__poc_shape_of(&shape, &out->params, error);
	if (status == GH_OK && !isfinite(out->r_target))
		status = gh__fail(error, GH_EINVAL, "r_target: a finite number expected");
	if (status == GH_OK && (out->node_id < -1 || out->node_count < -1 || out->node_count == 0))
		status =
			gh__fail(error, GH_EINVAL,
				 "node_id, node_count: expected a number from 0 and one from 1 on, "
				 "got %lld and %lld",
				 (long long)out->node_id, (long long)out->node_count);
	return status;
}

static void init(gh_inference_node *node, gh__http_request *request, const json_t *body,
		 gh__pow_phase phase)
{
	gh_error error = GH_ERROR_INIT;
	starting *s = gh__malloc(sizeof *s);
	gh__pow_round round;
	gh_status status = s ? read_round(&round, body, &error) : gh__fail_nomem(&error);

	if (status == GH_OK && phase == GH__POW_GENERATE &&
	    (round.node_id == -1 || round.node_count == -1))
		status = gh__fail(&error, GH_EINVAL, "Node ID and node count must be set");
	if (status == GH_OK) {
		*s = (starting){ node, request };
		status = gh__pow_start(node->pow, &round, phase, on_started, s, &error);
	}
	if (status != GH_OK) {
		gh__free(s);
		fail(request, status, &error);
	}
}

static void pow_init(gh_inference_node *node, gh__http_request *request, const json_t *body)
{
	init(node, request, body, GH__POW_IDLE);
}

static void pow_init_generate(gh_inference_node *node, gh__http_request *request,
			      const json_t *body)
{
	init(node, request, body, GH__POW_GENERATE);
}

static void pow_init_validate(gh_inference_node *node, gh__http_request *request,
			      const json_t *body)
{
	init(node, request, body, GH__POW_VALIDATE);
}

/* ---- phases, batches, the end ---- */

static void set_phase(gh_inference_node *node, gh__http_request *request, gh__pow_phase phase)
{
	gh_error error = GH_ERROR_INIT;
	gh_status status = gh__pow_set_phase(node->pow, phase, &error);

	if (status == GH_OK)
		answer_running(node, request);
	else
		fail(request, status, &error);
}

static void pow_phase_generate(gh_inference_node *node, gh__http_request *request,
			       const json_t *body)
{
	(void)body;
	set_phase(node, request, GH__POW_GENERATE);
}

static void pow_phase_validate(gh_inference_node *node, gh__http_request *request,
			       const json_t *body)
{
	(void)body;
	set_phase(node, request, GH__POW_VALIDATE);
}

static void pow_validate(gh_inference_node *node, gh__http_request *request, const json_t *body)
{
	gh_error error = GH_ERROR_INIT;
	gh_status status = gh__pow_judge(node->pow, body, &error);

	if (status == GH_OK)
		gh__http_respond_json(request, 200, json_null());
	else
		fail(request, status, &error);
}

static void pow_status(gh_inference_node *node, gh__http_request *request, const json_t *body)
{
	(void)body;
	gh__http_respond_json(request, 200, status_object(node));
}

static void on_stopped(const char *message, void *userdata)
{
	(void)message;
	gh__http_respond_json(userdata, 200,
			      json_pack("{s:s, s:{s:s}}", "status", "OK", "pow_status", "status",
					"NOT_LOADED"));
}

static void pow_stop(gh_inference_node *node, gh__http_request *request, const json_t *body)
{
	gh_error error = GH_ERROR_INIT;
	gh__pow_status s;

	(void)body;
	gh__pow_status_get(node->pow, &s);
	if (!s.running)
		gh__http_respond_json(request, 200,
				      json_pack("{s:s, s:s}", "status", "OK", "pow_status",
						"PoW is not running"));
	else if (gh__pow_stop(node->pow, on_stopped, request, &error) != GH_OK)
		gh__http_fail(request, 500, "%s", error.text);
}

const gh__management_route gh__pow_routes[] = {
	{ "POST", "/api/v1/pow/init", GH__SERVICE_POW, GH__BODY_OBJECT, GH__FIELDS(init_fields),
	  pow_init },
	{ "POST", "/api/v1/pow/init/generate", GH__SERVICE_POW, GH__BODY_OBJECT,
	  GH__FIELDS(init_fields), pow_init_generate },
	{ "POST", "/api/v1/pow/init/validate", GH__SERVICE_POW, GH__BODY_OBJECT,
	  GH__FIELDS(init_fields), pow_init_validate },
	{ "POST", "/api/v1/pow/phase/generate", GH__SERVICE_POW, GH__BODY_IGNORED, GH__NO_FIELDS,
	  pow_phase_generate },
	{ "POST", "/api/v1/pow/phase/validate", GH__SERVICE_POW, GH__BODY_IGNORED, GH__NO_FIELDS,
	  pow_phase_validate },
	{ "POST", "/api/v1/pow/validate", GH__SERVICE_POW, GH__BODY_BATCH, GH__FIELDS(batch_fields),
	  pow_validate },
	{ "GET", "/api/v1/pow/status", GH__SERVICE_POW, GH__BODY_IGNORED, GH__NO_FIELDS,
	  pow_status },
	{ "POST", "/api/v1/pow/stop", GH__SERVICE_POW, GH__BODY_IGNORED, GH__NO_FIELDS, pow_stop },
};

const size_t gh__pow_route_count = sizeof gh__pow_routes / sizeof gh__pow_routes[0];
