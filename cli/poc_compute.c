#include "poc.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/*
 * What the verbs of gonkahost poc share: files, parameters, nonces, and computing distances.
 */
enum { FILE_MAX = 64 << 20 };

char *poc_read_file(const char *path, size_t *len)
{
	FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "r");
	char *text = file ? malloc(FILE_MAX + 1) : NULL;

	if (!file || !text) {
		cli_complain("poc", CLI_FAILED, "%s: %s", path, strerror(errno));
		free(text);
		return NULL;
	}
	*len = fread(text, 1, FILE_MAX + 1, file);
	if (file != stdin)
		fclose(file);
	if (*len > FILE_MAX) {
		cli_complain("poc", CLI_FAILED, "%s: more than %d bytes", path, FILE_MAX);
		free(text);
		return NULL;
	}
	return text;
}

bool poc_params_in_file(const char *given)
{
	size_t len = strlen(given);

	return len >= 5 && strcmp(given + len - 5, ".json") == 0;
}

static int read_params(const char *given, gh_poc_params *out)
{
	gh_error error = GH_ERROR_INIT;
	gh_status status;
	size_t len;
	char *text;

	if (!poc_params_in_file(given)) {
		status = gh_poc_params_named(out, given, &error);
		return status == GH_OK ? CLI_OK
				       : cli_complain("poc", CLI_USAGE, "--params: %s", error.text);
	}
	text = poc_read_file(given, &len);
	if (!text)
		return CLI_FAILED;
	status = gh_poc_params_parse(out, text, len, &error);
	free(text);
	return status == GH_OK ? CLI_OK
			       : cli_complain("poc", CLI_USAGE, "%s: %s", given, error.text);
}

int poc_prepare(const poc_arguments *arguments, gh_poc_options *options, gh_poc_params *params)
{
	*options = arguments->options;
	options->params = params;
	return read_params(arguments->params, params);
}

bool poc_nonces_add(poc_nonces *list, uint64_t first, uint64_t last)
{
	uint64_t *more;

	if (last < first || last > INT64_MAX || last - first >= POC_NONCES_MAX - list->count)
		return false;
	more = realloc(list->at, (list->count + (last - first) + 1) * sizeof *more);
	if (!more)
		return false;
	list->at = more;
	for (uint64_t n = first; n <= last; n++)
		list->at[list->count++] = n;
	return true;
}

/* ---- computing ---- */

double poc_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int show_weights(double done, const char *phase, void *userdata)
{
	(void)userdata;
	fprintf(stderr, "\r%s %3.0f %%\033[K", phase, done * 100);
	return 0;
}

bool poc_live(const poc_arguments *arguments)
{
	return isatty(STDERR_FILENO) != 0 && !arguments->json;
}

gh_status poc_open(gh_poc **out, const poc_arguments *arguments, const gh_poc_options *options,
		   gh_error *error)
{
	gh_poc_options mine = *options;

	if (poc_live(arguments))
		mine.progress = show_weights;
	return gh_poc_create(out, &mine, error);
}

typedef struct run {
	size_t done, count, hits;
	double began, flops, ceiling;
} run;

static void show_run(const run *r)
{
	double rate = (double)r->done / (poc_now() - r->began);

	fprintf(stderr,
		"\r%zu of %zu nonces, %zu hits, %.3g nonces/s, %.3g TFLOP/s, %.0f %% of the "
		"ceiling, %.0f s left\033[K",
		r->done, r->count, r->hits, rate, rate * r->flops / 1e12,
		rate * r->flops / r->ceiling * 100, (double)(r->count - r->done) / rate);
}

gh_status poc_compute(const poc_arguments *arguments, const gh_poc_options *options,
		      const poc_nonces *nonces, double *dist, gh_error *error)
{
	bool live = poc_live(arguments);
	run r = { .count = nonces->count };
	gh_poc_info info;
	gh_poc *poc;
	gh_status status = poc_open(&poc, arguments, options, error);

	if (status != GH_OK)
		return status;
	gh_poc_info_get(poc, &info);
	r.flops = info.flops;
	if (live)
		status = gh_poc_ceiling(poc, &r.ceiling, error);
	r.began = poc_now();
	while (r.done < r.count && status == GH_OK) {
		size_t left = r.count - r.done;
		size_t some = left < (size_t)info.batch ? left : (size_t)info.batch;

		status = gh_poc_distances(poc, arguments->public_key, nonces->at + r.done, some,
					  dist + r.done, error);
		for (size_t end = r.done + some; status == GH_OK && r.done < end; r.done++)
			r.hits += dist[r.done] < arguments->r_target;
		if (live && status == GH_OK)
			show_run(&r);
	}
	if (live)
		fputs("\r\033[K", stderr);
	gh_poc_free(poc);
	return status;
}
