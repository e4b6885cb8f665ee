#ifndef GH_TEXT_BPE_H
#define GH_TEXT_BPE_H

#include "text/merges.h"
#include "text/vocab.h"

/*
 * Byte-level BPE of one piece after another: start from single bytes, join the neighbouring pair of
 * the lowest rank, the leftmost of equals, until no pair has one.
 */
typedef struct gh__bpe_model {
	gh__vocab vocab;
	gh__merges merges;
	int32_t byte_ids[256]; /* -1: the byte has no token and vanishes */
	bool ignore_merges;    /* a piece that is a token itself is taken whole */
} gh__bpe_model;

/* The growing result of one call, and what long pieces need on the way. */
typedef struct gh__bpe {
	const gh__bpe_model *model;
	int32_t *ids;
	size_t count, capacity;
	struct gh__bpe_link *links;
	size_t links_capacity;
	uint64_t *heap;
	size_t heap_count, heap_capacity;
	gh__buf spelled;
} gh__bpe;

void gh__bpe_init(gh__bpe *bpe, const gh__bpe_model *model);
void gh__bpe_done(gh__bpe *bpe); /* ids are freed as well, unless the caller took them */

gh_status gh__bpe_push(gh__bpe *bpe, int32_t id, gh_error *error);
gh_status gh__bpe_encode(gh__bpe *bpe, const char *piece, size_t len, gh_error *error);

#endif
