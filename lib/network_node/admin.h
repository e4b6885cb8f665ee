#ifndef GH_NETWORK_NODE_ADMIN_H
#define GH_NETWORK_NODE_ADMIN_H

#include <gonkahost/base.h>

#include "http/server.h"

/*
 * The admin API for nodes. Its handlers write to the disk, so each request is handed to one thread
 * that takes them in order: what it has answered is durable, and in the broker.
 */
typedef struct gh__admin gh__admin;

struct gh_network_node;

gh_status gh__admin_create(gh__admin **out, struct gh_network_node *node, gh_error *error);
/* Answers what is queued, then ends. */
void gh__admin_free(gh__admin *admin);

extern const gh__http_route gh__admin_routes[];
extern const size_t gh__admin_route_count;

#endif
