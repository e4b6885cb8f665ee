#include "cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/*
 * gonkahost chat: a conversation on the terminal, with a server or with a model in this process.
 */

enum { KEY_URL = 256, KEY_NAME, KEY_SYSTEM, KEY_MAX_TOKENS, KEY_TEMPERATURE, KEY_MESSAGE };

typedef struct chat_arguments {
	cli_local_options local;
	const char *url;
	const char *name; /* of the model at the URL */
	const char *system;
	const char *message; /* one question, then the end */
	int max_tokens;      /* 0 = up to the context length */
	double temperature;  /* negative = what the model's makers recommend */
} chat_arguments;

static error_t parse(int key, char *arg, struct argp_state *state)
{
	chat_arguments *arguments = state->input;

	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &arguments->local;
		return 0;
	case KEY_URL:
		arguments->url = arg;
		return 0;
	case KEY_NAME:
		arguments->name = arg;
		return 0;
	case KEY_SYSTEM:
		arguments->system = arg;
		return 0;
	case KEY_MESSAGE:
		arguments->message = arg;
		return 0;
	case KEY_MAX_TOKENS:
		arguments->max_tokens = cli_int(state, "--max-tokens", arg, 1, 1 << 24);
		return 0;
	case KEY_TEMPERATURE:
		arguments->temperature = cli_real(state, "--temperature", arg, 0, 1000);
		return 0;
	case ARGP_KEY_END:
		if (!arguments->url == !arguments->local.model)
			argp_error(state, "either --url or --model says whom to talk to");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static void add_message(json_t *messages, const char *role, const char *content, size_t len)
{
	json_array_append_new(messages,
			      json_pack("{s:s, s:s%}", "role", role, "content", content, len));
}

/* ---- over HTTP ---- */

typedef struct remote_answer {
	char *text;
	size_t len;
	bool failed;
} remote_answer;

static bool on_event(const char *data, void *userdata)
{
	remote_answer *answer = userdata;
	json_t *chunk = json_loads(data, 0, NULL);
	const json_t *choice = json_array_get(json_object_get(chunk, "choices"), 0);
	const json_t *content = json_object_get(json_object_get(choice, "delta"), "content");
	const json_t *error = json_object_get(chunk, "error");
	size_t len = json_string_length(content);
	char *text;

	if (error) {
		cli_complain("chat", CLI_FAILED, "%s",
			     json_string_value(json_object_get(error, "message")));
		answer->failed = true;
	}
	text = len ? realloc(answer->text, answer->len + len + 1) : NULL;
	if (text) {
		answer->text = text;
		memcpy(text + answer->len, json_string_value(content), len + 1);
		answer->len += len;
		fwrite(json_string_value(content), 1, len, stdout);
		fflush(stdout);
	}
	json_decref(chunk);
	return true;
}

/* The only model of a server, when --name does not say which. */
static char *first_model(const char *url)
{
	cli_reply reply;
	char *models_url = NULL, *name = NULL;
	json_t *body;
	const char *id;

	if (asprintf(&models_url, "%s/v1/models", url) < 0)
		return NULL;
	if (cli_http("chat", "GET", models_url, NULL, &reply)) {
		body = json_loads(reply.body, 0, NULL);
		id = json_string_value(
			json_object_get(json_array_get(json_object_get(body, "data"), 0), "id"));
		if (id)
			name = strdup(id);
		else
			cli_complain("chat", CLI_FAILED, "%s names no model", models_url);
		json_decref(body);
		free(reply.body);
	}
	free(models_url);
	return name;
}

static bool ask_remote(const chat_arguments *arguments, const char *name, json_t *messages)
{
	json_t *request =
		json_pack("{s:s, s:O, s:b}", "model", name, "messages", messages, "stream", 1);
	remote_answer answer = { NULL, 0, false };
	char *body, *url = NULL;
	bool ok = false;

	if (arguments->max_tokens)
		json_object_set_new(request, "max_tokens", json_integer(arguments->max_tokens));
	if (arguments->temperature >= 0)
		json_object_set_new(request, "temperature", json_real(arguments->temperature));
	body = json_dumps(request, JSON_COMPACT);
	if (body && asprintf(&url, "%s/v1/chat/completions", arguments->url) >= 0)
		ok = cli_http_events("chat", url, body, on_event, &answer) && !answer.failed;
	if (ok)
		add_message(messages, "assistant", answer.text ? answer.text : "", answer.len);
	free(answer.text);
	free(body);
	free(url);
	json_decref(request);
	return ok;
}

/* ---- in this process ---- */

static bool ask_local(const chat_arguments *arguments, cli_local *local, json_t *messages)
{
	json_t *variables = json_pack("{s:O, s:n, s:b}", "messages", messages, "tools",
				      "add_generation_prompt", 1);
	char *dumped = json_dumps(variables, JSON_COMPACT), *text = NULL;
	gh_sampling sampling;
	cli_answer answer = { 0 };
	gh_error error = GH_ERROR_INIT;
	size_t len;
	gh_status status = GH_ENOMEM;

	gh_sampling_recommended(&sampling, local->model);
	if (arguments->max_tokens)
		sampling.max_tokens = arguments->max_tokens;
	if (arguments->temperature >= 0)
		sampling.temperature = (float)arguments->temperature;
	if (dumped)
		status = gh_template_render(local->chat_template, dumped, &text, &len, &error);
	if (status == GH_OK)
		status =
			cli_local_generate(local, text, len, 0, &sampling, stdout, &answer, &error);
	if (status == GH_OK)
		add_message(messages, "assistant", answer.text, answer.len);
	else
		cli_fail("chat", status, &error);
	cli_answer_done(&answer);
	gh_free(text);
	free(dumped);
	json_decref(variables);
	return status == GH_OK;
}

/* ---- the conversation ---- */

static bool ask(const chat_arguments *arguments, const char *name, cli_local *local,
		json_t *messages, const char *question, size_t len)
{
	bool ok;

	add_message(messages, "user", question, len);
	ok = name ? ask_remote(arguments, name, messages) : ask_local(arguments, local, messages);
	putchar('\n');
	return ok;
}

static int converse(const chat_arguments *arguments, const char *name, cli_local *local)
{
	json_t *messages = json_array();
	bool terminal = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO), ok = true;
	char *line = NULL;
	size_t capacity = 0;
	ssize_t len;

	if (arguments->system)
		add_message(messages, "system", arguments->system, strlen(arguments->system));
	if (arguments->message)
		ok = ask(arguments, name, local, messages, arguments->message,
			 strlen(arguments->message));
	while (ok && !arguments->message) {
		if (terminal) {
			fputs("> ", stdout);
			fflush(stdout);
		}
		len = getline(&line, &capacity, stdin);
		if (len < 0)
			break;
		while (len > 0 && (line[len - 1] == '\n' || line[len - 1] == '\r'))
			len--;
		if (len > 0)
			ok = ask(arguments, name, local, messages, line, (size_t)len);
	}
	free(line);
	json_decref(messages);
	return ok ? CLI_OK : CLI_FAILED;
}

