#include "engine/stop.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/utf8.h"

/* More than the longest stop string and the longest piece together. */
#define TEXT_MAX (16u << 20)

static bool begins_character(char c)
{
	return ((unsigned char)c & 0xC0) != 0x80;
}

static size_t count_characters(const char *text, size_t len)
{
	size_t count = 0;

	for (size_t i = 0; i < len; i++)
		count += begins_character(text[i]);
	return count;
}

gh_status gh__stop_list_init(gh__stop_list *out, const char *const *strings, int32_t count,
			     bool include, gh_error *error)
{
	size_t total = 0;

	memset(out, 0, sizeof *out);
	out->include = include;
	if (count < 0 || count > GH__STOP_MAX)
		return gh__fail(error, GH_EINVAL, "stop: %d strings are not between 0 and %d",
				count, GH__STOP_MAX);
	for (int32_t i = 0; i < count; i++) {
		size_t len = strings[i] ? strlen(strings[i]) : 0;

		if (len == 0)
			return gh__fail(error, GH_EINVAL, "stop cannot contain an empty string.");
		if (!gh__utf8_valid(strings[i], len))
			return gh__fail(error, GH_EINVAL, "stop[%d] is not valid UTF-8", i);
		total += len;
		if (total > GH__STOP_BYTES_MAX)
			return gh__fail(error, GH_EINVAL, "stop: more than %d bytes in all",
					GH__STOP_BYTES_MAX);
	}
	if (count == 0)
		return GH_OK;
	out->string = gh__calloc((size_t)count, sizeof *out->string);
	out->length = gh__calloc((size_t)count, sizeof *out->length);
	if (!out->string || !out->length)
		goto nomem;
	out->count = count;
	for (int32_t i = 0; i < count; i++) {
		size_t len = strlen(strings[i]);
		size_t characters = count_characters(strings[i], len);

		out->string[i] = gh__strdup(strings[i]);
		if (!out->string[i])
			goto nomem;
		out->length[i] = len;
		if (len > out->longest)
			out->longest = len;
		if (characters > out->longest_text)
			out->longest_text = characters;
	}
	return GH_OK;
nomem:
	gh__stop_list_free(out);
	return gh__fail_nomem(error);
}

void gh__stop_list_free(gh__stop_list *list)
{
	for (int32_t i = 0; list->string && i < list->count; i++)
		gh__free(list->string[i]);
	gh__free(list->string);
	gh__free(list->length);
	memset(list, 0, sizeof *list);
}

void gh__stop_text_init(gh__stop_text *text)
{
	memset(text, 0, sizeof *text);
	gh__buf_init(&text->tail, TEXT_MAX);
	gh__buf_init(&text->out, TEXT_MAX);
}

void gh__stop_text_free(gh__stop_text *text)
{
	gh__buf_free(&text->tail);
	gh__buf_free(&text->out);
}

gh_status gh__stop_text_add(gh__stop_text *text, const gh__stop_list *list, const char *piece,
			    size_t len, bool look, int32_t *match)
{
	gh__buf *tail = &text->tail;
	size_t begin = tail->len;

	*match = -1;
	if (len == 0)
		return GH_OK;
	gh__buf_append(tail, piece, len);
	if (gh__buf_status(tail) != GH_OK)
		return gh__buf_status(tail);
	text->held += count_characters(piece, len);
	for (int32_t i = 0; look && i < list->count; i++) {
		/* A match must end in the piece; what lies before has been looked through. */
		size_t length = list->length[i];
		size_t from = begin + 1 > length ? begin + 1 - length : 0;
		const char *found =
			memmem(tail->data + from, tail->len - from, list->string[i], length);

		if (!found)
			continue;
		tail->len = (size_t)(found - tail->data) + (list->include ? length : 0);
		tail->data[tail->len] = '\0';
		*match = i;
		break;
	}
	return GH_OK;
}

gh_status gh__stop_text_give(gh__stop_text *text, const gh__stop_list *list, bool all,
			     const char **out, size_t *len)
{
	gh__buf *tail = &text->tail;
	size_t hold = all || list->include || list->count == 0 ? 0 : list->longest_text - 1;
	size_t end = text->given;
	size_t keep = list->longest > 0 ? list->longest - 1 : 0;

	if (hold == 0) {
		end = tail->len;
		text->held = 0;
	}
	while (text->held > hold) {
		do
			end++;
		while (end < tail->len && !begins_character(tail->data[end]));
		text->held--;
	}
	gh__buf_reset(&text->out);
	if (end > text->given)
		gh__buf_append(&text->out, tail->data + text->given, end - text->given);
	text->given = end;
	if (tail->len > keep) {
		size_t spare = tail->len - keep;

		if (spare > end)
			spare = end;
		gh__buf_consume(tail, spare);
		text->given -= spare;
	}
	*out = gh__buf_str(&text->out);
	*len = text->out.len;
	return gh__buf_status(&text->out);
}
