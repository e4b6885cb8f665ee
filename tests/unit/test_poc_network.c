#include "unit.h"

#include <math.h>
#include <pthread.h>
#include <string.h>

#include <gonkahost/poc.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/thread.h"

/*
 * A round's network as its callers see it. That its numbers are right,
 * tests/golden/test_poc_forward.c shows.
 */
static const char block_hash[] = "C0FFEE";
static const char public_key[] = "02ab";

static gh_poc_options options_for(gh_poc_params *params, const char *set)
{
	gh_poc_options options = GH_POC_OPTIONS_INIT;

	assert_ok(gh_poc_params_named(params, set, error));
	options.block_hash = block_hash;
	options.params = params;
	options.threads = 2;
	return options;
}

START_TEST(sizes_are_told)
{
	/* Operations of a nonce, in 10^12, as the network's documents have them. */
	static const struct {
		const char *set;
		double flops, within;
	} known[] = { { "mainnet", 8.9564, 1e-4 },
		      { "testnet", 0.7341, 1e-4 },
		      { "default-py", 0.0296, 1e-4 },
		      { "devtest", 0.00052, 1e-5 } };

	for (size_t i = 0; i < COUNT(known); i++) {
		gh_poc_params params;
		gh_poc_options options = options_for(&params, known[i].set);
		gh_poc_info info;

		options.budget = INT64_C(1) << 40;
		assert_ok(gh_poc_inspect(&info, &options, error));
		ck_assert_double_eq_tol(info.flops / 1e12, known[i].flops, known[i].within);
		ck_assert_int_eq(info.pool_bytes, 2 * info.pool);
		ck_assert_int_eq(info.layers_held, params.n_layers);
		ck_assert_int_eq(info.total_bytes, info.pool_bytes + info.ends_bytes +
							   info.layers_held * info.layer_bytes +
							   info.batch_bytes);
		ck_assert_str_eq(info.numerics, "poc-v1");
		ck_assert_str_eq(info.device, "cpu");
	}
}
END_TEST

START_TEST(options_are_checked)
{
	gh_poc_params params;
	gh_poc_options options = options_for(&params, "inttest");
	gh_poc_info info;

	options.block_hash = NULL;
	assert_fails(GH_EINVAL, "block_hash", gh_poc_inspect(&info, &options, error));
	options.block_hash = block_hash;
	options.budget = -1;
	assert_fails(GH_EINVAL, "budget", gh_poc_inspect(&info, &options, error));
	options.budget = 1;
	assert_fails(GH_ENOMEM, "one nonce needs", gh_poc_inspect(&info, &options, error));
	options.budget = 0;
	options.batch = -1;
	assert_fails(GH_EINVAL, "batch", gh_poc_inspect(&info, &options, error));
	options.batch = 0;
	options.device = "abacus";
	assert_fails(GH_ENODEVICE, "abacus", gh_poc_inspect(&info, &options, error));
	options.device = NULL;
	params.seq_len = 1000000000;
	assert_fails(GH_EINVAL, "seq_len", gh_poc_inspect(&info, &options, error));
	params.seq_len = 1 << 19; /* longer than a thread can hold */
	assert_fails(GH_EINVAL, "length", gh_poc_inspect(&info, &options, error));
	params.seq_len = 4;
	params.reserved = 1;
	assert_fails(GH_EINVAL, "reserved", gh_poc_inspect(&info, &options, error));
}
END_TEST

typedef struct progress {
	int calls, stop_at;
	double last;
} progress;

static int tell(double done, const char *phase, void *userdata)
{
	progress *p = userdata;

	ck_assert_str_eq(phase, "weights");
	ck_assert_double_ge(done, p->last);
	ck_assert_double_le(done, 1.0);
	p->last = done;
	return ++p->calls == p->stop_at;
}

START_TEST(making_is_told_and_may_be_ended)
{
	gh_poc_params params;
	gh_poc_options options = options_for(&params, "mainnet");
	progress p = { .stop_at = 3 };
	gh_poc *poc = NULL;
	int64_t began = gh__now();

	options.budget = INT64_C(4) << 30;
	options.progress = tell;
	options.userdata = &p;
	assert_fails(GH_ECANCELLED, "", gh_poc_create(&poc, &options, error));
	ck_assert_ptr_null(poc);
	/* The whole pool takes two cores more than a second; a busy machine may take its time. */
	ck_assert_int_lt(gh__now() - began, 30 * GH__SECOND);
	ck_assert_int_ge(p.calls, 3);

	options = options_for(&params, "inttest");
	p = (progress){ .stop_at = -1 };
	options.progress = tell;
	options.userdata = &p;
	assert_ok(gh_poc_create(&poc, &options, error));
	ck_assert_int_ge(p.calls, 1);
	gh_poc_free(poc);
	gh_poc_free(NULL);
}
END_TEST

