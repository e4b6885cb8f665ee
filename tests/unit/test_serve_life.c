#include "worker_client.h"

#include <pthread.h>

#include "engine/internal.h"
#include "null_runner.h"
#include "serve/worker.h"

/* The life of a worker over a runner whose steps can be held back: loading, clients that leave,
 * engines that die, queues that fill, stopping. */

#define RUNNING  "vllm:num_requests_running{"
#define WAITING  "vllm:num_requests_waiting{"
#define KV_USAGE "vllm:gpu_cache_usage_perc{"

static null_runner runner;
static gh_worker *worker;
static int port;

/* Loading waits for this. */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t opened = PTHREAD_COND_INITIALIZER;
static bool load_held;

static gh_status load_null(gh__served *out, gh_worker *w, void *userdata, gh_error *error)
{
	gh_engine_options options = GH_ENGINE_OPTIONS_INIT;
	gh__runner r = null_runner_make(&runner, 419, 1 << 20);
	gh_status status;

	(void)userdata;
	pthread_mutex_lock(&mutex);
	while (load_held)
		pthread_cond_wait(&opened, &mutex);
	pthread_mutex_unlock(&mutex);
	options.queue_max = (int32_t)w->args.queue_max;
	options.max_sequences = (int32_t)w->args.max_num_seqs;
	out->vocab = 419;
	status = gh_tokenizer_load(&out->tokenizer, CHECKPOINT, error);
	if (status == GH_OK)
		status = gh_template_load(&out->chat_template, CHECKPOINT, error);
	if (status == GH_OK)
		status = gh__engine_create(&out->engine, &r, out->tokenizer, &options, w->metrics,
					   "m", error);
	return status;
}

static void start(const char *const *more, size_t count)
{
	const char *args[32] = { "m", "--port", "0", "--host", "127.0.0.1" };
	gh_worker_options options = GH_WORKER_OPTIONS_INIT;

	for (size_t i = 0; i < count; i++)
		args[5 + i] = more[i];
	options.args = args;
	options.arg_count = 5 + count;
	assert_ok(gh__worker_start(&worker, &options, load_null, NULL, error));
	port = gh_worker_port(worker);
}

static void start_ready(const char *const *more, size_t count)
{
	start(more, count);
	wait_ready(port);
}

/* A request that goes on until somebody ends it; its connection. */
static int send_endless(bool stream)
{
	char body[512];
	int fd = dial(port);
	int len = snprintf(body, sizeof body,
			   "{\"prompt\":\"a\",\"max_tokens\":1000000,\"stream\":%s,\"logprobs\":5}",
			   stream ? "true" : "false");

	put_request(fd, "POST", COMPLETION, JSON_TYPE, body, (size_t)len);
	return fd;
}

static void wait_empty(void)
{
	wait_metric(port, RUNNING, 0);
	wait_metric(port, WAITING, 0);
	wait_metric(port, KV_USAGE, 0);
	while (atomic_load(&worker->running) > 0)
		usleep(1000);
}

START_TEST(loading)
{
	load_held = true;
	start(NULL, 0);
	reply r = get(port, "/health");
	ck_assert_int_eq(r.status, 503);
	ck_assert_str_eq(r.body, "{\"status\":\"loading\",\"progress\":0.0}");
	reply_free(&r);
	r = chat(port, "");
	ck_assert_int_eq(r.status, 503);
	ck_assert_ptr_nonnull(strcasestr(r.head, "retry-after: 1"));
	json_t *tree = tree_of(&r);
	ck_assert_int_eq(json_integer_value(at(tree, "code")), 503);
	json_decref(tree);
	reply_free(&r);
	r = get(port, "/v1/models");
	ck_assert_int_eq(r.status, 503);
	reply_free(&r);
	r = get(port, "/metrics");
	ck_assert_int_eq(r.status, 200);
	reply_free(&r);

	pthread_mutex_lock(&mutex);
	load_held = false;
	pthread_cond_broadcast(&opened);
	pthread_mutex_unlock(&mutex);
	wait_ready(port);
	r = chat(port, "'max_tokens':3");
	ck_assert_int_eq(r.status, 200);
	ck_assert_ptr_nonnull(strstr(r.body, "\"content\":\"ABC\""));
	reply_free(&r);
	gh_worker_stop(worker);
}
END_TEST

