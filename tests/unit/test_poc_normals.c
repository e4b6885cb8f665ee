#include <string.h>

#include "base/alloc.h"
#include "base/thread.h"
#include "device/narrow.h"
#include "poc/normals.h"
#include "poc/seed.h"
#include "unit.h"

#define NORMALS 200000

static gh__normal_tables tables;
static double expected[NORMALS], got[NORMALS + 1];
static uint16_t expected_f16[NORMALS], got_f16[NORMALS + 1];

static gh__normals job(void)
{
	gh__normals normals = {
		.tables = &tables, .out = got, .dtype = GH_F64, .count = NORMALS, .segment = 2048
	};

	assert_ok(gh__poc_seed(&normals.start, "normals", 4, error));
	return normals;
}

static void setup(void)
{
	gh__normals normals = job();
	gh__pcg64 rng = normals.start;
	uint32_t draws = 0;

	assert_ok(gh__normal_tables_make(&tables, error));
	for (int i = 0; i < NORMALS; i++) {
		expected[i] = gh__normal(&tables, &rng, &draws);
		expected_f16[i] = gh__f32_to_f16((float)(0.0 + 0.02 * expected[i]));
	}
}

static void assert_same(gh__normals *normals, gh__normals_account *account)
{
	bool wide = normals->dtype == GH_F64;

	memset(got, 0x55, sizeof got);
	memset(got_f16, 0x55, sizeof got_f16);
	normals->out = wide ? (void *)got : (void *)got_f16;
	normals->deviation = wide ? 0.0 : 0.02;
	assert_ok(gh__normals_fill(normals, account, error));
	if (wide)
		ck_assert_mem_eq(got, expected, normals->count * sizeof *got);
	else
		ck_assert_mem_eq(got_f16, expected_f16, normals->count * sizeof *got_f16);
	/* and not one more */
	ck_assert_int_eq(((unsigned char *)&got[wide ? normals->count : 0])[0], 0x55);
	ck_assert_int_eq(((unsigned char *)&got_f16[wide ? 0 : normals->count])[0], 0x55);
}

START_TEST(test_any_segment_any_threads)
{
	static const uint32_t segments[] = { 0,    1,    2,     3,     4,
					     5,    7,    16,    63,    64,
					     65,   255,  256,   257,   1000,
					     2048, 4096, 16384, 65536, GH__NORMALS_SEGMENT_MAX };

	for (size_t i = 0; i < COUNT(segments); i++) {
		gh__normals_account first = { 0 };

		for (unsigned threads = 0; threads <= 4; threads++) {
			gh__normals normals = job();
			gh__normals_account account;

			normals.segment = segments[i];
			normals.threads = threads;
			normals.dtype = threads % 2 ? GH_F16 : GH_F64;
			/* the shortest segments go through the lock a lot */
			normals.count = segments[i] > 0 && segments[i] < 8 ? NORMALS / 8 : NORMALS;
			assert_same(&normals, &account);
			if (threads == 0)
				first = account;
			ck_assert_mem_eq(&account, &first, sizeof account);
		}
	}
}
END_TEST

START_TEST(test_any_count)
{
	static const size_t counts[] = { 0,    1,    2,    3,    7,    8,     100,
					 1999, 2003, 2004, 2005, 2048, 16000, 65537 };

	for (size_t i = 0; i < COUNT(counts); i++)
		for (unsigned threads = 1; threads <= 3; threads += 2) {
			gh__normals normals = job();

			normals.count = counts[i];
			normals.threads = threads;
			assert_same(&normals, NULL);
			normals.dtype = GH_F16;
			assert_same(&normals, NULL);
		}
}
END_TEST

/* The segments of a few numbers are as short as they may be. */
START_TEST(test_every_small_count)
{
	for (size_t count = 0; count < 8000; count += count < 700 ? 1 : 97) {
		gh__normals normals = job();

		normals.segment = 0;
		normals.threads = 1 + count % 3;
		normals.count = count;
		normals.dtype = count % 2 ? GH_F16 : GH_F64;
		assert_same(&normals, NULL);
	}
}
END_TEST

START_TEST(test_short_segments_fall_back)
{
	for (uint32_t length = 1; length <= 3; length++) {
		gh__normals normals = job();
		gh__normals_account account;

		normals.segment = length;
		normals.count = NORMALS / 4;
		assert_same(&normals, &account);
		ck_assert_uint_gt(account.redone, 0);
		ck_assert_uint_le(account.redone, account.mended);
		if (length == 1) /* a segment inside a sample has nothing of its own */
			ck_assert_uint_eq(account.redone, account.mended);
		ck_assert_uint_gt(account.segments * length, normals.count);
	}
}
END_TEST

START_TEST(test_long_segments_are_mended)
{
	gh__normals normals = job();
	gh__normals_account account;

	normals.segment = 64;
	assert_same(&normals, &account);
	/* 2.16 % of the cuts fall inside a sample */
	ck_assert_uint_gt(account.mended, account.segments / 100);
	ck_assert_uint_lt(account.mended, account.segments / 25);
	ck_assert_uint_eq(account.redone, 0);
}
END_TEST

/* Tables under which hardly a draw is a sample by itself: decoders are out of step for long, beyond
 * the marks too, and more draws are needed than any plan foresees. */
