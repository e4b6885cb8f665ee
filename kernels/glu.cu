#include "lanes.cuh"

/*
 * y[m, n] = round(round(silu(g)) u): g the first n columns of a row, u the next n, see gh_glu().
 * 2 elements read, 1 written, 16 bytes at a time where rows and addresses allow it; about 40
 * instructions an element, which is near what memory gives time for. Twin: device/cpu/glu.c.
 */
enum { THREADS = 256 };

/* A thread: `count` neighbours of one row. */
template <typename T, int count>
static __global__ void __launch_bounds__(THREADS)
	glu_kernel(const T *__restrict__ gate_up, int64_t stride, T *__restrict__ y,
		   int64_t y_stride, int64_t n)
{
	using piece = gh_piece<T, count>;
	const T *gate = gate_up + blockIdx.x * stride;

	y += blockIdx.x * y_stride;
	for (int64_t i = ((int64_t)blockIdx.y * blockDim.x + threadIdx.x) * count; i < n;
	     i += (int64_t)gridDim.y * blockDim.x * count) {
		const piece g = *(const piece *)(gate + i), u = *(const piece *)(gate + n + i);
		piece out;

#pragma unroll
		for (int j = 0; j < count; j++)
			out.at[j] = gh_narrow<T>(gh_glu<T>(gh_widen(g.at[j]), gh_widen(u.at[j])));
		*(piece *)(y + i) = out;
	}
}

template <typename T, int count>
static void glu(const gh__launch *on, const gh__glu_desc *desc, const gh__glu_args *args)
{
	const int64_t pieces = (desc->n + count - 1) / count;
	const unsigned threads = gh_threads(pieces, THREADS);
	const unsigned parts = gh_blocks(pieces, threads);
	const dim3 grid((unsigned)args->m, parts < 65535 ? parts : 65535);

	glu_kernel<T, count><<<grid, threads, 0, on->stream>>>((const T *)args->gate_up,
							       args->stride, (T *)args->y,
							       args->y_stride, desc->n);
}

template <typename T>
static void glu_as(const gh__launch *on, const gh__glu_desc *desc, const gh__glu_args *args)
{
	const int64_t size = sizeof(T);

	if (gh_aligned(args->gate_up, args->stride * size, 16) && desc->n * size % 16 == 0 &&
	    gh_aligned(args->y, args->y_stride * size, 16))
		glu<T, 16 / sizeof(T)>(on, desc, args);
	else
		glu<T, 1>(on, desc, args);
}

extern "C" int gh__cuda_glu(const gh__launch *on, const gh__glu_desc *desc,
			    const gh__glu_args *args)
{
	if (args->m == 0)
		return 0;
	if (desc->act == GH_F16)
		glu_as<__half>(on, desc, args);
	else if (desc->act == GH_BF16)
		glu_as<__nv_bfloat16>(on, desc, args);
	else
		glu_as<float>(on, desc, args);
	return gh_launched();
}
