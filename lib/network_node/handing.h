#ifndef GH_NETWORK_NODE_HANDING_H
#define GH_NETWORK_NODE_HANDING_H

#include "base/thread.h"
#include "network_node/broker.h"
#include "network_node/errands.h"
#include "network_node/judging.h"

/*
 * Samples to their judges.
 */
typedef struct gh__handing {
	gh__http_client *client;
	gh__broker *broker;
	const gh__round *round;
	gh__tally *tally;      /* nobody else writes it */
	pthread_mutex_t *lock; /* for writing, since others read */
	gh__going_fn *going;
	void *userdata;
} gh__handing;

/* To every judge that has not taken his yet, once. *again: some may take it later. GH_ECANCELLED:
 * by going. */
gh_status gh__handing_once(const gh__handing *handing, bool *again, gh_error *error);

#endif
