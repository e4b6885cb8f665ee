#include "node_client.h"

#include <signal.h>

#include <gonkahost/node.h>

#include "folder.h"
#include "json/json.h"

/*
 * An inference node over workers that do as they are told (fake_worker.c).
 */

static gh_inference_node *node;
static int32_t management, inference;

static void start_node(int32_t gpus)
{
	gh_inference_node_options options = GH_INFERENCE_NODE_OPTIONS_INIT;

	options.program = GH_FAKE_WORKER;
	options.data_dir = root;
	options.runtime_dir = root;
	options.port = options.inference_port = -1;
	options.gpus = gpus;
	assert_ok(gh_inference_node_start(&node, &options, error));
	gh_inference_node_ports(node, &management, &inference);
}

static void setup(void)
{
	make_root();
	assert_ok(gh__http_client_create(&client, error));
	start_node(0);
}

static void teardown(void)
{
	gh_inference_node_stop(node);
	gh__http_client_free(client);
	remove_root();
}

static void expect_part(int port, const char *method, const char *path, const char *body,
			int status, const char *part)
{
	int got;
	char *text = call(port, method, path, NULL, body, &got);

	ck_assert_msg(got == status && strstr(text, part), "%s %s: %d %s, not %d ...%s...", method,
		      path, got, text, status, part);
	gh__free(text);
}

static void await_part(int port, const char *path, int status, const char *part)
{
	int64_t deadline = gh__now() + PATIENCE * GH__SECOND;
	char last[512] = "";
	int got = 0;

	while (gh__now() < deadline) {
		char *text = call(port, "GET", path, NULL, NULL, &got);
		bool there = got == status && strstr(text, part);

		snprintf(last, sizeof last, "%s", text);
		gh__free(text);
		if (there)
			return;
		gh__sleep(10 * GH__MILLISECOND);
	}
	ck_abort_msg("%s: %d %s, not %d ...%s...", path, got, last, status, part);
}

#define UP(model) "{\"model\":\"" model "\",\"dtype\":\"float16\",\"additional_args\":[]}"
#define OK        "{\"status\":\"OK\"}"

static void up(void)
{
	expect(management, "POST", "/api/v1/inference/up", NULL, UP("m"), 200, OK);
}

START_TEST(stopped_node)
{
	expect(management, "GET", "/api/v1/state", NULL, NULL, 200, "{\"state\":\"STOPPED\"}");
	expect(management, "GET", "/v3.0.8/api/v1/state/", NULL, NULL, 200,
	       "{\"state\":\"STOPPED\"}");
	expect(management, "POST", "/api/v1/stop", "text/plain", "ignored", 200, OK);
	expect(management, "POST", "/api/v1/inference/down", NULL, NULL, 200, OK);
	expect(management, "GET", "/v1/models", NULL, NULL, 503, "No vLLM backend available");
	expect(inference, "GET", "/health", NULL, NULL, 503, "No vLLM backend available");
	expect(inference, "GET", "/v3.0.8/anything", NULL, NULL, 503, "No vLLM backend available");
	expect_part(management, "GET", "/health", NULL, 200, "{\"status\":\"healthy\"");
	expect(management, "GET", "/readyz", NULL, NULL, 200, "{\"ready\":true}");
	expect(management, "GET", "/api/v1/inference/up/status", NULL, NULL, 200,
	       "{\"status\":\"not_started\",\"is_starting\":false,\"is_running\":false,"
	       "\"elapsed_seconds\":null,\"error\":null}");
}
END_TEST

START_TEST(routing)
{
	expect(management, "GET", "/api/v1/stop", NULL, NULL, 405,
	       "{\"detail\":\"Method Not Allowed\"}");
	expect(management, "POST", "/api/v1/state", NULL, NULL, 405,
	       "{\"detail\":\"Method Not Allowed\"}");
	expect(management, "OPTIONS", "/api/v1/state", NULL, NULL, 405,
	       "{\"detail\":\"Method Not Allowed\"}");
	expect(management, "GET", "/api/v1/nothing", NULL, NULL, 404, "{\"detail\":\"Not Found\"}");
	expect(management, "GET", "/", NULL, NULL, 404, "{\"detail\":\"Not Found\"}");
}
END_TEST

