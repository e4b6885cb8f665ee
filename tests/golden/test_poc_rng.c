/*
 * Everything of the proofs that is exact, against the numbers that the network's own nodes make.
 * With the argument "long": the pool of the largest set instead.
 */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/digest.h"
#include "device/narrow.h"
#include "json/json.h"
#include "poc/binomial.h"
#include "poc/distance.h"
#include "poc/normals.h"
#include "poc/permutation.h"
#include "poc/rope.h"
#include "poc/seed.h"
#include "poc/tensors.h"

#define SKIPPED  77
#define FILE_MAX ((size_t)1 << 20)
#define MILLION  ((size_t)1000000)

static gh__normal_tables tables;
static size_t checks, failures;

static bool check(bool good, const char *format, ...) GH_PRINTF(2, 3);
static bool check(bool good, const char *format, ...)
{
	va_list args;

	checks++;
	if (good)
		return true;
	failures++;
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	return false;
}

/* Without memory or a digest there is nothing to compare. */
static void must(gh_status status, const gh_error *error)
{
	if (status == GH_OK)
		return;
	fprintf(stderr, "%s: %s\n", gh_status_name(status), error->text);
	exit(EXIT_FAILURE);
}

static void *allocate(size_t count, size_t size)
{
	void *memory = malloc(count * size);

	if (!memory)
		must(GH_ENOMEM, &(gh_error)GH_ERROR_INIT);
	return memory;
}

/* ---- reading ---- */

static const json_t *get(const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);

	if (!value) {
		fprintf(stderr, "%s: not in the file\n", key);
		exit(EXIT_FAILURE);
	}
	return value;
}

static const char *text(const json_t *object, const char *key)
{
	const char *value = json_string_value(get(object, key));

	return value ? value : "";
}

static uint64_t integer(const json_t *object, const char *key)
{
	return (uint64_t)json_integer_value(get(object, key));
}

/* Numbers that are too long for JSON are strings. */
static double real(const json_t *value)
{
	return json_is_string(value) ? strtod(json_string_value(value), NULL)
				     : json_number_value(value);
}

