#include "http/call.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"

#define ANSWER_MAX      (16u << 20)
#define HEADS_MAX       (1u << 20)
#define CONNECT_TIMEOUT (2 * GH__SECOND)

static long milliseconds(int64_t nanoseconds)
{
	return (long)((nanoseconds + GH__MILLISECOND - 1) / GH__MILLISECOND);
}

/* What curl calls. */

static int status_of(const char *line, size_t len)
{
	const char *space = memchr(line, ' ', len);

	return space ? atoi(space + 1) : 0;
}

static void tell_header(gh__call *call, int status, const char *line, size_t len)
{
	const char *colon = memchr(line, ':', len);
	char *copy;

	if (!colon || !(copy = gh__strndup(line, len)))
		return;
	char *value = copy + (colon - line);

	*value++ = '\0';
	value += strspn(value, " \t");
	call->on_header(status, copy, value, call->userdata);
	gh__free(copy);
}

static size_t on_header_line(char *line, size_t size, size_t count, void *opaque)
{
	gh__call *call = opaque;
	size_t len = size * count;
	long status = 0;

	call->last_sign = gh__now();
	call->heads += len;
	if (call->heads > HEADS_MAX) {
		call->reason = GH_ETOOBIG;
		return 0; /* ends the exchange */
	}
	while (len && (line[len - 1] == '\r' || line[len - 1] == '\n'))
		len--;
	if (len == 0)
		call->head_whole = true;
	else if (len >= 5 && memcmp(line, "HTTP/", 5) == 0)
		call->head_whole = false;
	if (!call->on_header || call->heads_over) /* later lines are trailers */
		return size * count;
	curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
	if (len >= 5 && memcmp(line, "HTTP/", 5) == 0) {
		status = status_of(line, len);
		call->interim = status >= 100 && status < 200;
		if (!call->interim)
			call->on_header((int)status, NULL, NULL, call->userdata);
	} else if (call->interim) {
		return size * count;
	} else if (len == 0) {
		call->heads_over = true;
		call->on_header((int)status, "", "", call->userdata);
	} else {
		tell_header(call, (int)status, line, len);
	}
	return size * count;
}

static size_t on_body(char *data, size_t size, size_t count, void *opaque)
{
	gh__call *call = opaque;
	size_t len = size * count;

	call->last_sign = gh__now();
	if (call->on_data) {
		if (call->on_data(data, len, call->userdata))
			return len;
		call->paused = true;
		return CURL_WRITEFUNC_PAUSE;
	}
	gh__buf_append(&call->body, data, len);
	call->reason = gh__buf_status(&call->body);
	return call->reason == GH_OK ? len : CURL_WRITEFUNC_ERROR;
}

static int on_progress(void *opaque, curl_off_t down_total, curl_off_t down, curl_off_t up_total,
		       curl_off_t up)
{
	gh__call *call = opaque;

	(void)down_total;
	(void)up_total;
	if (down + up != call->moved) {
		call->moved = down + up;
		call->last_sign = gh__now();
	}
	return 0;
}

static int on_connected(void *opaque, char *remote_ip, char *local_ip, int remote_port,
			int local_port)
{
	gh__call *call = opaque;

	(void)remote_ip;
	(void)local_ip;
	(void)remote_port;
	(void)local_port;
	call->connected = true;
	call->last_sign = gh__now();
	return CURL_PREREQFUNC_OK;
}

