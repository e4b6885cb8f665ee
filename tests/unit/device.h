#ifndef GH_TESTS_DEVICE_H
#define GH_TESTS_DEVICE_H

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "device/device.h"
#include "device/narrow.h"
#include "unit.h"

/*
 * What the device's tests share: devices by name, numbers of every dtype from plain doubles, and
 * plain loops' rounding.
 */
typedef struct device_case {
	int threads;
	uint32_t flags;
} device_case;

/* The first one is what the others must equal. */
static const device_case device_cases[] = {
	{ 1, 0 }, { 1, GH_DEVICE_SCALAR }, { 2, 0 }, { 3, 0 }, { 2, GH_DEVICE_SCALAR }
};

enum { DEVICE_CASES = sizeof device_cases / sizeof *device_cases };

static inline gh__device *device_open(int threads, uint32_t flags)
{
	gh_device_options options = GH_DEVICE_OPTIONS_INIT;
	gh__device *device = NULL;

	options.kind = "cpu";
	options.threads = threads;
	options.flags = flags;
	assert_ok(gh__device_open(&device, &options, error));
	return device;
}

static inline gh__kernel *device_prepare(gh__device *device, const gh__op_desc *desc)
{
	gh__kernel *kernel = NULL;

	assert_ok(gh__device_prepare(device, desc, &kernel, error));
	return kernel;
}

static inline void *device_alloc(gh__device *device, size_t size)
{
	void *memory = device->table->alloc(device->self, size, NULL);

	ck_assert_ptr_nonnull(memory);
	return memory;
}

/* Run and release; workspace for `rows` rows is the caller's affair. */
static inline void device_run(gh__device *device, gh__kernel *kernel, const gh__op_args *args)
{
	assert_ok(gh__device_run(device, kernel, args, error));
}

/* ---- random numbers: a small generator, the same on every machine ---- */

static inline uint64_t random_next(uint64_t *state)
{
	uint64_t x = (*state += 0x9e3779b97f4a7c15);

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
	x = (x ^ x >> 27) * 0x94d049bb133111eb;
	return x ^ x >> 31;
}

static inline double random_unit(uint64_t *state) /* [-1, 1) */
{
	return (double)(random_next(state) >> 11) * 0x1p-52 - 1.0;
}

/* ---- dtypes ---- */

static inline size_t size_of(gh_dtype dtype)
{
	return dtype == GH_F32 ? 4 : dtype == GH_E4M3 ? 1 : 2;
}

static inline float get(gh_dtype dtype, const void *p, int64_t i)
{
	switch (dtype) {
	case GH_F16:
		return gh__f16_to_f32(((const uint16_t *)p)[i]);
	case GH_BF16:
		return gh__bf16_to_f32(((const uint16_t *)p)[i]);
	case GH_E4M3:
		return gh__e4m3_to_f32(((const uint8_t *)p)[i]);
	default:
		return ((const float *)p)[i];
	}
}

static inline void put(gh_dtype dtype, void *p, int64_t i, float x)
{
	switch (dtype) {
	case GH_F16:
		((uint16_t *)p)[i] = gh__f32_to_f16(x);
		break;
	case GH_BF16:
		((uint16_t *)p)[i] = gh__f32_to_bf16(x);
		break;
	case GH_E4M3:
		((uint8_t *)p)[i] = gh__f32_to_e4m3(x);
		break;
	default:
		((float *)p)[i] = x;
		break;
	}
}

static inline float rounded(gh_dtype dtype, float x)
{
	uint32_t place;

	put(dtype, &place, 0, x);
	return get(dtype, &place, 0);
}

/* count numbers of magnitudes from 2^-6 to 1, times scale; some are zero. Caller frees
 * (gh__free). */
static inline void *random_numbers(gh_dtype dtype, int64_t count, double scale, uint64_t *state)
{
	void *p = gh__calloc((size_t)count + 1, size_of(dtype));

	ck_assert_ptr_nonnull(p);
	for (int64_t i = 0; i < count; i++) {
		double x = random_unit(state) * ldexp(scale, -(int)(random_next(state) % 6));

		put(dtype, p, i, random_next(state) % 64 ? (float)x : 0.0F);
	}
	return p;
}

/* Memory filled with a pattern that is NaN in every dtype. */
static inline void *poisoned(gh_dtype dtype, int64_t count)
{
	void *p = gh__malloc((size_t)count * size_of(dtype) + 1);

	ck_assert_ptr_nonnull(p);
	memset(p, 0xff, (size_t)count * size_of(dtype) + 1);
	return p;
}

static inline bool is_poison(gh_dtype dtype, const void *p, int64_t i)
{
	const unsigned char *at = (const unsigned char *)p + (size_t)i * size_of(dtype);

	for (size_t j = 0; j < size_of(dtype); j++) {
		if (at[j] != 0xff)
			return false;
	}
	return true;
}

#endif
