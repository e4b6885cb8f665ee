#include "pair.h"

#include "../unit/sample_rows.h"

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

/* m rows of one or several vectors, `gap` elements between rows and all of it `off` elements away
 * from an aligned address; then in place. */
static void check_norm(gh_dtype act, bool residual, int64_t n, int64_t m, int64_t groups,
		       int64_t gap, size_t off)
{
	const int64_t stride = groups * n + gap;
	const size_t size = size_of(act), bytes = (size_t)(m * stride) * size;
	gh__op_desc desc = { .kind = GH__OP_NORM,
			     .norm = { act, GH__NORM_ROUND_TWICE, residual, n, 1e-5F } };
	uint64_t state = (uint64_t)n;
	void *numbers = random_numbers(act, m * stride, 4, &state);
	tensor x = tensor_at(numbers, bytes, off * size), y = tensor_at(NULL, bytes, off * size);
	tensor rest = tensor_random(act, m * n, 4, &state);
	tensor weight = tensor_random(act, n, 2, &state);
	const tensor *all[] = { &x, &y, &rest, &weight };
	gh__kernel *kernels[DEVICES];
	gh__op_args args[DEVICES];

	pair_prepare(kernels, &desc);
	for (int in_place = 0; in_place < 2; in_place++) {
		for (int d = 0; d < DEVICES; d++)
			args[d].norm = (gh__norm_args){ .x = x.at[d],
							.x_stride = stride,
							.groups = groups,
							.residual = residual ? rest.at[d] : NULL,
							.weight = weight.at[d],
							.y = in_place ? x.at[d] : y.at[d],
							.y_stride = stride,
							.m = m };
		pair_check("norm", kernels, args, all, COUNT(all));
	}
	pair_kernel_free(kernels);
	tensor_free(&x);
	tensor_free(&y);
	tensor_free(&rest);
	tensor_free(&weight);
	gh__free(numbers);
}

START_TEST(normalises)
{
	static const int64_t sizes[] = { 1,    7,    8,    31,   32,    33,   64,   127,
					 128,  129,  512,  520,  576,   1001, 2048, 3584,
					 4096, 5120, 8192, 8200, 16384, 16392 };

	for (size_t c = 0; c < COUNT(acts) * COUNT(sizes); c++) {
		gh_dtype act = acts[c % 3];
		int64_t n = sizes[c / 3];

		check_norm(act, false, n, 1, 1, 0, 0);
		check_norm(act, true, n, 1, 1, 0, 0);
		check_norm(act, true, n, 37, 1, 8, 0);
		check_norm(act, false, n, 5, 3, 16, 0);
		check_norm(act, false, n, 5, 3, 5, 0);
		check_norm(act, true, n, 5, 1, 3, 1);
	}
	check_norm(GH_BF16, true, 3584, 0, 1, 0, 0);
}
END_TEST

/* ---- elements ---- */

static void check_glu(gh_dtype act, int64_t n, int64_t m, int64_t gap, size_t off)
{
	const int64_t stride = 2 * n + gap, y_stride = n + gap;
	const size_t size = size_of(act);
	gh__op_desc desc = { .kind = GH__OP_GLU, .glu = { act, n } };
	uint64_t state = (uint64_t)n;
	void *numbers = random_numbers(act, m * stride, 40, &state);
	tensor x, y = tensor_at(NULL, (size_t)(m * y_stride) * size, off * size);
	const tensor *all[] = { &x, &y };
	gh__kernel *kernels[DEVICES];
	gh__op_args args[DEVICES];

	if (m > 1) {
		put(act, numbers, 0, -200.0F);
		put(act, numbers, stride, INFINITY);
	}
	x = tensor_at(numbers, (size_t)(m * stride) * size, off * size);
	pair_prepare(kernels, &desc);
	for (int d = 0; d < DEVICES; d++)
		args[d].glu = (gh__glu_args){ x.at[d], stride, y.at[d], y_stride, m };
	pair_check("glu", kernels, args, all, COUNT(all));
	pair_kernel_free(kernels);
	tensor_free(&x);
	tensor_free(&y);
	gh__free(numbers);
}

START_TEST(gates)
{
	static const int64_t sizes[] = { 1, 7, 8, 9, 31, 32, 33, 96, 128, 1537, 4864, 18944 };

	for (size_t c = 0; c < COUNT(acts) * COUNT(sizes); c++) {
		check_glu(acts[c % 3], sizes[c / 3], 3, 0, 0);
		check_glu(acts[c % 3], sizes[c / 3], 1, 8, 0);
		check_glu(acts[c % 3], sizes[c / 3], 17, 3, 0);
		check_glu(acts[c % 3], sizes[c / 3], 3, 0, 1);
	}
	check_glu(GH_F16, 96, 0, 0, 0);
}
END_TEST

