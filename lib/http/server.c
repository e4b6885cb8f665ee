#include "http/internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/number.h"
#include "base/thread.h"

#define CONNECTION_MEMORY    (16u << 10) /* the head of a request and of its answer, a chunk */
#define CONNECTION_INCREMENT 1024u
#define EVENTS               64

/* Life of the server. */

void gh__http_server_ref(gh__http_server *server)
{
	atomic_fetch_add(&server->refs, 1);
}

void gh__http_server_unref(gh__http_server *server)
{
	if (atomic_fetch_sub(&server->refs, 1) != 1)
		return;
	if (server->epoll >= 0)
		close(server->epoll);
	if (server->wake >= 0)
		close(server->wake);
	pthread_mutex_destroy(&server->lock);
	pthread_cond_destroy(&server->idle);
	gh__free(server);
}

/* Nobody finds us any more. */
static void leave_address(gh__http_server *server)
{
	if (server->listener >= 0)
		close(server->listener);
	server->listener = -1;
	if (server->unix_path)
		unlink(server->unix_path);
	gh__free(server->unix_path);
	server->unix_path = NULL;
}

int gh__http_server_port(const gh__http_server *server)
{
	return server->port;
}

size_t gh__http_server_active(gh__http_server *server)
{
	return atomic_load(&server->active);
}

/* Waking. */

static void ring(gh__http_server *server)
{
	const uint64_t one = 1;

	while (write(server->wake, &one, sizeof one) < 0 && errno == EINTR)
		;
}

/* The request has something to send, or is over. With its lock held. */
void gh__http_wake(gh__http_request *request)
{
	gh__http_server *server = request->server;

	if (!request->suspended || request->queued)
		return;
	request->queued = true;
	gh__http_request_ref(request);
	pthread_mutex_lock(&server->lock);
	bool first = !server->ready;
	request->next_ready = server->ready;
	server->ready = request;
	pthread_mutex_unlock(&server->lock);
	if (first)
		ring(server);
}

static void resume(gh__http_request *request, bool from_list)
{
	pthread_mutex_lock(&request->lock);
	bool suspended = request->suspended;
	request->suspended = false;
	if (from_list)
		request->queued = false;
	pthread_mutex_unlock(&request->lock);
	if (suspended)
		MHD_resume_connection(request->connection);
}

static void resume_ready(gh__http_server *server)
{
	pthread_mutex_lock(&server->lock);
	gh__http_request *request = server->ready;
	server->ready = NULL;
	pthread_mutex_unlock(&server->lock);
	while (request) {
		gh__http_request *next = request->next_ready;

		resume(request, true);
		gh__http_request_unref(request);
		request = next;
	}
}

/* Clients that leave. */

/* libmicrohttpd does not look at the socket of a sleeping connection, so we do. */
static void watch_client(gh__http_request *request)
{
	struct epoll_event event = { .events = EPOLLRDHUP | EPOLLONESHOT,
				     .data.ptr = &request->watch };

	if (request->watched >= 0)
		return;
	int fd = MHD_get_connection_info(request->connection, MHD_CONNECTION_INFO_CONNECTION_FD)
			 ->connect_fd;
	if (epoll_ctl(request->server->epoll, EPOLL_CTL_ADD, fd, &event) == 0)
		request->watched = fd;
	else
		gh__warn("http", "cannot watch a client: errno=%d", errno);
}

void gh__http_sleep(gh__http_request *request)
{
	watch_client(request);
	MHD_suspend_connection(request->connection);
	request->suspended = true;
}

/* What libmicrohttpd calls. */

/* The first thing that is known of a request is its target, as it was sent. */
static void *on_target(void *opaque, const char *target, struct MHD_Connection *connection)
{
	gh__http_server *server = opaque;
	gh__http_request *request = gh__http_request_new(server, target);

	(void)connection;
	server->called = true;
	if (!request)
		return NULL;
	request->below = server->requests;
	if (request->below)
		request->below->above = request;
	server->requests = request;
	pthread_mutex_lock(&server->lock);
	server->open++;
	pthread_mutex_unlock(&server->lock);
	return request;
}

/* The answer is out to its last byte, or the connection is lost. */
static void on_completed(void *opaque, struct MHD_Connection *connection, void **context,
			 enum MHD_RequestTerminationCode why)
{
	gh__http_server *server = opaque;
	gh__http_request *request = *context;

