#include "network_node/network_node.h"

#include <string.h>

#include "json/json.h"
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

static void chat(gh__http_request *request, void *userdata)
{
	gh_network_node *node = userdata;
	gh_error error = GH_ERROR_INIT;
	const char *body, *model = NULL;
	gh__json_reader reader;
	json_t *object;
	size_t len;

	if (!authorised(node, request))
		return;
	body = gh__http_body(request, &len);
	object = gh__json_parse(body, len, false, &error);
	if (!object) {
		gh__http_fail(request, 400, "invalid request body: %s", error.text);
		return;
	}
	gh__json_root(&reader, object, "", &error);
	gh__json_string(&reader, "model", &model);
	if (gh__json_reader_status(&reader) != GH_OK)
		gh__http_fail(request, 400, "invalid request body: %s", error.text);
	else
		gh__relay_chat(node, request, model && model[0] ? model : NULL);
	json_decref(object);
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
	{ "GET", "/v1/status", status },
	{ "GET", "/api/v1/status", status },
	{ "GET", "/health", health },
};

const size_t gh__public_route_count = sizeof gh__public_routes / sizeof gh__public_routes[0];
