#ifndef GH_CLI_CLI_H
#define GH_CLI_CLI_H

#include <argp.h>
#include <stdbool.h>
#include <jansson.h>

#include <gonkahost/gonkahost.h>

/*
 * The command line: one row of a table a command, one file a noun. A command parses, calls public
 * functions of the library, and prints.
 */

/* Exit codes: what scripts may rely on. */
enum { CLI_OK = 0, CLI_FAILED = 1, CLI_USAGE = 2 };

typedef struct cli_command {
	const char *name;
	const char *help;                  /* one line */
	int (*run)(int argc, char **argv); /* argv[0] is "gonkahost NAME" */
} cli_command;

int cli_serve(int argc, char **argv);
int cli_inference_node(int argc, char **argv);
int cli_network_node(int argc, char **argv);
int cli_nodes(int argc, char **argv);
int cli_chat(int argc, char **argv);
int cli_generate(int argc, char **argv);
int cli_model(int argc, char **argv);
int cli_poc(int argc, char **argv);
int cli_bench(int argc, char **argv);
int cli_tokenize(int argc, char **argv);
int cli_template(int argc, char **argv);
int cli_version(int argc, char **argv);

/* "gonkahost NAME: text" on stderr; answers CLI_FAILED, or CLI_USAGE for GH_EINVAL. */
int cli_fail(const char *name, gh_status status, const gh_error *error);
int cli_complain(const char *name, int code, const char *format, ...) GH_PRINTF(3, 4);

/* argp_parse() with exit code 2 for usage errors. */
int cli_parse(const struct argp *argp, int argc, char **argv, void *input);

/* A decimal integer from min to max; else a usage error that names the option. */
int cli_int(struct argp_state *state, const char *option, const char *text, int min, int max);
double cli_real(struct argp_state *state, const char *option, const char *text, double min,
		double max);

/* "8GiB", "500MB", "1000000": bytes, at least 1; else a usage error that names the option. */
int64_t cli_size(struct argp_state *state, const char *option, const char *text);

void cli_print_json(const json_t *value); /* a line on stdout */

/* The line by which a server says that it listens, so that a script that asked for port 0 learns
 * the port: an object with "running" behind what it holds already. Takes it. */
void cli_announce(const char *name, json_t *object);

/* Allow as many open files, and so connections, as this process may have. */
void cli_raise_limits(void);

/* Block SIGINT and SIGTERM, before threads are started; then wait for one of them. */
void cli_signals_block(void);
void cli_signals_wait(void);
bool cli_signals_wait_for(double seconds); /* false: none came */

/* ---- HTTP, for commands that talk to a running node ---- */
typedef struct cli_reply {
	long status;
	char *body; /* NUL-terminated; free() */
	size_t len;
} cli_reply;

/* false: no answer came; the reason is on stderr. */
bool cli_http(const char *name, const char *method, const char *url, const char *body,
	      cli_reply *reply);

/* An exchange with JSON as its answer, a new reference. Else complains, with the text of an error's
 * body whatever its shape, and answers the exit code: CLI_USAGE for status 400. */
int cli_http_json(const char *name, const char *method, const char *url, const char *body,
		  json_t **answer);

/* Each event's data line ("[DONE]" included) to fn until it answers false. A status other than 200
 * is an error whose body is shown. */
typedef bool cli_event_fn(const char *data, void *userdata);
bool cli_http_events(const char *name, const char *url, const char *body, cli_event_fn *fn,
		     void *userdata);

/* ---- a model in this process ---- */
typedef struct cli_local {
	gh_model *model;
	gh_tokenizer *tokenizer;
	gh_template *chat_template; /* NULL: the model has none */
	gh_engine *engine;
} cli_local;

typedef struct cli_local_options {
	const char *model;
	gh_model_options load;
	gh_engine_options engine;
} cli_local_options;

#define CLI_LOCAL_OPTIONS_INIT                                      \
	{                                                           \
		NULL, GH_MODEL_OPTIONS_INIT, GH_ENGINE_OPTIONS_INIT \
	}

/* Options of how a model is loaded, spelled as serve spells them; a child of other parsers. */
extern const struct argp cli_local_argp; /* input: cli_local_options */

gh_status cli_local_open(cli_local *local, const cli_local_options *options, gh_error *error);
void cli_local_close(cli_local *local);

/* Generate one choice; text goes to out as it comes (NULL: nowhere). The last event is summed
 * up. */
typedef struct cli_answer {
	char *text; /* free() */
	size_t len;
	int32_t *ids;     /* free() */
	double *logprobs; /* free() */
	size_t count;
	int32_t prompt_tokens;
	int32_t finish;
	gh_error error;
} cli_answer;

gh_status cli_local_generate(cli_local *local, const char *prompt, size_t len, uint32_t flags,
			     const gh_sampling *sampling, FILE *out, cli_answer *answer,
			     gh_error *error);
void cli_answer_done(cli_answer *answer);

#endif
