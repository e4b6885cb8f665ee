#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "network_node/proofs.h"
#include "folder.h"
#include "unit.h"

static gh__proof_store *proofs;

static void setup(void)
{
	make_root();
	assert_ok(gh__proof_store_open(&proofs, at("new/proofs.db"), error));
}

static void teardown(void)
{
	gh__proof_store_close(proofs);
	remove_root();
}

static void reopen(void)
{
	gh__proof_store_close(proofs);
	assert_ok(gh__proof_store_open(&proofs, at("new/proofs.db"), error));
}

enum { LIST = 8 };

static gh__proof_batch batch_of(const char *hash, const char *key, const int64_t *nonces,
				size_t count)
{
	static double dist[LIST];
	gh__proof_batch batch = { 0 };

	for (size_t i = 0; i < count; i++)
		dist[i] = 1 + 1.0 / ((double)nonces[i] + 3);
	batch.public_key = key;
	batch.block_hash = hash;
	batch.block_height = 17580;
	batch.node_num = 1;
	batch.node_id = "gpu-a";
	batch.nonces = nonces;
	batch.dist = dist;
	batch.count = count;
	return batch;
}

#define ADD(hash, key, wanted, ...)                                                    \
	do {                                                                           \
		const int64_t nonces_[] = { __VA_ARGS__ };                             \
		gh__proof_batch batch_ = batch_of(hash, key, nonces_, COUNT(nonces_)); \
		size_t added_;                                                         \
		assert_ok(gh__proof_store_add(proofs, &batch_, &added_, error));       \
		ck_assert_uint_eq(added_, wanted);                                     \
	} while (0)

/* "key:node-id:[nonces] ..." of all batches of a height. */
static const char *told(int64_t height)
{
	static char text[4096];
	gh__proof_cursor cursor = { 0 };
	gh__proof_batch *batch;
	size_t len = 0;

	text[0] = '\0';
	for (;;) {
		assert_ok(gh__proof_store_next(proofs, height, &cursor, &batch, error));
		if (!batch)
			return text;
		ck_assert_int_eq(batch->block_height, height);
		len += (size_t)snprintf(text + len, sizeof text - len, "%s%s:%s:", len ? " " : "",
					batch->public_key, batch->node_id);
		for (size_t i = 0; i < batch->count; i++) {
			ck_assert_double_eq(batch->dist[i],
					    1 + 1.0 / ((double)batch->nonces[i] + 3));
			len += (size_t)snprintf(text + len, sizeof text - len, "%s%lld",
						i ? "," : "", (long long)batch->nonces[i]);
		}
		gh__free(batch);
	}
}

static size_t count_all(int64_t height, size_t *batches)
{
	gh__proof_cursor cursor = { 0 };
	gh__proof_batch *batch;
	size_t count = 0;

	for (*batches = 0;; ++*batches) {
		assert_ok(gh__proof_store_next(proofs, height, &cursor, &batch, error));
		if (!batch)
			return count;
		count += batch->count;
		gh__free(batch);
	}
}

START_TEST(proofs_are_kept_once)
{
	ADD("B1", "k2", 3, 1, 5, 9);
	ADD("B1", "k2", 0, 1, 5, 9);       /* again */
	ADD("B1", "k2", 2, 5, 13, 9, 17);  /* joined with what came since */
	ADD("B1", "k2", 1, 21, 21, 21, 1); /* the same within one */
	ADD("B1", "k1", 2, 5, 1);          /* another's, in their order */
	ADD("B2", "k2", 1, 1);             /* of another block at the height */
	ADD("B1", "k2", 1, INT64_MAX);
	ADD("B1", "k2", 1, 0);
	ck_assert_str_eq(told(17580), "k1:gpu-a:5,1 k2:gpu-a:1,5,9 k2:gpu-a:13,17 k2:gpu-a:21 "
				      "k2:gpu-a:9223372036854775807 k2:gpu-a:0 k2:gpu-a:1");
	ck_assert_str_eq(told(17581), "");
	ck_assert_str_eq(told(-1), "");
}
END_TEST

