#ifndef GH_INFERENCE_NODE_INFERENCE_NODE_H
#define GH_INFERENCE_NODE_INFERENCE_NODE_H

#include <stdatomic.h>

#include <gonkahost/node.h>

#include "http/client.h"
#include "http/server.h"
#include "inference_node/pow.h"
#include "inference_node/runtime.h"
#include "inference_node/sender.h"
#include "inference_node/spool.h"
#include "inference_node/supervisor.h"

/*
 * An inference node: the management server, the inference server, the supervisor they share, and
 * the proof service with what it has to deliver.
 */
struct gh_inference_node {
	gh__http_client *looks;   /* at workers */
	gh__http_client *relay;   /* to workers */
	gh__http_client *control; /* proofs: workers, and the network node's callbacks */
	gh__http_client *probes;  /* of callback addresses */
	atomic_int probing;       /* of them under way */
	gh__supervisor *supervisor;
	gh__spool *spool;
	gh__sender *sender;
	gh__pow *pow;
	gh__http_server *management, *inference;
	gh__runtime runtime; /* for the workers' sockets */
	int32_t gpus;
};

/* management.c: every path of the management server. */
void gh__management_handle(gh__http_request *request, void *node);
json_t *gh__management_error(int status, const char *message, void *userdata);

/* proxy.c: to a worker and back. */
void gh__proxy_handle(gh__http_request *request, void *node);

#endif
