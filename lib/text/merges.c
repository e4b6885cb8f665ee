#include "text/merges.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/random.h"

void gh__merges_done(gh__merges *merges)
{
	gh__free(merges->slots);
}

static gh_status grow(gh__merges *merges, gh_error *error)
{
	gh__merges wider = *merges;
	size_t old = merges->slots ? (size_t)1 << (64 - merges->shift) : 0;
	size_t size = old ? old * 2 : 1024;

	wider.shift = 64 - (unsigned)__builtin_ctzll(size);
	wider.slots = gh__malloc(size * sizeof *wider.slots);
	if (!wider.slots)
		return gh__fail_nomem(error);
	memset(wider.slots, 0xff, size * sizeof *wider.slots);
	for (size_t i = 0; i < old; i++)
		if (merges->slots[i].rank != GH__MERGE_NONE)
			*gh__merges_slot(&wider, merges->slots[i].pair) = merges->slots[i];
	gh__free(merges->slots);
	*merges = wider;
	return GH_OK;
}

gh_status gh__merges_init(gh__merges *merges, gh_error *error)
{
	*merges = (gh__merges){ .factor = gh__random_u64() | 1 };
	return grow(merges, error);
}

static gh_status unknown(const char *text, size_t len, gh_error *error)
{
	return gh__fail(error, GH_EFORMAT, "\"%.*s\" is not in the vocabulary",
			(int)(len < 60 ? len : 60), text);
}

gh_status gh__merges_add(gh__merges *merges, uint32_t rank, const gh__vocab *vocab,
			 const char *left, size_t left_len, const char *right, size_t right_len,
			 gh_error *error)
{
	char both[512];
	char *joined = both;
	gh_status status = GH_OK;
	int32_t left_id = gh__vocab_find(vocab, left, left_len);
	int32_t right_id = gh__vocab_find(vocab, right, right_len);

	if (left_id < 0)
		return unknown(left, left_len, error);
	if (right_id < 0)
		return unknown(right, right_len, error);
	if (merges->count * 3 >= (size_t)2 << (64 - merges->shift)) {
		status = grow(merges, error);
		if (status != GH_OK)
			return status;
	}
	if (left_len + right_len > sizeof both) {
		joined = gh__malloc(left_len + right_len);
		if (!joined)
			return gh__fail_nomem(error);
	}
	memcpy(joined, left, left_len);
	memcpy(joined + left_len, right, right_len);
	int32_t id = gh__vocab_find(vocab, joined, left_len + right_len);
	if (id < 0) {
		status = unknown(joined, left_len + right_len, error);
	} else {
		uint64_t pair = (uint64_t)(uint32_t)left_id << 32 | (uint32_t)right_id;
		gh__merge *slot = gh__merges_slot(merges, pair);

		if (slot->rank == GH__MERGE_NONE)
			merges->count++;
		*slot = (gh__merge){ pair, rank, id };
	}
	if (joined != both)
		gh__free(joined);
	return status;
}

gh_status gh__merges_add_line(gh__merges *merges, uint32_t rank, const gh__vocab *vocab,
			      const char *line, size_t len, gh_error *error)
{
	const char *space = memchr(line, ' ', len);
	size_t left = space ? (size_t)(space - line) : 0;

	if (!space || memchr(space + 1, ' ', len - left - 1))
		return gh__fail(error, GH_EFORMAT, "\"%.*s\": expected two texts and one space",
				(int)(len < 60 ? len : 60), line);
	return gh__merges_add(merges, rank, vocab, line, left, space + 1, len - left - 1, error);
}
