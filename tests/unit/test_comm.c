#include "unit.h"

#include <string.h>

#include "base/alloc.h"
#include "base/thread.h"
#include "comm/comm.h"

/* Runs fn once for each rank, each on a thread, all at once. */
enum { RANKS_MAX = 9 };

typedef void rank_fn(gh__comm *comm, int rank, int ranks);

typedef struct job {
	rank_fn *fn;
	gh__comm *comm;
	int ranks;
} job;

static void job_run(void *arg)
{
	job *j = arg;

	j->fn(j->comm, gh__comm_rank(j->comm), j->ranks);
}

static void on_ranks(int ranks, rank_fn *fn)
{
	gh__comm *comm[RANKS_MAX];
	pthread_t thread[RANKS_MAX];
	job jobs[RANKS_MAX];

	assert_ok(gh__comm_create_local(comm, ranks, error));
	for (int r = 0; r < ranks; r++) {
		ck_assert_int_eq(gh__comm_rank(comm[r]), r);
		ck_assert_int_eq(gh__comm_ranks(comm[r]), ranks);
		jobs[r] = (job){ fn, comm[r], ranks };
		assert_ok(gh__thread_start(&thread[r], "rank", job_run, &jobs[r], error));
	}
	for (int r = 0; r < ranks; r++)
		pthread_join(thread[r], NULL);
	for (int r = 0; r < ranks; r++)
		gh__comm_free(comm[r]);
}

static const int sizes[] = { 1, 2, 3, 4, 9 };

static void on_all(rank_fn *fn)
{
	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
		on_ranks(sizes[i], fn);
}

static int64_t cut(int64_t total, int rank, int ranks)
{
	return total * rank / ranks;
}

/* Slices of uneven width, wider strides than columns, one rank that wants nothing. */
static void gather(gh__comm *comm, int rank, int ranks)
{
	static const int64_t totals[] = { 1, 2, 7, 64, 129 };

	for (size_t t = 0; t < sizeof totals / sizeof totals[0]; t++) {
		for (int64_t rows = 0; rows < 5; rows++) {
			int64_t total = totals[t], first = cut(total, rank, ranks);
			int64_t columns = cut(total, rank + 1, ranks) - first;
			int64_t src_stride = columns + 3, dst_stride = total + 2;
			uint16_t *src = gh__calloc((size_t)(rows * src_stride) + 1, 2);
			uint16_t *dst = gh__calloc((size_t)(rows * dst_stride) + 1, 2);
			bool wants = ranks == 1 || rank != ranks - 1;

			for (int64_t i = 0; i < rows; i++)
				for (int64_t j = 0; j < columns; j++)
					src[i * src_stride + j] =
						(uint16_t)(1 + i * 1000 + first + j);
			assert_ok(gh__comm_gather_columns(comm, src, src_stride, first, columns,
							  wants ? dst : NULL, dst_stride, rows,
							  total, 2, error));
			for (int64_t i = 0; i < rows && wants; i++) {
				for (int64_t j = 0; j < total; j++)
					ck_assert_uint_eq(dst[i * dst_stride + j],
							  (uint16_t)(1 + i * 1000 + j));
				ck_assert_uint_eq(dst[i * dst_stride + total], 0);
			}
			gh__free(src);
			gh__free(dst);
		}
	}
}

/* Every rank holds all columns: slices that overlap with equal contents. */
static void gather_overlapping(gh__comm *comm, int rank, int ranks)
{
	float src[6] = { 1, 2, 3, 4, 5, 6 }, dst[8] = { 0 };
	int64_t first = rank % 2, columns = 6 - first;

	(void)ranks;
	assert_ok(gh__comm_gather_columns(comm, src + first, 6, first, columns, dst, 8, 1, 6, 4,
					  error));
	ck_assert_mem_eq(dst, src, sizeof src);
}

static void merge(gh__comm *comm, int rank, int ranks)
{
	for (size_t size = 0; size < 200; size += 1 + size / 3) {
		unsigned char data[200] = { 0 };

		for (size_t i = 0; i < size; i++)
			if ((i / 8) % (size_t)ranks == (size_t)rank)
				data[i] = (unsigned char)(i * 7 + 1);
		assert_ok(gh__comm_merge(comm, data, size, error));
		for (size_t i = 0; i < size; i++)
			ck_assert_uint_eq(data[i], (unsigned char)(i * 7 + 1));
		ck_assert_uint_eq(data[size], 0);
	}
}

static void most(gh__comm *comm, int rank, int ranks)
{
	float values[12];

	for (int i = 0; i < 12; i++)
		values[i] = (float)((i * 5 + rank * 7) % 11) - 20;
	assert_ok(gh__comm_max(comm, values, 12, error));
	for (int i = 0; i < 12; i++) {
		float expect = -100;

		for (int r = 0; r < ranks; r++) {
			float value = (float)((i * 5 + r * 7) % 11) - 20;

			expect = value > expect ? value : expect;
		}
		ck_assert_float_eq(values[i], expect);
	}
}

