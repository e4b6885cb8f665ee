#ifndef GH_NETWORK_NODE_ORCHESTRATOR_H
#define GH_NETWORK_NODE_ORCHESTRATOR_H

#include <jansson.h>

#include <gonkahost/registry.h>

#include "http/client.h"
#include "network_node/broker.h"
#include "network_node/proofs.h"

/*
 * Rounds of proofs of compute without a chain: one at a time, on a thread of its own. It asks every
 * node whether it reaches our callback server, lets all generate, then judge samples of each
 * other's proofs, and comes to a verdict on each; after that everybody serves again.
 *
 * The round is kept in memory: what a restart interrupts is over. Proofs and verdicts are on the
 * disk.
 */
typedef struct gh__orchestrator gh__orchestrator;

typedef struct gh__orchestrator_options {
	gh_registry *registry; /* all borrowed */
	gh__broker *broker;
	gh__http_client *client;
	gh__proof_store *proofs;
	const char *callback_url; /* as nodes reach it, no slash behind it; copied */
	const char *identity;     /* what the callback server answers to a probe; copied */
} gh__orchestrator_options;

gh_status gh__orchestrator_create(gh__orchestrator **out, const gh__orchestrator_options *options,
				  gh_error *error);
/* Ends the round that is under way. The broker must live longer. NULL is allowed. */
void gh__orchestrator_free(gh__orchestrator *orchestrator);

/* order: as gh__round_create() reads it. GH_EBUSY: a round is under way; GH_ESTATE: there is no
 * node; GH_EINVAL, GH_EFORMAT name a field. May wait for the disk. */
gh_status gh__orchestrator_begin(gh__orchestrator *orchestrator, const json_t *order,
				 gh_error *error);
/* Call the round off: its nodes serve again. false: none is under way. */
bool gh__orchestrator_cancel(gh__orchestrator *orchestrator);

/* The round that is under way or was the last: a new reference, NULL when there was none. */
json_t *gh__orchestrator_report(gh__orchestrator *orchestrator);

#endif
