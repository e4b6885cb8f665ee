#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "hub/config.h"
#include "hub/index.h"
#include "hub/safetensors.h"

#define MAGIC 0x67686370u /* "ghcp" */

struct gh_checkpoint {
	uint32_t magic;
	gh__safetensors *files;
	size_t files_count;
	gh_tensor_info
		*tensors; /* of all files, in the order of their names; names are the files' */
	size_t count;
};

static int by_name(const void *left, const void *right)
{
	const gh_tensor_info *a = left, *b = right;

	return strcmp(a->name, b->name);
}

static gh_status open_files(gh_checkpoint *checkpoint, const char *folder, const gh__index *index,
			    gh_error *error)
{
	checkpoint->files = gh__calloc(index->files_count, sizeof *checkpoint->files);
	if (!checkpoint->files)
		return gh__fail_nomem(error);
	for (size_t i = 0; i < index->files_count; i++) {
		gh_status status =
			gh__safetensors_open(&checkpoint->files[i], folder, index->files[i], error);

		if (status != GH_OK)
			return status;
		checkpoint->files_count++;
	}
	return GH_OK;
}

/* Every file really holds what the index says it does. */
static gh_status check_index(const gh_checkpoint *checkpoint, const gh__index *index,
			     gh_error *error)
{
	for (size_t i = 0; i < index->count; i++) {
		const gh__index_entry *entry = &index->entries[i];
		const gh__safetensors *file = &checkpoint->files[entry->file];
		const gh_tensor_info key = { .name = entry->name };

		if (file->count == 0 ||
		    !bsearch(&key, file->tensors, file->count, sizeof key, by_name))
			return gh__fail(error, GH_EFORMAT,
					"%s: lacks tensor \"%.100s\", which %s places there",
					file->name, entry->name, GH__INDEX_NAME);
	}
	return GH_OK;
}

/* One list of all tensors. Of a name that several files hold, the index chooses. */
static gh_status gather(gh_checkpoint *checkpoint, const gh__index *index, gh_error *error)
{
	size_t total = 0, kept = 0;

	for (size_t i = 0; i < checkpoint->files_count; i++)
		total += checkpoint->files[i].count;
	checkpoint->tensors = gh__calloc(total, sizeof *checkpoint->tensors);
	if (!checkpoint->tensors)
		return gh__fail_nomem(error);
	for (size_t i = 0; i < checkpoint->files_count; i++) {
		const gh__safetensors *file = &checkpoint->files[i];

		for (size_t j = 0; j < file->count; j++) {
			size_t place;

			if (gh__index_find(index, file->tensors[j].name, &place) && place != i)
				continue;
			checkpoint->tensors[kept++] = file->tensors[j];
		}
	}
	checkpoint->count = kept;
	if (kept > 0)
		qsort(checkpoint->tensors, kept, sizeof *checkpoint->tensors, by_name);
	for (size_t i = 1; i < kept; i++) {
		const gh_tensor_info *a = &checkpoint->tensors[i - 1], *b = a + 1;

		if (strcmp(a->name, b->name) == 0)
			return gh__fail(error, GH_EFORMAT,
					"tensor \"%.100s\" is in %s and in %s, and the index names "
					"neither",
					a->name, a->file, b->file);
	}
	return GH_OK;
}

gh_status gh_checkpoint_open(gh_checkpoint **out, const char *folder, gh_error *error)
{
	gh_checkpoint *checkpoint;
	gh__index index;
	gh_status status;

	if (!out || !folder)
		return gh__fail(error, GH_EINVAL, "out and folder must not be NULL");
	*out = NULL;
	status = gh__index_read(&index, folder, error);
	if (status != GH_OK)
		return status;
	checkpoint = gh__calloc(1, sizeof *checkpoint);
	if (!checkpoint) {
		status = gh__fail_nomem(error);
		goto done;
	}
	checkpoint->magic = MAGIC;
	status = open_files(checkpoint, folder, &index, error);
	if (status == GH_OK)
		status = check_index(checkpoint, &index, error);
	if (status == GH_OK)
		status = gather(checkpoint, &index, error);
	if (status == GH_OK)
		*out = checkpoint;
	else
		gh_checkpoint_close(checkpoint);
done:
	gh__index_done(&index);
	return status;
}

void gh_checkpoint_close(gh_checkpoint *checkpoint)
{
	if (!checkpoint || checkpoint->magic != MAGIC)
		return;
	checkpoint->magic = 0;
	for (size_t i = 0; i < checkpoint->files_count; i++)
		gh__safetensors_done(&checkpoint->files[i]);
	gh__free(checkpoint->files);
	gh__free(checkpoint->tensors);
	gh__free(checkpoint);
}

size_t gh_checkpoint_count(const gh_checkpoint *checkpoint)
{
	return checkpoint && checkpoint->magic == MAGIC ? checkpoint->count : 0;
}

const gh_tensor_info *gh_checkpoint_at(const gh_checkpoint *checkpoint, size_t i)
{
	return i < gh_checkpoint_count(checkpoint) ? &checkpoint->tensors[i] : NULL;
}

const gh_tensor_info *gh_checkpoint_find(const gh_checkpoint *checkpoint, const char *name)
{
	const gh_tensor_info key = { .name = name };

	if (!name || gh_checkpoint_count(checkpoint) == 0)
		return NULL;
	return bsearch(&key, checkpoint->tensors, checkpoint->count, sizeof key, by_name);
}

gh_status gh_checkpoint_read(const gh_checkpoint *checkpoint, const gh_tensor_info *tensor,
			     void *dst, uint64_t offset, uint64_t size, gh_error *error)
{
	const gh__safetensors *file = NULL;

	if (!checkpoint || checkpoint->magic != MAGIC || !tensor || (!dst && size > 0))
		return gh__fail(error, GH_EINVAL, "checkpoint, tensor and dst must not be NULL");
	for (size_t i = 0; i < checkpoint->files_count && !file; i++)
		if (checkpoint->files[i].name == tensor->file)
			file = &checkpoint->files[i];
	if (!file)
		return gh__fail(error, GH_EINVAL, "the tensor is not one of this checkpoint");
	if (offset > tensor->size || size > tensor->size - offset)
		return gh__fail(error, GH_EINVAL,
				"tensor \"%.100s\": bytes %" PRIu64 " to %" PRIu64 " of %" PRIu64
				" asked for",
				tensor->name, offset, offset + size, tensor->size);
	return gh__safetensors_read(file, dst, tensor->offset + offset, size, error);
}
