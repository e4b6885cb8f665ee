#include "http/internal.h"

#include <stdarg.h>
#include <string.h>
#include <strings.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/utf8.h"
#include "json/json.h"

#define OUTBOX_FIRST  512
#define OUTBOX_KEPT   8192 /* memory an empty outbox may keep: thousands of streams stay flat */
#define BLOCK_1_0     8192 /* libmicrohttpd's own buffer of a body that is not chunked */
#define BLOCK_CHUNKED 16   /* chunks are filled in the connection's memory instead */
#define MESSAGE_BYTES (1u << 20)

/* The outbox: bytes from head to len wait. */

static size_t outbox_pending(const gh__http_outbox *out)
{
	return out->len - out->head;
}

static bool outbox_put(gh__http_outbox *out, const void *data, size_t len)
{
	size_t pending = outbox_pending(out);

	if (len > SIZE_MAX / 4 - pending)
		return false;
	if (len > out->capacity - out->len && out->head > 0 && out->head >= pending) {
		/* At least as much was taken as is moved, so moving stays cheap. */
		memmove(out->data, out->data + out->head, pending);
		out->head = 0;
		out->len = pending;
	}
	if (len > out->capacity - out->len) {
		size_t capacity = out->capacity ? out->capacity : OUTBOX_FIRST;

		while (capacity < out->len + len)
			capacity *= 2;
		char *grown = gh__realloc(out->data, capacity);
		if (!grown)
			return false;
		out->data = grown;
		out->capacity = capacity;
	}
	memcpy(out->data + out->len, data, len);
	out->len += len;
	return true;
}

static void outbox_clear(gh__http_outbox *out, size_t keep)
{
	out->head = out->len = 0;
	if (out->capacity > keep) {
		gh__free(out->data);
		*out = (gh__http_outbox){ NULL, 0, 0, 0 };
	}
}

static size_t outbox_take(gh__http_outbox *out, char *to, size_t max)
{
	size_t len = outbox_pending(out);

	if (len > max)
		len = max;
	if (len == 0)
		return 0;
	memcpy(to, out->data + out->head, len);
	out->head += len;
	if (out->head == out->len)
		outbox_clear(out, OUTBOX_KEPT);
	return len;
}

/* Who is told what. */

void gh__http_begin_owner(gh__http_request *request)
{
	gh__http_request_ref(request);
	atomic_fetch_add(&request->server->active, 1);
}

/* The client is gone, on the loop. A request that its owner has finished needs no telling: what is
 * left of its answer goes out, if the client still reads. */
void gh__http_client_gone(gh__http_request *request)
{
	pthread_mutex_lock(&request->lock);
	bool news = !request->gone && !request->finished && request->is_dispatched;
	if (news) {
		request->gone = true;
		outbox_clear(&request->out, 0);
	}
	pthread_mutex_unlock(&request->lock);
	if (!news)
		return;

	gh__http_request_ref(request);
	pthread_mutex_lock(&request->notify);
	gh__http_gone_fn *fn = request->gone_fn;
	request->gone_fn = NULL;
	if (fn)
		fn(request->gone_userdata);
	pthread_mutex_unlock(&request->notify);
	gh__http_request_unref(request);
}

bool gh__http_gone(const gh__http_request *request)
{
	return atomic_load(&request->gone);
}

void gh__http_on_gone(gh__http_request *request, gh__http_gone_fn *fn, void *userdata)
{
	gh__http_request_ref(request); /* fn may finish it */
	pthread_mutex_lock(&request->notify);
	if (fn && gh__http_gone(request)) {
		request->gone_fn = NULL;
		fn(userdata);
	} else {
		request->gone_fn = fn;
		request->gone_userdata = userdata;
	}
	pthread_mutex_unlock(&request->notify);
	gh__http_request_unref(request);
}

void gh__http_stream_on_drain(gh__http_request *request, gh__http_gone_fn *fn, void *userdata)
{
	pthread_mutex_lock(&request->notify);
	request->drain_fn = fn;
	request->drain_userdata = userdata;
	pthread_mutex_unlock(&request->notify);
}

static void call_drain(gh__http_request *request)
{
	gh__http_request_ref(request);
	pthread_mutex_lock(&request->notify);
	if (request->drain_fn)
		request->drain_fn(request->drain_userdata);
	pthread_mutex_unlock(&request->notify);
	gh__http_request_unref(request);
}

