#include "base/error.h"
#include "base/log.h"
#include "device/device.h"
#include "inference_node/pow_group.h"
#include "poc/plan.h"

/*
 * Memory for proofs beside a model that stays loaded. What they need is the plan of their network,
 * what there is the device tells. Where both do not fit, the proofs go first.
 */

/* Left alone of what is free: for the processes themselves, and whatever else goes on. */
static const int64_t reserve = 256 << 20;

/* Pool, ends, two layers and a batch of the size that pays: with less, proofs are slow. */
static int64_t bytes_needed(const gh__pow_round *r)
{
	gh_poc_options options = GH_POC_OPTIONS_INIT;
	gh_error error = GH_ERROR_INIT;
	gh_poc_info info;

	options.block_hash = r->block_hash;
	options.params = &r->params;
	options.budget = INT64_MAX / 2;
	if (gh_poc_inspect(&info, &options, &error) != GH_OK) {
		gh__warn("pow", "the network's plan: %s", error.text);
		return INT64_MAX; /* the workers will say why */
	}
	return info.pool_bytes + info.ends_bytes + info.batch_bytes +
	       info.layer_bytes * (info.layers_held < 2 ? 1 : 2);
}

/* Bytes that workers of a device may have in all: what is free, and what theirs hold already. */
static int64_t bytes_there(int64_t held)
{
	gh_error error = GH_ERROR_INIT;
	int64_t available = 0;

	if (gh__device_available(&available, NULL, &error) != GH_OK)
		gh__warn("pow", "%s", error.text);
	available += held - reserve;
	return available > 0 ? available : 0;
}

static int64_t own_choice(void)
{
	gh_error error = GH_ERROR_INIT;
	gh_device_info device;

	return gh_device_info_get(&device, NULL, &error) == GH_OK ? gh__poc_budget(&device) : 0;
}

/* What each of so many workers may use beside the model that is parked; 0: both do not fit. */
static int64_t share(const gh__pow_round *r, int workers, int64_t held, int64_t wanted)
{
	int64_t needed = bytes_needed(r), each = bytes_there(held) / workers;
	int64_t budget = wanted ? wanted : own_choice();

	needed = needed < budget ? needed : budget; /* they are not told to take more */
	if (each < needed) {
		gh__info("pow",
			 "the model that is parked is given up: proofs need %lld bytes, %lld are "
			 "there",
			 (long long)needed, (long long)each);
		return 0;
	}
	return budget < each ? budget : each;
}

bool gh__pow_has_room(gh__pow *p, uint64_t generation)
{
	uint64_t network = p->network;
	int workers = p->group_count;
	int64_t held = 0, budget = p->options.budget;
	gh__supervisor_state state;
	gh__pow_held *h;
	bool room;

	if (p->room_network == network && p->room_generation == generation)
		return true;
	for (int i = 0; i < workers; i++)
		held += p->groups[i].bytes;
	h = gh__pow_hold(p->round);
	pthread_mutex_unlock(&p->lock);
	gh__supervisor_state_get(p->options.supervisor, &state);
	if (state.parked && !p->giving_back)
		budget = share(&h->round, workers, held, budget);
	room = !state.parked || (!p->giving_back && budget > 0);
	if (!room)
		gh__supervisor_give_back(p->options.supervisor);
	pthread_mutex_lock(&p->lock);
	gh__pow_release(h);
	p->giving_back = !room;
	if (!room || !p->round || p->stop_at || p->network != network)
		return false;
	p->room_network = network;
	p->room_generation = generation;
	p->budget = budget;
	return true;
}
