#include "bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * gonkahost bench linear: each matrix of a layer at several numbers of rows, weights taken from a
 * rotation that no cache holds, and the same product by the yardstick with operands of the same
 * distribution. With --sequence, all of a layer's FP8 matrices behind each other, as a forward has
 * them, against the rate at which memory is read.
 */
enum { MATRICES = 4, HOST_ROWS = 64 };

typedef struct matrix {
	const char *name;
	int64_t n, k;
	uint32_t flags; /* in a layer */
} matrix;

static void matrices_of(const bench_shape *s, matrix out[MATRICES])
{
	const int64_t q = (int64_t)s->heads * s->head_dim, kv = (int64_t)s->kv_heads * s->head_dim;

	out[0] = (matrix){ "qkv", q + 2 * kv, s->hidden, GH_LINEAR_BIAS };
	out[1] = (matrix){ "o", s->hidden, q, 0 };
	out[2] = (matrix){ "gate_up", 2 * (int64_t)s->inner, s->hidden, GH_LINEAR_SWIGLU };
	out[3] = (matrix){ "down", s->hidden, s->inner, 0 };
}

/* ---- weights on the device: copies of one packed matrix ---- */

typedef struct weights {
	gh_kernel *kernel;
	gh_devptr at;
	size_t size; /* of a copy */
	int32_t copies;
} weights;

static gh_status pack_first(const bench *b, const weights *w, const matrix *what, gh_dtype weight,
			    gh_error *error)
{
	const float scale = weight == GH_E4M3 ? 100.0F : 0.02F, one = 0.0002F;
	void *rows = bench_host_numbers(b, weight, HOST_ROWS * what->k, scale);
	gh_status status = rows ? GH_OK : GH_ENOMEM;

	for (int64_t row = 0, some; row < what->n && status == GH_OK; row += some) {
		some = what->n - row < HOST_ROWS ? what->n - row : HOST_ROWS;
		status = gh_linear_pack(w->kernel, w->at, rows, row, some, error);
	}
	if (status == GH_OK && weight == GH_E4M3)
		status = gh_linear_pack_scales(w->kernel, w->at, &one, 1, error);
	free(rows);
	return status;
}

static gh_status make_weights(bench *b, weights *w, const matrix *what,
			      const gh_linear_options *options, int32_t copies, gh_error *error)
{
	gh_status status = gh_linear_create(&w->kernel, b->device, options, error);

	if (status != GH_OK)
		return status;
	w->copies = copies;
	w->size = (gh_linear_packed_size(w->kernel) + 255) / 256 * 256;
	status = gh_device_alloc(b->device, &w->at, w->size * (size_t)copies, error);
	if (status == GH_OK)
		status = pack_first(b, w, what, (gh_dtype)options->weight, error);
	for (int32_t i = 1; i < copies && status == GH_OK; i++)
		status = gh_device_copy(b->device, w->at + (size_t)i * w->size, w->at, w->size,
					NULL, error);
	return status;
}

static void free_weights(bench *b, weights *w)
{
	gh_kernel_free(w->kernel);
	gh_device_release(b->device, w->at);
}

/* ---- one product ---- */

typedef struct product {
	weights w;
	gh_linear_args args;
	gh_yardstick *yardstick;
} product;

static gh_status multiply(void *work, int32_t turn, gh_error *error)
{
	product *p = work;

	p->args.w = p->w.at + (size_t)(turn % p->w.copies) * p->w.size;
	return gh_linear_run(p->w.kernel, &p->args, NULL, error);
}

static gh_status multiply_theirs(void *work, int32_t turn, gh_error *error)
{
	const product *p = work;

	return gh_yardstick_run(p->yardstick, p->args.x,
				p->w.at + (size_t)(turn % p->w.copies) * p->w.size, p->args.y, NULL,
				error);
}

static gh_status make_operands(bench *b, product *p, const gh_linear_options *options, int64_t rows,
			       gh_error *error)
{
	const size_t y_size = (size_t)(rows * options->n) * gh_dtype_size((gh_dtype)options->out);
	const size_t room = gh_kernel_workspace(p->w.kernel, rows);
	gh_status status = bench_numbers(b, &p->args.x, (gh_dtype)options->x, rows * options->k,
					 options->x == GH_E4M3 ? 100.0F : 1.0F, error);

	p->args.rows = rows;
	if (status == GH_OK)
		status = bench_numbers(b, &p->args.x_scale, GH_F32, rows, 0.01F, error);
	if (status == GH_OK)
		status = gh_device_alloc(b->device, &p->args.y, y_size, error);
	if (status == GH_OK && room > 0)
		status = gh_device_alloc(b->device, &p->args.workspace, room, error);
	return status;
}

