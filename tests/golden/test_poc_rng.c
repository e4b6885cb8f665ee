/*
 * Everything exact that proofs are made of but the weights, against the numbers that the network's
 * own nodes make.
 */
#include <math.h>

#include "device/narrow.h"
#include "poc.h"
#include "poc/binomial.h"
#include "poc/distance.h"
#include "poc/permutation.h"
#include "poc/seed.h"

#define MILLION ((size_t)1000000)

/* ---- generators ---- */

static void test_ziggurat(const json_t *expected)
{
	const char *layer;
	const json_t *entry;

	check_hash(expected, "sha256_k_u64", tables.k, sizeof tables.k);
	check_hash(expected, "sha256_w_f64", tables.w, sizeof tables.w);
	check_hash(expected, "sha256_f_f64", tables.f, sizeof tables.f);
	json_object_foreach((json_t *)get(expected, "samples"), layer, entry)
	{
		int i = atoi(layer);

		check(hex(get(entry, "k")) == tables.k[i], "k[%d]", i);
		check(real(get(entry, "w")) == tables.w[i], "w[%d]", i);
		check(real(get(entry, "f")) == tables.f[i], "f[%d]", i);
	}
}

static void check_words(const json_t *object, const char *key, const uint32_t *words, size_t count)
{
	const json_t *list = list_of(object, key, count);

	for (size_t i = 0; i < count; i++)
		check(hex(json_array_get(list, i)) == words[i], "%s[%zu]: %08x", key, i, words[i]);
}

static gh__u128 hex128(const char *digits)
{
	gh__u128 value = 0;

	for (digits += 2; *digits; digits++) {
		char digit[2] = { *digits, 0 };

		value = value << 4 | strtoul(digit, NULL, 16);
	}
	return value;
}

/* Words and seed words of a seed string, and its generator. */
static gh__pcg64 test_seed(const json_t *expected)
{
	uint32_t words[GH__POC_DIGEST_WORDS * GH__POC_DIGESTS_MAX], pool[GH__SEED_POOL];
	unsigned digests = (unsigned)integer(expected, "num_hashes");
	const json_t *list;
	gh_error error = GH_ERROR_INIT;
	uint64_t seeds[4];
	gh__pcg64 rng;

	must(gh__poc_words(words, text(expected, "seed"), digests, &error), &error);
	check_words(expected, "entropy_words", words, (size_t)digests * GH__POC_DIGEST_WORDS);
	gh__seed_mix(pool, words, (size_t)digests * GH__POC_DIGEST_WORDS);
	if (json_object_get(expected, "mixed_pool"))
		check_words(expected, "mixed_pool", pool, GH__SEED_POOL);
	gh__seed_draw(seeds, 4, pool);
	list = list_of(expected, "seed_words_u64", 4);
	for (size_t i = 0; i < 4; i++)
		check(hex(json_array_get(list, i)) == seeds[i], "seed_words_u64[%zu]", i);
	must(gh__poc_seed(&rng, text(expected, "seed"), digests, &error), &error);
	return rng;
}

static void test_tail(const json_t *expected, const double *normals)
{
	const json_t *first = get(expected, "first_tail_samples_beyond_r");
	uint64_t count = 0;

	for (size_t i = 0; i < 10 * MILLION; i++) {
		const json_t *sample = json_array_get(first, count);

		if (fabs(normals[i]) <= 0x1.d3bb48209ad33p+1)
			continue;
		count++;
		if (sample)
			check(integer(sample, "index") == i &&
				      real(get(sample, "value")) == normals[i],
			      "tail: %zu %a", i, normals[i]);
	}
	check(count == integer(expected, "count_beyond_r_in_first_10000000"), "tail: %zu samples",
	      (size_t)count);
}

