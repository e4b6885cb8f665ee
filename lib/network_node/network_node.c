#include "network_node/network_node.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/address.h"
#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/options.h"

enum { DRAIN_SECONDS = 5, URL_MAX = 2048 };

/* A node whose client lags is made to wait, so little need be held here. */
enum { PENDING_MAX = 256 << 10 };

/* Every server of the node answers so: {"error": message}, a newline behind it, HTML escaped. */
static void server_options(gh__http_server_options *out, gh_network_node *node, const char *host,
			   int32_t port)
{
	memset(out, 0, sizeof *out);
	out->host = host ? host : "127.0.0.1";
	out->port = port < 0 ? 0 : port;
	out->userdata = node;
	out->pending_max = PENDING_MAX;
	out->newline = true;
	out->escape_html = true;
	out->pretty = true;
	out->json_type = "application/json; charset=UTF-8";
}

static gh_status check_port(const char *name, int32_t port, gh_error *error)
{
	if (port >= -1 && port <= 65535)
		return GH_OK;
	return gh__fail(error, GH_EINVAL, "%s: expected 1 to 65535 (-1: any), got %d", name,
			(int)port);
}

static size_t len_without_slash(const char *url)
{
	size_t len = strlen(url);

	while (len > 0 && url[len - 1] == '/')
		len--;
	return len;
}

static gh_status check_url(const char *url, gh_error *error)
{
	if (!url || ((strncmp(url, "http://", 7) == 0 || strncmp(url, "https://", 8) == 0) &&
		     strlen(url) < URL_MAX))
		return GH_OK;
	return gh__fail(error, GH_EINVAL, "callback_url: expected http://HOST:PORT, got '%.200s'",
			url);
}

static gh_status check(const gh_network_node_options *options, gh_error *error)
{
	gh_status status = check_port("public_port", options->public_port, error);

	if (status == GH_OK)
		status = check_port("callback_port", options->callback_port, error);
	if (status == GH_OK)
		status = check_port("admin_port", options->admin_port, error);
	if (status == GH_OK)
		status = check_url(options->callback_url, error);
	if (status == GH_OK && (options->flags & ~(uint32_t)GH_NETWORK_NODE_ALLOW_UNSIGNED))
		status = gh__fail(error, GH_EINVAL, "flags: unknown bits in 0x%x", options->flags);
	return status;
}

/* Proofs have a file of their own: it grows and is forgotten, round by round. */
static gh_status open_stores(gh_network_node *node, const gh_network_node_options *options,
			     gh_error *error)
{
	const char *folder = options->data_dir ? options->data_dir : ".dapi";
	gh__buf registry = GH__BUF_INIT(4096), proofs = GH__BUF_INIT(4096);
	int32_t merged;
	gh_status status;

	gh__buf_printf(&registry, "%s/registry.db", folder);
	gh__buf_printf(&proofs, "%s/proofs.db", folder);
	status = gh__buf_status(&registry);
	if (status == GH_OK)
		status = gh_registry_open(&node->registry, gh__buf_str(&registry), error);
	if (status == GH_OK && options->node_config && options->node_config[0])
		status = gh_registry_merge_config(node->registry, options->node_config, &merged,
						  error);
	if (status == GH_OK)
		status = gh__buf_status(&proofs);
	if (status == GH_OK)
		status = gh__proof_store_open(&node->proofs, gh__buf_str(&proofs), error);
	gh__buf_free(&registry);
	gh__buf_free(&proofs);
	return status;
}

static gh_status make_identity(gh_network_node *node, gh_error *error)
{
	unsigned char bytes[(sizeof node->identity - 1) / 2];

	if (getrandom(bytes, sizeof bytes, 0) != sizeof bytes)
		return gh__fail(error, GH_EIO, "getrandom: %s", strerror(errno));
	for (size_t i = 0; i < sizeof bytes; i++)
		snprintf(node->identity + 2 * i, 3, "%02x", bytes[i]);
	return GH_OK;
}

static gh_status start_desks(gh_network_node *node, gh_error *error)
{
	gh_status status = gh__desk_create(&node->admin, node, "gh-admin", error);

	if (status == GH_OK)
		status = gh__desk_create(&node->callback, node, "gh-callback", error);
	if (status == GH_OK)
		status = gh__desk_create(&node->public_desk, node, "gh-public", error);
	return status;
}

/* Every stored node goes to the broker; one that it refuses stays in the registry. */
static gh_status start_broker(gh_network_node *node, gh_error *error)
{
	gh_error problem = GH_ERROR_INIT;
	gh_node_list *list;
	gh_status status = gh__http_client_create(&node->control, error);
	size_t i;

	if (status == GH_OK)
		status = gh__broker_create(&node->broker, node->control, error);
	if (status == GH_OK)
		status = gh_registry_list(node->registry, &list, error);
	if (status != GH_OK)
		return status;
	for (i = 0; i < list->count; i++)
		if (gh__broker_put(node->broker, &list->nodes[i], &problem) != GH_OK)
			gh__error("broker", "node %s is left out: %s", list->nodes[i].id,
				  problem.text);
	gh_node_list_free(list);
	return GH_OK;
}

