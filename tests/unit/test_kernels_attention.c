#include "kernels.h"

/* Rope and attention as programs call them: one fills the cache that the other reads. */

enum { HEADS = 6, KV = 2, DIM = 32, BLOCK = 16, BLOCKS = 12, LONGEST = 40 };
enum { WIDTH = (HEADS + 2 * KV) * DIM, SEQUENCES = 2 };

/* Sequences of a shuffled cache: the first has `length[0]` positions, all of them rows of the step,
 * the other only its last one. */
typedef struct session {
	gh_dtype dtype, kv;
	const float *values; /* [SEQUENCES, LONGEST, WIDTH], exact in dtype */
	const float *table;  /* [LONGEST, DIM] */
	int32_t length[SEQUENCES], blocks[SEQUENCES * 3];
	gh_devptr cache;
} session;

/* q, k and v of one sequence's position, turned as rope is to. */
static double turned(const session *s, int32_t sequence, int32_t position, int32_t column)
{
	const float *row = s->values + (int64_t)(sequence * LONGEST + position) * WIDTH;
	const float *table = s->table + (int64_t)position * DIM;
	int32_t e = column % DIM, half = DIM / 2, pair = e % half;

	if (column >= (HEADS + KV) * DIM)
		return row[column];
	if (e < half)
		return (double)row[column] * table[pair] -
		       (double)row[column + half] * table[half + pair];
	return (double)row[column] * table[pair] + (double)row[column - half] * table[half + pair];
}

static void *narrow(gh_dtype dtype, const float *from, int64_t count)
{
	void *to = gh__malloc((size_t)count * 4);

	assert_ok(gh_convert(to, dtype, from, GH_F32, (size_t)count, error));
	return to;
}

/* All positions of all sequences through rope; answers their turned rows. */
static gh_devptr fill_cache(session *s)
{
	gh_rope_options options = GH_ROPE_OPTIONS_INIT;
	gh_rope_args args = GH_ROPE_ARGS_INIT;
	gh_kernel *kernel = NULL;
	int32_t position[SEQUENCES * LONGEST];
	int64_t slot[SEQUENCES * LONGEST];
	void *rows = narrow(s->dtype, s->values, SEQUENCES * LONGEST * WIDTH);
	void *table = narrow(s->dtype, s->table, LONGEST * DIM);

	options.dtype = s->dtype;
	options.kv_dtype = s->kv;
	options.heads = HEADS;
	options.kv_heads = KV;
	options.head_dim = DIM;
	assert_ok(gh_rope_create(&kernel, device, &options, error));
	for (int32_t i = 0; i < SEQUENCES * LONGEST; i++) {
		int32_t sequence = i / LONGEST, p = i % LONGEST;

		position[i] = p;
		slot[i] = p < s->length[sequence]
				  ? (int64_t)s->blocks[sequence * 3 + p / BLOCK] * BLOCK + p % BLOCK
				  : -1;
	}
	args.rows = SEQUENCES * LONGEST;
	args.qkv = put_there(rows, (size_t)(SEQUENCES * LONGEST * WIDTH) * size_of(s->dtype));
	args.table = put_there(table, (size_t)(LONGEST * DIM) * size_of(s->dtype));
	args.position = put_there(position, sizeof position);
	args.slot = put_there(slot, sizeof slot);
	args.k_scale = s->kv == GH_E4M3 ? 0.02F : 0.0F;
	args.v_scale = s->kv == GH_E4M3 ? 0.03F : 0.0F;
	assert_fails(GH_EINVAL, "cache", gh_rope_run(kernel, &args, NULL, error));
	args.cache = s->cache = take((size_t)BLOCKS * 2 * KV * BLOCK * DIM * size_of(s->kv));
	assert_ok(gh_rope_run(kernel, &args, NULL, error));
	for (int32_t i = 0; i < SEQUENCES * LONGEST * WIDTH; i++)
		near(s->dtype, at(s->dtype, args.qkv, i),
		     turned(s, i / WIDTH / LONGEST, i / WIDTH % LONGEST, i % WIDTH), 3);
	gh_kernel_free(kernel);
	gh_device_release(device, args.table);
	gh_device_release(device, args.position);
	gh_device_release(device, args.slot);
	gh__free(rows);
	gh__free(table);
	return args.qkv;
}

static double attended(const session *s, int32_t sequence, int32_t position, int32_t head,
		       int32_t d)
{
	double p[LONGEST], sum = 0, y = 0;
	int32_t k = (HEADS + head / (HEADS / KV)) * DIM, v = k + KV * DIM;

	for (int32_t i = 0; i <= position; i++) {
		double score = 0;

		for (int32_t e = 0; e < DIM; e++)
			score += turned(s, sequence, position, head * DIM + e) *
				 turned(s, sequence, i, k + e);
		p[i] = exp(score / sqrt(DIM));
		sum += p[i];
	}
	for (int32_t i = 0; i <= position; i++)
		y += p[i] / sum * turned(s, sequence, i, v + d);
	return y;
}