static void test_stream(const json_t *expected)
{
	const json_t *raw = list_of(expected, "raw_u64_first16", 16);
	gh__pcg64 start = test_seed(expected), rng = start;
	double *normals = allocate(10 * MILLION + 1, sizeof *normals);
	uint16_t *narrow = allocate(MILLION, sizeof *narrow);
	double *again = allocate(10 * MILLION + 1, sizeof *again);
	uint64_t draws = 0;
	size_t i;

	check(start.state == hex128(text(expected, "pcg_state")), "pcg_state");
	check(start.inc == hex128(text(expected, "pcg_inc")), "pcg_inc");
	for (i = 0; i < 16; i++)
		check(hex(json_array_get(raw, i)) == gh__pcg64_draw(&rng), "raw_u64_first16[%zu]",
		      i);

	rng = start;
	for (i = 0; i <= 10 * MILLION; i++) {
		uint32_t taken = 0;

		normals[i] = gh__normal(&tables, &rng, &taken);
		draws += taken;
	}
	check(draws == integer(expected, "raw_draws_for_first_10000001_normals"), "draws");
	check(rng.state == hex128(text(expected, "pcg_state_after_10000001_normals")), "state");
	rng = start;
	gh__pcg64_jump(&rng, draws);
	check(rng.state == hex128(text(expected, "pcg_state_after_10000001_normals")), "jump");
	check_reals(expected, "normals_first32", normals, 32);
	check(normals[MILLION] == real(get(expected, "normal_at_1000000")), "normal_at_1000000");
	check(normals[10 * MILLION] == real(get(expected, "normal_at_10000000")),
	      "normal_at_10000000");
	check_hash(expected, "sha256_normals_first_1000000_f64", normals, 8 * MILLION);
	check_hash(expected, "sha256_normals_first_10000000_f64", normals, 80 * MILLION);
	test_tail(expected, normals);

	fill(again, GH_F64, 10 * MILLION + 1, 0.0, &start, 2);
	check_hash(expected, "sha256_normals_first_10000000_f64", again, 80 * MILLION);
	check(again[10 * MILLION] == normals[10 * MILLION], "two threads: normal_at_10000000");
	fill(narrow, GH_F16, MILLION, 0.02, &start, 1);
	check_f16(expected, "pool_first8_f16", narrow, 8);
	check_hash(expected, "sha256_pool_first_1000000_f16", narrow, 2 * MILLION);
	fill(narrow, GH_F16, MILLION, 0.0, &start, 1);
	check_hash(expected, "sha256_embed_first_1000000_f16", narrow, 2 * MILLION);
	free(again);
	free(narrow);
	free(normals);
}

static void test_permutation(const json_t *expected)
{
	uint32_t count = (uint32_t)integer(expected, "n");
	uint32_t *permutation = allocate(count, sizeof *permutation);
	uint16_t *narrow = allocate(count, sizeof *narrow);
	int64_t *wide = allocate(count, sizeof *wide);
	gh__pcg64 from_text = test_seed(expected), rng;
	const json_t *first = list_of(expected, "first16", 16);
	const json_t *last = list_of(expected, "last16", 16);
	gh_error error = GH_ERROR_INIT;

	must(gh__poc_seed_permutation(&rng, text(expected, "block_hash"),
				      text(expected, "public_key"), integer(expected, "nonce"),
				      &error),
	     &error);
	check(rng.state == from_text.state && rng.inc == from_text.inc, "permutation: seed");
	gh__poc_permutation(permutation, count, &rng);
	for (uint32_t i = 0; i < count; i++) {
		narrow[i] = (uint16_t)permutation[i];
		wide[i] = permutation[i];
	}
	for (size_t i = 0; i < 16; i++) {
		check(json_integer_value(json_array_get(first, i)) == wide[i], "first16[%zu]", i);
		check(json_integer_value(json_array_get(last, i)) == wide[count - 16 + i],
		      "last16[%zu]", i);
	}
	check_hash(expected, "sha256_u16", narrow, count * sizeof *narrow);
	check_hash(expected, "sha256_i64", wide, count * sizeof *wide);
	free(wide);
	free(narrow);
	free(permutation);
}

static void test_target(const json_t *expected)
{
	uint32_t count = (uint32_t)integer(expected, "vocab_size");
	double *target = allocate(count, sizeof *target);
	gh__pcg64 from_text, rng;
	gh_error error = GH_ERROR_INIT;

	must(gh__poc_seed(&from_text, text(expected, "seed"),
			  (unsigned)integer(expected, "num_hashes"), &error),
	     &error);
	must(gh__poc_seed_target(&rng, text(expected, "block_hash"), &error), &error);
	check(rng.state == from_text.state && rng.inc == from_text.inc, "target: seed");
	fill(target, GH_F64, count, 0.0, &rng, 1);
	check_hash(expected, "sha256_unnormalised_f64", target, count * sizeof *target);
	check(gh__poc_norm(target, count) == real(get(expected, "norm")), "norm");
	must(gh__poc_target(target, count, &tables, text(expected, "block_hash"), &error), &error);
	check_reals(expected, "first8", target, 8);
	check_hash(expected, "sha256_f64", target, count * sizeof *target);
	free(target);
}

