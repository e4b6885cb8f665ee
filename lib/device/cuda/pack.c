#include "base/error.h"
#include "device/cuda/context.h"

/* Weights from plain rows on the host to the layout of launch.h: copies, and no kernel. */

/* rows of k elements, from the place of row `row` on; they lie behind each other there. */
static cudaError_t copy_run(const gh__cuda *cuda, const gh__linear_desc *desc, char *dst,
			    const char *src, int64_t row, int64_t rows)
{
	size_t size = gh_dtype_size(desc->weight), width = (size_t)desc->k * size;
	size_t pitch = (size_t)gh__cuda_linear_stride(desc) * size;

	return cudaMemcpy2DAsync(dst + (size_t)gh__cuda_linear_row(desc, row) * pitch, pitch, src,
				 width, width, (size_t)rows, cudaMemcpyHostToDevice,
				 cuda->on.stream);
}

/* `groups` groups of eight rows of a SWIGLU matrix, from the place of row `row` on, where rows need
 * no padding: each group is one long row, and there is another between two of them. */
static cudaError_t copy_groups(const gh__cuda *cuda, const gh__linear_desc *desc, char *dst,
			       const char *src, int64_t row, int64_t groups)
{
	size_t width = (size_t)desc->k * gh_dtype_size(desc->weight);

	return cudaMemcpy2DAsync(dst + (size_t)gh__cuda_linear_row(desc, row) * width, 16 * width,
				 src, 8 * width, 8 * width, (size_t)groups, cudaMemcpyHostToDevice,
				 cuda->on.stream);
}

gh_status gh__cuda_pack(gh__cuda *cuda, const gh__linear_desc *desc, void *dst, const void *src,
			int64_t row, int64_t rows, gh_error *error)
{
	const size_t width = (size_t)desc->k * gh_dtype_size(desc->weight);
	const bool dense = gh__cuda_linear_stride(desc) == desc->k;
	const bool turns = desc->epilogue == GH__EPILOGUE_SWIGLU;
	const int64_t half = desc->n / 2, end = row + rows;
	const char *from = src;
	cudaError_t code = cudaSuccess;

	for (int64_t step; row < end && code == cudaSuccess;
	     row += step, from += (size_t)step * width) {
		int64_t stop = turns && row < half && end > half ? half : end;
		int64_t column = row < half ? row : row - half;

		if (!turns) {
			step = end - row;
			code = copy_run(cuda, desc, dst, from, row, step);
		} else if (dense && column % 8 == 0 && stop - row >= 8) {
			step = (stop - row) / 8 * 8;
			code = copy_groups(cuda, desc, dst, from, row, step / 8);
		} else {
			step = 8 - column % 8 < stop - row ? 8 - column % 8 : stop - row;
			code = copy_run(cuda, desc, dst, from, row, step);
		}
	}
	return gh__cuda_done(code, "weights", error);
}
