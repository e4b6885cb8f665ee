#include "unit.h"

#include <string.h>
#include <unistd.h>
#include <sys/wait.h>
#include <signal.h>

#include "base/alloc.h"
#include "json/json.h"
#include "registry/node.h"
#include "registry/node_json.h"
#include "registry/number.h"

static char folder[] = "/tmp/gh-test-registry-XXXXXX";
static char path[128];

static void setup(void)
{
	memcpy(folder + sizeof folder - 7, "XXXXXX", 7);
	ck_assert_ptr_nonnull(mkdtemp(folder));
	snprintf(path, sizeof path, "%s/sub/registry.db", folder);
}

static void teardown(void)
{
	char command[160];

	snprintf(command, sizeof command, "rm -rf %s", folder);
	ck_assert_int_eq(system(command), 0);
}

static const char *const args[] = { "--quantization", "fp8", "--kv-cache-dtype", "fp8" };
static const gh_node_model models[] = {
	{ "Qwen/QwQ-32B", args, 4, NULL, NULL },
	{ "Qwen/Qwen2.5-7B-Instruct", args, 2, "mirror/qwen", "a09a35458c70" },
};

static gh_node sample(const char *id, int port)
{
	gh_node node = GH_NODE_INIT;

	node.id = id;
	node.host = "10.0.0.7";
	node.inference_port = port;
	node.poc_port = port + 1;
	node.max_concurrent = 500;
	node.models = models;
	node.model_count = 2;
	return node;
}

START_TEST(node_round_trip)
{
	gh_registry *registry;
	gh_node node = sample("node1", 5000);
	gh_node_list *list;
	const gh_node *read;

	node.host = " http://10.0.0.7/ ";
	node.inference_segment = "/v3.0.8";
	node.auth_token = "secret";
	assert_ok(gh_registry_open(&registry, path, error));
	assert_ok(gh_registry_put(registry, &node, error));
	gh_registry_close(registry);
	assert_ok(gh_registry_open(&registry, path, error));
	assert_ok(gh_registry_list(registry, &list, error));
	ck_assert_uint_eq(list->count, 1);
	read = &list->nodes[0];
	ck_assert_str_eq(read->id, "node1");
	ck_assert_str_eq(read->host, "10.0.0.7");
	ck_assert_str_eq(read->inference_segment, "/v3.0.8");
	ck_assert_str_eq(read->auth_token, "secret");
	ck_assert_int_eq(read->inference_port, 5000);
	ck_assert_int_eq(read->poc_port, 5001);
	ck_assert_int_eq(read->max_concurrent, 500);
	ck_assert_uint_eq(read->number, 1);
	ck_assert_int_eq(read->enabled, 1);
	ck_assert_uint_eq(read->model_count, 2);
	ck_assert_str_eq(read->models[0].id, "Qwen/QwQ-32B");
	ck_assert_uint_eq(read->models[0].arg_count, 4);
	ck_assert_str_eq(read->models[0].args[3], "fp8");
	ck_assert_ptr_null(read->models[0].hf_repo);
	ck_assert_str_eq(read->models[1].hf_repo, "mirror/qwen");
	ck_assert_str_eq(read->models[1].args[1], "fp8");
	ck_assert_ptr_null(read->hardware);
	gh_node_list_free(list);
	gh_registry_close(registry);
}
END_TEST

