/*
 * Texts and ids of published tokenizers: both golden folders, chats, the same model from vocab.json
 * and merges.txt, and the vectors in tests/data that the reference library made.
 */
#include "../unit/unit.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <gonkahost/hub.h>
#include <gonkahost/text.h>

#include "../unit/folder.h"
#include "base/buf.h"
#include "base/utf8.h"
#include "text/unicode.h"

#define SKIPPED 77
#define FOLDER  GH_TEST_GOLDEN "/qwen2.5"

static gh_tokenizer *qwen2, *qwq;
static json_t *vectors, *chats, *made;

static json_t *read_json(const char *path)
{
	json_error_t why;
	json_t *value = json_load_file(path, JSON_ALLOW_NUL, &why);

	ck_assert_msg(value != NULL, "%s: %s", path, why.text);
	return value;
}

static gh_tokenizer *load(const char *folder)
{
	gh_tokenizer *tokenizer = NULL;

	assert_ok(gh_tokenizer_load(&tokenizer, folder, error));
	return tokenizer;
}

static void setup(void)
{
	vectors = read_json(FOLDER "/tokenizer_vectors.json");
	chats = read_json(FOLDER "/chat_vectors.json");
	made = read_json(GH_TEST_DATA "/tokenizer_vectors.json");
	qwen2 = load(FOLDER);
	qwq = load(FOLDER "/qwq-32b");
}

static void teardown(void)
{
	json_decref(vectors);
	json_decref(chats);
	json_decref(made);
	gh_tokenizer_free(qwen2);
	gh_tokenizer_free(qwq);
}

static void check_ids(const gh_tokenizer *tokenizer, const json_t *text, const json_t *expected,
		      uint32_t flags)
{
	const char *bytes = json_string_value(text);
	int32_t *ids;
	size_t count;

	ck_assert(json_is_string(text) && json_is_array(expected));
	assert_ok(gh_tokenizer_encode(tokenizer, bytes, json_string_length(text), flags, &ids,
				      &count, error));
	ck_assert_msg(count == json_array_size(expected), "\"%s\": %zu ids, not %zu", bytes, count,
		      json_array_size(expected));
	for (size_t i = 0; i < count; i++)
		ck_assert_msg(ids[i] == json_integer_value(json_array_get(expected, i)),
			      "\"%s\": id %zu is %d, not %lld", bytes, i, ids[i],
			      (long long)json_integer_value(json_array_get(expected, i)));
	gh_free(ids);
}

/* Decoding gives back the text in NFC, and so does streaming. */
static void check_round_trip(const gh_tokenizer *tokenizer, const json_t *text)
{
	gh__buf normal = GH__BUF_INIT(1 << 20), streamed = GH__BUF_INIT(1 << 20);
	gh_detokenizer *detokenizer;
	int32_t *ids;
	size_t count, len;
	char *decoded;

	assert_ok(gh__nfc(json_string_value(text), json_string_length(text), &normal, error));
	assert_ok(gh_tokenizer_encode(tokenizer, json_string_value(text), json_string_length(text),
				      0, &ids, &count, error));
	assert_ok(gh_tokenizer_decode(tokenizer, ids, count, 0, &decoded, &len, error));
	ck_assert_uint_eq(len, normal.len);
	ck_assert_mem_eq(decoded, gh__buf_str(&normal), len);
	assert_ok(gh_detokenizer_create(&detokenizer, tokenizer, 0, error));
	for (size_t i = 0; i < count; i++) {
		const char *piece;

		assert_ok(gh_detokenizer_push(detokenizer, ids[i], &piece, &len, error));
		ck_assert(gh__utf8_valid(piece, len));
		gh__buf_append(&streamed, piece, len);
	}
	ck_assert_uint_eq(streamed.len, normal.len);
	ck_assert_mem_eq(gh__buf_str(&streamed), gh__buf_str(&normal), normal.len);
	gh_detokenizer_free(detokenizer);
	gh_free(decoded);
	gh_free(ids);
	gh__buf_free(&normal);
	gh__buf_free(&streamed);
}

START_TEST(published)
{
	const json_t *list = json_object_get(vectors, "published");

	ck_assert_uint_ge(json_array_size(list), 43);
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *row = json_array_get(list, i), *text = json_object_get(row, "text");

		check_ids(qwen2, text, json_object_get(row, "ids"), 0);
		check_ids(qwq, text, json_object_get(row, "ids"), 0);
		check_round_trip(qwen2, text);
		check_round_trip(qwq, text);
	}
}
END_TEST

START_TEST(derived)
{
	const json_t *list = json_object_get(vectors, "derived");

	ck_assert_uint_ge(json_array_size(list), 18);
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *row = json_array_get(list, i), *text = json_object_get(row, "text");

		/* add_special_tokens makes no difference for these models */
		check_ids(qwen2, text, json_object_get(row, "ids_qwen2_5"), GH_ENCODE_SPECIAL);
		check_ids(qwq, text, json_object_get(row, "ids_qwq"), GH_ENCODE_SPECIAL);
		check_round_trip(qwen2, text);
		check_round_trip(qwq, text);
	}
}
END_TEST

