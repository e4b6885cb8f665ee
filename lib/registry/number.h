#ifndef GH_REGISTRY_NUMBER_H
#define GH_REGISTRY_NUMBER_H

#include <gonkahost/registry.h>

/*
 * Numbers of nodes, by which inference nodes are told apart in rounds of proof of compute. A number
 * is given once: what is removed takes its number along.
 */

/* *id: of the node with this number, caller frees (gh__free); NULL = none has it. */
gh_status gh__registry_id_of(gh_registry *registry, uint64_t number, char **id, gh_error *error);

/* The highest that was ever given; 0 = none. */
gh_status gh__registry_highest(gh_registry *registry, uint64_t *number, gh_error *error);

#endif
