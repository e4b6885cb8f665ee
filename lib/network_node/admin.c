#include "network_node/admin.h"

#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/error.h"
#include "base/log.h"
#include "json/json.h"
#include "network_node/network_node.h"
#include "registry/node_check.h"
#include "registry/node_json.h"

enum { BATCH_MAX = 1000, REASON_MAX = 8192 };

/* ---- bodies ---- */

json_t *gh__admin_body(gh__http_request *request)
{
	gh_error error = GH_ERROR_INIT;
	const char *body;
	json_t *value;
	size_t len;

	body = gh__http_body(request, &len);
	if (len == 0)
		return json_object();
	if (!gh__http_is_json(request)) {
		gh__http_fail(request, 400,
			      "invalid request body: Unsupported Media Type: expected "
			      "application/json");
		return NULL;
	}
	value = gh__json_parse(body, len, false, &error);
	if (!value)
		gh__http_fail(request, 400, "invalid request body: %s", error.text);
	return value;
}

/* ---- GET nodes ---- */

static void list_nodes(gh_network_node *node, gh__http_request *request, void *data)
{
	gh_error error = GH_ERROR_INIT;
	gh_node_list *list;
	json_t *answer;
	size_t i;

	(void)data;
	if (gh_registry_list(node->registry, &list, &error) != GH_OK) {
		gh__http_fail(request, 500, "%s", error.text);
		return;
	}
	answer = json_array();
	for (i = 0; i < list->count; i++) {
		json_t *state = gh__broker_state(node->broker, list->nodes[i].id);

		json_array_append_new(answer, json_pack("{s:o, s:o}", "node",
							gh__node_to_json(&list->nodes[i], true),
							"state", state ? state : json_object()));
	}
	gh_node_list_free(list);
	gh__http_respond_json(request, 200, answer);
}

/* ---- POST nodes, PUT nodes/:id, POST nodes/batch ---- */

static bool known(gh_network_node *node, const char *id)
{
	json_t *state = gh__broker_state(node->broker, id);

	json_decref(state);
	return state != NULL;
}

static const gh_node *find(const gh_node_list *list, const char *id)
{
	size_t i;

	for (i = 0; i < list->count; i++)
		if (strcmp(list->nodes[i].id, id) == 0)
			return &list->nodes[i];
	return NULL;
}

/* The record as it was stored, cleaned and with its number, to the broker. */
static gh_status tell_broker(gh_network_node *node, const char *id, json_t **answer,
			     gh_error *error)
{
	gh_node_list *list;
	gh_status status = gh_registry_list(node->registry, &list, error);
	const gh_node *record;

	if (status != GH_OK)
		return status;
	record = find(list, id);
	status = record ? gh__broker_put(node->broker, record, error)
			: gh__fail(error, GH_ENOENT, "node not found: %s", id);
	if (status == GH_OK)
		*answer = gh__node_to_json(record, false);
	gh_node_list_free(list);
	return status;
}

/* Back to the record that was there before, or to none. */
static void take_back(gh_network_node *node, const char *id, const gh_node *before)
{
	gh_error error = GH_ERROR_INIT;
	int32_t removed;
	gh_status status = before ? gh_registry_put(node->registry, before, &error)
				  : gh_registry_remove(node->registry, id, &removed, &error);

	if (status != GH_OK)
		gh__error("admin",
			  "node %s is stored otherwise than it is driven, until a restart: %s", id,
			  error.text);
}

/* To the disk, then to the broker: to both or to neither. */
static gh_status put(gh_network_node *node, const gh_node *record, json_t **answer, gh_error *error)
{
	gh_node_list *before;
	gh_status status = gh_registry_list(node->registry, &before, error);

	if (status != GH_OK)
		return status;
	status = gh_registry_put(node->registry, record, error);
	if (status == GH_OK) {
		status = tell_broker(node, record->id, answer, error);
		if (status != GH_OK)
			take_back(node, record->id, find(before, record->id));
	}
	gh_node_list_free(before);
	return status;
}