static gh_status start_server(gh__http_server **out, gh_network_node *node, const char *host,
			      int32_t port, const char *allow, const gh__http_route *routes,
			      size_t count, gh_error *error)
{
	gh__http_server_options options;

	server_options(&options, node, host, port);
	options.allow = allow;
	options.routes = routes;
	options.route_count = count;
	return gh__http_server_start(out, &options, error);
}

/* The callback server as nodes reach it: as we are told, or where it listens. */
static void write_callback_url(gh__buf *url, const gh_network_node *node,
			       const gh_network_node_options *options)
{
	const char *host = options->admin_host;

	if (options->callback_url) {
		gh__buf_append(url, options->callback_url,
			       len_without_slash(options->callback_url));
		return;
	}
	if (!host || strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0)
		host = "127.0.0.1";
	gh__buf_printf(url, strchr(host, ':') ? "http://[%s]:%d" : "http://%s:%d", host,
		       (int)gh__http_server_port(node->callback_server));
}

static gh_status start_orchestrator(gh_network_node *node, const gh_network_node_options *options,
				    gh_error *error)
{
	gh__buf url = GH__BUF_INIT(URL_MAX);
	gh__orchestrator_options with = { .registry = node->registry,
					  .broker = node->broker,
					  .client = node->control,
					  .proofs = node->proofs,
					  .identity = node->identity };
	gh_status status;

	write_callback_url(&url, node, options);
	with.callback_url = gh__buf_str(&url);
	status = gh__buf_status(&url);
	if (status == GH_OK)
		status = gh__orchestrator_create(&node->orchestrator, &with, error);
	gh__buf_free(&url);
	return status;
}

static gh_status start_servers(gh_network_node *node, const gh_network_node_options *options,
			       gh_error *error)
{
	const char *private_host = options->admin_host;
	const char *public_host = options->host;
	gh_status status;

	/* Clients come from everywhere, unless nobody checks who they are. */
	if (!public_host && !node->allow_unsigned)
		public_host = "0.0.0.0";
	if (private_host && gh__address_public(private_host) && !options->allow)
		gh__warn("network_node",
			 "the admin and callback APIs have no authentication and listen on a "
			 "public address host=%s",
			 private_host);
	if (node->allow_unsigned && public_host && gh__address_public(public_host))
		gh__warn("network_node",
			 "unsigned requests are answered on a public address host=%s", public_host);
	status = start_server(&node->callback_server, node, private_host,
			      options->callback_port ? options->callback_port : 9100,
			      options->allow, gh__callback_routes, gh__callback_route_count, error);
	if (status == GH_OK)
		status = start_orchestrator(node, options, error);
	if (status == GH_OK)
		status = start_server(&node->admin_server, node, private_host,
				      options->admin_port ? options->admin_port : 9200,
				      options->allow, gh__admin_routes, gh__admin_route_count,
				      error);
	if (status == GH_OK)
		status = start_server(&node->public_server, node, public_host,
				      options->public_port ? options->public_port : 8000, NULL,
				      gh__public_routes, gh__public_route_count, error);
	return status;
}

gh_status gh_network_node_start(gh_network_node **out, const gh_network_node_options *given,
				gh_error *error)
{
	gh_network_node_options options;
	gh_network_node *node;
	gh_status status = gh__options_copy(&options, sizeof options, sizeof options, given, error);

	if (status == GH_OK)
		status = check(&options, error);
	if (status != GH_OK)
		return status;
	node = gh__calloc(1, sizeof *node);
	if (!node)
		return gh__fail_nomem(error);
	node->allow_unsigned = (options.flags & GH_NETWORK_NODE_ALLOW_UNSIGNED) != 0;
	status = open_stores(node, &options, error);
	if (status == GH_OK)
		status = make_identity(node, error);
	if (status == GH_OK)
		status = start_broker(node, error);
	if (status == GH_OK)
		status = gh__http_client_create(&node->relay, error);
	if (status == GH_OK)
		status = start_desks(node, error);
	if (status == GH_OK)
		status = start_servers(node, &options, error);
	if (status != GH_OK) {
		gh_network_node_stop(node);
		return status;
	}
	*out = node;
	return GH_OK;
}

void gh_network_node_ports(const gh_network_node *node, int32_t *public_port,
			   int32_t *callback_port, int32_t *admin_port)
{
	if (public_port)
		*public_port = gh__http_server_port(node->public_server);
	if (callback_port)
		*callback_port = gh__http_server_port(node->callback_server);
	if (admin_port)
		*admin_port = gh__http_server_port(node->admin_server);
}

/* Servers first, so that nobody asks for what is taken down next. */
void gh_network_node_stop(gh_network_node *node)
{
	int64_t deadline = gh__now() + DRAIN_SECONDS * GH__SECOND;

	if (!node)
		return;
	if (node->public_server)
		gh__http_server_stop(node->public_server, deadline);
	if (node->callback_server)
		gh__http_server_stop(node->callback_server, deadline);
	if (node->admin_server)
		gh__http_server_stop(node->admin_server, deadline);
	gh__desk_free(node->admin);
	gh__desk_free(node->callback);
	gh__desk_free(node->public_desk);
	gh__orchestrator_free(node->orchestrator);
	if (node->broker)
		gh__broker_stop(node->broker);
	gh__http_client_free(node->relay);
	gh__http_client_free(node->control);
	gh__broker_free(node->broker);
	gh__proof_store_close(node->proofs);
	gh_registry_close(node->registry);
	gh__free(node);
}
