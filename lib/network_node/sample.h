#ifndef GH_NETWORK_NODE_SAMPLE_H
#define GH_NETWORK_NODE_SAMPLE_H

#include <gonkahost/base.h>

/*
 * Which of a node's proofs are computed anew: a sample without replacement that nobody can foretell
 * who does not know the block yet, and everybody can repeat who does.
 *
 * out[wanted]: indices below total; with wanted >= total, all of them in their order. text: what
 * the choice depends on, at most GH__POC_SEED_MAX bytes. Any thread. GH_ENOMEM, GH_ETOOBIG.
 */
gh_status gh__sample(size_t *out, size_t wanted, size_t total, const char *text, gh_error *error);

#endif
