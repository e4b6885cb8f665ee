#include "network_node/judging.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "json/json.h"
#include "network_node/sample.h"

static bool of_round(const gh__proof_batch *batch, const gh__round *round)
{
	return strcmp(batch->block_hash, round->block_hash) == 0 &&
	       strcmp(batch->public_key, round->public_key) == 0;
}

/* ---- claims ---- */

static bool add_claims(gh__tally_node *node, const gh__proof_batch *batch, double r_target)
{
	size_t count = node->count + batch->count;
	int64_t *nonces = gh__realloc(node->nonces, count * sizeof *nonces);
	double *dist = nonces ? gh__realloc(node->dist, count * sizeof *dist) : NULL;

	node->nonces = nonces ? nonces : node->nonces;
	node->dist = dist ? dist : node->dist;
	if (!nonces || !dist)
		return false;
	memcpy(nonces + node->count, batch->nonces, batch->count * sizeof *nonces);
	memcpy(dist + node->count, batch->dist, batch->count * sizeof *dist);
	node->count = count;
	for (size_t i = 0; i < batch->count; i++)
		if (!(batch->dist[i] < r_target) && !node->fault[0])
			snprintf(node->fault, sizeof node->fault,
				 "nonce %lld is claimed with distance %.6g, which is no hit",
				 (long long)batch->nonces[i], batch->dist[i]);
	return true;
}

gh_status gh__judging_read_claims(gh__tally *tally, const gh__round *round, gh__proof_store *proofs,
				  gh_error *error)
{
	gh__proof_cursor cursor = { 0 };
	gh__proof_batch *batch = NULL;
	gh_status status;

	do {
		gh__tally_node *node;

		gh__free(batch);
		status = gh__proof_store_next(proofs, round->block_height, &cursor, &batch, error);
		node = status == GH_OK && batch && of_round(batch, round)
			       ? gh__tally_find(tally, batch->node_num)
			       : NULL;
		if (node && !add_claims(node, batch, round->r_target))
			status = gh__fail_nomem(error);
	} while (status == GH_OK && batch);
	gh__free(batch);
	return status;
}

/* ---- judges ---- */

static gh_status take_sample(gh__judgement *j, const gh__tally *tally, const gh__tally_node *node,
			     const gh__round *round, gh_error *error)
{
	size_t wanted = (size_t)round->sample, *indices;
	char text[2 * GH__PROOF_TEXT_MAX + 128];
	gh_status status;

	j->count = wanted < node->count ? wanted : node->count;
	indices = gh__malloc(j->count * sizeof *indices);
	j->nonces = gh__malloc(j->count * sizeof *j->nonces);
	j->dist = gh__malloc(j->count * sizeof *j->dist);
	if (!indices || !j->nonces || !j->dist) {
		gh__free(indices);
		return gh__fail_nomem(error);
	}
	snprintf(text, sizeof text, "%s:%s:%lld:%llu:%llu", round->public_key, round->block_hash,
		 (long long)round->block_height, (unsigned long long)node->number,
		 (unsigned long long)tally->nodes[j->judge].number);
	status = gh__sample(indices, wanted, node->count, text, error);
	for (size_t i = 0; i < j->count && status == GH_OK; i++) {
		j->nonces[i] = node->nonces[indices[i]];
		j->dist[i] = node->dist[indices[i]];
	}
	gh__free(indices);
	return status;
}

static gh_status assign(gh__tally *tally, size_t index, const gh__round *round, const bool *able,
			gh_error *error)
{
	gh__tally_node *node = &tally->nodes[index];
	gh_status status = GH_OK;

	for (size_t step = 1; step <= tally->count && status == GH_OK; step++) {
		size_t judge = (index + step) % tally->count;
		bool alone = judge == index && node->judge_count == 0;

		if (!able[judge] || (judge == index && !alone) ||
		    node->judge_count == GH__JUDGES_MAX)
			continue;
		node->judges[node->judge_count] = (gh__judgement){ .judge = judge };
		status = take_sample(&node->judges[node->judge_count++], tally, node, round, error);
	}
	return status;
}

gh_status gh__judging_assign(gh__tally *tally, const gh__round *round, const bool *able,
			     gh_error *error)
{
	gh_status status = GH_OK;

	/* A sample that holds what is no hit would be refused; and it needs no judge. */
	for (size_t i = 0; i < tally->count && status == GH_OK; i++)
		if (tally->nodes[i].count > 0 && !tally->nodes[i].fault[0])
			status = assign(tally, i, round, able, error);
	return status;
}

char *gh__judging_body(const gh__round *round, const gh__tally *tally, const gh__tally_node *node,
		       const gh__judgement *j)
{
	uint64_t ticket = gh__tally_ticket(node->number, tally->nodes[j->judge].number);
	json_t *nonces = json_array(), *dist = json_array(), *body;
	char *text = NULL;

	for (size_t i = 0; i < j->count; i++) {
		json_array_append_new(nonces, json_integer(j->nonces[i]));
		json_array_append_new(dist, json_real(j->dist[i]));
	}
	body = json_pack("{s:s, s:s, s:I, s:o, s:o, s:I}", "public_key", round->public_key,
			 "block_hash", round->block_hash, "block_height",
			 (json_int_t)round->block_height, "nonces", nonces, "dist", dist, "node_id",
			 (json_int_t)ticket);
	if (body)
		text = gh__json_text(body, NULL);
	json_decref(body);
	return text;
}

/* ---- answers ---- */

static bool same_sample(const gh__judgement *j, const gh__proof_batch *batch)
{
	return batch->count == j->count &&
	       memcmp(batch->nonces, j->nonces, j->count * sizeof *j->nonces) == 0;
}

/* The judge's own distances decide, not what it says of them. */
static void give(gh__judgement *j, const gh__proof_verdict *verdict, const gh__round *round)
{
	gh_error error = GH_ERROR_INIT;
	gh_poc_verdict found;
	gh_status status = gh_poc_judge(&found, j->dist, verdict->batch.dist, j->count,
					round->r_target, round->fraud_threshold, &error);

	if (status != GH_OK) {
		j->state = GH__JUDGE_SILENT;
		snprintf(j->problem, sizeof j->problem, "%s", error.text);
		return;
	}
	j->state = GH__JUDGE_GIVEN;
	j->invalid = found.n_invalid;
	j->probability_honest = found.probability_honest;
	j->fraud = found.fraud_detected != 0;
}

static void take_answer(gh__tally *tally, const gh__proof_verdict *verdict, const gh__round *round)
{
	uint64_t number, judge;
	gh__tally_node *node;

	gh__tally_of_ticket(verdict->batch.node_num, &number, &judge);
	node = gh__tally_find(tally, number);
	for (int i = 0; node && i < node->judge_count; i++) {
		gh__judgement *j = &node->judges[i];

		if (tally->nodes[j->judge].number == judge && j->state != GH__JUDGE_GIVEN &&
		    same_sample(j, &verdict->batch))
			give(j, verdict, round);
	}
}

gh_status gh__judging_collect(gh__tally *tally, const gh__round *round, gh__proof_store *proofs,
			      int64_t *cursor, gh_error *error)
{
	gh__proof_verdict *verdict = NULL;
	gh_status status;

	do {
		gh__free(verdict);
		status = gh__proof_store_next_verdict(proofs, round->block_height, cursor, &verdict,
						      error);
		if (status == GH_OK && verdict && of_round(&verdict->batch, round))
			take_answer(tally, verdict, round);
	} while (status == GH_OK && verdict);
	gh__free(verdict);
	return status;
}
