/*
 * Sizes, places and bytes of the weights that proofs are made with, against those of the network's
 * own nodes. With the argument "long": the pool of the largest set instead, 1.8 GB.
 */
#include "base/alloc.h"
#include "device/narrow.h"
#include "poc.h"
#include "poc/plan.h"
#include "poc/seed.h"
#include "poc/tensors.h"

static void test_params(const char *name, const json_t *expected, const gh_poc_params *params)
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

static void test_rope(const json_t *expected, gh_poc_params params, const gh__poc_shape *shape)
{
	size_t pairs = (size_t)shape->head_dim / 2;
	size_t count = (size_t)(params.seq_len * shape->head_dim);
	double *wide = allocate(pairs, sizeof *wide);
	uint16_t *table = allocate(count, sizeof *table);
	gh__model_desc desc;
	float *positions;

	gh__poc_describe(&desc, &params, shape);
	positions = gh__rope_table(&desc, params.seq_len);
	if (!positions)
		must(GH_ENOMEM, &(gh_error)GH_ERROR_INIT);
	/* Cosines, then sines, of a position there; a cosine and a sine of each pair in the
	 * file. */
	for (size_t i = 0; i < count; i++)
		table[i] = gh__f32_to_f16(
			positions[i - i % (2 * pairs) + i % 2 * pairs + i % (2 * pairs) / 2]);
	gh__free(positions);
	check_hash(expected, "sha256_rope_f16_table_seq_pair_cossin", table, count * sizeof *table);
	for (int scaled = 1; scaled >= 0; scaled--) {
		params.use_scaled_rope &= scaled != 0;
		gh__poc_describe(&desc, &params, shape);
		for (size_t i = 0; i < pairs; i++)
			wide[i] = (double)gh__rope_frequency(&desc, (int)i);
		check_reals(expected,
			    scaled ? "rope_freqs_f32_as_f64_hex"
				   : "rope_unscaled_freqs_f32_as_f64_hex",
			    wide, pairs);
	}
	free(table);
	free(wide);
}

static bool find_tensor(gh__poc_tensor *out, const char *name, const gh_poc_params *params,
			const gh__poc_shape *shape)
{
	for (uint32_t i = 0; i < shape->tensor_count; i++) {
		gh__poc_tensor_at(out, i, params, shape);
		if (strcmp(out->name, name) == 0)
			return true;
	}
	return false;
}

static void test_tensor(const json_t *expected, const char *block_hash, const gh_poc_params *params,
			const gh__poc_shape *shape)
{
	const char *name = text(expected, "name");
	bool tiled = json_object_get(expected, "shift") != NULL;
	const json_t *dims = get(expected, "shape");
	gh__poc_tensor tensor = { 0 };
	gh__slice slice;
	uint32_t name_hash;
	gh_error error = GH_ERROR_INIT;

	if (!check(find_tensor(&tensor, name, params, shape), "%s: no such tensor", name))
		return;
	check((int)json_array_size(dims) == tensor.rank, "%s: rank", name);
	for (int i = 0; i < tensor.rank && i < 2; i++)
		check((uint64_t)json_integer_value(json_array_get(dims, (size_t)i)) ==
			      tensor.dims[i],
		      "%s: shape[%d]", name, i);
	check(tensor.size == integer(expected, "numel"), "%s: numel", name);
	must(gh__poc_name_hash(&name_hash, block_hash, name, &error), &error);
	check(name_hash == integer(expected, "name_hash"), "%s: name_hash", name);
	must(gh__poc_slice_of(&slice, block_hash, &tensor, shape->pool_size, &error), &error);
	check(slice.tiled == tiled, "%s: tiled", name);
	check(slice.start == integer(expected, tiled ? "shift" : "start"), "%s: start", name);
}

static void test_shape(const char *name, const json_t *expected)
{
	const json_t *list = get(expected, "parameters");
	gh_poc_params params;
	gh__poc_shape shape;
	gh_error error = GH_ERROR_INIT;

	must(gh_poc_params_named(&params, name, &error), &error);
	must(gh__poc_shape_of(&shape, &params, &error), &error);
	test_params(name, get(expected, "params"), &params);
	check(shape.head_dim == (int64_t)integer(expected, "head_dim"), "%s: head_dim", name);
	check(shape.hidden == (int64_t)integer(expected, "hidden_dim"), "%s: hidden", name);
	check(shape.total_size == integer(expected, "total_params"), "%s: total", name);
	check(shape.pool_size == integer(expected, "pool_size"), "%s: pool", name);
	for (size_t i = 0; i < json_array_size(list); i++)
		test_tensor(json_array_get(list, i), text(expected, "block_hash"), &params, &shape);
	test_rope(expected, params, &shape);
}

/* One tensor, or all in order, as the elements that the pool gives it. */
static void test_elements(const json_t *expected, const uint16_t *pool, const char *block_hash,
			  const gh_poc_params *params, const gh__poc_shape *shape)
{
	const json_t *hashes = get(expected, "sha256_param_f16");
	bool whole = json_object_get(expected, "sha256_all_params_in_order_f16") != NULL;
	uint16_t *all = whole ? allocate(shape->total_size, sizeof *all) : NULL;
	uint64_t at = 0;
	size_t found = 0;

	for (uint32_t i = 0; i < shape->tensor_count; i++) {
		gh__poc_tensor tensor;
		gh__slice slice;
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
	gh_poc_params params;
	gh__poc_shape shape;
	gh_error error = GH_ERROR_INIT;
	gh__pcg64 rng;
	uint16_t *pool;

	must(gh_poc_params_named(&params, name, &error), &error);
	must(gh__poc_shape_of(&shape, &params, &error), &error);
	check(shape.pool_size == integer(expected, "pool_size"), "%s: pool_size", name);
	must(gh__poc_seed_pool(&rng, block_hash, &error), &error);
	pool = allocate(shape.pool_size, sizeof *pool);
	fill(pool, GH_F16, shape.pool_size, 0.02, &rng, 2);
	check_f16(expected, "pool_first8_f16", pool, 8);
	if (json_object_get(expected, "pool_last8_f16"))
		check_f16(expected, "pool_last8_f16", pool + shape.pool_size - 8, 8);
	check_hash(expected, "sha256_pool_f16", pool, shape.pool_size * sizeof *pool);
	test_elements(expected, pool, block_hash, &params, &shape);
	free(pool);
}

int main(int argc, char **argv)
{
	bool is_long = argc > 1 && strcmp(argv[1], "long") == 0;
	json_t *root = open_golden(), *item;
	const char *name;

	if (!root)
		return SKIPPED;
	if (!is_long) {
		json_object_foreach((json_t *)get(root, "shapes"), name, item)
			test_shape(name, item);
	}
	json_object_foreach((json_t *)get(root, "pools"), name, item)
	{
		if ((strcmp(name, "mainnet") == 0) != is_long)
			continue;
		test_pool(name, item);
		printf("pool of %s\n", name);
	}
	return close_golden(root);
}