START_TEST(bodies)
{
	static const char path[] = "/api/v1/inference/up";
	static const struct {
		const char *type, *body, *answer;
	} cases[] = {
		{ "application/json", "{\"model\":\"m\"}",
		  "{\"detail\":[{\"type\":\"missing\",\"loc\":[\"body\",\"dtype\"],\"msg\":\"Field "
		  "required\",\"input\":{\"model\":\"m\"}}]}" },
		{ NULL, "{\"model\":\"m\"",
		  "{\"detail\":[{\"type\":\"json_invalid\",\"loc\":[\"body\",12],\"msg\":\"JSON "
		  "decode "
		  "error\",\"input\":{},\"ctx\":{\"error\":\"Expecting ',' delimiter\"}}]}" },
		{ "application/x-www-form-urlencoded", "{\"a\":1}",
		  "{\"detail\":[{\"type\":\"model_attributes_type\",\"loc\":[\"body\"],\"msg\":"
		  "\"Input "
		  "should be a valid dictionary or object to extract fields from\",\"input\":"
		  "\"{\\\"a\\\":1}\"}]}" },
		{ NULL, NULL,
		  "{\"detail\":[{\"type\":\"missing\",\"loc\":[\"body\"],\"msg\":\"Field "
		  "required\","
		  "\"input\":null}]}" },
		{ "application/merge-patch+json", "[1]",
		  "{\"detail\":[{\"type\":\"model_attributes_type\",\"loc\":[\"body\"],\"msg\":"
		  "\"Input "
		  "should be a valid dictionary or object to extract fields "
		  "from\",\"input\":[1]}]}" },
		{ NULL, "{\"model\":5,\"dtype\":null,\"additional_args\":[\"a\",1]}",
		  "{\"detail\":[{\"type\":\"string_type\",\"loc\":[\"body\",\"model\"],\"msg\":"
		  "\"Input "
		  "should be a valid "
		  "string\",\"input\":5},{\"type\":\"string_type\",\"loc\":[\"body\","
		  "\"dtype\"],\"msg\":\"Input should be a valid string\",\"input\":null},{\"type\":"
		  "\"string_type\",\"loc\":[\"body\",\"additional_args\",1],\"msg\":\"Input should "
		  "be a "
		  "valid string\",\"input\":1}]}" },
		{ NULL, "{\"model\":\"m\",\"dtype\":\"auto\",\"additional_args\":{}}",
		  "{\"detail\":[{\"type\":\"list_type\",\"loc\":[\"body\",\"additional_args\"],"
		  "\"msg\":\"Input should be a valid list\",\"input\":{}}]}" },
	};
	size_t i;

	for (i = 0; i < sizeof cases / sizeof cases[0]; i++)
		expect(management, "POST", path, cases[i].type, cases[i].body, 422,
		       cases[i].answer);
	expect_part(management, "POST", path,
		    "{\"model\":\"m\",\"dtype\":\"auto\",\"additional_args\":[\"-tp\",\"x\"]}", 200,
		    "{\"status\":\"ERROR\",\"message\":");
}
END_TEST

