#include "unit.h"

#include <string.h>

#include <gonkahost/text.h>

#include "tokenizer_file.h"

/* tokenizer_config.json */

static const struct {
	const char *config;
	int eos;
} ends[] = {
	{ "{}", -1 },
	{ "{\"eos_token\": null}", -1 },
	{ "{\"eos_token\": \"</s>\"}", 301 },
	{ "{\"eos_token\": {\"content\": \"</s>\", \"lstrip\": false}}", 301 },
	{ "{\"eos_token\": \"nowhere\"}", -1 },
	{ "{\"eos_token\": \"<new>\", \"added_tokens_decoder\": {\"302\": {\"content\": \"<new>\", "
	  "\"special\": true}}}",
	  302 },
};

START_TEST(end_token)
{
	gh_tokenizer *tokenizer =
		load((tokenizer_file){ .added_tokens = BOS_TOKENS, .config = ends[_i].config });

	ck_assert_int_eq(gh_tokenizer_eos(tokenizer), ends[_i].eos);
	gh_tokenizer_free(tokenizer);
}
END_TEST

/* What tokenizer_config.json says of a token goes before what tokenizer.json says. */
START_TEST(config_flags)
{
	gh_tokenizer *tokenizer = load((tokenizer_file){
		.added_tokens = BOS_TOKENS,
		.config = "{\"added_tokens_decoder\": {\"300\": {\"content\": \"<s>\", "
			  "\"rstrip\": true, \"special\": false, \"normalized\": false}}}" });
	int32_t id = 300;
	char *text;
	size_t len;

	ck_assert_str_eq(encode(tokenizer, "<s>  x"), "300 120");
	assert_ok(
		gh_tokenizer_decode(tokenizer, &id, 1, GH_DECODE_SKIP_SPECIAL, &text, &len, error));
	ck_assert_str_eq(text, "<s>");
	gh_free(text);
	gh_tokenizer_free(tokenizer);
}
END_TEST

/* Files that are refused */

#define SEQUENCE_DEEP \
	"{\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"Sequence\", \"normalizers\": ["
#define DIGITS "{\"type\": \"Digits\"},"