/* The yardstick's time, with plain weights where ours lay; 0 where there is none. */
static gh_status time_yardstick(bench *b, product *p, const gh_linear_options *options,
				double *seconds, gh_error *error)
{
	gh_error none = GH_ERROR_INIT;
	gh_status status;

	*seconds = 0.0;
	if (!b->cuda || options->x != options->weight)
		return GH_OK;
	status = gh_yardstick_create(&p->yardstick, b->device, options, p->args.rows, &none);
	if (status == GH_ENOTSUP)
		return GH_OK;
	if (status != GH_OK) {
		*error = none;
		return status;
	}
	gh_device_release(b->device, p->w.at);
	p->w.at = 0;
	p->w.size = (size_t)(options->n * options->k) * gh_dtype_size((gh_dtype)options->weight);
	status = bench_numbers(b, &p->w.at, (gh_dtype)options->weight,
			       options->n * options->k * p->w.copies,
			       options->weight == GH_E4M3 ? 100.0F : 0.02F, error);
	if (status == GH_OK)
		status =
			bench_time(b, seconds, multiply_theirs, p, bench_turns(p->w.copies), error);
	return status;
}

static gh_status measure(bench *b, const char *model, const matrix *what,
			 const gh_linear_options *options, int32_t rows, gh_error *error)
{
	const double bytes = (double)what->n * (double)what->k *
			     (double)gh_dtype_size((gh_dtype)options->weight);
	const double flops = 2.0 * (double)rows * (double)what->n * (double)what->k;
	product p = { .args = GH_LINEAR_ARGS_INIT };
	double ours = 0.0, theirs = 0.0;
	gh_status status = make_weights(b, &p.w, what, options, bench_copies(b, bytes), error);

	if (status == GH_OK)
		status = make_operands(b, &p, options, rows, error);
	if (status == GH_OK)
		status = bench_time(b, &ours, multiply, &p, bench_turns(p.w.copies), error);
	if (status == GH_OK)
		status = time_yardstick(b, &p, options, &theirs, error);
	if (status == GH_OK)
		bench_print(b->arguments,
			    json_pack("{s:s, s:s, s:s, s:s, s:s, s:i, s:I, s:I, s:f, s:f, s:f, "
				      "s:f, s:o, s:o, s:o}",
				      "bench", "linear", "model", model, "matrix", what->name,
				      "weight", gh_dtype_name((gh_dtype)options->weight), "x",
				      gh_dtype_name((gh_dtype)options->x), "m", (int)rows, "n",
				      (json_int_t)what->n, "k", (json_int_t)what->k, "us",
				      ours * 1e6, "tflop_s", flops / ours * 1e-12, "gb_s",
				      bytes / ours * 1e-9, "read_gb_s", b->rates.read * 1e-9,
				      "of_read", bench_ratio(bytes / ours, b->rates.read),
				      "cublaslt_us", bench_number(theirs * 1e6), "of_cublaslt",
				      theirs == 0.0 ? json_null() : json_real(theirs / ours)));
	gh_yardstick_free(p.yardstick);
	free_weights(b, &p.w);
	gh_device_release(b->device, p.args.x);
	gh_device_release(b->device, p.args.x_scale);
	gh_device_release(b->device, p.args.y);
	gh_device_release(b->device, p.args.workspace);
	return status;
}

/* ---- a layer ---- */

typedef struct layer {
	product at[MATRICES];
	double bytes;
} layer;

static gh_status run_layer(void *work, int32_t turn, gh_error *error)
{
	layer *l = work;
	gh_status status = GH_OK;

	for (int i = 0; i < MATRICES && status == GH_OK; i++)
		status = multiply(&l->at[i], turn, error);
	return status;
}

static gh_status make_layer(bench *b, layer *l, const bench_shape *shape, int32_t rows,
			    gh_error *error)
{
	matrix what[MATRICES];
	gh_status status = GH_OK;

	matrices_of(shape, what);
	for (int i = 0; i < MATRICES; i++)
		l->bytes += (double)what[i].n * (double)what[i].k;
	for (int i = 0; i < MATRICES && status == GH_OK; i++) {
		gh_linear_options options = GH_LINEAR_OPTIONS_INIT;
		product *p = &l->at[i];

		options.weight = GH_E4M3;
		options.x = options.out = GH_F16;
		options.flags = what[i].flags | GH_LINEAR_QUANTISE;
		options.n = what[i].n;
		options.k = what[i].k;
		p->args = (gh_linear_args)GH_LINEAR_ARGS_INIT;
		status = make_weights(b, &p->w, &what[i], &options, bench_copies(b, l->bytes),
				      error);
		if (status == GH_OK)
			status = make_operands(b, p, &options, rows, error);
		if (status == GH_OK)
			status = bench_numbers(b, &p->args.bias, GH_F16, what[i].n, 1.0F, error);
	}
	return status;
}

