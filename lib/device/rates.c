#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "device/handle.h"

/*
 * How fast a device's memory is: two buffers of half the bytes each, read one behind the other, and
 * copied from one to the other.
 */
enum { RUNS = 11 };

typedef struct probe {
	gh_device *device;
	gh__kernel *reader;
	gh_event *begin, *end;
	gh_devptr half[2], sum;
	size_t size; /* of a half */
} probe;

static gh_status read_both(const probe *p, gh_error *error)
{
	gh__device *device = p->device->device;
	gh_status status = GH_OK;

	for (int i = 0; i < 2 && status == GH_OK; i++) {
		const gh__op_args args = {
			.read = { .x = gh__at(p->half[i]), .size = p->size, .sum = gh__at(p->sum) }
		};

		status = gh__device_run(device, p->reader, &args, error);
	}
	return status;
}

static gh_status copy_over(const probe *p, gh_error *error)
{
	return gh_device_copy(p->device, p->half[0], p->half[1], p->size, NULL, error);
}

static double median(double *seconds, int count)
{
	for (int i = 1; i < count; i++) {
		double x = seconds[i];
		int j = i;

		for (; j > 0 && seconds[j - 1] > x; j--)
			seconds[j] = seconds[j - 1];
		seconds[j] = x;
	}
	return seconds[count / 2];
}

/* Bytes a second of work that goes through both halves. */
static gh_status rate(double *out, const probe *p, gh_status (*work)(const probe *, gh_error *),
		      gh_error *error)
{
	double seconds[RUNS + 1];
	gh_status status = GH_OK;

	for (int run = 0; run <= RUNS && status == GH_OK; run++) {
		status = gh_event_record(p->begin, NULL, error);
		if (status == GH_OK)
			status = work(p, error);
		if (status == GH_OK)
			status = gh_event_record(p->end, NULL, error);
		if (status == GH_OK)
			status = gh_event_seconds(&seconds[run], p->begin, p->end, error);
	}
	if (status == GH_OK)
		*out = 2.0 * (double)p->size / median(seconds + 1, RUNS);
	return status;
}

/* Numbers without a pattern: a device may be faster with zeros, and pages that nobody wrote may be
 * no memory at all. */
static gh_status fill(const probe *p, gh_devptr to, gh_error *error)
{
	static const size_t piece = 1 << 20;
	size_t at = p->size < piece ? p->size : piece;
	uint64_t *numbers = gh__malloc(piece), state = 1;
	gh_status status = numbers ? GH_OK : gh__fail_nomem(error);

	for (size_t i = 0; i < piece / sizeof state && numbers; i++) {
		state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
		numbers[i] = state ^ state >> 32;
	}
	if (status == GH_OK)
		status = gh_device_upload(p->device, to, numbers, at, NULL, error);
	for (size_t some; at < p->size && status == GH_OK; at += some) {
		some = p->size - at < at ? p->size - at : at;
		status = gh_device_copy(p->device, to + at, to, some, NULL, error);
	}
	gh__free(numbers);
	return status;
}

static gh_status prepare(probe *p, gh_error *error)
{
	const gh__op_desc desc = { .kind = GH__OP_READ };
	gh_status status = gh__device_prepare(p->device->device, &desc, &p->reader, error);

	if (status == GH_OK)
		status = gh_event_create(&p->begin, p->device, error);
	if (status == GH_OK)
		status = gh_event_create(&p->end, p->device, error);
	if (status == GH_OK)
		status = gh_device_alloc(p->device, &p->sum, 2 * sizeof(uint64_t), error);
	for (int i = 0; i < 2 && status == GH_OK; i++)
		status = gh_device_alloc(p->device, &p->half[i], p->size, error);
	for (int i = 0; i < 2 && status == GH_OK; i++)
		status = fill(p, p->half[i], error);
	return status;
}

gh_status gh_device_measure(gh_device_rates *out, gh_device *device, int64_t bytes, gh_error *error)
{
	probe p = { .device = device };
	gh__device *inside;
	gh_status status = gh__device_of(&inside, device, error);

	if (status == GH_OK && (out == NULL || bytes < 0))
		status = gh__fail(error, GH_EINVAL, "bytes: %lld, expected a number from 0 on",
				  (long long)bytes);
	if (status != GH_OK)
		return status;
	if (bytes == 0)
		bytes = strcmp(inside->table->kind, "cpu") == 0 ? INT64_C(256) << 20
								: INT64_C(2) << 30;
	p.size = ((size_t)bytes / 2 + 255) / 256 * 256;
	out->bytes = 2 * (int64_t)p.size;
	status = prepare(&p, error);
	if (status == GH_OK)
		status = rate(&out->copy, &p, copy_over, error);
	if (status == GH_OK)
		status = rate(&out->read, &p, read_both, error);
	for (int i = 0; i < 2; i++)
		gh_device_release(device, p.half[i]);
	gh_device_release(device, p.sum);
	gh_event_free(p.begin);
	gh_event_free(p.end);
	gh__device_kernel_free(inside, p.reader);
	return status;
}
