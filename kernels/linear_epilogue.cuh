#ifndef GH_KERNELS_LINEAR_EPILOGUE_CUH
#define GH_KERNELS_LINEAR_EPILOGUE_CUH

#include "common.cuh"
#include "linear.cuh"

/*
 * From a sum to y, for every kernel of linear. All of it but the scaling is decided at run time: it
 * is a few steps an output, beside thousands for its sum.
 */

/* What a sum is multiplied with: nothing, the column's scale, or the column's, then the row's. */
enum gh_linear_scaling { GH_LINEAR_PLAIN, GH_LINEAR_COLUMNS, GH_LINEAR_BOTH };

typedef struct gh_linear_epilogue {
	const float *x_scale; /* [m], BOTH only */
	const float *w_scale; /* [n], not PLAIN */
	const void *bias;     /* [n] bias_type, or NULL */
	void *y;
	int64_t y_stride, m;
	int64_t columns; /* of y */
	gh_dtype bias_type, out;
	bool glu;
	bool pairs; /* y takes two neighbours of an even column in one store */
} gh_linear_epilogue;

static inline gh_linear_epilogue gh_linear_epilogue_of(const gh__linear_desc *desc,
						       const gh_linear_operands *in)
{
	gh_linear_epilogue e;

	e.x_scale = in->x_scale;
	e.w_scale = in->w_scale;
	e.bias = desc->bias ? in->bias : NULL;
	e.y = in->y;
	e.y_stride = in->y_stride;
	e.m = in->m;
	e.glu = desc->epilogue == GH__EPILOGUE_SWIGLU;
	e.columns = e.glu ? desc->n / 2 : desc->n;
	e.bias_type = desc->act == GH_E4M3 ? desc->out : desc->act;
	e.out = desc->out;
	e.pairs = in->y_stride % 2 == 0 && (uintptr_t)in->y % 8 == 0;
	return e;
}

/* x[at], of a dtype that is not e4m3. */
__device__ __forceinline__ float gh_linear_load(gh_dtype dtype, const void *x, int64_t at)
{
	if (dtype == GH_F16)
		return gh_widen(static_cast<const __half *>(x)[at]);
	if (dtype == GH_BF16)
		return gh_widen(static_cast<const __nv_bfloat16 *>(x)[at]);
	return static_cast<const float *>(x)[at];
}

__device__ __forceinline__ float gh_linear_round(gh_dtype dtype, float x)
{
	if (dtype == GH_F16)
		return gh_round<__half>(x);
	if (dtype == GH_BF16)
		return gh_round<__nv_bfloat16>(x);
	return x;
}

/* A sum finished, before the rounding to out, with its column's scale and bias, if e has them. */
template <gh_linear_scaling scaling>
__device__ __forceinline__ float gh_linear_scaled(const gh_linear_epilogue &e, float sum,
						  float w_scale, float x_scale, float bias)
{
	if (scaling == GH_LINEAR_PLAIN)
		return e.bias != NULL ? __fadd_rn(sum, bias) : sum;
	sum = __fmul_rn(sum, w_scale);
	if (scaling == GH_LINEAR_BOTH)
		return e.bias != NULL ? __fmaf_rn(sum, x_scale, bias) : __fmul_rn(sum, x_scale);
	return e.bias != NULL ? __fadd_rn(gh_linear_round(e.out, sum), bias) : sum;
}

/* The same of output n of W, as desc counts them. */
template <gh_linear_scaling scaling>
__device__ __forceinline__ float gh_linear_finish(const gh_linear_epilogue &e, float sum,
						  float x_scale, int64_t n)
{
	const float bias = e.bias != NULL ? gh_linear_load(e.bias_type, e.bias, n) : 0.0F;

	return gh_linear_scaled<scaling>(e, sum, scaling == GH_LINEAR_PLAIN ? 1.0F : e.w_scale[n],
					 x_scale, bias);
}

/* y of a gate and an up that are finished, before the rounding to out. */
__device__ __forceinline__ float gh_linear_glu(gh_dtype out, float gate, float up)
{
	gate = gh_linear_round(out, gate);
	gate = out == GH_F32 ? gh_silu(gate) : gh_silu_narrow(gate);
	return __fmul_rn(gh_linear_round(out, gate), gh_linear_round(out, up));
}

/*
 * Column `column` of y before the rounding to out. gate: its sum; up: with glu, the sum of up, which
 * lies eight rows of W further.
 */
template <gh_linear_scaling scaling>
__device__ __forceinline__ float gh_linear_value(const gh_linear_epilogue &e, float gate, float up,
						 float x_scale, int64_t column)
{
	const float v = gh_linear_finish<scaling>(e, gate, x_scale, column);

	if (!e.glu)
		return v;
	return gh_linear_glu(e.out, v,
			     gh_linear_finish<scaling>(e, up, x_scale, e.columns + column));
}

__device__ __forceinline__ void gh_linear_put(const gh_linear_epilogue &e, int64_t row,
					      int64_t column, float v)
{
	int64_t at = row * e.y_stride + column;

	if (e.out == GH_F16)
		static_cast<__half *>(e.y)[at] = gh_narrow<__half>(v);
	else if (e.out == GH_BF16)
		static_cast<__nv_bfloat16 *>(e.y)[at] = gh_narrow<__nv_bfloat16>(v);
	else
		static_cast<float *>(e.y)[at] = v;
}

/* Columns `column`, which is even, and the next, where e.pairs. */
__device__ __forceinline__ void gh_linear_put_pair(const gh_linear_epilogue &e, int64_t row,
						   int64_t column, float v, float w)
{
	int64_t at = row * e.y_stride + column;

	if (e.out == GH_F16)
		*reinterpret_cast<__half2 *>(static_cast<__half *>(e.y) + at) =
			__halves2half2(gh_narrow<__half>(v), gh_narrow<__half>(w));
	else if (e.out == GH_BF16)
		*reinterpret_cast<__nv_bfloat162 *>(static_cast<__nv_bfloat16 *>(e.y) + at) =
			__halves2bfloat162(gh_narrow<__nv_bfloat16>(v),
					   gh_narrow<__nv_bfloat16>(w));
	else
		*reinterpret_cast<float2 *>(static_cast<float *>(e.y) + at) = make_float2(v, w);
}

/*
 * Two neighbouring columns of a row below m, from an accumulator whose threads hold W's rows in
 * pairs; gate[2], up[2] as above. column is even, and may be beyond y.
 */
template <gh_linear_scaling scaling>
__device__ __forceinline__ void gh_linear_store(const gh_linear_epilogue &e, int64_t row,
						int64_t column, const float *gate, const float *up,
						float x_scale)
{
	float v, w;

	if (column >= e.columns)
		return;
	v = gh_linear_value<scaling>(e, gate[0], up[0], x_scale, column);
	if (column + 1 == e.columns) {
		gh_linear_put(e, row, column, v);
		return;
	}
	w = gh_linear_value<scaling>(e, gate[1], up[1], x_scale, column + 1);
	if (e.pairs) {
		gh_linear_put_pair(e, row, column, v, w);
	} else {
		gh_linear_put(e, row, column, v);
		gh_linear_put(e, row, column + 1, w);
	}
}

#endif
