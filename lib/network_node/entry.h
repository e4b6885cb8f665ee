#ifndef GH_NETWORK_NODE_ENTRY_H
#define GH_NETWORK_NODE_ENTRY_H

#include <stdbool.h>
#include <jansson.h>

#include <gonkahost/registry.h>

#include "network_node/broker.h"
#include "network_node/round.h"

/*
 * One registration of one node, as the broker holds it. Everything is guarded by the broker's lock.
 */

/* The numbers are those of reconcile_info.status. */
typedef enum gh__node_status {
	GH__NODE_UNKNOWN = 0,
	GH__NODE_INFERENCE,
	GH__NODE_POC,
	GH__NODE_TRAINING,
	GH__NODE_STOPPED,
	GH__NODE_FAILED
} gh__node_status;

/* What a node does in a round; poc_status of the admin API. */
typedef enum gh__poc_phase {
	GH__POC_IDLE = 0,
	GH__POC_GENERATING,
	GH__POC_VALIDATING
} gh__poc_phase;

/* A call under way or its result, until the broker's thread has read it. */
typedef enum gh__ask_kind {
	GH__ASK_NONE = 0,
	GH__ASK_STATE,
	GH__ASK_HEALTH,
	GH__ASK_MODELS,
	GH__ASK_POC_STATUS,
	GH__ASK_STOP,
	GH__ASK_UP,
	GH__ASK_GENERATE,
	GH__ASK_VALIDATE
} gh__ask_kind;

typedef struct gh__ask {
	gh__ask_kind kind;
	bool under_way;
	bool done;
	int status;        /* HTTP; 0 = no answer */
	bool refused;      /* no answer, because nobody listens there */
	char *body;        /* caller frees (gh__free) */
	char problem[232]; /* when no answer came */
} gh__ask;

/* What a node says of the proofs that it computes. */
typedef struct gh__poc_seen {
	gh__poc_phase phase;
	bool initialised;      /* its network is built */
	int64_t tried, unsent; /* nonces, proofs; -1 = it does not tell */
	int64_t at;            /* base's clock */
	char problem[160];     /* with its callbacks or itself; "" = none */
} gh__poc_seen;

typedef struct gh__entry {
	struct gh__broker *broker;
	struct gh__entry *next;
	unsigned references; /* the broker's list, calls under way, leases */
	gh_node *node;

	/* what the admin API shows */
	gh__node_status intended, current;
	int64_t status_since; /* wall clock */
	int64_t last_look;    /* wall clock of the last answer; 0 = never */
	char failure[256];
	int32_t locks;
	char *loaded_model; /* ready to serve; NULL = none */

	/* the round it takes part in */
	gh__round *round; /* a reference; NULL = none */
	gh__poc_phase poc_intended, poc_current;
	gh__callback_state callback;
	char callback_problem[256]; /* of GH__CALLBACK_MISSED */
	char misreport[256];        /* what it reported that it must not; "" = nothing */

	/* what the driver knows and does */
	gh__ask look;            /* GH__ASK_STATE, _HEALTH, _MODELS, _POC_STATUS */
	gh__ask order;           /* GH__ASK_STOP, _UP, _GENERATE, _VALIDATE */
	gh__node_status seen;    /* by the last look at /state */
	bool seen_healthy;       /* /health and /v1/models are well */
	const char *unready;     /* else which of them is not, */
	int unready_status;      /* and what it answers; 0 = nothing */
	char *seen_model;        /* what /state or /v1/models names */
	char *seen_args;         /* JSON of additional_args, when /state tells them */
	char *ordered;           /* JSON [model, args] of our last successful or running order */
	gh__poc_phase poc_told;  /* of the round, that the node has taken */
	gh__poc_seen poc_seen;   /* by the last look at /pow/status */
	unsigned turns;          /* to another address or aim: what was asked before is nobody's */
	unsigned orders_done;    /* counts; a look that began before the last is out of date */
	unsigned look_began_at;  /* orders_done then */
	int failed_looks;        /* in a row */
	int64_t look_began;      /* base's clock; the last one */
	bool look_wanted;        /* there are news: do not wait for next_look */
	int failed_orders;       /* in a row */
	int64_t next_look;       /* base's clock */
	int64_t retry_at;        /* no order before */
	int64_t unhealthy_since; /* 0 = healthy or not serving */
} gh__entry;

/* ---- driver.c; with the lock held ---- */

/* What is known, and what is under way, is of another place or aim: forget it. */
void gh__entry_turn(gh__entry *entry);

/* The broker's thread. Read results, look, judge, give orders. Answers when to come again. Calls
 * that it wants are left in look and order, neither under way nor done: the broker starts them
 * unlocked. */
int64_t gh__driver_step(gh__entry *entry, int64_t now);

const char *gh__driver_path(const gh__ask *ask); /* of its call; static */

/* The request of a wanted ask; url and body: caller frees (gh__free). body NULL = none. */
typedef struct gh__ask_request {
	const char *method;
	char *url;
	char *body;
	char *authorization; /* header line or NULL */
	int64_t total_timeout;
} gh__ask_request;
gh_status gh__driver_request(const gh__entry *entry, const gh__ask *ask, gh__ask_request *out,
			     gh_error *error);
void gh__ask_request_done(gh__ask_request *request);

/* The model that a node is to serve; NULL = it has none. */
const gh_node_model *gh__entry_model(const gh__entry *entry);
/* Does a name mean the model: its id or its repository. */
bool gh__entry_names(const gh_node_model *model, const char *name);
json_t *gh__entry_args(const gh_node_model *model); /* a new reference */

/* ---- driver_poc.c ---- */

/* The answer to GH__ASK_POC_STATUS, read. */
void gh__driver_read_poc(gh__entry *entry, int64_t now);
/* The node has taken the order for the phase that is intended; and it does what that says. */
bool gh__driver_told(const gh__entry *entry);
bool gh__driver_proves(const gh__entry *entry);

const char *gh__node_status_name(gh__node_status status);
const char *gh__poc_phase_name(gh__poc_phase phase);
void gh__ask_set(gh__ask *ask, gh__ask_kind kind); /* as if nothing had been asked before */

#endif
