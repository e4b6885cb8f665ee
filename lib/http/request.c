#include "http/internal.h"

#include <string.h>
#include <strings.h>

#include "base/alloc.h"
#include "http/route.h"

gh__http_request *gh__http_request_new(gh__http_server *server, const char *target)
{
	pthread_mutexattr_t recursive;
	gh__http_request *request = gh__calloc(1, sizeof *request);

	if (!request)
		return NULL;
	request->target = gh__http_arena_text(&request->arena, target, strlen(target));
	if (!request->target) {
		gh__free(request);
		return NULL;
	}
	request->watch = GH__WATCH_REQUEST;
	request->watched = -1;
	request->server = server;
	gh__http_server_ref(server);
	atomic_init(&request->refs, 1);
	atomic_init(&request->gone, false);
	gh__buf_init(&request->body, server->options.body_max);
	pthread_mutex_init(&request->lock, NULL);
	pthread_mutexattr_init(&recursive);
	pthread_mutexattr_settype(&recursive, PTHREAD_MUTEX_RECURSIVE);
	pthread_mutex_init(&request->notify, &recursive);
	pthread_mutexattr_destroy(&recursive);
	return request;
}

void gh__http_request_ref(gh__http_request *request)
{
	atomic_fetch_add(&request->refs, 1);
}

void gh__http_request_unref(gh__http_request *request)
{
	if (atomic_fetch_sub(&request->refs, 1) != 1)
		return;
	gh__http_server *server = request->server;

	pthread_mutex_destroy(&request->lock);
	pthread_mutex_destroy(&request->notify);
	gh__buf_free(&request->body);
	gh__free(request->answer);
	gh__free(request->out.data);
	gh__http_arena_free(&request->arena);
	gh__free(request);
	gh__http_server_unref(server);
}

/* Append a pair to the list whose last link is *end. */
bool gh__http_push(gh__http_request *request, gh__http_pair ***end, const char *name,
		   size_t name_len, const char *value, size_t value_len)
{
	gh__http_pair *pair = gh__http_arena_take(&request->arena, sizeof *pair);

	if (!pair)
		return false;
	pair->name = gh__http_arena_text(&request->arena, name, name_len);
	pair->value = gh__http_arena_text(&request->arena, value, value_len);
	pair->next = NULL;
	if (!pair->name || !pair->value)
		return false;
	**end = pair;
	*end = &pair->next;
	return true;
}

/* The same, percent-decoded. */
static bool push_decoded(gh__http_request *request, gh__http_pair ***end, const char *name,
			 size_t name_len, const char *value, size_t value_len, bool plus)
{
	gh__http_pair **link = *end;

	if (!gh__http_push(request, end, name, name_len, value, value_len))
		return false;
	gh__percent_decode((char *)(*link)->name, name, name_len, plus);
	gh__percent_decode((char *)(*link)->value, value, value_len, plus);
	return true;
}

typedef struct header_walk {
	gh__http_request *request;
	gh__http_pair **end;
	bool failed;
} header_walk;

static enum MHD_Result keep_header(void *opaque, enum MHD_ValueKind kind, const char *name,
				   const char *value)
{
	header_walk *walk = opaque;

	(void)kind;
	if (!value)
		value = "";
	walk->failed =
		!gh__http_push(walk->request, &walk->end, name, strlen(name), value, strlen(value));
	return walk->failed ? MHD_NO : MHD_YES;
}

static bool split_query(gh__http_request *request, const char *query)
{
	gh__http_pair **end = &request->queries;

	while (*query) {
		const char *stop = strchrnul(query, '&');
		const char *equals = memchr(query, '=', (size_t)(stop - query));
		const char *name_end = equals ? equals : stop;
		const char *value = equals ? equals + 1 : stop;

		if (stop > query && !push_decoded(request, &end, query, (size_t)(name_end - query),
						  value, (size_t)(stop - value), true))
			return false;
		query = *stop ? stop + 1 : stop;
	}
	return true;
}

/* "http://host/path" is "/path": a client may take us for its proxy. */
static const char *without_origin(const char *target)
{
	if (strncasecmp(target, "http://", 7) != 0)
		return target;
	const char *path = strchr(target + 7, '/');
	return path ? path : "/";
}

bool gh__http_request_fill(gh__http_request *request, const char *method, const char *version)
{
	header_walk walk = { request, &request->headers, false };

	request->target = without_origin(request->target);
	if (request->server->options.strip_version)
		request->target += gh__version_prefix(request->target);
	if (*request->target != '/' && *request->target != '*') {
		const char *rest = request->target;
		char *target = gh__http_arena_take(&request->arena, strlen(rest) + 2);

		if (!target)
			return false;
		target[0] = '/';
		memcpy(target + 1, rest, strlen(rest) + 1);
		request->target = target;
	}
	const char *query = strchrnul(request->target, '?');
	size_t len = (size_t)(query - request->target);
	char *path = gh__http_arena_take(&request->arena, len + 1);

	request->raw_path = gh__http_arena_text(&request->arena, request->target, len);
	request->method = gh__http_arena_text(&request->arena, method, strlen(method));
	if (!path || !request->raw_path || !request->method)
		return false;
	gh__percent_decode(path, request->raw_path, len, false);
	request->path = path;
	request->version_1_0 = strcmp(version, "HTTP/1.0") == 0;
	MHD_get_connection_values(request->connection, MHD_HEADER_KIND, keep_header, &walk);
	return !walk.failed && (*query == '\0' || split_query(request, query + 1));
}

