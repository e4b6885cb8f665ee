#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "device/narrow.h"
#include "poc/tensors.h"
#include "unit.h"

static gh_poc_params named(const char *name)
{
	gh_poc_params params;

	assert_ok(gh_poc_params_named(&params, name, error));
	return params;
}

static gh__poc_shape shape_of(const gh_poc_params *params)
{
	gh__poc_shape shape;

	assert_ok(gh__poc_shape_of(&shape, params, error));
	return shape;
}

START_TEST(test_names)
{
	gh_poc_params params;
	const char *name;
	size_t i;

	for (i = 0; (name = gh__poc_params_name(i)) != NULL; i++) {
		gh_poc_params set = named(name);
		gh__poc_shape shape = shape_of(&set);

		ck_assert_uint_eq(shape.tensor_count, 9 * set.n_layers + 3);
		ck_assert_uint_eq(shape.input_size, (uint64_t)(set.seq_len * set.dim));
	}
	ck_assert_uint_eq(i, 6);
	assert_fails(GH_ENOENT, "\"Mainnet\" is not a set",
		     gh_poc_params_named(&params, "Mainnet", error));
	assert_fails(GH_ENOENT, "inttest", gh_poc_params_named(&params, "", error));
}
END_TEST

#define REFUSED(words, field, value)                                                      \
	do {                                                                              \
		gh_poc_params params = named("inttest");                                  \
		gh__poc_shape shape = { .head_dim = 77 };                                 \
		params.field = (value);                                                   \
		assert_fails(GH_EINVAL, words, gh__poc_shape_of(&shape, &params, error)); \
		ck_assert_int_eq(shape.head_dim, 77);                                     \
	} while (0)

START_TEST(test_refused)
{
	static const int64_t absurd[] = { 0, -1, INT64_MIN, INT64_MAX, 1000000000000 };

	for (size_t i = 0; i < COUNT(absurd); i++) {
		REFUSED("dim: ", dim, absurd[i]);
		REFUSED("n_layers: ", n_layers, absurd[i]);
		REFUSED("n_heads: ", n_heads, absurd[i]);
		REFUSED("n_kv_heads: ", n_kv_heads, absurd[i]);
		REFUSED("vocab_size: ", vocab_size, absurd[i]);
		REFUSED("multiple_of: ", multiple_of, absurd[i]);
		REFUSED("seq_len: ", seq_len, absurd[i]);
	}
	REFUSED("dim: 1000000000 is not between 2 and 65536", dim, 1000000000);
	REFUSED("vocab_size: 1 is not", vocab_size, 1);
	REFUSED("seq_len: 1000000000 is not", seq_len, 1000000000);
	REFUSED("n_heads: 24 does not divide dim, 128", n_heads, 24);
	REFUSED("n_heads: 128 heads of an odd size, 1", n_heads, 128);
	REFUSED("n_kv_heads: 3 does not divide n_heads, 16", n_kv_heads, 3);
	REFUSED("n_kv_heads: 32 does not divide", n_kv_heads, 32);
	REFUSED("rope_theta: nan", rope_theta, NAN);
	REFUSED("rope_theta: inf", rope_theta, INFINITY);
	REFUSED("rope_theta: 0 ", rope_theta, 0.0);
	REFUSED("norm_eps: nan", norm_eps, NAN);
	REFUSED("norm_eps: -1e-05", norm_eps, -1e-5);
	REFUSED("ffn_dim_multiplier: nan", ffn_dim_multiplier, NAN);
	REFUSED("ffn_dim_multiplier: inf", ffn_dim_multiplier, INFINITY);
	REFUSED("ffn_dim_multiplier: -1", ffn_dim_multiplier, -1.0);
	REFUSED("ffn_dim_multiplier: 0 makes a feed-forward of 0", ffn_dim_multiplier, 0.0);
	REFUSED("ffn_dim_multiplier: 100000 makes", ffn_dim_multiplier, 1e5);
}
END_TEST

/* The largest of everything: nothing wraps. */
START_TEST(test_largest)
{
	gh_poc_params params = { .dim = GH__POC_DIM_MAX,
				 .n_layers = GH__POC_LAYERS_MAX,
				 .n_heads = 1,
				 .n_kv_heads = 1,
				 .vocab_size = GH__POC_VOCAB_MAX,
				 .ffn_dim_multiplier = 96.0,
				 .multiple_of = 1 << 20,
				 .norm_eps = 0.0,
				 .rope_theta = 1.0,
				 .seq_len = GH__POC_SEQ_LEN_MAX };
	gh__poc_shape shape = shape_of(&params);
	double total = 0.0;

	ck_assert_int_eq(shape.hidden, GH__POC_HIDDEN_MAX);
	for (uint32_t i = 0; i < shape.tensor_count; i++) {
		gh__poc_tensor tensor;

		gh__poc_tensor_at(&tensor, i, &params, &shape);
		total += (double)tensor.size;
	}
	ck_assert(total == (double)shape.total_size && total < 0x1p53);
	params.ffn_dim_multiplier = 95.0; /* 16602390, which its multiple takes to the bound */
	shape_of(&params);
	params.multiple_of = 1000000;
	params.ffn_dim_multiplier = 96.0;
	assert_fails(GH_EINVAL, "multiple_of: 1000000 makes",
		     gh__poc_shape_of(&shape, &params, error));
}
END_TEST

