#ifndef GH_NETWORK_NODE_BROKER_H
#define GH_NETWORK_NODE_BROKER_H

#include <jansson.h>

#include <gonkahost/registry.h>

#include "http/client.h"

/*
 * The broker: what the network node knows of each inference node at this moment, and the driving of
 * all of them to what is intended.
 *
 * One thread looks at the nodes (in parallel: it only starts calls and reads their results) and
 * gives orders. Everybody else reads and takes leases under the broker's lock, which is never held
 * across I/O. An entry belongs to one registration: what was leased or asked of a node that has been
 * removed since does not touch its successor of the same id.
 */
typedef struct gh__broker gh__broker;
typedef struct gh__lease gh__lease;

gh_status gh__broker_create(gh__broker **out, gh__http_client *client, gh_error *error);
/* Stop driving: no call is started any more. Then, once the client is freed (so that no call is under
 * way) and all leases are, the rest. */
void gh__broker_stop(gh__broker *broker);
void gh__broker_free(gh__broker *broker);

/* The node is there, or has changed: number, switch and lock count of a known id are kept. Copies. */
gh_status gh__broker_put(gh__broker *broker, const gh_node *node, gh_error *error);
void gh__broker_remove(gh__broker *broker, const char *id);
void gh__broker_enable(gh__broker *broker, const char *id, bool enabled, uint64_t epoch);

/* The state object of the admin API; a new reference, NULL when the id is unknown. */
json_t *gh__broker_state(gh__broker *broker, const char *id);

/* Ids of models that are loaded and ready on some node, each once, as an array of strings. */
json_t *gh__broker_models(gh__broker *broker, bool loaded_only);

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

#endif
