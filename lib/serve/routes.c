#include "serve/routes.h"

#include <string.h>

#include "openai/tokenize.h"
#include "serve/generate.h"
#include "serve/info.h"
#include "serve/proofs.h"

#define OUT_MAX    ((size_t)256 << 20)
#define LARGE_BODY ((size_t)256 << 10)

enum {
	QUIET = 1,    /* not counted */
	READY = 2,    /* needs the model */
	PREPARED = 4, /* has a JSON body, and runs by the crew */
	PRIVATE = 8,  /* only for the node that started the worker */
};

typedef void route_fn(gh__exchange *x);

typedef struct route {
	const char *method, *path;
	route_fn *fn;
	unsigned flags;
	const char *what; /* an interface that the model does not have */
} route;

/* ---- by the crew ---- */

static void chat(gh__exchange *x)
{
	gh__generate(x, GH__OPENAI_CHAT);
}

static void completion(gh__exchange *x)
{
	gh__generate(x, GH__OPENAI_COMPLETION);
}

typedef gh_status convert_fn(gh__buf *out, const gh__openai_model *model, const char *body,
			     size_t len, gh__openai_error *error);

static void convert(gh__exchange *x, convert_fn *fn)
{
	gh__buf out = GH__BUF_INIT(OUT_MAX);
	gh__openai_error error = { 0 };
	size_t len;
	const char *body = gh__http_body(x->request, &len);

	fn(&out, &x->worker->model, body, len, &error);
	if (error.status == 0) {
		gh__exchange_json(x, &out);
		return;
	}
	gh__exchange_fail(x, &error);
	gh__buf_free(&out);
}

static void tokenize(gh__exchange *x)
{
	convert(x, gh__openai_tokenize);
}

static void detokenize(gh__exchange *x)
{
	convert(x, gh__openai_detokenize);
}

static void invocation(gh__exchange *x)
{
	gh__openai_error error = { 0 };
	size_t len;
	const char *body = gh__http_body(x->request, &len);
	json_t *tree = gh__body_parse(body, len, &error);
	bool is_chat = json_object_get(tree, "messages") != NULL;

	json_decref(tree);
	gh__generate(x, is_chat ? GH__OPENAI_CHAT : GH__OPENAI_COMPLETION);
}

/* ---- the table ---- */

static const route routes[] = {
	{ "GET", "/health", gh__info_health, QUIET, NULL },
	{ "GET", "/ping", gh__info_health, QUIET, NULL },
	{ "POST", "/ping", gh__info_health, QUIET, NULL },
	{ "GET", "/load", gh__info_load, QUIET, NULL },
	{ "GET", "/metrics", gh__info_metrics, QUIET, NULL },
	{ "GET", "/version", gh__info_version, QUIET, NULL },
	{ "GET", "/v1/models", gh__info_models, READY, NULL },
	{ "POST", "/v1/chat/completions", chat, READY | PREPARED, NULL },
	{ "POST", "/v1/completions", completion, READY | PREPARED, NULL },
	{ "POST", "/tokenize", tokenize, READY | PREPARED, NULL },
	{ "POST", "/detokenize", detokenize, READY | PREPARED, NULL },
	{ "POST", "/invocations", invocation, READY | PREPARED, NULL },
	{ "POST", "/control/proofs/round", gh__proofs_round, PREPARED | PRIVATE | QUIET, NULL },
	{ "GET", "/control/proofs/status", gh__proofs_status, PRIVATE | QUIET, NULL },
	{ "POST", "/control/proofs/generate", gh__proofs_generate, PREPARED | PRIVATE | QUIET,
	  NULL },
	{ "POST", "/control/proofs/finish", gh__proofs_finish, PRIVATE | QUIET, NULL },
	{ "POST", "/control/proofs/distances", gh__proofs_distances, PREPARED | PRIVATE | QUIET,
	  NULL },
	{ "POST", "/control/proofs/stop", gh__proofs_end, PRIVATE | QUIET, NULL },
	{ "POST", "/v1/embeddings", NULL, 0, "Embeddings" },
	{ "POST", "/pooling", NULL, 0, "Pooling" },
	{ "POST", "/classify", NULL, 0, "Classification" },
	{ "POST", "/score", NULL, 0, "Score" },
	{ "POST", "/v1/score", NULL, 0, "Score" },
	{ "POST", "/rerank", NULL, 0, "Rerank (Score)" },
	{ "POST", "/v1/rerank", NULL, 0, "Rerank (Score)" },
	{ "POST", "/v2/rerank", NULL, 0, "Rerank (Score)" },
};
enum { ROUTES = sizeof routes / sizeof routes[0] };
_Static_assert(ROUTES <= (int)GH__ROUTES_MAX, "each route has its counters");

