#include "openai/args_table.h"

#include <string.h>

#include "openai/args.h"

#define AT(field) offsetof(gh__args, field)

/* clang-format off */
#define HONOUR(name, alias, kind, field) \
	{ name, alias, GH__OPTION_##kind, GH__OPTION_HONOURED, AT(field), NULL, 0, 0 }
#define CHOICE(name, alias, field, allowed) \
	{ name, alias, GH__OPTION_TEXT, GH__OPTION_HONOURED, AT(field), allowed, 0, 0 }
#define NUMBER(name, alias, kind, field, min, max) \
	{ name, alias, GH__OPTION_##kind, GH__OPTION_HONOURED, AT(field), NULL, min, max }
#define SILENT(name, kind, allowed) \
	{ name, NULL, GH__OPTION_##kind, GH__OPTION_SILENT, 0, allowed, 0, 0 }
#define IGNORE(name, kind) \
	{ name, NULL, GH__OPTION_##kind, GH__OPTION_IGNORED, 0, NULL, 0, 0 }
#define IGNORE_IF(name, kind, allowed) \
	{ name, NULL, GH__OPTION_##kind, GH__OPTION_IGNORED, 0, allowed, 0, 0 }
#define REFUSE(name, kind) \
	{ name, NULL, GH__OPTION_##kind, GH__OPTION_REFUSED, 0, NULL, 0, 0 }

const gh__option gh__options[] = {
	HONOUR("model", NULL, TEXT, model),
	CHOICE("device", NULL, device, "|auto|cuda|cpu|"),
	CHOICE("dtype", NULL, dtype, "|auto|half|float16|bfloat16|float|float32|"),
	HONOUR("host", NULL, TEXT, host),
	NUMBER("port", NULL, INT, port, 0, 65535),
	CHOICE("quantization", "-q", quantization, "|fp8|compressed-tensors|"),
	CHOICE("kv-cache-dtype", NULL, kv_cache_dtype, "|auto|fp8|fp8_e4m3|"),
	NUMBER("tensor-parallel-size", "-tp", INT, tensor_parallel, 1, 1024),
	NUMBER("pipeline-parallel-size", "-pp", INT, pipeline_parallel, 1, 1024),
	NUMBER("gpu-memory-utilization", NULL, REAL, memory_share, 1e-9, 1),
	NUMBER("max-model-len", NULL, COUNT, max_model_len, 1, 1 << 24),
	NUMBER("max-num-seqs", NULL, INT, max_num_seqs, 1, 1 << 20),
	NUMBER("max-num-batched-tokens", NULL, COUNT, max_num_batched_tokens, 1, 1 << 24),
	NUMBER("num-gpu-blocks-override", NULL, INT, kv_blocks, 1, 1LL << 40),
	NUMBER("max-waiting-requests", NULL, INT, queue_max, 1, 1 << 24),
	NUMBER("max-logprobs", NULL, INT, max_logprobs, 0, 1 << 24),
	HONOUR("enable-prefix-caching", NULL, NEGATED, no_prefix_cache),
	HONOUR("seed", NULL, SEED, seed),
	HONOUR("served-model-name", NULL, LIST, served_names_json),
	HONOUR("api-key", NULL, TEXT, api_key),
	HONOUR("root-path", NULL, TEXT, root_path),
	HONOUR("revision", NULL, TEXT, revision),
	HONOUR("tokenizer", NULL, TEXT, tokenizer),
	HONOUR("tokenizer-revision", NULL, TEXT, tokenizer_revision),
	HONOUR("download-dir", NULL, TEXT, download_dir),
	HONOUR("enable-auto-tool-choice", NULL, FLAG, auto_tool_choice),
	CHOICE("tool-call-parser", NULL, tool_call_parser, "|hermes|"),
	HONOUR("chat-template", NULL, TEXT, chat_template),
	HONOUR("response-role", NULL, TEXT, response_role),
	HONOUR("generation-config", NULL, TEXT, generation_config),
	HONOUR("override-generation-config", NULL, JSON, override_generation_config),
	HONOUR("disable-log-requests", NULL, FLAG, disable_log_requests),
	HONOUR("enable-prompt-tokens-details", NULL, FLAG, prompt_tokens_details),
	HONOUR("enable-server-load-tracking", NULL, FLAG, load_tracking),
	HONOUR("enable-request-id-headers", NULL, FLAG, request_id_headers),
	HONOUR("allowed-origins", NULL, JSON, allowed_origins),
	HONOUR("allowed-methods", NULL, JSON, allowed_methods),
	HONOUR("allowed-headers", NULL, JSON, allowed_headers),
	HONOUR("allow-credentials", NULL, FLAG, allow_credentials),
	HONOUR("rope-scaling", NULL, JSON, rope_scaling),
	HONOUR("rope-theta", NULL, JSON, rope_theta),
	HONOUR("hf-overrides", NULL, JSON, hf_overrides),

	SILENT("enable-chunked-prefill", FLAG, NULL), /* always on */
	SILENT("swap-space", TEXT, NULL),
	SILENT("enforce-eager", FLAG, NULL),
	SILENT("trust-remote-code", FLAG, NULL),
	SILENT("return-tokens-as-token-ids", FLAG, NULL), /* always so */
	SILENT("disable-custom-all-reduce", FLAG, NULL),
	SILENT("distributed-executor-backend", TEXT, "|mp|uni|"),
	SILENT("disable-log-stats", FLAG, NULL),
	SILENT("max-log-len", TEXT, NULL), /* prompts are never logged */
	SILENT("disable-uvicorn-access-log", FLAG, NULL), /* there is none */
	SILENT("uvicorn-log-level", TEXT, NULL),
	SILENT("chat-template-content-format", TEXT, "|auto|string|"),

	IGNORE("enable-reasoning", FLAG),
	IGNORE("block-size", TEXT),
	IGNORE("max-seq-len-to-capture", TEXT),
	IGNORE("cuda-graph-sizes", MANY),
	{ "compilation-config", "-O", GH__OPTION_JSON, GH__OPTION_IGNORED, 0, NULL, 0, 0 },
	IGNORE("num-scheduler-steps", TEXT),
	IGNORE("multi-step-stream-outputs", FLAG),
	IGNORE("num-lookahead-slots", TEXT),
	IGNORE("scheduler-delay-factor", TEXT),
	IGNORE("preemption-mode", TEXT),
	IGNORE("max-num-partial-prefills", TEXT),
	IGNORE("max-long-partial-prefills", TEXT),
	IGNORE("long-prefill-token-threshold", TEXT),
	IGNORE("use-v2-block-manager", FLAG),
	IGNORE("disable-async-output-proc", FLAG),
	IGNORE("disable-cascade-attn", FLAG),
	IGNORE("disable-sliding-window", FLAG),
	IGNORE("disable-hybrid-kv-cache-manager", FLAG),
	IGNORE("disable-frontend-multiprocessing", FLAG),
	IGNORE("max-parallel-loading-workers", TEXT),
	IGNORE("use-tqdm-on-load", FLAG),
	IGNORE("pt-load-map-location", TEXT),
	IGNORE_IF("tokenizer-mode", TEXT, "|auto|slow|"),
	IGNORE("tokenizer-pool-size", TEXT),
	IGNORE("tokenizer-pool-type", TEXT),
	IGNORE("tokenizer-pool-extra-config", TEXT),
	IGNORE("prefix-caching-hash-algo", TEXT),
	IGNORE("guided-decoding-backend", TEXT),
	IGNORE("guided-decoding-disable-fallback", FLAG),
	IGNORE("guided-decoding-disable-any-whitespace", FLAG),
	IGNORE("guided-decoding-disable-additional-properties", FLAG),
	IGNORE("ray-workers-use-nsight", FLAG),
	IGNORE("model-impl", TEXT),
	IGNORE_IF("config-format", TEXT, "|auto|hf|"),
	IGNORE_IF("load-format", TEXT, "|auto|safetensors|"),
	IGNORE("ignore-patterns", MANY),
	IGNORE_IF("task", TEXT, "|auto|generate|"),
	IGNORE("code-revision", TEXT),
	IGNORE("hf-token", TEXT),
	IGNORE("hf-config-path", TEXT),
	IGNORE("allowed-local-media-path", TEXT),
	IGNORE("limit-mm-per-prompt", JSON),
	IGNORE("mm-processor-kwargs", JSON),
	IGNORE("disable-mm-preprocessor-cache", FLAG),
	IGNORE("disable-chunked-mm-input", FLAG),
	IGNORE("show-hidden-metrics-for-version", TEXT),
	IGNORE("otlp-traces-endpoint", TEXT),
	IGNORE("collect-detailed-traces", MANY),
	IGNORE("disable-fastapi-docs", FLAG),
	IGNORE("log-config-file", TEXT),
	IGNORE("enable-expert-parallel", FLAG),
	IGNORE("attention-backend", TEXT),
	IGNORE("moe-backend", TEXT),
	IGNORE("mm-encoder-tp-mode", TEXT),
	IGNORE_IF("cpu-offload-gb", TEXT, "|0|0.0|"),
	{ "data-parallel-size", "-dp", GH__OPTION_TEXT, GH__OPTION_IGNORED, 0, "|1|", 0, 0 },
	IGNORE_IF("scheduling-policy", TEXT, "|fcfs|"),

	REFUSE("reasoning-parser", TEXT),
	REFUSE("calculate-kv-scales", FLAG), /* they would depend on the first request */
	REFUSE("enable-lora", FLAG),
	REFUSE("enable-lora-bias", FLAG),
	REFUSE("lora-modules", MANY),
	REFUSE("lora-dtype", TEXT),
	REFUSE("lora-extra-vocab-size", TEXT),
	REFUSE("long-lora-scaling-factors", MANY),
	REFUSE("max-loras", TEXT),
	REFUSE("max-lora-rank", TEXT),
	REFUSE("max-cpu-loras", TEXT),
	REFUSE("fully-sharded-loras", FLAG),
	REFUSE("enable-prompt-adapter", FLAG),
	REFUSE("prompt-adapters", MANY),
	REFUSE("max-prompt-adapters", TEXT),
	REFUSE("max-prompt-adapter-token", TEXT),
	REFUSE("speculative-config", JSON),
	REFUSE("kv-transfer-config", JSON),
	REFUSE("kv-events-config", JSON),
	REFUSE("data-parallel-size-local", TEXT),
	REFUSE("data-parallel-address", TEXT),
	REFUSE("data-parallel-rpc-port", TEXT),
	REFUSE("data-parallel-start-rank", TEXT),
	REFUSE("data-parallel-backend", TEXT),
	REFUSE("enable-sleep-mode", FLAG),
	REFUSE("enable-prompt-embeds", FLAG),
	REFUSE("skip-tokenizer-init", FLAG),
	REFUSE("logits-processor-pattern", TEXT),
	REFUSE("middleware", TEXT),
	REFUSE("tool-parser-plugin", TEXT),
	REFUSE("worker-cls", TEXT),
	REFUSE("worker-extension-cls", TEXT),
	REFUSE("scheduler-cls", TEXT),
	REFUSE("qlora-adapter-name-or-path", TEXT),
	REFUSE("model-loader-extra-config", JSON),
	REFUSE("override-pooler-config", JSON),
	REFUSE("override-neuron-config", JSON),
	REFUSE("additional-config", JSON),
	REFUSE("ssl-keyfile", TEXT),
	REFUSE("ssl-certfile", TEXT),
	REFUSE("ssl-ca-certs", TEXT),
	REFUSE("ssl-cert-reqs", TEXT),
	REFUSE("enable-ssl-refresh", FLAG),
};
/* clang-format on */
const size_t gh__option_count = sizeof gh__options / sizeof gh__options[0];

/* Whether name (as typed) begins the option's name; *whole: it is all of it. */
static bool begins(const char *option, const char *name, size_t len, bool *whole)
{
	for (size_t i = 0; i < len; i++) {
		char c = name[i] == '_' ? '-' : name[i];

		if (option[i] == '\0' || option[i] != c)
			return false;
	}
	*whole = option[len] == '\0';
	return true;
}

static bool is_flag(const gh__option *option)
{
	return option->kind == GH__OPTION_FLAG || option->kind == GH__OPTION_NEGATED;
}

typedef struct search {
	const gh__option *exact, *first;
	bool exact_denied, first_denied;
	int found;
} search;

static void look(search *s, const char *name, size_t len, bool denied)
{
	for (size_t i = 0; i < gh__option_count; i++) {
		const gh__option *option = &gh__options[i];
		bool whole;

		if ((denied && !is_flag(option)) || !begins(option->name, name, len, &whole))
			continue;
		if (whole) {
			s->exact = option;
			s->exact_denied = denied;
		}
		if (s->found++ == 0) {
			s->first = option;
			s->first_denied = denied;
		}
	}
}

const gh__option *gh__option_find(const char *name, size_t len, bool exact, bool *denied,
				  bool *ambiguous)
{
	search s = { 0 };
	bool whole;

	*ambiguous = false;
	*denied = false;
	if (len == 0)
		return NULL;
	look(&s, name, len, false);
	if (len > 3 && begins("no-", name, 3, &whole))
		look(&s, name + 3, len - 3, true);
	if (s.exact) {
		*denied = s.exact_denied;
		return s.exact;
	}
	if (exact || s.found == 0)
		return NULL;
	*ambiguous = s.found > 1;
	*denied = s.first_denied;
	return s.found == 1 ? s.first : NULL;
}

const gh__option *gh__option_of_alias(const char *arg, size_t len)
{
	for (size_t i = 0; i < gh__option_count; i++) {
		const char *alias = gh__options[i].alias;

		if (alias && strlen(alias) == len && memcmp(alias, arg, len) == 0)
			return &gh__options[i];
	}
	return NULL;
}
