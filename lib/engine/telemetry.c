#include "engine/telemetry.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/number.h"

/* Upper bounds in seconds, as dashboards know them. */
static const double first_token_bounds[] = { 0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1,
					     0.25,  0.5,   0.75, 1,    2.5,  5,    7.5,  10,
					     20,    40,    80,   160,  640,  2560 };
static const double output_token_bounds[] = { 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2,
					      0.3,  0.4,   0.5,  0.75,  1,   2.5,  5,
					      7.5,  10,    20,   40,    80 };
static const double request_bounds[] = { 0.3, 0.5, 0.8, 1,  1.5, 2,   2.5, 5,   10,   15,  20,
					 30,  40,  50,  60, 120, 240, 480, 960, 1920, 7680 };
static const double step_bounds[] = {
	1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384
};
static const double n_bounds[] = { 1, 2, 5, 10, 20 };

static const char *const model_label[] = { "model_name", NULL };

typedef struct registrar {
	gh__metrics *metrics;
	const char *name; /* of the model */
} registrar;

static gh__metric *get(const registrar *r, gh__metric_kind kind, const char *name, const char *help,
		       const double *buckets, size_t bucket_count)
{
	const gh__metric_family family = { kind, name, help, model_label, buckets, bucket_count };
	const char *const values[] = { r->name, NULL };

	return gh__metrics_get(r->metrics, &family, values);
}

static gh__metric *gauge(const registrar *r, const char *name, const char *help)
{
	return get(r, GH__GAUGE, name, help, NULL, 0);
}

static gh__metric *counter(const registrar *r, const char *name, const char *help)
{
	return get(r, GH__COUNTER, name, help, NULL, 0);
}

#define HISTOGRAM(r, name, help, bounds) \
	get(r, GH__HISTOGRAM, name, help, bounds, sizeof(bounds) / sizeof(bounds)[0])

/* 1, 2, 5, 10, 20, 50, ... up to max. */
static size_t token_bounds(double *out, size_t capacity, int32_t max)
{
	static const double mantissa[] = { 1, 2, 5 };
	size_t count = 0;

	for (double power = 1; count + 3 <= capacity; power *= 10) {
		for (size_t i = 0; i < 3; i++) {
			if (mantissa[i] * power > max)
				return count;
			out[count++] = mantissa[i] * power;
		}
	}
	return count;
}

static void register_cache_info(const registrar *r, const gh__telemetry_facts *facts)
{
	static const char *const labels[] = { "model_name",
					      "block_size",
					      "cache_dtype",
					      "gpu_memory_utilization",
					      "num_gpu_blocks",
					      "num_cpu_blocks",
					      "enable_prefix_caching",
					      NULL };
	const gh__metric_family family = {
		GH__GAUGE, "vllm:cache_config_info", "Information of the KV cache", labels, NULL, 0
	};
	char block_size[16], blocks[24], share[GH__DOUBLE_SIZE];
	bool narrow = facts->numerics && strstr(facts->numerics, "+kv8") != NULL;

	snprintf(block_size, sizeof block_size, "%d", facts->block_size);
	snprintf(blocks, sizeof blocks, "%lld", (long long)facts->kv_blocks);
	gh__double_text(share, facts->memory_share);
	const char *const values[] = { r->name,
				       block_size,
				       narrow ? "fp8" : "auto",
				       share,
				       blocks,
				       "0",
				       facts->prefix_cache ? "True" : "False",
				       NULL };
	gh__metric_set(gh__metrics_get(r->metrics, &family, values), 1);
}

static void register_success(const registrar *r, gh__telemetry *t)
{
	static const char *const labels[] = { "model_name", "finished_reason", NULL };
	static const char *const reasons[GH__FINISHED_REASONS] = { "stop", "length", "abort" };
	const gh__metric_family family = { GH__COUNTER,
					   "vllm:request_success_total",
					   "Count of requests that ended, by reason",
					   labels,
					   NULL,
					   0 };

	for (int i = 0; i < GH__FINISHED_REASONS; i++) {
		const char *const values[] = { r->name, reasons[i], NULL };

		t->success[i] = gh__metrics_get(r->metrics, &family, values);
	}
}

