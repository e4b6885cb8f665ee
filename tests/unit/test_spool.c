#include "unit.h"

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "inference_node/spool.h"

static char folder[64], path[128];
static gh__spool *spool;

static const gh__proof_round round_a = { "http://api:9100/v1/poc-batches", "5A1E", "02aa", 31415,
					 1 };

static void reopen(int64_t heights, int64_t age)
{
	const gh__spool_options options = { .path = path, .heights = heights, .age = age };

	gh__spool_close(spool);
	spool = NULL;
	assert_ok(gh__spool_open(&spool, &options, error));
}

static void setup(void)
{
	snprintf(folder, sizeof folder, "/tmp/gh-test-spool-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(folder));
	snprintf(path, sizeof path, "%s/spool.db", folder);
	reopen(0, 0);
}

static void teardown(void)
{
	char command[128];

	gh__spool_close(spool);
	spool = NULL;
	snprintf(command, sizeof command, "rm -rf '%s'", folder);
	ck_assert_int_eq(system(command), 0);
}

/* Nonces first, first + step, ...; how many of them were new. */
static size_t add(const gh__proof_round *round, int64_t first, int64_t step, size_t count)
{
	int64_t *nonces = gh__malloc(count * sizeof *nonces);
	double *dist = gh__malloc(count * sizeof *dist);
	size_t added = 0;

	for (size_t i = 0; i < count; i++) {
		nonces[i] = first + (int64_t)i * step;
		dist[i] = 1.0 + (double)nonces[i] / 1048576.0;
	}
	assert_ok(gh__spool_add(spool, round, nonces, dist, count, &added, error));
	gh__free(nonces);
	gh__free(dist);
	return added;
}

static void counts(int64_t proofs, int64_t loose, int64_t batches)
{
	gh__spool_counts c;

	gh__spool_counts_get(spool, &c);
	ck_assert_int_eq(c.proofs, proofs);
	ck_assert_int_eq(c.loose, loose);
	ck_assert_int_eq(c.batches, batches);
}

/* The batch behind this number has this URL and body; answers its number. */
static int64_t expect(int64_t after, const char *url, const char *body)
{
	gh__spool_batch *batch;
	char *text;
	size_t len;
	int64_t number;

	assert_ok(gh__spool_after(spool, after, &batch, error));
	ck_assert_ptr_nonnull(batch);
	number = batch->number;
	ck_assert_str_eq(batch->url, url);
	assert_ok(gh__spool_body(spool, number, &text, &len, error));
	if (body)
		ck_assert_str_eq(text, body);
	ck_assert_uint_eq(len, strlen(text));
	gh__free(text);
	gh__free(batch);
	return number;
}

static void expect_none(int64_t after)
{
	gh__spool_batch *batch;

	assert_ok(gh__spool_after(spool, after, &batch, error));
	ck_assert_ptr_null(batch);
}

START_TEST(proofs_of_a_round_become_one_body)
{
	static const int64_t first[] = { 1, 7 }, second[] = { 11, INT64_MAX, 7, 0 };
	static const double first_dist[] = { 1.338, 1.4140000000000001 },
			    second_dist[] = { 1, 1e-7, 1.25, 1.3e-300 };
	static const char body[] =
		"{\"public_key\": \"02aa\", \"block_hash\": \"5A1E\", \"block_height\": 31415, "
		"\"nonces\": [1, 7, 11, 9223372036854775807, 0], "
		"\"dist\": [1.338, 1.4140000000000001, 1.0, 1e-07, 1.3e-300], \"node_id\": 1}";
	size_t added;

	assert_ok(gh__spool_add(spool, &round_a, first, first_dist, 2, &added, error));
	ck_assert_uint_eq(added, 2);
	assert_ok(gh__spool_add(spool, &round_a, second, second_dist, 4, &added, error));
	ck_assert_uint_eq(added, 3);
	counts(5, 5, 0);
	expect_none(0);
	assert_ok(gh__spool_join(spool, 4, error));
	counts(5, 0, 1);
	int64_t number = expect(0, "http://api:9100/v1/poc-batches/generated", body);
	/* The same after a restart, and whatever comes later. */
	reopen(0, 0);
	counts(5, 0, 1);
	add(&round_a, 100, 1, 2);
	assert_ok(gh__spool_join(spool, 4, error));
	ck_assert_int_eq(expect(0, "http://api:9100/v1/poc-batches/generated", body), number);
	int64_t next = expect(number, "http://api:9100/v1/poc-batches/generated", NULL);
	ck_assert_int_gt(next, number);
	assert_ok(gh__spool_forget(spool, next, error));
	assert_ok(gh__spool_forget(spool, number, error));
	assert_ok(gh__spool_forget(spool, number, error));
	counts(0, 0, 0);
	expect_none(0);
	/* A number is not given again. */
	add(&round_a, 200, 1, 1);
	assert_ok(gh__spool_join(spool, 4, error));
	ck_assert_int_gt(expect(0, "http://api:9100/v1/poc-batches/generated", NULL), next);
}
END_TEST

START_TEST(nonce_is_taken_once)
{
	gh__proof_round other = round_a;

	ck_assert_uint_eq(add(&round_a, 0, 1, 100), 100);
	ck_assert_uint_eq(add(&round_a, 50, 1, 100), 50);
	assert_ok(gh__spool_join(spool, 4, error));
	ck_assert_uint_eq(add(&round_a, 0, 1, 150), 0);
	assert_ok(gh__spool_forget(spool,
				   expect(0, "http://api:9100/v1/poc-batches/generated", NULL),
				   error));
	reopen(0, 0);
	ck_assert_uint_eq(add(&round_a, 0, 1, 151), 1);
	/* Neither another node number, address or height makes it a new one, but block and key
	 * do. */
	other.node_id = 9;
	other.url = "http://elsewhere";
	other.block_height++;
	ck_assert_uint_eq(add(&other, 0, 1, 151), 0);
	other.block_hash = "5a1e";
	ck_assert_uint_eq(add(&other, 0, 1, 10), 10);
	other = round_a;
	other.public_key = "02ab";
	ck_assert_uint_eq(add(&other, 0, 1, 10), 10);
}
END_TEST

START_TEST(rounds_are_not_mixed)
{
	gh__proof_round other[5] = { round_a, round_a, round_a, round_a, round_a };

	other[0].url = "http://elsewhere";
	other[1].block_hash = "B\"\n\xc3\xa9";
	other[2].public_key = "03bb";
	other[3].block_height = 7;
	other[4].node_id = 2;
	add(&round_a, 0, 1, 1);
	for (int i = 0; i < 5; i++)
		add(&other[i], 1 + i, 1, 1);
	assert_ok(gh__spool_join(spool, 1, error));
	counts(6, 0, 6);
	int64_t at = expect(0, "http://api:9100/v1/poc-batches/generated", NULL);
	at = expect(at, "http://elsewhere/generated", NULL);
	at = expect(at, "http://api:9100/v1/poc-batches/generated",
		    "{\"public_key\": \"02aa\", \"block_hash\": \"B\\\"\\n\xc3\xa9\", "
		    "\"block_height\": 31415, \"nonces\": [2], \"dist\": [1.0000019073486328], "
		    "\"node_id\": 1}");
	at = expect(at, "http://api:9100/v1/poc-batches/generated", NULL);
	at = expect(at, "http://api:9100/v1/poc-batches/generated", NULL);
	at = expect(at, "http://api:9100/v1/poc-batches/generated", NULL);
	expect_none(at);
}
END_TEST

/* While a round's batches are not taken, what is new waits; refused ones hold nothing up. */
START_TEST(batches_left_behind_are_few)
{
	for (int i = 0; i < 5; i++) {
		add(&round_a, 10 * i, 1, 10);
		assert_ok(gh__spool_join(spool, 2, error));
	}
	counts(50, 30, 2);
	int64_t number = expect(0, "http://api:9100/v1/poc-batches/generated", NULL);
	assert_ok(gh__spool_refuse(spool, number, error));
	assert_ok(gh__spool_join(spool, 2, error));
	counts(50, 0, 3);
	reopen(0, 0);
	gh__spool_batch *batch;
	assert_ok(gh__spool_after(spool, 0, &batch, error));
	ck_assert(batch->refused);
	ck_assert_int_eq(batch->proofs, 10);
	gh__free(batch);
	assert_ok(gh__spool_give_up(spool, "5A1E", error));
	counts(50, 0, 3);
	assert_ok(gh__spool_give_up(spool, "other", error));
	counts(40, 0, 2);
	ck_assert_uint_eq(add(&round_a, 0, 1, 10), 0);
}
END_TEST

START_TEST(verdicts_are_kept_as_they_are)
{
	static const char json[] =
		"{\"public_key\": \"02bb\", \"dist\": [1e-07], \"x\": \"\xc3\xa9\"}";

	assert_ok(gh__spool_add_verdict(spool, "http://a/", "5A1E", 31415, json, error));
	assert_ok(gh__spool_add_verdict(spool, "http://a/", "5A1E", 31415, "{}", error));
	counts(0, 0, 2);
	reopen(0, 0);
	int64_t number = expect(0, "http://a//validated", json);
	expect(number, "http://a//validated", "{}");
	assert_ok(gh__spool_forget(spool, number, error));
	counts(0, 0, 1);
}
END_TEST

START_TEST(sequence_goes_on)
{
	static const struct {
		int64_t node_count, group, groups;
	} others[] = { { 3, 0, 1 }, { 2, 0, 2 }, { 2, 1, 2 } };
	gh__proof_round round = round_a;
	uint64_t index;

	assert_ok(gh__spool_next(spool, &round, 2, 0, 1, &index, error));
	ck_assert_uint_eq(index, 0);
	assert_ok(gh__spool_advance(spool, &round, 2, 0, 1, 300, error));
	assert_ok(gh__spool_advance(spool, &round, 2, 0, 1, 200, error));
	reopen(0, 0);
	assert_ok(gh__spool_next(spool, &round, 2, 0, 1, &index, error));
	ck_assert_uint_eq(index, 300);
	for (size_t i = 0; i < COUNT(others); i++) {
		assert_ok(gh__spool_next(spool, &round, others[i].node_count, others[i].group,
					 others[i].groups, &index, error));
		ck_assert_uint_eq(index, 0);
	}
	round.node_id = 2;
	assert_ok(gh__spool_next(spool, &round, 2, 0, 1, &index, error));
	ck_assert_uint_eq(index, 0);
	assert_fails(GH_ETOOBIG, "index",
		     gh__spool_advance(spool, &round, 2, 0, 1, UINT64_MAX, error));
	/* What went to the other side says nothing of another url. */
	round = round_a;
	round.url = "http://elsewhere";
	assert_ok(gh__spool_next(spool, &round, 2, 0, 1, &index, error));
	ck_assert_uint_eq(index, 300);
}
END_TEST

START_TEST(bad_proofs_are_refused_whole)
{
	static const double bad[] = { NAN, INFINITY, -INFINITY };
	int64_t nonces[] = { 1, 2 };
	double dist[] = { 1, 1 };
	gh__proof_round round = round_a;
	char *longest = gh__malloc(5000);

	for (size_t i = 0; i < COUNT(bad); i++) {
		dist[1] = bad[i];
		assert_fails(GH_EINVAL, "proof 1",
			     gh__spool_add(spool, &round, nonces, dist, 2, NULL, error));
	}
	dist[1] = 1;
	nonces[1] = -1;
	assert_fails(GH_EINVAL, "nonce -1",
		     gh__spool_add(spool, &round, nonces, dist, 2, NULL, error));
	nonces[1] = 2;
	memset(longest, 'x', 4999);
	longest[4999] = '\0';
	round.public_key = longest;
	assert_fails(GH_ETOOBIG, "public_key",
		     gh__spool_add(spool, &round, nonces, dist, 2, NULL, error));
	round.public_key = NULL;
	assert_fails(GH_EINVAL, "public_key",
		     gh__spool_add(spool, &round, nonces, dist, 2, NULL, error));
	assert_fails(GH_ETOOBIG, "url", gh__spool_add_verdict(spool, longest, "A", 1, "{}", error));
	assert_ok(gh__spool_add(spool, &round_a, nonces, dist, 0, NULL, error));
	counts(0, 0, 0);
	gh__free(longest);
}
END_TEST

START_TEST(old_rounds_are_dropped)
{
	gh__proof_round newer = round_a;

	reopen(100, 0);
	add(&round_a, 0, 1, 5);
	assert_ok(gh__spool_join(spool, 1, error));
	add(&round_a, 5, 1, 5);
	assert_ok(gh__spool_add_verdict(spool, "http://a", "5A1E", 31415, "{}", error));
	counts(10, 5, 2);
	newer.block_hash = "B";
	newer.block_height += 100;
	add(&newer, 0, 1, 1);
	counts(11, 6, 2);
	newer.block_hash = "C";
	newer.block_height += 1;
	add(&newer, 0, 1, 1);
	counts(2, 2, 0);
	/* A chain that begins anew is lower, which drops nothing. */
	newer.block_hash = "D";
	newer.block_height = 1;
	add(&newer, 0, 1, 1);
	counts(3, 3, 0);
	ck_assert_uint_eq(add(&round_a, 0, 1, 5), 5);
	reopen(0, 1);
	counts(0, 0, 0);
	ck_assert_uint_eq(add(&round_a, 0, 1, 5), 5);
}
END_TEST

START_TEST(one_process_at_a_time)
{
	const gh__spool_options options = { .path = path };
	pid_t child;
	int status;

	child = fork();
	if (child == 0) {
		gh__spool *second;

		_exit(gh__spool_open(&second, &options, NULL) == GH_EBUSY ? 0 : 1);
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert(WIFEXITED(status));
	ck_assert_int_eq(WEXITSTATUS(status), 0);
}
END_TEST

/* Killed at once behind each step: what a function answered for is there. */
START_TEST(survives_being_killed)
{
	uint64_t index;

	gh__spool_close(spool);
	spool = NULL;
	for (int round = 0; round < 4; round++) {
		pid_t child = fork();
		int status;

		if (child == 0) {
			reopen(0, 0);
			add(&round_a, 10 * round, 1, 10);
			assert_ok(gh__spool_advance(spool, &round_a, 1, 0, 1,
						    10 * ((uint64_t)round + 1), error));
			if (round % 2)
				assert_ok(gh__spool_join(spool, 100, error));
			raise(SIGKILL);
		}
		ck_assert_int_eq(waitpid(child, &status, 0), child);
		ck_assert(WIFSIGNALED(status));
	}
	reopen(0, 0);
	counts(40, 0, 2);
	assert_ok(gh__spool_next(spool, &round_a, 1, 0, 1, &index, error));
	ck_assert_uint_eq(index, 40);
	ck_assert_uint_eq(add(&round_a, 0, 1, 40), 0);
}
END_TEST

START_TEST(many_proofs)
{
	const int64_t start = gh__now();
	int64_t at = 0, proofs = 0;

	for (int i = 0; i < 10; i++)
		ck_assert_uint_eq(add(&round_a, i, 10, 10000), 10000);
	counts(100000, 100000, 0);
	assert_ok(gh__spool_join(spool, 4, error));
	counts(100000, 100000 - 4 * GH__SPOOL_BATCH_MAX, 4);
	for (;;) {
		gh__spool_batch *batch;

		assert_ok(gh__spool_join(spool, 4, error));
		assert_ok(gh__spool_after(spool, at, &batch, error));
		if (!batch)
			break;
		char *body;
		size_t len;
		assert_ok(gh__spool_body(spool, batch->number, &body, &len, error));
		ck_assert_uint_lt(len, 1 << 20);
		gh__free(body);
		proofs += batch->proofs;
		at = batch->number;
		assert_ok(gh__spool_forget(spool, at, error));
		gh__free(batch);
	}
	ck_assert_int_eq(proofs, 100000);
	counts(0, 0, 0);
	ck_assert_int_lt(gh__now() - start, 60 * GH__SECOND);
}
END_TEST

/* Whatever finds no memory, nothing is half there. */
START_TEST(out_of_memory)
{
	for (size_t k = 1; k < 40; k += 3) {
		static const int64_t nonces[] = { 1, 2, 3 };
		static const double dist[] = { 1, 1, 1 };
		gh__spool_batch *batch = NULL;
		char *body = NULL;
		size_t len, added;

		gh__spool_close(spool);
		spool = NULL;
		ck_assert_int_eq(unlink(path), 0);
		gh__alloc_fail_at(k);
		const gh__spool_options options = { .path = path };
		gh_status status = gh__spool_open(&spool, &options, NULL);
		if (status == GH_OK)
			status = gh__spool_add(spool, &round_a, nonces, dist, 3, &added, NULL);
		if (status == GH_OK)
			status = gh__spool_join(spool, 1, NULL);
		if (status == GH_OK)
			status = gh__spool_after(spool, 0, &batch, NULL);
		if (status == GH_OK)
			status = gh__spool_body(spool, batch->number, &body, &len, NULL);
		gh__alloc_fail_at(0);
		gh__free(batch);
		gh__free(body);
		if (status == GH_OK)
			ck_assert_uint_gt(k, 10);
		reopen(0, 0);
		add(&round_a, 1, 1, 3);
		gh__spool_counts c;
		gh__spool_counts_get(spool, &c);
		ck_assert_int_eq(c.proofs, 3);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("spool");
	TCase *tc = tcase_create("spool");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, proofs_of_a_round_become_one_body);
	tcase_add_test(tc, nonce_is_taken_once);
	tcase_add_test(tc, rounds_are_not_mixed);
	tcase_add_test(tc, batches_left_behind_are_few);
	tcase_add_test(tc, verdicts_are_kept_as_they_are);
	tcase_add_test(tc, sequence_goes_on);
	tcase_add_test(tc, bad_proofs_are_refused_whole);
	tcase_add_test(tc, old_rounds_are_dropped);
	tcase_add_test(tc, one_process_at_a_time);
	tcase_add_test(tc, survives_being_killed);
	tcase_add_test(tc, many_proofs);
	tcase_add_test(tc, out_of_memory);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
