#include "text/jinja/node.h"

#include <string.h>

/*
 * Expressions, in Jinja's order of binding: condition, or, and, not, comparisons, sums, ~,
 * products, powers, signs, and what stands behind a value.
 */
enum {
	LEVEL_OR,
	LEVEL_AND,
	LEVEL_NOT,
	LEVEL_COMPARE,
	LEVEL_SUM,
	LEVEL_CONCAT,
	LEVEL_PRODUCT,
	LEVEL_POWER,
	LEVEL_SIGN
};

#define MAX_CONDITIONS 200 /* in a row */

/* The operator of a level at the current token, 0 if it is none. "not in" needs a second look. */
static bool operator_at(jinja_parser *parser, int level, int *op)
{
	int type = parser->token.type;
	jinja_token ahead;

	*op = 0;
	switch (level) {
	case LEVEL_OR:
		*op = gh__jinja_at_word(parser, "or");
		break;
	case LEVEL_AND:
		*op = gh__jinja_at_word(parser, "and");
		break;
	case LEVEL_COMPARE:
		if (type == TOKEN_EQ || type == TOKEN_NE || type == TOKEN_LE || type == TOKEN_GE ||
		    type == '<' || type == '>')
			*op = type;
		else if (gh__jinja_at_word(parser, "in"))
			*op = JINJA_IN;
		else if (gh__jinja_at_word(parser, "not")) {
			if (!gh__jinja_peek(parser, &ahead))
				return false;
			if (!gh__jinja_token_is(&ahead, "in"))
				break;
			*op = JINJA_NOT_IN;
			return gh__jinja_advance(parser);
		}
		break;
	case LEVEL_SUM:
		*op = type == '+' || type == '-' ? type : 0;
		break;
	case LEVEL_CONCAT:
		*op = type == '~' ? type : 0;
		break;
	case LEVEL_PRODUCT:
		*op = type == '*' || type == '/' || type == '%' || type == TOKEN_FLOOR ? type : 0;
		break;
	case LEVEL_POWER:
		*op = type == TOKEN_POWER ? type : 0;
		break;
	default:
		break;
	}
	return true;
}

static bool push_op(jinja_parser *parser, int **ops, uint32_t count, int op)
{
	/* Doubled at each power of two, so that no capacity need be kept. */
	if ((count & (count - 1)) == 0) {
		int *more = gh__jinja_parser_alloc(parser, count ? 2 * (size_t)count : 1,
						   sizeof(**ops));

		if (!more)
			return false;
		if (count)
			memcpy(more, *ops, count * sizeof(**ops));
		*ops = more;
	}
	(*ops)[count] = op;
	return true;
}

static jinja_node *parse_level(jinja_parser *parser, int level)
{
	static const uint8_t types[] = {
		[LEVEL_OR] = NODE_OR,           [LEVEL_AND] = NODE_AND,
		[LEVEL_COMPARE] = NODE_COMPARE, [LEVEL_SUM] = NODE_ARITHMETIC,
		[LEVEL_CONCAT] = NODE_CONCAT,   [LEVEL_PRODUCT] = NODE_ARITHMETIC,
		[LEVEL_POWER] = NODE_ARITHMETIC
	};
	jinja_node *first, *chain = NULL;
	int *ops = NULL;
	uint32_t count = 0;
	int op;

	if (level == LEVEL_SIGN)
		return gh__jinja_operand(parser);
	if (level == LEVEL_NOT) {
		if (!gh__jinja_at_word(parser, "not"))
			return parse_level(parser, LEVEL_COMPARE);
		chain = gh__jinja_node(parser, NODE_NOT);
		if (!chain || !gh__jinja_enter(parser) || !gh__jinja_advance(parser))
			return NULL;
		chain->u.operand = parse_level(parser, LEVEL_NOT);
		parser->depth--;
		return chain->u.operand ? chain : NULL;
	}
	first = parse_level(parser, level + 1);
	if (!first || !operator_at(parser, level, &op))
		return NULL;
	if (!op)
		return first;
	chain = gh__jinja_node(parser, types[level]);
	if (!chain || !gh__jinja_push(parser, &chain->u.chain.operands, first))
		return NULL;
	while (op) {
		jinja_node *next;

		if (op == '%' && first->type == NODE_CONSTANT && !count &&
		    first->u.constant.kind == JINJA_STRING) {
			gh__jinja_syntax(&parser->lexer, GH_ENOTSUP, parser->token.line,
					 "formatting with %% is not supported");
			return NULL;
		}
		if (!gh__jinja_advance(parser))
			return NULL;
		next = parse_level(parser, level + 1);
		if (!next || !gh__jinja_push(parser, &chain->u.chain.operands, next) ||
		    !push_op(parser, &ops, count++, op) || !operator_at(parser, level, &op))
			return NULL;
	}
	chain->u.chain.ops = ops;
	return chain;
}

jinja_node *gh__jinja_expression(jinja_parser *parser, bool condition)
{
	jinja_node *node;
	uint32_t links = 0;

	if (!gh__jinja_enter(parser))
		return NULL;
	node = parse_level(parser, LEVEL_OR);
	while (node && condition && gh__jinja_at_word(parser, "if")) {
		jinja_node *choice = gh__jinja_node(parser, NODE_CONDITION);

		if (!choice || !gh__jinja_advance(parser))
			return NULL;
		if (++links > MAX_CONDITIONS) {
			gh__jinja_unexpected(parser, "a shorter chain of conditions");
			return NULL;
		}
		choice->u.condition.yes = node;
		choice->u.condition.test = parse_level(parser, LEVEL_OR);
		if (!choice->u.condition.test)
			return NULL;
		if (gh__jinja_at_word(parser, "else")) {
			if (!gh__jinja_advance(parser))
				return NULL;
			choice->u.condition.no = gh__jinja_expression(parser, true);
			if (!choice->u.condition.no)
				return NULL;
		}
		node = choice;
	}
	parser->depth--;
	return node;
}

static bool tuple_ends(const jinja_parser *parser)
{
	int type = parser->token.type;

	return type == TOKEN_PRINT_END || type == TOKEN_TAG_END || type == ')';
}

jinja_node *gh__jinja_tuple(jinja_parser *parser, bool condition)
{
	jinja_node *node = gh__jinja_expression(parser, condition);
	jinja_node *tuple;

	if (!node || parser->token.type != ',')
		return node;
	tuple = gh__jinja_node(parser, NODE_TUPLE);
	if (!tuple || !gh__jinja_push(parser, &tuple->u.list, node))
		return NULL;
	while (parser->token.type == ',') {
		if (!gh__jinja_advance(parser))
			return NULL;
		if (tuple_ends(parser))
			break;
		node = gh__jinja_expression(parser, condition);
		if (!node || !gh__jinja_push(parser, &tuple->u.list, node))
			return NULL;
	}
	return tuple;
}
