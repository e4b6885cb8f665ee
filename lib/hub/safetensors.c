#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/dtype.h"
#include "base/error.h"
#include "hub/file.h"
#include "hub/safetensors.h"
#include "json/pull.h"

/* Names are foreign and may be long; this much of one tells which it is. */
#define NAME "%.100s"

/* What reads a header: the file so far, and the one tensor that is being read. */
typedef struct header {
	gh__safetensors *file;
	gh__pull *pull;
	uint64_t data; /* bytes behind the header */
	size_t capacity;
	bool metadata; /* seen */
	gh_error *error;
} header;

/* The reader's own error if there is one, else that the event is not what was expected. */
static gh_status unexpected(header *h, gh__pull_event event, const char *tensor,
			    const char *expected)
{
	if (event == GH__PULL_ERROR)
		return gh__pull_error(h->pull, h->file->name, h->error);
	return gh__fail(h->error, GH_EFORMAT, "%s: tensor \"" NAME "\": %s expected at byte %zu",
			h->file->name, tensor, expected, gh__pull_offset(h->pull));
}

/* An array of non-negative integers of at most max members. */
static gh_status read_numbers(header *h, const char *tensor, const char *expected, int64_t *out,
			      int max, int *count)
{
	gh__pull_event event = gh__pull_next(h->pull);

	if (event != GH__PULL_ARRAY)
		return unexpected(h, event, tensor, expected);
	*count = 0;
	while ((event = gh__pull_next(h->pull)) == GH__PULL_NUMBER) {
		if (*count == max || !gh__pull_int(h->pull, &out[*count]) || out[*count] < 0)
			return unexpected(h, event, tensor, expected);
		(*count)++;
	}
	return event == GH__PULL_ARRAY_END ? GH_OK : unexpected(h, event, tensor, expected);
}

static gh_status read_dtype(header *h, gh_tensor_info *tensor)
{
	gh__pull_event event = gh__pull_next(h->pull);
	const char *text;
	size_t len;

	if (event != GH__PULL_STRING)
		return unexpected(h, event, tensor->name, "a string as dtype");
	text = gh__pull_text(h->pull, &len);
	tensor->dtype = gh__dtype_of(text, len);
	if (tensor->dtype == GH_DTYPE_NONE)
		return gh__fail(h->error, GH_EFORMAT,
				"%s: tensor \"" NAME "\": dtype \"%.*s\" is not one of BOOL, U8 to "
				"U64, I8 to I64, F8_E4M3, F8_E5M2, F16, BF16, F32, F64",
				h->file->name, tensor->name, (int)(len < 32 ? len : 32), text);
	return GH_OK;
}

/* begin and end against the data and against the product of the shape. */
static gh_status check_range(header *h, gh_tensor_info *tensor, int64_t begin, int64_t end)
{
	uint64_t bytes = gh_dtype_size((gh_dtype)tensor->dtype);

	for (int i = 0; i < tensor->dims; i++)
		if (__builtin_mul_overflow(bytes, (uint64_t)tensor->shape[i], &bytes))
			return gh__fail(h->error, GH_EFORMAT,
					"%s: tensor \"" NAME "\": the product of its shape exceeds "
					"64 bits",
					h->file->name, tensor->name);
	if (begin > end || (uint64_t)end > h->data)
		return gh__fail(h->error, GH_EFORMAT,
				"%s: tensor \"" NAME "\": data_offsets [%" PRId64 ", %" PRId64
				"] do not lie within the %" PRIu64 " bytes of data",
				h->file->name, tensor->name, begin, end, h->data);
	if ((uint64_t)(end - begin) != bytes)
		return gh__fail(h->error, GH_EFORMAT,
				"%s: tensor \"" NAME "\": data_offsets span %" PRId64
				" bytes, its shape of %s needs %" PRIu64,
				h->file->name, tensor->name, end - begin,
				gh_dtype_name((gh_dtype)tensor->dtype), bytes);
	tensor->offset = (h->file->size - h->data) + (uint64_t)begin;
	tensor->size = bytes;
	return GH_OK;
}

