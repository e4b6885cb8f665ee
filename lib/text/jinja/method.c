#include "text/jinja/node.h"

#include <string.h>

#include <utf8proc.h>

#include "base/utf8.h"

/*
 * Methods of strings.
 */

static bool strip(jinja_run *run, const jinja_value *self, const jinja_call *call, jinja_value *out)
{
	return gh__jinja_strip(run, self, &call->args[0], JINJA_LEFT | JINJA_RIGHT, out);
}

static bool lstrip(jinja_run *run, const jinja_value *self, const jinja_call *call,
		   jinja_value *out)
{
	return gh__jinja_strip(run, self, &call->args[0], JINJA_LEFT, out);
}

static bool rstrip(jinja_run *run, const jinja_value *self, const jinja_call *call,
		   jinja_value *out)
{
	return gh__jinja_strip(run, self, &call->args[0], JINJA_RIGHT, out);
}

static bool upper(jinja_run *run, const jinja_value *self, const jinja_call *call, jinja_value *out)
{
	(void)call;
	return gh__jinja_change_case(run, self, CASE_UPPER, out);
}

static bool lower(jinja_run *run, const jinja_value *self, const jinja_call *call, jinja_value *out)
{
	(void)call;
	return gh__jinja_change_case(run, self, CASE_LOWER, out);
}

static bool capitalize(jinja_run *run, const jinja_value *self, const jinja_call *call,
		       jinja_value *out)
{
	(void)call;
	return gh__jinja_change_case(run, self, CASE_CAPITAL, out);
}

static bool title(jinja_run *run, const jinja_value *self, const jinja_call *call, jinja_value *out)
{
	(void)call;
	return gh__jinja_change_case(run, self, CASE_TITLE, out);
}

/* Every place where the first byte fits is a step, for there may be many that fit long. */
static bool find_last(jinja_run *run, const char *text, size_t len, const jinja_value *what,
		      const char **found)
{
	size_t rest = what->len > len ? 0 : len - what->len + 1;

	*found = NULL;
	while (rest && !*found) {
		const char *at = memrchr(text, what->u.text[0], rest);

		if (!at)
			break;
		if (!gh__jinja_charge(run, 1 + what->len / 32))
			return false;
		if (memcmp(at, what->u.text, what->len) == 0)
			*found = at;
		rest = (size_t)(at - text);
	}
	return true;
}

/* Where what stands in text, or NULL. */
static bool find_in(jinja_run *run, const char *text, size_t len, const jinja_value *what,
		    bool last, const char **found)
{
	if (what->len == 0)
		*found = last ? text + len : text;
	else if (last)
		return find_last(run, text, len, what, found);
	else
		*found = memmem(text, len, what->u.text, what->len);
	return true;
}

/* At white space, runs of which count once. */
static bool split_words(jinja_run *run, const jinja_value *self, int64_t most, bool last,
			jinja_value *out)
{
	jinja_value rest = *self, none = gh__jinja_none(), word;
	jinja_list words = { .step = 1 };

	for (;;) {
		const char *begin, *end;
		uint32_t c;

		if (!gh__jinja_strip(run, &rest, &none, last ? JINJA_RIGHT : JINJA_LEFT, &rest))
			return false;
		if (rest.len == 0)
			break;
		if (most >= 0 && (int64_t)words.count >= most) {
			if (!gh__jinja_push_item(run, &words, &rest))
				return false;
			break;
		}
		begin = rest.u.text;
		end = begin + rest.len;
		if (last) {
			const char *at = end;

			while (at > begin) {
				const char *before = at - 1;

				while (before > begin && (*before & 0xc0) == 0x80)
					before--;
				if (gh__utf8_decode(before, (size_t)(end - before), &c) <= 0 ||
				    gh__jinja_is_space(c))
					break;
				at = before;
			}
			word = gh__jinja_text(at, (size_t)(end - at));
			rest.len = (size_t)(at - begin);
		} else {
			const char *at = begin;

			while (at < end) {
				int n = gh__utf8_decode(at, (size_t)(end - at), &c);

				if (n <= 0 || gh__jinja_is_space(c))
					break;
				at += n;
			}
			word = gh__jinja_text(begin, (size_t)(at - begin));
			rest = gh__jinja_text(at, (size_t)(end - at));
		}
		if (!gh__jinja_push_item(run, &words, &word))
			return false;
	}
	if (last && words.count) {
		words.start = (int64_t)words.count - 1;
		words.step = -1;
	}
	return gh__jinja_charge_bytes(run, 4 * self->len) &&
	       gh__jinja_share_list(run, JINJA_LIST, &words, out);
}

