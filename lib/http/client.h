#ifndef GH_HTTP_CLIENT_H
#define GH_HTTP_CLIENT_H

#include <stdbool.h>

#include <gonkahost/base.h>

/*
 * An HTTP client: one event loop thread for any number of exchanges, connections pooled.
 *
 * Callbacks run on the loop and must not block. on_done is called exactly once for each call that
 * gh__http_call_start() accepted, as the last one, also after a cancel. Redirects are followed only
 * where asked for, proxies of the environment not used, only http and https spoken, bodies passed
 * as they come (chunks joined, compression left alone). The only headers added are Host and Accept.
 *
 * A gh__http_call is a ticket, not memory: cancelling or resuming a call that is over does nothing.
 */
typedef struct gh__http_client gh__http_client;
typedef struct gh__http_call gh__http_call;

typedef struct gh__http_answer {
	int status;               /* 0: no answer came */
	bool refused;             /* none came, because nobody listens there */
	const char *content_type; /* NULL: none */
	const char *body; /* collected only without on_data; NUL-terminated, borrowed for on_done */
	size_t len;
} gh__http_answer;

typedef struct gh__http_call_options {
	const char *method; /* NULL = GET, or POST when there is a body */
	const char *url;
	const char *unix_path;      /* connect there; the URL's host is only a name */
	const char *const *headers; /* "Name: value", NULL-terminated; "Name:" removes one */
	const void *body;           /* copied */
	size_t body_len;
	int64_t connect_timeout; /* nanoseconds; 0 = 2 s */
	int64_t idle_timeout; /* between bytes either way, once connected, not while paused; 0 = none */
	int64_t total_timeout; /* 0 = none */
	size_t answer_max;     /* collected bytes; more fails with GH_ETOOBIG; 0 = 16 MiB */
	/* Followed at most; method and body are kept, but a 303 is followed with GET. More:
	 * GH_ENET. on_header hears of the first answer only. */
	int redirects_max;

	/* All optional. on_header: status line first (name NULL, value NULL), then each header,
	 * then name "" once at the end of the headers; interim answers (1xx) and trailers are left
	 * out. on_data may answer false to pause: the same bytes come again after
	 * gh__http_call_resume() (which may have been called meanwhile). on_done: GH_OK whenever
	 * the exchange completed, whatever the HTTP status; GH_ENET, GH_ETIMEOUT, GH_ECANCELLED,
	 * GH_ETOOBIG, GH_EINVAL (URL). */
	void (*on_header)(int status, const char *name, const char *value, void *userdata);
	bool (*on_data)(const void *data, size_t len, void *userdata);
	void (*on_done)(const gh__http_answer *answer, gh_status status, const gh_error *error,
			void *userdata);
	void *userdata;
} gh__http_call_options;

gh_status gh__http_client_create(gh__http_client **out, gh_error *error);
/* Cancels what is running, waits for its on_done calls. Not from a callback. */
void gh__http_client_free(gh__http_client *client);

/* Any thread, callbacks included. out may be NULL; it is set before any callback runs. */
gh_status gh__http_call_start(gh__http_client *client, const gh__http_call_options *options,
			      gh__http_call **out, gh_error *error);
void gh__http_call_cancel(gh__http_client *client, gh__http_call *call); /* GH_ECANCELLED */
void gh__http_call_resume(gh__http_client *client, gh__http_call *call);
void gh__http_client_cancel(gh__http_client *client); /* all that were started so far */

/* Start, wait, collect. Not from a callback. A status of 400 and above is not a failure here. The
 * callbacks in options are not used. *body: NUL-terminated, caller frees (gh__free). status, body
 * and len may each be NULL. */
gh_status gh__http_fetch(gh__http_client *client, const gh__http_call_options *options, int *status,
			 char **body, size_t *len, gh_error *error);

#endif