/* Whether method is in a list like "GET, POST". */
static bool listed(const char *list, const char *method)
{
	size_t len = strlen(method);

	for (const char *at = list; (at = strstr(at, method)) != NULL; at += len)
		if ((at == list || at[-1] == ' ') && (at[len] == '\0' || at[len] == ','))
			return true;
	return false;
}

/* The route that fits, or NULL; then allow holds the methods of those that fit but for theirs. */
static const gh__http_route *find_route(const gh__http_request *request, size_t len,
					gh__route_params *params, gh__buf *allow)
{
	const gh__http_server_options *options = &request->server->options;

	for (size_t i = 0; i < options->route_count; i++) {
		const gh__http_route *route = &options->routes[i];

		if (!gh__route_match(route->path, request->raw_path, len, params))
			continue;
		if (!route->method || strcmp(route->method, request->method) == 0)
			return route;
		if (!listed(gh__buf_str(allow), route->method))
			gh__buf_printf(allow, "%s%s", allow->len ? ", " : "", route->method);
	}
	return NULL;
}

static bool keep_params(gh__http_request *request, const gh__route_params *params)
{
	gh__http_pair **end = &request->params;

	for (size_t i = 0; i < params->count; i++)
		if (!push_decoded(request, &end, params->at[i].name, params->at[i].name_len,
				  params->at[i].value, params->at[i].value_len, false))
			return false;
	return true;
}

/* Call the handler, or raise the error, of a request that is all there. */
void gh__http_dispatch(gh__http_request *request)
{
	gh__buf allow = GH__BUF_INIT(1024);
	size_t len = strlen(request->raw_path);
	gh__route_params params;

	request->is_dispatched = true;
	gh__http_begin_owner(request);
	if (gh__http_cors(request))
		return;
	if (request->server->quiet) {
		gh__http_set_header(request, "Connection", "close");
		gh__http_fail(request, 503, "Service Unavailable");
		return;
	}
	const gh__http_route *route = find_route(request, len, &params, &allow);
	if (!route && allow.len == 0 && request->server->options.slash_ignored && len > 1 &&
	    request->raw_path[len - 1] == '/')
		route = find_route(request, len - 1, &params, &allow);
	if (route && !keep_params(request, &params)) {
		gh__http_fail(request, 500, "Internal Server Error");
	} else if (route) {
		route->handler(request, request->server->options.userdata);
	} else if (allow.len) {
		gh__http_set_header(request, "Allow", gh__buf_str(&allow));
		gh__http_fail(request, 405, "Method Not Allowed");
	} else {
		gh__http_fail(request, 404, "Not Found");
	}
	gh__buf_free(&allow);
}

const char *gh__http_find(const gh__http_pair *pairs, const char *name)
{
	for (; pairs; pairs = pairs->next)
		if (strcmp(pairs->name, name) == 0)
			return pairs->value;
	return NULL;
}

const char *gh__http_method(const gh__http_request *request)
{
	return request->method;
}

const char *gh__http_path(const gh__http_request *request)
{
	return request->path;
}

const char *gh__http_target(const gh__http_request *request)
{
	return request->target;
}

const char *gh__http_param(const gh__http_request *request, const char *name)
{
	return gh__http_find(request->params, name);
}

const char *gh__http_query(const gh__http_request *request, const char *name)
{
	return gh__http_find(request->queries, name);
}

const char *gh__http_header(const gh__http_request *request, const char *name)
{
	for (const gh__http_pair *pair = request->headers; pair; pair = pair->next)
		if (strcasecmp(pair->name, name) == 0)
			return pair->value;
	return NULL;
}

bool gh__http_is_json(const gh__http_request *request)
{
	static const char json[] = "application/json";
	const char *type = gh__http_header(request, "Content-Type");
	size_t len = type ? strcspn(type, ";") : 0;

	while (len > 0 && (type[len - 1] == ' ' || type[len - 1] == '\t'))
		len--;
	return len == sizeof json - 1 && strncasecmp(type, json, len) == 0;
}

void gh__http_each_header(const gh__http_request *request, gh__http_header_fn *fn, void *userdata)
{
	for (const gh__http_pair *pair = request->headers; pair; pair = pair->next)
		fn(pair->name, pair->value, userdata);
}

const char *gh__http_body(const gh__http_request *request, size_t *len)
{
	if (len)
		*len = request->body.len;
	return gh__buf_str(&request->body);
}
