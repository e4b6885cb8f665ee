#include <string.h>

#include "device/cpu/kernels.h"

/*
 * Packing of weights, and the sizes that go with it.
 *
 * [panel][k][32]: the outputs of a panel next to each other for every k; of a SWIGLU matrix 16
 * gates and the 16 ups of the same columns. Within each 16, bf16 outputs j and j + 8 are neighbours
 * (micro.h). Outputs past the last are zeros.
 */
size_t gh__linear_packed_size(const gh__linear_desc *desc)
{
	return (size_t)gh__linear_panels(desc) * GH__PANEL * (size_t)desc->k *
	       gh_dtype_size(desc->weight);
}

size_t gh__linear_workspace(const gh__linear_desc *desc, int64_t rows)
{
	if (desc->act == GH_F32 && desc->weight != GH_E4M3)
		return 0;
	return (size_t)((rows + 15) / 16 * 16 + rows * gh__linear_x_stride(desc)) * sizeof(float);
}

size_t gh__linear_scratch(void)
{
	return (size_t)GH__ROWS_MAX * GH__PANEL * sizeof(float);
}

typedef struct pack_job {
	const gh__linear_desc *desc;
	unsigned char *dst;
	const unsigned char *src;
	int64_t first; /* the row that src begins with */
} pack_job;

/* Where output `row` goes: a panel, and one of its 32 places. */
static int64_t panel_of(const gh__linear_desc *desc, int64_t row, int *place)
{
	const int64_t width = gh__linear_panel_columns(desc);
	const int64_t columns = gh__linear_columns(desc);
	const int64_t column = row < columns ? row : row - columns;
	const int at = (int)(column % width) + (row < columns ? 0 : GH__PANEL / 2);

	*place = at;
	if (desc->weight == GH_BF16)
		*place = at / 16 * 16 + at % 8 * 2 + at % 16 / 8;
	return column / width;
}

/* One row's elements, `size` bytes each, 32 elements apart. */
static inline void scatter(unsigned char *to, const unsigned char *from, int64_t count, size_t size)
{
	for (int64_t i = 0; i < count; i++)
		memcpy(to + (size_t)i * GH__PANEL * size, from + (size_t)i * size, size);
}

/* Rows by panelfuls and k by blocks, so that what is written to stays in the nearest cache. */
static void pack_rows(void *arg, int64_t first, int64_t count)
{
	enum { K = 256 };
	const pack_job *job = arg;
	const int64_t k = job->desc->k;
	const size_t size = gh_dtype_size(job->desc->weight);

	for (int64_t begin = first; begin < first + count; begin += GH__PANEL) {
		int64_t left = first + count - begin;
		int64_t end = begin + (left < GH__PANEL ? left : GH__PANEL);

		for (int64_t at = 0; at < k; at += K) {
			int64_t n = k - at < K ? k - at : K;

			for (int64_t row = begin; row < end; row++) {
				int place;
				int64_t panel = panel_of(job->desc, job->first + row, &place);
				const unsigned char *from =
					job->src + (size_t)(row * k + at) * size;
				unsigned char *to =
					job->dst +
					((size_t)(panel * k + at) * GH__PANEL + (size_t)place) *
						size;

				if (size == 1)
					scatter(to, from, n, 1);
				else if (size == 2)
					scatter(to, from, n, 2);
				else
					scatter(to, from, n, 4);
			}
		}
	}
}

void gh__linear_pack(const gh__cpu *cpu, const gh__linear_desc *desc, void *dst, const void *src,
		     int64_t row, int64_t rows)
{
	pack_job job = { desc, dst, src, row };

	gh__cpu_rows(cpu, pack_rows, &job, rows, GH__PANEL);
}
