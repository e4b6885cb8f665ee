#include "model/arena.h"

#include "base/error.h"

enum { ALIGNMENT = 256 };

void *gh__arena_take(gh__arena *arena, size_t size)
{
	size_t at = arena->used;

	/* Sizes come from checked shapes; a sum that overflows all the same is never allocated. */
	if (size > SIZE_MAX / 2 - at)
		size = SIZE_MAX / 2 - at;
	arena->used = at + (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
	return arena->base == NULL || arena->used > arena->size ? NULL : arena->base + at;
}

gh_status gh__arena_commit(gh__arena *arena, gh_error *error)
{
	gh__device *device = arena->device;

	arena->size = arena->used;
	arena->used = 0;
	arena->base = device->table->alloc(device->self, arena->size > 0 ? arena->size : 1, error);
	if (arena->base == NULL)
		return gh__fail(error, GH_ENOMEM, "%zu bytes on device %s: out of memory",
				arena->size, device->table->kind);
	return GH_OK;
}

void gh__arena_free(gh__arena *arena)
{
	if (arena->base != NULL)
		arena->device->table->release(arena->device->self, arena->base);
	arena->base = NULL;
}
