#include "network_node/broker_entries.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "registry/node.h"

/*
 * Rounds of proofs of compute: what every node is to do.
 */

/* ---- commands; with the lock held ---- */

static void aim(gh__entry *entry, gh__node_status status, gh__poc_phase phase)
{
	if (entry->intended == status && entry->poc_intended == phase)
		return;
	entry->intended = status;
	entry->poc_intended = phase;
	gh__entry_turn(entry);
}

static void aim_at_phase(gh__entry *entry, gh__poc_phase phase)
{
	if (entry->callback == GH__CALLBACK_MISSED)
		aim(entry, GH__NODE_INFERENCE, GH__POC_IDLE);
	else
		aim(entry, GH__NODE_POC, phase);
}

static void join(gh__entry *entry, gh__round *round)
{
	uint64_t number = entry->node->number;

	gh__round_release(entry->round);
	entry->round = NULL;
	entry->misreport[0] = '\0';
	entry->poc_seen = (gh__poc_seen){ .tried = -1, .unsent = -1 };
	if (!entry->node->enabled || number == 0 || number >= (uint64_t)round->node_count) {
		aim(entry, GH__NODE_INFERENCE, GH__POC_IDLE);
		return;
	}
	entry->round = gh__round_hold(round);
	/* One that could not serve its model may be able to prove. */
	if (entry->current == GH__NODE_FAILED)
		entry->current = GH__NODE_UNKNOWN;
	/* What it was told of an earlier round says nothing of this one. */
	gh__entry_turn(entry);
	aim_at_phase(entry, GH__POC_GENERATING);
}

void gh__broker_generate(gh__broker *broker, gh__round *round)
{
	gh__entry *entry;

	pthread_mutex_lock(&broker->lock);
	broker->phase = GH__POC_GENERATING;
	for (entry = broker->entries; entry; entry = entry->next)
		join(entry, round);
	gh__broker_tell(broker);
	pthread_mutex_unlock(&broker->lock);
}

void gh__broker_validate(gh__broker *broker)
{
	gh__entry *entry;

	pthread_mutex_lock(&broker->lock);
	broker->phase = GH__POC_VALIDATING;
	for (entry = broker->entries; entry; entry = entry->next)
		if (entry->round)
			aim_at_phase(entry, GH__POC_VALIDATING);
	gh__broker_tell(broker);
	pthread_mutex_unlock(&broker->lock);
}

void gh__broker_serve(gh__broker *broker)
{
	gh__entry *entry;

	pthread_mutex_lock(&broker->lock);
	broker->phase = GH__POC_IDLE;
	for (entry = broker->entries; entry; entry = entry->next) {
		gh__round_release(entry->round);
		entry->round = NULL;
		entry->poc_current = GH__POC_IDLE;
		aim(entry, GH__NODE_INFERENCE, GH__POC_IDLE);
	}
	gh__broker_tell(broker);
	pthread_mutex_unlock(&broker->lock);
}

/* ---- what is learnt of a node ---- */

static gh__entry *numbered(const gh__broker *broker, uint64_t number)
{
	gh__entry *entry;

	for (entry = broker->entries; entry; entry = entry->next)
		if (entry->node->number == number)
			return entry;
	return NULL;
}

void gh__broker_set_callback(gh__broker *broker, uint64_t number, gh__callback_state state,
			     const char *problem)
{
	gh__entry *entry;

	pthread_mutex_lock(&broker->lock);
	entry = numbered(broker, number);
	if (entry) {
		entry->callback = state;
		snprintf(entry->callback_problem, sizeof entry->callback_problem, "%s", problem);
		if (entry->round)
			aim_at_phase(entry, broker->phase);
		gh__broker_tell(broker);
	}
	pthread_mutex_unlock(&broker->lock);
}

void gh__broker_misreported(gh__broker *broker, uint64_t number, const char *what)
{
	gh__entry *entry;

	pthread_mutex_lock(&broker->lock);
	entry = numbered(broker, number);
	if (entry)
		snprintf(entry->misreport, sizeof entry->misreport, "%s", what);
	pthread_mutex_unlock(&broker->lock);
}

/* ---- how all of them are ---- */

static void describe(gh__prover *out, const gh__entry *entry)
{
	const gh__poc_seen *seen = &entry->poc_seen;
	const char *problem = entry->failure;

	out->number = entry->node->number;
	out->id = gh__strdup(entry->node->id);
	out->url = gh__node_management_url(entry->node);
	out->token = gh__strdup(entry->node->auth_token);
	out->enabled = entry->node->enabled;
	out->takes_part = entry->round != NULL;
	out->on_duty = entry->round && gh__driver_proves(entry);
	out->ready = out->on_duty && seen->initialised;
	out->failed = entry->current == GH__NODE_FAILED;
	out->status = gh__node_status_name(entry->current);
	out->tried = seen->tried;
	out->unsent = seen->unsent;
	out->seen_at = seen->at;
	out->callback = entry->callback;
	if (entry->callback == GH__CALLBACK_MISSED)
		problem = entry->callback_problem;
	else if (!problem[0])
		problem = seen->problem;
	snprintf(out->problem, sizeof out->problem, "%s", problem);
	memcpy(out->misreport, entry->misreport, sizeof out->misreport);
}

static int by_number(const void *a, const void *b)
{
	uint64_t first = ((const gh__prover *)a)->number, second = ((const gh__prover *)b)->number;

	return first < second ? -1 : first > second;
}

gh_status gh__broker_provers(gh__broker *broker, gh__prover **out, size_t *count, gh_error *error)
{
	gh_status status = GH_OK;
	gh__prover *provers;
	gh__entry *entry;
	size_t n = 0;

	pthread_mutex_lock(&broker->lock);
	provers = gh__calloc(broker->count + 1, sizeof *provers);
	for (entry = broker->entries; entry && provers; entry = entry->next, n++) {
		describe(&provers[n], entry);
		if (!provers[n].id || !provers[n].url || !provers[n].token)
			status = GH_ENOMEM;
	}
	pthread_mutex_unlock(&broker->lock);
	if (!provers || status != GH_OK) {
		gh__provers_free(provers, n);
		return gh__fail_nomem(error);
	}
	qsort(provers, n, sizeof *provers, by_number);
	*out = provers;
	*count = n;
	return GH_OK;
}

void gh__provers_free(gh__prover *provers, size_t count)
{
	for (size_t i = 0; provers && i < count; i++) {
		gh__free(provers[i].id);
		gh__free(provers[i].url);
		gh__free(provers[i].token);
	}
	gh__free(provers);
}