static void register_tokens(const registrar *r, gh__telemetry *t, int32_t max_length)
{
	double bounds[30];
	size_t count = token_bounds(bounds, sizeof bounds / sizeof bounds[0], max_length);

	t->request_prompt = get(r, GH__HISTOGRAM, "vllm:request_prompt_tokens",
				"Tokens of a prompt", bounds, count);
	t->request_generation = get(r, GH__HISTOGRAM, "vllm:request_generation_tokens",
				    "Tokens generated for a choice", bounds, count);
	t->request_longest =
		get(r, GH__HISTOGRAM, "vllm:request_max_num_generation_tokens",
		    "Tokens generated for the longest choice of a request", bounds, count);
	t->request_max = get(r, GH__HISTOGRAM, "vllm:request_params_max_tokens",
			     "max_tokens in force for a request", bounds, count);
	t->request_n = HISTOGRAM(r, "vllm:request_params_n", "Choices of a request", n_bounds);
	t->step_tokens = HISTOGRAM(r, "vllm:iteration_tokens_total",
				   "Tokens computed in a step of the engine", step_bounds);
}

static void register_times(const registrar *r, gh__telemetry *t)
{
	t->first_token = HISTOGRAM(r, "vllm:time_to_first_token_seconds",
				   "Time from arrival to the first token", first_token_bounds);
	t->output_token = HISTOGRAM(r, "vllm:time_per_output_token_seconds",
				    "Time between two tokens of a choice", output_token_bounds);
	t->latency = HISTOGRAM(r, "vllm:e2e_request_latency_seconds",
			       "Time from arrival to the end of a request", request_bounds);
	t->queued = HISTOGRAM(r, "vllm:request_queue_time_seconds",
			      "Time a request waited before its first step", request_bounds);
	t->inference = HISTOGRAM(r, "vllm:request_inference_time_seconds",
				 "Time from the first step to the end", request_bounds);
	t->prefill = HISTOGRAM(r, "vllm:request_prefill_time_seconds",
			       "Time from the first step to the first token", request_bounds);
	t->decode = HISTOGRAM(r, "vllm:request_decode_time_seconds",
			      "Time from the first token to the end", request_bounds);
}

void gh__telemetry_init(gh__telemetry *t, gh__metrics *metrics, const gh__telemetry_facts *facts)
{
	const registrar r = { metrics, facts->served_name ? facts->served_name : "" };

	memset(t, 0, sizeof *t);
	if (!metrics)
		return;
	t->running = gauge(&r, "vllm:num_requests_running", "Requests in the batch");
	t->waiting = gauge(&r, "vllm:num_requests_waiting", "Requests that wait");
	t->cache_usage = gauge(&r, "vllm:gpu_cache_usage_perc",
			       "Part of the KV cache in use; 1 means all of it");
	register_cache_info(&r, facts);
	t->preemptions = counter(&r, "vllm:num_preemptions_total",
				 "Requests sent back to wait because the KV cache was full");
	t->prompt_tokens = counter(&r, "vllm:prompt_tokens_total", "Prompt tokens processed");
	t->generation_tokens = counter(&r, "vllm:generation_tokens_total", "Tokens generated");
	t->prefix_queries = counter(&r, "vllm:gpu_prefix_cache_queries_total",
				    "Tokens looked up in the prefix cache");
	t->prefix_hits =
		counter(&r, "vllm:gpu_prefix_cache_hits_total", "Tokens found in the prefix cache");
	register_success(&r, t);
	register_tokens(&r, t, facts->max_length);
	register_times(&r, t);
}

void gh__telemetry_load(gh__telemetry *t, int32_t running, int32_t waiting, double cache_usage)
{
	gh__metric_set(t->running, running);
	gh__metric_set(t->waiting, waiting);
	gh__metric_set(t->cache_usage, cache_usage);
}

void gh__telemetry_choice_end(gh__telemetry *t, int32_t finish, int32_t output_tokens)
{
	if (finish >= GH_FINISH_STOP && finish <= GH_FINISH_ABORT)
		gh__metric_add(t->success[finish - GH_FINISH_STOP], 1);
	gh__metric_observe(t->request_generation, output_tokens);
}

static void observe_span(gh__metric *metric, int64_t from, int64_t to)
{
	if (from > 0 && to >= from)
		gh__metric_observe(metric, (double)(to - from) / (double)GH__SECOND);
}

void gh__telemetry_request_end(gh__telemetry *t, const gh__request_times *times,
			       int32_t prompt_tokens, int32_t longest, int32_t max_tokens,
			       int32_t n)
{
	observe_span(t->latency, times->arrived, times->ended);
	observe_span(t->queued, times->arrived, times->started);
	observe_span(t->inference, times->started, times->ended);
	observe_span(t->prefill, times->started, times->first_token);
	observe_span(t->decode, times->first_token, times->ended);
	gh__metric_observe(t->request_prompt, prompt_tokens);
	gh__metric_observe(t->request_longest, longest);
	gh__metric_observe(t->request_max, max_tokens);
	gh__metric_observe(t->request_n, n);
}
