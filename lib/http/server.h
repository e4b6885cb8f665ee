#ifndef GH_HTTP_SERVER_H
#define GH_HTTP_SERVER_H

#include <stdbool.h>
#include <jansson.h>

#include <gonkahost/base.h>

/*
 * An HTTP/1.1 server: one event loop, a route table, JSON errors, streams. HTTP/1.0 is served too.
 *
 * A handler runs on the server's loop once the whole body is there, must not block, and either
 * answers at once or keeps the request and answers later from any thread (the connection sleeps
 * meanwhile; there is no thread a connection and no busy wait). Every request must be finished
 * exactly once: gh__http_respond*(), gh__http_fail(), or gh__http_stream_begin() followed by
 * gh__http_stream_end() or _abort(). From that call on the request is gone for the handler.
 *
 * When the client goes away first (also by shutting down only its sending side), the function set
 * by gh__http_on_gone() is called once, on the loop; the request must still be finished (which then
 * does nothing but release it). A request outlives its server if it has to.
 */
typedef struct gh__http_server gh__http_server;
typedef struct gh__http_request gh__http_request;

typedef void gh__http_handler(gh__http_request *request, void *userdata);
typedef void gh__http_gone_fn(void *userdata);

/* Makes the body of an error the server raises itself (400, 404, 405, 413, 503; the message is the
 * reason phrase) or that a handler raises with gh__http_fail(): a new reference. Runs where the
 * error is raised. Only what is no HTTP at all is answered without it. */
typedef json_t *gh__http_error_fn(int status, const char *message, void *userdata);

/*
 * Path: "/admin/v1/nodes/:id/enable": ":id" stands for one segment that is not empty. A '*' at the
 * end takes the rest, also none of it ("/v1*" takes "/v1", "/v1foo" and "/v1/x"); it is the
 * parameter "*". Paths are cut at '/' first and percent-decoded then, once: "a%2Fb" as ":id" is
 * "a/b". What is no valid escape, and %00, stays as it is. The first route that fits path and
 * method is taken; if only methods differ the answer is 405 with Allow. HEAD and OPTIONS are
 * methods like any other.
 */
typedef struct gh__http_route {
	const char *method; /* "GET"; NULL = any method */
	const char *path;
	gh__http_handler *handler;
} gh__http_route;

typedef struct gh__http_server_options {
	const char *host;      /* address to bind, "localhost"; NULL = 127.0.0.1; "0.0.0.0", "::" */
	int port;              /* 0 = the kernel chooses; ignored with unix_path */
	const char *allow;     /* only clients of these networks: "10.0.0.0/8,::1"; NULL = any */
	const char *unix_path; /* listen there instead; a dead socket file is replaced, mode 0600 */
	const gh__http_route *routes; /* this and all strings: borrowed for the server's life */
	size_t route_count;
	void *userdata;                /* given to every handler and to error_body */
	gh__http_error_fn *error_body; /* NULL: {"error":"message"} */
	size_t body_max;               /* larger: 413 as soon as it is known; 0 = 32 MiB */
	unsigned connections_max;      /* 0 = 20000 */
	unsigned idle_seconds;         /* a connection without traffic is closed; 0 = 300 */
	size_t pending_max;            /* bytes a stream may hold for a slow client; 0 = 4 MiB */
	bool strip_version;            /* drop one leading "/v3.0.8"-like segment of a path */
	bool slash_ignored;            /* a path that fits no route is tried without its last '/' */
	bool newline;                  /* JSON bodies end with a newline */
	bool escape_html;              /* JSON bodies escape <, >, &, U+2028 and U+2029 */
	bool pretty;                   /* a query parameter "pretty" indents JSON bodies */
	const char *json_type;         /* NULL = "application/json" */

	/* CORS: NULL-terminated lists; "*" is any. No origins: no CORS headers, OPTIONS is routed.
	 * No methods or headers: any. */
	const char *const *cors_origins;
	const char *const *cors_methods;
	const char *const *cors_headers;
	bool cors_credentials;
} gh__http_server_options;