START_TEST(numbers_are_kept_and_never_reused)
{
	gh_registry *registry;
	gh_node a = sample("a", 5000), b = sample("b", 6000), c = sample("c", 7000);
	gh_node_list *list;
	int32_t removed = 0;
	uint64_t highest = 1;
	char *id;

	assert_ok(gh_registry_open(&registry, path, error));
	assert_ok(gh__registry_highest(registry, &highest, error));
	ck_assert_uint_eq(highest, 0);
	assert_ok(gh_registry_put(registry, &a, error));
	assert_ok(gh_registry_put(registry, &b, error));
	assert_ok(gh_registry_enable(registry, "a", 0, 7, error));
	a.max_concurrent = 9;
	assert_ok(gh_registry_put(registry, &a, error));
	assert_ok(gh_registry_remove(registry, "b", &removed, error));
	ck_assert_int_eq(removed, 1);
	assert_ok(gh_registry_remove(registry, "b", &removed, error));
	ck_assert_int_eq(removed, 0);
	assert_ok(gh_registry_put(registry, &c, error));
	assert_ok(gh_registry_list(registry, &list, error));
	ck_assert_uint_eq(list->count, 2);
	ck_assert_str_eq(list->nodes[0].id, "a");
	ck_assert_uint_eq(list->nodes[0].number, 1);
	ck_assert_int_eq(list->nodes[0].max_concurrent, 9);
	ck_assert_int_eq(list->nodes[0].enabled, 0);
	ck_assert_uint_eq(list->nodes[0].admin_epoch, 7);
	ck_assert_str_eq(list->nodes[1].id, "c");
	ck_assert_uint_eq(list->nodes[1].number, 3);
	gh_node_list_free(list);
	assert_ok(gh__registry_id_of(registry, 3, &id, error));
	ck_assert_str_eq(id, "c");
	gh__free(id);
	for (uint64_t number = 0; number < 5; number += 2) { /* 2 was b's */
		assert_ok(gh__registry_id_of(registry, number, &id, error));
		ck_assert_ptr_null(id);
	}
	assert_ok(gh__registry_id_of(registry, UINT64_MAX, &id, error));
	ck_assert_ptr_null(id);
	assert_ok(gh_registry_remove(registry, "c", &removed, error));
	assert_ok(gh__registry_highest(registry, &highest, error));
	ck_assert_uint_eq(highest, 3);
	assert_fails(GH_ENOENT, "node not found: nobody",
		     gh_registry_enable(registry, "nobody", 1, 0, error));
	gh_registry_close(registry);
}
END_TEST

START_TEST(every_broken_rule_is_told)
{
	gh_node node = GH_NODE_INIT;

	assert_fails(GH_EINVAL,
		     "validation failed: node id is required and cannot be empty; host is "
		     "required and cannot be empty; inference_port must be between 1 and 65535, "
		     "got 0; poc_port must be",
		     gh_node_check(&node, error));
	node = sample("x", 5000);
	node.poc_port = 70000;
	node.max_concurrent = -3;
	node.model_count = 0;
	assert_fails(GH_EINVAL,
		     "poc_port must be between 1 and 65535, got 70000; max_concurrent must be "
		     "greater than 0, got -3; at least one model must be specified",
		     gh_node_check(&node, error));
	node = sample("x\n", 5000);
	assert_fails(GH_EINVAL, "control characters", gh_node_check(&node, error));
	node = sample("x", 5000);
	node.host = "http://10.0.0.7:8080";
	assert_fails(GH_EINVAL, "without port and path", gh_node_check(&node, error));
	node.host = "a b";
	assert_fails(GH_EINVAL, "host must be", gh_node_check(&node, error));
	node.host = "fe80::1";
	assert_ok(gh_node_check(&node, error));
	node.host = "";
	node.inference_port = 0;
	node.poc_port = 0;
	node.base_url = "https://gpu.example/x";
	assert_ok(gh_node_check(&node, error));
	node.base_url = "ftp://gpu.example";
	assert_fails(GH_EINVAL, "base_url must begin", gh_node_check(&node, error));
}
END_TEST

START_TEST(addresses_are_unique)
{
	gh_registry *registry;
	gh_node a = sample("a", 5000), b = sample("b", 5000);

	assert_ok(gh_registry_open(&registry, path, error));
	assert_ok(gh_registry_put(registry, &a, error));
	assert_fails(GH_EINVAL,
		     "duplicate inference host+port combination: 10.0.0.7:5000 (already used by "
		     "node 'a'); duplicate PoC host+port combination: 10.0.0.7:5001",
		     gh_registry_put(registry, &b, error));
	b.inference_segment = "/b";
	b.poc_segment = "/b";
	assert_ok(gh_registry_put(registry, &b, error));
	assert_ok(gh_registry_put(registry, &a, error));
	gh_registry_close(registry);
}
END_TEST

static gh_node *from_text(const char *text)
{
	json_t *object = json_loads(text, 0, NULL);
	gh_node *node = NULL;

	ck_assert_ptr_nonnull(object);
	assert_ok(gh__node_from_json(&node, object, "", error));
	json_decref(object);
	return node;
}