START_TEST(they_are_there_after_a_restart)
{
	ADD("B1", "k", 3, 1, 5, 9);
	reopen();
	ADD("B1", "k", 1, 9, 11);
	reopen();
	ck_assert_str_eq(told(17580), "k:gpu-a:1,5,9 k:gpu-a:11");
}
END_TEST

START_TEST(names_come_from_the_content)
{
	gh__proof_cursor cursor = { 0 };
	gh__proof_batch *batch, *other;
	char name[GH__PROOF_ID_SIZE];

	ADD("B1", "k", 2, 1, 2);
	ADD("B1", "k", 1, 3);
	assert_ok(gh__proof_store_next(proofs, 17580, &cursor, &batch, error));
	assert_ok(gh__proof_store_next(proofs, 17580, &cursor, &other, error));
	ck_assert_uint_eq(strlen(batch->id), 36);
	ck_assert_int_eq(batch->id[14], '8');
	ck_assert_str_ne(batch->id, other->id);
	memcpy(name, batch->id, strlen(batch->id) + 1);
	gh__free(batch);
	gh__free(other);
	gh__proof_store_close(proofs);
	assert_ok(gh__proof_store_open(&proofs, at("other.db"), error));
	ADD("B1", "k", 2, 1, 2);
	memset(&cursor, 0, sizeof cursor);
	assert_ok(gh__proof_store_next(proofs, 17580, &cursor, &batch, error));
	ck_assert_str_eq(batch->id, name);
	gh__free(batch);
}
END_TEST

START_TEST(hostile_batches)
{
	char text[GH__PROOF_TEXT_MAX + 2];
	int64_t nonces[] = { 3, -1 };
	double dist[] = { 1, 1 };
	gh__proof_batch good = batch_of("B", "k", nonces, 1), bad;
	size_t added, batches;

	memset(text, 'x', sizeof text - 1);
	text[sizeof text - 1] = '\0';
	bad = good;
	bad.count = 2;
	bad.dist = dist;
	assert_fails(GH_EINVAL, "nonces[1]: -1", gh__proof_store_add(proofs, &bad, &added, error));
	nonces[1] = 4;
	dist[1] = NAN;
	assert_fails(GH_EINVAL, "dist[1]", gh__proof_store_add(proofs, &bad, &added, error));
	dist[1] = -INFINITY;
	assert_fails(GH_EINVAL, "dist[1]", gh__proof_store_add(proofs, &bad, &added, error));
	bad = good;
	bad.public_key = "";
	assert_fails(GH_EINVAL, "public_key: 0", gh__proof_store_add(proofs, &bad, &added, error));
	bad.public_key = text;
	assert_fails(GH_EINVAL, "public_key: 257",
		     gh__proof_store_add(proofs, &bad, &added, error));
	bad = good;
	bad.block_hash = text;
	assert_fails(GH_EINVAL, "block_hash: 257",
		     gh__proof_store_add(proofs, &bad, &added, error));
	bad.block_hash = NULL;
	assert_fails(GH_EINVAL, "block_hash: 0", gh__proof_store_add(proofs, &bad, &added, error));
	bad = good;
	bad.block_height = -1;
	assert_fails(GH_EINVAL, "block_height: -1",
		     gh__proof_store_add(proofs, &bad, &added, error));
	bad = good;
	bad.count = GH__PROOF_REPORT_MAX + 1;
	assert_fails(GH_ETOOBIG, "nonces: 1048577",
		     gh__proof_store_add(proofs, &bad, &added, error));
	ck_assert_uint_eq(count_all(17580, &batches), 0);
	/* quotes and numbers beyond SQLite's are data */
	good.public_key = "k'; DROP TABLE proof; --\xc3\xa9";
	good.node_num = UINT64_MAX;
	text[GH__PROOF_TEXT_MAX] = '\0';
	good.block_hash = text;
	good.count = 1;
	assert_ok(gh__proof_store_add(proofs, &good, &added, error));
	ck_assert_uint_eq(added, 1);
	reopen();
	ck_assert_str_eq(told(17580), "k'; DROP TABLE proof; --\xc3\xa9:gpu-a:3");
}
END_TEST