/* Behind the prefix under which a proxy shows us, if that was not removed; without a slash at the
 * end. */
static const char *inner_path(const gh_worker *worker, const char *path, size_t *len)
{
	const char *root = worker->args.root_path;
	size_t root_len = root ? strlen(root) : 0;

	while (root_len > 0 && root[root_len - 1] == '/')
		root_len--;
	if (root_len > 0 && strncmp(path, root, root_len) == 0 && path[root_len] == '/')
		path += root_len;
	*len = strlen(path);
	if (*len > 1 && path[*len - 1] == '/')
		--*len;
	return path;
}

static const route *find(const char *method, const char *path, size_t len, const char **allowed)
{
	*allowed = NULL;
	for (size_t i = 0; i < ROUTES; i++) {
		if (strlen(routes[i].path) != len || memcmp(routes[i].path, path, len) != 0)
			continue;
		if (strcmp(routes[i].method, method) == 0)
			return &routes[i];
		*allowed = *allowed ? "GET, POST" : routes[i].method;
	}
	return NULL;
}

/* ---- checks in front of every handler ---- */

/* Takes as long for a wrong key as for the right one. */
static bool same_text(const char *a, const char *b)
{
	size_t len = strlen(a), other = strlen(b);
	unsigned char differ = len != other;

	for (size_t i = 0; i < len; i++)
		differ |= (unsigned char)a[i] ^ (unsigned char)(i < other ? b[i] : 0);
	return differ == 0;
}

static bool may_enter(const gh__exchange *x, const char *path)
{
	static const char scheme[] = "Bearer ";
	const char *key = x->worker->api_key, *given;

	if (!key || strncmp(path, "/v1", 3) != 0 || strcmp(x->method, "OPTIONS") == 0)
		return true;
	given = gh__http_header(x->request, "Authorization");
	return given && strncmp(given, scheme, sizeof scheme - 1) == 0 &&
	       same_text(key, given + sizeof scheme - 1);
}

static void run(void *arg)
{
	gh__exchange *x = arg;

	routes[x->route].fn(x);
}

/* Who prepares it. */
static gh__crew *crew_for(const gh__exchange *x)
{
	size_t len = 0;

	gh__http_body(x->request, &len);
	return len > LARGE_BODY ? x->worker->large : x->worker->crew;
}

static void dispatch(gh__exchange *x, const route *r)
{
	if (r->what) {
		gh__exchange_refuse(x, 400, GH__OPENAI_REFUSED, "The model does not support %s API",
				    r->what);
	} else if (r->flags & PREPARED && !gh__http_is_json(x->request)) {
		gh__exchange_refuse(x, 400, GH__OPENAI_FIELD,
				    "Unsupported Media Type: Only 'application/json' is allowed");
	} else if (r->flags & READY &&
		   atomic_load_explicit(&x->worker->state, memory_order_acquire) !=
			   GH__WORKER_READY) {
		gh__info_not_ready(x);
	} else if (!(r->flags & PREPARED)) {
		r->fn(x);
	} else if (gh__crew_run(crew_for(x), run, x) != GH_OK) {
		gh__exchange_refuse(x, 503, GH__OPENAI_BUSY, "The server is overloaded.");
	}
}

void gh__routes_handle(gh__http_request *request, void *userdata)
{
	static const char refused[] = "{\"error\":\"Unauthorized\"}";
	gh_worker *worker = userdata;
	gh__exchange *x = gh__exchange_new(worker, request);
	const char *allowed, *path;
	size_t len;

	if (!x) {
		gh__http_fail(request, 500, "out of memory");
		return;
	}
	path = inner_path(worker, gh__http_path(request), &len);
	const route *r = find(x->method, path, len, &allowed);
	if (r && r->flags & PRIVATE && !worker->proofs)
		r = NULL;
	x->handler = r ? r->flags & QUIET ? NULL : r->path : "none";
	x->route = r ? (size_t)(r - routes) : GH__ROUTES_MAX;
	if (!may_enter(x, path)) {
		gh__exchange_respond(x, 401, "application/json", refused, sizeof refused - 1);
	} else if (r) {
		dispatch(x, r);
	} else if (allowed) {
		gh__http_set_header(request, "Allow", allowed);
		gh__exchange_refuse(x, 405, "Method Not Allowed", "Method Not Allowed");
	} else {
		gh__exchange_refuse(x, 404, "Not Found", "Not Found");
	}
}

json_t *gh__routes_error(int status, const char *message, void *userdata)
{
	const char *type = status == 503   ? GH__OPENAI_BUSY
			   : status >= 500 ? GH__OPENAI_INTERNAL
					   : message;

	(void)userdata;
	return json_pack("{s:s, s:s, s:s, s:n, s:i}", "object", "error", "message", message, "type",
			 type, "param", "code", status);
}
