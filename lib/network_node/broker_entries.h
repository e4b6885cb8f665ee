#ifndef GH_NETWORK_NODE_BROKER_ENTRIES_H
#define GH_NETWORK_NODE_BROKER_ENTRIES_H

#include "base/thread.h"
#include "network_node/broker.h"
#include "network_node/entry.h"

/*
 * What the broker's sources share. All but client is guarded by the lock.
 */
struct gh__broker {
	gh__http_client *client; /* borrowed */
	pthread_mutex_t lock;
	pthread_cond_t wake;
	pthread_t thread;
	gh__entry *entries;
	size_t count;
	gh__poc_phase phase; /* that was commanded last */
	bool news;           /* something came in since the thread's last pass began */
	bool closing;
};

/* ---- with the lock held ---- */

void gh__broker_tell(gh__broker *broker); /* its thread: there is something to do */
gh__entry *gh__broker_find(const gh__broker *broker, const char *id); /* NULL: unknown */
void gh__entry_release(gh__entry *entry);

#endif
