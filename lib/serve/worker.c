#include "serve/worker.h"

#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/number.h"
#include "base/options.h"
#include "base/thread.h"
#include "json/json.h"
#include "serve/environment.h"
#include "serve/proofs.h"
#include "serve/routes.h"

enum { PREPARE_THREADS = 4, PREPARE_LARGE_THREADS = 1, PREPARE_WAITING = 32768, STOP_SECONDS = 5 };

/* ---- the end of loading, and failure ---- */

static void wake(gh_worker *worker)
{
	const uint64_t one = 1;

	if (write(worker->wake, &one, sizeof one) < 0)
		return; /* full: it is awake */
}

void gh__worker_fail(gh_worker *worker, const gh_error *error)
{
	pthread_mutex_lock(&worker->lock);
	if (worker->failure.status == GH_OK) {
		worker->failure = *error;
		if (worker->failure.status == GH_OK)
			worker->failure.status = GH_EBUG;
	}
	pthread_mutex_unlock(&worker->lock);
	atomic_store(&worker->state, GH__WORKER_FAILED);
	wake(worker);
}

static void make_model(gh_worker *worker)
{
	const gh__served *s = &worker->served;
	const gh__args *args = &worker->args;
	gh_engine_stats stats;

	gh_engine_stats_get(s->engine, &stats);
	worker->model = (gh__openai_model){
		.names = worker->names,
		.name_count = worker->name_count,
		.response_role = args->response_role ? args->response_role : "assistant",
		.tokenizer = s->tokenizer,
		.chat_template = s->chat_template,
		.max_length = stats.max_length,
		.vocab = s->vocab,
		.max_logprobs = args->max_logprobs,
		.defaults = s->defaults,
		.eos = s->eos,
		.eos_count = s->eos_count,
		.eos_id = gh_tokenizer_eos(s->tokenizer),
		.has_tool_parser = args->auto_tool_choice,
		.prompt_tokens_details = args->prompt_tokens_details,
	};
}

static void load(void *arg)
{
	gh_worker *worker = arg;
	gh_error error = GH_ERROR_INIT;
	int64_t began = gh__now();

	if (worker->load(&worker->served, worker, worker->load_userdata, &error) != GH_OK) {
		if (atomic_load(&worker->stopping)) {
			gh__info("serve", "stopped while loading");
			return;
		}
		gh__error("serve", "the model could not be loaded: %s", error.text);
		gh__worker_fail(worker, &error);
		return;
	}
	make_model(worker);
	atomic_store(&worker->progress, 1000);
	atomic_store_explicit(&worker->state, GH__WORKER_READY, memory_order_release);
	gh__info("serve", "ready model=%s numerics=%s context=%d seconds=%.2f", worker->names[0],
		 worker->served.numerics, worker->model.max_length,
		 (double)(gh__now() - began) / (double)GH__SECOND);
}

void gh__served_free(gh__served *served)
{
	gh_engine_free(served->engine);
	gh_model_free(served->model);
	gh_template_free(served->chat_template);
	gh_tokenizer_free(served->tokenizer);
	*served = (gh__served){ 0 };
}

/* ---- options ---- */

/* A JSON array of strings as a C array that ends in NULL. */
static gh_status string_list(const char ***out, json_t **tree, size_t *count, const char *text,
			     const char *option, gh_error *error)
{
	size_t i;
	json_t *item;

	*tree = gh__json_parse(text, strlen(text), false, error);
	if (!*tree)
		return GH_EINVAL;
	if (!json_is_array(*tree))
		return gh__fail(error, GH_EINVAL, "argument --%s: a JSON list expected", option);
	*count = json_array_size(*tree);
	*out = gh__calloc(*count + 1, sizeof **out);
	if (!*out)
		return gh__fail_nomem(error);
	json_array_foreach(*tree, i, item)
	{
		(*out)[i] = json_string_value(item);
		if (!(*out)[i])
			return gh__fail(error, GH_EINVAL,
					"argument --%s: a list of strings expected", option);
	}
	return GH_OK;
}

