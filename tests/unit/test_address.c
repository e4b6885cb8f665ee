#include <string.h>

#include "crypto/address.h"
#include "unit.h"

/* Keys of the private keys 1, 2 and 3. */
static const struct {
	const char *hex, *base64, *address;
} known[] = {
	{ "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798",
	  "Anm+Zn753LusVaBilc6HCwcCm/zbLc4o2VnygVsW+BeY",
	  "gonka1w508d6qejxtdg4y5r3zarvary0c5xw7k2gsyg6" },
	{ "02C6047F9441ED7D6D3045406E95C07CD85C778E4B8CEF3CA7ABAC09B95C709EE5",
	  "AsYEf5RB7X1tMEVAbpXAfNhcd45LjO88p6usCblccJ7l",
	  "gonka1q6hag67dl53wl99vzg42z8eyzfz2xlkvqkpz3w" },
	{ "02f9308a019258c31049344f85f89d5229b531c845836f99b08601f113bce036f9",
	  "AvkwigGSWMMQSTRPhfidUim1MchFg2+ZsIYB8RO84Db5",
	  "gonka10ht9tyks4vh7p5p904t340cr9nvahy7uhvqtp8" },
};

START_TEST(keys_have_addresses)
{
	unsigned char key[GH__ACCOUNT_KEY_SIZE];
	char address[GH__ADDRESS_SIZE], base64[GH__KEY_BASE64_SIZE];

	for (size_t i = 0; i < COUNT(known); i++) {
		assert_ok(gh__account_key_parse(key, known[i].hex, error));
		assert_ok(gh__account_address(address, key, error));
		ck_assert_str_eq(address, known[i].address);
		gh__account_key_base64(base64, key);
		ck_assert_str_eq(base64, known[i].base64);
	}
}
END_TEST

START_TEST(what_is_no_key)
{
	unsigned char key[GH__ACCOUNT_KEY_SIZE];
	char text[2 * GH__ACCOUNT_KEY_SIZE + 3];

	assert_fails(GH_EINVAL, "0 hex digits, expected 66", gh__account_key_parse(key, "", error));
	for (size_t len = 1; len < sizeof text; len++) {
		memset(text, '0', len);
		text[1] = '2';
		text[len] = '\0';
		if (len == 2 * GH__ACCOUNT_KEY_SIZE)
			assert_ok(gh__account_key_parse(key, text, error));
		else
			assert_fails(GH_EINVAL, "expected 66",
				     gh__account_key_parse(key, text, error));
	}
	memcpy(text, known[0].hex, strlen(known[0].hex) + 1);
	text[65] = 'g';
	assert_fails(GH_EINVAL, "0x67 at 65", gh__account_key_parse(key, text, error));
	assert_fails(GH_EINVAL, "0xc3 at 0", gh__account_key_parse(key, "\xc3\xa9", error));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("address");
	TCase *tcase = tcase_create("address");

	tcase_add_test(tcase, keys_have_addresses);
	tcase_add_test(tcase, what_is_no_key);
	suite_add_tcase(suite, tcase);
	return unit_main(suite);
}
