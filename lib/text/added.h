#ifndef GH_TEXT_ADDED_H
#define GH_TEXT_ADDED_H

#include <stdbool.h>

#include "base/buf.h"
#include "text/unicode.h"

/*
 * Added tokens that are cut out of a text before anything else looks at it: the leftmost match,
 * and of those the longest.
 */
typedef struct gh__added {
	int32_t id;
	uint32_t at, len;    /* what is searched for, in texts */
	bool lstrip, rstrip; /* white space on this side belongs to the match */
	bool single_word;    /* a match that touches a \w character is none */
	bool special;
	bool normalized; /* searched for in the normalised text */
} gh__added;

typedef struct gh__added_set {
	gh__buf texts;
	gh__added *items; /* sorted by text once gh__added_ready() was called */
	size_t count, capacity;
	uint32_t first[257]; /* items whose text begins with byte b: first[b] up to first[b + 1] */
	int only;            /* the one byte they all begin with, or -1 */
} gh__added_set;

void gh__added_init(gh__added_set *set);
void gh__added_done(gh__added_set *set);

/* Copies item and text, which is not empty. */
gh_status gh__added_put(gh__added_set *set, const gh__added *item, const char *text, size_t len,
			gh_error *error);
void gh__added_ready(gh__added_set *set);

/* A walk through a text: parts between matches (item NULL) and matches, in order. */
typedef struct gh__added_walk {
	const gh__added_set *set;
	const gh__unicode *unicode;
	const char *text;
	size_t len;
	size_t search;         /* where the search goes on */
	size_t done;           /* what lies before has been answered */
	const gh__added *held; /* a match that waits behind the part before it */
	size_t held_stop;
} gh__added_walk;

typedef struct gh__added_part {
	size_t start, stop;
	const gh__added *item;
} gh__added_part;

void gh__added_begin(gh__added_walk *walk, const gh__added_set *set, const gh__unicode *unicode,
		     const char *text, size_t len);
bool gh__added_next(gh__added_walk *walk, gh__added_part *part); /* false: the text is over */

#endif