START_TEST(no_model)
{
	static const char *const args[] = { "/nonexistent/model", "--port", "0", "--host",
					    "127.0.0.1" };
	gh_worker_options options = GH_WORKER_OPTIONS_INIT;

	options.args = args;
	options.arg_count = 5;
	assert_ok(gh_worker_start(&worker, &options, error));
	assert_fails(GH_ENOENT, "/nonexistent/model", gh_worker_wait(worker, error));
	assert_fails(GH_ENOENT, "/nonexistent/model", gh_worker_wait(worker, error));
	reply r = get(gh_worker_port(worker), "/health");
	ck_assert_int_eq(r.status, 500);
	ck_assert_ptr_nonnull(strstr(r.body, "/nonexistent/model"));
	reply_free(&r);
	r = chat(gh_worker_port(worker), "");
	ck_assert_int_eq(r.status, 500);
	reply_free(&r);
	gh_worker_stop(worker);
}
END_TEST

/* Arguments that only the model can refuse. */
START_TEST(unfit_arguments)
{
	static const struct {
		const char *name, *value;
		gh_status status;
		const char *words;
	} cases[] = {
		{ "--tensor-parallel-size", "16", GH_EINVAL,
		  "Total number of attention heads (12) must be divisible by tensor parallel size "
		  "(16)." },
		{ "--max-model-len", "513", GH_EINVAL,
		  "User-specified max_model_len (513) is greater than the derived max_model_len "
		  "(512)" },
		{ "--chat-template", "/nonexistent/t.jinja", GH_ENOENT, "t.jinja" },
		{ "--generation-config", "/nonexistent", GH_ENOENT, "/nonexistent" },
		{ "--override-generation-config", "{\"top_p\":3}", GH_EINVAL, "top_p" },
		{ "--tokenizer", "/nonexistent/tok", GH_ENOENT, "tok" },
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		const char *const args[] = { cases[i].name, cases[i].value };
		gh_worker *w = worker_with(args, 2);

		assert_fails(cases[i].status, cases[i].words, gh_worker_wait(w, error));
		gh_worker_stop(w);
	}
}
END_TEST

START_TEST(start_errors)
{
	static const char *const unknown[] = { "--bogus" }, *const lora[] = { "--enable-lora" };
	static const char *const origins[] = { "--allowed-origins", "7" };
	gh_worker_options options = GH_WORKER_OPTIONS_INIT;

	options.args = unknown;
	options.arg_count = 1;
	assert_fails(GH_EINVAL, "--bogus", gh_worker_start(&worker, &options, error));
	options.args = lora;
	assert_fails(GH_ENOTSUP, "--enable-lora", gh_worker_start(&worker, &options, error));
	options.args = origins;
	options.arg_count = 2;
	assert_fails(GH_EINVAL, "--allowed-origins", gh_worker_start(&worker, &options, error));
	start_ready(NULL, 0);
	char number[16];
	snprintf(number, sizeof number, "%d", port);
	const char *const taken[] = { "--host", "127.0.0.1", "--port", number };
	gh_worker *second;
	options.args = taken;
	options.arg_count = 4;
	assert_fails(GH_EIO, number, gh_worker_start(&second, &options, error));
	gh_worker_stop(worker);
}
END_TEST

/* A client that leaves: while queued, in its prefill, and while it is answered. */
START_TEST(clients_leave)
{
	static const char *const one[] = { "--max-num-seqs", "1" };
	bool stream = _i % 2;

	start_ready(one, 2);
	null_door(&runner, true);
	int running = send_endless(stream);
	null_wait_inside(&runner);
	int queued = send_endless(stream);
	while (atomic_load(&worker->running) < 2)
		usleep(1000);
	/* The engine stands still, the server does not. */
	reply r = get(port, "/health");
	ck_assert_int_eq(r.status, 200);
	reply_free(&r);
	close(queued);
	close(running);
	null_door(&runner, false);
	wait_empty();

	running = send_endless(stream);
	while (metric(port, "vllm:generation_tokens_total") < 1000)
		;
	close(running);
	wait_empty();
	/* It serves the next one. */
	r = chat(port, "'max_tokens':2");
	ck_assert_int_eq(r.status, 200);
	reply_free(&r);
	gh_worker_stop(worker);
}
END_TEST

