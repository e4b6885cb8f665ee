#include "unit.h"

#include <string.h>
#include <utf8proc.h>

#include "base/buf.h"
#include "base/utf8.h"
#include "text/split.h"
#include "text/tokenizer.h"
#include "tokenizer_file.h"

static const char qwen2_pattern[] =
	"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+"
	"[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
static const char llama3_pattern[] =
	"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}"
	"| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
static const char gpt2_pattern[] = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+"
				   "| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

static gh_status collect(void *userdata, const char *text, size_t len)
{
	gh__buf *out = userdata;

	ck_assert_uint_gt(len, 0);
	if (out->len)
		gh__buf_append_char(out, '|');
	gh__buf_append(out, text, len);
	return gh__buf_status(out);
}

/* The pieces of a text with '|' between them. */
static void split_text(const gh__splits *splits, const gh__unicode *unicode, const char *text,
		       size_t len, gh__buf *out)
{
	gh__splitter splitter;

	gh__buf_reset(out);
	assert_ok(gh__splitter_init(&splitter, splits, unicode, collect, out, NULL));
	assert_ok(gh__splitter_run(&splitter, text, len));
	gh__splitter_done(&splitter);
}

/* Steps as a file says them. */
#define SPLIT(pattern, behavior, invert)                                              \
	"{\"type\": \"Split\", \"pattern\": {" pattern "}, \"behavior\": \"" behavior \
	"\", \"invert\": " invert "}"
#define REGEX(text)        "\"Regex\": \"" text "\""
#define STRING(text)       "\"String\": \"" text "\""
#define DIGITS(individual) "{\"type\": \"Digits\", \"individual_digits\": " individual "}"

static const struct {
	const char *steps, *text, *pieces;
} rows[] = {
	/* behaviors */
	{ SPLIT(REGEX("-"), "Isolated", "false"), "a-b--c", "a|-|b|-|-|c" },
	{ SPLIT(REGEX("-"), "Removed", "false"), "a-b--c", "a|b|c" },
	{ SPLIT(REGEX("-"), "MergedWithPrevious", "false"), "-a-b--c", "-|a-|b-|-|c" },
	{ SPLIT(REGEX("-"), "MergedWithNext", "false"), "a-b--c-", "a|-b|-|-c|-" },
	{ SPLIT(REGEX("-"), "Contiguous", "false"), "a-b--c", "a|-|b|--|c" },
	{ SPLIT(STRING("--"), "Isolated", "false"), "a-b---c", "a-b|--|-c" },
	{ SPLIT(STRING("."), "Removed", "false"), "a.b..", "a|b" },
	{ SPLIT(REGEX("[a-z]+"), "Removed", "true"), "ab1cd", "ab|cd" },
	{ SPLIT(REGEX("[a-z]"), "Contiguous", "true"), "ab1cd", "ab|1|cd" },
	{ SPLIT(REGEX("x"), "MergedWithPrevious", "true"), "axxb", "a|x|xb" },
	{ SPLIT(REGEX("-"), "Removed", "false"), "--", "" },
	/* empty matches cut, and do not loop */
	{ SPLIT(REGEX("(?=[A-Z])"), "Isolated", "false"), "oneTwoThree", "one|Two|Three" },
	{ SPLIT(REGEX("a*"), "Isolated", "false"), "baac", "b|aa|c" },
	{ SPLIT(REGEX("$"), "Isolated", "false"), "a\nb", "a|\nb" },
	/* digits */
	{ DIGITS("true"), "a12\xc2\xbd", "a|1|2|\xc2\xbd" },
	{ DIGITS("false"), "a12b3", "a|12|b|3" },
	{ SPLIT(REGEX("\\\\p{N}"), "MergedWithPrevious", "false"), "a12", "a1|2" },
	/* several, each on the pieces of the one before */
	{ SPLIT(STRING(" "), "MergedWithNext", "false") ", " DIGITS("true"), "a 12 b",
	  "a| |1|2| b" },
};

