#include "cli.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * gonkahost nodes: the admin API of a running network node, for people.
 */

enum { KEY_ADMIN = 256, KEY_JSON, KEY_FILE };

typedef struct nodes_arguments {
	const char *admin;
	const char *file; /* "-" = standard input */
	const char *verb;
	const char *id;
	bool json;
} nodes_arguments;

static error_t parse(int key, char *arg, struct argp_state *state)
{
	nodes_arguments *arguments = state->input;

	switch (key) {
	case KEY_ADMIN:
		arguments->admin = arg;
		return 0;
	case KEY_JSON:
		arguments->json = true;
		return 0;
	case KEY_FILE:
		arguments->file = arg;
		return 0;
	case ARGP_KEY_ARG:
		if (state->arg_num == 0)
			arguments->verb = arg;
		else if (state->arg_num == 1)
			arguments->id = arg;
		else
			return ARGP_ERR_UNKNOWN;
		return 0;
	case ARGP_KEY_NO_ARGS:
		argp_usage(state);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static char *admin_url(const nodes_arguments *arguments, const char *suffix)
{
	size_t base = strlen(arguments->admin);
	char *escaped = arguments->id ? curl_easy_escape(NULL, arguments->id, 0) : NULL;
	char *url = NULL;

	while (base > 0 && arguments->admin[base - 1] == '/')
		base--;
	if (asprintf(&url, "%.*s/admin/v1/nodes%s%s%s", (int)base, arguments->admin,
		     escaped ? "/" : "", escaped ? escaped : "", suffix) < 0)
		url = NULL;
	curl_free(escaped);
	return url;
}

static int call(const nodes_arguments *arguments, const char *method, const char *suffix,
		const char *body, json_t **answer)
{
	char *url = admin_url(arguments, suffix);
	int code = url ? cli_http_json("nodes", method, url, body, answer) : CLI_FAILED;

	free(url);
	return code;
}

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

static void print_row(const json_t *entry)
{
	const json_t *node = json_object_get(entry, "node");
	const json_t *state = json_object_get(entry, "state");
	const char *model;
	json_t *value;
	bool enabled =
		json_is_true(json_object_get(json_object_get(state, "admin_state"), "enabled"));

	printf("%-16s %-24s %6lld %6lld %5lld/%-5lld %-10s %-10s %-3s", text_of(node, "id"),
	       text_of(node, "host"),
	       (long long)json_integer_value(json_object_get(node, "inference_port")),
	       (long long)json_integer_value(json_object_get(node, "poc_port")),
	       (long long)json_integer_value(json_object_get(state, "lock_count")),
	       (long long)json_integer_value(json_object_get(node, "max_concurrent")),
	       text_of(state, "intended_status"), text_of(state, "current_status"),
	       enabled ? "yes" : "no");
	json_object_foreach(json_object_get(node, "models"), model, value) printf(" %s", model);
	putchar('\n');
	if (text_of(state, "failure_reason")[0])
		printf("%-16s %s\n", "", text_of(state, "failure_reason"));
}

static int list(const nodes_arguments *arguments)
{
	json_t *answer, *entry;
	size_t i;
	int code = call(arguments, "GET", "", NULL, &answer);

	if (code != CLI_OK)
		return code;
	if (arguments->json) {
		cli_print_json(answer);
	} else {
		printf("%-16s %-24s %6s %6s %11s %-10s %-10s %-3s %s\n", "ID", "HOST", "INFER",
		       "POC", "BUSY/MAX", "INTENDED", "CURRENT", "ON", "MODELS");
		json_array_foreach(answer, i, entry) print_row(entry);
	}
	json_decref(answer);
	return CLI_OK;
}

static json_t *read_node(const nodes_arguments *arguments)
{
	json_error_t problem;
	json_t *node;

	if (!arguments->file || strcmp(arguments->file, "-") == 0)
		node = json_loadf(stdin, 0, &problem);
	else
		node = json_load_file(arguments->file, 0, &problem);
	if (!node)
		cli_complain("nodes", CLI_USAGE, "%s: line %d: %s",
			     arguments->file ? arguments->file : "standard input", problem.line,
			     problem.text);
	return node;
}

static int put(const nodes_arguments *arguments, const char *method)
{
	json_t *node = read_node(arguments), *answer;
	char *body;
	int code;

	if (!node)
		return CLI_USAGE;
	body = json_dumps(node, JSON_COMPACT);
	json_decref(node);
	if (!body)
		return CLI_FAILED;
	code = call(arguments, method, "", body, &answer);
	free(body);
	if (code != CLI_OK)
		return code;
	if (arguments->json)
		cli_print_json(answer);
	else
		printf("node %s is registered\n", text_of(answer, "id"));
	json_decref(answer);
	return CLI_OK;
}

static int act(const nodes_arguments *arguments, const char *method, const char *suffix,
	       const char *done)
{
	json_t *answer;
	int code = call(arguments, method, suffix, NULL, &answer);

	if (code != CLI_OK)
		return code;
	if (json_is_false(answer))
		code = cli_complain("nodes", CLI_FAILED, "node not found: %s", arguments->id);
	else if (arguments->json)
		cli_print_json(answer);
	else
		printf("node %s is %s\n", arguments->id, done);
	json_decref(answer);
	return code;
}

int cli_nodes(int argc, char **argv)
{
	static const struct argp_option options[] = {
		{ "admin", KEY_ADMIN, "URL", 0, "Admin API (http://127.0.0.1:9200)", 0 },
		{ "file", KEY_FILE, "FILE", 0,
		  "The node as JSON for add and update (standard input)", 0 },
		{ "json", KEY_JSON, NULL, 0, "Print what the API answered", 0 },
		{ 0 }
	};
	static const struct argp argp = { options,
					  parse,
					  "list\nadd [--file FILE]\nupdate ID [--file "
					  "FILE]\nremove ID\nenable ID\ndisable ID",
					  "Inference nodes of a network node.",
					  NULL,
					  NULL,
					  NULL };
	nodes_arguments arguments = { "http://127.0.0.1:9200", NULL, NULL, NULL, false };

	if (cli_parse(&argp, argc, argv, &arguments))
		return CLI_USAGE;
	if (strcmp(arguments.verb, "list") == 0)
		return list(&arguments);
	if (strcmp(arguments.verb, "add") == 0)
		return put(&arguments, "POST");
	if (!arguments.id)
		return cli_complain("nodes", CLI_USAGE, "%s: which node? An id is missing",
				    arguments.verb);
	if (strcmp(arguments.verb, "update") == 0)
		return put(&arguments, "PUT");
	if (strcmp(arguments.verb, "remove") == 0)
		return act(&arguments, "DELETE", "", "removed");
	if (strcmp(arguments.verb, "enable") == 0)
		return act(&arguments, "POST", "/enable", "enabled");
	if (strcmp(arguments.verb, "disable") == 0)
		return act(&arguments, "POST", "/disable", "disabled");
	return cli_complain("nodes", CLI_USAGE,
			    "expected list, add, update, remove, enable or disable, got '%s'",
			    arguments.verb);
}
