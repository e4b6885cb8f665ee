#include "text/jinja/node.h"

#include <string.h>

#include <utf8proc.h>

#include "base/utf8.h"

size_t gh__jinja_count_characters(const char *text, size_t len)
{
	size_t count = 0;

	for (size_t i = 0; i < len; i++)
		count += (text[i] & 0xc0) != 0x80;
	return count;
}

size_t gh__jinja_character_offset(const char *text, size_t len, size_t index)
{
	size_t at = 0;

	for (; index && at < len; index--) {
		at++;
		while (at < len && (text[at] & 0xc0) == 0x80)
			at++;
	}
	return at;
}

static void append_upper(gh__buf *out, uint32_t c)
{
	char text[4];

	if (c == 0xdf) {
		gh__buf_append_str(out, "SS");
		return;
	}
	gh__buf_append(out, text,
		       (size_t)gh__utf8_encode(text,
					       (uint32_t)utf8proc_toupper((utf8proc_int32_t)c)));
}

static void append_title(gh__buf *out, uint32_t c)
{
	char text[4];

	if (c == 0xdf) {
		gh__buf_append_str(out, "Ss");
		return;
	}
	gh__buf_append(out, text,
		       (size_t)gh__utf8_encode(text,
					       (uint32_t)utf8proc_totitle((utf8proc_int32_t)c)));
}

static void append_lower(gh__buf *out, uint32_t c)
{
	char text[4];

	if (c == 0x130) {
		gh__buf_append_str(out, "i\xcc\x87");
		return;
	}
	gh__buf_append(out, text,
		       (size_t)gh__utf8_encode(text,
					       (uint32_t)utf8proc_tolower((utf8proc_int32_t)c)));
}

static bool is_cased(uint32_t c)
{
	utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)c);

	return category == UTF8PROC_CATEGORY_LU || category == UTF8PROC_CATEGORY_LL ||
	       category == UTF8PROC_CATEGORY_LT;
}

bool gh__jinja_change_case(jinja_run *run, const jinja_value *text, jinja_case to, jinja_value *out)
{
	gh__buf changed = GH__BUF_INIT(GH__JINJA_MAX_OUTPUT);
	bool within = false; /* a word */

	if (!gh__jinja_charge_bytes(run, 4 * text->len))
		return false;
	for (size_t i = 0; i < text->len;) {
		uint32_t c;
		int n = gh__utf8_decode(text->u.text + i, text->len - i, &c);

		if (n <= 0)
			break;
		if (to == CASE_UPPER || (to == CASE_WORD && !within))
			append_upper(&changed, c);
		else if (to == CASE_LOWER || within)
			append_lower(&changed, c);
		else
			append_title(&changed, c);
		within = to == CASE_CAPITAL || to == CASE_WORD || (to == CASE_TITLE && is_cased(c));
		i += (size_t)n;
	}
	return gh__jinja_take_buf(run, &changed, out);
}

/* Is the character of n bytes among those to strip? */
static bool strips(const jinja_value *chars, const char *text, int n, uint32_t c)
{
	if (chars->kind != JINJA_STRING)
		return gh__jinja_is_space(c);
	for (size_t i = 0; i + (size_t)n <= chars->len; i++) {
		if (memcmp(chars->u.text + i, text, (size_t)n) == 0)
			return true;
	}
	return false;
}

bool gh__jinja_strip(jinja_run *run, const jinja_value *text, const jinja_value *chars, int sides,
		     jinja_value *out)
{
	const char *begin = text->u.text;
	const char *end = begin + text->len;
	const size_t set = chars->kind == JINJA_STRING ? chars->len : 0;
	size_t cost = 0;
	uint32_t c;

	if (chars->kind != JINJA_ABSENT && chars->kind != JINJA_NONE &&
	    !gh__jinja_want_text(run, chars, "strip"))
		return false;
	while ((sides & JINJA_LEFT) && begin < end) {
		int n = gh__utf8_decode(begin, (size_t)(end - begin), &c);

		cost += 4 + set;
		if (n <= 0 || !strips(chars, begin, n, c) || !gh__jinja_affords(run, cost))
			break;
		begin += n;
	}
	while ((sides & JINJA_RIGHT) && begin < end) {
		const char *last = end - 1;
		int n;

		while (last > begin && (*last & 0xc0) == 0x80)
			last--;
		n = gh__utf8_decode(last, (size_t)(end - last), &c);
		cost += 4 + set;
		if (n <= 0 || !strips(chars, last, n, c) || !gh__jinja_affords(run, cost))
			break;
		end = last;
	}
	*out = gh__jinja_text(begin, (size_t)(end - begin));
	return gh__jinja_charge_bytes(run, cost);
}

bool gh__jinja_replace(jinja_run *run, const jinja_value *text, const jinja_value *from,
		       const jinja_value *to, int64_t most, jinja_value *out)
{
	gh__buf changed = GH__BUF_INIT(GH__JINJA_MAX_OUTPUT);
	const char *at = text->u.text;
	const char *end = at + text->len;

	if (!gh__jinja_charge_bytes(run, text->len))
		return false;
	/* An empty string is found before each character and at the end. */
	if (from->len == 0) {
		while (most) {
			size_t n = gh__jinja_character_offset(at, (size_t)(end - at), 1);

			gh__buf_append(&changed, to->u.text, to->len);
			most -= most > 0;
			if (at == end || gh__buf_status(&changed) != GH_OK)
				break;
			gh__buf_append(&changed, at, n);
			at += n;
		}
	}
	while (from->len && most && at < end) {
		const char *found = memmem(at, (size_t)(end - at), from->u.text, from->len);

		if (!found || gh__buf_status(&changed) != GH_OK)
			break;
		gh__buf_append(&changed, at, (size_t)(found - at));
		gh__buf_append(&changed, to->u.text, to->len);
		at = found + from->len;
		most -= most > 0;
	}
	gh__buf_append(&changed, at, (size_t)(end - at));
	return gh__jinja_take_buf(run, &changed, out);
}

static bool ends_line(uint32_t c)
{
	return (c >= 10 && c <= 13) || (c >= 28 && c <= 30) || c == 0x85 || c == 0x2028 ||
	       c == 0x2029;
}

bool gh__jinja_split_lines(jinja_run *run, const jinja_value *text, bool keep_ends,
			   jinja_value *out)
{
	jinja_list lines = { .step = 1 };
	const char *s = text->u.text;

	for (size_t i = 0; i < text->len;) {
		size_t begin = i, end = i;
		jinja_value line;
		uint32_t c = 0;

		while (i < text->len) {
			int n = gh__utf8_decode(s + i, text->len - i, &c);

			end = i;
			i += n > 0 ? (size_t)n : 1;
			if (ends_line(c))
				break;
			end = i;
		}
		if (c == '\r' && end < i && i < text->len && s[i] == '\n')
			i++;
		line = gh__jinja_text(s + begin, (keep_ends ? i : end) - begin);
		if (!gh__jinja_push_item(run, &lines, &line))
			return false;
	}
	return gh__jinja_charge_bytes(run, 4 * text->len) &&
	       gh__jinja_share_list(run, JINJA_LIST, &lines, out);
}
