#include "device/cpu/tensor_core.h"

/*
 * A number is kept as m 2^(e - 1) with 2 <= |m| < 4 (less when it is subnormal), so a product is
 * the product of two m, exact in f32, and the sum of two e, for any of the types. e is biased by
 * 127 as in f32, a sum of two by 254. Zero has m = 0 and an e below all others; a NaN or an infinity
 * m = 0 and an e above all others, which the largest exponent of the step then shows.
 *
 * About ten instructions for eight products; splitting weights is shared by the rows.
 */
enum {
	STEP = 32,              /* k of the longest step */
	COLUMNS = MICRO_HALF,   /* outputs at once */
	OF_ZERO = -(1 << 10),   /* e of zero: below 0 with any other but those of no number */
	OF_NO_NUMBER = 1 << 16, /* e of NaN and infinity */
	BIAS = 127,
	ALL = 0x7fffffff
};

typedef struct operands {
	_Alignas(32) float m[STEP][COLUMNS], e[STEP][COLUMNS]; /* e: bits of an integer */
} operands;

typedef struct split {
	v8f m;
	v8i e;
} split;

/* Biased exponent of the type's smallest normal number, which the subnormal ones share. */
GH__INLINE int32_t least_of(gh_dtype type)
{
	return type == GH_F16 ? BIAS - 14 : type == GH_E4M3 ? BIAS - 6 : 1;
}

/*
 * The exponents that a step is aligned by, and what is left of the numbers: the one place that
 * knows how. C is split as bf16 is, whose range is that of f32.
 */
GH__INLINE split split_of(gh_dtype type, v8f v)
{
	v8i bits = v8i_and(v8f_bits(v), v8i_set1(ALL));
	v8i field = v8i_srl(bits, 23);
	v8i e = v8i_max(field, v8i_set1(least_of(type)));
	v8f m = v8f_mul(v, v8i_float(v8i_sll(v8i_sub(v8i_set1(2 * BIAS + 1), e), 23)));
	v8i number = v8i_gt(v8i_set1(255), field), some = v8i_gt(bits, v8i_set1(0));
	v8f shown = v8f_select(some, v8i_float(e), v8i_float(v8i_set1(OF_ZERO)));

	shown = v8f_select(number, shown, v8i_float(v8i_set1(OF_NO_NUMBER)));
	return (split){ v8f_select(number, m, v8f_zero()), v8f_bits(shown) };
}

/* ---- one step of eight outputs ---- */

/* m 2^(e - most) in units of 2^(most - F), cut toward zero; m of a product: four times its own. */
GH__INLINE v8i term(int fraction, v8f m, v8i e, v8i most)
{
	v8i place = v8i_add(v8i_sub(e, most), v8i_set1(BIAS + fraction - 2));

	place = v8i_sll(v8i_max(place, v8i_set1(0)), 23);
	return v8f_truncate(v8f_mul(m, v8i_float(place)));
}

/* a + b, which needs 33 bits, cut to 24 significant ones. */
GH__INLINE v8f add_24(v8i a, v8i b)
{
	v8i sum = v8i_add(a, b);
	/* The sign that the sum has, or would have had before it wrapped round. */
	v8i sign = v8i_or(v8i_and(a, b), v8i_and(v8i_or(a, b), sum));
	v8i size = v8f_bits(v8f_select(sign, v8i_float(v8i_sub(v8i_set1(0), sum)), v8i_float(sum)));
	v8f high = v8f_mul(v8i_number(v8i_srl(size, 8)), v8f_set1(256.0F));
	v8f low = v8i_number(v8i_and(size, v8i_set1(255)));
	v8f rounded = v8f_add(high, low);
	v8f rest = v8f_add(v8f_sub(high, rounded), low);
	v8i below = v8i_sub(v8f_bits(rounded), v8i_set1(1));

	rounded = v8f_select(v8f_lt(rest, v8f_zero()), v8i_float(below), rounded);
	return v8i_float(v8i_or(v8f_bits(rounded), v8i_and(sign, v8i_set1(INT32_MIN))));
}

/* a + b, which are small, cut to 14 significant bits. */
GH__INLINE v8f add_14(v8i a, v8i b)
{
	v8f sum = v8i_number(v8i_add(a, b));

	return v8i_float(v8i_and(v8f_bits(sum), v8i_set1(~0x3ff)));
}

/* a 2^n; n is cut where nothing of a is left. In two factors, so that the result is rounded once. */
GH__INLINE v8f scaled(v8f a, v8i n)
{
	v8i half;

	n = v8i_max(n, v8i_set1(-250));
	half = v8i_sra(n, 1);
	a = v8f_mul(a, v8i_float(v8i_sll(v8i_add(half, v8i_set1(BIAS)), 23)));
	return v8f_mul(a, v8i_float(v8i_sll(v8i_add(v8i_sub(n, half), v8i_set1(BIAS)), 23)));
}