START_TEST(services_that_are_not_there)
{
	static const char init[] =
		"{\"block_hash\":\"AA\",\"block_height\":1,\"public_key\":\"02\",\"batch_size\":1,"
		"\"r_target\":1.4,\"fraud_threshold\":0.01,\"url\":\"http://r\"}";

	expect(management, "GET", "/api/v1/pow/status", NULL, NULL, 200,
	       "{\"status\":\"NOT_LOADED\"}");
	expect(management, "POST", "/api/v1/pow/stop", NULL, NULL, 200,
	       "{\"status\":\"OK\",\"pow_status\":\"PoW is not running\"}");
	expect(management, "POST", "/api/v1/pow/phase/validate", NULL, NULL, 400,
	       "{\"detail\":\"PoW is not running\"}");
	expect(management, "POST", "/api/v1/pow/init/generate", "application/json", init, 400,
	       "{\"detail\":\"Node ID and node count must be set\"}");
	expect(management, "POST", "/api/v1/pow/validate", NULL,
	       "{\"public_key\":\"a\",\"block_hash\":\"b\",\"block_height\":1,\"nonces\":null,"
	       "\"dist\":null,\"node_id\":0}",
	       422,
	       "{\"detail\":[{\"type\":\"list_type\",\"loc\":[\"body\",\"nonces\"],\"msg\":\"Input "
	       "should be a valid list\",\"input\":null},{\"type\":\"list_type\",\"loc\":[\"body\","
	       "\"dist\"],\"msg\":\"Input should be a valid list\",\"input\":null}]}");
	expect(management, "GET", "/api/v1/train/status", NULL, NULL, 200, "{\"status\":false}");
	expect(management, "POST", "/api/v1/train/stop", NULL, NULL, 400,
	       "{\"detail\":\"Training is not running\"}");
	expect(management, "POST", "/api/v1/train/start", NULL, "{}", 501,
	       "{\"detail\":\"Training is not supported\"}");
}
END_TEST

/* Workers that answer nothing sensible: the service runs, is never ready, and ends when told. */
START_TEST(proofs_conflict_with_a_model)
{
	static const char init[] =
		"{\"block_hash\":\"AA\",\"block_height\":1,\"public_key\":\"02\",\"batch_size\":1,"
		"\"r_target\":1.4,\"fraud_threshold\":0.01,\"url\":\"http://r\"}";

	expect(management, "POST", "/api/v1/pow/init/validate", NULL, init, 200,
	       "{\"status\":\"OK\",\"pow_status\":{\"status\":\"VALIDATING\","
	       "\"is_model_initialized\":false}}");
	expect(management, "GET", "/api/v1/state", NULL, NULL, 200, "{\"state\":\"POW\"}");
	expect_part(management, "POST", "/api/v1/inference/up",
		    "{\"model\":\"m\",\"dtype\":\"auto\"}", 409, "Cannot run INFERENCE");
	expect(inference, "GET", "/v1/models", NULL, NULL, 503, "vLLM backend not ready");
	expect(inference, "POST", "/control/proofs/stop", NULL, "{}", 404,
	       "{\"detail\":\"Not Found\"}");
	expect(management, "POST", "/api/v1/pow/phase/generate", NULL, NULL, 400,
	       "{\"detail\":\"Node ID and node count must be set to start generating\"}");
	expect_part(management, "POST", "/api/v1/pow/validate",
		    "{\"public_key\":\"a\",\"block_hash\":\"b\",\"block_height\":1,\"nonces\":[],"
		    "\"dist\":[],\"node_id\":0}",
		    400, "block_hash: expected AA, got b");
	expect(management, "POST", "/api/v1/pow/stop", NULL, NULL, 200,
	       "{\"status\":\"OK\",\"pow_status\":{\"status\":\"NOT_LOADED\"}}");
	expect(management, "GET", "/api/v1/state", NULL, NULL, 200, "{\"state\":\"STOPPED\"}");
	up();
	expect_part(management, "POST", "/api/v1/pow/init", init, 409, "Cannot run POW");
}
END_TEST

/* What comes behind a line that was not stored is not taken: else its nonces would count as
 * tried. */
START_TEST(no_proof_is_passed_over)
{
	static const char init[] =
		"{\"block_hash\":\"GAP\",\"block_height\":1,\"public_key\":\"02\",\"batch_size\":1,"
		"\"r_target\":1.4,\"fraud_threshold\":0.01,\"url\":\"http://127.0.0.1:9/r\","
		"\"node_id\":0,\"node_count\":1}";

	expect_part(management, "POST", "/api/v1/pow/init/generate", init, 200, "GENERATING");
	await_part(management, "/api/v1/pow/status", 200, "\"nonces_tried\":3,\"hits\":3");
	expect(management, "POST", "/api/v1/stop", NULL, NULL, 200, OK);
}
END_TEST

