#include "text/tokenizer.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/utf8.h"

#define TEXT_MAX ((size_t)64 << 20)

void gh_tokenizer_free(gh_tokenizer *tokenizer)
{
	if (!tokenizer)
		return;
	gh__added_done(&tokenizer->raw);
	gh__added_done(&tokenizer->normalized);
	gh__unicode_free(tokenizer->unicode);
	gh__splits_done(&tokenizer->splits);
	gh__vocab_done(&tokenizer->model.vocab);
	gh__merges_done(&tokenizer->model.merges);
	gh__free(tokenizer);
}

int32_t gh_tokenizer_size(const gh_tokenizer *tokenizer)
{
	return tokenizer->model.vocab.size;
}

int32_t gh_tokenizer_id(const gh_tokenizer *tokenizer, const char *token)
{
	return gh__vocab_find(&tokenizer->model.vocab, token, strlen(token));
}

const char *gh_tokenizer_token(const gh_tokenizer *tokenizer, int32_t id)
{
	const gh__token *token = gh__vocab_at(&tokenizer->model.vocab, id);

	return token ? gh__vocab_text(&tokenizer->model.vocab, token) : NULL;
}

int32_t gh_tokenizer_eos(const gh_tokenizer *tokenizer)
{
	return tokenizer->eos;
}

const char *gh__tokenizer_bytes(const gh_tokenizer *tokenizer, int32_t id, size_t *len)
{
	const gh__token *token = gh__vocab_at(&tokenizer->model.vocab, id);

	*len = token ? token->bytes_len : 0;
	return token ? gh__vocab_bytes(&tokenizer->model.vocab, token) : NULL;
}

bool gh__tokenizer_is_special(const gh_tokenizer *tokenizer, int32_t id)
{
	const gh__token *token = gh__vocab_at(&tokenizer->model.vocab, id);

	return token && token->flags & GH__TOKEN_SPECIAL;
}

size_t gh__tokenizer_at_least(const gh_tokenizer *tokenizer, const char *text, size_t len)
{
	size_t most = tokenizer->token_bytes;

	if (!most || gh__utf8_valid_len(text, len) != len)
		return 0;
	if (tokenizer->nfc && !gh__nfc_is(tokenizer->unicode, text, len))
		most *= GH__NFC_SHRINKS;
	return len / most + (len % most != 0);
}

/* One call of gh_tokenizer_encode(). */
typedef struct encoding {
	const gh_tokenizer *tokenizer;
	gh__bpe bpe;
	gh__splitter splitter;
	gh__buf composed; /* a part of the text in NFC */
	gh_error *error;
} encoding;

static gh_status encode_piece(void *userdata, const char *text, size_t len)
{
	encoding *e = userdata;

	return gh__bpe_encode(&e->bpe, text, len, e->error);
}

static gh_status encode_normalized(encoding *e, const char *text, size_t len)
{
	gh__added_walk walk;
	gh__added_part part;
	gh_status status = GH_OK;

	gh__added_begin(&walk, &e->tokenizer->normalized, e->tokenizer->unicode, text, len);
	while (status == GH_OK && gh__added_next(&walk, &part)) {
		if (part.item)
			status = gh__bpe_push(&e->bpe, part.item->id, e->error);
		else
			status = gh__splitter_run(&e->splitter, text + part.start,
						  part.stop - part.start);
	}
	return status;
}

static gh_status encode_raw(encoding *e, const char *text, size_t len)
{
	if (!e->tokenizer->nfc || gh__nfc_is(e->tokenizer->unicode, text, len))
		return encode_normalized(e, text, len);
	gh__buf_reset(&e->composed);
	gh_status status = gh__nfc(text, len, &e->composed, e->error);
	if (status == GH_OK && gh__buf_status(&e->composed) != GH_OK)
		status = gh__fail(e->error, gh__buf_status(&e->composed),
				  "text: its normalised form does not fit");
	if (status != GH_OK)
		return status;
	return encode_normalized(e, e->composed.data, e->composed.len);
}

static gh_status push_all(encoding *e, const int32_t *ids, int count)
{
	gh_status status = GH_OK;

	for (int i = 0; i < count && status == GH_OK; i++)
		status = gh__bpe_push(&e->bpe, ids[i], e->error);
	return status;
}

gh_status gh_tokenizer_encode(const gh_tokenizer *tokenizer, const char *text, size_t len,
			      uint32_t flags, int32_t **ids, size_t *count, gh_error *error)
{
	encoding e = { .tokenizer = tokenizer, .error = error };
	gh__added_walk walk;
	gh__added_part part;
	bool special = flags & GH_ENCODE_SPECIAL;

	if (flags & ~GH_ENCODE_SPECIAL)
		return gh__fail(error, GH_EINVAL, "flags: 0x%x is not known", flags);
	if (len > TEXT_MAX)
		return gh__fail(error, GH_ETOOBIG, "text: %zu bytes, at most %zu", len, TEXT_MAX);
	size_t valid = gh__utf8_valid_len(text, len);
	if (valid != len)
		return gh__fail(error, GH_EINVAL, "text: invalid UTF-8 at byte %zu", valid);

	gh_status status = gh__splitter_init(&e.splitter, &tokenizer->splits, tokenizer->unicode,
					     encode_piece, &e, error);
	if (status != GH_OK)
		return status;
	gh__bpe_init(&e.bpe, &tokenizer->model);
	/* NFC can make three characters of one. */
	gh__buf_init(&e.composed, 3 * TEXT_MAX);
	if (special)
		status = push_all(&e, tokenizer->prefix, tokenizer->prefix_count);
	gh__added_begin(&walk, &tokenizer->raw, tokenizer->unicode, text, len);
	while (status == GH_OK && gh__added_next(&walk, &part)) {
		if (part.item)
			status = gh__bpe_push(&e.bpe, part.item->id, error);
		else
			status = encode_raw(&e, text + part.start, part.stop - part.start);
	}
	if (status == GH_OK && special)
		status = push_all(&e, tokenizer->suffix, tokenizer->suffix_count);
	if (status == GH_OK) {
		*count = e.bpe.count;
		*ids = e.bpe.count ? e.bpe.ids : NULL;
		if (e.bpe.count)
			e.bpe.ids = NULL;
	}
	gh__bpe_done(&e.bpe);
	gh__splitter_done(&e.splitter);
	gh__buf_free(&e.composed);
	return status;
}