/* A large report becomes several batches; a full round takes no more, and says so. */
START_TEST(bounds)
{
	size_t count = GH__PROOF_REPORT_MAX, added, batches;
	int64_t *nonces = gh__malloc(count * sizeof *nonces);
	double *dist = gh__calloc(count, sizeof *dist);
	gh__proof_batch batch = { "k", "B", 17580, 1, "", nonces, dist, count, NULL };

	ck_assert_ptr_nonnull(nonces);
	ck_assert_ptr_nonnull(dist);
	for (int part = 0; part < GH__PROOF_ROUND_MAX / GH__PROOF_REPORT_MAX; part++) {
		for (size_t i = 0; i < count; i++)
			nonces[i] = (int64_t)(i + (size_t)part * count);
		assert_ok(gh__proof_store_add(proofs, &batch, &added, error));
		ck_assert_uint_eq(added, count);
	}
	ck_assert_uint_eq(count_all(17580, &batches), GH__PROOF_ROUND_MAX);
	ck_assert_uint_eq(batches, GH__PROOF_ROUND_MAX / GH__PROOF_BATCH_MAX);
	nonces[1] = GH__PROOF_ROUND_MAX;
	batch.count = 2;
	assert_fails(GH_ETOOBIG, "proofs: the round holds 2097152",
		     gh__proof_store_add(proofs, &batch, &added, error));
	ck_assert_uint_eq(count_all(17580, &batches), GH__PROOF_ROUND_MAX);
	batch.count = 1; /* one that is there */
	assert_ok(gh__proof_store_add(proofs, &batch, &added, error));
	batch.block_hash = "C";
	assert_ok(gh__proof_store_add(proofs, &batch, &added, error));
	ck_assert_uint_eq(added, 1);
	gh__free(nonces);
	gh__free(dist);
}
END_TEST

START_TEST(old_rounds_are_forgotten)
{
	char hash[16];
	int64_t nonces[] = { 7 };
	size_t added;

	for (int i = 0; i < 3 * GH__PROOF_ROUNDS; i++) {
		gh__proof_batch batch = batch_of(hash, "k", nonces, 1);

		snprintf(hash, sizeof hash, "B%d", i);
		batch.block_height = 1000 - i; /* heights do not say what is old */
		assert_ok(gh__proof_store_add(proofs, &batch, &added, error));
		ck_assert_uint_eq(added, 1);
	}
	for (int i = 0; i < 3 * GH__PROOF_ROUNDS; i++)
		ck_assert_str_eq(told(1000 - i), i < 2 * GH__PROOF_ROUNDS ? "" : "k:gpu-a:7");
	for (int i = 2 * GH__PROOF_ROUNDS; i < 3 * GH__PROOF_ROUNDS; i++) {
		gh__proof_batch batch = batch_of(hash, "k", nonces, 1);

		snprintf(hash, sizeof hash, "B%d", i);
		assert_ok(gh__proof_store_add(proofs, &batch, &added, error));
		ck_assert_uint_eq(added, 0);
	}
}
END_TEST

/* ---- verdicts ---- */

static gh__proof_verdict verdict_of(const int64_t *nonces, size_t count)
{
	static double received[LIST];
	gh__proof_verdict verdict = { 0 };

	verdict.batch = batch_of("B", "k", nonces, count);
	verdict.received_dist = received;
	verdict.r_target = 1.4013564660458173;
	verdict.fraud_threshold = 1e-7;
	verdict.probability_honest = 3.738380015396609e-06;
	verdict.n_invalid = 1;
	return verdict;
}

