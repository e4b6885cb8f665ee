#include "cli.h"

#include <ctype.h>
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

static const cli_command commands[] = {
	{ "serve", "serve a model over an OpenAI-style API (vLLM's arguments)", cli_serve },
	{ "inference-node", "run the node of a GPU machine", cli_inference_node },
	{ "network-node", "run the node that clients and the chain talk to", cli_network_node },
	{ "nodes", "list, add, update, remove, enable or disable inference nodes", cli_nodes },
	{ "chat", "talk to a model, over HTTP or in this process", cli_chat },
	{ "generate", "complete a prompt in this process", cli_generate },
	{ "model", "inspect a model's files", cli_model },
	{ "poc", "compute, judge and check proofs of compute", cli_poc },
	{ "bench", "how fast the kernels of a device are", cli_bench },
	{ "tokenize", "text to token ids, line by line", cli_tokenize },
	{ "template", "conversations to prompts, line by line", cli_template },
	{ "version", "print the version", cli_version },
};

enum { COMMANDS = sizeof commands / sizeof commands[0] };

static void usage(FILE *out)
{
	size_t i;

	fputs("Usage: gonkahost [--log-level=LEVEL] [--log=json] COMMAND [ARGUMENT...]\n\n", out);
	for (i = 0; i < COMMANDS; i++)
		fprintf(out, "  %-16s %s\n", commands[i].name, commands[i].help);
	fputs("\n"
	      "  --log-level      error, warn (default), info or debug\n"
	      "  --log=json       one JSON object a line instead of text\n\n"
	      "\"gonkahost COMMAND --help\" tells more. Exit status: 0 done, 1 failed, 2 usage.\n",
	      out);
}

/* ---- log lines on stderr ---- */

static const char *const level_names[] = { "", "error", "warn", "info", "debug" };

static void log_text(gh_log_level level, const char *component, const char *text, void *userdata)
{
	(void)userdata;
	fprintf(stderr, "%-5s %s: %s\n", level_names[level], component, text);
}

static void log_json(gh_log_level level, const char *component, const char *text, void *userdata)
{
	json_t *line = json_pack("{s:s, s:s, s:s}", "level", level_names[level], "component",
				 component, "message", text);
	char *out = line ? json_dumps(line, JSON_COMPACT) : NULL;

	(void)userdata;
	if (out)
		fprintf(stderr, "%s\n", out);
	free(out);
	json_decref(line);
}

static int log_level(const char *name)
{
	int i;

	for (i = 1; i <= GH_LOG_DEBUG; i++)
		if (strcasecmp(name, level_names[i]) == 0)
			return i;
	return 0;
}

/* Options before the command; answers the index of the command, or a negative exit code less 1. */
static int read_globals(int argc, char **argv)
{
	gh_log_fn *sink = log_text;
	const char *environment = getenv("VLLM_LOGGING_LEVEL");
	int level = environment ? log_level(environment) : 0;
	int i;

	for (i = 1; i < argc && argv[i][0] == '-' && strcmp(argv[i], "-m") != 0; i++) {
		if (strncmp(argv[i], "--log-level=", 12) == 0) {
			level = log_level(argv[i] + 12);
			if (!level)
				return -1 - cli_complain("", CLI_USAGE,
							 "--log-level: expected error, warn, info "
							 "or debug, got '%s'",
							 argv[i] + 12);
		} else if (strcmp(argv[i], "--log=json") == 0) {
			sink = log_json;
		} else if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
			usage(stdout);
			return -1 - CLI_OK;
		} else if (strcmp(argv[i], "--version") == 0 || strcmp(argv[i], "-V") == 0) {
			return -1 - cli_version(0, NULL);
		} else {
			usage(stderr);
			return -1 - cli_complain("", CLI_USAGE, "unknown option '%s'", argv[i]);
		}
	}
	gh_log_set(sink, NULL, level ? (gh_log_level)level : GH_LOG_WARN);
	return i;
}

static int run_command(const char *name, int argc, char **argv)
{
	char title[64];
	size_t i;

	for (i = 0; i < COMMANDS; i++) {
		if (strcmp(name, commands[i].name) != 0)
			continue;
		snprintf(title, sizeof title, "gonkahost %s", name);
		argv[0] = title;
		return commands[i].run(argc, argv);
	}
	usage(stderr);
	return cli_complain("", CLI_USAGE, "unknown command '%s'", name);
}

