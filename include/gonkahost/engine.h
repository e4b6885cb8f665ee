#ifndef GONKAHOST_ENGINE_H
#define GONKAHOST_ENGINE_H

#include <string.h>

#include <gonkahost/base.h>
#include <gonkahost/model.h>
#include <gonkahost/text.h>

/*
 * The serving engine: many requests at once, tokens as they come.
 *
 * What a request answers is a function of its prompt, its sampling fields, the model, the numerics
 * and the kind of device; of nothing else: not of what runs beside it.
 *
 * Threads: every function here is safe from any thread, gh_engine_free() excepted.
 */
GH_BEGIN

/** Prompts that begin alike share their KV blocks; results do not depend on it. */
#define GH_ENGINE_NO_PREFIX_CACHE 1u

/** Zero means default in every field; new fields go at the end. */
typedef struct gh_engine_options {
	size_t struct_size; /**< set by GH_ENGINE_OPTIONS_INIT */
	int32_t max_length; /**< prompt and answer; 0 = the model's, or what the KV cache holds */
	int32_t max_sequences; /**< in one step; 0 = 256 */
	int32_t step_tokens;   /**< in one step, prefill chunks included; 0 = 2048 */
	int32_t queue_max;     /**< requests that may wait; 0 = 100000 */
	int64_t kv_blocks;     /**< of 16 tokens; 0 = as many as memory_share allows */
	double memory_share;   /**< of the device's memory; 0 = 0.9, and on a CPU at most a quarter
				 *   of the machine's for the KV cache */
	uint64_t seed;         /**< with GH_ENGINE_SEEDED: unseeded requests draw from it */
	uint32_t flags;        /**< GH_ENGINE_* bits */
	uint32_t reserved;     /**< must be 0 */
} gh_engine_options;

/** Requests without a seed take theirs from gh_engine_options.seed and a counter. */
#define GH_ENGINE_SEEDED 2u

/** Initialiser: all defaults. */
#define GH_ENGINE_OPTIONS_INIT                                         \
	{                                                              \
		sizeof(gh_engine_options), 0, 0, 0, 0, 0, 0.0, 0, 0, 0 \
	}

/** Go on after the end tokens. */
#define GH_SAMPLING_IGNORE_EOS 1u
/** Keep the stop string in the text. */
#define GH_SAMPLING_INCLUDE_STOP 2u
/** Show special tokens in the text. */
#define GH_SAMPLING_SHOW_SPECIAL 4u
/** seed is set. */
#define GH_SAMPLING_SEED 8u
/** Report logprobs; top_logprobs says how many alternatives. */
#define GH_SAMPLING_LOGPROBS 16u

/** How to choose tokens and when to stop. gh_sampling_init() gives neutral values. */
typedef struct gh_sampling {
	size_t struct_size; /**< set by gh_sampling_init() */
	int32_t n;          /**< choices, 1 to 128; choice i answers as seed + i alone would */
	int32_t max_tokens; /**< -1 = up to the context length */
	int32_t min_tokens; /**< no end before that many; end and stop tokens are banned */
	int32_t top_k;      /**< 0 = all */
	float temperature;  /**< 0 = greedy */
	float top_p;        /**< (0, 1] */
	float min_p;        /**< [0, 1] */
	float repetition_penalty; /**< > 0; 1 = none */
	float frequency_penalty;  /**< [-2, 2] */
	float presence_penalty;   /**< [-2, 2] */
	int32_t top_logprobs;     /**< 0 to 20 */
	int32_t prompt_logprobs;  /**< alternatives a prompt token, 0 to 20; -1 = none reported */
	uint32_t flags;           /**< GH_SAMPLING_* bits */
	int32_t stop_count;       /**< stop strings */
	uint64_t seed;            /**< with GH_SAMPLING_SEED */
	const char *const *stop;  /**< [stop_count] UTF-8, not empty; borrows for the call */
	/** [stop_id_count] tokens that end, others than the vocabulary's never; borrows likewise */
	const int32_t *stop_ids;
	const int32_t *eos_ids;  /**< [eos_count] end tokens, unless IGNORE_EOS; borrows likewise */
	const int32_t *bias_ids; /**< [bias_count] borrows for the call */
	const float *bias;       /**< [bias_count] added to the logits; borrows for the call */
	const int32_t *allowed_ids; /**< [allowed_count] no other token; borrows for the call */
	int32_t stop_id_count;      /**< entries of stop_ids */
	int32_t eos_count;          /**< entries of eos_ids */
	int32_t bias_count;         /**< entries of bias_ids and bias */
	int32_t allowed_count;      /**< entries of allowed_ids; 0 = all are allowed */
} gh_sampling;

/** Neutral values: one choice, temperature 1, no filter, no limit. */
static inline void gh_sampling_init(gh_sampling *sampling)
{
	memset(sampling, 0, sizeof *sampling);
	sampling->struct_size = sizeof *sampling;
	sampling->n = 1;
	sampling->max_tokens = -1;
	sampling->temperature = 1.0F;
	sampling->top_p = 1.0F;
	sampling->repetition_penalty = 1.0F;
	sampling->prompt_logprobs = -1;
}

/**
 * Values that a model's makers recommend: gh_sampling_init(), then the temperature, filters and
 * repetition penalty of its generation_config.json, and its end tokens.
 *
 * Owner    sampling->eos_ids: borrows until gh_model_free(); the rest is the caller's
 * Threads  any
 * Errors   none
 * Source   generation_config.json of the model
 * Since    0.1
 */
GH_API void gh_sampling_recommended(gh_sampling *sampling, const gh_model *model);

