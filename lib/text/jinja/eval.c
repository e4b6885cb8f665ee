#include "text/jinja/eval.h"

#include <string.h>

bool gh__jinja_deeper(jinja_run *run)
{
	if (run->depth < GH__JINJA_MAX_DEPTH) {
		run->depth++;
		return true;
	}
	return gh__jinja_fail(run, GH_ETOOBIG, "evaluation nested more than %d levels deep",
			      GH__JINJA_MAX_DEPTH);
}

static bool look_up(jinja_run *run, const jinja_frame *frame, uint32_t name, jinja_value *out)
{
	size_t seen = 0;

	for (; frame; frame = frame->above) {
		for (uint32_t i = 0; i < frame->count; i++) {
			if (frame->slots[i].name == name) {
				*out = frame->slots[i].value;
				return gh__jinja_charge(run, seen / 8);
			}
			seen++;
		}
	}
	*out = run->root[name];
	if (out->kind == JINJA_ABSENT) {
		const char *text = run->program->names[name];

		*out = gh__jinja_undefined(NULL, text, strlen(text));
	}
	return gh__jinja_charge(run, seen / 8);
}

static bool eval_list(jinja_run *run, jinja_frame *frame, const jinja_node *node, jinja_value *out)
{
	const jinja_nodes *nodes = &node->u.list;
	jinja_value *items = gh__jinja_run_alloc(run, nodes->count, sizeof(*items));

	if (!items)
		return false;
	for (uint32_t i = 0; i < nodes->count; i++) {
		if (!gh__jinja_eval(run, frame, nodes->items[i], &items[i]))
			return false;
	}
	return gh__jinja_make_list(run, node->type == NODE_LIST ? JINJA_LIST : JINJA_TUPLE, items,
				   nodes->count, out);
}

static bool eval_dict(jinja_run *run, jinja_frame *frame, const jinja_node *node, jinja_value *out)
{
	const jinja_nodes *nodes = &node->u.list;
	jinja_value key, value;

	if (!gh__jinja_make_dict(run, JINJA_DICT, nodes->count / 2, out))
		return false;
	for (uint32_t i = 0; i < nodes->count; i += 2) {
		if (!gh__jinja_eval(run, frame, nodes->items[i], &key) ||
		    !gh__jinja_eval(run, frame, nodes->items[i + 1], &value) ||
		    !gh__jinja_dict_put(run, out, &key, &value))
			return false;
	}
	return true;
}

static bool compare(jinja_run *run, int op, const jinja_value *a, const jinja_value *b, bool *out)
{
	int order;

	if (op == TOKEN_EQ || op == TOKEN_NE) {
		if (!gh__jinja_equal(run, a, b, out))
			return false;
		*out ^= op == TOKEN_NE;
		return true;
	}
	if (op == JINJA_IN || op == JINJA_NOT_IN) {
		if (!gh__jinja_contains(run, b, a, out))
			return false;
		*out ^= op == JINJA_NOT_IN;
		return true;
	}
	if (!gh__jinja_order(run, a, b, &order))
		return false;
	*out = op == '<'        ? order < 0
	       : op == '>'      ? order > 0
	       : op == TOKEN_LE ? order <= 0
				: order >= 0;
	return true;
}

static bool eval_compare(jinja_run *run, jinja_frame *frame, const jinja_node *node,
			 jinja_value *out)
{
	const jinja_nodes *operands = &node->u.chain.operands;
	jinja_value left, right;
	bool holds = true;

	if (!gh__jinja_eval(run, frame, operands->items[0], &left))
		return false;
	for (uint32_t i = 1; i < operands->count && holds; i++) {
		if (!gh__jinja_eval(run, frame, operands->items[i], &right) ||
		    !compare(run, node->u.chain.ops[i - 1], &left, &right, &holds))
			return false;
		left = right;
	}
	*out = gh__jinja_bool(holds);
	return true;
}

