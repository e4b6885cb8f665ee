#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "json/json.h"
#include "network_node/round.h"
#include "network_node/sample.h"
#include "network_node/tally.h"

/*
 * Rounds as plain data: what is ordered, which proofs are looked at, and what follows from what
 * judges say.
 */

/* ---- orders ---- */

static gh__round *read_order(const char *text)
{
	json_t *order = json_loads(text, 0, NULL);
	gh__round *round;

	ck_assert_ptr_nonnull(order);
	assert_ok(gh__round_create(&round, order, 41, "http://h:9100/v1/poc-batches", error));
	json_decref(order);
	return round;
}

START_TEST(an_order_of_nothing)
{
	gh__round *round = read_order("{}"), *other = read_order("{}");

	ck_assert_uint_eq(strlen(round->block_hash), 64);
	ck_assert_uint_eq(strspn(round->block_hash, "0123456789ABCDEF"), 64);
	ck_assert_str_ne(round->block_hash, other->block_hash);
	ck_assert_uint_eq(strlen(round->public_key), 66);
	ck_assert_int_eq(round->block_height, 41);
	ck_assert_int_eq(round->params.dim, 1792);
	ck_assert_int_eq(round->sample, 200);
	ck_assert(round->r_target == 1.4013564660458173 && round->fraud_threshold == 1e-7);
	gh__round_release(round);
	gh__round_release(other);
}
END_TEST

START_TEST(a_body_of_an_order)
{
	static const char wanted[] =
		"{\"block_hash\":\"AB\",\"block_height\":7,\"public_key\":"
		"\"02c6047f9441ed7d6d3045406e95c07cd85c778e4b8cef3ca7abac09b95c709ee5\","
		"\"batch_size\":100,\"r_target\":1.25,\"fraud_threshold\":0.5,\"params\":{\"dim\":"
		"128,"
		"\"n_layers\":16,\"n_heads\":16,\"n_kv_heads\":16,\"vocab_size\":128,"
		"\"ffn_dim_multiplier\":16,\"multiple_of\":1024,\"norm_eps\":1e-05,"
		"\"rope_theta\":500000,\"use_scaled_rope\":false,\"seq_len\":4},\"node_id\":3,"
		"\"node_count\":9,\"url\":\"http://h:9100/v1/poc-batches\"}";
	gh__round *round =
		read_order("{\"block_hash\":\"AB\",\"block_height\":7,\"public_key\":"
			   "\"02c6047f9441ed7d6d3045406e95c07cd85c778e4b8cef3ca7abac09b95c709ee5\","
			   "\"params\":\"inttest\",\"r_target\":1.25,\"fraud_threshold\":0.5,"
			   "\"generate_seconds\":1.5,\"validate_seconds\":2,\"sample_size\":5}");
	char *body;

	round->node_count = 9;
	ck_assert_int_eq(round->generate, GH__SECOND * 3 / 2);
	ck_assert_int_eq(round->validate, GH__SECOND * 2);
	ck_assert_int_eq(round->sample, 5);
	assert_ok(gh__round_init_body(round, 3, &body, error));
	ck_assert_str_eq(body, wanted);
	gh__free(body);
	gh__round_release(round);
}
END_TEST

static const struct {
	const char *order, *words;
} bad_orders[] = {
	{ "{\"block_hash\":\"\"}", "block_hash: expected 1 to 256 bytes" },
	{ "{\"block_hash\":7}", "block_hash" },
	{ "{\"block_height\":-1}", "block_height" },
	{ "{\"public_key\":\"02\"}", "public_key" },
	{ "{\"params\":\"bignet\"}", "bignet" },
	{ "{\"params\":{\"n_heads\":0}}", "n_heads" },
	{ "{\"params\":{\"n_heads\":3}}", "n_heads" },
	{ "{\"params\":{\"dim\":1000000000}}", "dim" },
	{ "{\"params\":{\"vocab_size\":1}}", "vocab_size" },
	{ "{\"params\":{\"seq_len\":1000000000}}", "seq_len" },
	{ "{\"params\":{\"multiple_of\":1000000000}}", "multiple_of" },
	{ "{\"params\":7}", "params" },
	{ "{\"r_target\":2.5}", "r_target" },
	{ "{\"fraud_threshold\":-1}", "fraud_threshold" },
	{ "{\"sample_size\":0}", "sample_size" },
	{ "{\"generate_seconds\":-1}", "generate_seconds" },
	{ "{\"validate_seconds\":1e9}", "validate_seconds" },
	{ "[]", "object" },
};
enum { BAD_ORDERS = sizeof bad_orders / sizeof bad_orders[0] };