/* The socket listens when this returns; requests are served from then on. */
gh_status gh__http_server_start(gh__http_server **out, const gh__http_server_options *options,
				gh_error *error);
int gh__http_server_port(const gh__http_server *server);

/* Refuse new connections (and, with 503, new requests), wait until running ones are answered to the
 * last byte or until the deadline (base's gh__now()), then cut what is left (their gone functions
 * are called) and free the server. Not from its loop. Afterwards no handler or other function of
 * the caller is called any more. */
void gh__http_server_stop(gh__http_server *server, int64_t deadline);

/* Requests whose handler was called and which are not finished. */
size_t gh__http_server_active(gh__http_server *server);

/* ---- reading a request; everything is borrowed until the request is finished ---- */
const char *gh__http_method(const gh__http_request *request);
const char *gh__http_path(const gh__http_request *request); /* decoded, without the query */
/* Path and query as they were sent, without a stripped version. */
const char *gh__http_target(const gh__http_request *request);
const char *gh__http_param(const gh__http_request *request, const char *name); /* ":id" as "id" */
const char *gh__http_query(const gh__http_request *request, const char *name); /* decoded; NULL */
/* The first of that name, in any case; NULL: none. */
const char *gh__http_header(const gh__http_request *request, const char *name);
/* Content-Type says application/json, with parameters or without. */
bool gh__http_is_json(const gh__http_request *request);
typedef void gh__http_header_fn(const char *name, const char *value, void *userdata);
void gh__http_each_header(const gh__http_request *request, gh__http_header_fn *fn, void *userdata);
const char *gh__http_body(const gh__http_request *request, size_t *len); /* NUL-terminated */

/* The client went away. */
bool gh__http_gone(const gh__http_request *request);
/* Set (or, with NULL, remove) what to call when it does; called at once if it already has. Once
 * removal has returned the function is not running and will not run; finishing the request removes
 * it too. So neither may be done while holding a lock that the function takes. The function itself
 * may finish the request. */
void gh__http_on_gone(gh__http_request *request, gh__http_gone_fn *fn, void *userdata);

/* ---- answering; any thread ---- */
/* set replaces headers of that name, add keeps them. Content-Length and Transfer-Encoding are the
 * server's own affair and left out; so is what contains a line break. */
void gh__http_set_header(gh__http_request *request, const char *name, const char *value);
void gh__http_add_header(gh__http_request *request, const char *name, const char *value);

/* content_type NULL: no Content-Type header. body is copied. */
void gh__http_respond(gh__http_request *request, int status, const char *content_type,
		      const void *body, size_t len);
void gh__http_respond_json(gh__http_request *request, int status, json_t *body); /* takes body */
void gh__http_fail(gh__http_request *request, int status, const char *format, ...) GH_PRINTF(3, 4);

/* A body of unknown length. Pieces that wait are joined into one write. For text/event-stream the
 * headers Cache-Control: no-cache and X-Accel-Buffering: no are added. */
void gh__http_stream_begin(gh__http_request *request, int status, const char *content_type);
/* GH_ECLOSED: the client is gone. GH_ETOOBIG: it reads too slowly; nothing was added (a stream that
 * holds nothing takes a piece of any size). GH_ENOMEM. Copies. */
gh_status gh__http_stream_write(gh__http_request *request, const void *data, size_t len);
size_t gh__http_stream_pending(gh__http_request *request); /* bytes not yet handed to the socket */
/* Called on the loop each time pending falls to half of pending_max after it was above, or after a
 * write was refused. Removed with NULL and by finishing, as gh__http_on_gone() says. */
void gh__http_stream_on_drain(gh__http_request *request, gh__http_gone_fn *fn, void *userdata);
void gh__http_stream_end(gh__http_request *request);
/* End without the final chunk, so that the client sees a broken answer; what was written before
 * still reaches it. */
void gh__http_stream_abort(gh__http_request *request);

#endif