/* The owner lets go; after this the request may not exist. */
static void finish(gh__http_request *request, gh__http_state state)
{
	gh__http_server *server = request->server;

	pthread_mutex_lock(&request->notify);
	request->gone_fn = NULL;
	request->drain_fn = NULL;
	pthread_mutex_unlock(&request->notify);

	pthread_mutex_lock(&request->lock);
	request->state = state;
	request->finished = true;
	gh__http_wake(request);
	pthread_mutex_unlock(&request->lock);
	atomic_fetch_sub(&server->active, 1);
	gh__http_request_unref(request);
}

/* Answering, by the owner. */

static bool is_ours(const char *name)
{
	return strcasecmp(name, "Content-Length") == 0 ||
	       strcasecmp(name, "Transfer-Encoding") == 0;
}

void gh__http_add_header(gh__http_request *request, const char *name, const char *value)
{
	gh__http_pair **end = &request->out_headers;

	if (is_ours(name) || *name == '\0' || name[strcspn(name, "\r\n: \t")] ||
	    value[strcspn(value, "\r\n")])
		return;
	while (*end)
		end = &(*end)->next;
	if (!gh__http_push(request, &end, name, strlen(name), value, strlen(value)))
		gh__warn("http", "header dropped: out of memory");
}

static void remove_header(gh__http_request *request, const char *name)
{
	gh__http_pair **link = &request->out_headers;

	while (*link) {
		if (strcasecmp((*link)->name, name) == 0)
			*link = (*link)->next;
		else
			link = &(*link)->next;
	}
}

void gh__http_set_header(gh__http_request *request, const char *name, const char *value)
{
	remove_header(request, name);
	gh__http_add_header(request, name, value);
}

/* Takes body. */
static void respond(gh__http_request *request, int status, const char *content_type, char *body,
		    size_t len)
{
	if (content_type)
		gh__http_set_header(request, "Content-Type", content_type);
	pthread_mutex_lock(&request->lock);
	request->status = body ? status : 0; /* no memory: the connection closes */
	request->answer = body;
	request->answer_len = len;
	pthread_mutex_unlock(&request->lock);
	finish(request, body ? GH__HTTP_ANSWERED : GH__HTTP_ABORTED);
}

void gh__http_respond(gh__http_request *request, int status, const char *content_type,
		      const void *body, size_t len)
{
	char *copy = gh__malloc(len);

	if (copy && len)
		memcpy(copy, body, len);
	respond(request, status, content_type, copy, len);
}

static char *body_text(gh__http_request *request, const json_t *body, size_t *len)
{
	const gh__http_server_options *options = &request->server->options;
	gh__buf text;

	gh__buf_init(&text, SIZE_MAX / 4);
	gh__json_write(&text, body,
		       (options->escape_html ? GH__JSON_ESCAPE_HTML : 0) |
			       (options->pretty && gh__http_query(request, "pretty")
					? GH__JSON_PRETTY
					: 0));
	if (options->newline)
		gh__buf_append_char(&text, '\n');
	*len = text.len;
	return gh__buf_take(&text);
}

void gh__http_respond_json(gh__http_request *request, int status, json_t *body)
{
	size_t len = 0;
	char *text = NULL;

	/* The server and its options may be no more, but then the client is gone too. */
	if (body && !gh__http_gone(request))
		text = body_text(request, body, &len);
	json_decref(body);
	respond(request, status, text ? request->server->options.json_type : NULL, text, len);
}

static json_t *plain_error(const char *message)
{
	json_t *body = json_object();

	json_object_set_new_nocheck(body, "error", json_string_nocheck(message));
	return body;
}

char *gh__http_error_body(gh__http_request *request, int status, const char *message, size_t *len)
{
	const gh__http_server_options *options = &request->server->options;
	json_t *body = NULL;

	if (options->error_body)
		body = options->error_body(status, message, options->userdata);
	if (!body)
		body = plain_error(message);
	char *text = body ? body_text(request, body, len) : NULL;
	json_decref(body);
	return text;
}

/* Foreign bytes get into messages, but trees want valid UTF-8. NULL: no memory. */
static char *mend(const gh__buf *message)
{
	size_t size = 3 * message->len + 1;
	char *mended = gh__malloc(size);

	if (mended)
		gh__utf8_copy(mended, size, gh__buf_str(message), message->len);
	return mended;
}

