#ifndef GH_INFERENCE_NODE_SENDER_H
#define GH_INFERENCE_NODE_SENDER_H

#include <gonkahost/base.h>

#include "http/client.h"
#include "inference_node/spool.h"

/*
 * Delivers what is in a spool to the network node, whatever the node is doing meanwhile.
 *
 * Each round joins the proofs that wait into batches; each batch is a request of its own, sent
 * again as it is until it is taken: any answer below 400, behind redirects. What fails on the way
 * or at the other side (5xx, 408, 429) is tried again after 1, 2, 4 to 30 s. Any other answer is a
 * refusal: the batch stays in the spool, untried, until its block is over. Batches wait for nobody
 * but themselves: some go at a time, and of those only a few to one URL.
 *
 * All functions are safe from any thread and none but gh__sender_stop() waits.
 */
typedef struct gh__sender gh__sender;

/* Durations in nanoseconds; 0 means default. */
typedef struct gh__sender_options {
	gh__spool *spool;        /* borrowed */
	gh__http_client *client; /* borrowed */
	int64_t interval;        /* between rounds; 5 s */
	int64_t timeout;         /* of a request; 10 s */
	int64_t backoff_min;     /* 1 s */
	int64_t backoff_max;     /* 30 s */
} gh__sender_options;

/* The first round is at once: it takes what another run has left behind. */
gh_status gh__sender_start(gh__sender **out, const gh__sender_options *options, gh_error *error);

/* Go on delivering until all is taken or gh__now() reaches the deadline, and end. What is left
 * stays in the spool. NULL is allowed. Not from a callback of the client. */
void gh__sender_stop(gh__sender *sender, int64_t deadline);

/* A round now, in which also those are tried that wait for a later time. */
void gh__sender_flush(gh__sender *sender);

/* The block at hand. All others are over: what was refused of them is forgotten, and what is
 * refused from now on is so at once. Until somebody has told, none is over. */
void gh__sender_block(gh__sender *sender, const char *block_hash);

typedef struct gh__sender_stats {
	int64_t pending_proofs;  /* in the spool, in a batch or not, refused ones too */
	int64_t pending_batches; /* verdicts too */
	int64_t delivered_proofs, delivered_batches, refused_batches; /* since the start */
	char last_error[256]; /* of the latest failure; "" after a delivery */
} gh__sender_stats;

void gh__sender_stats_get(gh__sender *sender, gh__sender_stats *out);

#endif
