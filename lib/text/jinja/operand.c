#include "text/jinja/node.h"

#include <string.h>

/*
 * Operands of expressions: values with what stands before and behind them.
 */
#define MAX_LINKS 200 /* attributes, calls, filters and tests behind one value */

static jinja_node *constant(jinja_parser *parser, jinja_value value)
{
	jinja_node *node = gh__jinja_node(parser, NODE_CONSTANT);

	if (node)
		node->u.constant = value;
	return node;
}

/* Adjacent strings are one. */
static jinja_node *parse_strings(jinja_parser *parser)
{
	jinja_node *node = constant(parser, gh__jinja_text(parser->token.text, parser->token.len));
	gh__buf whole = GH__BUF_INIT(GH__JINJA_MAX_TEMPLATE);
	char *copy;

	if (!node || !gh__jinja_advance(parser))
		return NULL;
	if (parser->token.type != TOKEN_STRING)
		return node;
	gh__buf_append(&whole, node->u.constant.u.text, node->u.constant.len);
	while (parser->token.type == TOKEN_STRING) {
		gh__buf_append(&whole, parser->token.text, parser->token.len);
		if (!gh__jinja_advance(parser))
			goto fail;
	}
	copy = gh__jinja_parser_alloc(parser, whole.len, 1);
	if (!copy)
		goto fail;
	if (gh__buf_status(&whole) != GH_OK) {
		gh__jinja_syntax(&parser->lexer, gh__buf_status(&whole), node->line,
				 "no memory left");
		goto fail;
	}
	if (whole.len)
		memcpy(copy, whole.data, whole.len);
	node->u.constant = gh__jinja_text(copy, whole.len);
	gh__buf_free(&whole);
	return node;
fail:
	gh__buf_free(&whole);
	return NULL;
}

/* Expressions up to a closing bracket; with keys, pairs of them. */
static jinja_node *parse_listed(jinja_parser *parser, jinja_node_type type, int close, bool keys)
{
	jinja_node *list = gh__jinja_node(parser, type);

	if (!list || !gh__jinja_advance(parser))
		return NULL;
	while (parser->token.type != close) {
		for (int part = 0; part <= (keys ? 1 : 0); part++) {
			jinja_node *node = gh__jinja_expression(parser, true);

			if (!node || !gh__jinja_push(parser, &list->u.list, node))
				return NULL;
			if (keys && part == 0 && !gh__jinja_expect(parser, ':', "':'"))
				return NULL;
		}
		if (parser->token.type == ',') {
			if (!gh__jinja_advance(parser))
				return NULL;
		} else if (parser->token.type != close) {
			gh__jinja_unexpected(parser, "',' or the closing bracket");
			return NULL;
		}
	}
	return gh__jinja_advance(parser) ? list : NULL;
}

static jinja_node *parse_parentheses(jinja_parser *parser)
{
	jinja_node *node;

	if (!gh__jinja_advance(parser))
		return NULL;
	if (parser->token.type == ')')
		node = gh__jinja_node(parser, NODE_TUPLE);
	else
		node = gh__jinja_tuple(parser, true);
	return node && gh__jinja_expect(parser, ')', "')'") ? node : NULL;
}

static jinja_node *parse_name(jinja_parser *parser)
{
	const jinja_token *token = &parser->token;
	jinja_node *node;

	if (gh__jinja_token_is(token, "true") || gh__jinja_token_is(token, "True"))
		node = constant(parser, gh__jinja_bool(true));
	else if (gh__jinja_token_is(token, "false") || gh__jinja_token_is(token, "False"))
		node = constant(parser, gh__jinja_bool(false));
	else if (gh__jinja_token_is(token, "none") || gh__jinja_token_is(token, "None"))
		node = constant(parser, gh__jinja_none());
	else {
		if (parser->macros &&
		    (gh__jinja_token_is(token, "varargs") || gh__jinja_token_is(token, "kwargs"))) {
			gh__jinja_syntax(&parser->lexer, GH_ENOTSUP, token->line,
					 "%.*s of a macro is not supported", (int)token->len,
					 token->text);
			return NULL;
		}
		node = gh__jinja_node(parser, NODE_NAME);
		if (!node || !gh__jinja_name_id(parser, token->text, token->len, &node->u.name))
			return NULL;
	}
	return node && gh__jinja_advance(parser) ? node : NULL;
}

