#include "device/cpu/lanes.h"

#include "device_attention.h"
#include "device_attention_row.h"
#include "tensor_core.h"

/*
 * Attention by a device that computes as tensor cores do: plain loops over the model of a step, to
 * the bit, with the exponential function and the order of sums that every device has.
 */
enum { DIM_MAX = 128, LENGTH_MAX = 512 };

static float exp_of(float x)
{
	return v8f_first(v8f_exp(v8f_set1(x)));
}

/* Whatever is at j goes to lane j mod 8. */
static float sum_of(const float *x, int64_t count)
{
	float lanes[8] = { 0 };

	for (int64_t j = 0; j < count; j++)
		lanes[j % 8] += x[j];
	return v8f_sum(v8f_load(lanes));
}

/* ---- over the paged cache ---- */

/* O, m and l of one split. */
typedef struct split_sums {
	float o[DIM_MAX], m, l;
} split_sums;

static void read_cells(const fixture *f, int part, int64_t head, int64_t position, float *out)
{
	for (int64_t i = 0; i < f->desc.kv.head_dim; i++)
		out[i] = get(f->desc.kv.dtype, f->cache, cell(f, part, head, position) + i);
}

static void plain_tile(const fixture *f, const float *q, int64_t head, int64_t first, int64_t count,
		       split_sums *sums)
{
	static float v[GH__ATTENTION_TILE][DIM_MAX];
	const gh_dtype act = f->desc.act;
	const int64_t dim = f->desc.kv.head_dim;
	float p[GH__ATTENTION_TILE], column[GH__ATTENTION_TILE], k[DIM_MAX], old = sums->m, factor;

	for (int64_t j = 0; j < count; j++) {
		read_cells(f, 0, head, first + j, k);
		read_cells(f, 1, head, first + j, v[j]);
		p[j] = plain_chain(act, q, k, dim, 0) * f->k_scale;
		p[j] = p[j] * f->desc.scale;
		sums->m = fmaxf(sums->m, p[j]);
	}
	factor = exp_of(old - sums->m);
	for (int64_t j = 0; j < count; j++)
		p[j] = exp_of(p[j] - sums->m);
	sums->l = sums->l * factor;
	sums->l = sums->l + sum_of(p, count);
	for (int64_t j = 0; j < count; j++)
		p[j] = rounded(act, p[j]);
	for (int64_t i = 0; i < dim; i++) {
		for (int64_t j = 0; j < count; j++)
			column[j] = v[j][i];
		sums->o[i] = plain_chain(act, p, column, count, sums->o[i] * factor);
	}
}

static void fold(split_sums *total, const split_sums *split, int64_t dim)
{
	float m = fmaxf(total->m, split->m);
	float a = exp_of(total->m - m), b = exp_of(split->m - m);

	for (int64_t i = 0; i < dim; i++)
		total->o[i] = fmaf(split->o[i], b, total->o[i] * a);
	total->l = fmaf(split->l, b, total->l * a);
	total->m = m;
}

static void plain_row(const fixture *f, int64_t row, int64_t head, float *y)
{
	const int64_t dim = f->desc.kv.head_dim, kv = head / f->desc.group, end = row + 1;
	split_sums total = { .m = -INFINITY };
	float q[DIM_MAX];

	for (int64_t i = 0; i < dim; i++)
		q[i] = get(f->desc.act, f->qkv, row * f->stride + head * dim + i);
	for (int64_t at = 0; at < end; at += GH__ATTENTION_SPLIT) {
		split_sums split = { .m = -INFINITY };

		for (int64_t j = at; j < end && j < at + GH__ATTENTION_SPLIT;
		     j += GH__ATTENTION_TILE)
			plain_tile(f, q, kv, j,
				   end - j < GH__ATTENTION_TILE ? end - j : GH__ATTENTION_TILE,
				   &split);
		fold(&total, &split, dim);
	}
	for (int64_t i = 0; i < dim; i++)
		y[i] = rounded(f->desc.act, total.o[i] * f->v_scale / total.l);
}

static const struct {
	gh_dtype act, kv;
	int32_t heads, group, dim;
	int64_t length;
} paged[] = {
	{ GH_F16, GH_F16, 3, 1, 4, 33 },     { GH_BF16, GH_BF16, 4, 2, 28, 140 },
	{ GH_F16, GH_E4M3, 6, 3, 64, 270 },  { GH_BF16, GH_E4M3, 2, 1, 128, 150 },
	{ GH_F16, GH_F16, 2, 2, 64, 1100 },  { GH_BF16, GH_BF16, 1, 1, 128, 1030 },
	{ GH_F16, GH_E4M3, 7, 7, 28, 1060 },
};

