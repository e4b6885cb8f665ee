#ifndef GH_CRYPTO_ADDRESS_H
#define GH_CRYPTO_ADDRESS_H

#include <stddef.h>

#include <gonkahost/base.h>

/*
 * Public keys of accounts (secp256k1, compressed) and the addresses that they have on the chain.
 * Any thread.
 */
#define GH__ACCOUNT_KEY_SIZE 33
#define GH__ADDRESS_SIZE     48 /* "gonka1", 38 characters, a NUL */
#define GH__KEY_BASE64_SIZE  45 /* of an account key, with its padding and a NUL */

/* From 66 hex digits of either case. GH_EINVAL: it is none; the text says why. */
gh_status gh__account_key_parse(unsigned char out[GH__ACCOUNT_KEY_SIZE], const char *hex,
				gh_error *error);

/* bech32("gonka", RIPEMD-160(SHA-256(key))). */
gh_status gh__account_address(char out[GH__ADDRESS_SIZE],
			      const unsigned char key[GH__ACCOUNT_KEY_SIZE], gh_error *error);

void gh__account_key_base64(char out[GH__KEY_BASE64_SIZE],
			    const unsigned char key[GH__ACCOUNT_KEY_SIZE]);

#endif