START_TEST(chat_texts)
{
	ck_assert_uint_gt(json_array_size(chats), 0);
	for (size_t i = 0; i < json_array_size(chats); i++) {
		const json_t *row = json_array_get(chats, i), *text = json_object_get(row, "text");
		const char *model = json_string_value(json_object_get(row, "model"));
		const gh_tokenizer *tokenizer = strstr(model, "qwq") ? qwq : qwen2;

		check_ids(tokenizer, text, json_object_get(row, "ids"), 0);
		check_round_trip(tokenizer, text);
	}
}
END_TEST

START_TEST(tables)
{
	ck_assert_int_eq(gh_tokenizer_size(qwen2), 151665);
	ck_assert_int_eq(gh_tokenizer_size(qwq), 151669);
	ck_assert_int_eq(gh_tokenizer_eos(qwen2), 151645);
	ck_assert_int_eq(gh_tokenizer_eos(qwq), 151645);
	ck_assert_int_eq(gh_tokenizer_id(qwen2, "<think>"), -1);
	ck_assert_int_eq(gh_tokenizer_id(qwq, "</think>"), 151668);
	ck_assert_int_eq(gh_tokenizer_id(qwen2, "\xc4\xa0world"), 1879);
	for (int32_t id = 0; id < 151665; id++)
		ck_assert_int_eq(gh_tokenizer_id(qwen2, gh_tokenizer_token(qwen2, id)), id);
}
END_TEST

/* Random ids, also of no token: the deltas are valid UTF-8, and together the whole text without
 * the marks at its end. */
START_TEST(random_ids)
{
	gh__buf streamed = GH__BUF_INIT(1 << 20);
	uint32_t state = 4711;

	for (int round = 0; round < 2000; round++) {
		const gh_tokenizer *tokenizer = round & 1 ? qwq : qwen2;
		uint32_t flags = round & 2 ? GH_DECODE_SKIP_SPECIAL : 0;
		gh_detokenizer *detokenizer;
		int32_t ids[64];
		size_t len;
		char *whole;

		gh__buf_reset(&streamed);
		assert_ok(gh_detokenizer_create(&detokenizer, tokenizer, flags, error));
		for (size_t i = 0; i < 64; i++) {
			const char *piece;

			state = state * 1664525u + 1013904223u;
			/* every other one a single byte, so that many are invalid */
			ids[i] = (int32_t)((state >> 8) % (i & 1 ? 256 : 152064));
			assert_ok(gh_detokenizer_push(detokenizer, ids[i], &piece, &len, error));
			ck_assert(gh__utf8_valid(piece, len));
			gh__buf_append(&streamed, piece, len);
		}
		gh_detokenizer_free(detokenizer);
		assert_ok(gh_tokenizer_decode(tokenizer, ids, 64, flags, &whole, &len, error));
		ck_assert(gh__utf8_valid(whole, len));
		ck_assert_uint_ge(len, streamed.len);
		ck_assert_mem_eq(whole, gh__buf_str(&streamed), streamed.len);
		for (size_t at = streamed.len; at < len; at += 3)
			ck_assert_mem_eq(whole + at, "\xef\xbf\xbd", 3);
		gh_free(whole);
	}
	gh__buf_free(&streamed);
}
END_TEST

START_TEST(vocab_and_merges)
{
	static const char *const names[] = { "vocab.json", "merges.txt", "tokenizer_config.json" };
	gh_tokenizer *tokenizer;

	make_root();
	for (size_t i = 0; i < 3; i++) {
		char target[1024];

		snprintf(target, sizeof target, "%s/%s", FOLDER, names[i]);
		ck_assert_int_eq(symlink(target, at(names[i])), 0);
	}
	tokenizer = load(root);
	ck_assert_int_eq(gh_tokenizer_size(tokenizer), gh_tokenizer_size(qwen2));
	ck_assert_int_eq(gh_tokenizer_eos(tokenizer), gh_tokenizer_eos(qwen2));
	for (int32_t id = 0; id < gh_tokenizer_size(qwen2); id++)
		ck_assert_str_eq(gh_tokenizer_token(tokenizer, id), gh_tokenizer_token(qwen2, id));
	for (size_t i = 0; i < json_array_size(json_object_get(made, "texts")); i++)
		check_ids(tokenizer, json_array_get(json_object_get(made, "texts"), i),
			  json_array_get(json_object_get(made, "qwen2"), i), 0);
	gh_tokenizer_free(tokenizer);
	remove_root();
}
END_TEST

static void check_made(const gh_tokenizer *tokenizer, const char *name, uint32_t flags)
{
	const json_t *texts = json_object_get(made, "texts");
	const json_t *ids = json_object_get(made, name);

	ck_assert_uint_gt(json_array_size(texts), 100);
	ck_assert_uint_eq(json_array_size(texts), json_array_size(ids));
	for (size_t i = 0; i < json_array_size(texts); i++)
		check_ids(tokenizer, json_array_get(texts, i), json_array_get(ids, i), flags);
}

