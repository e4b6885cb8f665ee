#include "http/relay.h"

#include <string.h>
#include <strings.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/error.h"
#include "base/thread.h"

enum {
	REFUSAL_MAX = 1 << 20,
	HEADERS_MAX = 256,
	HEADER_BYTES_MAX = 256 << 10,
	ANSWER_HEADERS_MAX =
		4 << 10, /* what fits a connection's memory, whatever its request was */
	EVENT_MAX = 1 << 20
};

/*
 * Two threads come here: the client's loop with pieces of the answer, and the server's loop when
 * the reader went away or has caught up. The lock guards call and gone.
 */
typedef struct relay {
	gh__http_request *request;
	gh__http_client *client;
	gh__relay_end_fn *end;
	void *userdata;
	bool keep_back_refusals;

	pthread_mutex_t lock;
	gh__http_call *call; /* NULL: none under way */
	bool gone;

	/* the client's loop only */
	int status;
	char *content_type;
	gh__buf headers; /* name, NUL, value, NUL, ... until they go to the request */
	gh__buf event;   /* of a text/event-stream: the beginning of one that is not whole yet */
	bool events;     /* it is one */
	gh__buf refusal;
	bool refused, begun;
	gh_error problem; /* why we gave the answer up ourselves */
} relay;

static bool of_connection(const char *name)
{
	static const char *const names[] = {
		"Host", "Connection", "Content-Length", "Keep-Alive", "Transfer-Encoding",
		"TE",   "Trailer",    "Upgrade",        "Expect",     "Proxy-Connection"
	};
	size_t i;

	for (i = 0; i < sizeof names / sizeof names[0]; i++)
		if (strcasecmp(name, names[i]) == 0)
			return true;
	return false;
}

static void relay_free(relay *r)
{
	gh__buf_free(&r->headers);
	gh__buf_free(&r->event);
	gh__buf_free(&r->refusal);
	gh__free(r->content_type);
	pthread_mutex_destroy(&r->lock);
	gh__free(r);
}

/* ---- the client's side ---- */

static void on_gone(void *userdata)
{
	relay *r = userdata;

	pthread_mutex_lock(&r->lock);
	r->gone = true;
	if (r->call)
		gh__http_call_cancel(r->client, r->call);
	pthread_mutex_unlock(&r->lock);
}

static void on_drain(void *userdata)
{
	relay *r = userdata;

	pthread_mutex_lock(&r->lock);
	if (r->call)
		gh__http_call_resume(r->client, r->call);
	pthread_mutex_unlock(&r->lock);
}

/* ---- the other server's side ---- */

/* The rest of the answer is of no use. */
static void give_up(relay *r, gh_status status, const char *why)
{
	if (r->problem.status != GH_OK)
		return;
	gh__fail(&r->problem, status, "%s", why);
	pthread_mutex_lock(&r->lock);
	if (r->call)
		gh__http_call_cancel(r->client, r->call);
	pthread_mutex_unlock(&r->lock);
}

static void begin(relay *r)
{
	const char *at = r->headers.data, *end = at ? at + r->headers.len : NULL;

	while (at < end) {
		const char *value = at + strlen(at) + 1;

		gh__http_add_header(r->request, at, value);
		at = value + strlen(value) + 1;
	}
	r->begun = true;
	r->events = r->content_type && strncmp(r->content_type, "text/event-stream", 17) == 0;
	gh__http_stream_begin(r->request, r->status, r->content_type);
	gh__http_stream_on_drain(r->request, on_drain, r);
}

/* A server of a model that is no use now, or that sends elsewhere. */
static bool is_refusal(int status)
{
	return status == 502 || status == 503 || status / 100 == 3;
}

static void check_status(relay *r)
{
	if (r->status < 200 || r->status > 599)
		give_up(r, GH_ENET, "an answer without a status from 200 to 599");
}

