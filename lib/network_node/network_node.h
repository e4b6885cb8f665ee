#ifndef GH_NETWORK_NODE_NETWORK_NODE_H
#define GH_NETWORK_NODE_NETWORK_NODE_H

#include <gonkahost/node.h>
#include <gonkahost/registry.h>

#include "base/thread.h"
#include "http/client.h"
#include "http/server.h"
#include "network_node/admin.h"
#include "network_node/broker.h"
#include "network_node/callback.h"
#include "network_node/desk.h"
#include "network_node/orchestrator.h"
#include "network_node/proofs.h"

/*
 * A network node: three servers over one registry, one broker and one store of proofs.
 */
struct gh_network_node {
	gh_registry *registry;
	gh__broker *broker;
	gh__http_client *control; /* looks and orders */
	gh__http_client *relay;   /* clients' requests */
	gh__proof_store *proofs;
	gh__orchestrator *orchestrator;
	char identity[2 * 16 + 1]; /* by which an inference node knows that it reached us */
	gh__desk *admin, *callback, *public_desk; /* of each server's requests for the disk */
	gh__http_server *public_server, *callback_server, *admin_server;
	bool allow_unsigned;
};

/* The routes of the public server. */
extern const gh__http_route gh__public_routes[];
extern const size_t gh__public_route_count;

#endif
