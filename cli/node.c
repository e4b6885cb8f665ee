#include "cli.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * gonkahost inference-node and gonkahost network-node: run until SIGINT or SIGTERM.
 */

enum {
	KEY_HOST = 256,
	KEY_PORT,
	KEY_INFERENCE_PORT,
	KEY_GPUS,
	KEY_ALLOW,
	KEY_PROOF_BUDGET,
	KEY_PROOF_DIR
};

static error_t parse_inference_node(int key, char *arg, struct argp_state *state)
{
	gh_inference_node_options *options = state->input;

	switch (key) {
	case KEY_HOST:
		options->host = arg;
		return 0;
	case KEY_PORT:
		options->port = cli_int(state, "--port", arg, 0, 65535);
		options->port = options->port ? options->port : -1;
		return 0;
	case KEY_INFERENCE_PORT:
		options->inference_port = cli_int(state, "--inference-port", arg, 0, 65535);
		options->inference_port = options->inference_port ? options->inference_port : -1;
		return 0;
	case KEY_GPUS:
		options->gpus = cli_int(state, "--gpus", arg, 1, 1024);
		return 0;
	case KEY_ALLOW:
		options->allow = arg;
		return 0;
	case KEY_PROOF_DIR:
		options->data_dir = arg;
		return 0;
	case KEY_PROOF_BUDGET:
		options->proof_budget = cli_size(state, "--proof-budget", arg);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

int cli_inference_node(int argc, char **argv)
{
	static const struct argp_option options[] = {
		{ "host", KEY_HOST, "ADDRESS", 0, "Address of both servers (127.0.0.1)", 0 },
		{ "port", KEY_PORT, "PORT", 0, "Management API (8080; 0 = any free port)", 0 },
		{ "inference-port", KEY_INFERENCE_PORT, "PORT", 0,
		  "Inference API (5000; 0 = any free port)", 0 },
		{ "allow", KEY_ALLOW, "CIDR[,...]", 0,
		  "Let only clients of these networks connect (anyone)", 0 },
		{ "data-dir", KEY_PROOF_DIR, "FOLDER", 0,
		  "Proofs until they are delivered (.gonkahost)", 0 },
		{ "proof-budget", KEY_PROOF_BUDGET, "SIZE", 0,
		  "Memory that a worker may use for proofs, such as 8GiB (half of it)", 0 },
		{ "gpus", KEY_GPUS, "N", 0, "Count with N GPUs instead of those found", 0 },
		{ 0 }
	};
	static const struct argp argp = {
		options,
		parse_inference_node,
		NULL,
		"Run the node of a GPU machine: the management API, the proxy to the model's "
		"servers, and these servers.\vNeither port has any authentication: keep both on "
		"a private address.",
		NULL,
		NULL,
		NULL
	};
	gh_inference_node_options node_options = GH_INFERENCE_NODE_OPTIONS_INIT;
	gh_inference_node *node;
	gh_error error = GH_ERROR_INIT;
	int32_t management, inference;
	gh_status status;

	if (cli_parse(&argp, argc, argv, &node_options))
		return CLI_USAGE;
	cli_raise_limits();
	cli_signals_block();
	status = gh_inference_node_start(&node, &node_options, &error);
	if (status != GH_OK)
		return cli_fail("inference-node", status, &error);
	gh_inference_node_ports(node, &management, &inference);
	cli_announce("inference-node", json_pack("{s:i, s:i}", "port", (int)management,
						 "inference_port", (int)inference));
	cli_signals_wait();
	gh_inference_node_stop(node);
	return CLI_OK;
}

enum {
	KEY_PUBLIC_PORT = 300,
	KEY_CALLBACK_PORT,
	KEY_ADMIN_PORT,
	KEY_ADMIN_HOST,
	KEY_CALLBACK_URL,
	KEY_DATA_DIR,
	KEY_CONFIG,
	KEY_NODE_CONFIG,
	KEY_ALLOW_UNSIGNED
};

/* What --config (a config.env) says, where the command line is silent. */
typedef struct network_arguments {
	gh_network_node_options options;
	const char *config;
	char *node_config;  /* from config.env */
	char *callback_url; /* likewise */
} network_arguments;

static int port_option(struct argp_state *state, const char *name, const char *arg)
{
	int port = cli_int(state, name, arg, 0, 65535);

	return port ? port : -1;
}

static error_t parse_network_node(int key, char *arg, struct argp_state *state)
{
	network_arguments *arguments = state->input;
	gh_network_node_options *options = &arguments->options;

	switch (key) {
	case KEY_HOST:
		options->host = arg;
		return 0;
	case KEY_ADMIN_HOST:
		options->admin_host = arg;
		return 0;
	case KEY_PUBLIC_PORT:
		options->public_port = port_option(state, "--public-port", arg);
		return 0;
	case KEY_CALLBACK_PORT:
		options->callback_port = port_option(state, "--callback-port", arg);
		return 0;
	case KEY_ADMIN_PORT:
		options->admin_port = port_option(state, "--admin-port", arg);
		return 0;
	case KEY_CALLBACK_URL:
		options->callback_url = arg;
		return 0;
	case KEY_DATA_DIR:
		options->data_dir = arg;
		return 0;
	case KEY_CONFIG:
		arguments->config = arg;
		return 0;
	case KEY_NODE_CONFIG:
		options->node_config = arg;
		return 0;
	case KEY_ALLOW:
		options->allow = arg;
		return 0;
	case KEY_ALLOW_UNSIGNED:
		options->flags |= GH_NETWORK_NODE_ALLOW_UNSIGNED;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* "export NAME=value" lines as operators write them in config.env. A value may be quoted; else a
 * comment may follow it. */
static bool env_line(char *line, char **name, char **value)
{
	size_t len;
	char *end;

	line += strspn(line, " \t");
	if (strncmp(line, "export ", 7) == 0)
		line += 7 + strspn(line + 7, " \t");
	if (line[0] == '#' || !strchr(line, '='))
		return false;
	*name = line;
	*value = strchr(line, '=');
	*(*value)++ = '\0';
	if (**value == '"' || **value == '\'') {
		end = strchr(*value + 1, **value);
		if (end) {
			*end = '\0';
			(*value)++;
			return true;
		}
	}
	len = strcspn(*value, " \t\r\n");
	(*value)[len] = '\0';
	return true;
}

static bool env_port(const network_arguments *arguments, const char *value, int32_t *port)
{
	char *end;
	long number = strtol(value, &end, 10);

	*port = (int32_t)number;
	if (end != value && !*end && number >= 1 && number <= 65535)
		return true;
	cli_complain("network-node", CLI_USAGE, "%s: API_PORT: expected 1 to 65535, got '%s'",
		     arguments->config, value);
	return false;
}

/* As in a shell, the last of several lines of a name counts, and an empty value is none. */
static int read_config(network_arguments *arguments)
{
	char line[4096], *name, *value;
	int32_t port = 0;
	int code = CLI_OK;
	FILE *file = fopen(arguments->config, "r");

	if (!file)
		return cli_complain("network-node", CLI_FAILED, "--config: %s: %s",
				    arguments->config, strerror(errno));
	while (code == CLI_OK && fgets(line, sizeof line, file)) {
		if (!env_line(line, &name, &value))
			continue;
		if (strcmp(name, "API_PORT") == 0) {
			port = 0;
			if (value[0] && !env_port(arguments, value, &port))
				code = CLI_USAGE;
		} else if (strcmp(name, "NODE_CONFIG") == 0) {
			free(arguments->node_config);
			arguments->node_config = strdup(value);
		} else if (strcmp(name, "DAPI_API__POC_CALLBACK_URL") == 0) {
			free(arguments->callback_url);
			arguments->callback_url = value[0] ? strdup(value) : NULL;
		}
	}
	fclose(file);
	if (!arguments->options.public_port)
		arguments->options.public_port = port;
	if (!arguments->options.node_config)
		arguments->options.node_config = arguments->node_config;
	if (!arguments->options.callback_url)
		arguments->options.callback_url = arguments->callback_url;
	return code;
}

static int run_network_node(const gh_network_node_options *options)
{
	gh_network_node *node;
	gh_error error = GH_ERROR_INIT;
	int32_t public_port, callback_port, admin_port;
	gh_status status;

	cli_raise_limits();
	cli_signals_block();
	status = gh_network_node_start(&node, options, &error);
	if (status != GH_OK)
		return cli_fail("network-node", status, &error);
	gh_network_node_ports(node, &public_port, &callback_port, &admin_port);
	cli_announce("network-node",
		     json_pack("{s:i, s:i, s:i}", "public_port", (int)public_port, "callback_port",
			       (int)callback_port, "admin_port", (int)admin_port));
	cli_signals_wait();
	gh_network_node_stop(node);
	return CLI_OK;
}

int cli_network_node(int argc, char **argv)
{
	static const struct argp_option options[] = {
		{ "host", KEY_HOST, "ADDRESS", 0,
		  "Address of the public API (0.0.0.0; 127.0.0.1 with "
		  "--allow-unsigned)",
		  0 },
		{ "admin-host", KEY_ADMIN_HOST, "ADDRESS", 0,
		  "Address of the callback and admin APIs (127.0.0.1); keep it private", 0 },
		{ "allow", KEY_ALLOW, "CIDR[,...]", 0,
		  "Let only clients of these networks connect to the callback and admin APIs "
		  "(anyone)",
		  0 },
		{ "public-port", KEY_PUBLIC_PORT, "PORT", 0, "Public API (8000; 0 = any)", 0 },
		{ "callback-port", KEY_CALLBACK_PORT, "PORT", 0, "Callback API (9100; 0 = any)",
		  0 },
		{ "admin-port", KEY_ADMIN_PORT, "PORT", 0, "Admin API (9200; 0 = any)", 0 },
		{ "callback-url", KEY_CALLBACK_URL, "URL", 0,
		  "The callback API as inference nodes reach it (where it listens)", 0 },
		{ "data-dir", KEY_DATA_DIR, "FOLDER", 0, "Registry, proofs and keys (.dapi)", 0 },
		{ "config", KEY_CONFIG, "FILE", 0,
		  "config.env: API_PORT, NODE_CONFIG and DAPI_API__POC_CALLBACK_URL are read from "
		  "it",
		  0 },
		{ "node-config", KEY_NODE_CONFIG, "FILE", 0,
		  "node-config.json: merged into the registry once", 0 },
		{ "allow-unsigned", KEY_ALLOW_UNSIGNED, NULL, 0,
		  "Answer chat requests without a signature (private machines only)", 0 },
		{ 0 }
	};
	static const struct argp argp = {
		options,
		parse_network_node,
		NULL,
		"Run the node that clients talk to, that keeps the registry of inference nodes "
		"and drives them.",
		NULL,
		NULL,
		NULL
	};
	network_arguments arguments = { GH_NETWORK_NODE_OPTIONS_INIT, NULL, NULL, NULL };
	int code = CLI_OK;

	if (cli_parse(&argp, argc, argv, &arguments))
		return CLI_USAGE;
	if (arguments.config)
		code = read_config(&arguments);
	if (code == CLI_OK)
		code = run_network_node(&arguments.options);
	free(arguments.node_config);
	free(arguments.callback_url);
	return code;
}
