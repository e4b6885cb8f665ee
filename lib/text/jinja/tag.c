#include "text/jinja/node.h"

#include <string.h>

/*
 * Tags, and the texts and prints between them.
 */

/* A name that is given a value. */
static bool parse_new_name(jinja_parser *parser, uint32_t *out)
{
	static const char *const taken[] = { "true", "false", "none", "True", "False", "None" };

	if (parser->token.type != TOKEN_NAME)
		return gh__jinja_unexpected(parser, "a name");
	for (size_t i = 0; i < sizeof(taken) / sizeof(taken[0]); i++) {
		if (gh__jinja_at_word(parser, taken[i]))
			return gh__jinja_unexpected(parser, "a name that can be assigned");
	}
	if (!gh__jinja_name_id(parser, parser->token.text, parser->token.len, out))
		return false;
	parser->names[*out].assigned = true;
	return gh__jinja_advance(parser);
}

/* One name, an attribute of a namespace, or a list of them in parentheses. */
static jinja_node *parse_target(jinja_parser *parser, bool attributes);

static jinja_node *parse_one_target(jinja_parser *parser, bool attributes)
{
	jinja_node *node = gh__jinja_node(parser, NODE_NAME);
	jinja_node *member;

	if (!node)
		return NULL;
	if (parser->token.type == '(') {
		if (!gh__jinja_enter(parser) || !gh__jinja_advance(parser))
			return NULL;
		node = parse_target(parser, attributes);
		parser->depth--;
		return node && gh__jinja_expect(parser, ')', "')'") ? node : NULL;
	}
	if (!parse_new_name(parser, &node->u.name))
		return NULL;
	if (!attributes || parser->token.type != '.')
		return node;
	member = gh__jinja_node(parser, NODE_ATTRIBUTE);
	if (!member || !gh__jinja_advance(parser))
		return NULL;
	member->u.attribute.object = node;
	member->u.attribute.name = parser->token.text;
	member->u.attribute.len = parser->token.len;
	return gh__jinja_expect(parser, TOKEN_NAME, "the name of an attribute") ? member : NULL;
}

static jinja_node *parse_target(jinja_parser *parser, bool attributes)
{
	jinja_node *node = parse_one_target(parser, attributes);
	jinja_node *tuple;

	if (!node || parser->token.type != ',')
		return node;
	tuple = gh__jinja_node(parser, NODE_TUPLE);
	if (!tuple || !gh__jinja_push(parser, &tuple->u.list, node))
		return NULL;
	while (parser->token.type == ',') {
		if (!gh__jinja_advance(parser))
			return NULL;
		if (parser->token.type != TOKEN_NAME && parser->token.type != '(')
			break;
		if (gh__jinja_at_word(parser, "in"))
			break;
		node = parse_one_target(parser, attributes);
		if (!node || !gh__jinja_push(parser, &tuple->u.list, node))
			return NULL;
	}
	return tuple;
}

static bool expect_word(jinja_parser *parser, const char *word)
{
	if (!gh__jinja_at_word(parser, word))
		return gh__jinja_unexpected(parser, word);
	return gh__jinja_advance(parser);
}

/* The end of a tag, its body, and the tag that ends it; then at what stands behind end. */
static bool parse_section(jinja_parser *parser, jinja_nodes *body, const char *end)
{
	return gh__jinja_expect(parser, TOKEN_TAG_END, "the end of the tag") &&
	       gh__jinja_parse_body(parser, body, end, NULL, NULL) && gh__jinja_advance(parser);
}

static bool parse_set(jinja_parser *parser, jinja_node *node)
{
	node->u.set.target = parse_target(parser, true);
	if (!node->u.set.target)
		return false;
	if (parser->token.type == '=') {
		if (!gh__jinja_advance(parser))
			return false;
		node->u.set.value = gh__jinja_tuple(parser, true);
		return node->u.set.value != NULL;
	}
	node->type = NODE_SET_BLOCK;
	node->u.set.value = gh__jinja_node(parser, NODE_CAPTURED);
	if (node->u.set.value)
		node->u.set.value = gh__jinja_filters(parser, node->u.set.value, false);
	return node->u.set.value && parse_section(parser, &node->u.set.body, "endset");
}

static bool parse_filter_block(jinja_parser *parser, jinja_node *node)
{
	node->u.set.value = gh__jinja_node(parser, NODE_CAPTURED);
	if (node->u.set.value)
		node->u.set.value = gh__jinja_filters(parser, node->u.set.value, true);
	return node->u.set.value && parse_section(parser, &node->u.set.body, "endfilter");
}

