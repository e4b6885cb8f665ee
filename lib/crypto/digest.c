#include "crypto/digest.h"

#include <openssl/evp.h>

#include "base/error.h"

gh_status gh__sha256(unsigned char out[GH__SHA256_SIZE], const void *data, size_t len,
		     gh_error *error)
{
	if (EVP_Digest(data, len, out, NULL, EVP_sha256(), NULL) != 1)
		return gh__fail_nomem(error);
	return GH_OK;
}