START_TEST(a_bad_order)
{
	json_t *order = json_loads(bad_orders[_i].order, 0, NULL);
	gh_error problem = GH_ERROR_INIT;
	gh__round *round = NULL;
	gh_status status = gh__round_create(&round, order, 1, "http://h", &problem);

	ck_assert_int_ne(status, GH_OK);
	ck_assert_msg(strstr(problem.text, bad_orders[_i].words) != NULL, "%s: %s",
		      bad_orders[_i].order, problem.text);
	json_decref(order);
}
END_TEST

/* ---- samples ---- */

enum { TOTAL = 1000, WANTED = 200 };

START_TEST(samples)
{
	size_t first[TOTAL], again[WANTED], other[WANTED], same = 0;
	unsigned drawn[10] = { 0 };
	bool seen[TOTAL] = { false };

	assert_ok(gh__sample(first, WANTED, TOTAL, "a", error));
	assert_ok(gh__sample(again, WANTED, TOTAL, "a", error));
	assert_ok(gh__sample(other, WANTED, TOTAL, "b", error));
	ck_assert_mem_eq(first, again, sizeof again);
	for (int i = 0; i < WANTED; i++) {
		ck_assert_uint_lt(first[i], TOTAL);
		ck_assert(!seen[first[i]]);
		seen[first[i]] = true;
		same += first[i] == other[i];
	}
	ck_assert_uint_lt(same, 5);
	assert_ok(gh__sample(first, TOTAL, TOTAL, "a", error));
	for (size_t i = 0; i < TOTAL; i++)
		ck_assert_uint_eq(first[i], i);
	assert_ok(gh__sample(first, TOTAL, 0, "a", error));
	/* No place is favoured: 2000 draws of 1 of 10 are near 200 each. */
	for (int i = 0; i < 2000; i++) {
		char text[16];

		snprintf(text, sizeof text, "%d", i);
		assert_ok(gh__sample(first, 1, 10, text, error));
		drawn[first[0]]++;
	}
	for (int i = 0; i < 10; i++)
		ck_assert_msg(drawn[i] > 140 && drawn[i] < 260, "%d: %u", i, drawn[i]);
}
END_TEST

/* ---- verdicts ---- */

enum { NODES_MAX = 4 };

static gh__tally_node nodes[NODES_MAX];
static gh__tally tally;

static void fleet_of(size_t count)
{
	memset(nodes, 0, sizeof nodes);
	tally = (gh__tally){ nodes, count };
	for (size_t i = 0; i < count; i++) {
		nodes[i].number = i + 1;
		nodes[i].joined = true;
		nodes[i].count = 10;
	}
}

/* words: what the judge says of the node; '+' honest, '-' fraud, '?' nothing. */
static void judged(size_t node, size_t judge, char word)
{
	nodes[node].judges[nodes[node].judge_count++] =
		(gh__judgement){ .judge = judge,
				 .state = word == '?' ? GH__JUDGE_ASKED : GH__JUDGE_GIVEN,
				 .fraud = word == '-' };
}

/* Everybody on everybody else: rows of judges, columns of nodes. */
static void all_judged(const char *const *words)
{
	for (size_t judge = 0; judge < tally.count; judge++)
		for (size_t node = 0; node < tally.count; node++)
			if (node != judge && words[judge][node] != ' ')
				judged(node, judge, words[judge][node]);
}

static void expect_verdicts(const char *wanted)
{
	static const char letters[] = "OHFDUEA"; /* by gh__tally_verdict */
	char got[NODES_MAX + 1] = "";

	gh__tally_conclude(&tally);
	for (size_t i = 0; i < tally.count; i++)
		got[i] = letters[nodes[i].verdict];
	ck_assert_str_eq(got, wanted);
}

