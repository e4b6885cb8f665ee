#include "unit.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "network_node/entry.h"

/*
 * How one node is driven, step by step: what is asked is answered by the test, and time passes when
 * it says so.
 */
#define STATE_OK  "{\"state\":\"INFERENCE\"}"
#define MODELS_OK "{\"data\":[{\"id\":\"m\"}]}"

enum { NONE = 0, REFUSED = -1 }; /* statuses of calls that bring no answer */

static gh_node_model model = { .id = "m" };
static gh_node node;
static gh__entry entry;
static int64_t now;

static void setup(void)
{
	node = (gh_node){ .id = "n",
			  .host = "h",
			  .inference_segment = "",
			  .poc_segment = "",
			  .base_url = "",
			  .auth_token = "",
			  .inference_port = 1,
			  .poc_port = 2,
			  .max_concurrent = 1,
			  .models = &model,
			  .model_count = 1 };
	entry = (gh__entry){ .node = &node, .intended = GH__NODE_INFERENCE };
	now = 100 * GH__SECOND;
}

static void teardown(void)
{
	gh__free(entry.look.body);
	gh__free(entry.order.body);
	gh__free(entry.loaded_model);
	gh__free(entry.seen_model);
	gh__free(entry.seen_args);
	gh__free(entry.ordered);
}

/* The look that is due, or comes due by itself, begins. */
static void begin_look(void)
{
	int64_t due = gh__driver_step(&entry, now);

	if (entry.look.kind == GH__ASK_NONE) {
		ck_assert_int_gt(due, now);
		now = due;
		gh__driver_step(&entry, now);
	}
	ck_assert_int_eq(entry.look.kind, GH__ASK_STATE);
}

static void answer(gh__ask *ask, gh__ask_kind kind, int status, const char *body)
{
	ck_assert_int_eq(ask->kind, kind);
	ck_assert(!ask->done);
	ask->done = true;
	ask->status = status > 0 ? status : 0;
	ask->refused = status == REFUSED;
	ask->body = status > 0 && body ? gh__strdup(body) : NULL;
	strcpy(ask->problem, "no answer");
	gh__driver_step(&entry, now);
}

/* A look whose last step ends so; those before it are well. */
static void look(gh__ask_kind last, int status, const char *body)
{
	begin_look();
	if (last != GH__ASK_STATE)
		answer(&entry.look, GH__ASK_STATE, 200, STATE_OK);
	if (last == GH__ASK_MODELS)
		answer(&entry.look, GH__ASK_HEALTH, 200, "");
	answer(&entry.look, last, status, body);
}

static void good_look(void)
{
	look(GH__ASK_MODELS, 200, MODELS_OK);
}

static void expect_serving(void)
{
	ck_assert_int_eq(entry.current, GH__NODE_INFERENCE);
	ck_assert_ptr_nonnull(entry.loaded_model);
	ck_assert_str_eq(entry.loaded_model, "m");
	ck_assert_str_eq(entry.failure, "");
	ck_assert_int_eq(entry.order.kind, GH__ASK_NONE);
}

static void expect_out(const char *reason)
{
	ck_assert_int_eq(entry.current, GH__NODE_FAILED);
	ck_assert_ptr_null(entry.loaded_model);
	ck_assert_msg(strstr(entry.failure, reason) != NULL, "%s", entry.failure);
	ck_assert_int_eq(entry.order.kind, GH__ASK_NONE);
}

static const struct {
	gh__ask_kind last;
	int status;
	const char *body, *reason;
} failures[] = {
	{ GH__ASK_STATE, NONE, NULL, "/api/v1/state: no answer" },
	{ GH__ASK_STATE, REFUSED, NULL, "/api/v1/state: no answer" },
	{ GH__ASK_STATE, 500, "", "/api/v1/state answered with status 500" },
	{ GH__ASK_STATE, 200, "{[", "/api/v1/state: expected an object with a state" },
	{ GH__ASK_HEALTH, NONE, NULL, "the inference server does not answer" },
	{ GH__ASK_HEALTH, 502, "", "the inference server is not ready: /health answers 502" },
	{ GH__ASK_HEALTH, 503, "", "the inference server is not ready: /health answers 503" },
	{ GH__ASK_MODELS, NONE, NULL, "the inference server does not answer" },
	{ GH__ASK_MODELS, REFUSED, NULL, "the inference server does not answer" },
	{ GH__ASK_MODELS, 500, "", "the inference server is not ready: /v1/models answers 500" },
	{ GH__ASK_MODELS, 200, "{}", "the inference server is not ready: /v1/models names no" },
};
enum { FAILURES = sizeof failures / sizeof failures[0] };

static void bad_look(int i)
{
	look(failures[i].last, failures[i].status, failures[i].body);
}

static bool at_once(int i)
{
	return failures[i].status == REFUSED && failures[i].last != GH__ASK_STATE;
}

