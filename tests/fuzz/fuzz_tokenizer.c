/*
 * The bytes of a tokenizer.json; behind a NUL, text for what loads: it is encoded, decoded and
 * streamed, and must come out the same both ways.
 */
#include <stdlib.h>
#include <string.h>

#include <gonkahost/text.h>

#include "fuzz.h"
#include "text/loader.h"

#define CHECK(condition)          \
	do {                      \
		if (!(condition)) \
			abort();  \
	} while (0)

static void stream(const gh_tokenizer *tokenizer, const int32_t *ids, size_t count,
		   const char *whole, size_t len)
{
	gh_detokenizer *detokenizer;
	size_t at = 0, piece_len;
	const char *piece;

	CHECK(gh_detokenizer_create(&detokenizer, tokenizer, 0, NULL) == GH_OK);
	for (size_t i = 0; i < count; i++) {
		CHECK(gh_detokenizer_push(detokenizer, ids[i], &piece, &piece_len, NULL) == GH_OK);
		CHECK(piece_len <= len - at && memcmp(whole + at, piece, piece_len) == 0);
		at += piece_len;
	}
	gh_detokenizer_free(detokenizer);
}

static void use(const gh_tokenizer *tokenizer, const char *text, size_t len)
{
	int32_t *ids;
	size_t count, whole_len;
	char *whole;

	if (gh_tokenizer_encode(tokenizer, text, len, GH_ENCODE_SPECIAL, &ids, &count, NULL) !=
	    GH_OK)
		return;
	for (size_t i = 0; i < count; i++)
		CHECK(ids[i] >= 0 && ids[i] < gh_tokenizer_size(tokenizer) &&
		      gh_tokenizer_token(tokenizer, ids[i]));
	CHECK(gh_tokenizer_decode(tokenizer, ids, count, 0, &whole, &whole_len, NULL) == GH_OK);
	stream(tokenizer, ids, count, whole, whole_len);
	gh_free(whole);
	gh_free(ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char plain[] = "Don't e\xcc\x81  1234 <s>hello</s>\r\n \xf0\x9f\x98\x80";
	const uint8_t *end = size ? memchr(data, '\0', size) : NULL;
	size_t json = end ? (size_t)(end - data) : size;
	gh_error error = GH_ERROR_INIT;
	gh_tokenizer *tokenizer = NULL;

	if (gh__tokenizer_parse(&tokenizer, (const char *)data, json, NULL, &error) != GH_OK) {
		CHECK(error.status != GH_OK && *error.text);
		return 0;
	}
	use(tokenizer, plain, sizeof plain - 1);
	if (end)
		use(tokenizer, (const char *)end + 1, size - json - 1);
	gh_tokenizer_free(tokenizer);
	return 0;
}
