#ifndef GH_TEXT_TOKENIZER_H
#define GH_TEXT_TOKENIZER_H

#include <gonkahost/text.h>

#include "text/added.h"
#include "text/bpe.h"
#include "text/split.h"

/*
 * A tokenizer is the row of steps that encoding runs through, ready-made by the loader and never
 * written to after that.
 */
#define GH__TOKENIZER_AFFIXES 32

struct gh_tokenizer {
	gh__added_set raw;        /* 1: cut out of the text as it comes */
	bool nfc;                 /* 2: then the rest is normalised */
	gh__added_set normalized; /*    and these are cut out of it */
	gh__unicode *unicode;
	gh__splits splits;   /* 3: pre-tokenisation */
	gh__bpe_model model; /* 4 */
	int32_t prefix[GH__TOKENIZER_AFFIXES], suffix[GH__TOKENIZER_AFFIXES]; /* 5 */
	int prefix_count, suffix_count;
	int32_t eos;
	size_t token_bytes; /* the most of a normalised text that one token stands for; 0: no limit */
};

/* The bytes of a token as they are; NULL (and *len 0): the id is outside the table. */
const char *gh__tokenizer_bytes(const gh_tokenizer *tokenizer, int32_t id, size_t *len);

/*
 * A number of tokens that the text has at least, without encoding it: len by the bytes of the
 * longest token, and by GH__NFC_SHRINKS where the text would first be normalised. 0 where nothing
 * is known: the text is invalid, or the tokenizer lets parts of a text vanish (added tokens that
 * take any amount of white space with them, splits that remove, bytes without a token).
 */
size_t gh__tokenizer_at_least(const gh_tokenizer *tokenizer, const char *text, size_t len);

/* True for a token that GH_DECODE_SKIP_SPECIAL leaves out. */
bool gh__tokenizer_is_special(const gh_tokenizer *tokenizer, int32_t id);

#endif
