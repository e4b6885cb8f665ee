#include "attention.cuh"

/*
 * Which kernels an attention is: of activations of f16 or bf16, with a cache of their own type or
 * e4m3, those with tensor cores; of others attention_fma.cu's. A step's short and long runs are two
 * launches, since which are there only the device can see; each leaves the other's alone.
 */
enum { WIDEST = 256, WIDEST_FMA = 2048 };

/* Bytes that splits on their way to the fold may take, and how many a row can have there. */
static const int64_t ROOM = 64 << 20;
static const int64_t SPLITS = 256;

static bool has_tensor_cores(const gh__attention_desc *desc)
{
	if (desc->act == GH_F32)
		return false;
	return desc->source == GH__KV_PACKED || desc->kv.dtype == desc->act ||
	       desc->kv.dtype == GH_E4M3;
}

bool gh__cuda_attention_here(const gh__launch *on, const gh__attention_desc *desc)
{
	const int32_t dim = desc->kv.head_dim;

	if (!has_tensor_cores(desc))
		return dim <= WIDEST_FMA;
	/* Where a block has 99 KiB of shared memory, a tile of wider heads does not fit. */
	return dim <= (on->arch == 86 || on->arch == 89 ? WIDEST / 2 : WIDEST);
}

static int32_t count_kv_heads(const gh__attention_desc *desc)
{
	return (desc->head_first + desc->heads - 1) / desc->group - desc->head_first / desc->group +
	       1;
}

static int64_t room_of(const gh__attention_desc *desc, int64_t rows)
{
	int64_t row = gh_partial_size(gh_padded_dim(desc->kv.head_dim)) * count_kv_heads(desc) *
		      (int64_t)sizeof(float);

	if (desc->source == GH__KV_PACKED || !has_tensor_cores(desc))
		return 0;
	return rows * SPLITS < ROOM / row ? rows * SPLITS * row : ROOM;
}

size_t gh__cuda_attention_workspace(const gh__launch *on, const gh__attention_desc *desc,
				    int64_t rows)
{
	(void)on;
	return (size_t)room_of(desc, rows);
}

void gh__cuda_attention_share(gh_attention *a, int64_t tiles, int64_t places)
{
	const int64_t size = gh_partial_size(gh_padded_dim(a->kv.head_dim));
	const int64_t want = (places + tiles - 1) / tiles;

	a->parts = 1;
	if (a->splits <= a->room / size / tiles)
		a->parts = want < a->splits ? (int32_t)want : a->splits;
}

static bool aligned(const void *at, int64_t bytes, int64_t unit)
{
	return (uintptr_t)at % (uintptr_t)unit == 0 && bytes % unit == 0;
}

/* The widest copies that k and v allow. */
static int32_t unit_of(const gh__attention_desc *desc, const gh__attention_args *args)
{
	const bool packed = desc->source == GH__KV_PACKED;
	const int64_t size = desc->kv.dtype == GH_E4M3 ? 1 : 2;
	const int64_t bytes = desc->kv.head_dim * size, stride = packed ? args->qkv_stride * 2 : 0;
	const void *at = packed ? args->qkv : args->cache;

	for (int32_t unit = 16; unit >= 8; unit /= 2) {
		if (aligned(at, bytes, unit) && stride % unit == 0)
			return unit;
	}
	return (int32_t)size;
}

static void set_rows(gh_attention *a, const gh__attention_desc *desc,
		     const gh__attention_args *args)
{
	const gh__step *host = args->host;
	const int64_t positions = (int64_t)host->blocks_max * desc->kv.block_size;
	const int64_t splits = (positions + GH__ATTENTION_SPLIT - 1) / GH__ATTENTION_SPLIT;

	a->tokens = host->tokens;
	a->sequences = host->sequences > 0 ? host->sequences : 1;
	a->most_heads = desc->group < desc->heads ? desc->group : desc->heads;
	a->all_rows = (int64_t)host->tokens * a->most_heads;
	a->splits = splits < 1 ? 1 : splits < INT32_MAX ? (int32_t)splits : INT32_MAX;
	a->room =
		args->workspace != NULL ? room_of(desc, host->tokens) / (int64_t)sizeof(float) : 0;
}

static gh_attention describe(const gh__attention_desc *desc, const gh__attention_args *args)
{
	const bool even = desc->kv.head_dim % 2 == 0, scaled = desc->kv.dtype == GH_E4M3;
	gh_attention a = {};

	a.qkv = (const char *)args->qkv;
	a.qkv_stride = args->qkv_stride;
	a.cache = desc->source == GH__KV_PACKED ? NULL : (const char *)args->cache;
	a.k_scale = scaled ? args->k_scale : 1.0F;
	a.v_scale = scaled ? args->v_scale : 1.0F;
	a.scale = desc->scale;
	a.step = args->step;
	a.y = (char *)args->y;
	a.y_stride = args->y_stride;
	a.partial = (float *)args->workspace;
	a.heads = desc->heads;
	a.group = desc->group;
	a.head_first = desc->head_first;
	a.kv_first = desc->kv_first;
	a.kv = desc->kv;
	a.kv_begin = desc->head_first / desc->group - desc->kv_first;
	a.kv_count = count_kv_heads(desc);
	a.parts = 1;
	a.unit = unit_of(desc, args);
	a.q_pairs = even && aligned(args->qkv, args->qkv_stride * 2, 4);
	a.y_pairs = even && aligned(args->y, args->y_stride * 2, 4);
	a.act = desc->act;
	set_rows(&a, desc, args);
	return a;
}

int gh__cuda_attention(const gh__launch *on, const gh__attention_desc *desc,
		       const gh__attention_args *args)
{
	gh_attention a = describe(desc, args);
	int code;

	if (a.tokens == 0)
		return 0;
	if (!has_tensor_cores(desc))
		return gh__cuda_attention_fma(on, &a);
	if (desc->source == GH__KV_PACKED && a.most_heads == 1 && desc->kv.head_dim <= WIDEST / 4 &&
	    desc->length <= GH_ATTENTION_WHOLE)
		return gh__cuda_attention_row_short(on, &a);
	if (desc->source == GH__KV_PACKED)
		return gh__cuda_attention_row(on, &a);
	code = gh__cuda_attention_decode(on, &a);
	if (code != 0 || desc->kv.head_dim > WIDEST / 2 || a.all_rows <= GH_ATTENTION_SHORT)
		return code;
	return gh__cuda_attention_online(on, &a);
}