static int chat_remote(const chat_arguments *arguments)
{
	char *name = arguments->name ? strdup(arguments->name) : first_model(arguments->url);
	int code = name ? converse(arguments, name, NULL) : CLI_FAILED;

	free(name);
	return code;
}

static int chat_local(const chat_arguments *arguments)
{
	gh_error error = GH_ERROR_INIT;
	cli_local local;
	gh_status status = cli_local_open(&local, &arguments->local, &error);
	int code;

	if (status != GH_OK)
		return cli_fail("chat", status, &error);
	if (local.chat_template)
		code = converse(arguments, NULL, &local);
	else
		code = cli_complain("chat", CLI_FAILED, "%s has no chat template",
				    arguments->local.model);
	cli_local_close(&local);
	return code;
}

int cli_chat(int argc, char **argv)
{
	static const struct argp_option options[] = {
		{ "url", KEY_URL, "URL", 0, "A server: http://127.0.0.1:8000", 0 },
		{ "name", KEY_NAME, "MODEL", 0, "Which of the server's models (the first)", 0 },
		{ "system", KEY_SYSTEM, "TEXT", 0, "A system message to begin with", 0 },
		{ "message", KEY_MESSAGE, "TEXT", 0, "Ask this one question", 0 },
		{ "max-tokens", KEY_MAX_TOKENS, "N", 0, "At most N tokens an answer", 0 },
		{ "temperature", KEY_TEMPERATURE, "X", 0, "0 = always the most probable", 0 },
		{ 0 }
	};
	static const struct argp_child children[] = {
		{ &cli_local_argp, 0, "Instead of --url, a model in this process:", 10 }, { 0 }
	};
	static const struct argp argp = {
		options,  parse, NULL, "Talk to a model; an empty line is skipped, Ctrl-D ends.",
		children, NULL,  NULL
	};
	chat_arguments arguments = { .local = CLI_LOCAL_OPTIONS_INIT, .temperature = -1 };

	if (cli_parse(&argp, argc, argv, &arguments))
		return CLI_USAGE;
	return arguments.url ? chat_remote(&arguments) : chat_local(&arguments);
}