/* A program that runs others must not hand our connections to them. */
static curl_socket_t open_socket(void *opaque, curlsocktype purpose, struct curl_sockaddr *address)
{
	(void)opaque;
	(void)purpose;
	return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

/* Making one. */

static bool has_header(const char *const *headers, const char *name)
{
	size_t len = strlen(name);

	for (; headers && *headers; headers++)
		if (strncasecmp(*headers, name, len) == 0 && (*headers)[len] == ':')
			return true;
	return false;
}

static bool add_header(gh__call *call, const char *header)
{
	struct curl_slist *longer = curl_slist_append(call->headers, header);

	if (longer)
		call->headers = longer;
	return longer != NULL;
}

/* Without these two curl waits a second before it sends a large body, and calls JSON a form. */
static bool add_headers(gh__call *call, const char *const *headers)
{
	bool good = has_header(headers, "Expect") || add_header(call, "Expect:");

	if (!has_header(headers, "Content-Type"))
		good = good && add_header(call, "Content-Type:");
	for (; headers && *headers; headers++)
		good = good && add_header(call, *headers);
	return good;
}

static CURLcode set_method(gh__call *call, const gh__http_call_options *options, const char *method)
{
	CURL *easy = call->easy;
	CURLcode code = CURLE_OK;

	if (strcmp(method, "HEAD") == 0)
		return curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
	if (options->body || strcmp(method, "POST") == 0) {
		code = curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE,
					(curl_off_t)options->body_len);
		if (code == CURLE_OK)
			code = curl_easy_setopt(easy, CURLOPT_COPYPOSTFIELDS,
						options->body ? options->body : "");
		if (code == CURLE_OK)
			code = curl_easy_setopt(easy, CURLOPT_POST, 1L);
	}
	/* curl knows a POST by itself, and would keep a method of ours also where a redirect asks
	 * for GET. */
	if (code == CURLE_OK && strcmp(method, "POST") != 0)
		code = curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, method);
	return code;
}

