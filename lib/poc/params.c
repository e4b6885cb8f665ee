#include "poc/params.h"

#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stddef.h>
#include <string.h>

#include "base/error.h"
#include "json/json.h"
#include "poc/tensors.h"

/* Least pool, and its share of the total. */
#define POOL_MIN   50000
#define POOL_SHARE 0.05

static const struct {
	const char *name;
	gh_poc_params params;
} sets[] = {
	/*            dim layers heads  kv vocab   ffn  multiple  eps   theta  scaled   seq_len */
	{ "mainnet", { 1792, 64, 64, 64, 8196, 10.0, 8192, 1e-5, 10000.0, 0, 0, 256 } },
	{ "testnet", { 1024, 32, 32, 32, 8196, 10.0, 2048, 1e-5, 10000.0, 0, 0, 128 } },
	{ "devtest", { 512, 16, 16, 16, 8192, 1.3, 1024, 1e-5, 500000.0, 1, 0, 4 } },
	{ "inttest", { 128, 16, 16, 16, 128, 16.0, 1024, 1e-5, 500000.0, 0, 0, 4 } },
	{ "default-py", { 2048, 16, 16, 16, 8192, 1.3, 1024, 1e-5, 500000.0, 0, 0, 16 } },
	{ "default-api", { 512, 64, 128, 128, 8192, 16.0, 1024, 1e-5, 500000.0, 1, 0, 4 } },
};

gh_status gh_poc_params_named(gh_poc_params *out, const char *name, gh_error *error)
{
	for (size_t i = 0; i < sizeof sets / sizeof sets[0]; i++) {
		if (strcmp(sets[i].name, name) == 0) {
			*out = sets[i].params;
			return GH_OK;
		}
	}
	return gh__fail(error, GH_ENOENT,
			"params: \"%.40s\" is not a set; mainnet, testnet, devtest, inttest, "
			"default-py or default-api expected",
			name);
}

const char *gh__poc_params_name(size_t index)
{
	return index < sizeof sets / sizeof sets[0] ? sets[index].name : NULL;
}

/* The fields as JSON names them. */
static const struct {
	const char *name;
	size_t offset;
	bool real;
} fields[] = {
	{ "dim", offsetof(gh_poc_params, dim), false },
	{ "n_layers", offsetof(gh_poc_params, n_layers), false },
	{ "n_heads", offsetof(gh_poc_params, n_heads), false },
	{ "n_kv_heads", offsetof(gh_poc_params, n_kv_heads), false },
	{ "vocab_size", offsetof(gh_poc_params, vocab_size), false },
	{ "ffn_dim_multiplier", offsetof(gh_poc_params, ffn_dim_multiplier), true },
	{ "multiple_of", offsetof(gh_poc_params, multiple_of), false },
	{ "norm_eps", offsetof(gh_poc_params, norm_eps), true },
	{ "rope_theta", offsetof(gh_poc_params, rope_theta), true },
	{ "seq_len", offsetof(gh_poc_params, seq_len), false },
};

gh_status gh_poc_params_parse(gh_poc_params *out, const char *text, size_t len, gh_error *error)
{
	json_t *tree = gh__json_parse(text, len, true, error);
	gh__json_reader r;
	bool scaled;
	gh_status status = tree ? gh_poc_params_named(out, "default-py", error) : GH_EFORMAT;

	if (status != GH_OK) {
		json_decref(tree);
		return status;
	}
	gh__json_root(&r, tree, "params", error);
	for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
		void *to = (char *)out + fields[i].offset;

		if (fields[i].real)
			gh__json_real(&r, fields[i].name, -DBL_MAX, DBL_MAX, to);
		else
			gh__json_int(&r, fields[i].name, INT64_MIN, INT64_MAX, to);
	}
	if (gh__json_bool(&r, "use_scaled_rope", &scaled))
		out->use_scaled_rope = scaled;
	status = gh__json_reader_status(&r);
	json_decref(tree);
	return status;
}

bool gh__poc_params_equal(const gh_poc_params *a, const gh_poc_params *b)
{
	return a->dim == b->dim && a->n_layers == b->n_layers && a->n_heads == b->n_heads &&
	       a->n_kv_heads == b->n_kv_heads && a->vocab_size == b->vocab_size &&
	       a->ffn_dim_multiplier == b->ffn_dim_multiplier && a->multiple_of == b->multiple_of &&
	       a->norm_eps == b->norm_eps && a->rope_theta == b->rope_theta &&
	       a->use_scaled_rope == b->use_scaled_rope && a->seq_len == b->seq_len;
}

static gh_status check_int(const char *name, int64_t value, int64_t least, int64_t most,
			   gh_error *error)
{
	if (value < least || value > most)
		return gh__fail(error, GH_EINVAL,
				"%s: %" PRId64 " is not between %" PRId64 " and %" PRId64, name,
				value, least, most);
	return GH_OK;
}