static const struct {
	tokenizer_file file;
	gh_status status;
	const char *words;
} refused[] = {
	/* kinds */
	{ { .model = "\"type\": \"Unigram\"" }, GH_ENOTSUP, "model: type: \"Unigram\"" },
	{ { .model = "\"dropout\": 0.1" }, GH_ENOTSUP, "dropout: 0.1" },
	{ { .model = "\"unk_token\": \"<unk>\"" }, GH_ENOTSUP, "unk_token: \"<unk>\"" },
	{ { .model = "\"byte_fallback\": true" }, GH_ENOTSUP, "byte_fallback: true" },
	{ { .model = "\"continuing_subword_prefix\": \"##\"" }, GH_ENOTSUP, "\"##\"" },
	{ { .model = "\"end_of_word_suffix\": \"</w>\"" }, GH_ENOTSUP, "\"</w>\"" },
	{ { .normalizer = "{\"type\": \"NFKC\"}" }, GH_ENOTSUP, "normalizer: type: \"NFKC\"" },
	{ { .normalizer = "{\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"NFC\"}, "
			  "{\"type\": \"Lowercase\"}]}" },
	  GH_ENOTSUP,
	  "normalizers[1].type: \"Lowercase\"" },
	{ { .pre_tokenizer = "{\"type\": \"Metaspace\"}" },
	  GH_ENOTSUP,
	  "pre_tokenizer: type: \"Metaspace\"" },
	{ { .pre_tokenizer = "null" }, GH_ENOTSUP, "ByteLevel" },
	{ { .pre_tokenizer = "{\"type\": \"Digits\"}" }, GH_ENOTSUP, "ByteLevel" },
	{ { .pre_tokenizer = "{\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": "
			     "\"ByteLevel\"}, {\"type\": \"Digits\"}]}" },
	  GH_ENOTSUP,
	  "pretokenizers[1].type: \"Digits\" behind ByteLevel" },
	{ { .pre_tokenizer = "{\"type\": \"Split\", \"pattern\": {\"Regex\": \"(\"}, "
			     "\"behavior\": \"Isolated\"}" },
	  GH_ENOTSUP,
	  "pattern.Regex: \"(\" at character 1" },
	{ { .pre_tokenizer = "{\"type\": \"Split\", \"pattern\": {\"String\": \"\"}, "
			     "\"behavior\": \"Isolated\"}" },
	  GH_ENOTSUP,
	  "pattern.String" },
	{ { .pre_tokenizer = "{\"type\": \"Split\", \"pattern\": {\"String\": \"a\"}, "
			     "\"behavior\": \"Sideways\"}" },
	  GH_ENOTSUP,
	  "behavior: \"Sideways\"" },
	{ { .pre_tokenizer = "{\"type\": \"Sequence\", \"pretokenizers\": [" DIGITS DIGITS DIGITS
		    DIGITS DIGITS DIGITS DIGITS DIGITS DIGITS DIGITS DIGITS DIGITS DIGITS DIGITS
			    DIGITS DIGITS "{\"type\": \"Digits\"}]}" },
	  GH_ENOTSUP,
	  "more than 16 splits" },
	{ { .decoder = "{\"type\": \"Metaspace\"}" }, GH_ENOTSUP, "decoder: type: \"Metaspace\"" },
	{ { .decoder = "null" }, GH_ENOTSUP, "decoder: null" },
	{ { .decoder = "{\"type\": \"Sequence\", \"decoders\": [{\"type\": \"ByteFallback\"}]}" },
	  GH_ENOTSUP,
	  "decoders[0].type: \"ByteFallback\"" },
	{ { .post_processor = "{\"type\": \"BertProcessing\"}" },
	  GH_ENOTSUP,
	  "\"BertProcessing\"" },
	{ { .post_processor = TEMPLATE(TOKEN("bos"), "") }, GH_EFORMAT, "bos" },
	{ { .added_tokens = BOS_TOKENS, .post_processor = TEMPLATE(TOKEN("bos"), BOS) },
	  GH_ENOTSUP,
	  "0 texts" },
	{ { .post_processor = TEMPLATE(THE_TEXT "," THE_TEXT, "") }, GH_ENOTSUP, "2 texts" },
	{ { .post_processor = TEMPLATE(TOKEN("bos") "," THE_TEXT, BOS) }, GH_EFORMAT, "bos.ids" },
	/* types */
	{ { .normalizer = "3" }, GH_EFORMAT, "normalizer" },
	{ { .normalizer = "{}" }, GH_EFORMAT, "type" },
	{ { .pre_tokenizer = "{\"type\": 5}" }, GH_EFORMAT, "pre_tokenizer: type" },
	{ { .pre_tokenizer = "{\"type\": \"Sequence\", \"pretokenizers\": 1}" },
	  GH_EFORMAT,
	  "pretokenizers" },
	{ { .pre_tokenizer = "{\"type\": \"Sequence\", \"pretokenizers\": [null]}" },
	  GH_EFORMAT,
	  "pretokenizers[0]" },
	{ { .pre_tokenizer = "{\"type\": \"ByteLevel\", \"use_regex\": \"yes\"}" },
	  GH_EFORMAT,
	  "use_regex" },
	{ { .pre_tokenizer = "{\"type\": \"Split\", \"behavior\": \"Isolated\"}" },
	  GH_EFORMAT,
	  "pattern" },
	{ { .model = "\"ignore_merges\": 1" }, GH_EFORMAT, "ignore_merges" },
	{ { .model = "\"type\": 7" }, GH_EFORMAT, "type" },
	{ { .added_tokens = "5" }, GH_EFORMAT, "added_tokens[0]" },
	{ { .added_tokens = "{\"content\": \"a\"}" }, GH_EFORMAT, "id" },
	{ { .added_tokens = "{\"id\": 300}" }, GH_EFORMAT, "content" },
	{ { .added_tokens = ADDED(300, "a", ", \"special\": 1") }, GH_EFORMAT, "special" },
	{ { .config = "[]" }, GH_EFORMAT, "tokenizer_config.json" },
	{ { .config = "{" }, GH_EFORMAT, "tokenizer_config.json" },
	{ { .config = "{\"eos_token\": 5}" }, GH_EFORMAT, "eos_token" },
	{ { .config = "{\"added_tokens_decoder\": {\"x\": {\"content\": \"a\"}}}" },
	  GH_EFORMAT,
	  "added_tokens_decoder.x" },
	/* ids */
	{ { .tokens = "\"he\": 5" }, GH_EFORMAT, "\"he\"" },
	{ { .tokens = "\"a\": 300" }, GH_EFORMAT, "\"a\" is there twice" },
	{ { .tokens = "\"he\": -1" }, GH_EFORMAT, "the id -1" },
	{ { .tokens = "\"he\": 4194304" }, GH_EFORMAT, "the id 4194304" },
	{ { .tokens = "\"he\": 1e300" }, GH_EFORMAT, "integer" },
	{ { .tokens = "\"he\": 1.5" }, GH_EFORMAT, "integer" },
	{ { .tokens = "\"he\": \"256\"" }, GH_EFORMAT, "integer" },
	{ { .tokens = "\"he\": 99999999999999999999" }, GH_EFORMAT, "integer" },
	{ { .added_tokens = ADDED(5, "<a>", SPECIAL) }, GH_EFORMAT, "the id 5" },
	{ { .added_tokens = ADDED(98, "a", SPECIAL) }, GH_EFORMAT, "id 98 here and 97" },
	{ { .added_tokens = ADDED(300, "<a>", "") "," ADDED(300, "<b>", "") },
	  GH_EFORMAT,
	  "added_tokens[1]" },
	{ { .added_tokens = ADDED(4194304, "<a>", "") }, GH_EFORMAT, "added_tokens[0]" },
	{ { .config = "{\"added_tokens_decoder\": {\"97\": {\"content\": \"b\"}}}" },
	  GH_EFORMAT,
	  "added_tokens_decoder.97" },
	/* merges */
	{ { .merges = "\"a b\"" }, GH_EFORMAT, "model.merges[0]: \"ab\" is not" },
	{ { .tokens = "\"ab\": 256", .merges = "\"a b\", \"ab zz\"" },
	  GH_EFORMAT,
	  "model.merges[1]: \"zz\" is not" },
	{ { .merges = "\"ab\"" }, GH_EFORMAT, "two texts" },
	{ { .merges = "\"a b c\"" }, GH_EFORMAT, "two texts" },
	{ { .merges = "[\"a\"]" }, GH_EFORMAT, "two texts" },
	{ { .tokens = "\"ab\": 256", .merges = "[\"a\", \"b\", \"c\"]" }, GH_EFORMAT, "two texts" },
	{ { .merges = "[1, 2]" }, GH_EFORMAT, "two texts" },
	{ { .merges = "{}" }, GH_EFORMAT, "model.merges" },
	{ { .merges = "\"a b\", ", .merges_first = true }, GH_EFORMAT, "tokenizer.json" },
	{ { .merges = "\"x yy\"", .merges_first = true }, GH_EFORMAT, "model.merges[0]" },
	{ { .merges = "], \"merges\": [" }, GH_EFORMAT, "twice" },
};

