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

/* A set by name, or a file that ends in .json. */
static int read_params(const char *given, gh_poc_params *out)
{
	gh_error error = GH_ERROR_INIT;
	size_t len = strlen(given);
	gh_status status;
	char *text;

	if (len < 5 || strcmp(given + len - 5, ".json") != 0) {
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

static void show_rate(size_t done, size_t count, size_t hits, double seconds, double flops)
{
	double rate = (double)done / seconds;

	fprintf(stderr,
		"\r%zu of %zu nonces, %zu hits, %.3g nonces/s, %.3g TFLOP/s, %.0f s left\033[K",
		done, count, hits, rate, rate * flops / 1e12, (double)(count - done) / rate);
}

gh_status poc_compute(const poc_arguments *arguments, const gh_poc_options *options,
		      const poc_nonces *nonces, double *dist, gh_error *error)
{
	bool live = isatty(STDERR_FILENO) != 0 && !arguments->json;
	gh_poc_options mine = *options;
	size_t hits = 0, some;
	gh_poc_info info;
	gh_poc *poc;
	gh_status status;
	double began;

	if (live)
		mine.progress = show_weights;
	status = gh_poc_create(&poc, &mine, error);
	if (status != GH_OK)
		return status;
	gh_poc_info_get(poc, &info);
	began = poc_now();
	for (size_t at = 0; at < nonces->count && status == GH_OK; at += some) {
		some = nonces->count - at < (size_t)info.batch ? nonces->count - at
							       : (size_t)info.batch;
		status = gh_poc_distances(poc, arguments->public_key, nonces->at + at, some,
					  dist + at, error);
		for (size_t i = at; i < at + some && status == GH_OK; i++)
			hits += dist[i] < arguments->r_target;
		if (live && status == GH_OK)
			show_rate(at + some, nonces->count, hits, poc_now() - began, info.flops);
	}
	if (live)
		fputs("\r\033[K", stderr);
	gh_poc_free(poc);
	return status;
}