static void test_input(const json_t *expected)
{
	size_t count = integer(expected, "seq_len") * integer(expected, "dim");
	uint16_t *input = allocate(count, sizeof *input);
	gh__pcg64 from_text, rng;
	gh_error error = GH_ERROR_INIT;

	must(gh__poc_seed(&from_text, text(expected, "seed"), 4, &error), &error);
	must(gh__poc_seed_input(&rng, text(expected, "block_hash"), text(expected, "public_key"),
				integer(expected, "nonce"), &error),
	     &error);
	check(rng.state == from_text.state && rng.inc == from_text.inc, "input: seed");
	fill(input, GH_F16, count, 0.0, &rng, 2);
	check_f16(expected, "first8_f16", input, 8);
	check_f16(expected, "last4_f16", input + count - 4, 4);
	check_hash(expected, "sha256_f16", input, count * sizeof *input);
	free(input);
}

/* ---- distances and verdicts ---- */

static double cosine(const float *logits, const uint32_t *permutation, const double *target,
		     uint32_t count)
{
	double product = 0.0, squares = 0.0;

	for (uint32_t i = 0; i < count; i++) {
		double y = (double)logits[permutation[i]];

		product += y * target[i];
		squares += y * y;
	}
	return product / sqrt(squares);
}

static void test_distance(const json_t *expected)
{
	uint32_t count = (uint32_t)integer(expected, "vocab_size");
	uint64_t nonce = integer(expected, "nonce");
	uint32_t *permutation = allocate(count, sizeof *permutation);
	uint16_t *narrow = allocate(count, sizeof *narrow);
	double *target = allocate(count, sizeof *target);
	float *logits = allocate(count, sizeof *logits);
	gh_error error = GH_ERROR_INIT;
	char seed[64], how[128];
	double distance, cos;
	gh__pcg64 rng;

	snprintf(seed, sizeof seed, "logits-%zu-%u", (size_t)nonce, count);
	snprintf(how, sizeof how, "seed %s, num_hashes 4, normal(0,0.02)", seed);
	check(strncmp(text(expected, "logits"), how, strlen(how)) == 0, "logits: other than %s",
	      how);
	must(gh__poc_seed(&rng, seed, 4, &error), &error);
	fill(narrow, GH_F16, count, 0.02, &rng, 1);
	for (uint32_t i = 0; i < count; i++)
		logits[i] = gh__f16_to_f32(narrow[i]);
	check_hash(expected, "sha256_logits_f32", logits, count * sizeof *logits);

	must(gh__poc_target(target, count, &tables, text(expected, "block_hash"), &error), &error);
	must(gh__poc_seed_permutation(&rng, text(expected, "block_hash"),
				      text(expected, "public_key"), nonce, &error),
	     &error);
	gh__poc_permutation(permutation, count, &rng);
	distance = gh__poc_distance(logits, permutation, target, count);
	check(distance == real(get(expected, "dist_exact_rule")), "distance: %a", distance);
	check(distance == real(get(expected, "dist_exact_rule_dec")), "distance: %.17g", distance);
	cos = cosine(logits, permutation, target, count);
	check(fabs(cos - real(get(expected, "cos_all_double"))) < 1e-12, "cosine: %.17g", cos);
	check(fabs(sqrt(2.0 - 2.0 * cos) - real(get(expected, "dist_all_double"))) < 1e-12,
	      "distance in f64: %.17g", sqrt(2.0 - 2.0 * cos));
	check(fabs(distance - real(get(expected, "dist_all_double"))) < 1e-7, "distances apart");
	free(logits);
	free(target);
	free(narrow);
	free(permutation);
}

static void test_binomial(const json_t *expected)
{
	const json_t *item, *cases = get(expected, "cases");
	double p = real(get(expected, "p"));
	size_t i;

	check(p == GH__POC_WRONG_BY_ACCIDENT, "p: %g", p);
	json_array_foreach(cases, i, item)
	{
		uint64_t k = integer(item, "k"), n = integer(item, "n");
		double pvalue = real(get(item, "pvalue"));
		double tail = gh__poc_binomial_tail(k, n, p);

		check(fabs(tail - pvalue) <= 1e-10 * pvalue, "%zu of %zu: %.17g", (size_t)k,
		      (size_t)n, tail);
	}
}

/* Every item of a list. */
static void each(const json_t *root, const char *key, void (*test)(const json_t *expected))
{
	const json_t *list = get(root, key);
	size_t i, before = failures;

	for (i = 0; i < json_array_size(list); i++)
		test(json_array_get(list, i));
	check(i > 0, "%s: empty", key);
	printf("%s: %zu, %zu failed\n", key, i, failures - before);
}

int main(void)
{
	json_t *root = open_golden();

	if (!root)
		return SKIPPED;
	test_ziggurat(get(root, "ziggurat"));
	each(root, "streams", test_stream);
	each(root, "permutations", test_permutation);
	each(root, "targets", test_target);
	each(root, "inputs", test_input);
	each(root, "distances", test_distance);
	test_binomial(get(root, "binomial"));
	return close_golden(root);
}