typedef struct computing {
	gh_poc *poc;
	const uint64_t *nonces;
	double *dist;
	gh_status status;
	gh_error error;
} computing;

static void compute(void *arg)
{
	computing *c = arg;

	c->status = gh_poc_distances(c->poc, public_key, c->nonces, 4, c->dist, &c->error);
}

static void find_ceiling(void *arg)
{
	computing *c = arg;

	c->status = gh_poc_ceiling(c->poc, c->dist, &c->error);
}

START_TEST(the_ceiling_is_measured)
{
	static const uint64_t nonces[3] = { 1, 2, 3 };
	gh_poc_params params;
	gh_poc_options options = options_for(&params, "inttest");
	double ceiling = 0.0, before[3], after[3];
	gh_poc_info info;
	gh_poc *poc;
	int64_t began;

	/* Two layers are held at a time, and whichever lies there, the next step finds its own. */
	options.batch = 16;
	assert_ok(gh_poc_inspect(&info, &options, error));
	ck_assert(info.pool_seconds == 0.0);
	options.budget = info.total_bytes - (info.layers_held - 2) * info.layer_bytes;
	assert_ok(gh_poc_create(&poc, &options, error));
	gh_poc_info_get(poc, &info);
	ck_assert_int_eq(info.layers_held, 2);
	ck_assert(info.pool_seconds > 0.0 && info.pool_seconds < 30.0);
	assert_ok(gh_poc_distances(poc, public_key, nonces, 3, before, error));
	began = gh__now();
	assert_ok(gh_poc_ceiling(poc, &ceiling, error));
	/* Alone, less than half a second. */
	ck_assert_int_lt(gh__now() - began, 20 * GH__SECOND);
	ck_assert_double_gt(ceiling, 1e7);
	ck_assert_double_lt(ceiling, 1e15);
	assert_ok(gh_poc_distances(poc, public_key, nonces, 3, after, error));
	for (int i = 0; i < 3; i++)
		ck_assert(before[i] == after[i]);
	gh_poc_free(poc);
}
END_TEST

/* What was computed is counted; hits are kept, and a claim of them holds. */
START_TEST(hits_are_counted_kept_and_judged)
{
	enum { COUNT = 40 };
	uint64_t nonces[COUNT];
	double dist[COUNT], computed[COUNT];
	gh_poc_params params;
	gh_poc_options options = options_for(&params, "inttest");
	gh_poc_verdict verdict;
	gh_poc_stats stats;
	size_t hits;
	gh_poc *poc;

	options.r_target = -1;
	assert_fails(GH_EINVAL, "r_target", gh_poc_create(&poc, &options, error));
	options.r_target = 1.4;
	options.batch = 16;
	assert_ok(gh_poc_create(&poc, &options, error));
	gh_poc_stats_get(poc, &stats);
	ck_assert(stats.nonces == 0 && stats.nonces_per_second == 0 && stats.hit_rate == 0);
	for (uint64_t i = 0; i < COUNT; i++)
		nonces[i] = i;
	assert_ok(gh_poc_distances(poc, public_key, nonces, COUNT, dist, error));
	gh_poc_stats_get(poc, &stats);
	dist[7] = NAN;
	hits = gh_poc_filter(nonces, dist, COUNT, 1.4);
	ck_assert_uint_gt(hits, 5);
	ck_assert_uint_lt(hits, COUNT - 5);
	for (size_t i = 0; i < hits; i++) {
		ck_assert(dist[i] < 1.4 && nonces[i] != 7);
		ck_assert(i == 0 || nonces[i] > nonces[i - 1]);
	}
	ck_assert_uint_eq(stats.nonces, COUNT);
	ck_assert(stats.hits == hits || stats.hits == hits + 1);
	ck_assert(stats.seconds > 0 && stats.nonces_per_second == COUNT / stats.seconds);
	ck_assert(stats.hit_rate == (double)stats.hits / COUNT && stats.flops_per_second > 0);
	ck_assert_uint_eq(gh_poc_filter(nonces, dist, 0, 1.4), 0);

	assert_ok(gh_poc_validate(poc, &verdict, public_key, nonces, dist, hits, 1.4, 1e-7,
				  computed, error));
	ck_assert(verdict.n_invalid == 0 && !verdict.fraud_detected);
	ck_assert_mem_eq(computed, dist, hits * sizeof *dist);
	for (size_t i = 0; i < 6; i++)
		nonces[i] += 1000; /* about half of them hit by chance */
	assert_ok(gh_poc_validate(poc, &verdict, public_key, nonces, dist, hits, 1.4, 0.01, NULL,
				  error));
	ck_assert(verdict.n_invalid > 0 && verdict.fraud_detected);
	assert_fails(GH_EINVAL, "dist[0]",
		     gh_poc_validate(poc, &verdict, public_key, nonces, dist, hits, 1.0, 1e-7, NULL,
				     error));
	gh_poc_free(poc);
}
END_TEST

