#include "attention_step.h"

/* ATTENTION: the GPU's bits are those of the CPU's tensor-core mode, of f32 those of the plain CPU. */

/* Prefill, chunks and decodes together, around the ends of tiles and splits. */
static const step_run ragged[] = { { 0, 1 },    { 126, 1 },  { 127, 1 },  { 128, 1 },
				   { 0, 0 },    { 1022, 1 }, { 1023, 1 }, { 1024, 1 },
				   { 2099, 1 }, { 0, 70 },   { 120, 20 }, { 1009, 30 } };
static const step_run few[] = { { 0, 1 }, { 127, 3 }, { 0, 20 }, { 1022, 4 } };

static const step_case paged[] = {
	{ GH_F16, GH_F16, 7, 7, 128, 0, 0, 1, 16, 0 },
	{ GH_BF16, GH_BF16, 8, 8, 64, 0, 0, 1, 16, 8 },
	{ GH_F16, GH_E4M3, 6, 3, 128, 0, 0, 2, 16, 4 },
	{ GH_BF16, GH_E4M3, 3, 1, 32, 0, 0, 3, 16, 0 },
	{ GH_F16, GH_F16, 3, 1, 28, 0, 0, 3, 16, 2 },
	{ GH_BF16, GH_BF16, 8, 8, 8, 0, 0, 1, 16, 0 },
	{ GH_F16, GH_F16, 3, 3, 4, 0, 0, 1, 16, 1 },
	{ GH_BF16, GH_BF16, 28, 28, 32, 0, 0, 1, 16, 0 },
	{ GH_F32, GH_F32, 4, 2, 28, 0, 0, 2, 16, 0 },
};

/* The rest of what may meet: widths that fill no chunk, odd ones, blocks of any size, other types. */
static const step_case rare[] = {
	{ GH_F16, GH_F16, 4, 4, 256, 0, 0, 1, 16, 0 },
	{ GH_BF16, GH_E4M3, 2, 1, 200, 0, 0, 2, 16, 0 },
	{ GH_F16, GH_E4M3, 3, 3, 24, 0, 0, 1, 16, 0 },
	{ GH_BF16, GH_E4M3, 2, 2, 28, 0, 0, 1, 16, 3 },
	{ GH_F16, GH_E4M3, 2, 2, 4, 0, 0, 1, 16, 0 },
	{ GH_F16, GH_F16, 2, 2, 5, 0, 0, 1, 16, 0 },
	{ GH_F16, GH_F16, 70, 70, 16, 0, 0, 1, 16, 0 },
	{ GH_BF16, GH_BF16, 2, 1, 96, 0, 0, 2, 7, 0 },
	{ GH_F16, GH_BF16, 3, 3, 32, 0, 0, 1, 16, 0 },
	{ GH_BF16, GH_F16, 2, 1, 20, 0, 0, 2, 16, 0 },
	{ GH_F16, GH_F32, 2, 2, 16, 0, 0, 1, 16, 0 },
	{ GH_BF16, GH_F32, 2, 2, 8, 0, 0, 1, 16, 0 },
	{ GH_F32, GH_F16, 3, 3, 64, 0, 0, 1, 16, 1 },
	{ GH_F32, GH_BF16, 2, 1, 7, 0, 0, 2, 16, 0 },
	{ GH_F32, GH_E4M3, 7, 7, 8, 0, 0, 1, 16, 0 },
	{ GH_F32, GH_F32, 1, 1, 300, 0, 0, 1, 16, 0 },
};

static void check(const step_case *c, const step_run *runs, int32_t count, const char *what)
{
	attention_step s;

	step_init(&s, c, runs, count);
	step_check(&s, what);
	step_free(&s);
}

START_TEST(is_the_cpu_paged)
{
	check(&paged[_i], ragged, COUNT(ragged), "ragged");
}
END_TEST

START_TEST(is_the_cpu_of_rare_shapes)
{
	const int code = devices[GPU]->code;

	/* Their blocks have too little shared memory for such heads. */
	if ((code == 86 || code == 89) && rare[_i].dim > 128 && rare[_i].act != GH_F32)
		return;
	check(&rare[_i], few, COUNT(few), "few");
}
END_TEST

/* Decodes alone, so few that a row's splits are shared by blocks, and so many that they are not. */
START_TEST(shares_splits)
{
	static const step_run one[] = { { 2999, 1 } };
	static const step_case c = { GH_F16, GH_F16, 4, 2, 64, 0, 0, 2, 16, 0 };
	step_run many[300];

	check(&c, one, 1, "one decode");
	for (int32_t i = 0; i < (int32_t)COUNT(many); i++)
		many[i] = (step_run){ i == 40 ? 1100 : i, 1 };
	check(&c, many, COUNT(many), "many decodes");
}
END_TEST