START_TEST(refused_file)
{
	gh_tokenizer *tokenizer = NULL;

	assert_fails(refused[_i].status, refused[_i].words,
		     load_file(&tokenizer, &refused[_i].file, error));
	ck_assert_ptr_null(tokenizer);
	/* The file is named too, and no error object is needed. */
	assert_fails(refused[_i].status, "tokenizer",
		     load_file(&tokenizer, &refused[_i].file, error));
	ck_assert_int_eq(load_file(&tokenizer, &refused[_i].file, NULL), refused[_i].status);
}
END_TEST

static const struct {
	const char *json, *words;
} broken[] = {
	{ "", "tokenizer.json" },
	{ "[]", "an object" },
	{ "{}", "model is missing" },
	{ "{\"model\": null}", "model" },
	{ "{\"model\": {}}", "model.vocab is missing" },
	{ "{\"model\": {\"vocab\": {}}}", "model.merges is missing" },
	{ "{\"model\": {\"vocab\": []}}", "model.vocab" },
	{ "{\"model\": {\"vocab\": {}, \"merges\": []}", "tokenizer.json" },
	{ "{\"model\": {\"vocab\": {}, \"merges\": []}} x", "tokenizer.json" },
	{ "{\"model\": {\"vocab\": {\"\\ud800\": 1}}}", "tokenizer.json" },
	{ "{\"model\": {\"vocab\": {\"\xff\": 1}}}", "tokenizer.json" },
	{ "{\"model\": {}, \"model\": {}}", "twice" },
	{ "{\"normalizer\": null, \"normalizer\": null}", "twice" },
};

START_TEST(broken_file)
{
	gh_tokenizer *tokenizer = NULL;

	write_text("tokenizer.json", broken[_i].json);
	assert_fails(GH_EFORMAT, broken[_i].words, gh_tokenizer_load(&tokenizer, root, error));
	ck_assert_ptr_null(tokenizer);
}
END_TEST

START_TEST(absurd_sizes)
{
	gh_tokenizer *tokenizer = NULL;
	gh__buf json = GH__BUF_INIT(16 << 20);

	/* a text that is too long */
	gh__buf_append_str(&json, "{\"model\": {\"vocab\": {\"");
	for (int i = 0; i < 70000; i++)
		gh__buf_append_char(&json, 'a');
	gh__buf_append_str(&json, "\": 1}}}");
	write_bytes("tokenizer.json", json.data, json.len);
	assert_fails(GH_ETOOBIG, "65536", gh_tokenizer_load(&tokenizer, root, error));

	/* a small part with more values than any has */
	gh__buf_reset(&json);
	gh__buf_append_str(&json, "{\"added_tokens\": [");
	for (int i = 0; i < 1100000; i++)
		gh__buf_append_str(&json, "[],");
	gh__buf_append_str(&json, "[]]}");
	write_bytes("tokenizer.json", json.data, json.len);
	assert_fails(GH_ETOOBIG, "added_tokens", gh_tokenizer_load(&tokenizer, root, error));

	/* sequences in sequences */
	gh__buf_reset(&json);
	for (int i = 0; i < 5; i++)
		gh__buf_append_str(&json, SEQUENCE_DEEP);
	gh__buf_append_str(&json, "{\"type\": \"NFC\"}");
	for (int i = 0; i < 5; i++)
		gh__buf_append_str(&json, "]}]}");
	tokenizer_file file = { .normalizer = json.data };
	assert_fails(GH_ENOTSUP, "nested", load_file(&tokenizer, &file, error));
	gh__buf_free(&json);
}
END_TEST