/* ---- rotary embedding and the cache ---- */

static void check_rope(gh_dtype act, gh_dtype kv, gh__rope_pairing pairing,
		       gh__rope_rounding rounding, int32_t dim, int64_t gap)
{
	enum { M = 6, HEADS = 5, KV = 2, BLOCK = 4, BLOCKS = 3, POSITIONS = 9 };
	static const int32_t position[M] = { 0, 8, 3, 3, 1, 7 };
	static const int64_t slot[M] = { 2, 11, 4, -1, 0, 7 };
	const int64_t width = (HEADS + 2 * KV) * (int64_t)dim, stride = width + gap;
	gh__op_desc desc = { .kind = GH__OP_ROPE,
			     .rope = { act, pairing, rounding, HEADS, { kv, KV, dim, BLOCK } } };
	uint64_t state = (uint64_t)dim;
	tensor qkv = tensor_random(act, M * stride, 300, &state);
	tensor table = tensor_random(act, POSITIONS * (int64_t)dim, 1, &state);
	tensor positions = tensor_of(position, sizeof position);
	tensor slots = tensor_of(slot, sizeof slot);
	tensor cache = tensor_poisoned(kv, BLOCKS * 2 * KV * BLOCK * (int64_t)dim);
	const tensor *all[] = { &qkv, &table, &positions, &slots, &cache };
	gh__kernel *kernels[DEVICES];
	gh__op_args args[DEVICES];

	pair_prepare(kernels, &desc);
	for (int64_t m = M; m >= 0; m -= M) {
		for (int d = 0; d < DEVICES; d++)
			args[d].rope = (gh__rope_args){ qkv.at[d],       stride,      table.at[d],
							positions.at[d], slots.at[d], cache.at[d],
							0.25F,           0.3F,        m };
		pair_check("rope", kernels, args, all, COUNT(all));
	}
	pair_kernel_free(kernels);
	tensor_free(&qkv);
	tensor_free(&table);
	tensor_free(&positions);
	tensor_free(&slots);
	tensor_free(&cache);
}

START_TEST(rotates_and_writes_the_cache)
{
	static const gh_dtype kvs[] = { GH_DTYPE_NONE, GH_F32, GH_F16, GH_BF16, GH_E4M3 };
	static const int32_t dims[] = { 2, 8, 10, 16, 32, 64, 128, 256 };

	for (size_t c = 0; c < COUNT(acts) * COUNT(kvs) * COUNT(dims); c++) {
		gh_dtype act = acts[c % 3], kv = kvs[c / 3 % COUNT(kvs)];
		int32_t dim = dims[c / 3 / COUNT(kvs)];

		for (int way = 0; way < 8; way++)
			check_rope(act, kv, way & 1 ? GH__ROPE_INTERLEAVED : GH__ROPE_HALF,
				   way & 2 ? GH__ROPE_ROUND_ONCE : GH__ROPE_ROUND_PRODUCTS, dim,
				   way & 4 ? 3 : 0);
	}
}
END_TEST

/* ---- samples ---- */

static void check_samples(gh_dtype dtype, int64_t vocab, const void *logits, int64_t stride,
			  int64_t rows, const gh__sample_row *row, int64_t m)
{
	gh__op_desc desc = { .kind = GH__OP_SAMPLE, .sample = { dtype, vocab } };
	tensor x = tensor_of(logits, (size_t)(rows * stride) * size_of(dtype));
	const size_t size = (size_t)m * sizeof(gh__sample_result);
	gh__sample_result *results[DEVICES];
	gh__kernel *kernels[DEVICES];
	gh__op_args args[DEVICES];

	pair_prepare(kernels, &desc);
	for (int d = 0; d < DEVICES; d++) {
		results[d] = gh__malloc(size + 1);
		ck_assert_ptr_nonnull(results[d]);
		args[d].sample = (gh__sample_args){ x.at[d], stride, row, results[d], m };
	}
	memset(results[CPU], 0xff, size);
	pair_run_on(CPU, kernels, args);
	for (int run = 0; run < 2; run++) {
		memset(results[GPU], 0xff, size);
		pair_run_on(GPU, kernels, args);
		for (int64_t i = 0; i < m; i++) {
			const gh__sample_result *got = &results[GPU][i], *is = &results[CPU][i];

			ck_assert_msg(memcmp(got, is, sizeof *got) == 0,
				      "sample %d of %d, vocab %d, %s: token %d (%a, rank %d, top "
				      "%d), expected %d (%a, %d, %d)",
				      (int)i, (int)m, (int)vocab, gh_dtype_name(dtype), got->token,
				      got->logprob, got->rank, got->top_count, is->token,
				      is->logprob, is->rank, is->top_count);
		}
		tensor_assert_same(&x, "sample", 0);
	}
	for (int d = 0; d < DEVICES; d++)
		gh__free(results[d]);
	pair_kernel_free(kernels);
	tensor_free(&x);
}

