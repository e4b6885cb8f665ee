#include "unit.h"

#include <pthread.h>
#include <string.h>

#include <gonkahost/text.h>

#include "base/alloc.h"
#include "text/tokenizer.h"
#include "tokenizer_file.h"

/* Encoding */

START_TEST(merges)
{
	static const tokenizer_file files[] = {
		{ .tokens = SOME_TOKENS, .merges = SOME_MERGES },
		{ .tokens = SOME_TOKENS, .merges = SOME_PAIRS },
		{ .tokens = SOME_TOKENS, .merges = SOME_MERGES, .merges_first = true },
		{ .tokens = SOME_TOKENS, .merges = SOME_PAIRS, .merges_first = true },
		{ .tokens = SOME_TOKENS, .merges = SOME_MERGES, .model = "\"type\": \"BPE\"" },
	};
	gh_tokenizer *tokenizer = load(files[_i]);

	ck_assert_str_eq(encode(tokenizer, ""), "");
	ck_assert_str_eq(encode(tokenizer, "he"), "256");
	ck_assert_str_eq(encode(tokenizer, "hello"), "257 258"); /* l o before he l */
	ck_assert_str_eq(encode(tokenizer, "hel"), "257");
	ck_assert_str_eq(encode(tokenizer, "helo"), "256 258");
	ck_assert_str_eq(encode(tokenizer, "aaa"), "260 97"); /* the leftmost first */
	ck_assert_str_eq(encode(tokenizer, "aaaaa"), "261 97");
	ck_assert_str_eq(encode(tokenizer, "aaaaaaa"), "261 260 97");
	ck_assert_str_eq(encode(tokenizer, "\xc3\xa9"), "195 169");
	ck_assert_str_eq(encode_n(tokenizer, "a\0he", 4, 0), "97 0 256");
	gh_tokenizer_free(tokenizer);
}
END_TEST

START_TEST(ignore_merges)
{
	gh_tokenizer *tokenizer = load((tokenizer_file){
		.tokens = SOME_TOKENS, .merges = SOME_MERGES, .model = "\"ignore_merges\": true" });

	ck_assert_str_eq(encode(tokenizer, "hello"), "259");
	ck_assert_str_eq(encode(tokenizer, "hellohello"), "257 258 257 258");
	gh_tokenizer_free(tokenizer);

	/* An added token is no entry of the model, though a piece may spell it. */
	tokenizer = load((tokenizer_file){
		.tokens = SOME_TOKENS,
		.merges = SOME_MERGES,
		.model = "\"ignore_merges\": true",
		.added_tokens = "{\"id\": 300, \"content\": \"ab\", \"single_word\": true, "
				"\"special\": false, \"normalized\": false}" });
	ck_assert_str_eq(encode(tokenizer, "ab"), "300");
	ck_assert_str_eq(encode(tokenizer, "abc"), "97 98 99");
	gh_tokenizer_free(tokenizer);
}
END_TEST

/* Bytes without a token vanish, and what stood around them may join. */
START_TEST(missing_bytes)
{
	gh_tokenizer *tokenizer = load((tokenizer_file){
		.tokens = SOME_TOKENS, .merges = SOME_MERGES, .left_out = "x\xc3" });

	ck_assert_str_eq(encode(tokenizer, "hxe"), "256");
	ck_assert_str_eq(encode(tokenizer, "xx"), "");
	ck_assert_str_eq(encode(tokenizer, "a\xc3\xa9"), "97 169");
	gh_tokenizer_free(tokenizer);
}
END_TEST

