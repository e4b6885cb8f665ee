#ifndef GH_NETWORK_NODE_JUDGING_H
#define GH_NETWORK_NODE_JUDGING_H

#include "network_node/proofs.h"
#include "network_node/round.h"
#include "network_node/tally.h"

/*
 * Nodes judge each other: what each has claimed, which of it others are asked to compute, and what
 * they answer.
 */

/* What the nodes of a tally have reported; hits that are none are a fault. */
gh_status gh__judging_read_claims(gh__tally *tally, const gh__round *round, gh__proof_store *proofs,
				  gh_error *error);

/* Judges for every node that claims something, each with a sample of its own: others in turn, or
 * the node itself where there are none. able[i]: node i can judge. */
gh_status gh__judging_assign(gh__tally *tally, const gh__round *round, const bool *able,
			     gh_error *error);

/* The body of pow/validate; caller frees (gh__free). NULL: out of memory. */
char *gh__judging_body(const gh__round *round, const gh__tally *tally, const gh__tally_node *node,
		       const gh__judgement *judgement);

/* Answers that have come since; *cursor begins with 0. */
gh_status gh__judging_collect(gh__tally *tally, const gh__round *round, gh__proof_store *proofs,
			      int64_t *cursor, gh_error *error);

#endif
