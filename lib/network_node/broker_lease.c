#include "network_node/broker_entries.h"

#include <string.h>

#include "base/alloc.h"
#include "registry/node.h"

/*
 * Leases: which node answers a client's request, and how many each has.
 */

struct gh__lease {
	gh__entry *entry; /* a reference */
	char *url, *token, *node;
	bool counts;
};

static bool avoided(const gh__entry *entry, gh__lease *const *avoid)
{
	for (; avoid && *avoid; avoid++)
		if ((*avoid)->entry == entry)
			return true;
	return false;
}

/* Without a chain the latest epoch stays 0, and an operator's switch bites at the next proof of
 * compute: until then a disabled node goes on serving. */
static bool eligible(const gh__entry *entry, const char *model)
{
	return entry->intended == GH__NODE_INFERENCE && entry->current == GH__NODE_INFERENCE &&
	       entry->order.kind == GH__ASK_NONE && entry->loaded_model &&
	       entry->locks < entry->node->max_concurrent &&
	       (!model || strcmp(model, entry->loaded_model) == 0);
}

static gh__entry *choose(gh__broker *broker, const char *model, gh__lease *const *avoid)
{
	gh__entry *entry, *best = NULL;

	for (entry = broker->entries; entry; entry = entry->next)
		if (eligible(entry, model) && !avoided(entry, avoid) &&
		    (!best || entry->locks < best->locks))
			best = entry;
	return best;
}

gh__lease *gh__broker_lease(gh__broker *broker, const char *model, gh__lease *const *avoid)
{
	gh__lease *lease = gh__calloc(1, sizeof *lease);
	gh__entry *entry;

	if (!lease)
		return NULL;
	pthread_mutex_lock(&broker->lock);
	entry = choose(broker, model, avoid);
	if (entry) {
		lease->entry = entry;
		lease->url = gh__node_inference_url(entry->node);
		lease->token = gh__strdup(entry->node->auth_token);
		lease->node = gh__strdup(entry->node->id);
		lease->counts = true;
		entry->locks++;
		entry->references++;
	}
	pthread_mutex_unlock(&broker->lock);
	if (!entry) {
		gh__free(lease);
		return NULL;
	}
	if (!lease->url || !lease->token || !lease->node) {
		gh__lease_free(lease);
		return NULL;
	}
	return lease;
}

const char *gh__lease_url(const gh__lease *lease)
{
	return lease->url;
}

const char *gh__lease_token(const gh__lease *lease)
{
	return lease->token;
}

const char *gh__lease_node(const gh__lease *lease)
{
	return lease->node;
}

void gh__lease_return(gh__lease *lease, bool failed)
{
	gh__entry *entry = lease->entry;
	gh__broker *broker = entry->broker;

	if (!lease->counts)
		return;
	pthread_mutex_lock(&broker->lock);
	lease->counts = false;
	entry->locks--;
	if (failed) {
		entry->look_wanted = true;
		gh__broker_tell(broker);
	}
	pthread_mutex_unlock(&broker->lock);
}

void gh__lease_free(gh__lease *lease)
{
	gh__broker *broker;

	if (!lease)
		return;
	gh__lease_return(lease, false);
	broker = lease->entry->broker;
	pthread_mutex_lock(&broker->lock);
	gh__entry_release(lease->entry);
	pthread_mutex_unlock(&broker->lock);
	gh__free(lease->url);
	gh__free(lease->token);
	gh__free(lease->node);
	gh__free(lease);
}