/* or, and: the first operand that settles it, else the last. */
static bool eval_choice(jinja_run *run, jinja_frame *frame, const jinja_node *node,
			jinja_value *out)
{
	const jinja_nodes *operands = &node->u.chain.operands;

	for (uint32_t i = 0; i < operands->count; i++) {
		if (!gh__jinja_eval(run, frame, operands->items[i], out))
			return false;
		if (gh__jinja_truth(out) == (node->type == NODE_OR))
			break;
	}
	return true;
}

static bool eval_chain(jinja_run *run, jinja_frame *frame, const jinja_node *node, jinja_value *out)
{
	const jinja_nodes *operands = &node->u.chain.operands;
	jinja_value left, right;

	for (uint32_t i = 0; i < operands->count; i++) {
		if (!gh__jinja_eval(run, frame, operands->items[i], &right))
			return false;
		run->line = node->line;
		if (node->type == NODE_CONCAT && !gh__jinja_string(run, &right, &right))
			return false;
		if (i == 0)
			left = right;
		else if (node->type == NODE_CONCAT
				 ? !gh__jinja_concat(run, &left, &right, &left)
				 : !gh__jinja_arithmetic(run, node->u.chain.ops[i - 1], &left,
							 &right, &left))
			return false;
	}
	*out = left;
	return true;
}

static bool eval_slice(jinja_run *run, jinja_frame *frame, const jinja_node *node, jinja_value *out)
{
	jinja_value object, bounds[3];

	if (!gh__jinja_eval(run, frame, node->u.slice.object, &object))
		return false;
	for (int i = 0; i < 3; i++) {
		bounds[i] = gh__jinja_none();
		if (node->u.slice.bounds[i] &&
		    !gh__jinja_eval(run, frame, node->u.slice.bounds[i], &bounds[i]))
			return false;
	}
	run->line = node->line;
	return gh__jinja_slice(run, &object, bounds, out);
}

static bool eval_args(jinja_run *run, jinja_frame *frame, const jinja_args *args,
		      const jinja_value *caller, jinja_call *out)
{
	const jinja_nodes *nodes = &args->values;
	uint32_t named = nodes->count - args->positional;
	jinja_value *values = NULL;
	jinja_keyword *keywords = NULL;

	*out = (jinja_call){ .count = args->positional, .keyword_count = named + (caller != NULL) };
	if (out->count) {
		values = gh__jinja_run_alloc(run, out->count, sizeof(*values));
		if (!values)
			return false;
	}
	if (out->keyword_count) {
		keywords = gh__jinja_run_alloc(run, out->keyword_count, sizeof(*keywords));
		if (!keywords)
			return false;
	}
	for (uint32_t i = 0; i < nodes->count; i++) {
		jinja_value *to =
			i < args->positional ? &values[i] : &keywords[i - args->positional].value;

		if (!gh__jinja_eval(run, frame, nodes->items[i], to))
			return false;
	}
	for (uint32_t i = 0; i < named; i++) {
		keywords[i].name = args->names[i].text;
		keywords[i].len = args->names[i].len;
	}
	if (caller)
		keywords[named] = (jinja_keyword){ .name = "caller", .len = 6, .value = *caller };
	out->args = values;
	out->keywords = keywords;
	return true;
}

bool gh__jinja_eval_call(jinja_run *run, jinja_frame *frame, const jinja_node *node,
			 const jinja_value *caller, jinja_value *out)
{
	const jinja_node *callee = node->u.call.callee;
	const jinja_builtin *method = NULL;
	jinja_value object, function;
	jinja_call call;

	/* A method of an object is called without making a value of it first. */
	if (callee->type == NODE_ATTRIBUTE) {
		if (!gh__jinja_eval(run, frame, callee->u.attribute.object, &object))
			return false;
		run->line = node->line;
		method = gh__jinja_find_method((jinja_kind)object.kind, callee->u.attribute.name,
					       callee->u.attribute.len);
		if (!method && !gh__jinja_attribute(run, &object, callee->u.attribute.name,
						    callee->u.attribute.len, &function))
			return false;
	} else if (!gh__jinja_eval(run, frame, callee, &function)) {
		return false;
	}
	if (!eval_args(run, frame, &node->u.call.args, caller, &call))
		return false;
	run->line = node->line;
	if (method)
		return gh__jinja_invoke(run, method, &object, &call, out);
	return gh__jinja_call_value(run, &function, &call, out);
}

