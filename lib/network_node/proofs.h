#ifndef GH_NETWORK_NODE_PROOFS_H
#define GH_NETWORK_NODE_PROOFS_H

#include <stdbool.h>
#include <stddef.h>

#include <gonkahost/base.h>

/*
 * What inference nodes reported in rounds of proof of compute, in a database file of its own: it
 * grows with each round and forgets old ones, and neither may touch the records of nodes. What a
 * call stored is on the disk when it answers GH_OK.
 *
 * A round is one block. A proof is a nonce for one block and one public key; it is kept once,
 * whoever reports it how often. So a report that comes again changes nothing, and one that holds
 * something old and something new adds only the new.
 *
 * The latest GH__PROOF_ROUNDS rounds are kept; a new one takes the place of the one that was begun
 * first. Whatever is older than a chain's epoch is of no use to anybody.
 *
 * Threads: any. Reading does not wait for writing.
 */
typedef struct gh__proof_store gh__proof_store;

enum {
	GH__PROOF_ROUNDS = 8,
	GH__PROOF_ROUND_MAX = 1 << 21,  /* proofs of a round; and as many entries of verdicts */
	GH__PROOF_REPORT_MAX = 1 << 20, /* entries of one report */
	GH__PROOF_BATCH_MAX = 1 << 13,  /* of a stored batch: a larger report becomes several */
	GH__PROOF_TEXT_MAX = 256,       /* bytes of a key or a hash, which are opaque here */
	GH__PROOF_ID_SIZE = 37          /* of a batch's id, as a UUID is written, and a NUL */
};

typedef struct gh__proof_batch {
	const char *public_key;
	const char *block_hash;
	int64_t block_height;
	uint64_t node_num;   /* as the inference node said it */
	const char *node_id; /* of the node that had this number then; "" = none */
	const int64_t *nonces;
	const double *dist; /* finite */
	size_t count;       /* of nonces and of dist */
	const char *id;     /* made of the content; set when it is read */
} gh__proof_batch;

/* Of one participant's batch, checked: public_key and nonces are theirs, dist is what was
 * computed. */
typedef struct gh__proof_verdict {
	gh__proof_batch batch;
	const double *received_dist; /* [batch.count], finite */
	double r_target, fraud_threshold, probability_honest;
	int64_t n_invalid;
	bool fraud_detected;
} gh__proof_verdict;

/* The file is made when it is missing. */
gh_status gh__proof_store_open(gh__proof_store **out, const char *path, gh_error *error);
void gh__proof_store_close(gh__proof_store *proofs);

/* *added: how many of them were new. GH_ETOOBIG: the round is full, or the report too large;
 * GH_EEXIST: a nonce is of another node's share, in a round whose shares are fixed. Then nothing
 * was stored. */
gh_status gh__proof_store_add(gh__proof_store *proofs, const gh__proof_batch *batch, size_t *added,
			      gh_error *error);

/* *added: whether it was not there before. */
gh_status gh__proof_store_judge(gh__proof_store *proofs, const gh__proof_verdict *verdict,
				bool *added, gh_error *error);

/*
 * A node's share of a round's nonces: number, number + count, number + 2 * count, ... which its
 * groups of devices share in turn (gh_poc_nonce()). The count is fixed when a round is first asked
 * for, as one more than the highest number then, and stays: shares do not overlap, whenever a node
 * joins and however often it is started. GH_EINVAL: the number is not among those of the round (the
 * node came later, and joins in the next one).
 */
gh_status gh__proof_store_share(gh__proof_store *proofs, const char *block_hash,
				int64_t block_height, uint64_t number, uint64_t highest,
				int32_t *count, gh_error *error);

/* The highest that anything is known of; 0 = nothing is. */
gh_status gh__proof_store_height(gh__proof_store *proofs, int64_t *height, gh_error *error);

/*
 * Batches of a height one after another, those of one key together, beginning with a zeroed cursor.
 * NULL: there are no more. Each is one block of memory: caller frees (gh__free).
 */
typedef struct gh__proof_cursor {
	char public_key[GH__PROOF_TEXT_MAX + 1];
	int64_t holder;
	int64_t row;
} gh__proof_cursor;
gh_status gh__proof_store_next(gh__proof_store *proofs, int64_t height, gh__proof_cursor *cursor,
			       gh__proof_batch **out, gh_error *error);

/* Verdicts of a height, in the order in which they came; *cursor begins with 0. */
gh_status gh__proof_store_next_verdict(gh__proof_store *proofs, int64_t height, int64_t *cursor,
				       gh__proof_verdict **out, gh_error *error);

#endif
