#include "text/jinja/value.h"

#include <stdalign.h>

#include "base/alloc.h"

#define CHUNK 32768

struct jinja_chunk {
	struct jinja_chunk *older;
	alignas(max_align_t) char data[];
};

static bool grow(jinja_arena *arena, size_t size)
{
	size_t want = size > CHUNK ? size : CHUNK;
	struct jinja_chunk *chunk;

	if (want > arena->max - arena->total) {
		arena->status = GH_ETOOBIG;
		return false;
	}
	chunk = gh__calloc(1, sizeof(*chunk) + want);
	if (!chunk) {
		arena->status = GH_ENOMEM;
		return false;
	}
	chunk->older = arena->chunks;
	arena->chunks = chunk;
	arena->next = chunk->data;
	arena->left = want;
	arena->total += want;
	return true;
}

void *gh__jinja_alloc(jinja_arena *arena, size_t count, size_t size)
{
	const size_t unit = alignof(max_align_t);
	size_t bytes;
	void *memory;

	if (__builtin_mul_overflow(count, size, &bytes) || bytes > arena->max) {
		arena->status = GH_ETOOBIG;
		return NULL;
	}
	bytes = bytes ? (bytes + unit - 1) / unit * unit : unit;
	if (bytes > arena->left && !grow(arena, bytes))
		return NULL;
	memory = arena->next;
	arena->next += bytes;
	arena->left -= bytes;
	return memory;
}

void gh__jinja_arena_free(jinja_arena *arena)
{
	struct jinja_chunk *chunk = arena->chunks;

	while (chunk) {
		struct jinja_chunk *older = chunk->older;

		gh__free(chunk);
		chunk = older;
	}
	arena->chunks = NULL;
	arena->next = NULL;
	arena->left = 0;
	arena->total = 0;
}