START_TEST(up_and_down)
{
	up();
	expect(management, "GET", "/api/v1/state", NULL, NULL, 200,
	       "{\"state\":\"INFERENCE\",\"poc_status\":\"IDLE\",\"inference_healthy\":true,"
	       "\"loaded_model\":\"m\",\"loaded_args\":[]}");
	expect(management, "GET", "/api/v1/pow/status", NULL, NULL, 409,
	       "{\"detail\":\"Cannot run POW because MLNode is currently in ServiceState.INFERENCE "
	       "mode. Please stop ServiceState.INFERENCE first.\"}");
	expect_part(management, "POST", "/api/v1/train/start", "{", 422, "json_invalid");
	expect_part(management, "POST", "/api/v1/train/start", "[]", 409, "Cannot run TRAIN");
	expect(inference, "GET", "/health", NULL, NULL, 200, "");
	expect(inference, "POST", "/tokenize?a=%20b", "application/json", "{ }", 200,
	       "POST /tokenize?a=%20b type=application/json other=kept body={ }");
	expect(management, "PUT", "/v1/x", NULL, "abc", 200,
	       "PUT /v1/x type=- other=kept body=abc");
	expect_part(management, "GET", "/api/v1/inference/up/status", NULL, 200,
		    "{\"status\":\"completed\",\"is_starting\":false,\"is_running\":true,");
	expect(management, "POST", "/api/v1/stop", NULL, NULL, 200, OK);
	expect(management, "GET", "/api/v1/state", NULL, NULL, 200, "{\"state\":\"STOPPED\"}");
	expect(inference, "GET", "/health", NULL, NULL, 503, "vLLM backend not ready");
	up(); /* at once again */
}
END_TEST

START_TEST(failed_start)
{
	expect(management, "POST", "/api/v1/inference/up", NULL, UP("dies"), 200,
	       "{\"status\":\"ERROR\",\"message\":\"vLLM process exited prematurely: exit status "
	       "3: "
	       "error model: dies/config.json: No such file\"}");
	await_part(management, "/api/v1/state", 200, "{\"state\":\"STOPPED\"}");
	expect_part(management, "GET", "/api/v1/inference/up/status", NULL, 200,
		    "\"error\":\"vLLM process exited prematurely: exit status 3");
	expect_part(management, "GET", "/health", NULL, 200, "No such file");
	up();
}
END_TEST

START_TEST(asynchronous_start_and_cancel)
{
	int64_t before;

	expect(management, "POST", "/api/v1/inference/up/async", NULL, UP("loads"), 200,
	       "{\"status\":\"starting\",\"message\":\"Inference startup initiated in "
	       "background\"}");
	await_part(management, "/api/v1/state", 200,
		   "{\"state\":\"INFERENCE\",\"poc_status\":\"NO_BACKENDS\",\"inference_healthy\":"
		   "false,\"loaded_model\":\"loads\"");
	expect_part(management, "GET", "/api/v1/inference/up/status", NULL, 200,
		    "{\"status\":\"in_progress\",\"is_starting\":true,\"is_running\":false,"
		    "\"elapsed_seconds\":");
	await_part(management, "/health", 200, "\"progress\":0.25");
	expect(inference, "GET", "/x", NULL, NULL, 503, "vLLM backend not ready");
	before = gh__now();
	expect(management, "POST", "/api/v1/stop", NULL, NULL, 200, OK);
	ck_assert_int_lt(gh__now() - before, 6 * GH__SECOND);
	expect(management, "GET", "/api/v1/state", NULL, NULL, 200, "{\"state\":\"STOPPED\"}");
	expect_part(management, "GET", "/api/v1/inference/up/status", NULL, 200,
		    "{\"status\":\"cancelled\",\"is_starting\":false,\"is_running\":false,"
		    "\"elapsed_seconds\":null,\"error\":\"Startup was cancelled\"}");
}
END_TEST

