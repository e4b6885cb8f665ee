#ifndef GH_HTTP_SERVER_H
#define GH_HTTP_SERVER_H

#include <stdbool.h>
#include <jansson.h>

#include <gonkahost/base.h>

/*
 * An HTTP/1.1 server: one event loop, a route table, JSON errors, streams.
 *
 * A handler runs on the server's loop once the whole body is there, must not block, and either
 * answers at once or keeps the request and answers later from any thread (the connection sleeps
 * meanwhile; there is no thread a connection and no busy wait). Every request must be finished
 * exactly once: gh__http_respond*(), or gh__http_stream_begin() followed by gh__http_stream_end().
 * From that call on the request is gone for the handler.
 *
 * When the client goes away first, the function set by gh__http_on_gone() is called once, on the
 * loop; the request must still be finished (which then does nothing but release it).
 */
typedef struct gh__http_server gh__http_server;
typedef struct gh__http_request gh__http_request;

typedef void gh__http_handler(gh__http_request *request, void *userdata);
typedef void gh__http_gone_fn(void *userdata);

/* Makes the body of an error the server raises itself (404, 405, 413, 500, ...) or that a handler
 * raises with gh__http_fail(): a new reference. headers_json may stay untouched. */
typedef json_t *gh__http_error_fn(int status, const char *message, void *userdata);

typedef struct gh__http_route {
	const char *method; /* "GET"; NULL = any method */
	const char *path;   /* "/admin/v1/nodes/:id/enable"; a last segment "*" takes the rest */
	gh__http_handler *handler;
} gh__http_route;

typedef struct gh__http_server_options {
	const char *host;      /* address to bind; NULL = 127.0.0.1; "0.0.0.0", "::" */
	int port;              /* 0 = the kernel chooses; ignored with unix_path */
	const char *unix_path; /* listen there instead; an old socket file is replaced, mode 0600 */
	const gh__http_route *routes; /* borrowed for the server's life */
	size_t route_count;
	void *userdata;                  /* given to every handler and to error_body */
	gh__http_error_fn *error_body;   /* NULL: {"error":"message"} */
	size_t body_max;                 /* larger: 413 as soon as it is known; 0 = 32 MiB */
	unsigned connections_max;        /* 0 = 20000 */
	unsigned idle_seconds;           /* keep-alive; 0 = 300 */
	size_t pending_max;              /* bytes a stream may hold for a slow client; 0 = 4 MiB */
	const char *const *cors_origins; /* NULL-terminated; NULL = no CORS headers */
	bool strip_version;              /* drop one leading "/v3.0.8"-like segment of a path */
	bool newline;                    /* JSON bodies end with a newline */
	bool escape_html;                /* JSON bodies escape <, >, &, U+2028 and U+2029 */
	const char *json_type;           /* NULL = "application/json" */
} gh__http_server_options;

/* The socket listens when this returns; requests are served from then on. */
gh_status gh__http_server_start(gh__http_server **out, const gh__http_server_options *options,
				gh_error *error);
int gh__http_server_port(const gh__http_server *server);

/* Refuse new connections, wait until running requests are finished or until the deadline (base's
 * gh__now()), then cut what is left (their gone functions are called) and free the server. Not from
 * its loop. */
void gh__http_server_stop(gh__http_server *server, int64_t deadline);

/* Requests whose handler was called and which are not finished. */
size_t gh__http_server_active(gh__http_server *server);

/* ---- reading a request; everything is borrowed until the request is finished ---- */
const char *gh__http_method(const gh__http_request *request);
const char *gh__http_path(const gh__http_request *request);   /* decoded, without the query */
const char *gh__http_target(const gh__http_request *request); /* as sent: path and query */
const char *gh__http_param(const gh__http_request *request, const char *name); /* ":id" as "id" */
const char *gh__http_query(const gh__http_request *request, const char *name);
const char *gh__http_header(const gh__http_request *request, const char *name);
typedef void gh__http_header_fn(const char *name, const char *value, void *userdata);
void gh__http_each_header(const gh__http_request *request, gh__http_header_fn *fn, void *userdata);
const char *gh__http_body(const gh__http_request *request, size_t *len); /* NUL-terminated */
void *gh__http_userdata(const gh__http_request *request);

/* The client went away. */
bool gh__http_gone(const gh__http_request *request);
/* Set (or, with NULL, remove) what to call when it does; called at once if it already has. After
 * removal has returned the function is not running and will not run. */
void gh__http_on_gone(gh__http_request *request, gh__http_gone_fn *fn, void *userdata);

/* ---- answering; any thread ---- */
void gh__http_set_header(gh__http_request *request, const char *name, const char *value);

/* content_type NULL: no Content-Type header. body is copied. */
void gh__http_respond(gh__http_request *request, int status, const char *content_type,
		      const void *body, size_t len);
void gh__http_respond_json(gh__http_request *request, int status, json_t *body); /* takes body */
void gh__http_fail(gh__http_request *request, int status, const char *format, ...) GH_PRINTF(3, 4);

/* A body of unknown length. Pieces that wait are joined into one write. For text/event-stream the
 * headers Cache-Control: no-cache and X-Accel-Buffering: no are added. */
void gh__http_stream_begin(gh__http_request *request, int status, const char *content_type);
/* GH_ECLOSED: the client is gone. GH_ETOOBIG: it reads too slowly; nothing was added. Copies. */
gh_status gh__http_stream_write(gh__http_request *request, const void *data, size_t len);
size_t gh__http_stream_pending(gh__http_request *request); /* bytes not yet handed to the socket */
/* Called on the loop each time pending falls below half of pending_max after it was above. */
void gh__http_stream_on_drain(gh__http_request *request, gh__http_gone_fn *fn, void *userdata);
void gh__http_stream_end(gh__http_request *request);
/* End without the final chunk, so that the client sees a broken answer. */
void gh__http_stream_abort(gh__http_request *request);

#endif