static gh_status measure_layer(bench *b, const bench_shape *shape, int32_t rows, gh_error *error)
{
	layer l = { .bytes = 0.0 };
	double seconds = 0.0;
	gh_status status = make_layer(b, &l, shape, rows, error);

	if (status == GH_OK)
		status = bench_time(b, &seconds, run_layer, &l, bench_turns(l.at[0].w.copies),
				    error);
	if (status == GH_OK)
		bench_print(b->arguments,
			    json_pack("{s:s, s:s, s:i, s:f, s:f, s:f, s:f, s:o}", "bench",
				      "linear-sequence", "model", shape->name, "m", (int)rows,
				      "mib", l.bytes / 0x1p20, "us", seconds * 1e6, "gb_s",
				      l.bytes / seconds * 1e-9, "read_gb_s", b->rates.read * 1e-9,
				      "of_read", bench_ratio(l.bytes / seconds, b->rates.read)));
	for (int i = 0; i < MATRICES; i++) {
		free_weights(b, &l.at[i].w);
		gh_device_release(b->device, l.at[i].args.x);
		gh_device_release(b->device, l.at[i].args.x_scale);
		gh_device_release(b->device, l.at[i].args.bias);
		gh_device_release(b->device, l.at[i].args.y);
		gh_device_release(b->device, l.at[i].args.workspace);
	}
	return status;
}

/* ---- all of them ---- */

static gh_status read_dtype(gh_linear_options *options, const char *name, gh_error *error)
{
	static const struct {
		const char *name;
		gh_dtype weight, x, out;
	} names[] = {
		{ "fp8", GH_E4M3, GH_E4M3, GH_F16 },
		{ "fp8-w8a16", GH_E4M3, GH_F16, GH_F16 },
		{ "float16", GH_F16, GH_F16, GH_F16 },
		{ "bfloat16", GH_BF16, GH_BF16, GH_BF16 },
	};

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		if (strcmp(names[i].name, name) == 0) {
			options->weight = names[i].weight;
			options->x = names[i].x;
			options->out = names[i].out;
			return GH_OK;
		}
	}
	snprintf(error->text, sizeof error->text,
		 "--dtype: expected fp8, fp8-w8a16, float16 or bfloat16, got '%.32s'", name);
	return GH_EINVAL;
}

static gh_status run(bench *b, const bench_list *rows, gh_error *error)
{
	gh_linear_options options = GH_LINEAR_OPTIONS_INIT;
	const char *dtype = b->arguments->dtype ? b->arguments->dtype : "fp8";
	gh_status status = read_dtype(&options, dtype, error);
	matrix what[MATRICES];

	for (int s = 0; s < BENCH_KINDS && status == GH_OK; s++) {
		if (!bench_wants(b->arguments, &bench_shapes[s]))
			continue;
		matrices_of(&bench_shapes[s], what);
		for (int i = 0; i < MATRICES * rows->count && status == GH_OK; i++) {
			const matrix *w = &what[i / rows->count];

			options.n = w->n;
			options.k = w->k;
			status = measure(b, bench_shapes[s].name, w, &options,
					 rows->at[i % rows->count], error);
		}
	}
	return status;
}

static gh_status run_sequences(bench *b, const bench_list *rows, gh_error *error)
{
	const char *model = b->arguments->model ? b->arguments->model : "7b";
	gh_status status = GH_OK;

	for (int s = 0; s < BENCH_KINDS; s++)
		for (int i = 0; i < rows->count && status == GH_OK; i++)
			if (strcmp(bench_shapes[s].name, model) == 0)
				status = measure_layer(b, &bench_shapes[s], rows->at[i], error);
	return status;
}

int bench_linear(const bench_arguments *arguments)
{
	static const bench_list short_list = { 2, { 1, 16 } };
	static const bench_list long_list = { 6, { 1, 16, 64, 256, 1024, 8192 } };
	const bench_list *rows = &arguments->rows;
	gh_error error = GH_ERROR_INIT;
	bench b;
	gh_status status = bench_open(&b, arguments, &error);

	if (rows->count == 0)
		rows = arguments->sequence || !b.cuda ? &short_list : &long_list;
	if (status == GH_OK)
		status = arguments->sequence ? run_sequences(&b, rows, &error)
					     : run(&b, rows, &error);
	bench_close(&b);
	return status == GH_OK ? CLI_OK : cli_fail("bench", status, &error);
}
