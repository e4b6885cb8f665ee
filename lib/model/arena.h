#ifndef GH_MODEL_ARENA_H
#define GH_MODEL_ARENA_H

#include "device/device.h"

/*
 * Device memory that is planned before it is there. The same code runs twice: first counting, with
 * base NULL and answers that are only offsets; then, after gh__arena_commit(), for real. So "how
 * much" and "where" cannot disagree.
 */
typedef struct gh__arena {
	gh__device *device;
	char *base;
	size_t used;
	size_t size; /* of base */
} gh__arena;

/* Room for size bytes, 256-byte aligned. NULL while counting. */
void *gh__arena_take(gh__arena *arena, size_t size);

/* Allocate what has been counted, zeroed, and start from the beginning. */
gh_status gh__arena_commit(gh__arena *arena, gh_error *error);
void gh__arena_free(gh__arena *arena);

#endif