START_TEST(verdicts_are_kept_once)
{
	static const int64_t nonces[] = { 9, 1, 9 };
	gh__proof_verdict verdict = verdict_of(nonces, 3), *read;
	double received[] = { 1.25, 1.375, 1.3999999999999999 };
	int64_t cursor = 0;
	bool added;

	verdict.received_dist = received;
	assert_ok(gh__proof_store_judge(proofs, &verdict, &added, error));
	ck_assert(added);
	assert_ok(gh__proof_store_judge(proofs, &verdict, &added, error));
	ck_assert(!added);
	verdict.fraud_detected = true;
	assert_ok(gh__proof_store_judge(proofs, &verdict, &added, error));
	ck_assert(added);
	verdict.batch.count = 0; /* of a batch that was empty */
	assert_ok(gh__proof_store_judge(proofs, &verdict, &added, error));
	ck_assert(added);
	reopen();
	for (int i = 0; i < 3; i++) {
		assert_ok(gh__proof_store_next_verdict(proofs, 17580, &cursor, &read, error));
		ck_assert_ptr_nonnull(read);
		ck_assert_uint_eq(read->batch.count, i < 2 ? 3 : 0);
		ck_assert_int_eq(read->fraud_detected, i > 0);
		ck_assert_str_eq(read->batch.public_key, "k");
		ck_assert_str_eq(read->batch.block_hash, "B");
		ck_assert_double_eq(read->r_target, 1.4013564660458173);
		ck_assert_double_eq(read->fraud_threshold, 1e-7);
		ck_assert_double_eq(read->probability_honest, 3.738380015396609e-06);
		ck_assert_int_eq(read->n_invalid, 1);
		for (size_t k = 0; k < read->batch.count; k++) {
			ck_assert_int_eq(read->batch.nonces[k], nonces[k]);
			ck_assert_double_eq(read->received_dist[k], received[k]);
		}
		gh__free(read);
	}
	assert_ok(gh__proof_store_next_verdict(proofs, 17580, &cursor, &read, error));
	ck_assert_ptr_null(read);
	ck_assert_str_eq(told(17580), ""); /* they are no proofs */
}
END_TEST

START_TEST(hostile_verdicts)
{
	static const int64_t nonces[] = { 9 };
	static const double nan_list[] = { NAN };
	gh__proof_verdict good = verdict_of(nonces, 1), bad = good, *read;
	int64_t cursor = 0;
	bool added;

	bad.received_dist = nan_list;
	assert_fails(GH_EINVAL, "received_dist[0]",
		     gh__proof_store_judge(proofs, &bad, &added, error));
	bad = good;
	bad.probability_honest = INFINITY;
	assert_fails(GH_EINVAL, "probability_honest",
		     gh__proof_store_judge(proofs, &bad, &added, error));
	bad = good;
	bad.batch.public_key = "";
	assert_fails(GH_EINVAL, "public_key", gh__proof_store_judge(proofs, &bad, &added, error));
	assert_ok(gh__proof_store_next_verdict(proofs, 17580, &cursor, &read, error));
	ck_assert_ptr_null(read);
}
END_TEST

/* ---- shares ---- */

/* Where shares are fixed, a node that has one reports nothing of another's. */
START_TEST(reports_keep_to_shares)
{
	int64_t mine[] = { 2, 8, 14 }, others[] = { 2, 8, 15 };
	double dist[] = { 1.3, 1.3, 1.3 };
	gh__proof_batch batch = { .public_key = "02",
				  .block_hash = "S",
				  .block_height = 7,
				  .node_num = 2,
				  .node_id = "n",
				  .nonces = others,
				  .dist = dist,
				  .count = 3 };
	int32_t count;
	size_t added;

	assert_ok(gh__proof_store_share(proofs, "S", 7, 2, 5, &count, error));
	assert_fails(GH_EEXIST, "nonces[2]: 15 is not of node 2's share",
		     gh__proof_store_add(proofs, &batch, &added, error));
	batch.nonces = mine;
	assert_ok(gh__proof_store_add(proofs, &batch, &added, error));
	ck_assert_uint_eq(added, 3);
	batch.node_num = 0; /* nobody of the round */
	batch.nonces = others;
	assert_ok(gh__proof_store_add(proofs, &batch, &added, error));
	ck_assert_uint_eq(added, 1);
}
END_TEST