static bool eval_apply(jinja_run *run, jinja_frame *frame, const jinja_node *node, jinja_value *out)
{
	jinja_value input;
	jinja_call call;

	if (!gh__jinja_eval(run, frame, node->u.apply.input, &input) ||
	    !eval_args(run, frame, &node->u.apply.args, NULL, &call))
		return false;
	run->line = node->line;
	return gh__jinja_invoke(run, node->u.apply.builtin, &input, &call, out);
}

static bool eval_condition(jinja_run *run, jinja_frame *frame, const jinja_node *node,
			   jinja_value *out)
{
	jinja_value test;

	if (!gh__jinja_eval(run, frame, node->u.condition.test, &test))
		return false;
	if (gh__jinja_truth(&test))
		return gh__jinja_eval(run, frame, node->u.condition.yes, out);
	if (node->u.condition.no)
		return gh__jinja_eval(run, frame, node->u.condition.no, out);
	*out = gh__jinja_undefined(NULL, "the value of an if without else", 31);
	return true;
}

static bool eval_node(jinja_run *run, jinja_frame *frame, const jinja_node *node, jinja_value *out)
{
	jinja_value value, key;

	switch (node->type) {
	case NODE_CONSTANT:
		*out = node->u.constant;
		return true;
	case NODE_CAPTURED:
		*out = run->captured;
		return true;
	case NODE_NAME:
		return look_up(run, frame, node->u.name, out);
	case NODE_LIST:
	case NODE_TUPLE:
		return eval_list(run, frame, node, out);
	case NODE_DICT:
		return eval_dict(run, frame, node, out);
	case NODE_OR:
	case NODE_AND:
		return eval_choice(run, frame, node, out);
	case NODE_CONCAT:
	case NODE_ARITHMETIC:
		return eval_chain(run, frame, node, out);
	case NODE_COMPARE:
		return eval_compare(run, frame, node, out);
	case NODE_NOT:
		if (!gh__jinja_eval(run, frame, node->u.operand, &value))
			return false;
		*out = gh__jinja_bool(!gh__jinja_truth(&value));
		return true;
	case NODE_MINUS:
	case NODE_PLUS:
		return gh__jinja_eval(run, frame, node->u.operand, &value) &&
		       gh__jinja_negate(run, &value, node->type == NODE_MINUS, out);
	case NODE_CONDITION:
		return eval_condition(run, frame, node, out);
	case NODE_ATTRIBUTE:
		if (!gh__jinja_eval(run, frame, node->u.attribute.object, &value))
			return false;
		run->line = node->line;
		return gh__jinja_attribute(run, &value, node->u.attribute.name,
					   node->u.attribute.len, out);
	case NODE_ITEM:
		if (!gh__jinja_eval(run, frame, node->u.item.object, &value) ||
		    !gh__jinja_eval(run, frame, node->u.item.key, &key))
			return false;
		run->line = node->line;
		return gh__jinja_item(run, &value, &key, out);
	case NODE_SLICE:
		return eval_slice(run, frame, node, out);
	case NODE_CALL:
		return gh__jinja_eval_call(run, frame, node, NULL, out);
	default: /* NODE_FILTER, NODE_TEST */
		return eval_apply(run, frame, node, out);
	}
}

bool gh__jinja_eval(jinja_run *run, jinja_frame *frame, const jinja_node *node, jinja_value *out)
{
	bool ok;

	if (!gh__jinja_charge(run, 1) || !gh__jinja_deeper(run))
		return false;
	run->line = node->line;
	ok = eval_node(run, frame, node, out);
	run->depth--;
	return ok;
}
