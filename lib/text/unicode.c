#include "text/unicode.h"

#include <string.h>
#include <utf8proc.h>

#include "base/alloc.h"
#include "base/error.h"

/* Letters, numbers and marks live below this and in one block of plane 14; the rest has no bits. */
#define DENSE 0x40000u

/* Letters and numbers of Unicode 15.1 and 16, which utf8proc 2.8 does not know. */
static const struct {
	uint32_t first, last;
	uint8_t bit;
} newer[] = {
	{ 0x1c89, 0x1c8a, GH__UNI_LETTER },   { 0xa7cb, 0xa7cd, GH__UNI_LETTER },
	{ 0xa7da, 0xa7dc, GH__UNI_LETTER },   { 0x105c0, 0x105f3, GH__UNI_LETTER },
	{ 0x10d40, 0x10d49, GH__UNI_NUMBER }, { 0x10d4a, 0x10d65, GH__UNI_LETTER },
	{ 0x10d6f, 0x10d85, GH__UNI_LETTER }, { 0x10ec2, 0x10ec4, GH__UNI_LETTER },
	{ 0x11380, 0x11389, GH__UNI_LETTER }, { 0x1138b, 0x1138b, GH__UNI_LETTER },
	{ 0x1138e, 0x1138e, GH__UNI_LETTER }, { 0x11390, 0x113b5, GH__UNI_LETTER },
	{ 0x113b7, 0x113b7, GH__UNI_LETTER }, { 0x113d1, 0x113d1, GH__UNI_LETTER },
	{ 0x113d3, 0x113d3, GH__UNI_LETTER }, { 0x116d0, 0x116e3, GH__UNI_NUMBER },
	{ 0x11bc0, 0x11be0, GH__UNI_LETTER }, { 0x11bf0, 0x11bf9, GH__UNI_NUMBER },
	{ 0x13460, 0x143fa, GH__UNI_LETTER }, { 0x16100, 0x1611d, GH__UNI_LETTER },
	{ 0x16130, 0x16139, GH__UNI_NUMBER }, { 0x16d40, 0x16d6c, GH__UNI_LETTER },
	{ 0x16d70, 0x16d79, GH__UNI_NUMBER }, { 0x18cff, 0x18cff, GH__UNI_LETTER },
	{ 0x1ccf0, 0x1ccf9, GH__UNI_NUMBER }, { 0x1e5d0, 0x1e5ed, GH__UNI_LETTER },
	{ 0x1e5f0, 0x1e5f0, GH__UNI_LETTER }, { 0x1e5f1, 0x1e5fa, GH__UNI_NUMBER },
	{ 0x2ebf0, 0x2ee5d, GH__UNI_LETTER },
};

/* Circled and squared Latin letters: symbols that are Alphabetic, so \w takes them. */
static const uint32_t alphabetic_symbols[][2] = {
	{ 0x24b6, 0x24e9 }, { 0x1f130, 0x1f149 }, { 0x1f150, 0x1f169 }, { 0x1f170, 0x1f189 }
};

static uint8_t bits_of(uint32_t c)
{
	switch (utf8proc_category((utf8proc_int32_t)c)) {
	case UTF8PROC_CATEGORY_LU:
	case UTF8PROC_CATEGORY_LL:
	case UTF8PROC_CATEGORY_LT:
	case UTF8PROC_CATEGORY_LM:
	case UTF8PROC_CATEGORY_LO:
		return GH__UNI_LETTER | GH__UNI_WORD;
	case UTF8PROC_CATEGORY_ND:
	case UTF8PROC_CATEGORY_NL:
		return GH__UNI_NUMBER | GH__UNI_WORD;
	case UTF8PROC_CATEGORY_NO:
		return GH__UNI_NUMBER;
	case UTF8PROC_CATEGORY_MN:
	case UTF8PROC_CATEGORY_MC:
	case UTF8PROC_CATEGORY_ME:
	case UTF8PROC_CATEGORY_PC:
		return GH__UNI_WORD;
	case UTF8PROC_CATEGORY_ZS:
	case UTF8PROC_CATEGORY_ZL:
	case UTF8PROC_CATEGORY_ZP:
		return GH__UNI_SPACE;
	default:
		/* The controls of White_Space, and the joiners, which \w takes. */
		if ((c >= '\t' && c <= '\r') || c == 0x85)
			return GH__UNI_SPACE;
		return c == 0x200c || c == 0x200d ? GH__UNI_WORD : 0;
	}
}

static void fill_categories(uint8_t *bits)
{
	for (uint32_t c = 0; c < DENSE; c++)
		bits[c] = bits_of(c);
	for (size_t i = 0; i < sizeof newer / sizeof newer[0]; i++)
		memset(bits + newer[i].first, newer[i].bit | GH__UNI_WORD,
		       newer[i].last - newer[i].first + 1);
	for (size_t i = 0; i < sizeof alphabetic_symbols / sizeof alphabetic_symbols[0]; i++)
		for (uint32_t c = alphabetic_symbols[i][0]; c <= alphabetic_symbols[i][1]; c++)
			bits[c] |= GH__UNI_WORD;
}

