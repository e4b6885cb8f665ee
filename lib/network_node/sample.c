#include "network_node/sample.h"

#include "base/alloc.h"
#include "base/error.h"
#include "poc/seed.h"

/* Uniform below bound, which is not 0: as many bits as it has, drawn until they are below it. */
static uint64_t below(gh__pcg64 *rng, uint64_t bound)
{
	uint64_t mask = UINT64_MAX >> __builtin_clzll(bound | 1), draw;

	do
		draw = gh__pcg64_draw(rng) & mask;
	while (draw >= bound);
	return draw;
}

gh_status gh__sample(size_t *out, size_t wanted, size_t total, const char *text, gh_error *error)
{
	size_t *order;
	gh__pcg64 rng;
	gh_status status;

	if (wanted >= total) {
		for (size_t i = 0; i < total; i++)
			out[i] = i;
		return GH_OK;
	}
	status = gh__poc_seed(&rng, text, 1, error);
	if (status != GH_OK)
		return status;
	order = gh__malloc(total * sizeof *order);
	if (!order)
		return gh__fail_nomem(error);
	for (size_t i = 0; i < total; i++)
		order[i] = i;
	for (size_t i = 0; i < wanted; i++) {
		size_t j = i + (size_t)below(&rng, total - i);

		out[i] = order[j];
		order[j] = order[i];
	}
	gh__free(order);
	return GH_OK;
}
