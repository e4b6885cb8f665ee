#ifndef GH_REGISTRY_NODE_CHECK_H
#define GH_REGISTRY_NODE_CHECK_H

#include <gonkahost/registry.h>

#include "base/buf.h"

/*
 * The rules that node records obey. Findings are collected in a buffer, all of them, joined with
 * "; ", so that an operator sees everything at once.
 */
void gh__node_check(gh__buf *findings, const gh_node *node); /* a cleaned copy */
void gh__node_check_against(gh__buf *findings, const gh_node *node, const gh_node *other);
/* All rules, those against the other nodes of a registry included; node need not be cleaned. An
 * error holds only the beginning of a long list: this is all of it. */
gh_status gh__registry_findings(gh_registry *registry, const gh_node *node, gh__buf *findings,
				gh_error *error);

gh_status gh__node_check_result(const gh__buf *findings, gh_error *error);

#endif
