#include "model/memory.h"

#include "base/error.h"
#include "base/log.h"
#include "model/kernels.h"

static const double default_share = 0.9;

int64_t gh__kv_block_bytes(const gh__kv_layout *kv, int64_t layers)
{
	return layers * 2 * kv->kv_heads * kv->block_size * kv->head_dim *
	       (int64_t)gh_dtype_size(kv->dtype);
}

static int64_t least(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static double mib(int64_t bytes)
{
	return (double)bytes / (1 << 20);
}

gh_status gh__memory_plan_make(gh__memory_plan *out, const gh__memory_needs *needs,
			       const gh__runner_options *options, gh_error *error)
{
	double share = options->memory_share > 0.0 ? options->memory_share : default_share;
	int64_t whole = needs->device_total / needs->sharing;
	int64_t sequence = (options->max_length + GH__KV_BLOCK - 1) / GH__KV_BLOCK;
	int64_t left, wanted;

	*out = (gh__memory_plan){ .needs = *needs, .allowed = (int64_t)((double)whole * share) };
	if (options->memory_limit > 0)
		out->allowed = options->memory_limit;
	left = out->allowed - needs->weights - needs->activations;
	if (needs->block == 0)
		return left >= 0 ? GH_OK
				 : gh__fail(error, GH_ENOMEM,
					    "memory: weights %.1f MiB and activations %.1f MiB do "
					    "not fit into %.1f MiB",
					    mib(needs->weights), mib(needs->activations),
					    mib(out->allowed));
	if (options->kv_blocks > 0) {
		wanted = options->kv_blocks;
		out->blocks = wanted;
	} else {
		wanted = sequence;
		if (needs->host && !(options->memory_share > 0.0))
			left = least(left, whole / 4);
		out->blocks = left > 0 ? left / needs->block : 0;
		out->blocks = least(out->blocks, sequence * options->step_sequences);
	}
	if (wanted <= (left > 0 ? left / needs->block : 0))
		return GH_OK;
	return gh__fail(
		error, GH_ENOMEM,
		"No available memory for the cache blocks: %lld need %.1f MiB, %.1f MiB are "
		"there beside weights %.1f and activations %.1f: lower %s or raise "
		"memory_share",
		(long long)wanted, mib(wanted * needs->block), mib(left > 0 ? left : 0),
		mib(needs->weights), mib(needs->activations),
		options->kv_blocks > 0 ? "kv_blocks" : "max_length");
}

void gh__memory_plans_log(const gh__memory_plan *plans, int count)
{
	gh__info("model", "memory MiB:  weights  activations  kv cache  (blocks of %d)  allowed",
		 GH__KV_BLOCK);
	for (int i = 0; i < count; i++) {
		const gh__memory_needs *n = &plans[i].needs;

		gh__info("model", "rank %-3d    %9.1f    %9.1f %9.1f  %15lld %8.1f", i,
			 mib(n->weights), mib(n->activations), mib(plans[i].blocks * n->block),
			 (long long)plans[i].blocks, mib(plans[i].allowed));
	}
}