/* A character needs care when NFC changes it, or when it can be the later part of a composition. */
static void fill_nfc(uint8_t *bits)
{
	const utf8proc_option_t options = UTF8PROC_STABLE | UTF8PROC_COMPOSE;

	for (uint32_t c = 0xa0; c < DENSE; c++) {
		utf8proc_int32_t parts[8];

		if (c >= 0xac00 && c <= 0xd7a3) /* Hangul syllables compose from their letters */
			continue;
		if (utf8proc_category((utf8proc_int32_t)c) == UTF8PROC_CATEGORY_CN)
			continue;
		if (utf8proc_get_property((utf8proc_int32_t)c)->combining_class)
			bits[c] |= GH__UNI_MARK;
		utf8proc_ssize_t count =
			utf8proc_decompose_char((utf8proc_int32_t)c, parts, 8, options, NULL);
		if (count < 1 || count > 8 || (count == 1 && parts[0] == (utf8proc_int32_t)c))
			continue;
		for (utf8proc_ssize_t i = 1; i < count; i++)
			if (parts[i] < (utf8proc_int32_t)DENSE)
				bits[parts[i]] |= GH__UNI_NFC;
		if (utf8proc_normalize_utf32(parts, count, options) != 1 ||
		    parts[0] != (utf8proc_int32_t)c)
			bits[c] |= GH__UNI_NFC;
	}
	for (uint32_t c = 0x1161; c <= 0x1175; c++)
		bits[c] |= GH__UNI_NFC;
	for (uint32_t c = 0x11a8; c <= 0x11c2; c++)
		bits[c] |= GH__UNI_NFC;
}

gh__unicode *gh__unicode_create(bool nfc)
{
	const uint32_t sets =
		0xe0100; /* variation selectors 17 to 256: the only marks above DENSE */
	size_t count = 2;
	uint8_t *bits = gh__calloc(DENSE, 1);
	gh__unicode *out = NULL;

	if (!bits)
		return NULL;
	fill_categories(bits);
	if (nfc)
		fill_nfc(bits);

	/* Block 0 is empty, block 1 all word characters; equal neighbours share theirs. */
	uint16_t block[DENSE >> 8];
	for (uint32_t b = 0; b < DENSE >> 8; b++) {
		if (b > 0 && memcmp(bits + (b << 8), bits + ((b - 1) << 8), 256) == 0)
			block[b] = block[b - 1];
		else
			block[b] = (uint16_t)count++;
	}
	out = gh__calloc(1, sizeof *out + count * sizeof out->bits[0]);
	if (out) {
		for (uint32_t b = 0; b < DENSE >> 8; b++) {
			out->block[b] = block[b];
			memcpy(out->bits[block[b]], bits + (b << 8), 256);
		}
		memset(out->bits[1], GH__UNI_WORD, 0xf0);
		out->block[sets >> 8] = 1;
	}
	gh__free(bits);
	return out;
}

void gh__unicode_free(gh__unicode *unicode)
{
	gh__free(unicode);
}

bool gh__nfc_is(const gh__unicode *unicode, const char *text, size_t len)
{
	utf8proc_propval_t last = 0;

	for (size_t at = 0; at < len;) {
		unsigned bytes;
		uint64_t word;

		while (at + sizeof word <= len) {
			memcpy(&word, text + at, sizeof word);
			if (word & UINT64_C(0x8080808080808080))
				break;
			at += sizeof word;
			last = 0;
		}
		if (at == len)
			break;
		uint32_t c = gh__unicode_at(text + at, &bytes);
		unsigned bits = gh__unicode_bits(unicode, c);

		if (bits & GH__UNI_NFC)
			return false;
		utf8proc_propval_t class = 0;
		if (bits & GH__UNI_MARK)
			class = utf8proc_get_property((utf8proc_int32_t)c)->combining_class;
		if (class && class < last)
			return false;
		last = class;
		at += bytes;
	}
	return true;
}

gh_status gh__nfc(const char *text, size_t len, gh__buf *out, gh_error *error)
{
	const utf8proc_option_t options = UTF8PROC_STABLE | UTF8PROC_COMPOSE;
	const utf8proc_uint8_t *bytes = (const utf8proc_uint8_t *)text;
	gh_status status = GH_OK;
	utf8proc_int32_t *points = NULL;
	utf8proc_ssize_t count = utf8proc_decompose(bytes, (utf8proc_ssize_t)len, NULL, 0, options);

	if (count < 0)
		return gh__fail(error, GH_EINVAL, "text: %s", utf8proc_errmsg(count));
	/* utf8proc_reencode() writes the bytes over the numbers, and a NUL behind them. */
	points = gh__malloc(((size_t)count + 1) * sizeof *points);
	if (!points)
		return gh__fail_nomem(error);
	count = utf8proc_decompose(bytes, (utf8proc_ssize_t)len, points, count, options);
	if (count >= 0)
		count = utf8proc_reencode(points, count, options);
	if (count < 0)
		status = gh__fail(error, GH_EINVAL, "text: %s", utf8proc_errmsg(count));
	else
		gh__buf_append(out, points, (size_t)count);
	gh__free(points);
	return status;
}
