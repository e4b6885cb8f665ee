#include "node_client.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>

#include "folder.h"
#include "inference_node/supervisor.h"

/*
 * A supervisor over workers that do as they are told (fake_worker.c): models that are stopped and
 * asked for again.
 */
static gh__supervisor *supervisor;

static void start(int32_t gpus, int64_t park_patience)
{
	gh__supervisor_options options = {
		.program = GH_FAKE_WORKER,
		.runtime_dir = root,
		.gpus = gpus,
		.instances_max = 8,
		.start_timeout = PATIENCE * GH__SECOND,
		.park_patience = park_patience,
		.client = client,
	};

	assert_ok(gh__supervisor_create(&supervisor, &options, error));
}

static void setup(void)
{
	make_root();
	assert_ok(gh__http_client_create(&client, error));
}

static void teardown(void)
{
	gh__supervisor_free(supervisor);
	supervisor = NULL;
	gh__http_client_free(client);
	remove_root();
}

/* ---- orders that are waited for ---- */

typedef struct waiter {
	pthread_mutex_t lock;
	pthread_cond_t news;
	bool done;
	char message[256];
} waiter;

static void on_done(const char *message, void *userdata)
{
	waiter *w = userdata;

	pthread_mutex_lock(&w->lock);
	snprintf(w->message, sizeof w->message, "%s", message ? message : "");
	w->done = true;
	pthread_cond_signal(&w->news);
	pthread_mutex_unlock(&w->lock);
}

static void wait_for(waiter *w, const char *message)
{
	pthread_mutex_lock(&w->lock);
	while (!w->done)
		pthread_cond_wait(&w->news, &w->lock);
	pthread_mutex_unlock(&w->lock);
	ck_assert_str_eq(w->message, message);
}

#define WAITER                                                                 \
	(waiter)                                                               \
	{                                                                      \
		PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false, "" \
	}

static void order_up(const char *model, const char *dtype, const char *arg, waiter *w)
{
	json_t *args = arg ? json_pack("[s]", arg) : json_array();

	assert_ok(gh__supervisor_up(supervisor, model, dtype, args, on_done, w, error));
	json_decref(args);
}

/* Seconds that it took. */
static double up(const char *model)
{
	waiter w = WAITER;
	int64_t began = gh__now();

	order_up(model, "float16", NULL, &w);
	wait_for(&w, "");
	return (double)(gh__now() - began) / (double)GH__SECOND;
}

static void stop(void)
{
	waiter w = WAITER;

	assert_ok(gh__supervisor_stop(supervisor, on_done, &w, error));
	wait_for(&w, "");
}

static void down(void)
{
	waiter w = WAITER;

	assert_ok(gh__supervisor_down(supervisor, on_done, &w, error));
	wait_for(&w, "");
}

/* ---- what is there ---- */

static gh__supervisor_state state(void)
{
	gh__supervisor_state s;

	gh__supervisor_state_get(supervisor, &s);
	return s;
}

static void await_parked(int count)
{
	int64_t deadline = gh__now() + PATIENCE * GH__SECOND;

	while (state().parked != count && gh__now() < deadline)
		gh__sleep(GH__MILLISECOND);
	ck_assert_int_eq(state().parked, count);
}

static pid_t pid_of(const gh__worker_lease *lease)
{
	gh__http_call_options options = { .url = "http://worker/pid",
					  .unix_path = lease->socket,
					  .total_timeout = PATIENCE * GH__SECOND };
	char *text = NULL;
	pid_t pid;

	assert_ok(gh__http_fetch(client, &options, NULL, &text, NULL, error));
	pid = (pid_t)atoi(text);
	gh__free(text);
	ck_assert_int_gt(pid, 1);
	return pid;
}

static pid_t a_worker(void)
{
	gh__worker_lease lease;
	pid_t pid;

	ck_assert(gh__supervisor_lease(supervisor, &lease));
	pid = pid_of(&lease);
	gh__supervisor_release(supervisor, &lease, false);
	return pid;
}

/* All of them, each leased once. */
static void all_workers(pid_t *out, int count)
{
	gh__worker_lease leases[8];

	for (int i = 0; i < count; i++)
		ck_assert(gh__supervisor_lease(supervisor, &leases[i]));
	for (int i = 0; i < count; i++) {
		out[leases[i].index] = pid_of(&leases[i]);
		gh__supervisor_release(supervisor, &leases[i], false);
	}
}

/* Reaped, not only dead. */
static bool is_gone(pid_t pid)
{
	return kill(pid, 0) != 0 && errno == ESRCH;
}