/* One bad look does not take a node out of service, nor do many with good ones between them. */
START_TEST(one_bad_look)
{
	good_look();
	expect_serving();
	for (int round = 0; round < 3 && !at_once(_i); round++) {
		bad_look(_i);
		expect_serving();
		good_look();
		expect_serving();
	}
}
END_TEST

/* Two in a row do, whatever the first was; the node is not stopped, and comes back by itself. */
START_TEST(two_bad_looks)
{
	for (int first = 0; first < FAILURES; first++) {
		int64_t before;

		good_look();
		expect_serving();
		if (at_once(first))
			continue;
		bad_look(first);
		expect_serving();
		before = now;
		bad_look(_i);
		ck_assert_int_ge(now - before, GH__SECOND);
		ck_assert_int_le(now - before, 2 * GH__SECOND);
		expect_out(failures[_i].reason);
	}
	good_look();
	expect_serving();
}
END_TEST

/* Where nobody listens any more, one look is enough. */
START_TEST(nobody_listens)
{
	good_look();
	look(GH__ASK_HEALTH, REFUSED, NULL);
	expect_out("the inference server does not answer");
	good_look();
	look(GH__ASK_MODELS, REFUSED, NULL);
	expect_out("the inference server does not answer");
}
END_TEST

/* What the node says itself counts at once. */
START_TEST(its_word_counts)
{
	good_look();
	look(GH__ASK_STATE, 200, "{\"state\":\"STOPPED\"}");
	ck_assert_int_eq(entry.current, GH__NODE_STOPPED);
	ck_assert_ptr_null(entry.loaded_model);
	ck_assert_int_eq(entry.order.kind, GH__ASK_UP);
}
END_TEST

/* A node that names its model in /api/v1/state needs no /v1/models. */
START_TEST(model_named_by_state)
{
	for (int i = 0; i < 3; i++) {
		begin_look();
		answer(&entry.look, GH__ASK_STATE, 200,
		       "{\"state\":\"INFERENCE\",\"loaded_model\":\"m\",\"loaded_args\":[]}");
		answer(&entry.look, GH__ASK_HEALTH, 200, "");
		answer(&entry.look, GH__ASK_MODELS, NONE, NULL);
		expect_serving();
	}
}
END_TEST

/* A server whose models nobody tells is given time like one that is not ready, then started
 * anew. */
START_TEST(never_ready)
{
	int64_t began;

	good_look();
	began = now;
	while (entry.order.kind == GH__ASK_NONE) {
		ck_assert_int_lt(now - began, 700 * GH__SECOND);
		look(GH__ASK_MODELS, 500, "");
	}
	ck_assert_int_eq(entry.order.kind, GH__ASK_STOP);
	ck_assert_int_ge(now - began, 600 * GH__SECOND);
}
END_TEST

/* News bring the next look forward, also news that come while a look is under way. */
START_TEST(news)
{
	int64_t before;

	good_look();
	before = now;
	ck_assert_int_eq(gh__driver_step(&entry, now), now + 5 * GH__SECOND);
	entry.look_wanted = true;
	begin_look();
	ck_assert_int_lt(now - before, GH__SECOND);
	entry.look_wanted = true;
	before = now;
	answer(&entry.look, GH__ASK_STATE, 200, STATE_OK);
	answer(&entry.look, GH__ASK_HEALTH, 200, "");
	answer(&entry.look, GH__ASK_MODELS, 200, MODELS_OK);
	bad_look(0);
	ck_assert_int_lt(now - before, GH__SECOND);
	/* But the second look comes no sooner: both would see the same trouble. */
	entry.look_wanted = true;
	before = now;
	begin_look();
	ck_assert_int_ge(now - before, GH__SECOND);
}
END_TEST

/* What a look brings that began before an order ended is thrown away. */
START_TEST(out_of_date)
{
	look(GH__ASK_STATE, 200, "{\"state\":\"POW\"}");
	ck_assert_int_eq(entry.order.kind, GH__ASK_STOP);
	answer(&entry.order, GH__ASK_STOP, 200, "{}");
	begin_look();
	answer(&entry.order, GH__ASK_UP, 200, "{\"status\":\"OK\"}");
	answer(&entry.look, GH__ASK_STATE, 200, "{\"state\":\"STOPPED\"}");
	ck_assert_int_eq(entry.look.kind, GH__ASK_STATE);
	ck_assert_int_eq(entry.order.kind, GH__ASK_NONE);
	good_look();
	expect_serving();
}
END_TEST

/* ---- proofs ---- */

static char hash[] = "B", key[] = "K", callbacks[] = "http://n/v1/poc-batches";
static gh__round a_round = { .block_hash = hash, .public_key = key, .url = callbacks };

/* As the broker does when a phase begins. */
static void command(gh__poc_phase phase)
{
	entry.round = &a_round;
	entry.intended = GH__NODE_POC;
	entry.poc_intended = phase;
	gh__entry_turn(&entry);
}

