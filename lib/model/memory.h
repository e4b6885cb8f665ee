#ifndef GH_MODEL_MEMORY_H
#define GH_MODEL_MEMORY_H

#include "device/ops.h"
#include "model/runner.h"

/*
 * The memory of a rank, computed before it is allocated.
 *
 *   allowed  = memory_share x the device's memory, divided by the ranks that share the device, or
 *              memory_limit
 *   kv cache = what is left of it beside weights and activations, and at most what step_sequences
 *              sequences of max_length need
 *
 * A CPU shares its memory with everything else on the machine. Unless memory_share is set, the
 * caches of all ranks there take at most a quarter of the physical memory together.
 */
typedef struct gh__memory_needs {
	int64_t device_total;
	int32_t sharing; /* ranks on the same device */
	bool host;       /* the device's memory is the machine's */
	int64_t weights;
	int64_t activations; /* workspace included */
	int64_t block;       /* bytes of one KV block over the rank's layers; 0: none are kept */
} gh__memory_needs;

typedef struct gh__memory_plan {
	gh__memory_needs needs;
	int64_t allowed;
	int64_t blocks;
} gh__memory_plan;

int64_t gh__kv_block_bytes(const gh__kv_layout *kv, int64_t layers);

/* GH_ENOMEM: not even one sequence of max_length fits (or options->kv_blocks do not): the text says
 * how much is missing and which option would help. */
gh_status gh__memory_plan_make(gh__memory_plan *out, const gh__memory_needs *needs,
			       const gh__runner_options *options, gh_error *error);

/* One line for each rank, in MiB, under a line of headings. */
void gh__memory_plans_log(const gh__memory_plan *plans, int count);

#endif
