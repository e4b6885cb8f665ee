#include "lanes.cuh"

/*
 * Copies of rows. EMBED: y[i, :] = table[id[i] - first, :], zeros for an id that is not in this
 * slice. SELECT: y[i, :] = x[row[i], :]. No arithmetic; 2 m n elements moved, 16 bytes at a time
 * where rows and addresses allow it, else 4 or 2. Twin: device/cpu/embed.c.
 */
enum { THREADS = 128, LOADS = 4 };

/* `width` units T a row; rows of x are `stride` units apart, `rows` of them from id `first` on. */
template <typename T>
static __global__ void __launch_bounds__(THREADS)
	copy_kernel(const T *__restrict__ x, int64_t stride, int64_t first, int64_t rows,
		    const int32_t *__restrict__ id, T *__restrict__ y, int64_t width)
{
	const int64_t row = id[blockIdx.x] - first;
	const bool here = row >= 0 && row < rows && id[blockIdx.x] >= 0;
	const T *from = x + (here ? row : 0) * stride;
	const int64_t step = (int64_t)gridDim.y * blockDim.x;

	y += blockIdx.x * width;
	for (int64_t i = (int64_t)blockIdx.y * blockDim.x + threadIdx.x; i < width;
	     i += LOADS * step) {
		T held[LOADS];

#pragma unroll
		for (int j = 0; j < LOADS; j++) {
			held[j] = T();
			if (here && i + j * step < width)
				held[j] = from[i + j * step];
		}
#pragma unroll
		for (int j = 0; j < LOADS; j++) {
			if (i + j * step < width)
				y[i + j * step] = held[j];
		}
	}
}

template <typename T>
static void copy(const gh__launch *on, const void *x, int64_t stride, int64_t first, int64_t rows,
		 const int32_t *id, void *y, int64_t size, int64_t m)
{
	const int64_t width = size / (int64_t)sizeof(T);
	const unsigned threads = gh_threads(width, THREADS);
	const int64_t parts = (width + threads * LOADS - 1) / (threads * LOADS);
	const dim3 grid((unsigned)m, (unsigned)(parts < 1024 ? parts : 1024));

	copy_kernel<T><<<grid, threads, 0, on->stream>>>((const T *)x, stride / (int64_t)sizeof(T),
							 first, rows, id, (T *)y, width);
}

/* stride and size of a row in bytes. */
static int copy_rows(const gh__launch *on, const void *x, int64_t stride, int64_t first,
		     int64_t rows, const int32_t *id, void *y, int64_t size, int64_t m)
{
	if (m == 0)
		return 0;
	if (gh_aligned(x, stride, 16) && gh_aligned(y, size, 16))
		copy<uint4>(on, x, stride, first, rows, id, y, size, m);
	else if (gh_aligned(x, stride, 4) && gh_aligned(y, size, 4))
		copy<uint32_t>(on, x, stride, first, rows, id, y, size, m);
	else
		copy<uint16_t>(on, x, stride, first, rows, id, y, size, m);
	return gh_launched();
}

static int64_t size_of(gh_dtype dtype)
{
	return dtype == GH_F32 ? 4 : 2;
}

extern "C" int gh__cuda_embed(const gh__launch *on, const gh__embed_desc *desc,
			      const gh__embed_args *args)
{
	const int64_t size = desc->hidden * size_of(desc->act);

	return copy_rows(on, args->table, size, args->first, args->rows, args->id, args->y, size,
			 args->m);
}

extern "C" int gh__cuda_select(const gh__launch *on, const gh__select_desc *desc,
			       const gh__select_args *args)
{
	const int64_t size = size_of(desc->act);

	return copy_rows(on, args->x, args->x_stride * size, 0, INT64_MAX, args->row, args->y,
			 desc->n * size, args->m);
}
