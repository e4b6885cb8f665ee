#include "http/internal.h"

#include <stdalign.h>
#include <string.h>

#include "base/alloc.h"

#define BLOCK_BYTES 1024

typedef struct gh__http_block {
	struct gh__http_block *next;
	size_t used, size;
	alignas(max_align_t) char data[];
} gh__http_block;

void *gh__http_arena_take(gh__http_arena *arena, size_t size)
{
	gh__http_block *block = arena->blocks;

	if (size > SIZE_MAX / 2)
		return NULL;
	size = (size + alignof(max_align_t) - 1) / alignof(max_align_t) * alignof(max_align_t);
	if (!block || block->size - block->used < size) {
		size_t room = size > BLOCK_BYTES ? size : BLOCK_BYTES;

		block = gh__malloc(sizeof *block + room);
		if (!block)
			return NULL;
		*block = (gh__http_block){ arena->blocks, 0, room };
		arena->blocks = block;
	}
	void *memory = block->data + block->used;
	block->used += size;
	return memory;
}

char *gh__http_arena_text(gh__http_arena *arena, const char *text, size_t len)
{
	char *copy = gh__http_arena_take(arena, len + 1);

	if (!copy)
		return NULL;
	memcpy(copy, text, len);
	copy[len] = '\0';
	return copy;
}

void gh__http_arena_free(gh__http_arena *arena)
{
	while (arena->blocks) {
		gh__http_block *next = arena->blocks->next;

		gh__free(arena->blocks);
		arena->blocks = next;
	}
}