START_TEST(the_later_order_wins)
{
	exchange first;

	exchange_start(&first, management, "/api/v1/inference/up", UP("loads"));
	await_part(management, "/api/v1/state", 200, "\"loaded_model\":\"loads\"");
	up();
	exchange_await(&first, NULL);
	ck_assert_str_eq(gh__buf_str(&first.body),
			 "{\"status\":\"ERROR\",\"message\":\"the start was superseded by "
			 "another\"}");
	gh__buf_free(&first.body);
	exchange_start(&first, management, "/api/v1/inference/up", UP("loads"));
	await_part(management, "/api/v1/state", 200, "\"loaded_model\":\"loads\"");
	expect(management, "POST", "/api/v1/stop", NULL, NULL, 200, OK);
	exchange_await(&first, NULL);
	ck_assert_str_eq(
		gh__buf_str(&first.body),
		"{\"status\":\"ERROR\",\"message\":\"the start was cancelled by a stop\"}");
	gh__buf_free(&first.body);
}
END_TEST

START_TEST(dead_worker_is_replaced)
{
	int64_t before;
	exchange stream;

	up();
	exchange_start(&stream, inference, "/hold", "");
	exchange_await(&stream, "data: one");
	before = gh__now();
	expect(inference, "POST", "/crash", NULL, "", 502, "vLLM upstream failure");
	exchange_await(&stream, NULL);
	ck_assert_int_ne(stream.status, GH_OK);
	ck_assert_int_lt(gh__now() - before, 2 * GH__SECOND);
	gh__buf_free(&stream.body);
	await_part(management, "/health", 200, "worker 0 was replaced: killed by signal 9");
	await_part(inference, "/health", 200, "");
	ck_assert_int_lt(gh__now() - before, 5 * GH__SECOND);
	expect_part(management, "GET", "/api/v1/state", NULL, 200, "\"state\":\"INFERENCE\"");
}
END_TEST

START_TEST(silent_worker_is_replaced)
{
	int status;

	up();
	/* It may stop before its answer has left. */
	gh__free(call(inference, "POST", "/hang", NULL, "", &status));
	await_part(management, "/health", 200, "it did not answer for a while");
	await_part(inference, "/health", 200, "");
}
END_TEST

START_TEST(several_workers_share_the_load)
{
	exchange streams[4];
	int i;

	gh_inference_node_stop(node);
	start_node(8);
	expect(management, "POST", "/api/v1/inference/up", NULL,
	       "{\"model\":\"m\",\"dtype\":\"float16\",\"additional_args\":[\"-tp\",\"2\","
	       "\"--pipeline-parallel-size=2\",\"--tensor-parallel-size=1\"]}",
	       200, OK);
	expect_part(management, "GET", "/health", NULL, 200, "{\"count\":4,\"ready\":4,");
	for (i = 0; i < 4; i++) {
		exchange_start(&streams[i], inference, "/v1/hold", "");
		exchange_await(&streams[i], "data: one");
	}
	/* One stream on each: a crash cuts one of them. */
	expect(inference, "POST", "/crash", NULL, "", 502, "vLLM upstream failure");
	exchange_await(&streams[0], NULL);
	for (i = 1; i < 4; i++) {
		pthread_mutex_lock(&streams[i].lock);
		ck_assert_msg(!streams[i].done, "stream %d was cut too", i);
		pthread_mutex_unlock(&streams[i].lock);
	}
	/* A stop cuts what does not come to its end; the workers stay. */
	expect(management, "POST", "/api/v1/stop", NULL, NULL, 200, OK);
	for (i = 0; i < 4; i++) {
		exchange_await(&streams[i], NULL);
		ck_assert_int_ne(streams[i].status, GH_OK);
		ck_assert_ptr_nonnull(strstr(gh__buf_str(&streams[i].body), "broke off"));
		gh__buf_free(&streams[i].body);
	}
}
END_TEST

