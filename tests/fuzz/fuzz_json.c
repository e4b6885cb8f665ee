/*
 * Any bytes as JSON. Both readers and jansson's parser must agree on what is JSON at all, and what
 * the tree reader took must come back through the writer.
 */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "fuzz.h"
#include "json/json.h"
#include "json/pull.h"

#define CHECK(condition)          \
	do {                      \
		if (!(condition)) \
			abort();  \
	} while (0)

static gh_status pull_all(const char *text, size_t len)
{
	gh__pull *pull;
	gh__pull_event event;
	size_t at = 0, n;

	CHECK(gh__pull_create(&pull, text, len, NULL) == GH_OK);
	while ((event = gh__pull_next(pull)) > GH__PULL_END) {
		CHECK(gh__pull_offset(pull) > at && gh__pull_offset(pull) <= len);
		at = gh__pull_offset(pull);
		gh__pull_text(pull, &n);
		CHECK(n <= len);
	}
	gh_status status = gh__pull_error(pull, NULL, NULL);
	CHECK((event == GH__PULL_ERROR) == (status != GH_OK));
	gh__pull_free(pull);

	/* Jumping over it sees the same. */
	CHECK(gh__pull_create(&pull, text, len, NULL) == GH_OK);
	if (gh__pull_skip(pull) == GH_OK && gh__pull_next(pull) == GH__PULL_END)
		CHECK(status == GH_OK);
	else
		CHECK(status != GH_OK);
	gh__pull_free(pull);
	return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data;
	gh_status status = pull_all(text, size);
	json_t *tree = gh__json_parse(text, size, false, NULL);
	json_t *other = NULL;

	/* A NUL that ends a token is lost on jansson: it has no say about those. */
	if (size > 0 && !memchr(text, 0, size))
		other = json_loadb(text, size, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
	/* What jansson takes we refuse only for depth; it in turn refuses large integers, and both
	 * refuse a NUL in a key. */
	if (other)
		CHECK(status == GH_OK || status == GH_ETOOBIG);
	if (other && status == GH_OK)
		CHECK(tree && json_equal(tree, other));
	if (tree) {
		size_t len, again_len;
		char *written = gh__json_text(tree, &len);
		json_t *back = gh__json_parse(written, len, true, NULL);

		CHECK(status == GH_OK && back && json_equal(back, tree));
		char *again = gh__json_text(back, &again_len);
		CHECK(again_len == len && memcmp(again, written, len) == 0);
		gh__free(again);
		gh__free(written);
		json_decref(back);
	}
	json_decref(tree);
	json_decref(other);
	return 0;
}
