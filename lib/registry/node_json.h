#ifndef GH_REGISTRY_NODE_JSON_H
#define GH_REGISTRY_NODE_JSON_H

#include <stdbool.h>
#include <jansson.h>

#include <gonkahost/registry.h>

/*
 * Node objects of the admin API and of node-config.json.
 */

/* Reads types only; what the values must be is gh_node_check()'s. Caller frees
 * (gh__node_free). Texts of errors: "inference_port: expected an integer, got a string". */
gh_status gh__node_from_json(gh_node **out, const json_t *object, gh_error *error);
void gh__node_free(gh_node *node);
gh_status gh__node_copy(gh_node **out, const gh_node *node, gh_error *error);

/* Fields in the order of the admin API's node object; with_number adds node_num. A new reference;
 * NULL when out of memory. */
json_t *gh__node_to_json(const gh_node *node, bool with_number);

#endif
