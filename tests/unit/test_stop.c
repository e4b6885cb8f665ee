#include <string.h>

#include "engine/stop.h"
#include "unit.h"

/* Feed pieces until one completes a stop string. Answers its index, or -1; *out is all the text,
 * with a bar after what each piece released. */
static int32_t feed(const char *const *stops, int32_t count, bool include, int32_t look_from,
		    const char *const *pieces, char *out, size_t size)
{
	gh__stop_list list;
	gh__stop_text text;
	int32_t match = -1;
	size_t used = 0;

	assert_ok(gh__stop_list_init(&list, stops, count, include, error));
	gh__stop_text_init(&text);
	for (int32_t i = 0; pieces[i] && match < 0; i++) {
		const char *given;
		size_t len;

		assert_ok(gh__stop_text_add(&text, &list, pieces[i], strlen(pieces[i]),
					    i >= look_from, &match));
		assert_ok(gh__stop_text_give(&text, &list, match >= 0 || !pieces[i + 1], &given,
					     &len));
		ck_assert_uint_eq(strlen(given), len);
		ck_assert_uint_lt(used + len + 1, size);
		memcpy(out + used, given, len);
		used += len;
		out[used++] = '|';
	}
	out[used] = '\0';
	gh__stop_text_free(&text);
	gh__stop_list_free(&list);
	return match;
}

typedef struct stop_case {
	const char *stops[4];
	const char *pieces[8];
	int32_t look_from;
	bool include;
	int32_t match;
	const char *text;
} stop_case;

static const stop_case cases[] = {
	{ { "END" }, { "ab", "cd", "e" }, 0, false, -1, "|ab|cde|" },
	{ { "END" }, { "aEND" }, 0, false, 0, "a|" },
	{ { "END" }, { "aENDb" }, 0, true, 0, "aEND|" },
	{ { "END" }, { "aE", "N", "Db" }, 0, false, 0, "|a||" },
	{ { "END" }, { "aE", "N", "Db" }, 0, true, 0, "aE|N|D|" },
	{ { "END" }, { "aE", "N", "x", "yz" }, 0, false, -1, "|a|E|Nxyz|" },
	{ { "END" }, { "", "E", "", "ND" }, 0, false, 0, "||||" },
	/* one character holds nothing back */
	{ { "x" }, { "ab", "cxd" }, 0, false, 0, "ab|c|" },
	/* the first of the list wins, though another occurs before it */
	{ { "late", "a" }, { "xalate" }, 0, false, 0, "xa|" },
	{ { "a", "late" }, { "xalate" }, 0, false, 0, "x|" },
	/* of one string the first occurrence */
	{ { "ab" }, { "xab-ab" }, 0, false, 0, "x|" },
	/* overlapping itself */
	{ { "aab" }, { "a", "a", "a", "b" }, 0, false, 0, "||a||" },
	{ { "aa" }, { "xa", "a" }, 0, false, 0, "x||" },
	/* counted in characters, not in bytes */
	{ { "\xe4\xbd\xa0\xe5\xa5\xbd" },
	  { "\xe4\xbd\xa0\xe4\xbd\xa0", "\xe5\xa5\xbd!" },
	  0,
	  false,
	  0,
	  "\xe4\xbd\xa0||" },
	{ { "\xf0\x9f\x98\x80\xf0\x9f\x98\x81" },
	  { "\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80", "a" },
	  0,
	  false,
	  -1,
	  "|\xf0\x9f\x98\x80|\xf0\x9f\x98\x80"
	  "a|" },
	/* the longest in bytes is not the longest in characters */
	{ { "\xf0\x9f\x98\x80\xf0\x9f\x98\x81", "xyz" },
	  { "ab", "x", "y", "z" },
	  0,
	  false,
	  1,
	  "|a|b||" },
	/* what was complete before we looked does not stop; what new characters complete does */
	{ { "ab" }, { "ab", "cd" }, 1, false, -1, "a|bcd|" },
	{ { "abc" }, { "ab", "cd" }, 1, false, 0, "||" },
	{ { "ab" }, { "ab", "ab" }, 1, false, 0, "a|b|" },
	{ { "ab" }, { "ab", "ab" }, 1, true, 0, "ab|ab|" },
};

