#include "base/alloc.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static void *default_allocate(size_t size, void *userdata)
{
	(void)userdata;
	return malloc(size);
}

static void *default_resize(void *memory, size_t size, void *userdata)
{
	(void)userdata;
	return realloc(memory, size);
}

static void default_release(void *memory, void *userdata)
{
	(void)userdata;
	free(memory);
}

/* Set once, before the first allocation; only read after that. */
static gh_allocator allocator = { default_allocate, default_resize, default_release, NULL };

/* Fault injection of the tests: allocations made so far, and the one that is to fail. */
static atomic_size_t made;
static atomic_size_t fail_at;

gh_status gh_allocator_set(const gh_allocator *given)
{
	if (!given || !given->allocate || !given->resize || !given->release)
		return GH_EINVAL;
	allocator = *given;
	return GH_OK;
}

void gh_free(void *memory)
{
	gh__free(memory);
}

static bool injected_failure(void)
{
	size_t number = atomic_fetch_add_explicit(&made, 1, memory_order_relaxed) + 1;

	return number == atomic_load_explicit(&fail_at, memory_order_relaxed);
}

size_t gh__alloc_fail_at(size_t k)
{
	atomic_store(&fail_at, 0);
	size_t before = atomic_exchange(&made, 0);
	atomic_store(&fail_at, k);
	return before;
}

void *gh__malloc(size_t size)
{
	if (injected_failure())
		return NULL;
	return allocator.allocate(size ? size : 1, allocator.userdata);
}

void *gh__calloc(size_t count, size_t size)
{
	size_t total;

	if (__builtin_mul_overflow(count, size, &total) || injected_failure())
		return NULL;
	/* calloc(3) knows which pages are zero already. */
	if (allocator.allocate == default_allocate)
		return calloc(total ? total : 1, 1);
	void *memory = allocator.allocate(total ? total : 1, allocator.userdata);
	if (memory)
		memset(memory, 0, total);
	return memory;
}

void *gh__realloc(void *memory, size_t size)
{
	if (!memory)
		return gh__malloc(size);
	if (injected_failure())
		return NULL;
	return allocator.resize(memory, size ? size : 1, allocator.userdata);
}

void *gh__realloc_array(void *memory, size_t count, size_t size)
{
	size_t total;

	if (__builtin_mul_overflow(count, size, &total))
		return NULL;
	return gh__realloc(memory, total);
}

char *gh__strdup(const char *text)
{
	return gh__strndup(text, strlen(text));
}

char *gh__strndup(const char *text, size_t len)
{
	if (len == SIZE_MAX)
		return NULL;
	char *copy = gh__malloc(len + 1);
	if (!copy)
		return NULL;
	if (len)
		memcpy(copy, text, len);
	copy[len] = '\0';
	return copy;
}

void *gh__memdup(const void *memory, size_t size)
{
	void *copy = gh__malloc(size);

	if (copy && size)
		memcpy(copy, memory, size);
	return copy;
}

void gh__free(void *memory)
{
	if (memory)
		allocator.release(memory, allocator.userdata);
}

/* The block that was allocated is kept in the pointer before the aligned address. */
void *gh__aligned_alloc(size_t alignment, size_t size)
{
	size_t total;

	if (alignment < sizeof(void *))
		alignment = sizeof(void *);
	if ((alignment & (alignment - 1)) != 0 ||
	    __builtin_add_overflow(size, alignment + sizeof(void *), &total))
		return NULL;
	char *block = gh__malloc(total);
	if (!block)
		return NULL;
	uintptr_t first = (uintptr_t)block + sizeof(void *);
	size_t skip = sizeof(void *) + (size_t)(-first & (alignment - 1));
	char *aligned = block + skip;
	memcpy(aligned - sizeof(void *), &block, sizeof block);
	return aligned;
}

void gh__aligned_free(void *memory)
{
	char *block;

	if (!memory)
		return;
	memcpy(&block, (char *)memory - sizeof(void *), sizeof block);
	gh__free(block);
}
