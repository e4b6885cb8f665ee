#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/error.h"
#include "hub/config.h"
#include "hub/file.h"
#include "hub/index.h"
#include "json/pull.h"

static int by_name(const void *left, const void *right)
{
	const gh__index_entry *a = left, *b = right;

	return strcmp(a->name, b->name);
}

/* A slot for another file, and one for another entry. */
static gh_status room_for_file(gh__index *index, gh_error *error)
{
	size_t more = index->files_capacity ? 2 * index->files_capacity : 16;
	void *grown;

	if (index->files_count < index->files_capacity)
		return GH_OK;
	grown = gh__realloc_array(index->files, more, sizeof *index->files);
	if (!grown)
		return gh__fail_nomem(error);
	index->files = grown;
	index->files_capacity = more;
	return GH_OK;
}

static gh_status room_for_entry(gh__index *index, gh_error *error)
{
	size_t more = index->capacity ? 2 * index->capacity : 256;
	void *grown;

	if (index->count < index->capacity)
		return GH_OK;
	grown = gh__realloc_array(index->entries, more, sizeof *index->entries);
	if (!grown)
		return gh__fail_nomem(error);
	index->entries = grown;
	index->capacity = more;
	return GH_OK;
}

/* The latest key or string as a C string; caller frees. */
static gh_status copy_text(char **out, const gh__pull *pull, gh_error *error)
{
	size_t len;
	const char *text = gh__pull_text(pull, &len);

	if (memchr(text, '\0', len))
		return gh__fail(error, GH_EFORMAT, "%s: U+0000 in a name", GH__INDEX_NAME);
	*out = gh__strndup(text, len);
	return *out ? GH_OK : gh__fail_nomem(error);
}

/* Files by name while an index is read; the values are numbers from 1 on. */
static gh_status number_of(gh__index *index, gh__map *numbers, const gh__pull *pull, size_t *number,
			   gh_error *error)
{
	char *name = NULL;
	uintptr_t known;
	gh_status status;

	status = copy_text(&name, pull, error);
	if (status != GH_OK)
		return status;
	known = (uintptr_t)gh__map_get(numbers, name);
	if (known) {
		*number = known - 1;
		goto done;
	}
	status = gh__hub_check_path(name, GH__INDEX_NAME, GH_EFORMAT, error);
	if (status != GH_OK)
		goto done;
	if (index->files_count == GH__INDEX_FILES_MAX) {
		status = gh__fail(error, GH_ETOOBIG, "%s: names more than %d files", GH__INDEX_NAME,
				  GH__INDEX_FILES_MAX);
		goto done;
	}
	status = room_for_file(index, error);
	if (status == GH_OK)
		status = gh__map_put(numbers, name, (void *)(index->files_count + 1), error);
	if (status == GH_OK) {
		*number = index->files_count;
		index->files[index->files_count++] = name;
		name = NULL;
	}
done:
	gh__free(name);
	return status;
}

static gh_status unexpected(const gh__pull *pull, gh__pull_event event, const char *expected,
			    gh_error *error)
{
	if (event == GH__PULL_ERROR)
		return gh__pull_error(pull, GH__INDEX_NAME, error);
	return gh__fail(error, GH_EFORMAT, "%s: %s expected at byte %zu", GH__INDEX_NAME, expected,
			gh__pull_offset(pull));
}

static gh_status read_weight_map(gh__index *index, gh__map *numbers, gh__pull *pull,
				 gh_error *error)
{
	gh__pull_event event = gh__pull_next(pull);
	gh__index_entry *entry;
	gh_status status;

	if (event != GH__PULL_OBJECT)
		return unexpected(pull, event, "an object as weight_map", error);
	while ((event = gh__pull_next(pull)) == GH__PULL_KEY) {
		status = room_for_entry(index, error);
		if (status != GH_OK)
			return status;
		entry = &index->entries[index->count];
		status = copy_text(&entry->name, pull, error);
		if (status != GH_OK)
			return status;
		index->count++;
		event = gh__pull_next(pull);
		if (event != GH__PULL_STRING)
			return unexpected(pull, event, "a file name", error);
		status = number_of(index, numbers, pull, &entry->file, error);
		if (status != GH_OK)
			return status;
	}
	if (event != GH__PULL_OBJECT_END)
		return unexpected(pull, event, "the end of weight_map", error);
	if (index->count == 0)
		return gh__fail(error, GH_EFORMAT, "%s: weight_map is empty", GH__INDEX_NAME);
	qsort(index->entries, index->count, sizeof *index->entries, by_name);
	for (size_t i = 1; i < index->count; i++)
		if (strcmp(index->entries[i - 1].name, index->entries[i].name) == 0)
			return gh__fail(error, GH_EFORMAT, "%s: tensor \"%.100s\" is named twice",
					GH__INDEX_NAME, index->entries[i].name);
	return GH_OK;
}

