#ifndef GH_CLI_POC_H
#define GH_CLI_POC_H

#include "cli.h"

/*
 * gonkahost poc: one row of a table a verb (poc.c), one file a verb, and what they share
 * (poc_compute.c).
 */
enum { POC_NONCES_MAX = 1 << 24 };

typedef struct poc_arguments {
	const char *verb;
	const char *params;
	const char *public_key;
	const char *nonces;
	const char *sets;
	const char *file; /* "-" = standard input */
	double r_target, threshold;
	double seconds; /* of bench */
	gh_poc_options options;
	bool json;
} poc_arguments;

/* Verbs; each answers with the exit code. */
int poc_generate(poc_arguments *arguments);
int poc_validate(poc_arguments *arguments);
int poc_bench(poc_arguments *arguments);
int poc_verify(poc_arguments *arguments);
int poc_round(int argc, char **argv); /* its options are its own */

/* What --params names: a file, by its ending, or else a set. */
bool poc_params_in_file(const char *given);

/* A whole file; caller frees. NULL: said why. */
char *poc_read_file(const char *path, size_t *len);

/* Options with the parameters that the command line names; the options borrow params. */
int poc_prepare(const poc_arguments *arguments, gh_poc_options *options, gh_poc_params *params);

typedef struct poc_nonces {
	uint64_t *at; /* free() */
	size_t count;
} poc_nonces;

/* first to last; false: they are none, or more than POC_NONCES_MAX in all. */
bool poc_nonces_add(poc_nonces *list, uint64_t first, uint64_t last);

bool poc_live(const poc_arguments *arguments); /* lines that live on a terminal are wanted */

/* A network of these options; how far it is lives on a terminal. */
gh_status poc_open(gh_poc **out, const poc_arguments *arguments, const gh_poc_options *options,
		   gh_error *error);

/* All distances, batch by batch, with a line that lives on a terminal. */
gh_status poc_compute(const poc_arguments *arguments, const gh_poc_options *options,
		      const poc_nonces *nonces, double *dist, gh_error *error);

double poc_now(void); /* seconds */

#endif
