#ifndef GH_JSON_SCAN_H
#define GH_JSON_SCAN_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the first byte is the lowest");

/*
 * How many bytes at the front need no look of their own: ASCII that JSON neither escapes nor ends
 * a string with. Eight bytes at a time; in each word the lowest mark is exact (a borrow only
 * spoils the marks above it), and only that one is used.
 */
static inline size_t gh__json_plain(const char *text, size_t len)
{
	const uint64_t ones = UINT64_C(0x0101010101010101), high = ones << 7;
	size_t at = 0;

	for (; len - at >= sizeof(uint64_t); at += sizeof(uint64_t)) {
		uint64_t word;

		memcpy(&word, text + at, sizeof word);
		uint64_t quote = word ^ ones * '"', slash = word ^ ones * '\\';
		uint64_t marks = (word | (word - ones * 0x20) | ((quote - ones) & ~quote) |
				  ((slash - ones) & ~slash)) &
				 high;
		if (marks)
			return at + (size_t)__builtin_ctzll(marks) / 8;
	}
	for (; at < len; at++) {
		unsigned char c = (unsigned char)text[at];

		if (c < 0x20 || c >= 0x80 || c == '"' || c == '\\')
			break;
	}
	return at;
}

#endif
