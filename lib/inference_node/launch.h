#ifndef GH_INFERENCE_NODE_LAUNCH_H
#define GH_INFERENCE_NODE_LAUNCH_H

#include <jansson.h>

#include "inference_node/process.h"

/*
 * How a worker is started: its command line and environment, and how many of them there are.
 */
enum { GH__LAUNCH_ARGS_MAX = 1024 };

typedef struct gh__launch {
	const char *program;       /* runs as "program serve ..." */
	const char *model, *dtype; /* model NULL: none, for proofs */
	const json_t *args;        /* array of strings */
	int32_t gpus;              /* of the machine; 0: none */
} gh__launch;

/* How many workers: GPUs / (TP x PP), at least one, at most max. GH_EINVAL: a parallel size. */
gh_status gh__launch_count(const gh__launch *launch, int max, int *out, gh_error *error);

/* Start the index-th of them, listening on a Unix socket; a dead socket file is removed. */
gh_status gh__launch_start(const gh__launch *launch, int index, const char *socket,
			   gh__process *out, gh_error *error);

#endif
