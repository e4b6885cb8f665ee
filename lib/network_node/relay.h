#ifndef GH_NETWORK_NODE_RELAY_H
#define GH_NETWORK_NODE_RELAY_H

#include "http/server.h"

struct gh_network_node;

/*
 * Pass a chat request to an inference node and its answer back, byte for byte and as it comes.
 * model NULL: whatever is loaded. The lease of the node lasts to the end of the answer. While
 * nothing has been sent to the client, a node that fails is replaced by another. Takes request: it
 * is finished here.
 */
void gh__relay_chat(struct gh_network_node *node, gh__http_request *request, const char *model);

#endif