/* Why a node was refused, at its full length: an error's own text is cut. */
static void explain(gh_network_node *node, const gh_node *record, gh_status status,
		    const gh_error *error, gh__buf *reason)
{
	gh_error ignored = GH_ERROR_INIT;
	gh__buf findings = GH__BUF_INIT(REASON_MAX);

	if (status == GH_EINVAL && record &&
	    gh__registry_findings(node->registry, record, &findings, &ignored) == GH_OK &&
	    findings.len > 0)
		gh__buf_printf(reason, "validation failed: %s", gh__buf_str(&findings));
	else
		gh__buf_append_str(reason, error->text);
	gh__buf_free(&findings);
}

/* *answer: the stored node, a new reference. path_id: NULL, or the id that the path names. reason:
 * why not. */
static gh_status upsert(gh_network_node *node, const json_t *object, const char *path_id,
			json_t **answer, gh__buf *reason)
{
	gh_error error = GH_ERROR_INIT;
	gh_node *record = NULL;
	gh_status status = gh__node_from_json(&record, object, "node", &error);

	if (status == GH_OK && path_id && !record->id[0])
		record->id = path_id;
	if (status == GH_OK && path_id && strcmp(path_id, record->id) != 0) {
		gh__buf_printf(reason, "the path names node '%s', the body node '%s'", path_id,
			       record->id);
		gh__free(record);
		return GH_EINVAL;
	}
	if (status == GH_OK)
		status = put(node, record, answer, &error);
	if (status != GH_OK)
		explain(node, record, status, &error, reason);
	gh__free(record);
	return status;
}

static int status_code(gh_status status)
{
	return status == GH_EINVAL || status == GH_EFORMAT || status == GH_ETOOBIG ? 400 : 500;
}

static void put_object(gh_network_node *node, gh__http_request *request, const char *path_id)
{
	gh__buf reason = GH__BUF_INIT(REASON_MAX);
	json_t *object = gh__admin_body(request), *answer = NULL;
	const char *id;
	bool update;
	gh_status status;

	if (!object)
		return;
	id = json_string_value(json_object_get(object, "id"));
	update = known(node, id && id[0] ? id : path_id ? path_id : "");
	status = upsert(node, object, path_id, &answer, &reason);
	if (status == GH_OK)
		gh__http_respond_json(request, 200, answer);
	else if (status == GH_EFORMAT)
		gh__http_fail(request, 400, "invalid request body: %s", gh__buf_str(&reason));
	else
		gh__http_fail(request, status_code(status), "failed to %s node: %s",
			      update ? "update" : "create", gh__buf_str(&reason));
	gh__buf_free(&reason);
	json_decref(object);
}

static void post_node(gh_network_node *node, gh__http_request *request, void *data)
{
	(void)data;
	put_object(node, request, NULL);
}

static void put_node(gh_network_node *node, gh__http_request *request, void *data)
{
	(void)data;
	put_object(node, request, gh__http_param(request, "id"));
}

static void add_error(json_t *errors, size_t index, const json_t *object, const char *reason)
{
	const char *id = json_string_value(json_object_get(object, "id"));
	gh__buf text = GH__BUF_INIT(REASON_MAX + 1024);

	gh__buf_printf(&text, "node[%zu] (id: %.*s): %s", index, GH_NODE_NAME_MAX, id ? id : "",
		       reason);
	json_array_append_new(errors, json_string(gh__buf_str(&text)));
	gh__buf_free(&text);
}

static void answer_batch(gh__http_request *request, json_t *nodes, json_t *errors)
{
	if (json_array_size(errors) == 0) {
		json_decref(errors);
		gh__http_respond_json(request, 201, nodes);
	} else if (json_array_size(nodes) > 0) {
		gh__http_respond_json(request, 206,
				      json_pack("{s:o, s:o}", "errors", errors, "nodes", nodes));
	} else {
		json_decref(nodes);
		gh__http_respond_json(request, 400,
				      json_pack("{s:{s:s, s:O}, s:o}", "error", "error",
						"all nodes failed validation", "errors", errors,
						"errors", errors));
	}
}

