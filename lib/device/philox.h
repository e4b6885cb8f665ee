#ifndef GH_DEVICE_PHILOX_H
#define GH_DEVICE_PHILOX_H

#include <stdint.h>

#include "device/both.h"

/*
 * Philox 4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", 2011):
 * 128 bits of counter and 64 of key to 128 random bits.
 */
GH__BOTH static inline void gh__philox(uint32_t out[4], const uint32_t counter[4], uint64_t key)
{
	uint32_t a = counter[0], b = counter[1], c = counter[2], d = counter[3];
	uint32_t low = (uint32_t)key, high = (uint32_t)(key >> 32);

	for (int round = 0; round < 10; round++) {
		uint64_t x = (uint64_t)0xd2511f53 * a;
		uint64_t y = (uint64_t)0xcd9e8d57 * c;

		a = (uint32_t)(y >> 32) ^ b ^ low;
		b = (uint32_t)y;
		c = (uint32_t)(x >> 32) ^ d ^ high;
		d = (uint32_t)x;
		low += 0x9e3779b9;
		high += 0xbb67ae85;
	}
	out[0] = a;
	out[1] = b;
	out[2] = c;
	out[3] = d;
}

#endif