/* Ranks that hold some of the heads, cut anywhere. */
START_TEST(is_the_cpu_with_some_of_the_heads)
{
	static const step_case parts[] = {
		{ GH_F16, GH_F16, 4, 3, 32, 1, 0, 2, 16, 0 },
		{ GH_F16, GH_F16, 2, 3, 32, 2, 0, 2, 16, 0 },
		{ GH_F16, GH_E4M3, 1, 3, 32, 5, 0, 2, 16, 0 },
		{ GH_BF16, GH_BF16, 5, 3, 32, 4, 1, 3, 16, 0 },
		{ GH_F16, GH_F16, 2, 7, 128, 13, 1, 2, 16, 0 },
		{ GH_F32, GH_F32, 4, 3, 32, 1, 0, 2, 16, 0 },
	};

	check(&parts[_i], few, COUNT(few), "heads");
}
END_TEST

/* A prompt whole, and cut: a row's bits are the same. */
START_TEST(does_not_see_how_it_is_cut)
{
	enum { LENGTH = 300 };
	static const int32_t chunks[] = { 1, 2, 5, 16, 31, 128 };
	static const step_run whole = { 0, LENGTH };
	const step_case *c = &paged[_i];
	const size_t row = (size_t)((int64_t)c->heads * c->dim + c->gap) * size_of(c->act);
	attention_step s;
	char *all;

	step_init(&s, c, &whole, 1);
	all = step_run_gpu(&s);
	step_free(&s);
	for (size_t i = 0; i < COUNT(chunks); i++) {
		for (int32_t at = 0; at < LENGTH; at += chunks[i] < 16 ? 37 : chunks[i]) {
			int32_t left = LENGTH - at;
			step_run part = { at, chunks[i] < left ? chunks[i] : left };
			char *y;

			step_init(&s, c, &part, 1);
			y = step_run_gpu(&s);
			step_free(&s);
			for (int32_t j = 0; j < part.rows; j++)
				ck_assert_mem_eq(y + (size_t)j * row, all + (size_t)(at + j) * row,
						 row - (size_t)c->gap * size_of(c->act));
			gh__free(y);
		}
	}
	gh__free(all);
}
END_TEST

/* ---- packed ---- */

static const step_run packed_runs[] = { { 0, 1 },  { 0, 15 },  { 0, 16 }, { 0, 17 },
					{ 0, 65 }, { 0, 100 }, { 0, 0 },  { 0, 300 } };

/* No longer than what a kernel may hold whole. */
static const step_run short_runs[] = { { 0, 1 },  { 0, 16 }, { 0, 17 }, { 0, 0 },
				       { 0, 47 }, { 0, 99 }, { 0, 256 } };

static const step_case packed[] = {
	{ GH_F16, GH_DTYPE_NONE, 3, 1, 28, 0, 0, 3, 0, 0 },
	{ GH_F16, GH_DTYPE_NONE, 3, 1, 28, 0, 0, 3, 0, 1 },
	{ GH_F16, GH_DTYPE_NONE, 7, 7, 128, 0, 0, 1, 0, 0 },
	{ GH_BF16, GH_DTYPE_NONE, 4, 2, 64, 0, 0, 2, 0, 8 },
	{ GH_F16, GH_DTYPE_NONE, 4, 1, 32, 0, 0, 4, 0, 0 },
	{ GH_F16, GH_DTYPE_NONE, 8, 8, 8, 0, 0, 1, 0, 0 },
	{ GH_BF16, GH_DTYPE_NONE, 3, 3, 4, 0, 0, 1, 0, 4 },
	{ GH_F16, GH_DTYPE_NONE, 2, 2, 256, 0, 0, 1, 0, 0 },
	{ GH_F16, GH_DTYPE_NONE, 2, 3, 16, 2, 0, 2, 0, 0 },
	{ GH_BF16, GH_DTYPE_NONE, 2, 1, 32, 3, 2, 4, 0, 0 },
	{ GH_BF16, GH_DTYPE_NONE, 2, 1, 60, 0, 0, 2, 0, 0 },
	{ GH_F16, GH_DTYPE_NONE, 2, 1, 5, 0, 0, 2, 0, 0 },
	{ GH_F32, GH_DTYPE_NONE, 4, 2, 28, 0, 0, 2, 0, 0 },
	{ GH_F32, GH_DTYPE_NONE, 2, 3, 7, 2, 0, 2, 0, 3 },
};

START_TEST(is_the_cpu_packed)
{
	check(&packed[_i], packed_runs, COUNT(packed_runs), "packed");
	check(&packed[_i], short_runs, COUNT(short_runs), "packed, short");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("cuda_attention");
	TCase *tests = tcase_create("attention");

	tcase_add_checked_fixture(tests, step_open, step_close);
	tcase_add_loop_test(tests, is_the_cpu_paged, 0, COUNT(paged));
	tcase_add_loop_test(tests, is_the_cpu_of_rare_shapes, 0, COUNT(rare));
	tcase_add_test(tests, shares_splits);
	tcase_add_loop_test(tests, is_the_cpu_with_some_of_the_heads, 0, 6);
	tcase_add_loop_test(tests, does_not_see_how_it_is_cut, 0, COUNT(paged));
	tcase_add_loop_test(tests, is_the_cpu_packed, 0, COUNT(packed));
	suite_add_tcase(suite, tests);
	return pair_main(suite);
}