START_TEST(test_wasteful_tables)
{
	static const uint32_t segments[] = { 1, 5, 100, 256, 300, 2048 };
	static gh__normal_tables wasteful;
	static double sequence[NORMALS];
	gh__pcg64 rng = job().start;
	uint64_t redone = 0;
	uint32_t draws = 0;

	wasteful = tables;
	for (int i = 0; i < GH__NORMAL_LAYERS; i++)
		wasteful.k[i] = 0;
	for (int i = 0; i < NORMALS; i++)
		sequence[i] = gh__normal(&wasteful, &rng, &draws);
	ck_assert_uint_gt(draws, NORMALS * 3 / 2);
	for (size_t i = 0; i < COUNT(segments); i++)
		for (unsigned threads = 1; threads <= 3; threads++) {
			gh__normals normals = job();
			gh__normals_account account;

			normals.tables = &wasteful;
			normals.segment = segments[i];
			normals.threads = threads;
			normals.count = segments[i] < 100 ? NORMALS / 8 : NORMALS;
			memset(got, 0x55, sizeof got);
			assert_ok(gh__normals_fill(&normals, &account, error));
			ck_assert_mem_eq(got, sequence, normals.count * sizeof *got);
			redone += segments[i] > 256 ? account.redone : 0;
		}
	for (size_t count = 0; count < 3000; count += 37) {
		gh__normals normals = job();

		normals.tables = &wasteful;
		normals.segment = 0;
		normals.count = count;
		memset(got, 0x55, sizeof got);
		assert_ok(gh__normals_fill(&normals, NULL, error));
		ck_assert_mem_eq(got, sequence, count * sizeof *got);
	}
	ck_assert_uint_gt(redone, 0);
}
END_TEST

START_TEST(test_progress)
{
	for (unsigned threads = 1; threads <= 3; threads++) {
		gh__normals normals = job();
		_Atomic uint64_t done = 5;
		atomic_bool cancel = false;

		normals.threads = threads;
		normals.done = &done;
		normals.cancel = &cancel;
		assert_same(&normals, NULL);
		ck_assert_uint_eq(atomic_load(&done), NORMALS + 5);
	}
}
END_TEST

typedef struct cancelling {
	atomic_bool cancel;
	_Atomic uint64_t done;
} cancelling;

static void cancel_soon(void *arg)
{
	cancelling *c = arg;

	while (atomic_load(&c->done) == 0)
		sched_yield();
	atomic_store(&c->cancel, true);
}

START_TEST(test_cancel)
{
	for (unsigned threads = 1; threads <= 3; threads++) {
		gh__normals normals = job();
		cancelling c = { false, 0 };
		pthread_t other;

		normals.threads = threads;
		normals.cancel = &c.cancel;
		normals.done = &c.done;
		normals.dtype = GH_F16;
		normals.count = (size_t)1 << 27; /* some seconds' work, were it done to its end */
		normals.out = gh__malloc(normals.count * sizeof(uint16_t));
		ck_assert_ptr_nonnull(normals.out);
		assert_ok(gh__thread_start(&other, "cancel", cancel_soon, &c, error));
		assert_fails(GH_ECANCELLED, "cancelled", gh__normals_fill(&normals, NULL, error));
		pthread_join(other, NULL);
		ck_assert_uint_lt(atomic_load(&c.done), normals.count);
		gh__free(normals.out);

		normals.out = got_f16;
		normals.count = 1;
		atomic_store(&c.done, 0);
		assert_fails(GH_ECANCELLED, "cancelled", gh__normals_fill(&normals, NULL, error));
		ck_assert_uint_eq(atomic_load(&c.done), 0);
	}
}
END_TEST

START_TEST(test_refused)
{
	gh__normals normals = job();

	normals.dtype = GH_BF16;
	assert_fails(GH_EINVAL, "dtype: BF16", gh__normals_fill(&normals, NULL, error));
	normals = job();
	normals.segment = GH__NORMALS_SEGMENT_MAX + 1;
	assert_fails(GH_EINVAL, "segment: 262145", gh__normals_fill(&normals, NULL, error));
	normals = job();
	normals.threads = GH__NORMALS_THREADS_MAX + 1;
	assert_fails(GH_EINVAL, "threads: 1025", gh__normals_fill(&normals, NULL, error));
}
END_TEST

START_TEST(test_no_memory)
{
	for (unsigned threads = 1; threads <= 2; threads++) {
		for (size_t k = 1; k < 20; k++) {
			gh__normals normals = job();
			gh_error error = GH_ERROR_INIT;
			gh_status status;

			normals.threads = threads;
			memset(got, 0x55, sizeof got);
			gh__alloc_fail_at(k);
			status = gh__normals_fill(&normals, NULL, &error);
			gh__alloc_fail_at(0);
			ck_assert(status == GH_OK || status == GH_ENOMEM);
			if (status == GH_OK)
				ck_assert_mem_eq(got, expected, sizeof expected);
			else
				ck_assert_uint_lt(k, 10);
		}
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("poc_normals");
	TCase *tc = tcase_create("normals");

	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_test(tc, test_any_segment_any_threads);
	tcase_add_test(tc, test_any_count);
	tcase_add_test(tc, test_every_small_count);
	tcase_add_test(tc, test_short_segments_fall_back);
	tcase_add_test(tc, test_long_segments_are_mended);
	tcase_add_test(tc, test_wasteful_tables);
	tcase_add_test(tc, test_progress);
	tcase_add_test(tc, test_cancel);
	tcase_add_test(tc, test_refused);
	tcase_add_test(tc, test_no_memory);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