/* A client that does not read what it asked for is cut off. */
START_TEST(slow_client)
{
	start_ready(NULL, 0);
	int fd = send_endless(true);

	while (atomic_load(&worker->running) < 1)
		usleep(1000);
	wait_empty();
	char piece[65536], last[8] = "";
	ssize_t got, all = 0;
	while ((got = read(fd, piece, sizeof piece)) > 0) {
		all += got;
		if (got >= 5)
			memcpy(last, piece + got - 5, 5);
	}
	ck_assert_int_gt(all, 1 << 20);
	ck_assert_str_ne(last, "0\r\n\r\n"); /* the answer is seen to be broken */
	close(fd);
	gh_worker_stop(worker);
}
END_TEST

START_TEST(full_queue)
{
	static const char *const args[] = { "--max-num-seqs", "1", "--max-waiting-requests", "1" };

	start_ready(args, 4);
	null_door(&runner, true);
	int first = send_endless(false);
	null_wait_inside(&runner);
	int second = send_endless(false);
	gh_engine_stats stats = { 0 };
	while (stats.waiting < 1) {
		gh_engine_stats_get(worker->served.engine, &stats);
		usleep(1000);
	}
	reply r = chat(port, "'stream':true,'max_tokens':1");
	ck_assert_int_eq(r.status, 503);
	ck_assert_ptr_nonnull(strcasestr(r.head, "retry-after: 1"));
	ck_assert_ptr_nonnull(strstr(r.body, "\"code\":503"));
	reply_free(&r);
	close(first);
	close(second);
	null_door(&runner, false);
	wait_empty();
	gh_worker_stop(worker);
}
END_TEST

/* The engine dies under a stream and a plain request. */
START_TEST(engine_dies)
{
	start_ready(NULL, 0);
	null_door(&runner, true);
	int stream = send_endless(true), plain = send_endless(false);
	null_wait_inside(&runner);
	while (atomic_load(&worker->running) < 2)
		usleep(1000);
	runner.broken = true;
	null_door(&runner, false);
	assert_fails(GH_ECUDA, "fallen off", gh_worker_wait(worker, error));
	reply r = take(stream);
	ck_assert_int_eq(r.status, 200);
	ck_assert_ptr_nonnull(strstr(r.body, "data: {\"error\":{\"object\":\"error\",\"message\":"
					     "\"the device has fallen off\",\"type\":"
					     "\"InternalServerError\",\"param\":null,\"code\":500}}"
					     "\n\ndata: [DONE]\n\n"));
	reply_free(&r);
	r = take(plain);
	ck_assert_int_eq(r.status, 500);
	ck_assert_ptr_nonnull(strstr(r.body, "fallen off"));
	reply_free(&r);
	r = get(port, "/health");
	ck_assert_int_eq(r.status, 500);
	reply_free(&r);
	r = chat(port, "");
	ck_assert_int_eq(r.status, 500);
	reply_free(&r);
	gh_worker_stop(worker);
}
END_TEST

static void *stop(void *arg)
{
	gh_worker_stop(arg);
	return NULL;
}

/* What runs when the worker is stopped is answered. */
START_TEST(stopping)
{
	pthread_t stopper;

	start_ready(NULL, 0);
	null_door(&runner, true);
	const char *body = "{\"prompt\":\"a\",\"max_tokens\":4}";
	int fd = dial(port);
	put_request(fd, "POST", COMPLETION, JSON_TYPE, body, strlen(body));
	null_wait_inside(&runner);
	gh_worker_wake(worker);
	assert_ok(gh_worker_wait(worker, error));
	ck_assert_int_eq(pthread_create(&stopper, NULL, stop, worker), 0);
	/* It refuses newcomers, then waits for this one. */
	for (;;) {
		struct sockaddr_in to = { .sin_family = AF_INET,
					  .sin_port = htons((uint16_t)port),
					  .sin_addr = { htonl(INADDR_LOOPBACK) } };
		int probe = socket(AF_INET, SOCK_STREAM, 0);
		int refused = connect(probe, (struct sockaddr *)&to, sizeof to);

		close(probe);
		if (refused)
			break;
		usleep(1000);
	}
	null_door(&runner, false);
	reply r = take(fd);
	ck_assert_int_eq(r.status, 200);
	ck_assert_ptr_nonnull(strstr(r.body, "\"text\":\"ABCD\""));
	reply_free(&r);
	pthread_join(stopper, NULL);
}
END_TEST