	(void)why;
	server->called = true;
	if (!request)
		return;
	*context = NULL;
	if (request->watched >= 0)
		epoll_ctl(server->epoll, EPOLL_CTL_DEL, request->watched, NULL);
	if (request->linger)
		gh__http_linger_begin(server, connection);
	gh__http_client_gone(request);
	request->connection = NULL;
	if (request->above)
		request->above->below = request->below;
	else
		server->requests = request->below;
	if (request->below)
		request->below->above = request->above;
	pthread_mutex_lock(&server->lock);
	if (--server->open == 0)
		pthread_cond_broadcast(&server->idle);
	pthread_mutex_unlock(&server->lock);
	gh__http_request_unref(request);
}

static void on_connection(void *opaque, struct MHD_Connection *connection, void **context,
			  enum MHD_ConnectionNotificationCode what)
{
	gh__http_server *server = opaque;

	(void)connection;
	(void)context;
	server->called = true;
	if (what == MHD_CONNECTION_NOTIFY_CLOSED)
		server->has_room = true;
}

/* Send the answer, or sleep until there is one. */
static enum MHD_Result settle(gh__http_request *request)
{
	enum MHD_Result result = MHD_NO;

	pthread_mutex_lock(&request->lock);
	if (request->gone || request->server->cutting ||
	    (request->state != GH__HTTP_OPEN && request->status == 0)) {
		/* MHD_NO closes the connection. */
	} else if (request->state == GH__HTTP_OPEN) {
		gh__http_sleep(request);
		result = MHD_YES;
	} else {
		struct MHD_Response *response = gh__http_response(request);
		unsigned status = (unsigned)request->status;

		pthread_mutex_unlock(&request->lock);
		/* This may go on to read a stream, which takes the lock itself. */
		if (!response)
			return MHD_NO;
		result = MHD_queue_response(request->connection, status, response);
		MHD_destroy_response(response);
		return result;
	}
	pthread_mutex_unlock(&request->lock);
	return result;
}

/* Answer before the body has been read; the connection closes afterwards. */
static enum MHD_Result refuse(gh__http_request *request, int status, const char *reason)
{
	request->linger = true;
	request->is_dispatched = true;
	gh__http_begin_owner(request);
	gh__http_fail(request, status, "%s", reason);
	return settle(request);
}

/* The head of a request is there. Two of the headers that say where a body ends are a way to make
 * two servers in a row see different requests, so they are refused. */
static enum MHD_Result begin(gh__http_request *request, const char *method, const char *version)
{
	const char *coding = NULL, *length = NULL;
	unsigned counted = 0;
	int64_t bytes = 0;

	if (!gh__http_request_fill(request, method, version))
		return MHD_NO;
	for (const gh__http_pair *pair = request->headers; pair; pair = pair->next) {
		if (strcasecmp(pair->name, "Transfer-Encoding") == 0)
			coding = pair->value;
		else if (strcasecmp(pair->name, "Content-Length") == 0)
			length = pair->value;
		else
			continue;
		counted++;
	}
	if (counted > 1 || (coding && strcasecmp(coding, "chunked") != 0))
		return refuse(request, 400, "Bad Request");
	/* libmicrohttpd has checked that it is a number; one beyond 63 bits is too large as
	 * well. */
	if (length && (!gh__parse_int64(length, &bytes) ||
		       (uint64_t)bytes > request->server->options.body_max))
		return refuse(request, 413, "Request Entity Too Large");
	return MHD_YES;
}

/* A chunked body has become too large. libmicrohttpd takes no answer in the middle of a body, but
 * nothing of this request's answer has been sent, so a short one can be written past it. */