static bool split_at(jinja_run *run, const jinja_value *self, const jinja_value *mark, int64_t most,
		     bool last, jinja_value *out)
{
	jinja_list parts = { .step = 1 };
	const char *begin = self->u.text;
	const char *end = begin + self->len;
	jinja_value part;

	if (mark->len == 0)
		return gh__jinja_fail(run, GH_EINVAL, "split: empty separator");
	for (;;) {
		const char *found = NULL;

		if ((most < 0 || (int64_t)parts.count < most) &&
		    !find_in(run, begin, (size_t)(end - begin), mark, last, &found))
			return false;
		if (!found) {
			part = gh__jinja_text(begin, (size_t)(end - begin));
		} else if (last) {
			part = gh__jinja_text(found + mark->len, (size_t)(end - found) - mark->len);
			end = found;
		} else {
			part = gh__jinja_text(begin, (size_t)(found - begin));
			begin = found + mark->len;
		}
		if (!gh__jinja_push_item(run, &parts, &part))
			return false;
		if (!found)
			break;
	}
	if (last) {
		parts.start = (int64_t)parts.count - 1;
		parts.step = -1;
	}
	return gh__jinja_charge_bytes(run, self->len) &&
	       gh__jinja_share_list(run, JINJA_LIST, &parts, out);
}

static bool split_either(jinja_run *run, const jinja_value *self, const jinja_call *call, bool last,
			 jinja_value *out)
{
	const jinja_value *mark = &call->args[0];
	int64_t most;

	if (!gh__jinja_want_int(run, &call->args[1], "split: maxsplit", -1, &most))
		return false;
	if (mark->kind == JINJA_ABSENT || mark->kind == JINJA_NONE)
		return split_words(run, self, most, last, out);
	return gh__jinja_want_text(run, mark, "split") &&
	       split_at(run, self, mark, most, last, out);
}

static bool split(jinja_run *run, const jinja_value *self, const jinja_call *call, jinja_value *out)
{
	return split_either(run, self, call, false, out);
}

static bool rsplit(jinja_run *run, const jinja_value *self, const jinja_call *call,
		   jinja_value *out)
{
	return split_either(run, self, call, true, out);
}

static bool splitlines(jinja_run *run, const jinja_value *self, const jinja_call *call,
		       jinja_value *out)
{
	return gh__jinja_split_lines(run, self, gh__jinja_arg_truth(&call->args[0], false), out);
}

/* Before, mark, behind; all of it on one side when the mark is not there. */
static bool part_at(jinja_run *run, const jinja_value *self, const jinja_call *call, bool last,
		    jinja_value *out)
{
	const jinja_value *mark = &call->args[0];
	jinja_value *items = gh__jinja_run_alloc(run, 3, sizeof(*items));
	const char *found;

	if (!items || !gh__jinja_want_text(run, mark, "partition"))
		return false;
	if (mark->len == 0)
		return gh__jinja_fail(run, GH_EINVAL, "partition: empty separator");
	if (!find_in(run, self->u.text, self->len, mark, last, &found))
		return false;
	for (int i = 0; i < 3; i++)
		items[i] = gh__jinja_text("", 0);
	if (found) {
		items[0] = gh__jinja_text(self->u.text, (size_t)(found - self->u.text));
		items[1] = *mark;
		items[2] = gh__jinja_text(found + mark->len, self->len - items[0].len - mark->len);
	} else {
		items[last ? 2 : 0] = *self;
	}
	return gh__jinja_charge_bytes(run, self->len) &&
	       gh__jinja_make_list(run, JINJA_TUPLE, items, 3, out);
}

