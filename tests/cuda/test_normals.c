#include "pair.h"

#include "crypto/digest.h"
#include "json/json.h"
#include "poc/drawing.h"
#include "poc/normals.h"
#include "poc/params.h"
#include "poc/seed.h"

/* Normal numbers of the GPU against the host's, to the bit. */

static gh__normal_tables tables;

static void *allocate(size_t count, size_t size)
{
	void *memory = gh__calloc(count, size);

	ck_assert_ptr_nonnull(memory);
	return memory;
}

static gh__pcg64 start_of(int number)
{
	char text[32];
	gh__pcg64 start;

	(void)snprintf(text, sizeof text, "normals %d", number);
	assert_ok(gh__poc_seed(&start, text, 4, error));
	return start;
}

static void *on_gpu(const void *bytes, size_t size)
{
	gh__device *gpu = devices[GPU];
	void *memory = device_alloc(gpu, size);

	if (bytes)
		assert_ok(gpu->table->upload(gpu->self, memory, bytes, size, NULL, error));
	return memory;
}

static void off_gpu(void *memory)
{
	devices[GPU]->table->release(devices[GPU]->self, memory);
}

/* Numbers of so many streams by the GPU, and one behind them that is not written. */
static uint16_t *draw(const gh__normal_tables *from, const gh__pcg64 *starts, int64_t streams,
		      int64_t numbers, double deviation)
{
	const gh__op_desc desc = { .kind = GH__OP_NORMALS,
				   .normals = { GH_F16, numbers, deviation } };
	gh__device *gpu = devices[GPU];
	gh__kernel *kernel = device_prepare(gpu, &desc);
	gh__normals_stream *list = allocate((size_t)streams, sizeof *list);
	size_t count = (size_t)(streams * numbers) + 1;
	uint16_t *out = allocate(count, sizeof *out);
	gh__op_args args = { .normals = { .m = streams } };
	void *memory[4];

	for (int64_t i = 0; i < streams; i++)
		list[i] = gh__poc_stream_of(&starts[i]);
	memset(out, 0x55, count * sizeof *out);
	args.normals.stream = memory[0] = on_gpu(list, (size_t)streams * sizeof *list);
	args.normals.tables = memory[1] = on_gpu(from, sizeof *from);
	args.normals.y = memory[2] = on_gpu(out, count * sizeof *out);
	args.normals.workspace = memory[3] =
		on_gpu(NULL, gpu->table->workspace(gpu->self, kernel, streams));
	/* twice: what a workspace holds does not show */
	device_run(gpu, kernel, &args);
	device_run(gpu, kernel, &args);
	assert_ok(gpu->table->download(gpu->self, out, args.normals.y, count * sizeof *out, NULL,
				       error));
	assert_ok(gpu->table->synchronise(gpu->self, NULL, error));
	ck_assert_uint_eq(out[count - 1], 0x5555);
	for (size_t i = 0; i < COUNT(memory); i++)
		off_gpu(memory[i]);
	gh__device_kernel_free(gpu, kernel);
	gh__free(list);
	return out;
}

static void assert_drawn(const gh__normal_tables *from, int64_t streams, int64_t numbers,
			 double deviation)
{
	gh__pcg64 *starts = allocate((size_t)streams, sizeof *starts);
	uint16_t *expected = allocate((size_t)numbers, sizeof *expected), *got;

	for (int64_t i = 0; i < streams; i++)
		starts[i] = start_of((int)(i + numbers));
	got = draw(from, starts, streams, numbers, deviation);
	for (int64_t i = 0; i < streams; i++) {
		gh__normals normals = { .tables = from,
					.start = starts[i],
					.out = expected,
					.dtype = GH_F16,
					.count = (size_t)numbers,
					.deviation = deviation,
					.threads = 4 };

		assert_ok(gh__normals_fill(&normals, NULL, error));
		for (int64_t j = 0; j < numbers; j++)
			ck_assert_msg(got[i * numbers + j] == expected[j],
				      "%lld numbers, stream %lld, number %lld: %04x, not %04x",
				      (long long)numbers, (long long)i, (long long)j,
				      got[i * numbers + j], expected[j]);
	}
	gh__free(got);
	gh__free(expected);
	gh__free(starts);
}

static void setup(void)
{
	assert_ok(gh__normal_tables_make(&tables, error));
}

