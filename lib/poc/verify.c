#include <math.h>
#include <string.h>

#include <gonkahost/poc.h>

#include "base/error.h"
#include "base/options.h"

/*
 * Distances that the network's own nodes have computed, and how far two honest machines are apart.
 */
static const char block_hash[] = "0123456789ABCDEF0123456789ABCDEF"
				 "0123456789ABCDEF0123456789ABCDEF";
static const char public_key[] = "02ababababababababababababababab"
				 "abababababababababababababababab"
				 "ab";

enum { KNOWN_MAX = 8 };

static const struct {
	const char *set;
	double rms, most; /* allowed; 0: equal to the bit */
	int32_t count;
	double dist[KNOWN_MAX]; /* of nonces 0, 1, ... */
} known[] = {
	{ "inttest",
	  0.0,
	  0.0,
	  8,
	  { 0x1.699338a8d99f7p+0, 0x1.773177b5d7004p+0, 0x1.6547e49aef7a7p+0, 0x1.7229e1cd43809p+0,
	    0x1.6e2dd35770651p+0, 0x1.8254a4f6f7a0dp+0, 0x1.4bef343450978p+0,
	    0x1.66ae02b3e290fp+0 } },
	{ "devtest",
	  2e-6,
	  1.5e-5,
	  4,
	  { 0x1.6833eed3ad05dp+0, 0x1.689a74ea323d7p+0, 0x1.6ae46c4db1be4p+0,
	    0x1.6b3fcd5fff5b3p+0 } },
	{ "testnet", 4e-6, 1.5e-5, 2, { 0x1.6d292e47c53aep+0, 0x1.69daf60b62898p+0 } },
	{ "mainnet", 4e-6, 1.5e-5, 1, { 0x1.6a570dcc50415p+0 } },
};

enum { SETS = sizeof known / sizeof known[0] };

gh_status gh_poc_verify(gh_poc_check *out, const char *set, const gh_poc_options *given,
			gh_error *error)
{
	static const uint64_t nonces[KNOWN_MAX] = { 0, 1, 2, 3, 4, 5, 6, 7 };
	double dist[KNOWN_MAX], squares = 0.0;
	gh_poc_options options;
	gh_poc_params params;
	gh_poc *poc = NULL;
	size_t i = 0;
	gh_status status = gh__options_copy(&options, sizeof options, sizeof options, given, error);

	*out = (gh_poc_check){ 0 };
	while (i < SETS && strcmp(known[i].set, set) != 0)
		i++;
	if (status == GH_OK && i == SETS)
		status =
			gh__fail(error, GH_ENOENT,
				 "set: nothing is known of \"%.40s\"; inttest, devtest, testnet or "
				 "mainnet expected",
				 set);
	if (status == GH_OK)
		status = gh_poc_params_named(&params, set, error);
	if (status != GH_OK)
		return status;
	options.struct_size = sizeof options;
	options.block_hash = block_hash;
	options.params = &params;
	status = gh_poc_create(&poc, &options, error);
	if (status == GH_OK)
		status = gh_poc_distances(poc, public_key, nonces, (size_t)known[i].count, dist,
					  error);
	gh_poc_free(poc);
	if (status != GH_OK)
		return status;
	out->nonces = known[i].count;
	for (int32_t j = 0; j < out->nonces; j++) {
		double off = fabs(dist[j] - known[i].dist[j]);

		squares += off * off;
		out->most = fmax(out->most, off);
	}
	out->rms = sqrt(squares / out->nonces);
	out->holds = out->rms <= known[i].rms && out->most <= known[i].most;
	return GH_OK;
}
