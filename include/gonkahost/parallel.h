#ifndef GONKAHOST_PARALLEL_H
#define GONKAHOST_PARALLEL_H

#include <gonkahost/base.h>

/*
 * How a model is split over ranks.
 *
 * Rank r is number r % tensor_parallel of stage r / tensor_parallel. A stage holds a run of layers.
 * Within a stage every matrix is split on its output axis and its input is gathered, so each
 * element is summed on one rank, in one order: results do not depend on the split. Nothing needs
 * to divide evenly.
 */
GH_BEGIN

/** The sizes that a plan is made from. */
typedef struct gh_plan_shape {
	int64_t hidden;       /**< width of the residual stream */
	int64_t intermediate; /**< width between gate, up and down */
	int64_t vocab;        /**< rows of the embedding and of the head */
	int32_t layers;       /**< layers */
	int32_t heads;        /**< query heads */
	int32_t kv_heads;     /**< key and value heads, a divisor of heads */
	int32_t head_dim;     /**< width of a head */
} gh_plan_shape;

/** From first, count of them. */
typedef struct gh_span {
	int64_t first; /**< index in the whole model */
	int64_t count; /**< how many */
} gh_span;

/** What one rank holds. */
typedef struct gh_plan {
	int32_t tensor_parallel;   /**< ranks that share a layer */
	int32_t pipeline_parallel; /**< stages */
	int32_t tensor_rank;       /**< number within the stage */
	int32_t stage;             /**< number of the stage */
	gh_span layers;            /**< of the stage */
	gh_span heads;             /**< query heads: rows of q, columns of the attention's output */
	gh_span kv_heads;          /**< those that heads read; ranks may hold the same ones */
	gh_span hidden;            /**< rows of o and of down */
	gh_span intermediate;      /**< rows of gate and of up */
	gh_span vocab;             /**< rows of the embedding (first stage) and head (last) */
} gh_plan;

/**
 * What a rank holds under a layout.
 *
 * Owner    *out is the caller's
 * Threads  any
 * Errors   GH_EINVAL a size that is not positive; kv_heads does not divide heads; more ranks than
 *          heads or more stages than layers; rank outside the layout
 * Since    0.1
 */
GH_API GH_NODISCARD gh_status gh_plan_get(gh_plan *out, const gh_plan_shape *shape,
					  int32_t tensor_parallel, int32_t pipeline_parallel,
					  int32_t rank, gh_error *error);

GH_END
#endif
