#include "unit.h"

#include <arpa/inet.h>
#include <float.h>
#include <locale.h>
#include <math.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "base/address.h"
#include "base/number.h"
#include "base/random.h"
#include "base/utf8.h"

/* UTF-8, numbers, randomness. */

START_TEST(utf8_by_the_table)
{
	static const struct {
		const char *bytes;
		int answer;
		uint32_t code_point;
	} cases[] = {
		{ "a", 1, 'a' },
		{ "\x7f", 1, 0x7f },
		{ "\xc2\x80", 2, 0x80 },
		{ "\xdf\xbf", 2, 0x7ff },
		{ "\xe0\xa0\x80", 3, 0x800 },
		{ "\xed\x9f\xbf", 3, 0xd7ff },
		{ "\xee\x80\x80", 3, 0xe000 },
		{ "\xef\xbf\xbf", 3, 0xffff },
		{ "\xf0\x90\x80\x80", 4, 0x10000 },
		{ "\xf4\x8f\xbf\xbf", 4, 0x10ffff },
		{ "\x80", -1, 0 },
		{ "\xc0\x80", -1, 0 }, /* overlong */
		{ "\xc1\xbf", -1, 0 },
		{ "\xe0\x9f\xbf", -1, 0 },     /* overlong */
		{ "\xed\xa0\x80", -1, 0 },     /* surrogate */
		{ "\xf0\x8f\xbf\xbf", -1, 0 }, /* overlong */
		{ "\xf4\x90\x80\x80", -1, 0 }, /* above U+10FFFF */
		{ "\xf5\x80\x80\x80", -1, 0 },
		{ "\xff", -1, 0 },
		{ "\xc2"
		  "a",
		  -1, 0 },
		{ "\xe2\x82"
		  "a",
		  -2, 0 },
		{ "\xf0\x9f\x98"
		  "a",
		  -3, 0 },
		{ "\xc2", 0, 0 },
		{ "\xe2\x82", 0, 0 },
		{ "\xf0\x9f\x98", 0, 0 },
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		uint32_t c = 0;
		size_t len = strlen(cases[i].bytes);
		char back[4];

		ck_assert_int_eq(gh__utf8_decode(cases[i].bytes, len, &c), cases[i].answer);
		ck_assert_int_eq(gh__utf8_valid(cases[i].bytes, len), cases[i].answer > 0);
		if (cases[i].answer <= 0)
			continue;
		ck_assert_uint_eq(c, cases[i].code_point);
		ck_assert_int_eq(gh__utf8_encode(back, c), cases[i].answer);
		ck_assert_mem_eq(back, cases[i].bytes, len);
	}
	for (uint32_t c = 0; c <= 0x10ffff; c += 7) {
		uint32_t got = 0;
		char bytes[4];
		int len = gh__utf8_encode(bytes, c);

		ck_assert_int_eq(gh__utf8_decode(bytes, (size_t)len, &got), len);
		ck_assert_uint_eq(got, c >= 0xd800 && c <= 0xdfff ? 0xfffd : c);
	}
	ck_assert(gh__utf8_valid("", 0));
	ck_assert(gh__utf8_valid("twelve bytes\xc3\xa9", 14));
	ck_assert(!gh__utf8_valid("twelve bytes\xc3", 13));
}
END_TEST

START_TEST(whole_numbers)
{
	static const char *const bad[] = { "",
					   "-",
					   "+",
					   "1 ",
					   " 1",
					   "1.0",
					   "0x1",
					   "1e3",
					   "--1",
					   "9223372036854775808",
					   "-9223372036854775809",
					   "99999999999999999999999" };
	int64_t value;

	for (size_t i = 0; i < COUNT(bad); i++)
		ck_assert_msg(!gh__parse_int64(bad[i], &value), "%s", bad[i]);
	ck_assert(gh__parse_int64("-9223372036854775808", &value) && value == INT64_MIN);
	ck_assert(gh__parse_int64("+9223372036854775807", &value) && value == INT64_MAX);
	ck_assert(gh__parse_int64("-0", &value) && value == 0);
	ck_assert(gh__parse_int64("0017", &value) && value == 17);
}
END_TEST

