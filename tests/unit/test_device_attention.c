#include "device_attention.h"

/*
 * ATTENTION against doubles with the same rounding points, and against itself: however a prompt is
 * cut, whoever shares the step, wherever its blocks lie, a row's bits are the same.
 */
/* One row and head in doubles; probabilities rounded where the operation rounds them. */
static void plain_row(const fixture *f, int64_t row, int64_t head, double *y, double *size)
{
	const gh__attention_desc *d = &f->desc;
	int64_t dim = d->kv.head_dim, kv = head / d->group;
	double s[GH__ATTENTION_TILE], m = -INFINITY, l = 0;
	double k_scale = d->kv.dtype == GH_E4M3 ? f->k_scale : 1;
	double v_scale = d->kv.dtype == GH_E4M3 ? f->v_scale : 1;

	memset(y, 0, (size_t)dim * sizeof *y);
	memset(size, 0, (size_t)dim * sizeof *size);
	for (int64_t first = 0; first <= row; first += GH__ATTENTION_TILE) {
		int64_t count =
			row + 1 - first < GH__ATTENTION_TILE ? row + 1 - first : GH__ATTENTION_TILE;
		double old = m, factor;

		/* A new split rounds against a maximum of its own; only the rounding shows it. */
		if (first % GH__ATTENTION_SPLIT == 0)
			m = -INFINITY;
		for (int64_t j = 0; j < count; j++) {
			s[j] = 0;
			for (int64_t i = 0; i < dim; i++)
				s[j] += get(d->act, f->qkv, row * f->stride + head * dim + i) *
					k_scale *
					get(d->kv.dtype, f->cache, cell(f, 0, kv, first + j) + i);
			s[j] *= d->scale;
			m = fmax(m, s[j]);
		}
		factor = exp(old - m);
		for (int64_t i = 0; i < dim; i++)
			y[i] *= factor, size[i] *= factor;
		l *= factor;
		for (int64_t j = 0; j < count; j++) {
			double p = exp(s[j] - m);

			l += p;
			p = rounded(d->act, (float)p);
			for (int64_t i = 0; i < dim; i++) {
				double v = v_scale * get(d->kv.dtype, f->cache,
							 cell(f, 1, kv, first + j) + i);

				y[i] += p * v;
				size[i] += p * fabs(v);
			}
		}
	}
	for (int64_t i = 0; i < dim; i++)
		y[i] /= l, size[i] /= l;
}

static void check_against_doubles(const fixture *f, int64_t first, int64_t rows, const void *got)
{
	gh_dtype act = f->desc.act;
	int64_t dim = f->desc.kv.head_dim;
	double last = act == GH_F32 ? 0x1p-19 : act == GH_F16 ? 0x1p-10 : 0x1p-7;
	double y[256], size[256];

	for (int64_t i = 0; i < rows * f->desc.heads; i++) {
		int64_t row = i / f->desc.heads, head = i % f->desc.heads;

		plain_row(f, first + row, head, y, size);
		for (int64_t e = 0; e < dim; e++)
			ck_assert_double_eq_tol(get(act, got, row * width(f) + head * dim + e),
						y[e], last * (fabs(y[e]) + 0.3 * size[e]) + 1e-6);
	}
}

typedef struct attention_case {
	gh_dtype act, kv;
	int32_t heads, group, dim;
	int64_t length;
} attention_case;

static const attention_case attention_cases[] = {
	{ GH_F32, GH_F32, 1, 1, 8, 1 },       { GH_F32, GH_F32, 3, 1, 20, 33 },
	{ GH_F16, GH_F16, 6, 3, 16, 130 },    { GH_BF16, GH_BF16, 7, 7, 64, 257 },
	{ GH_F16, GH_E4M3, 4, 2, 24, 128 },   { GH_BF16, GH_F16, 2, 1, 128, 300 },
	{ GH_F32, GH_F32, 100, 100, 4, 150 }, { GH_F16, GH_F16, 2, 2, 16, 1100 },
	{ GH_BF16, GH_E4M3, 3, 3, 8, 2100 },
};

enum { CASES = sizeof attention_cases / sizeof *attention_cases };

static fixture make(int i)
{
	const attention_case *c = &attention_cases[i];
	fixture f;

	fixture_init(&f, c->act, c->kv, c->heads, c->group, c->dim, c->length);
	return f;
}

