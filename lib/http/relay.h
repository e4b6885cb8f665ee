#ifndef GH_HTTP_RELAY_H
#define GH_HTTP_RELAY_H

#include "http/client.h"
#include "http/server.h"

/*
 * Pass a request on to another server and its answer back: byte for byte, as it comes, at the pace
 * of the slower side. When the client goes away the call is cancelled. A stream of events goes on
 * event by event; when the other server breaks off, an error event is the last thing that the
 * client sees.
 *
 * What cannot be passed on counts as no answer: a status below 200 or above 599, more headers than
 * a connection has memory for, an endless refusal.
 *
 * Headers of connections (Host, Connection, Content-Length, Transfer-Encoding, ...) stay where they
 * are; all others go both ways.
 */
typedef struct gh__relay_result {
	bool begun;       /* something went to the client; the request is finished */
	bool gone;        /* the client went away; the request is finished */
	gh_status status; /* GH_OK: the answer came whole */
	const gh_error *error;
	/* an answer that was kept back; borrowed for the call */
	int http_status;          /* 0: no answer came */
	const char *content_type; /* NULL: none */
	const char *body;
	size_t len;
} gh__relay_result;

/* Called once, on the client's loop, when the call is over. If neither begun nor gone, the request
 * is the caller's again: to answer, or to relay elsewhere. */
typedef void gh__relay_end_fn(const gh__relay_result *result, void *userdata);

typedef struct gh__relay_options {
	gh__http_client *client; /* borrowed until the end */
	const char *url;         /* copied */
	const char *unix_path;   /* copied; NULL = TCP */
	const char *
		authorization; /* copied; takes the place of the client's; "" = none; NULL = the client's */
	bool keep_back_refusals; /* 502, 503 and 3xx are not passed on but told to end */
	int64_t connect_timeout, idle_timeout; /* as in gh__http_call_options */
	gh__relay_end_fn *end;
	void *userdata;
} gh__relay_options;

/* On failure the request is still the caller's, and end is never called. */
gh_status gh__http_relay(gh__http_request *request, const gh__relay_options *options,
			 gh_error *error);

#endif
