/*
 * Multiply rows with an FP8 matrix on a device, check it against a plain loop, and tell the rate.
 *
 *   cc fp8_linear.c $(pkg-config --cflags --libs gonkahost) -lm -o fp8_linear
 *   ./fp8_linear cuda 16 4608 3584
 */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <gonkahost/gonkahost.h>

enum { RUNS = 20 };

typedef struct problem {
	int64_t m, n, k;
	float *x;         /* [m, k] */
	unsigned char *w; /* [n, k] E4M3 */
	float *w_scale;   /* [n] */
	gh_device *device;
	gh_kernel *quantise, *linear;
	gh_devptr x_there, q, q_scale, w_there, y, workspace;
	int64_t q_stride;
} problem;

static float uniform(void)
{
	static uint32_t state = 1;

	state = state * 1664525 + 1013904223;
	return (float)(state >> 8) * 0x1p-23F - 1.0F;
}

/* Operands on the host: each row of W as E4M3 with a scale of its own, max|w| / 448. */
static gh_status make_operands(problem *p, gh_error *error)
{
	float *row = malloc((size_t)p->k * sizeof *row);
	gh_status status = GH_OK;

	p->x = malloc((size_t)(p->m * p->k) * sizeof *p->x);
	p->w = malloc((size_t)(p->n * p->k));
	p->w_scale = malloc((size_t)p->n * sizeof *p->w_scale);
	if (!row || !p->x || !p->w || !p->w_scale)
		status = GH_ENOMEM;
	for (int64_t i = 0; i < p->m * p->k && status == GH_OK; i++)
		p->x[i] = uniform();
	for (int64_t i = 0; i < p->n && status == GH_OK; i++) {
		float most = 0.0F;

		for (int64_t j = 0; j < p->k; j++) {
			row[j] = 0.05F * uniform();
			most = fabsf(row[j]) > most ? fabsf(row[j]) : most;
		}
		p->w_scale[i] = most / 448.0F;
		for (int64_t j = 0; j < p->k; j++)
			row[j] /= p->w_scale[i];
		status = gh_convert(p->w + i * p->k, GH_E4M3, row, GH_F32, (size_t)p->k, error);
	}
	free(row);
	return status;
}

/* The two kernels: rows to E4M3, and the product of such rows. */
static gh_status make_kernels(problem *p, gh_error *error)
{
	gh_quantise_options quantise = GH_QUANTISE_OPTIONS_INIT;
	gh_linear_options linear = GH_LINEAR_OPTIONS_INIT;
	gh_status status;

	quantise.x = GH_F32;
	quantise.n = p->k;
	linear.weight = GH_E4M3;
	linear.x = GH_E4M3;
	linear.out = GH_F16;
	linear.n = p->n;
	linear.k = p->k;
	status = gh_quantise_create(&p->quantise, p->device, &quantise, error);
	if (status == GH_OK)
		status = gh_linear_create(&p->linear, p->device, &linear, error);
	return status;
}

static gh_status take(problem *p, gh_devptr *out, size_t size, gh_error *error)
{
	return *out ? GH_OK : gh_device_alloc(p->device, out, size, error);
}

static gh_status fill_device(problem *p, gh_error *error)
{
	const size_t x_size = (size_t)(p->m * p->k) * sizeof(float);
	gh_status status;

	p->q_stride = (p->k + 15) / 16 * 16;
	status = take(p, &p->x_there, x_size, error);
	if (status == GH_OK)
		status = take(p, &p->q, (size_t)(p->m * p->q_stride), error);
	if (status == GH_OK)
		status = take(p, &p->q_scale, (size_t)p->m * sizeof(float), error);
	if (status == GH_OK)
		status = take(p, &p->w_there, gh_linear_packed_size(p->linear), error);
	if (status == GH_OK)
		status = take(p, &p->y, (size_t)(p->m * p->n) * 2, error);
	if (status == GH_OK)
		status = take(p, &p->workspace, gh_kernel_workspace(p->linear, p->m), error);
	if (status == GH_OK)
		status = gh_device_upload(p->device, p->x_there, p->x, x_size, NULL, error);
	if (status == GH_OK)
		status = gh_linear_pack(p->linear, p->w_there, p->w, 0, p->n, error);
	if (status == GH_OK)
		status = gh_linear_pack_scales(p->linear, p->w_there, p->w_scale, p->n, error);
	return status;
}

static gh_status quantise(const problem *p, gh_error *error)
{
	gh_quantise_args args = GH_QUANTISE_ARGS_INIT;

	args.rows = p->m;
	args.x = p->x_there;
	args.y = p->q;
	args.scale = p->q_scale;
	return gh_quantise_run(p->quantise, &args, NULL, error);
}

static gh_status multiply(const problem *p, gh_error *error)
{
	gh_linear_args args = GH_LINEAR_ARGS_INIT;

	args.rows = p->m;
	args.x = p->q;
	args.x_scale = p->q_scale;
	args.w = p->w_there;
	args.y = p->y;
	args.workspace = p->workspace;
	return gh_linear_run(p->linear, &args, NULL, error);
}

