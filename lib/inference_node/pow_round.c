#include <string.h>

#include "base/alloc.h"
#include "inference_node/pow_group.h"
#include "poc/params.h"

void gh__pow_release(gh__pow_held *h) /* lock gh__pow_held */
{
	if (!h || --h->references > 0)
		return;
	gh__free(h->round.block_hash);
	gh__free(h->round.public_key);
	gh__free(h->round.url);
	gh__free(h);
}

gh__pow_held *gh__pow_hold(gh__pow_held *h) /* lock gh__pow_held */
{
	h->references++;
	return h;
}

gh__pow_held *gh__pow_held_new(const gh__pow_round *round)
{
	gh__pow_held *h = gh__calloc(1, sizeof *h);

	if (!h)
		return NULL;
	h->references = 1;
	h->round = *round;
	h->round.block_hash = gh__strdup(round->block_hash);
	h->round.public_key = gh__strdup(round->public_key);
	h->round.url = gh__strdup(round->url);
	if (h->round.block_hash && h->round.public_key && h->round.url)
		return h;
	gh__pow_release(h);
	return NULL;
}

bool gh__pow_same_network(const gh__pow_round *a, const gh__pow_round *b)
{
	return strcmp(a->block_hash, b->block_hash) == 0 &&
	       gh__poc_params_equal(&a->params, &b->params);
}

bool gh__pow_same_sequence(const gh__pow_round *a, const gh__pow_round *b)
{
	return gh__pow_same_network(a, b) && strcmp(a->public_key, b->public_key) == 0 &&
	       strcmp(a->url, b->url) == 0 && a->block_height == b->block_height &&
	       a->node_id == b->node_id && a->node_count == b->node_count &&
	       a->r_target == b->r_target;
}

gh__proof_round gh__pow_whose(const gh__pow_round *r)
{
	return (gh__proof_round){ .url = r->url,
				  .block_hash = r->block_hash,
				  .public_key = r->public_key,
				  .block_height = r->block_height,
				  .node_id = r->node_id };
}
