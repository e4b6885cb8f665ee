#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/utf8.h"
#include "inference_node/routes.h"
#include "json/json.h"

/*
 * Whether callbacks would arrive, asked from here: the network node cannot see by itself whether
 * the address that it gives to its inference nodes leads back to it. Redirects are followed as
 * callbacks follow them.
 *
 * The exchanges have a client of their own, so that a name server that is slow holds up nothing
 * else.
 */
enum { UNDER_WAY_MAX = 16, URL_MAX = 8 << 10, ANSWER_MAX = 4 << 10, REDIRECTS_MAX = 10 };

#define CONNECT_TIMEOUT (2 * GH__SECOND)
#define TOTAL_TIMEOUT   (4 * GH__SECOND)

typedef struct probe {
	gh_inference_node *node;
	gh__http_request *request;
} probe;

const gh__field gh__probe_fields[1] = { { "url", GH__FIELD_STRING, true } };

/* status 0: none came; problem NULL: reachable. Takes answer (may be NULL). */
static void answer_probe(gh__http_request *request, int status, const char *problem, json_t *answer)
{
	char clean[320];

	if (problem)
		gh__utf8_copy(clean, sizeof clean, problem, strlen(problem));
	gh__http_respond_json(request, 200,
			      json_pack("{s:b, s:o, s:o, s:o}", "reachable", (int)!problem,
					"status", status ? json_integer(status) : json_null(),
					"problem", problem ? json_string(clean) : json_null(),
					"answer", answer ? answer : json_null()));
}

static void on_done(const gh__http_answer *answer, gh_status status, const gh_error *error,
		    void *userdata)
{
	probe *p = userdata;
	gh_error not_json = GH_ERROR_INIT;
	json_t *value = NULL;
	char problem[sizeof error->text + 32] = "";

	if (status != GH_OK)
		snprintf(problem, sizeof problem, "%s", error->text);
	else if (answer->status != 200)
		snprintf(problem, sizeof problem, "status %d", answer->status);
	else if (!(value = gh__json_parse(answer->body, answer->len, false, &not_json)))
		snprintf(problem, sizeof problem, "no JSON: %s", not_json.text);
	else if (!json_is_object(value))
		snprintf(problem, sizeof problem, "a JSON object expected");
	if (problem[0]) {
		json_decref(value);
		value = NULL;
	}
	atomic_fetch_sub(&p->node->probing, 1);
	answer_probe(p->request, answer->status, problem[0] ? problem : NULL, value);
	gh__free(p);
}

static gh_status begin(probe *p, const json_t *url, gh_error *error)
{
	const char *text = json_string_value(url);
	gh__buf whole = GH__BUF_INIT(URL_MAX);
	gh_status status;

	if (strlen(text) != json_string_length(url))
		return gh__fail(error, GH_EINVAL, "url: contains a NUL");
	gh__buf_printf(&whole, "%s/probe", text);
	status = gh__buf_status(&whole);
	if (status == GH_OK) {
		const gh__http_call_options options = {
			.url = whole.data,
			.connect_timeout = CONNECT_TIMEOUT,
			.total_timeout = TOTAL_TIMEOUT,
			.answer_max = ANSWER_MAX,
			.redirects_max = REDIRECTS_MAX,
			.on_done = on_done,
			.userdata = p,
		};

		status = gh__http_call_start(p->node->probes, &options, NULL, error);
	} else {
		gh__fail(error, status, "url: longer than %d bytes", (int)URL_MAX);
	}
	gh__buf_free(&whole);
	return status;
}

void gh__callback_probe(gh_inference_node *node, gh__http_request *request, const json_t *body)
{
	gh_error error = GH_ERROR_INIT;
	gh_status status;
	probe *p;

	if (atomic_fetch_add(&node->probing, 1) >= UNDER_WAY_MAX) {
		atomic_fetch_sub(&node->probing, 1);
		gh__http_fail(request, 429, "%d probes are under way already", (int)UNDER_WAY_MAX);
		return;
	}
	p = gh__malloc(sizeof *p);
	if (p) {
		*p = (probe){ node, request };
		status = begin(p, json_object_get(body, "url"), &error);
	} else {
		status = gh__fail_nomem(&error);
	}
	if (status == GH_OK)
		return;
	gh__free(p);
	atomic_fetch_sub(&node->probing, 1);
	if (status == GH_EINVAL || status == GH_ETOOBIG)
		answer_probe(request, 0, error.text, NULL);
	else
		gh__http_fail(request, 500, "%s", error.text);
}
