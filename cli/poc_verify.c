#include "poc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * gonkahost poc verify: whether this machine computes what the network's do.
 */

enum { VERIFY_OK = 0, VERIFY_WRONG = 1, VERIFY_UNKNOWN = 2 };

static int verify_set(const poc_arguments *arguments, const char *set)
{
	gh_error error = GH_ERROR_INIT;
	gh_poc_check check;
	double began = poc_now();
	gh_status status = gh_poc_verify(&check, set, &arguments->options, &error);
	int code = status != GH_OK ? VERIFY_UNKNOWN : check.holds ? VERIFY_OK : VERIFY_WRONG;
	static const char *const words[] = { "ok", "WRONG", "cannot tell" };

	if (arguments->json) {
		json_t *object = json_pack("{s:s, s:s, s:i, s:f, s:f, s:s}", "set", set, "verdict",
					   words[code], "nonces", (int)check.nonces, "rms",
					   check.rms, "max", check.most, "error", error.text);

		cli_print_json(object);
		json_decref(object);
	} else if (status != GH_OK) {
		printf("%-8s  %s: %s\n", set, words[code], error.text);
	} else {
		printf("%-8s  %s: %d nonces, off by %.2g rms, %.2g at most, %.1f s\n", set,
		       words[code], (int)check.nonces, check.rms, check.most, poc_now() - began);
	}
	fflush(stdout);
	return code;
}

int poc_verify(poc_arguments *arguments)
{
	char *sets = strdup(arguments->sets), *rest = NULL;
	int worst = VERIFY_OK;

	for (char *set = sets ? strtok_r(sets, ",", &rest) : NULL; set;
	     set = strtok_r(NULL, ",", &rest)) {
		int code = verify_set(arguments, set);

		if (code == VERIFY_WRONG || worst == VERIFY_OK)
			worst = code;
	}
	free(sets);
	return worst;
}
