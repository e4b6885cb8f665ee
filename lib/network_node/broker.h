#ifndef GH_NETWORK_NODE_BROKER_H
#define GH_NETWORK_NODE_BROKER_H

#include <jansson.h>

#include <gonkahost/registry.h>

#include "http/client.h"
#include "network_node/round.h"

/*
 * The broker: what the network node knows of each inference node at this moment, and the driving of
 * all of them to what is intended.
 *
 * One thread looks at the nodes (in parallel: it only starts calls and reads their results) and
 * gives orders. Everybody else reads and takes leases under the broker's lock, which is never held
 * across I/O. An entry belongs to one registration: what was leased or asked of a node that has
 * been removed since does not touch its successor of the same id.
 */
typedef struct gh__broker gh__broker;
typedef struct gh__lease gh__lease;

gh_status gh__broker_create(gh__broker **out, gh__http_client *client, gh_error *error);
/* Stop driving: no call is started any more. Then, once the client is freed (so that no call is
 * under way) and all leases are, the rest. */
void gh__broker_stop(gh__broker *broker);
void gh__broker_free(gh__broker *broker);

/* The node is there, or has changed: number, switch and lock count of a known id are kept.
 * Copies. */
gh_status gh__broker_put(gh__broker *broker, const gh_node *node, gh_error *error);
void gh__broker_remove(gh__broker *broker, const char *id);
void gh__broker_enable(gh__broker *broker, const char *id, bool enabled, uint64_t epoch);

/* The state object of the admin API; a new reference, NULL when the id is unknown. */
json_t *gh__broker_state(gh__broker *broker, const char *id);

/* Ids of models that are loaded and ready on some node, each once, as an array of strings. */
json_t *gh__broker_models(gh__broker *broker, bool loaded_only);

/* ---- leases ---- */

/*
 * Lease the least loaded node that has the model loaded and room for one more. model NULL: any.
 * avoid: leases (of earlier tries) whose nodes are not wanted, NULL-terminated or NULL. NULL: none.
 * A lease counts against max_concurrent until it is released.
 */
gh__lease *gh__broker_lease(gh__broker *broker, const char *model, gh__lease *const *avoid);
const char *gh__lease_url(const gh__lease *lease);   /* of the inference server, no slash behind */
const char *gh__lease_token(const gh__lease *lease); /* "" = none */
const char *gh__lease_node(const gh__lease *lease);  /* id */
/* failed: no answer came from the node; it is looked at again at once. */
void gh__lease_return(gh__lease *lease, bool failed); /* no longer counts; still names its node */
void gh__lease_free(gh__lease *lease);                /* returns it first when it still counts */

/*
 * ---- proofs of compute: phase commands, and what came of them ----
 *
 * A command says what nodes are to do from now on; the broker sees to it, again and again where a
 * node falls out. Who takes part is settled by the first: nodes that are enabled and have a share
 * of the round's nonces (a number below its node_count). The others go on serving.
 */
void gh__broker_generate(gh__broker *broker, gh__round *round); /* keeps a reference */
void gh__broker_validate(gh__broker *broker);
void gh__broker_serve(gh__broker *broker); /* the round is over */

/* Whether a node reaches our callback server, as it says itself. */
typedef enum gh__callback_state {
	GH__CALLBACK_UNKNOWN = 0, /* it was not asked, or cannot tell */
	GH__CALLBACK_REACHED,
	GH__CALLBACK_MISSED /* its proofs would go nowhere: it is not sent into a round */
} gh__callback_state;
void gh__broker_set_callback(gh__broker *broker, uint64_t number, gh__callback_state state,
			     const char *problem);

/* A node has reported what it must not, in the round that is under way. */
void gh__broker_misreported(gh__broker *broker, uint64_t number, const char *what);

/* A node as it is now, and what it says of its proofs. */
typedef struct gh__prover {
	uint64_t number;
	char *id, *url,
		*token; /* url: of the management server, no slash behind it; token "" = none */
	bool enabled, takes_part;
	bool on_duty; /* in the phase that was commanded, as the node says */
	bool ready;   /* and its network is built */
	bool failed;
	const char *status;    /* static; of the admin API */
	int64_t tried, unsent; /* nonces, proofs; -1 = it does not tell */
	int64_t seen_at;       /* base's clock: of these counts */
	gh__callback_state callback;
	char problem[256];   /* why it is not on duty, or with its callbacks; "" = none */
	char misreport[256]; /* "" = none */
} gh__prover;

/* All nodes, in the order of their numbers; caller frees (gh__provers_free). */
gh_status gh__broker_provers(gh__broker *broker, gh__prover **out, size_t *count, gh_error *error);
void gh__provers_free(gh__prover *provers, size_t count);

#endif