/** Why a choice ended. */
typedef enum gh_finish {
	GH_FINISH_NONE = 0,   /**< it goes on */
	GH_FINISH_STOP = 1,   /**< end token, stop token or stop string */
	GH_FINISH_LENGTH = 2, /**< max_tokens or the context is full */
	GH_FINISH_ABORT = 3,  /**< gh_engine_abort(), or the engine is closing */
	GH_FINISH_ERROR = 4   /**< see gh_token_event.error */
} gh_finish;

/** A token and how probable it was. */
typedef struct gh_logprob {
	int32_t token;  /**< its id */
	int32_t rank;   /**< 1 = the most probable; 0 = unknown */
	float logprob;  /**< natural; -INFINITY when it was filtered out */
	float reserved; /**< 0 */
} gh_logprob;

/** What is true of one prompt token. */
typedef struct gh_prompt_logprob {
	gh_logprob actual;     /**< the token itself; token -1 for the first one */
	const gh_logprob *top; /**< [top_count] */
	size_t top_count;      /**< entries of top */
} gh_prompt_logprob;

/** One new token of one choice, or the end of a choice (or both). */
typedef struct gh_token_event {
	uint64_t request;   /**< as gh_engine_submit() answered it */
	int32_t choice;     /**< 0 to n - 1 */
	int32_t token;      /**< -1 when this event only ends the choice */
	const char *text;   /**< text released by it, valid UTF-8, NUL-terminated; may be empty */
	size_t text_len;    /**< bytes of text */
	const char *piece;  /**< text the detokenizer assigns to this token, stop strings or not */
	size_t piece_len;   /**< bytes of piece */
	gh_logprob logprob; /**< of token; with GH_SAMPLING_LOGPROBS */
	const gh_logprob *top;           /**< [top_count] most probable ones */
	size_t top_count;                /**< entries of top */
	int32_t finish;                  /**< a gh_finish */
	int32_t stop_id;                 /**< GH_FINISH_STOP: the stop or end token, else -1 */
	int32_t stop_string;             /**< GH_FINISH_STOP: index of the stop string, else -1 */
	int32_t prompt_tokens;           /**< of the request */
	int32_t cached_tokens;           /**< of them, found in the prefix cache */
	int32_t output_tokens;           /**< of this choice so far, this one included */
	const gh_prompt_logprob *prompt; /**< [prompt_tokens] in the first event of choice 0 */
	const gh_error *error;           /**< GH_FINISH_ERROR */
} gh_token_event;

/**
 * Receives events, in order, on the engine's thread; must not block and may call any function of
 * this header but gh_engine_free(). Everything in the event is borrowed for the call. Each choice
 * ends with exactly one event whose finish is not GH_FINISH_NONE; after the last choice's the
 * function is not called again for this request.
 */
typedef void gh_token_fn(const gh_token_event *event, void *userdata);

/** A running engine. */
typedef struct gh_engine gh_engine;

/**
 * Start an engine on a model; KV cache and workspace are allocated here.
 *
 * Owner    *out: caller frees (gh_engine_free); borrows model and tokenizer until then
 * Threads  any; starts one scheduler thread
 * Errors   GH_EINVAL options; GH_ENOMEM no room for the KV cache, with the bytes
 * Since    0.1
 */
GH_API GH_NODISCARD gh_status gh_engine_create(gh_engine **out, gh_model *model,
					       const gh_tokenizer *tokenizer,
					       const gh_engine_options *options, gh_error *error);

/**
 * Stop and free an engine: running requests end with GH_FINISH_ABORT first. NULL is allowed.
 *
 * Owner    takes engine
 * Threads  one, not from a callback, when nobody else uses it any more
 * Errors   none
 * Since    0.1
 */
GH_API void gh_engine_free(gh_engine *engine);

/**
 * Queue a request.
 *
 * Shapes   prompt: prompt_count ids
 * Owner    copies prompt and sampling; userdata is borrowed until the last event
 * Threads  any
 * Errors   GH_EINVAL a field, named with its value, an id outside the vocabulary, an empty prompt;
 *          GH_ETOOBIG prompt or prompt and max_tokens exceed the context; GH_EBUSY the queue is
 *          full; GH_ECLOSED the engine has failed or is closing. fn is then never called
 * Since    0.1
 */
GH_API GH_NODISCARD gh_status gh_engine_submit(gh_engine *engine, const int32_t *prompt,
					       size_t prompt_count, const gh_sampling *sampling,
					       gh_token_fn *fn, void *userdata, uint64_t *request,
					       gh_error *error);

/**
 * End a request at the next step; its KV blocks are free then. Its choices end with
 * GH_FINISH_ABORT. Unknown and finished requests are ignored.
 *
 * Owner    nothing
 * Threads  any
 * Errors   none
 * Since    0.1
 */
GH_API void gh_engine_abort(gh_engine *engine, uint64_t request);

/** How busy an engine is. */
typedef struct gh_engine_stats {
	int32_t running;        /**< sequences in the batch */
	int32_t waiting;        /**< sequences that wait */
	int64_t kv_blocks;      /**< blocks there are */
	int64_t kv_blocks_used; /**< blocks that hold running sequences */
	uint64_t steps;         /**< steps taken since the start */
	uint64_t prompt_tokens; /**< computed or found in the cache */
	uint64_t output_tokens; /**< generated */
	uint64_t cached_tokens; /**< prompt tokens found in the cache */
	uint64_t preemptions;   /**< sequences sent back to wait */
	int32_t max_length;     /**< context length in force */
	int32_t failed;         /**< 1 when the engine is dead: every submit answers GH_ECLOSED */
} gh_engine_stats;

/**
 * Read how busy the engine is; never waits for a step.
 *
 * Owner    *out is the caller's
 * Threads  any
 * Errors   none
 * Since    0.1
 */
GH_API void gh_engine_stats_get(const gh_engine *engine, gh_engine_stats *out);

GH_END
#endif
