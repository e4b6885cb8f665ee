#include "http/internal.h"

#include <string.h>
#include <strings.h>

#include "base/buf.h"

/*
 * Cross-origin rules as browsers ask for them: a preflight is an OPTIONS request with the headers
 * Origin and Access-Control-Request-Method.
 */
#define EVERY_METHOD "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"

static bool lists(const char *const *list, const char *text, size_t len)
{
	for (; *list; list++)
		if (strcmp(*list, "*") == 0 ||
		    (strlen(*list) == len && strncasecmp(*list, text, len) == 0))
			return true;
	return false;
}

static bool is_any(const char *const *list)
{
	return !list || lists(list, "*", 1);
}

static void set_list(gh__http_request *request, const char *name, const char *const *list)
{
	gh__buf text = GH__BUF_INIT(4096);

	for (; *list; list++)
		gh__buf_printf(&text, "%s%s", text.len ? ", " : "", *list);
	gh__http_set_header(request, name, gh__buf_str(&text));
	gh__buf_free(&text);
}

/* Every name in "a, b" is in the list. */
static bool all_listed(const char *const *list, const char *names)
{
	while (*(names += strspn(names, ", \t"))) {
		size_t len = strcspn(names, ", \t");

		if (!lists(list, names, len))
			return false;
		names += len;
	}
	return true;
}

static void answer_preflight(gh__http_request *request, bool allowed, const char *method)
{
	const gh__http_server_options *options = &request->server->options;
	const char *headers = gh__http_header(request, "Access-Control-Request-Headers");
	const char *why = "OK";

	if (is_any(options->cors_methods))
		gh__http_set_header(request, "Access-Control-Allow-Methods", EVERY_METHOD);
	else
		set_list(request, "Access-Control-Allow-Methods", options->cors_methods);
	if (!is_any(options->cors_headers))
		set_list(request, "Access-Control-Allow-Headers", options->cors_headers);
	else if (headers)
		gh__http_set_header(request, "Access-Control-Allow-Headers", headers);
	gh__http_set_header(request, "Access-Control-Max-Age", "600");

	if (!allowed)
		why = "Disallowed CORS origin";
	else if (!is_any(options->cors_methods) &&
		 !lists(options->cors_methods, method, strlen(method)))
		why = "Disallowed CORS method";
	else if (!is_any(options->cors_headers) && headers &&
		 !all_listed(options->cors_headers, headers))
		why = "Disallowed CORS headers";
	gh__http_respond(request, strcmp(why, "OK") == 0 ? 200 : 400, "text/plain; charset=utf-8",
			 why, strlen(why));
}

bool gh__http_cors(gh__http_request *request)
{
	const gh__http_server_options *options = &request->server->options;
	const char *origin = gh__http_header(request, "Origin");

	if (!options->cors_origins || !origin)
		return false;
	bool any = is_any(options->cors_origins);
	bool allowed = any || lists(options->cors_origins, origin, strlen(origin));
	bool named = !any || options->cors_credentials;

	if (allowed)
		gh__http_set_header(request, "Access-Control-Allow-Origin", named ? origin : "*");
	if (allowed && options->cors_credentials)
		gh__http_set_header(request, "Access-Control-Allow-Credentials", "true");
	if (named)
		gh__http_set_header(request, "Vary", "Origin");

	const char *method = gh__http_header(request, "Access-Control-Request-Method");
	if (strcmp(request->method, "OPTIONS") != 0 || !method)
		return false;
	answer_preflight(request, allowed, method);
	return true;
}