static jinja_node *parse_primary(jinja_parser *parser)
{
	jinja_node *node;

	switch (parser->token.type) {
	case TOKEN_NAME:
		return parse_name(parser);
	case TOKEN_STRING:
		return parse_strings(parser);
	case TOKEN_INT:
		node = constant(parser, gh__jinja_int(parser->token.integer));
		break;
	case TOKEN_FLOAT:
		node = constant(parser, gh__jinja_float(parser->token.real));
		break;
	case '(':
		return parse_parentheses(parser);
	case '[':
		return parse_listed(parser, NODE_LIST, ']', false);
	case '{':
		return parse_listed(parser, NODE_DICT, '}', true);
	default:
		gh__jinja_unexpected(parser, "an expression");
		return NULL;
	}
	return node && gh__jinja_advance(parser) ? node : NULL;
}

/* Behind '[': one index, or the parts of a slice. */
static jinja_node *parse_subscript(jinja_parser *parser, jinja_node *object)
{
	jinja_node *bounds[3] = { NULL, NULL, NULL };
	uint32_t line = parser->token.line;
	jinja_node *node;
	int part = 0;

	if (!gh__jinja_advance(parser))
		return NULL;
	for (;;) {
		int type = parser->token.type;

		if (type == ':' && part < 2) {
			part++;
			if (!gh__jinja_advance(parser))
				return NULL;
			continue;
		}
		if (type == ']' && (part || bounds[0]))
			break;
		if (bounds[part]) {
			gh__jinja_unexpected(parser, "']'");
			return NULL;
		}
		bounds[part] = gh__jinja_expression(parser, true);
		if (!bounds[part])
			return NULL;
	}
	node = gh__jinja_node(parser, part ? NODE_SLICE : NODE_ITEM);
	if (!node || !gh__jinja_advance(parser))
		return NULL;
	node->line = line;
	if (!part) {
		node->u.item.object = object;
		node->u.item.key = bounds[0];
		return node;
	}
	node->u.slice.object = object;
	memcpy(node->u.slice.bounds, bounds, sizeof(bounds));
	return node;
}

static jinja_node *parse_attribute(jinja_parser *parser, jinja_node *object)
{
	jinja_node *node;

	if (!gh__jinja_advance(parser))
		return NULL;
	if (parser->token.type == TOKEN_INT) {
		jinja_node *key = constant(parser, gh__jinja_int(parser->token.integer));

		node = gh__jinja_node(parser, NODE_ITEM);
		if (!key || !node)
			return NULL;
		node->u.item.object = object;
		node->u.item.key = key;
	} else {
		if (parser->token.type != TOKEN_NAME) {
			gh__jinja_unexpected(parser, "the name of an attribute");
			return NULL;
		}
		node = gh__jinja_node(parser, NODE_ATTRIBUTE);
		if (!node)
			return NULL;
		node->u.attribute.object = object;
		node->u.attribute.name = parser->token.text;
		node->u.attribute.len = parser->token.len;
	}
	return gh__jinja_advance(parser) ? node : NULL;
}

static bool push_keyword(jinja_parser *parser, jinja_args *args, const jinja_token *name)
{
	uint32_t count = args->values.count - args->positional;

	if ((count & (count - 1)) == 0) {
		jinja_token *more = gh__jinja_parser_alloc(parser, count ? 2 * (size_t)count : 1,
							   sizeof(*more));

		if (!more)
			return false;
		if (count)
			memcpy(more, args->names, count * sizeof(*more));
		args->names = more;
	}
	args->names[count] = *name;
	return true;
}

