#ifndef GH_ENGINE_TELEMETRY_H
#define GH_ENGINE_TELEMETRY_H

#include <stdbool.h>

#include <gonkahost/engine.h>

#include "base/metrics.h"

/*
 * What dashboards read: the vllm:* families. Written by the scheduler's thread.
 */
enum { GH__FINISHED_REASONS = 3 };

typedef struct gh__telemetry {
	gh__metric *running, *waiting, *cache_usage;
	gh__metric *preemptions, *prompt_tokens, *generation_tokens;
	gh__metric *prefix_queries, *prefix_hits;
	gh__metric *success[GH__FINISHED_REASONS]; /* stop, length, abort */
	gh__metric *step_tokens;
	gh__metric *first_token, *output_token;
	gh__metric *latency, *queued, *inference, *prefill, *decode;
	gh__metric *request_prompt, *request_generation, *request_longest, *request_max;
	gh__metric *request_n;
} gh__telemetry;

/* The constant facts of an engine. */
typedef struct gh__telemetry_facts {
	const char *served_name;
	const char *numerics;
	int32_t block_size;
	int64_t kv_blocks;
	int32_t max_length;
	double memory_share;
	bool prefix_cache;
} gh__telemetry_facts;

/* The life of a request, in gh__now()'s nanoseconds; 0 = did not come to it. */
typedef struct gh__request_times {
	int64_t arrived, started, first_token, ended;
} gh__request_times;

/* metrics NULL: everything below does nothing. */
void gh__telemetry_init(gh__telemetry *t, gh__metrics *metrics, const gh__telemetry_facts *facts);
void gh__telemetry_load(gh__telemetry *t, int32_t running, int32_t waiting, double cache_usage);
void gh__telemetry_choice_end(gh__telemetry *t, int32_t finish, int32_t output_tokens);
void gh__telemetry_request_end(gh__telemetry *t, const gh__request_times *times,
			       int32_t prompt_tokens, int32_t longest, int32_t max_tokens,
			       int32_t n);

#endif
