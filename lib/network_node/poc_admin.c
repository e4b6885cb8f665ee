#include "network_node/admin.h"
#include "network_node/network_node.h"

static int status_code(gh_status status)
{
	switch (status) {
	case GH_EINVAL:
	case GH_EFORMAT:
	case GH_ENOENT: /* of a set of parameters */
		return 400;
	case GH_EBUSY:
	case GH_ESTATE:
		return 409;
	default:
		return 500;
	}
}

static void respond_report(gh_network_node *node, gh__http_request *request)
{
	json_t *report = gh__orchestrator_report(node->orchestrator);

	if (report)
		gh__http_respond_json(request, 200, report);
	else
		gh__http_fail(request, 404, "there was no round since the node was started");
}

void gh__poc_admin_begin(gh_network_node *node, gh__http_request *request, void *data)
{
	gh_error error = GH_ERROR_INIT;
	json_t *order = gh__admin_body(request);
	gh_status status;

	(void)data;
	if (!order)
		return;
	status = gh__orchestrator_begin(node->orchestrator, order, &error);
	json_decref(order);
	if (status == GH_OK)
		respond_report(node, request);
	else
		gh__http_fail(request, status_code(status), "%s", error.text);
}

void gh__poc_admin_report(gh_network_node *node, gh__http_request *request, void *data)
{
	(void)data;
	respond_report(node, request);
}

void gh__poc_admin_cancel(gh_network_node *node, gh__http_request *request, void *data)
{
	(void)data;
	if (gh__orchestrator_cancel(node->orchestrator))
		respond_report(node, request);
	else
		gh__http_fail(request, 409, "no round is under way");
}