static void check_attention(gh_dtype dtype, gh_dtype kv)
{
	gh_attention_options options = GH_ATTENTION_OPTIONS_INIT;
	gh_attention_args args = GH_ATTENTION_ARGS_INIT;
	gh_kernel *kernel = NULL;
	session s = {
		.dtype = dtype, .kv = kv, .length = { 20, 37 }, .blocks = { 7, 2, 0, 11, 5, 9 }
	};
	uint64_t state = 3;
	float *values = random_numbers(GH_F32, SEQUENCES * LONGEST * WIDTH, 1, &state);
	float table[LONGEST * DIM];
	enum { ROWS = 20 + 1 + 2 }; /* two pad the step */
	int32_t position[ROWS] = { 0 }, sequence[ROWS] = { 0 }, start[] = { 0, 20, 21 };
	gh_devptr rows, q = take((size_t)ROWS * HEADS * DIM * 4);
	size_t row_size = (size_t)HEADS * DIM * size_of(dtype);
	double slack = kv == GH_E4M3 ? 40 : 4;

	for (int i = 0; i < SEQUENCES * LONGEST * WIDTH; i++)
		values[i] = rounded(GH_BF16, rounded(GH_F16, values[i]));
	for (int i = 0; i < LONGEST * DIM; i++)
		table[i] = rounded(GH_BF16, (float)random_unit(&state));
	s.values = values;
	s.table = table;
	rows = fill_cache(&s);
	for (int32_t i = 0; i < 21; i++) {
		size_t from = (size_t)(i < 20 ? i : LONGEST + 36) * WIDTH * size_of(dtype);

		position[i] = i < 20 ? i : 36;
		sequence[i] = i < 20 ? 0 : 1;
		assert_ok(gh_device_copy(device, q + (size_t)i * row_size, rows + from, row_size,
					 NULL, error));
	}
	options.dtype = dtype;
	options.kv_dtype = kv;
	options.heads = HEADS;
	options.kv_heads = KV;
	options.head_dim = DIM;
	assert_ok(gh_attention_create(&kernel, device, &options, error));
	args.rows = ROWS;
	args.sequences = SEQUENCES;
	args.blocks_max = 3;
	args.q = q;
	args.cache = s.cache;
	args.position = put_there(position, sizeof position);
	args.sequence = put_there(sequence, sizeof sequence);
	args.row_start = put_there(start, sizeof start);
	args.block_table = put_there(s.blocks, sizeof s.blocks);
	args.y = take((size_t)ROWS * HEADS * DIM * 4);
	args.k_scale = 0.02F;
	args.v_scale = 0.03F;
	assert_fails(GH_EINVAL, "workspace", gh_attention_run(kernel, &args, NULL, error));
	args.workspace = workspace(kernel, ROWS);
	assert_ok(gh_attention_plan(kernel, &args, NULL, error));
	assert_ok(gh_attention_run(kernel, &args, NULL, error));
	for (int32_t i = 0; i < ROWS * HEADS * DIM; i++) {
		int32_t row = i / (HEADS * DIM), head = i / DIM % HEADS;
		double expected =
			row < 21 ? attended(&s, sequence[row], position[row], head, i % DIM) : 0.0;

		near(dtype == GH_F32 && kv == GH_E4M3 ? GH_F16 : dtype, at(dtype, args.y, i),
		     expected, slack);
	}
	args.sequences = ROWS + 1;
	assert_fails(GH_EINVAL, "sequences", gh_attention_run(kernel, &args, NULL, error));
	gh_kernel_free(kernel);
	gh_device_release(device, rows);
	gh_device_release(device, q);
	gh_device_release(device, s.cache);
	gh_device_release(device, args.position);
	gh_device_release(device, args.sequence);
	gh_device_release(device, args.row_start);
	gh_device_release(device, args.block_table);
	gh_device_release(device, args.y);
	gh_device_release(device, args.workspace);
	gh__free(values);
}

START_TEST(attends)
{
	check_attention(GH_F32, GH_F32);
	check_attention(GH_F16, GH_F16);
	check_attention(GH_BF16, GH_BF16);
	check_attention(GH_F16, GH_E4M3);
}
END_TEST

START_TEST(refuses_attention)
{
	gh_attention_options options = GH_ATTENTION_OPTIONS_INIT;
	gh_kernel *kernel = NULL;

	options.dtype = GH_F16;
	options.heads = 5;
	options.kv_heads = 2;
	options.head_dim = 64;
	assert_fails(GH_EINVAL, "heads: 5", gh_attention_create(&kernel, device, &options, error));
	options.heads = 4;
	options.scale = -1.0F;
	assert_fails(GH_EINVAL, "scale", gh_attention_create(&kernel, device, &options, error));
	options.scale = 0.0F;
	options.head_dim = 0;
	assert_fails(GH_EINVAL, "head_dim", gh_attention_create(&kernel, device, &options, error));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("kernels_attention");
	TCase *tcase = tcase_create("attention");

	suite_add_tcase(suite, tcase);
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, attends);
	tcase_add_test(tcase, refuses_attention);
	return unit_main(suite);
}