/* Of 200 hits ten are replaced by nonces that do not hit, with distances that look well. */
START_TEST(ten_lies_in_two_hundred)
{
	enum { TRIED = 600, CLAIMED = 200, LIES = 10 };
	uint64_t hits[TRIED], misses[LIES];
	double dist[TRIED];
	size_t missed = 0;
	gh_poc_params params;
	gh_poc_options options = options_for(&params, "inttest");
	gh_poc_verdict verdict;
	gh_poc *poc;

	assert_ok(gh_poc_create(&poc, &options, error));
	for (uint64_t i = 0; i < TRIED; i++)
		hits[i] = i;
	assert_ok(gh_poc_distances(poc, public_key, hits, TRIED, dist, error));
	for (uint64_t i = 0; i < TRIED && missed < LIES; i++)
		if (dist[i] > GH_POC_R_TARGET)
			misses[missed++] = i;
	ck_assert_uint_eq(missed, LIES);
	ck_assert_uint_ge(gh_poc_filter(hits, dist, TRIED, GH_POC_R_TARGET), CLAIMED);
	assert_ok(gh_poc_validate(poc, &verdict, public_key, hits, dist, CLAIMED, GH_POC_R_TARGET,
				  GH_POC_FRAUD_THRESHOLD, NULL, error));
	ck_assert(verdict.n_invalid == 0 && !verdict.fraud_detected);
	for (size_t i = 0; i < LIES; i++) {
		hits[i * CLAIMED / LIES] = misses[i];
		dist[i * CLAIMED / LIES] = 1.3 + 0.01 * (double)i;
	}
	assert_ok(gh_poc_validate(poc, &verdict, public_key, hits, dist, CLAIMED, GH_POC_R_TARGET,
				  GH_POC_FRAUD_THRESHOLD, NULL, error));
	ck_assert(verdict.n_invalid == LIES && verdict.fraud_detected);
	gh_poc_free(poc);
}
END_TEST

START_TEST(measuring_is_interrupted_and_goes_on)
{
	gh_poc_params params;
	gh_poc_options options = options_for(&params, "testnet");
	double ceiling;
	computing c = { .dist = &ceiling, .error = GH_ERROR_INIT };
	struct timespec pause = { 0, 200 * 1000000 };
	pthread_t thread;
	int64_t asked;

	params.n_layers = 2;
	options.budget = INT64_C(1) << 30;
	assert_ok(gh_poc_create(&c.poc, &options, error));
	assert_ok(gh__thread_start(&thread, "ceiling", find_ceiling, &c, error));
	nanosleep(&pause, NULL);
	asked = gh__now();
	gh_poc_interrupt(c.poc, 1);
	pthread_join(thread, NULL);
	ck_assert_int_lt(gh__now() - asked, 2 * GH__SECOND); /* alone, some milliseconds */
	ck_assert_int_eq(c.status, GH_ECANCELLED);
	assert_fails(GH_ECANCELLED, "", gh_poc_ceiling(c.poc, &ceiling, error));
	gh_poc_interrupt(c.poc, 0);
	gh_poc_free(c.poc);

	params.n_layers = 1;
	params.dim = 128;
	params.n_heads = params.n_kv_heads = 4;
	options.batch = 1;
	assert_ok(gh_poc_create(&c.poc, &options, error));
	gh_poc_interrupt(c.poc, 1);
	assert_fails(GH_ECANCELLED, "", gh_poc_ceiling(c.poc, &ceiling, error));
	gh_poc_interrupt(c.poc, 0);
	assert_ok(gh_poc_ceiling(c.poc, &ceiling, error));
	gh_poc_free(c.poc);
}
END_TEST