int main(int argc, char **argv)
{
	int at;

	signal(SIGPIPE, SIG_IGN);
	at = read_globals(argc, argv);
	if (at < 0)
		return -1 - at;
	/* Under a driver that starts "PYTHON -m vllm.entrypoints.openai.api_server ARGS". */
	if (at + 1 < argc && strcmp(argv[at], "-m") == 0) {
		if (strcmp(argv[at + 1], "vllm.entrypoints.openai.api_server") != 0)
			return cli_complain("", CLI_USAGE,
					    "-m: expected vllm.entrypoints.openai.api_server, "
					    "got '%s'",
					    argv[at + 1]);
		return run_command("serve", argc - at - 1, argv + at + 1);
	}
	if (at >= argc) {
		usage(stderr);
		return CLI_USAGE;
	}
	return run_command(argv[at], argc - at, argv + at);
}

/* ---- what the commands share ---- */

int cli_complain(const char *name, int code, const char *format, ...)
{
	va_list args;

	fprintf(stderr, "gonkahost%s%s: ", name[0] ? " " : "", name);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	return code;
}

int cli_fail(const char *name, gh_status status, const gh_error *error)
{
	const char *text = error->text[0] ? error->text : gh_status_text(status);

	return cli_complain(name, status == GH_EINVAL ? CLI_USAGE : CLI_FAILED, "%s", text);
}

int cli_parse(const struct argp *argp, int argc, char **argv, void *input)
{
	argp_err_exit_status = CLI_USAGE;
	return argp_parse(argp, argc, argv, 0, NULL, input) ? CLI_USAGE : CLI_OK;
}

int cli_int(struct argp_state *state, const char *option, const char *text, int min, int max)
{
	char *end;
	long value;

	errno = 0;
	value = strtol(text, &end, 10);
	if (errno || end == text || *end || value < min || value > max)
		argp_error(state, "%s: expected an integer from %d to %d, got '%s'", option, min,
			   max, text);
	return (int)value;
}

double cli_real(struct argp_state *state, const char *option, const char *text, double min,
		double max)
{
	char *end;
	double value;

	errno = 0;
	value = strtod(text, &end);
	if (errno || end == text || *end || !(value >= min && value <= max))
		argp_error(state, "%s: expected a number from %g to %g, got '%s'", option, min, max,
			   text);
	return value;
}

/* "8GiB", "500MiB", "1000000"; 0: not a size. */
static int64_t size_of(const char *text)
{
	static const struct {
		const char *unit;
		double bytes;
	} units[] = { { "", 1 },         { "KiB", 0x1p10 }, { "MiB", 0x1p20 },
		      { "GiB", 0x1p30 }, { "TiB", 0x1p40 }, { "kB", 1e3 },
		      { "MB", 1e6 },     { "GB", 1e9 },     { "TB", 1e12 } };
	char *end;
	double number = strtod(text, &end);

	if (end == text || !isdigit((unsigned char)text[0]))
		return 0;
	for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
		if (strcmp(end, units[i].unit) == 0 && number * units[i].bytes < 0x1p62)
			return (int64_t)(number * units[i].bytes);
	return 0;
}

int64_t cli_size(struct argp_state *state, const char *option, const char *text)
{
	int64_t size = size_of(text);

	if (size < 1)
		argp_error(state, "%s: expected a size such as 8GiB, got '%s'", option, text);
	return size;
}

void cli_print_json(const json_t *value)
{
	char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);

	if (text)
		puts(text);
	free(text);
}

void cli_announce(const char *name, json_t *object)
{
	json_object_set_new(object, "running", json_string(name));
	cli_print_json(object);
	fflush(stdout);
	json_decref(object);
}

static void stop_signals(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGTERM);
}

void cli_raise_limits(void)
{
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
}

void cli_signals_block(void)
{
	sigset_t set;

	stop_signals(&set);
	sigprocmask(SIG_BLOCK, &set, NULL);
}

void cli_signals_wait(void)
{
	sigset_t set;
	int which;

	stop_signals(&set);
	while (sigwait(&set, &which) != 0)
		;
}

bool cli_signals_wait_for(double seconds)
{
	struct timespec time = { (time_t)seconds,
				 (long)((seconds - (double)(time_t)seconds) * 1e9) };
	sigset_t set;

	stop_signals(&set);
	return sigtimedwait(&set, NULL, &time) > 0;
}

int cli_version(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	printf("gonkahost %s\n", gh_version());
	return CLI_OK;
}
