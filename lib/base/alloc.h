#ifndef GH_BASE_ALLOC_H
#define GH_BASE_ALLOC_H

#include <gonkahost/base.h>

/*
 * Host memory. Everything the library allocates on the host comes through here; nothing aborts.
 * NULL means out of memory (or an overflowing product), never a size of zero: 0 bytes answer a
 * pointer that can be freed.
 */
void *gh__malloc(size_t size);
void *gh__calloc(size_t count, size_t size); /* zeroed; the product is checked */
void *gh__realloc(void *memory, size_t size);
void *gh__realloc_array(void *memory, size_t count, size_t size);
char *gh__strdup(const char *text);
char *gh__strndup(const char *text, size_t len); /* copies len bytes and adds a NUL */
void *gh__memdup(const void *memory, size_t size);
void gh__free(void *memory); /* NULL is allowed */

/* Aligned memory for numbers; released with gh__aligned_free() only. */
void *gh__aligned_alloc(size_t alignment, size_t size);
void gh__aligned_free(void *memory);

/* Tests only: let the k-th allocation from now on fail (0 = never). Answers how many were made. */
size_t gh__alloc_fail_at(size_t k);

#endif
