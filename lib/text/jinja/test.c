#include "text/jinja/value.h"

#include <string.h>

/*
 * Tests: what stands behind "is", or is named in select() and its like.
 */
#define TEST(name, expression)                                                            \
	static bool name(jinja_run *run, const jinja_value *self, const jinja_call *call, \
			 jinja_value *out)                                                \
	{                                                                                 \
		(void)run;                                                                \
		(void)call;                                                               \
		*out = gh__jinja_bool(expression);                                        \
		return true;                                                              \
	}

TEST(is_defined, self->kind != JINJA_UNDEFINED)
TEST(is_undefined, self->kind == JINJA_UNDEFINED)
TEST(is_none, self->kind == JINJA_NONE)
TEST(is_string, self->kind == JINJA_STRING)
TEST(is_number, gh__jinja_is_number(self))
TEST(is_integer, self->kind == JINJA_INT)
TEST(is_float, self->kind == JINJA_FLOAT)
TEST(is_boolean, self->kind == JINJA_BOOL)
TEST(is_true, self->kind == JINJA_BOOL && self->u.integer)
TEST(is_false, self->kind == JINJA_BOOL && !self->u.integer)
TEST(is_mapping, self->kind == JINJA_DICT)
TEST(is_sequence, gh__jinja_is_sequence(self) || self->kind == JINJA_STRING ||
			  self->kind == JINJA_DICT || self->kind == JINJA_UNDEFINED)
TEST(is_iterable, gh__jinja_is_sequence(self) || self->kind == JINJA_STRING ||
			  self->kind == JINJA_DICT || self->kind == JINJA_UNDEFINED ||
			  self->kind == JINJA_VIEW || self->kind == JINJA_GENERATOR ||
			  self->kind == JINJA_LOOP)
/* Undefined as Jinja has it can be called, only to fail. */
TEST(is_callable, self->kind == JINJA_MACRO || self->kind == JINJA_METHOD ||
			  self->kind == JINJA_FUNCTION || self->kind == JINJA_UNDEFINED)

static bool is_equal(jinja_run *run, const jinja_value *self, const jinja_call *call,
		     jinja_value *out)
{
	bool same;

	if (!gh__jinja_equal(run, self, &call->args[0], &same))
		return false;
	*out = gh__jinja_bool(same);
	return true;
}

static bool is_other(jinja_run *run, const jinja_value *self, const jinja_call *call,
		     jinja_value *out)
{
	if (!is_equal(run, self, call, out))
		return false;
	out->u.integer = !out->u.integer;
	return true;
}

#define ORDER(name, expression)                                                           \
	static bool name(jinja_run *run, const jinja_value *self, const jinja_call *call, \
			 jinja_value *out)                                                \
	{                                                                                 \
		int order;                                                                \
                                                                                          \
		if (!gh__jinja_order(run, self, &call->args[0], &order))                  \
			return false;                                                     \
		*out = gh__jinja_bool(expression);                                        \
		return true;                                                              \
	}

ORDER(is_below, order < 0)
ORDER(is_at_most, order <= 0)
ORDER(is_above, order > 0)
ORDER(is_at_least, order >= 0)

static bool is_in(jinja_run *run, const jinja_value *self, const jinja_call *call, jinja_value *out)
{
	bool found;

	if (!gh__jinja_contains(run, &call->args[0], self, &found))
		return false;
	*out = gh__jinja_bool(found);
	return true;
}

/* The remainder of a division by an integer equals `rest`. */
static bool leaves(jinja_run *run, const jinja_value *self, const jinja_value *by, int64_t rest,
		   jinja_value *out)
{
	const jinja_value wanted = gh__jinja_int(rest);
	jinja_value remainder;
	bool same;

	if (!gh__jinja_is_number(self) && self->kind != JINJA_UNDEFINED)
		return gh__jinja_fail(run, GH_EINVAL, "expected a number, got '%s'",
				      gh__jinja_kind_name(self));
	if (!gh__jinja_arithmetic(run, '%', self, by, &remainder) ||
	    !gh__jinja_equal(run, &remainder, &wanted, &same))
		return false;
	*out = gh__jinja_bool(same);
	return true;
}

