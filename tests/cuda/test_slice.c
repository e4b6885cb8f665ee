#include "pair.h"

#include "launch.h"
#include "poc/tensors.h"

/* Tensors out of a pool on the GPU against plain loops over the rules of ops.h and launch.h. */
enum { POOL = 30011, ROOM = 1 << 18 };

static uint16_t pool[POOL], expected[ROOM], got[ROOM];
static void *pool_there, *dst;

static void setup(void)
{
	uint64_t state = 7;

	for (int i = 0; i < POOL; i++)
		pool[i] = (uint16_t)random_next(&state);
	pool_there = device_alloc(devices[GPU], sizeof pool);
	dst = device_alloc(devices[GPU], sizeof got);
	assert_ok(devices[GPU]->table->upload(devices[GPU]->self, pool_there, pool, sizeof pool,
					      NULL, error));
}

static void teardown(void)
{
	devices[GPU]->table->release(devices[GPU]->self, pool_there);
	devices[GPU]->table->release(devices[GPU]->self, dst);
}

/* Rows of the tensor where the matrix has them, zeros behind them, the rest as it was. */
static void expect(const gh__linear_desc *desc, const gh__slice *slice, int64_t row)
{
	int64_t stride = gh__cuda_linear_stride(desc), k = desc->k;
	static uint16_t elements[ROOM];

	gh__poc_slice_copy(elements, pool, slice, 0, slice->size);
	memset(expected, 0x55, sizeof expected);
	for (int64_t r = 0; r < (int64_t)slice->size / k; r++) {
		uint16_t *to = expected + gh__cuda_linear_row(desc, row + r) * stride;

		memset(to, 0, (size_t)stride * sizeof *to);
		memcpy(to, elements + r * k, (size_t)k * sizeof *to);
	}
}

static void assert_sliced(const gh__linear_desc *desc, const gh__slice *slice, int64_t row)
{
	const gh__op_desc op = { .kind = GH__OP_LINEAR, .linear = *desc };
	gh__device *gpu = devices[GPU];
	bool plain = desc->n == 1;
	gh__kernel *kernel = plain ? NULL : device_prepare(gpu, &op);

	memset(got, 0x55, sizeof got);
	assert_ok(gpu->table->upload(gpu->self, dst, got, sizeof got, NULL, error));
	assert_ok(gpu->table->pack_slice(gpu->self, kernel, dst, pool_there, slice, row, NULL,
					 error));
	assert_ok(gpu->table->download(gpu->self, got, dst, sizeof got, NULL, error));
	assert_ok(gpu->table->synchronise(gpu->self, NULL, error));
	gh__device_kernel_free(gpu, kernel);
	expect(desc, slice, row);
	for (int i = 0; i < ROOM; i++)
		ck_assert_msg(got[i] == expected[i],
			      "%lld x %lld from %llu, row %lld: element %d is %04x, not %04x",
			      (long long)desc->n, (long long)desc->k,
			      (unsigned long long)slice->start, (long long)row, i, got[i],
			      expected[i]);
}

/* As large as the pool, larger by some, or smaller, from the first and last place and some between. */
START_TEST(slices_lie_where_they_belong)
{
	static const int64_t columns[] = { 8, 9, 15, 28, 64, 100, 128, 1792, 4097 };
	static const int64_t heights[] = { 1, 3, 7, 8, 13, 17 };

	for (size_t c = 0; c < COUNT(columns) * COUNT(heights); c++) {
		int64_t k = columns[c / COUNT(heights)], rows = heights[c % COUNT(heights)];
		gh__linear_desc desc = { .weight = GH_F16, .act = GH_F16, .out = GH_F16, .k = k };
		gh__slice slice = { .size = (uint64_t)(rows * k), .pool_size = POOL };

		slice.tiled = slice.size > POOL;
		for (uint64_t start = 0; start < 25; start++) {
			uint64_t last = slice.tiled ? slice.size - 1 : POOL - slice.size;

			slice.start = start < 17 ? start : last - (start - 17);
			if (slice.start > last)
				continue;
			desc.n = rows + (rows > 1 ? 2 : 0);
			desc.epilogue = GH__EPILOGUE_NONE;
			assert_sliced(&desc, &slice, rows > 1 ? 2 : 0);
			desc.epilogue = GH__EPILOGUE_SWIGLU;
			desc.n = 2 * rows;
			assert_sliced(&desc, &slice, 0);
			assert_sliced(&desc, &slice, rows);
		}
	}
}
END_TEST

/* The pool goes round in the middle of a row, and of eight elements, again and again. */
START_TEST(small_pools_are_tiled)
{
	gh__linear_desc desc = { .weight = GH_F16, .act = GH_F16, .out = GH_F16, .n = 40, .k = 96 };
	gh__slice slice = { .size = 40 * 96, .tiled = true };

	for (uint64_t size = 1; size < slice.size; size = size * 3 + 1)
		for (uint64_t start = 0; start < slice.size; start = start * 2 + 3) {
			slice.pool_size = size;
			slice.start = start;
			assert_sliced(&desc, &slice, 0);
		}
}
END_TEST

START_TEST(refused)
{
	gh__device *gpu = devices[GPU];
	gh__op_desc op = {
		.kind = GH__OP_LINEAR,
		.linear = { .weight = GH_F16, .act = GH_F16, .out = GH_F16, .n = 4, .k = 64 }
	};
	gh__kernel *kernel = device_prepare(gpu, &op);
	gh__slice slice = { .size = 256, .pool_size = 256, .start = 1 };

	assert_fails(GH_EINVAL, "are not in a pool",
		     gpu->table->pack_slice(gpu->self, kernel, dst, pool_there, &slice, 0, NULL,
					    error));
	slice.start = 0;
	assert_fails(GH_EINVAL, "rows: 4 from 1",
		     gpu->table->pack_slice(gpu->self, kernel, dst, pool_there, &slice, 1, NULL,
					    error));
	slice.size = 100;
	assert_fails(GH_EINVAL, "no rows of 64",
		     gpu->table->pack_slice(gpu->self, kernel, dst, pool_there, &slice, 0, NULL,
					    error));
	gh__device_kernel_free(gpu, kernel);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("cuda_slice");
	TCase *tcase = tcase_create("slice");

	suite_add_tcase(suite, tcase);
	tcase_add_unchecked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, slices_lie_where_they_belong);
	tcase_add_test(tcase, small_pools_are_tiled);
	tcase_add_test(tcase, refused);
	return pair_main(suite);
}
