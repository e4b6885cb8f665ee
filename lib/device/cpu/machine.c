#include "device/cpu/machine.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include "base/error.h"

static const gh__cpu_twin *ask(void)
{
#if defined(GH__HAVE_AVX2)
	unsigned a, b, c, d;

	if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
	    __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C))
		return &gh__cpu_twin_avx2;
#endif
	return &gh__cpu_twin_scalar;
}

/* Asking takes a virtual machine some 30 us, so the answer, a constant of the machine, is kept. */
const gh__cpu_twin *gh__cpu_best(void)
{
	static _Atomic(const gh__cpu_twin *) known;
	const gh__cpu_twin *twin = atomic_load_explicit(&known, memory_order_relaxed);

	if (!twin) {
		twin = ask();
		atomic_store_explicit(&known, twin, memory_order_relaxed);
	}
	return twin;
}

const gh__cpu_twin *gh__cpu_choose(const gh_device_options *options)
{
	return options->flags & GH_DEVICE_SCALAR ? &gh__cpu_twin_scalar : gh__cpu_best();
}

static int cores(void)
{
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof set, &set) == 0)
		return CPU_COUNT(&set);
	return 1;
}

int64_t gh__cpu_memory(void)
{
	long pages = sysconf(_SC_PHYS_PAGES);
	long page = sysconf(_SC_PAGESIZE);

	return pages > 0 && page > 0 ? (int64_t)pages * page : 0;
}

static void maker_name(char *out, size_t size)
{
	unsigned words[12] = { 0 };

#if defined(__x86_64__)
	for (unsigned i = 0; i < 3; i++)
		(void)__get_cpuid(0x80000002 + i, &words[4 * i], &words[4 * i + 1],
				  &words[4 * i + 2], &words[4 * i + 3]);
#endif
	(void)snprintf(out, size, "%.48s", words[0] ? (const char *)words : "CPU");
}

gh_status gh__cpu_threads(int *out, const gh_device_options *options, gh_error *error)
{
	if (options->threads < 0 || options->threads > 1024)
		return gh__fail(error, GH_EINVAL, "device threads: %d is not between 0 and 1024",
				(int)options->threads);
	*out = options->threads ? options->threads : cores();
	return GH_OK;
}

gh_status gh__cpu_info(gh_device_info *out, const gh_device_options *options, gh_error *error)
{
	int threads;
	gh_status status = gh__cpu_threads(&threads, options, error);

	if (status != GH_OK)
		return status;
	memset(out, 0, sizeof *out);
	(void)snprintf(out->kind, sizeof out->kind, "cpu");
	maker_name(out->name, sizeof out->name);
	out->memory = gh__cpu_memory();
	out->threads = threads;
	out->vector = gh__cpu_choose(options) != &gh__cpu_twin_scalar;
	return GH_OK;
}