/* A million times one character, in n log n: with a quadratic loop this takes minutes. */
START_TEST(long_run)
{
	gh_tokenizer *tokenizer =
		load((tokenizer_file){ .tokens = SOME_TOKENS, .merges = SOME_MERGES });
	size_t len = (1u << 20) + 3, count;
	char *text = malloc(len);
	int32_t *ids;

	ck_assert_ptr_nonnull(text);
	memset(text, 'a', len);
	assert_ok(gh_tokenizer_encode(tokenizer, text, len, 0, &ids, &count, error));
	ck_assert_uint_eq(count, (1u << 18) + 2);
	for (size_t i = 0; i < 1u << 18; i++)
		ck_assert_int_eq(ids[i], 261);
	ck_assert_int_eq(ids[count - 2], 260);
	ck_assert_int_eq(ids[count - 1], 97);
	gh_free(ids);
	/* And without a heap of a million pairs: only the first of them can be the next. */
	gh__bpe bpe;
	gh__bpe_init(&bpe, &tokenizer->model);
	assert_ok(gh__bpe_encode(&bpe, text, len, error));
	ck_assert_uint_eq(bpe.count, count);
	ck_assert_uint_lt(bpe.heap_capacity, 1000);
	gh__bpe_done(&bpe);
	free(text);
	gh_tokenizer_free(tokenizer);
}
END_TEST

/* Long pieces and short ones go different ways to the same ids. */
START_TEST(long_like_short)
{
	gh_tokenizer *tokenizer =
		load((tokenizer_file){ .tokens = SOME_TOKENS, .merges = SOME_MERGES });
	static const char letters[] = "heloax";
	uint32_t state = 7;

	for (int round = 0; round < 2000; round++) {
		char text[120];
		int32_t *ids, *parts;
		size_t count, part_count, at = 0;

		/* No merge crosses a '-', so the parts around it encode alone. */
		for (size_t i = 0; i < sizeof text; i++) {
			state = state * 1664525u + 1013904223u;
			text[i] = letters[(state >> 16) % (sizeof letters - 1)];
			if (i % 40 == 39)
				text[i] = '-';
		}
		assert_ok(
			gh_tokenizer_encode(tokenizer, text, sizeof text, 0, &ids, &count, error));
		for (size_t i = 0; i < sizeof text; i += 40) {
			assert_ok(gh_tokenizer_encode(tokenizer, text + i, 40, 0, &parts,
						      &part_count, error));
			ck_assert_uint_le(at + part_count, count);
			ck_assert_mem_eq(ids + at, parts, part_count * sizeof *ids);
			at += part_count;
			gh_free(parts);
		}
		ck_assert_uint_eq(at, count);
		gh_free(ids);
	}
	gh_tokenizer_free(tokenizer);
}
END_TEST

/* Every text of two to five letters a and b is a token, joined of all its halves, in a random
 * order: also of such as come later than what is made of them. */
enum { LETTERS_MAX = 5, PAIRS = 4 + 16 + 48 + 128, NAME = 8 };

typedef struct pairs {
	char left[PAIRS][NAME], right[PAIRS][NAME]; /* by rank */
	uint32_t state;
} pairs;

static uint32_t draw(pairs *p, uint32_t below)
{
	p->state = p->state * 1664525u + 1013904223u;
	return (p->state >> 8) % below;
}

static void spell(char *out, unsigned bits, size_t len)
{
	for (size_t i = 0; i < len; i++)
		out[i] = bits >> i & 1 ? 'b' : 'a';
	out[len] = '\0';
}

static gh_tokenizer *load_pairs(pairs *p)
{
	gh__buf tokens = GH__BUF_INIT(1 << 16), rules = GH__BUF_INIT(1 << 16);
	size_t count = 0;
	int id = 256;
	char text[NAME];

	for (size_t len = 2; len <= LETTERS_MAX; len++) {
		for (unsigned bits = 0; bits < 1u << len; bits++) {
			spell(text, bits, len);
			gh__buf_printf(&tokens, "%s\"%s\": %d", id > 256 ? ", " : "", text, id);
			id++;
			for (size_t cut = 1; cut < len; cut++, count++) {
				uint32_t other = draw(p, (uint32_t)count + 1);

				memcpy(p->left[count], p->left[other], NAME);
				memcpy(p->right[count], p->right[other], NAME);
				snprintf(p->left[other], NAME, "%.*s", (int)cut, text);
				snprintf(p->right[other], NAME, "%s", text + cut);
			}
		}
	}
	ck_assert_uint_eq(count, PAIRS);
	for (size_t i = 0; i < count; i++)
		gh__buf_printf(&rules, "%s\"%s %s\"", i ? ", " : "", p->left[i], p->right[i]);
	gh_tokenizer *tokenizer = load(
		(tokenizer_file){ .tokens = gh__buf_str(&tokens), .merges = gh__buf_str(&rules) });
	gh__buf_free(&tokens);
	gh__buf_free(&rules);
	return tokenizer;
}

