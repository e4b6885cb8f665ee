#ifndef GH_NETWORK_NODE_ROUND_H
#define GH_NETWORK_NODE_ROUND_H

#include <stdatomic.h>
#include <jansson.h>

#include <gonkahost/poc.h>

/*
 * A round of proofs of compute: one block, and what every node is told of it. It never changes once
 * it is made, and is shared by counting references.
 */
typedef struct gh__round {
	atomic_uint references;
	char *block_hash, *public_key;
	char *url; /* where nodes report to */
	int64_t block_height;
	gh_poc_params params;
	double r_target, fraud_threshold;
	int32_t node_count;         /* shares: a node's nonces are number + k * node_count */
	int32_t sample;             /* nonces of a node that a judge is given, at most */
	int64_t generate, validate; /* nanoseconds: how long nodes generate; and judge, at most */
} gh__round;

enum { GH__ROUND_SAMPLE_MAX = 1 << 16 };

/*
 * What somebody ordered, as the object of the admin API:
 *   block_hash, block_height, public_key, params (the name of a set, or an object), r_target,
 *   fraud_threshold, sample_size, generate_seconds, validate_seconds
 * Each may be missing. A hash is then made up, and the key is one whose secret everybody knows.
 * height: that of a block without one. node_count is still 0. GH_EINVAL, GH_EFORMAT name the field.
 */
gh_status gh__round_create(gh__round **out, const json_t *order, int64_t height, const char *url,
			   gh_error *error);
gh__round *gh__round_hold(gh__round *round);
void gh__round_release(gh__round *round); /* NULL is allowed */

/* The body of pow/init/generate and pow/init/validate; caller frees (gh__free). */
gh_status gh__round_init_body(const gh__round *round, uint64_t number, char **out, gh_error *error);

/* The same fields as they are told to people; a new reference. */
json_t *gh__round_object(const gh__round *round);

#endif
