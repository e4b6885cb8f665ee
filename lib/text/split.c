#include "text/split.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"

/* A pattern from a model's file may be one that backtracks without end: these bound one match. */
#define MATCH_LIMIT   5000000
#define DEPTH_LIMIT   100000
#define HEAP_LIMIT_KB 65536
#define JIT_STACK_MIN (32u << 10)
#define JIT_STACK_MAX (8u << 20)
#define PATTERN_MAX   4096

typedef size_t match_fn(const gh__unicode *unicode, const char *text, size_t len, size_t at);

static match_fn *const by_hand[] = {
	[GH__SPLIT_QWEN2] = gh__split_qwen2,
	[GH__SPLIT_LLAMA3] = gh__split_llama3,
	[GH__SPLIT_GPT2] = gh__split_gpt2,
};

static const struct {
	gh__split_kind kind;
	const char *pattern;
} known[] = {
	{ GH__SPLIT_QWEN2, "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}"
			   "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+" },
	{ GH__SPLIT_LLAMA3, "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}"
			    "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+" },
	{ GH__SPLIT_GPT2, "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+"
			  "|\\s+(?!\\S)|\\s+" },
	{ GH__SPLIT_NUMBER, "\\p{N}" },
};

static void *pcre_allocate(size_t size, void *userdata)
{
	(void)userdata;
	return gh__malloc(size);
}

static void pcre_release(void *memory, void *userdata)
{
	(void)userdata;
	gh__free(memory);
}

/* The reference's patterns are those of Oniguruma, where ^ and $ stand for ends of lines. */
static gh_status compile(gh__split *split, const char *pattern, size_t len, gh_error *error)
{
	PCRE2_UCHAR why[128];
	PCRE2_SIZE where = 0;
	int code = 0;
	gh_status status = GH_ENOMEM;
	pcre2_general_context *general =
		pcre2_general_context_create(pcre_allocate, pcre_release, NULL);
	pcre2_compile_context *context = general ? pcre2_compile_context_create(general) : NULL;

	if (!context) {
		gh__fail_nomem(error);
		goto done;
	}
	pcre2_set_parens_nest_limit(context, 64);
	pcre2_set_newline(context, PCRE2_NEWLINE_LF);
	split->code =
		pcre2_compile((PCRE2_SPTR)pattern, len,
			      PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C,
			      &code, &where, context);
	if (!split->code && code == PCRE2_ERROR_HEAP_FAILED) {
		gh__fail_nomem(error);
		goto done;
	}
	if (!split->code) {
		pcre2_get_error_message(code, why, sizeof why);
		status = gh__fail(error, GH_ENOTSUP, "\"%.*s\" at character %zu: %s",
				  (int)(len < 60 ? len : 60), pattern, (size_t)where, (char *)why);
		goto done;
	}
	/* Without JIT on this machine the interpreter does the same. */
	(void)pcre2_jit_compile(split->code, PCRE2_JIT_COMPLETE);
	split->kind = GH__SPLIT_PCRE;
	status = GH_OK;
done:
	pcre2_compile_context_free(context);
	pcre2_general_context_free(general);
	return status;
}

gh_status gh__split_regex(gh__split *split, const char *pattern, size_t len, gh_error *error)
{
	for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
		if (strlen(known[i].pattern) == len &&
		    memcmp(known[i].pattern, pattern, len) == 0) {
			split->kind = known[i].kind;
			return GH_OK;
		}
	if (len > PATTERN_MAX)
		return gh__fail(error, GH_ETOOBIG, "a pattern of %zu bytes, at most %d", len,
				PATTERN_MAX);
	return compile(split, pattern, len, error);
}

gh_status gh__split_literal(gh__split *split, const char *text, size_t len, gh_error *error)
{
	if (len == 0)
		return gh__fail(error, GH_ENOTSUP, "\"\": an empty text cannot be searched for");
	split->kind = GH__SPLIT_LITERAL;
	split->literal = gh__memdup(text, len);
	split->literal_len = len;
	return split->literal ? GH_OK : gh__fail_nomem(error);
}

void gh__splits_done(gh__splits *splits)
{
	for (int i = 0; i < splits->count; i++) {
		gh__free(splits->split[i].literal);
		pcre2_code_free(splits->split[i].code);
	}
}

/* A pattern by hand, which matches everywhere, of which each match is a piece. */
static bool is_everywhere(const gh__split *split)
{
	return split->kind <= GH__SPLIT_GPT2 &&
	       split->behavior == (split->invert ? GH__SPLIT_REMOVED : GH__SPLIT_ISOLATED);
}

