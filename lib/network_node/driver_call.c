#include "network_node/entry.h"

#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/error.h"
#include "json/json.h"
#include "registry/node.h"

/*
 * The calls by which a node is looked at and given orders.
 */
#define SECONDS(n) ((n)*GH__SECOND)

static const struct {
	const char *method, *path;
	int64_t timeout;
	bool inference; /* of the inference server; else of the management's */
} calls[] = {
	[GH__ASK_STATE] = { "GET", "/api/v1/state", SECONDS(5), false },
	[GH__ASK_HEALTH] = { "GET", "/health", SECONDS(5), true },
	[GH__ASK_MODELS] = { "GET", "/v1/models", SECONDS(5), true },
	[GH__ASK_POC_STATUS] = { "GET", "/api/v1/pow/status", SECONDS(5), false },
	[GH__ASK_STOP] = { "POST", "/api/v1/stop", SECONDS(120), false },
	[GH__ASK_UP] = { "POST", "/api/v1/inference/up", SECONDS(1800), false },
	[GH__ASK_GENERATE] = { "POST", "/api/v1/pow/init/generate", SECONDS(300), false },
	[GH__ASK_VALIDATE] = { "POST", "/api/v1/pow/init/validate", SECONDS(300), false },
};

const char *gh__driver_path(const gh__ask *ask)
{
	return calls[ask->kind].path;
}

bool gh__entry_names(const gh_node_model *model, const char *name)
{
	return name && (strcmp(model->id, name) == 0 ||
			(model->hf_repo && strcmp(model->hf_repo, name) == 0));
}

/* The loaded model if it is among the node's, else its first. */
const gh_node_model *gh__entry_model(const gh__entry *entry)
{
	size_t i;

	for (i = 0; i < entry->node->model_count; i++)
		if (gh__entry_names(&entry->node->models[i], entry->seen_model))
			return &entry->node->models[i];
	return entry->node->model_count ? &entry->node->models[0] : NULL;
}

/* A model that comes from another repository is served under its own name all the same. */
json_t *gh__entry_args(const gh_node_model *model)
{
	json_t *args = json_array();
	size_t i;

	for (i = 0; i < model->arg_count; i++)
		json_array_append_new(args, json_string(model->args[i]));
	if (model->hf_repo) {
		json_array_append_new(args, json_string("--served-model-name"));
		json_array_append_new(args, json_string(model->id));
	}
	if (model->hf_commit) {
		json_array_append_new(args, json_string("--revision"));
		json_array_append_new(args, json_string(model->hf_commit));
	}
	return args;
}

static gh_status up_body(const gh__entry *entry, char **out, gh_error *error)
{
	const gh_node_model *model = gh__entry_model(entry);
	json_t *body;

	if (!model)
		return gh__fail(error, GH_EINVAL, "node %s has no models", entry->node->id);
	body = json_pack("{s:s, s:s, s:o}", "model", model->hf_repo ? model->hf_repo : model->id,
			 "dtype", "float16", "additional_args", gh__entry_args(model));
	*out = body ? gh__json_text(body, NULL) : NULL;
	json_decref(body);
	return *out ? GH_OK : gh__fail_nomem(error);
}

static gh_status body_of(const gh__entry *entry, const gh__ask *ask, char **out, gh_error *error)
{
	if (ask->kind == GH__ASK_UP)
		return up_body(entry, out, error);
	if (ask->kind == GH__ASK_GENERATE || ask->kind == GH__ASK_VALIDATE)
		return gh__round_init_body(entry->round, entry->node->number, out, error);
	return GH_OK;
}

gh_status gh__driver_request(const gh__entry *entry, const gh__ask *ask, gh__ask_request *out,
			     gh_error *error)
{
	const gh_node *node = entry->node;
	char *base = calls[ask->kind].inference ? gh__node_inference_url(node)
						: gh__node_management_url(node);
	int made = -1;

	memset(out, 0, sizeof *out);
	out->method = calls[ask->kind].method;
	out->total_timeout = calls[ask->kind].timeout;
	if (base) {
		gh__buf url = GH__BUF_INIT(16384);

		gh__buf_append_str(&url, base);
		gh__buf_append_str(&url, calls[ask->kind].path);
		out->url = gh__buf_take(&url);
		made = out->url ? 0 : -1;
	}
	gh__free(base);
	if (made == 0 && node->auth_token[0]) {
		gh__buf header = GH__BUF_INIT(16384);

		gh__buf_printf(&header, "Authorization: Bearer %s", node->auth_token);
		out->authorization = gh__buf_take(&header);
	}
	if (made < 0)
		return gh__fail_nomem(error);
	return body_of(entry, ask, &out->body, error);
}

void gh__ask_request_done(gh__ask_request *request)
{
	gh__free(request->url);
	gh__free(request->body);
	gh__free(request->authorization);
}