START_TEST(keys_and_ids)
{
	static const char *const args[] = { "--api-key", "secret", "--enable-request-id-headers",
					    "--root-path", "/api" };
	static const struct {
		const char *path, *headers;
		int status;
	} cases[] = {
		{ "/v1/models", "", 401 },
		{ "/v1/models", "Authorization: Bearer wrong\r\n", 401 },
		{ "/v1/models", "Authorization: secret\r\n", 401 },
		{ "/v1/models", "Authorization: Bearer secret2\r\n", 401 },
		{ "/v1/models", "Authorization: Bearer secret\r\n", 200 },
		{ "/api/v1/models", "", 401 },
		{ "/api/v1/models", "Authorization: Bearer secret\r\n", 200 },
		{ "/v1/nowhere", "", 401 },
		{ "/health", "", 200 },
		{ "/metrics", "", 200 },
	};
	reply r;

	start_ready(args, 5);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		r = ask(port, "GET", cases[i].path, cases[i].headers, "");
		ck_assert_msg(r.status == cases[i].status, "%s %s: %d", cases[i].path,
			      cases[i].headers, r.status);
		if (r.status == 401)
			ck_assert_str_eq(r.body, "{\"error\":\"Unauthorized\"}");
		reply_free(&r);
	}
	r = ask(port, "POST", CHAT,
		JSON_TYPE "Authorization: Bearer secret\r\nX-Request-Id: my-own\r\n",
		"{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}],\"max_tokens\":1,"
		"\"request_id\":\"x\"}");
	ck_assert_ptr_nonnull(strstr(r.body, "\"id\":\"chatcmpl-my-own\""));
	ck_assert_ptr_nonnull(strcasestr(r.head, "x-request-id: my-own"));
	reply_free(&r);
	r = ask(port, "OPTIONS", "/v1/models",
		"Origin: http://a\r\nAccess-Control-Request-Method: POST\r\n", "");
	ck_assert_int_eq(r.status / 100, 2);
	ck_assert_ptr_nonnull(strcasestr(r.head, "access-control-allow-origin: *"));
	reply_free(&r);
	gh_worker_stop(worker);
}
END_TEST

START_TEST(unix_socket)
{
	gh_worker_options options = GH_WORKER_OPTIONS_INIT;
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	char folder[] = "/tmp/gonkahost-serve-XXXXXX";

	ck_assert_ptr_nonnull(mkdtemp(folder));
	snprintf(to.sun_path, sizeof to.sun_path, "%s/worker.sock", folder);
	options.unix_path = to.sun_path;
	assert_ok(gh__worker_start(&worker, &options, load_null, NULL, error));
	ck_assert_int_eq(gh_worker_port(worker), 0);
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
	put_request(fd, "GET", "/version", "", "", 0);
	reply r = take(fd);
	ck_assert_int_eq(r.status, 200);
	reply_free(&r);
	gh_worker_stop(worker);
	rmdir(folder);
	gh_worker_stop(NULL);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("serve_life");
	TCase *t = tcase_create("serve_life");

	tcase_add_test(t, loading);
	tcase_add_test(t, no_model);
	tcase_add_test(t, unfit_arguments);
	tcase_add_test(t, start_errors);
	tcase_add_loop_test(t, clients_leave, 0, 2);
	tcase_add_test(t, slow_client);
	tcase_add_test(t, full_queue);
	tcase_add_test(t, engine_dies);
	tcase_add_test(t, stopping);
	tcase_add_test(t, keys_and_ids);
	tcase_add_test(t, unix_socket);
	suite_add_tcase(suite, t);
	return unit_main(suite);
}
