#ifndef GH_INFERENCE_NODE_POW_GROUP_H
#define GH_INFERENCE_NODE_POW_GROUP_H

#include <pthread.h>

#include "base/buf.h"
#include "inference_node/claim.h"
#include "inference_node/pow.h"

/*
 * Inside the proof service: its state, and what one worker is asked. All of it under the service's
 * lock; functions that say so release it meanwhile. Calls end on the client's loop, which only
 * notes what came.
 */
enum { GH__POW_GROUPS_MAX = 128, GH__POW_INBOX_MAX = 8 << 20 };

/* A round that a stream, or the service, belongs to. */
typedef struct gh__pow_held {
	unsigned references;
	gh__pow_round round;
} gh__pow_held;

gh__pow_held *gh__pow_held_new(const gh__pow_round *round); /* copies; NULL: no memory */
gh__pow_held *gh__pow_hold(gh__pow_held *held);
void gh__pow_release(gh__pow_held *held);                  /* or NULL */
gh__proof_round gh__pow_whose(const gh__pow_round *round); /* borrows */
bool gh__pow_same_network(const gh__pow_round *a, const gh__pow_round *b);
bool gh__pow_same_sequence(const gh__pow_round *a, const gh__pow_round *b); /* of nonces */

/* One worker, and what is under way with it. */
typedef struct gh__pow_group {
	uint64_t birth; /* of the process; 0: none is known */
	char socket[108];
	uint64_t network; /* that it was told of */
	bool asking, ready, failed, computing, finish_told;
	int64_t next_look, retry_at;
	double progress;
	int64_t bytes; /* of the network that it holds; 0: of none, or not known */

	bool streaming;
	uint64_t stream;   /* number of the latest one, which all that comes must bear; 0: none */
	uint64_t sequence; /* of what it generates */
	gh__pow_held *of;  /* whose proofs come; NULL: none */
	gh__http_call *call;
	gh__buf inbox; /* lines of the stream that nobody has read */
} gh__pow_group;

typedef struct gh__pow_waiter {
	gh__pow_done_fn *done;
	void *userdata;
	struct gh__pow_waiter *next;
} gh__pow_waiter;

struct gh__pow {
	gh__pow_options options;
	pthread_t thread;
	bool started;

	pthread_mutex_t lock;
	pthread_cond_t news;
	bool closing;
	gh__pow_held *round; /* NULL: the service does not run */
	gh__pow_phase phase;
	uint64_t network;         /* counts block hashes and parameters */
	uint64_t sequence;        /* counts what is to be generated */
	uint64_t streams;         /* that were begun */
	gh__pow_waiter *starting; /* who waits for the workers */
	bool ordered;             /* the supervisor was told to start them */
	gh__pow_waiter *stopping;
	int64_t stop_at; /* 0: no stop is under way */
	gh__claim *claims, **last_claim;
	size_t claim_count;
	gh__pow_group groups[GH__POW_GROUPS_MAX];
	int group_count;
	uint64_t room_network, room_generation; /* for whom there is room */
	int64_t budget;                         /* of each of them */
	bool giving_back; /* what is parked is on its way out; of the thread */
	char problem[256];
	uint64_t tried, hits;
};

/*
 * Whether the network of this round fits into the memory of these workers; p->budget is then what
 * each may use. A model that is parked and in the way is given up first. Releases the lock
 * meanwhile.
 */
bool gh__pow_has_room(gh__pow *pow, uint64_t generation);

/* What is to be done with a worker now; releases the lock meanwhile. */
void gh__pow_drive(gh__pow *pow, int index, int64_t now);
/* Lines that have come, into the spool; releases the lock meanwhile. */
void gh__pow_take_lines(gh__pow *pow, int index);
void gh__pow_forget(gh__pow *pow, int index);

#endif
