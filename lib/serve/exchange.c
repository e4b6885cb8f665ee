#include "serve/exchange.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"

#define JSON "application/json"

static const double seconds[] = { 0.1, 0.5, 1 };
static const double fine_seconds[] = { 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1,  1.5, 2,
				       2.5,  3,     3.5,  4,     4.5, 5,    7.5, 10,   30, 60 };

gh__exchange *gh__exchange_new(gh_worker *worker, gh__http_request *request)
{
	gh__exchange *x = gh__calloc(1, sizeof *x);

	if (!x)
		return NULL;
	x->worker = worker;
	x->request = request;
	x->route = GH__ROUTES_MAX;
	x->method = gh__http_method(request);
	x->began = gh__now();
	return x;
}

/* A client's word is no label: each would be a metric of its own. */
static const char *method_label(const gh__exchange *x)
{
	static const char *const known[] = { "GET",    "POST",    "HEAD", "PUT",
					     "DELETE", "OPTIONS", "PATCH" };

	for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
		if (strcmp(x->method, known[i]) == 0)
			return known[i];
	return "other";
}

static gh__metric *requests_metric(const gh__exchange *x)
{
	static const char *const labels[] = { "handler", "method", "status", NULL };
	static const gh__metric_family family = { GH__COUNTER,
						  "http_requests_total",
						  "Requests by handler, method and class of status",
						  labels,
						  NULL,
						  0 };
	int class = x->status / 100;
	char status[] = { (char)('0' + class), 'x', 'x', '\0' };
	const char *const values[] = { x->handler, method_label(x), status, NULL };

	if (class < 1 || class >= GH__STATUS_CLASSES)
		return NULL;
	_Atomic(gh__metric *) *known = &x->worker->requests[x->route][class];
	gh__metric *metric = atomic_load_explicit(known, memory_order_acquire);
	if (!metric || x->route == GH__ROUTES_MAX) {
		metric = gh__metrics_get(x->worker->metrics, &family, values);
		atomic_store_explicit(known, metric, memory_order_release);
	}
	return metric;
}

static void observe_sizes(const gh__exchange *x, size_t received)
{
	static const char *const by_handler[] = { "handler", NULL };
	static const gh__metric_family sent_family = { GH__HISTOGRAM,
						       "http_response_size_bytes",
						       "Bytes of answers' bodies",
						       by_handler,
						       NULL,
						       0 };
	static const gh__metric_family received_family = { GH__HISTOGRAM,
							   "http_request_size_bytes",
							   "Bytes of requests' bodies",
							   by_handler,
							   NULL,
							   0 };
	const char *const values[] = { x->handler, NULL };

	gh__metric_observe(gh__metrics_get(x->worker->metrics, &received_family, values),
			   (double)received);
	gh__metric_observe(gh__metrics_get(x->worker->metrics, &sent_family, values),
			   (double)x->bytes);
}

static void observe(const gh__exchange *x)
{
	static const char *const labels[] = { "handler", "method", NULL };
	static const gh__metric_family coarse = { GH__HISTOGRAM,
						  "http_request_duration_seconds",
						  "Time from a request to the end of its answer",
						  labels,
						  seconds,
						  sizeof seconds / sizeof seconds[0] };
	static const gh__metric_family fine = { GH__HISTOGRAM,
						"http_request_duration_highr_seconds",
						"The same over all handlers",
						NULL,
						fine_seconds,
						sizeof fine_seconds / sizeof fine_seconds[0] };
	const char *const values[] = { x->handler, method_label(x), NULL };
	double took = (double)(gh__now() - x->began) / (double)GH__SECOND;
	size_t received = 0;

	if (!x->handler)
		return;
	gh__http_body(x->request, &received);
	gh__metric_add(requests_metric(x), 1);
	gh__metric_observe(gh__metrics_get(x->worker->metrics, &coarse, values), took);
	gh__metric_observe(gh__metrics_get(x->worker->metrics, &fine, NULL), took);
	observe_sizes(x, received);
}

void gh__exchange_respond(gh__exchange *x, int status, const char *type, const void *body,
			  size_t len)
{
	x->status = status;
	x->bytes = len;
	if (status == 503 && x->handler)
		gh__http_set_header(x->request, "Retry-After", "1");
	observe(x);
	gh__http_respond(x->request, status, type, body, len);
	gh__free(x);
}

void gh__exchange_fail(gh__exchange *x, const gh__openai_error *error)
{
	gh__buf out = GH__BUF_INIT(1 << 14);

	gh__openai_error_write(&out, error);
	gh__exchange_respond(x, error->status, JSON, gh__buf_str(&out), out.len);
	gh__buf_free(&out);
}

void gh__exchange_refuse(gh__exchange *x, int status, const char *type, const char *format, ...)
{
	gh__openai_error error = { .status = status, .type = type };
	va_list args;

	va_start(args, format);
	vsnprintf(error.message, sizeof error.message, format, args);
	va_end(args);
	gh__exchange_fail(x, &error);
}

void gh__exchange_json(gh__exchange *x, gh__buf *out)
{
	if (gh__buf_status(out) == GH_OK)
		gh__exchange_respond(x, 200, JSON, gh__buf_str(out), out->len);
	else
		gh__exchange_refuse(x, 500, GH__OPENAI_INTERNAL, "%s",
				    gh_status_text(gh__buf_status(out)));
	gh__buf_free(out);
}

void gh__exchange_stream(gh__exchange *x, const char *type)
{
	x->status = 200;
	gh__http_stream_begin(x->request, 200, type);
}

gh_status gh__exchange_write(gh__exchange *x, const void *data, size_t len)
{
	gh_status status = gh__http_stream_write(x->request, data, len);

	if (status == GH_OK)
		x->bytes += len;
	return status;
}

void gh__exchange_end(gh__exchange *x, bool whole)
{
	observe(x);
	if (whole)
		gh__http_stream_end(x->request);
	else
		gh__http_stream_abort(x->request);
	gh__free(x);
}