static bool partition(jinja_run *run, const jinja_value *self, const jinja_call *call,
		      jinja_value *out)
{
	return part_at(run, self, call, false, out);
}

static bool rpartition(jinja_run *run, const jinja_value *self, const jinja_call *call,
		       jinja_value *out)
{
	return part_at(run, self, call, true, out);
}

/* The bytes between two indices of characters, as slices take them. */
static bool cut(jinja_run *run, const jinja_value *self, const jinja_value *start,
		const jinja_value *end, jinja_value *out)
{
	jinja_value bounds[3] = { *start, *end, gh__jinja_none() };

	if (start->kind == JINJA_ABSENT && end->kind == JINJA_ABSENT) {
		*out = *self;
		return true;
	}
	return gh__jinja_slice(run, self, bounds, out);
}

static bool affix(jinja_run *run, const jinja_value *self, const jinja_call *call, bool at_end,
		  jinja_value *out)
{
	jinja_value text;
	jinja_list many = { .items = &call->args[0], .step = 1, .count = 1 };
	bool found = false;

	if (!cut(run, self, &call->args[1], &call->args[2], &text))
		return false;
	if (call->args[0].kind == JINJA_TUPLE)
		many = gh__jinja_list_of(&call->args[0]);
	for (size_t i = 0; i < many.count && !found; i++) {
		jinja_value one = gh__jinja_list_at(&many, i);

		if (!gh__jinja_want_text(run, &one, at_end ? "endswith" : "startswith"))
			return false;
		found = one.len <= text.len &&
			memcmp(text.u.text + (at_end ? text.len - one.len : 0), one.u.text,
			       one.len) == 0;
		if (!gh__jinja_charge_bytes(run, one.len))
			return false;
	}
	*out = gh__jinja_bool(found);
	return true;
}

static bool startswith(jinja_run *run, const jinja_value *self, const jinja_call *call,
		       jinja_value *out)
{
	return affix(run, self, call, false, out);
}

static bool endswith(jinja_run *run, const jinja_value *self, const jinja_call *call,
		     jinja_value *out)
{
	return affix(run, self, call, true, out);
}

static bool remove_affix(jinja_run *run, const jinja_value *self, const jinja_call *call,
			 bool at_end, jinja_value *out)
{
	const jinja_value *part = &call->args[0];

	*out = *self;
	if (!gh__jinja_want_text(run, part, "removing a prefix or suffix"))
		return false;
	if (part->len > self->len || memcmp(self->u.text + (at_end ? self->len - part->len : 0),
					    part->u.text, part->len) != 0)
		return true;
	*out = gh__jinja_text(self->u.text + (at_end ? 0 : part->len), self->len - part->len);
	return true;
}

static bool removeprefix(jinja_run *run, const jinja_value *self, const jinja_call *call,
			 jinja_value *out)
{
	return remove_affix(run, self, call, false, out);
}

static bool removesuffix(jinja_run *run, const jinja_value *self, const jinja_call *call,
			 jinja_value *out)
{
	return remove_affix(run, self, call, true, out);
}

static bool replace(jinja_run *run, const jinja_value *self, const jinja_call *call,
		    jinja_value *out)
{
	int64_t most;

	return gh__jinja_want_text(run, &call->args[0], "replace") &&
	       gh__jinja_want_text(run, &call->args[1], "replace") &&
	       gh__jinja_want_int(run, &call->args[2], "replace: count", -1, &most) &&
	       gh__jinja_replace(run, self, &call->args[0], &call->args[1], most, out);
}

/* The index of a character, -1: not there. */
static bool index_of(jinja_run *run, const jinja_value *self, const jinja_call *call, bool last,
		     int64_t *out)
{
	const char *found;
	jinja_value text;

	if (!gh__jinja_want_text(run, &call->args[0], "find") ||
	    !cut(run, self, &call->args[1], &call->args[2], &text) ||
	    !find_in(run, text.u.text, text.len, &call->args[0], last, &found))
		return false;
	*out = found ? (int64_t)gh__jinja_count_characters(self->u.text,
							   (size_t)(found - self->u.text))
		     : -1;
	return gh__jinja_charge_bytes(run, self->len);
}