/* As the definition says: the lowest rank, the leftmost of equals, until there is none. */
static size_t join_plainly(const pairs *p, char (*symbols)[NAME], size_t count)
{
	for (size_t rank = 0; rank < PAIRS;) {
		size_t at = 0;

		while (at + 1 < count && (strcmp(symbols[at], p->left[rank]) != 0 ||
					  strcmp(symbols[at + 1], p->right[rank]) != 0))
			at++;
		if (at + 1 >= count) {
			rank++;
			continue;
		}
		memcpy(symbols[at] + strlen(symbols[at]), p->right[rank],
		       strlen(p->right[rank]) + 1);
		memmove(symbols[at + 1], symbols[at + 2], (count - at - 2) * NAME);
		count--;
		rank = 0;
	}
	return count;
}

START_TEST(any_order)
{
	enum { LONGEST = 200 };
	pairs p = { .state = (uint32_t)_i };
	gh_tokenizer *tokenizer = load_pairs(&p);

	for (int round = 0; round < 60; round++) {
		char text[LONGEST + 1], symbols[LONGEST][NAME];
		size_t len = 1 + draw(&p, LONGEST), count;
		uint32_t odds = 1 + draw(&p, 12);
		int32_t *ids;

		for (size_t i = 0; i < len; i++) {
			spell(text + i, draw(&p, odds + 1) == 0, 1);
			memcpy(symbols[i], text + i, 2);
		}
		assert_ok(gh_tokenizer_encode(tokenizer, text, len, 0, &ids, &count, error));
		ck_assert_uint_eq(join_plainly(&p, symbols, len), count);
		for (size_t i = 0; i < count; i++)
			ck_assert_str_eq(gh_tokenizer_token(tokenizer, ids[i]), symbols[i]);
		gh_free(ids);
	}
	gh_tokenizer_free(tokenizer);
}
END_TEST

static const struct {
	const char *tokens, *text, *ids;
} added[] = {
	{ ADDED(300, "<a>", SPECIAL), "x<a>y", "120 300 121" },
	{ ADDED(300, "<a>", SPECIAL), "<a><a>", "300 300" },
	{ ADDED(300, "<a>", SPECIAL) "," ADDED(301, "<a>b", ", \"normalized\": false"), "<a>b<a>",
	  "301 300" },
	{ ADDED(300, "ab", SPECIAL) "," ADDED(301, "bcd", SPECIAL), "abcd", "300 99 100" },
	{ ADDED(300, "<a>", SPECIAL ", \"lstrip\": true"), "x \t<a> y", "120 300 32 121" },
	{ ADDED(300, "<a>", SPECIAL ", \"rstrip\": true"), "x <a>\xc2\xa0\ny", "120 32 300 121" },
	{ ADDED(300, "<a>", SPECIAL ", \"rstrip\": true, \"lstrip\": true"), "<a> <a> ",
	  "300 300" },
	{ ADDED(300, "ab", ", \"single_word\": true"), "ab abc xab ab.",
	  "300 32 97 98 99 32 120 97 98 32 300 46" },
	{ ADDED(300, "ab", ", \"single_word\": true"),
	  "\xc3\xa9"
	  "ab ab\xcc\x81",
	  "195 169 97 98 32 97 98 204 129" },
	/* a space that went to the match before is no match of its own */
	{ ADDED(300, "<a>", SPECIAL ", \"rstrip\": true") "," ADDED(301, " ", ", \"lstrip\": true"),
	  "<a>  b", "300 98" },
	/* of the vocabulary */
	{ ADDED(97, "a", SPECIAL), "xaa", "120 97 97" },
	/* nothing to look for */
	{ ADDED(300, "", SPECIAL), "x", "120" },
	/* a NUL */
	{ ADDED(300, "\\u0000b", SPECIAL), "x", "120" },
};