/* A signal is on its way when kill() returns; until it has come, a thread may still answer. */
static void freeze(pid_t pid)
{
	siginfo_t info;

	ck_assert_int_eq(kill(pid, SIGSTOP), 0);
	ck_assert_int_eq(waitid(P_PID, (id_t)pid, &info, WSTOPPED | WNOWAIT), 0);
}

static void expect_parked(int count)
{
	gh__supervisor_state s = state();
	gh__worker_lease lease;
	json_t *args = gh__supervisor_args(supervisor);

	ck_assert_int_eq(s.parked, count);
	ck_assert(!s.active && !s.starting && !s.healthy && !s.proofs && !s.failed && !s.cancelled);
	ck_assert_int_eq(s.workers, 0);
	ck_assert_str_eq(s.model, "");
	ck_assert_ptr_null(args);
	ck_assert(!gh__supervisor_lease(supervisor, &lease));
	ck_assert(!gh__supervisor_prover(supervisor, 0, &lease));
}

/* ---- tests ---- */

START_TEST(the_same_model_is_there_at_once)
{
	pid_t before[4], after[4];

	start(4, 0);
	up("m");
	all_workers(before, 4);
	for (int turn = 0; turn < 3; turn++) {
		stop();
		expect_parked(4);
		stop();
		expect_parked(4);
		ck_assert_double_lt(up("m"), 1.0);
		ck_assert_int_eq(state().parked, 0);
		ck_assert_int_eq(state().ready, 4);
		all_workers(after, 4);
		ck_assert_mem_eq(after, before, sizeof before);
	}
}
END_TEST

START_TEST(another_order_ends_it_first)
{
	static const struct {
		const char *model, *dtype, *arg;
	} others[] = {
		{ "other", "float16", NULL },
		{ "m", "bfloat16", NULL },
		{ "m", "float16", "--max-model-len=5" },
	};

	start(0, 0);
	for (size_t i = 0; i < COUNT(others); i++) {
		waiter w = WAITER;
		pid_t before;

		up("m");
		before = a_worker();
		stop();
		order_up(others[i].model, others[i].dtype, others[i].arg, &w);
		wait_for(&w, "");
		ck_assert(is_gone(before));
		ck_assert_int_eq(state().parked, 0);
		ck_assert_int_ne(a_worker(), before);
	}
}
END_TEST

START_TEST(without_an_order_it_is_given_back)
{
	pid_t pid;
	int64_t stopped;

	start(0, GH__SECOND / 2);
	up("m");
	pid = a_worker();
	stopped = gh__now();
	stop();
	expect_parked(1);
	await_parked(0);
	ck_assert_int_ge(gh__now() - stopped, GH__SECOND / 2);
	ck_assert(is_gone(pid));
	expect_parked(0);
	up("m");
}
END_TEST

/* It stays while proofs are computed, however long, and a while longer. */
START_TEST(proofs_come_between)
{
	gh__worker_lease lease;
	pid_t pid, prover;

	start(0, GH__SECOND / 2);
	up("m");
	pid = a_worker();
	for (int round = 0; round < 2; round++) {
		stop();
		up(NULL);
		ck_assert(state().proofs && state().workers == 1);
		ck_assert(gh__supervisor_prover(supervisor, 0, &lease));
		ck_assert(!gh__supervisor_lease(supervisor, &lease));
		ck_assert(gh__supervisor_prover(supervisor, 0, &lease));
		prover = pid_of(&lease);
		ck_assert_int_ne(prover, pid);
		while (state().elapsed < 1.2)
			gh__sleep(10 * GH__MILLISECOND);
		ck_assert_int_eq(state().parked, 1);
		stop();
		ck_assert(is_gone(prover));
		expect_parked(1);
		ck_assert_double_lt(up("m"), 1.0);
		ck_assert_int_eq(a_worker(), pid);
	}
	stop();
	up(NULL);
	down();
	expect_parked(0);
	ck_assert(is_gone(pid));
}
END_TEST

START_TEST(what_needs_its_memory_gets_it)
{
	gh__worker_lease lease;
	pid_t pid;

	start(0, 0);
	gh__supervisor_give_back(supervisor); /* nothing is parked: nothing happens */
	up("m");
	pid = a_worker();
	stop();
	up(NULL);
	ck_assert_int_eq(state().parked, 1);
	gh__supervisor_give_back(supervisor);
	await_parked(0);
	ck_assert(is_gone(pid));
	ck_assert(gh__supervisor_prover(supervisor, 0, &lease));
	stop();
	up("m");
	stop();
	expect_parked(1); /* the next one stays */
}
END_TEST

