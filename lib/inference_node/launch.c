#include "inference_node/launch.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/error.h"
#include "openai/args.h"

/* GPUs of one worker. */
static gh_status gpus_each(const gh__launch *launch, int *out, gh_error *error)
{
	const char *args[GH__LAUNCH_ARGS_MAX];
	size_t i, count = json_array_size(launch->args);
	int32_t tensor, pipeline;
	gh_status status;

	for (i = 0; i < count; i++)
		args[i] = json_string_value(json_array_get(launch->args, i));
	status = gh__args_parallel(args, count, &tensor, &pipeline, error);
	if (status == GH_OK)
		*out = tensor * pipeline;
	return status;
}

gh_status gh__launch_count(const gh__launch *launch, int max, int *out, gh_error *error)
{
	int each;
	gh_status status = gpus_each(launch, &each, error);

	if (status != GH_OK)
		return status;
	*out = launch->gpus / each;
	if (*out > max)
		*out = max;
	if (*out < 1)
		*out = 1;
	return GH_OK;
}

/* "0,1,2,3": GPUs of a worker, through our own list when we were given one. */
static void visible_gpus(gh__buf *out, int first, int count)
{
	const char *ours = getenv("CUDA_VISIBLE_DEVICES");
	int i, k;

	gh__buf_append_str(out, "CUDA_VISIBLE_DEVICES=");
	for (i = 0; i < count; i++) {
		const char *at = ours;

		for (k = 0; at && *at && k < first + i; k++)
			at = strchr(at, ',') ? strchr(at, ',') + 1 : "";
		if (i)
			gh__buf_append_char(out, ',');
		if (at && *at)
			gh__buf_append(out, at, strcspn(at, ","));
		else
			gh__buf_printf(out, "%d", first + i);
	}
}

gh_status gh__launch_start(const gh__launch *launch, int index, const char *socket,
			   gh__process *out, gh_error *error)
{
	const char *argv[GH__LAUNCH_ARGS_MAX + 16];
	const char *environment[] = { NULL, NULL };
	gh__buf gpus = GH__BUF_INIT(16384);
	size_t n = 0, i;
	gh_status status;
	int each;

	status = gpus_each(launch, &each, error);
	if (status != GH_OK)
		return status;
	argv[n++] = launch->program;
	argv[n++] = "--log-level=info";
	argv[n++] = "serve";
	if (launch->model) {
		argv[n++] = "--model";
		argv[n++] = launch->model;
		argv[n++] = "--dtype";
		argv[n++] = launch->dtype;
	} else {
		argv[n++] = "--no-model";
	}
	for (i = 0; i < json_array_size(launch->args); i++)
		argv[n++] = json_string_value(json_array_get(launch->args, i));
	argv[n++] = "--unix-socket"; /* last, so that no argument takes its place */
	argv[n++] = socket;
	argv[n] = NULL;
	if (launch->gpus) {
		visible_gpus(&gpus, index * each, each);
		environment[0] = gh__buf_str(&gpus);
	}
	unlink(socket);
	status = gh__process_start(out, argv, environment, error);
	gh__buf_free(&gpus);
	return status;
}
