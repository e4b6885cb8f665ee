#include "inference_node/claim.h"

#include <string.h>

#include <gonkahost/poc.h>

#include "base/alloc.h"
#include "base/error.h"
#include "json/write.h"

enum { PIECE = 64, FAILURES_MAX = 2 };
enum { WAITING = 0, UNDER_WAY, DONE };

/* More failures than pieces come back with. */
enum { CANCELLED = 1 << 20 };

/* No two points of the unit sphere are farther apart: stands for what is no number. */
static const double farthest = 2.0;

void gh__claim_free(gh__claim *claim)
{
	if (!claim)
		return;
	gh__free(claim->public_key);
	gh__free(claim->block_hash);
	gh__free(claim->nonces);
	gh__free(claim->received);
	gh__free(claim->computed);
	gh__free(claim->pieces);
	gh__free(claim);
}

static gh_status read_lists(gh__claim *c, const json_t *nonces, const json_t *dist, gh_error *error)
{
	for (size_t i = 0; i < c->count; i++) {
		c->nonces[i] = (int64_t)json_number_value(json_array_get(nonces, i));
		if (json_is_integer(json_array_get(nonces, i)))
			c->nonces[i] = json_integer_value(json_array_get(nonces, i));
		c->received[i] = json_number_value(json_array_get(dist, i));
		if (c->nonces[i] < 0)
			return gh__fail(error, GH_EINVAL, "nonces[%zu]: %lld is below 0", i,
					(long long)c->nonces[i]);
		if (!(c->received[i] < c->r_target))
			return gh__fail(error, GH_EINVAL,
					"dist[%zu]: %.17g is not below r_target, %.17g", i,
					c->received[i], c->r_target);
	}
	return GH_OK;
}

gh_status gh__claim_create(gh__claim **out, const json_t *body, double r_target, gh_error *error)
{
	const json_t *nonces = json_object_get(body, "nonces");
	const json_t *dist = json_object_get(body, "dist");
	gh__claim *c;
	gh_status status;

	if (json_array_size(nonces) != json_array_size(dist))
		return gh__fail(error, GH_EINVAL,
				"dist: expected %zu numbers, as nonces has, got %zu",
				json_array_size(nonces), json_array_size(dist));
	c = gh__calloc(1, sizeof *c);
	if (!c)
		return gh__fail_nomem(error);
	c->count = json_array_size(nonces);
	c->piece_count = (c->count + PIECE - 1) / PIECE;
	c->r_target = r_target;
	c->block_height = json_integer_value(json_object_get(body, "block_height"));
	c->node_id = json_integer_value(json_object_get(body, "node_id"));
	c->public_key = gh__strdup(json_string_value(json_object_get(body, "public_key")));
	c->block_hash = gh__strdup(json_string_value(json_object_get(body, "block_hash")));
	c->nonces = gh__calloc(c->count + 1, sizeof *c->nonces);
	c->received = gh__calloc(c->count + 1, sizeof *c->received);
	c->computed = gh__calloc(c->count + 1, sizeof *c->computed);
	c->pieces = gh__calloc(c->piece_count + 1, sizeof *c->pieces);
	if (!c->public_key || !c->block_hash || !c->nonces || !c->received || !c->computed ||
	    !c->pieces)
		status = gh__fail_nomem(error);
	else
		status = read_lists(c, nonces, dist, error);
	if (status != GH_OK) {
		gh__claim_free(c);
		return status;
	}
	*out = c;
	return GH_OK;
}

bool gh__claim_take(gh__claim *c, size_t *first, size_t *count)
{
	for (size_t i = 0; i < c->piece_count && c->failures < FAILURES_MAX; i++) {
		if (c->pieces[i] != WAITING)
			continue;
		c->pieces[i] = UNDER_WAY;
		c->under_way++;
		*first = i * PIECE;
		*count = c->count - *first < PIECE ? c->count - *first : PIECE;
		return true;
	}
	return false;
}

void gh__claim_ask(gh__buf *out, const gh__claim *c, size_t first, size_t count)
{
	gh__buf_append_str(out, "{\"public_key\":");
	gh__json_write_string(out, c->public_key, strlen(c->public_key));
	gh__buf_append_str(out, ",\"nonces\":[");
	for (size_t i = first; i < first + count; i++)
		gh__buf_printf(out, "%s%lld", i > first ? "," : "", (long long)c->nonces[i]);
	gh__buf_append_str(out, "]}");
}

void gh__claim_give(gh__claim *c, size_t first, size_t count, const json_t *answer)
{
	const json_t *dist = json_object_get(answer, "dist");
	bool fits = json_is_array(dist) && json_array_size(dist) == count;

	c->under_way--;
	for (size_t i = 0; i < count && fits; i++) {
		const json_t *number = json_array_get(dist, i);

		c->computed[first + i] =
			json_is_number(number) ? json_number_value(number) : farthest;
	}
	c->pieces[first / PIECE] = fits ? DONE : WAITING;
	c->done += fits;
	c->failures += !fits;
}

bool gh__claim_is_whole(const gh__claim *c)
{
	return c->done == c->piece_count && c->failures < FAILURES_MAX;
}

bool gh__claim_is_lost(const gh__claim *c)
{
	return c->failures >= FAILURES_MAX && c->under_way == 0;
}

void gh__claim_cancel(gh__claim *c)
{
	c->failures = CANCELLED;
}

bool gh__claim_is_cancelled(const gh__claim *c)
{
	return c->failures >= CANCELLED;
}

static void write_numbers(gh__buf *out, const double *numbers, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (i > 0)
			gh__buf_append_str(out, ", ");
		gh__json_write_double(out, numbers[i]);
	}
}

gh_status gh__claim_judge(gh__buf *out, const gh__claim *c, double fraud_threshold, gh_error *error)
{
	gh_poc_verdict verdict;
	gh_status status = gh_poc_judge(&verdict, c->received, c->computed, c->count, c->r_target,
					fraud_threshold, error);

	if (status != GH_OK)
		return status;
	gh__buf_append_str(out, "{\"public_key\": ");
	gh__json_write_string(out, c->public_key, strlen(c->public_key));
	gh__buf_append_str(out, ", \"block_hash\": ");
	gh__json_write_string(out, c->block_hash, strlen(c->block_hash));
	gh__buf_printf(out, ", \"block_height\": %lld, \"nonces\": [", (long long)c->block_height);
	for (size_t i = 0; i < c->count; i++)
		gh__buf_printf(out, "%s%lld", i ? ", " : "", (long long)c->nonces[i]);
	gh__buf_append_str(out, "], \"dist\": [");
	write_numbers(out, c->computed, c->count);
	gh__buf_printf(out, "], \"node_id\": %lld, \"received_dist\": [", (long long)c->node_id);
	write_numbers(out, c->received, c->count);
	gh__buf_append_str(out, "], \"r_target\": ");
	gh__json_write_double(out, c->r_target);
	gh__buf_append_str(out, ", \"fraud_threshold\": ");
	gh__json_write_double(out, fraud_threshold);
	gh__buf_printf(out, ", \"n_invalid\": %llu, \"probability_honest\": ",
		       (unsigned long long)verdict.n_invalid);
	gh__json_write_double(out, verdict.probability_honest);
	gh__buf_printf(out, ", \"fraud_detected\": %s}", verdict.fraud_detected ? "true" : "false");
	status = gh__buf_status(out);
	return status == GH_OK ? GH_OK : gh__fail(error, status, "the verdict is too long");
}