/* The object behind a tensor's name. */
static gh_status read_tensor(header *h, gh_tensor_info *tensor)
{
	enum { DTYPE = 1, SHAPE = 2, OFFSETS = 4 };
	int64_t offsets[2] = { 0, 0 };
	gh__pull_event event = gh__pull_next(h->pull);
	unsigned seen = 0;
	gh_status status;
	int count;

	if (event != GH__PULL_OBJECT)
		return unexpected(h, event, tensor->name, "an object");
	for (int i = 0; i < GH_DIMS_MAX; i++)
		tensor->shape[i] = 1;
	while ((event = gh__pull_next(h->pull)) == GH__PULL_KEY) {
		unsigned key = gh__pull_is(h->pull, "dtype")          ? DTYPE
			       : gh__pull_is(h->pull, "shape")        ? SHAPE
			       : gh__pull_is(h->pull, "data_offsets") ? OFFSETS
								      : 0;

		if (seen & key)
			return unexpected(h, event, tensor->name, "each key only once");
		seen |= key;
		if (key == DTYPE) {
			status = read_dtype(h, tensor);
		} else if (key == SHAPE) {
			status = read_numbers(h, tensor->name, "a shape of at most 8 sizes",
					      tensor->shape, GH_DIMS_MAX, &count);
			tensor->dims = count;
		} else if (key == OFFSETS) {
			status = read_numbers(h, tensor->name, "two data_offsets", offsets, 2,
					      &count);
			if (status == GH_OK && count != 2)
				status = unexpected(h, event, tensor->name, "two data_offsets");
		} else {
			status = gh__pull_skip(h->pull);
			if (status != GH_OK)
				status = unexpected(h, GH__PULL_ERROR, tensor->name, "");
		}
		if (status != GH_OK)
			return status;
	}
	if (event != GH__PULL_OBJECT_END)
		return unexpected(h, event, tensor->name, "a key");
	if (seen != (DTYPE | SHAPE | OFFSETS))
		return unexpected(h, event, tensor->name, "dtype, shape and data_offsets");
	return check_range(h, tensor, offsets[0], offsets[1]);
}

/* "__metadata__": strings to strings, of which nothing is kept. */
static gh_status read_metadata(header *h)
{
	gh__pull_event event = gh__pull_next(h->pull);

	if (h->metadata)
		return unexpected(h, event, "__metadata__", "each name only once");
	h->metadata = true;
	if (event != GH__PULL_OBJECT)
		return unexpected(h, event, "__metadata__", "an object of strings");
	while ((event = gh__pull_next(h->pull)) == GH__PULL_KEY) {
		event = gh__pull_next(h->pull);
		if (event != GH__PULL_STRING)
			return unexpected(h, event, "__metadata__", "an object of strings");
	}
	if (event != GH__PULL_OBJECT_END)
		return unexpected(h, event, "__metadata__", "an object of strings");
	return GH_OK;
}

/* A new tensor at the end of the list, named by the latest key; NULL and *status after a
 * failure. */
static gh_tensor_info *add_tensor(header *h, gh_status *status)
{
	gh__safetensors *file = h->file;
	gh_tensor_info *tensor;
	const char *name;
	size_t len;

	*status = GH_ENOMEM;
	if (file->count == h->capacity) {
		size_t capacity = h->capacity ? 2 * h->capacity : 64;
		void *grown = gh__realloc_array(file->tensors, capacity, sizeof *file->tensors);

		if (!grown) {
			gh__fail_nomem(h->error);
			return NULL;
		}
		file->tensors = grown;
		h->capacity = capacity;
	}
	name = gh__pull_text(h->pull, &len);
	if (memchr(name, '\0', len)) {
		*status = gh__fail(h->error, GH_EFORMAT, "%s: a tensor's name holds U+0000",
				   file->name);
		return NULL;
	}
	tensor = &file->tensors[file->count];
	memset(tensor, 0, sizeof *tensor);
	tensor->name = gh__strndup(name, len);
	if (!tensor->name) {
		gh__fail_nomem(h->error);
		return NULL;
	}
	tensor->file = file->name;
	file->count++;
	*status = GH_OK;
	return tensor;
}

static int by_offset(const void *left, const void *right)
{
	const gh_tensor_info *a = left, *b = right;

	if (a->offset != b->offset)
		return a->offset < b->offset ? -1 : 1;
	return (a->size > b->size) - (a->size < b->size);
}

static int by_name(const void *left, const void *right)
{
	const gh_tensor_info *a = left, *b = right;

	return strcmp(a->name, b->name);
}

/* The data is exactly the tensors, one behind the other; and no name comes twice. */
static gh_status check_layout(header *h)
{
	gh__safetensors *file = h->file;
	uint64_t end = file->size - h->data;

	if (file->count > 0)
		qsort(file->tensors, file->count, sizeof *file->tensors, by_offset);
	for (size_t i = 0; i < file->count; i++) {
		const gh_tensor_info *tensor = &file->tensors[i];

		if (tensor->offset != end)
			return gh__fail(h->error, GH_EFORMAT,
					"%s: tensor \"" NAME "\" begins at byte %" PRIu64
					" of the file, the one before it ends at %" PRIu64 ": %s",
					file->name, tensor->name, tensor->offset, end,
					tensor->offset < end ? "they overlap" : "a hole");
		end += tensor->size;
	}
	if (end != file->size)
		return gh__fail(h->error, GH_EFORMAT,
				"%s: %" PRIu64 " bytes long, its tensors end at byte %" PRIu64,
				file->name, file->size, end);
	if (file->count > 0)
		qsort(file->tensors, file->count, sizeof *file->tensors, by_name);
	for (size_t i = 1; i < file->count; i++)
		if (strcmp(file->tensors[i - 1].name, file->tensors[i].name) == 0)
			return gh__fail(h->error, GH_EFORMAT,
					"%s: tensor \"" NAME "\" is named twice", file->name,
					file->tensors[i].name);
	return GH_OK;
}