static gh_status read_names(gh_worker *worker, gh_error *error)
{
	char *text = NULL;
	gh_status status;

	if (worker->args.served_names_json)
		return string_list(&worker->names, &worker->names_json, &worker->name_count,
				   worker->args.served_names_json, "served-model-name", error);
	json_t *own = json_pack("[s]", worker->args.model);
	text = own ? gh__json_text(own, NULL) : NULL;
	json_decref(own);
	if (!text)
		return gh__fail(error, GH_EINVAL, "argument --model: not UTF-8");
	status = string_list(&worker->names, &worker->names_json, &worker->name_count, text,
			     "model", error);
	gh__free(text);
	return status;
}

static gh_status read_cors(gh_worker *worker, gh_error *error)
{
	static const char *const options[] = { "allowed-origins", "allowed-methods",
					       "allowed-headers" };
	const char *const given[] = { worker->args.allowed_origins, worker->args.allowed_methods,
				      worker->args.allowed_headers };
	gh_status status = GH_OK;
	size_t count;

	for (int i = 0; i < 3 && status == GH_OK; i++)
		status = string_list(&worker->cors[i], &worker->cors_json[i], &count,
				     given[i] ? given[i] : "[\"*\"]", options[i], error);
	return status;
}

static gh_status read_options(gh_worker *worker, const gh_worker_options *given, bool *no_model,
			      gh_error *error)
{
	const gh_worker_options defaults = GH_WORKER_OPTIONS_INIT;
	gh_worker_options o;
	const char *key;
	gh_status status =
		gh__options_copy(&o, sizeof o, sizeof o, given ? given : &defaults, error);

	if (status == GH_OK && o.arg_count > 0 && !o.args)
		status = gh__fail(error, GH_EINVAL, "args: %zu of them, but the list is NULL",
				  o.arg_count);
	if (status == GH_OK && (o.flags & ~GH_WORKER_NO_MODEL || o.reserved))
		status = gh__fail(error, GH_EINVAL, "flags: 0x%x has unknown bits", o.flags);
	*no_model = (o.flags & GH_WORKER_NO_MODEL) != 0;
	if (status == GH_OK)
		status = gh__args_parse(&worker->args, o.args, o.arg_count, error);
	if (status == GH_OK)
		status = read_names(worker, error);
	if (status == GH_OK)
		status = read_cors(worker, error);
	if (status != GH_OK)
		return status;
	gh__environment_warn();
	key = worker->args.api_key ? worker->args.api_key : gh__environment("VLLM_API_KEY");
	if (key) {
		worker->api_key = gh__strdup(key);
		if (!worker->api_key)
			return gh__fail_nomem(error);
	}
	if (o.unix_path) {
		worker->unix_path = gh__strdup(o.unix_path);
		if (!worker->unix_path)
			return gh__fail_nomem(error);
	}
	return GH_OK;
}

/* ---- start and stop ---- */

static gh_status listen_on(gh_worker *worker, gh_error *error)
{
	static const gh__http_route everything[] = { { NULL, "/*", gh__routes_handle } };
	const char *idle = gh__environment("VLLM_HTTP_TIMEOUT_KEEP_ALIVE");
	int64_t seconds = 0;

	if (idle && (!gh__parse_int64(idle, &seconds) || seconds < 1 || seconds > 86400))
		return gh__fail(error, GH_EINVAL,
				"VLLM_HTTP_TIMEOUT_KEEP_ALIVE: '%.40s' is not between 1 and 86400",
				idle);
	const gh__http_server_options options = {
		.host = worker->args.host ? worker->args.host : "0.0.0.0",
		.port = (int)worker->args.port,
		.unix_path = worker->unix_path,
		.routes = everything,
		.route_count = 1,
		.userdata = worker,
		.error_body = gh__routes_error,
		.idle_seconds = (unsigned)seconds,
		.cors_origins = worker->cors[0],
		.cors_methods = worker->cors[1],
		.cors_headers = worker->cors[2],
		.cors_credentials = worker->args.allow_credentials,
	};
	gh_error inner = GH_ERROR_INIT;
	gh_status status = gh__http_server_start(&worker->http, &options, &inner);
	if (status == GH_ENET)
		status = GH_EIO;
	return status == GH_OK ? GH_OK : gh__fail(error, status, "%s", inner.text);
}

