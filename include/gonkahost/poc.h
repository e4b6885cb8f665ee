#ifndef GONKAHOST_POC_H
#define GONKAHOST_POC_H

#include <gonkahost/base.h>
#include <gonkahost/device.h>
#include <gonkahost/model.h>

/*
 * Proof of compute, version 1.
 *
 * A block hash fixes the weights of a transformer and a target. Each nonce of a public key is an
 * input of random numbers; its distance is that of the last position's logits, permuted and scaled
 * to length 1, from the target. A nonce whose distance is below r_target is a hit. Others recompute
 * some of the hits that a participant claims, and judge by how many do not hold.
 *
 * A distance is a function of block hash, parameters, public key, nonce and the kind of device; of
 * nothing else: not of threads, batches, budgets or what was computed before.
 */
GH_BEGIN

/** What a hit is below, on the network. */
#define GH_POC_R_TARGET 1.4013564660458173

/** A batch is a fraud when an honest one would look so with less probability than this. */
#define GH_POC_FRAUD_THRESHOLD 1e-7

/** The shape of a round's network, as its requests name it. */
typedef struct gh_poc_params {
	int64_t dim;               /**< width of the residual stream; n_heads divides it */
	int64_t n_layers;          /**< layers */
	int64_t n_heads;           /**< query heads */
	int64_t n_kv_heads;        /**< key and value heads, a divisor of n_heads */
	int64_t vocab_size;        /**< logits */
	double ffn_dim_multiplier; /**< of the feed-forward's width */
	int64_t multiple_of;       /**< that width is a multiple of it */
	double norm_eps;           /**< added to mean squares */
	double rope_theta;         /**< base of the rotary frequencies */
	int32_t use_scaled_rope;   /**< 1 = stretch the slow frequencies */
	uint32_t reserved;         /**< must be 0 */
	int64_t seq_len;           /**< positions of an input */
} gh_poc_params;

/**
 * Parameters by name: "mainnet", "testnet", "devtest", "inttest", "default-py" (what a request
 * without parameters means), "default-api".
 *
 * Owner    *out is the caller's
 * Threads  any
 * Errors   GH_ENOENT no such set
 * Since    0.1
 */
GH_API GH_NODISCARD gh_status gh_poc_params_named(gh_poc_params *out, const char *name,
						  gh_error *error);

/**
 * Parameters from a JSON object with the fields of gh_poc_params; use_scaled_rope is true or false.
 * A field that is not there has the value of "default-py".
 *
 * Owner    *out is the caller's
 * Threads  any
 * Errors   GH_EFORMAT no JSON; GH_EINVAL no such object: the field, what it holds and what was
 *          expected
 * Since    0.1
 */
GH_API GH_NODISCARD gh_status gh_poc_params_parse(gh_poc_params *out, const char *text, size_t len,
						  gh_error *error);

/** Zero means default in every field but block_hash; new fields go at the end. */
typedef struct gh_poc_options {
	size_t struct_size;     /**< set by GH_POC_OPTIONS_INIT */
	const char *block_hash; /**< byte for byte, in the case in which it came; borrows for the
				      *   call */
	const gh_poc_params *params; /**< NULL = "mainnet"; borrows for the call */
	const char *device;          /**< "cpu", "cuda"; NULL = the best; borrows for the call */
	int64_t budget;              /**< bytes of the device's memory; 0 = half of a CPU's, nine
				   *   tenths of a GPU's */
	int32_t batch;               /**< nonces at a time, at most; 0 = as many as pay */
	int32_t threads;             /**< of a CPU; 0 = one for each core */
	uint32_t flags;              /**< GH_DEVICE_* bits */
	uint32_t reserved;           /**< must be 0 */
	gh_progress_fn *progress;    /**< while the weights are drawn; NULL = nobody asks */
	void *userdata;              /**< given to progress */
	double r_target; /**< what counts as a hit in gh_poc_stats; 0 = GH_POC_R_TARGET */
} gh_poc_options;

/** Initialiser: all defaults. */
#define GH_POC_OPTIONS_INIT                                                            \
	{                                                                              \
		sizeof(gh_poc_options), NULL, NULL, NULL, 0, 0, 0, 0, 0, NULL, NULL, 0 \
	}

