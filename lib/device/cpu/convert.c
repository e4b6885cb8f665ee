#include "device/cpu/twin.h"

/*
 * Conversions of arrays, see quantise.h. Element by element, exactly rounded; count elements read,
 * count written.
 */
GH__INLINE void convert_as(gh_dtype to, gh_dtype from, void *dst, const void *src, size_t count)
{
	int64_t n = (int64_t)count;

	for (int64_t i = 0; i < n; i += 8)
		v8f_store_n(to, dst, i, v8f_load_n(from, src, i, n - i), n - i);
}

void GH__TWIN(gh__cpu_convert)(void *dst, gh_dtype dst_dtype, const void *src, gh_dtype src_dtype,
			       size_t count)
{
	if (dst_dtype == src_dtype)
		memcpy(dst, src, count * v8_element(dst_dtype));
	else if (dst_dtype == GH_F16 && src_dtype == GH_BF16)
		convert_as(GH_F16, GH_BF16, dst, src, count);
	else
		convert_as(dst_dtype, src_dtype, dst, src, count);
}

float GH__TWIN(gh__cpu_absmax)(const void *src, gh_dtype dtype, size_t count)
{
	int64_t n = (int64_t)count;
	v8f most = v8f_zero();
	v8i nan = v8i_set1(0);

	for (int64_t i = 0; i < n; i += 8) {
		v8f x = v8f_abs(v8f_load_n(dtype, src, i, n - i));

		most = v8f_max(x, most); /* a NaN is passed over: it is first */
		nan = v8i_or(nan, v8i_gt(v8f_bits(x), v8i_set1(0x7f800000)));
	}
	return v8i_mask(nan) ? NAN : v8f_hmax(most);
}

void GH__TWIN(gh__cpu_quantise_weight)(uint8_t *dst, const void *src, gh_dtype dtype, size_t count,
				       float scale)
{
	int64_t n = (int64_t)count;
	v8f inverse = v8f_set1(scale == 0.0F ? 0.0F : 1.0F / scale);

	for (int64_t i = 0; i < n; i += 8)
		v8f_store_n(GH_E4M3, dst, i, v8f_mul(v8f_load_n(dtype, src, i, n - i), inverse),
			    n - i);
}

void GH__TWIN(gh__cpu_quantise_row)(uint8_t *dst, const void *src, gh_dtype dtype, size_t count,
				    float *scale)
{
	int64_t n = (int64_t)count;
	v8f s;

	*scale = GH__TWIN(gh__cpu_absmax)(src, dtype, count) / GH__E4M3_MAX;
	if (*scale < 1.0F / (448.0F * 512.0F))
		*scale = 1.0F / (448.0F * 512.0F);
	s = v8f_set1(*scale);
	for (int64_t i = 0; i < n; i += 8)
		v8f_store_n(GH_E4M3, dst, i, v8f_div(v8f_load_n(dtype, src, i, n - i), s), n - i);
}
