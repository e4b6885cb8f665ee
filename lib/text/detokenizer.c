#include <gonkahost/text.h>

#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/error.h"
#include "base/utf8.h"
#include "text/tokenizer.h"

#define DECODE_MAX ((size_t)1 << 31)

static const char replacement[] = "\xef\xbf\xbd";

struct gh_detokenizer {
	const gh_tokenizer *tokenizer;
	bool skip_special;
	size_t invalid;   /* U+FFFD that wait for a good character */
	size_t begun_len; /* bytes of a character that is not complete */
	char begun[4];
	gh__buf bytes; /* begun and the bytes of the latest token */
	gh__buf text;
};

static gh_status check_flags(uint32_t flags, gh_error *error)
{
	if (flags & ~GH_DECODE_SKIP_SPECIAL)
		return gh__fail(error, GH_EINVAL, "flags: 0x%x is not known", flags);
	return GH_OK;
}

static void append_token(gh__buf *out, const gh_tokenizer *tokenizer, int32_t id, bool skip_special)
{
	size_t len;
	const char *bytes = gh__tokenizer_bytes(tokenizer, id, &len);

	if (bytes && !(skip_special && gh__tokenizer_is_special(tokenizer, id)))
		gh__buf_append(out, bytes, len);
}

gh_status gh_tokenizer_decode(const gh_tokenizer *tokenizer, const int32_t *ids, size_t count,
			      uint32_t flags, char **text, size_t *len, gh_error *error)
{
	gh__buf bytes = GH__BUF_INIT(DECODE_MAX), out = GH__BUF_INIT(DECODE_MAX);
	gh_status status = check_flags(flags, error);

	if (status != GH_OK)
		return status;
	for (size_t i = 0; i < count; i++)
		append_token(&bytes, tokenizer, ids[i], flags & GH_DECODE_SKIP_SPECIAL);
	const char *data = gh__buf_str(&bytes);
	for (size_t at = 0; at < bytes.len;) {
		uint32_t c;
		size_t valid = gh__utf8_valid_len(data + at, bytes.len - at);

		gh__buf_append(&out, data + at, valid);
		at += valid;
		if (at == bytes.len)
			break;
		int bad = gh__utf8_decode(data + at, bytes.len - at, &c);
		gh__buf_append(&out, replacement, sizeof replacement - 1);
		at = bad < 0 ? at + (size_t)-bad : bytes.len;
	}
	status = gh__buf_status(&bytes);
	size_t written = out.len;
	if (status == GH_OK)
		status = gh__buf_status(&out);
	char *taken = status == GH_OK ? gh__buf_take(&out) : NULL;
	if (status == GH_OK && !taken)
		status = GH_ENOMEM;
	if (status == GH_OK) {
		*text = taken;
		*len = written;
	} else {
		gh__fail(error, status, "ids: the text does not fit");
	}
	gh__buf_free(&bytes);
	gh__buf_free(&out);
	return status;
}

gh_status gh_detokenizer_create(gh_detokenizer **out, const gh_tokenizer *tokenizer, uint32_t flags,
				gh_error *error)
{
	gh_status status = check_flags(flags, error);

	if (status != GH_OK)
		return status;
	gh_detokenizer *d = gh__calloc(1, sizeof *d);
	if (!d)
		return gh__fail_nomem(error);
	d->tokenizer = tokenizer;
	d->skip_special = flags & GH_DECODE_SKIP_SPECIAL;
	gh__buf_init(&d->bytes, DECODE_MAX);
	gh__buf_init(&d->text, DECODE_MAX);
	*out = d;
	return GH_OK;
}

void gh_detokenizer_free(gh_detokenizer *detokenizer)
{
	if (!detokenizer)
		return;
	gh__buf_free(&detokenizer->bytes);
	gh__buf_free(&detokenizer->text);
	gh__free(detokenizer);
}

gh_status gh_detokenizer_push(gh_detokenizer *d, int32_t id, const char **text, size_t *len,
			      gh_error *error)
{
	size_t invalid = d->invalid, at = 0;

	gh__buf_reset(&d->text);
	gh__buf_reset(&d->bytes);
	gh__buf_append(&d->bytes, d->begun, d->begun_len);
	append_token(&d->bytes, d->tokenizer, id, d->skip_special);
	const char *data = gh__buf_str(&d->bytes);
	while (at < d->bytes.len) {
		uint32_t c;
		size_t good = gh__utf8_valid_len(data + at, d->bytes.len - at);

		for (; good && invalid; invalid--)
			gh__buf_append(&d->text, replacement, sizeof replacement - 1);
		gh__buf_append(&d->text, data + at, good);
		at += good;
		int bad = at < d->bytes.len ? gh__utf8_decode(data + at, d->bytes.len - at, &c) : 0;
		if (bad == 0)
			break;
		at += (size_t)-bad;
		invalid++;
	}
	gh_status status = gh__buf_status(&d->bytes);
	if (status == GH_OK)
		status = gh__buf_status(&d->text);
	if (status != GH_OK)
		return gh__fail(error, status, "id %d: its text does not fit", id);
	d->invalid = invalid;
	d->begun_len = d->bytes.len - at;
	memcpy(d->begun, data + at, d->begun_len);
	*text = gh__buf_str(&d->text);
	*len = d->text.len;
	return GH_OK;
}
