#include "network_fixture.h"

/* The admin API of a network node. */

/* ---- admin API ---- */

START_TEST(admin_answers)
{
	char *text = node_text("a/b +c", 4000, 5, "m");
	int status;
	char *answer;

	expect(admin_port, "GET", "/admin/v1/nodes", "application/json", NULL, 200, "[]\n");
	expect(admin_port, "POST", "/admin/v1/nodes", "application/json", text, 200,
	       "{\"host\":\"127.0.0.1\",\"inference_segment\":\"\",\"inference_port\":4000,"
	       "\"poc_segment\":\"\",\"poc_port\":4000,\"base_url\":\"\",\"auth_token\":\"\","
	       "\"models\":{\"m\":{\"args\":[\"--quantization\",\"fp8\"]}},\"id\":\"a/b +c\","
	       "\"max_concurrent\":5,\"hardware\":null}\n");
	expect(admin_port, "POST", "/admin/v1/nodes/a%2Fb%20+c/disable", "application/json", NULL,
	       200, "{\"message\":\"node disabled successfully\",\"node_id\":\"a/b +c\"}\n");
	expect(admin_port, "POST", "/admin/v1/nodes/a%2Fb%20+c/enable", "application/json", NULL,
	       200, "{\"message\":\"node enabled successfully\",\"node_id\":\"a/b +c\"}\n");
	expect(admin_port, "POST", "/admin/v1/nodes/x/enable", "application/json", NULL, 404,
	       "{\"error\":\"node not found: x\"}\n");
	expect(admin_port, "DELETE", "/admin/v1/nodes/a%2Fb%20+c", "application/json", NULL, 200,
	       "true\n");
	expect(admin_port, "DELETE", "/admin/v1/nodes/a%2Fb%20+c", "application/json", NULL, 200,
	       "false\n");
	expect(admin_port, "GET", "/admin/v1/other", "application/json", NULL, 404,
	       "{\"error\":\"Not Found\"}\n");
	expect(admin_port, "PATCH", "/admin/v1/nodes", "application/json", NULL, 405,
	       "{\"error\":\"Method Not Allowed\"}\n");
	expect(admin_port, "POST", "/admin/v1/nodes", "application/json", "{\"id\":\"x<y\"}", 400,
	       "{\"error\":\"failed to create node: validation failed: host is required and cannot "
	       "be empty; inference_port must be between 1 and 65535, got 0; poc_port must be "
	       "between 1 and 65535, got 0; max_concurrent must be greater than 0, got 0; at least "
	       "one model must be specified\"}\n");
	answer = call(admin_port, "POST", "/admin/v1/nodes", "application/json", "{", &status);
	ck_assert_int_eq(status, 400);
	ck_assert_ptr_nonnull(strstr(answer, "{\"error\":\"invalid request body: "));
	gh__free(answer);
	answer = call(admin_port, "POST", "/admin/v1/nodes", "application/json",
		      "{\"poc_port\":\"x\"}", &status);
	ck_assert_int_eq(status, 400);
	ck_assert_ptr_nonnull(strstr(answer, "poc_port"));
	gh__free(answer);
	answer = call(admin_port, "POST", "/admin/v1/nodes", "text/plain", text, &status);
	ck_assert_int_eq(status, 400);
	ck_assert_ptr_nonnull(strstr(answer, "Unsupported Media Type"));
	gh__free(answer);
	answer = call(admin_port, "POST", "/admin/v1/nodes", "application/jsonx", text, &status);
	ck_assert_int_eq(status, 400);
	ck_assert_ptr_nonnull(strstr(answer, "Unsupported Media Type"));
	gh__free(answer);
	answer = call(admin_port, "POST", "/admin/v1/nodes", "Application/JSON ; charset=UTF-8",
		      text, &status);
	ck_assert_int_eq(status, 200);
	gh__free(answer);
	free(text);
}
END_TEST

/* A POST of node "n", in which the k-th allocation fails; 0: there was no answer. */
static int put_short_of_memory(size_t k, int max_concurrent)
{
	static const char *const headers[] = { "Content-Type: application/json", NULL };
	char *text = node_text("n", 4000, max_concurrent, "m"), *answer = NULL, url[128];
	gh__http_call_options options = { 0 };
	int status = 0;
	size_t len;

	snprintf(url, sizeof url, "http://127.0.0.1:%d/admin/v1/nodes", admin_port);
	options.method = "POST";
	options.url = url;
	options.headers = headers;
	options.body = text;
	options.body_len = strlen(text);
	options.total_timeout = PATIENCE * GH__SECOND;
	gh__alloc_fail_at(k);
	if (gh__http_fetch(client, &options, &status, &answer, &len, NULL) != GH_OK)
		status = 0;
	gh__alloc_fail_at(0);
	gh__free(answer);
	free(text);
	return status;
}