START_TEST(json_both_ways)
{
	static const char text[] =
		"{\"host\":\"h\",\"inference_segment\":\"\",\"inference_port\":5000,"
		"\"poc_segment\":\"/"
		"v3.0.8\",\"poc_port\":8000,\"base_url\":\"\",\"auth_token\":\"\","
		"\"models\":{\"m\":{\"args\":[\"--a\",\"\"]},\"n\":{\"args\":[],\"model_override\":"
		"{"
		"\"hf_repo\":\"r\",\"hf_commit\":\"c\"}}},\"id\":\"i\",\"max_concurrent\":2,"
		"\"hardware\":[{\"type\":\"H100\",\"count\":8}]}";
	gh_node *node = from_text(text);
	json_t *object = gh__node_to_json(node, false);
	char *written = gh__json_text(object, NULL);

	ck_assert_str_eq(written, text);
	gh_free(written);
	json_decref(object);
	gh__free(node);
	node = from_text("{\"id\":\"i\",\"hardware\":null,\"models\":{\"m\":{\"args\":null},\"n\":"
			 "{}},\"unknown\":1}");
	ck_assert_ptr_null(node->hardware);
	ck_assert_uint_eq(node->model_count, 2);
	ck_assert_uint_eq(node->models[1].arg_count, 0);
	gh__free(node);
}
END_TEST

START_TEST(json_types)
{
	static const struct {
		const char *text, *words;
	} cases[] = {
		{ "[]", "object" },
		{ "{\"inference_port\":\"5000\"}", "inference_port" },
		{ "{\"id\":5}", "id" },
		{ "{\"poc_port\":1e3}", "poc_port" },
		{ "{\"poc_port\":99999999999}", "poc_port" },
		{ "{\"models\":[]}", "models" },
		{ "{\"models\":{\"m\":[]}}", "m" },
		{ "{\"models\":{\"m\":{\"args\":[1]}}}", "args" },
		{ "{\"hardware\":{}}", "hardware" },
		{ "{\"hardware\":[{\"type\":\"x\",\"count\":-1}]}", "count" },
	};
	size_t i;

	for (i = 0; i < sizeof cases / sizeof *cases; i++) {
		json_t *object = json_loads(cases[i].text, 0, NULL);
		gh_node *node = NULL;

		ck_assert_ptr_nonnull(object);
		assert_fails(GH_EFORMAT, cases[i].words,
			     gh__node_from_json(&node, object, "node", error));
		json_decref(object);
	}
}
END_TEST

START_TEST(addresses)
{
	gh_node node = sample("a", 5000);
	gh_node *copy;
	char *url;

	node.inference_segment = "v3.0.8/";
	assert_ok(gh__node_copy(&copy, &node, error));
	url = gh__node_inference_url(copy);
	ck_assert_str_eq(url, "http://10.0.0.7:5000/v3.0.8");
	gh__free(url);
	url = gh__node_management_url(copy);
	ck_assert_str_eq(url, "http://10.0.0.7:5001");
	gh__free(url);
	gh__free(copy);
	node.host = "::1";
	assert_ok(gh__node_copy(&copy, &node, error));
	url = gh__node_management_url(copy);
	ck_assert_str_eq(url, "http://[::1]:5001");
	gh__free(url);
	gh__free(copy);
}
END_TEST

static void write_config(char *out, size_t size, const char *text)
{
	FILE *file;

	snprintf(out, size, "%s/node-config.json", folder);
	file = fopen(out, "w");
	ck_assert_ptr_nonnull(file);
	fputs(text, file);
	fclose(file);
}

#define CONFIG_NODE(id, port)                                                              \
	"{\"id\":\"" id "\",\"host\":\"h\",\"inference_port\":" port ",\"poc_port\":" port \
	",\"max_concurrent\":1,\"models\":{\"m\":{\"args\":[]}}}"

START_TEST(configuration_is_merged_once)
{
	gh_registry *registry;
	gh_node_list *list;
	char file[160];
	int32_t merged = -1;

	assert_ok(gh_registry_open(&registry, path, error));
	snprintf(file, sizeof file, "%s/absent.json", folder);
	assert_fails(GH_ENOENT, "absent.json",
		     gh_registry_merge_config(registry, file, &merged, error));
	write_config(file, sizeof file, "[" CONFIG_NODE("a", "1") "," CONFIG_NODE("a", "2") "]");
	assert_fails(GH_EEXIST, "duplicate node ID found in config: a",
		     gh_registry_merge_config(registry, file, &merged, error));
	write_config(file, sizeof file,
		     "[" CONFIG_NODE("a", "1") "," CONFIG_NODE("b", "70000") "]");
	assert_fails(GH_EINVAL, "node[1] (id: b)",
		     gh_registry_merge_config(registry, file, &merged, error));
	assert_ok(gh_registry_list(registry, &list, error));
	ck_assert_uint_eq(list->count, 0);
	gh_node_list_free(list);
	write_config(file, sizeof file, "[" CONFIG_NODE("a", "1") "," CONFIG_NODE("b", "2") "]");
	assert_ok(gh_registry_merge_config(registry, file, &merged, error));
	ck_assert_int_eq(merged, 1);
	write_config(file, sizeof file, "[" CONFIG_NODE("c", "3") "]");
	assert_ok(gh_registry_merge_config(registry, file, &merged, error));
	ck_assert_int_eq(merged, 0);
	assert_ok(gh_registry_list(registry, &list, error));
	ck_assert_uint_eq(list->count, 2);
	gh_node_list_free(list);
	gh_registry_close(registry);
}
END_TEST