static void on_header(int status, const char *name, const char *value, void *userdata)
{
	relay *r = userdata;

	if (!name) {
		r->status = status;
		gh__buf_reset(&r->headers);
		gh__free(r->content_type);
		r->content_type = NULL;
	} else if (name[0] == '\0') {
		check_status(r);
		r->refused = r->keep_back_refusals && is_refusal(r->status);
	} else if (strcasecmp(name, "Content-Type") == 0) {
		gh__free(r->content_type);
		r->content_type = gh__strdup(value);
	} else if (!of_connection(name) && !r->begun) {
		gh__buf_append(&r->headers, name, strlen(name) + 1);
		gh__buf_append(&r->headers, value, strlen(value) + 1);
		if (gh__buf_status(&r->headers) != GH_OK)
			give_up(r, GH_ENET, "too many headers in the answer");
	}
}

/* A stream of events goes on event by event, so that one that breaks off ends between two of them.
 * Answers how much of the buffer is whole events; all of it when one is larger than any should
 * be. */
static size_t whole_events(const gh__buf *buf, size_t from)
{
	const char *data = buf->data;
	size_t at;

	if (buf->len >= EVENT_MAX)
		return buf->len;
	for (at = buf->len; at >= 3 && at > from; at--)
		if (data[at - 1] == '\n' &&
		    (data[at - 2] == '\n' || (data[at - 2] == '\r' && data[at - 3] == '\n')))
			return at;
	return 0;
}

static gh_status write_events(relay *r, const void *data, size_t len)
{
	size_t before = r->event.len, whole;
	gh_status status;

	gh__buf_append(&r->event, data, len);
	status = gh__buf_status(&r->event);
	whole = status == GH_OK ? whole_events(&r->event, before) : 0;
	if (whole)
		status = gh__http_stream_write(r->request, r->event.data, whole);
	if (status == GH_ETOOBIG) {
		r->event.len = before; /* the same bytes come again */
		r->event.data[before] = '\0';
	} else {
		gh__buf_consume(&r->event, whole);
	}
	return status;
}

static bool on_data(const void *data, size_t len, void *userdata)
{
	relay *r = userdata;
	gh_status status;

	if (r->problem.status != GH_OK)
		return true;
	if (r->refused) {
		gh__buf_append(&r->refusal, data, len);
		if (gh__buf_status(&r->refusal) != GH_OK)
			give_up(r, GH_ENET, "too long a refusal");
		return true;
	}
	if (!r->begun)
		begin(r);
	status = r->events ? write_events(r, data, len)
			   : gh__http_stream_write(r->request, data, len);
	if (status == GH_ENOMEM)
		give_up(r, status, "out of memory");
	/* A reader that lags is waited for; one that is gone is found out by on_gone. */
	return status != GH_ETOOBIG;
}

/* What has come cannot be taken back, but must not pass for whole. */
static void break_off(relay *r)
{
	static const char event[] = "data: {\"error\":{\"object\":\"error\",\"message\":\"the "
				    "server of the model broke off\",\"type\":"
				    "\"InternalServerError\",\"param\":null,\"code\":502}}\n\n";

	if (r->events)
		gh__http_stream_write(r->request, event, sizeof event - 1);
	gh__http_stream_abort(r->request);
}

static void on_done(const gh__http_answer *answer, gh_status status, const gh_error *error,
		    void *userdata)
{
	relay *r = userdata;
	gh__relay_result result = { .status = status, .error = error };

	(void)answer;
	/* Nobody else comes here any more after these: the server's loop, nor who started the call
	 * and may still hold the lock. */
	gh__http_on_gone(r->request, NULL, NULL);
	if (r->begun)
		gh__http_stream_on_drain(r->request, NULL, NULL);
	pthread_mutex_lock(&r->lock);
	r->call = NULL;
	pthread_mutex_unlock(&r->lock);
	if (status == GH_OK)
		check_status(r);
	if (r->problem.status != GH_OK && !r->gone) {
		status = result.status = r->problem.status;
		result.error = &r->problem;
	}
	if (status == GH_OK && !r->begun && !r->refused && !r->gone)
		begin(r);
	result.begun = r->begun;
	result.gone = r->gone;
	result.http_status = r->status;
	result.content_type = r->content_type;
	result.body = gh__buf_str(&r->refusal);
	result.len = r->refusal.len;
	if (r->begun && status == GH_OK && r->event.len)
		status = gh__http_stream_write(r->request, r->event.data, r->event.len);
	if (r->begun && status == GH_OK)
		gh__http_stream_end(r->request);
	else if (r->begun)
		break_off(r);
	else if (r->gone)
		gh__http_respond(r->request, 499, NULL, NULL, 0);
	r->end(&result, r->userdata);
	relay_free(r);
}

