#include "network_node/reach.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "json/json.h"

static const int64_t timeout = 6 * GH__SECOND; /* the node gives up after four */

/* What a node says of its probe. One that does not know the question cannot tell. */
static gh__callback_state read_probe(const gh__reach *reach, const gh__errand *errand,
				     char problem[256])
{
	json_t *answer =
		errand->status == 200 && errand->answer
			? gh__json_parse(errand->answer, strlen(errand->answer), false, NULL)
			: NULL;
	const char *said = json_string_value(json_object_get(answer, "problem"));
	const char *who = json_string_value(
		json_object_get(json_object_get(answer, "answer"), "network_node"));
	gh__callback_state state = GH__CALLBACK_MISSED;

	problem[0] = '\0';
	if (!json_is_boolean(json_object_get(answer, "reachable")))
		state = GH__CALLBACK_UNKNOWN;
	else if (json_is_false(json_object_get(answer, "reachable")))
		snprintf(problem, 256, "it does not reach the callback address %.100s: %.110s",
			 reach->url, said ? said : "it does not say why");
	else if (who && strcmp(who, reach->identity) == 0)
		state = GH__CALLBACK_REACHED;
	else
		snprintf(problem, 256,
			 "at the callback address %.100s it reaches something else than this "
			 "network node",
			 reach->url);
	json_decref(answer);
	return state;
}

static bool to_be_asked(const gh__prover *node, bool again)
{
	return node->enabled && (!again || node->callback == GH__CALLBACK_MISSED);
}

static gh_status prepare(const gh__reach *reach, gh__errand *errand, const gh__prover *node,
			 gh_error *error)
{
	json_t *body = json_pack("{s:s}", "url", reach->url);

	errand->url = gh__errand_url(node->url, "/api/v1/callback/probe");
	errand->body = body ? gh__json_text(body, NULL) : NULL;
	errand->token = node->token;
	errand->timeout = timeout;
	json_decref(body);
	return errand->url && errand->body ? GH_OK : gh__fail_nomem(error);
}

/* Those of nodes[count] that are to be asked, n of them. */
static gh_status ask(const gh__reach *reach, const gh__prover *const *nodes, size_t n,
		     size_t *missed, gh_error *error)
{
	gh__errands *errands;
	gh_status status = gh__errands_create(&errands, reach->client, n, error);

	if (status != GH_OK)
		return status;
	for (size_t i = 0; i < n && status == GH_OK; i++)
		status = prepare(reach, gh__errands_at(errands, i), nodes[i], error);
	if (status == GH_OK)
		status = gh__errands_run(errands, reach->going, reach->userdata);
	for (size_t i = 0; i < n && status == GH_OK; i++) {
		char problem[256];
		gh__callback_state state = read_probe(reach, gh__errands_at(errands, i), problem);

		*missed += state == GH__CALLBACK_MISSED;
		gh__broker_set_callback(reach->broker, nodes[i]->number, state, problem);
	}
	gh__errands_free(errands);
	return status;
}

gh_status gh__reach_ask(const gh__reach *reach, bool again, size_t *missed, gh_error *error)
{
	gh__prover *nodes;
	size_t count, n = 0;
	const gh__prover **chosen;
	gh_status status = gh__broker_provers(reach->broker, &nodes, &count, error);

	*missed = 0;
	if (status != GH_OK)
		return status;
	chosen = gh__calloc(count + 1, sizeof *chosen);
	for (size_t i = 0; chosen && i < count; i++)
		if (to_be_asked(&nodes[i], again))
			chosen[n++] = &nodes[i];
	if (!chosen)
		status = gh__fail_nomem(error);
	else if (n > 0)
		status = ask(reach, chosen, n, missed, error);
	gh__free(chosen);
	gh__provers_free(nodes, count);
	return status;
}
