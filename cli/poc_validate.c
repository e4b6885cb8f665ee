#include "poc.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/*
 * gonkahost poc validate: the verdict on another's batch.
 */

/* A batch as nodes send it: public_key, block_hash, nonces, dist. */
typedef struct claim {
	json_t *tree;
	poc_nonces nonces;
	double *dist;
} claim;

static void claim_done(claim *c)
{
	json_decref(c->tree);
	free(c->nonces.at);
	free(c->dist);
}

static int read_claim(claim *out, const char *path)
{
	size_t len = 0, i;
	char *text = poc_read_file(path, &len);
	const json_t *nonces, *dist, *value;
	json_error_t problem;

	*out = (claim){ 0 };
	if (!text)
		return CLI_FAILED;
	out->tree = json_loadb(text, len, 0, &problem);
	free(text);
	nonces = json_object_get(out->tree, "nonces");
	dist = json_object_get(out->tree, "dist");
	if (!json_is_array(nonces) || !json_is_array(dist) ||
	    json_array_size(nonces) != json_array_size(dist) ||
	    !json_is_string(json_object_get(out->tree, "block_hash")) ||
	    !json_is_string(json_object_get(out->tree, "public_key")))
		return cli_complain(
			"poc", CLI_USAGE,
			"%s: expected an object with block_hash, public_key, nonces and "
			"as many dist",
			path);
	out->dist = calloc(json_array_size(dist) + 1, sizeof *out->dist);
	json_array_foreach(nonces, i, value)
	{
		uint64_t nonce = (uint64_t)json_integer_value(value);

		if (!json_is_integer(value) || json_integer_value(value) < 0 || !out->dist ||
		    !json_is_number(json_array_get(dist, i)) ||
		    !poc_nonces_add(&out->nonces, nonce, nonce))
			return cli_complain("poc", CLI_USAGE,
					    "%s: nonces[%zu]: expected a number from 0 on, and one "
					    "in dist[%zu]",
					    path, i, i);
		out->dist[i] = json_number_value(json_array_get(dist, i));
	}
	return CLI_OK;
}

static void print_verdict(const poc_arguments *arguments, const gh_poc_verdict *verdict,
			  size_t count)
{
	json_t *object;

	if (!arguments->json) {
		printf("%" PRIu64 " of %zu invalid, honest with probability %.3g: %s\n",
		       verdict->n_invalid, count, verdict->probability_honest,
		       verdict->fraud_detected ? "fraud" : "no fraud");
		return;
	}
	object = json_pack("{s:I, s:I, s:f, s:b}", "nonces", (json_int_t)count, "n_invalid",
			   (json_int_t)verdict->n_invalid, "probability_honest",
			   verdict->probability_honest, "fraud_detected",
			   (int)verdict->fraud_detected);
	cli_print_json(object);
	json_decref(object);
}

int poc_validate(poc_arguments *arguments)
{
	gh_error error = GH_ERROR_INIT;
	gh_poc_verdict verdict;
	gh_poc_options options;
	gh_poc_params params;
	double *computed = NULL;
	gh_status status = GH_ENOMEM;
	claim claimed;
	int code = read_claim(&claimed, arguments->file);

	if (code == CLI_OK)
		code = poc_prepare(arguments, &options, &params);
	if (code == CLI_OK) {
		options.block_hash = json_string_value(json_object_get(claimed.tree, "block_hash"));
		arguments->public_key =
			json_string_value(json_object_get(claimed.tree, "public_key"));
		computed = calloc(claimed.nonces.count + 1, sizeof *computed);
		if (computed)
			status =
				poc_compute(arguments, &options, &claimed.nonces, computed, &error);
		if (status == GH_OK)
			status =
				gh_poc_judge(&verdict, claimed.dist, computed, claimed.nonces.count,
					     arguments->r_target, arguments->threshold, &error);
		if (status == GH_OK)
			print_verdict(arguments, &verdict, claimed.nonces.count);
		else
			code = cli_fail("poc", status, &error);
	}
	free(computed);
	claim_done(&claimed);
	return code;
}
