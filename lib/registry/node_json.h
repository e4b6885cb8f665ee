#ifndef GH_REGISTRY_NODE_JSON_H
#define GH_REGISTRY_NODE_JSON_H

#include <stdbool.h>
#include <jansson.h>

#include <gonkahost/registry.h>

/*
 * Node objects of the admin API and of node-config.json.
 */

/* Reads types and sizes; what the values must be is gh_node_check()'s affair. Unknown fields are
 * ignored. name is what error texts begin with ("node[1]"), may be "". Caller frees (gh__free). */
gh_status gh__node_from_json(gh_node **out, const json_t *object, const char *name,
			     gh_error *error);

/* Fields in the admin API's order; with_number adds node_num. A new reference; NULL when out of
 * memory. */
json_t *gh__node_to_json(const gh_node *node, bool with_number);

/* The members models and hardware alone: how the store keeps them. */
json_t *gh__node_models_to_json(const gh_node *node);
json_t *gh__node_hardware_to_json(const gh_node *node); /* null when not said */

#endif