START_TEST(split_rows)
{
	gh_tokenizer *tokenizer = NULL;
	gh__buf json = GH__BUF_INIT(4096), pieces = GH__BUF_INIT(4096);
	tokenizer_file file = { 0 };

	gh__buf_append_str(&json, "{\"type\": \"Sequence\", \"pretokenizers\": [");
	gh__buf_append_str(&json, rows[_i].steps);
	gh__buf_append_str(&json, ", {\"type\": \"ByteLevel\", \"add_prefix_space\": false, "
				  "\"use_regex\": false}]}");
	file.pre_tokenizer = json.data;
	assert_ok(load_file(&tokenizer, &file, error));
	split_text(&tokenizer->splits, tokenizer->unicode, rows[_i].text, strlen(rows[_i].text),
		   &pieces);
	ck_assert_str_eq(gh__buf_str(&pieces), rows[_i].pieces);
	gh_tokenizer_free(tokenizer);
	gh__buf_free(&json);
	gh__buf_free(&pieces);
}
END_TEST

START_TEST(prefix_space)
{
	static const char *const cases[][2] = {
		{ "hello", " hello" }, { " hello", " hello" }, { "a1", " a|1" },
		{ "\n", " \n" },       { "\nx", " |\n|x" },    { "it's", " it|'s" },
	};
	gh__unicode *unicode = gh__unicode_create(false);
	gh__splits splits = { .byte_level = true, .prefix_space = true, .gpt2 = true };
	gh__buf pieces = GH__BUF_INIT(4096);

	ck_assert_ptr_nonnull(unicode);
	for (size_t i = 0; i < COUNT(cases); i++) {
		split_text(&splits, unicode, cases[i][0], strlen(cases[i][0]), &pieces);
		ck_assert_str_eq(pieces.data, cases[i][1]);
	}
	split_text(&splits, unicode, "", 0, &pieces);
	ck_assert_uint_eq(pieces.len, 0);
	gh__buf_free(&pieces);
	gh__unicode_free(unicode);
}
END_TEST

static const struct {
	gh__split_kind kind;
	const char *text, *pieces;
} by_hand[] = {
	{ GH__SPLIT_QWEN2, "Don't we'LL it'S", "Don|'t| we|'LL| it|'S" },
	{ GH__SPLIT_QWEN2, "a'\xc5\xbfx", "a|'\xc5\xbf|x" }, /* the long s is an s */
	{ GH__SPLIT_QWEN2, "x = 12345;", "x| =| |1|2|3|4|5|;" },
	{ GH__SPLIT_LLAMA3, "x = 12345;", "x| =| |123|45|;" },
	{ GH__SPLIT_GPT2, "x = 12345;", "x| =| 12345|;" },
	{ GH__SPLIT_QWEN2, "a  b   ", "a| | b|   " },
	{ GH__SPLIT_QWEN2, "a \n \n  b", "a| \n \n| | b" },
	{ GH__SPLIT_QWEN2, "foo();\r\n\r\n}", "foo|();\r\n\r\n|}" },
	{ GH__SPLIT_GPT2, "foo();\r\n\r\n}", "foo|();|\r\n\r|\n|}" },
	{ GH__SPLIT_QWEN2, "\n\xe6\x97\xa5", "\n|\xe6\x97\xa5" },
	{ GH__SPLIT_QWEN2, "\t\xc2\xa0nbsp", "\t|\xc2\xa0nbsp" },
	{ GH__SPLIT_QWEN2, "\xc2\x85\xe2\x80\x8b", "\xc2\x85|\xe2\x80\x8b" }, /* space, no space */
	{ GH__SPLIT_GPT2, "we'LL", "we|'|LL" },
	{ GH__SPLIT_GPT2, "  two", " | two" },
	{ GH__SPLIT_GPT2, " ", " " },
	/* letters of Unicode 15.1 and 16: they stay together, and with a space */
	{ GH__SPLIT_GPT2, " \xf0\xae\xaf\xb0\xf0\x96\x84\x80",
	  " \xf0\xae\xaf\xb0\xf0\x96\x84\x80" },
	{ GH__SPLIT_QWEN2, "\xe1\xb2\x89\xe1\xb2\x8a!", "\xe1\xb2\x89\xe1\xb2\x8a|!" },
	{ GH__SPLIT_QWEN2, "\xf0\x90\xb5\x80\xf0\x90\xb5\x81",
	  "\xf0\x90\xb5\x80|\xf0\x90\xb5\x81" },
};

