#include "bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What the verbs share: a device with its ceilings, operands, and times. */

/* As their config.json have them: Qwen2.5-7B-Instruct, QwQ-32B. */
const bench_shape bench_shapes[BENCH_KINDS] = {
	{ "7b", 3584, 28, 4, 128, 18944 },
	{ "32b", 5120, 40, 8, 128, 27648 },
};

bool bench_wants(const bench_arguments *arguments, const bench_shape *shape)
{
	return !arguments->model || strcmp(arguments->model, shape->name) == 0;
}

enum { TURNS_MIN = 8, TURNS_MAX = 64 };

#define FLOOD       ((size_t)256 << 20)
#define ROTATE_CPU  (INT64_C(256) << 20)
#define ROTATE_CUDA (INT64_C(1) << 30)

/* ---- opening ---- */

/* Sums of four uniform numbers: nearly normal, of deviation 1. */
static void make_noise(float *noise)
{
	uint64_t state = 1;

	for (int i = 0; i < BENCH_NOISE; i++) {
		float sum = 0.0F;

		for (int j = 0; j < 4; j++) {
			state = state * 6364136223846793005U + 1442695040888963407U;
			sum += (float)(state >> 40) * 0x1p-23F - 1.0F;
		}
		noise[i] = sum * 0.866F;
	}
}

gh_status bench_open(bench *b, const bench_arguments *arguments, gh_error *error)
{
	gh_device_options options = GH_DEVICE_OPTIONS_INIT;
	gh_status status;

	memset(b, 0, sizeof *b);
	b->arguments = arguments;
	options.kind = arguments->device;
	options.threads = arguments->threads;
	status = gh_device_open(&b->device, &options, error);
	if (status != GH_OK)
		return status;
	b->cuda = strcmp(gh_device_kind(b->device), "cuda") == 0;
	b->rotate = arguments->rotate ? arguments->rotate : b->cuda ? ROTATE_CUDA : ROTATE_CPU;
	b->runs = arguments->runs ? arguments->runs : b->cuda ? 31 : 5;
	b->noise = malloc(BENCH_NOISE * sizeof *b->noise);
	if (!b->noise)
		return GH_ENOMEM;
	make_noise(b->noise);
	status = gh_event_create(&b->begin, b->device, error);
	if (status == GH_OK)
		status = gh_event_create(&b->end, b->device, error);
	for (int i = 0; i < 2 && b->cuda && status == GH_OK; i++)
		status = gh_device_alloc(b->device, &b->flood[i], FLOOD, error);
	if (status == GH_OK)
		status = gh_device_measure(&b->rates, b->device, 0, error);
	return status;
}

void bench_close(bench *b)
{
	for (int i = 0; i < 2; i++)
		gh_device_release(b->device, b->flood[i]);
	gh_event_free(b->begin);
	gh_event_free(b->end);
	gh_device_close(b->device);
	free(b->noise);
}

/* ---- operands ---- */

void *bench_host_numbers(const bench *b, gh_dtype dtype, int64_t count, float scale)
{
	const size_t size = gh_dtype_size(dtype);
	const int64_t piece = count < BENCH_NOISE ? count : BENCH_NOISE;
	char *out = malloc((size_t)count * size);
	float *scaled = malloc((size_t)piece * sizeof *scaled);
	gh_status status = GH_ENOMEM;

	if (out && scaled) {
		for (int64_t i = 0; i < piece; i++)
			scaled[i] = b->noise[i] * scale;
		status = gh_convert(out, dtype, scaled, GH_F32, (size_t)piece, NULL);
	}
	for (int64_t at = piece, some; at < count && status == GH_OK; at += some) {
		some = count - at < at ? count - at : at;
		memcpy(out + (size_t)at * size, out, (size_t)some * size);
	}
	free(scaled);
	if (status == GH_OK)
		return out;
	free(out);
	return NULL;
}

gh_status bench_numbers(bench *b, gh_devptr *out, gh_dtype dtype, int64_t count, float scale,
			gh_error *error)
{
	const size_t size = (size_t)count * gh_dtype_size(dtype);
	const int64_t piece = count < BENCH_NOISE ? count : BENCH_NOISE;
	size_t at = (size_t)piece * gh_dtype_size(dtype);
	void *numbers = bench_host_numbers(b, dtype, piece, scale);
	gh_status status = numbers ? gh_device_alloc(b->device, out, size, error) : GH_ENOMEM;

	if (status == GH_OK)
		status = gh_device_upload(b->device, *out, numbers, at, NULL, error);
	for (size_t some; at < size && status == GH_OK; at += some) {
		some = size - at < at ? size - at : at;
		status = gh_device_copy(b->device, *out + at, *out, some, NULL, error);
	}
	if (status == GH_OK)
		status = gh_device_synchronise(b->device, NULL, error);
	free(numbers);
	return status;
}

gh_status bench_integers(bench *b, gh_devptr *out, int64_t count, bench_number_fn *fn,
			 const void *userdata, gh_error *error)
{
	const size_t size = (size_t)count * sizeof(int32_t);
	int32_t *numbers = malloc(size);
	gh_status status = numbers ? gh_device_alloc(b->device, out, size, error) : GH_ENOMEM;

	for (int64_t i = 0; i < count && numbers; i++)
		numbers[i] = fn(userdata, i);
	if (status == GH_OK)
		status = gh_device_upload(b->device, *out, numbers, size, NULL, error);
	if (status == GH_OK)
		status = gh_device_synchronise(b->device, NULL, error);
	free(numbers);
	return status;
}

int32_t bench_copies(const bench *b, double bytes)
{
	double copies = (double)b->rotate / bytes;

	return copies < 1.0 ? 1 : copies > TURNS_MAX - 1 ? TURNS_MAX : (int32_t)copies + 1;
}

