#include "poc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/*
 * gonkahost poc round: one round over all nodes of a running network node, which conducts it. Here
 * it is ordered, watched, and told.
 */
enum {
	KEY_NETWORK_NODE = 256,
	KEY_PARAMS,
	KEY_BLOCK_HASH,
	KEY_BLOCK_HEIGHT,
	KEY_PUBLIC_KEY,
	KEY_R_TARGET,
	KEY_THRESHOLD,
	KEY_SECONDS,
	KEY_VALIDATE_SECONDS,
	KEY_SAMPLE,
	KEY_JSON
};

typedef struct round_arguments {
	const char *network_node;
	const char *params;
	json_t *order;
	bool json;
} round_arguments;

static void set(round_arguments *arguments, const char *key, json_t *value)
{
	json_object_set_new(arguments->order, key, value);
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	round_arguments *arguments = state->input;

	switch (key) {
	case KEY_NETWORK_NODE:
		arguments->network_node = arg;
		return 0;
	case KEY_PARAMS:
		arguments->params = arg;
		return 0;
	case KEY_BLOCK_HASH:
		set(arguments, "block_hash", json_string(arg));
		return 0;
	case KEY_BLOCK_HEIGHT:
		set(arguments, "block_height",
		    json_integer(cli_int(state, "--block-height", arg, 0, INT32_MAX)));
		return 0;
	case KEY_PUBLIC_KEY:
		set(arguments, "public_key", json_string(arg));
		return 0;
	case KEY_R_TARGET:
		set(arguments, "r_target", json_real(cli_real(state, "--r-target", arg, 0, 2)));
		return 0;
	case KEY_THRESHOLD:
		set(arguments, "fraud_threshold",
		    json_real(cli_real(state, "--fraud-threshold", arg, 0, 1)));
		return 0;
	case KEY_SECONDS:
		set(arguments, "generate_seconds",
		    json_real(cli_real(state, "--seconds", arg, 0, 86400)));
		return 0;
	case KEY_VALIDATE_SECONDS:
		set(arguments, "validate_seconds",
		    json_real(cli_real(state, "--validate-seconds", arg, 0, 86400)));
		return 0;
	case KEY_SAMPLE:
		set(arguments, "sample_size",
		    json_integer(cli_int(state, "--sample", arg, 1, 1 << 16)));
		return 0;
	case KEY_JSON:
		arguments->json = true;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* A set goes by its name, a file as the object that it holds. */
static int add_params(round_arguments *arguments)
{
	const char *given = arguments->params;
	json_error_t problem;
	json_t *object;
	size_t len;
	char *text;

	if (!poc_params_in_file(given)) {
		set(arguments, "params", json_string(given));
		return CLI_OK;
	}
	text = poc_read_file(given, &len);
	if (!text)
		return CLI_FAILED;
	object = json_loadb(text, len, 0, &problem);
	free(text);
	if (!json_is_object(object)) {
		json_decref(object);
		return cli_complain("poc", CLI_USAGE, "%s: expected an object", given);
	}
	set(arguments, "params", object);
	return CLI_OK;
}

/* ---- talking to the network node ---- */

static int call(const round_arguments *arguments, const char *method, const char *path,
		const char *body, json_t **report)
{
	size_t len = strlen(arguments->network_node);
	char *url;
	int code;

	while (len > 0 && arguments->network_node[len - 1] == '/')
		len--;
	if (asprintf(&url, "%.*s/admin/v1/poc/rounds%s", (int)len, arguments->network_node, path) <
	    0)
		return CLI_FAILED;
	code = cli_http_json("poc", method, url, body, report);
	free(url);
	return code;
}

static int begin(const round_arguments *arguments, json_t **report)
{
	char *body = json_dumps(arguments->order, JSON_COMPACT);
	int code = body ? call(arguments, "POST", "", body, report) : CLI_FAILED;

	free(body);
	return code;
}

/* ---- telling ---- */

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

static long long count_of(const json_t *object, const char *key)
{
	return (long long)json_integer_value(json_object_get(object, key));
}

static bool is_over(const json_t *report)
{
	const char *stage = text_of(report, "stage");

	return strcmp(stage, "DONE") == 0 || strcmp(stage, "CANCELLED") == 0;
}

static void show_stage(const json_t *report)
{
	const json_t *left = json_object_get(report, "seconds_left"), *node;
	long long nonces = 0;
	size_t i, ready = 0;
	double rate = 0;

	json_array_foreach(json_object_get(report, "nodes"), i, node)
	{
		nonces += count_of(node, "nonces");
		rate += json_number_value(json_object_get(node, "rate"));
		ready += json_is_true(json_object_get(node, "joined"));
	}
	fprintf(stderr, "\r%-10s  %zu nodes, %lld nonces, %.3g nonces/s", text_of(report, "stage"),
		ready, nonces, rate);
	if (json_is_number(left))
		fprintf(stderr, ", %.0f s left", json_number_value(left));
	fputs("\033[K", stderr);
}

static void print_number(const json_t *value, int width, const char *format)
{
	char text[32] = "-";

	if (json_is_number(value))
		snprintf(text, sizeof text, format, json_number_value(value));
	printf(" %*s", width, text);
}

static void print_node(const json_t *node)
{
	const char *fault = text_of(node, "fault"), *problem = text_of(node, "problem");
	const json_t *judge;
	size_t i;

	printf("%-16s", text_of(node, "id"));
	print_number(json_object_get(node, "nonces"), 12, "%.0f");
	print_number(json_object_get(node, "rate"), 12, "%.4g");
	printf(" %9lld %8lld  %-8s ", count_of(node, "hits"), count_of(node, "invalid"),
	       text_of(node, "verdict"));
	json_array_foreach(json_object_get(node, "judges"), i, judge)
	{
		const json_t *invalid = json_object_get(judge, "invalid");

		printf(" %s", text_of(judge, "id"));
		if (invalid)
			printf(" %lld/%lld", (long long)json_integer_value(invalid),
			       count_of(judge, "nonces"));
		else
			printf(" (%s)", text_of(judge, "problem"));
	}
	putchar('\n');
	if (fault[0])
		printf("%-16s %s\n", "", fault);
	if (problem[0])
		printf("%-16s %s\n", "", problem);
}

static void print_report(const json_t *report)
{
	const json_t *node;
	size_t i;

	printf("height %lld, block %s\n", count_of(report, "block_height"),
	       text_of(report, "block_hash"));
	printf("%-16s %12s %12s %9s %8s  %-8s  %s\n", "NODE", "NONCES", "NONCES/S", "HITS",
	       "INVALID", "VERDICT", "JUDGED BY");
	json_array_foreach(json_object_get(report, "nodes"), i, node) print_node(node);
	if (text_of(report, "problem")[0])
		printf("%s\n", text_of(report, "problem"));
}

/* 0 when every node is found honest. */
static int verdict_of(const json_t *report)
{
	const json_t *node;
	size_t i;

	if (strcmp(text_of(report, "stage"), "DONE") != 0)
		return CLI_FAILED;
	json_array_foreach(json_object_get(report, "nodes"), i, node)
	{
		if (strcmp(text_of(node, "verdict"), "HONEST") != 0)
			return CLI_FAILED;
	}
	return CLI_OK;
}

/* ---- watching ---- */

/* Until the round is over; a signal calls it off. *report: the last. */
static int watch(const round_arguments *arguments, json_t **report)
{
	bool live = isatty(STDERR_FILENO) != 0 && !arguments->json, called_off = false;
	int code = CLI_OK;

	while (code == CLI_OK && !is_over(*report)) {
		json_t *ignored;

		if (live)
			show_stage(*report);
		if (cli_signals_wait_for(0.5) && !called_off) {
			called_off = true;
			if (call(arguments, "DELETE", "/latest", NULL, &ignored) == CLI_OK)
				json_decref(ignored);
		}
		json_decref(*report);
		*report = NULL;
		code = call(arguments, "GET", "/latest", NULL, report);
	}
	if (live)
		fputs("\r\033[K", stderr);
	return code;
}

static int run(round_arguments *arguments)
{
	json_t *report = NULL;
	int code = add_params(arguments);

	if (code != CLI_OK)
		return code;
	cli_signals_block();
	code = begin(arguments, &report);
	if (code == CLI_OK)
		code = watch(arguments, &report);
	if (code == CLI_OK) {
		if (arguments->json)
			cli_print_json(report);
		else
			print_report(report);
		code = verdict_of(report);
	}
	json_decref(report);
	return code;
}

int poc_round(int argc, char **argv)
{
	static const struct argp_option options[] = {
		{ "network-node", KEY_NETWORK_NODE, "URL", 0,
		  "Admin API of the network node (http://127.0.0.1:9200)", 0 },
		{ "params", KEY_PARAMS, "SET|FILE.json", 0,
		  "mainnet (default), testnet, devtest, inttest, or a file", 0 },
		{ "seconds", KEY_SECONDS, "X", 0, "How long nodes generate (30)", 0 },
		{ "validate-seconds", KEY_VALIDATE_SECONDS, "X", 0,
		  "How long they judge, at most (120)", 0 },
		{ "sample", KEY_SAMPLE, "N", 0, "Nonces of a node that a judge computes (200)", 0 },
		{ "block-hash", KEY_BLOCK_HASH, "HASH", 0, "Of the round (made up)", 1 },
		{ "block-height", KEY_BLOCK_HEIGHT, "N", 0, "Of the round (the next)", 1 },
		{ "public-key", KEY_PUBLIC_KEY, "KEY", 0, "Whose nonces, 66 hex digits (nobody's)",
		  1 },
		{ "r-target", KEY_R_TARGET, "X", 0, "A hit is below it (1.4013564660458173)", 1 },
		{ "fraud-threshold", KEY_THRESHOLD, "P", 0,
		  "Fraud is less probable than this by accident (1e-7)", 1 },
		{ "json", KEY_JSON, NULL, 0, "Print JSON", 2 },
		{ 0 }
	};
	static const struct argp argp = { options,
					  parse,
					  NULL,
					  "A round of proofs over all nodes of a network node: "
					  "they generate, judge samples of "
					  "each other's proofs, and serve again.\vExits with 0 "
					  "when every node is found honest. "
					  "An interrupt calls the round off.",
					  NULL,
					  NULL,
					  NULL };
	round_arguments arguments = { "http://127.0.0.1:9200", "mainnet", json_object(), false };
	int code = cli_parse(&argp, argc, argv, &arguments) ? CLI_USAGE : run(&arguments);

	json_decref(arguments.order);
	return code;
}
