#ifndef GH_TEXT_VOCAB_H
#define GH_TEXT_VOCAB_H

#include <stdbool.h>

#include "base/buf.h"

/*
 * The table of tokens: id to text, text to id. Texts are kept as the file spells them (the byte
 * alphabet), with the bytes they stand for beside them; both lie in one buffer.
 */
#define GH__VOCAB_IDS  (1 << 22) /* ids are below this */
#define GH__VOCAB_TEXT 65536u    /* longest text of a token, in bytes */

enum {
	GH__TOKEN_MODEL = 1, /* an entry of the model's vocabulary: pieces may become it */
	GH__TOKEN_ADDED = 2,
	GH__TOKEN_SPECIAL = 4
};

typedef struct gh__token {
	uint32_t text, text_len;   /* in strings, NUL-terminated */
	uint32_t bytes, bytes_len; /* in strings */
	uint32_t flags;            /* 0: no token has this id */
} gh__token;

typedef struct gh__vocab {
	gh__buf strings;
	gh__token *tokens;
	int32_t size; /* highest id + 1 */
	int32_t capacity;
	struct gh__vocab_slot *slots; /* open addressing, a power of two of them */
	size_t slot_mask, count;
	uint64_t seed;
} gh__vocab;

void gh__vocab_init(gh__vocab *vocab);
void gh__vocab_done(gh__vocab *vocab);

/* flags are not 0. A text or an id that is there already is GH_EFORMAT. */
gh_status gh__vocab_add(gh__vocab *vocab, const char *text, size_t len, int64_t id, unsigned flags,
			gh_error *error);

/* Make a token that is there an added one: from now on it stands for its text as it is. */
void gh__vocab_mark(gh__vocab *vocab, int32_t id, unsigned flags);

int32_t gh__vocab_find(const gh__vocab *vocab, const char *text, size_t len); /* -1: not there */

/* The same among the entries of the model's vocabulary only. */
int32_t gh__vocab_find_model(const gh__vocab *vocab, const char *text, size_t len);

/* NULL: no token has this id. */
static inline const gh__token *gh__vocab_at(const gh__vocab *vocab, int64_t id)
{
	if (id < 0 || id >= vocab->size || !vocab->tokens[id].flags)
		return NULL;
	return &vocab->tokens[id];
}

static inline const char *gh__vocab_text(const gh__vocab *vocab, const gh__token *token)
{
	return vocab->strings.data + token->text;
}

static inline const char *gh__vocab_bytes(const gh__vocab *vocab, const gh__token *token)
{
	return vocab->strings.data + token->bytes;
}

/*
 * The byte alphabet: each byte as a printable character (bytes 33 to 126, 161 to 172 and 174 to
 * 255 as the same code point, the others in order from U+0100 on).
 */
uint32_t gh__alphabet_char(unsigned char byte);

/* Spell bytes in it; out has room for 2 * len. Answers the length. */
size_t gh__alphabet_spell(char *out, const char *bytes, size_t len);

/* Read a spelled text; out has room for len. Answers the length, or SIZE_MAX when a character is
 * none of the alphabet. */
size_t gh__alphabet_read(char *out, const char *text, size_t len);

#endif