START_TEST(stops)
{
	const stop_case *c = &cases[_i];
	char text[256];
	int32_t count = 0;

	while (count < 4 && c->stops[count])
		count++;
	int32_t match =
		feed(c->stops, count, c->include, c->look_from, c->pieces, text, sizeof text);
	ck_assert_str_eq(text, c->text);
	ck_assert_int_eq(match, c->match);
}
END_TEST

/* Any way of cutting a text into pieces gives the same text and the same match. */
START_TEST(does_not_depend_on_the_pieces)
{
	static const char whole[] = "aabaabaaabab\xc3\xa9"
				    "bab\xc3\xa9"
				    "aaabaabb";
	static const char *const lists[][3] = { { "aaab" },
						{ "b\xc3\xa9", "abaa" },
						{ "zz", "bb" },
						{ "baaabab\xc3\xa9"
						  "b" },
						{ "none" } };
	uint64_t state = 5;

	for (size_t l = 0; l < sizeof lists / sizeof lists[0]; l++) {
		int32_t count = 0, expected = -1;
		size_t cut = strlen(whole);

		while (count < 3 && lists[l][count])
			count++;
		/* Character by character: that is the definition. */
		for (size_t end = 1; end <= strlen(whole) && expected < 0; end++) {
			for (int32_t i = 0; i < count && expected < 0; i++) {
				size_t len = strlen(lists[l][i]);

				if (end >= len && !memcmp(whole + end - len, lists[l][i], len)) {
					expected = i;
					cut = end - len;
				}
			}
		}
		for (int round = 0; round < 300; round++) {
			char text[256], joined[256];
			const char *pieces[33];
			char store[33][64];
			int32_t used = 0;
			size_t at = 0;

			while (whole[at]) {
				size_t len = 0;

				state = state * UINT64_C(6364136223846793005) + 1;
				size_t most = 1 + (state >> 60) % 2;
				for (size_t c = 0; c < most && whole[at + len]; c++)
					len += (unsigned char)whole[at + len] == 0xc3 ? 2 : 1;
				memcpy(store[used], whole + at, len);
				store[used][len] = '\0';
				pieces[used] = store[used];
				used++;
				at += len;
			}
			pieces[used] = NULL;
			int32_t match = feed(lists[l], count, false, 0, pieces, text, sizeof text);
			size_t len = 0;
			for (const char *c = text; *c; c++) {
				if (*c != '|')
					joined[len++] = *c;
			}
			joined[len] = '\0';
			if (count == 1) {
				ck_assert_int_eq(match, expected);
				ck_assert_uint_eq(len, cut);
			}
			ck_assert_int_eq(memcmp(joined, whole, len), 0);
		}
	}
}
END_TEST

START_TEST(refuses_bad_lists)
{
	static const char *const empty[] = { "a", "" };
	static const char *const broken[] = { "a\xff" };
	gh__stop_list list;

	assert_fails(GH_EINVAL, "stop cannot contain an empty string.",
		     gh__stop_list_init(&list, empty, 2, false, error));
	assert_fails(GH_EINVAL, "stop[0]", gh__stop_list_init(&list, broken, 1, false, error));
	assert_fails(GH_EINVAL, "2000", gh__stop_list_init(&list, NULL, 2000, false, error));

	char *huge = malloc(GH__STOP_BYTES_MAX + 2);
	memset(huge, 'x', GH__STOP_BYTES_MAX + 1);
	huge[GH__STOP_BYTES_MAX + 1] = '\0';
	const char *const one[] = { huge };
	assert_fails(GH_EINVAL, "bytes", gh__stop_list_init(&list, one, 1, false, error));
	free(huge);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("stop");
	TCase *tc = tcase_create("stop");

	tcase_add_loop_test(tc, stops, 0, (int)(sizeof cases / sizeof cases[0]));
	tcase_add_test(tc, does_not_depend_on_the_pieces);
	tcase_add_test(tc, refuses_bad_lists);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
