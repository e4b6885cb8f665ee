#ifndef GONKAHOST_MODEL_H
#define GONKAHOST_MODEL_H

#include <gonkahost/base.h>
#include <gonkahost/hub.h>

/*
 * Models: weights of one architecture, ready for a device and split over its ranks.
 *
 * Threads: after gh_model_create() a model is immutable and may be shared.
 */
GH_BEGIN

/** Where the weights come from. */
typedef enum gh_load_format {
	GH_LOAD_AUTO = 0, /**< the checkpoint's safetensors */
	GH_LOAD_DUMMY = 1 /**< random numbers with planted outliers; only config.json is read */
} gh_load_format;

/** How the matrices of the layers are held. */
typedef enum gh_quantization {
	GH_QUANT_AUTO = 0, /**< what config.json says; none when it says nothing */
	GH_QUANT_NONE = 1, /**< as the activations */
	GH_QUANT_FP8_W8A8 =
		2, /**< e4m3 weights, one scale a matrix; e4m3 activations, one a token */
	GH_QUANT_FP8_W8A16 = 3 /**< e4m3 weights; activations as they are */
} gh_quantization;

/**
 * Called while a model loads, every few megabytes: part of the work done, 0 to 1. Answers 0 to go
 * on. Anything else ends the load with GH_ECANCELLED, once each rank is through with its few
 * megabytes. Called on any of the loading threads, never on two at a time.
 */
typedef int gh_progress_fn(double done, const char *phase, void *userdata);

/** Zero means default in every field; new fields go at the end. */
typedef struct gh_model_options {
	size_t struct_size;    /**< set by GH_MODEL_OPTIONS_INIT */
	const char *cache;     /**< as in gh_hub_options; borrows for the call */
	const char *revision;  /**< as in gh_hub_options; borrows for the call */
	const char *device;    /**< "cpu", "cuda"; NULL = the best; borrows for the call */
	const char *overrides; /**< JSON object laid over config.json; borrows for the call */
	int32_t dtype;         /**< of activations: GH_F32, GH_F16, GH_BF16; 0 = the checkpoint's */
	int32_t quantization;  /**< a gh_quantization */
	int32_t kv_dtype;      /**< GH_E4M3; 0 = as the activations */
	int32_t tensor_parallel;   /**< ranks that share a layer; 0 = 1 */
	int32_t pipeline_parallel; /**< groups of layers; 0 = 1 */
	int32_t load_format;       /**< a gh_load_format */
	int32_t threads;           /**< CPU threads over all ranks; 0 = one for each core */
	uint32_t flags;            /**< GH_DEVICE_* bits */
	gh_progress_fn *progress;  /**< NULL = nobody asks */
	void *userdata;            /**< given to progress */
} gh_model_options;

/** Initialiser: all defaults. */
#define GH_MODEL_OPTIONS_INIT                                                                   \
	{                                                                                       \
		sizeof(gh_model_options), NULL, NULL, NULL, NULL, 0, 0, 0, 0, 0, 0, 0, 0, NULL, \
			NULL                                                                    \
	}

/** What a model is. */
typedef struct gh_model_info {
	char architecture[64];     /**< "Qwen2ForCausalLM" */
	char numerics[64];         /**< name of the arithmetic: "bf16/1", "fp8-w8a8/1+kv8" */
	char device[16];           /**< kind of device: "cpu" */
	char folder[512];          /**< where the files lie; a long path is cut */
	int64_t parameters;        /**< weights in all */
	int64_t weight_bytes;      /**< on the devices, all ranks together */
	int64_t kv_bytes;          /**< for each token of context, all ranks together */
	int64_t hidden;            /**< width of the residual stream */
	int64_t intermediate;      /**< width between gate, up and down */
	int32_t layers;            /**< layers */
	int32_t heads;             /**< query heads */
	int32_t kv_heads;          /**< key and value heads */
	int32_t head_dim;          /**< width of a head */
	int32_t vocab;             /**< rows of the embedding */
	int32_t max_length;        /**< positions the model is made for */
	int32_t dtype;             /**< activations, a gh_dtype */
	int32_t quantization;      /**< a gh_quantization, resolved */
	int32_t kv_dtype;          /**< a gh_dtype */
	int32_t tensor_parallel;   /**< ranks that share a layer */
	int32_t pipeline_parallel; /**< groups of layers */
} gh_model_info;

