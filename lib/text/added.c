#include "text/added.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"

void gh__added_init(gh__added_set *set)
{
	*set = (gh__added_set){ .only = -1 };
	gh__buf_init(&set->texts, UINT32_MAX / 4);
}

void gh__added_done(gh__added_set *set)
{
	gh__buf_free(&set->texts);
	gh__free(set->items);
}

gh_status gh__added_put(gh__added_set *set, const gh__added *item, const char *text, size_t len,
			gh_error *error)
{
	if (set->count == set->capacity) {
		size_t capacity = set->capacity ? set->capacity * 2 : 64;
		gh__added *items = gh__realloc_array(set->items, capacity, sizeof *items);

		if (!items)
			return gh__fail_nomem(error);
		set->items = items;
		set->capacity = capacity;
	}
	gh__added copy = *item;
	copy.at = (uint32_t)set->texts.len;
	copy.len = (uint32_t)len;
	gh__buf_append(&set->texts, text, len);
	if (gh__buf_status(&set->texts) != GH_OK)
		return gh__fail(error, gh__buf_status(&set->texts),
				"the texts of the added tokens are too long");
	set->items[set->count++] = copy;
	return GH_OK;
}

static int by_text(const void *left, const void *right, void *userdata)
{
	const gh__added *a = left, *b = right;
	const char *texts = userdata;
	int order = memcmp(texts + a->at, texts + b->at, a->len < b->len ? a->len : b->len);

	if (order)
		return order;
	if (a->len != b->len)
		return a->len < b->len ? -1 : 1;
	/* Normalised texts may be equal: then the special token goes first. */
	if (a->special != b->special)
		return a->special ? -1 : 1;
	return a->id < b->id ? -1 : a->id > b->id;
}

static unsigned byte_at(const gh__added_set *set, size_t item, size_t at)
{
	return (unsigned char)set->texts.data[set->items[item].at + at];
}

void gh__added_ready(gh__added_set *set)
{
	size_t i = 0;

	if (set->count)
		qsort_r(set->items, set->count, sizeof *set->items, by_text, set->texts.data);
	for (unsigned b = 0; b < 256; b++) {
		set->first[b] = (uint32_t)i;
		while (i < set->count && byte_at(set, i, 0) == b)
			i++;
		if (set->count && set->first[b] == 0 && i == set->count)
			set->only = (int)b;
	}
	set->first[256] = (uint32_t)i;
}

/* The first of items low to high whose byte at depth is at least b; they share what lies before. */
static size_t narrow(const gh__added_set *set, size_t low, size_t high, size_t depth, unsigned b)
{
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (byte_at(set, middle, depth) < b)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* The longest item that text begins with, or NULL. */
static const gh__added *longest(const gh__added_set *set, const char *text, size_t len)
{
	const gh__added *best = NULL;
	unsigned b = (unsigned char)text[0];
	size_t low = set->first[b], high = set->first[b + 1];

	for (size_t depth = 1; low < high; depth++) {
		if (set->items[low].len == depth)
			best = &set->items[low];
		while (low < high && set->items[low].len == depth)
			low++;
		if (depth == len)
			break;
		b = (unsigned char)text[depth];
		low = narrow(set, low, high, depth, b);
		high = narrow(set, low, high, depth, b + 1);
	}
	return best;
}

static const gh__added *search(const gh__added_set *set, const char *text, size_t len, size_t *at)
{
	for (size_t i = *at; i < len; i++) {
		if (set->only >= 0) {
			const char *found = memchr(text + i, set->only, len - i);

			if (!found)
				return NULL;
			i = (size_t)(found - text);
		}
		unsigned b = (unsigned char)text[i];
		if (set->first[b] == set->first[b + 1])
			continue;
		const gh__added *item = longest(set, text + i, len - i);
		if (item) {
			*at = i;
			return item;
		}
	}
	return NULL;
}

static bool is(const gh__added_walk *walk, size_t at, unsigned bit, unsigned *len)
{
	return gh__unicode_bits(walk->unicode, gh__unicode_at(walk->text + at, len)) & bit;
}

static bool is_single_word(const gh__added_walk *walk, size_t start, size_t stop)
{
	unsigned len;

	return (start == 0 ||
		!is(walk, gh__unicode_before(walk->text, start), GH__UNI_WORD, &len)) &&
	       (stop == walk->len || !is(walk, stop, GH__UNI_WORD, &len));
}

/* Where the white space before start begins, of that which is not taken yet. */
static size_t space_before(const gh__added_walk *walk, size_t start)
{
	unsigned len;

	while (start > walk->done) {
		size_t before = gh__unicode_before(walk->text, start);

		if (!is(walk, before, GH__UNI_SPACE, &len))
			break;
		start = before;
	}
	return start > walk->done ? start : walk->done;
}

void gh__added_begin(gh__added_walk *walk, const gh__added_set *set, const gh__unicode *unicode,
		     const char *text, size_t len)
{
	*walk = (gh__added_walk){ .set = set, .unicode = unicode, .text = text, .len = len };
}

bool gh__added_next(gh__added_walk *walk, gh__added_part *part)
{
	const gh__added *item = walk->held;
	size_t start = walk->done, stop = walk->held_stop;
	unsigned bytes;

	walk->held = NULL;
	while (!item && walk->set->count) {
		start = walk->search;
		item = search(walk->set, walk->text, walk->len, &start);
		if (!item) {
			walk->search = walk->len;
			break;
		}
		stop = walk->search = start + item->len;
		if (item->single_word && !is_single_word(walk, start, stop)) {
			item = NULL;
			continue;
		}
		if (item->rstrip)
			while (stop < walk->len && is(walk, stop, GH__UNI_SPACE, &bytes))
				stop += bytes;
		if (item->lstrip) {
			start = space_before(walk, start);
			/* All of it may have gone to the match before, as its white space. */
			if (start >= stop)
				item = NULL;
		}
	}
	if (item && walk->done < start) {
		/* First the text in front of it. */
		walk->held = item;
		walk->held_stop = stop;
		*part = (gh__added_part){ walk->done, start, NULL };
		walk->done = start;
		return true;
	}
	if (!item) {
		if (walk->done >= walk->len)
			return false;
		start = walk->done;
		stop = walk->len;
	}
	*part = (gh__added_part){ start, stop, item };
	walk->done = stop;
	return true;
}
