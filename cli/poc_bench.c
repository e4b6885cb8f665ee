#include "poc.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/*
 * gonkahost poc bench: how fast this machine makes proofs, and how near that is to what its device
 * could do, both measured in one run.
 */
typedef struct bench {
	gh_device_info device;
	gh_poc_info info;
	double build;    /* seconds until the network stood */
	double first;    /* seconds of the first batch, which also packs layers */
	double ceiling;  /* FLOP/s */
	uint64_t nonces; /* behind it, */
	double seconds;  /* in these */
} bench;

/* A batch of nonces that none before had. */
static gh_status batch(const poc_arguments *arguments, gh_poc *poc, size_t count, uint64_t *nonces,
		       double *dist, gh_error *error)
{
	for (size_t i = 0; i < count; i++)
		nonces[i] += count;
	return gh_poc_distances(poc, arguments->public_key, nonces, count, dist, error);
}

static gh_status measure(bench *b, const poc_arguments *arguments, gh_poc *poc, uint64_t *nonces,
			 double *dist, gh_error *error)
{
	size_t count = (size_t)b->info.batch;
	double began = poc_now(), before = 0.0, behind = 0.0;
	gh_status status = batch(arguments, poc, count, nonces, dist, error);

	b->first = poc_now() - began;
	if (status == GH_OK)
		status = gh_poc_ceiling(poc, &before, error);
	began = poc_now();
	do {
		if (status == GH_OK)
			status = batch(arguments, poc, count, nonces, dist, error);
		b->nonces += count;
		b->seconds = poc_now() - began;
		if (poc_live(arguments) && status == GH_OK)
			fprintf(stderr, "\r%.0f of %.0f s\033[K", b->seconds, arguments->seconds);
	} while (status == GH_OK && b->seconds < arguments->seconds);
	if (status == GH_OK)
		status = gh_poc_ceiling(poc, &behind, error);
	b->ceiling = before > behind ? before : behind; /* others may use the machine meanwhile */
	return status;
}

static gh_status run(bench *b, const poc_arguments *arguments, const gh_poc_options *options,
		     gh_error *error)
{
	gh_device_options device = GH_DEVICE_OPTIONS_INIT;
	uint64_t *nonces = NULL;
	double *dist = NULL, began;
	gh_poc *poc = NULL;
	gh_status status;

	device.kind = options->device;
	device.threads = options->threads;
	status = gh_device_info_get(&b->device, &device, error);
	began = poc_now();
	if (status == GH_OK)
		status = poc_open(&poc, arguments, options, error);
	b->build = poc_now() - began;
	if (status == GH_OK) {
		gh_poc_info_get(poc, &b->info);
		nonces = calloc((size_t)b->info.batch, sizeof *nonces);
		dist = calloc((size_t)b->info.batch, sizeof *dist);
		for (int32_t i = 0; nonces && i < b->info.batch; i++)
			nonces[i] = (uint64_t)i;
		status = nonces && dist ? measure(b, arguments, poc, nonces, dist, error)
					: GH_ENOMEM;
	}
	if (poc_live(arguments))
		fputs("\r\033[K", stderr);
	free(nonces);
	free(dist);
	gh_poc_free(poc);
	return status;
}

static void print_table(const bench *b, const poc_arguments *arguments, double rate)
{
	const gh_poc_info *info = &b->info;
	const double mib = 1 << 20;

	printf("set         %s, %.4g TFLOP a nonce\n"
	       "device      %s, %s, %d threads\n"
	       "memory      %.0f MiB: pool %.0f, ends %.0f, %d layers of %.1f, batch of %d %.0f\n"
	       "pool        %" PRId64 " normal numbers in %.3f s: %.3g/s, %.2f ns each\n"
	       "build       %.3f s\n"
	       "first batch %.3f s\n",
	       arguments->params, info->flops / 1e12, info->device, b->device.name,
	       b->device.threads, (double)info->total_bytes / mib, (double)info->pool_bytes / mib,
	       (double)info->ends_bytes / mib, info->layers_held, (double)info->layer_bytes / mib,
	       info->batch, (double)info->batch_bytes / mib, info->pool, info->pool_seconds,
	       (double)info->pool / info->pool_seconds,
	       info->pool_seconds / (double)info->pool * 1e9, b->build, b->first);
	printf("nonces      %" PRIu64 " in %.1f s: %.4g nonces/s, %.4g GFLOP/s\n"
	       "ceiling     %.4g GFLOP/s, of which that is %.0f %%\n",
	       b->nonces, b->seconds, rate, rate * info->flops / 1e9, b->ceiling / 1e9,
	       rate * info->flops / b->ceiling * 100);
}

static void print_json(const bench *b, const poc_arguments *arguments, double rate)
{
	const gh_poc_info *info = &b->info;
	json_t *object = json_pack(
		"{s:s, s:s, s:s, s:i, s:I, s:f, s:f, s:f, s:f, s:f, s:I, s:f, s:f, s:f, s:f, s:f}",
		"params", arguments->params, "device", info->device, "name", b->device.name,
		"threads", (int)b->device.threads, "pool", (json_int_t)info->pool, "pool_seconds",
		info->pool_seconds, "normals_per_second", (double)info->pool / info->pool_seconds,
		"ns_per_normal", info->pool_seconds / (double)info->pool * 1e9, "build_seconds",
		b->build, "first_batch_seconds", b->first, "nonces", (json_int_t)b->nonces,
		"seconds", b->seconds, "nonces_per_second", rate, "flops_per_second",
		rate * info->flops, "ceiling_flops_per_second", b->ceiling, "share_of_ceiling",
		rate * info->flops / b->ceiling);
	json_t *plan =
		json_pack("{s:i, s:i, s:I, s:I, s:I, s:I, s:I}", "batch", (int)info->batch,
			  "layers_held", (int)info->layers_held, "pool_bytes",
			  (json_int_t)info->pool_bytes, "ends_bytes", (json_int_t)info->ends_bytes,
			  "layer_bytes", (json_int_t)info->layer_bytes, "batch_bytes",
			  (json_int_t)info->batch_bytes, "total_bytes",
			  (json_int_t)info->total_bytes);

	json_object_set_new(object, "plan", plan);
	cli_print_json(object);
	json_decref(object);
}

int poc_bench(poc_arguments *arguments)
{
	gh_error error = GH_ERROR_INIT;
	gh_poc_options options;
	gh_poc_params params;
	bench b = { .nonces = 0 };
	gh_status status;
	int code = poc_prepare(arguments, &options, &params);

	if (code != CLI_OK)
		return code;
	if (!options.block_hash)
		options.block_hash = "bench";
	if (!arguments->public_key)
		arguments->public_key = "bench";
	status = run(&b, arguments, &options, &error);
	if (status != GH_OK)
		return cli_fail("poc", status, &error);
	if (arguments->json)
		print_json(&b, arguments, (double)b.nonces / b.seconds);
	else
		print_table(&b, arguments, (double)b.nonces / b.seconds);
	return CLI_OK;
}
