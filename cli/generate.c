#include "cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * gonkahost generate: one completion by a model in this process.
 */

enum {
	KEY_PROMPT = 256,
	KEY_CHAT,
	KEY_MAX_TOKENS,
	KEY_TEMPERATURE,
	KEY_TOP_P,
	KEY_TOP_K,
	KEY_SEED,
	KEY_IGNORE_EOS,
	KEY_JSON
};

typedef struct generate_arguments {
	cli_local_options local;
	const char *prompt;
	gh_sampling sampling;
	bool has_temperature, has_top_p, has_top_k;
	bool chat, json;
} generate_arguments;

static error_t parse(int key, char *arg, struct argp_state *state)
{
	generate_arguments *arguments = state->input;
	gh_sampling *sampling = &arguments->sampling;

	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &arguments->local;
		return 0;
	case KEY_PROMPT:
		arguments->prompt = arg;
		return 0;
	case KEY_CHAT:
		arguments->chat = true;
		return 0;
	case KEY_MAX_TOKENS:
		sampling->max_tokens = cli_int(state, "--max-tokens", arg, 1, 1 << 24);
		return 0;
	case KEY_TEMPERATURE:
		sampling->temperature = (float)cli_real(state, "--temperature", arg, 0, 1000);
		arguments->has_temperature = true;
		return 0;
	case KEY_TOP_P:
		sampling->top_p = (float)cli_real(state, "--top-p", arg, 1e-6, 1);
		arguments->has_top_p = true;
		return 0;
	case KEY_TOP_K:
		sampling->top_k = cli_int(state, "--top-k", arg, 0, 1 << 24);
		arguments->has_top_k = true;
		return 0;
	case KEY_SEED:
		sampling->seed = (uint64_t)cli_int(state, "--seed", arg, 0, INT32_MAX);
		sampling->flags |= GH_SAMPLING_SEED;
		return 0;
	case KEY_IGNORE_EOS:
		sampling->flags |= GH_SAMPLING_IGNORE_EOS;
		return 0;
	case KEY_JSON:
		arguments->json = true;
		return 0;
	case ARGP_KEY_ARG:
		if (arguments->prompt)
			return ARGP_ERR_UNKNOWN;
		arguments->prompt = arg;
		return 0;
	case ARGP_KEY_END:
		if (!arguments->local.model)
			argp_error(state, "--model is missing");
		if (!arguments->prompt)
			argp_error(state, "a prompt is missing");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* The model's recommendations, under what the command line says. */
static gh_sampling effective(const generate_arguments *arguments, const cli_local *local)
{
	gh_sampling sampling;

	gh_sampling_recommended(&sampling, local->model);
	sampling.max_tokens = arguments->sampling.max_tokens;
	sampling.seed = arguments->sampling.seed;
	sampling.flags = arguments->sampling.flags | GH_SAMPLING_LOGPROBS;
	if (arguments->has_temperature)
		sampling.temperature = arguments->sampling.temperature;
	if (arguments->has_top_p)
		sampling.top_p = arguments->sampling.top_p;
	if (arguments->has_top_k)
		sampling.top_k = arguments->sampling.top_k;
	return sampling;
}

static gh_status prompt_text(const generate_arguments *arguments, const cli_local *local,
			     char **text, size_t *len, gh_error *error)
{
	json_t *variables;
	char *dumped;
	gh_status status;

	if (!arguments->chat) {
		*text = strdup(arguments->prompt);
		*len = strlen(arguments->prompt);
		return *text ? GH_OK : GH_ENOMEM;
	}
	if (!local->chat_template) {
		snprintf(error->text, sizeof error->text, "--chat: the model has no chat template");
		return GH_ENOENT;
	}
	variables = json_pack("{s:[{s:s, s:s}], s:n, s:b}", "messages", "role", "user", "content",
			      arguments->prompt, "tools", "add_generation_prompt", 1);
	dumped = variables ? json_dumps(variables, JSON_COMPACT) : NULL;
	json_decref(variables);
	if (!dumped) {
		snprintf(error->text, sizeof error->text, "prompt: expected UTF-8");
		return GH_EINVAL;
	}
	status = gh_template_render(local->chat_template, dumped, text, len, error);
	free(dumped);
	return status;
}

static void print_answer(const cli_answer *answer)
{
	static const char *const finishes[] = { "", "stop", "length", "abort", "error" };
	json_t *ids = json_array(), *logprobs = json_array();
	json_t *object;
	size_t i;

	for (i = 0; i < answer->count; i++) {
		json_array_append_new(ids, json_integer(answer->ids[i]));
		json_array_append_new(logprobs, json_real(answer->logprobs[i]));
	}
	object = json_pack("{s:s%, s:o, s:o, s:i, s:s}", "text", answer->text, answer->len, "ids",
			   ids, "logprobs", logprobs, "prompt_tokens", (int)answer->prompt_tokens,
			   "finish_reason", finishes[answer->finish]);
	cli_print_json(object);
	json_decref(object);
}

static gh_status run(const generate_arguments *arguments, cli_local *local, gh_error *error)
{
	gh_sampling sampling = effective(arguments, local);
	cli_answer answer = { 0 };
	char *text = NULL;
	size_t len = 0;
	gh_status status = prompt_text(arguments, local, &text, &len, error);

	if (status == GH_OK)
		status = cli_local_generate(local, text, len,
					    arguments->chat ? 0 : GH_ENCODE_SPECIAL, &sampling,
					    arguments->json ? NULL : stdout, &answer, error);
	if (status == GH_OK && arguments->json)
		print_answer(&answer);
	else if (status == GH_OK)
		putchar('\n');
	cli_answer_done(&answer);
	gh_free(text);
	return status;
}

int cli_generate(int argc, char **argv)
{
	static const struct argp_option options[] = {
		{ "prompt", KEY_PROMPT, "TEXT", 0, "What to complete; also as an argument", 0 },
		{ "chat", KEY_CHAT, NULL, 0, "Put the prompt into the chat template", 0 },
		{ "max-tokens", KEY_MAX_TOKENS, "N", 0, "At most N tokens (64)", 0 },
		{ "temperature", KEY_TEMPERATURE, "X", 0, "0 = always the most probable", 0 },
		{ "top-p", KEY_TOP_P, "X", 0, "Nucleus", 0 },
		{ "top-k", KEY_TOP_K, "N", 0, "0 = all", 0 },
		{ "seed", KEY_SEED, "N", 0, "Same seed, same answer", 0 },
		{ "ignore-eos", KEY_IGNORE_EOS, NULL, 0, "Go on after the end token", 0 },
		{ "json", KEY_JSON, NULL, 0, "Print text, ids and logprobs as an object", 0 },
		{ 0 }
	};
	static const struct argp_child children[] = { { &cli_local_argp, 0, "Model:", 10 }, { 0 } };
	static const struct argp argp = {
		options,  parse, "[PROMPT]", "Complete a prompt by a model in this process.",
		children, NULL,  NULL
	};
	generate_arguments arguments = { .local = CLI_LOCAL_OPTIONS_INIT };
	cli_local local;
	gh_error error = GH_ERROR_INIT;
	gh_status status;

	gh_sampling_init(&arguments.sampling);
	arguments.sampling.max_tokens = 64;
	if (cli_parse(&argp, argc, argv, &arguments))
		return CLI_USAGE;
	status = cli_local_open(&local, &arguments.local, &error);
	if (status != GH_OK)
		return cli_fail("generate", status, &error);
	status = run(&arguments, &local, &error);
	cli_local_close(&local);
	return status == GH_OK ? CLI_OK : cli_fail("generate", status, &error);
}
