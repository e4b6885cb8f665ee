#include "cli.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

/*
 * gonkahost serve: a worker. All arguments but --unix-socket and --no-model are vLLM's, and the
 * library's to read.
 */

static gh_worker *running;

static void on_signal(int number)
{
	(void)number;
	gh_worker_wake(running);
}

static void usage(void)
{
	puts("Usage: gonkahost serve MODEL [--unix-socket PATH] [vLLM ARGUMENT...]\n"
	     "Serve a model: a folder, or a repository id in the Hugging Face cache.\n\n"
	     "  --host ADDRESS, --port PORT   where to listen (all addresses, 8000;\n"
	     "                                port 0: any free port)\n"
	     "  --unix-socket PATH            listen there instead\n"
	     "  --no-model                    serve none: an inference node's, for proofs\n"
	     "  --dtype, --quantization, --kv-cache-dtype, --tensor-parallel-size,\n"
	     "  --max-model-len, --max-num-seqs, --api-key, ...\n\n"
	     "docs/cli.md lists which arguments are honoured, accepted and refused.");
}

static int wait_until_done(gh_worker *worker, const char *unix_path)
{
	struct sigaction action;
	gh_error error = GH_ERROR_INIT;
	gh_status status;

	running = worker;
	memset(&action, 0, sizeof action);
	action.sa_handler = on_signal;
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	cli_announce("serve", unix_path ? json_pack("{s:s}", "unix_socket", unix_path)
					: json_pack("{s:i}", "port", (int)gh_worker_port(worker)));
	status = gh_worker_wait(worker, &error);
	if (status != GH_OK)
		cli_fail("serve", status, &error);
	gh_worker_stop(worker);
	return status == GH_OK ? CLI_OK : CLI_FAILED;
}

int cli_serve(int argc, char **argv)
{
	gh_worker_options options = GH_WORKER_OPTIONS_INIT;
	gh_worker *worker;
	gh_error error = GH_ERROR_INIT;
	gh_status status;
	int i, kept = 1;

	for (i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--unix-socket") == 0 && i + 1 < argc) {
			options.unix_path = argv[++i];
		} else if (strncmp(argv[i], "--unix-socket=", 14) == 0) {
			options.unix_path = argv[i] + 14;
		} else if (strcmp(argv[i], "--no-model") == 0) {
			options.flags |= GH_WORKER_NO_MODEL;
		} else if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
			usage();
			return CLI_OK;
		} else {
			argv[kept++] = argv[i];
		}
	}
	options.args = (const char *const *)(argv + 1);
	options.arg_count = (size_t)kept - 1;
	cli_raise_limits();
	status = gh_worker_start(&worker, &options, &error);
	if (status != GH_OK)
		return cli_fail("serve", status, &error);
	return wait_until_done(worker, options.unix_path);
}