/* At '('. */
static bool parse_args(jinja_parser *parser, jinja_args *args)
{
	if (!gh__jinja_advance(parser))
		return false;
	while (parser->token.type != ')') {
		jinja_node *value;
		jinja_token ahead = { .type = TOKEN_END };

		if (parser->token.type == '*' || parser->token.type == TOKEN_POWER)
			return gh__jinja_syntax(&parser->lexer, GH_ENOTSUP, parser->token.line,
						"'%.*s' before an argument is not supported",
						(int)parser->token.len, parser->token.text);
		if (parser->token.type == TOKEN_NAME && !gh__jinja_peek(parser, &ahead))
			return false;
		if (ahead.type == '=') {
			if (!push_keyword(parser, args, &parser->token) ||
			    !gh__jinja_advance(parser) || !gh__jinja_advance(parser))
				return false;
		} else if (args->values.count > args->positional) {
			return gh__jinja_unexpected(parser, "an argument with a name");
		} else {
			args->positional++;
		}
		value = gh__jinja_expression(parser, true);
		if (!value || !gh__jinja_push(parser, &args->values, value))
			return false;
		if (parser->token.type == ',') {
			if (!gh__jinja_advance(parser))
				return false;
		} else if (parser->token.type != ')') {
			return gh__jinja_unexpected(parser, "',' or ')'");
		}
	}
	return gh__jinja_advance(parser);
}

/* What cannot be called is found now: nothing is callable but macros and what is built in. */
static jinja_node *parse_call(jinja_parser *parser, jinja_node *callee)
{
	jinja_node *node = gh__jinja_node(parser, NODE_CALL);

	if (!node)
		return NULL;
	if (callee->type == NODE_ATTRIBUTE) {
		const char *name = callee->u.attribute.name;
		size_t len = callee->u.attribute.len;
		const jinja_builtin *method = gh__jinja_find_method(JINJA_ABSENT, name, len);

		if (!method || !method->fn) {
			gh__jinja_syntax(&parser->lexer, GH_ENOTSUP, callee->line,
					 "method '%.*s' is not supported", (int)len, name);
			return NULL;
		}
	} else if (callee->type == NODE_NAME) {
		jinja_name *name = &parser->names[callee->u.name];

		if (!name->called)
			name->called = callee->line;
	}
	node->u.call.callee = callee;
	return parse_args(parser, &node->u.call.args) ? node : NULL;
}

/* Filters and tests that others take by name must be known too. */
static bool check_named(jinja_parser *parser, const jinja_node *node)
{
	const char *filter = node->u.apply.builtin->name;
	bool by_attribute = strstr(filter, "attr") != NULL;
	const jinja_args *args = &node->u.apply.args;
	const jinja_builtin *(*find)(const char *, size_t) = gh__jinja_find_test;
	uint32_t at = by_attribute ? 1 : 0;
	const jinja_value *name;

	if (strcmp(filter, "map") == 0)
		find = gh__jinja_find_filter;
	else if (strncmp(filter, "select", 6) != 0 && strncmp(filter, "reject", 6) != 0)
		return true;
	if (args->positional <= at || args->values.items[at]->type != NODE_CONSTANT)
		return true;
	name = &args->values.items[at]->u.constant;
	if (name->kind == JINJA_STRING && !find(name->u.text, name->len))
		return gh__jinja_syntax(&parser->lexer, GH_ENOTSUP, node->line,
					"%s '%.*s' is not supported",
					find == gh__jinja_find_test ? "test" : "filter",
					(int)(name->len < 80 ? name->len : 80), name->u.text);
	return true;
}

jinja_node *gh__jinja_filters(jinja_parser *parser, jinja_node *input, bool bare)
{
	uint32_t links = 0;

	while (bare || parser->token.type == '|') {
		jinja_node *node;

		if (!bare && !gh__jinja_advance(parser))
			return NULL;
		bare = false;
		if (parser->token.type != TOKEN_NAME || ++links > MAX_LINKS) {
			gh__jinja_unexpected(parser, "the name of a filter");
			return NULL;
		}
		node = gh__jinja_node(parser, NODE_FILTER);
		if (!node)
			return NULL;
		node->u.apply.input = input;
		node->u.apply.builtin =
			gh__jinja_find_filter(parser->token.text, parser->token.len);
		if (!node->u.apply.builtin) {
			gh__jinja_syntax(&parser->lexer, GH_ENOTSUP, parser->token.line,
					 "filter '%.*s' is not supported", (int)parser->token.len,
					 parser->token.text);
			return NULL;
		}
		if (!gh__jinja_advance(parser) ||
		    (parser->token.type == '(' && !parse_args(parser, &node->u.apply.args)) ||
		    !check_named(parser, node))
			return NULL;
		input = node;
	}
	return input;
}