START_TEST(samples)
{
	static const int vocabs[] = { 1, 2, 31, 32, 33, 128, 129, 1000, 4099, 32000, 151936 };
	enum { MANY = 200 };
	gh__sample_row many[MANY];
	gh_dtype dtype = acts[_i % 3];
	int vocab = vocabs[_i / 3];
	uint64_t state = (uint64_t)_i + 1;
	sample_rows rows;

	sample_rows_make(&rows, dtype, vocab, &state);
	check_samples(dtype, vocab, rows.logits, rows.stride, SAMPLE_ROWS, rows.row, SAMPLE_ROWS);
	for (int i = 0; i < 8; i++)
		check_samples(dtype, vocab, rows.logits, rows.stride, SAMPLE_ROWS, &rows.row[i], 1);
	for (int i = 0; i < MANY; i++) {
		many[i] = rows.row[(i + i / SAMPLE_ROWS) % SAMPLE_ROWS];
		many[i].row = i * 7 % SAMPLE_ROWS;
	}
	if (vocab < 10000)
		check_samples(dtype, vocab, rows.logits, rows.stride, SAMPLE_ROWS, many, MANY);
	check_samples(dtype, vocab, rows.logits, rows.stride, SAMPLE_ROWS, rows.row, 0);
	sample_rows_free(&rows);
}
END_TEST

/* Long lists, with the same ids over and over; every filter on ties; rows with nothing to choose. */
START_TEST(samples_long_lists_and_ties)
{
	enum { VOCAB = 5000, LIST = 3000, M = 36 };
	gh_dtype dtype = acts[_i];
	uint64_t state = 5;
	void *logits = random_numbers(dtype, M * (int64_t)VOCAB, 2, &state);
	int32_t *ids = gh__malloc(2 * LIST * sizeof *ids);
	float *bias = gh__malloc(LIST * sizeof *bias);
	uint32_t *none = gh__calloc(VOCAB / 32 + 1, sizeof *none);
	gh__sample_row row[M];

	ck_assert(ids && bias && none);
	for (int i = 0; i < 2 * LIST; i++)
		ids[i] = (int32_t)(random_next(&state) % (i < LIST ? 700 : VOCAB + 9)) - 4;
	for (int i = 0; i < LIST; i++)
		bias[i] = (float)random_unit(&state);
	for (int i = 0; i < M * VOCAB; i++) { /* few different values */
		if (i / VOCAB % 4 != 3)
			put(dtype, logits, i, (float)((int)(random_next(&state) % 9) - 4) / 2);
	}
	put(dtype, logits, 3 * VOCAB + 17, NAN);
	put(dtype, logits, 7 * VOCAB + 4999, INFINITY);
	for (int i = 0; i < M; i++) {
		row[i] = neutral();
		row[i].row = i;
		row[i].seed = random_next(&state);
		row[i].top = i % 2 ? 20 : 0;
		row[i].temperature = i % 5 ? 0.9F : 0;
		row[i].top_k = (int[]){ 0, 700, 4000, 4999, 100000 }[i % 5];
		row[i].top_p = (float[]){ 1, 0.5F, 0.9F, 0.99999F, 1e-9F, 0.3F, 0.7F }[i % 7];
		row[i].min_p = i % 4 == 1 ? 0.2F : 0;
		row[i].bias_id = ids, row[i].bias = bias;
		row[i].prompt = ids + LIST, row[i].output = ids;
		row[i].bias_count = i % 3 ? 0 : LIST;
		row[i].prompt_count = row[i].output_count = LIST;
		if (i % 6 == 2)
			row[i].repetition = 1.3F, row[i].frequency = 0.01F;
		if (i == 11)
			row[i].allowed = none;
		if (i == 12)
			row[i].forced = 4000000;
	}
	check_samples(dtype, VOCAB, logits, VOCAB, M, row, M);
	gh__free(logits);
	gh__free(ids);
	gh__free(bias);
	gh__free(none);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("cuda_ops");
	TCase *tcase = tcase_create("ops");

	suite_add_tcase(suite, tcase);
	tcase_add_test(tcase, embeds_and_selects);
	tcase_add_test(tcase, normalises);
	tcase_add_test(tcase, gates);
	tcase_add_test(tcase, rotates_and_writes_the_cache);
	tcase_add_loop_test(tcase, samples, 0, 33);
	tcase_add_loop_test(tcase, samples_long_lists_and_ties, 0, 3);
	return pair_main(suite);
}