START_TEST(any_number_of_any_streams)
{
	static const int64_t numbers[] = { 1, 2, 7, 8, 100, 999, 1000, 1024, 2048, 5000, 131072 };

	for (size_t i = 0; i < COUNT(numbers); i++)
		for (int64_t streams = 1; streams <= 200; streams = streams * 5 + 2)
			assert_drawn(&tables, streams, numbers[i], streams % 3 ? 0.02 : 0.0);
}
END_TEST

START_TEST(long_streams)
{
	assert_drawn(&tables, 1, 1000000, 0.02);
	assert_drawn(&tables, 3, 1000001, 0.0);
	assert_drawn(&tables, 64, 458752, 0.0); /* a batch of the network's inputs */
	assert_drawn(&tables, 1, 30000000, 0.02);
}
END_TEST

/* Tables under which hardly a draw is a sample by itself: guess and truth of a segment often never
 * meet, and a stream needs more draws than are planned. */
START_TEST(wasteful_tables)
{
	static gh__normal_tables wasteful;

	wasteful = tables;
	for (int i = 0; i < GH__NORMAL_LAYERS; i++)
		wasteful.k[i] = 0;
	for (int64_t numbers = 1; numbers < 200000; numbers = numbers * 7 + 3)
		assert_drawn(&wasteful, 3, numbers, 0.0);
}
END_TEST

static void assert_digest(const void *bytes, size_t size, const char *expected)
{
	unsigned char digest[GH__SHA256_SIZE];
	char digits[2 * GH__SHA256_SIZE + 1];

	assert_ok(gh__sha256(digest, bytes, size, error));
	for (size_t i = 0; i < sizeof digest; i++)
		(void)snprintf(digits + 2 * i, 3, "%02x", digest[i]);
	ck_assert_str_eq(digits, expected);
}

/* Those of the golden file, when it is there; the largest has 888 million numbers. */
START_TEST(pools_are_the_networks)
{
	json_t *root = json_load_file(GH_TEST_GOLDEN "/poc-v1-rng.json", 0, NULL), *item;
	const char *name;

	json_object_foreach(json_object_get(root, "pools"), name, item)
	{
		const char *hash = json_string_value(json_object_get(item, "block_hash"));
		gh_poc_params params;
		gh__poc_shape shape;
		gh__pcg64 start;
		uint16_t *pool;

		assert_ok(gh_poc_params_named(&params, name, error));
		assert_ok(gh__poc_shape_of(&shape, &params, error));
		assert_ok(gh__poc_seed_pool(&start, hash, error));
		pool = draw(&tables, &start, 1, (int64_t)shape.pool_size, GH__POC_DEVIATION);
		assert_digest(pool, shape.pool_size * sizeof *pool,
			      json_string_value(json_object_get(item, "sha256_pool_f16")));
		gh__free(pool);
	}
	json_decref(root);
}
END_TEST

START_TEST(nothing_to_draw)
{
	const gh__op_desc desc = { .kind = GH__OP_NORMALS, .normals = { GH_F16, 5, 0.0 } };
	gh__kernel *kernel = device_prepare(devices[GPU], &desc);
	const gh__op_args args = { .normals = { .m = 0 } };

	device_run(devices[GPU], kernel, &args);
	gh__device_kernel_free(devices[GPU], kernel);
}
END_TEST

START_TEST(refused)
{
	gh__op_desc desc = { .kind = GH__OP_NORMALS, .normals = { GH_F32, 5, 0.0 } };
	gh__kernel *kernel = NULL;

	assert_fails(GH_ENOTSUP, "F32", gh__device_prepare(devices[GPU], &desc, &kernel, error));
	desc.normals = (gh__normals_desc){ GH_F16, 0, 0.0 };
	assert_fails(GH_EINVAL, "numbers", gh__device_prepare(devices[GPU], &desc, &kernel, error));
	desc.normals = (gh__normals_desc){ GH_F16, 5, -1.0 };
	assert_fails(GH_EINVAL, "deviation",
		     gh__device_prepare(devices[GPU], &desc, &kernel, error));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("cuda_normals");
	TCase *tcase = tcase_create("normals");

	suite_add_tcase(suite, tcase);
	tcase_add_checked_fixture(tcase, setup, NULL);
	tcase_add_test(tcase, any_number_of_any_streams);
	tcase_add_test(tcase, long_streams);
	tcase_add_test(tcase, wasteful_tables);
	tcase_add_test(tcase, pools_are_the_networks);
	tcase_add_test(tcase, nothing_to_draw);
	tcase_add_test(tcase, refused);
	return pair_main(suite);
}
