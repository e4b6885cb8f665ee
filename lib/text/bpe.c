#include "text/bpe.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"

/* Up to here a scan for the lowest rank is faster than a heap. */
#define SHORT 48

/* A symbol of a long piece: the neighbours that are still there, and the pair it begins. */
struct gh__bpe_link {
	uint32_t before, after;
	uint32_t rank; /* of the pair with after */
	int32_t joined;
};

#define NOTHING UINT32_MAX

void gh__bpe_init(gh__bpe *bpe, const gh__bpe_model *model)
{
	*bpe = (gh__bpe){ .model = model };
	gh__buf_init(&bpe->spelled, UINT32_MAX);
}

void gh__bpe_done(gh__bpe *bpe)
{
	gh__free(bpe->ids);
	gh__free(bpe->links);
	gh__free(bpe->heap);
	gh__buf_free(&bpe->spelled);
}

static gh_status reserve(gh__bpe *bpe, size_t more, gh_error *error)
{
	if (bpe->capacity - bpe->count >= more)
		return GH_OK;
	size_t capacity = bpe->capacity + bpe->capacity / 2 + more + 64;
	int32_t *ids = gh__realloc_array(bpe->ids, capacity, sizeof *ids);
	if (!ids)
		return gh__fail_nomem(error);
	bpe->ids = ids;
	bpe->capacity = capacity;
	return GH_OK;
}

gh_status gh__bpe_push(gh__bpe *bpe, int32_t id, gh_error *error)
{
	gh_status status = reserve(bpe, 1, error);

	if (status == GH_OK)
		bpe->ids[bpe->count++] = id;
	return status;
}

/* Joins in place; answers how many symbols are left. */
static size_t join_short(const gh__merges *merges, int32_t *symbols, size_t count)
{
	uint32_t rank[SHORT];
	int32_t joined[SHORT];

	for (size_t i = 0; i + 1 < count; i++) {
		const gh__merge *merge = gh__merges_find(merges, symbols[i], symbols[i + 1]);

		rank[i] = merge->rank;
		joined[i] = merge->id;
	}
	while (count > 1) {
		size_t best = 0;

		for (size_t i = 1; i + 1 < count; i++)
			if (rank[i] < rank[best])
				best = i;
		if (rank[best] == GH__MERGE_NONE)
			break;
		symbols[best] = joined[best];
		count--;
		for (size_t i = best + 1; i < count; i++) {
			symbols[i] = symbols[i + 1];
			rank[i - 1] = rank[i];
			joined[i - 1] = joined[i];
		}
		for (size_t i = best > 0 ? best - 1 : best; i <= best && i + 1 < count; i++) {
			const gh__merge *merge =
				gh__merges_find(merges, symbols[i], symbols[i + 1]);

			rank[i] = merge->rank;
			joined[i] = merge->id;
		}
	}
	return count;
}

/* The heap holds rank << 32 | position, so its least entry is the leftmost of the lowest rank. */
static gh_status heap_push(gh__bpe *bpe, uint64_t entry, gh_error *error)
{
	if (bpe->heap_count == bpe->heap_capacity) {
		size_t capacity = bpe->heap_capacity + bpe->heap_capacity / 2 + 256;
		uint64_t *heap = gh__realloc_array(bpe->heap, capacity, sizeof *heap);

		if (!heap)
			return gh__fail_nomem(error);
		bpe->heap = heap;
		bpe->heap_capacity = capacity;
	}
	size_t at = bpe->heap_count++;
	while (at > 0 && bpe->heap[(at - 1) / 2] > entry) {
		bpe->heap[at] = bpe->heap[(at - 1) / 2];
		at = (at - 1) / 2;
	}
	bpe->heap[at] = entry;
	return GH_OK;
}

static uint64_t heap_pop(gh__bpe *bpe)
{
	uint64_t *heap = bpe->heap;
	uint64_t least = heap[0], last = heap[--bpe->heap_count];
	size_t at = 0;

	for (;;) {
		size_t child = 2 * at + 1;

		if (child >= bpe->heap_count)
			break;
		if (child + 1 < bpe->heap_count && heap[child + 1] < heap[child])
			child++;
		if (heap[child] >= last)
			break;
		heap[at] = heap[child];
		at = child;
	}
	heap[at] = last;
	return least;
}

static void rate(gh__bpe *bpe, const int32_t *symbols, uint32_t at)
{
	static const gh__merge none = { .rank = GH__MERGE_NONE };
	struct gh__bpe_link *link = &bpe->links[at];
	const gh__merge *merge =
		link->after == NOTHING
			? &none
			: gh__merges_find(&bpe->model->merges, symbols[at], symbols[link->after]);

	link->rank = merge->rank;
	link->joined = merge->id;
}