START_TEST(decimal_numbers)
{
	static const char *const bad[] = { "",    ".",     "-",     "e5", "1e", "1e+", "nan",
					   "inf", "0x1p3", "1e999", " 1", "1 ", "1,5", "1.5.2" };
	double value;

	for (size_t i = 0; i < COUNT(bad); i++)
		ck_assert_msg(!gh__parse_double(bad[i], &value), "%s", bad[i]);
	ck_assert(gh__parse_double("-0.1e-3", &value) && value == -0.1e-3);
	ck_assert(gh__parse_double("1.", &value) && value == 1);
	ck_assert(gh__parse_double(".5", &value) && value == 0.5);
	ck_assert(gh__parse_double("1e-999", &value) && value == 0);
}
END_TEST

START_TEST(shortest_decimals)
{
	static const struct {
		double value;
		const char *text;
	} cases[] = {
		{ 0.0, "0.0" },
		{ -0.0, "-0.0" },
		{ 1, "1.0" },
		{ 0.1, "0.1" },
		{ 1.0 / 3, "0.3333333333333333" },
		{ 0.1 + 0.2, "0.30000000000000004" },
		{ -1234.5, "-1234.5" },
		{ 0.0001, "0.0001" },
		{ 0.00012345, "0.00012345" },
		{ 9.999e-5, "9.999e-05" },
		{ 1e-5, "1e-05" },
		{ 1e15, "1000000000000000.0" },
		{ 123456789012345680.0, "1.2345678901234568e+17" },
		{ 9007199254740993.0, "9007199254740992.0" },
		{ 1e16, "1e+16" },
		{ 1e23, "1e+23" },
		{ 1.5e300, "1.5e+300" },
		{ DBL_MAX, "1.7976931348623157e+308" },
		{ DBL_MIN, "2.2250738585072014e-308" },
		{ 5e-324, "5e-324" },
		{ 0x1p-44, "5.684341886080802e-14" },
		{ -6.103515625e-05, "-6.103515625e-05" },
		{ (double)0.1f, "0.10000000149011612" },
	};
	char text[GH__DOUBLE_SIZE];
	double back;

	/* A locale with a decimal comma changes nothing, where there is one. */
	setlocale(LC_ALL, "de_DE.UTF-8");
	for (size_t i = 0; i < COUNT(cases); i++) {
		int len = gh__double_text(text, cases[i].value);

		ck_assert_str_eq(text, cases[i].text);
		ck_assert_uint_eq((size_t)len, strlen(text));
	}
	for (int i = 0; i < 20000; i++) {
		uint64_t bits = gh__random_u64();
		double value;

		memcpy(&value, &bits, sizeof value);
		if (!isfinite(value))
			continue;
		gh__double_text(text, value);
		ck_assert(gh__parse_double(text, &back));
		ck_assert_mem_eq(&back, &value, sizeof value);
	}
	setlocale(LC_ALL, "C");
}
END_TEST

START_TEST(random_hex)
{
	char a[130], b[130];

	for (size_t digits = 0; digits < sizeof a; digits++) {
		gh__random_hex(a, digits);
		ck_assert_uint_eq(strlen(a), digits);
		ck_assert_uint_eq(strspn(a, "0123456789abcdef"), digits);
	}
	gh__random_hex(b, sizeof b - 1);
	ck_assert_str_ne(a, b);
}
END_TEST

/* The address lies in the networks. */
static bool lies_in(const char *list, const char *literal)
{
	struct sockaddr_in v4 = { .sin_family = AF_INET };
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6 };
	gh__networks these;

	assert_ok(gh__networks_parse(&these, "--allow", list, error));
	if (inet_pton(AF_INET, literal, &v4.sin_addr) == 1)
		return gh__networks_have(&these, (const struct sockaddr *)&v4);
	ck_assert_int_eq(inet_pton(AF_INET6, literal, &v6.sin6_addr), 1);
	return gh__networks_have(&these, (const struct sockaddr *)&v6);
}

