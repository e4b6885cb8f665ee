#include "hub/json_file.h"

#include "base/alloc.h"
#include "base/error.h"
#include "hub/config.h"

/* Real ones have a few kilobytes, also where every layer is listed. */
#define FILE_MAX ((size_t)16 << 20)

gh_status gh__hub_read_json(json_t **out, const char *folder, const char *name, gh_error *error)
{
	gh_error inner = GH_ERROR_INIT;
	char *text;
	size_t len;
	gh_status status;

	status = gh__hub_read_file(&text, &len, folder, name, FILE_MAX, error);
	if (status != GH_OK)
		return status;
	*out = gh__json_parse(text, len, false, &inner);
	gh__free(text);
	return *out ? GH_OK : gh__fail(error, inner.status, "%s: %s", name, inner.text);
}

static bool read_id(const json_t *value, int64_t *out)
{
	if (!json_is_integer(value) || json_integer_value(value) < 0 ||
	    json_integer_value(value) >= GH__TOKEN_MAX)
		return false;
	*out = json_integer_value(value);
	return true;
}

void gh__hub_read_ids(gh__json_reader *r, const char *key, int64_t *out, int *count)
{
	const json_t *value = json_object_get(r->object, key);
	size_t listed = json_array_size(value); /* 0: no list */

	*count = 0;
	if (!value || json_is_null(value))
		return;
	if (listed == 0 && !json_is_array(value)) {
		*count = read_id(value, &out[0]);
		if (*count == 0)
			gh__json_fail(r, key, "a token id or a list of them expected");
		return;
	}
	if (listed > GH__EOS_MAX) {
		gh__json_fail(r, key, "%zu ids, at most %d expected", listed, GH__EOS_MAX);
		return;
	}
	for (size_t i = 0; i < listed; i++) {
		if (!read_id(json_array_get(value, i), &out[i])) {
			gh__json_fail(r, key, "member %zu is no token id", i);
			return;
		}
		*count = (int)i + 1;
	}
}
