#ifndef GH_NETWORK_NODE_ADMIN_H
#define GH_NETWORK_NODE_ADMIN_H

#include "http/server.h"

/*
 * The admin API for nodes. Its handlers write to the disk, so each request goes over one desk: what
 * was answered is durable, and in the broker.
 */
extern const gh__http_route gh__admin_routes[];
extern const size_t gh__admin_route_count;

#endif