static bool is_odd(jinja_run *run, const jinja_value *self, const jinja_call *call,
		   jinja_value *out)
{
	const jinja_value two = gh__jinja_int(2);

	(void)call;
	return leaves(run, self, &two, 1, out);
}

static bool is_even(jinja_run *run, const jinja_value *self, const jinja_call *call,
		    jinja_value *out)
{
	const jinja_value two = gh__jinja_int(2);

	(void)call;
	return leaves(run, self, &two, 0, out);
}

static bool is_divisible(jinja_run *run, const jinja_value *self, const jinja_call *call,
			 jinja_value *out)
{
	return leaves(run, self, &call->args[0], 0, out);
}

static bool is_same(jinja_run *run, const jinja_value *self, const jinja_call *call,
		    jinja_value *out)
{
	if (self->kind == call->args[0].kind)
		return is_equal(run, self, call, out);
	*out = gh__jinja_bool(false);
	return true;
}

static bool has_case(jinja_run *run, const jinja_value *self, const char *method, jinja_value *out)
{
	const jinja_builtin *builtin = gh__jinja_find_method(JINJA_STRING, method, strlen(method));
	const jinja_call none = { .count = 0 };
	jinja_value text;

	return gh__jinja_string(run, self, &text) &&
	       gh__jinja_invoke(run, builtin, &text, &none, out);
}

static bool is_lower(jinja_run *run, const jinja_value *self, const jinja_call *call,
		     jinja_value *out)
{
	(void)call;
	return has_case(run, self, "islower", out);
}

static bool is_upper(jinja_run *run, const jinja_value *self, const jinja_call *call,
		     jinja_value *out)
{
	(void)call;
	return has_case(run, self, "isupper", out);
}

const jinja_builtin gh__jinja_tests[] = {
	{ "defined", "", 0, 0, is_defined },
	{ "undefined", "", 0, 0, is_undefined },
	{ "none", "", 0, 0, is_none },
	{ "string", "", 0, 0, is_string },
	{ "number", "", 0, 0, is_number },
	{ "integer", "", 0, 0, is_integer },
	{ "float", "", 0, 0, is_float },
	{ "boolean", "", 0, 0, is_boolean },
	{ "true", "", 0, 0, is_true },
	{ "false", "", 0, 0, is_false },
	{ "mapping", "", 0, 0, is_mapping },
	{ "sequence", "", 0, 0, is_sequence },
	{ "iterable", "", 0, 0, is_iterable },
	{ "callable", "", 0, 0, is_callable },
	{ "odd", "", 0, 0, is_odd },
	{ "even", "", 0, 0, is_even },
	{ "divisibleby", "num", 1, 0, is_divisible },
	{ "lower", "", 0, 0, is_lower },
	{ "upper", "", 0, 0, is_upper },
	{ "in", "seq", 1, 0, is_in },
	{ "sameas", "other", 1, 0, is_same },
	{ "equalto", "other", 1, 0, is_equal },
	{ "eq", "other", 1, 0, is_equal },
	{ "==", "other", 1, 0, is_equal },
	{ "ne", "other", 1, 0, is_other },
	{ "!=", "other", 1, 0, is_other },
	{ "lt", "other", 1, 0, is_below },
	{ "<", "other", 1, 0, is_below },
	{ "lessthan", "other", 1, 0, is_below },
	{ "le", "other", 1, 0, is_at_most },
	{ "<=", "other", 1, 0, is_at_most },
	{ "gt", "other", 1, 0, is_above },
	{ ">", "other", 1, 0, is_above },
	{ "greaterthan", "other", 1, 0, is_above },
	{ "ge", "other", 1, 0, is_at_least },
	{ ">=", "other", 1, 0, is_at_least },
	{ NULL, NULL, 0, 0, NULL },
};