START_TEST(added_tokens)
{
	gh_tokenizer *tokenizer = load((tokenizer_file){ .added_tokens = added[_i].tokens });

	ck_assert_str_eq(encode(tokenizer, added[_i].text), added[_i].ids);
	gh_tokenizer_free(tokenizer);
}
END_TEST

/* NFC leaves added tokens alone, except those that are looked for behind it. */
START_TEST(normalizer)
{
	gh_tokenizer *tokenizer = load((tokenizer_file){
		.normalizer = "{\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"NFC\"}]}",
		.added_tokens =
			ADDED(300, "e\xcc\x81",
			      SPECIAL
			      ", \"normalized\": false") "," ADDED(301, "o\xcc\x81",
								   ", \"normalized\": true") });

	ck_assert_str_eq(encode(tokenizer, "a\xcc\x81"), "195 161");
	ck_assert_str_eq(encode(tokenizer, "e\xcc\x81"), "300");
	ck_assert_str_eq(encode(tokenizer, "\xc3\xa9"), "195 169");
	ck_assert_str_eq(encode(tokenizer, "o\xcc\x81\xc3\xb3"), "301 301");
	gh_tokenizer_free(tokenizer);

	tokenizer = load((tokenizer_file){ .normalizer = "null" });
	ck_assert_str_eq(encode(tokenizer, "a\xcc\x81"), "97 204 129");
	gh_tokenizer_free(tokenizer);
}
END_TEST

/* What is said of a text without encoding it. */
#define NFC "{\"type\": \"NFC\"}"
#define SPLIT(pattern, behavior, invert)                                                          \
	"{\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": \"Split\", \"pattern\": "        \
	"{\"Regex\": \"" pattern "\"}, \"behavior\": \"" behavior "\", \"invert\": " invert "}, " \
	"{\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"use_regex\": false}]}"
#define QWEN2                                                                            \
	"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|\\\\p{N}|" \
	" ?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+"

static const struct {
	tokenizer_file file;
	const char *text;
	size_t at_least;
} bounds[] = {
	{ { .tokens = SOME_TOKENS, .merges = SOME_MERGES }, "", 0 },
	{ { .tokens = SOME_TOKENS, .merges = SOME_MERGES }, "hello", 1 },
	{ { .tokens = SOME_TOKENS, .merges = SOME_MERGES }, "hellohello!", 3 },
	{ { .tokens = SOME_TOKENS, .merges = SOME_MERGES }, "\xff", 0 },
	{ { .added_tokens = BOS_TOKENS }, "12345678", 2 },
	{ { .added_tokens = BOS_TOKENS, .normalizer = NFC }, "12345678", 2 },
	{ { .added_tokens = BOS_TOKENS, .normalizer = NFC }, "1234567890e\xcc\x81 56", 1 },
	{ { .added_tokens = ADDED(300, "\xcc\x81\xcc\x81", ""), .normalizer = NFC }, "12345", 2 },
	{ { .added_tokens = ADDED(300, "<s>", ", \"lstrip\": true") }, "    <s>", 0 },
	{ { .added_tokens = ADDED(300, "<s>", ", \"rstrip\": true" SPECIAL) }, "<s>    ", 0 },
	{ { .left_out = "x" }, "xxxx", 0 },
	{ { .pre_tokenizer = SPLIT("x", "Removed", "false") }, "xxxx", 0 },
	{ { .pre_tokenizer = SPLIT("x", "Removed", "true") }, "yyyy", 0 },
	{ { .pre_tokenizer = SPLIT("x", "Isolated", "true") }, "yyyy", 4 },
	{ { .pre_tokenizer = SPLIT(QWEN2, "Removed", "true") }, "yy  ", 4 },
};

