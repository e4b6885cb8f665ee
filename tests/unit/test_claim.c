#include "unit.h"

#include <math.h>
#include <string.h>

#include "inference_node/claim.h"
#include "json/json.h"

/* A batch of another participant on its way to a verdict. */
static const double r_target = 1.4;

static json_t *batch(size_t count, double dist)
{
	json_t *nonces = json_array(), *list = json_array();

	for (size_t i = 0; i < count; i++) {
		json_array_append_new(nonces, json_integer((json_int_t)(7 * i)));
		json_array_append_new(list, json_real(dist));
	}
	return json_pack("{s:s, s:s, s:i, s:o, s:o, s:i}", "public_key", "k\"ey", "block_hash",
			 "AA", "block_height", 12, "nonces", nonces, "dist", list, "node_id", 3);
}

static gh__claim *make(size_t count)
{
	json_t *body = batch(count, 1.25);
	gh__claim *claim = NULL;

	assert_ok(gh__claim_create(&claim, body, r_target, error));
	json_decref(body);
	return claim;
}

/* Answers a piece: every number `dist`, null where it is no number. */
static void give(gh__claim *claim, size_t first, size_t count, double dist)
{
	json_t *list = json_array(), *answer = json_pack("{s:o}", "dist", list);

	for (size_t i = 0; i < count; i++)
		json_array_append_new(list, isnan(dist) ? json_null() : json_real(dist));
	gh__claim_give(claim, first, count, answer);
	json_decref(answer);
}

static void expect_verdict(const gh__claim *claim, const char *words)
{
	gh__buf out = GH__BUF_INIT(1 << 24);

	assert_ok(gh__claim_judge(&out, claim, 1e-7, error));
	ck_assert_msg(strstr(gh__buf_str(&out), words) != NULL, "\"%s\" lacks \"%s\"",
		      gh__buf_str(&out), words);
	gh__buf_free(&out);
}

START_TEST(pieces_make_a_whole)
{
	static const size_t counts[] = { 0, 1, 63, 64, 65, 200 };

	for (size_t k = 0; k < COUNT(counts); k++) {
		gh__claim *claim = make(counts[k]);
		size_t first, count, covered = 0;

		while (gh__claim_take(claim, &first, &count)) {
			gh__buf ask = GH__BUF_INIT(1 << 20);

			ck_assert(!gh__claim_is_whole(claim));
			ck_assert_uint_eq(first, covered);
			gh__claim_ask(&ask, claim, first, count);
			ck_assert_ptr_nonnull(strstr(gh__buf_str(&ask), "\"k\\\"ey\""));
			gh__buf_free(&ask);
			covered += count;
			give(claim, first, count, 1.3);
		}
		ck_assert_uint_eq(covered, counts[k]);
		ck_assert(gh__claim_is_whole(claim) && !gh__claim_is_lost(claim));
		expect_verdict(claim, "\"n_invalid\": 0, \"probability_honest\": 1.0, "
				      "\"fraud_detected\": false}");
		gh__claim_free(claim);
	}
}
END_TEST

START_TEST(payloads_are_as_they_must_be)
{
	gh__claim *claim = make(2);
	gh__buf out = GH__BUF_INIT(1 << 20);
	size_t first, count;

	ck_assert(gh__claim_take(claim, &first, &count));
	give(claim, first, count, NAN);
	assert_ok(gh__claim_judge(&out, claim, 0.5, error));
	ck_assert_str_eq(
		gh__buf_str(&out),
		"{\"public_key\": \"k\\\"ey\", \"block_hash\": \"AA\", \"block_height\": 12, "
		"\"nonces\": [0, 7], \"dist\": [2.0, 2.0], \"node_id\": 3, "
		"\"received_dist\": [1.25, 1.25], \"r_target\": 1.4, "
		"\"fraud_threshold\": 0.5, \"n_invalid\": 2, "
		"\"probability_honest\": 2.5e-07, \"fraud_detected\": true}");
	gh__buf_free(&out);
	gh__claim_free(claim);
}
END_TEST

START_TEST(failures_are_tried_again_once)
{
	gh__claim *claim = make(130);
	size_t first, count, again, other;
	json_t *short_answer;

	ck_assert(gh__claim_take(claim, &first, &count));
	ck_assert(gh__claim_take(claim, &again, &other));
	gh__claim_give(claim, first, count, NULL);
	ck_assert(gh__claim_take(claim, &first, &count)); /* the same one */
	ck_assert_uint_eq(first, 0);
	short_answer = json_pack("{s:[f]}", "dist", 1.0);
	gh__claim_give(claim, first, count, short_answer);
	json_decref(short_answer);
	ck_assert(!gh__claim_is_lost(claim)); /* a piece is under way */
	ck_assert(!gh__claim_take(claim, &first, &count));
	give(claim, again, other, 1.0);
	ck_assert(gh__claim_is_lost(claim) && !gh__claim_is_whole(claim));
	gh__claim_free(claim);

	claim = make(64);
	ck_assert(gh__claim_take(claim, &first, &count));
	gh__claim_cancel(claim);
	ck_assert(!gh__claim_is_lost(claim));
	give(claim, first, count, 1.0);
	ck_assert(gh__claim_is_lost(claim) && gh__claim_is_cancelled(claim));
	ck_assert(!gh__claim_is_whole(claim));
	gh__claim_free(claim);
}
END_TEST

START_TEST(what_is_no_claim_is_refused)
{
	gh__claim *claim = NULL;
	json_t *body = batch(3, 1.25);

	json_array_remove(json_object_get(body, "dist"), 0);
	assert_fails(GH_EINVAL, "dist: expected 3",
		     gh__claim_create(&claim, body, r_target, error));
	json_array_append_new(json_object_get(body, "dist"), json_real(1.4));
	assert_fails(GH_EINVAL, "dist[2]: 1.3999999999999999 is not below r_target",
		     gh__claim_create(&claim, body, r_target, error));
	json_array_set_new(json_object_get(body, "nonces"), 1, json_integer(-1));
	assert_fails(GH_EINVAL, "nonces[1]: -1", gh__claim_create(&claim, body, r_target, error));
	ck_assert_ptr_null(claim);
	json_decref(body);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("claim");
	TCase *tests = tcase_create("claim");

	tcase_add_test(tests, pieces_make_a_whole);
	tcase_add_test(tests, payloads_are_as_they_must_be);
	tcase_add_test(tests, failures_are_tried_again_once);
	tcase_add_test(tests, what_is_no_claim_is_refused);
	suite_add_tcase(suite, tests);
	return unit_main(suite);
}
