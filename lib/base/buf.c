#include "base/buf.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"

#define FIRST_CAPACITY 64

void gh__buf_init(gh__buf *buf, size_t max)
{
	*buf = (gh__buf)GH__BUF_INIT(max);
}

void gh__buf_free(gh__buf *buf)
{
	gh__free(buf->data);
	gh__buf_init(buf, buf->max);
}

void gh__buf_reset(gh__buf *buf)
{
	buf->len = 0;
	buf->status = GH_OK;
	if (buf->data)
		buf->data[0] = '\0';
}

bool gh__buf_reserve(gh__buf *buf, size_t more)
{
	if (buf->status != GH_OK)
		return false;
	if (more > buf->max - buf->len || buf->max == SIZE_MAX) {
		buf->status = GH_ETOOBIG;
		return false;
	}
	size_t need = buf->len + more + 1; /* the NUL */
	if (need <= buf->capacity)
		return true;

	size_t capacity = buf->capacity ? buf->capacity : FIRST_CAPACITY;
	while (capacity < need)
		capacity = capacity > SIZE_MAX / 2 ? need : capacity * 2;
	if (capacity > buf->max + 1)
		capacity = buf->max + 1;
	char *data = gh__realloc(buf->data, capacity);
	if (!data) {
		buf->status = GH_ENOMEM;
		return false;
	}
	data[buf->len] = '\0';
	buf->data = data;
	buf->capacity = capacity;
	return true;
}

void gh__buf_append(gh__buf *buf, const void *data, size_t len)
{
	if (!gh__buf_reserve(buf, len))
		return;
	if (len)
		memcpy(buf->data + buf->len, data, len);
	buf->len += len;
	buf->data[buf->len] = '\0';
}

void gh__buf_append_str(gh__buf *buf, const char *text)
{
	gh__buf_append(buf, text, strlen(text));
}

void gh__buf_append_char(gh__buf *buf, char c)
{
	gh__buf_append(buf, &c, 1);
}

void gh__buf_printf(gh__buf *buf, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	gh__buf_vprintf(buf, format, args);
	va_end(args);
}

void gh__buf_vprintf(gh__buf *buf, const char *format, va_list args)
{
	va_list again;
	size_t room;
	int len;

	if (buf->status != GH_OK)
		return;
	va_copy(again, args);
	room = buf->capacity - buf->len;
	len = vsnprintf(buf->data ? buf->data + buf->len : NULL, buf->data ? room : 0, format,
			args);
	if (len < 0) {
		buf->status = GH_EBUG;
	} else if ((size_t)len < room) {
		buf->len += (size_t)len;
	} else if (gh__buf_reserve(buf, (size_t)len)) {
		vsnprintf(buf->data + buf->len, (size_t)len + 1, format, again);
		buf->len += (size_t)len;
	}
	if (buf->data)
		buf->data[buf->len] = '\0'; /* a text that did not fit leaves nothing behind */
	va_end(again);
}

void gh__buf_consume(gh__buf *buf, size_t len)
{
	if (len == 0 || !buf->data)
		return;
	if (len > buf->len)
		len = buf->len;
	memmove(buf->data, buf->data + len, buf->len - len + 1);
	buf->len -= len;
}

gh_status gh__buf_status(const gh__buf *buf)
{
	return buf->status;
}

char *gh__buf_take(gh__buf *buf)
{
	char *data;

	gh__buf_reserve(buf, 0); /* an empty text is a text too */
	if (buf->status != GH_OK) {
		gh__buf_free(buf);
		return NULL;
	}
	data = buf->data;
	gh__buf_init(buf, buf->max);
	return data;
}

const char *gh__buf_str(const gh__buf *buf)
{
	return buf->data ? buf->data : "";
}