START_TEST(at_least)
{
	gh_tokenizer *tokenizer = load(bounds[_i].file);
	const char *text = bounds[_i].text;
	int32_t *ids;
	size_t count;

	ck_assert_uint_eq(gh__tokenizer_at_least(tokenizer, text, strlen(text)),
			  bounds[_i].at_least);
	if (gh_tokenizer_encode(tokenizer, text, strlen(text), 0, &ids, &count, NULL) == GH_OK) {
		ck_assert_uint_le(bounds[_i].at_least, count);
		gh_free(ids);
	}
	gh_tokenizer_free(tokenizer);
}
END_TEST

/* The text that NFC shrinks the most, where each character of the result is a token. */
START_TEST(at_least_nfc)
{
	gh_tokenizer *tokenizer = load((tokenizer_file){ .tokens = "\"\xc3\x8e\xc4\xb2\": 256",
							 .merges = "\"\xc3\x8e \xc4\xb2\"",
							 .normalizer = NFC });
	static const char character[] = "\xe1\xbe\xbe\xcc\x88\xcc\x81";
	char text[701];

	for (size_t i = 0; i < 100; i++)
		memcpy(text + 7 * i, character, 8);
	ck_assert_uint_eq(gh__tokenizer_at_least(tokenizer, text, 700), 88);
	int32_t *ids;
	size_t count;
	assert_ok(gh_tokenizer_encode(tokenizer, text, 700, 0, &ids, &count, error));
	ck_assert_uint_eq(count, 100);
	gh_free(ids);
	gh_tokenizer_free(tokenizer);
}
END_TEST

static const struct {
	const char *processor, *ids;
} processors[] = {
	{ "null", "120" },
	{ "{\"type\": \"ByteLevel\", \"trim_offsets\": false}", "120" },
	{ TEMPLATE(TOKEN("bos") "," THE_TEXT, BOS), "300 120" },
	{ TEMPLATE(TOKEN("bos") "," THE_TEXT "," TOKEN("eos"), BOS "," EOS), "300 120 301 300" },
	{ "{\"type\": \"Sequence\", \"processors\": [{\"type\": \"ByteLevel\"}," TEMPLATE(
		  TOKEN("bos") "," THE_TEXT, BOS) "]}",
	  "300 120" },
	/* the later wraps the earlier */
	{ "{\"type\": \"Sequence\", \"processors\": [" TEMPLATE(
		  TOKEN("bos") "," THE_TEXT "," TOKEN("bos"),
		  BOS) "," TEMPLATE(TOKEN("eos") "," THE_TEXT "," TOKEN("eos"), EOS) "]}",
	  "301 300 300 120 300 301 300" },
};

START_TEST(post_processor)
{
	gh_tokenizer *tokenizer = load((tokenizer_file){
		.added_tokens = BOS_TOKENS, .post_processor = processors[_i].processor });

	ck_assert_str_eq(encode(tokenizer, "x"), "120");
	ck_assert_str_eq(encode_n(tokenizer, "x", 1, GH_ENCODE_SPECIAL), processors[_i].ids);
	gh_tokenizer_free(tokenizer);
}
END_TEST

static const struct {
	const char *text;
	size_t len;
	const char *where;
} invalid[] = {
	{ "\xff", 1, "byte 0" },
	{ "abc\x80", 4, "byte 3" },
	{ "abcdefgh\xc3", 9, "byte 8" },
	{ "ab\xed\xa0\x80", 5, "byte 2" }, /* a surrogate */
	{ "\xc3\xa9\xf0\x9f\x98", 5, "byte 2" },
	{ "abcdefghij\xc0\x80", 12, "byte 10" },
	{ "\xf4\x90\x80\x80", 4, "byte 0" },
};

