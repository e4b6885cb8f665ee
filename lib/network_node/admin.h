#ifndef GH_NETWORK_NODE_ADMIN_H
#define GH_NETWORK_NODE_ADMIN_H

#include <jansson.h>

#include "http/server.h"

/*
 * The admin API. Its handlers write to the disk, so each request goes over one desk: what
 * was answered is durable, and in the broker.
 */
extern const gh__http_route gh__admin_routes[];
extern const size_t gh__admin_route_count;

struct gh_network_node;

/* A body that is read as JSON; an empty one counts as an empty object. Else its type must be said.
 * A new reference; NULL: answered. */
json_t *gh__admin_body(gh__http_request *request);

/* ---- poc_admin.c: rounds of proofs of compute ---- */

void gh__poc_admin_begin(struct gh_network_node *node, gh__http_request *request, void *data);
void gh__poc_admin_report(struct gh_network_node *node, gh__http_request *request, void *data);
void gh__poc_admin_cancel(struct gh_network_node *node, gh__http_request *request, void *data);

#endif
