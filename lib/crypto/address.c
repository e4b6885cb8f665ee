#include "crypto/address.h"

#include <string.h>

#include <openssl/evp.h>

#include "base/error.h"
#include "crypto/digest.h"

enum {
	HASH_SIZE = 20,
	GROUPS = HASH_SIZE * 8 / 5, /* five bits each */
	CHECK_GROUPS = 6
};

static const char prefix[] = "gonka";

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
		return (c | 0x20) - 'a' + 10;
	return -1;
}

gh_status gh__account_key_parse(unsigned char out[GH__ACCOUNT_KEY_SIZE], const char *hex,
				gh_error *error)
{
	size_t len = strlen(hex), i;

	for (i = 0; i < len; i++)
		if (hex_digit(hex[i]) < 0)
			return gh__fail(error, GH_EINVAL,
					"public_key: byte 0x%02x at %zu is no hex digit",
					(unsigned char)hex[i], i);
	if (len != 2 * GH__ACCOUNT_KEY_SIZE)
		return gh__fail(error, GH_EINVAL, "public_key: %zu hex digits, expected %d", len,
				2 * GH__ACCOUNT_KEY_SIZE);
	for (i = 0; i < GH__ACCOUNT_KEY_SIZE; i++)
		out[i] = (unsigned char)(hex_digit(hex[2 * i]) << 4 | hex_digit(hex[2 * i + 1]));
	return GH_OK;
}

/* ---- bech32 (BIP 173) ---- */

static uint32_t polymod(uint32_t sum, unsigned value)
{
	static const uint32_t generators[] = { 0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd,
					       0x2a1462b3 };
	uint32_t top = sum >> 25;

	sum = (sum & 0x1ffffff) << 5 ^ value;
	for (int i = 0; i < 5; i++)
		if (top >> i & 1)
			sum ^= generators[i];
	return sum;
}

static void bech32(char *out, const unsigned char hash[HASH_SIZE])
{
	static const char alphabet[] = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";
	uint32_t sum = 1;
	size_t i;

	for (i = 0; prefix[i]; i++)
		sum = polymod(sum, (unsigned char)prefix[i] >> 5);
	sum = polymod(sum, 0);
	for (i = 0; prefix[i]; i++)
		sum = polymod(sum, prefix[i] & 31);

	memcpy(out, prefix, sizeof prefix - 1);
	out += sizeof prefix - 1;
	*out++ = '1';
	for (i = 0; i < GROUPS; i++) {
		size_t at = i * 5 / 8, shift = i * 5 % 8;
		unsigned pair = (unsigned)hash[at] << 8 | (at + 1 < HASH_SIZE ? hash[at + 1] : 0);
		unsigned group = pair >> (11 - shift) & 31;

		sum = polymod(sum, group);
		*out++ = alphabet[group];
	}
	for (i = 0; i < CHECK_GROUPS; i++)
		sum = polymod(sum, 0);
	sum ^= 1;
	for (i = 0; i < CHECK_GROUPS; i++)
		*out++ = alphabet[sum >> 5 * (CHECK_GROUPS - 1 - i) & 31];
	*out = '\0';
}

gh_status gh__account_address(char out[GH__ADDRESS_SIZE],
			      const unsigned char key[GH__ACCOUNT_KEY_SIZE], gh_error *error)
{
	unsigned char digest[GH__SHA256_SIZE], hash[HASH_SIZE];
	gh_status status = gh__sha256(digest, key, GH__ACCOUNT_KEY_SIZE, error);

	if (status != GH_OK)
		return status;
	if (EVP_Digest(digest, sizeof digest, hash, NULL, EVP_ripemd160(), NULL) != 1)
		return gh__fail(error, GH_ENOTSUP, "libcrypto: offers no RIPEMD-160");
	bech32(out, hash);
	return GH_OK;
}

void gh__account_key_base64(char out[GH__KEY_BASE64_SIZE],
			    const unsigned char key[GH__ACCOUNT_KEY_SIZE])
{
	EVP_EncodeBlock((unsigned char *)out, key, GH__ACCOUNT_KEY_SIZE);
}
