#include <string.h>

#include "engine/kv_blocks.h"
#include "unit.h"

/* ck_assert() writes a record each time it holds: too slow for long loops. */
#define must(condition)                                 \
	do {                                            \
		if (!(condition))                       \
			ck_abort_msg("%s", #condition); \
	} while (0)

enum { SIZE = 4 };

static gh__kv_blocks *create(int64_t count, bool caching)
{
	gh__kv_blocks *blocks = NULL;

	assert_ok(gh__kv_blocks_create(&blocks, count, SIZE, caching, error));
	return blocks;
}

START_TEST(takes_all_and_no_more)
{
	gh__kv_blocks *blocks = create(5, true);
	bool seen[5] = { false };

	for (int i = 0; i < 5; i++) {
		int32_t block = gh__kv_blocks_take(blocks);

		ck_assert(block >= 0 && block < 5 && !seen[block]);
		seen[block] = true;
		ck_assert_int_eq(gh__kv_blocks_used(blocks), i + 1);
	}
	ck_assert_int_eq(gh__kv_blocks_take(blocks), -1);
	gh__kv_blocks_hold(blocks, 3);
	gh__kv_blocks_drop(blocks, 3);
	ck_assert_int_eq(gh__kv_blocks_available(blocks), 0);
	gh__kv_blocks_drop(blocks, 3);
	ck_assert_int_eq(gh__kv_blocks_available(blocks), 1);
	ck_assert_int_eq(gh__kv_blocks_take(blocks), 3);
	gh__kv_blocks_free(blocks);
}
END_TEST

START_TEST(finds_what_is_known)
{
	static const int32_t a[SIZE] = { 1, 2, 3, 4 }, b[SIZE] = { 5, 6, 7, 8 };
	gh__kv_blocks *blocks = create(4, true);
	uint64_t link = GH__KV_ROOT, other;
	int32_t first = gh__kv_blocks_take(blocks), second = gh__kv_blocks_take(blocks);

	other = GH__KV_ROOT;
	ck_assert_int_eq(gh__kv_blocks_find(blocks, &other, a), -1);
	ck_assert_int_eq(gh__kv_blocks_know(blocks, first, &link, a), first);
	ck_assert_int_eq(gh__kv_blocks_know(blocks, second, &link, b), second);
	ck_assert_int_eq(gh__kv_blocks_find(blocks, &other, b), -1); /* b does not begin a text */
	ck_assert_int_eq(gh__kv_blocks_find(blocks, &other, a), first);
	ck_assert_int_eq(gh__kv_blocks_find(blocks, &other, a), -1); /* nor does a follow a */
	ck_assert_int_eq(gh__kv_blocks_find(blocks, &other, b), second);
	ck_assert(other == link);
	for (int i = 0; i < 2; i++) {
		gh__kv_blocks_drop(blocks, second);
		gh__kv_blocks_drop(blocks, first);
	}
	ck_assert_int_eq(gh__kv_blocks_used(blocks), 0);
	/* Nobody holds them, yet they are found. */
	other = GH__KV_ROOT;
	ck_assert_int_eq(gh__kv_blocks_find(blocks, &other, a), first);
	ck_assert_int_eq(gh__kv_blocks_used(blocks), 1);
	gh__kv_blocks_drop(blocks, first);
	gh__kv_blocks_free(blocks);
}
END_TEST

START_TEST(evicts_the_oldest_end_first)
{
	static const int32_t text[3][SIZE] = { { 1 }, { 2 }, { 3 } };
	gh__kv_blocks *blocks = create(3, true);
	int32_t held[3];
	uint64_t link = GH__KV_ROOT;

	for (int i = 0; i < 3; i++) {
		held[i] = gh__kv_blocks_take(blocks);
		gh__kv_blocks_know(blocks, held[i], &link, text[i]);
	}
	for (int i = 2; i >= 0; i--)
		gh__kv_blocks_drop(blocks, held[i]);
	ck_assert_int_eq(gh__kv_blocks_available(blocks), 3);
	ck_assert_int_eq(gh__kv_blocks_take(blocks), held[2]);
	link = GH__KV_ROOT;
	ck_assert_int_eq(gh__kv_blocks_find(blocks, &link, text[0]), held[0]);
	ck_assert_int_eq(gh__kv_blocks_find(blocks, &link, text[1]), held[1]);
	ck_assert_int_eq(gh__kv_blocks_find(blocks, &link, text[2]), -1);
	ck_assert_int_eq(gh__kv_blocks_take(blocks), -1);
	gh__kv_blocks_free(blocks);
}
END_TEST

/* A block whose predecessor is gone must not continue what took its place. */
START_TEST(never_continues_another_text)
{
	static const int32_t a[SIZE] = { 1 }, b[SIZE] = { 2 }, c[SIZE] = { 3 };
	gh__kv_blocks *blocks = create(2, true);
	uint64_t link = GH__KV_ROOT;
	int32_t first = gh__kv_blocks_take(blocks), second = gh__kv_blocks_take(blocks);

	gh__kv_blocks_know(blocks, first, &link, a);
	gh__kv_blocks_know(blocks, second, &link, b);
	gh__kv_blocks_drop(blocks, first); /* the wrong way round: first is evicted first */
	gh__kv_blocks_drop(blocks, second);
	ck_assert_int_eq(gh__kv_blocks_take(blocks), first);
	link = GH__KV_ROOT;
	gh__kv_blocks_know(blocks, first, &link, c);
	ck_assert_int_eq(gh__kv_blocks_find(blocks, &link, b), -1);
	gh__kv_blocks_free(blocks);
}
END_TEST

START_TEST(joins_equal_blocks)
{
	static const int32_t a[SIZE] = { 9, 9, 9, 9 };
	gh__kv_blocks *blocks = create(3, true);
	uint64_t one = GH__KV_ROOT, two = GH__KV_ROOT;
	int32_t first = gh__kv_blocks_take(blocks), second = gh__kv_blocks_take(blocks);

	ck_assert_int_eq(gh__kv_blocks_know(blocks, first, &one, a), first);
	ck_assert_int_eq(gh__kv_blocks_know(blocks, second, &two, a), first);
	ck_assert(one == two);
	ck_assert_int_eq(gh__kv_blocks_used(blocks), 1);
	gh__kv_blocks_drop(blocks, first);
	ck_assert_int_eq(gh__kv_blocks_used(blocks), 1);
	gh__kv_blocks_drop(blocks, first);
	ck_assert_int_eq(gh__kv_blocks_used(blocks), 0);
	gh__kv_blocks_free(blocks);
}
END_TEST

START_TEST(knows_nothing_without_caching)
{
	static const int32_t a[SIZE] = { 1 };
	gh__kv_blocks *blocks = create(1, false);
	uint64_t link = GH__KV_ROOT;
	int32_t block = gh__kv_blocks_take(blocks);

	ck_assert_int_eq(gh__kv_blocks_know(blocks, block, &link, a), block);
	gh__kv_blocks_drop(blocks, block);
	ck_assert_int_eq(gh__kv_blocks_find(blocks, &link, a), -1);
	ck_assert(link == GH__KV_ROOT);
	gh__kv_blocks_free(blocks);
}
END_TEST

START_TEST(refuses_impossible_sizes)
{
	gh__kv_blocks *blocks = NULL;

	assert_fails(GH_EINVAL, "kv_blocks", gh__kv_blocks_create(&blocks, 0, 16, true, error));
	assert_fails(GH_EINVAL, "kv_blocks",
		     gh__kv_blocks_create(&blocks, INT64_MAX, 16, true, error));
	assert_fails(GH_EINVAL, "block_size", gh__kv_blocks_create(&blocks, 8, 0, true, error));
	ck_assert_ptr_null(blocks);
}
END_TEST

/* Random texts over few tokens, against a plain account of who holds what. */
START_TEST(keeps_its_books)
{
	enum { COUNT = 37, TEXTS = 12, LENGTH = 6 };
	gh__kv_blocks *blocks = create(COUNT, true);
	int32_t held[TEXTS][LENGTH], length[TEXTS] = { 0 };
	int32_t content[COUNT][LENGTH], depth[COUNT];
	uint64_t state = 1;

	for (int round = 0; round < 20000; round++) {
		state = state * UINT64_C(6364136223846793005) + 1442695040888963407u;
		int t = (int)(state >> 33) % TEXTS;
		int32_t tokens[LENGTH];
		uint64_t link = GH__KV_ROOT;

		while (length[t] > 0)
			gh__kv_blocks_drop(blocks, held[t][--length[t]]);
		for (int i = 0; i < LENGTH; i++)
			tokens[i] = (int32_t)(state >> (40 + 2 * i)) & 3;
		bool found = true;
		for (int i = 0; i < LENGTH; i++) {
			const int32_t key[SIZE] = { tokens[i] };
			int32_t block = found ? gh__kv_blocks_find(blocks, &link, key) : -1;

			if (block >= 0) {
				must(depth[block] == i);
				must(memcmp(content[block], tokens,
					    (size_t)(i + 1) * sizeof *tokens) == 0);
			} else {
				found = false;
				block = gh__kv_blocks_take(blocks);
				if (block < 0)
					break;
				int32_t mine = block;
				block = gh__kv_blocks_know(blocks, mine, &link, key);
				if (block == mine) {
					depth[block] = i;
					memcpy(content[block], tokens, sizeof tokens);
				}
				must(memcmp(content[block], tokens,
					    (size_t)(i + 1) * sizeof *tokens) == 0);
			}
			held[t][length[t]++] = block;
		}
		bool used[COUNT] = { false };
		int32_t count = 0;
		for (int i = 0; i < TEXTS; i++) {
			for (int j = 0; j < length[i]; j++) {
				count += !used[held[i][j]];
				used[held[i][j]] = true;
			}
		}
		must(gh__kv_blocks_used(blocks) == count);
	}
	gh__kv_blocks_free(blocks);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("kv_blocks");
	TCase *tc = tcase_create("kv_blocks");

	tcase_add_test(tc, takes_all_and_no_more);
	tcase_add_test(tc, finds_what_is_known);
	tcase_add_test(tc, evicts_the_oldest_end_first);
	tcase_add_test(tc, never_continues_another_text);
	tcase_add_test(tc, joins_equal_blocks);
	tcase_add_test(tc, knows_nothing_without_caching);
	tcase_add_test(tc, refuses_impossible_sizes);
	tcase_add_test(tc, keeps_its_books);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
