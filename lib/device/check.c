#include "device/check.h"

#include "base/error.h"

/* Bounds of a descriptor's sizes: far above any model, and no product of two overflows. */
#define SIZE_BOUND (INT64_C(1) << 30)

enum { LENGTH_BOUND = 1 << 16 }; /* rows of a packed sequence: a thread holds its k and v */

static gh_status check_size(const char *what, int64_t value, gh_error *error)
{
	if (value < 1 || value > SIZE_BOUND)
		return gh__fail(error, GH_EINVAL, "%s: %lld is not between 1 and %lld", what,
				(long long)value, (long long)SIZE_BOUND);
	return GH_OK;
}

static gh_status check_act(const char *what, gh_dtype dtype, gh_error *error)
{
	if (dtype != GH_F32 && dtype != GH_F16 && dtype != GH_BF16)
		return gh__fail(error, GH_EINVAL, "%s: %s is not F32, F16 or BF16", what,
				gh_dtype_name(dtype));
	return GH_OK;
}

static gh_status check_kv(const gh__kv_layout *kv, gh_error *error)
{
	gh_status status = check_size("kv heads", kv->kv_heads, error);

	if (status == GH_OK)
		status = check_size("head_dim", kv->head_dim, error);
	if (status == GH_OK && kv->head_dim > 4096)
		status =
			gh__fail(error, GH_EINVAL, "head_dim: %d is above 4096", (int)kv->head_dim);
	if (status == GH_OK && kv->dtype != GH_DTYPE_NONE)
		status = check_size("kv block_size", kv->block_size, error);
	if (status == GH_OK && kv->dtype != GH_DTYPE_NONE && kv->dtype != GH_E4M3)
		status = check_act("kv dtype", kv->dtype, error);
	return status;
}

static gh_status check_embed(const gh__embed_desc *desc, gh_error *error)
{
	gh_status status = check_act("embed act", desc->act, error);

	return status == GH_OK ? check_size("embed hidden", desc->hidden, error) : status;
}

static gh_status check_norm(const gh__norm_desc *desc, gh_error *error)
{
	gh_status status = check_act("norm act", desc->act, error);

	if (status == GH_OK)
		status = check_size("norm n", desc->n, error);
	if (status == GH_OK && desc->rounding != GH__NORM_ROUND_TWICE)
		status = gh__fail(error, GH_ENOTSUP, "norm rounding: %d is unknown",
				  (int)desc->rounding);
	return status;
}

static gh_status check_linear(const gh__linear_desc *desc, gh_error *error)
{
	const bool narrow = desc->act == GH_E4M3 && desc->weight == GH_E4M3;
	gh_status status = narrow ? GH_OK : check_act("linear act", desc->act, error);

	if (status == GH_OK)
		status = check_act("linear out", desc->out, error);
	if (status == GH_OK && desc->weight != GH_E4M3)
		status = check_act("linear weight", desc->weight, error);
	if (status == GH_OK)
		status = check_size("linear n", desc->n, error);
	if (status == GH_OK)
		status = check_size("linear k", desc->k, error);
	if (status != GH_OK)
		return status;
	if (desc->prologue == GH__PROLOGUE_QUANTISE && desc->weight != GH_E4M3)
		return gh__fail(error, GH_EINVAL,
				"linear prologue: QUANTISE needs F8_E4M3 weights, not %s",
				gh_dtype_name(desc->weight));
	if (desc->prologue == GH__PROLOGUE_QUANTISE && narrow)
		return gh__fail(error, GH_EINVAL, "linear prologue: act is F8_E4M3 already");
	if (desc->epilogue == GH__EPILOGUE_SWIGLU && (desc->n % 2 != 0 || desc->bias))
		return gh__fail(error, GH_ENOTSUP,
				"linear epilogue: SWIGLU needs an even n and no bias");
	return GH_OK;
}

