#ifndef GH_TEXT_SPLIT_H
#define GH_TEXT_SPLIT_H

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdbool.h>

#include "base/buf.h"
#include "text/unicode.h"

/*
 * Pre-tokenisation: a text is cut into pieces by a row of splits, each cutting the pieces of the
 * one before it. Texts are valid UTF-8 throughout.
 */
typedef enum gh__split_kind {
	GH__SPLIT_QWEN2, /* the three patterns that nearly all models use, by hand */
	GH__SPLIT_LLAMA3,
	GH__SPLIT_GPT2,
	GH__SPLIT_NUMBER, /* one \p{N} */
	GH__SPLIT_LITERAL,
	GH__SPLIT_PCRE
} gh__split_kind;

typedef enum gh__split_behavior {
	GH__SPLIT_ISOLATED,
	GH__SPLIT_REMOVED,
	GH__SPLIT_MERGED_WITH_PREVIOUS,
	GH__SPLIT_MERGED_WITH_NEXT,
	GH__SPLIT_CONTIGUOUS
} gh__split_behavior;

typedef struct gh__split {
	gh__split_kind kind;
	gh__split_behavior behavior;
	bool invert; /* what lies between matches counts as the match, and the other way round */
	char *literal;
	size_t literal_len;
	pcre2_code *code;
} gh__split;

#define GH__SPLITS 16

typedef struct gh__splits {
	gh__split split[GH__SPLITS];
	int count;
	bool prefix_space; /* a piece that begins with no space gets one ... */
	bool gpt2;         /* ... and is then cut by GPT-2's pattern: the ByteLevel step */
	bool byte_level;   /* the ByteLevel step is there; nothing comes behind it */
	bool has_pcre;
} gh__splits;

/* The kind of a regular expression; one of the three is recognised by its text. */
gh_status gh__split_regex(gh__split *split, const char *pattern, size_t len, gh_error *error);
gh_status gh__split_literal(gh__split *split, const char *text, size_t len, gh_error *error);
void gh__splits_done(gh__splits *splits);

/* True when the pieces are the whole text, whatever the text is. */
bool gh__splits_keep_all(const gh__splits *splits);

/* Where the match of a pattern by hand that begins at `at` ends; at < len. They match
 * everywhere. */
size_t gh__split_qwen2(const gh__unicode *unicode, const char *text, size_t len, size_t at);
size_t gh__split_llama3(const gh__unicode *unicode, const char *text, size_t len, size_t at);
size_t gh__split_gpt2(const gh__unicode *unicode, const char *text, size_t len, size_t at);

typedef gh_status gh__piece_fn(void *userdata, const char *text, size_t len);

/* What one call needs besides the immutable splits. */
typedef struct gh__splitter {
	const gh__splits *splits;
	const gh__unicode *unicode;
	gh__piece_fn *piece;
	void *userdata;
	gh_error *error;
	gh__buf prefixed; /* a piece with a space put before it */
	pcre2_match_data *match;
	pcre2_match_context *limits;
	pcre2_jit_stack *stack;
} gh__splitter;

gh_status gh__splitter_init(gh__splitter *splitter, const gh__splits *splits,
			    const gh__unicode *unicode, gh__piece_fn *piece, void *userdata,
			    gh_error *error);
void gh__splitter_done(gh__splitter *splitter);

/* Calls piece for every piece in order, none of them empty; its first failure ends the run. */
gh_status gh__splitter_run(gh__splitter *splitter, const char *text, size_t len);

#endif
