#include "base/number.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <locale.h>
#include <math.h>
#include <float.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool gh__parse_int64(const char *text, int64_t *out)
{
	const char *at = text;
	bool negative = *at == '-';
	uint64_t value = 0;
	const uint64_t limit = (uint64_t)INT64_MAX + (negative ? 1 : 0);

	if (*at == '-' || *at == '+')
		at++;
	if (*at == '\0')
		return false;
	for (; *at; at++) {
		if (*at < '0' || *at > '9')
			return false;
		uint64_t digit = (uint64_t)(*at - '0');
		if (value > (limit - digit) / 10)
			return false;
		value = value * 10 + digit;
	}
	*out = negative ? (int64_t)(0 - value) : (int64_t)value;
	return true;
}

static const char *skip_digits(const char *at)
{
	while (*at >= '0' && *at <= '9')
		at++;
	return at;
}

bool gh__parse_double(const char *text, double *out)
{
	const char *at = text, *from;
	size_t digits;

	if (*at == '-' || *at == '+')
		at++;
	from = at;
	at = skip_digits(at);
	digits = (size_t)(at - from);
	if (*at == '.') {
		from = ++at;
		at = skip_digits(at);
		digits += (size_t)(at - from);
	}
	if (digits == 0)
		return false;
	if (*at == 'e' || *at == 'E') {
		at++;
		if (*at == '-' || *at == '+')
			at++;
		from = at;
		at = skip_digits(at);
		if (at == from)
			return false;
	}
	if (*at != '\0')
		return false;

	/* glibc hands out one static object for the whole C locale: nothing is allocated. */
	locale_t c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
	if (!c_locale)
		return false;
	double value = strtod_l(text, NULL, c_locale);
	freelocale(c_locale);
	if (!isfinite(value))
		return false;
	*out = value;
	return true;
}

/* value = digits * 10^exponent. No decimal point in the text, so the locale has no say. */
static bool reads_back(uint64_t digits, int exponent, double value)
{
	char text[40];

	snprintf(text, sizeof text, "%" PRIu64 "e%d", digits, exponent);
	return strtod(text, NULL) == value;
}

/* The first `count` significant digits of a positive value, rounded. */
static uint64_t leading_digits(double value, int count, int *exponent)
{
	char text[40];
	uint64_t digits = 0;
	const char *at = text;

	snprintf(text, sizeof text, "%.*e", count - 1, value);
	for (; *at != 'e'; at++)
		if (isdigit((unsigned char)*at))
			digits = digits * 10 + (uint64_t)(*at - '0');
	*exponent = (int)strtol(at + 1, NULL, 10) - (count - 1);
	return digits;
}

static uint64_t shortest_digits(double value, int *exponent)
{
	int fraction_exponent;
	/* Below a power of two the doubles lie closer than above it, so there the nearest decimal
	 * may miss where its upper neighbour of the same length reads back. */
	bool power_of_two = frexp(value, &fraction_exponent) == 0.5;

	/* 15 digits survive in every normal double; subnormals hold fewer. */
	for (int count = value < DBL_MIN ? 1 : 15; count < 17; count++) {
		uint64_t digits = leading_digits(value, count, exponent);

		if (reads_back(digits, *exponent, value))
			return digits;
		if (power_of_two && reads_back(digits + 1, *exponent, value))
			return digits + 1;
	}
	return leading_digits(value, 17, exponent);
}

int gh__double_text(char out[GH__DOUBLE_SIZE], double value)
{
	const char *sign = signbit(value) ? "-" : "";
	char digits[24];
	int exponent;

	if (!isfinite(value))
		return snprintf(out, GH__DOUBLE_SIZE, "%s%s", isnan(value) ? "" : sign,
				isnan(value) ? "nan" : "inf");
	value = fabs(value);
	if (value < 1e15 && value == floor(value))
		return snprintf(out, GH__DOUBLE_SIZE, "%s%" PRIu64 ".0", sign, (uint64_t)value);

	uint64_t number = shortest_digits(value, &exponent);
	while (number % 10 == 0) {
		number /= 10;
		exponent++;
	}
	int count = snprintf(digits, sizeof digits, "%" PRIu64, number);
	int point = count + exponent; /* value = 0.digits * 10^point */

	if (point > 16 || point < -3)
		return snprintf(out, GH__DOUBLE_SIZE, "%s%c%s%se%c%02d", sign, digits[0],
				count > 1 ? "." : "", digits + 1, point > 0 ? '+' : '-',
				abs(point - 1));
	if (point <= 0)
		return snprintf(out, GH__DOUBLE_SIZE, "%s0.%.*s%s", sign, -point, "000", digits);
	if (point >= count)
		return snprintf(out, GH__DOUBLE_SIZE, "%s%s%.*s.0", sign, digits, point - count,
				"0000000000000000");
	return snprintf(out, GH__DOUBLE_SIZE, "%s%.*s.%s", sign, point, digits, digits + point);
}