START_TEST(networks_of_clients)
{
	static const char *const wrong[] = { "",
					     ",",
					     "10.0.0.0/33",
					     "10.0.0/8",
					     "10.0.0.0/",
					     "::1/129",
					     "10.0.0.0/-1",
					     "10.0.0.0/+8",
					     "10.0.0.0/8,",
					     "a",
					     "10.0.0.0/8x",
					     " ::1" };
	char many[65 * 8 + 1] = "";
	struct sockaddr local = { .sa_family = AF_UNIX };
	gh__networks networks;

	ck_assert(lies_in("10.0.0.0/8", "10.255.0.1"));
	ck_assert(!lies_in("10.0.0.0/8", "11.0.0.1"));
	ck_assert(lies_in("10.1.2.3/8", "10.9.9.9"));
	ck_assert(lies_in("192.168.4.0/22", "192.168.7.255"));
	ck_assert(!lies_in("192.168.4.0/22", "192.168.8.0"));
	ck_assert(lies_in("10.0.0.7", "10.0.0.7") && !lies_in("10.0.0.7", "10.0.0.6"));
	ck_assert(lies_in("10.0.0.7", "::ffff:10.0.0.7"));
	ck_assert(lies_in("::1,10.0.0.0/8", "10.0.0.1") && lies_in("10.0.0.0/8,::1", "::1"));
	ck_assert(lies_in("fd00::/8", "fdff::1") && !lies_in("fd00::/8", "fe00::1"));
	ck_assert(lies_in("0.0.0.0/0", "8.8.8.8") && !lies_in("0.0.0.0/0", "::1"));
	ck_assert(lies_in("::/0", "8.8.8.8"));
	assert_ok(gh__networks_parse(&networks, "--allow", "::/0", error));
	ck_assert(!gh__networks_have(&networks, &local));
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
		assert_fails(GH_EINVAL, "--allow: ",
			     gh__networks_parse(&networks, "--allow", wrong[i], error));
	for (int i = 0; i < 65; i++)
		memcpy(many + 8 * i, "1.2.3.4,", 8);
	many[sizeof many - 2] = '\0';
	assert_fails(GH_EINVAL, "more than 64",
		     gh__networks_parse(&networks, "--allow", many, error));
}
END_TEST

START_TEST(addresses)
{
	static const char *const closed[] = { "127.0.0.1",
					      "10.1.2.3",
					      "172.16.0.1",
					      "172.31.9.9",
					      "192.168.1.1",
					      "100.64.0.1",
					      "169.254.1.1",
					      "::1",
					      "fd00::1",
					      "fe80::1",
					      "::ffff:10.0.0.1",
					      "localhost",
					      "node",
					      "" };
	static const char *const open[] = { "0.0.0.0",     "8.8.8.8",       "172.32.0.1",
					    "192.169.0.1", "100.128.0.1",   "::",
					    "2001:db8::1", "::ffff:8.8.8.8" };
	size_t i;

	for (i = 0; i < sizeof closed / sizeof closed[0]; i++)
		ck_assert_msg(!gh__address_public(closed[i]), "%s", closed[i]);
	for (i = 0; i < sizeof open / sizeof open[0]; i++)
		ck_assert_msg(gh__address_public(open[i]), "%s", open[i]);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("values");
	TCase *tests = tcase_create("values");

	tcase_add_test(tests, utf8_by_the_table);
	tcase_add_test(tests, whole_numbers);
	tcase_add_test(tests, decimal_numbers);
	tcase_add_test(tests, shortest_decimals);
	tcase_add_test(tests, random_hex);
	tcase_add_test(tests, networks_of_clients);
	tcase_add_test(tests, addresses);
	suite_add_tcase(suite, tests);
	return unit_main(suite);
}
