#include "device/cpu/memory.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include "base/alloc.h"
#include "base/error.h"

/*
 * Large pieces come from the system, zeroed when they are first touched: a cache for many requests
 * costs nothing until they come. They are aligned so that the system may use huge pages: streaming
 * through weights is then not held up by address translation. What is handed out is preceded by
 * where and how long the mapping is; a small piece has no mapping.
 */
typedef struct mapping {
	void *begin; /* NULL: from gh__aligned_alloc() */
	size_t size;
} mapping;

enum { ALIGNMENT = 256, HUGE = 2 << 20 };

void *gh__cpu_alloc(size_t size, gh_error *error)
{
	bool large = size >= 2 * (size_t)HUGE;
	size_t before = large ? HUGE : ALIGNMENT;
	unsigned char *memory = NULL;
	mapping m = { NULL, 0 };

	if (size <= SIZE_MAX - 2 * (size_t)HUGE)
		m.size = (size + before - 1) / before * before + 2 * before;
	if (m.size && large) {
		m.begin = mmap(NULL, m.size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			       -1, 0);
		if (m.begin != MAP_FAILED) {
			memory = m.begin;
			memory += HUGE - (uintptr_t)memory % HUGE;
			(void)madvise(memory, size, MADV_HUGEPAGE);
		}
	} else if (m.size) {
		memory = gh__aligned_alloc(ALIGNMENT, m.size);
		if (memory) {
			memset(memory, 0, m.size);
			memory += ALIGNMENT;
		}
	}
	if (!memory)
		return gh__fail(error, GH_ENOMEM, "%zu bytes of device memory: not there", size),
		       NULL;
	memcpy(memory - sizeof m, &m, sizeof m);
	return memory;
}

void gh__cpu_release(void *memory)
{
	mapping m;

	if (!memory)
		return;
	memcpy(&m, (unsigned char *)memory - sizeof m, sizeof m);
	if (m.begin)
		(void)munmap(m.begin, m.size);
	else
		gh__aligned_free((unsigned char *)memory - ALIGNMENT);
}