static bool parse_if(jinja_parser *parser, jinja_node *node)
{
	jinja_nodes *tests = &node->u.branch.tests;
	uint32_t capacity = 0;

	for (uint32_t count = 0;; count++) {
		jinja_node *test;

		if (count + 2 > capacity) {
			jinja_nodes *bodies =
				gh__jinja_parser_alloc(parser, 2 * (size_t)(count + 2),
						       sizeof(*bodies));

			if (!bodies)
				return false;
			if (count)
				memcpy(bodies, node->u.branch.bodies, count * sizeof(*bodies));
			node->u.branch.bodies = bodies;
			capacity = 2 * (count + 2);
		}
		test = gh__jinja_tuple(parser, false);
		if (!test || !gh__jinja_push(parser, tests, test) ||
		    !gh__jinja_expect(parser, TOKEN_TAG_END, "the end of the tag") ||
		    !gh__jinja_parse_body(parser, &node->u.branch.bodies[count], "endif", "elif",
					  "else"))
			return false;
		if (gh__jinja_at_word(parser, "elif")) {
			if (!gh__jinja_advance(parser))
				return false;
			continue;
		}
		if (gh__jinja_at_word(parser, "else")) {
			node->u.branch.otherwise = true;
			return gh__jinja_advance(parser) &&
			       parse_section(parser, &node->u.branch.bodies[count + 1], "endif");
		}
		return gh__jinja_advance(parser);
	}
}

static bool parse_for(jinja_parser *parser, jinja_node *node)
{
	node->u.loop.target = parse_target(parser, false);
	if (!node->u.loop.target || !expect_word(parser, "in"))
		return false;
	node->u.loop.source = gh__jinja_tuple(parser, false);
	if (!node->u.loop.source)
		return false;
	if (gh__jinja_at_word(parser, "if")) {
		if (!gh__jinja_advance(parser))
			return false;
		node->u.loop.filter = gh__jinja_expression(parser, true);
		if (!node->u.loop.filter)
			return false;
	}
	if (gh__jinja_at_word(parser, "recursive"))
		return gh__jinja_syntax(&parser->lexer, GH_ENOTSUP, node->line,
					"a recursive loop is not supported");
	parser->loops++;
	if (!gh__jinja_expect(parser, TOKEN_TAG_END, "the end of the tag") ||
	    !gh__jinja_parse_body(parser, &node->u.loop.body, "endfor", "else", NULL))
		return false;
	parser->loops--;
	if (!gh__jinja_at_word(parser, "else"))
		return gh__jinja_advance(parser);
	return gh__jinja_advance(parser) &&
	       parse_section(parser, &node->u.loop.otherwise, "endfor");
}

static bool parse_with(jinja_parser *parser, jinja_node *node)
{
	while (parser->token.type != TOKEN_TAG_END) {
		jinja_node *target = parse_target(parser, false);
		jinja_node *value;

		if (!target || !gh__jinja_push(parser, &node->u.with.targets, target) ||
		    !gh__jinja_expect(parser, '=', "'='"))
			return false;
		value = gh__jinja_expression(parser, true);
		if (!value || !gh__jinja_push(parser, &node->u.with.values, value))
			return false;
		if (parser->token.type == ',' && !gh__jinja_advance(parser))
			return false;
	}
	return parse_section(parser, &node->u.with.body, "endwith");
}

/* (a, b=1) of a macro or a call block. */
static bool parse_signature(jinja_parser *parser, struct jinja_macro_node *macro)
{
	uint32_t capacity = 0;

	if (!gh__jinja_expect(parser, '(', "'('"))
		return false;
	while (parser->token.type != ')') {
		if (macro->count == capacity) {
			uint32_t more = capacity ? 2 * capacity : 4;
			uint32_t *params = gh__jinja_parser_alloc(parser, more, sizeof(*params));
			jinja_node **defaults =
				gh__jinja_parser_alloc(parser, more, sizeof(void *));

			if (!params || !defaults)
				return false;
			if (capacity) {
				memcpy(params, macro->params, capacity * sizeof(*params));
				memcpy(defaults, macro->defaults, capacity * sizeof(void *));
			}
			macro->params = params;
			macro->defaults = defaults;
			capacity = more;
		}
		if (!parse_new_name(parser, &macro->params[macro->count]))
			return false;
		if (parser->token.type == '=') {
			if (!gh__jinja_advance(parser))
				return false;
			macro->defaults[macro->count] = gh__jinja_expression(parser, true);
			if (!macro->defaults[macro->count])
				return false;
		} else if (macro->count && macro->defaults[macro->count - 1]) {
			return gh__jinja_unexpected(parser, "a default value");
		}
		macro->count++;
		if (parser->token.type == ',') {
			if (!gh__jinja_advance(parser))
				return false;
		} else if (parser->token.type != ')') {
			return gh__jinja_unexpected(parser, "',' or ')'");
		}
	}
	return gh__jinja_advance(parser);
}

/* A body that runs as a macro of its own: loops around it cannot be left from within. */
static bool parse_closed(jinja_parser *parser, jinja_nodes *body, const char *end)
{
	uint32_t loops = parser->loops;
	bool ok;

	parser->loops = 0;
	ok = parse_section(parser, body, end);
	parser->loops = loops;
	return ok;
}

