#ifndef GH_INFERENCE_NODE_SPOOL_H
#define GH_INFERENCE_NODE_SPOOL_H

#include <stdbool.h>
#include <stddef.h>

#include <gonkahost/base.h>

/*
 * What the network node is still to be told, on the disk until it has taken it: proofs, and
 * verdicts on the proofs of others. What an adding function has taken survives the end of the
 * process.
 *
 * Proofs wait one by one until they are joined into a batch. A batch has a number, and a body that
 * never changes again: it is sent as it is until it is forgotten. A nonce goes into one batch only,
 * and it stays known after that batch is forgotten, so that it is never sent for the same block and
 * key again, whoever computes it again.
 *
 * All functions are safe from any thread, and all but gh__spool_counts_get() may wait for the disk.
 * One process at a time has a spool open.
 */
typedef struct gh__spool gh__spool;

/* Zero means default. A round is dropped, whatever of it was not sent included, when one begins
 * that is more than `heights` blocks higher, or when nothing came to it for `age` nanoseconds. */
typedef struct gh__spool_options {
	const char *path;
	int64_t heights; /* 0 = 20000 */
	int64_t age;     /* 0 = three days */
} gh__spool_options;

/* GH_EBUSY: another process has it open. Drops what has grown too old. */
gh_status gh__spool_open(gh__spool **out, const gh__spool_options *options, gh_error *error);
void gh__spool_close(gh__spool *spool);

/* Whose proofs they are, and where they are to go: to `url` + "/generated". */
typedef struct gh__proof_round {
	const char *url, *block_hash, *public_key;
	int64_t block_height, node_id;
} gh__proof_round;

/*
 * Take proofs that hit. Those whose nonce is known of this block and key are left out; *added (may
 * be NULL) counts the others. All or none. GH_EINVAL: a nonce is negative or a distance is no
 * number. GH_ETOOBIG: too much waits already.
 */
gh_status gh__spool_add(gh__spool *spool, const gh__proof_round *round, const int64_t *nonces,
			const double *dist, size_t count, size_t *added, gh_error *error);

/* Take a verdict: the whole body of what is to go to url + "/validated". */
gh_status gh__spool_add_verdict(gh__spool *spool, const char *url, const char *block_hash,
				int64_t block_height, const char *json, gh_error *error);

/*
 * How far a group of devices has come in its sequence of nonces: the first index that was not tried
 * yet. An index only goes up. Another node_id, node_count or number of groups is another sequence.
 */
gh_status gh__spool_next(gh__spool *spool, const gh__proof_round *round, int64_t node_count,
			 int64_t group, int64_t groups, uint64_t *index, gh_error *error);
gh_status gh__spool_advance(gh__spool *spool, const gh__proof_round *round, int64_t node_count,
			    int64_t group, int64_t groups, uint64_t index, gh_error *error);

/* ---- for the sender ---- */

/* Proofs in a batch at most; a body is then below 1 MiB. */
#define GH__SPOOL_BATCH_MAX 16384

/*
 * Join the proofs that wait, those of equal url, block, key, height and node into one batch (or
 * more, if they are too many for one). A round of which `open` batches are there already, refused
 * ones not counted, gets no more: while nobody takes them, what is new is better kept for one
 * larger batch.
 */
gh_status gh__spool_join(gh__spool *spool, int64_t open, gh_error *error);

typedef struct gh__spool_batch {
	int64_t number;
	bool refused;
	const char *url; /* whole: with "/generated" or "/validated" */
	const char *block_hash;
	int64_t proofs; /* 0: a verdict */
} gh__spool_batch;

/* The first batch behind this number; *out NULL: there is none. Caller frees *out (gh__free). */
gh_status gh__spool_after(gh__spool *spool, int64_t number, gh__spool_batch **out, gh_error *error);
/* GH_ENOENT: it is not there any more. Caller frees *body (gh__free). */
gh_status gh__spool_body(gh__spool *spool, int64_t number, char **body, size_t *len,
			 gh_error *error);
/* It was taken, or nobody will ever take it. */
gh_status gh__spool_forget(gh__spool *spool, int64_t number, gh_error *error);
/* It was refused for good: it stays until its block is over, or its round dropped. */
gh_status gh__spool_refuse(gh__spool *spool, int64_t number, gh_error *error);
/* Forget what was refused, but of this block. */
gh_status gh__spool_give_up(gh__spool *spool, const char *block_hash, gh_error *error);

typedef struct gh__spool_counts {
	int64_t proofs;  /* not forgotten, in a batch or not */
	int64_t loose;   /* of them in no batch yet */
	int64_t batches; /* with verdicts and refused ones */
} gh__spool_counts;

void gh__spool_counts_get(gh__spool *spool, gh__spool_counts *out);

#endif
