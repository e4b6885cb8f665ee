#ifndef GH_HUB_INDEX_H
#define GH_HUB_INDEX_H

#include <stdbool.h>

#include "base/map.h"

/*
 * Which safetensors files make up a checkpoint: model.safetensors.index.json, or the single file
 * model.safetensors, which is an index of one file and no entries.
 */
#define GH__INDEX_NAME      "model.safetensors.index.json"
#define GH__INDEX_MAX       ((size_t)64 << 20)
#define GH__INDEX_FILES_MAX 4096

typedef struct gh__index_entry {
	char *name;  /* of the tensor */
	size_t file; /* number in files */
} gh__index_entry;

typedef struct gh__index {
	char **files; /* relative to the folder, none of them leaving it */
	size_t files_count, files_capacity;
	gh__index_entry *entries; /* in the order of their names, each name once */
	size_t count, capacity;
} gh__index;

gh_status gh__index_read(gh__index *out, const char *folder, gh_error *error);
void gh__index_done(gh__index *index);

/* false: the index does not name the tensor. */
bool gh__index_find(const gh__index *index, const char *name, size_t *file);

#endif
