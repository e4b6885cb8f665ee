#ifndef GH_INFERENCE_NODE_WORKERS_H
#define GH_INFERENCE_NODE_WORKERS_H

#include <pthread.h>

#include "inference_node/order.h"
#include "inference_node/process.h"

/*
 * A set of workers: the processes that one order started, each listening on a socket of its own.
 * The set starts them, looks at them, replaces one that dies or falls silent, and ends them; when
 * it does which of these is its owner's decision.
 *
 * All of it is called on the supervisor's thread under the lock of the home. What other threads may
 * read under that lock, the fields say.
 */
enum { GH__WORKERS_MAX = 128 };

/* What all sets share. */
typedef struct gh__workers_home {
	char *program, *runtime_dir;
	int32_t gpus, instances_max;
	int64_t start_timeout;
	gh__http_client *client; /* for looks */
	pthread_mutex_t lock;
	int wake;                     /* eventfd of the supervisor's thread */
	uint64_t generations, births; /* of sets, and of processes, so far */
	char problem[256];            /* why a start failed, or why a worker was replaced */
} gh__workers_home;

typedef enum gh__worker_state {
	GH__WORKER_DOWN = 0,
	GH__WORKER_LOADING,
	GH__WORKER_READY
} gh__worker_state;

typedef struct gh__worker {
	gh__process process; /* of the thread */
	gh__worker_state state;
	char socket[108];
	int inflight; /* leases */
	uint64_t birth;
	double progress; /* of loading */

	/* of the thread, but for what a look brings */
	int silent;   /* looks without an answer in a row */
	int restarts; /* in a row */
	int64_t next_look, restart_at;
	int64_t loading_since;
	bool looking; /* a look is under way */
	bool looked;  /* its result waits */
	int look_status;
} gh__worker;

typedef enum gh__workers_phase {
	GH__WORKERS_STARTING = 1,
	GH__WORKERS_RUNNING,
	GH__WORKERS_EMPTYING, /* takes no requests any more; those that run may end */
	GH__WORKERS_PARKED,   /* keeps the model for an order that may come */
	GH__WORKERS_RESUMING, /* looked at, before the order that came is done */
	GH__WORKERS_ENDING
} gh__workers_phase;

typedef struct gh__workers {
	gh__workers_home *home;
	gh__workers_phase phase;
	gh__order *order;
	uint64_t generation;
	int slot;        /* whose names the sockets bear: 0 or 1 */
	int64_t since;   /* when the phase began */
	int64_t term_at; /* ENDING: when kindness ends */
	int looks_under_way;
	int count;
	gh__worker list[GH__WORKERS_MAX];
} gh__workers;

/* Takes the order. NULL: no memory, and the order is still the caller's. */
gh__workers *gh__workers_new(gh__workers_home *home, gh__order *order, int slot);
void gh__workers_free(gh__workers *set); /* one that is gone */

/* Start all of them; after a failure some may run, and the set is to be ended. */
gh_status gh__workers_start(gh__workers *set, gh_error *error);

/*
 * Look after a set that is STARTING, RUNNING or RESUMING. A start or a return that has come to its
 * end makes it RUNNING. A failure says why it cannot go on: it is to be ended.
 */
gh_status gh__workers_watch(gh__workers *set, gh_error *error);

void gh__workers_set_phase(gh__workers *set, gh__workers_phase phase);
void gh__workers_resume(gh__workers *set, gh__order *order); /* takes the order for its own */
bool gh__workers_lost_one(gh__workers *set);                 /* a process has ended by itself */
int gh__workers_ready(const gh__workers *set);
int gh__workers_leases(const gh__workers *set);

/* Begin to end it: nothing is asked of it any more. What is not gone within patience is killed. */
void gh__workers_end(gh__workers *set, int64_t patience);
/* Go on with that; true: nothing is left of it. */
bool gh__workers_gone(gh__workers *set);

#endif