START_TEST(agrees_with_doubles)
{
	fixture f = make(_i);
	int64_t first = f.length > 1000 ? f.length - 140 : 0;
	int64_t rows = f.length - first;
	void *expected = NULL;

	for (int d = 0; d < DEVICE_CASES; d++) {
		gh__device *device = device_open(device_cases[d].threads, device_cases[d].flags);
		void *y = attend(device, &f, first, rows, 0);

		if (!expected)
			expected = gh__memdup(y, (size_t)(rows * width(&f)) * size_of(f.desc.act));
		ck_assert_mem_eq(y, expected, (size_t)(rows * width(&f)) * size_of(f.desc.act));
		gh__free(y);
		gh__device_close(device);
	}
	check_against_doubles(&f, first, rows, expected);
	gh__free(expected);
	fixture_free(&f);
}
END_TEST

/* Whole, in chunks, row by row; alone and beside others. */
START_TEST(does_not_see_how_it_is_cut)
{
	static const int64_t chunks[] = { 1, 5, 16, 31, 128, 500 };
	fixture f = make(_i);
	gh__device *device = device_open(2, 0);
	size_t row = (size_t)width(&f) * size_of(f.desc.act);
	char *all = attend(device, &f, 0, f.length, 3);

	for (size_t c = 0; c < sizeof chunks / sizeof *chunks; c++) {
		int64_t step = chunks[c] == 1 && f.length > 200 ? 97 : chunks[c];

		for (int64_t at = 0; at < f.length; at += step) {
			int64_t rows = f.length - at < chunks[c] ? f.length - at : chunks[c];
			char *y = attend(device, &f, at, rows, (int32_t)(c % 3));

			ck_assert_mem_eq(y, all + (size_t)at * row, (size_t)rows * row);
			gh__free(y);
		}
	}
	gh__free(all);
	fixture_free(&f);
	gh__device_close(device);
}
END_TEST

/* Later positions, of its own sequence or stale, never reach a row, not even as NaN. */
START_TEST(later_positions_do_not_reach_back)
{
	fixture f = make(_i);
	gh__device *device = device_open(1, 0);
	int64_t rows = f.length < 20 ? f.length : 20, dim = f.desc.kv.head_dim;
	int64_t first = f.length - rows;
	size_t row = (size_t)width(&f) * size_of(f.desc.act);
	char *clean = attend(device, &f, first, rows, 0), *y;
	int64_t poison = first + rows / 2 + 1;

	for (int64_t j = poison; j < f.length; j++) {
		for (int64_t i = 0; i < 2 * f.desc.kv.kv_heads * dim; i++)
			put(f.desc.kv.dtype, f.cache,
			    cell(&f, (int)(i % 2), i / 2 / dim, j) + i / 2 % dim, NAN);
	}
	y = attend(device, &f, first, rows, 0);
	ck_assert_mem_eq(y, clean, (size_t)(rows / 2 + 1 > rows ? rows : rows / 2 + 1) * row);
	for (int64_t j = poison; j < f.length; j++)
		ck_assert(isnan(get(f.desc.act, y, (j - first) * width(&f))));
	gh__free(y);
	gh__free(clean);
	fixture_free(&f);
	gh__device_close(device);
}
END_TEST

/* Ranks that hold some of the heads, cut anywhere, give the bits of one that holds all. */
START_TEST(heads_split_over_ranks)
{
	enum { HEADS = 6, GROUP = 3, DIM = 16, LENGTH = 70 };
	fixture f;
	gh__device *device = device_open(2, 0);
	char *all, *y;

	fixture_init(&f, GH_F16, GH_F16, HEADS, GROUP, DIM, LENGTH);
	all = attend(device, &f, 0, LENGTH, 0);
	for (int32_t first = 0; first < HEADS; first++) {
		for (int32_t count = 1; first + count <= HEADS; count++) {
			fixture part = f;

			/* All kv heads are here; the queries are those of the part. */
			part.desc.heads = count;
			part.desc.head_first = first;
			part.qkv = (uint16_t *)f.qkv + (ptrdiff_t)first * DIM;
			y = attend(device, &part, 0, LENGTH, 0);
			for (int64_t i = 0; i < LENGTH; i++)
				ck_assert_mem_eq(y + (size_t)(i * count * DIM) * 2,
						 all + (size_t)((i * HEADS + first) * DIM) * 2,
						 (size_t)count * DIM * 2);
			gh__free(y);
		}
	}
	gh__free(all);
	fixture_free(&f);
	gh__device_close(device);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("device_attention");
	TCase *tcase = tcase_create("attention");

	suite_add_tcase(suite, tcase);
	tcase_add_loop_test(tcase, agrees_with_doubles, 0, CASES);
	tcase_add_loop_test(tcase, does_not_see_how_it_is_cut, 0, CASES);
	tcase_add_loop_test(tcase, later_positions_do_not_reach_back, 0, CASES);
	tcase_add_test(tcase, heads_split_over_ranks);
	return unit_main(suite);
}