static void refuse_chunked(gh__http_request *request)
{
	static const char reason[] = "Request Entity Too Large";
	gh__buf answer = GH__BUF_INIT(1u << 16);
	size_t len = 0;
	char *body = gh__http_error_body(request, 413, reason, &len);
	int fd = MHD_get_connection_info(request->connection, MHD_CONNECTION_INFO_CONNECTION_FD)
			 ->connect_fd;

	gh__buf_printf(&answer,
		       "HTTP/1.1 413 %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
		       "Connection: close\r\n\r\n",
		       reason, request->server->options.json_type, len);
	gh__buf_append(&answer, body ? body : "", len);
	request->linger = true;
	if (gh__buf_status(&answer) == GH_OK &&
	    send(fd, answer.data, answer.len, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		gh__debug("http", "cannot refuse a body: errno=%d", errno);
	gh__free(body);
	gh__buf_free(&answer);
}

static enum MHD_Result on_request(void *opaque, struct MHD_Connection *connection, const char *url,
				  const char *method, const char *version, const char *data,
				  size_t *len, void **context)
{
	gh__http_server *server = opaque;
	gh__http_request *request = *context;

	(void)url;
	server->called = true;
	if (!request)
		return MHD_NO; /* no memory for it */
	if (!request->connection) {
		request->connection = connection;
		return begin(request, method, version);
	}
	if (*len) {
		gh__buf_append(&request->body, data, *len);
		*len = 0;
		if (gh__buf_status(&request->body) == GH_OK)
			return MHD_YES;
		if (gh__buf_status(&request->body) == GH_ETOOBIG)
			refuse_chunked(request);
		return MHD_NO;
	}
	if (!request->is_dispatched)
		gh__http_dispatch(request);
	return settle(request);
}

/* We decode ourselves, after cutting at the slashes. */
static size_t leave_escaped(void *opaque, struct MHD_Connection *connection, char *text)
{
	(void)opaque;
	(void)connection;
	return strlen(text);
}

static void log_line(void *opaque, const char *format, va_list args) GH_PRINTF(2, 0);
static void log_line(void *opaque, const char *format, va_list args)
{
	char text[256];

	(void)opaque;
	if (!gh__log_enabled(GH_LOG_DEBUG))
		return;
	vsnprintf(text, sizeof text, format, args);
	gh__debug("http", "%.*s", (int)strcspn(text, "\n"), text);
}

/* The loop. */

/* libmicrohttpd wants to be run again at once while a buffer holds what it has not looked at. When
 * it cannot go on with that, as with a chunk's head that is longer than the buffer, it still does,
 * until the connection's time is over: it is not let spin. */
#define IN_VAIN_MAX  256
#define IN_VAIN_WAIT 5 /* milliseconds */

static int timeout_ms(gh__http_server *server)
{
	int64_t now = gh__now(), next = gh__http_linger_expire(server, now);
	MHD_UNSIGNED_LONG_LONG ms;
	int64_t wait = next == INT64_MAX ? INT64_MAX : (next - now) / GH__MILLISECOND + 1;

	if (MHD_get_timeout(server->daemon, &ms) == MHD_YES &&
	    (ms > INT64_MAX || (int64_t)ms < wait))
		wait = ms > INT64_MAX ? INT64_MAX : (int64_t)ms;
	if (wait > 0 || server->called)
		server->in_vain = 0;
	else if (server->in_vain < IN_VAIN_MAX)
		server->in_vain++;
	else
		return IN_VAIN_WAIT;
	if (wait == INT64_MAX)
		return -1;
	return wait > 3600000 ? 3600000 : (int)wait;
}

static void handle(gh__http_server *server, gh__http_watch *watch)
{
	gh__http_request *request;
	uint64_t count;

	switch (*watch) {
	case GH__WATCH_WAKE:
		while (read(server->wake, &count, sizeof count) < 0 && errno == EINTR)
			;
		break;
	case GH__WATCH_DAEMON:
		break; /* MHD_run() looks itself */
	case GH__WATCH_REQUEST:
		request = (gh__http_request *)watch;
		gh__http_client_gone(request);
		if (gh__http_gone(request))
			resume(request, false); /* to be closed */
		break;
	case GH__WATCH_LINGER:
		gh__http_linger_read(server, (gh__http_linger *)watch);
		break;
	}
}

/* Follow what gh__http_server_stop() asks for; false: the loop is over. */
static bool follow(gh__http_server *server)
{
	pthread_mutex_lock(&server->lock);
	bool stopping = server->stopping, cut = server->cut;
	pthread_mutex_unlock(&server->lock);

	if (stopping && !server->quiet) {
		server->quiet = true;
		MHD_quiesce_daemon(server->daemon);
		leave_address(server);
	}
	if (cut) {
		/* From here on nothing falls asleep any more. */
		server->cutting = true;
		for (gh__http_request *request = server->requests; request;
		     request = request->below) {
			gh__http_client_gone(request);
			resume(request, false);
		}
	}
	return !cut;
}

static void run(void *opaque)
{
	gh__http_server *server = opaque;
	struct epoll_event events[EVENTS];
	bool more = true;

	while (more) {
		int count = epoll_wait(server->epoll, events, EVENTS, timeout_ms(server));

		for (int i = 0; i < count; i++)
			handle(server, events[i].data.ptr);
		resume_ready(server);
		more = follow(server);
		/* At its limit of connections libmicrohttpd stops watching for new ones; that it
		 * may again, it sees only when it is run once more. */
		server->called = false;
		do {
			server->has_room = false;
			MHD_run(server->daemon);
		} while (server->has_room);
	}
	/* What could not be told to close is closed here; libmicrohttpd allows no sleepers then. */
	MHD_stop_daemon(server->daemon);
	while (server->lingers)
		gh__http_linger_end(server, server->lingers);
	resume_ready(server);
}

static gh_status watch_own(gh__http_server *server, int fd, gh__http_watch *watch, gh_error *error)
{
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = watch };

	if (epoll_ctl(server->epoll, EPOLL_CTL_ADD, fd, &event) != 0)
		return gh__fail_errno(error, GH_EIO, errno, "epoll");
	return GH_OK;
}

/* Who is not allowed to come is turned away before a byte is read. */
static enum MHD_Result may_connect(void *userdata, const struct sockaddr *address, socklen_t len)
{
	const gh__http_server *server = userdata;

	(void)len;
	return gh__networks_have(&server->allowed, address) ? MHD_YES : MHD_NO;
}

static gh_status start_daemon(gh__http_server *server, gh_error *error)
{
	const gh__http_server_options *options = &server->options;
	MHD_AcceptPolicyCallback policy =
		options->allow && !options->unix_path ? may_connect : NULL;
	const union MHD_DaemonInfo *info;

	server->daemon =
		MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0,
				 policy, server, on_request, server, MHD_OPTION_EXTERNAL_LOGGER,
				 log_line, NULL, MHD_OPTION_LISTEN_SOCKET, server->listener,
				 MHD_OPTION_CONNECTION_LIMIT, options->connections_max,
				 MHD_OPTION_CONNECTION_TIMEOUT, options->idle_seconds,
				 MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY,
				 MHD_OPTION_CONNECTION_MEMORY_INCREMENT,
				 (size_t)CONNECTION_INCREMENT, MHD_OPTION_UNESCAPE_CALLBACK,
				 leave_escaped, NULL, MHD_OPTION_URI_LOG_CALLBACK, on_target,
				 server, MHD_OPTION_NOTIFY_COMPLETED, on_completed, server,
				 MHD_OPTION_NOTIFY_CONNECTION, on_connection, server,
				 MHD_OPTION_END);
	if (!server->daemon)
		return gh__fail(error, GH_EIO, "http: libmicrohttpd does not start");
	info = MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_EPOLL_FD);
	return watch_own(server, info->epoll_fd, &server->daemon_watch, error);
}