GH__INLINE v8f step_of(gh_dtype type, const float *xm, const float *xe, const operands *w,
		       int column, v8f c)
{
	const int count = (int)tensor_step(type), fraction = type == GH_E4M3 ? 13 : 25;
	split old = split_of(GH_BF16, c); /* times one, which is 2 * 2^(0 - 1) */
	v8i most = v8i_max(v8i_add(old.e, v8i_set1(BIAS)), v8i_set1(0)), sum = v8i_set1(0);
	v8f result;

	for (int i = 0; i < count; i++) {
		v8i e = v8i_add(v8f_bits(v8f_set1(xe[i])), v8f_bits(v8f_load(&w->e[i][column])));

		most = v8i_max(most, e);
	}
	for (int i = 0; i < count; i++) {
		v8i e = v8i_add(v8f_bits(v8f_set1(xe[i])), v8f_bits(v8f_load(&w->e[i][column])));
		v8f m = v8f_mul(v8f_set1(xm[i]), v8f_load(&w->m[i][column]));

		sum = v8i_add(sum, term(fraction, m, e, most));
	}
	old.e = v8i_add(old.e, v8i_set1(BIAS));
	old.m = v8f_mul(old.m, v8f_set1(2.0F));
	old.e = term(fraction, old.m, old.e, most);
	result = type == GH_E4M3 ? add_14(sum, old.e) : add_24(sum, old.e);
	result = scaled(result, v8i_sub(most, v8i_set1(2 * BIAS + fraction)));
	return v8f_select(v8i_gt(most, v8i_set1(OF_NO_NUMBER / 2)), v8f_set1(NAN), result);
}

/* ---- chains ---- */

/* Weights of `count` k, filled up with zeros to a step. */
GH__INLINE void split_weights(gh_dtype type, weight_kind kind, const unsigned char *w,
			      size_t w_step, int64_t count, operands *out)
{
	for (int64_t i = 0; i < tensor_step(type); i++, w += w_step) {
		v8f v[2] = { v8f_zero(), v8f_zero() };

		if (i < count)
			load_weights(kind, w, v);
		for (int h = 0; h < 2; h++) {
			split s =
				split_of(type, kind == WEIGHT_E4M3 ? v8f_mul(v[h], v8f_set1(256.0F))
								   : v[h]);

			v8f_store(&out->m[i][8 * h], s.m);
			v8f_store(&out->e[i][8 * h], v8i_float(s.e));
		}
	}
}

GH__INLINE void split_row(gh_dtype type, const float *x, int64_t count, float *m, float *e)
{
	for (int64_t i = 0; i < tensor_step(type); i += 8) {
		split s = split_of(type,
				   i < count ? v8f_load_n(GH_F32, x, i, count - i) : v8f_zero());

		v8f_store(m + i, s.m);
		v8f_store(e + i, v8i_float(s.e));
	}
}

GH__INLINE void chain(gh_dtype type, weight_kind kind, int64_t rows, const float *x,
		      int64_t x_stride, const unsigned char *w, size_t w_step, int64_t k,
		      float *acc, size_t acc_row)
{
	_Alignas(32) float m[STEP], e[STEP];
	operands weights;

	for (int64_t at = 0; at < k; at += tensor_step(type)) {
		split_weights(type, kind, w + (size_t)at * w_step, w_step, k - at, &weights);
		for (int64_t r = 0; r < rows; r++) {
			float *to = acc + (size_t)r * acc_row;

			split_row(type, x + r * x_stride + at, k - at, m, e);
			for (int h = 0; h < COLUMNS; h += 8)
				v8f_store(to + h,
					  step_of(type, m, e, &weights, h, v8f_load(to + h)));
		}
	}
}

void tensor_chain(gh_dtype type, weight_kind kind, int64_t rows, const float *x, int64_t x_stride,
		  const unsigned char *w, size_t w_step, int64_t k, float *acc, size_t acc_row,
		  bool begin)
{
	for (int64_t r = 0; r < rows && begin; r++)
		memset(acc + (size_t)r * acc_row, 0, COLUMNS * sizeof *acc);
	switch (type) {
	case GH_F16:
		chain(GH_F16, kind, rows, x, x_stride, w, w_step, k, acc, acc_row);
		break;
	case GH_BF16:
		chain(GH_BF16, kind, rows, x, x_stride, w, w_step, k, acc, acc_row);
		break;
	default:
		chain(GH_E4M3, kind, rows, x, x_stride, w, w_step, k, acc, acc_row);
		break;
	}
}
