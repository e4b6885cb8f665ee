#ifndef GH_INFERENCE_NODE_SUPERVISOR_H
#define GH_INFERENCE_NODE_SUPERVISOR_H

#include <jansson.h>
#include <stdbool.h>

#include <gonkahost/node.h>

#include "http/client.h"

/*
 * The workers of an inference node: started for one model, watched, replaced when they die or fall
 * silent, ended. One thread does all of it; orders wait in line for it, readers see a snapshot and
 * never wait.
 *
 * There are two sets of workers. The active one does what was ordered last. A model that is stopped
 * is parked: its workers take no requests, but keep it loaded, so that the same order brings it
 * back at once. They are ended by any order that wants another model, by gh__supervisor_down(), by
 * gh__supervisor_give_back(), when one of them dies, and when nothing has run for park_patience.
 */
typedef struct gh__supervisor gh__supervisor;

typedef struct gh__supervisor_options {
	const char *program;     /* runs as "program serve ..." */
	const char *runtime_dir; /* sockets of the workers */
	int32_t gpus;            /* 0: none; the ranks are then threads of one worker */
	int32_t instances_max;
	int64_t start_timeout;
	int64_t park_patience;   /* 0 = 60 s */
	gh__http_client *client; /* borrowed; for looks */
	/* Borrowed until gh__supervisor_close(): on which requests go to leased workers, and
	 * nothing else; what a stop cannot wait for is cut there. NULL: no leases are taken. */
	gh__http_client *traffic;
} gh__supervisor_options;

gh_status gh__supervisor_create(gh__supervisor **out, const gh__supervisor_options *options,
				gh_error *error);
/* Ends all workers and takes no more orders. Leases may still be released, snapshots taken. */
void gh__supervisor_close(gh__supervisor *supervisor);
void gh__supervisor_free(gh__supervisor *supervisor); /* closes it first */

/* Called once, on the supervisor's thread. message: why it did not come up; NULL: it did. */
typedef void gh__supervisor_done_fn(const char *message, void *userdata);

/*
 * Serve a model with these arguments, in place of what runs; model NULL: have workers for proofs,
 * one a GPU, beside a model that is parked. An earlier order that is still under way ends with a
 * message. A parked model with equal arguments serves again as soon as its workers say that they
 * are well; if one does not, it is loaded anew. done NULL: nobody waits. Copies.
 */
gh_status gh__supervisor_up(gh__supervisor *supervisor, const char *model, const char *dtype,
			    const json_t *args, gh__supervisor_done_fn *done, void *userdata,
			    gh_error *error);

/*
 * End what runs; done is called when it is gone. An order under way ends at once. A model all of
 * whose workers are ready is parked instead: requests on it have some seconds to end, then they are
 * cut. One that is parked already stays so.
 */
gh_status gh__supervisor_stop(gh__supervisor *supervisor, gh__supervisor_done_fn *done,
			      void *userdata, gh_error *error);

/* End all workers, parked ones too; done is called when they are gone. An order under way ends at
 * once. */
gh_status gh__supervisor_down(gh__supervisor *supervisor, gh__supervisor_done_fn *done,
			      void *userdata, gh_error *error);

/* End parked workers, for their memory. The state tells when they are gone. */
void gh__supervisor_give_back(gh__supervisor *supervisor);

/* ---- snapshots; any thread ---- */
typedef struct gh__supervisor_state {
	bool ever_up;  /* some order to serve was given since the start */
	bool active;   /* workers exist, loading ones included */
	bool starting; /* an order to serve is under way */
	bool healthy;  /* at least one worker is ready */
	bool proofs;   /* active, without a model */
	int workers, ready;
	int parked;             /* workers that keep a model in memory and do not serve it */
	double elapsed;         /* seconds since the order; negative: there was none */
	char model[256];        /* "" when not active */
	char problem[256];      /* why the last order failed, or why a worker was replaced */
	bool failed, cancelled; /* how the last order ended */
	double progress;        /* of loading, 0 to 1 */
} gh__supervisor_state;

void gh__supervisor_state_get(gh__supervisor *supervisor, gh__supervisor_state *out);
json_t *gh__supervisor_args(gh__supervisor *supervisor); /* of the model; a new reference or NULL */

/*
 * A ready worker of the model with the fewest requests on it; of equals the first. Counts one more
 * on it until it is released, whether or not it lives on. false: none is ready.
 */
typedef struct gh__worker_lease {
	uint64_t generation;
	uint64_t birth; /* another one for every process */
	int index;
	char socket[108];
} gh__worker_lease;
bool gh__supervisor_lease(gh__supervisor *supervisor, gh__worker_lease *out);
/* The index-th worker for proofs, when it is ready; nothing is counted. */
bool gh__supervisor_prover(gh__supervisor *supervisor, int index, gh__worker_lease *out);

/* failed: it did not answer; it is looked at again at once. */
void gh__supervisor_release(gh__supervisor *supervisor, const gh__worker_lease *lease, bool failed);

#endif