static bool parse_macro(jinja_parser *parser, jinja_node *node)
{
	struct jinja_macro_node *macro = &node->u.macro;
	bool ok;

	if (!parse_new_name(parser, &macro->name))
		return false;
	parser->macros++;
	ok = parse_signature(parser, macro) && parse_closed(parser, &macro->body, "endmacro");
	parser->macros--;
	return ok;
}

static bool parse_call_block(jinja_parser *parser, jinja_node *node)
{
	struct jinja_macro_node *macro = &node->u.macro;

	if (!gh__jinja_name_id(parser, "caller", 6, &macro->name))
		return false;
	if (parser->token.type == '(' && !parse_signature(parser, macro))
		return false;
	macro->call = gh__jinja_expression(parser, true);
	if (!macro->call)
		return false;
	if (macro->call->type != NODE_CALL)
		return gh__jinja_unexpected(parser, "a call");
	return parse_closed(parser, &macro->body, "endcall");
}

static bool parse_scope(jinja_parser *parser, jinja_node *node)
{
	return parse_closed(parser, &node->u.list, "endgeneration");
}

static bool parse_jump(jinja_parser *parser, jinja_node *node)
{
	if (!parser->loops)
		return gh__jinja_syntax(&parser->lexer, GH_EFORMAT, node->line,
					"break or continue outside of a loop");
	return true;
}

/* At the tag's name. */
static bool parse_tag(jinja_parser *parser, jinja_nodes *body)
{
	static const struct {
		const char *name;
		jinja_node_type type;
		bool (*parse)(jinja_parser *parser, jinja_node *node);
	} tags[] = {
		{ "set", NODE_SET, parse_set },
		{ "if", NODE_IF, parse_if },
		{ "for", NODE_FOR, parse_for },
		{ "macro", NODE_MACRO, parse_macro },
		{ "call", NODE_CALL_BLOCK, parse_call_block },
		{ "filter", NODE_FILTER_BLOCK, parse_filter_block },
		{ "with", NODE_WITH, parse_with },
		{ "generation", NODE_SCOPE, parse_scope },
		{ "break", NODE_BREAK, parse_jump },
		{ "continue", NODE_CONTINUE, parse_jump },
	};
	static const char *const inner[] = { "elif", "else" };
	const jinja_token tag = parser->token;

	for (size_t i = 0; i < sizeof(tags) / sizeof(tags[0]); i++) {
		jinja_node *node;

		if (!gh__jinja_at_word(parser, tags[i].name))
			continue;
		node = gh__jinja_node(parser, tags[i].type);
		if (!node || !gh__jinja_enter(parser) || !gh__jinja_advance(parser) ||
		    !tags[i].parse(parser, node))
			return false;
		parser->depth--;
		return gh__jinja_push(parser, body, node) &&
		       gh__jinja_expect(parser, TOKEN_TAG_END, "the end of the tag");
	}
	for (size_t i = 0; i < sizeof(inner) / sizeof(inner[0]); i++) {
		if (gh__jinja_at_word(parser, inner[i]))
			return gh__jinja_unexpected(parser, "another tag");
	}
	if (tag.type != TOKEN_NAME || (tag.len > 3 && memcmp(tag.text, "end", 3) == 0))
		return gh__jinja_unexpected(parser, "a tag that can stand here");
	return gh__jinja_syntax(&parser->lexer, GH_ENOTSUP, tag.line, "tag '%.*s' is not supported",
				(int)(tag.len < 80 ? tag.len : 80), tag.text);
}

/* Up to a tag of one of the names, which becomes the current token; end NULL: to the end. */
bool gh__jinja_parse_body(jinja_parser *parser, jinja_nodes *body, const char *end,
			  const char *other, const char *third)
{
	uint32_t line = parser->token.line;

	for (;;) {
		jinja_node *node;

		switch (parser->token.type) {
		case TOKEN_END:
			if (!end)
				return true;
			return gh__jinja_syntax(&parser->lexer, GH_EFORMAT, line,
						"what begins here has no %s", end);
		case TOKEN_TEXT:
			node = gh__jinja_node(parser, NODE_TEXT);
			if (!node)
				return false;
			node->u.constant = gh__jinja_text(parser->token.text, parser->token.len);
			if (!gh__jinja_push(parser, body, node) || !gh__jinja_advance(parser))
				return false;
			break;
		case TOKEN_PRINT:
			node = gh__jinja_node(parser, NODE_PRINT);
			if (!node || !gh__jinja_advance(parser))
				return false;
			node->u.operand = gh__jinja_tuple(parser, true);
			if (!node->u.operand || !gh__jinja_push(parser, body, node) ||
			    !gh__jinja_expect(parser, TOKEN_PRINT_END, "'}}'"))
				return false;
			break;
		default: /* TOKEN_TAG */
			if (!gh__jinja_advance(parser))
				return false;
			if (end && (gh__jinja_at_word(parser, end) ||
				    (other && gh__jinja_at_word(parser, other)) ||
				    (third && gh__jinja_at_word(parser, third))))
				return true;
			if (!parse_tag(parser, body))
				return false;
		}
	}
}
