#include "network_node/network_node.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "json/json.h"
#include "json/pull.h"
#include "network_node/poc_batches.h"
#include "network_node/relay.h"

/*
 * The public API.
 */

/* ---- POST /v1/chat/completions ---- */

/* Answers false when it has refused. */
static bool authorised(const gh_network_node *node, gh__http_request *request)
{
	const char *authorization = gh__http_header(request, "Authorization");

	if (node->allow_unsigned)
		return true;
	if (!authorization || !authorization[0])
		gh__http_fail(request, 401, "Authorization is required");
	else
		gh__http_fail(request, 401,
			      "Unable to validate request against PubKey:this node follows no "
			      "chain that knows the key");
	return false;
}

/* The value behind the key "model", the last if there are several. */
static gh_status read_model(gh__pull *pull, char **model, gh_error *error)
{
	gh__pull_event event = gh__pull_next(pull);
	const char *text;
	size_t len;

	gh__free(*model);
	*model = NULL;
	if (event == GH__PULL_NULL)
		return GH_OK;
	if (event == GH__PULL_ERROR)
		return gh__pull_error(pull, NULL, error);
	if (event != GH__PULL_STRING)
		return gh__fail(error, GH_EFORMAT, "model: expected a string");
	text = gh__pull_text(pull, &len);
	*model = gh__strndup(text, len);
	return *model ? GH_OK : gh__fail_nomem(error);
}

static gh_status read_body(gh__pull *pull, char **model, gh_error *error)
{
	gh__pull_event event = gh__pull_next(pull);
	gh_status status = GH_OK;

	if (event != GH__PULL_ERROR && event != GH__PULL_OBJECT)
		return gh__fail(error, GH_EFORMAT, "expected an object");
	while (status == GH_OK && event != GH__PULL_ERROR &&
	       (event = gh__pull_next(pull)) == GH__PULL_KEY) {
		if (gh__pull_is(pull, "model"))
			status = read_model(pull, model, error);
		else if (gh__pull_skip(pull) != GH_OK)
			event = GH__PULL_ERROR;
	}
	if (status == GH_OK && event != GH__PULL_ERROR)
		event = gh__pull_next(pull); /* nothing comes behind it */
	if (status == GH_OK && event == GH__PULL_ERROR)
		status = gh__pull_error(pull, NULL, error);
	return status;
}

/* The rest of the body is the model server's to judge, so no tree is made of it. *model: NULL or to
 * be freed. */
static gh_status wanted_model(gh__http_request *request, char **model, gh_error *error)
{
	size_t len;
	const char *body = gh__http_body(request, &len);
	gh__pull *pull;
	gh_status status = gh__pull_create(&pull, body, len, error);

	*model = NULL;
	if (status != GH_OK)
		return status;
	status = read_body(pull, model, error);
	gh__pull_free(pull);
	return status;
}

static void chat(gh__http_request *request, void *userdata)
{
	gh_network_node *node = userdata;
	gh_error error = GH_ERROR_INIT;
	char *model;
	gh_status status;

	if (!authorised(node, request))
		return;
	status = wanted_model(request, &model, &error);
	if (status == GH_ENOMEM)
		gh__http_fail(request, 500, "%s", error.text);
	else if (status != GH_OK)
		gh__http_fail(request, 400, "invalid request body: %s", error.text);
	else
		gh__relay_chat(node, request, model && model[0] ? model : NULL);
	gh__free(model);
}

/* ---- GET /v1/models: the OpenAI list and the chain's list in one object ---- */

static void models(gh__http_request *request, void *userdata)
{
	gh_network_node *node = userdata;
	json_t *loaded = gh__broker_models(node->broker, true);
	json_t *configured = gh__broker_models(node->broker, false);
	json_t *data = json_array(), *chain = json_array();
	const json_t *id;
	size_t i;

	json_array_foreach(loaded, i, id)
		json_array_append_new(data, json_pack("{s:O, s:s, s:i, s:s}", "id", id, "object",
						      "model", "created", 0, "owned_by", "gonka"));
	json_array_foreach(configured, i, id)
		json_array_append_new(chain, json_pack("{s:O}", "id", id));
	if (json_array_size(configured) == 0) {
		json_decref(chain);
		chain = json_null();
	}
	json_decref(loaded);
	json_decref(configured);
	gh__http_respond_json(request, 200,
			      json_pack("{s:s, s:o, s:o}", "object", "list", "data", data, "models",
					chain));
}

static void status(gh__http_request *request, void *userdata)
{
	(void)userdata;
	gh__http_respond_json(request, 200, json_pack("{s:s}", "status", "ok"));
}

static void health(gh__http_request *request, void *userdata)
{
	(void)userdata;
	gh__http_respond(request, 200, "text/plain", "healthy\n", 8);
}

/* The reverse proxy of a host also answers under /api. */
const gh__http_route gh__public_routes[] = {
	{ "POST", "/v1/chat/completions", chat },
	{ "POST", "/api/v1/chat/completions", chat },
	{ "GET", "/v1/models", models },
	{ "GET", "/api/v1/models", models },
	{ "GET", "/v1/poc-batches/:epoch", gh__poc_batches },
	{ "GET", "/api/v1/poc-batches/:epoch", gh__poc_batches },
	{ "GET", "/v1/status", status },
	{ "GET", "/api/v1/status", status },
	{ "GET", "/health", health },
};

const size_t gh__public_route_count = sizeof gh__public_routes / sizeof gh__public_routes[0];
