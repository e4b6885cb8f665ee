#include "base/utf8.h"

#include <string.h>

/*
 * What a lead byte asks for: the length, and the range of the second byte, which is what keeps
 * overlong forms, surrogates and numbers above U+10FFFF out (Unicode, table 3-7).
 */
static int expect(unsigned char lead, unsigned char *low, unsigned char *high)
{
	*low = 0x80;
	*high = 0xbf;
	if (lead >= 0xc2 && lead <= 0xdf)
		return 2;
	if (lead >= 0xe0 && lead <= 0xef) {
		if (lead == 0xe0)
			*low = 0xa0;
		else if (lead == 0xed)
			*high = 0x9f;
		return 3;
	}
	if (lead >= 0xf0 && lead <= 0xf4) {
		if (lead == 0xf0)
			*low = 0x90;
		else if (lead == 0xf4)
			*high = 0x8f;
		return 4;
	}
	return 0;
}

int gh__utf8_decode(const char *text, size_t len, uint32_t *code_point)
{
	const unsigned char *s = (const unsigned char *)text;
	unsigned char low, high;

	if (s[0] < 0x80) {
		*code_point = s[0];
		return 1;
	}
	int need = expect(s[0], &low, &high);
	if (need == 0)
		return -1;
	uint32_t c = s[0] & (0x7fu >> need);
	for (int i = 1; i < need; i++) {
		if ((size_t)i == len)
			return 0;
		if (s[i] < low || s[i] > high)
			return -i;
		c = c << 6 | (s[i] & 0x3fu);
		low = 0x80;
		high = 0xbf;
	}
	*code_point = c;
	return need;
}

int gh__utf8_encode(char out[4], uint32_t c)
{
	if (c < 0x80) {
		out[0] = (char)c;
		return 1;
	}
	if (c < 0x800) {
		out[0] = (char)(0xc0 | c >> 6);
		out[1] = (char)(0x80 | (c & 0x3f));
		return 2;
	}
	if (c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
		c = 0xfffd;
	if (c < 0x10000) {
		out[0] = (char)(0xe0 | c >> 12);
		out[1] = (char)(0x80 | (c >> 6 & 0x3f));
		out[2] = (char)(0x80 | (c & 0x3f));
		return 3;
	}
	out[0] = (char)(0xf0 | c >> 18);
	out[1] = (char)(0x80 | (c >> 12 & 0x3f));
	out[2] = (char)(0x80 | (c >> 6 & 0x3f));
	out[3] = (char)(0x80 | (c & 0x3f));
	return 4;
}

size_t gh__utf8_valid_len(const char *text, size_t len)
{
	size_t at = 0;

	while (at < len) {
		uint32_t c;
		uint64_t word;

		/* Most text is ASCII: eight bytes at a time. */
		while (at + sizeof word <= len) {
			memcpy(&word, text + at, sizeof word);
			if (word & UINT64_C(0x8080808080808080))
				break;
			at += sizeof word;
		}
		if (at == len)
			break;
		int bytes = gh__utf8_decode(text + at, len - at, &c);
		if (bytes <= 0)
			break;
		at += (size_t)bytes;
	}
	return at;
}

bool gh__utf8_valid(const char *text, size_t len)
{
	return gh__utf8_valid_len(text, len) == len;
}

size_t gh__utf8_copy(char *out, size_t size, const char *text, size_t len)
{
	static const char replacement[] = "\xef\xbf\xbd";
	size_t at = 0, written = 0;

	while (at < len) {
		uint32_t c;
		int bytes = gh__utf8_decode(text + at, len - at, &c);
		size_t from = bytes > 0 ? (size_t)bytes : bytes < 0 ? (size_t)-bytes : len - at;
		size_t add = bytes > 0 ? from : sizeof replacement - 1;

		if (written + add >= size)
			break;
		memcpy(out + written, bytes > 0 ? text + at : replacement, add);
		written += add;
		at += from;
	}
	if (size)
		out[written] = '\0';
	return written;
}
