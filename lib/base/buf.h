#ifndef GH_BASE_BUF_H
#define GH_BASE_BUF_H

#include <stdbool.h>
#include <stdarg.h>

#include <gonkahost/base.h>

/*
 * A growing byte buffer that is born with a maximum.
 *
 * Failures stick: after the first append that does not fit (or finds no memory) every later one
 * does nothing, and gh__buf_status() tells why. So a writer checks once, at its end. data is always
 * NUL-terminated when not NULL; the NUL does not count in len.
 */
typedef struct gh__buf {
	char *data;
	size_t len;
	size_t capacity;
	size_t max;       /* len never goes above it */
	gh_status status; /* GH_OK, GH_ETOOBIG or GH_ENOMEM */
} gh__buf;

#define GH__BUF_INIT(max_bytes)                \
	{                                      \
		NULL, 0, 0, (max_bytes), GH_OK \
	}

void gh__buf_init(gh__buf *buf, size_t max);
void gh__buf_free(gh__buf *buf);  /* and ready for use again, with the same maximum */
void gh__buf_reset(gh__buf *buf); /* empties, keeps the memory, forgets a failure */
void gh__buf_append(gh__buf *buf, const void *data, size_t len);
void gh__buf_append_str(gh__buf *buf, const char *text);
void gh__buf_append_char(gh__buf *buf, char c);
void gh__buf_printf(gh__buf *buf, const char *format, ...) GH_PRINTF(2, 3);
void gh__buf_vprintf(gh__buf *buf, const char *format, va_list args);
void gh__buf_consume(gh__buf *buf, size_t len);  /* drop len bytes at the front */
bool gh__buf_reserve(gh__buf *buf, size_t more); /* room for more bytes behind len */
gh_status gh__buf_status(const gh__buf *buf);
char *gh__buf_take(gh__buf *buf); /* caller frees (gh__free); NULL after a failure; buf is empty */
const char *gh__buf_str(const gh__buf *buf); /* never NULL */

#endif
