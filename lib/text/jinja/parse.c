#include "text/jinja/node.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/map.h"
#include "base/utf8.h"

bool gh__jinja_advance(jinja_parser *parser)
{
	if (parser->has_ahead) {
		parser->token = parser->ahead;
		parser->has_ahead = false;
		return true;
	}
	return gh__jinja_next(&parser->lexer, &parser->token);
}

bool gh__jinja_peek(jinja_parser *parser, jinja_token *out)
{
	if (!parser->has_ahead && !gh__jinja_next(&parser->lexer, &parser->ahead))
		return false;
	parser->has_ahead = true;
	*out = parser->ahead;
	return true;
}

bool gh__jinja_token_is(const jinja_token *token, const char *word)
{
	return token->type == TOKEN_NAME && token->len == strlen(word) &&
	       memcmp(token->text, word, token->len) == 0;
}

bool gh__jinja_at_word(const jinja_parser *parser, const char *word)
{
	return gh__jinja_token_is(&parser->token, word);
}

bool gh__jinja_unexpected(jinja_parser *parser, const char *wanted)
{
	const jinja_token *token = &parser->token;

	if (token->type == TOKEN_END)
		return gh__jinja_syntax(&parser->lexer, GH_EFORMAT, token->line,
					"expected %s, got the end of the template", wanted);
	return gh__jinja_syntax(&parser->lexer, GH_EFORMAT, token->line,
				"expected %s, got \"%.*s\"", wanted,
				(int)(token->len < 40 ? token->len : 40), token->text);
}

bool gh__jinja_expect(jinja_parser *parser, int type, const char *what)
{
	if (parser->token.type != type)
		return gh__jinja_unexpected(parser, what);
	return gh__jinja_advance(parser);
}

bool gh__jinja_enter(jinja_parser *parser)
{
	if (++parser->depth <= GH__JINJA_MAX_NESTING)
		return true;
	return gh__jinja_syntax(&parser->lexer, GH_ETOOBIG, parser->token.line,
				"nested more than %d levels deep", GH__JINJA_MAX_NESTING);
}

void *gh__jinja_parser_alloc(jinja_parser *parser, size_t count, size_t size)
{
	void *memory = gh__jinja_alloc(parser->arena, count, size);

	if (!memory)
		gh__jinja_syntax(&parser->lexer, parser->arena->status, parser->token.line,
				 "no memory left");
	return memory;
}

jinja_node *gh__jinja_node(jinja_parser *parser, jinja_node_type type)
{
	jinja_node *node = gh__jinja_parser_alloc(parser, 1, sizeof(*node));

	if (node) {
		node->type = (uint8_t)type;
		node->line = parser->token.line;
	}
	return node;
}

bool gh__jinja_push(jinja_parser *parser, jinja_nodes *list, jinja_node *node)
{
	if (list->count == list->capacity) {
		uint32_t capacity = list->capacity ? 2 * list->capacity : 4;
		jinja_node **items = gh__jinja_parser_alloc(parser, capacity, sizeof(void *));

		if (!items)
			return false;
		if (list->count)
			memcpy(items, list->items, list->count * sizeof(void *));
		list->items = items;
		list->capacity = capacity;
	}
	list->items[list->count++] = node;
	return true;
}

bool gh__jinja_name_id(jinja_parser *parser, const char *text, size_t len, uint32_t *out)
{
	uintptr_t known = (uintptr_t)gh__map_get_n(parser->ids, text, len);
	jinja_name *name;
	gh_status status;

	if (known) {
		*out = (uint32_t)known - 1;
		return true;
	}
	if (parser->name_count == parser->name_capacity) {
		uint32_t capacity = parser->name_capacity ? 2 * parser->name_capacity : 32;
		jinja_name *names = gh__jinja_parser_alloc(parser, capacity, sizeof(*names));

		if (!names)
			return false;
		if (parser->name_count)
			memcpy(names, parser->names, parser->name_count * sizeof(*names));
		parser->names = names;
		parser->name_capacity = capacity;
	}
	name = &parser->names[parser->name_count];
	name->text = gh__jinja_parser_alloc(parser, len + 1, 1);
	if (!name->text)
		return false;
	memcpy(name->text, text, len);
	status = gh__map_put_n(parser->ids, text, len, (void *)(uintptr_t)(parser->name_count + 1),
			       parser->lexer.error);
	if (status != GH_OK) {
		parser->lexer.status = status;
		return false;
	}
	*out = parser->name_count++;
	return true;
}

