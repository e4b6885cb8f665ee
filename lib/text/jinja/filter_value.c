#include "text/jinja/value.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/number.h"

/*
 * Filters on numbers, and default.
 */

static bool default_of(jinja_run *run, const jinja_value *self, const jinja_call *call,
		       jinja_value *out)
{
	bool boolean = gh__jinja_arg_truth(&call->args[1], false);

	(void)run;
	*out = *self;
	if (self->kind == JINJA_UNDEFINED || (boolean && !gh__jinja_truth(self)))
		*out = call->args[0].kind == JINJA_ABSENT ? gh__jinja_text("", 0) : call->args[0];
	return true;
}

/* The text of a number as Python's int() and float() take it: white space around, underscores
 * between digits. false: it is none, or longer than any that matters. */
static bool number_text(jinja_run *run, const jinja_value *text, char out[80])
{
	const jinja_value none = { .kind = JINJA_ABSENT };
	jinja_value bare;
	size_t n = 0;

	if (!gh__jinja_strip(run, text, &none, JINJA_LEFT | JINJA_RIGHT, &bare) || !bare.len ||
	    bare.len >= 80)
		return false;
	for (size_t i = 0; i < bare.len; i++) {
		char c = bare.u.text[i];
		bool between = i > 0 && i + 1 < bare.len && bare.u.text[i - 1] != '_';

		if (c == '\0' || (c == '_' && !between))
			return false;
		if (c != '_')
			out[n++] = c;
	}
	out[n] = '\0';
	return true;
}

static int digit_of(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'z' ? c - 'a' + 10 : 99;
}

/* An integer in a base, which 0 leaves to a prefix (0x, 0o, 0b). */
static bool parse_base(const char *text, int64_t base, int64_t *out)
{
	static const struct {
		char letter;
		int base;
	} prefixes[] = { { 'x', 16 }, { 'o', 8 }, { 'b', 2 } };
	bool negative = *text == '-';
	int64_t value = 0;

	text += *text == '-' || *text == '+';
	for (size_t i = 0; i < 3; i++) {
		if (text[0] == '0' && (text[1] | 0x20) == prefixes[i].letter &&
		    (base == 0 || base == prefixes[i].base)) {
			text += 2;
			base = prefixes[i].base;
			break;
		}
	}
	base = base ? base : 10;
	if (!*text)
		return false;
	for (; *text; text++) {
		int digit = digit_of(*text);

		if (digit >= base || __builtin_mul_overflow(value, base, &value) ||
		    __builtin_add_overflow(value, (int64_t)digit, &value))
			return false;
	}
	*out = negative ? -value : value;
	return true;
}

static bool to_int(jinja_run *run, const jinja_value *self, const jinja_call *call,
		   jinja_value *out)
{
	int64_t integer, base;
	char text[80];
	double real;

	if (!gh__jinja_want_int(run, &call->args[1], "int: base", 10, &base))
		return false;
	if (base < 0 || base > 36 || base == 1)
		return gh__jinja_fail(run, GH_EINVAL, "int: a base is 0 or 2 to 36");
	*out = call->args[0].kind == JINJA_ABSENT ? gh__jinja_int(0) : call->args[0];
	switch (self->kind) {
	case JINJA_UNDEFINED:
		return gh__jinja_fail_undefined(run, self);
	case JINJA_BOOL:
	case JINJA_INT:
		*out = gh__jinja_int(self->u.integer);
		return true;
	case JINJA_FLOAT:
		real = self->u.real;
		break;
	case JINJA_STRING:
		if (!number_text(run, self, text))
			return run->status == GH_OK;
		if (parse_base(text, base, &integer)) {
			*out = gh__jinja_int(integer);
			return true;
		}
		if (!gh__parse_double(text, &real))
			return true;
		break;
	default:
		return true;
	}
	if (real > -0x1p63 && real < 0x1p63)
		*out = gh__jinja_int((int64_t)real);
	return true;
}

