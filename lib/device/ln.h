#ifndef GH_DEVICE_LN_H
#define GH_DEVICE_LN_H

#include <math.h>

#include "device/both.h"

/* Natural logarithm of x > 0: the series of 2 artanh((m - 1) / (m + 1)), m in [0.7, 1.42). */
GH__BOTH static inline double gh__ln(double x)
{
	int exponent;
	double m = frexp(x, &exponent), z, z2, s = 0.0;

	if (m < 0x1.6a09e667f3bcdp-1) {
		m *= 2.0;
		exponent--;
	}
	z = (m - 1.0) / (m + 1.0);
	z2 = z * z;
	for (int i = 23; i > 0; i -= 2)
		s = s * z2 + 1.0 / i;
	return exponent * 0x1.62e42fefa39efp-1 + 2.0 * z * s;
}

#endif