/* A number goes round the ring, each rank adding to it; the message is reused at once. */
static void ring(gh__comm *comm, int rank, int ranks)
{
	int64_t data[3] = { 0 };

	for (int round = 0; ranks > 1 && round < 50; round++) {
		if (rank > 0)
			assert_ok(gh__comm_recv(comm, rank - 1, data, sizeof data, error));
		data[1] += rank + 1;
		assert_ok(gh__comm_send(comm, (rank + 1) % ranks, data, sizeof data, error));
		memset(data, 0x55, sizeof data);
		if (rank == 0) {
			assert_ok(gh__comm_recv(comm, ranks - 1, data, sizeof data, error));
			ck_assert_int_eq(data[1], (int64_t)(round + 1) * ranks * (ranks + 1) / 2);
		}
	}
	/* Nothing is a message too. */
	if (ranks > 1 && rank == 0)
		assert_ok(gh__comm_send(comm, 1, NULL, 0, error));
	if (rank == 1)
		assert_ok(gh__comm_recv(comm, 0, NULL, 0, error));
}

/* Between two barriers all ranks see what each wrote before the first. */
static int board[RANKS_MAX];

static void barriers(gh__comm *comm, int rank, int ranks)
{
	for (int round = 1; round <= 300; round++) {
		board[rank] = round * (rank + 1);
		assert_ok(gh__comm_barrier(comm, error));
		for (int r = 0; r < ranks; r++)
			ck_assert(board[r] == round * (r + 1));
		assert_ok(gh__comm_barrier(comm, error));
	}
}

START_TEST(collectives)
{
	on_all(gather);
	on_all(gather_overlapping);
	on_all(merge);
	on_all(most);
	on_all(barriers);
}
END_TEST

START_TEST(messages)
{
	on_all(ring);
}
END_TEST

/* The last rank fails; the others, each waiting in another way, are woken and stay so. */
static void one_fails(gh__comm *comm, int rank, int ranks)
{
	float value = 0;
	char byte = 0;

	if (rank == ranks - 1) {
		gh__comm_abort(comm);
	} else if (rank == 0) {
		assert_fails(GH_ECANCELLED, "failed",
			     gh__comm_recv(comm, ranks - 1, &byte, 1, error));
	} else if (rank == 1) {
		assert_fails(GH_ECANCELLED, "failed",
			     gh__comm_send(comm, ranks - 1, &byte, 1, error));
	} else if (rank == 2) {
		assert_fails(GH_ECANCELLED, "failed", gh__comm_barrier(comm, error));
	}
	assert_fails(GH_ECANCELLED, "failed", gh__comm_max(comm, &value, 1, error));
	assert_fails(GH_ECANCELLED, "failed",
		     gh__comm_recv(comm, (rank + 1) % ranks, &byte, 1, error));
}

START_TEST(an_abort_wakes_everyone)
{
	for (int round = 0; round < 50; round++)
		on_ranks(2 + round % 3, one_fails);
}
END_TEST

/* Ranks that disagree are told so, all of them, and nothing hangs. */
static void disagree(gh__comm *comm, int rank, int ranks)
{
	char data[64] = { 0 };

	(void)ranks;
	if (rank == 0)
		assert_fails(GH_EBUG, "size", gh__comm_send(comm, 1, data, 8, error));
	if (rank == 1)
		assert_fails(GH_EBUG, "bytes", gh__comm_recv(comm, 0, data, 9, error));
}

static void disagree_all(gh__comm *comm, int rank, int ranks)
{
	char data[64] = { 0 }, all[64];

	assert_fails(GH_EBUG, "reduction",
		     gh__comm_merge(comm, data, rank == ranks - 1 ? 16 : 8, error));
	assert_fails(GH_EBUG, "gather",
		     gh__comm_gather_columns(comm, data, 8, rank == 1 ? 7 : 0, 2, all, 8, 1, 8, 1,
					     error));
	assert_ok(gh__comm_merge(comm, data, 8, error));
}

START_TEST(disagreement_is_told)
{
	on_ranks(2, disagree);
	on_ranks(3, disagree);
	on_ranks(2, disagree_all);
	on_ranks(4, disagree_all);
}
END_TEST

START_TEST(arguments)
{
	gh__comm *comm[2];
	char byte;

	assert_fails(GH_EINVAL, "ranks", gh__comm_create_local(comm, 0, error));
	assert_fails(GH_EINVAL, "ranks", gh__comm_create_local(comm, 1 << 20, error));
	assert_ok(gh__comm_create_local(comm, 2, error));
	assert_fails(GH_EINVAL, "peer", gh__comm_send(comm[0], 0, &byte, 1, error));
	assert_fails(GH_EINVAL, "peer", gh__comm_recv(comm[0], 2, &byte, 1, error));
	assert_fails(GH_EINVAL, "peer", gh__comm_recv(comm[0], -1, &byte, 1, error));
	gh__comm_free(comm[0]);
	gh__comm_free(comm[1]);
	gh__comm_free(NULL);
}
END_TEST

START_TEST(no_memory_is_no_crash)
{
	for (size_t k = 1;; k++) {
		gh__comm *comm[3];
		gh_status status;

		gh__alloc_fail_at(k);
		status = gh__comm_create_local(comm, 3, NULL);
		gh__alloc_fail_at(0);
		if (status == GH_OK) {
			for (int r = 0; r < 3; r++)
				gh__comm_free(comm[r]);
			ck_assert_uint_ge(k, 5);
			break;
		}
		ck_assert_int_eq(status, GH_ENOMEM);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("comm");
	TCase *tests = tcase_create("comm");

	tcase_add_test(tests, collectives);
	tcase_add_test(tests, messages);
	tcase_add_test(tests, an_abort_wakes_everyone);
	tcase_add_test(tests, disagreement_is_told);
	tcase_add_test(tests, arguments);
	tcase_add_test(tests, no_memory_is_no_crash);
	suite_add_tcase(suite, tests);
	return unit_main(suite);
}
