#include "engine/kv_blocks.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/random.h"

typedef struct block {
	int32_t holders;
	int32_t next_alike;   /* next block of the same bucket; -1 ends */
	int32_t older, newer; /* among the kept ones; older also links the free ones */
	uint64_t serial;      /* what a successor's link says; 0: content unknown */
	uint64_t link;        /* serial of the block before */
} block;

struct gh__kv_blocks {
	block *block;    /* [count + 1]: the last one is head and tail of the kept ones */
	int32_t *tokens; /* [count, block_size] of known blocks */
	int32_t *bucket; /* [buckets] first known block; -1: none */
	uint64_t seed;   /* of the hash, so that nobody can aim at one bucket */
	uint64_t last_serial;
	uint32_t buckets; /* a power of two */
	int32_t count;
	int32_t block_size;
	int32_t free; /* first free block; -1: none */
	int32_t available;
	bool caching;
};

gh_status gh__kv_blocks_create(gh__kv_blocks **out, int64_t count, int32_t block_size, bool caching,
			       gh_error *error)
{
	if (count < 1 || count >= INT32_MAX / 2)
		return gh__fail(error, GH_EINVAL, "kv_blocks: %lld is not between 1 and %d",
				(long long)count, INT32_MAX / 2 - 1);
	if (block_size < 1 || block_size > 1024)
		return gh__fail(error, GH_EINVAL, "block_size: %d is not between 1 and 1024",
				block_size);
	gh__kv_blocks *blocks = gh__calloc(1, sizeof *blocks);
	if (!blocks)
		return gh__fail_nomem(error);
	blocks->buckets = 1;
	while (blocks->buckets < (uint32_t)count)
		blocks->buckets *= 2;
	blocks->block = gh__calloc((size_t)count + 1, sizeof *blocks->block);
	if (caching) {
		blocks->tokens = gh__calloc((size_t)count * (size_t)block_size, sizeof(int32_t));
		blocks->bucket = gh__calloc(blocks->buckets, sizeof(int32_t));
	}
	if (!blocks->block || (caching && (!blocks->tokens || !blocks->bucket))) {
		gh__kv_blocks_free(blocks);
		return gh__fail_nomem(error);
	}
	blocks->seed = gh__random_u64();
	blocks->count = (int32_t)count;
	blocks->block_size = block_size;
	blocks->available = blocks->count;
	blocks->caching = caching;
	for (uint32_t i = 0; caching && i < blocks->buckets; i++)
		blocks->bucket[i] = -1;
	for (int32_t i = 0; i < blocks->count; i++)
		blocks->block[i].older = i + 1 < blocks->count ? i + 1 : -1;
	blocks->block[count].older = blocks->count;
	blocks->block[count].newer = blocks->count;
	*out = blocks;
	return GH_OK;
}

void gh__kv_blocks_free(gh__kv_blocks *blocks)
{
	if (!blocks)
		return;
	gh__free(blocks->block);
	gh__free(blocks->tokens);
	gh__free(blocks->bucket);
	gh__free(blocks);
}

int32_t gh__kv_blocks_available(const gh__kv_blocks *blocks)
{
	return blocks->available;
}

int32_t gh__kv_blocks_used(const gh__kv_blocks *blocks)
{
	return blocks->count - blocks->available;
}

static int32_t *bucket_of(const gh__kv_blocks *blocks, uint64_t link, const int32_t *tokens)
{
	uint64_t hash = blocks->seed ^ link;

	for (int32_t i = 0; i < blocks->block_size; i++) {
		hash = (hash ^ (uint32_t)tokens[i]) * UINT64_C(0x9e3779b97f4a7c15);
		hash ^= hash >> 29;
	}
	return &blocks->bucket[hash & (blocks->buckets - 1)];
}

static int32_t *tokens_of(const gh__kv_blocks *blocks, int32_t index)
{
	return blocks->tokens + (size_t)index * (size_t)blocks->block_size;
}

static int32_t look_up(const gh__kv_blocks *blocks, uint64_t link, const int32_t *tokens)
{
	size_t bytes = (size_t)blocks->block_size * sizeof *tokens;
	int32_t i = *bucket_of(blocks, link, tokens);

	while (i >= 0 &&
	       (blocks->block[i].link != link || memcmp(tokens_of(blocks, i), tokens, bytes) != 0))
		i = blocks->block[i].next_alike;
	return i;
}

static void forget(gh__kv_blocks *blocks, int32_t index)
{
	block *b = &blocks->block[index];
	int32_t *place = bucket_of(blocks, b->link, tokens_of(blocks, index));

	while (*place != index)
		place = &blocks->block[*place].next_alike;
	*place = b->next_alike;
	b->serial = 0;
}

static void unkeep(gh__kv_blocks *blocks, int32_t index)
{
	block *b = &blocks->block[index];

	blocks->block[b->older].newer = b->newer;
	blocks->block[b->newer].older = b->older;
}

int32_t gh__kv_blocks_take(gh__kv_blocks *blocks)
{
	int32_t index = blocks->free;

	if (blocks->available == 0)
		return -1;
	if (index >= 0) {
		blocks->free = blocks->block[index].older;
	} else {
		index = blocks->block[blocks->count].newer; /* behind the head: the oldest */
		unkeep(blocks, index);
		forget(blocks, index);
	}
	blocks->block[index].holders = 1;
	blocks->available--;
	return index;
}

void gh__kv_blocks_hold(gh__kv_blocks *blocks, int32_t index)
{
	if (blocks->block[index].holders++ == 0) {
		unkeep(blocks, index);
		blocks->available--;
	}
}

void gh__kv_blocks_drop(gh__kv_blocks *blocks, int32_t index)
{
	block *b = &blocks->block[index];

	if (--b->holders > 0)
		return;
	blocks->available++;
	if (b->serial == 0) {
		b->older = blocks->free;
		blocks->free = index;
		return;
	}
	block *head = &blocks->block[blocks->count];
	b->older = head->older;
	b->newer = blocks->count;
	blocks->block[head->older].newer = index;
	head->older = index;
}

int32_t gh__kv_blocks_find(gh__kv_blocks *blocks, uint64_t *link, const int32_t *tokens)
{
	int32_t index = blocks->caching ? look_up(blocks, *link, tokens) : -1;

	if (index < 0)
		return -1;
	gh__kv_blocks_hold(blocks, index);
	*link = blocks->block[index].serial;
	return index;
}

int32_t gh__kv_blocks_know(gh__kv_blocks *blocks, int32_t index, uint64_t *link,
			   const int32_t *tokens)
{
	if (!blocks->caching)
		return index;
	int32_t known = look_up(blocks, *link, tokens);
	if (known >= 0) {
		gh__kv_blocks_hold(blocks, known);
		gh__kv_blocks_drop(blocks, index);
		index = known;
	} else {
		block *b = &blocks->block[index];
		int32_t *bucket = bucket_of(blocks, *link, tokens);

		memcpy(tokens_of(blocks, index), tokens,
		       (size_t)blocks->block_size * sizeof *tokens);
		b->link = *link;
		b->serial = ++blocks->last_serial;
		b->next_alike = *bucket;
		*bucket = index;
	}
	*link = blocks->block[index].serial;
	return index;
}
