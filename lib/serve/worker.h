#ifndef GH_SERVE_WORKER_H
#define GH_SERVE_WORKER_H

#include <pthread.h>
#include <stdatomic.h>

#include <gonkahost/engine.h>
#include <gonkahost/node.h>

#include "base/metrics.h"
#include "http/server.h"
#include "openai/args.h"
#include "openai/request.h"
#include "serve/crew.h"

/*
 * A worker: one HTTP server over one engine.
 *
 * The server's loop answers what is known at once (/health, /metrics, /v1/models). Whatever has a
 * body goes through the crew: parsing and tokens there, then into the engine, whose thread writes
 * the answer. No handler waits for a step.
 */

/* What is served; made by a loader. */
typedef struct gh__served {
	gh_model *model; /* may be NULL: the engine has a runner of its own */
	gh_tokenizer *tokenizer;
	gh_template *chat_template; /* NULL: no chat */
	gh_engine *engine;
	gh__generation_config defaults;
	int32_t eos[GH__EOS_MAX + 1], eos_count;
	int32_t vocab;
	char numerics[64];
} gh__served;

typedef enum gh__worker_state {
	GH__WORKER_LOADING,
	GH__WORKER_READY,
	GH__WORKER_BARE, /* there is no model, and none is wanted */
	GH__WORKER_FAILED
} gh__worker_state;

/* Fills *out, on a thread of its own. What it has put there is freed in any case. */
typedef gh_status gh__load_fn(gh__served *out, gh_worker *worker, void *userdata, gh_error *error);

enum { GH__ROUTES_MAX = 32, GH__STATUS_CLASSES = 6 };

struct gh_worker {
	gh__args args;
	const char **names; /* [name_count] in names_json */
	size_t name_count;
	json_t *names_json, *cors_json[3];
	const char **cors[3]; /* origins, methods, headers; NULL-terminated */
	char *unix_path;
	char *api_key;
	int64_t created; /* seconds since 1970 */

	gh__metrics *metrics;
	_Atomic(gh__metric *) requests[GH__ROUTES_MAX + 1][GH__STATUS_CLASSES];
	gh__http_server *http;
	struct gh__proofs *proofs; /* NULL: not on a Unix socket */
	gh__crew *crew;            /* for bodies of the usual size */
	gh__crew *large;           /* for others, so that they hold nobody up but each other */
	_Atomic int running;       /* generations */

	int wake; /* eventfd */
	pthread_t loader;
	bool loader_started;
	gh__load_fn *load;
	void *load_userdata;
	_Atomic int state;    /* a gh__worker_state */
	_Atomic int progress; /* 0 to 1000 */
	atomic_bool stopping;
	pthread_mutex_t lock;
	gh_error failure; /* under lock */

	/* constant once the state is READY */
	gh__served served;
	gh__openai_model model;
};

/* gh_worker_start() with a loader of the caller's. */
gh_status gh__worker_start(gh_worker **out, const gh_worker_options *options, gh__load_fn *load,
			   void *userdata, gh_error *error);

/* The engine is dead, or nothing could be loaded: the first such error is what gh_worker_wait()
 * answers. Any thread. */
void gh__worker_fail(gh_worker *worker, const gh_error *error);

/* Loads what the arguments name. */
gh_status gh__worker_load(gh__served *out, gh_worker *worker, void *userdata, gh_error *error);
void gh__served_free(gh__served *served);

#endif
