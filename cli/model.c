#include "cli.h"

#include <stdio.h>
#include <string.h>

/*
 * gonkahost model inspect: what a model is and what it needs, from its headers alone.
 */

enum { KEY_JSON = 256 };

typedef struct model_arguments {
	cli_local_options local;
	const char *verb, *model;
	bool json;
} model_arguments;

static error_t parse(int key, char *arg, struct argp_state *state)
{
	model_arguments *arguments = state->input;

	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &arguments->local;
		return 0;
	case KEY_JSON:
		arguments->json = true;
		return 0;
	case ARGP_KEY_ARG:
		if (state->arg_num == 0)
			arguments->verb = arg;
		else if (state->arg_num == 1)
			arguments->model = arg;
		else
			return ARGP_ERR_UNKNOWN;
		return 0;
	case ARGP_KEY_END:
		if (!arguments->model)
			arguments->model = arguments->local.model;
		if (!arguments->verb || strcmp(arguments->verb, "inspect") != 0)
			argp_error(state, "expected inspect, got '%s'",
				   arguments->verb ? arguments->verb : "");
		if (!arguments->model)
			argp_error(state, "inspect: which model?");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static void print_json(const gh_model_info *info)
{
	json_t *object =
		json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:i, s:i, s:i, s:i, s:i, "
			  "s:i, s:s, s:s}",
			  "architecture", info->architecture, "numerics", info->numerics, "device",
			  info->device, "folder", info->folder, "parameters",
			  (json_int_t)info->parameters, "weight_bytes",
			  (json_int_t)info->weight_bytes, "kv_bytes_per_token",
			  (json_int_t)info->kv_bytes, "hidden_size", (json_int_t)info->hidden,
			  "intermediate_size", (json_int_t)info->intermediate, "layers",
			  (int)info->layers, "heads", (int)info->heads, "kv_heads",
			  (int)info->kv_heads, "head_dim", (int)info->head_dim, "vocab_size",
			  (int)info->vocab, "max_model_len", (int)info->max_length, "dtype",
			  gh_dtype_name((gh_dtype)info->dtype), "kv_cache_dtype",
			  gh_dtype_name((gh_dtype)info->kv_dtype));

	cli_print_json(object);
	json_decref(object);
}

static void print_table(const gh_model_info *info)
{
	printf("folder         %s\n", info->folder);
	printf("architecture   %s\n", info->architecture);
	printf("numerics       %s on %s\n", info->numerics, info->device);
	printf("shape          hidden %lld, intermediate %lld, %d layers, %d heads, %d kv heads of "
	       "%d, vocabulary %d\n",
	       (long long)info->hidden, (long long)info->intermediate, (int)info->layers,
	       (int)info->heads, (int)info->kv_heads, (int)info->head_dim, (int)info->vocab);
	printf("context        %d tokens\n", (int)info->max_length);
	printf("parameters     %lld\n", (long long)info->parameters);
	printf("weights        %.1f MiB\n", (double)info->weight_bytes / (1 << 20));
	printf("cache          %lld bytes a token (%s)\n", (long long)info->kv_bytes,
	       gh_dtype_name((gh_dtype)info->kv_dtype));
}

int cli_model(int argc, char **argv)
{
	static const struct argp_option options[] = {
		{ "json", KEY_JSON, NULL, 0, "Print an object", 0 }, { 0 }
	};
	static const struct argp_child children[] = {
		{ &cli_local_argp, 0, "As if loaded with:", 10 }, { 0 }
	};
	static const struct argp argp = { options,
					  parse,
					  "inspect MODEL",
					  "What a model is, from its configuration and headers.",
					  children,
					  NULL,
					  NULL };
	model_arguments arguments = { .local = CLI_LOCAL_OPTIONS_INIT };
	gh_model_info info;
	gh_error error = GH_ERROR_INIT;
	gh_status status;

	if (cli_parse(&argp, argc, argv, &arguments))
		return CLI_USAGE;
	status = gh_model_inspect(&info, arguments.model, &arguments.local.load, &error);
	if (status != GH_OK)
		return cli_fail("model", status, &error);
	if (arguments.json)
		print_json(&info);
	else
		print_table(&info);
	return CLI_OK;
}