static void fill_defaults(gh__http_server_options *options)
{
	if (!options->body_max)
		options->body_max = 32u << 20;
	if (!options->connections_max)
		options->connections_max = 20000;
	if (!options->idle_seconds)
		options->idle_seconds = 300;
	if (!options->pending_max)
		options->pending_max = 4u << 20;
	if (!options->json_type)
		options->json_type = "application/json";
}

gh_status gh__http_server_start(gh__http_server **out, const gh__http_server_options *options,
				gh_error *error)
{
	gh__http_server *server = gh__calloc(1, sizeof *server);
	gh_status status;

	*out = NULL;
	if (!server)
		return gh__fail_nomem(error);
	server->options = *options;
	fill_defaults(&server->options);
	server->wake_watch = GH__WATCH_WAKE;
	server->daemon_watch = GH__WATCH_DAEMON;
	server->listener = -1;
	atomic_init(&server->refs, 1);
	atomic_init(&server->active, 0);
	pthread_mutex_init(&server->lock, NULL);
	gh__cond_init(&server->idle);
	server->epoll = epoll_create1(EPOLL_CLOEXEC);
	server->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (server->epoll < 0 || server->wake < 0)
		status = gh__fail_errno(error, GH_EIO, errno, "http: epoll or eventfd");
	else
		status = watch_own(server, server->wake, &server->wake_watch, error);
	if (status == GH_OK && server->options.allow)
		status =
			gh__networks_parse(&server->allowed, "allow", server->options.allow, error);
	if (status == GH_OK)
		status = gh__http_listen(server, error);
	if (status == GH_OK)
		status = start_daemon(server, error);
	if (status == GH_OK)
		status = gh__thread_start(&server->thread, "http", run, server, error);
	if (status != GH_OK) {
		if (server->daemon) {
			MHD_stop_daemon(server->daemon);
			server->listener = -1; /* closed with it */
		}
		leave_address(server);
		gh__http_server_unref(server);
		return status;
	}
	*out = server;
	return GH_OK;
}

void gh__http_server_stop(gh__http_server *server, int64_t deadline)
{
	if (!server)
		return;
	pthread_mutex_lock(&server->lock);
	server->stopping = true;
	ring(server);
	while (server->open && gh__cond_wait_until(&server->idle, &server->lock, deadline))
		;
	server->cut = true;
	pthread_mutex_unlock(&server->lock);
	ring(server);
	pthread_join(server->thread, NULL);
	gh__http_server_unref(server);
}
