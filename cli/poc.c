#include "cli.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/*
 * gonkahost poc: proofs of compute in this process.
 */
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
	KEY_FILE,
	KEY_JSON
};

enum { NONCES_MAX = 1 << 24, FILE_MAX = 64 << 20 };

/* What a nonce has to be below, and how improbable an honest batch may look, unless told. */
static const double r_target_default = 1.4013564660458173, threshold_default = 1e-7;

typedef struct poc_arguments {
	const char *verb;
	const char *params;
	const char *public_key;
	const char *nonces;
	const char *sets;
	const char *file; /* "-" = standard input */
	double r_target, threshold;
	gh_poc_options options;
	bool json;
} poc_arguments;

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
		options->device = arg;
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

/* ---- what the command line names ---- */

/* A whole file; caller frees. NULL: said why. */
static char *read_file(const char *path, size_t *len)
{
	FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "r");
	char *text = file ? malloc(FILE_MAX + 1) : NULL;

	if (!file || !text) {
		cli_complain("poc", CLI_FAILED, "%s: %s", path, strerror(errno));
		free(text);
		return NULL;
	}
	*len = fread(text, 1, FILE_MAX + 1, file);
	if (file != stdin)
		fclose(file);
	if (*len > FILE_MAX) {
		cli_complain("poc", CLI_FAILED, "%s: more than %d bytes", path, FILE_MAX);
		free(text);
		return NULL;
	}
	return text;
}

/* A set by name, or a file that ends in .json. */
static int read_params(const char *given, gh_poc_params *out)
{
	gh_error error = GH_ERROR_INIT;
	size_t len = strlen(given);
	gh_status status;
	char *text;

	if (len < 5 || strcmp(given + len - 5, ".json") != 0) {
		status = gh_poc_params_named(out, given, &error);
		return status == GH_OK ? CLI_OK
				       : cli_complain("poc", CLI_USAGE, "--params: %s", error.text);
	}
	text = read_file(given, &len);
	if (!text)
		return CLI_FAILED;
	status = gh_poc_params_parse(out, text, len, &error);
	free(text);
	return status == GH_OK ? CLI_OK
			       : cli_complain("poc", CLI_USAGE, "%s: %s", given, error.text);
}

typedef struct nonce_list {
	uint64_t *at;
	size_t count;
} nonce_list;

static bool add_range(nonce_list *list, uint64_t first, uint64_t last)
{
	uint64_t *more;

	if (last < first || last > INT64_MAX || last - first >= NONCES_MAX - list->count)
		return false;
	more = realloc(list->at, (list->count + (last - first) + 1) * sizeof *more);
	if (!more)
		return false;
	list->at = more;
	for (uint64_t n = first; n <= last; n++)
		list->at[list->count++] = n;
	return true;
}

/* "0-63,1000". */
static bool read_nonces(nonce_list *out, const char *text)
{
	char *end = NULL;
	bool good = text && isdigit((unsigned char)text[0]);

	while (good) {
		uint64_t first, last;

		errno = 0;
		first = last = strtoull(text, &end, 10);
		if (*end == '-' && isdigit((unsigned char)end[1]))
			last = strtoull(end + 1, &end, 10);
		good = errno == 0 && add_range(out, first, last);
		if (*end != ',')
			break;
		text = end + 1;
		good = good && isdigit((unsigned char)text[0]);
	}
	return good && end && *end == '\0';
}

/* ---- computing ---- */

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int show_weights(double done, const char *phase, void *userdata)
{
	(void)userdata;
	fprintf(stderr, "\r%s %3.0f %%\033[K", phase, done * 100);
	return 0;
}

static void show_rate(size_t done, size_t count, size_t hits, double seconds, double flops)
{
	double rate = (double)done / seconds;

	fprintf(stderr,
		"\r%zu of %zu nonces, %zu hits, %.3g nonces/s, %.3g TFLOP/s, %.0f s left\033[K",
		done, count, hits, rate, rate * flops / 1e12, (double)(count - done) / rate);
}

/* All distances, batch by batch, with a line that lives on a terminal. */
static gh_status compute(const poc_arguments *arguments, const gh_poc_options *options,
			 const nonce_list *nonces, double *dist, gh_error *error)
{
	bool live = isatty(STDERR_FILENO) != 0 && !arguments->json;
	gh_poc_options mine = *options;
	size_t hits = 0, some;
	gh_poc_info info;
	gh_poc *poc;
	gh_status status;
	double began;

	if (live)
		mine.progress = show_weights;
	status = gh_poc_create(&poc, &mine, error);
	if (status != GH_OK)
		return status;
	gh_poc_info_get(poc, &info);
	began = now();
	for (size_t at = 0; at < nonces->count && status == GH_OK; at += some) {
		some = nonces->count - at < (size_t)info.batch ? nonces->count - at
							       : (size_t)info.batch;
		status = gh_poc_distances(poc, arguments->public_key, nonces->at + at, some,
					  dist + at, error);
		for (size_t i = at; i < at + some && status == GH_OK; i++)
			hits += dist[i] < arguments->r_target;
		if (live && status == GH_OK)
			show_rate(at + some, nonces->count, hits, now() - began, info.flops);
	}
	if (live)
		fputs("\r\033[K", stderr);
	gh_poc_free(poc);
	return status;
}

/* Parameters and what both verbs must be told. */
static int prepare(const poc_arguments *arguments, gh_poc_options *options, gh_poc_params *params)
{
	*options = arguments->options;
	options->params = params;
	return read_params(arguments->params, params);
}

