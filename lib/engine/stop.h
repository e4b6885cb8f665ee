#ifndef GH_ENGINE_STOP_H
#define GH_ENGINE_STOP_H

#include <stdbool.h>

#include <gonkahost/base.h>

#include "base/buf.h"

/*
 * Stop strings: looking for them in a text that grows, and holding back what may belong to one.
 *
 * Held back are the last (longest - 1) characters, unless stop strings stay in the text anyway.
 */
enum { GH__STOP_MAX = 1024, GH__STOP_BYTES_MAX = 64 * 1024 };

typedef struct gh__stop_list {
	char **string;
	size_t *length; /* bytes */
	int32_t count;
	size_t longest;      /* bytes */
	size_t longest_text; /* characters */
	bool include;        /* a stop string stays in the text */
} gh__stop_list;

/* Copies. GH_EINVAL: an empty string, invalid UTF-8, too many. */
gh_status gh__stop_list_init(gh__stop_list *out, const char *const *strings, int32_t count,
			     bool include, gh_error *error);
void gh__stop_list_free(gh__stop_list *list);

typedef struct gh__stop_text {
	gh__buf tail; /* what is held back, and before it what a match may begin in */
	gh__buf out;
	size_t given; /* bytes of tail that were given out */
	size_t held;  /* characters of tail that were not */
} gh__stop_text;

void gh__stop_text_init(gh__stop_text *text);
void gh__stop_text_free(gh__stop_text *text);

/*
 * Add a piece (whole characters). *match: the first string of the list that ends in the piece (the
 * text is then cut there), or -1; look false does not look.
 */
gh_status gh__stop_text_add(gh__stop_text *text, const gh__stop_list *list, const char *piece,
			    size_t len, bool look, int32_t *match);

/* What is certain now; at the end (all) everything. Borrows until the next call. */
gh_status gh__stop_text_give(gh__stop_text *text, const gh__stop_list *list, bool all,
			     const char **out, size_t *len);

#endif