/* Seconds of one product, the mean of several. */
static gh_status measure(const problem *p, double *seconds, gh_error *error)
{
	gh_event *begin = NULL, *end = NULL;
	gh_status status = gh_event_create(&begin, p->device, error);

	if (status == GH_OK)
		status = gh_event_create(&end, p->device, error);
	if (status == GH_OK)
		status = multiply(p, error);
	if (status == GH_OK)
		status = gh_event_record(begin, NULL, error);
	for (int run = 0; run < RUNS && status == GH_OK; run++)
		status = multiply(p, error);
	if (status == GH_OK)
		status = gh_event_record(end, NULL, error);
	if (status == GH_OK)
		status = gh_event_seconds(seconds, begin, end, error);
	*seconds /= RUNS;
	gh_event_free(begin);
	gh_event_free(end);
	return status;
}

/* The largest difference to a plain loop over the same codes, by the largest result, at some of the
 * outputs. */
static gh_status check(const problem *p, double *worst, gh_error *error)
{
	const size_t q_count = (size_t)(p->m * p->q_stride), y_count = (size_t)(p->m * p->n);
	unsigned char *codes = malloc(q_count);
	unsigned short *halves = malloc(y_count * 2);
	float *q = malloc(q_count * sizeof *q), *w = malloc((size_t)p->k * sizeof *w);
	float *y = malloc(y_count * sizeof *y), *scale = malloc((size_t)p->m * sizeof *scale);
	double most = 0.0;
	gh_status status = codes && halves && q && w && y && scale ? GH_OK : GH_ENOMEM;

	*worst = 0.0;
	if (status == GH_OK)
		status = gh_device_download(p->device, codes, p->q, q_count, NULL, error);
	if (status == GH_OK)
		status = gh_device_download(p->device, scale, p->q_scale,
					    (size_t)p->m * sizeof *scale, NULL, error);
	if (status == GH_OK)
		status = gh_device_download(p->device, halves, p->y, y_count * 2, NULL, error);
	if (status == GH_OK)
		status = gh_convert(q, GH_F32, codes, GH_E4M3, q_count, error);
	if (status == GH_OK)
		status = gh_convert(y, GH_F32, halves, GH_F16, y_count, error);
	for (int64_t n = 0; n < p->n && status == GH_OK; n += 1 + p->n / 64) {
		status = gh_convert(w, GH_F32, p->w + n * p->k, GH_E4M3, (size_t)p->k, error);
		for (int64_t m = 0; m < p->m; m++) {
			double sum = 0.0;

			for (int64_t k = 0; k < p->k; k++)
				sum += (double)q[m * p->q_stride + k] * w[k];
			sum *= (double)scale[m] * p->w_scale[n];
			*worst = fmax(*worst, fabs(sum - y[m * p->n + n]));
			most = fmax(most, fabs(sum));
		}
	}
	*worst = most > 0.0 ? *worst / most : 1.0;
	free(codes);
	free(halves);
	free(q);
	free(w);
	free(y);
	free(scale);
	return status;
}

static void give_back(problem *p)
{
	const gh_devptr memory[] = { p->x_there, p->q, p->q_scale, p->w_there, p->y, p->workspace };

	for (size_t i = 0; i < sizeof memory / sizeof memory[0]; i++)
		gh_device_release(p->device, memory[i]);
	gh_kernel_free(p->quantise);
	gh_kernel_free(p->linear);
	gh_device_close(p->device);
	free(p->x);
	free(p->w);
	free(p->w_scale);
}

static gh_status run(problem *p, const char *kind, gh_error *error)
{
	gh_device_options options = GH_DEVICE_OPTIONS_INIT;
	double seconds = 0.0, worst = 0.0;
	gh_status status;

	options.kind = kind;
	status = gh_device_open(&p->device, &options, error);
	if (status == GH_OK)
		status = make_operands(p, error);
	if (status == GH_OK)
		status = make_kernels(p, error);
	if (status == GH_OK)
		status = fill_device(p, error);
	if (status == GH_OK)
		status = quantise(p, error);
	if (status == GH_OK)
		status = measure(p, &seconds, error);
	if (status == GH_OK)
		status = check(p, &worst, error);
	if (status != GH_OK)
		return status;
	printf("%s: %lld x %lld x %lld in %.1f us: %.1f GFLOP/s, %.1f GB/s of weights\n", kind,
	       (long long)p->m, (long long)p->n, (long long)p->k, seconds * 1e6,
	       2e-9 * (double)p->m * (double)p->n * (double)p->k / seconds,
	       1e-9 * (double)p->n * (double)p->k / seconds);
	printf("largest difference to a plain loop, by the largest result: %.1e\n", worst);
	return worst < 1e-3 ? GH_OK : GH_ENUMERIC;
}

int main(int argc, char **argv)
{
	gh_error error = GH_ERROR_INIT;
	problem p = { .m = 16, .n = 1024, .k = 1024 };
	gh_status status;

	if (argc != 2 && argc != 5) {
		fprintf(stderr, "usage: %s cpu|cuda [M N K]\n", argv[0]);
		return 2;
	}
	if (argc == 5) {
		p.m = atoll(argv[2]);
		p.n = atoll(argv[3]);
		p.k = atoll(argv[4]);
	}
	if (p.m < 1 || p.n < 1 || p.k < 1 || p.m > 1 << 20 || p.n > 1 << 20 || p.k > 1 << 20) {
		fprintf(stderr, "%s: M, N, K: expected numbers from 1 to 1048576\n", argv[0]);
		return 2;
	}
	status = run(&p, argv[1], &error);
	if (status != GH_OK)
		fprintf(stderr, "%s: %s\n", argv[0],
			error.text[0] ? error.text : gh_status_text(status));
	give_back(&p);
	return status == GH_OK ? 0 : 1;
}