static uint64_t hex(const json_t *value)
{
	return strtoull(json_string_value(value), NULL, 16);
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

static void check_hash(const json_t *object, const char *key, const void *data, size_t size)
{
	unsigned char digest[GH__SHA256_SIZE];
	char digits[2 * GH__SHA256_SIZE + 1];
	gh_error error = GH_ERROR_INIT;

	must(gh__sha256(digest, data, size, &error), &error);
	for (size_t i = 0; i < sizeof digest; i++)
		snprintf(digits + 2 * i, 3, "%02x", digest[i]);
	check(strcmp(digits, text(object, key)) == 0, "%s: %s, %s expected", key, digits,
	      text(object, key));
}

static void check_f16(const json_t *object, const char *key, const uint16_t *values)
{
	const json_t *item, *list = get(object, key);
	size_t i;

	json_array_foreach(list, i, item)
		check(hex(item) == values[i], "%s[%zu]: %04x", key, i, values[i]);
}

static void check_words(const json_t *object, const char *key, const uint32_t *words)
{
	const json_t *item, *list = get(object, key);
	size_t i;

	json_array_foreach(list, i, item)
		check(hex(item) == words[i], "%s[%zu]: %08x", key, i, words[i]);
}

static void check_reals(const json_t *object, const char *key, const double *values)
{
	const json_t *item, *list = get(object, key);
	size_t i;

	json_array_foreach(list, i, item)
		check(real(item) == values[i], "%s[%zu]: %a", key, i, values[i]);
}

/* ---- generators ---- */

static void fill(void *out, gh_dtype dtype, size_t count, double deviation, const gh__pcg64 *start,
		 unsigned threads)
{
	gh__normals normals = { .tables = &tables,
				.start = *start,
				.out = out,
				.dtype = dtype,
				.count = count,
				.deviation = deviation,
				.threads = threads };
	gh_error error = GH_ERROR_INIT;

	must(gh__normals_fill(&normals, NULL, &error), &error);
}

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

/* Words and seed words of a seed string, and its generator. */
static gh__pcg64 test_seed(const json_t *expected)
{
	uint32_t words[GH__POC_DIGEST_WORDS * GH__POC_DIGESTS_MAX], pool[GH__SEED_POOL];
	unsigned digests = (unsigned)integer(expected, "num_hashes");
	const json_t *item, *list = get(expected, "seed_words_u64");
	gh_error error = GH_ERROR_INIT;
	uint64_t seeds[4];
	gh__pcg64 rng;
	size_t i;

	must(gh__poc_words(words, text(expected, "seed"), digests, &error), &error);
	check(json_array_size(get(expected, "entropy_words")) == 8 * (size_t)digests, "words");
	check_words(expected, "entropy_words", words);
	gh__seed_mix(pool, words, 8 * (size_t)digests);
	if (json_object_get(expected, "mixed_pool"))
		check_words(expected, "mixed_pool", pool);
	gh__seed_draw(seeds, 4, pool);
	json_array_foreach(list, i, item) check(hex(item) == seeds[i], "seed_words_u64[%zu]", i);
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
	const json_t *item, *raw = get(expected, "raw_u64_first16");
	gh__pcg64 start = test_seed(expected), rng = start;
	double *normals = allocate(10 * MILLION + 1, sizeof *normals);
	uint16_t *narrow = allocate(MILLION, sizeof *narrow);
	double *again = allocate(10 * MILLION + 1, sizeof *again);
	uint64_t draws = 0;
	size_t i;

	check(start.state == hex128(text(expected, "pcg_state")), "pcg_state");
	check(start.inc == hex128(text(expected, "pcg_inc")), "pcg_inc");
	json_array_foreach(raw, i, item)
		check(hex(item) == gh__pcg64_draw(&rng), "raw_u64_first16[%zu]", i);

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
	check_reals(expected, "normals_first32", normals);
	check(normals[MILLION] == real(get(expected, "normal_at_1000000")), "normal_at_1000000");
	check(normals[10 * MILLION] == real(get(expected, "normal_at_10000000")),
	      "normal_at_10000000");
	check_hash(expected, "sha256_normals_first_1000000_f64", normals, 8 * MILLION);
	check_hash(expected, "sha256_normals_first_10000000_f64", normals, 80 * MILLION);
	test_tail(expected, normals);

	fill(again, GH_F64, 10 * MILLION + 1, 0.0, &start, 2);
	check(memcmp(normals, again, (10 * MILLION + 1) * sizeof *again) == 0, "two threads");
	fill(narrow, GH_F16, MILLION, 0.02, &start, 1);
	check_f16(expected, "pool_first8_f16", narrow);
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
	const json_t *first = get(expected, "first16"), *last = get(expected, "last16");
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
	check_reals(expected, "first8", target);
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
	check_f16(expected, "first8_f16", input);
	check_f16(expected, "last4_f16", input + count - 4);
	check_hash(expected, "sha256_f16", input, count * sizeof *input);
	free(input);
}

/* ---- shapes and pools ---- */

static void test_params(const char *name, const json_t *expected, const gh__poc_params *params)
{
	check(params->dim == (int64_t)integer(expected, "dim"), "%s: dim", name);
	check(params->n_layers == (int64_t)integer(expected, "n_layers"), "%s: n_layers", name);
	check(params->n_heads == (int64_t)integer(expected, "n_heads"), "%s: n_heads", name);
	check(params->n_kv_heads == (int64_t)integer(expected, "n_kv_heads"), "%s: n_kv_heads",
	      name);
	check(params->vocab_size == (int64_t)integer(expected, "vocab_size"), "%s: vocab_size",
	      name);
	check(params->ffn_dim_multiplier == real(get(expected, "ffn_dim_multiplier")),
	      "%s: ffn_dim_multiplier", name);
	check(params->multiple_of == (int64_t)integer(expected, "multiple_of"), "%s: multiple_of",
	      name);
	check(params->norm_eps == real(get(expected, "norm_eps")), "%s: norm_eps", name);
	check(params->rope_theta == real(get(expected, "rope_theta")), "%s: rope_theta", name);
	check(params->use_scaled_rope == json_is_true(get(expected, "use_scaled_rope")),
	      "%s: use_scaled_rope", name);
	check(params->seq_len == (int64_t)integer(expected, "seq_len"), "%s: seq_len", name);
}

static void test_rope(const json_t *expected, gh__poc_params params, const gh__poc_shape *shape)
{
	size_t pairs = (size_t)shape->head_dim / 2;
	size_t count = (size_t)(params.seq_len * shape->head_dim);
	double *wide = allocate(pairs, sizeof *wide);
	float *frequencies = allocate(pairs, sizeof *frequencies);
	uint16_t *table = allocate(count, sizeof *table);

	gh__poc_rope_table(table, &params);
	check_hash(expected, "sha256_rope_f16_table_seq_pair_cossin", table, count * sizeof *table);
	for (int scaled = 1; scaled >= 0; scaled--) {
		params.use_scaled_rope &= scaled != 0;
		gh__poc_rope_frequencies(frequencies, &params);
		for (size_t i = 0; i < pairs; i++)
			wide[i] = (double)frequencies[i];
		check_reals(expected,
			    scaled ? "rope_freqs_f32_as_f64_hex"
				   : "rope_unscaled_freqs_f32_as_f64_hex",
			    wide);
	}
	free(table);
	free(frequencies);
	free(wide);
}

static bool find_tensor(gh__poc_tensor *out, const char *name, const gh__poc_params *params,
			const gh__poc_shape *shape)
{
	for (uint32_t i = 0; i < shape->tensor_count; i++) {
		gh__poc_tensor_at(out, i, params, shape);
		if (strcmp(out->name, name) == 0)
			return true;
	}
	return false;
}

static void test_tensor(const json_t *expected, const char *block_hash,
			const gh__poc_params *params, const gh__poc_shape *shape)
{
	const char *name = text(expected, "name");
	bool tiled = json_object_get(expected, "shift") != NULL;
	const json_t *dims = get(expected, "shape");
	gh__poc_tensor tensor;
	gh__poc_slice slice;
	uint32_t name_hash;
	gh_error error = GH_ERROR_INIT;

	if (!check(find_tensor(&tensor, name, params, shape), "%s: no such tensor", name))
		return;
	check((int)json_array_size(dims) == tensor.rank, "%s: rank", name);
	for (size_t i = 0; i < json_array_size(dims); i++)
		check((uint64_t)json_integer_value(json_array_get(dims, i)) == tensor.dims[i],
		      "%s: shape[%zu]", name, i);
	check(tensor.size == integer(expected, "numel"), "%s: numel", name);
	must(gh__poc_name_hash(&name_hash, block_hash, name, &error), &error);
	check(name_hash == integer(expected, "name_hash"), "%s: name_hash", name);
	must(gh__poc_slice_of(&slice, block_hash, &tensor, shape->pool_size, &error), &error);
	check(slice.tiled == tiled, "%s: tiled", name);
	check(slice.start == integer(expected, tiled ? "shift" : "start"), "%s: start", name);
}

static void test_shape(const char *name, const json_t *expected)
{
	const json_t *item, *list = get(expected, "parameters");
	gh__poc_params params;
	gh__poc_shape shape;
	gh_error error = GH_ERROR_INIT;
	size_t i;

	must(gh__poc_params_named(&params, name, &error), &error);
	must(gh__poc_shape_of(&shape, &params, &error), &error);
	test_params(name, get(expected, "params"), &params);
	check(shape.head_dim == (int64_t)integer(expected, "head_dim"), "%s: head_dim", name);
	check(shape.hidden == (int64_t)integer(expected, "hidden_dim"), "%s: hidden", name);
	check(shape.total_size == integer(expected, "total_params"), "%s: total", name);
	check(shape.pool_size == integer(expected, "pool_size"), "%s: pool", name);
	json_array_foreach(list, i, item)
		test_tensor(item, text(expected, "block_hash"), &params, &shape);
	test_rope(expected, params, &shape);
}

/* One tensor, or all in order, as the elements that the pool gives it. */
static void test_elements(const json_t *expected, const uint16_t *pool, const char *block_hash,
			  const gh__poc_params *params, const gh__poc_shape *shape)
{
	const json_t *hashes = get(expected, "sha256_param_f16");
	bool whole = json_object_get(expected, "sha256_all_params_in_order_f16") != NULL;
	uint16_t *all = whole ? allocate(shape->total_size, sizeof *all) : NULL;
	uint64_t at = 0;
	size_t found = 0;

	for (uint32_t i = 0; i < shape->tensor_count; i++) {
		gh__poc_tensor tensor;
		gh__poc_slice slice;
		gh_error error = GH_ERROR_INIT;
		uint16_t *elements;

		gh__poc_tensor_at(&tensor, i, params, shape);
		if (!whole && !json_object_get(hashes, tensor.name))
			continue;
		must(gh__poc_slice_of(&slice, block_hash, &tensor, shape->pool_size, &error),
		     &error);
		elements = whole ? all + at : allocate(tensor.size, sizeof *elements);
		gh__poc_slice_copy(elements, pool, &slice, 0, tensor.size);
		if (json_object_get(hashes, tensor.name)) {
			found++;
			check_hash(hashes, tensor.name, elements, tensor.size * sizeof *elements);
		}
		if (!whole)
			free(elements);
		at += tensor.size;
	}
	check(found == json_object_size(hashes), "tensors: %zu found", found);
	if (whole) {
		check(at == shape->total_size, "tensors: %zu elements", (size_t)at);
		check_hash(expected, "sha256_all_params_in_order_f16", all, at * sizeof *all);
	}
	free(all);
}

static void test_pool(const char *name, const json_t *expected)
{
	const char *block_hash = text(expected, "block_hash");
	gh__poc_params params;
	gh__poc_shape shape;
	gh_error error = GH_ERROR_INIT;
	gh__pcg64 rng;
	uint16_t *pool;

	must(gh__poc_params_named(&params, name, &error), &error);
	must(gh__poc_shape_of(&shape, &params, &error), &error);
	check(shape.pool_size == integer(expected, "pool_size"), "%s: pool_size", name);
	must(gh__poc_seed_pool(&rng, block_hash, &error), &error);
	pool = allocate(shape.pool_size, sizeof *pool);
	fill(pool, GH_F16, shape.pool_size, 0.02, &rng, 2);
	check_f16(expected, "pool_first8_f16", pool);
	if (json_object_get(expected, "pool_last8_f16"))
		check_f16(expected, "pool_last8_f16", pool + shape.pool_size - 8);
	check_hash(expected, "sha256_pool_f16", pool, shape.pool_size * sizeof *pool);
	test_elements(expected, pool, block_hash, &params, &shape);
	free(pool);
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
	const json_t *item, *list = get(root, key);
	size_t i, before = failures;

	json_array_foreach(list, i, item) test(item);
	check(i > 0, "%s: empty", key);
	printf("%s: %zu, %zu failed\n", key, i, failures - before);
}

int main(int argc, char **argv)
{
	bool is_long = argc > 1 && strcmp(argv[1], "long") == 0;
	gh_error error = GH_ERROR_INIT;
	const char *name;
	json_t *root, *item;

	if (!GH_TEST_GOLDEN[0])
		return SKIPPED;
	root = gh__json_read_file(GH_TEST_GOLDEN "/poc-v1-rng.json", FILE_MAX, &error);
	if (!root)
		must(GH_EFORMAT, &error);
	must(gh__normal_tables_make(&tables, &error), &error);
	if (!is_long) {
		test_ziggurat(get(root, "ziggurat"));
		each(root, "streams", test_stream);
		each(root, "permutations", test_permutation);
		each(root, "targets", test_target);
		each(root, "inputs", test_input);
		json_object_foreach((json_t *)get(root, "shapes"), name, item)
			test_shape(name, item);
		each(root, "distances", test_distance);
		test_binomial(get(root, "binomial"));
	}
	json_object_foreach((json_t *)get(root, "pools"), name, item)
	{
		if ((strcmp(name, "mainnet") == 0) != is_long)
			continue;
		test_pool(name, item);
		printf("pool of %s\n", name);
	}
	json_decref(root);
	printf("%zu of %zu checks\n", checks - failures, checks);
	return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