static gh_status read_index(gh__index *index, gh__map *numbers, gh__pull *pull, gh_error *error)
{
	gh__pull_event event = gh__pull_next(pull);
	gh_status status;

	if (event != GH__PULL_OBJECT)
		return unexpected(pull, event, "an object", error);
	while ((event = gh__pull_next(pull)) == GH__PULL_KEY) {
		if (gh__pull_is(pull, "weight_map")) {
			if (index->count > 0)
				return unexpected(pull, event, "only one weight_map", error);
			status = read_weight_map(index, numbers, pull, error);
			if (status != GH_OK)
				return status;
		} else if (gh__pull_skip(pull) != GH_OK) {
			return gh__pull_error(pull, GH__INDEX_NAME, error);
		}
	}
	if (event != GH__PULL_OBJECT_END || (event = gh__pull_next(pull)) != GH__PULL_END)
		return unexpected(pull, event, "the end of the text", error);
	if (index->count == 0)
		return gh__fail(error, GH_EFORMAT, "%s: weight_map is missing", GH__INDEX_NAME);
	return GH_OK;
}

/* The folder has no index: its one file, if that is there. */
static gh_status single_file(gh__index *index, const char *folder, gh_error *error)
{
	static const char name[] = "model.safetensors";
	uint64_t size;
	gh_status status;
	int fd;

	/* The missing file's own error would not speak of the index. */
	status = gh__hub_open(&fd, &size, folder, name, NULL);
	if (status == GH_ENOENT)
		return gh__fail(error, GH_ENOENT, "neither %s nor %s in %s", GH__INDEX_NAME, name,
				folder);
	if (status == GH_OK)
		close(fd);
	status = room_for_file(index, error);
	if (status != GH_OK)
		return status;
	index->files[0] = gh__strdup(name);
	if (!index->files[0])
		return gh__fail_nomem(error);
	index->files_count = 1;
	return GH_OK;
}

gh_status gh__index_read(gh__index *out, const char *folder, gh_error *error)
{
	gh__map *numbers = NULL;
	gh__pull *pull = NULL;
	gh_error inner = GH_ERROR_INIT;
	char *text = NULL;
	size_t len;
	gh_status status;

	memset(out, 0, sizeof *out);
	status = gh__hub_read_file(&text, &len, folder, GH__INDEX_NAME, GH__INDEX_MAX, &inner);
	if (status == GH_ENOENT) {
		status = single_file(out, folder, error);
	} else if (status != GH_OK) {
		status = gh__fail(error, status, "%s", inner.text);
	} else {
		status = gh__map_create(&numbers, NULL, error);
		if (status == GH_OK)
			status = gh__pull_create(&pull, text, len, error);
		if (status == GH_OK)
			status = read_index(out, numbers, pull, error);
	}
	gh__pull_free(pull);
	gh__map_free(numbers);
	gh__free(text);
	if (status != GH_OK)
		gh__index_done(out);
	return status;
}

void gh__index_done(gh__index *index)
{
	for (size_t i = 0; i < index->files_count; i++)
		gh__free(index->files[i]);
	for (size_t i = 0; i < index->count; i++)
		gh__free(index->entries[i].name);
	gh__free(index->files);
	gh__free(index->entries);
	memset(index, 0, sizeof *index);
}

bool gh__index_find(const gh__index *index, const char *name, size_t *file)
{
	const gh__index_entry key = { .name = (char *)name };
	const gh__index_entry *found;

	if (index->count == 0)
		return false;
	found = bsearch(&key, index->entries, index->count, sizeof key, by_name);
	if (found)
		*file = found->file;
	return found != NULL;
}
