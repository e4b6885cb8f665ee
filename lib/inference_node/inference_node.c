#include "inference_node/inference_node.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/address.h"
#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/options.h"

static const char runtime_parent[] = "/tmp";

enum { INSTANCES_MAX = 128, START_SECONDS = 1200, DRAIN_SECONDS = 2 };

/* A worker whose client lags is made to wait, so little need be held here. */
enum { PENDING_MAX = 256 << 10 };

static gh_status check(const gh_inference_node_options *options, gh_error *error)
{
	if (options->port < -1 || options->port > 65535)
		return gh__fail(error, GH_EINVAL, "port: expected 1 to 65535 (-1: any), got %d",
				(int)options->port);
	if (options->inference_port < -1 || options->inference_port > 65535)
		return gh__fail(error, GH_EINVAL,
				"inference_port: expected 1 to 65535 (-1: any), got %d",
				(int)options->inference_port);
	if (options->gpus < 0 || options->instances_max < 0 || options->start_seconds < 0)
		return gh__fail(error, GH_EINVAL,
				"gpus, instances_max, start_seconds: expected 0 or more, got %d, "
				"%d, %d",
				(int)options->gpus, (int)options->instances_max,
				(int)options->start_seconds);
	return GH_OK;
}

/* GPUs as the driver shows them; of these, those that we were restricted to. */
static int32_t count_gpus(void)
{
	const char *visible = getenv("CUDA_VISIBLE_DEVICES");
	char path[32];
	int32_t n = 0, listed = 0;

	for (n = 0; n < 1024; n++) {
		snprintf(path, sizeof path, "/dev/nvidia%d", (int)n);
		if (access(path, F_OK) != 0)
			break;
	}
	if (!n || !visible)
		return n;
	for (listed = visible[0] != '\0'; *visible; visible++)
		listed += *visible == ',';
	return listed < n ? listed : n;
}

static gh_status start_supervisor(gh_inference_node *node, const gh_inference_node_options *given,
				  gh_error *error)
{
	gh__supervisor_options options = { 0 };
	char self[PATH_MAX] = "";

	if (!given->program && readlink("/proc/self/exe", self, sizeof self - 1) < 0)
		return gh__fail_errno(error, GH_EIO, errno, "/proc/self/exe");
	options.program = given->program ? given->program : self;
	options.runtime_dir = node->runtime.path;
	options.gpus = node->gpus;
	options.instances_max = given->instances_max ? given->instances_max : INSTANCES_MAX;
	options.start_timeout =
		(given->start_seconds ? given->start_seconds : START_SECONDS) * GH__SECOND;
	options.client = node->looks;
	options.traffic = node->relay;
	return gh__supervisor_create(&node->supervisor, &options, error);
}

/* What is found is kept in a file until the network node has it. */
static gh_status start_proofs(gh_inference_node *node, const gh_inference_node_options *given,
			      gh_error *error)
{
	gh__pow_options options = { .supervisor = node->supervisor, .budget = given->proof_budget };
	gh__buf path = GH__BUF_INIT(PATH_MAX);
	gh_status status;

	gh__buf_printf(&path, "%s/proofs.db", given->data_dir ? given->data_dir : ".gonkahost");
	status = gh__buf_status(&path);
	if (status == GH_OK)
		status = gh__spool_open(&node->spool,
					&(gh__spool_options){ .path = gh__buf_str(&path) }, error);
	else
		gh__fail(error, status, "data_dir: the path is too long");
	gh__buf_free(&path);
	if (status == GH_OK)
		status = gh__http_client_create(&node->control, error);
	if (status == GH_OK)
		status = gh__sender_start(&node->sender,
					  &(gh__sender_options){ .spool = node->spool,
								 .client = node->control },
					  error);
	options.client = node->control;
	options.spool = node->spool;
	options.sender = node->sender;
	return status == GH_OK ? gh__pow_create(&node->pow, &options, error) : status;
}