/* Does the pair at `at` have a rank, and do both pairs that overlap it come after it? */
static bool is_least(const struct gh__bpe_link *links, uint32_t at)
{
	const struct gh__bpe_link *link = &links[at];

	return link->rank != GH__MERGE_NONE &&
	       (link->before == NOTHING || links[link->before].rank > link->rank) &&
	       links[link->after].rank >= link->rank;
}

static gh_status offer(gh__bpe *bpe, uint32_t at, gh_error *error)
{
	if (at == NOTHING || !is_least(bpe->links, at))
		return GH_OK;
	return heap_push(bpe, (uint64_t)bpe->links[at].rank << 32 | at, error);
}

/* Joins the pair at `at`, which is the least of all. */
static gh_status join(gh__bpe *bpe, int32_t *symbols, uint32_t at, gh_error *error)
{
	struct gh__bpe_link *links = bpe->links;
	uint32_t gone = links[at].after, before = links[at].before, after = links[gone].after;
	uint32_t before_rank = before == NOTHING ? 0 : links[before].rank;
	uint32_t after_rank = links[gone].rank;
	gh_status status = GH_OK;

	symbols[at] = links[at].joined;
	symbols[gone] = -1;
	links[at].after = after;
	rate(bpe, symbols, at);
	if (before != NOTHING) {
		rate(bpe, symbols, before);
		status = offer(bpe, before, error);
	}
	if (status == GH_OK)
		status = offer(bpe, at, error);
	/* The pairs beside these two, where it was one of these that came before them until now. */
	if (status == GH_OK && before != NOTHING && links[before].before != NOTHING &&
	    links[links[before].before].rank > before_rank)
		status = offer(bpe, links[before].before, error);
	if (after != NOTHING) {
		links[after].before = at;
		if (status == GH_OK && links[after].rank >= after_rank)
			status = offer(bpe, after, error);
	}
	return status;
}

/*
 * The same in O(n log n), for a run of a million letters. The least of all pairs is the lesser of
 * it and each pair that overlaps it, so only such pairs are in the heap: of a run of one letter,
 * one.
 */
static gh_status join_long(gh__bpe *bpe, int32_t *symbols, size_t *count, gh_error *error)
{
	gh_status status = GH_OK;
	size_t kept = 0;

	if (*count > bpe->links_capacity) {
		struct gh__bpe_link *links = gh__realloc_array(bpe->links, *count, sizeof *links);

		if (!links)
			return gh__fail_nomem(error);
		bpe->links = links;
		bpe->links_capacity = *count;
	}
	bpe->heap_count = 0;
	struct gh__bpe_link *links = bpe->links;
	for (uint32_t i = 0; i < *count; i++) {
		links[i].before = i ? i - 1 : NOTHING;
		links[i].after = i + 1 < *count ? i + 1 : NOTHING;
		rate(bpe, symbols, i);
	}
	for (uint32_t i = 0; i < *count && status == GH_OK; i++)
		status = offer(bpe, i, error);
	while (status == GH_OK && bpe->heap_count) {
		uint64_t entry = heap_pop(bpe);
		uint32_t at = (uint32_t)entry;

		/* An entry is stale once one of its symbols has been joined with another. */
		if (symbols[at] >= 0 && links[at].rank == entry >> 32)
			status = join(bpe, symbols, at, error);
	}
	for (size_t i = 0; i < *count; i++)
		if (symbols[i] >= 0)
			symbols[kept++] = symbols[i];
	*count = kept;
	return status;
}

/* The token whose text is the whole piece, or -1. */
static int32_t whole(gh__bpe *bpe, const char *piece, size_t len)
{
	gh__buf *spelled = &bpe->spelled;

	if (len > GH__VOCAB_TEXT)
		return -1;
	gh__buf_reset(spelled);
	if (!gh__buf_reserve(spelled, 2 * len))
		return -1;
	return gh__vocab_find_model(&bpe->model->vocab, spelled->data,
				    gh__alphabet_spell(spelled->data, piece, len));
}

gh_status gh__bpe_encode(gh__bpe *bpe, const char *piece, size_t len, gh_error *error)
{
	const gh__bpe_model *model = bpe->model;
	gh_status status = reserve(bpe, len, error);
	size_t count = 0;

	if (status != GH_OK)
		return status;
	int32_t *symbols = bpe->ids + bpe->count;
	if (model->ignore_merges && len > 1) {
		int32_t id = whole(bpe, piece, len);

		if (id >= 0) {
			bpe->ids[bpe->count++] = id;
			return GH_OK;
		}
	}
	for (size_t i = 0; i < len; i++) {
		int32_t id = model->byte_ids[(unsigned char)piece[i]];

		symbols[count] = id;
		count += id >= 0;
	}
	if (count > SHORT)
		status = join_long(bpe, symbols, &count, error);
	else
		count = join_short(&model->merges, symbols, count);
	if (status == GH_OK)
		bpe->count += count;
	return status;
}