static bool find(jinja_run *run, const jinja_value *self, const jinja_call *call, jinja_value *out)
{
	int64_t index;

	if (!index_of(run, self, call, false, &index))
		return false;
	*out = gh__jinja_int(index);
	return true;
}

static bool rfind(jinja_run *run, const jinja_value *self, const jinja_call *call, jinja_value *out)
{
	int64_t index;

	if (!index_of(run, self, call, true, &index))
		return false;
	*out = gh__jinja_int(index);
	return true;
}

static bool index_in(jinja_run *run, const jinja_value *self, const jinja_call *call,
		     jinja_value *out)
{
	if (!find(run, self, call, out))
		return false;
	return out->u.integer >= 0 || gh__jinja_fail(run, GH_EINVAL, "substring not found");
}

static bool rindex_in(jinja_run *run, const jinja_value *self, const jinja_call *call,
		      jinja_value *out)
{
	if (!rfind(run, self, call, out))
		return false;
	return out->u.integer >= 0 || gh__jinja_fail(run, GH_EINVAL, "substring not found");
}

static bool count(jinja_run *run, const jinja_value *self, const jinja_call *call, jinja_value *out)
{
	const jinja_value *what = &call->args[0];
	const char *at, *end;
	jinja_value text;
	int64_t n = 0;

	if (!gh__jinja_want_text(run, what, "count") ||
	    !cut(run, self, &call->args[1], &call->args[2], &text) ||
	    !gh__jinja_charge_bytes(run, text.len))
		return false;
	at = text.u.text;
	end = at + text.len;
	if (what->len == 0)
		n = (int64_t)gh__jinja_count_characters(at, text.len) + 1;
	while (what->len && (at = memmem(at, (size_t)(end - at), what->u.text, what->len))) {
		at += what->len;
		n++;
	}
	*out = gh__jinja_int(n);
	return true;
}

static bool join(jinja_run *run, const jinja_value *self, const jinja_call *call, jinja_value *out)
{
	gh__buf text = GH__BUF_INIT(GH__JINJA_MAX_OUTPUT);
	jinja_list list;

	if (!gh__jinja_iterate(run, &call->args[0], &list))
		return false;
	for (size_t i = 0; i < list.count; i++) {
		jinja_value item = gh__jinja_list_at(&list, i);

		if (!gh__jinja_want_text(run, &item, "join") ||
		    !gh__jinja_charge(run, 1 + self->len / 32)) {
			gh__buf_free(&text);
			return false;
		}
		if (i)
			gh__buf_append(&text, self->u.text, self->len);
		gh__buf_append(&text, item.u.text, item.len);
	}
	return gh__jinja_take_buf(run, &text, out);
}

static bool is_letter(utf8proc_category_t category)
{
	return category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO;
}

static bool is_digit(utf8proc_category_t category)
{
	return category == UTF8PROC_CATEGORY_ND;
}

static bool is_letter_or_number(utf8proc_category_t category)
{
	return is_letter(category) ||
	       (category >= UTF8PROC_CATEGORY_ND && category <= UTF8PROC_CATEGORY_NO);
}

static bool is_all(jinja_run *run, const jinja_value *self, bool (*is)(utf8proc_category_t),
		   jinja_value *out)
{
	bool all = self->len > 0;

	for (size_t i = 0; all && i < self->len;) {
		uint32_t c;
		int n = gh__utf8_decode(self->u.text + i, self->len - i, &c);

		all = n > 0 &&
		      (is ? is(utf8proc_category((utf8proc_int32_t)c)) : gh__jinja_is_space(c));
		i += n > 0 ? (size_t)n : 1;
	}
	*out = gh__jinja_bool(all);
	return gh__jinja_charge_bytes(run, 4 * self->len);
}

static bool is_alpha_text(jinja_run *run, const jinja_value *self, const jinja_call *call,
			  jinja_value *out)
{
	(void)call;
	return is_all(run, self, is_letter, out);
}

static bool is_digit_text(jinja_run *run, const jinja_value *self, const jinja_call *call,
			  jinja_value *out)
{
	(void)call;
	return is_all(run, self, is_digit, out);
}