/* Four nonces of this set take two cores many seconds. */
START_TEST(computing_is_interrupted_and_goes_on)
{
	static const uint64_t nonces[4] = { 0, 7, 1000000007, INT64_MAX };
	gh_poc_params params;
	gh_poc_options options = options_for(&params, "testnet");
	computing c = { .nonces = nonces, .error = GH_ERROR_INIT };
	double dist[4];
	pthread_t thread;
	int64_t asked;

	params.n_layers = 12;
	options.budget = INT64_C(1) << 30;
	c.dist = dist;
	assert_ok(gh_poc_create(&c.poc, &options, error));
	for (int i = 0; i < 2; i++) {
		assert_ok(gh__thread_start(&thread, "compute", compute, &c, error));
		struct timespec pause = { 0, (1 + 200 * i) * 1000000 };
		nanosleep(&pause, NULL);
		asked = gh__now();
		gh_poc_interrupt(c.poc, 1);
		pthread_join(thread, NULL);
		ck_assert_int_eq(c.status, GH_ECANCELLED);
		ck_assert_int_lt(gh__now() - asked, 2 * GH__SECOND); /* alone, some milliseconds */
		assert_fails(GH_ECANCELLED, "",
			     gh_poc_distances(c.poc, public_key, nonces, 1, dist, error));
		gh_poc_interrupt(c.poc, 0);
		c.error = (gh_error)GH_ERROR_INIT;
	}
	/* What was cut short has left nothing behind. */
	assert_ok(gh_poc_distances(c.poc, public_key, nonces, 1, dist, error));
	gh_poc_free(c.poc);
	assert_ok(gh_poc_create(&c.poc, &options, error));
	assert_ok(gh_poc_distances(c.poc, public_key, nonces, 1, dist + 1, error));
	ck_assert(dist[0] == dist[1]);
	gh_poc_free(c.poc);
}
END_TEST

START_TEST(keys_and_nonces_are_taken_as_they_are)
{
	static const uint64_t nonces[] = { 5, 0, 5, INT64_MAX };
	char long_key[4096];
	gh_poc_params params;
	gh_poc_options options = options_for(&params, "inttest");
	double dist[4], other[4];
	gh_poc *poc;

	assert_ok(gh_poc_create(&poc, &options, error));
	assert_ok(gh_poc_distances(poc, public_key, nonces, 4, dist, error));
	ck_assert(dist[0] == dist[2] && dist[0] != dist[1] && dist[3] != dist[1]);
	assert_ok(gh_poc_distances(poc, "02AB", nonces, 4, other, error));
	ck_assert(dist[0] != other[0]);
	assert_ok(gh_poc_distances(poc, "", nonces, 1, other, error));
	assert_ok(gh_poc_distances(poc, public_key, NULL, 0, NULL, error));
	memset(long_key, 'k', sizeof long_key - 1);
	long_key[sizeof long_key - 1] = '\0';
	assert_fails(GH_ETOOBIG, "", gh_poc_distances(poc, long_key, nonces, 1, other, error));
	gh_poc_free(poc);
}
END_TEST

START_TEST(no_memory_is_no_crash)
{
	gh_poc_params params;
	gh_poc_options options = options_for(&params, "inttest");
	gh_error error = GH_ERROR_INIT;
	gh_poc *poc = NULL;
	size_t k = 1;

	params.n_layers = 2;
	for (;; k++) {
		error = (gh_error)GH_ERROR_INIT;
		gh__alloc_fail_at(k);
		gh_status status = gh_poc_create(&poc, &options, &error);
		gh__alloc_fail_at(0);
		if (status == GH_OK)
			break;
		ck_assert_int_eq(status, GH_ENOMEM);
		ck_assert_uint_lt(k, 1000);
	}
	ck_assert_uint_gt(k, 20);
	gh_poc_free(poc);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("poc_network");
	TCase *tests = tcase_create("poc_network");

	tcase_add_test(tests, sizes_are_told);
	tcase_add_test(tests, options_are_checked);
	tcase_add_test(tests, making_is_told_and_may_be_ended);
	tcase_add_test(tests, computing_is_interrupted_and_goes_on);
	tcase_add_test(tests, the_ceiling_is_measured);
	tcase_add_test(tests, hits_are_counted_kept_and_judged);
	tcase_add_test(tests, ten_lies_in_two_hundred);
	tcase_add_test(tests, measuring_is_interrupted_and_goes_on);
	tcase_add_test(tests, keys_and_nonces_are_taken_as_they_are);
	tcase_add_test(tests, no_memory_is_no_crash);
	suite_add_tcase(suite, tests);
	return unit_main(suite);
}