/** What a round's network is, and what it takes. */
typedef struct gh_poc_info {
	int64_t parameters;  /**< weights in all */
	int64_t pool;        /**< random numbers that they are cut from */
	int64_t head_dim;    /**< width of a head */
	int64_t hidden;      /**< width of the feed-forward */
	double flops;        /**< operations that a nonce needs; a multiply-add counts two */
	int64_t pool_bytes;  /**< memory of the pool */
	int64_t ends_bytes;  /**< of the last norm and the head */
	int64_t layer_bytes; /**< of one layer, packed */
	int64_t batch_bytes; /**< of a batch's inputs, activations and logits */
	int64_t total_bytes; /**< pool, ends, layers held and a batch */
	int32_t layers_held; /**< layers that are packed at a time */
	int32_t batch;       /**< nonces at a time */
	char numerics[64];   /**< "poc-v1" */
	char device[16];     /**< kind of device: "cpu" */
	double pool_seconds; /**< that drawing the pool took; 0 while nothing is made */
} gh_poc_info;

/**
 * Plan a network without making it: what gh_poc_create() would take.
 *
 * Owner    *out is the caller's
 * Threads  any
 * Errors   GH_EINVAL options, or parameters by the name of the field; GH_ENOMEM the budget does not
 *          suffice for one nonce: the text says how much is needed; GH_ENODEVICE
 * Since    0.1
 */
GH_API GH_NODISCARD gh_status gh_poc_inspect(gh_poc_info *out, const gh_poc_options *options,
					     gh_error *error);

/** The network of a block hash. */
typedef struct gh_poc gh_poc;

/**
 * Make a network: draw its weights, and hold the machine's exp and log against the digests that the
 * network's tables have.
 *
 * Owner    *out: caller frees (gh_poc_free)
 * Threads  any; progress is called on a thread of its own
 * Errors   those of gh_poc_inspect(); GH_ECANCELLED by progress, within 100 ms; GH_ENOTSUP this
 *          machine
 *          rounds otherwise, and its proofs would be nobody else's
 * Since    0.1
 */
GH_API GH_NODISCARD gh_status gh_poc_create(gh_poc **out, const gh_poc_options *options,
					    gh_error *error);

/**
 * Free a network. NULL is allowed.
 *
 * Owner    takes poc
 * Threads  one; nothing else may be under way
 * Errors   none
 * Since    0.1
 */
GH_API void gh_poc_free(gh_poc *poc);

/**
 * What the network is, and what it takes.
 *
 * Owner    *out is the caller's
 * Threads  any
 * Errors   none
 * Since    0.1
 */
GH_API void gh_poc_info_get(const gh_poc *poc, gh_poc_info *out);

/**
 * dist[i]: distance of nonces[i] of a public key. Any count; batch by batch.
 *
 * Owner    nothing; borrows for the call
 * Threads  one at a time
 * Errors   GH_ECANCELLED interrupted; GH_ENUMERIC a distance is no number; GH_EINVAL, GH_ETOOBIG
 *          the key.
 *          What dist holds after an error says nothing
 * Since    0.1
 */
GH_API GH_NODISCARD gh_status gh_poc_distances(gh_poc *poc, const char *public_key,
					       const uint64_t *nonces, size_t count, double *dist,
					       gh_error *error);

/**
 * Measure the most that the device could do for this network: the rate of its own products with the
 * matrices of a layer, packed and at the rows of a whole batch, the median of several passes, in
 * operations a second as info's flops count them. Takes half a second, or what four passes over a
 * layer take where that is longer. Nonces a second times info's flops, over this, is how much of
 * the device the proofs use.
 *
 * Owner    *flops_per_second is the caller's
 * Threads  one at a time, gh_poc_distances() included
 * Errors   GH_ECANCELLED interrupted
 * Since    0.1
 */
GH_API GH_NODISCARD gh_status gh_poc_ceiling(gh_poc *poc, double *flops_per_second,
					     gh_error *error);

/**
 * While interrupted is not 0, gh_poc_distances() and gh_poc_ceiling() end with GH_ECANCELLED,
 * within 100 ms.
 *
 * Owner    nothing
 * Threads  any, also while one of these runs on another
 * Errors   none
 * Since    0.1
 */
GH_API void gh_poc_interrupt(gh_poc *poc, int interrupted);

