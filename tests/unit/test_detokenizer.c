#include "unit.h"

#include <string.h>

#include <gonkahost/text.h>

#include "base/alloc.h"
#include "base/utf8.h"
#include "tokenizer_file.h"

/* Ids 0 to 255 are the bytes; 256 "he", 300 <s> (special), 302 <think> (not), 303 spells "Ġ" but is
 * an added token, so it stands for that text and not for a space. */
static const tokenizer_file bytes_file = {
	.tokens = SOME_TOKENS ", \"\xe6\x97\xa5\": 264",
	.merges = SOME_MERGES,
	.added_tokens = BOS_TOKENS
	"," ADDED(302, "<think>", ", \"special\": false") "," ADDED(303, "\xc4\xa0\xc4\xa0",
								    ", \"special\": false"),
};

static gh_tokenizer *tokenizer;

static void setup(void)
{
	make_root();
	tokenizer = load(bytes_file);
}

static void teardown(void)
{
	gh_tokenizer_free(tokenizer);
	remove_root();
}

/* Each push's text with '|' behind it. */
static const char *stream(const int32_t *ids, size_t count, uint32_t flags)
{
	static char out[4096];
	gh_detokenizer *detokenizer = NULL;
	size_t at = 0;

	assert_ok(gh_detokenizer_create(&detokenizer, tokenizer, flags, error));
	for (size_t i = 0; i < count; i++) {
		const char *text;
		size_t len;

		assert_ok(gh_detokenizer_push(detokenizer, ids[i], &text, &len, error));
		ck_assert_uint_eq(strlen(text), len);
		ck_assert(gh__utf8_valid(text, len));
		at += (size_t)snprintf(out + at, sizeof out - at, "%s|", text);
	}
	gh_detokenizer_free(detokenizer);
	return out;
}

static const char *decode(const int32_t *ids, size_t count, uint32_t flags)
{
	static char out[4096];
	char *text;
	size_t len;

	assert_ok(gh_tokenizer_decode(tokenizer, ids, count, flags, &text, &len, error));
	ck_assert_uint_eq(strlen(text), len);
	ck_assert_uint_lt(len, sizeof out);
	memcpy(out, text, len + 1);
	gh_free(text);
	return out;
}

#define BAD "\xef\xbf\xbd"

static const struct {
	int32_t ids[12];
	size_t count;
	uint32_t flags;
	const char *whole, *streamed;
} rows[] = {
	{ { 0 }, 0, 0, "", "" },
	{ { 256, 'y' }, 2, 0, "hey", "he|y|" },
	/* a character over several tokens comes with the last of them */
	{ { 0xf0, 0x9f, 0x98, 0x80, '!' }, 5, 0, "\xf0\x9f\x98\x80!", "|||\xf0\x9f\x98\x80|!|" },
	/* what is incomplete at the end is never streamed */
	{ { 'a', 0xf0, 0x9f }, 3, 0, "a" BAD, "a|||" },
	{ { 0xe6 }, 1, 0, BAD, "|" },
	/* invalid parts: one mark each, with the next good character */
	{ { 'a', 0x80, 'b' }, 3, 0, "a" BAD "b", "a||" BAD "b|" },
	{ { 0x80, 0x80, 0xff, 'b' }, 4, 0, BAD BAD BAD "b", "|||" BAD BAD BAD "b|" },
	{ { 0xf0, 0x9f, 'b' }, 3, 0, BAD "b", "||" BAD "b|" },
	{ { 0xe2, 0x82, 0xe2, 0x82, 0xac }, 5, 0, BAD "\xe2\x82\xac", "||||" BAD "\xe2\x82\xac|" },
	{ { 0xed, 0xa0, 0x80, 'x' }, 4, 0, BAD BAD BAD "x", "|||" BAD BAD BAD "x|" },
	{ { 0xf0, 0x9f, 256 }, 3, 0, BAD "he", "||" BAD "he|" },
	{ { 'a', 0x80 }, 2, 0, "a" BAD, "a||" },
	/* a mark that is a character itself is a good one */
	{ { 0xef, 0xbf, 0xbd }, 3, 0, BAD, "||" BAD "|" },
	/* ids outside the table */
	{ { 'a', 263, 304, -1, INT32_MAX, INT32_MIN, 'b' }, 7, 0, "ab", "a||||||b|" },
	/* special tokens, and those that only are added */
	{ { 300, 'a', 302, 301 }, 4, 0, "<s>a<think></s>", "<s>|a|<think>|</s>|" },
	{ { 300, 'a', 302, 301 }, 4, GH_DECODE_SKIP_SPECIAL, "a<think>", "|a|<think>||" },
	{ { 0xc3, 300, 0xa9 }, 3, GH_DECODE_SKIP_SPECIAL, "\xc3\xa9", "||\xc3\xa9|" },
	{ { 0xc3, 300, 0xa9 }, 3, 0, BAD "<s>" BAD, "|" BAD "<s>||" },
	{ { 303, ' ' }, 2, 0, "\xc4\xa0\xc4\xa0 ", "\xc4\xa0\xc4\xa0| |" },
	/* an entry that is not spelled in the byte alphabet stands for its text */
	{ { 264 }, 1, 0, "\xe6\x97\xa5", "\xe6\x97\xa5|" },
};

