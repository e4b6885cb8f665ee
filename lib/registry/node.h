#ifndef GH_REGISTRY_NODE_H
#define GH_REGISTRY_NODE_H

#include <gonkahost/registry.h>

/*
 * Node records as values: one block of memory each, so that copying and freeing are single acts.
 */

/* A copy in one block, its strings and arrays inside; NULL strings become "" except hf_repo and
 * hf_commit. Caller frees (gh__free). */
gh_status gh__node_copy(gh_node **out, const gh_node *node, gh_error *error);

/* As gh__node_copy(), with the host cleaned: no scheme before it, no slash behind it, no white
 * space around it. */
gh_status gh__node_copy_clean(gh_node **out, const gh_node *node, gh_error *error);

/* "http://host:port" + segment, or base_url + segment; IPv6 literals get their brackets. Caller
 * frees (gh__free); NULL when out of memory. */
char *gh__node_inference_url(const gh_node *node);
char *gh__node_management_url(const gh_node *node);

#endif