bool gh__splits_keep_all(const gh__splits *splits)
{
	for (int i = 0; i < splits->count; i++)
		if (splits->split[i].behavior == GH__SPLIT_REMOVED &&
		    !is_everywhere(&splits->split[i]))
			return false;
	return true;
}

gh_status gh__splitter_init(gh__splitter *splitter, const gh__splits *splits,
			    const gh__unicode *unicode, gh__piece_fn *piece, void *userdata,
			    gh_error *error)
{
	*splitter = (gh__splitter){ .splits = splits,
				    .unicode = unicode,
				    .piece = piece,
				    .userdata = userdata,
				    .error = error };
	gh__buf_init(&splitter->prefixed, UINT32_MAX);
	if (!splits->has_pcre)
		return GH_OK;
	pcre2_general_context *general =
		pcre2_general_context_create(pcre_allocate, pcre_release, NULL);
	if (general) {
		splitter->match = pcre2_match_data_create(1, general);
		splitter->limits = pcre2_match_context_create(general);
		splitter->stack = pcre2_jit_stack_create(JIT_STACK_MIN, JIT_STACK_MAX, general);
		pcre2_general_context_free(general);
	}
	if (!splitter->match || !splitter->limits) {
		gh__splitter_done(splitter);
		return gh__fail_nomem(error);
	}
	pcre2_set_match_limit(splitter->limits, MATCH_LIMIT);
	pcre2_set_depth_limit(splitter->limits, DEPTH_LIMIT);
	pcre2_set_heap_limit(splitter->limits, HEAP_LIMIT_KB);
	if (splitter->stack)
		pcre2_jit_stack_assign(splitter->limits, NULL, splitter->stack);
	return GH_OK;
}

void gh__splitter_done(gh__splitter *splitter)
{
	gh__buf_free(&splitter->prefixed);
	pcre2_match_data_free(splitter->match);
	pcre2_match_context_free(splitter->limits);
	pcre2_jit_stack_free(splitter->stack);
}

/* One split at work on one text: where its search stands. */
typedef struct search {
	const gh__split *split;
	const char *text;
	size_t len, at, last_end;
	bool has_last;
} search;

/* The next match of a regular expression. An empty one right behind the match before is none. */
static gh_status next_pcre(gh__splitter *splitter, search *s, size_t *start, size_t *stop,
			   bool *found)
{
	*found = false;
	while (s->at <= s->len) {
		int code = pcre2_match(s->split->code, (PCRE2_SPTR)s->text, s->len, s->at,
				       PCRE2_NO_UTF_CHECK, splitter->match, splitter->limits);

		if (code == PCRE2_ERROR_NOMATCH)
			return GH_OK;
		if (code < 0)
			return gh__fail(splitter->error, GH_ETOOBIG,
					"text: the tokenizer's pattern takes too long at byte %zu "
					"of a part (PCRE2 error %d)",
					s->at, code);
		const PCRE2_SIZE *ends = pcre2_get_ovector_pointer(splitter->match);
		*start = ends[0];
		*stop = ends[1];
		if (*start == *stop && s->has_last && *stop == s->last_end) {
			unsigned bytes = 1;

			if (s->at < s->len)
				gh__unicode_at(s->text + s->at, &bytes);
			s->at += bytes;
			continue;
		}
		s->at = s->last_end = *stop;
		s->has_last = *found = true;
		return GH_OK;
	}
	return GH_OK;
}

static gh_status next_match(gh__splitter *splitter, search *s, size_t *start, size_t *stop,
			    bool *found)
{
	const gh__unicode *unicode = splitter->unicode;
	const char *at;

	if (s->split->kind == GH__SPLIT_PCRE)
		return next_pcre(splitter, s, start, stop, found);
	*found = s->at < s->len;
	if (!*found)
		return GH_OK;
	*start = s->at;
	switch (s->split->kind) {
	case GH__SPLIT_NUMBER:
		for (*found = false; s->at < s->len; s->at = *stop) {
			unsigned bytes;
			uint32_t c = gh__unicode_at(s->text + s->at, &bytes);

			*start = s->at;
			*stop = s->at + bytes;
			if (gh__unicode_bits(unicode, c) & GH__UNI_NUMBER) {
				*found = true;
				break;
			}
		}
		break;
	case GH__SPLIT_LITERAL:
		at = memmem(s->text + s->at, s->len - s->at, s->split->literal,
			    s->split->literal_len);
		*found = at != NULL;
		*start = at ? (size_t)(at - s->text) : s->len;
		*stop = *start + (at ? s->split->literal_len : 0);
		break;
	default:
		*stop = by_hand[s->split->kind](unicode, s->text, s->len, s->at);
	}
	s->at = *stop;
	return GH_OK;
}