void gh__http_fail(gh__http_request *request, int status, const char *format, ...)
{
	gh__buf message = GH__BUF_INIT(MESSAGE_BYTES);
	size_t len = 0;
	char *text = NULL;
	va_list args;

	va_start(args, format);
	gh__buf_vprintf(&message, format, args);
	va_end(args);
	char *mended = mend(&message);
	gh__buf_free(&message);
	if (mended && !gh__http_gone(request))
		text = gh__http_error_body(request, status, mended, &len);
	gh__free(mended);
	respond(request, status, text ? request->server->options.json_type : NULL, text, len);
}

void gh__http_stream_begin(gh__http_request *request, int status, const char *content_type)
{
	if (content_type)
		gh__http_set_header(request, "Content-Type", content_type);
	if (content_type && strncasecmp(content_type, "text/event-stream", 17) == 0) {
		gh__http_set_header(request, "Cache-Control", "no-cache");
		gh__http_set_header(request, "X-Accel-Buffering", "no");
	}
	pthread_mutex_lock(&request->lock);
	request->status = status;
	request->state = GH__HTTP_STREAMING;
	gh__http_wake(request);
	pthread_mutex_unlock(&request->lock);
}

gh_status gh__http_stream_write(gh__http_request *request, const void *data, size_t len)
{
	const size_t max = request->server->options.pending_max;
	gh_status status = GH_OK;

	pthread_mutex_lock(&request->lock);
	size_t pending = outbox_pending(&request->out);
	if (request->gone) {
		status = GH_ECLOSED;
	} else if (pending && (pending > max || len > max - pending)) {
		status = GH_ETOOBIG;
		request->drain_wanted = true;
	} else if (len) {
		if (!outbox_put(&request->out, data, len))
			status = GH_ENOMEM;
		if (outbox_pending(&request->out) > max / 2)
			request->drain_wanted = true;
		gh__http_wake(request);
	}
	pthread_mutex_unlock(&request->lock);
	return status;
}

size_t gh__http_stream_pending(gh__http_request *request)
{
	pthread_mutex_lock(&request->lock);
	size_t pending = outbox_pending(&request->out);
	pthread_mutex_unlock(&request->lock);
	return pending;
}

void gh__http_stream_end(gh__http_request *request)
{
	finish(request, GH__HTTP_ENDED);
}

void gh__http_stream_abort(gh__http_request *request)
{
	finish(request, GH__HTTP_ABORTED);
}

/* Sending, on the loop. */

/* libmicrohttpd asks for the next bytes of a stream. */
static ssize_t read_stream(void *opaque, uint64_t position, char *to, size_t max)
{
	gh__http_request *request = opaque;
	ssize_t answer;
	bool drained = false;

	(void)position;
	request->server->called = true;
	pthread_mutex_lock(&request->lock);
	bool lost = request->gone || request->server->cutting;
	size_t len = lost ? 0 : outbox_take(&request->out, to, max);
	if (len) {
		answer = (ssize_t)len;
		drained = request->drain_wanted &&
			  outbox_pending(&request->out) <= request->server->options.pending_max / 2;
		if (drained)
			request->drain_wanted = false;
	} else if (lost || request->state == GH__HTTP_ABORTED) {
		answer = MHD_CONTENT_READER_END_WITH_ERROR;
	} else if (request->state == GH__HTTP_ENDED) {
		answer = MHD_CONTENT_READER_END_OF_STREAM;
	} else {
		gh__http_sleep(request);
		answer = 0;
	}
	pthread_mutex_unlock(&request->lock);
	if (drained)
		call_drain(request);
	return answer;
}

struct MHD_Response *gh__http_response(gh__http_request *request)
{
	struct MHD_Response *response;

	if (request->answer) {
		response = MHD_create_response_from_buffer_with_free_callback(request->answer_len,
									      request->answer,
									      gh__free);
		if (response)
			request->answer = NULL;
	} else {
		response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN,
							     request->version_1_0 ? BLOCK_1_0
										  : BLOCK_CHUNKED,
							     read_stream, request, NULL);
	}
	if (!response)
		return NULL;
	for (const gh__http_pair *pair = request->out_headers; pair; pair = pair->next)
		MHD_add_response_header(response, pair->name, pair->value);
	if (request->server->quiet)
		MHD_add_response_header(response, "Connection", "close");
	return response;
}
