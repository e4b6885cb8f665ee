#include "network_node/relay.h"

#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "http/relay.h"
#include "network_node/network_node.h"

enum { TRIES = 3 };

/* An answer may pause that long between two bytes, prefill of a long prompt included. */
static const int64_t idle_timeout = 900 * GH__SECOND;

/* One request and the nodes it was tried on; the last lease is in use. */
typedef struct chat {
	gh_network_node *node;
	gh__http_request *request;
	char *model;                  /* NULL = any */
	gh__lease *leases[TRIES + 1]; /* NULL-terminated */
	int tries;
} chat;

static void chat_free(chat *c)
{
	int i;

	for (i = 0; i < c->tries; i++)
		gh__lease_free(c->leases[i]);
	gh__free(c->model);
	gh__free(c);
}

static void next_try(chat *c, const gh__relay_result *last);

static void on_end(const gh__relay_result *result, void *userdata)
{
	chat *c = userdata;
	gh__lease *lease = c->leases[c->tries - 1];
	bool refused = result->status == GH_OK && !result->begun && !result->gone;
	bool failed = result->status != GH_OK && !result->gone;

	if (failed)
		gh__warn("relay", "node %s: %s", gh__lease_node(lease), result->error->text);
	gh__lease_return(lease, failed || refused);
	if (result->begun || result->gone)
		chat_free(c);
	else
		next_try(c, result);
}

static gh_status start(chat *c, gh__lease *lease, gh_error *error)
{
	gh__buf url = GH__BUF_INIT(16384), token = GH__BUF_INIT(16384);
	gh__relay_options options = { 0 };
	gh_status status;

	gh__buf_printf(&url, "%s/v1/chat/completions", gh__lease_url(lease));
	gh__buf_printf(&token, "Bearer %s", gh__lease_token(lease));
	options.client = c->node->relay;
	options.url = gh__buf_str(&url);
	options.authorization = gh__lease_token(lease)[0] ? gh__buf_str(&token) : "";
	options.keep_back_refusals = true;
	options.idle_timeout = idle_timeout;
	options.end = on_end;
	options.userdata = c;
	status = gh__http_relay(c->request, &options, error);
	gh__buf_free(&url);
	gh__buf_free(&token);
	return status;
}

/* No node is left to try: hand on what the last one said, or say why there is nothing. */
static void give_up(chat *c, const gh__relay_result *last, const gh_error *error)
{
	if (last && last->status == GH_OK && last->http_status < 400)
		gh__http_fail(c->request, 502,
			      "no inference node answered: one sends elsewhere (%d)",
			      last->http_status);
	else if (last && last->status == GH_OK)
		gh__http_respond(c->request, last->http_status, last->content_type, last->body,
				 last->len);
	else if (last)
		gh__http_fail(c->request, 502, "no inference node answered: %s", last->error->text);
	else if (error->status == GH_EINVAL)
		gh__http_fail(c->request, 400, "%s", error->text);
	else if (error->text[0])
		gh__http_fail(c->request, 502, "no inference node answered: %s", error->text);
	else
		gh__http_fail(c->request, 500, "no nodes available for inference");
	chat_free(c);
}

static void next_try(chat *c, const gh__relay_result *last)
{
	gh_error error = GH_ERROR_INIT;

	while (c->tries < TRIES) {
		gh__lease *lease = gh__broker_lease(c->node->broker, c->model, c->leases);

		if (!lease)
			break;
		c->leases[c->tries++] = lease;
		if (start(c, lease, &error) == GH_OK)
			return;
		gh__lease_return(lease, false);
	}
	give_up(c, last, &error);
}

void gh__relay_chat(gh_network_node *node, gh__http_request *request, const char *model)
{
	chat *c = gh__calloc(1, sizeof *c);

	if (!c) {
		gh__http_fail(request, 500, "out of memory");
		return;
	}
	c->node = node;
	c->request = request;
	c->model = model ? gh__strdup(model) : NULL;
	if (model && !c->model) {
		chat_free(c);
		gh__http_fail(request, 500, "out of memory");
		return;
	}
	next_try(c, NULL);
}