START_TEST(split_by_hand)
{
	gh__unicode *unicode = gh__unicode_create(false);
	gh__splits splits = { .count = 1, .byte_level = true };
	gh__buf pieces = GH__BUF_INIT(4096);

	ck_assert_ptr_nonnull(unicode);
	splits.split[0].kind = by_hand[_i].kind;
	split_text(&splits, unicode, by_hand[_i].text, strlen(by_hand[_i].text), &pieces);
	ck_assert_str_eq(pieces.data, by_hand[_i].pieces);
	gh__buf_free(&pieces);
	gh__unicode_free(unicode);
}
END_TEST

/* Characters that PCRE2's older tables class as ours do. */
static const char *const alphabet[] = {
	"a",
	"Z",
	"s",
	"t",
	"r",
	"e",
	"l",
	"L",
	"v",
	"m",
	"d",
	"S",
	"'",
	" ",
	" ",
	"\n",
	"\r",
	"\t",
	"1",
	"9",
	"!",
	"_",
	"\xc3\xa9",
	"\xc5\xbf",
	"\xc2\xa0",
	"\xc2\xbd",
	"\xe3\x80\x80",
	"\xe6\x97\xa5",
	"\xcc\x81",
	"\xf0\x9f\x98\x80",
};

/* The matchers by hand find what the regular expressions find. */
START_TEST(split_like_pcre)
{
	static const struct {
		gh__split_kind kind;
		const char *pattern;
	} known[] = {
		{ GH__SPLIT_QWEN2, qwen2_pattern },
		{ GH__SPLIT_LLAMA3, llama3_pattern },
		{ GH__SPLIT_GPT2, gpt2_pattern },
	};
	gh__unicode *unicode = gh__unicode_create(false);
	gh__splits hand = { .count = 1, .byte_level = true };
	gh__splits pcre = { .count = 1, .byte_level = true, .has_pcre = true };
	gh__buf a = GH__BUF_INIT(65536), b = GH__BUF_INIT(65536), text = GH__BUF_INIT(4096);
	char pattern[512];
	uint32_t state = 12345;

	ck_assert_ptr_nonnull(unicode);
	assert_ok(gh__split_regex(&hand.split[0], known[_i].pattern, strlen(known[_i].pattern),
				  error));
	ck_assert_int_eq(hand.split[0].kind, known[_i].kind);
	snprintf(pattern, sizeof pattern, "(?:%s)", known[_i].pattern);
	assert_ok(gh__split_regex(&pcre.split[0], pattern, strlen(pattern), error));
	ck_assert_int_eq(pcre.split[0].kind, GH__SPLIT_PCRE);
	for (int round = 0; round < 6000; round++) {
		gh__buf_reset(&text);
		state = state * 1664525u + 1013904223u;
		for (uint32_t n = (state >> 16) % 12; n > 0; n--) {
			state = state * 1664525u + 1013904223u;
			gh__buf_append_str(&text, alphabet[(state >> 16) % COUNT(alphabet)]);
		}
		split_text(&hand, unicode, gh__buf_str(&text), text.len, &a);
		split_text(&pcre, unicode, gh__buf_str(&text), text.len, &b);
		ck_assert_str_eq(gh__buf_str(&a), gh__buf_str(&b));
	}
	gh__splits_done(&pcre);
	gh__unicode_free(unicode);
	gh__buf_free(&a);
	gh__buf_free(&b);
	gh__buf_free(&text);
}
END_TEST