START_TEST(invalid_text)
{
	gh_tokenizer *tokenizer = load((tokenizer_file){ 0 });
	int32_t *ids;
	size_t count;

	assert_fails(GH_EINVAL, invalid[_i].where,
		     gh_tokenizer_encode(tokenizer, invalid[_i].text, invalid[_i].len, 0, &ids,
					 &count, error));
	gh_tokenizer_free(tokenizer);
}
END_TEST

START_TEST(bad_arguments)
{
	gh_tokenizer *tokenizer = load((tokenizer_file){ 0 });
	gh_detokenizer *detokenizer;
	int32_t *ids, one = 1;
	size_t count;
	char *text;

	assert_fails(GH_EINVAL, "0x2",
		     gh_tokenizer_encode(tokenizer, "a", 1, 2, &ids, &count, error));
	assert_fails(GH_EINVAL, "0x4",
		     gh_tokenizer_decode(tokenizer, &one, 1, 4, &text, &count, error));
	assert_fails(GH_EINVAL, "0x8", gh_detokenizer_create(&detokenizer, tokenizer, 8, error));
	assert_fails(GH_ETOOBIG, "67108864",
		     gh_tokenizer_encode(tokenizer, "a", ((size_t)64 << 20) + 1, 0, &ids, &count,
					 error));
	gh_tokenizer_free(NULL);
	gh_detokenizer_free(NULL);
	gh_tokenizer_free(tokenizer);
}
END_TEST

/* The table */

START_TEST(table)
{
	gh_tokenizer *tokenizer =
		load((tokenizer_file){ .tokens = "\"\xc4\xa0hi\": 260",
				       .added_tokens = ADDED(270, "<|end|>", SPECIAL),
				       .config = "{\"eos_token\": \"<|end|>\"}" });

	ck_assert_int_eq(gh_tokenizer_size(tokenizer), 271);
	ck_assert_int_eq(gh_tokenizer_eos(tokenizer), 270);
	ck_assert_int_eq(gh_tokenizer_id(tokenizer, "<|end|>"), 270);
	ck_assert_int_eq(gh_tokenizer_id(tokenizer, "\xc4\xa0hi"), 260);
	ck_assert_int_eq(gh_tokenizer_id(tokenizer, " hi"), -1);
	ck_assert_int_eq(gh_tokenizer_id(tokenizer, ""), -1);
	ck_assert_str_eq(gh_tokenizer_token(tokenizer, 260), "\xc4\xa0hi");
	ck_assert_str_eq(gh_tokenizer_token(tokenizer, 270), "<|end|>");
	ck_assert_str_eq(gh_tokenizer_token(tokenizer, 32), "\xc4\xa0");
	ck_assert_ptr_null(gh_tokenizer_token(tokenizer, 265)); /* a hole */
	ck_assert_ptr_null(gh_tokenizer_token(tokenizer, 271));
	ck_assert_ptr_null(gh_tokenizer_token(tokenizer, -1));
	ck_assert_ptr_null(gh_tokenizer_token(tokenizer, INT32_MIN));
	gh_tokenizer_free(tokenizer);
}
END_TEST