/* ---- generate ---- */

static void print_distances(const poc_arguments *arguments, const nonce_list *nonces,
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

static int generate(const poc_arguments *arguments)
{
	nonce_list nonces = { NULL, 0 };
	gh_error error = GH_ERROR_INIT;
	gh_poc_options options;
	gh_poc_params params;
	double *dist = NULL;
	gh_status status = GH_ENOMEM;
	int code = prepare(arguments, &options, &params);

	if (code == CLI_OK && !(options.block_hash && arguments->public_key && arguments->nonces))
		code = cli_complain("poc", CLI_USAGE,
				    "generate: --block-hash, --public-key and --nonces are needed");
	if (code == CLI_OK && !read_nonces(&nonces, arguments->nonces))
		code = cli_complain("poc", CLI_USAGE,
				    "--nonces: expected numbers and ranges such as 0-63,1000, at "
				    "most %d, got '%s'",
				    NONCES_MAX, arguments->nonces);
	if (code == CLI_OK) {
		dist = calloc(nonces.count + 1, sizeof *dist);
		if (dist)
			status = compute(arguments, &options, &nonces, dist, &error);
		if (status == GH_OK)
			print_distances(arguments, &nonces, dist);
		else
			code = cli_fail("poc", status, &error);
	}
	free(dist);
	free(nonces.at);
	return code;
}

/* ---- validate ---- */

/* A batch as nodes send it: public_key, block_hash, nonces, dist. */
typedef struct claim {
	json_t *tree;
	nonce_list nonces;
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
	char *text = read_file(path, &len);
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
		    !add_range(&out->nonces, nonce, nonce))
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

static int validate(poc_arguments *arguments)
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
		code = prepare(arguments, &options, &params);
	if (code == CLI_OK) {
		options.block_hash = json_string_value(json_object_get(claimed.tree, "block_hash"));
		arguments->public_key =
			json_string_value(json_object_get(claimed.tree, "public_key"));
		computed = calloc(claimed.nonces.count + 1, sizeof *computed);
		if (computed)
			status = compute(arguments, &options, &claimed.nonces, computed, &error);
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

/* ---- verify ---- */

enum { VERIFY_OK = 0, VERIFY_WRONG = 1, VERIFY_UNKNOWN = 2 };

static int verify_set(const poc_arguments *arguments, const char *set)
{
	gh_error error = GH_ERROR_INIT;
	gh_poc_check check;
	double began = now();
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
		       words[code], (int)check.nonces, check.rms, check.most, now() - began);
	}
	fflush(stdout);
	return code;
}

static int verify(const poc_arguments *arguments)
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

int cli_poc(int argc, char **argv)
{
	static const struct argp_option options[] = {
		{ "params", KEY_PARAMS, "SET|FILE.json", 0,
		  "mainnet (default), testnet, devtest, inttest, or a file", 0 },
		{ "block-hash", KEY_BLOCK_HASH, "HASH", 0, "generate: of the round", 0 },
		{ "public-key", KEY_PUBLIC_KEY, "KEY", 0, "generate: whose nonces", 0 },
		{ "nonces", KEY_NONCES, "LIST", 0, "generate: such as 0-63,1000", 0 },
		{ "file", KEY_FILE, "FILE", 0,
		  "validate: a batch as nodes send it (standard input)", 0 },
		{ "r-target", KEY_R_TARGET, "X", 0, "A hit is below it (1.4013564660458173)", 0 },
		{ "fraud-threshold", KEY_THRESHOLD, "P", 0,
		  "validate: fraud is less probable than this by accident (1e-7)", 0 },
		{ "sets", KEY_SETS, "LIST", 0, "verify: which (inttest,devtest,testnet,mainnet)",
		  0 },
		{ "device", KEY_DEVICE, "KIND", 0, "cpu; the best that is there", 1 },
		{ "budget", KEY_BUDGET, "SIZE", 0, "Memory to use, such as 8GiB (half of it)", 1 },
		{ "batch", KEY_BATCH, "N", 0, "Nonces at a time, at most", 1 },
		{ "threads", KEY_THREADS, "N", 0, "Of a CPU (all cores)", 1 },
		{ "json", KEY_JSON, NULL, 0, "Print JSON", 2 },
		{ 0 }
	};
	static const struct argp argp = {
		options,
		parse,
		"generate|validate|verify",
		"Proofs of compute in this process: distances of nonces, the verdict on another's "
		"batch, or whether this machine computes what the network's do.\vverify exits with "
		"0, 1 or 2: ok, wrong, cannot tell.",
		NULL,
		NULL,
		NULL
	};
	poc_arguments arguments = { .params = "mainnet",
				    .sets = "inttest,devtest,testnet,mainnet",
				    .file = "-",
				    .r_target = r_target_default,
				    .threshold = threshold_default,
				    .options = GH_POC_OPTIONS_INIT };

	if (cli_parse(&argp, argc, argv, &arguments))
		return CLI_USAGE;
	if (strcmp(arguments.verb, "generate") == 0)
		return generate(&arguments);
	if (strcmp(arguments.verb, "validate") == 0)
		return validate(&arguments);
	if (strcmp(arguments.verb, "verify") == 0)
		return verify(&arguments);
	return cli_complain("poc", CLI_USAGE, "expected generate, validate or verify, got '%s'",
			    arguments.verb);
}
