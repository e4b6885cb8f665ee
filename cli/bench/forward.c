#include "bench.h"

#include <stdio.h>
#include <string.h>

/*
 * gonkahost bench forward: decodes and a prefill of a model whose weights are random numbers, of
 * which only config.json is read. A decode stands beside the rate at which memory is read, a prefill
 * beside the yardstick's rate of products.
 */
typedef struct ceilings {
	double read, flops;
} ceilings;

static gh_status load(gh_model **model, const bench_arguments *arguments, gh_error *error)
{
	gh_model_options options = GH_MODEL_OPTIONS_INIT;
	const char *dtype = arguments->dtype ? arguments->dtype : "auto";

	options.device = arguments->device;
	options.threads = arguments->threads;
	options.load_format = GH_LOAD_DUMMY;
	options.quantization = arguments->quantization;
	options.kv_dtype = arguments->kv_fp8 ? GH_E4M3 : 0;
	if (strcmp(dtype, "float16") == 0)
		options.dtype = GH_F16;
	else if (strcmp(dtype, "bfloat16") == 0)
		options.dtype = GH_BF16;
	else if (strcmp(dtype, "auto") != 0) {
		snprintf(error->text, sizeof error->text,
			 "--dtype: expected float16 or bfloat16, got '%.32s'", dtype);
		return GH_EINVAL;
	}
	return gh_model_create(model, arguments->model, &options, error);
}

static void print_decode(const bench_arguments *arguments, const gh_model_info *info,
			 const gh_model_rates *rates, const ceilings *most)
{
	const double rate = rates->decode_bytes / rates->decode_seconds;

	bench_print(arguments,
		    json_pack("{s:s, s:s, s:s, s:i, s:i, s:f, s:f, s:f, s:f, s:o}", "bench",
			      "forward-decode", "numerics", info->numerics, "device", info->device,
			      "batch", (int)rates->batch, "context", (int)rates->context, "ms",
			      rates->decode_seconds * 1e3, "tok_s",
			      rates->batch / rates->decode_seconds, "gb_s", rate * 1e-9,
			      "read_gb_s", most->read * 1e-9, "of_read",
			      bench_ratio(rate, most->read)));
}

static void print_prefill(const bench_arguments *arguments, const gh_model_info *info,
			  const gh_model_rates *rates, const ceilings *most)
{
	const double rate = rates->prefill_flops / rates->prefill_seconds;

	bench_print(arguments,
		    json_pack("{s:s, s:s, s:s, s:i, s:f, s:f, s:f, s:o, s:o}", "bench",
			      "forward-prefill", "numerics", info->numerics, "device", info->device,
			      "prompt", (int)rates->prompt, "ms", rates->prefill_seconds * 1e3,
			      "tok_s", rates->prompt / rates->prefill_seconds, "tflop_s",
			      rate * 1e-12, "cublaslt_tflop_s", bench_number(most->flops * 1e-12),
			      "of_cublaslt", bench_ratio(rate, most->flops)));
}

/* The device's ceilings, measured before the model takes its memory. */
static gh_status measure_device(const bench_arguments *arguments, gh_dtype dtype, ceilings *out,
				gh_error *error)
{
	bench b;
	gh_status status = bench_open(&b, arguments, error);

	out->read = b.rates.read;
	if (status == GH_OK)
		status = bench_flops(&b, dtype, &out->flops, error);
	bench_close(&b);
	return status;
}

static gh_status measure(const bench_arguments *arguments, gh_model *model, const ceilings *most,
			 gh_error *error)
{
	static const bench_list batches = { 2, { 1, 16 } }, contexts = { 1, { 256 } };
	const bench_list *batch = arguments->batch.count ? &arguments->batch : &batches;
	const bench_list *context = arguments->context.count ? &arguments->context : &contexts;
	gh_model_measure_options options = GH_MODEL_MEASURE_OPTIONS_INIT;
	gh_model_rates rates = { .decode_seconds = 1.0, .prefill_seconds = 1.0 };
	gh_model_info info;
	gh_status status = GH_OK;

	gh_model_info_get(model, &info);
	options.steps = arguments->runs;
	options.prompt = arguments->prompt;
	for (int i = 0; i < batch->count * context->count && status == GH_OK; i++) {
		options.batch = batch->at[i % batch->count];
		options.context = context->at[i / batch->count];
		status = gh_model_measure(&rates, model, &options, error);
		if (status == GH_OK)
			print_decode(arguments, &info, &rates, most);
	}
	if (status == GH_OK)
		print_prefill(arguments, &info, &rates, most);
	return status;
}

int bench_forward(const bench_arguments *arguments)
{
	const bool fp8 = arguments->quantization == GH_QUANT_FP8_W8A8;
	gh_error error = GH_ERROR_INIT;
	ceilings most = { 0.0, 0.0 };
	gh_model *model = NULL;
	gh_status status;

	if (!arguments->model)
		return cli_complain("bench", CLI_USAGE,
				    "--model is missing: a folder with config.json");
	status = measure_device(arguments, fp8 ? GH_E4M3 : GH_F16, &most, &error);
	if (status == GH_OK)
		status = load(&model, arguments, &error);
	if (status == GH_OK)
		status = measure(arguments, model, &most, &error);
	gh_model_free(model);
	return status == GH_OK ? CLI_OK : cli_fail("bench", status, &error);
}