/** What a network has computed since it was made. */
typedef struct gh_poc_stats {
	uint64_t nonces;          /**< whose distances were computed */
	uint64_t hits;            /**< of them; see gh_poc_options.r_target */
	double seconds;           /**< that it took */
	double nonces_per_second; /**< 0 before the first */
	double hit_rate;          /**< hits by nonces; 0 before the first */
	double flops_per_second;  /**< by gh_poc_info.flops; 0 before the first */
} gh_poc_stats;

/**
 * Count what was computed: batches that are over.
 *
 * Owner    *out is the caller's
 * Threads  any, also while gh_poc_distances() runs on another
 * Errors   none
 * Since    0.1
 */
GH_API void gh_poc_stats_get(const gh_poc *poc, gh_poc_stats *out);

/**
 * Keep the hits: nonces whose distance is below r_target, and their distances, in their order. A
 * distance that is no number is none. Answers how many are left.
 *
 * Owner    borrows for the call
 * Threads  any
 * Errors   none
 * Since    0.1
 */
GH_API size_t gh_poc_filter(uint64_t *nonces, double *dist, size_t count, double r_target);

/** Whether a batch of another participant is honest. */
typedef struct gh_poc_verdict {
	uint64_t n_invalid;        /**< computed distances above r_target */
	double probability_honest; /**< of so many or more by accident */
	int32_t fraud_detected;    /**< 1 = it is below the threshold */
	uint32_t reserved;         /**< 0 */
} gh_poc_verdict;

/**
 * Judge count claimed distances by the computed ones.
 *
 * Owner    *out is the caller's; borrows for the call
 * Threads  any
 * Errors   GH_EINVAL r_target or the threshold is no number, or a claimed distance is none or not
 *          below
 *          r_target; GH_ENUMERIC a computed distance is none
 * Since    0.1
 */
GH_API GH_NODISCARD gh_status gh_poc_judge(gh_poc_verdict *out, const double *claimed,
					   const double *computed, size_t count, double r_target,
					   double fraud_threshold, gh_error *error);

/**
 * Compute the nonces that a participant claims, and judge: gh_poc_distances() and gh_poc_judge().
 * computed ([count], or NULL) receives the distances.
 *
 * Owner    *out is the caller's; borrows for the call
 * Threads  one at a time
 * Errors   those of both
 * Since    0.1
 */
GH_API GH_NODISCARD gh_status gh_poc_validate(gh_poc *poc, gh_poc_verdict *out,
					      const char *public_key, const uint64_t *nonces,
					      const double *claimed, size_t count, double r_target,
					      double fraud_threshold, double *computed,
					      gh_error *error);

/** How a machine's distances agree with known ones. */
typedef struct gh_poc_check {
	int32_t nonces; /**< that were computed */
	int32_t holds; /**< 1 = they are as near as those of two honest machines, or equal where they
			 *   have to be */
	double rms;    /**< root of the mean square of the differences */
	double most;   /**< largest difference */
} gh_poc_check;

/**
 * Compute a few known nonces of "inttest" (equal to the bit), "devtest", "testnet" or "mainnet" on
 * a device: what to run before a machine is trusted with proofs. options: block_hash and params are
 * not read; NULL = defaults.
 *
 * Owner    *out is the caller's
 * Threads  any
 * Errors   GH_ENOENT nothing is known of such a set; those of gh_poc_create() and
 *          gh_poc_distances()
 * Since    0.1
 */
GH_API GH_NODISCARD gh_status gh_poc_verify(gh_poc_check *out, const char *set,
					    const gh_poc_options *options, gh_error *error);

/**
 * The index-th nonce that a group of devices of a node tries: node + group node_count + index
 * group_count node_count. Nodes whose numbers differ modulo node_count, and the groups in them,
 * share the numbers without overlap, whether nodes are counted from 0 or from 1.
 *
 * Owner    *out is the caller's
 * Threads  any
 * Errors   GH_EINVAL no nodes, or group is not one of so many; GH_ETOOBIG beyond 2^63 - 1
 * Since    0.1
 */
GH_API GH_NODISCARD gh_status gh_poc_nonce(uint64_t *out, uint64_t node, uint64_t node_count,
					   uint64_t group, uint64_t group_count, uint64_t index,
					   gh_error *error);

GH_END
#endif
