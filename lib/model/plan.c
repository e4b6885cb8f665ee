#include <gonkahost/parallel.h>

#include "base/error.h"

/* Part `index` of `parts`: sizes differ by one at most. */
static gh_span part(int64_t count, int64_t index, int64_t parts)
{
	int64_t first = count * index / parts;

	return (gh_span){ first, count * (index + 1) / parts - first };
}

/*
 * Columns are dealt in units, the largest power of two that still gives each rank several: whole
 * units suit the kernels, and several keep the shares alike.
 */
static gh_span columns(int64_t count, int64_t index, int64_t parts)
{
	int64_t unit = 64;
	gh_span span;

	while (unit > 1 && count / unit < 4 * parts)
		unit /= 2;
	span = part((count + unit - 1) / unit, index, parts);
	span.first *= unit;
	span.count *= unit;
	if (span.first + span.count > count)
		span.count = count - span.first;
	return span;
}

static gh_status check_shape(const gh_plan_shape *s, gh_error *error)
{
	const struct {
		const char *name;
		int64_t value;
	} sizes[] = {
		{ "hidden", s->hidden },     { "intermediate", s->intermediate },
		{ "vocab", s->vocab },       { "layers", s->layers },
		{ "heads", s->heads },       { "kv_heads", s->kv_heads },
		{ "head_dim", s->head_dim },
	};

	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
		if (sizes[i].value < 1 || sizes[i].value > INT32_MAX)
			return gh__fail(error, GH_EINVAL, "%s: %lld is not between 1 and %d",
					sizes[i].name, (long long)sizes[i].value, INT32_MAX);
	if (s->heads % s->kv_heads != 0)
		return gh__fail(error, GH_EINVAL, "kv_heads: %d does not divide the %d heads",
				s->kv_heads, s->heads);
	return GH_OK;
}

static gh_status check_layout(const gh_plan_shape *s, int32_t tp, int32_t pp, int32_t rank,
			      gh_error *error)
{
	const struct {
		const char *name;
		int64_t value;
	} split[] = {
		{ "attention heads", s->heads },
		{ "hidden columns", s->hidden },
		{ "intermediate columns", s->intermediate },
		{ "vocabulary rows", s->vocab },
	};

	if (tp < 1 || pp < 1)
		return gh__fail(error, GH_EINVAL, "%s_parallel: %d is not at least 1",
				tp < 1 ? "tensor" : "pipeline", tp < 1 ? tp : pp);
	for (size_t i = 0; i < sizeof split / sizeof split[0]; i++)
		if (tp > split[i].value)
			return gh__fail(error, GH_EINVAL,
					"tensor_parallel: %d is more than the model's %lld %s", tp,
					(long long)split[i].value, split[i].name);
	if (pp > s->layers)
		return gh__fail(error, GH_EINVAL,
				"pipeline_parallel: %d is more than the model's %d layers", pp,
				s->layers);
	if (rank < 0 || rank >= (int64_t)tp * pp)
		return gh__fail(error, GH_EINVAL, "rank: %d is not between 0 and %lld", rank,
				(long long)tp * pp - 1);
	return GH_OK;
}

gh_status gh_plan_get(gh_plan *out, const gh_plan_shape *shape, int32_t tensor_parallel,
		      int32_t pipeline_parallel, int32_t rank, gh_error *error)
{
	gh_status status = check_shape(shape, error);
	int64_t group, end;
	int32_t r;

	if (status == GH_OK)
		status = check_layout(shape, tensor_parallel, pipeline_parallel, rank, error);
	if (status != GH_OK)
		return status;
	r = rank % tensor_parallel;
	group = shape->heads / shape->kv_heads;
	*out = (gh_plan){
		.tensor_parallel = tensor_parallel,
		.pipeline_parallel = pipeline_parallel,
		.tensor_rank = r,
		.stage = rank / tensor_parallel,
		.layers = part(shape->layers, rank / tensor_parallel, pipeline_parallel),
		.heads = part(shape->heads, r, tensor_parallel),
		.hidden = columns(shape->hidden, r, tensor_parallel),
		.intermediate = columns(shape->intermediate, r, tensor_parallel),
		.vocab = columns(shape->vocab, r, tensor_parallel),
	};
	end = (out->heads.first + out->heads.count + group - 1) / group;
	out->kv_heads.first = out->heads.first / group;
	out->kv_heads.count = end - out->kv_heads.first;
	return GH_OK;
}