int32_t bench_turns(int32_t copies)
{
	return copies >= TURNS_MIN ? copies : (TURNS_MIN + copies - 1) / copies * copies;
}

/* ---- times ---- */

/* A GPU that copies for a while, so that what is enqueued meanwhile runs without gaps. */
static gh_status keep_busy(const bench *b, gh_error *error)
{
	gh_status status = GH_OK;

	for (int i = 0; i < 4 && b->cuda && status == GH_OK; i++)
		status = gh_device_copy(b->device, b->flood[i % 2], b->flood[1 - i % 2], FLOOD,
					NULL, error);
	return status;
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static gh_status one_run(bench *b, double *seconds, bench_work_fn *enqueue, void *work,
			 int32_t turns, gh_error *error)
{
	gh_status status = keep_busy(b, error);

	if (status == GH_OK)
		status = gh_event_record(b->begin, NULL, error);
	for (int32_t turn = 0; turn < turns && status == GH_OK; turn++)
		status = enqueue(work, turn, error);
	if (status == GH_OK)
		status = gh_event_record(b->end, NULL, error);
	if (status == GH_OK)
		status = gh_event_seconds(seconds, b->begin, b->end, error);
	*seconds /= turns;
	return status;
}

gh_status bench_time(bench *b, double *seconds, bench_work_fn *enqueue, void *work, int32_t turns,
		     gh_error *error)
{
	double *all = calloc((size_t)b->runs, sizeof *all), warm = 0.0;
	gh_status status = all ? one_run(b, &warm, enqueue, work, turns, error) : GH_ENOMEM;

	for (int32_t i = 0; i < b->runs && status == GH_OK; i++)
		status = one_run(b, &all[i], enqueue, work, turns, error);
	if (status == GH_OK) {
		qsort(all, (size_t)b->runs, sizeof *all, by_size);
		*seconds = all[b->runs / 2];
	}
	free(all);
	return status;
}

/* ---- the yardstick's best ---- */

typedef struct product {
	gh_yardstick *yardstick;
	gh_devptr x, w, y;
} product;

static gh_status multiply(void *work, int32_t turn, gh_error *error)
{
	const product *p = work;

	(void)turn;
	return gh_yardstick_run(p->yardstick, p->x, p->w, p->y, NULL, error);
}

gh_status bench_flops(bench *b, gh_dtype dtype, double *flops, gh_error *error)
{
	enum { SIDE = 8192 };
	gh_linear_options options = GH_LINEAR_OPTIONS_INIT;
	product p = { .x = 0 };
	double seconds = 0.0;
	gh_status status;

	*flops = 0.0;
	if (!b->cuda)
		return GH_OK;
	options.weight = options.x = dtype;
	options.out = dtype == GH_BF16 ? GH_BF16 : GH_F16;
	options.n = options.k = SIDE;
	status = gh_yardstick_create(&p.yardstick, b->device, &options, SIDE, error);
	if (status == GH_OK)
		status = bench_numbers(b, &p.x, dtype, (int64_t)SIDE * SIDE, 1.0F, error);
	if (status == GH_OK)
		status = bench_numbers(b, &p.w, dtype, (int64_t)SIDE * SIDE, 1.0F, error);
	if (status == GH_OK)
		status = gh_device_alloc(b->device, &p.y, (size_t)SIDE * SIDE * 2, error);
	if (status == GH_OK)
		status = bench_time(b, &seconds, multiply, &p, TURNS_MIN, error);
	if (status == GH_OK)
		*flops = 2.0 * SIDE * SIDE * SIDE / seconds;
	gh_yardstick_free(p.yardstick);
	gh_device_release(b->device, p.x);
	gh_device_release(b->device, p.w);
	gh_device_release(b->device, p.y);
	return status;
}

/* ---- printing ---- */

json_t *bench_number(double x)
{
	return x == 0.0 ? json_null() : json_real(x);
}

json_t *bench_ratio(double x, double ceiling)
{
	return ceiling == 0.0 ? json_null() : json_real(x / ceiling);
}

void bench_print(const bench_arguments *arguments, json_t *line)
{
	const char *key;
	json_t *value;

	if (arguments->json) {
		cli_print_json(line);
	} else {
		json_object_foreach(line, key, value)
		{
			if (json_is_real(value))
				printf("%s %.4g  ", key, json_real_value(value));
			else if (json_is_integer(value))
				printf("%s %lld  ", key, (long long)json_integer_value(value));
			else if (json_is_string(value))
				printf("%s %s  ", key, json_string_value(value));
		}
		putchar('\n');
	}
	fflush(stdout);
	json_decref(line);
}

/* ---- device ---- */

int bench_device(const bench_arguments *arguments)
{
	gh_device_options options = GH_DEVICE_OPTIONS_INIT;
	gh_error error = GH_ERROR_INIT;
	gh_device_info info;
	bench b;
	gh_status status = bench_open(&b, arguments, &error);

	if (status == GH_OK) {
		options.kind = gh_device_kind(b.device);
		options.threads = arguments->threads;
		status = gh_device_info_get(&info, &options, &error);
	}
	if (status == GH_OK)
		bench_print(arguments,
			    json_pack("{s:s, s:s, s:s, s:I, s:f, s:f}", "bench", "device", "device",
				      info.kind, "name", info.name, "bytes",
				      (json_int_t)b.rates.bytes, "read_gb_s", b.rates.read * 1e-9,
				      "copy_gb_s", b.rates.copy * 1e-9));
	bench_close(&b);
	return status == GH_OK ? CLI_OK : cli_fail("bench", status, &error);
}
