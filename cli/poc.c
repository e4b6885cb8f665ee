#include "poc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * gonkahost poc: proofs of compute in this process. Most verbs share one parser; one whose options
 * are others brings its own, and its name goes before them.
 */
typedef struct poc_verb {
	const char *name;
	const char *help;                     /* one line */
	int (*run)(poc_arguments *arguments); /* behind the shared parser, */
	int (*main)(int argc, char **argv);   /* or with its own; argv[0] is "gonkahost poc NAME" */
} poc_verb;

static const poc_verb verbs[] = {
	{ "generate", "distances of nonces", poc_generate, NULL },
	{ "validate", "the verdict on another's batch", poc_validate, NULL },
	{ "bench", "how fast this machine is, and how near to what it could be", poc_bench, NULL },
	{ "round", "a round over all nodes of a network node", NULL, poc_round },
	{ "verify", "whether this machine computes what the network's do", poc_verify, NULL },
};

enum { VERBS = sizeof verbs / sizeof verbs[0] };

enum {
	KEY_PARAMS = 256,
	KEY_BLOCK_HASH,
	KEY_PUBLIC_KEY,
	KEY_NONCES,
	KEY_R_TARGET,
	KEY_THRESHOLD,
	KEY_DEVICE,
	KEY_BUDGET,
	KEY_BATCH,
	KEY_THREADS,
	KEY_SETS,
	KEY_SECONDS,
	KEY_FILE,
	KEY_JSON
};