static gh_status run(gh__splitter *splitter, int index, const char *text, size_t len);

/* Groups matches and what lies between them as the behavior says; holds one group back. */
typedef struct grouping {
	gh__splitter *splitter;
	const char *text;
	int next; /* the split that the groups go to */
	gh__split_behavior behavior;
	bool invert;
	bool held, held_match; /* a group is held back; its latest part was a match */
	size_t start, stop;
} grouping;

static gh_status flush(grouping *g)
{
	bool held = g->held;

	g->held = false;
	if (!held || g->start == g->stop)
		return GH_OK;
	return run(g->splitter, g->next, g->text + g->start, g->stop - g->start);
}

static gh_status feed(grouping *g, size_t start, size_t stop, bool match)
{
	bool join = false;

	match ^= g->invert;
	switch (g->behavior) {
	case GH__SPLIT_ISOLATED:
		break;
	case GH__SPLIT_REMOVED:
		if (match)
			return GH_OK;
		break;
	case GH__SPLIT_MERGED_WITH_PREVIOUS:
		join = match && !g->held_match;
		break;
	case GH__SPLIT_MERGED_WITH_NEXT:
		join = !match && g->held_match;
		break;
	case GH__SPLIT_CONTIGUOUS:
		join = match == g->held_match;
		break;
	}
	if (g->held && join) {
		g->stop = stop;
	} else {
		gh_status status = flush(g);

		if (status != GH_OK)
			return status;
		g->start = start;
		g->stop = stop;
		g->held = true;
	}
	g->held_match = match;
	return GH_OK;
}

static gh_status run_split(gh__splitter *splitter, int index, const char *text, size_t len)
{
	const gh__split *split = &splitter->splits->split[index];
	search s = { .split = split, .text = text, .len = len };
	grouping g = { .splitter = splitter,
		       .text = text,
		       .next = index + 1,
		       .behavior = split->behavior,
		       .invert = split->invert };
	size_t start, stop, done = 0;
	bool found;

	for (;;) {
		gh_status status = next_match(splitter, &s, &start, &stop, &found);

		if (status != GH_OK)
			return status;
		if (!found)
			break;
		if (done != start)
			status = feed(&g, done, start, false);
		if (status == GH_OK)
			status = feed(&g, start, stop, true);
		if (status != GH_OK)
			return status;
		done = stop;
	}
	if (done != len) {
		gh_status status = feed(&g, done, len, false);

		if (status != GH_OK)
			return status;
	}
	return flush(&g);
}

/* A pattern that matches everywhere, each match a piece: the common case, without any grouping. */
static gh_status run_everywhere(gh__splitter *splitter, match_fn *match, int next, const char *text,
				size_t len)
{
	for (size_t at = 0; at < len;) {
		size_t stop = match(splitter->unicode, text, len, at);
		gh_status status = run(splitter, next, text + at, stop - at);

		if (status != GH_OK)
			return status;
		at = stop;
	}
	return GH_OK;
}

static gh_status run_byte_level(gh__splitter *splitter, const char *text, size_t len)
{
	const gh__splits *splits = splitter->splits;

	if (splits->prefix_space && text[0] != ' ') {
		gh__buf *buf = &splitter->prefixed;

		gh__buf_reset(buf);
		gh__buf_append_char(buf, ' ');
		gh__buf_append(buf, text, len);
		if (gh__buf_status(buf) != GH_OK)
			return gh__fail(splitter->error, gh__buf_status(buf), "text: no room");
		text = buf->data;
		len = buf->len;
	}
	if (splits->gpt2)
		return run_everywhere(splitter, gh__split_gpt2, splits->count + 1, text, len);
	return splitter->piece(splitter->userdata, text, len);
}

/* Step index of the row; the byte level comes behind the splits, and behind it the pieces' end. */
static gh_status run(gh__splitter *splitter, int index, const char *text, size_t len)
{
	const gh__splits *splits = splitter->splits;

	if (index > splits->count)
		return splitter->piece(splitter->userdata, text, len);
	if (index == splits->count)
		return run_byte_level(splitter, text, len);
	const gh__split *split = &splits->split[index];
	if (is_everywhere(split))
		return run_everywhere(splitter, by_hand[split->kind], index + 1, text, len);
	return run_split(splitter, index, text, len);
}

gh_status gh__splitter_run(gh__splitter *splitter, const char *text, size_t len)
{
	return len ? run(splitter, 0, text, len) : GH_OK;
}
