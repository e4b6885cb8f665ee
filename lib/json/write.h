#ifndef GH_JSON_WRITE_H
#define GH_JSON_WRITE_H

#include <stdbool.h>

#include "base/buf.h"

/*
 * JSON text straight into a buffer, for hot paths: no tree. Compact, UTF-8 as it is; only what RFC
 * 8259 demands is escaped. Invalid UTF-8 becomes U+FFFD. The caller writes the punctuation with
 * gh__buf_append_str().
 */
void gh__json_write_string(gh__buf *out, const char *text, size_t len);  /* with its quotes */
void gh__json_write_escaped(gh__buf *out, const char *text, size_t len); /* without */
void gh__json_write_double(gh__buf *out, double value); /* gh__double_text(); not finite: null */

#endif
