#ifndef GH_TEXT_UNICODE_H
#define GH_TEXT_UNICODE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

/*
 * What the splitting patterns ask of a character, as a table of bits. The categories are
 * utf8proc's, carried forward to Unicode 16, which is what the reference's patterns know.
 */
enum {
	GH__UNI_LETTER = 1, /* \p{L} */
	GH__UNI_NUMBER = 2, /* \p{N} */
	GH__UNI_SPACE = 4,  /* \s: White_Space */
	GH__UNI_WORD = 8,   /* \w */
	GH__UNI_MARK = 16,  /* has a combining class */
	GH__UNI_NFC = 32    /* NFC may change it, alone or together with what stands before it */
};

typedef struct gh__unicode gh__unicode;

struct gh__unicode {
	uint16_t block[0x1100]; /* by code point / 256 */
	uint8_t bits[][256];
};

/* nfc: fill the two bits that gh__nfc() needs as well. NULL: out of memory. */
gh__unicode *gh__unicode_create(bool nfc);
void gh__unicode_free(gh__unicode *unicode);

static inline unsigned gh__unicode_bits(const gh__unicode *unicode, uint32_t c)
{
	return unicode->bits[unicode->block[c >> 8]][c & 0xff];
}

/* The character at text, which is valid UTF-8; *len is its length. */
static inline uint32_t gh__unicode_at(const char *text, unsigned *len)
{
	const unsigned char *s = (const unsigned char *)text;

	if (s[0] < 0x80) {
		*len = 1;
		return s[0];
	}
	if (s[0] < 0xe0) {
		*len = 2;
		return (s[0] & 0x1fu) << 6 | (s[1] & 0x3fu);
	}
	if (s[0] < 0xf0) {
		*len = 3;
		return (s[0] & 0x0fu) << 12 | (s[1] & 0x3fu) << 6 | (s[2] & 0x3fu);
	}
	*len = 4;
	return (s[0] & 0x07u) << 18 | (s[1] & 0x3fu) << 12 | (s[2] & 0x3fu) << 6 | (s[3] & 0x3fu);
}

/* Where the character before at begins; at > 0. */
static inline size_t gh__unicode_before(const char *text, size_t at)
{
	do
		at--;
	while (((unsigned char)text[at] & 0xc0) == 0x80);
	return at;
}

/* True when the text is in NFC already, which most text is. */
bool gh__nfc_is(const gh__unicode *unicode, const char *text, size_t len);

/* No text is more than this many times as long as its NFC. The extreme is U+1FBE U+0308 U+0301,
 * seven bytes, which become the two of U+0390. */
#define GH__NFC_SHRINKS 4

/* The text in NFC, appended to out. */
gh_status gh__nfc(const char *text, size_t len, gh__buf *out, gh_error *error);

#endif