/* What the registry holds the broker knows, wherever memory ended: a node is put whole or not. */
START_TEST(admin_short_of_memory)
{
	int status, failed = 0;

	for (size_t k = 1; k <= 240; k++) {
		int wanted = 5 + (int)k, answered = put_short_of_memory(k, wanted), count;
		char *text = call(admin_port, "GET", "/admin/v1/nodes", NULL, NULL, &status);
		json_t *list = json_loads(text, 0, NULL), *entry = json_array_get(list, 0);

		ck_assert_int_eq(status, 200);
		count = (int)json_array_size(list);
		ck_assert_int_le(count, 1);
		if (count == 1) {
			int stored = (int)json_integer_value(
				json_object_get(json_object_get(entry, "node"), "max_concurrent"));

			ck_assert_msg(json_object_get(json_object_get(entry, "state"),
						      "current_status") != NULL,
				      "%zu: the broker does not know the node", k);
			ck_assert_msg(stored == wanted || answered != 200, "%zu: %d", k, stored);
		}
		ck_assert_msg(count == 1 || answered != 200, "%zu: not there", k);
		failed += answered == 500;
		json_decref(list);
		gh__free(text);
		/* a new one each second time, else one that is updated */
		if (k % 2 == 0)
			gh__free(call(admin_port, "DELETE", "/admin/v1/nodes/n", NULL, NULL,
				      &status));
	}
	ck_assert_int_gt(failed, 0);
}
END_TEST

START_TEST(admin_put)
{
	char *text = node_text("n", 4000, 5, "m");
	int status;
	char *answer =
		call(admin_port, "PUT", "/admin/v1/nodes/other", "application/json", text, &status);

	ck_assert_int_eq(status, 400);
	ck_assert_ptr_nonnull(strstr(answer, "the path names node 'other', the body node 'n'"));
	gh__free(answer);
	answer = call(admin_port, "PUT", "/admin/v1/nodes/n", "application/json", text, &status);
	ck_assert_int_eq(status, 200);
	gh__free(answer);
	free(text);
	text = node_text("", 4100, 6, "m");
	answer = call(admin_port, "PUT", "/admin/v1/nodes/n", "application/json", text, &status);
	ck_assert_msg(status == 200, "%s", answer);
	ck_assert_ptr_nonnull(strstr(answer, "\"max_concurrent\":6"));
	gh__free(answer);
	free(text);
	answer = call(admin_port, "GET", "/admin/v1/nodes?pretty", NULL, NULL, &status);
	ck_assert_ptr_nonnull(strstr(answer, "[\n  {\n    \"node\": {"));
	ck_assert_ptr_nonnull(strstr(answer, "\"node_num\": 1"));
	gh__free(answer);
	text = node_text("n", 70000, 6, "m");
	answer = call(admin_port, "POST", "/admin/v1/nodes", "application/json", text, &status);
	ck_assert_int_eq(status, 400);
	ck_assert_ptr_nonnull(strstr(answer, "failed to update node: validation failed: "));
	gh__free(answer);
	free(text);
}
END_TEST

START_TEST(admin_batch)
{
	char *a = node_text("a", 4001, 5, "m"), *b = node_text("b", 70000, 5, "m"), *body, *answer;
	int status;

	ck_assert_int_gt(asprintf(&body, "[%s,%s]", a, b), 0);
	answer = call(admin_port, "POST", "/admin/v1/nodes/batch", "application/json", body,
		      &status);
	ck_assert_int_eq(status, 206);
	ck_assert_ptr_nonnull(strstr(answer, "{\"errors\":[\"node[1] (id: b): validation failed: "
					     "inference_port must be"));
	ck_assert_ptr_nonnull(strstr(answer, "\"nodes\":[{\"host\":\"127.0.0.1\""));
	gh__free(answer);
	free(body);
	ck_assert_int_gt(asprintf(&body, "[%s]", b), 0);
	answer = call(admin_port, "POST", "/admin/v1/nodes/batch", "application/json", body,
		      &status);
	ck_assert_int_eq(status, 400);
	ck_assert_ptr_nonnull(
		strstr(answer,
		       "{\"error\":{\"error\":\"all nodes failed validation\",\"errors\":[\"node"));
	gh__free(answer);
	free(body);
	ck_assert_int_gt(asprintf(&body, "[%s]", a), 0);
	answer = call(admin_port, "POST", "/admin/v1/nodes/batch", "application/json", body,
		      &status);
	ck_assert_int_eq(status, 201);
	ck_assert_int_eq(answer[0], '[');
	gh__free(answer);
	free(body);
	free(a);
	free(b);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("network_admin");
	TCase *tcase = tcase_create("network_admin");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, admin_answers);
	tcase_add_test(tcase, admin_short_of_memory);
	tcase_add_test(tcase, admin_put);
	tcase_add_test(tcase, admin_batch);
	suite_add_tcase(suite, tcase);
	return unit_main(suite);
}
