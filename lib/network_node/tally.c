#include "network_node/tally.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

gh__tally_node *gh__tally_find(const gh__tally *tally, uint64_t number)
{
	for (size_t i = 0; i < tally->count; i++)
		if (tally->nodes[i].number == number)
			return &tally->nodes[i];
	return NULL;
}

size_t gh__tally_judgements(const gh__tally *tally)
{
	return tally->count * GH__JUDGES_MAX;
}

gh__judgement *gh__tally_judgement(const gh__tally *tally, size_t index, gh__tally_node **node)
{
	gh__tally_node *of = &tally->nodes[index / GH__JUDGES_MAX];
	int k = (int)(index % GH__JUDGES_MAX);

	if (node)
		*node = of;
	return k < of->judge_count ? &of->judges[k] : NULL;
}

/* ---- verdicts ---- */

static bool is_fraud(const gh__tally_node *node)
{
	return node->verdict == GH__VERDICT_FRAUD;
}

/* What those say who are heard: alone, a node judges itself; of others, no fraud is heard. */
typedef struct votes {
	int fraud, honest, open;
} votes;

static votes count_votes(const gh__tally *tally, const gh__tally_node *node)
{
	votes v = { 0, 0, 0 };

	for (int i = 0; i < node->judge_count; i++) {
		const gh__judgement *j = &node->judges[i];

		if (&tally->nodes[j->judge] != node && is_fraud(&tally->nodes[j->judge]))
			continue;
		v.open += j->state == GH__JUDGE_ASKED;
		v.fraud += j->state == GH__JUDGE_GIVEN && j->fraud;
		v.honest += j->state == GH__JUDGE_GIVEN && !j->fraud;
	}
	return v;
}

static gh__tally_verdict verdict_of(const gh__tally *tally, const gh__tally_node *node)
{
	votes v = count_votes(tally, node);

	if (node->fault[0])
		return GH__VERDICT_FRAUD;
	if (!node->joined)
		return GH__VERDICT_ABSENT;
	if (node->count == 0)
		return GH__VERDICT_EMPTY;
	if (v.fraud + v.honest == 0)
		return GH__VERDICT_UNJUDGED;
	if (v.fraud == v.honest)
		return GH__VERDICT_DISPUTED;
	return v.fraud > v.honest ? GH__VERDICT_FRAUD : GH__VERDICT_HONEST;
}

/* All verdicts anew, by the last ones; true when one changed. settle: those that change are left
 * open to dispute. */
static bool pass(gh__tally *tally, bool settle)
{
	gh__tally_verdict *next = gh__calloc(tally->count + 1, sizeof *next);
	bool changed = false;

	for (size_t i = 0; next && i < tally->count; i++)
		next[i] = verdict_of(tally, &tally->nodes[i]);
	for (size_t i = 0; next && i < tally->count; i++) {
		bool other = next[i] != tally->nodes[i].verdict;

		tally->nodes[i].verdict = other && settle ? GH__VERDICT_DISPUTED : next[i];
		changed |= other;
	}
	gh__free(next);
	return changed;
}

void gh__tally_conclude(gh__tally *tally)
{
	size_t passes = tally->count + 2;

	for (size_t i = 0; i < tally->count; i++)
		tally->nodes[i].verdict = GH__VERDICT_OPEN;
	while (pass(tally, false) && passes > 0)
		passes--;
	if (passes == 0)
		pass(tally, true);
}

bool gh__tally_settled(gh__tally *tally)
{
	bool settled = true;

	gh__tally_conclude(tally);
	for (size_t i = 0; i < tally->count && settled; i++) {
		votes v = count_votes(tally, &tally->nodes[i]);

		settled = v.open == 0 || abs(v.fraud - v.honest) > v.open;
	}
	for (size_t i = 0; i < tally->count; i++)
		tally->nodes[i].verdict = GH__VERDICT_OPEN;
	return settled;
}

/* ---- tickets ---- */

enum { TICKET_BITS = 26 }; /* of each number: together far below what a double holds exactly */

uint64_t gh__tally_ticket(uint64_t node, uint64_t judge)
{
	return judge << TICKET_BITS | node;
}

void gh__tally_of_ticket(uint64_t ticket, uint64_t *node, uint64_t *judge)
{
	*node = ticket & ((UINT64_C(1) << TICKET_BITS) - 1);
	*judge = ticket >> TICKET_BITS;
}

/* ---- telling ---- */

static json_t *judge_object(const gh__tally *tally, const gh__judgement *j)
{
	json_t *object = json_pack("{s:s, s:I}", "id", tally->nodes[j->judge].id, "nonces",
				   (json_int_t)j->count);

	if (j->state == GH__JUDGE_GIVEN) {
		json_object_set_new(object, "invalid", json_integer((json_int_t)j->invalid));
		json_object_set_new(object, "probability_honest", json_real(j->probability_honest));
		json_object_set_new(object, "fraud_detected", json_boolean(j->fraud));
	} else {
		json_object_set_new(object, "problem",
				    json_string(j->problem[0] ? j->problem
							      : "no verdict has come"));
	}
	return object;
}

/* The most that one of its judges found. */
static uint64_t invalid(const gh__tally_node *node)
{
	uint64_t most = 0;

	for (int i = 0; i < node->judge_count; i++)
		if (node->judges[i].state == GH__JUDGE_GIVEN && node->judges[i].invalid > most)
			most = node->judges[i].invalid;
	return most;
}

static json_t *node_object(const gh__tally *tally, const gh__tally_node *node)
{
	json_t *judges = json_array();

	for (int i = 0; i < node->judge_count; i++)
		json_array_append_new(judges, judge_object(tally, &node->judges[i]));
	return json_pack("{s:s, s:I, s:s, s:b, s:o, s:o, s:I, s:I, s:o, s:s, s:s, s:s}", "id",
			 node->id, "node_num", (json_int_t)node->number, "status",
			 node->status ? node->status : "UNKNOWN", "joined", (int)node->joined,
			 "nonces", node->tried < 0 ? json_null() : json_integer(node->tried),
			 "rate", node->rate > 0 ? json_real(node->rate) : json_null(), "hits",
			 (json_int_t)node->count, "invalid", (json_int_t)invalid(node), "judges",
			 judges, "fault", node->fault, "problem", node->problem, "verdict",
			 gh__tally_verdict_name(node->verdict));
}

json_t *gh__tally_array(const gh__tally *tally)
{
	json_t *nodes = json_array();

	for (size_t i = 0; i < tally->count; i++)
		json_array_append_new(nodes, node_object(tally, &tally->nodes[i]));
	return nodes;
}

/* ---- the rest ---- */

const char *gh__tally_verdict_name(gh__tally_verdict verdict)
{
	static const char *const names[] = { "OPEN",     "HONEST", "FRAUD", "DISPUTED",
					     "UNJUDGED", "EMPTY",  "ABSENT" };

	return names[verdict];
}

void gh__tally_free(gh__tally *tally)
{
	for (size_t i = 0; i < tally->count; i++) {
		gh__tally_node *node = &tally->nodes[i];

		gh__free(node->id);
		gh__free(node->nonces);
		gh__free(node->dist);
		for (int k = 0; k < node->judge_count; k++) {
			gh__free(node->judges[k].nonces);
			gh__free(node->judges[k].dist);
		}
	}
	gh__free(tally->nodes);
	*tally = (gh__tally){ NULL, 0 };
}