/* Failing memory leaves nothing behind and is told as such. */
START_TEST(no_memory)
{
	const tokenizer_file file = {
		.tokens = SOME_TOKENS,
		.merges = SOME_MERGES,
		.normalizer = "{\"type\": \"NFC\"}",
		.added_tokens = BOS_TOKENS,
		.pre_tokenizer =
			"{\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": \"Split\", "
			"\"pattern\": {\"Regex\": \"x+\"}, \"behavior\": \"Isolated\"}, "
			"{\"type\": \"ByteLevel\"}]}"
	};
	gh_tokenizer *tokenizer = load(file);
	gh_status status = GH_ENOMEM;

	gh_tokenizer_free(tokenizer);
	for (size_t k = 1; status != GH_OK; k++) {
		gh__alloc_fail_at(k);
		status = gh_tokenizer_load(&tokenizer, root, NULL);
		gh__alloc_fail_at(0);
		ck_assert_msg(status == GH_OK || status == GH_ENOMEM, "%zu: %s", k,
			      gh_status_name(status));
		ck_assert_uint_lt(k, 1000);
	}
	status = GH_ENOMEM;
	for (size_t k = 1; status != GH_OK; k++) {
		int32_t *ids = NULL;
		char *text = NULL;
		size_t count, len;

		gh__alloc_fail_at(k);
		status =
			gh_tokenizer_encode(tokenizer, "e\xcc\x81 hello", 9, 0, &ids, &count, NULL);
		if (status == GH_OK)
			status = gh_tokenizer_decode(tokenizer, ids, count, 0, &text, &len, NULL);
		gh__alloc_fail_at(0);
		ck_assert_msg(status == GH_OK || status == GH_ENOMEM, "%zu: %s", k,
			      gh_status_name(status));
		ck_assert_uint_lt(k, 1000);
		gh_free(ids);
		gh_free(text);
	}
	gh_tokenizer_free(tokenizer);
}
END_TEST

static void *encode_often(void *userdata)
{
	const gh_tokenizer *tokenizer = userdata;
	size_t wrong = 0;

	for (int i = 0; i < 200; i++) {
		int32_t *ids = NULL;
		size_t count = 0;

		wrong += gh_tokenizer_encode(tokenizer, "hello xx hello", 14, 0, &ids, &count,
					     NULL) != GH_OK ||
			 count != 8;
		gh_free(ids);
	}
	return (void *)wrong;
}

START_TEST(many_threads)
{
	gh_tokenizer *tokenizer = load((tokenizer_file){
		.tokens = SOME_TOKENS,
		.merges = SOME_MERGES,
		.pre_tokenizer =
			"{\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": \"Split\", "
			"\"pattern\": {\"Regex\": \"x+\"}, \"behavior\": \"Isolated\"}, "
			"{\"type\": \"ByteLevel\", \"add_prefix_space\": false}]}" });
	pthread_t threads[4];

	for (size_t i = 0; i < COUNT(threads); i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, encode_often, tokenizer), 0);
	for (size_t i = 0; i < COUNT(threads); i++) {
		void *wrong;

		ck_assert_int_eq(pthread_join(threads[i], &wrong), 0);
		ck_assert_ptr_null(wrong);
	}
	gh_tokenizer_free(tokenizer);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("tokenizer");
	TCase *tests = tcase_create("tokenizer");

	tcase_add_checked_fixture(tests, make_root, remove_root);
	tcase_add_loop_test(tests, merges, 0, 5);
	tcase_add_test(tests, ignore_merges);
	tcase_add_test(tests, missing_bytes);
	tcase_add_test(tests, long_run);
	tcase_add_test(tests, long_like_short);
	tcase_add_loop_test(tests, any_order, 0, 20);
	tcase_add_loop_test(tests, added_tokens, 0, (int)COUNT(added));
	tcase_add_test(tests, normalizer);
	tcase_add_loop_test(tests, at_least, 0, (int)COUNT(bounds));
	tcase_add_test(tests, at_least_nfc);
	tcase_add_loop_test(tests, post_processor, 0, (int)COUNT(processors));
	tcase_add_loop_test(tests, invalid_text, 0, (int)COUNT(invalid));
	tcase_add_test(tests, bad_arguments);
	tcase_add_test(tests, table);
	tcase_add_test(tests, no_memory);
	tcase_add_test(tests, many_threads);
	suite_add_tcase(suite, tests);
	return unit_main(suite);
}