/* One that began before the last order is out of date. */
static void drop_old_look(void)
{
	begin_look();
	if (entry.look_began_at != entry.orders_done)
		answer(&entry.look, GH__ASK_STATE, 200, "{\"state\":\"STOPPED\"}");
}

static void proving_look(const char *status)
{
	char body[128];

	drop_old_look();
	begin_look();
	answer(&entry.look, GH__ASK_STATE, 200, "{\"state\":\"POW\"}");
	snprintf(body, sizeof body,
		 "{\"status\":\"%s\",\"is_model_initialized\":true,\"nonces_tried\":7}", status);
	answer(&entry.look, GH__ASK_POC_STATUS, 200, body);
}

static void expect_proving(gh__poc_phase phase)
{
	ck_assert_int_eq(entry.current, GH__NODE_POC);
	ck_assert_int_eq(entry.poc_current, phase);
	ck_assert(gh__driver_proves(&entry));
	ck_assert_int_eq(entry.order.kind, GH__ASK_NONE);
	ck_assert_str_eq(entry.failure, "");
}

/* From serving to proofs, from one phase to the next, and back. */
START_TEST(through_a_round)
{
	good_look();
	command(GH__POC_GENERATING);
	good_look();
	ck_assert_ptr_null(entry.loaded_model);
	answer(&entry.order, GH__ASK_STOP, 200, "{}");
	answer(&entry.order, GH__ASK_GENERATE, 200, "{}");
	proving_look("GENERATING");
	expect_proving(GH__POC_GENERATING);
	ck_assert(entry.poc_seen.initialised);
	ck_assert_int_eq(entry.poc_seen.tried, 7);
	ck_assert_int_eq(entry.poc_seen.unsent, -1);
	command(GH__POC_VALIDATING);
	proving_look("GENERATING");
	answer(&entry.order, GH__ASK_VALIDATE, 200, "{}"); /* without a stop: its network is kept */
	proving_look("VALIDATING");
	expect_proving(GH__POC_VALIDATING);
	entry.round = NULL;
	entry.intended = GH__NODE_INFERENCE;
	entry.poc_intended = GH__POC_IDLE;
	gh__entry_turn(&entry);
	look(GH__ASK_STATE, 200, "{\"state\":\"POW\"}");
	answer(&entry.order, GH__ASK_STOP, 200, "{}");
	answer(&entry.order, GH__ASK_UP, 200, "{\"status\":\"OK\"}");
	drop_old_look();
	good_look();
	expect_serving();
}
END_TEST

/* What a node generates may be of an earlier round: it is told of this one all the same. */
START_TEST(another_round)
{
	command(GH__POC_GENERATING);
	proving_look("GENERATING");
	answer(&entry.order, GH__ASK_GENERATE, 200, "{}");
	proving_look("GENERATING");
	expect_proving(GH__POC_GENERATING);
}
END_TEST

START_TEST(proofs_that_fail)
{
	command(GH__POC_GENERATING);
	look(GH__ASK_STATE, 200, "{\"state\":\"STOPPED\"}");
	answer(&entry.order, GH__ASK_GENERATE, 400, "{\"detail\":\"dim: too large\"}");
	expect_out("/api/v1/pow/init/generate answered with status 400: {\"detail\":\"dim");
	/* Again, after a while. */
	now = entry.retry_at;
	look(GH__ASK_STATE, 200, "{\"state\":\"STOPPED\"}");
	answer(&entry.order, GH__ASK_GENERATE, NONE, NULL);
	expect_out("/api/v1/pow/init/generate: no answer");
	now = entry.retry_at;
	look(GH__ASK_STATE, 200, "{\"state\":\"STOPPED\"}");
	answer(&entry.order, GH__ASK_GENERATE, 200, "{}");
	/* It gives up by itself, and says why. */
	begin_look();
	answer(&entry.look, GH__ASK_STATE, 200, "{\"state\":\"STOPPED\"}");
	answer(&entry.look, GH__ASK_POC_STATUS, 200,
	       "{\"status\":\"NOT_LOADED\",\"problem\":\"the budget is too small\"}");
	expect_out("its proofs ended by themselves: the budget is too small");
	ck_assert_int_gt(entry.retry_at, now);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("driver");
	TCase *tcase = tcase_create("driver");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_loop_test(tcase, one_bad_look, 0, FAILURES);
	tcase_add_loop_test(tcase, two_bad_looks, 0, FAILURES);
	tcase_add_test(tcase, nobody_listens);
	tcase_add_test(tcase, its_word_counts);
	tcase_add_test(tcase, model_named_by_state);
	tcase_add_test(tcase, never_ready);
	tcase_add_test(tcase, news);
	tcase_add_test(tcase, out_of_date);
	tcase_add_test(tcase, through_a_round);
	tcase_add_test(tcase, another_round);
	tcase_add_test(tcase, proofs_that_fail);
	suite_add_tcase(suite, tcase);
	return unit_main(suite);
}