START_TEST(shares_do_not_overlap)
{
	int32_t count = 0;

	assert_ok(gh__proof_store_share(proofs, "B", 100, 1, 5, &count, error));
	ck_assert_int_eq(count, 6);
	/* late, again, after a restart, and when nodes have come and gone: as it was fixed */
	assert_ok(gh__proof_store_share(proofs, "B", 100, 5, 9, &count, error));
	ck_assert_int_eq(count, 6);
	reopen();
	assert_ok(gh__proof_store_share(proofs, "B", 100, 3, 3, &count, error));
	ck_assert_int_eq(count, 6);
	assert_fails(GH_EINVAL, "node number: 6, the round has shares for 1 to 5",
		     gh__proof_store_share(proofs, "B", 100, 6, 9, &count, error));
	assert_fails(GH_EINVAL, "node number: 0",
		     gh__proof_store_share(proofs, "B", 100, 0, 9, &count, error));
	assert_fails(GH_EINVAL, "highest number: 0",
		     gh__proof_store_share(proofs, "N", 100, 1, 0, &count, error));
	assert_fails(GH_EINVAL, "highest number",
		     gh__proof_store_share(proofs, "N", 100, 1, INT32_MAX, &count, error));
	/* proofs that come before do not fix it */
	ADD("C", "k", 1, 4);
	assert_ok(gh__proof_store_share(proofs, "C", 17580, 6, 9, &count, error));
	ck_assert_int_eq(count, 10);
}
END_TEST

START_TEST(a_file_of_something_else)
{
	gh__proof_store *other = NULL;

	write_text("notes", "once upon a time");
	assert_fails(GH_EFORMAT, "notes", gh__proof_store_open(&other, at("notes"), error));
	ck_assert_ptr_null(other);
}
END_TEST

/* Whatever memory ends at, all of a report is there or nothing. */
START_TEST(short_of_memory)
{
	int64_t nonces[3];
	int failed = 0;
	size_t before = 0, batches;

	for (size_t k = 1; k < 40; k++) {
		gh__proof_batch batch;
		size_t added, now;
		gh_status status;

		for (int i = 0; i < 3; i++)
			nonces[i] = (int64_t)k * 3 + i;
		batch = batch_of("B", "k", nonces, 3);
		gh__alloc_fail_at(k);
		status = gh__proof_store_add(proofs, &batch, &added, NULL);
		gh__alloc_fail_at(0);
		failed += status != GH_OK;
		now = count_all(17580, &batches);
		ck_assert_uint_eq(now - before, status == GH_OK ? 3 : 0);
		before = now;
	}
	ck_assert_int_gt(failed, 3);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("proofs");
	TCase *tcase = tcase_create("proofs");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, proofs_are_kept_once);
	tcase_add_test(tcase, they_are_there_after_a_restart);
	tcase_add_test(tcase, names_come_from_the_content);
	tcase_add_test(tcase, hostile_batches);
	tcase_add_test(tcase, bounds);
	tcase_add_test(tcase, old_rounds_are_forgotten);
	tcase_add_test(tcase, verdicts_are_kept_once);
	tcase_add_test(tcase, hostile_verdicts);
	tcase_add_test(tcase, reports_keep_to_shares);
	tcase_add_test(tcase, shares_do_not_overlap);
	tcase_add_test(tcase, a_file_of_something_else);
	tcase_add_test(tcase, short_of_memory);
	suite_add_tcase(suite, tcase);
	return unit_main(suite);
}