START_TEST(sequences)
{
	ck_assert_str_eq(decode(rows[_i].ids, rows[_i].count, rows[_i].flags), rows[_i].whole);
	ck_assert_str_eq(stream(rows[_i].ids, rows[_i].count, rows[_i].flags), rows[_i].streamed);
}
END_TEST

START_TEST(nul)
{
	const int32_t ids[] = { 'a', 0, 'b' };
	gh_detokenizer *detokenizer = NULL;
	const char *piece;
	char *text;
	size_t len;

	assert_ok(gh_tokenizer_decode(tokenizer, ids, 3, 0, &text, &len, error));
	ck_assert_uint_eq(len, 3);
	ck_assert_mem_eq(text, "a\0b", 4);
	gh_free(text);
	assert_ok(gh_detokenizer_create(&detokenizer, tokenizer, 0, error));
	assert_ok(gh_detokenizer_push(detokenizer, 0, &piece, &len, error));
	ck_assert_uint_eq(len, 1);
	ck_assert_int_eq(piece[0], 0);
	gh_detokenizer_free(detokenizer);
}
END_TEST

/* Random ids: what was streamed is the whole text without the marks at its end. */
START_TEST(random_ids)
{
	uint32_t state = 99;

	for (int round = 0; round < 5000; round++) {
		int32_t ids[24];
		char joined[4096];
		size_t at = 0;
		uint32_t flags = round & 1;

		for (size_t i = 0; i < COUNT(ids); i++) {
			state = state * 1664525u + 1013904223u;
			ids[i] = 1 + (int32_t)((state >> 8) % 310);
			if ((state >> 28) < 6) /* more of the bytes that begin and go on */
				ids[i] = 0x80 + (int32_t)((state >> 8) % 0x78);
		}
		const char *text = stream(ids, COUNT(ids), flags);
		for (; *text; text++)
			if (*text != '|')
				joined[at++] = *text;
		joined[at] = '\0';
		char *whole = (char *)decode(ids, COUNT(ids), flags);
		size_t len = 0;
		for (const char *c = whole; *c; c++)
			if (*c != '|')
				whole[len++] = *c;
		while (len >= 3 && memcmp(whole + len - 3, BAD, 3) == 0 && len > at)
			len -= 3;
		whole[len] = '\0';
		ck_assert_str_eq(joined, whole);
	}
}
END_TEST

START_TEST(no_memory)
{
	const int32_t ids[] = { 'a', 0xc3, 0xa9, 302 };
	gh_detokenizer *detokenizer = NULL;
	gh_status status = GH_ENOMEM;
	char out[64] = "";

	for (size_t k = 1; status != GH_OK; k++) {
		gh__alloc_fail_at(k);
		status = gh_detokenizer_create(&detokenizer, tokenizer, 0, NULL);
		gh__alloc_fail_at(0);
		ck_assert(status == GH_OK || status == GH_ENOMEM);
	}
	/* A push that failed can be made again. */
	for (size_t i = 0; i < COUNT(ids); i++) {
		const char *text = NULL;
		size_t len;

		gh__alloc_fail_at(1);
		status = gh_detokenizer_push(detokenizer, ids[i], &text, &len, NULL);
		gh__alloc_fail_at(0);
		if (status != GH_OK) {
			ck_assert_int_eq(status, GH_ENOMEM);
			assert_ok(gh_detokenizer_push(detokenizer, ids[i], &text, &len, error));
		}
		strncat(out, text, sizeof out - strlen(out) - 1);
	}
	ck_assert_str_eq(out, "a\xc3\xa9<think>");
	gh_detokenizer_free(detokenizer);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("detokenizer");
	TCase *tests = tcase_create("detokenizer");

	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_loop_test(tests, sequences, 0, (int)COUNT(rows));
	tcase_add_test(tests, nul);
	tcase_add_test(tests, random_ids);
	tcase_add_test(tests, no_memory);
	suite_add_tcase(suite, tests);
	return unit_main(suite);
}
