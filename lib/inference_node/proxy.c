#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "http/relay.h"
#include "inference_node/inference_node.h"

/*
 * Requests for the model go to the worker with the fewest of them. What cannot be passed on is
 * answered in bare text without a type, as drivers match it in logs.
 */

static const int64_t idle_timeout = 900 * GH__SECOND;

typedef struct passage {
	gh_inference_node *node;
	gh__http_request *request;
	gh__worker_lease lease;
} passage;

static void refuse(gh__http_request *request, int status, const char *text)
{
	gh__http_respond(request, status, NULL, text, strlen(text));
}

/* Nothing was sent: what the client sent cannot be passed on, or nobody took it. */
static void fail(gh__http_request *request, gh_status status)
{
	if (status == GH_EINVAL)
		gh__http_fail(request, 400, "Bad Request");
	else
		refuse(request, 502, "vLLM upstream failure");
}

static void on_end(const gh__relay_result *result, void *userdata)
{
	passage *p = userdata;
	bool failed = result->status != GH_OK && result->status != GH_EINVAL &&
		      result->status != GH_ECANCELLED && !result->gone; /* cancelled: by a stop */

	if (failed)
		gh__warn("proxy", "worker %d: %s", p->lease.index, result->error->text);
	gh__supervisor_release(p->node->supervisor, &p->lease, failed);
	if (!result->begun && !result->gone)
		fail(p->request, result->status);
	gh__free(p);
}

static void pass(gh_inference_node *node, gh__http_request *request, const gh__worker_lease *lease)
{
	gh_error error = GH_ERROR_INIT;
	gh__buf url = GH__BUF_INIT(65536);
	passage *p = gh__malloc(sizeof *p);
	gh__relay_options options = { 0 };
	gh_status status = GH_ENOMEM;

	gh__buf_printf(&url, "http://worker%s", gh__http_target(request));
	if (p && gh__buf_status(&url) == GH_OK) {
		p->node = node;
		p->request = request;
		p->lease = *lease;
		options.client = node->relay;
		options.url = gh__buf_str(&url);
		options.unix_path = lease->socket;
		options.idle_timeout = idle_timeout;
		options.end = on_end;
		options.userdata = p;
		status = gh__http_relay(request, &options, &error);
	}
	gh__buf_free(&url);
	if (status == GH_OK)
		return;
	gh__free(p);
	gh__supervisor_release(node->supervisor, lease, false);
	fail(request, status);
}

void gh__proxy_handle(gh__http_request *request, void *userdata)
{
	gh_inference_node *node = userdata;
	gh__supervisor_state state;
	gh__worker_lease lease;

	if (strcmp(gh__http_method(request), "HEAD") == 0) {
		gh__http_fail(request, 405, "Method Not Allowed");
		return;
	}
	/* What is between a node and its workers is nobody else's. */
	if (strncmp(gh__http_path(request), "/control", 8) == 0) {
		gh__http_fail(request, 404, "Not Found");
		return;
	}
	if (gh__supervisor_lease(node->supervisor, &lease)) {
		pass(node, request, &lease);
		return;
	}
	gh__supervisor_state_get(node->supervisor, &state);
	refuse(request, 503,
	       state.ever_up ? "vLLM backend not ready" : "No vLLM backend available");
}
