#ifndef GH_NETWORK_NODE_REACH_H
#define GH_NETWORK_NODE_REACH_H

#include "network_node/broker.h"
#include "network_node/errands.h"

/*
 * Does a node reach our callback server? It is asked to look itself: from here nobody can tell
 * which address means what on its network.
 */
typedef struct gh__reach {
	gh__http_client *client;
	gh__broker *broker;   /* is told what came of it */
	const char *url;      /* of callbacks */
	const char *identity; /* what our server answers there */
	gh__going_fn *going;
	void *userdata;
} gh__reach;

/* Ask all nodes that are enabled; again: those that missed us the last time. *missed: how many do.
 * GH_ECANCELLED: by going. */
gh_status gh__reach_ask(const gh__reach *reach, bool again, size_t *missed, gh_error *error);

#endif
