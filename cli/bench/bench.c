#include "bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* gonkahost bench: the verbs, and the one parser that they share. */
typedef struct bench_verb {
	const char *name;
	const char *help; /* one line */
	int (*run)(const bench_arguments *arguments);
} bench_verb;

static const bench_verb verbs[] = {
	{ "device", "how fast memory is read and copied", bench_device },
	{ "linear", "products of rows with a model's matrices", bench_linear },
	{ "attention", "a prefill, and decodes, over a paged cache", bench_attention },
	{ "forward", "steps of a model with random weights", bench_forward },
};

enum { VERBS = sizeof verbs / sizeof verbs[0] };

enum {
	KEY_MODEL = 256,
	KEY_DTYPE,
	KEY_KV_DTYPE,
	KEY_QUANTIZATION,
	KEY_ROWS,
	KEY_BATCH,
	KEY_CONTEXT,
	KEY_PROMPT,
	KEY_SEQUENCE,
	KEY_ROTATE,
	KEY_RUNS,
	KEY_DEVICE,
	KEY_THREADS,
	KEY_JSON
};

/* "1,16,64" */
static void read_list(struct argp_state *state, const char *option, char *text, bench_list *list)
{
	char *rest = NULL;

	list->count = 0;
	for (char *item = strtok_r(text, ",", &rest); item; item = strtok_r(NULL, ",", &rest)) {
		if (list->count == BENCH_LIST)
			argp_error(state, "%s: expected at most %d numbers", option, BENCH_LIST);
		list->at[list->count++] = cli_int(state, option, item, 1, 1 << 24);
	}
	if (list->count == 0)
		argp_error(state, "%s: expected numbers such as 1,16,64", option);
}

static error_t parse_text(int key, char *arg, struct argp_state *state)
{
	bench_arguments *arguments = state->input;

	switch (key) {
	case KEY_MODEL:
		arguments->model = arg;
		return 0;
	case KEY_DTYPE:
		arguments->dtype = arg;
		return 0;
	case KEY_DEVICE:
		arguments->device = arg;
		return 0;
	case KEY_KV_DTYPE:
		arguments->kv_fp8 = strcmp(arg, "fp8") == 0;
		if (!arguments->kv_fp8 && strcmp(arg, "auto") != 0)
			argp_error(state, "--kv-cache-dtype: expected auto or fp8, got '%s'", arg);
		return 0;
	case KEY_QUANTIZATION:
		arguments->quantization =
			strcmp(arg, "fp8") == 0 ? GH_QUANT_FP8_W8A8 : GH_QUANT_NONE;
		if (strcmp(arg, "fp8") != 0 && strcmp(arg, "none") != 0)
			argp_error(state, "--quantization: expected fp8 or none, got '%s'", arg);
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

static error_t parse(int key, char *arg, struct argp_state *state)
{
	bench_arguments *arguments = state->input;

	switch (key) {
	case KEY_ROWS:
		read_list(state, "--rows", arg, &arguments->rows);
		return 0;
	case KEY_BATCH:
		read_list(state, "--batch", arg, &arguments->batch);
		return 0;
	case KEY_CONTEXT:
		read_list(state, "--context", arg, &arguments->context);
		return 0;
	case KEY_PROMPT:
		arguments->prompt = cli_int(state, "--prompt", arg, 1, 1 << 20);
		return 0;
	case KEY_RUNS:
		arguments->runs = cli_int(state, "--runs", arg, 1, 10000);
		return 0;
	case KEY_THREADS:
		arguments->threads = cli_int(state, "--threads", arg, 1, 1024);
		return 0;
	case KEY_ROTATE:
		arguments->rotate = cli_size(state, "--rotate", arg);
		return 0;
	case KEY_SEQUENCE:
		arguments->sequence = true;
		return 0;
	case KEY_JSON:
		arguments->json = true;
		return 0;
	default:
		return parse_text(key, arg, state);
	}
}

static int run(const bench_verb *verb, const bench_arguments *arguments)
{
	bool known = verb->run == bench_forward;

	for (int i = 0; i < BENCH_KINDS; i++)
		known = known || bench_wants(arguments, &bench_shapes[i]);
	if (!known)
		return cli_complain("bench", CLI_USAGE, "--model: expected 7b or 32b, got '%s'",
				    arguments->model);
	return verb->run(arguments);
}

int cli_bench(int argc, char **argv)
{
	static const struct argp_option options[] = {
		{ "model", KEY_MODEL, "NAME", 0,
		  "linear, attention: 7b or 32b (all); forward: folder or repository id", 0 },
		{ "dtype", KEY_DTYPE, "TYPE", 0,
		  "linear: fp8, fp8-w8a16, float16, bfloat16; others: float16 or bfloat16", 0 },
		{ "kv-cache-dtype", KEY_KV_DTYPE, "TYPE", 0, "auto or fp8", 0 },
		{ "quantization", KEY_QUANTIZATION, "KIND", 0, "forward: fp8 or none", 0 },
		{ "rows", KEY_ROWS, "N,...", 0, "linear: rows of a product", 0 },
		{ "batch", KEY_BATCH, "N,...", 0, "attention, forward: sequences of a decode", 0 },
		{ "context", KEY_CONTEXT, "N,...", 0, "attention, forward: their positions", 0 },
		{ "prompt", KEY_PROMPT, "N", 0, "attention, forward: tokens of a prefill", 0 },
		{ "sequence", KEY_SEQUENCE, NULL, 0,
		  "linear: the matrices of a layer behind each other", 0 },
		{ "rotate", KEY_ROTATE, "SIZE", 0, "Operands that turns go through, 1GiB", 0 },
		{ "runs", KEY_RUNS, "N", 0, "The median of N", 0 },
		{ "device", KEY_DEVICE, "KIND", 0, "cpu or cuda (the best that is there)", 0 },
		{ "threads", KEY_THREADS, "N", 0, "CPU threads (one for each core)", 0 },
		{ "json", KEY_JSON, NULL, 0, "Print an object a line", 0 },
		{ 0 }
	};
	static const struct argp argp = {
		options,
		parse,
		"device|linear|attention|forward",
		"How fast the kernels of a device are, beside what it could do at most.\v"
		"device: memory. linear: a product with each matrix. attention: a prefill and\n"
		"decodes. forward: steps of a model with random weights. \"gonkahost poc bench\"\n"
		"is for proofs.",
		NULL,
		NULL,
		NULL
	};
	bench_arguments arguments = { .verb = NULL };

	if (cli_parse(&argp, argc, argv, &arguments))
		return CLI_USAGE;
	for (size_t i = 0; i < VERBS; i++)
		if (strcmp(verbs[i].name, arguments.verb) == 0)
			return run(&verbs[i], &arguments);
	return cli_complain("bench", CLI_USAGE,
			    "verb: expected device, linear, attention or forward, got '%s'",
			    arguments.verb);
}