/* NaN is not between anything. */
static gh_status check_real(const char *name, double value, double least, double most,
			    gh_error *error)
{
	if (!(value >= least && value <= most))
		return gh__fail(error, GH_EINVAL, "%s: %g is not between %g and %g", name, value,
				least, most);
	return GH_OK;
}

static gh_status check_divides(const char *name, int64_t value, const char *whole, int64_t of,
			       gh_error *error)
{
	if (of % value != 0)
		return gh__fail(error, GH_EINVAL, "%s: %" PRId64 " does not divide %s, %" PRId64,
				name, value, whole, of);
	return GH_OK;
}

static gh_status check_fields(const gh_poc_params *p, gh_error *error)
{
	gh_status status = check_int("dim", p->dim, 2, GH__POC_DIM_MAX, error);

	if (status == GH_OK)
		status = check_int("n_layers", p->n_layers, 1, GH__POC_LAYERS_MAX, error);
	if (status == GH_OK)
		status = check_int("n_heads", p->n_heads, 1, GH__POC_DIM_MAX, error);
	if (status == GH_OK)
		status = check_int("n_kv_heads", p->n_kv_heads, 1, GH__POC_DIM_MAX, error);
	if (status == GH_OK) /* of one logit every distance would be 0 or 2 */
		status = check_int("vocab_size", p->vocab_size, 2, GH__POC_VOCAB_MAX, error);
	if (status == GH_OK)
		status = check_real("ffn_dim_multiplier", p->ffn_dim_multiplier, 0.0,
				    GH__POC_HIDDEN_MAX, error);
	if (status == GH_OK)
		status = check_int("multiple_of", p->multiple_of, 1, GH__POC_MULTIPLE_MAX, error);
	if (status == GH_OK)
		status = check_real("norm_eps", p->norm_eps, 0.0, 1.0, error);
	if (status == GH_OK) /* its powers, and one over them, stay f32 numbers */
		status = check_real("rope_theta", p->rope_theta, 1.0, 1e30, error);
	if (status == GH_OK)
		status = check_int("seq_len", p->seq_len, 1, GH__POC_SEQ_LEN_MAX, error);
	if (status == GH_OK)
		status = check_divides("n_heads", p->n_heads, "dim", p->dim, error);
	if (status == GH_OK)
		status = check_divides("n_kv_heads", p->n_kv_heads, "n_heads", p->n_heads, error);
	if (status == GH_OK && p->dim / p->n_heads % 2 != 0)
		return gh__fail(error, GH_EINVAL,
				"n_heads: %" PRId64 " heads of an odd size, %" PRId64
				"; pairs to be rotated expected",
				p->n_heads, p->dim / p->n_heads);
	return status;
}

static gh_status derive_hidden(int64_t *out, const gh_poc_params *p, gh_error *error)
{
	double wide = trunc((double)(2 * (4 * p->dim)) / 3);
	double wanted = trunc(p->ffn_dim_multiplier * wide);
	int64_t hidden;

	if (!(wanted >= 1 && wanted <= GH__POC_HIDDEN_MAX))
		return gh__fail(error, GH_EINVAL,
				"ffn_dim_multiplier: %g makes a feed-forward of %.0f; 1 to %d "
				"expected",
				p->ffn_dim_multiplier, wanted, GH__POC_HIDDEN_MAX);
	hidden = ((int64_t)wanted + p->multiple_of - 1) / p->multiple_of * p->multiple_of;
	if (hidden > GH__POC_HIDDEN_MAX)
		return gh__fail(error, GH_EINVAL,
				"multiple_of: %" PRId64 " makes a feed-forward of %" PRId64
				"; at most %d expected",
				p->multiple_of, hidden, GH__POC_HIDDEN_MAX);
	*out = hidden;
	return GH_OK;
}

gh_status gh__poc_shape_of(gh__poc_shape *out, const gh_poc_params *params, gh_error *error)
{
	gh__poc_shape s = { 0 };
	gh_status status = check_fields(params, error);

	if (status == GH_OK)
		status = derive_hidden(&s.hidden, params, error);
	if (status != GH_OK)
		return status;
	s.head_dim = params->dim / params->n_heads;
	s.kv_dim = params->n_kv_heads * s.head_dim;
	s.layer_size = (uint64_t)(2 * params->dim * params->dim + 2 * s.kv_dim * params->dim +
				  3 * s.hidden * params->dim + 2 * params->dim);
	s.total_size = (uint64_t)(2 * params->vocab_size * params->dim + params->dim) +
		       s.layer_size * (uint64_t)params->n_layers;
	s.pool_size = (uint64_t)((double)s.total_size * POOL_SHARE);
	if (s.pool_size < POOL_MIN)
		s.pool_size = POOL_MIN;
	s.input_size = (uint64_t)(params->seq_len * params->dim);
	s.tensor_count = gh__poc_tensor_index(GH__POC_OUTPUT, 0, params) + 1;
	*out = s;
	return GH_OK;
}
