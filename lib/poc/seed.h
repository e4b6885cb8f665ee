#ifndef GH_POC_SEED_H
#define GH_POC_SEED_H

#include "poc/random.h"

#include <gonkahost/base.h>

/*
 * From block hash, public key and nonce to generators. Strings are taken byte for byte, in the case
 * in which they came. Errors: GH_ETOOBIG they make a seed string of more than GH__POC_SEED_MAX
 * bytes; GH_ENOMEM.
 */
#define GH__POC_SEED_MAX 2048

/* Entropy words that a digest gives, and the most digests of one seed. */
#define GH__POC_DIGEST_WORDS 8
#define GH__POC_DIGESTS_MAX  4

/* GH__POC_DIGEST_WORDS * digests words of a seed string: SHA-256 of string + "_" + 0, 1 ... */
gh_status gh__poc_words(uint32_t *words, const char *string, unsigned digests, gh_error *error);

/* digests: at most GH__POC_DIGESTS_MAX. */
gh_status gh__poc_seed(gh__pcg64 *out, const char *string, unsigned digests, gh_error *error);

/* The generators of a round: the weights, the input of a nonce, its permutation, the target. */
gh_status gh__poc_seed_pool(gh__pcg64 *out, const char *block_hash, gh_error *error);
gh_status gh__poc_seed_input(gh__pcg64 *out, const char *block_hash, const char *public_key,
			     uint64_t nonce, gh_error *error);
gh_status gh__poc_seed_permutation(gh__pcg64 *out, const char *block_hash, const char *public_key,
				   uint64_t nonce, gh_error *error);
gh_status gh__poc_seed_target(gh__pcg64 *out, const char *block_hash, gh_error *error);

/* The number that chooses a tensor's place in the pool. */
gh_status gh__poc_name_hash(uint32_t *out, const char *block_hash, const char *name,
			    gh_error *error);

#endif