START_TEST(no_files)
{
	gh_tokenizer *tokenizer;

	assert_fails(GH_ENOENT, "tokenizer.json", gh_tokenizer_load(&tokenizer, root, error));
	write_text("vocab.json", "{\"a\": 0}");
	assert_fails(GH_ENOENT, "merges.txt", gh_tokenizer_load(&tokenizer, root, error));
}
END_TEST

/* vocab.json and merges.txt */

static void write_vocab(const char *merges_text, const char *config)
{
	gh__buf json = GH__BUF_INIT(1 << 16);
	tokenizer_file file = { .tokens = SOME_TOKENS };

	append_vocab(&json, &file);
	write_text("vocab.json", strchr(json.data, '{'));
	write_text("merges.txt", merges_text);
	write_text("tokenizer_config.json", config);
	gh__buf_free(&json);
}

START_TEST(vocab_and_merges)
{
	static const char *const texts[] = {
		"h e\nl o\nhe l\na a\naa aa\n",
		"#version: 0.2\nh e\nl o\nhe l\na a\naa aa",
		"#version: 0.2\r\nh e\r\nl o\r\nhe l\r\na a\r\naa aa\r\n",
	};
	gh_tokenizer *tokenizer = NULL;

	write_vocab(texts[_i],
		    "{\"tokenizer_class\": \"Qwen2Tokenizer\", \"added_tokens_decoder\": "
		    "{\"300\": {\"content\": \"<e>\", \"special\": true}}}");
	assert_ok(gh_tokenizer_load(&tokenizer, root, error));
	ck_assert_str_eq(encode(tokenizer, "hello<e>"), "257 258 300");
	ck_assert_str_eq(encode(tokenizer, "11"), "49 49");
	ck_assert_str_eq(encode(tokenizer, "e\xcc\x81"), "195 169");
	gh_tokenizer_free(tokenizer);

	/* GPT-2's way: no NFC, and named tokens are special. */
	write_vocab(texts[_i], "{\"eos_token\": \"hello\"}");
	assert_ok(gh_tokenizer_load(&tokenizer, root, error));
	ck_assert_str_eq(encode(tokenizer, "hello a"), "259 32 97");
	ck_assert_str_eq(encode(tokenizer, "e\xcc\x81"), "101 204 129");
	ck_assert_int_eq(gh_tokenizer_eos(tokenizer), 259);
	gh_tokenizer_free(tokenizer);
}
END_TEST

START_TEST(vocab_and_merges_refused)
{
	gh_tokenizer *tokenizer;

	write_vocab("h e\nl  o\n", "{}");
	assert_fails(GH_EFORMAT, "merges.txt: line 2", gh_tokenizer_load(&tokenizer, root, error));
	write_vocab("h e\nhe zz\n", "{}");
	assert_fails(GH_EFORMAT, "\"zz\"", gh_tokenizer_load(&tokenizer, root, error));
	write_vocab("h e\n", "{\"tokenizer_class\": \"LlamaTokenizer\"}");
	assert_fails(GH_ENOTSUP, "tokenizer_class: \"LlamaTokenizer\"",
		     gh_tokenizer_load(&tokenizer, root, error));
	write_text("vocab.json", "[1]");
	assert_fails(GH_EFORMAT, "vocab.json", gh_tokenizer_load(&tokenizer, root, error));
	write_text("vocab.json", "{} {}");
	assert_fails(GH_EFORMAT, "vocab.json", gh_tokenizer_load(&tokenizer, root, error));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("tokenizer_files");
	TCase *tests = tcase_create("tokenizer_files");

	tcase_add_checked_fixture(tests, make_root, remove_root);
	tcase_add_loop_test(tests, end_token, 0, (int)COUNT(ends));
	tcase_add_test(tests, config_flags);
	tcase_add_loop_test(tests, refused_file, 0, (int)COUNT(refused));
	tcase_add_loop_test(tests, broken_file, 0, (int)COUNT(broken));
	tcase_add_test(tests, absurd_sizes);
	tcase_add_test(tests, no_files);
	tcase_add_loop_test(tests, vocab_and_merges, 0, 3);
	tcase_add_test(tests, vocab_and_merges_refused);
	suite_add_tcase(suite, tests);
	return unit_main(suite);
}
