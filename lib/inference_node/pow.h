#ifndef GH_INFERENCE_NODE_POW_H
#define GH_INFERENCE_NODE_POW_H

#include <stdbool.h>
#include <jansson.h>

#include <gonkahost/poc.h>

#include "http/client.h"
#include "inference_node/sender.h"
#include "inference_node/spool.h"
#include "inference_node/supervisor.h"

/*
 * The proof service of an inference node: what round it is, which phase, and what the workers are
 * asked for it. Workers compute; what they find goes to the spool and from there, by the sender, to
 * the network node.
 *
 * One thread drives the workers: it starts calls, reads what has come, and writes to the spool.
 * Orders only change what is wanted, under a lock that is never held across I/O.
 */
typedef struct gh__pow gh__pow;

typedef enum gh__pow_phase { GH__POW_IDLE = 0, GH__POW_GENERATE, GH__POW_VALIDATE } gh__pow_phase;

typedef struct gh__pow_options {
	gh__supervisor *supervisor; /* all borrowed */
	gh__http_client *client;
	gh__spool *spool;
	gh__sender *sender;
	int64_t budget; /* bytes a worker may use, at most; 0 = half of its device's */
} gh__pow_options;

gh_status gh__pow_create(gh__pow **out, const gh__pow_options *options, gh_error *error);
/* Nothing is asked of workers any more. Client and supervisor must be freed before
 * gh__pow_free(). */
void gh__pow_close(gh__pow *pow);
void gh__pow_free(gh__pow *pow);

/* What an init request says. */
typedef struct gh__pow_round {
	char *block_hash, *public_key, *url;
	int64_t block_height, node_id, node_count; /* -1: not told */
	double r_target, fraud_threshold;
	gh_poc_params params;
} gh__pow_round;

/* message: why the workers did not come up; NULL: they did. Any thread. */
typedef void gh__pow_done_fn(const char *message, void *userdata);

/*
 * Start the service, or go on with another round or phase. A network that is built stays while
 * block hash and parameters do, and generation goes on behind the nonces that were tried. Copies.
 */
gh_status gh__pow_start(gh__pow *pow, const gh__pow_round *round, gh__pow_phase phase,
			gh__pow_done_fn *done, void *userdata, gh_error *error);

/* GH_ESTATE: not running; GH_EINVAL: nobody has told node_id and node_count. */
gh_status gh__pow_set_phase(gh__pow *pow, gh__pow_phase phase, gh_error *error);

/* A batch to be judged; body's fields have been checked. GH_ESTATE: not running; GH_EINVAL: another
 * round's, or what gh__claim_create() says; GH_EBUSY: too many wait. */
gh_status gh__pow_judge(gh__pow *pow, const json_t *body, gh_error *error);

/* Let batches under way come to their end (some seconds at most), then end the workers. */
gh_status gh__pow_stop(gh__pow *pow, gh__pow_done_fn *done, void *userdata, gh_error *error);

typedef struct gh__pow_status {
	bool running;
	gh__pow_phase phase;
	bool initialised; /* every worker has built its network */
	double progress;  /* of building, 0 to 1 */
	char problem[256];
	uint64_t tried, hits; /* since the start of the service */
	size_t waiting;       /* batches to be judged */
} gh__pow_status;

void gh__pow_status_get(gh__pow *pow, gh__pow_status *out);

#endif