/** A loaded model. */
typedef struct gh_model gh_model;

/**
 * Load a model. model is a folder or a repository id (see gh_hub_resolve()).
 *
 * Owner    *out: caller frees (gh_model_free)
 * Threads  any; other ranks than the first load on threads of their own, which end with the call
 * Errors   GH_ENOENT files; GH_EFORMAT a file that lies; GH_ENOTSUP an architecture or a value of
 *          config.json that is not supported, named; GH_EINVAL options; GH_ENOMEM bytes needed;
 *          GH_ECANCELLED by options->progress
 * Since    0.1
 */
GH_API GH_NODISCARD gh_status gh_model_create(gh_model **out, const char *model,
					      const gh_model_options *options, gh_error *error);

/**
 * Free a model. NULL is allowed. Engines on it must be freed before.
 *
 * Owner    takes model
 * Threads  one, when nobody uses it any more
 * Errors   none
 * Since    0.1
 */
GH_API void gh_model_free(gh_model *model);

/**
 * Describe a loaded model.
 *
 * Owner    *out is the caller's
 * Threads  any
 * Errors   none
 * Since    0.1
 */
GH_API void gh_model_info_get(const gh_model *model, gh_model_info *out);

/**
 * Describe a model from its config.json and its headers, without loading weights.
 *
 * Owner    *out is the caller's
 * Threads  any
 * Errors   as gh_model_create()
 * Since    0.1
 */
GH_API GH_NODISCARD gh_status gh_model_inspect(gh_model_info *out, const char *model,
					       const gh_model_options *options, gh_error *error);

/** Zero means default in every field; new fields go at the end. */
typedef struct gh_model_measure_options {
	size_t struct_size; /**< set by GH_MODEL_MEASURE_OPTIONS_INIT */
	int32_t batch;      /**< sequences of a decode; 0 = 1 */
	int32_t context;    /**< positions that each of them has, the new one included; 0 = 64 */
	int32_t prompt;     /**< tokens of a prefill; 0 = 512 */
	int32_t steps;      /**< of each kind, behind those that do not count; 0 = 16 */
} gh_model_measure_options;

/** Initialiser: all defaults. */
#define GH_MODEL_MEASURE_OPTIONS_INIT                        \
	{                                                    \
		sizeof(gh_model_measure_options), 0, 0, 0, 0 \
	}

/** How fast a model's steps are. */
typedef struct gh_model_rates {
	double decode_seconds;  /**< of a step: one token for each sequence, chosen by the device */
	double prefill_seconds; /**< of a step: a whole prompt */
	double decode_bytes;    /**< of weights and of keys and values, that a decode reads */
	double prefill_flops;   /**< of the layers' matrices and attention in a prefill */
	int32_t batch;          /**< sequences of the decode */
	int32_t context;        /**< positions of each */
	int32_t prompt;         /**< tokens of the prefill */
	uint32_t reserved;      /**< 0 */
} gh_model_rates;

/**
 * Measure a model's steps without an engine around them: the median of several decodes, then of
 * several prefills, by the host's clock, from the step's order to its choices. The KV cache that it
 * takes for it holds zeros.
 *
 * Needs    memory for the KV cache of batch sequences of context positions, and for one prompt
 * Owner    *out is the caller's
 * Threads  any; the devices are busy meanwhile
 * Errors   GH_EINVAL options, or more positions than the model is made for; GH_ENOMEM
 * Since    0.1
 */
GH_API GH_NODISCARD gh_status gh_model_measure(gh_model_rates *out, gh_model *model,
					       const gh_model_measure_options *options,
					       gh_error *error);

GH_END
#endif
