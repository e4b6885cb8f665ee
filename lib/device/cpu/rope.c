#include "device/cpu/twin.h"

/*
 * Rotary embedding of q and k in place, then k and v of every row into the cache.
 *
 * y_a = round(r(a c) - r(b s)), y_b = round(r(b c) + r(a s)), r as the descriptor says; nothing is
 * summed. A cache narrower than act rounds to nearest even; e4m3 divides by the scale first and
 * clamps. 6 FLOPs a pair; a row is read and written once, k and v written once more.
 */
typedef struct rope_job {
	const gh__rope_desc *desc;
	const gh__rope_args *args;
} rope_job;

/* products: what a product is rounded to. */
GH__INLINE void rotate(gh_dtype products, v8f *a, v8f *b, v8f c, v8f s)
{
	v8f ac = v8f_round(products, v8f_mul(*a, c));
	v8f as = v8f_round(products, v8f_mul(*a, s));
	v8f bc = v8f_round(products, v8f_mul(*b, c));
	v8f bs = v8f_round(products, v8f_mul(*b, s));

	*a = v8f_sub(ac, bs);
	*b = v8f_add(bc, as);
}

/* One head. Interleaved pairs are gathered into halves and scattered again. */
GH__INLINE void rotate_head(gh_dtype act, const gh__rope_desc *desc, char *head, const char *table)
{
	const gh_dtype products = desc->rounding == GH__ROPE_ROUND_ONCE ? GH_F32 : act;
	const int64_t dim = desc->kv.head_dim;
	const size_t size = v8_element(act);
	const int64_t half = dim / 2;

	for (int64_t i = 0; i < half; i += 8) {
		int64_t n = half - i < 8 ? half - i : 8;
		_Alignas(32) unsigned char pairs[2][32] = { { 0 } };
		v8f a, b;

		if (desc->pairing == GH__ROPE_HALF) {
			a = v8f_load_n(act, head, i, n);
			b = v8f_load_n(act, head, half + i, n);
		} else {
			for (size_t j = 0; j < 2 * (size_t)n; j++)
				memcpy(pairs[j % 2] + j / 2 * size,
				       head + (2 * (size_t)i + j) * size, size);
			a = v8f_load_as(act, pairs[0], 0);
			b = v8f_load_as(act, pairs[1], 0);
		}
		rotate(products, &a, &b, v8f_load_n(act, table, i, n),
		       v8f_load_n(act, table, half + i, n));
		if (desc->pairing == GH__ROPE_HALF) {
			v8f_store_n(act, head, i, a, n);
			v8f_store_n(act, head, half + i, b, n);
		} else {
			v8f_store_as(act, pairs[0], 0, a);
			v8f_store_as(act, pairs[1], 0, b);
			for (size_t j = 0; j < 2 * (size_t)n; j++)
				memcpy(head + (2 * (size_t)i + j) * size,
				       pairs[j % 2] + j / 2 * size, size);
		}
	}
}

GH__INLINE void write_head(gh_dtype act, gh_dtype kv, char *to, const char *from, float scale,
			   int64_t dim)
{
	for (int64_t i = 0; i < dim; i += 8) {
		v8f v = v8f_load_n(act, from, i, dim - i);

		if (kv == GH_E4M3)
			v = v8f_div(v, v8f_set1(scale));
		v8f_store_n(kv, to, i, v, dim - i);
	}
}

static void write_row(const rope_job *job, int64_t row, const char *k)
{
	const gh__kv_layout *kv = &job->desc->kv;
	const gh_dtype act = job->desc->act;
	const int64_t slot = job->args->slot[row];
	const size_t head_size = (size_t)kv->head_dim * v8_element(kv->dtype);
	const size_t from = (size_t)kv->head_dim * v8_element(act);

	if (slot < 0)
		return;
	for (int part = 0; part < 2; part++) {
		for (int64_t h = 0; h < kv->kv_heads; h++) {
			int64_t line = (slot / kv->block_size * 2 + part) * kv->kv_heads + h;
			char *to =
				(char *)job->args->cache +
				(size_t)(line * kv->block_size + slot % kv->block_size) * head_size;

			write_head(act, kv->dtype, to, k + (size_t)(part * kv->kv_heads + h) * from,
				   part ? job->args->v_scale : job->args->k_scale, kv->head_dim);
		}
	}
}

GH__INLINE void rope_rows_as(gh_dtype act, const rope_job *job, int64_t first, int64_t count)
{
	const gh__rope_desc *desc = job->desc;
	const gh__rope_args *args = job->args;
	const size_t head = (size_t)desc->kv.head_dim * v8_element(act);

	for (int64_t row = first; row < first + count; row++) {
		char *qkv = (char *)args->qkv + (size_t)(row * args->qkv_stride) * v8_element(act);
		const char *table = (const char *)args->table + (size_t)args->position[row] * head;

		for (int64_t h = 0; h < desc->heads + desc->kv.kv_heads; h++)
			rotate_head(act, desc, qkv + (size_t)h * head, table);
		if (desc->kv.dtype != GH_DTYPE_NONE)
			write_row(job, row, qkv + (size_t)desc->heads * head);
	}
}

static void rope_rows(void *arg, int64_t first, int64_t count)
{
	const rope_job *job = arg;

	switch (job->desc->act) {
	case GH_F16:
		rope_rows_as(GH_F16, job, first, count);
		break;
	case GH_BF16:
		rope_rows_as(GH_BF16, job, first, count);
		break;
	default:
		rope_rows_as(GH_F32, job, first, count);
		break;
	}
}

void GH__TWIN(gh__cpu_rope)(const gh__cpu *cpu, const gh__rope_desc *desc,
			    const gh__rope_args *args)
{
	rope_job job = { desc, args };
	int64_t width = (int64_t)(desc->heads + 2 * desc->kv.kv_heads) * desc->kv.head_dim;

	gh__cpu_rows(cpu, rope_rows, &job, args->m, 1 + 8192 / width);
}
