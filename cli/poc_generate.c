#include "poc.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/*
 * gonkahost poc generate: distances of nonces.
 */

/* "0-63,1000". */
static bool read_nonces(poc_nonces *out, const char *text)
{
	char *end = NULL;
	bool good = text && isdigit((unsigned char)text[0]);

	while (good) {
		uint64_t first, last;

		errno = 0;
		first = last = strtoull(text, &end, 10);
		if (*end == '-' && isdigit((unsigned char)end[1]))
			last = strtoull(end + 1, &end, 10);
		good = errno == 0 && poc_nonces_add(out, first, last);
		if (*end != ',')
			break;
		text = end + 1;
		good = good && isdigit((unsigned char)text[0]);
	}
	return good && end && *end == '\0';
}

static void print_distances(const poc_arguments *arguments, const poc_nonces *nonces,
			    const double *dist)
{
	json_t *numbers = json_array(), *distances = json_array(), *object;

	if (!arguments->json) {
		for (size_t i = 0; i < nonces->count; i++)
			printf("%20" PRIu64 "  %.17g%s\n", nonces->at[i], dist[i],
			       dist[i] < arguments->r_target ? "  hit" : "");
		json_decref(numbers);
		json_decref(distances);
		return;
	}
	for (size_t i = 0; i < nonces->count; i++) {
		json_array_append_new(numbers, json_integer((json_int_t)nonces->at[i]));
		json_array_append_new(distances, json_real(dist[i]));
	}
	object = json_pack("{s:o, s:o}", "nonces", numbers, "dist", distances);
	cli_print_json(object);
	json_decref(object);
}

int poc_generate(poc_arguments *arguments)
{
	poc_nonces nonces = { NULL, 0 };
	gh_error error = GH_ERROR_INIT;
	gh_poc_options options;
	gh_poc_params params;
	double *dist = NULL;
	gh_status status = GH_ENOMEM;
	int code = poc_prepare(arguments, &options, &params);

	if (code == CLI_OK && !(options.block_hash && arguments->public_key && arguments->nonces))
		code = cli_complain("poc", CLI_USAGE,
				    "generate: --block-hash, --public-key and --nonces are needed");
	if (code == CLI_OK && !read_nonces(&nonces, arguments->nonces))
		code = cli_complain("poc", CLI_USAGE,
				    "--nonces: expected numbers and ranges such as 0-63,1000, at "
				    "most %d, got '%s'",
				    POC_NONCES_MAX, arguments->nonces);
	if (code == CLI_OK) {
		dist = calloc(nonces.count + 1, sizeof *dist);
		if (dist)
			status = poc_compute(arguments, &options, &nonces, dist, &error);
		if (status == GH_OK)
			print_distances(arguments, &nonces, dist);
		else
			code = cli_fail("poc", status, &error);
	}
	free(dist);
	free(nonces.at);
	return code;
}