static CURLcode set_options(gh__call *call, const gh__http_call_options *options,
			    const char *method)
{
	CURL *easy = call->easy;
	CURLcode code;
	const int64_t connect =
		options->connect_timeout ? options->connect_timeout : CONNECT_TIMEOUT;

#define SET(option, value)                                                      \
	do {                                                                    \
		if ((code = curl_easy_setopt(easy, option, value)) != CURLE_OK) \
			return code;                                            \
	} while (0)
	SET(CURLOPT_PROTOCOLS_STR, "http,https");
	SET(CURLOPT_URL, options->url);
	SET(CURLOPT_PATH_AS_IS, 1L);
	SET(CURLOPT_PROXY, ""); /* also none from the environment */
	SET(CURLOPT_NOSIGNAL, 1L);
	SET(CURLOPT_FOLLOWLOCATION, options->redirects_max > 0 ? 1L : 0L);
	SET(CURLOPT_MAXREDIRS, (long)options->redirects_max);
	SET(CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
	SET(CURLOPT_POSTREDIR, CURL_REDIR_POST_301 | CURL_REDIR_POST_302);
	SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	SET(CURLOPT_HTTP_CONTENT_DECODING, 0L);
	SET(CURLOPT_TCP_KEEPALIVE, 1L);
	SET(CURLOPT_CONNECTTIMEOUT_MS, milliseconds(connect));
	SET(CURLOPT_TIMEOUT_MS, milliseconds(options->total_timeout));
	SET(CURLOPT_UNIX_SOCKET_PATH, options->unix_path);
	SET(CURLOPT_OPENSOCKETFUNCTION, open_socket);
	SET(CURLOPT_HTTPHEADER, call->headers);
	SET(CURLOPT_ERRORBUFFER, call->failure);
	SET(CURLOPT_PRIVATE, call);
	SET(CURLOPT_HEADERFUNCTION, on_header_line);
	SET(CURLOPT_HEADERDATA, call);
	SET(CURLOPT_WRITEFUNCTION, on_body);
	SET(CURLOPT_WRITEDATA, call);
	SET(CURLOPT_PREREQFUNCTION, on_connected);
	SET(CURLOPT_PREREQDATA, call);
	SET(CURLOPT_XFERINFOFUNCTION, on_progress);
	SET(CURLOPT_XFERINFODATA, call);
	SET(CURLOPT_NOPROGRESS, 0L);
#undef SET
	return set_method(call, options, method);
}

static char *make_label(const char *method, const char *url)
{
	gh__buf label = GH__BUF_INIT(160);

	/* Without the query, which may hold what logs must not. */
	size_t len = strcspn(url, "?");
	gh__buf_printf(&label, "%.16s %.*s", method, (int)(len < 120 ? len : 120), url);
	return gh__buf_take(&label);
}

gh_status gh__call_create(gh__call **out, const gh__http_call_options *options, gh_error *error)
{
	const char *method = options->method ? options->method : options->body ? "POST" : "GET";
	gh__call *call;
	CURLcode code;

	*out = NULL;
	if (!options->url)
		return gh__fail(error, GH_EINVAL, "url: missing");
	for (const char *const *header = options->headers; header && *header; header++)
		if ((*header)[strcspn(*header, "\r\n")])
			return gh__fail(error, GH_EINVAL, "headers: one contains a line break");
	if (*method == '\0' || method[strcspn(method, " \t\r\n")])
		return gh__fail(error, GH_EINVAL, "method: must be one word");
	if (options->connect_timeout < 0 || options->idle_timeout < 0 || options->total_timeout < 0)
		return gh__fail(error, GH_EINVAL, "timeouts: must not be negative");
	call = gh__calloc(1, sizeof *call);
	if (!call)
		return gh__fail_nomem(error);
	gh__buf_init(&call->body, options->answer_max ? options->answer_max : ANSWER_MAX);
	call->idle_timeout = options->idle_timeout;
	call->on_header = options->on_header;
	call->on_data = options->on_data;
	call->on_done = options->on_done;
	call->userdata = options->userdata;
	call->label = make_label(method, options->url);
	call->easy = curl_easy_init();
	if (!call->label || !call->easy || !add_headers(call, options->headers)) {
		gh__call_free(call);
		return gh__fail_nomem(error);
	}
	code = set_options(call, options, method);
	if (code != CURLE_OK) {
		gh__call_free(call);
		if (code == CURLE_OUT_OF_MEMORY)
			return gh__fail_nomem(error);
		return gh__fail_code(error, GH_EINVAL, GH_DOMAIN_CURL, (int)code,
				     "%.16s %.120s: %s", method, options->url,
				     curl_easy_strerror(code));
	}
	*out = call;
	return GH_OK;
}

void gh__call_free(gh__call *call)
{
	curl_easy_cleanup(call->easy);
	curl_slist_free_all(call->headers);
	gh__buf_free(&call->body);
	gh__free(call->label);
	gh__free(call);
}

/* The end. */

static gh_status status_of_code(CURLcode code)
{
	switch (code) {
	case CURLE_OK:
		return GH_OK;
	case CURLE_OPERATION_TIMEDOUT:
		return GH_ETIMEOUT;
	case CURLE_OUT_OF_MEMORY:
		return GH_ENOMEM;
	case CURLE_URL_MALFORMAT:
	case CURLE_UNSUPPORTED_PROTOCOL:
	case CURLE_BAD_FUNCTION_ARGUMENT:
		return GH_EINVAL;
	default:
		return GH_ENET;
	}
}

void gh__call_report(gh__call *call, CURLcode code)
{
	gh_status status = call->reason != GH_OK ? call->reason : status_of_code(code);
	const char *why = call->failure[0] ? call->failure : curl_easy_strerror(code);
	gh_error error = GH_ERROR_INIT;
	gh__http_answer answer = { .body = gh__buf_str(&call->body), .len = call->body.len };
	long http_status = 0, connect_errno = 0;
	char *type = NULL;

	if (!call->on_done)
		return;
	/* curl is content with an answer that breaks off there. */
	if (status == GH_OK && !call->head_whole) {
		status = GH_ENET;
		why = "the answer ended within its headers";
	}
	if (status == GH_EINVAL && call->connected)
		status = GH_ENET; /* the URL was good, but the other side speaks no HTTP */
	switch (status) {
	case GH_OK:
		break;
	case GH_ETOOBIG:
		gh__fail(&error, status, "%s: an answer of more than %zu bytes%s", call->label,
			 call->heads > HEADS_MAX ? (size_t)HEADS_MAX : call->body.max,
			 call->heads > HEADS_MAX ? " of headers" : "");
		break;
	case GH_ECANCELLED:
		gh__fail(&error, status, "%s: cancelled", call->label);
		break;
	case GH_ETIMEOUT:
		if (code == CURLE_OK) /* not curl's timer but ours */
			why = "nothing moved for too long";
		gh__fail_code(&error, status, GH_DOMAIN_CURL, (int)code, "%s: %s", call->label,
			      why);
		break;
	default:
		gh__fail_code(&error, status, GH_DOMAIN_CURL, (int)code, "%s: %s", call->label,
			      why);
		break;
	}
	curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &http_status);
	curl_easy_getinfo(call->easy, CURLINFO_CONTENT_TYPE, &type);
	answer.status = (int)http_status;
	answer.content_type = type;
	if (code == CURLE_COULDNT_CONNECT) {
		curl_easy_getinfo(call->easy, CURLINFO_OS_ERRNO, &connect_errno);
		answer.refused = connect_errno == ECONNREFUSED;
	}
	call->on_done(&answer, status, &error, call->userdata);
}
