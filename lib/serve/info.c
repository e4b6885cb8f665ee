#include "serve/info.h"

#include <string.h>

#include "base/random.h"
#include "json/write.h"

#define JSON_TYPE    "application/json"
#define METRICS_TYPE "text/plain; version=0.0.4; charset=utf-8"

static void respond_loading(gh__exchange *x)
{
	gh__buf out = GH__BUF_INIT(256);

	gh__buf_append_str(&out, "{\"status\":\"loading\",\"progress\":");
	gh__json_write_double(&out, atomic_load(&x->worker->progress) / 1000.0);
	gh__buf_append_char(&out, '}');
	gh__exchange_respond(x, 503, JSON_TYPE, gh__buf_str(&out), out.len);
	gh__buf_free(&out);
}

static void respond_failed(gh__exchange *x)
{
	gh_error failure;

	pthread_mutex_lock(&x->worker->lock);
	failure = x->worker->failure;
	pthread_mutex_unlock(&x->worker->lock);
	gh__exchange_refuse(x, 500, GH__OPENAI_INTERNAL, "%s", failure.text);
}

void gh__info_health(gh__exchange *x)
{
	switch (atomic_load(&x->worker->state)) {
	case GH__WORKER_READY:
	case GH__WORKER_BARE:
		gh__exchange_respond(x, 200, NULL, "", 0);
		break;
	case GH__WORKER_LOADING:
		respond_loading(x);
		break;
	default:
		respond_failed(x);
		break;
	}
}

void gh__info_not_ready(gh__exchange *x)
{
	if (atomic_load(&x->worker->state) == GH__WORKER_FAILED)
		respond_failed(x);
	else
		gh__exchange_refuse(x, 503, GH__OPENAI_BUSY,
				    atomic_load(&x->worker->state) == GH__WORKER_BARE
					    ? "There is no model."
					    : "The model is being loaded.");
}

static void write_model(gh__buf *out, const gh_worker *worker, const char *name)
{
	long long created = worker->created;
	char id[33];

	gh__random_hex(id, 32);
	gh__buf_append_str(out, "{\"id\":");
	gh__json_write_string(out, name, strlen(name));
	gh__buf_printf(out,
		       ",\"object\":\"model\",\"created\":%lld,\"owned_by\":\"vllm\",\"root\":",
		       created);
	gh__json_write_string(out, worker->args.model, strlen(worker->args.model));
	gh__buf_printf(out,
		       ",\"parent\":null,\"max_model_len\":%d,\"permission\":[{\"id\":"
		       "\"modelperm-%s\",\"object\":\"model_permission\",\"created\":%lld,"
		       "\"allow_create_engine\":false,\"allow_sampling\":true,"
		       "\"allow_logprobs\":true,\"allow_search_indices\":false,"
		       "\"allow_view\":true,\"allow_fine_tuning\":false,\"organization\":\"*\","
		       "\"group\":null,\"is_blocking\":false}],\"numerics\":",
		       worker->model.max_length, id, created);
	gh__json_write_string(out, worker->served.numerics, strlen(worker->served.numerics));
	gh__buf_append_char(out, '}');
}

void gh__info_models(gh__exchange *x)
{
	gh__buf out = GH__BUF_INIT(1 << 20);

	gh__buf_append_str(&out, "{\"object\":\"list\",\"data\":[");
	for (size_t i = 0; i < x->worker->name_count; i++) {
		if (i > 0)
			gh__buf_append_char(&out, ',');
		write_model(&out, x->worker, x->worker->names[i]);
	}
	gh__buf_append_str(&out, "]}");
	gh__exchange_json(x, &out);
}

void gh__info_version(gh__exchange *x)
{
	gh__buf out = GH__BUF_INIT(256);

	gh__buf_printf(&out, "{\"version\":\"%s\"}", gh_version());
	gh__exchange_json(x, &out);
}

void gh__info_load(gh__exchange *x)
{
	gh__buf out = GH__BUF_INIT(256);

	gh__buf_printf(&out, "{\"server_load\":%d}",
		       x->worker->args.load_tracking ? atomic_load(&x->worker->running) : 0);
	gh__exchange_json(x, &out);
}

void gh__info_metrics(gh__exchange *x)
{
	gh__buf out = GH__BUF_INIT(16 << 20);

	gh__metrics_write(x->worker->metrics, &out);
	if (gh__buf_status(&out) == GH_OK)
		gh__exchange_respond(x, 200, METRICS_TYPE, gh__buf_str(&out), out.len);
	else
		gh__exchange_refuse(x, 500, GH__OPENAI_INTERNAL, "too many metrics");
	gh__buf_free(&out);
}
