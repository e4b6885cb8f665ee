#ifndef GH_BASE_NUMBER_H
#define GH_BASE_NUMBER_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Numbers and text, whatever the locale is.
 */

/* Whole text, decimal, optional sign, no white space; false: not a number or out of range. */
bool gh__parse_int64(const char *text, int64_t *out);
bool gh__parse_double(const char *text, double *out); /* finite decimal or exponent form */

/* The fewest digits that read back to the same double; integral values as "1.0", exponent as
 * Python's repr writes it. Answers the length. value is finite. */
#define GH__DOUBLE_SIZE 32
int gh__double_text(char out[GH__DOUBLE_SIZE], double value);

#endif