/* What deploy/ offers to copy is accepted as it is. */
START_TEST(configurations_of_deploy_are_accepted)
{
	static const struct {
		const char *name, *model;
		size_t args;
	} cases[] = {
		{ "node-config.json", "Qwen/Qwen2.5-7B-Instruct", 2 },
		{ "node-config-qwq.json", "Qwen/QwQ-32B", 4 },
		{ "node-config-qwq-4x3090.json", "Qwen/QwQ-32B", 6 },
		{ "node-config-qwq-8x3090.json", "Qwen/QwQ-32B", 6 },
		{ "node-config-qwq-8x3080.json", "Qwen/QwQ-32B", 8 },
	};
	char file[512];
	gh_registry *registry;
	gh_node_list *list;
	int32_t merged = -1;

	snprintf(file, sizeof file, GH_TEST_DATA "/../../deploy/%s", cases[_i].name);
	assert_ok(gh_registry_open(&registry, path, error));
	assert_ok(gh_registry_merge_config(registry, file, &merged, error));
	ck_assert_int_eq(merged, 1);
	assert_ok(gh_registry_list(registry, &list, error));
	ck_assert_uint_eq(list->count, 1);
	ck_assert_uint_eq(list->nodes[0].model_count, 1);
	ck_assert_str_eq(list->nodes[0].models[0].id, cases[_i].model);
	ck_assert_uint_eq(list->nodes[0].models[0].arg_count, cases[_i].args);
	ck_assert_str_eq(list->nodes[0].models[0].args[0], "--quantization");
	gh_node_list_free(list);
	gh_registry_close(registry);
}
END_TEST

/* A child acknowledges puts through a pipe until it is killed: what it acknowledged must be
 * there. */
START_TEST(acknowledged_is_durable)
{
	int round;

	for (round = 0; round < 5; round++) {
		gh_registry *registry;
		gh_node_list *list;
		int pipes[2];
		int32_t last = -1, acknowledged;
		pid_t child;

		ck_assert_int_eq(pipe(pipes), 0);
		child = fork();
		if (child == 0) {
			int i;

			if (gh_registry_open(&registry, path, NULL) != GH_OK)
				_exit(1);
			for (i = 0;; i++) {
				gh_node node = sample("n", 1000);

				node.max_concurrent = round * 1000000 + i + 1;
				if (gh_registry_put(registry, &node, NULL) != GH_OK ||
				    write(pipes[1], &node.max_concurrent, 4) != 4)
					_exit(1);
			}
		}
		close(pipes[1]);
		for (acknowledged = 0; acknowledged < 3 + round; acknowledged++)
			ck_assert_int_eq(read(pipes[0], &last, 4), 4);
		kill(child, SIGKILL);
		while (read(pipes[0], &acknowledged, 4) == 4)
			last = acknowledged;
		close(pipes[0]);
		waitpid(child, NULL, 0);
		assert_ok(gh_registry_open(&registry, path, error));
		assert_ok(gh_registry_list(registry, &list, error));
		ck_assert_uint_eq(list->count, 1);
		ck_assert_int_ge(list->nodes[0].max_concurrent, last);
		ck_assert_int_le(list->nodes[0].max_concurrent, last + 1);
		gh_node_list_free(list);
		gh_registry_close(registry);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("registry");
	TCase *tcase = tcase_create("registry");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, node_round_trip);
	tcase_add_test(tcase, numbers_are_kept_and_never_reused);
	tcase_add_test(tcase, every_broken_rule_is_told);
	tcase_add_test(tcase, addresses_are_unique);
	tcase_add_test(tcase, json_both_ways);
	tcase_add_test(tcase, json_types);
	tcase_add_test(tcase, addresses);
	tcase_add_test(tcase, configuration_is_merged_once);
	tcase_add_loop_test(tcase, configurations_of_deploy_are_accepted, 0, 5);
	tcase_add_test(tcase, acknowledged_is_durable);
	suite_add_tcase(suite, tcase);
	return unit_main(suite);
}