static bool to_float(jinja_run *run, const jinja_value *self, const jinja_call *call,
		     jinja_value *out)
{
	char text[80];
	double real;

	*out = call->args[0].kind == JINJA_ABSENT ? gh__jinja_float(0) : call->args[0];
	if (self->kind == JINJA_UNDEFINED)
		return gh__jinja_fail_undefined(run, self);
	if (gh__jinja_is_number(self))
		*out = gh__jinja_float(gh__jinja_real(self));
	else if (self->kind == JINJA_STRING && number_text(run, self, text) &&
		 gh__parse_double(text, &real))
		*out = gh__jinja_float(real);
	return run->status == GH_OK;
}

/* As Python's round(): what the shortest decimal at so many places says, halves of the exact
 * binary value to even. */
static double round_to(double value, int places)
{
	char text[400];
	double scale, rounded;

	if (!isfinite(value) || places > 320 || fabs(value) >= 0x1p1000)
		return value;
	if (places < 0) {
		scale = pow(10, -places);
		return isfinite(scale) ? nearbyint(value / scale) * scale : 0;
	}
	snprintf(text, sizeof(text), "%.*f", places, value);
	/* The decimal point is the locale's. */
	for (char *c = text; *c; c++) {
		if (*c != '-' && (*c < '0' || *c > '9'))
			*c = '.';
	}
	return gh__parse_double(text, &rounded) ? rounded : value;
}

static bool round_number(jinja_run *run, const jinja_value *self, const jinja_call *call,
			 jinja_value *out)
{
	const jinja_value *method = &call->args[1];
	double scale, value;
	int64_t places;
	bool ceiling = false;

	if (!gh__jinja_want_int(run, &call->args[0], "round: precision", 0, &places))
		return false;
	if (self->kind == JINJA_UNDEFINED)
		return gh__jinja_fail_undefined(run, self);
	if (!gh__jinja_is_number(self) || places > 300 || places < -300)
		return gh__jinja_fail(run, GH_EINVAL,
				      "round: expected a number and at most 300 "
				      "places, got '%s'",
				      gh__jinja_kind_name(self));
	value = gh__jinja_real(self);
	if (method->kind == JINJA_ABSENT || (method->kind == JINJA_STRING && method->len == 6 &&
					     memcmp(method->u.text, "common", 6) == 0)) {
		*out = gh__jinja_float(round_to(value, (int)places));
		if (self->kind != JINJA_FLOAT)
			*out = places >= 0 ? gh__jinja_int(self->u.integer)
					   : gh__jinja_int((int64_t)out->u.real);
		return true;
	}
	if (method->kind == JINJA_STRING && method->len == 4 &&
	    memcmp(method->u.text, "ceil", 4) == 0)
		ceiling = true;
	else if (method->kind != JINJA_STRING || method->len != 5 ||
		 memcmp(method->u.text, "floor", 5) != 0)
		return gh__jinja_fail(run, GH_EINVAL,
				      "round: method must be common, ceil or floor");
	scale = pow(10, (double)places);
	value = ceiling ? ceil(value * scale) : floor(value * scale);
	*out = gh__jinja_float(value / scale);
	return true;
}

static bool absolute(jinja_run *run, const jinja_value *self, const jinja_call *call,
		     jinja_value *out)
{
	(void)call;
	if (self->kind == JINJA_FLOAT) {
		*out = gh__jinja_float(fabs(self->u.real));
		return true;
	}
	return gh__jinja_negate(run, self, self->u.integer < 0, out);
}

const jinja_builtin gh__jinja_value_filters[] = {
	{ "default", "default_value,boolean", 0, 0, default_of },
	{ "d", "default_value,boolean", 0, 0, default_of },
	{ "int", "default,base", 0, 0, to_int },
	{ "float", "default", 0, 0, to_float },
	{ "round", "precision,method", 0, 0, round_number },
	{ "abs", "", 0, 0, absolute },
	{ NULL, NULL, 0, 0, NULL },
};
