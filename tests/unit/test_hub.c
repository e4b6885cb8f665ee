#include "unit.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <gonkahost/hub.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "hub/config.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* A folder of its own for each test; everything below is relative to it. */

static char root[64];

static void make_root(void)
{
	snprintf(root, sizeof root, "/tmp/test-hub-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(root));
}

static int remove_one(const char *path, const struct stat *info, int type, struct FTW *walk)
{
	(void)info;
	(void)type;
	(void)walk;
	return remove(path);
}

static void remove_root(void)
{
	nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* The answer is good until the fourth call from now. */
static const char *at(const char *name)
{
	static char paths[4][1024];
	static int turn;
	char *path = paths[turn++ % 4];

	snprintf(path, sizeof paths[0], "%s/%s", root, name);
	return path;
}

static void make_folder(const char *name)
{
	char path[512];
	struct stat info;

	snprintf(path, sizeof path, "%s/", at(name));
	for (char *c = path + strlen(root) + 1; *c; c++) {
		if (*c == '/') {
			*c = '\0';
			mkdir(path, 0700);
			*c = '/';
		}
	}
	ck_assert_int_eq(stat(path, &info), 0);
}

static void write_bytes(const char *name, const void *data, size_t len)
{
	FILE *file = fopen(at(name), "wb");

	ck_assert_msg(file != NULL, "%s", at(name));
	ck_assert_uint_eq(fwrite(data, 1, len, file), len);
	ck_assert_int_eq(fclose(file), 0);
}

static void write_text(const char *name, const char *text)
{
	write_bytes(name, text, strlen(text));
}

/* A safetensors file: announced length (0: the true one), header, and data bytes 0, 1, 2, ... */
static void write_tensors(const char *name, uint64_t announced, const char *header, size_t data)
{
	size_t len = strlen(header);
	uint64_t n = announced ? announced : len;
	unsigned char *bytes = malloc(8 + len + data);

	ck_assert_ptr_nonnull(bytes);
	for (int i = 0; i < 8; i++)
		bytes[i] = (unsigned char)(n >> 8 * i);
	memcpy(bytes + 8, header, len);
	for (size_t i = 0; i < data; i++)
		bytes[8 + len + i] = (unsigned char)i;
	write_bytes(name, bytes, 8 + len + data);
	free(bytes);
}

static gh_status try_open(gh_error *error)
{
	gh_checkpoint *checkpoint = NULL;
	gh_status status = gh_checkpoint_open(&checkpoint, root, error);

	ck_assert((status == GH_OK) == (checkpoint != NULL));
	gh_checkpoint_close(checkpoint);
	return status;
}

/* dtypes */

START_TEST(dtypes_have_names_and_sizes)
{
	static const struct {
		gh_dtype dtype;
		const char *name;
		size_t size;
	} rows[] = {
		{ GH_F32, "F32", 4 },      { GH_F16, "F16", 2 },      { GH_BF16, "BF16", 2 },
		{ GH_E4M3, "F8_E4M3", 1 }, { GH_E5M2, "F8_E5M2", 1 }, { GH_F64, "F64", 8 },
		{ GH_BOOL, "BOOL", 1 },    { GH_U8, "U8", 1 },        { GH_I8, "I8", 1 },
		{ GH_U16, "U16", 2 },      { GH_I16, "I16", 2 },      { GH_U32, "U32", 4 },
		{ GH_I32, "I32", 4 },      { GH_U64, "U64", 8 },      { GH_I64, "I64", 8 },
	};
	gh_checkpoint *checkpoint;
	char header[256];

	for (size_t i = 0; i < COUNT(rows); i++) {
		ck_assert_str_eq(gh_dtype_name(rows[i].dtype), rows[i].name);
		ck_assert_uint_eq(gh_dtype_size(rows[i].dtype), rows[i].size);
		snprintf(header, sizeof header,
			 "{\"x\":{\"dtype\":\"%s\",\"shape\":[3],\"data_offsets\":[0,%zu]}}",
			 rows[i].name, 3 * rows[i].size);
		write_tensors("model.safetensors", 0, header, 3 * rows[i].size);
		assert_ok(gh_checkpoint_open(&checkpoint, root, error));
		ck_assert_int_eq(gh_checkpoint_at(checkpoint, 0)->dtype, rows[i].dtype);
		gh_checkpoint_close(checkpoint);
	}
	ck_assert_str_eq(gh_dtype_name(GH_DTYPE_NONE), "?");
	ck_assert_str_eq(gh_dtype_name((gh_dtype)16), "?");
	ck_assert_uint_eq(gh_dtype_size((gh_dtype)-1), 0);
	ck_assert_uint_eq(gh_dtype_size((gh_dtype)1000), 0);
}
END_TEST

/* One file */

START_TEST(good_file)
{
	/* Out of order, a scalar, an empty tensor, unknown keys, trailing spaces. */
	static const char header[] =
		"{\"b\":{\"data_offsets\":[4,16],\"shape\":[3,2],\"dtype\":\"BF16\",\"x\":[{}]},"
		"\"__metadata__\":{\"format\":\"pt\"},"
		"\"\\u00e4\\n\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[16,17]},"
		"\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
		"\"e\":{\"dtype\":\"F64\",\"shape\":[5,0],\"data_offsets\":[4,4]}}   ";
	gh_checkpoint *checkpoint;
	const gh_tensor_info *t;
	unsigned char bytes[16];

	write_tensors("model.safetensors", 0, header, 17);
	assert_ok(gh_checkpoint_open(&checkpoint, root, error));
	ck_assert_uint_eq(gh_checkpoint_count(checkpoint), 4);
	ck_assert_str_eq(gh_checkpoint_at(checkpoint, 0)->name, "a");
	ck_assert_str_eq(gh_checkpoint_at(checkpoint, 1)->name, "b");
	ck_assert_str_eq(gh_checkpoint_at(checkpoint, 2)->name, "e");
	ck_assert_str_eq(gh_checkpoint_at(checkpoint, 3)->name, "\xc3\xa4\n");
	ck_assert_ptr_null(gh_checkpoint_at(checkpoint, 4));
	ck_assert_ptr_null(gh_checkpoint_find(checkpoint, "c"));
	ck_assert_ptr_null(gh_checkpoint_find(checkpoint, NULL));

	t = gh_checkpoint_find(checkpoint, "b");
	ck_assert_ptr_eq(t, gh_checkpoint_at(checkpoint, 1));
	ck_assert_str_eq(t->file, "model.safetensors");
	ck_assert_int_eq(t->dtype, GH_BF16);
	ck_assert_int_eq(t->dims, 2);
	ck_assert_int_eq(t->shape[0], 3);
	ck_assert_int_eq(t->shape[1], 2);
	for (int i = 2; i < GH_DIMS_MAX; i++)
		ck_assert_int_eq(t->shape[i], 1);
	ck_assert_uint_eq(t->offset, 8 + strlen(header) + 4);
	ck_assert_uint_eq(t->size, 12);

	assert_ok(gh_checkpoint_read(checkpoint, t, bytes, 5, 7, error));
	for (int i = 0; i < 7; i++)
		ck_assert_uint_eq(bytes[i], 4 + 5 + i);
	assert_ok(gh_checkpoint_read(checkpoint, t, bytes, 12, 0, error));
	assert_fails(GH_EINVAL, "\"b\"", gh_checkpoint_read(checkpoint, t, bytes, 5, 8, error));
	assert_fails(GH_EINVAL, "\"b\"", gh_checkpoint_read(checkpoint, t, bytes, 13, 0, error));
	assert_fails(GH_EINVAL, "\"b\"",
		     gh_checkpoint_read(checkpoint, t, bytes, 1, UINT64_MAX, error));
	assert_fails(GH_EINVAL, "NULL", gh_checkpoint_read(checkpoint, NULL, bytes, 0, 1, error));
	assert_fails(GH_EINVAL, "NULL", gh_checkpoint_read(checkpoint, t, NULL, 0, 1, error));

	t = gh_checkpoint_at(checkpoint, 3);
	ck_assert_int_eq(t->dims, 0);
	ck_assert_uint_eq(t->size, 1);
	t = gh_checkpoint_at(checkpoint, 2);
	ck_assert_int_eq(t->shape[1], 0);
	ck_assert_uint_eq(t->size, 0);
	gh_checkpoint_close(checkpoint);
	gh_checkpoint_close(NULL);
}
END_TEST

START_TEST(empty_header)
{
	gh_checkpoint *checkpoint;

	write_tensors("model.safetensors", 0, "{}", 0);
	assert_ok(gh_checkpoint_open(&checkpoint, root, error));
	ck_assert_uint_eq(gh_checkpoint_count(checkpoint), 0);
	ck_assert_ptr_null(gh_checkpoint_find(checkpoint, "x"));
	gh_checkpoint_close(checkpoint);
}
END_TEST

#define T(name, dtype, shape, begin, end)                                                    \
	"\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":[" begin \
	"," end "]}"

/* Each check violated once. The words must be in the error, beside the file's name. */
static const struct {
	const char *header;
	size_t data;
	const char *words;
} bad_headers[] = {
	{ "{}", 1, "end at byte 10" },
	{ " {}", 0, "begin with '{'" },
	{ "[]", 0, "begin with '{'" },
	{ "{]", 0, "" },
	{ "{} x", 0, "" },
	{ "{}{}", 0, "" },
	{ "{\"a\":\xff}", 0, "" },
	{ "{\"a\":1}", 0, "\"a\"" },
	{ "{\"a\":null}", 0, "\"a\"" },
	{ "{\"a\":[]}", 0, "\"a\"" },
	{ "{\"a\":{}}", 0, "dtype, shape and data_offsets" },
	{ "{\"a\":{\"dtype\":\"U8\",\"shape\":[1]}}", 1, "dtype, shape and data_offsets" },
	{ "{\"a\":{\"dtype\":\"U8\",\"data_offsets\":[0,1]}}", 1, "dtype, shape and" },
	{ "{\"a\":{\"shape\":[1],\"data_offsets\":[0,1]}}", 1, "dtype, shape and" },
	{ "{\"a\":{\"dtype\":\"U8\",\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1,
	  "only once" },
	{ "{" T("a", "F4", "[1]", "0", "1") "}", 1, "\"F4\"" },
	{ "{" T("a", "f32", "[1]", "0", "4") "}", 4, "\"f32\"" },
	{ "{\"a\":{\"dtype\":7,\"shape\":[1],\"data_offsets\":[0,1]}}", 1, "dtype" },
	{ "{" T("a", "U8", "[-1]", "0", "1") "}", 1, "shape" },
	{ "{" T("a", "U8", "[1.0]", "0", "1") "}", 1, "shape" },
	{ "{" T("a", "U8", "[9223372036854775808]", "0", "1") "}", 1, "shape" },
	{ "{" T("a", "U8", "[\"1\"]", "0", "1") "}", 1, "shape" },
	{ "{" T("a", "U8", "1", "0", "1") "}", 1, "shape" },
	{ "{" T("a", "U8", "[1,1,1,1,1,1,1,1,1]", "0", "1") "}", 1, "8 sizes" },
	{ "{" T("a", "U8", "[1]", "0", "1,2") "}", 1, "two data_offsets" },
	{ "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0]}}", 1, "two data_offsets" },
	{ "{" T("a", "U8", "[1]", "-1", "0") "}", 1, "two data_offsets" },
	/* the end before the begin */
	{ "{" T("a", "U8", "[1]", "1", "0") "}", 1, "within" },
	/* the end behind the data */
	{ "{" T("a", "U8", "[2]", "0", "2") "}", 1, "within the 1 bytes" },
	{ "{" T("a", "U8", "[9223372036854775807]", "0", "9223372036854775807") "}", 1, "within" },
	/* bytes and shape differ */
	{ "{" T("a", "F32", "[1]", "0", "1") "}", 1, "needs 4" },
	{ "{" T("a", "U8", "[]", "0", "0") "}", 0, "needs 1" },
	{ "{" T("a", "U8", "[0]", "0", "1") "}", 1, "needs 0" },
	/* the product is 2^64, and 2^64 before a zero */
	{ "{" T("a", "U8", "[4294967296,4294967296]", "0", "0") "}", 0, "64 bits" },
	{ "{" T("a", "F32", "[4611686018427387904]", "0", "0") "}", 0, "64 bits" },
	{ "{" T("a", "U8", "[4294967296,4294967296,0]", "0", "0") "}", 0, "64 bits" },
	/* overlap, hole, nothing at the begin, rest at the end */
	{ "{" T("a", "U8", "[2]", "0", "2") "," T("b", "U8", "[2]", "1", "3") "}", 3, "overlap" },
	{ "{" T("a", "U8", "[2]", "0", "2") "," T("b", "U8", "[2]", "0", "2") "}", 2, "overlap" },
	{ "{" T("a", "U8", "[1]", "0", "1") "," T("b", "U8", "[1]", "2", "3") "}", 3, "hole" },
	{ "{" T("a", "U8", "[1]", "1", "2") "}", 2, "hole" },
	{ "{" T("a", "U8", "[1]", "0", "1") "}", 2, "bytes long" },
	/* an empty tensor in the middle of another */
	{ "{" T("a", "U8", "[2]", "0", "2") "," T("b", "U8", "[0]", "1", "1") "}", 2, "overlap" },
	{ "{" T("a", "U8", "[1]", "0", "1") "," T("a", "U8", "[1]", "1", "2") "}", 2, "twice" },
	{ "{\"a\\u0000b\":{}}", 0, "U+0000" },
	{ "{\"__metadata__\":[]}", 0, "__metadata__" },
	{ "{\"__metadata__\":{\"a\":1}}", 0, "__metadata__" },
	{ "{\"__metadata__\":{},\"__metadata__\":{}}", 0, "__metadata__" },
};

START_TEST(bad_header)
{
	write_tensors("model.safetensors", 0, bad_headers[_i].header, bad_headers[_i].data);
	assert_fails(GH_EFORMAT, "model.safetensors: ", try_open(error));
	assert_fails(GH_EFORMAT, bad_headers[_i].words, try_open(error));
}
END_TEST

START_TEST(every_prefix_of_a_file_is_refused)
{
	static const char header[] = "{" T("a", "U8", "[2]", "0", "2") "}";
	size_t whole = 8 + strlen(header) + 2;

	for (size_t len = 0; len <= whole; len++) {
		gh_status expected = len < whole ? GH_EFORMAT : GH_OK;

		write_tensors("model.safetensors", 0, header, 2);
		ck_assert_int_eq(truncate(at("model.safetensors"), (off_t)len), 0);
		ck_assert_int_eq(try_open(NULL), expected);
	}
}
END_TEST

START_TEST(bad_lengths)
{
	static const uint64_t lengths[] = {
		1, 3, 100, 100000000, 100000001, INT64_MAX, UINT64_MAX - 7, UINT64_MAX,
	};

	for (size_t i = 0; i < COUNT(lengths); i++) {
		write_tensors("model.safetensors", lengths[i], "{}", 0);
		assert_fails(GH_EFORMAT, "model.safetensors", try_open(error));
	}
	/* A file as long as the header claims, but above the limit. */
	write_tensors("model.safetensors", 100000001, "{}", 0);
	ck_assert_int_eq(truncate(at("model.safetensors"), 100000100), 0);
	assert_fails(GH_EFORMAT, "between 2 and 100000000", try_open(error));
}
END_TEST

START_TEST(files_that_change_are_errors)
{
	static const char header[] = "{" T("a", "U8", "[8]", "0", "8") "}";
	gh_checkpoint *checkpoint;
	unsigned char bytes[8];
	const gh_tensor_info *t;

	write_tensors("model.safetensors", 0, header, 8);
	assert_ok(gh_checkpoint_open(&checkpoint, root, error));
	t = gh_checkpoint_at(checkpoint, 0);

	ck_assert_int_eq(truncate(at("model.safetensors"), (off_t)t->offset + 4), 0);
	assert_fails(GH_EIO, "model.safetensors",
		     gh_checkpoint_read(checkpoint, t, bytes, 0, 8, error));
	assert_fails(GH_EIO, "model.safetensors",
		     gh_checkpoint_read(checkpoint, t, bytes, 0, 1, error));
	ck_assert_int_eq(truncate(at("model.safetensors"), (off_t)t->offset + 9), 0);
	assert_fails(GH_EIO, "when it was opened",
		     gh_checkpoint_read(checkpoint, t, bytes, 0, 8, error));
	gh_checkpoint_close(checkpoint);

	/* One that is unlinked stays readable through its descriptor. */
	write_tensors("model.safetensors", 0, header, 8);
	assert_ok(gh_checkpoint_open(&checkpoint, root, error));
	ck_assert_int_eq(unlink(at("model.safetensors")), 0);
	assert_ok(gh_checkpoint_read(checkpoint, gh_checkpoint_at(checkpoint, 0), bytes, 0, 8,
				     error));
	ck_assert_uint_eq(bytes[7], 7);
	gh_checkpoint_close(checkpoint);
}
END_TEST

START_TEST(what_is_no_regular_file)
{
	assert_fails(GH_ENOENT, "neither", try_open(error));
	assert_fails(GH_EINVAL, "NULL", gh_checkpoint_open(NULL, root, error));

	make_folder("model.safetensors");
	assert_fails(GH_EIO, "not a regular file", try_open(error));
	ck_assert_int_eq(rmdir(at("model.safetensors")), 0);
	/* A pipe must not be waited for. */
	ck_assert_int_eq(mkfifo(at("model.safetensors"), 0600), 0);
	assert_fails(GH_EIO, "not a regular file", try_open(error));
	ck_assert_int_eq(unlink(at("model.safetensors")), 0);
	ck_assert_int_eq(symlink("model.safetensors", at("model.safetensors")), 0);
	assert_fails(GH_EIO, "model.safetensors", try_open(error));
	ck_assert_int_eq(unlink(at("model.safetensors")), 0);
	ck_assert_int_eq(symlink("gone", at("model.safetensors")), 0);
	assert_fails(GH_EIO, "link to a missing file", try_open(error));
	/* A dangling index does not fall back to the single file. */
	ck_assert_int_eq(unlink(at("model.safetensors")), 0);
	write_tensors("model.safetensors", 0, "{}", 0);
	ck_assert_int_eq(symlink("gone", at("model.safetensors.index.json")), 0);
	assert_fails(GH_EIO, "index.json", try_open(error));
}
END_TEST

/* Several files */

#define INDEX(map) "{\"metadata\":{\"total_size\":4},\"weight_map\":" map "}"

static void write_index(const char *text)
{
	write_text("model.safetensors.index.json", text);
}

START_TEST(shards)
{
	gh_checkpoint *checkpoint;
	unsigned char byte;

	write_tensors("one.safetensors", 0,
		      "{" T("a", "U8", "[1]", "0", "1") "," T("d", "U8", "[1]", "1", "2") "}", 2);
	make_folder("sub");
	/* a is here too, but the index says where to take it; c is not in the index. */
	write_tensors("sub/two.safetensors", 0,
		      "{" T("a", "U8", "[2]", "0", "2") "," T("b", "U8", "[1]", "2",
							      "3") "," T("c", "U8", "[1]", "3",
									 "4") "}",
		      4);
	/* Not named by the index: not read. */
	write_text("consolidated.safetensors", "garbage");
	write_text("model.safetensors", "garbage");
	write_index(INDEX("{\"a\":\"one.safetensors\",\"b\":\"sub/two.safetensors\","
			  "\"d\":\"one.safetensors\"}"));
	assert_ok(gh_checkpoint_open(&checkpoint, root, error));
	ck_assert_uint_eq(gh_checkpoint_count(checkpoint), 4);
	for (size_t i = 0; i < 4; i++) {
		const gh_tensor_info *t = gh_checkpoint_at(checkpoint, i);

		ck_assert_int_eq(t->name[0], "abcd"[i]);
		ck_assert_str_eq(t->file, i % 3 ? "sub/two.safetensors" : "one.safetensors");
		assert_ok(gh_checkpoint_read(checkpoint, t, &byte, 0, 1, error));
		ck_assert_uint_eq(byte, "\0\2\3\1"[i]);
	}
	gh_checkpoint_close(checkpoint);
}
END_TEST

static const struct {
	const char *index;
	gh_status status;
	const char *words;
} bad_indexes[] = {
	{ "", GH_EFORMAT, "index.json" },
	{ "[]", GH_EFORMAT, "an object" },
	{ "{}", GH_EFORMAT, "weight_map is missing" },
	{ INDEX("{}"), GH_EFORMAT, "weight_map is empty" },
	{ INDEX("[]"), GH_EFORMAT, "weight_map" },
	{ INDEX("null"), GH_EFORMAT, "weight_map" },
	{ INDEX("{\"a\":1}"), GH_EFORMAT, "a file name" },
	{ INDEX("{\"a\":\"one\",\"a\":\"one\"}"), GH_EFORMAT, "twice" },
	{ INDEX("{\"a\":\"one\"}") "x", GH_EFORMAT, "index.json" },
	{ "{\"weight_map\":{\"a\":\"one\"},\"weight_map\":{\"a\":\"one\"}}", GH_EFORMAT,
	  "only one weight_map" },
	{ INDEX("{\"a\":\"o\\u0000ne\"}"), GH_EFORMAT, "U+0000" },
	{ INDEX("{\"a\\u0000\":\"one\"}"), GH_EFORMAT, "U+0000" },
	/* out of the folder */
	{ INDEX("{\"a\":\"../one\"}"), GH_EFORMAT, "leaves its folder" },
	{ INDEX("{\"a\":\"sub/../../one\"}"), GH_EFORMAT, "leaves its folder" },
	{ INDEX("{\"a\":\"/etc/passwd\"}"), GH_EFORMAT, "leaves its folder" },
	{ INDEX("{\"a\":\"\"}"), GH_EFORMAT, "leaves its folder" },
	{ INDEX("{\"a\":\".\"}"), GH_EFORMAT, "leaves its folder" },
	{ INDEX("{\"a\":\"..\"}"), GH_EFORMAT, "leaves its folder" },
	{ INDEX("{\"a\":\"one/\"}"), GH_EFORMAT, "leaves its folder" },
	{ INDEX("{\"a\":\"o\\nne\"}"), GH_EFORMAT, "0x0a" },
	{ INDEX("{\"a\":\"o\\\\ne\"}"), GH_EFORMAT, "0x5c" },
	/* a shard that is missing, that lacks a tensor, that is bad */
	{ INDEX("{\"a\":\"one\",\"b\":\"three\"}"), GH_ENOENT, "three" },
	{ INDEX("{\"a\":\"one\",\"b\":\"one\"}"), GH_EFORMAT, "one: lacks tensor \"b\"" },
	{ INDEX("{\"a\":\"one\",\"c\":\"two\"}"), GH_EFORMAT, "two: lacks tensor \"c\"" },
	{ INDEX("{\"a\":\"one\",\"b\":\"bad\"}"), GH_EFORMAT, "bad: " },
	/* z is in both and the index is silent */
	{ INDEX("{\"a\":\"one\",\"b\":\"two\"}"), GH_EFORMAT, "\"z\" is in " },
};

START_TEST(bad_index)
{
	write_tensors("one", 0,
		      "{" T("a", "U8", "[1]", "0", "1") "," T("z", "U8", "[1]", "1", "2") "}", 2);
	write_tensors("two", 0,
		      "{" T("b", "U8", "[1]", "0", "1") "," T("z", "U8", "[1]", "1", "2") "}", 2);
	write_tensors("bad", 0, "{" T("b", "U8", "[1]", "0", "1") "}", 0);
	write_index(bad_indexes[_i].index);
	assert_fails(bad_indexes[_i].status, bad_indexes[_i].words, try_open(error));
}
END_TEST

START_TEST(index_of_many_files)
{
	gh__buf text = GH__BUF_INIT((size_t)1 << 24);

	gh__buf_append_str(&text, "{\"weight_map\":{");
	for (int i = 0; i < 5000; i++)
		gh__buf_printf(&text, "%s\"t%d\":\"f%d\"", i ? "," : "", i, i);
	gh__buf_append_str(&text, "}}");
	write_index(gh__buf_str(&text));
	gh__buf_free(&text);
	assert_fails(GH_ETOOBIG, "4096 files", try_open(error));
}
END_TEST

/* Out of memory anywhere is an error and leaks nothing (which the sanitizer build sees). */
START_TEST(no_memory)
{
	gh_checkpoint *checkpoint = NULL;
	gh_status status = GH_ENOMEM;

	write_tensors("one", 0, "{" T("a", "U8", "[1]", "0", "1") "}", 1);
	write_index(INDEX("{\"a\":\"one\"}"));
	for (size_t k = 1; status == GH_ENOMEM; k++) {
		gh__alloc_fail_at(k);
		status = gh_checkpoint_open(&checkpoint, root, NULL);
		gh__alloc_fail_at(0);
		ck_assert_uint_lt(k, 1000);
	}
	ck_assert_int_eq(status, GH_OK);
	gh_checkpoint_close(checkpoint);
}
END_TEST

/* The checkpoints of the tree */

START_TEST(tiny_checkpoints)
{
	static const struct {
		const char *name;
		size_t count;
		gh_dtype dtype;
	} rows[] = {
		{ "qwen2", 39, GH_BF16 },      { "qwen2-tied", 26, GH_F16 },
		{ "qwen2-yarn", 27, GH_BF16 }, { "llama3", 30, GH_F32 },
		{ "qwen3", 24, GH_BF16 },
	};
	char folder[512];

	for (size_t i = 0; i < COUNT(rows); i++) {
		gh_checkpoint *checkpoint;
		gh__hf_config config;
		const gh_tensor_info *t;

		snprintf(folder, sizeof folder, "%s/checkpoints/%s", GH_TEST_DATA, rows[i].name);
		assert_ok(gh__hf_config_read(&config, folder, error));
		assert_ok(gh_checkpoint_open(&checkpoint, folder, error));
		ck_assert_uint_eq(gh_checkpoint_count(checkpoint), rows[i].count);
		ck_assert_int_eq(config.torch_dtype, rows[i].dtype);
		t = gh_checkpoint_find(checkpoint, "model.embed_tokens.weight");
		ck_assert_ptr_nonnull(t);
		ck_assert_int_eq(t->dtype, rows[i].dtype);
		ck_assert_int_eq(t->shape[0], config.vocab);
		ck_assert_int_eq(t->shape[1], config.hidden);
		for (size_t j = 0; j < rows[i].count; j++) {
			void *data;

			t = gh_checkpoint_at(checkpoint, j);
			data = malloc(t->size);
			ck_assert_ptr_nonnull(data);
			assert_ok(gh_checkpoint_read(checkpoint, t, data, 0, t->size, error));
			free(data);
		}
		ck_assert(config.tie_word_embeddings ==
			  (gh_checkpoint_find(checkpoint, "lm_head.weight") == NULL));
		gh_checkpoint_close(checkpoint);
		gh__hf_config_done(&config);
	}
}
END_TEST

/* The cache */

#define C1 "1111111111111111111111111111111111111111"
#define C2 "2222222222222222222222222222222222222222"
#define C3 "abcdefabcdefabcdefabcdefabcdefabcdefabcd"

static gh_status try_resolve(const char *model, const char *revision, const char *expected,
			     gh_error *error)
{
	gh_hub_options options = GH_HUB_OPTIONS_INIT;
	char cache[512], *path = NULL;
	gh_status status;

	snprintf(cache, sizeof cache, "%s/hub", root);
	options.cache = cache;
	options.revision = revision;
	status = gh_hub_resolve(&path, model, &options, error);
	ck_assert((status == GH_OK) == (path != NULL));
	if (status == GH_OK)
		ck_assert_str_eq(path, at(expected));
	gh_free(path);
	return status;
}

START_TEST(resolve_by_revision)
{
	make_folder("hub/models--org--name/snapshots/" C1);
	make_folder("hub/models--org--name/snapshots/" C2);
	make_folder("hub/models--org--name/refs/pr");
	write_text("hub/models--org--name/refs/main", C1);
	write_text("hub/models--org--name/refs/v1.0", C2 "\n");
	write_text("hub/models--org--name/refs/pr/1", C1);
	write_text("hub/models--org--name/refs/gone", C3);

	assert_ok(try_resolve("org/name", NULL, "hub/models--org--name/snapshots/" C1, error));
	assert_ok(try_resolve("org/name", "main", "hub/models--org--name/snapshots/" C1, error));
	assert_ok(try_resolve("org/name", "v1.0", "hub/models--org--name/snapshots/" C2, error));
	assert_ok(try_resolve("org/name", "pr/1", "hub/models--org--name/snapshots/" C1, error));
	assert_ok(try_resolve("org/name", C2, "hub/models--org--name/snapshots/" C2, error));

	assert_fails(GH_ENOENT, C1 ", " C2, try_resolve("org/name", "v2", "", error));
	assert_fails(GH_ENOENT, "refs/v2", try_resolve("org/name", "v2", "", error));
	assert_fails(GH_ENOENT, "no snapshot " C3, try_resolve("org/name", C3, "", error));
	assert_fails(GH_ENOENT, C1 ", " C2, try_resolve("org/name", C3, "", error));
	assert_fails(GH_ENOENT, "no snapshot " C3, try_resolve("org/name", "gone", "", error));
	assert_fails(GH_ENOENT, "org/other", try_resolve("org/other", NULL, "", error));
	assert_fails(GH_ENOENT, root, try_resolve("org/other", NULL, "", error));
}
END_TEST

START_TEST(resolve_commit_in_upper_case)
{
	make_folder("hub/models--name/snapshots/" C3);
	assert_ok(try_resolve("name", "ABCDEFABCDEFABCDEFABCDEFABCDEFABCDEFABCD",
			      "hub/models--name/snapshots/" C3, error));
}
END_TEST

static char logged[1024];

static void keep_line(gh_log_level level, const char *component, const char *text, void *userdata)
{
	(void)userdata;
	snprintf(logged, sizeof logged, "%d %s %s", (int)level, component, text);
}

START_TEST(resolve_without_main)
{
	char name[128];

	make_folder("hub/models--org--name");
	assert_fails(GH_ENOENT, "snapshots: none", try_resolve("org/name", NULL, "", error));
	make_folder("hub/models--org--name/snapshots");
	assert_fails(GH_ENOENT, "snapshots: none", try_resolve("org/name", NULL, "", error));

	/* What is no snapshot does not count: a file, a name that is no commit, a dangling link. */
	make_folder("hub/models--org--name/snapshots/" C1);
	make_folder("hub/models--org--name/snapshots/partial");
	write_text("hub/models--org--name/snapshots/" C2, "");
	ck_assert_int_eq(symlink("gone", at("hub/models--org--name/snapshots/" C3)), 0);
	gh_log_set(keep_line, NULL, GH_LOG_INFO);
	assert_ok(try_resolve("org/name", NULL, "hub/models--org--name/snapshots/" C1, error));
	gh_log_set(NULL, NULL, GH_LOG_ERROR);
	ck_assert_msg(strstr(logged, C1) != NULL, "log: \"%s\"", logged);
	assert_ok(try_resolve("org/name", "main", "hub/models--org--name/snapshots/" C1, error));
	/* Only main is guessed. */
	assert_fails(GH_ENOENT, C1, try_resolve("org/name", "v1", "", error));

	ck_assert_int_eq(unlink(at("hub/models--org--name/snapshots/" C2)), 0);
	make_folder("hub/models--org--name/snapshots/" C2);
	assert_fails(GH_ENOENT, "no refs/main", try_resolve("org/name", NULL, "", error));
	assert_fails(GH_ENOENT, C1 ", " C2, try_resolve("org/name", NULL, "", error));

	for (int i = 10; i < 60; i++) {
		snprintf(name, sizeof name, "hub/models--org--name/snapshots/%038d%d", 0, i);
		make_folder(name);
	}
	assert_fails(GH_ENOENT, "and 42 more", try_resolve("org/name", NULL, "", error));
}
END_TEST

START_TEST(resolve_bad_refs)
{
	static const char *const refs[] = { "",      "main",   "../" C1,  C1 "0",
					    C1 "/x", "ref: x", "../../x", "111111111111111111" };

	make_folder("hub/models--org--name/snapshots/" C1);
	make_folder("hub/models--org--name/refs");
	for (size_t i = 0; i < COUNT(refs); i++) {
		write_text("hub/models--org--name/refs/main", refs[i]);
		assert_fails(GH_EFORMAT, "refs/main", try_resolve("org/name", NULL, "", error));
	}
	write_bytes("hub/models--org--name/refs/main", C1 "\0", 41);
	assert_fails(GH_EFORMAT, "refs/main", try_resolve("org/name", NULL, "", error));
	ck_assert_int_eq(truncate(at("hub/models--org--name/refs/main"), 100000), 0);
	assert_fails(GH_ETOOBIG, "refs/main", try_resolve("org/name", NULL, "", error));
	ck_assert_int_eq(unlink(at("hub/models--org--name/refs/main")), 0);

	ck_assert_int_eq(symlink("other", at("hub/models--org--name/refs/main")), 0);
	ck_assert_int_eq(symlink("main", at("hub/models--org--name/refs/other")), 0);
	assert_fails(GH_EIO, "refs/main", try_resolve("org/name", NULL, "", error));
	ck_assert_int_eq(unlink(at("hub/models--org--name/refs/main")), 0);
	make_folder("hub/models--org--name/refs/main");
	assert_fails(GH_EIO, "refs/main", try_resolve("org/name", NULL, "", error));

	/* A snapshot that is a link to itself. */
	ck_assert_int_eq(symlink(C2, at("hub/models--org--name/snapshots/" C2)), 0);
	assert_fails(GH_ENOENT, C2, try_resolve("org/name", C2, "", error));
}
END_TEST

START_TEST(resolve_refuses_what_leaves_the_cache)
{
	static const char *const models[] = { "../hub/models--org--name",
					      "org/../name",
					      "org/name/x",
					      "org//name",
					      "/name",
					      "org/",
					      "..",
					      "org/..",
					      "-org/name",
					      "org--x/name",
					      "org/na me",
					      "org/name\n",
					      "org\\name",
					      "\xc3\xa4/name",
					      "org/.name" };
	static const char *const revisions[] = { "",   "..", "../x", "a/../../b", "/etc", "a//b",
						 "a/", ".",  "a\nb", "..\\x",     "x/./y" };
	char long_name[300];

	make_folder("hub/models--org--name/snapshots/" C1);
	ck_assert_int_eq(chdir(root), 0);
	for (size_t i = 0; i < COUNT(models); i++) {
		gh_status status;

		if (strcmp(models[i], "..") == 0)
			continue; /* a folder, taken as it is */
		status = try_resolve(models[i], NULL, "", NULL);
		ck_assert_msg(status == GH_EINVAL || (status == GH_ENOENT && models[i][0] == '/'),
			      "\"%s\": %s", models[i], gh_status_name(status));
	}
	for (size_t i = 0; i < COUNT(revisions); i++)
		assert_fails(GH_EINVAL, "revision",
			     try_resolve("org/name", revisions[i], "", error));
	memset(long_name, 'a', sizeof long_name - 1);
	long_name[sizeof long_name - 1] = '\0';
	assert_fails(GH_EINVAL, "revision", try_resolve("org/name", long_name, "", error));
	assert_fails(GH_EINVAL, "org/name", try_resolve(long_name, NULL, "", error));
	assert_fails(GH_EINVAL, "empty", try_resolve("", NULL, "", error));
	assert_fails(GH_EINVAL, "NULL", try_resolve(NULL, NULL, "", error));
	assert_fails(GH_EINVAL, "NULL", gh_hub_resolve(NULL, "org/name", NULL, error));
	write_text("file", "");
	assert_fails(GH_EINVAL, "is a file", try_resolve(at("file"), NULL, "", error));
	assert_fails(GH_ENOENT, "no such folder", try_resolve(at("nothing"), NULL, "", error));
}
END_TEST

START_TEST(resolve_a_folder)
{
	make_folder("my model");
	assert_ok(try_resolve(at("my model"), "ignored/../revision", "my model", error));
}
END_TEST

/* Each variable hides those behind it. */
START_TEST(resolve_in_the_environment)
{
	static const struct {
		const char *variable, *value, *cache;
	} rows[] = {
		{ "HOME", "home", "home/.cache/huggingface/hub" },
		{ "XDG_CACHE_HOME", "xdg", "xdg/huggingface/hub" },
		{ "HF_HOME", "hf", "hf/hub" },
		{ "HUGGINGFACE_HUB_CACHE", "old", "old" },
		{ "HF_HUB_CACHE", "new", "new" },
	};
	char folder[512], *path;

	for (size_t i = 0; i < COUNT(rows); i++)
		unsetenv(rows[i].variable);
	for (size_t i = 0; i < COUNT(rows); i++) {
		snprintf(folder, sizeof folder, "%s/models--org--name/snapshots/" C1,
			 rows[i].cache);
		make_folder(folder);
		ck_assert_int_eq(setenv(rows[i].variable, at(rows[i].value), 1), 0);
		assert_ok(gh_hub_resolve(&path, "org/name", NULL, error));
		ck_assert_str_eq(path, at(folder));
		gh_free(path);
	}
	/* Empty is not set; "~" is the home folder. */
	setenv("HF_HUB_CACHE", "", 1);
	setenv("HUGGINGFACE_HUB_CACHE", "~/.cache/huggingface/hub", 1);
	assert_ok(gh_hub_resolve(&path, "org/name", NULL, error));
	ck_assert_str_eq(path, at("home/.cache/huggingface/hub/models--org--name/snapshots/" C1));
	gh_free(path);
}
END_TEST

START_TEST(checkpoint_in_the_cache)
{
	static const char snapshot[] = "hub/models--org--name/snapshots/" C1;
	char name[256];
	gh_checkpoint *checkpoint;

	snprintf(name, sizeof name, "%s/sub", snapshot);
	make_folder(name);
	make_folder("hub/models--org--name/blobs");
	write_tensors("hub/models--org--name/blobs/one", 0, "{" T("a", "U8", "[1]", "0", "1") "}",
		      1);
	write_text("hub/models--org--name/blobs/index", INDEX("{\"a\":\"sub/x.safetensors\"}"));
	snprintf(name, sizeof name, "%s/model.safetensors.index.json", snapshot);
	ck_assert_int_eq(symlink("../../blobs/index", at(name)), 0);
	snprintf(name, sizeof name, "%s/sub/x.safetensors", snapshot);
	ck_assert_int_eq(symlink("../../../blobs/one", at(name)), 0);
	assert_ok(gh_checkpoint_open(&checkpoint, at(snapshot), error));
	ck_assert_str_eq(gh_checkpoint_at(checkpoint, 0)->file, "sub/x.safetensors");
	gh_checkpoint_close(checkpoint);

	ck_assert_int_eq(truncate(at("hub/models--org--name/blobs/one"), 40), 0);
	assert_fails(GH_EFORMAT, "sub/x.safetensors",
		     gh_checkpoint_open(&checkpoint, at(snapshot), error));
	ck_assert_int_eq(unlink(at("hub/models--org--name/blobs/one")), 0);
	assert_fails(GH_EIO, "sub/x.safetensors",
		     gh_checkpoint_open(&checkpoint, at(snapshot), error));
}
END_TEST

/* config.json */

static const char good_config[] =
	"{\"architectures\":[\"Qwen2ForCausalLM\"],\"model_type\":\"qwen2\",\"hidden_size\":3584,"
	"\"intermediate_size\":18944,\"num_hidden_layers\":28,\"num_attention_heads\":28,"
	"\"num_key_value_heads\":4,\"vocab_size\":152064,\"max_position_embeddings\":32768,"
	"\"rms_norm_eps\":1e-06}";

/* good_config with members put before its end; keys given again replace the earlier ones. */
static gh_status try_config(const char *members, gh__hf_config *config, gh_error *error)
{
	char text[2048];

	snprintf(text, sizeof text, "%.*s%s%s}", (int)strlen(good_config) - 1, good_config,
		 *members ? "," : "", members);
	write_text("config.json", text);
	return gh__hf_config_read(config, root, error);
}

START_TEST(config_defaults)
{
	gh__hf_config c;

	assert_ok(try_config("", &c, error));
	ck_assert_str_eq(c.architecture, "Qwen2ForCausalLM");
	ck_assert_str_eq(c.model_type, "qwen2");
	ck_assert_int_eq(c.hidden, 3584);
	ck_assert_int_eq(c.intermediate, 18944);
	ck_assert_int_eq(c.layers, 28);
	ck_assert_int_eq(c.heads, 28);
	ck_assert_int_eq(c.kv_heads, 4);
	ck_assert_int_eq(c.head_dim, 0);
	ck_assert_int_eq(c.vocab, 152064);
	ck_assert_int_eq(c.max_positions, 32768);
	ck_assert_double_eq(c.rms_norm_eps, 1e-6);
	ck_assert_double_eq(c.rope_theta, 10000.0);
	ck_assert_int_eq(c.rope_scaling.kind, GH__ROPE_PLAIN);
	ck_assert(!c.tie_word_embeddings && !c.use_sliding_window);
	ck_assert_int_eq(c.max_window_layers, -1);
	ck_assert_int_eq(c.attention_bias, -1);
	ck_assert_int_eq(c.mlp_bias, -1);
	ck_assert_str_eq(c.hidden_act, "silu");
	ck_assert_int_eq(c.torch_dtype, GH_DTYPE_NONE);
	ck_assert_int_eq(c.bos, -1);
	ck_assert_int_eq(c.eos_count, 0);
	ck_assert_str_eq(c.quant_method, "");
	ck_assert_ptr_null(c.quantization);
	gh__hf_config_done(&c);
}
END_TEST

START_TEST(config_values)
{
	gh__hf_config c;

	assert_ok(try_config("\"head_dim\":64,\"rope_theta\":1000000,\"tie_word_embeddings\":true,"
			     "\"use_sliding_window\":true,\"max_window_layers\":7,"
			     "\"attention_bias\":false,\"mlp_bias\":true,\"hidden_act\":\"gelu\","
			     "\"torch_dtype\":\"bfloat16\",\"bos_token_id\":5,"
			     "\"eos_token_id\":[7,9],\"rope_scaling\":null,"
			     "\"quantization_config\":{\"quant_method\":\"gptq\",\"bits\":4}",
			     &c, error));
	ck_assert_int_eq(c.head_dim, 64);
	ck_assert_double_eq(c.rope_theta, 1e6);
	ck_assert(c.tie_word_embeddings && c.use_sliding_window);
	ck_assert_int_eq(c.max_window_layers, 7);
	ck_assert_int_eq(c.attention_bias, 0);
	ck_assert_int_eq(c.mlp_bias, 1);
	ck_assert_str_eq(c.hidden_act, "gelu");
	ck_assert_int_eq(c.torch_dtype, GH_BF16);
	ck_assert_int_eq(c.bos, 5);
	ck_assert_int_eq(c.eos_count, 2);
	ck_assert_int_eq(c.eos[0], 7);
	ck_assert_int_eq(c.eos[1], 9);
	ck_assert_str_eq(c.quant_method, "gptq");
	ck_assert_int_eq(json_integer_value(json_object_get(c.quantization, "bits")), 4);
	gh__hf_config_done(&c);

	assert_ok(try_config("\"num_key_value_heads\":null,\"dtype\":\"float16\","
			     "\"eos_token_id\":3",
			     &c, error));
	ck_assert_int_eq(c.kv_heads, 28);
	ck_assert_int_eq(c.torch_dtype, GH_F16);
	ck_assert_int_eq(c.eos_count, 1);
	ck_assert_int_eq(c.eos[0], 3);
	gh__hf_config_done(&c);
}
END_TEST

START_TEST(config_rope)
{
	gh__hf_config c;

	assert_ok(try_config("\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8.0,"
			     "\"low_freq_factor\":1.0,\"high_freq_factor\":4.0,"
			     "\"original_max_position_embeddings\":8192}",
			     &c, error));
	ck_assert_int_eq(c.rope_scaling.kind, GH__ROPE_LLAMA3);
	ck_assert_double_eq(c.rope_scaling.factor, 8.0);
	ck_assert_double_eq(c.rope_scaling.low_freq_factor, 1.0);
	ck_assert_double_eq(c.rope_scaling.high_freq_factor, 4.0);
	ck_assert_int_eq(c.rope_scaling.original_max_positions, 8192);
	gh__hf_config_done(&c);

	assert_ok(try_config("\"rope_scaling\":{\"type\":\"yarn\",\"factor\":4}", &c, error));
	ck_assert_int_eq(c.rope_scaling.kind, GH__ROPE_YARN);
	ck_assert_double_eq(c.rope_scaling.beta_fast, 32.0);
	ck_assert_double_eq(c.rope_scaling.beta_slow, 1.0);
	ck_assert_int_eq(c.rope_scaling.original_max_positions, 32768);
	gh__hf_config_done(&c);

	assert_ok(try_config("\"rope_parameters\":{\"rope_type\":\"linear\",\"factor\":2.0,"
			     "\"rope_theta\":5e5}",
			     &c, error));
	ck_assert_int_eq(c.rope_scaling.kind, GH__ROPE_LINEAR);
	ck_assert_double_eq(c.rope_scaling.factor, 2.0);
	ck_assert_double_eq(c.rope_theta, 5e5);
	gh__hf_config_done(&c);

	assert_ok(try_config("\"rope_parameters\":{\"rope_theta\":7}", &c, error));
	ck_assert_int_eq(c.rope_scaling.kind, GH__ROPE_PLAIN);
	ck_assert_double_eq(c.rope_theta, 7.0);
	gh__hf_config_done(&c);
}
END_TEST

/* Members that replace good ones, and the field that the error must name. */
static const struct {
	const char *members, *words;
} bad_configs[] = {
	{ "\"architectures\":null", "architectures" },
	{ "\"architectures\":[]", "architectures" },
	{ "\"architectures\":[1]", "architectures" },
	{ "\"architectures\":\"Qwen2ForCausalLM\"", "architectures" },
	{ "\"architectures\":["
	  "\"AnArchitectureWhoseNameHasFarMoreCharactersThanAnyOtherOneEverHad\"]",
	  "architectures" },
	{ "\"architectures\":[\"a\\u0000b\"]", "architectures" },
	{ "\"model_type\":3", "model_type" },
	{ "\"hidden_size\":null", "hidden_size" },
	{ "\"hidden_size\":0", "hidden_size" },
	{ "\"hidden_size\":-3584", "hidden_size" },
	{ "\"hidden_size\":65537", "hidden_size" },
	{ "\"hidden_size\":3584.0", "hidden_size" },
	{ "\"hidden_size\":\"3584\"", "hidden_size" },
	{ "\"hidden_size\":3585", "hidden_size" },
	{ "\"intermediate_size\":null", "intermediate_size" },
	{ "\"intermediate_size\":1000000000", "intermediate_size" },
	{ "\"num_hidden_layers\":null", "num_hidden_layers" },
	{ "\"num_hidden_layers\":1025", "num_hidden_layers" },
	{ "\"num_attention_heads\":null", "num_attention_heads" },
	{ "\"num_attention_heads\":0", "num_attention_heads" },
	{ "\"num_key_value_heads\":0", "num_key_value_heads" },
	{ "\"num_key_value_heads\":5", "num_key_value_heads" },
	{ "\"num_key_value_heads\":56", "num_key_value_heads" },
	{ "\"head_dim\":0", "head_dim" },
	{ "\"head_dim\":1025", "head_dim" },
	{ "\"vocab_size\":null", "vocab_size" },
	{ "\"vocab_size\":16777217", "vocab_size" },
	{ "\"max_position_embeddings\":null", "max_position_embeddings" },
	{ "\"max_position_embeddings\":99999999999", "max_position_embeddings" },
	{ "\"rms_norm_eps\":null", "rms_norm_eps" },
	{ "\"rms_norm_eps\":0", "rms_norm_eps" },
	{ "\"rms_norm_eps\":-1e-6", "rms_norm_eps" },
	{ "\"rope_theta\":0", "rope_theta" },
	{ "\"rope_theta\":1e300", "rope_theta" },
	{ "\"rope_theta\":\"10000\"", "rope_theta" },
	{ "\"rope_scaling\":[]", "rope_scaling" },
	{ "\"rope_scaling\":{\"factor\":2.0}", "rope_scaling.rope_type" },
	{ "\"rope_scaling\":{\"type\":\"dynamic\",\"factor\":2.0}", "\"dynamic\"" },
	{ "\"rope_scaling\":{\"type\":\"yarn\"}", "rope_scaling.factor" },
	{ "\"rope_scaling\":{\"type\":\"yarn\",\"factor\":0.5}", "rope_scaling.factor" },
	{ "\"rope_scaling\":{\"type\":\"yarn\",\"factor\":4,\"mscale\":0.7}", "mscale" },
	{ "\"rope_scaling\":{\"type\":\"yarn\",\"factor\":4,\"beta_fast\":1}", "beta_fast" },
	{ "\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8.0,\"low_freq_factor\":4.0,"
	  "\"high_freq_factor\":4.0,\"original_max_position_embeddings\":8192}",
	  "high_freq_factor" },
	{ "\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8.0}",
	  "original_max_position_embeddings" },
	{ "\"tie_word_embeddings\":1", "tie_word_embeddings" },
	{ "\"use_sliding_window\":\"no\"", "use_sliding_window" },
	{ "\"max_window_layers\":-1", "max_window_layers" },
	{ "\"attention_bias\":0", "attention_bias" },
	{ "\"mlp_bias\":0", "mlp_bias" },
	{ "\"hidden_act\":\"an activation of more than thirty characters\"", "hidden_act" },
	{ "\"torch_dtype\":\"int3\"", "torch_dtype" },
	{ "\"dtype\":16", "dtype" },
	{ "\"bos_token_id\":-2", "bos_token_id" },
	{ "\"eos_token_id\":-1", "eos_token_id" },
	{ "\"eos_token_id\":true", "eos_token_id" },
	{ "\"eos_token_id\":[1,\"2\"]", "eos_token_id" },
	{ "\"eos_token_id\":[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17]", "eos_token_id" },
	{ "\"quantization_config\":\"fp8\"", "quantization_config" },
	{ "\"quantization_config\":{\"bits\":4}", "quantization_config.quant_method" },
	{ "\"quantization_config\":{\"quant_method\":8}", "quantization_config.quant_method" },
};

START_TEST(bad_config)
{
	gh__hf_config c;

	assert_fails(GH_EFORMAT, "config.json", try_config(bad_configs[_i].members, &c, error));
	assert_fails(GH_EFORMAT, bad_configs[_i].words,
		     try_config(bad_configs[_i].members, &c, error));
}
END_TEST

START_TEST(config_file)
{
	gh__hf_config c;
	char *deep = malloc(1000001);

	ck_assert_ptr_nonnull(deep);
	assert_fails(GH_ENOENT, "config.json", gh__hf_config_read(&c, root, error));
	write_text("config.json", "");
	assert_fails(GH_EFORMAT, "config.json", gh__hf_config_read(&c, root, error));
	write_text("config.json", "[]");
	assert_fails(GH_EFORMAT, "config.json", gh__hf_config_read(&c, root, error));
	write_text("config.json", "{\"hidden_size\": \"\xff\"}");
	assert_fails(GH_EFORMAT, "config.json", gh__hf_config_read(&c, root, error));
	memset(deep, '[', 1000000);
	deep[1000000] = '\0';
	write_text("config.json", deep);
	free(deep);
	assert_fails(GH_ETOOBIG, "config.json", gh__hf_config_read(&c, root, error));
	write_text("config.json", "");
	ck_assert_int_eq(truncate(at("config.json"), (off_t)1 << 40), 0);
	assert_fails(GH_ETOOBIG, "config.json", gh__hf_config_read(&c, root, error));
	/* An architecture we do not know and whose sizes have other names is named. */
	write_text("config.json", "{\"architectures\":[\"GPT2LMHeadModel\"],\"n_embd\":768}");
	assert_fails(GH_EFORMAT, "GPT2LMHeadModel", gh__hf_config_read(&c, root, error));
}
END_TEST

/* generation_config.json */

START_TEST(generation_config)
{
	gh__generation_config g;

	assert_ok(gh__generation_config_read(&g, root, error));
	ck_assert(!g.present);
	write_text("generation_config.json", "{}");
	assert_ok(gh__generation_config_read(&g, root, error));
	ck_assert(g.present && !g.has_temperature && !g.has_top_p && !g.has_top_k && !g.has_min_p &&
		  !g.has_repetition_penalty && !g.has_max_new_tokens);
	ck_assert_int_eq(g.eos_count, 0);
	write_text("generation_config.json",
		   "{\"bos_token_id\":151643,\"pad_token_id\":151643,\"do_sample\":true,"
		   "\"eos_token_id\":[151645,151643],\"repetition_penalty\":1.05,"
		   "\"temperature\":0.7,\"top_p\":0.8,\"top_k\":20,\"min_p\":0,"
		   "\"max_new_tokens\":2048,\"transformers_version\":\"4.37.0\"}");
	assert_ok(gh__generation_config_read(&g, root, error));
	ck_assert(g.has_temperature && g.has_top_p && g.has_top_k && g.has_min_p &&
		  g.has_repetition_penalty && g.has_max_new_tokens);
	ck_assert_double_eq(g.temperature, 0.7);
	ck_assert_double_eq(g.top_p, 0.8);
	ck_assert_double_eq(g.min_p, 0.0);
	ck_assert_double_eq(g.repetition_penalty, 1.05);
	ck_assert_int_eq(g.top_k, 20);
	ck_assert_int_eq(g.max_new_tokens, 2048);
	ck_assert_int_eq(g.eos_count, 2);
	ck_assert_int_eq(g.eos[0], 151645);
	ck_assert_int_eq(g.eos[1], 151643);
}
END_TEST

START_TEST(bad_generation_config)
{
	static const char *const rows[][2] = {
		{ "\"temperature\":-0.1", "temperature" },
		{ "\"temperature\":\"hot\"", "temperature" },
		{ "\"top_p\":0", "top_p" },
		{ "\"top_p\":1.01", "top_p" },
		{ "\"top_k\":-2", "top_k" },
		{ "\"top_k\":20.5", "top_k" },
		{ "\"min_p\":2", "min_p" },
		{ "\"repetition_penalty\":0", "repetition_penalty" },
		{ "\"max_new_tokens\":0", "max_new_tokens" },
		{ "\"eos_token_id\":{}", "eos_token_id" },
		{ "\"eos_token_id\":99999999", "eos_token_id" },
	};
	gh__generation_config g;
	char text[256];

	for (size_t i = 0; i < COUNT(rows); i++) {
		snprintf(text, sizeof text, "{%s}", rows[i][0]);
		write_text("generation_config.json", text);
		assert_fails(GH_EFORMAT, rows[i][1], gh__generation_config_read(&g, root, error));
	}
	write_text("generation_config.json", "{");
	assert_fails(GH_EFORMAT, "generation_config.json",
		     gh__generation_config_read(&g, root, error));
	ck_assert_int_eq(unlink(at("generation_config.json")), 0);
	ck_assert_int_eq(symlink("gone", at("generation_config.json")), 0);
	assert_fails(GH_EIO, "generation_config.json", gh__generation_config_read(&g, root, error));
}
END_TEST

/* The configurations that the network's models really have. */
START_TEST(golden_configs)
{
	gh__generation_config g;
	gh__hf_config c;

	if (*GH_TEST_GOLDEN == '\0')
		return;
	assert_ok(gh__hf_config_read(&c, GH_TEST_GOLDEN "/qwen2.5", error));
	ck_assert_int_eq(c.hidden, 3584);
	ck_assert_int_eq(c.vocab, 152064);
	ck_assert_double_eq(c.rope_theta, 1e6);
	ck_assert_int_eq(c.torch_dtype, GH_BF16);
	ck_assert_int_eq(c.eos[0], 151645);
	gh__hf_config_done(&c);
	assert_ok(gh__generation_config_read(&g, GH_TEST_GOLDEN "/qwen2.5", error));
	ck_assert_double_eq(g.repetition_penalty, 1.05);
	assert_ok(gh__hf_config_read(&c, GH_TEST_GOLDEN "/qwen2.5/qwq-32b", error));
	ck_assert_int_eq(c.hidden, 5120);
	ck_assert_int_eq(c.layers, 64);
	ck_assert_double_eq(c.rms_norm_eps, 1e-5);
	gh__hf_config_done(&c);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("hub");
	TCase *files = tcase_create("safetensors"), *cache = tcase_create("cache"),
	      *config = tcase_create("config");

	tcase_add_checked_fixture(files, make_root, remove_root);
	tcase_add_test(files, dtypes_have_names_and_sizes);
	tcase_add_test(files, good_file);
	tcase_add_test(files, empty_header);
	tcase_add_loop_test(files, bad_header, 0, (int)COUNT(bad_headers));
	tcase_add_test(files, every_prefix_of_a_file_is_refused);
	tcase_add_test(files, bad_lengths);
	tcase_add_test(files, files_that_change_are_errors);
	tcase_add_test(files, what_is_no_regular_file);
	tcase_add_test(files, shards);
	tcase_add_loop_test(files, bad_index, 0, (int)COUNT(bad_indexes));
	tcase_add_test(files, index_of_many_files);
	tcase_add_test(files, no_memory);
	tcase_add_test(files, tiny_checkpoints);
	suite_add_tcase(suite, files);

	tcase_add_checked_fixture(cache, make_root, remove_root);
	tcase_add_test(cache, resolve_by_revision);
	tcase_add_test(cache, resolve_commit_in_upper_case);
	tcase_add_test(cache, resolve_without_main);
	tcase_add_test(cache, resolve_bad_refs);
	tcase_add_test(cache, resolve_refuses_what_leaves_the_cache);
	tcase_add_test(cache, resolve_a_folder);
	tcase_add_test(cache, resolve_in_the_environment);
	tcase_add_test(cache, checkpoint_in_the_cache);
	suite_add_tcase(suite, cache);

	tcase_add_checked_fixture(config, make_root, remove_root);
	tcase_add_test(config, config_defaults);
	tcase_add_test(config, config_values);
	tcase_add_test(config, config_rope);
	tcase_add_loop_test(config, bad_config, 0, (int)COUNT(bad_configs));
	tcase_add_test(config, config_file);
	tcase_add_test(config, generation_config);
	tcase_add_test(config, bad_generation_config);
	tcase_add_test(config, golden_configs);
	suite_add_tcase(suite, config);
	return unit_main(suite);
}