/* What is called must be a function, or something that the template made. */
static bool check_calls(jinja_parser *parser)
{
	for (uint32_t i = 0; i < parser->name_count; i++) {
		const jinja_name *name = &parser->names[i];

		if (name->called && !name->assigned && strcmp(name->text, "caller") != 0 &&
		    !gh__jinja_find_function(name->text, strlen(name->text)))
			return gh__jinja_syntax(&parser->lexer, GH_ENOTSUP, name->called,
						"function '%s' is not supported", name->text);
	}
	return true;
}

static bool parse_template(jinja_parser *parser, gh__jinja *program)
{
	if (!gh__jinja_name_id(parser, "loop", 4, &program->loop_name) ||
	    !gh__jinja_name_id(parser, "caller", 6, &program->caller_name) ||
	    !gh__jinja_advance(parser) ||
	    !gh__jinja_parse_body(parser, &program->body, NULL, NULL, NULL) || !check_calls(parser))
		return false;
	program->names = gh__jinja_parser_alloc(parser, parser->name_count, sizeof(char *));
	if (!program->names)
		return false;
	for (uint32_t i = 0; i < parser->name_count; i++)
		program->names[i] = parser->names[i].text;
	program->name_count = parser->name_count;
	return true;
}

/* Jinja's newlines: \r\n and \r are \n, and one at the end is dropped. Answers the length. */
static size_t copy_lines(char *to, const char *text, size_t len)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		if (text[i] == '\r' && i + 1 < len && text[i + 1] == '\n')
			continue;
		to[n++] = text[i] == '\r' ? '\n' : text[i];
	}
	return n && to[n - 1] == '\n' ? n - 1 : n;
}

gh_status gh__jinja_parse(gh__jinja **out, const char *text, size_t len, gh_error *error)
{
	jinja_parser parser = { .depth = 0 };
	gh__jinja *program;
	gh_status status;
	char *copy;

	if (len > GH__JINJA_MAX_TEMPLATE)
		return gh__fail(error, GH_ETOOBIG, "template: %zu bytes, expected at most %u", len,
				GH__JINJA_MAX_TEMPLATE);
	if (!gh__utf8_valid(text, len))
		return gh__fail(error, GH_EFORMAT, "template: invalid UTF-8");
	program = gh__calloc(1, sizeof(*program));
	if (!program)
		return gh__fail_nomem(error);
	program->arena.max = GH__JINJA_MAX_MEMORY;
	status = gh__map_create(&parser.ids, NULL, error);
	if (status != GH_OK)
		goto fail;
	copy = gh__jinja_alloc(&program->arena, len, 1);
	if (!copy) {
		status = gh__fail_nomem(error);
		goto fail;
	}
	parser.arena = &program->arena;
	gh__jinja_lexer_init(&parser.lexer, parser.arena, copy, copy_lines(copy, text, len), error);
	if (!parse_template(&parser, program)) {
		status = parser.lexer.status;
		goto fail;
	}
	gh__map_free(parser.ids);
	*out = program;
	return GH_OK;
fail:
	gh__map_free(parser.ids);
	gh__jinja_free(program);
	return status;
}

void gh__jinja_free(gh__jinja *program)
{
	if (!program)
		return;
	gh__jinja_arena_free(&program->arena);
	gh__free(program);
}
