#include "network_node/handing.h"

#include <stdio.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"

static const int64_t timeout = 10 * GH__SECOND;

/* What is to be handed over, and by which errand. */
typedef struct parcel {
	gh__tally_node *node;
	gh__judgement *judgement;
} parcel;

static size_t collect(const gh__tally *tally, parcel *out)
{
	size_t n = 0;

	for (size_t i = 0; i < gh__tally_judgements(tally); i++) {
		gh__tally_node *node;
		gh__judgement *j = gh__tally_judgement(tally, i, &node);

		if (j && j->state == GH__JUDGE_SILENT)
			out[n++] = (parcel){ node, j };
	}
	return n;
}

static const gh__prover *numbered(const gh__prover *nodes, size_t count, uint64_t number)
{
	for (size_t i = 0; i < count; i++)
		if (nodes[i].number == number)
			return &nodes[i];
	return NULL;
}

static gh_status prepare(const gh__handing *h, gh__errand *errand, const parcel *p,
			 const gh__prover *judge, gh_error *error)
{
	errand->url = judge ? gh__errand_url(judge->url, "/api/v1/pow/validate") : NULL;
	errand->token = judge ? judge->token : NULL;
	errand->body = gh__judging_body(h->round, h->tally, p->node, p->judgement);
	errand->timeout = timeout;
	return errand->body ? GH_OK : gh__fail_nomem(error);
}

/* true: it may go better the next time. */
static bool read(const gh__errand *errand, gh__judgement *j)
{
	if (errand->status / 100 == 2)
		j->state = GH__JUDGE_ASKED;
	else if (errand->status)
		snprintf(j->problem, sizeof j->problem, "it refused with status %d: %.150s",
			 errand->status, errand->answer ? errand->answer : "");
	else
		snprintf(j->problem, sizeof j->problem, "%s",
			 errand->url ? errand->problem : "it is not there any more");
	return errand->status == 0 || errand->status == 429 || errand->status >= 500;
}

static gh_status hand_over(const gh__handing *h, const parcel *parcels, size_t n, bool *again,
			   gh_error *error)
{
	gh__errands *errands = NULL;
	gh__prover *nodes;
	size_t count;
	gh_status status = gh__broker_provers(h->broker, &nodes, &count, error);

	if (status != GH_OK)
		return status;
	status = gh__errands_create(&errands, h->client, n, error);
	for (size_t i = 0; i < n && status == GH_OK; i++) {
		uint64_t judge = h->tally->nodes[parcels[i].judgement->judge].number;

		status = prepare(h, gh__errands_at(errands, i), &parcels[i],
				 numbered(nodes, count, judge), error);
	}
	if (status == GH_OK)
		status = gh__errands_run(errands, h->going, h->userdata);
	pthread_mutex_lock(h->lock);
	for (size_t i = 0; i < n && status == GH_OK; i++)
		*again |= read(gh__errands_at(errands, i), parcels[i].judgement);
	pthread_mutex_unlock(h->lock);
	gh__errands_free(errands);
	gh__provers_free(nodes, count);
	return status;
}

gh_status gh__handing_once(const gh__handing *h, bool *again, gh_error *error)
{
	parcel *parcels = gh__calloc(gh__tally_judgements(h->tally) + 1, sizeof *parcels);
	gh_status status = GH_OK;
	size_t n;

	*again = false;
	if (!parcels)
		return gh__fail_nomem(error);
	n = collect(h->tally, parcels);
	if (n > 0)
		status = hand_over(h, parcels, n, again, error);
	gh__free(parcels);
	return status;
}
