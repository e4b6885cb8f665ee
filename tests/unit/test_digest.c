#include "crypto/digest.h"
#include "unit.h"

START_TEST(test_sha256)
{
	static const unsigned char abc[4] = { 0xba, 0x78, 0x16, 0xbf };
	static const unsigned char nothing[4] = { 0xe3, 0xb0, 0xc4, 0x42 };
	unsigned char digest[GH__SHA256_SIZE];

	assert_ok(gh__sha256(digest, "abc", 3, error));
	ck_assert_mem_eq(digest, abc, sizeof abc);
	assert_ok(gh__sha256(digest, "", 0, error));
	ck_assert_mem_eq(digest, nothing, sizeof nothing);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("digest");
	TCase *tc = tcase_create("digest");

	tcase_add_test(tc, test_sha256);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