START_TEST(test_least_pool)
{
	gh_poc_params params = named("inttest");
	gh__poc_shape shape;

	params.n_layers = 1;
	params.vocab_size = 2;
	params.dim = 16;
	params.n_heads = 4;
	params.n_kv_heads = 2;
	params.ffn_dim_multiplier = 1.0;
	params.multiple_of = 1;
	shape = shape_of(&params);
	ck_assert_int_eq(shape.head_dim, 4);
	ck_assert_int_eq(shape.kv_dim, 8);
	ck_assert_int_eq(shape.hidden, 42);
	ck_assert_uint_eq(shape.layer_size, 16 * 16 * 2 + 8 * 16 * 2 + 3 * 42 * 16 + 2 * 16);
	ck_assert_uint_eq(shape.total_size, 2 * 2 * 16 + shape.layer_size + 16);
	ck_assert_uint_eq(shape.pool_size, 50000);
}
END_TEST

START_TEST(test_tensors)
{
	gh_poc_params params = named("devtest");
	gh__poc_shape shape = shape_of(&params);
	uint64_t total = 0;
	gh__poc_tensor t;

	for (uint32_t i = 0; i < shape.tensor_count; i++) {
		gh__poc_tensor_at(&t, i, &params, &shape);
		ck_assert_uint_eq(gh__poc_tensor_index(t.part, t.layer, &params), i);
		ck_assert_uint_eq(t.size, t.dims[0] * t.dims[1]);
		total += t.size;
	}
	ck_assert_uint_eq(total, shape.total_size);
	ck_assert_str_eq(t.name, "output.weight");
	gh__poc_tensor_at(&t, gh__poc_tensor_index(GH__POC_W2, 15, &params), &params, &shape);
	ck_assert_str_eq(t.name, "layers.15.feed_forward.w2.weight");
	ck_assert_uint_eq(t.dims[0], 512);
	ck_assert_uint_eq(t.dims[1], 2048);
	gh__poc_tensor_at(&t, gh__poc_tensor_index(GH__POC_FFN_NORM, 3, &params), &params, &shape);
	ck_assert_str_eq(t.name, "layers.3.ffn_norm.weight");
	ck_assert_int_eq(t.rank, 1);
	ck_assert_uint_eq(t.dims[0], 512);
}
END_TEST

/* Pieces of every size, against the rule element by element. */
START_TEST(test_slices)
{
	enum { POOL = 100, SIZE_MAX_TRIED = 350 };
	uint16_t pool[POOL], out[SIZE_MAX_TRIED + 1];

	for (size_t i = 0; i < POOL; i++)
		pool[i] = (uint16_t)(i + 1000);
	for (uint64_t size = 1; size <= SIZE_MAX_TRIED; size += 7) {
		gh__poc_tensor tensor = { .name = "some.weight", .size = size };
		gh__slice slice;

		assert_ok(gh__poc_slice_of(&slice, "AB", &tensor, POOL, error));
		ck_assert_int_eq(slice.tiled, size > POOL);
		ck_assert_uint_lt(slice.start, slice.tiled ? size : POOL - size + 1);
		for (uint64_t first = 0; first < size; first += 13) {
			uint64_t count = size - first;

			out[count] = 7;
			gh__poc_slice_copy(out, pool, &slice, first, count);
			for (uint64_t i = 0; i < count; i++) {
				uint64_t at = first + i + slice.start;

				ck_assert_uint_eq(out[i],
						  pool[slice.tiled ? at % size % POOL : at]);
			}
			ck_assert_uint_eq(out[count], 7);
		}
	}
}
END_TEST

static gh_status parse(gh_poc_params *out, const char *text, gh_error *error)
{
	return gh_poc_params_parse(out, text, strlen(text), error);
}

START_TEST(test_parse)
{
	gh_poc_params params, expected = named("mainnet");

	assert_ok(parse(&params, "{}", error));
	expected = named("default-py");
	ck_assert_mem_eq(&params, &expected, sizeof params);
	assert_ok(parse(&params,
			"{\"dim\":1792,\"n_layers\":64,\"n_heads\":64,\"n_kv_heads\":64,"
			"\"vocab_size\":8196,\"ffn_dim_multiplier\":10.0,\"multiple_of\":8192,"
			"\"norm_eps\":1e-5,\"rope_theta\":10000,\"use_scaled_rope\":false,"
			"\"seq_len\":256,\"other\":[1]}",
			error));
	expected = named("mainnet");
	ck_assert_mem_eq(&params, &expected, sizeof params);
	assert_ok(parse(&params, "{\"use_scaled_rope\":true}", error));
	ck_assert_int_eq(params.use_scaled_rope, 1);
	assert_fails(GH_EINVAL, "dim", parse(&params, "{\"dim\":\"1\"}", error));
	assert_fails(GH_EINVAL, "seq_len", parse(&params, "{\"seq_len\":1.5}", error));
	assert_fails(GH_EINVAL, "use_scaled_rope",
		     parse(&params, "{\"use_scaled_rope\":1}", error));
	assert_fails(GH_EINVAL, "", parse(&params, "[]", error));
	assert_fails(GH_EFORMAT, "", parse(&params, "{", error));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("poc_params");
	TCase *tc = tcase_create("params");

	tcase_add_test(tc, test_names);
	tcase_add_test(tc, test_refused);
	tcase_add_test(tc, test_largest);
	tcase_add_test(tc, test_least_pool);
	tcase_add_test(tc, test_tensors);
	tcase_add_test(tc, test_slices);
	tcase_add_test(tc, test_parse);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