/* A kind, or a CPU that computes as tensor cores do. */
static void choose_device(gh_poc_options *options, const char *kind)
{
	bool core = strcmp(kind, "cpu:tensor-core") == 0;

	options->device = core ? "cpu" : kind;
	options->flags = core ? GH_DEVICE_TENSOR_CORE : 0;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	poc_arguments *arguments = state->input;
	gh_poc_options *options = &arguments->options;

	switch (key) {
	case KEY_PARAMS:
		arguments->params = arg;
		return 0;
	case KEY_BLOCK_HASH:
		options->block_hash = arg;
		return 0;
	case KEY_PUBLIC_KEY:
		arguments->public_key = arg;
		return 0;
	case KEY_NONCES:
		arguments->nonces = arg;
		return 0;
	case KEY_R_TARGET:
		arguments->r_target = cli_real(state, "--r-target", arg, 0, 2);
		return 0;
	case KEY_THRESHOLD:
		arguments->threshold = cli_real(state, "--fraud-threshold", arg, 0, 1);
		return 0;
	case KEY_DEVICE:
		choose_device(options, arg);
		return 0;
	case KEY_BUDGET:
		options->budget = cli_size(state, "--budget", arg);
		return 0;
	case KEY_BATCH:
		options->batch = cli_int(state, "--batch", arg, 1, 1 << 20);
		return 0;
	case KEY_THREADS:
		options->threads = cli_int(state, "--threads", arg, 1, 1024);
		return 0;
	case KEY_SETS:
		arguments->sets = arg;
		return 0;
	case KEY_SECONDS:
		arguments->seconds = cli_real(state, "--seconds", arg, 0, 86400);
		return 0;
	case KEY_FILE:
		arguments->file = arg;
		return 0;
	case KEY_JSON:
		arguments->json = true;
		return 0;
	case ARGP_KEY_ARG:
		if (arguments->verb)
			return ARGP_ERR_UNKNOWN;
		arguments->verb = arg;
		return 0;
	case ARGP_KEY_NO_ARGS:
		argp_usage(state);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* ---- the table of verbs ---- */

static const poc_verb *find(const char *name)
{
	for (size_t i = 0; i < VERBS; i++)
		if (strcmp(verbs[i].name, name) == 0)
			return &verbs[i];
	return NULL;
}

/* "generate|validate|verify", or a line a verb; free(). NULL: no memory. */
static char *list(bool help)
{
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	for (size_t i = 0; out && i < VERBS; i++)
		if (help)
			fprintf(out, "  %-9s  %s\n", verbs[i].name, verbs[i].help);
		else
			fprintf(out, "%s%s", i > 0 ? "|" : "", verbs[i].name);
	if (out)
		fclose(out);
	return text;
}

static char *tell_verbs(int key, const char *text, void *input)
{
	char *verb_lines, *all = NULL;

	(void)input;
	if (key == ARGP_KEY_HELP_ARGS_DOC)
		return list(false);
	if (key != ARGP_KEY_HELP_POST_DOC)
		return (char *)text;
	verb_lines = list(true);
	if (asprintf(&all, "Verbs:\n%s\n%s", verb_lines ? verb_lines : "", text) < 0)
		all = NULL;
	free(verb_lines);
	return all;
}

static int run_own(const poc_verb *verb, int argc, char **argv)
{
	char title[64];

	snprintf(title, sizeof title, "gonkahost poc %s", verb->name);
	argv[0] = title;
	return verb->main(argc, argv);
}

int cli_poc(int argc, char **argv)
{
	static const struct argp_option options[] = {
		{ "params", KEY_PARAMS, "SET|FILE.json", 0,
		  "mainnet (default), testnet, devtest, inttest, or a file", 0 },
		{ "block-hash", KEY_BLOCK_HASH, "HASH", 0, "generate, bench: of the round", 0 },
		{ "public-key", KEY_PUBLIC_KEY, "KEY", 0, "generate, bench: whose nonces", 0 },
		{ "nonces", KEY_NONCES, "LIST", 0, "generate: such as 0-63,1000", 0 },
		{ "file", KEY_FILE, "FILE", 0,
		  "validate: a batch as nodes send it (standard input)", 0 },
		{ "r-target", KEY_R_TARGET, "X", 0, "A hit is below it (1.4013564660458173)", 0 },
		{ "fraud-threshold", KEY_THRESHOLD, "P", 0,
		  "validate: fraud is less probable than this by accident (1e-7)", 0 },
		{ "sets", KEY_SETS, "LIST", 0, "verify: which (inttest,devtest,testnet,mainnet)",
		  0 },
		{ "seconds", KEY_SECONDS, "X", 0, "bench: how long to compute (10)", 0 },
		{ "device", KEY_DEVICE, "KIND", 0, "cpu or cuda (the best that is there)", 1 },
		{ "budget", KEY_BUDGET, "SIZE", 0, "Memory to use, such as 8GiB (half of it)", 1 },
		{ "batch", KEY_BATCH, "N", 0, "Nonces at a time, at most", 1 },
		{ "threads", KEY_THREADS, "N", 0, "Of a CPU (all cores)", 1 },
		{ "json", KEY_JSON, NULL, 0, "Print JSON", 2 },
		{ 0 }
	};
	static const struct argp argp = {
		options,
		parse,
		"VERB",
		"Proofs of compute in this process: distances of nonces, the verdict on another's "
		"batch, how fast this machine is, or whether it computes what the network's do; "
		"and, "
		"with options of its own, a round over many."
		"\vverify exits with "
		"0, 1 or 2: ok, wrong, cannot tell.",
		NULL,
		tell_verbs,
		NULL
	};
	poc_arguments arguments = { .params = "mainnet",
				    .sets = "inttest,devtest,testnet,mainnet",
				    .file = "-",
				    .r_target = GH_POC_R_TARGET,
				    .threshold = GH_POC_FRAUD_THRESHOLD,
				    .seconds = 10,
				    .options = GH_POC_OPTIONS_INIT };
	const poc_verb *verb = argc > 1 ? find(argv[1]) : NULL;
	char *names;

	if (verb && verb->main)
		return run_own(verb, argc - 1, argv + 1);
	if (cli_parse(&argp, argc, argv, &arguments))
		return CLI_USAGE;
	verb = find(arguments.verb);
	if (verb && verb->run)
		return verb->run(&arguments);
	if (verb)
		return cli_complain("poc", CLI_USAGE, "%s: goes before its options", verb->name);
	names = list(false);
	cli_complain("poc", CLI_USAGE, "expected %s, got '%s'", names ? names : "a verb",
		     arguments.verb);
	free(names);
	return CLI_USAGE;
}
