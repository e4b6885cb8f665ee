#ifndef GH_ENGINE_KV_BLOCKS_H
#define GH_ENGINE_KV_BLOCKS_H

#include <stdbool.h>

#include <gonkahost/base.h>

/*
 * KV blocks: who holds which, and what the ones that nobody holds still contain.
 *
 * A block is free, held (counted), or kept: held by nobody, but its content is known and may be
 * held again. A known block is found by its link (the block before it) and its tokens, compared
 * one by one; a hash only shortens the search. Links are numbers that are never given twice, so a
 * block whose predecessor was evicted cannot be mistaken for the continuation of another text.
 * Taking a block evicts the one that has been kept longest when none is free.
 */
typedef struct gh__kv_blocks gh__kv_blocks;

/* The link of a block that begins a text. */
#define GH__KV_ROOT UINT64_C(0)

/* caching false: nothing is ever known, find and know do nothing. */
gh_status gh__kv_blocks_create(gh__kv_blocks **out, int64_t count, int32_t block_size, bool caching,
			       gh_error *error);
void gh__kv_blocks_free(gh__kv_blocks *blocks);

int32_t gh__kv_blocks_available(const gh__kv_blocks *blocks); /* free or kept */
int32_t gh__kv_blocks_used(const gh__kv_blocks *blocks);      /* held */

int32_t gh__kv_blocks_take(gh__kv_blocks *blocks); /* held once; -1: none is available */
void gh__kv_blocks_hold(gh__kv_blocks *blocks, int32_t block);
/* The end of a text is evicted before its beginning: drop the last block first. */
void gh__kv_blocks_drop(gh__kv_blocks *blocks, int32_t block);

/* The block that holds these block_size tokens behind *link; holds it and moves *link on to it.
 * -1: not known. */
int32_t gh__kv_blocks_find(gh__kv_blocks *blocks, uint64_t *link, const int32_t *tokens);

/*
 * Say what a held block contains, now that all of it is written, and move *link on to it. If a
 * block of the same content is known already, the caller's is dropped and that one is held: the
 * caller goes on with the answer.
 */
int32_t gh__kv_blocks_know(gh__kv_blocks *blocks, int32_t block, uint64_t *link,
			   const int32_t *tokens);

#endif
