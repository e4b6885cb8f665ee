#ifndef GH_DEVICE_NARROW_H
#define GH_DEVICE_NARROW_H

#include <stdint.h>
#include <string.h>

/*
 * Narrow numbers, one at a time: the reference that the vector code must equal to the bit.
 *
 * Narrowing rounds to nearest, ties to even; subnormals are numbers like others. f16 and bf16
 * overflow to infinity and keep NaN (made quiet). e4m3 has no infinity: values are clamped to
 * +-448, every NaN becomes 0x7f.
 */
#define GH__E4M3_MAX 448.0F

static inline uint32_t gh__f32_bits(float x)
{
	uint32_t bits;

	memcpy(&bits, &x, sizeof bits);
	return bits;
}

static inline float gh__f32_of(uint32_t bits)
{
	float x;

	memcpy(&x, &bits, sizeof x);
	return x;
}

static inline float gh__f16_to_f32(uint16_t h)
{
	uint32_t sign = (uint32_t)(h & 0x8000) << 16;
	uint32_t rest = h & 0x7fff;

	if (rest > 0x7c00)
		return gh__f32_of(sign | 0x7fc00000 | rest << 13);
	if (rest == 0x7c00)
		return gh__f32_of(sign | 0x7f800000);
	if (rest < 0x0400) /* a multiple of 2^-24 */
		return gh__f32_of(sign | gh__f32_bits((float)rest * 0x1p-24F));
	return gh__f32_of(sign | ((rest << 13) + (112U << 23)));
}

static inline uint16_t gh__f32_to_f16(float x)
{
	uint32_t bits = gh__f32_bits(x);
	uint32_t sign = bits >> 16 & 0x8000;
	uint32_t rest = bits & 0x7fffffff;

	if (rest > 0x7f800000)
		return (uint16_t)(sign | 0x7e00 | (rest >> 13 & 0x3ff));
	if (rest >= 0x477ff000) /* 65520: half way to the first value that is not there */
		return (uint16_t)(sign | 0x7c00);
	if (rest < 0x38800000) /* below 2^-14; the sum's last place is 2^-24 */
		return (uint16_t)(sign | (gh__f32_bits(gh__f32_of(rest) + 0.5F) - 0x3f000000));
	rest += 0xfff + (rest >> 13 & 1);
	return (uint16_t)(sign | (rest - (112U << 23)) >> 13);
}

static inline float gh__bf16_to_f32(uint16_t h)
{
	return gh__f32_of((uint32_t)h << 16);
}

static inline uint16_t gh__f32_to_bf16(float x)
{
	uint32_t bits = gh__f32_bits(x);

	if ((bits & 0x7fffffff) > 0x7f800000)
		return (uint16_t)(bits >> 16 | 0x40);
	return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static inline float gh__e4m3_to_f32(uint8_t v)
{
	uint32_t sign = (uint32_t)(v & 0x80) << 24;
	uint32_t rest = v & 0x7f;

	if (rest == 0x7f)
		return gh__f32_of(sign | 0x7fc00000);
	if (rest < 8) /* a multiple of 2^-9 */
		return gh__f32_of(sign | gh__f32_bits((float)rest * 0x1p-9F));
	return gh__f32_of(sign | ((rest << 20) + (120U << 23)));
}

/* The e4m3 value that x becomes, as an f32; NaN stays NaN. */
static inline float gh__e4m3_round(float x)
{
	uint32_t sign = gh__f32_bits(x) & 0x80000000;
	uint32_t rest = gh__f32_bits(x) & 0x7fffffff;

	if (rest > 0x7f800000)
		return x;
	if (rest > 0x43e00000) /* 448 */
		rest = 0x43e00000;
	if (rest < 0x3c800000) { /* below 2^-6; the sum's last place is 2^-9 */
		rest = gh__f32_bits((gh__f32_of(rest) + 0x1p14F) - 0x1p14F);
	} else {
		rest += 0x7ffff + (rest >> 20 & 1);
		rest &= 0xfff00000;
	}
	return gh__f32_of(sign | rest);
}

static inline uint8_t gh__f32_to_e4m3(float x)
{
	float y = gh__e4m3_round(x);
	uint32_t sign = gh__f32_bits(y) >> 24 & 0x80;
	uint32_t rest = gh__f32_bits(y) & 0x7fffffff;

	if (rest > 0x7f800000)
		return 0x7f;
	if (rest < 0x3c800000)
		return (uint8_t)(sign | (uint32_t)(gh__f32_of(rest) * 0x1p9F));
	return (uint8_t)(sign | (rest - (120U << 23)) >> 20);
}

#endif