static void post_batch(gh_network_node *node, gh__http_request *request, void *data)
{
	json_t *body = gh__admin_body(request);
	json_t *nodes, *errors, *object;
	size_t i;

	(void)data;
	if (!body)
		return;
	if (!json_is_array(body) || json_array_size(body) > BATCH_MAX) {
		json_decref(body);
		gh__http_fail(request, 400,
			      "invalid request body: expected an array of at most %d nodes",
			      BATCH_MAX);
		return;
	}
	nodes = json_array();
	errors = json_array();
	json_array_foreach(body, i, object)
	{
		gh__buf reason = GH__BUF_INIT(REASON_MAX);
		json_t *answer = NULL;

		if (upsert(node, object, NULL, &answer, &reason) == GH_OK)
			json_array_append_new(nodes, answer);
		else
			add_error(errors, i, object, gh__buf_str(&reason));
		gh__buf_free(&reason);
	}
	json_decref(body);
	answer_batch(request, nodes, errors);
}

/* ---- DELETE nodes/:id, POST nodes/:id/enable and /disable ---- */

static void delete_node(gh_network_node *node, gh__http_request *request, void *data)
{
	gh_error error = GH_ERROR_INIT;
	const char *id = gh__http_param(request, "id");
	int32_t removed = 0;

	(void)data;
	if (gh_registry_remove(node->registry, id, &removed, &error) != GH_OK) {
		gh__http_fail(request, 500, "%s", error.text);
		return;
	}
	gh__broker_remove(node->broker, id);
	gh__info("admin", "node %s removed=%d", id, (int)removed);
	gh__http_respond_json(request, 200, json_boolean(removed));
}

static void set_enabled(gh_network_node *node, gh__http_request *request, bool enabled)
{
	gh_error error = GH_ERROR_INIT;
	const char *id = gh__http_param(request, "id");
	gh_status status = gh_registry_enable(node->registry, id, enabled, 0, &error);

	if (status != GH_OK) {
		gh__http_fail(request, status == GH_ENOENT ? 404 : 500, "%s", error.text);
		return;
	}
	gh__broker_enable(node->broker, id, enabled, 0);
	gh__http_respond_json(request, 200,
			      json_pack("{s:s, s:s}", "message",
					enabled ? "node enabled successfully"
						: "node disabled successfully",
					"node_id", id));
}

static void enable_node(gh_network_node *node, gh__http_request *request, void *data)
{
	(void)data;
	set_enabled(node, request, true);
}

static void disable_node(gh_network_node *node, gh__http_request *request, void *data)
{
	(void)data;
	set_enabled(node, request, false);
}

/* ---- routes ---- */

#define HANDLER(name)                                                    \
	static void on_##name(gh__http_request *request, void *userdata) \
	{                                                                \
		gh_network_node *node = userdata;                        \
                                                                         \
		gh__desk_hand(node->admin, name, request);               \
	}

HANDLER(list_nodes)
HANDLER(post_node)
HANDLER(put_node)
HANDLER(post_batch)
HANDLER(delete_node)
HANDLER(enable_node)
HANDLER(disable_node)
HANDLER(gh__poc_admin_begin)
HANDLER(gh__poc_admin_report)
HANDLER(gh__poc_admin_cancel)

const gh__http_route gh__admin_routes[] = {
	{ "GET", "/admin/v1/nodes", on_list_nodes },
	{ "POST", "/admin/v1/nodes", on_post_node },
	{ "POST", "/admin/v1/nodes/batch", on_post_batch },
	{ "PUT", "/admin/v1/nodes/:id", on_put_node },
	{ "DELETE", "/admin/v1/nodes/:id", on_delete_node },
	{ "POST", "/admin/v1/nodes/:id/enable", on_enable_node },
	{ "POST", "/admin/v1/nodes/:id/disable", on_disable_node },
	{ "POST", "/admin/v1/poc/rounds", on_gh__poc_admin_begin },
	{ "GET", "/admin/v1/poc/rounds/latest", on_gh__poc_admin_report },
	{ "DELETE", "/admin/v1/poc/rounds/latest", on_gh__poc_admin_cancel },
};

const size_t gh__admin_route_count = sizeof gh__admin_routes / sizeof gh__admin_routes[0];
