#include "text/split.h"

/*
 * The patterns by hand. What backtracking decides in the regular expressions is decided here by
 * looking at the runs of characters: in comments, L N S stand for \p{L}, \p{N}, \s, O for the rest.
 */
typedef struct scan {
	const gh__unicode *unicode;
	const char *text;
	size_t len;
} scan;

enum { LNS = GH__UNI_LETTER | GH__UNI_NUMBER | GH__UNI_SPACE };

/* Bits of the character at `at`, of which *bytes is the length; 0 bytes at the end. */
static inline unsigned look(const scan *s, size_t at, unsigned *bytes)
{
	if (at >= s->len) {
		*bytes = 0;
		return 0;
	}
	return gh__unicode_bits(s->unicode, gh__unicode_at(s->text + at, bytes));
}

static inline bool is_newline(char c)
{
	return c == '\n' || c == '\r';
}

/* The end of a run of characters that have one of the bits. */
static inline size_t run_of(const scan *s, size_t at, unsigned bit)
{
	unsigned bytes;

	while (look(s, at, &bytes) & bit)
		at += bytes;
	return at;
}

/* The end of a run of O. */
static inline size_t run_of_others(const scan *s, size_t at)
{
	unsigned bytes;

	while (!(look(s, at, &bytes) & LNS) && bytes)
		at += bytes;
	return at;
}

/* 's 't 're 've 'm 'll 'd at a quote: the end, or 0. Folded, the long s (U+017F) is an s too. */
static size_t contraction(const scan *s, size_t at, bool fold)
{
	const char *rest = s->text + at + 1;
	size_t left = s->len - at - 1;
	char a = left > 0 ? rest[0] : '\0', b = left > 1 ? rest[1] : '\0';

	if (fold && left > 1 && a == '\xc5' && b == '\xbf')
		return at + 3;
	if (fold) {
		a |= a >= 'A' && a <= 'Z' ? 0x20 : 0;
		b |= b >= 'A' && b <= 'Z' ? 0x20 : 0;
	}
	if (a == 's' || a == 't' || a == 'm' || a == 'd')
		return at + 2;
	if ((a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l'))
		return at + 3;
	return 0;
}

/* \s+(?!\S)|\s+ : the run, less its last character when something follows it. */
static size_t spaces(const scan *s, size_t at, size_t end)
{
	if (end == s->len)
		return end;
	size_t last = gh__unicode_before(s->text, end);
	return last > at ? last : end;
}

/* What Qwen2 and Llama-3 share; they differ in how many digits stay together. */
static inline size_t modern(const gh__unicode *unicode, const char *text, size_t len, size_t at,
			    int digits)
{
	const scan s = { unicode, text, len };
	unsigned bytes, next_bytes;
	unsigned bits = look(&s, at, &bytes);

	if (bits & GH__UNI_LETTER)
		return run_of(&s, at + bytes, GH__UNI_LETTER);
	if (bits & GH__UNI_NUMBER) {
		do
			at += bytes;
		while (--digits && look(&s, at, &bytes) & GH__UNI_NUMBER);
		return at;
	}
	if (text[at] == '\'') {
		size_t end = contraction(&s, at, true);

		if (end)
			return end;
	}
	/* [^\r\n\p{L}\p{N}]?\p{L}+ */
	unsigned next = look(&s, at + bytes, &next_bytes);
	if (next & GH__UNI_LETTER && !is_newline(text[at]))
		return run_of(&s, at + bytes + next_bytes, GH__UNI_LETTER);
	/*  ?[^\s\p{L}\p{N}]+[\r\n]* */
	if (!(bits & GH__UNI_SPACE) || (text[at] == ' ' && next_bytes && !(next & LNS))) {
		size_t end = run_of_others(&s, at + bytes);

		while (end < len && is_newline(text[end]))
			end++;
		return end;
	}
	/* \s*[\r\n]+ : up to the last line end of the run. */
	size_t end = run_of(&s, at, GH__UNI_SPACE);
	for (size_t i = end; i > at; i--)
		if (is_newline(text[i - 1]))
			return i;
	return spaces(&s, at, end);
}

size_t gh__split_qwen2(const gh__unicode *unicode, const char *text, size_t len, size_t at)
{
	return modern(unicode, text, len, at, 1);
}

size_t gh__split_llama3(const gh__unicode *unicode, const char *text, size_t len, size_t at)
{
	return modern(unicode, text, len, at, 3);
}

size_t gh__split_gpt2(const gh__unicode *unicode, const char *text, size_t len, size_t at)
{
	const scan s = { unicode, text, len };
	size_t start = at;
	unsigned bytes;
	unsigned bits = look(&s, at, &bytes);

	if (text[at] == '\'') {
		size_t end = contraction(&s, at, false);

		if (end)
			return end;
	}
	/* One space belongs to what follows it, unless that is another space. */
	if (text[at] == ' ') {
		at++;
		bits = look(&s, at, &bytes);
		if (!bytes)
			return at;
	}
	if (bits & GH__UNI_LETTER)
		return run_of(&s, at + bytes, GH__UNI_LETTER);
	if (bits & GH__UNI_NUMBER)
		return run_of(&s, at + bytes, GH__UNI_NUMBER);
	if (!(bits & GH__UNI_SPACE))
		return run_of_others(&s, at + bytes);
	return spaces(&s, start, run_of(&s, at + bytes, GH__UNI_SPACE));
}