static gh_status check_rope(const gh__rope_desc *desc, gh_error *error)
{
	gh_status status = check_act("rope act", desc->act, error);

	if (status == GH_OK)
		status = check_kv(&desc->kv, error);
	if (status == GH_OK)
		status = check_size("rope heads", desc->heads, error);
	if (status == GH_OK && desc->kv.head_dim % 2 != 0)
		status = gh__fail(error, GH_EINVAL, "rope head_dim: %d is odd",
				  (int)desc->kv.head_dim);
	if (status == GH_OK && desc->pairing != GH__ROPE_HALF &&
	    desc->pairing != GH__ROPE_INTERLEAVED)
		status = gh__fail(error, GH_ENOTSUP, "rope pairing: %d is unknown",
				  (int)desc->pairing);
	if (status == GH_OK && desc->rounding != GH__ROPE_ROUND_PRODUCTS &&
	    desc->rounding != GH__ROPE_ROUND_ONCE)
		status = gh__fail(error, GH_ENOTSUP, "rope rounding: %d is unknown",
				  (int)desc->rounding);
	return status;
}

static gh_status check_attention(const gh__attention_desc *desc, gh_error *error)
{
	const bool paged = desc->source == GH__KV_PAGED;
	gh_status status;

	if (desc->softmax != (paged ? GH__SOFTMAX_ONLINE : GH__SOFTMAX_ROW) ||
	    (!paged && desc->source != GH__KV_PACKED) || !desc->causal)
		return gh__fail(error, GH_ENOTSUP,
				"attention: only causal ONLINE with PAGED or ROW with PACKED is "
				"here");
	status = check_act("attention act", desc->act, error);
	if (status == GH_OK)
		status = check_kv(&desc->kv, error);
	if (status == GH_OK)
		status = check_size("attention heads", desc->heads, error);
	if (status == GH_OK)
		status = check_size("attention group", desc->group, error);
	if (status == GH_OK && paged && desc->kv.dtype == GH_DTYPE_NONE)
		status = gh__fail(error, GH_EINVAL, "attention kv dtype: not set");
	if (status == GH_OK && !paged && (desc->length < 1 || desc->length > LENGTH_BOUND))
		status = gh__fail(error, GH_EINVAL, "attention length: %d is not between 1 and %d",
				  (int)desc->length, LENGTH_BOUND);
	if (status != GH_OK)
		return status;
	if (desc->head_first < 0 || desc->kv_first < 0 ||
	    desc->head_first / desc->group < desc->kv_first ||
	    ((int64_t)desc->head_first + desc->heads - 1) / desc->group - desc->kv_first >=
		    desc->kv.kv_heads)
		return gh__fail(error, GH_EINVAL,
				"attention heads: %d from %d, in groups of %d, lack kv heads "
				"among %d from %d",
				(int)desc->heads, (int)desc->head_first, (int)desc->group,
				(int)desc->kv.kv_heads, (int)desc->kv_first);
	return GH_OK;
}

static gh_status check_normals(const gh__normals_desc *desc, gh_error *error)
{
	if (desc->out != GH_F16)
		return gh__fail(error, GH_ENOTSUP, "normals out: %s is not F16",
				gh_dtype_name(desc->out));
	if (!(desc->deviation >= 0.0))
		return gh__fail(error, GH_EINVAL, "normals deviation: %g is below 0",
				desc->deviation);
	return check_size("normals numbers", desc->numbers, error);
}

