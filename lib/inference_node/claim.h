#ifndef GH_INFERENCE_NODE_CLAIM_H
#define GH_INFERENCE_NODE_CLAIM_H

#include <stdbool.h>
#include <jansson.h>

#include <gonkahost/base.h>

#include "base/buf.h"

/*
 * A batch of proofs that another participant claims, on its way to a verdict: computed anew in
 * pieces, by whichever worker is free. Nothing here is locked.
 */
typedef struct gh__claim {
	struct gh__claim *next;
	char *public_key, *block_hash;
	int64_t block_height, node_id;
	double r_target;
	size_t count;
	int64_t *nonces;             /* [count] */
	double *received, *computed; /* [count] */
	unsigned char *pieces;       /* what has become of each */
	size_t piece_count, done;
	unsigned under_way, failures;
} gh__claim;

/* Of a body whose fields have been checked. GH_EINVAL names what is wrong: lists of unequal length,
 * a nonce below 0, a distance that is no hit. */
gh_status gh__claim_create(gh__claim **out, const json_t *body, double r_target, gh_error *error);
void gh__claim_free(gh__claim *claim);

/* The next piece to be computed: nonces from *first on. false: there is none now. */
bool gh__claim_take(gh__claim *claim, size_t *first, size_t *count);
/* What a worker is asked for it. */
void gh__claim_ask(gh__buf *out, const gh__claim *claim, size_t first, size_t count);
/* Its answer, {"dist": [...]}; NULL, or one that does not fit: it is tried once more. */
void gh__claim_give(gh__claim *claim, size_t first, size_t count, const json_t *answer);

bool gh__claim_is_whole(const gh__claim *claim);
/* Failed twice, or given up with gh__claim_cancel(), and nothing of it is under way. */
bool gh__claim_is_lost(const gh__claim *claim);
/* Nobody wants it any more: nothing more of it is computed. */
void gh__claim_cancel(gh__claim *claim);
bool gh__claim_is_cancelled(const gh__claim *claim);

/* The payload of the callback. */
gh_status gh__claim_judge(gh__buf *out, const gh__claim *claim, double fraud_threshold,
			  gh_error *error);

#endif