static fixture make(int i)
{
	fixture f;

	fixture_init(&f, paged[i].act, paged[i].kv, paged[i].heads, paged[i].group, paged[i].dim,
		     paged[i].length);
	return f;
}

static int64_t first_of(const fixture *f)
{
	return f->length > 1000 ? f->length - 140 : 0;
}

/* Rows [first, length) by all devices, which agree. Caller frees (gh__free). */
static char *attend_all(const fixture *f, int64_t first)
{
	size_t size = (size_t)((f->length - first) * width(f)) * size_of(f->desc.act);
	char *expected = NULL;

	for (int d = 0; d < CORES; d++) {
		gh__device *device = device_open(core_cases[d].threads, core_cases[d].flags);
		void *y = attend(device, f, first, f->length - first, 0);

		if (!expected)
			expected = gh__memdup(y, size);
		ck_assert_mem_eq(y, expected, size);
		gh__free(y);
		gh__device_close(device);
	}
	return expected;
}

START_TEST(paged_is_the_plain_loop)
{
	static const int64_t rows[] = { 0,   1,   14,  15,  16,   17,   31,   32,   126,
					127, 128, 129, 255, 1022, 1023, 1024, 1025, -1 };
	fixture f = make(_i);
	int64_t first = first_of(&f), dim = f.desc.kv.head_dim;
	char *got = attend_all(&f, first);
	float y[DIM_MAX];

	for (size_t i = 0; i < COUNT(rows); i++) {
		int64_t row = rows[i] < 0 ? f.length - 1 : rows[i];

		if (row < first || row >= f.length)
			continue;
		for (int64_t head = 0; head < f.desc.heads; head++) {
			int64_t at = (row - first) * width(&f) + head * dim;

			plain_row(&f, row, head, y);
			for (int64_t e = 0; e < dim; e++)
				ck_assert_msg(get(f.desc.act, got, at + e) == y[e],
					      "row %d head %d [%d]: %.9g, not %.9g", (int)row,
					      (int)head, (int)e, get(f.desc.act, got, at + e),
					      y[e]);
		}
	}
	gh__free(got);
	fixture_free(&f);
}
END_TEST

/* In chunks, beside others; and what lies behind a row's position never reaches it. */
START_TEST(paged_depends_on_nothing_else)
{
	static const int64_t chunks[] = { 1, 5, 16, 31, 128 };
	fixture f = make(_i);
	gh__device *device = device_open(2, CORE);
	size_t row = (size_t)width(&f) * size_of(f.desc.act);
	int64_t first = first_of(&f), dim = f.desc.kv.head_dim;
	char *all = attend(device, &f, first, f.length - first, 2), *y;

	for (size_t c = 0; c < COUNT(chunks); c++) {
		for (int64_t at = first; at < f.length; at += chunks[c] == 1 ? 17 : chunks[c]) {
			int64_t rows = f.length - at < chunks[c] ? f.length - at : chunks[c];

			y = attend(device, &f, at, rows, (int32_t)(c % 3));
			ck_assert_mem_eq(y, all + (size_t)(at - first) * row, (size_t)rows * row);
			gh__free(y);
		}
	}
	for (int64_t j = f.length - 10; j < f.length; j++) {
		for (int64_t i = 0; i < 2 * f.desc.kv.kv_heads * dim; i++)
			put(f.desc.kv.dtype, f.cache,
			    cell(&f, (int)(i % 2), i / 2 / dim, j) + i / 2 % dim, NAN);
	}
	y = attend(device, &f, first, f.length - first, 0);
	ck_assert_mem_eq(y, all, (size_t)(f.length - 10 - first) * row);
	ck_assert(isnan(get(f.desc.act, y, (f.length - 10 - first) * width(&f))));
	gh__free(y);
	gh__free(all);
	fixture_free(&f);
	gh__device_close(device);
}
END_TEST

/* f32, and a cache of the other narrow type, are as without; the same type is not. */
START_TEST(other_types_stay)
{
	static const gh_dtype types[][2] = { { GH_F32, GH_F32 },   { GH_F32, GH_E4M3 },
					     { GH_F16, GH_BF16 },  { GH_BF16, GH_F16 },
					     { GH_BF16, GH_BF16 }, { GH_F16, GH_E4M3 } };
	gh__device *core = device_open(1, CORE), *other = device_open(1, 0);
	size_t size;
	fixture f;
	void *y, *z;

	fixture_init(&f, types[_i][0], types[_i][1], 2, 1, 64, 200);
	size = (size_t)(f.length * width(&f)) * size_of(f.desc.act);
	y = attend(core, &f, 0, f.length, 0);
	z = attend(other, &f, 0, f.length, 0);
	ck_assert_int_eq(memcmp(y, z, size) == 0, _i < 4);
	gh__free(y);
	gh__free(z);
	fixture_free(&f);
	gh__device_close(core);
	gh__device_close(other);
}
END_TEST