/* ---- starting ---- */

/* Header lines for the call, all in one buffer of lines that end with NUL. */
typedef struct header_lines {
	gh__buf text;
	size_t count;
	const char *skip; /* a header that is replaced */
} header_lines;

static void add_line(const char *name, const char *value, void *userdata)
{
	header_lines *lines = userdata;

	if (of_connection(name) || lines->count >= HEADERS_MAX ||
	    (lines->skip && strcasecmp(name, lines->skip) == 0))
		return;
	/* libcurl sends "Name;" as a header without a value. */
	if (value[0])
		gh__buf_printf(&lines->text, "%s: %s", name, value);
	else
		gh__buf_printf(&lines->text, "%s;", name);
	gh__buf_append_char(&lines->text, '\0');
	lines->count++;
}

static gh_status start(relay *r, const gh__relay_options *options, const char *const *headers,
		       gh_error *error)
{
	gh__http_call_options call = { 0 };
	gh_status status;
	size_t len;

	call.method = gh__http_method(r->request);
	call.url = options->url;
	call.unix_path = options->unix_path;
	call.headers = headers;
	call.body = gh__http_body(r->request, &len);
	call.body_len = len;
	call.connect_timeout = options->connect_timeout;
	call.idle_timeout = options->idle_timeout;
	call.on_header = on_header;
	call.on_data = on_data;
	call.on_done = on_done;
	call.userdata = r;
	/* Under the lock, so that on_gone finds either no call or the whole of it. */
	pthread_mutex_lock(&r->lock);
	if (r->gone)
		status = gh__fail(error, GH_ECANCELLED, "the client went away");
	else
		status = gh__http_call_start(r->client, &call, &r->call, error);
	pthread_mutex_unlock(&r->lock);
	return status;
}

gh_status gh__http_relay(gh__http_request *request, const gh__relay_options *options,
			 gh_error *error)
{
	header_lines lines = { GH__BUF_INIT(HEADER_BYTES_MAX), 0,
			       options->authorization ? "Authorization" : NULL };
	const char *headers[HEADERS_MAX + 3];
	relay *r = gh__calloc(1, sizeof *r);
	const char *at;
	size_t i;
	gh_status status;

	if (!r)
		return gh__fail_nomem(error);
	gh__http_each_header(request, add_line, &lines);
	if (options->authorization && options->authorization[0])
		add_line("Authorization", options->authorization, &lines);
	if (!gh__http_header(request, "Content-Type")) {
		lines.skip = NULL;
		gh__buf_append(&lines.text, "Content-Type:", 14); /* none, as it came */
		lines.count++;
	}
	for (i = 0, at = gh__buf_str(&lines.text); i < lines.count; i++, at += strlen(at) + 1)
		headers[i] = at;
	headers[i] = NULL;
	r->request = request;
	r->client = options->client;
	r->end = options->end;
	r->userdata = options->userdata;
	r->keep_back_refusals = options->keep_back_refusals;
	gh__buf_init(&r->headers, ANSWER_HEADERS_MAX);
	gh__buf_init(&r->event, 2 * EVENT_MAX);
	gh__buf_init(&r->refusal, REFUSAL_MAX);
	pthread_mutex_init(&r->lock, NULL);
	status = gh__buf_status(&lines.text);
	if (status != GH_OK)
		status = gh__fail(error, status, "headers: more than %d bytes", HEADER_BYTES_MAX);
	if (status == GH_OK) {
		gh__http_on_gone(request, on_gone, r);
		status = start(r, options, headers, error);
		if (status != GH_OK)
			gh__http_on_gone(request, NULL, NULL);
	}
	gh__buf_free(&lines.text);
	if (status != GH_OK)
		relay_free(r);
	return status;
}