static gh_status read_header(header *h)
{
	gh__pull_event event = gh__pull_next(h->pull);
	gh_status status = GH_OK;

	if (event != GH__PULL_OBJECT)
		return unexpected(h, event, "", "an object");
	while ((event = gh__pull_next(h->pull)) == GH__PULL_KEY) {
		gh_tensor_info *tensor;

		if (gh__pull_is(h->pull, "__metadata__"))
			status = read_metadata(h);
		else if ((tensor = add_tensor(h, &status)) != NULL)
			status = read_tensor(h, tensor);
		if (status != GH_OK)
			return status;
	}
	if (event != GH__PULL_OBJECT_END || (event = gh__pull_next(h->pull)) != GH__PULL_END)
		return unexpected(h, event, "", "the end of the header");
	return check_layout(h);
}

/* The 8 bytes and the JSON they announce; caller frees *text. */
static gh_status read_text(const gh__safetensors *file, char **text, size_t *len, gh_error *error)
{
	unsigned char bytes[8];
	uint64_t n = 0;
	gh_status status;

	if (file->size < sizeof bytes + 2)
		return gh__fail(error, GH_EFORMAT,
				"%s: %" PRIu64 " bytes long, not even a header fits", file->name,
				file->size);
	status = gh__hub_pread(file->fd, bytes, 0, sizeof bytes, file->name, error);
	if (status != GH_OK)
		return status;
	for (int i = 7; i >= 0; i--)
		n = n << 8 | bytes[i];
	if (n < 2 || n > GH__SAFETENSORS_HEADER_MAX)
		return gh__fail(error, GH_EFORMAT,
				"%s: a header of %" PRIu64 " bytes, between 2 and %u expected",
				file->name, n, GH__SAFETENSORS_HEADER_MAX);
	if (n > file->size - sizeof bytes)
		return gh__fail(error, GH_EFORMAT,
				"%s: a header of %" PRIu64 " bytes in a file of %" PRIu64
				": it is incomplete",
				file->name, n, file->size);
	*text = gh__malloc((size_t)n);
	if (!*text)
		return gh__fail_nomem(error);
	*len = (size_t)n;
	status = gh__hub_pread(file->fd, *text, sizeof bytes, n, file->name, error);
	if (status == GH_OK && (*text)[0] != '{')
		status = gh__fail(error, GH_EFORMAT, "%s: the header does not begin with '{'",
				  file->name);
	return status;
}

gh_status gh__safetensors_open(gh__safetensors *out, const char *folder, const char *name,
			       gh_error *error)
{
	header h = { .file = out, .error = error };
	char *text = NULL;
	size_t len = 0;
	gh_status status;

	memset(out, 0, sizeof *out);
	out->fd = -1;
	out->name = gh__strdup(name);
	if (!out->name)
		return gh__fail_nomem(error);
	status = gh__hub_open(&out->fd, &out->size, folder, name, error);
	if (status == GH_OK)
		status = read_text(out, &text, &len, error);
	if (status == GH_OK)
		status = gh__pull_create(&h.pull, text, len, error);
	if (status == GH_OK) {
		h.data = out->size - 8 - len;
		status = read_header(&h);
	}
	gh__pull_free(h.pull);
	gh__free(text);
	if (status != GH_OK)
		gh__safetensors_done(out);
	return status;
}

void gh__safetensors_done(gh__safetensors *file)
{
	for (size_t i = 0; i < file->count; i++)
		gh__free((char *)file->tensors[i].name);
	gh__free(file->tensors);
	gh__free(file->name);
	if (file->fd >= 0)
		close(file->fd);
	memset(file, 0, sizeof *file);
	file->fd = -1;
}

gh_status gh__safetensors_read(const gh__safetensors *file, void *dst, uint64_t offset,
			       uint64_t size, gh_error *error)
{
	struct stat info;

	if (fstat(file->fd, &info) != 0)
		return gh__fail_errno(error, GH_EIO, errno, "%s", file->name);
	if ((uint64_t)info.st_size != file->size)
		return gh__fail(error, GH_EIO,
				"%s: %" PRId64 " bytes long, it had %" PRIu64 " when it was opened",
				file->name, (int64_t)info.st_size, file->size);
	return gh__hub_pread(file->fd, dst, offset, size, file->name, error);
}
