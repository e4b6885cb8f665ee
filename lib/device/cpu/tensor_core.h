#ifndef GH_DEVICE_CPU_TENSOR_CORE_H
#define GH_DEVICE_CPU_TENSOR_CORE_H

#include "device/cpu/micro.h"

/*
 * Products as the tensor cores of a Hopper GPU form them, bit for bit: what a device opened with
 * GH_DEVICE_TENSOR_CORE computes with, in place of micro()'s fused multiply-adds.
 *
 * A step takes 16 products of f16 or bf16, or 32 of e4m3, and the sum so far, C. With F = 25 for
 * f16 and bf16 and 13 for e4m3, and 2^m the largest exponent among them:
 *   every product and C is cut, toward zero, to a multiple of 2^(m - F);
 *   these are added up exactly;
 *   the sum is cut, toward zero, to F - 1 (24) or F + 1 (14) significant bits.
 * The exponent of a product is the sum of its operands' exponents, though the product may be twice
 * as large; a subnormal number has the exponent of its type's smallest normal one. Zeros take no
 * part, so a step that is filled up with zeros is the step without them. A sum in f32's subnormal
 * range is rounded to nearest; what is beyond f32 is infinite; a step with a NaN or an infinity
 * gives a NaN.
 */

/* k of one step with operands of this type. */
GH__INLINE int64_t tensor_step(gh_dtype type)
{
	return type == GH_E4M3 ? 32 : 16;
}

/*
 * acc[r] (16 numbers, rows acc_row apart) continues, or begins from 0, with the chain of steps over
 * [0, k) of x[r] w; the last step may be short. x: f32 values of `type`, rows x_stride apart. w: 16
 * weights for every k, w_step bytes apart, stored as micro.h says, each a value of `type`.
 */
#define tensor_chain GH__TWIN(gh__tensor_chain)
void tensor_chain(gh_dtype type, weight_kind kind, int64_t rows, const float *x, int64_t x_stride,
		  const unsigned char *w, size_t w_step, int64_t k, float *acc, size_t acc_row,
		  bool begin);

#endif
