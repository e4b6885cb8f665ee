#ifndef GH_NETWORK_NODE_TALLY_H
#define GH_NETWORK_NODE_TALLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <jansson.h>

/*
 * What came of a round: for each node its proofs, how others found a sample of them, and the
 * verdict. Plain data and what follows from it.
 */
enum { GH__JUDGES_MAX = 3 /* of a node */ };

typedef enum gh__judgement_state {
	GH__JUDGE_SILENT = 0, /* it has not taken the sample */
	GH__JUDGE_ASKED,
	GH__JUDGE_GIVEN
} gh__judgement_state;

typedef struct gh__judgement {
	size_t judge; /* which of the tally's nodes */
	gh__judgement_state state;
	int64_t *nonces; /* [count] the sample; freed with the tally (gh__free) */
	double *dist;    /* [count] as they were claimed; likewise */
	size_t count;
	uint64_t invalid; /* GH__JUDGE_GIVEN: by the distances that the judge computed */
	double probability_honest;
	bool fraud;
	char problem[232]; /* GH__JUDGE_SILENT */
} gh__judgement;

typedef enum gh__tally_verdict {
	GH__VERDICT_OPEN = 0, /* the round is not over */
	GH__VERDICT_HONEST,
	GH__VERDICT_FRAUD,
	GH__VERDICT_DISPUTED, /* as many say this as that */
	GH__VERDICT_UNJUDGED, /* nobody who is honest has judged it */
	GH__VERDICT_EMPTY,    /* it proved nothing */
	GH__VERDICT_ABSENT    /* it never generated */
} gh__tally_verdict;

typedef struct gh__tally_node {
	uint64_t number;
	char *id;           /* freed with the tally */
	const char *status; /* of the admin API; static */
	bool joined;        /* has generated */
	int64_t tried;      /* nonces, by its own count or the last it reported; -1 = not known */
	double rate;        /* nonces a second; 0 = not known */
	int64_t began_at, began_with; /* where the rate is measured from: base's clock, nonces */
	int64_t *nonces;              /* [count] hits that it reported; freed with the tally */
	double *dist;                 /* [count] */
	size_t count;
	char fault[256];   /* a claim that needs no computing to be wrong; "" = none */
	char problem[256]; /* why it did not join, or what else it met; "" = none */
	gh__judgement judges[GH__JUDGES_MAX];
	int judge_count;
	gh__tally_verdict verdict;
} gh__tally_node;

typedef struct gh__tally {
	gh__tally_node *nodes;
	size_t count;
} gh__tally;

gh__tally_node *gh__tally_find(const gh__tally *tally, uint64_t number); /* NULL: unknown */

/* All judgements, by index below gh__tally_judgements(): NULL where there is none. *node (may be
 * NULL): who is judged. */
size_t gh__tally_judgements(const gh__tally *tally);
gh__judgement *gh__tally_judgement(const gh__tally *tally, size_t index, gh__tally_node **node);

/*
 * The verdicts. A node is what the greater part of its judges says; what a judge says that is found
 * a fraud itself does not count, and where such judgements contradict each other nothing is
 * concluded.
 */
void gh__tally_conclude(gh__tally *tally);

/* Nothing that judges still say can change a verdict. Leaves verdicts open. */
bool gh__tally_settled(gh__tally *tally);

/* A judge's word on a node is echoed with a number: both of theirs. */
uint64_t gh__tally_ticket(uint64_t node, uint64_t judge);
void gh__tally_of_ticket(uint64_t ticket, uint64_t *node, uint64_t *judge);

/* An array of the nodes as they are told to people; a new reference. */
json_t *gh__tally_array(const gh__tally *tally);
const char *gh__tally_verdict_name(gh__tally_verdict verdict);
void gh__tally_free(gh__tally *tally); /* and ready for use again */

#endif
