#include "network_node/round.h"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "crypto/address.h"
#include "json/json.h"
#include "network_node/proofs.h"
#include "poc/params.h"

enum { BATCH_SIZE = 100, HASH_BYTES = 32, DURATION_MAX = 86400 };

/* The key of the secret 1: nobody is paid for what is proved with it. */
static const char nobodys_key[] =
	"0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";

/* ---- reading an order ---- */

static char *made_up_hash(void)
{
	unsigned char bytes[HASH_BYTES];
	char text[2 * HASH_BYTES + 1];

	if (getrandom(bytes, sizeof bytes, 0) != sizeof bytes)
		return NULL;
	for (int i = 0; i < HASH_BYTES; i++)
		snprintf(text + 2 * i, 3, "%02X", bytes[i]);
	return gh__strdup(text);
}

static gh_status read_params(gh_poc_params *out, const json_t *given, gh_error *error)
{
	gh__poc_shape shape;
	gh_status status;

	if (!given || json_is_string(given)) {
		status = gh_poc_params_named(out, given ? json_string_value(given) : "mainnet",
					     error);
	} else {
		size_t len = 0;
		char *text = gh__json_text(given, &len);

		status = text ? gh_poc_params_parse(out, text, len, error) : gh__fail_nomem(error);
		gh__free(text);
	}
	return status == GH_OK ? gh__poc_shape_of(&shape, out, error) : status;
}

static void read_texts(gh__round *round, gh__json_reader *r)
{
	const char *hash = NULL, *key = nobodys_key;
	unsigned char parsed[GH__ACCOUNT_KEY_SIZE];
	gh_error problem = GH_ERROR_INIT;

	if (gh__json_string(r, "block_hash", &hash) &&
	    (!hash[0] || strlen(hash) > GH__PROOF_TEXT_MAX))
		gh__json_fail(r, "block_hash", "expected 1 to %d bytes, got %zu",
			      GH__PROOF_TEXT_MAX, strlen(hash));
	if (gh__json_string(r, "public_key", &key) &&
	    gh__account_key_parse(parsed, key, &problem) != GH_OK)
		gh__json_fail(r, "public_key", "%s", problem.text);
	round->block_hash = hash ? gh__strdup(hash) : made_up_hash();
	round->public_key = gh__strdup(key);
}

static void read_numbers(gh__round *round, gh__json_reader *r, int64_t height)
{
	double generate = 30, validate = 120;
	int64_t sample = 200;

	round->block_height = height;
	round->r_target = GH_POC_R_TARGET;
	round->fraud_threshold = GH_POC_FRAUD_THRESHOLD;
	gh__json_int(r, "block_height", 0, INT64_MAX, &round->block_height);
	gh__json_real(r, "r_target", 0, 2, &round->r_target);
	gh__json_real(r, "fraud_threshold", 0, 1, &round->fraud_threshold);
	gh__json_int(r, "sample_size", 1, GH__ROUND_SAMPLE_MAX, &sample);
	gh__json_real(r, "generate_seconds", 0, DURATION_MAX, &generate);
	gh__json_real(r, "validate_seconds", 0, DURATION_MAX, &validate);
	round->sample = (int32_t)sample;
	round->generate = (int64_t)(generate * (double)GH__SECOND);
	round->validate = (int64_t)(validate * (double)GH__SECOND);
}

gh_status gh__round_create(gh__round **out, const json_t *order, int64_t height, const char *url,
			   gh_error *error)
{
	gh__round *round = gh__calloc(1, sizeof *round);
	gh__json_reader r;
	gh_status status;

	if (!round)
		return gh__fail_nomem(error);
	atomic_init(&round->references, 1);
	gh__json_root(&r, order, NULL, error);
	read_texts(round, &r);
	read_numbers(round, &r, height);
	round->url = gh__strdup(url);
	status = gh__json_reader_status(&r);
	if (status == GH_OK)
		status = read_params(&round->params, json_object_get(order, "params"), error);
	if (status == GH_OK && (!round->block_hash || !round->public_key || !round->url))
		status = gh__fail_nomem(error);
	if (status != GH_OK) {
		gh__round_release(round);
		return status;
	}
	*out = round;
	return GH_OK;
}

gh__round *gh__round_hold(gh__round *round)
{
	atomic_fetch_add(&round->references, 1);
	return round;
}

void gh__round_release(gh__round *round)
{
	if (!round || atomic_fetch_sub(&round->references, 1) > 1)
		return;
	gh__free(round->block_hash);
	gh__free(round->public_key);
	gh__free(round->url);
	gh__free(round);
}

/* ---- telling ---- */

/* As others write it: without a point where there is nothing behind it. */
static json_t *number(double value)
{
	int64_t whole = (int64_t)value; /* parameters are far from its ends */

	return (double)whole == value ? json_integer(whole) : json_real(value);
}

static json_t *params_object(const gh_poc_params *p)
{
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:o, s:I, s:f, s:o, s:b, s:I}", "dim",
			 (json_int_t)p->dim, "n_layers", (json_int_t)p->n_layers, "n_heads",
			 (json_int_t)p->n_heads, "n_kv_heads", (json_int_t)p->n_kv_heads,
			 "vocab_size", (json_int_t)p->vocab_size, "ffn_dim_multiplier",
			 number(p->ffn_dim_multiplier), "multiple_of", (json_int_t)p->multiple_of,
			 "norm_eps", p->norm_eps, "rope_theta", number(p->rope_theta),
			 "use_scaled_rope", (int)p->use_scaled_rope, "seq_len",
			 (json_int_t)p->seq_len);
}

gh_status gh__round_init_body(const gh__round *round, uint64_t number, char **out, gh_error *error)
{
	json_t *body =
		json_pack("{s:s, s:I, s:s, s:i, s:f, s:f, s:o, s:I, s:i, s:s}", "block_hash",
			  round->block_hash, "block_height", (json_int_t)round->block_height,
			  "public_key", round->public_key, "batch_size", BATCH_SIZE, "r_target",
			  round->r_target, "fraud_threshold", round->fraud_threshold, "params",
			  params_object(&round->params), "node_id", (json_int_t)number,
			  "node_count", (int)round->node_count, "url", round->url);

	*out = body ? gh__json_text(body, NULL) : NULL;
	json_decref(body);
	return *out ? GH_OK : gh__fail_nomem(error);
}

json_t *gh__round_object(const gh__round *round)
{
	return json_pack("{s:s, s:I, s:s, s:o, s:f, s:f, s:i, s:i, s:s}", "block_hash",
			 round->block_hash, "block_height", (json_int_t)round->block_height,
			 "public_key", round->public_key, "params", params_object(&round->params),
			 "r_target", round->r_target, "fraud_threshold", round->fraud_threshold,
			 "sample_size", (int)round->sample, "node_count", (int)round->node_count,
			 "callback_url", round->url);
}
