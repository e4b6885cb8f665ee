#ifndef GH_TESTS_CUDA_PAIR_H
#define GH_TESTS_CUDA_PAIR_H

#include <stdio.h>

#include "../unit/device.h"

/*
 * Two devices that are to give the same bits: the CPU, which is the oracle and computes as tensor
 * cores do, and the GPU. Tensors
 * lie on both; an operation runs on both, twice on the GPU, and all its tensors are compared,
 * inputs and the bytes around them included.
 */
enum { CPU, GPU, DEVICES };

static gh__device *devices[DEVICES];

/* Flags of the CPU device whose bits the GPU's are. */
static inline uint32_t pair_oracle(const gh__device *gpu)
{
	return GH_DEVICE_TENSOR_CORE | (gpu->code < 90 ? GH_DEVICE_E4M3_AS_F16 : 0);
}

/* Opens both. false: there is no GPU or no module, and the plan of tests says so. */
static inline bool pair_open(void)
{
	gh_device_options options = GH_DEVICE_OPTIONS_INIT;
	gh_error error = GH_ERROR_INIT;
	gh_status status;

	options.kind = "cuda";
	status = gh__device_open(&devices[GPU], &options, &error);
	if (status == GH_OK) {
		options.kind = "cpu";
		options.flags = pair_oracle(devices[GPU]);
		status = gh__device_open(&devices[CPU], &options, &error);
	}
	if (status == GH_ENODEVICE) {
		printf("1..0 # SKIP %s\n", error.text);
		return false;
	}
	if (status != GH_OK) {
		printf("Bail out! %s\n", error.text);
		exit(EXIT_FAILURE);
	}
	return true;
}

static inline void pair_close(void)
{
	for (int d = 0; d < DEVICES; d++) {
		gh__device_close(devices[d]);
		devices[d] = NULL;
	}
}

/* main() of a test: TAP on stdout, in this process, since a GPU's context does not outlive a fork. */
static inline int pair_main(Suite *suite)
{
	SRunner *runner = srunner_create(suite);
	int failed;

	if (!pair_open()) {
		srunner_free(runner);
		return 77;
	}
	srunner_set_fork_status(runner, CK_NOFORK);
	srunner_set_tap(runner, "-");
	srunner_run_all(runner, CK_SILENT);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	pair_close();
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* ---- tensors ---- */

enum { PAIR_GUARD = 256 };

/* `size` bytes at `at` on each device, between guards of 0xff. */
typedef struct tensor {
	void *at[DEVICES];
	void *base[DEVICES];
	unsigned char *first; /* what all of it holds before a run, guards included */
	size_t size, whole;
} tensor;

/* What it was made of, on one device again. */
static inline void tensor_reset_on(const tensor *t, int d)
{
	gh__device *device = devices[d];

	assert_ok(device->table->upload(device->self, t->base[d], t->first, t->whole, NULL, error));
	assert_ok(device->table->synchronise(device->self, NULL, error));
}

static inline void tensor_reset(const tensor *t)
{
	for (int d = 0; d < DEVICES; d++)
		tensor_reset_on(t, d);
}

/* A copy of size bytes, or 0xff without them (NaN in every dtype), `off` bytes from an aligned
 * address, 0 to 63. */
static inline tensor tensor_at(const void *bytes, size_t size, size_t off)
{
	tensor t = { .size = size, .whole = size + 2 * PAIR_GUARD };

	t.first = gh__malloc(t.whole);
	ck_assert_ptr_nonnull(t.first);
	memset(t.first, 0xff, t.whole);
	if (bytes && size)
		memcpy(t.first + PAIR_GUARD + off, bytes, size);
	for (int d = 0; d < DEVICES; d++) {
		t.base[d] = device_alloc(devices[d], t.whole);
		t.at[d] = (char *)t.base[d] + PAIR_GUARD + off;
	}
	tensor_reset(&t);
	return t;
}

static inline tensor tensor_of(const void *bytes, size_t size)
{
	return tensor_at(bytes, size, 0);
}

/* random_numbers(), on both. */
static inline tensor tensor_random(gh_dtype dtype, int64_t count, double scale, uint64_t *state)
{
	void *numbers = random_numbers(dtype, count, scale, state);
	tensor t = tensor_of(numbers, (size_t)count * size_of(dtype));

	gh__free(numbers);
	return t;
}

static inline tensor tensor_poisoned(gh_dtype dtype, int64_t count)
{
	return tensor_of(NULL, (size_t)count * size_of(dtype));
}

static inline void tensor_free(tensor *t)
{
	for (int d = 0; d < DEVICES; d++)
		devices[d]->table->release(devices[d]->self, t->base[d]);
	gh__free(t->first);
}

/* All of it, guards included, is the same on both; `what` and the number of the tensor say where
 * not. */
static inline void tensor_assert_same(const tensor *t, const char *what, int number)
{
	gh__device *gpu = devices[GPU];
	unsigned char *got = gh__malloc(t->whole);
	const unsigned char *oracle = t->base[CPU];
	size_t i = 0;

	ck_assert_ptr_nonnull(got);
	assert_ok(gpu->table->download(gpu->self, got, t->base[GPU], t->whole, NULL, error));
	assert_ok(gpu->table->synchronise(gpu->self, NULL, error));
	if (memcmp(got, oracle, t->whole) != 0) {
		size_t differ = 0, first = t->whole;

		for (i = 0; i < t->whole; i++) {
			differ += got[i] != oracle[i];
			if (got[i] != oracle[i] && first == t->whole)
				first = i;
		}
		ck_abort_msg("%s, tensor %d: %zu of %zu bytes differ, the first is %td: 0x%02x, "
			     "expected 0x%02x",
			     what, number, differ, t->size,
			     (unsigned char *)t->base[CPU] + first - (unsigned char *)t->at[CPU],
			     got[first], oracle[first]);
	}
	gh__free(got);
}

/* ---- operations ---- */

static inline void pair_prepare(gh__kernel *kernels[DEVICES], const gh__op_desc *desc)
{
	for (int d = 0; d < DEVICES; d++)
		kernels[d] = device_prepare(devices[d], desc);
}

static inline void pair_kernel_free(gh__kernel *kernels[DEVICES])
{
	for (int d = 0; d < DEVICES; d++)
		gh__device_kernel_free(devices[d], kernels[d]);
}

static inline void pair_run_on(int d, gh__kernel *const kernels[DEVICES],
			       const gh__op_args args[DEVICES])
{
	device_run(devices[d], kernels[d], &args[d]);
	assert_ok(devices[d]->table->synchronise(devices[d]->self, NULL, error));
}

/* Run on both, from what the tensors were made of, and on the GPU once more; compare. */
static inline void pair_check(const char *what, gh__kernel *const kernels[DEVICES],
			      const gh__op_args args[DEVICES], const tensor *const tensors[],
			      int count)
{
	for (int i = 0; i < count; i++)
		tensor_reset_on(tensors[i], CPU);
	pair_run_on(CPU, kernels, args);
	for (int run = 0; run < 2; run++) {
		for (int i = 0; i < count; i++)
			tensor_reset_on(tensors[i], GPU);
		pair_run_on(GPU, kernels, args);
		for (int i = 0; i < count; i++)
			tensor_assert_same(tensors[i], what, i);
	}
}

#endif
