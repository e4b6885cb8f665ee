#ifndef GH_CRYPTO_DIGEST_H
#define GH_CRYPTO_DIGEST_H

#include <gonkahost/base.h>

/*
 * Digests, by libcrypto. Any thread.
 */
#define GH__SHA256_SIZE 32

/* GH_ENOMEM is the only way to fail. */
gh_status gh__sha256(unsigned char out[GH__SHA256_SIZE], const void *data, size_t len,
		     gh_error *error);

#endif