gh_status gh__op_check(const gh__op_desc *desc, gh_error *error)
{
	gh_status status;

	switch (desc->kind) {
	case GH__OP_EMBED:
		return check_embed(&desc->embed, error);
	case GH__OP_NORM:
		return check_norm(&desc->norm, error);
	case GH__OP_LINEAR:
		return check_linear(&desc->linear, error);
	case GH__OP_ROPE:
		return check_rope(&desc->rope, error);
	case GH__OP_ATTENTION:
		return check_attention(&desc->attention, error);
	case GH__OP_GLU:
		status = check_act("glu act", desc->glu.act, error);
		return status == GH_OK ? check_size("glu n", desc->glu.n, error) : status;
	case GH__OP_SELECT:
		status = check_act("select act", desc->select.act, error);
		return status == GH_OK ? check_size("select n", desc->select.n, error) : status;
	case GH__OP_SAMPLE:
		status = check_act("sample logits", desc->sample.logits, error);
		return status == GH_OK ? check_size("sample vocab", desc->sample.vocab, error)
				       : status;
	case GH__OP_QUANTISE:
		status = check_act("quantise act", desc->quantise.act, error);
		return status == GH_OK ? check_size("quantise n", desc->quantise.n, error) : status;
	case GH__OP_READ:
		return GH_OK;
	case GH__OP_NORMALS:
		return check_normals(&desc->normals, error);
	}
	return gh__fail(error, GH_ENOTSUP, "operation: %d is unknown", (int)desc->kind);
}

/* The first code that is no number; count: none. */
static int64_t find_nan(const unsigned char *codes, int64_t count)
{
	int64_t i = 0;

	for (; i + 64 <= count; i += 64) {
		unsigned char found = 0;

		for (int j = 0; j < 64; j++)
			found |= (codes[i + j] & 0x7f) == 0x7f;
		if (found)
			break;
	}
	while (i < count && (codes[i] & 0x7f) != 0x7f)
		i++;
	return i;
}

static gh_status check_matrix_rows(const gh__op_desc *desc, int64_t row, int64_t rows,
				   gh_error *error)
{
	int64_t n = desc->linear.n;

	if (desc->kind != GH__OP_LINEAR)
		return gh__fail(error, GH_EINVAL, "operation: %d has no weights to pack",
				(int)desc->kind);
	if (row < 0 || rows < 0 || row > n || rows > n - row)
		return gh__fail(error, GH_EINVAL, "rows: %lld from %lld are not among %lld",
				(long long)rows, (long long)row, (long long)n);
	return GH_OK;
}

gh_status gh__op_check_pack(const gh__op_desc *desc, const void *src, int64_t row, int64_t rows,
			    gh_error *error)
{
	const gh__linear_desc *linear = &desc->linear;
	gh_status status = check_matrix_rows(desc, row, rows, error);
	int64_t at;

	if (status != GH_OK)
		return status;
	if (linear->weight != GH_E4M3)
		return GH_OK;
	at = find_nan(src, rows * linear->k);
	if (at < rows * linear->k)
		return gh__fail(error, GH_ENUMERIC, "weight row %lld, column %lld: not a number",
				(long long)(row + at / linear->k), (long long)(at % linear->k));
	return GH_OK;
}

gh_status gh__op_check_slice(const gh__op_desc *desc, const gh__slice *slice, int64_t row,
			     gh_error *error)
{
	const gh__linear_desc *linear = &desc->linear;
	int64_t size = (int64_t)slice->size;
	bool inside = slice->tiled ? slice->start < slice->size && slice->pool_size > 0
				   : slice->size <= slice->pool_size &&
					     slice->start <= slice->pool_size - slice->size;
	gh_status status = check_matrix_rows(desc, row, 0, error);

	if (status != GH_OK)
		return status;
	if (linear->weight != GH_F16 && linear->weight != GH_BF16)
		return gh__fail(error, GH_EINVAL, "slice: %s is not of 16 bits",
				gh_dtype_name(linear->weight));
	if (slice->size < 1 || slice->size > INT64_MAX || size % linear->k != 0)
		return gh__fail(error, GH_EINVAL, "slice: %llu elements are no rows of %lld",
				(unsigned long long)slice->size, (long long)linear->k);
	if (!inside)
		return gh__fail(error, GH_EINVAL,
				"slice: %llu elements from %llu are not in a pool of %llu",
				(unsigned long long)slice->size, (unsigned long long)slice->start,
				(unsigned long long)slice->pool_size);
	return check_matrix_rows(desc, row, size / linear->k, error);
}
