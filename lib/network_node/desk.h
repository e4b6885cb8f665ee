#ifndef GH_NETWORK_NODE_DESK_H
#define GH_NETWORK_NODE_DESK_H

#include <gonkahost/base.h>

#include "http/server.h"

/*
 * A thread that answers requests one by one, in the order in which they came. What reads or writes
 * the disk is handed to it from a server's loop, which must not wait.
 */
typedef struct gh__desk gh__desk;

struct gh_network_node;

/* On the desk's thread; answers the request. data: as it was handed over. */
typedef void gh__desk_fn(struct gh_network_node *node, gh__http_request *request, void *data);

/* thread: its name, at most 15 characters. */
gh_status gh__desk_create(gh__desk **out, struct gh_network_node *node, const char *thread,
			  gh_error *error);
/* Answers what is queued, then ends. */
void gh__desk_free(gh__desk *desk);

/* GH_EBUSY: too many are waiting. GH_ENOMEM. */
gh_status gh__desk_push(gh__desk *desk, gh__desk_fn *fn, gh__http_request *request, void *data);

/* The same for a request just come: 503 or 500 says that it could not be queued. */
void gh__desk_hand(gh__desk *desk, gh__desk_fn *fn, gh__http_request *request);

#endif