START_TEST(one_that_dies_takes_the_others_along)
{
	pid_t before[4], after[4];

	start(4, 0);
	up("m");
	all_workers(before, 4);
	stop();
	kill(before[2], SIGKILL);
	await_parked(0);
	for (int i = 0; i < 4; i++)
		ck_assert(is_gone(before[i]));
	expect_parked(0);
	up("m");
	all_workers(after, 4);
	for (int i = 0; i < 4; i++)
		for (int k = 0; k < 4; k++)
			ck_assert_int_ne(after[i], before[k]);
}
END_TEST

START_TEST(one_that_hangs_is_loaded_anew)
{
	pid_t pid;

	start(0, 0);
	up("m");
	pid = a_worker();
	stop();
	freeze(pid);
	ck_assert_double_lt(up("m"), 10.0);
	ck_assert(is_gone(pid));
	ck_assert_int_ne(a_worker(), pid);
	ck_assert(!state().failed);
}
END_TEST

START_TEST(down_and_the_end_leave_nothing)
{
	pid_t pid;

	start(0, 0);
	up("m");
	pid = a_worker();
	down();
	expect_parked(0);
	ck_assert(is_gone(pid));
	up("m");
	pid = a_worker();
	stop();
	down();
	expect_parked(0);
	ck_assert(is_gone(pid));
	up("m");
	pid = a_worker();
	stop();
	gh__supervisor_close(supervisor);
	ck_assert(is_gone(pid));
	expect_parked(0);
	assert_fails(GH_ECLOSED, "shutting down",
		     gh__supervisor_stop(supervisor, NULL, NULL, error));
}
END_TEST

START_TEST(what_was_not_ready_does_not_stay)
{
	waiter w = WAITER;
	gh__supervisor_state s;

	start(0, 0);
	order_up("loads", "float16", NULL, &w);
	while (!state().active)
		gh__sleep(GH__MILLISECOND);
	stop();
	wait_for(&w, "the start was cancelled by a stop");
	s = state();
	ck_assert(!s.active && s.cancelled);
	ck_assert_int_eq(s.parked, 0);
	up("m");
	kill(a_worker(), SIGKILL);
	stop();
	await_parked(0);
	expect_parked(0);
}
END_TEST

/* Requests that run may end; who stops then is told when they have. */
START_TEST(a_stop_waits_for_requests)
{
	gh__worker_lease lease;
	waiter w = WAITER, again = WAITER;
	pid_t pid;

	start(0, 0);
	up("m");
	pid = a_worker();
	ck_assert(gh__supervisor_lease(supervisor, &lease));
	assert_ok(gh__supervisor_stop(supervisor, on_done, &w, error));
	while (state().active)
		gh__sleep(GH__MILLISECOND);
	ck_assert_int_eq(state().parked, 0);
	ck_assert(!w.done);
	order_up("m", "float16", NULL, &again); /* answers the stop, and waits itself */
	wait_for(&w, "");
	ck_assert(state().starting && !state().active);
	gh__supervisor_release(supervisor, &lease, false);
	wait_for(&again, "");
	ck_assert_int_eq(a_worker(), pid);
	/* A worker that ends meanwhile: nothing is worth keeping. */
	ck_assert(gh__supervisor_lease(supervisor, &lease));
	w = WAITER;
	assert_ok(gh__supervisor_stop(supervisor, on_done, &w, error));
	while (state().active)
		gh__sleep(GH__MILLISECOND);
	kill(pid, SIGKILL);
	wait_for(&w, "");
	expect_parked(0);
	gh__supervisor_release(supervisor, &lease, true);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("supervisor");
	TCase *tcase = tcase_create("supervisor");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, the_same_model_is_there_at_once);
	tcase_add_test(tcase, another_order_ends_it_first);
	tcase_add_test(tcase, without_an_order_it_is_given_back);
	tcase_add_test(tcase, proofs_come_between);
	tcase_add_test(tcase, what_needs_its_memory_gets_it);
	tcase_add_test(tcase, one_that_dies_takes_the_others_along);
	tcase_add_test(tcase, one_that_hangs_is_loaded_anew);
	tcase_add_test(tcase, down_and_the_end_leave_nothing);
	tcase_add_test(tcase, what_was_not_ready_does_not_stay);
	tcase_add_test(tcase, a_stop_waits_for_requests);
	suite_add_tcase(suite, tcase);
	return unit_main(suite);
}
