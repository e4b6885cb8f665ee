#include "unit.h"

#include <sys/stat.h>
#include <unistd.h>

#include <gonkahost/hub.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "hub/config.h"
#include "tensors.h"

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

int main(void)
{
	Suite *suite = suite_create("safetensors");
	TCase *tests = tcase_create("safetensors");

	tcase_add_checked_fixture(tests, make_root, remove_root);
	tcase_add_test(tests, dtypes_have_names_and_sizes);
	tcase_add_test(tests, good_file);
	tcase_add_test(tests, empty_header);
	tcase_add_loop_test(tests, bad_header, 0, (int)COUNT(bad_headers));
	tcase_add_test(tests, every_prefix_of_a_file_is_refused);
	tcase_add_test(tests, bad_lengths);
	tcase_add_test(tests, files_that_change_are_errors);
	tcase_add_test(tests, what_is_no_regular_file);
	tcase_add_test(tests, shards);
	tcase_add_loop_test(tests, bad_index, 0, (int)COUNT(bad_indexes));
	tcase_add_test(tests, index_of_many_files);
	tcase_add_test(tests, no_memory);
	tcase_add_test(tests, tiny_checkpoints);
	suite_add_tcase(suite, tests);
	return unit_main(suite);
}