static gh_status start_server(gh__http_server **out, gh_inference_node *node,
			      const gh_inference_node_options *given, int32_t port,
			      const gh__http_route *route, unsigned idle_seconds, gh_error *error)
{
	gh__http_server_options options = { 0 };

	options.host = given->host;
	options.allow = given->allow;
	options.port = port < 0 ? 0 : port;
	options.routes = route;
	options.route_count = 1;
	options.userdata = node;
	options.error_body = gh__management_error;
	options.idle_seconds = idle_seconds;
	options.pending_max = PENDING_MAX;
	options.strip_version = true;
	return gh__http_server_start(out, &options, error);
}

/* Drivers leave connections of the management server open: they are closed after 5 s. */
static gh_status start_servers(gh_inference_node *node, const gh_inference_node_options *options,
			       gh_error *error)
{
	static const gh__http_route management = { NULL, "/*", gh__management_handle };
	static const gh__http_route inference = { NULL, "/*", gh__proxy_handle };
	gh_status status;

	if (options->host && gh__address_public(options->host) && !options->allow)
		gh__warn("inference_node",
			 "the management and inference APIs have no authentication and listen on a "
			 "public address host=%s",
			 options->host);
	status = start_server(&node->management, node, options,
			      options->port ? options->port : 8080, &management, 5, error);
	if (status == GH_OK)
		status = start_server(&node->inference, node, options,
				      options->inference_port ? options->inference_port : 5000,
				      &inference, 300, error);
	return status;
}

gh_status gh_inference_node_start(gh_inference_node **out, const gh_inference_node_options *given,
				  gh_error *error)
{
	gh_inference_node_options options;
	gh_inference_node *node;
	gh_status status = gh__options_copy(&options, sizeof options, sizeof options, given, error);

	if (status == GH_OK)
		status = check(&options, error);
	if (status != GH_OK)
		return status;
	node = gh__calloc(1, sizeof *node);
	if (!node)
		return gh__fail_nomem(error);
	node->gpus = options.gpus ? options.gpus : count_gpus();
	if (!options.runtime_dir)
		gh__runtime_sweep(runtime_parent);
	status = gh__runtime_make(&node->runtime, options.runtime_dir, runtime_parent, error);
	if (status == GH_OK)
		status = gh__http_client_create(&node->looks, error);
	if (status == GH_OK)
		status = gh__http_client_create(&node->relay, error);
	if (status == GH_OK)
		status = gh__http_client_create(&node->probes, error);
	if (status == GH_OK)
		status = start_supervisor(node, &options, error);
	if (status == GH_OK)
		status = start_proofs(node, &options, error);
	if (status == GH_OK)
		status = start_servers(node, &options, error);
	if (status != GH_OK) {
		gh_inference_node_stop(node);
		return status;
	}
	*out = node;
	return GH_OK;
}

void gh_inference_node_ports(const gh_inference_node *node, int32_t *management, int32_t *inference)
{
	if (management)
		*management = gh__http_server_port(node->management);
	if (inference)
		*inference = gh__http_server_port(node->inference);
}

/* The workers end while the servers drain, so that a pending order to serve is answered. */
void gh_inference_node_stop(gh_inference_node *node)
{
	int64_t deadline = gh__now() + DRAIN_SECONDS * GH__SECOND;

	if (!node)
		return;
	if (node->inference)
		gh__http_server_stop(node->inference, deadline);
	gh__pow_close(node->pow);
	if (node->supervisor) {
		gh_error ignored = GH_ERROR_INIT;

		if (gh__supervisor_down(node->supervisor, NULL, NULL, &ignored) != GH_OK)
			gh__warn("inference_node", "%s", ignored.text);
	}
	if (node->management)
		gh__http_server_stop(node->management, deadline + DRAIN_SECONDS * GH__SECOND);
	gh__sender_stop(node->sender, deadline + DRAIN_SECONDS * GH__SECOND);
	gh__http_client_free(node->probes);
	/* Until it is closed the supervisor cuts requests and tells the service that workers
	 * ended; until it is freed requests give their leases back. */
	gh__supervisor_close(node->supervisor);
	gh__http_client_free(node->relay);
	gh__http_client_free(node->control);
	gh__supervisor_free(node->supervisor);
	gh__pow_free(node->pow);
	gh__spool_close(node->spool);
	gh__http_client_free(node->looks);
	gh__runtime_remove(&node->runtime);
	gh__free(node);
}
