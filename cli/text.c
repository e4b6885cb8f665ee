#include "cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * gonkahost tokenize and gonkahost template: a line of JSON in, a line of JSON out.
 */

enum { KEY_MODEL = 256, KEY_JSONL, KEY_REVISION };

typedef struct text_arguments {
	const char *model, *revision;
	bool jsonl;
} text_arguments;

static error_t parse(int key, char *arg, struct argp_state *state)
{
	text_arguments *arguments = state->input;

	switch (key) {
	case KEY_MODEL:
		arguments->model = arg;
		return 0;
	case KEY_REVISION:
		arguments->revision = arg;
		return 0;
	case KEY_JSONL:
		arguments->jsonl = true;
		return 0;
	case ARGP_KEY_END:
		if (!arguments->model)
			argp_error(state, "--model is missing");
		if (!arguments->jsonl)
			argp_error(state, "--jsonl is missing: lines of JSON are what it reads");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp_option options[] = {
	{ "model", KEY_MODEL, "MODEL", 0, "Folder, or repository id in the cache", 0 },
	{ "revision", KEY_REVISION, "NAME", 0, "Branch or commit (main)", 0 },
	{ "jsonl", KEY_JSONL, NULL, 0, "Read objects from standard input, one a line", 0 },
	{ 0 }
};

static gh_status resolve(char **folder, const text_arguments *arguments, gh_error *error)
{
	gh_hub_options hub = GH_HUB_OPTIONS_INIT;

	hub.revision = arguments->revision;
	return gh_hub_resolve(folder, arguments->model, &hub, error);
}

/* A line's answer, a new reference; NULL with an error. text is the line itself: numbers in it are
 * as they were written. */
typedef json_t *line_fn(const void *with, const char *text, const json_t *line, gh_error *error);

static int each_line(const char *name, line_fn *fn, const void *with)
{
	char *line = NULL;
	size_t capacity = 0, number = 0;
	ssize_t len;
	int code = CLI_OK;

	while (code == CLI_OK && (len = getline(&line, &capacity, stdin)) >= 0) {
		gh_error error = GH_ERROR_INIT;
		json_error_t problem;
		json_t *in, *out = NULL;

		number++;
		if (strspn(line, " \t\r\n") == (size_t)len)
			continue;
		in = json_loadb(line, (size_t)len, JSON_ALLOW_NUL, &problem);
		if (!in)
			snprintf(error.text, sizeof error.text, "%s", problem.text);
		else
			out = fn(with, line, in, &error);
		if (out)
			cli_print_json(out);
		else
			code = cli_complain(name, CLI_FAILED, "line %zu: %s", number, error.text);
		json_decref(in);
		json_decref(out);
	}
	free(line);
	return code;
}

static json_t *tokenize_line(const void *with, const char *raw, const json_t *line, gh_error *error)
{
	const json_t *text = json_object_get(line, "text");
	json_t *ids;
	int32_t *list = NULL;
	size_t count, i;

	(void)raw;
	if (!json_is_string(text)) {
		snprintf(error->text, sizeof error->text, "text: expected a string");
		return NULL;
	}
	if (gh_tokenizer_encode(with, json_string_value(text), json_string_length(text), 0, &list,
				&count, error) != GH_OK)
		return NULL;
	ids = json_array();
	for (i = 0; i < count; i++)
		json_array_append_new(ids, json_integer(list[i]));
	gh_free(list);
	return json_pack("{s:o}", "ids", ids);
}

int cli_tokenize(int argc, char **argv)
{
	static const struct argp argp = {
		options, parse, NULL, "Lines {\"text\": ...} to lines {\"ids\": [...]}.",
		NULL,    NULL,  NULL
	};
	text_arguments arguments = { NULL, NULL, false };
	gh_tokenizer *tokenizer = NULL;
	gh_error error = GH_ERROR_INIT;
	char *folder = NULL;
	gh_status status;
	int code;

	if (cli_parse(&argp, argc, argv, &arguments))
		return CLI_USAGE;
	status = resolve(&folder, &arguments, &error);
	if (status == GH_OK)
		status = gh_tokenizer_load(&tokenizer, folder, &error);
	code = status == GH_OK ? each_line("tokenize", tokenize_line, tokenizer)
			       : cli_fail("tokenize", status, &error);
	gh_tokenizer_free(tokenizer);
	gh_free(folder);
	return code;
}

static json_t *template_line(const void *with, const char *raw, const json_t *line, gh_error *error)
{
	char *text = NULL;
	size_t len;
	json_t *out = NULL;

	(void)line;
	if (gh_template_render(with, raw, &text, &len, error) == GH_OK)
		out = json_pack("{s:s%}", "text", text, len);
	gh_free(text);
	return out;
}

int cli_template(int argc, char **argv)
{
	static const struct argp argp = { options,
					  parse,
					  NULL,
					  "Lines {\"messages\": ..., \"tools\": ..., "
					  "\"add_generation_prompt\": ...} to lines {\"text\": "
					  "...}, by the model's chat template.",
					  NULL,
					  NULL,
					  NULL };
	text_arguments arguments = { NULL, NULL, false };
	gh_template *chat_template = NULL;
	gh_error error = GH_ERROR_INIT;
	char *folder = NULL;
	gh_status status;
	int code;

	if (cli_parse(&argp, argc, argv, &arguments))
		return CLI_USAGE;
	status = resolve(&folder, &arguments, &error);
	if (status == GH_OK)
		status = gh_template_load(&chat_template, folder, &error);
	code = status == GH_OK ? each_line("template", template_line, chat_template)
			       : cli_fail("template", status, &error);
	gh_template_free(chat_template);
	gh_free(folder);
	return code;
}
