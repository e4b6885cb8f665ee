#include "poc/seed.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include <gonkahost/poc.h>

#include "base/error.h"
#include "crypto/digest.h"

/* Behind a seed string: "_" and the number of a digest. */
#define TEXT_SIZE (GH__POC_SEED_MAX + 16)

typedef struct seed_text {
	char bytes[TEXT_SIZE];
	size_t len;
} seed_text;

static gh_status write_text(seed_text *out, gh_error *error, const char *format, ...)
	GH_PRINTF(3, 4);
static gh_status write_text(seed_text *out, gh_error *error, const char *format, ...)
{
	va_list args;
	int len;

	va_start(args, format);
	len = vsnprintf(out->bytes, sizeof out->bytes, format, args);
	va_end(args);
	if (len < 0 || len > GH__POC_SEED_MAX)
		return gh__fail(
			error, GH_ETOOBIG,
			"block_hash and public_key: a seed of %d bytes, at most %d expected", len,
			GH__POC_SEED_MAX);
	out->len = (size_t)len;
	return GH_OK;
}

static uint32_t read_le32(const unsigned char *p)
{
	return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static gh_status words_of(uint32_t *words, seed_text *seed, unsigned digests, gh_error *error)
{
	for (unsigned i = 0; i < digests; i++) {
		unsigned char digest[GH__SHA256_SIZE];
		int more = snprintf(seed->bytes + seed->len, TEXT_SIZE - seed->len, "_%u", i);
		gh_status status = gh__sha256(digest, seed->bytes, seed->len + (size_t)more, error);

		if (status != GH_OK)
			return status;
		for (size_t j = 0; j < GH__POC_DIGEST_WORDS; j++)
			*words++ = read_le32(digest + 4 * j);
	}
	return GH_OK;
}

static gh_status seed_with(gh__pcg64 *out, seed_text *seed, unsigned digests, gh_error *error)
{
	uint32_t words[GH__POC_DIGEST_WORDS * GH__POC_DIGESTS_MAX];
	gh_status status = words_of(words, seed, digests, error);

	if (status == GH_OK)
		gh__pcg64_seed(out, words, (size_t)digests * GH__POC_DIGEST_WORDS);
	return status;
}

gh_status gh__poc_words(uint32_t *words, const char *string, unsigned digests, gh_error *error)
{
	seed_text seed;
	gh_status status = write_text(&seed, error, "%s", string);

	return status == GH_OK ? words_of(words, &seed, digests, error) : status;
}

gh_status gh__poc_seed(gh__pcg64 *out, const char *string, unsigned digests, gh_error *error)
{
	seed_text seed;
	gh_status status = write_text(&seed, error, "%s", string);

	return status == GH_OK ? seed_with(out, &seed, digests, error) : status;
}

gh_status gh__poc_seed_pool(gh__pcg64 *out, const char *block_hash, gh_error *error)
{
	return gh__poc_seed(out, block_hash, 4, error);
}

/* No underscore before the number here, one below: so the network has it. */
gh_status gh__poc_seed_input(gh__pcg64 *out, const char *block_hash, const char *public_key,
			     uint64_t nonce, gh_error *error)
{
	seed_text seed;
	gh_status status =
		write_text(&seed, error, "%s_%s_nonce%" PRIu64, block_hash, public_key, nonce);

	return status == GH_OK ? seed_with(out, &seed, 4, error) : status;
}

gh_status gh__poc_seed_permutation(gh__pcg64 *out, const char *block_hash, const char *public_key,
				   uint64_t nonce, gh_error *error)
{
	seed_text seed;
	gh_status status = write_text(&seed, error, "%s_%s_nonce_%" PRIu64 "_permutations",
				      block_hash, public_key, nonce);

	return status == GH_OK ? seed_with(out, &seed, 1, error) : status;
}

gh_status gh__poc_seed_target(gh__pcg64 *out, const char *block_hash, gh_error *error)
{
	seed_text seed;
	gh_status status = write_text(&seed, error, "%s_target", block_hash);

	return status == GH_OK ? seed_with(out, &seed, 1, error) : status;
}

gh_status gh__poc_name_hash(uint32_t *out, const char *block_hash, const char *name,
			    gh_error *error)
{
	unsigned char digest[GH__SHA256_SIZE];
	seed_text text;
	gh_status status = write_text(&text, error, "%s_%s", block_hash, name);

	if (status == GH_OK)
		status = gh__sha256(digest, text.bytes, text.len, error);
	if (status == GH_OK)
		*out = (uint32_t)digest[0] << 24 | (uint32_t)digest[1] << 16 |
		       (uint32_t)digest[2] << 8 | digest[3];
	return status;
}

gh_status gh_poc_nonce(uint64_t *out, uint64_t node_id, uint64_t node_count, uint64_t group,
		       uint64_t group_count, uint64_t index, gh_error *error)
{
	gh__u128 nonce;

	if (node_count == 0)
		return gh__fail(error, GH_EINVAL, "node_count: 0 nodes share no nonces");
	if (group >= group_count)
		return gh__fail(error, GH_EINVAL,
				"group: %" PRIu64 " is not one of %" PRIu64 " groups", group,
				group_count);
	/* below 2^127 where the products below are, so that nothing wraps unseen */
	if ((gh__u128)group_count * node_count > INT64_MAX)
		return gh__fail(error, GH_ETOOBIG, "node_count: %" PRIu64 " leaves no nonces",
				node_count);
	nonce = node_id + (gh__u128)group * node_count +
		(gh__u128)index * (group_count * node_count);
	if (nonce > INT64_MAX)
		return gh__fail(error, GH_ETOOBIG, "nonce: beyond 2^63 - 1");
	*out = (uint64_t)nonce;
	return GH_OK;
}