/* ---- packed ---- */

static const packed_case packed[] = {
	{ GH_F16, 5, 1, 28, 64 },  { GH_F16, 4, 2, 4, 7 },    { GH_BF16, 7, 7, 64, 130 },
	{ GH_F16, 2, 1, 128, 90 }, { GH_BF16, 3, 3, 28, 33 }, { GH_F16, 16, 1, 32, 16 },
};

static void plain_packed_row(const packed_case *c, const void *qkv, int64_t row, int64_t head,
			     float *y)
{
	int64_t stride = packed_stride(c), k = (c->heads + head / c->group) * c->dim;
	int64_t v = k + kv_heads_of(c) * c->dim;
	float p[LENGTH_MAX], column[LENGTH_MAX], a[DIM_MAX], b[DIM_MAX], most = -INFINITY, sum;

	for (int64_t i = 0; i < c->dim; i++)
		a[i] = get(c->act, qkv, row * stride + head * c->dim + i);
	for (int64_t j = 0; j <= row; j++) {
		for (int64_t i = 0; i < c->dim; i++)
			b[i] = get(c->act, qkv, j * stride + k + i);
		p[j] = rounded(c->act, plain_chain(c->act, a, b, c->dim, 0));
		p[j] = rounded(c->act, p[j] * describe_packed(c).attention.scale);
		most = fmaxf(most, p[j]);
	}
	for (int64_t j = 0; j <= row; j++)
		p[j] = exp_of(p[j] - most);
	sum = sum_of(p, row + 1);
	for (int64_t j = 0; j <= row; j++)
		p[j] = rounded(c->act, p[j] / sum);
	for (int64_t i = 0; i < c->dim; i++) {
		for (int64_t j = 0; j <= row; j++)
			column[j] = get(c->act, qkv, j * stride + v + i);
		y[i] = rounded(c->act, plain_chain(c->act, p, column, row + 1, 0));
	}
}

START_TEST(packed_is_the_plain_loop)
{
	const packed_case *c = &packed[_i];
	int32_t n = c->length, alone[] = { 0, n }, short_one = n / 2 + 1;
	int32_t many[] = { 0, short_one, short_one + n, short_one + n, 2 * short_one + n };
	size_t row = (size_t)c->heads * (size_t)c->dim * size_of(c->act);
	uint64_t state = (uint64_t)_i + 1;
	void *qkv = random_numbers(c->act, n * packed_stride(c), 1.5, &state);
	void *first = NULL;
	float y[DIM_MAX];

	for (int d = 0; d < CORES; d++) {
		gh__device *device = device_open(core_cases[d].threads, core_cases[d].flags);
		void *got = attend_packed(device, c, qkv, alone, 1);
		char *together = attend_packed(device, c, qkv, many, 4);

		if (!first)
			first = gh__memdup(got, (size_t)n * row);
		ck_assert_mem_eq(got, first, (size_t)n * row);
		ck_assert_mem_eq(together, first, (size_t)short_one * row);
		ck_assert_mem_eq(together + (size_t)many[1] * row, first, (size_t)n * row);
		ck_assert_mem_eq(together + (size_t)many[3] * row, first, (size_t)short_one * row);
		gh__free(got);
		gh__free(together);
		gh__device_close(device);
	}
	for (int64_t i = 0; i < (int64_t)n * c->heads; i++) {
		plain_packed_row(c, qkv, i / c->heads, i % c->heads, y);
		for (int64_t e = 0; e < c->dim; e++)
			ck_assert_msg(get(c->act, first, i * c->dim + e) == y[e],
				      "row %d head %d [%d]: %.9g, not %.9g", (int)(i / c->heads),
				      (int)(i % c->heads), (int)e,
				      get(c->act, first, i * c->dim + e), y[e]);
	}
	gh__free(first);
	gh__free(qkv);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("tensor_core_attention");
	TCase *tcase = tcase_create("tensor_core_attention");

	suite_add_tcase(suite, tcase);
	tcase_add_loop_test(tcase, paged_is_the_plain_loop, 0, COUNT(paged));
	tcase_add_loop_test(tcase, paged_depends_on_nothing_else, 0, COUNT(paged));
	tcase_add_loop_test(tcase, other_types_stay, 0, 6);
	tcase_add_loop_test(tcase, packed_is_the_plain_loop, 0, COUNT(packed));
	return unit_main(suite);
}