START_TEST(a_stopped_model_stays_loaded)
{
	int status, turn;
	char *before, *after;
	int64_t began;

	up();
	before = call(inference, "GET", "/pid", NULL, NULL, &status);
	for (turn = 0; turn < 2; turn++) {
		expect(management, "POST", "/api/v1/stop", NULL, NULL, 200, OK);
		expect(management, "POST", "/api/v1/stop", NULL, NULL, 200, OK);
		expect(management, "GET", "/api/v1/state", NULL, NULL, 200,
		       "{\"state\":\"STOPPED\"}");
		expect(inference, "GET", "/pid", NULL, NULL, 503, "vLLM backend not ready");
		expect_part(management, "GET", "/health", NULL, 200,
			    "\"workers\":{\"count\":0,\"ready\":0,\"progress\":0.0,\"parked\":1}");
		expect(management, "GET", "/readyz", NULL, NULL, 200, "{\"ready\":true}");
		expect_part(management, "GET", "/api/v1/inference/up/status", NULL, 200,
			    "{\"status\":\"not_started\",");
		began = gh__now();
		up();
		ck_assert_int_lt(gh__now() - began, GH__SECOND);
		after = call(inference, "GET", "/pid", NULL, NULL, &status);
		ck_assert_str_eq(after, before);
		gh__free(after);
	}
	expect(management, "POST", "/api/v1/stop", NULL, NULL, 200, OK);
	expect(management, "POST", "/api/v1/inference/down", NULL, NULL, 200, OK);
	expect_part(management, "GET", "/health", NULL, 200, "\"parked\":0");
	ck_assert_int_ne(kill(atoi(before), 0), 0);
	gh__free(before);
}
END_TEST

/* What a worker is told that it may use, in its slot; below 0: its memory is its own affair. */
static int64_t told_budget(int slot)
{
	int64_t deadline = gh__now() + PATIENCE * GH__SECOND, budget = -1;
	char path[128];
	json_t *told = NULL;

	snprintf(path, sizeof path, "%s/worker-%d-0.sock.round", root, slot);
	while (!told && gh__now() < deadline) {
		told = json_load_file(path, 0, NULL);
		if (!told)
			gh__sleep(10 * GH__MILLISECOND);
	}
	ck_assert_msg(told != NULL, "no %s", path);
	if (json_integer_value(json_object_get(told, "budget")))
		budget = json_integer_value(json_object_get(told, "budget"));
	json_decref(told);
	return budget;
}

START_TEST(proofs_are_told_what_is_left_beside_a_model)
{
	static const char init[] =
		"{\"block_hash\":\"AA\",\"block_height\":1,\"public_key\":\"02\",\"batch_size\":1,"
		"\"r_target\":1.4,\"fraud_threshold\":0.01,\"url\":\"http://r\",\"params\":{"
		"\"dim\":128,\"n_layers\":2,\"n_heads\":16,\"n_kv_heads\":16,\"vocab_size\":128,"
		"\"multiple_of\":64,\"seq_len\":4}}";

	expect_part(management, "POST", "/api/v1/pow/init", init, 200, "\"status\":\"OK\"");
	ck_assert_int_eq(told_budget(0), -1);
	expect(management, "POST", "/api/v1/stop", NULL, NULL, 200, OK);
	up();
	expect(management, "POST", "/api/v1/stop", NULL, NULL, 200, OK);
	expect_part(management, "POST", "/api/v1/pow/init", init, 200, "\"status\":\"OK\"");
	ck_assert_int_gt(told_budget(1), 0);
	expect_part(management, "GET", "/health", NULL, 200, "\"parked\":1");
	expect(management, "GET", "/api/v1/state", NULL, NULL, 200, "{\"state\":\"POW\"}");
	expect(inference, "GET", "/v1/models", NULL, NULL, 503, "vLLM backend not ready");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("inference_node");
	TCase *tcase = tcase_create("inference_node");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, stopped_node);
	tcase_add_test(tcase, routing);
	tcase_add_test(tcase, bodies);
	tcase_add_test(tcase, services_that_are_not_there);
	tcase_add_test(tcase, proofs_conflict_with_a_model);
	tcase_add_test(tcase, no_proof_is_passed_over);
	tcase_add_test(tcase, up_and_down);
	tcase_add_test(tcase, failed_start);
	tcase_add_test(tcase, asynchronous_start_and_cancel);
	tcase_add_test(tcase, the_later_order_wins);
	tcase_add_test(tcase, dead_worker_is_replaced);
	tcase_add_test(tcase, silent_worker_is_replaced);
	tcase_add_test(tcase, several_workers_share_the_load);
	tcase_add_test(tcase, a_stopped_model_stays_loaded);
	tcase_add_test(tcase, proofs_are_told_what_is_left_beside_a_model);
	suite_add_tcase(suite, tcase);
	return unit_main(suite);
}
