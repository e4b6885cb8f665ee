#include "network_node/callback.h"

#include "base/alloc.h"
#include "base/error.h"
#include "base/log.h"
#include "crypto/address.h"
#include "network_node/network_node.h"
#include "network_node/report.h"
#include "network_node/tally.h"
#include "registry/number.h"

/* Errors of bodies are objects, all others strings. */
static void fail_body(gh__http_request *request, const char *message)
{
	gh__http_respond_json(request, 400, json_pack("{s:{s:s}}", "error", "message", message));
}

/* Answers, when it is NULL. */
static gh__proof_verdict *read_report(gh__http_request *request, bool verdict)
{
	gh_error error = GH_ERROR_INIT;
	gh__proof_verdict *report = NULL;
	gh_status status;
	size_t len;
	const char *body = gh__http_body(request, &len);

	if (len > 0 && !gh__http_is_json(request)) {
		fail_body(request, "Unsupported Media Type");
		return NULL;
	}
	status = gh__report_read(&report, body, len, verdict, &error);
	if (status == GH_EFORMAT)
		fail_body(request, error.text);
	else if (status != GH_OK)
		gh__http_fail(request, status == GH_EINVAL ? 400 : 500, "%s", error.text);
	return report;
}

static void answer(gh__http_request *request, gh_status status, const gh_error *error)
{
	if (status == GH_OK) {
		gh__http_respond(request, 200, NULL, "", 0);
		return;
	}
	if (status != GH_EINVAL)
		gh__warn("callback", "a report is not stored: %s", error->text);
	gh__http_fail(request, status == GH_EINVAL || status == GH_EEXIST ? 400 : 500, "%s",
		      error->text);
}

/* *id names the node of the batch, also where it is unknown: then "" . Caller frees (gh__free). */
static gh_status name_node(gh_network_node *node, gh__proof_batch *batch, char **id,
			   gh_error *error)
{
	uint64_t number, judge;
	gh_status status;

	/* A verdict in a round of ours tells both: whose proofs they are, and who judged. */
	gh__tally_of_ticket(batch->node_num, &number, &judge);
	status = gh__registry_id_of(node->registry, number, id, error);

	if (*id)
		batch->node_id = *id;
	return status;
}

static void generated(gh_network_node *node, gh__http_request *request, void *data)
{
	gh_error error = GH_ERROR_INIT;
	gh__proof_verdict *report = read_report(request, false);
	char *id = NULL;
	size_t added = 0;
	gh_status status;

	(void)data;
	if (!report)
		return;
	status = name_node(node, &report->batch, &id, &error);
	if (status == GH_OK && !id)
		gh__warn("callback", "proofs of node number %llu, which no node has",
			 (unsigned long long)report->batch.node_num);
	if (status == GH_OK)
		status = gh__proof_store_add(node->proofs, &report->batch, &added, &error);
	if (status == GH_OK)
		gh__info("callback", "proofs node=%s height=%lld received=%zu new=%zu",
			 report->batch.node_id, (long long)report->batch.block_height,
			 report->batch.count, added);
	if (status == GH_EEXIST)
		gh__broker_misreported(node->broker, report->batch.node_num, error.text);
	answer(request, status, &error);
	gh__free(id);
	gh__report_free(report);
}

static void validated(gh_network_node *node, gh__http_request *request, void *data)
{
	gh_error error = GH_ERROR_INIT;
	gh__proof_verdict *report = read_report(request, true);
	unsigned char key[GH__ACCOUNT_KEY_SIZE];
	char *id = NULL;
	bool added = false;
	gh_status status;

	(void)data;
	if (!report)
		return;
	/* A verdict is on a participant, who has an address. */
	if (gh__account_key_parse(key, report->batch.public_key, &error) != GH_OK) {
		gh__http_fail(request, 500, "%s", error.text);
		gh__report_free(report);
		return;
	}
	status = name_node(node, &report->batch, &id, &error);
	if (status == GH_OK)
		status = gh__proof_store_judge(node->proofs, report, &added, &error);
	if (status == GH_OK)
		gh__info("callback",
			 "verdict key=%s height=%lld invalid=%lld of=%zu fraud=%d new=%d",
			 report->batch.public_key, (long long)report->batch.block_height,
			 (long long)report->n_invalid, report->batch.count, report->fraud_detected,
			 added);
	answer(request, status, &error);
	gh__free(id);
	gh__report_free(report);
}

/* What an inference node asks that wants to know whether it reaches us. */
static void on_probe(gh__http_request *request, void *userdata)
{
	gh_network_node *node = userdata;

	gh__http_respond_json(request, 200, json_pack("{s:s}", "network_node", node->identity));
}

static void on_generated(gh__http_request *request, void *userdata)
{
	gh_network_node *node = userdata;

	gh__desk_hand(node->callback, generated, request);
}

static void on_validated(gh__http_request *request, void *userdata)
{
	gh_network_node *node = userdata;

	gh__desk_hand(node->callback, validated, request);
}

const gh__http_route gh__callback_routes[] = {
	{ "POST", "/v1/poc-batches/generated", on_generated },
	{ "POST", "/v1/poc-batches/validated", on_validated },
	{ "GET", "/v1/poc-batches/probe", on_probe },
	{ "POST", "/mlnode/v1/poc-batches/generated", on_generated },
	{ "POST", "/mlnode/v1/poc-batches/validated", on_validated },
	{ "GET", "/mlnode/v1/poc-batches/probe", on_probe },
};

const size_t gh__callback_route_count = sizeof gh__callback_routes / sizeof gh__callback_routes[0];