static jinja_node *parse_postfix(jinja_parser *parser, jinja_node *node)
{
	for (uint32_t links = 0; node; links++) {
		int type = parser->token.type;

		if (type != '.' && type != '[' && type != '(')
			break;
		if (links > MAX_LINKS) {
			gh__jinja_unexpected(parser, "fewer attributes and calls in a row");
			return NULL;
		}
		if (type == '.')
			node = parse_attribute(parser, node);
		else if (type == '[')
			node = parse_subscript(parser, node);
		else
			node = parse_call(parser, node);
	}
	return node;
}

/* Does the current token begin the argument of a test that is written without parentheses? */
static bool at_test_argument(const jinja_parser *parser)
{
	switch (parser->token.type) {
	case TOKEN_NAME:
		return !gh__jinja_at_word(parser, "else") && !gh__jinja_at_word(parser, "or") &&
		       !gh__jinja_at_word(parser, "and");
	case TOKEN_STRING:
	case TOKEN_INT:
	case TOKEN_FLOAT:
	case '[':
	case '{':
		return true;
	default:
		return false;
	}
}

/* At "is". */
static jinja_node *parse_test(jinja_parser *parser, jinja_node *input)
{
	jinja_node *node = gh__jinja_node(parser, NODE_TEST);
	jinja_node *negation = NULL;

	if (!node || !gh__jinja_advance(parser))
		return NULL;
	if (gh__jinja_at_word(parser, "not")) {
		negation = gh__jinja_node(parser, NODE_NOT);
		if (!negation || !gh__jinja_advance(parser))
			return NULL;
		negation->u.operand = node;
	}
	if (parser->token.type != TOKEN_NAME) {
		gh__jinja_unexpected(parser, "the name of a test");
		return NULL;
	}
	node->u.apply.input = input;
	node->u.apply.builtin = gh__jinja_find_test(parser->token.text, parser->token.len);
	if (!node->u.apply.builtin) {
		gh__jinja_syntax(&parser->lexer, GH_ENOTSUP, parser->token.line,
				 "test '%.*s' is not supported", (int)parser->token.len,
				 parser->token.text);
		return NULL;
	}
	if (!gh__jinja_advance(parser))
		return NULL;
	if (parser->token.type == '(') {
		if (!parse_args(parser, &node->u.apply.args))
			return NULL;
	} else if (at_test_argument(parser)) {
		jinja_node *argument;

		if (gh__jinja_at_word(parser, "is")) {
			gh__jinja_unexpected(parser, "no second test");
			return NULL;
		}
		argument = parse_postfix(parser, parse_primary(parser));
		node->u.apply.args.positional = 1;
		if (!argument || !gh__jinja_push(parser, &node->u.apply.args.values, argument))
			return NULL;
	}
	return negation ? negation : node;
}

static jinja_node *parse_unary(jinja_parser *parser, bool with_filter)
{
	int type = parser->token.type;
	jinja_node *node;

	if (!gh__jinja_enter(parser))
		return NULL;
	if (type == '-' || type == '+') {
		node = gh__jinja_node(parser, type == '-' ? NODE_MINUS : NODE_PLUS);
		if (!node || !gh__jinja_advance(parser))
			return NULL;
		node->u.operand = parse_unary(parser, false);
		if (!node->u.operand)
			return NULL;
	} else {
		node = parse_primary(parser);
	}
	node = parse_postfix(parser, node);
	for (uint32_t links = 0; node && with_filter; links++) {
		if (links > MAX_LINKS) {
			gh__jinja_unexpected(parser, "fewer filters and tests in a row");
			return NULL;
		}
		if (parser->token.type == '|')
			node = gh__jinja_filters(parser, node, false);
		else if (gh__jinja_at_word(parser, "is"))
			node = parse_test(parser, node);
		else if (parser->token.type == '(')
			node = parse_call(parser, node);
		else
			break;
	}
	parser->depth--;
	return node;
}

jinja_node *gh__jinja_operand(jinja_parser *parser)
{
	return parse_unary(parser, true);
}
