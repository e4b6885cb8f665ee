#ifndef GH_TESTS_MODEL_FILES_H
#define GH_TESTS_MODEL_FILES_H

#include "folder.h"
#include "unit.h"

#include <jansson.h>

#include <gonkahost/hub.h>

#include "base/alloc.h"

/*
 * A checkpoint in memory: read one, change it, write it into the test's folder as config.json and
 * model.safetensors.
 */
enum { FILE_TENSORS_MAX = 128 };

typedef struct file_tensor {
	char name[128];
	gh_dtype dtype;
	int32_t dims;
	int64_t shape[2];
	size_t size;
	unsigned char *data;
} file_tensor;

typedef struct model_files {
	json_t *config;
	int count;
	file_tensor tensors[FILE_TENSORS_MAX];
} model_files;

static inline void files_read(model_files *f, const char *folder)
{
	gh_checkpoint *checkpoint;
	char path[600];

	snprintf(path, sizeof path, "%s/config.json", folder);
	f->config = json_load_file(path, 0, NULL);
	ck_assert_ptr_nonnull(f->config);
	assert_ok(gh_checkpoint_open(&checkpoint, folder, error));
	f->count = (int)gh_checkpoint_count(checkpoint);
	ck_assert_int_le(f->count, FILE_TENSORS_MAX);
	for (int i = 0; i < f->count; i++) {
		const gh_tensor_info *info = gh_checkpoint_at(checkpoint, (size_t)i);
		file_tensor *t = &f->tensors[i];

		*t = (file_tensor){ .dtype = (gh_dtype)info->dtype,
				    .dims = info->dims,
				    .shape = { info->shape[0], info->shape[1] },
				    .size = info->size,
				    .data = gh__malloc(info->size) };
		snprintf(t->name, sizeof t->name, "%s", info->name);
		assert_ok(gh_checkpoint_read(checkpoint, info, t->data, 0, info->size, error));
	}
	gh_checkpoint_close(checkpoint);
}

static inline file_tensor *files_find(model_files *f, const char *name)
{
	for (int i = 0; i < f->count; i++)
		if (strcmp(f->tensors[i].name, name) == 0)
			return &f->tensors[i];
	ck_abort_msg("no tensor %s", name);
	return NULL;
}

static inline file_tensor *files_add(model_files *f, const char *name, gh_dtype dtype, int32_t dims,
				     int64_t rows, int64_t columns)
{
	file_tensor *t = &f->tensors[f->count++];

	ck_assert_int_le(f->count, FILE_TENSORS_MAX);
	*t = (file_tensor){ .dtype = dtype,
			    .dims = dims,
			    .shape = { rows, columns },
			    .size = (size_t)(rows * columns) * gh_dtype_size(dtype) };
	t->data = gh__calloc(t->size, 1);
	ck_assert_uint_lt(strlen(name), sizeof t->name);
	memcpy(t->name, name, strlen(name) + 1);
	return t;
}

static inline void files_remove(model_files *f, const char *name)
{
	file_tensor *t = files_find(f, name);

	gh__free(t->data);
	*t = f->tensors[--f->count];
}

static inline void files_write(const model_files *f)
{
	json_t *header = json_object();
	size_t offset = 0;
	char *text;
	FILE *file;
	uint64_t n;

	for (int i = 0; i < f->count; i++) {
		const file_tensor *t = &f->tensors[i];
		json_t *shape = json_array();

		for (int d = 0; d < t->dims; d++)
			json_array_append_new(shape, json_integer(t->shape[d]));
		json_object_set_new(header, t->name,
				    json_pack("{s:s, s:o, s:[I, I]}", "dtype",
					      gh_dtype_name(t->dtype), "shape", shape,
					      "data_offsets", (json_int_t)offset,
					      (json_int_t)offset + (json_int_t)t->size));
		offset += t->size;
	}
	text = json_dumps(header, JSON_COMPACT);
	json_decref(header);
	n = strlen(text);
	file = fopen(at("model.safetensors"), "wb");
	ck_assert_ptr_nonnull(file);
	ck_assert_uint_eq(fwrite(&n, 8, 1, file), 1);
	ck_assert_uint_eq(fwrite(text, 1, n, file), n);
	for (int i = 0; i < f->count; i++)
		ck_assert_uint_eq(fwrite(f->tensors[i].data, 1, f->tensors[i].size, file),
				  f->tensors[i].size);
	ck_assert_int_eq(fclose(file), 0);
	free(text);
	ck_assert_int_eq(json_dump_file(f->config, at("config.json"), 0), 0);
}

static inline void files_free(model_files *f)
{
	for (int i = 0; i < f->count; i++)
		gh__free(f->tensors[i].data);
	json_decref(f->config);
}

#endif