static bool is_alnum_text(jinja_run *run, const jinja_value *self, const jinja_call *call,
			  jinja_value *out)
{
	(void)call;
	return is_all(run, self, is_letter_or_number, out);
}

static bool is_space_text(jinja_run *run, const jinja_value *self, const jinja_call *call,
			  jinja_value *out)
{
	(void)call;
	return is_all(run, self, NULL, out);
}

/* At least one letter has case, and all that have it have this one. */
static bool is_case(jinja_run *run, const jinja_value *self, utf8proc_category_t is,
		    utf8proc_category_t is_not, jinja_value *out)
{
	bool some = false, other = false;

	for (size_t i = 0; !other && i < self->len;) {
		utf8proc_category_t category;
		uint32_t c;
		int n = gh__utf8_decode(self->u.text + i, self->len - i, &c);

		if (n <= 0)
			break;
		category = utf8proc_category((utf8proc_int32_t)c);
		some |= category == is;
		other |= category == is_not || category == UTF8PROC_CATEGORY_LT;
		i += (size_t)n;
	}
	*out = gh__jinja_bool(some && !other);
	return gh__jinja_charge_bytes(run, 4 * self->len);
}

static bool is_upper_text(jinja_run *run, const jinja_value *self, const jinja_call *call,
			  jinja_value *out)
{
	(void)call;
	return is_case(run, self, UTF8PROC_CATEGORY_LU, UTF8PROC_CATEGORY_LL, out);
}

static bool is_lower_text(jinja_run *run, const jinja_value *self, const jinja_call *call,
			  jinja_value *out)
{
	(void)call;
	return is_case(run, self, UTF8PROC_CATEGORY_LL, UTF8PROC_CATEGORY_LU, out);
}

const jinja_builtin gh__jinja_text_methods[] = {
	{ "strip", "chars", 0, JINJA_STRING, strip },
	{ "lstrip", "chars", 0, JINJA_STRING, lstrip },
	{ "rstrip", "chars", 0, JINJA_STRING, rstrip },
	{ "split", "sep,maxsplit", 0, JINJA_STRING, split },
	{ "rsplit", "sep,maxsplit", 0, JINJA_STRING, rsplit },
	{ "splitlines", "keepends", 0, JINJA_STRING, splitlines },
	{ "partition", "sep", 1, JINJA_STRING, partition },
	{ "rpartition", "sep", 1, JINJA_STRING, rpartition },
	{ "startswith", "prefix,start,end", 1, JINJA_STRING, startswith },
	{ "endswith", "suffix,start,end", 1, JINJA_STRING, endswith },
	{ "removeprefix", "prefix", 1, JINJA_STRING, removeprefix },
	{ "removesuffix", "suffix", 1, JINJA_STRING, removesuffix },
	{ "replace", "old,new,count", 2, JINJA_STRING, replace },
	{ "upper", "", 0, JINJA_STRING, upper },
	{ "lower", "", 0, JINJA_STRING, lower },
	{ "capitalize", "", 0, JINJA_STRING, capitalize },
	{ "title", "", 0, JINJA_STRING, title },
	{ "find", "sub,start,end", 1, JINJA_STRING, find },
	{ "rfind", "sub,start,end", 1, JINJA_STRING, rfind },
	{ "index", "sub,start,end", 1, JINJA_STRING, index_in },
	{ "rindex", "sub,start,end", 1, JINJA_STRING, rindex_in },
	{ "count", "sub,start,end", 1, JINJA_STRING, count },
	{ "join", "iterable", 1, JINJA_STRING, join },
	{ "isalpha", "", 0, JINJA_STRING, is_alpha_text },
	{ "isdigit", "", 0, JINJA_STRING, is_digit_text },
	{ "isalnum", "", 0, JINJA_STRING, is_alnum_text },
	{ "isspace", "", 0, JINJA_STRING, is_space_text },
	{ "isupper", "", 0, JINJA_STRING, is_upper_text },
	{ "islower", "", 0, JINJA_STRING, is_lower_text },
	{ NULL, NULL, 0, 0, NULL },
};
