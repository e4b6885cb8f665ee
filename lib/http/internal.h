#ifndef GH_HTTP_INTERNAL_H
#define GH_HTTP_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <microhttpd.h>

#include "base/address.h"
#include "base/buf.h"
#include "http/server.h"

/*
 * Inside the server.
 *
 * Only the loop's thread talks to libmicrohttpd, which runs without a thread of its own. A
 * connection sleeps (MHD_suspend_connection) while its request has nothing to send. Who has
 * something for it sets that under the request's lock, sees there that the connection sleeps, and
 * puts the request on the server's list of ready ones, which the loop wakes. Since "nothing to
 * send, so sleep" is decided under the same lock, no wake-up is lost.
 *
 * Locks, outermost first: request->notify, request->lock, server->lock. libmicrohttpd's own are
 * taken inside them and never held when a caller's function runs, but for those of one response.
 *
 * A request is counted by its connection (until libmicrohttpd is through with it), by its owner
 * (from the handler's call until it is finished) and by the list of ready ones. It counts the
 * server.
 */

typedef struct gh__http_pair {
	const char *name, *value;
	struct gh__http_pair *next;
} gh__http_pair;

/* Memory that is given back all at once: the texts of one request. */
typedef struct gh__http_arena {
	struct gh__http_block *blocks;
} gh__http_arena;

/* What an event of the loop is about. */
typedef enum gh__http_watch {
	GH__WATCH_WAKE,
	GH__WATCH_DAEMON,
	GH__WATCH_REQUEST,
	GH__WATCH_LINGER
} gh__http_watch;

/* A socket that is read empty after an early answer, so that closing it does not reset the
 * connection before the client has read that answer. */
typedef struct gh__http_linger {
	gh__http_watch watch; /* first: the event's data points here */
	int fd;
	int64_t deadline;
	size_t left; /* bytes it may still send */
	struct gh__http_linger *next;
} gh__http_linger;

struct gh__http_server {
	gh__http_watch wake_watch, daemon_watch;
	gh__http_server_options options; /* defaults filled in */
	gh__networks allowed;            /* with options.allow */
	char *unix_path;                 /* ours to remove, or NULL */
	int port;
	int epoll, wake, listener;
	struct MHD_Daemon *daemon;
	pthread_t thread;
	atomic_size_t refs, active;

	pthread_mutex_t lock;
	pthread_cond_t idle;     /* open became 0 */
	gh__http_request *ready; /* to be woken, newest first */
	size_t open;             /* requests whose connection is not through with them */
	bool stopping, cut;

	/* of the loop */
	gh__http_request *requests;
	gh__http_linger *lingers;
	size_t linger_count;
	bool quiet, cutting; /* stopping and cut, as far as the loop has followed */
	bool has_room;       /* a connection has ended */
	bool called;         /* libmicrohttpd called us in its latest run */
	unsigned in_vain;    /* runs in a row that it wanted at once and did not call us in */
};

typedef enum gh__http_state {
	GH__HTTP_OPEN,      /* no answer yet */
	GH__HTTP_ANSWERED,  /* status and body are there */
	GH__HTTP_STREAMING, /* more pieces may come */
	GH__HTTP_ENDED,
	GH__HTTP_ABORTED
} gh__http_state;

/* Bytes on their way out: a queue in one piece of memory. */
typedef struct gh__http_outbox {
	char *data;
	size_t head, len, capacity;
} gh__http_outbox;

struct gh__http_request {
	gh__http_watch watch; /* first: the event's data points here */
	gh__http_server *server;
	atomic_size_t refs;
	pthread_mutex_t lock;

	/* of the loop */
	struct MHD_Connection *connection; /* NULL: through */
	int watched;                       /* descriptor in the epoll set, or -1 */
	gh__http_request *above, *below;   /* in server->requests */
	bool linger;

	/* written before the handler runs, constant afterwards; out_headers by the owner */
	gh__http_arena arena;
	const char *target, *method, *path, *raw_path;
	bool version_1_0, is_dispatched;
	gh__http_pair *headers, *queries, *params, *out_headers;
	gh__buf body;

	/* under lock */
	gh__http_state state;
	int status;
	char *answer;
	size_t answer_len;
	gh__http_outbox out;
	bool drain_wanted;
	bool suspended, queued;
	gh__http_request *next_ready;
	bool finished; /* by the owner */
	atomic_bool gone;

	/* under notify, a recursive lock that is held while they run */
	pthread_mutex_t notify;
	gh__http_gone_fn *gone_fn, *drain_fn;
	void *gone_userdata, *drain_userdata;
};

/* arena.c */
void *gh__http_arena_take(gh__http_arena *arena, size_t size); /* aligned; NULL: no memory */
char *gh__http_arena_text(gh__http_arena *arena, const char *text, size_t len);
void gh__http_arena_free(gh__http_arena *arena);

/* request.c */
gh__http_request *gh__http_request_new(gh__http_server *server, const char *target);
void gh__http_request_ref(gh__http_request *request);
void gh__http_request_unref(gh__http_request *request);
bool gh__http_request_fill(gh__http_request *request, const char *method, const char *version);
const char *gh__http_find(const gh__http_pair *pairs, const char *name); /* exact */
bool gh__http_push(gh__http_request *request, gh__http_pair ***end, const char *name,
		   size_t name_len, const char *value, size_t value_len);
void gh__http_dispatch(gh__http_request *request);

/* answer.c: everything here is called on the loop */
void gh__http_begin_owner(gh__http_request *request);
void gh__http_client_gone(gh__http_request *request);
struct MHD_Response *gh__http_response(gh__http_request *request); /* lock held */
char *gh__http_error_body(gh__http_request *request, int status, const char *message, size_t *len);

/* cors.c: true when the request was a preflight, which is answered then. */
bool gh__http_cors(gh__http_request *request);

/* linger.c: begin while libmicrohttpd still holds the socket; read when it is readable; expire
 * answers the next deadline, INT64_MAX for none. */
void gh__http_linger_begin(gh__http_server *server, struct MHD_Connection *connection);
void gh__http_linger_read(gh__http_server *server, gh__http_linger *linger);
int64_t gh__http_linger_expire(gh__http_server *server, int64_t now);
void gh__http_linger_end(gh__http_server *server, gh__http_linger *linger);

/* listen.c */
gh_status gh__http_listen(gh__http_server *server, gh_error *error);

/* server.c */
void gh__http_server_ref(gh__http_server *server);
void gh__http_server_unref(gh__http_server *server);
void gh__http_wake(gh__http_request *request);  /* lock held */
void gh__http_sleep(gh__http_request *request); /* on the loop, lock held */

#endif