static const struct {
	size_t count;
	const char *words[NODES_MAX];
	const char *verdicts;
} fleets[] = {
	{ 3, { " ++", "+ +", "++ " }, "HHH" },
	/* The third lies about its proofs; then also about those of others. */
	{ 3, { " +-", "+ -", "++ " }, "HHF" },
	{ 3, { " +-", "+ -", "-- " }, "HHF" },
	/* It does not judge at all. */
	{ 3, { " +-", "+ -", "?? " }, "HHF" },
	/* An honest node that one liar accuses. */
	{ 4, { " +++", "+ ++", "++ +", "--- " }, "HHHH" },
	{ 4, { " ++-", "+ +-", "++ -", "--- " }, "HHHF" },
	/* Two that accuse each other: nobody can tell. */
	{ 2, { " -", "- " }, "DD" },
	/* The only judge is a fraud itself, or is silent. */
	{ 2, { " -", "+ " }, "UF" },
	{ 2, { " +", "? " }, "UH" },
};
enum { FLEETS = sizeof fleets / sizeof fleets[0] };

START_TEST(verdicts)
{
	fleet_of(fleets[_i].count);
	all_judged(fleets[_i].words);
	expect_verdicts(fleets[_i].verdicts);
	expect_verdicts(fleets[_i].verdicts); /* again, the same */
}
END_TEST

static const struct {
	size_t count;
	const char *words[NODES_MAX];
	bool settled;
} moments[] = {
	{ 2, { " +", "+ " }, true },
	{ 2, { " +", "? " }, false },
	/* The third is found out already: nobody waits for its word. */
	{ 3, { " +-", "+ -", "?? " }, true },
	{ 3, { " +-", "+ ?", "?? " }, false },
	{ 3, { " ++", "+ +", "?? " }, false },
	/* Two of three agree. */
	{ 4, { " +++", "+ ++", "++ +", "??? " }, true },
};
enum { MOMENTS = sizeof moments / sizeof moments[0] };

START_TEST(settled)
{
	fleet_of(moments[_i].count);
	all_judged(moments[_i].words);
	ck_assert_int_eq(gh__tally_settled(&tally), moments[_i].settled);
	for (size_t i = 0; i < tally.count; i++)
		ck_assert_int_eq(nodes[i].verdict, GH__VERDICT_OPEN);
}
END_TEST

START_TEST(verdicts_without_judges)
{
	fleet_of(1);
	judged(0, 0, '+');
	expect_verdicts("H");
	nodes[0].judges[0].fraud = true;
	expect_verdicts("F");
	fleet_of(4);
	nodes[0].count = 0;
	nodes[1].joined = false;
	strcpy(nodes[2].fault, "claims what is no hit");
	judged(3, 2, '+');
	expect_verdicts("EAFU");
}
END_TEST

START_TEST(tickets)
{
	uint64_t node, judge;

	gh__tally_of_ticket(gh__tally_ticket(7, 4095), &node, &judge);
	ck_assert_uint_eq(node, 7);
	ck_assert_uint_eq(judge, 4095);
	gh__tally_of_ticket(5, &node, &judge); /* as another network node sends it */
	ck_assert_uint_eq(node, 5);
	ck_assert_uint_eq(judge, 0);
	ck_assert_uint_lt(gh__tally_ticket((1 << 26) - 1, (1 << 26) - 1), UINT64_C(1) << 53);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("round");
	TCase *tcase = tcase_create("round");

	tcase_add_test(tcase, an_order_of_nothing);
	tcase_add_test(tcase, a_body_of_an_order);
	tcase_add_loop_test(tcase, a_bad_order, 0, BAD_ORDERS);
	tcase_add_test(tcase, samples);
	tcase_add_loop_test(tcase, verdicts, 0, FLEETS);
	tcase_add_loop_test(tcase, settled, 0, MOMENTS);
	tcase_add_test(tcase, verdicts_without_judges);
	tcase_add_test(tcase, tickets);
	suite_add_tcase(suite, tcase);
	return unit_main(suite);
}
