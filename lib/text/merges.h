#ifndef GH_TEXT_MERGES_H
#define GH_TEXT_MERGES_H

#include "text/vocab.h"

/*
 * Pairs of neighbouring tokens that join, each with its rank: the lower joins first.
 */
#define GH__MERGE_NONE UINT32_MAX

typedef struct gh__merge {
	uint64_t pair; /* left id in the upper half */
	uint32_t rank; /* GH__MERGE_NONE: an empty slot, no such pair */
	int32_t id;    /* of the joined token */
} gh__merge;

typedef struct gh__merges {
	gh__merge *slots; /* open addressing, a power of two of them */
	unsigned shift;   /* of the hash, down to a slot's number */
	size_t count;
	uint64_t factor; /* odd and random */
} gh__merges;

gh_status gh__merges_init(gh__merges *merges, gh_error *error);
void gh__merges_done(gh__merges *merges);

/* The next rank goes to this pair; a pair that is there already gets the new rank. The texts are
 * spelled in the byte alphabet; one of them, or both together, unknown to vocab: GH_EFORMAT. */
gh_status gh__merges_add(gh__merges *merges, uint32_t rank, const gh__vocab *vocab,
			 const char *left, size_t left_len, const char *right, size_t right_len,
			 gh_error *error);

/* "left right" in one text. */
gh_status gh__merges_add_line(gh__merges *merges, uint32_t rank, const gh__vocab *vocab,
			      const char *line, size_t len, gh_error *error);

static inline gh__merge *gh__merges_slot(const gh__merges *merges, uint64_t pair)
{
	size_t mask = ((size_t)1 << (64 - merges->shift)) - 1;
	size_t at = (size_t)(pair * merges->factor >> merges->shift);

	while (merges->slots[at].rank != GH__MERGE_NONE && merges->slots[at].pair != pair)
		at = (at + 1) & mask;
	return &merges->slots[at];
}

/* rank is GH__MERGE_NONE when they do not join. */
static inline const gh__merge *gh__merges_find(const gh__merges *merges, int32_t left,
					       int32_t right)
{
	return gh__merges_slot(merges, (uint64_t)(uint32_t)left << 32 | (uint32_t)right);
}

#endif