START_TEST(made_by_reference)
{
	check_made(qwen2, "qwen2", GH_ENCODE_SPECIAL);
	check_made(qwq, "qwq", GH_ENCODE_SPECIAL);
}
END_TEST

/* The file of the 7B model with changes: what it is for is in the names of the vectors. */
static gh_tokenizer *load_changed(json_t *file)
{
	gh_tokenizer *tokenizer;

	make_root();
	ck_assert_int_eq(json_dump_file(file, at("tokenizer.json"), JSON_COMPACT), 0);
	tokenizer = load(root);
	remove_root();
	return tokenizer;
}

/* Like Llama-3: its pattern, ignore_merges with entries that merges do not reach (every seventh
 * merge is gone), tokens before and behind. */
START_TEST(like_llama3)
{
	static const char pattern[] =
		"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}"
		"| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
	static const char processor[] =
		"{\"type\": \"TemplateProcessing\", \"single\": ["
		"{\"SpecialToken\": {\"id\": \"<|endoftext|>\", \"type_id\": 0}}, "
		"{\"Sequence\": {\"id\": \"A\", \"type_id\": 0}}, "
		"{\"SpecialToken\": {\"id\": \"<|im_end|>\", \"type_id\": 0}}], \"pair\": [], "
		"\"special_tokens\": {\"<|endoftext|>\": {\"id\": \"<|endoftext|>\", "
		"\"ids\": [151643], \"tokens\": [\"<|endoftext|>\"]}, \"<|im_end|>\": {\"id\": "
		"\"<|im_end|>\", \"ids\": [151645], \"tokens\": [\"<|im_end|>\"]}}}";
	json_t *file = read_json(FOLDER "/tokenizer.json");
	json_t *model = json_object_get(file, "model"), *kept = json_array();
	json_t *merges = json_object_get(model, "merges");
	json_t *steps = json_object_get(json_object_get(file, "pre_tokenizer"), "pretokenizers");
	gh_tokenizer *tokenizer;

	for (size_t i = 0; i < json_array_size(merges); i++)
		if (i % 7)
			json_array_append(kept, json_array_get(merges, i));
	json_object_set_new(model, "merges", kept);
	json_object_set_new(model, "ignore_merges", json_true());
	json_object_set_new(json_object_get(json_array_get(steps, 0), "pattern"), "Regex",
			    json_string(pattern));
	json_object_set_new(file, "normalizer", json_null());
	json_object_set_new(file, "post_processor", json_loads(processor, 0, NULL));
	tokenizer = load_changed(file);
	check_made(tokenizer, "llama3", GH_ENCODE_SPECIAL);
	gh_tokenizer_free(tokenizer);
	json_decref(file);
}
END_TEST

/* Like GPT-2: ByteLevel alone, with a space put in front. */
START_TEST(like_gpt2)
{
	json_t *file = read_json(FOLDER "/tokenizer.json");
	gh_tokenizer *tokenizer;

	json_object_set_new(file, "normalizer", json_null());
	json_object_set_new(file, "pre_tokenizer",
			    json_loads("{\"type\": \"ByteLevel\", \"add_prefix_space\": true, "
				       "\"trim_offsets\": true, \"use_regex\": true}",
				       0, NULL));
	tokenizer = load_changed(file);
	check_made(tokenizer, "gpt2", 0);
	gh_tokenizer_free(tokenizer);
	json_decref(file);
}
END_TEST

/* The small real model, on machines that have it: digits apart, and bytes without a token. */
START_TEST(smollm2)
{
	gh_tokenizer *tokenizer;
	char *folder;

	if (gh_hub_resolve(&folder, "HuggingFaceTB/SmolLM2-135M-Instruct", NULL, NULL) != GH_OK)
		return;
	tokenizer = load(folder);
	check_made(tokenizer, "smollm2", GH_ENCODE_SPECIAL);
	ck_assert_str_eq(gh_tokenizer_token(tokenizer, gh_tokenizer_eos(tokenizer)), "<|im_end|>");
	gh_tokenizer_free(tokenizer);
	gh_free(folder);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("tokenizer_vectors");
	TCase *tests = tcase_create("tokenizer_vectors");

	if (!*GH_TEST_GOLDEN)
		return SKIPPED;
	tcase_add_unchecked_fixture(tests, setup, teardown);
	tcase_add_test(tests, published);
	tcase_add_test(tests, derived);
	tcase_add_test(tests, chat_texts);
	tcase_add_test(tests, tables);
	tcase_add_test(tests, random_ids);
	tcase_add_test(tests, vocab_and_merges);
	tcase_add_test(tests, made_by_reference);
	tcase_add_test(tests, like_llama3);
	tcase_add_test(tests, like_gpt2);
	tcase_add_test(tests, smollm2);
	suite_add_tcase(suite, tests);
	return unit_main(suite);
}