START_TEST(split_refused)
{
	gh__split split = { 0 };
	char pattern[5000];

	assert_fails(GH_ENOTSUP, "(?<", gh__split_regex(&split, "(?<", 3, error));
	assert_fails(GH_ENOTSUP, "\\C", gh__split_regex(&split, "a\\Cb", 4, error));
	memset(pattern, 'a', sizeof pattern);
	assert_fails(GH_ETOOBIG, "5000", gh__split_regex(&split, pattern, sizeof pattern, error));
	assert_fails(GH_ENOTSUP, "empty", gh__split_literal(&split, "", 0, error));
	ck_assert_ptr_null(split.code);
}
END_TEST

/* A pattern that backtracks for ever ends with an error, soon. */
START_TEST(split_endless)
{
	static const char pattern[] = "(a+)+[bc]";
	gh__splits splits = { .count = 1, .byte_level = true, .has_pcre = true };
	gh__unicode *unicode = gh__unicode_create(false);
	gh__buf out = GH__BUF_INIT(4096);
	gh__splitter splitter;
	char text[64];

	ck_assert_ptr_nonnull(unicode);
	memset(text, 'a', sizeof text);
	assert_ok(gh__split_regex(&splits.split[0], pattern, strlen(pattern), error));
	assert_ok(gh__splitter_init(&splitter, &splits, unicode, collect, &out, NULL));
	assert_fails(GH_ETOOBIG, "pattern",
		     (splitter.error = error, gh__splitter_run(&splitter, text, sizeof text)));
	gh__splitter_done(&splitter);
	gh__splits_done(&splits);
	gh__unicode_free(unicode);
	gh__buf_free(&out);
}
END_TEST

/* NFC */

static const char *const composed[][2] = {
	{ "e\xcc\x81", "\xc3\xa9" },                                /* e and acute */
	{ "\xe2\x84\xab", "\xc3\x85" },                             /* the Angstrom sign */
	{ "q\xcc\x81\xcc\xa3", "q\xcc\xa3\xcc\x81" },               /* marks in order */
	{ "\xe1\x84\x92\xe1\x85\xa1\xe1\x86\xab", "\xed\x95\x9c" }, /* Hangul letters */
	{ "\xe3\x81\x8b\xe3\x82\x99", "\xe3\x81\x8c" },             /* kana and its voicing mark */
	{ "plain ASCII, Gr\xc3\xbc\xc3\x9f"
	  "e",
	  "plain ASCII, Gr\xc3\xbc\xc3\x9f"
	  "e" },
	{ "\xef\xac\x81", "\xef\xac\x81" }, /* a ligature: compatibility only */
};

START_TEST(nfc)
{
	gh__unicode *unicode = gh__unicode_create(true);
	const char *from = composed[_i][0], *to = composed[_i][1];
	gh__buf out = GH__BUF_INIT(4096);

	ck_assert_ptr_nonnull(unicode);
	assert_ok(gh__nfc(from, strlen(from), &out, error));
	ck_assert_str_eq(out.data, to);
	/* The quick look may doubt what is right, but not trust what is wrong. */
	if (strcmp(from, to) != 0)
		ck_assert(!gh__nfc_is(unicode, from, strlen(from)));
	else
		ck_assert(gh__nfc_is(unicode, from, strlen(from)));
	gh__buf_reset(&out);
	assert_ok(gh__nfc(to, strlen(to), &out, error));
	ck_assert_str_eq(out.data, to);
	gh__buf_free(&out);
	gh__unicode_free(unicode);
}
END_TEST

/* Where the quick look says that nothing changes, nothing changes: every character, alone, behind
 * a letter, and behind a mark that it may have to move before (U+0332). */
