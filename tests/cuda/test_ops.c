#include "pair.h"

/* Every operation but linear and attention: the GPU's bits are the CPU's. */

static const gh_dtype acts[] = { GH_F32, GH_F16, GH_BF16 };

/* ---- rows ---- */

START_TEST(embeds_and_selects)
{
	static const int32_t id[] = { 12, 9, 10, 19, 20, -1, 2000000000, 10, 15 };
	static const int32_t pick[] = { 3, 3, 0, 9, 7 };
	static const int64_t sizes[] = { 1, 2, 7, 8, 31, 33, 128, 129, 3584 };
	enum { M = COUNT(id), FIRST = 10, ROWS = 10, GAP = 3 };

	for (size_t c = 0; c < COUNT(acts) * COUNT(sizes); c++) {
		gh_dtype act = acts[c % 3];
		int64_t n = sizes[c / 3], stride = c % 2 ? n : n + GAP;
		gh__op_desc desc = { .kind = GH__OP_EMBED, .embed = { act, n } };
		gh__op_desc select = { .kind = GH__OP_SELECT, .select = { act, n } };
		gh__kernel *kernels[DEVICES], *choosers[DEVICES];
		gh__op_args args[DEVICES], rows[DEVICES];
		uint64_t state = c + 1;
		tensor table = tensor_random(act, ROWS * stride, 1, &state);
		tensor ids = tensor_of(id, sizeof id), picks = tensor_of(pick, sizeof pick);
		tensor y = tensor_poisoned(act, M * n);
		const tensor *all[] = { &table, &ids, &picks, &y };

		pair_prepare(kernels, &desc);
		pair_prepare(choosers, &select);
		for (int64_t m = M; m >= 0; m -= M) {
			for (int d = 0; d < DEVICES; d++) {
				args[d].embed = (gh__embed_args){ table.at[d], FIRST,   ROWS,
								  ids.at[d],   y.at[d], m };
				rows[d].select =
					(gh__select_args){ table.at[d], stride, picks.at[d],
							   y.at[d], m ? COUNT(pick) : 0 };
			}
			pair_check("embed", kernels, args, all, COUNT(all));
			pair_check("select", choosers, rows, all, COUNT(all));
		}
		pair_kernel_free(kernels);
		pair_kernel_free(choosers);
		tensor_free(&table);
		tensor_free(&ids);
		tensor_free(&picks);
		tensor_free(&y);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("cuda_ops");
	TCase *tcase = tcase_create("ops");

	suite_add_tcase(suite, tcase);
	tcase_add_test(tcase, embeds_and_selects);
	return pair_main(suite);
}