static void worker_free(gh_worker *worker)
{
	atomic_store(&worker->stopping, true);
	gh__proofs_stop(worker->proofs);
	if (worker->http)
		gh__http_server_stop(worker->http, gh__now() + STOP_SECONDS * GH__SECOND);
	if (worker->loader_started)
		pthread_join(worker->loader, NULL);
	/* What the crews still hold goes into the engine, and its ends may come back. */
	if (worker->crew)
		gh__crew_stop(worker->crew);
	if (worker->large)
		gh__crew_stop(worker->large);
	gh__served_free(&worker->served);
	gh__proofs_free(worker->proofs);
	gh__crew_free(worker->crew);
	gh__crew_free(worker->large);
	gh__metrics_free(worker->metrics);
	for (int i = 0; i < 3; i++) {
		gh__free(worker->cors[i]);
		json_decref(worker->cors_json[i]);
	}
	gh__free(worker->names);
	json_decref(worker->names_json);
	gh__free(worker->api_key);
	gh__free(worker->unix_path);
	gh__args_free(&worker->args);
	if (worker->wake >= 0)
		close(worker->wake);
	pthread_mutex_destroy(&worker->lock);
	gh__free(worker);
}

gh_status gh__worker_start(gh_worker **out, const gh_worker_options *options, gh__load_fn *load_fn,
			   void *userdata, gh_error *error)
{
	gh_worker *worker = gh__calloc(1, sizeof *worker);
	bool no_model = false;

	if (!worker)
		return gh__fail_nomem(error);
	pthread_mutex_init(&worker->lock, NULL);
	worker->load = load_fn;
	worker->load_userdata = userdata;
	worker->created = gh__wall() / GH__SECOND;
	worker->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	gh_status status = worker->wake < 0 ? gh__fail(error, GH_EIO, "eventfd") : GH_OK;
	if (status == GH_OK)
		status = read_options(worker, options, &no_model, error);
	if (status == GH_OK)
		status = gh__metrics_create(&worker->metrics, error);
	if (status == GH_OK)
		status = gh__crew_create(&worker->crew, PREPARE_THREADS, PREPARE_WAITING, error);
	if (status == GH_OK)
		status = gh__crew_create(&worker->large, PREPARE_LARGE_THREADS, PREPARE_WAITING,
					 error);
	if (status == GH_OK && worker->unix_path)
		status = gh__proofs_create(&worker->proofs, error);
	if (no_model)
		atomic_store(&worker->state, GH__WORKER_BARE);
	if (status == GH_OK)
		status = listen_on(worker, error);
	if (status == GH_OK && !no_model) {
		status = gh__thread_start(&worker->loader, "gh-loader", load, worker, error);
		worker->loader_started = status == GH_OK;
	}
	if (status != GH_OK) {
		worker_free(worker);
		return status;
	}
	*out = worker;
	return GH_OK;
}

gh_status gh_worker_start(gh_worker **out, const gh_worker_options *options, gh_error *error)
{
	return gh__worker_start(out, options, gh__worker_load, NULL, error);
}

gh_status gh_worker_wait(gh_worker *worker, gh_error *error)
{
	struct pollfd watched = { .fd = worker->wake, .events = POLLIN };
	uint64_t count;
	gh_status status = GH_OK;

	while (atomic_load(&worker->state) != GH__WORKER_FAILED) {
		if (poll(&watched, 1, -1) < 0)
			continue; /* a signal */
		if (read(worker->wake, &count, sizeof count) == (ssize_t)sizeof count)
			break;
	}
	if (atomic_load(&worker->state) != GH__WORKER_FAILED)
		return GH_OK;
	pthread_mutex_lock(&worker->lock);
	status = (gh_status)worker->failure.status;
	if (error && error->status == GH_OK)
		*error = worker->failure;
	pthread_mutex_unlock(&worker->lock);
	return status;
}

void gh_worker_wake(gh_worker *worker)
{
	wake(worker);
}

int32_t gh_worker_port(const gh_worker *worker)
{
	return worker->unix_path ? 0 : gh__http_server_port(worker->http);
}

void gh_worker_stop(gh_worker *worker)
{
	if (worker)
		worker_free(worker);
}
