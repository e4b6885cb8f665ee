#ifndef GH_BASE_UTF8_H
#define GH_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * UTF-8 as Unicode defines it: no surrogates, no overlong forms, at most U+10FFFF.
 */

/* Decode the first character. Answers its length (1 to 4); or, negative, the length of the maximal
 * invalid subpart (-1 to -3); 0: the bytes are a proper prefix of a valid sequence. len >= 1. */
int gh__utf8_decode(const char *text, size_t len, uint32_t *code_point);

int gh__utf8_encode(char out[4], uint32_t code_point); /* length 1 to 4 */
bool gh__utf8_valid(const char *text, size_t len);
size_t gh__utf8_valid_len(const char *text, size_t len); /* of the valid characters in front */

/* Copy whole characters into size bytes, NUL included; invalid parts become U+FFFD. Answers the
 * length. */
size_t gh__utf8_copy(char *out, size_t size, const char *text, size_t len);

#endif