START_TEST(nfc_quick_look)
{
	static const char *const before[] = { "", "a", "q\xcc\xb2" };
	gh__unicode *unicode = gh__unicode_create(true);
	gh__buf out = GH__BUF_INIT(4096);
	size_t changed = 0;

	ck_assert_ptr_nonnull(unicode);
	for (uint32_t c = 1; c < 0x40000; c++) {
		char text[16];

		if (c >= 0xd800 && c <= 0xdfff)
			continue;
		size_t start = strlen(before[_i]);
		memcpy(text, before[_i], start);
		size_t len = start + (size_t)gh__utf8_encode(text + start, c);

		if (!gh__nfc_is(unicode, text, len)) {
			changed++;
			continue;
		}
		gh__buf_reset(&out);
		assert_ok(gh__nfc(text, len, &out, error));
		ck_assert_msg(out.len == len && memcmp(out.data, text, len) == 0, "U+%04X", c);
	}
	/* The long way is for few. */
	ck_assert_uint_gt(changed, 1000);
	ck_assert_uint_lt(changed, 3000);
	gh__buf_free(&out);
	gh__unicode_free(unicode);
}
END_TEST

/* The characters of a text are of the same parts as those of its NFC. So no text is longer than
 * what these parts can have been written with, which is by no character of the NFC too much. */
enum { PARTS = 8, CODES = 0x110000 };

static utf8proc_ssize_t parts_of(uint32_t c, utf8proc_int32_t *parts)
{
	return utf8proc_decompose_char((utf8proc_int32_t)c, parts, PARTS,
				       UTF8PROC_STABLE | UTF8PROC_DECOMPOSE, NULL);
}

static size_t bytes_of(uint32_t c)
{
	char text[4];

	return (size_t)gh__utf8_encode(text, c);
}

START_TEST(nfc_shrinks)
{
	uint8_t *longest = calloc(CODES, 1); /* of the characters that are this part alone */
	utf8proc_int32_t parts[PARTS];
	size_t extreme = 0;

	ck_assert_ptr_nonnull(longest);
	for (uint32_t c = 0; c < CODES; c++)
		if ((c < 0xd800 || c > 0xdfff) && parts_of(c, parts) == 1 &&
		    longest[parts[0]] < bytes_of(c))
			longest[parts[0]] = (uint8_t)bytes_of(c);
	for (uint32_t c = 0; c < CODES; c++) {
		size_t sum = 0;

		if (c >= 0xd800 && c <= 0xdfff)
			continue;
		utf8proc_ssize_t count = parts_of(c, parts);
		ck_assert_int_ge(count, 1);
		ck_assert_int_le(count, PARTS);
		for (utf8proc_ssize_t i = 0; i < count; i++)
			sum += longest[parts[i]];
		ck_assert_msg(bytes_of(c) <= sum, "U+%04X", c);
		ck_assert_msg(sum <= GH__NFC_SHRINKS * bytes_of(c), "U+%04X: %zu", c, sum);
		extreme = 100 * sum / bytes_of(c) > extreme ? 100 * sum / bytes_of(c) : extreme;
	}
	ck_assert_uint_eq(extreme, 350);
	free(longest);

	gh__buf out = GH__BUF_INIT(4096);
	assert_ok(gh__nfc("\xe1\xbe\xbe\xcc\x88\xcc\x81", 7, &out, error));
	ck_assert_str_eq(out.data, "\xce\x90");
	gh__buf_free(&out);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("split");
	TCase *tests = tcase_create("split");

	tcase_add_checked_fixture(tests, make_root, remove_root);
	tcase_add_loop_test(tests, split_rows, 0, (int)COUNT(rows));
	tcase_add_test(tests, prefix_space);
	tcase_add_loop_test(tests, split_by_hand, 0, (int)COUNT(by_hand));
	tcase_add_loop_test(tests, split_like_pcre, 0, 3);
	tcase_add_test(tests, split_refused);
	tcase_add_test(tests, split_endless);
	tcase_add_loop_test(tests, nfc, 0, (int)COUNT(composed));
	tcase_add_loop_test(tests, nfc_quick_look, 0, 3);
	tcase_add_test(tests, nfc_shrinks);
	suite_add_tcase(suite, tests);
	return unit_main(suite);
}
