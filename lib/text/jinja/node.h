#ifndef GH_TEXT_JINJA_NODE_H
#define GH_TEXT_JINJA_NODE_H

#include "text/jinja/value.h"

/*
 * Tokens. An operator of one character is that character; the others have names.
 */
enum {
	TOKEN_END = 0,
	TOKEN_TEXT = 256, /* between the tags */
	TOKEN_PRINT,      /* {{ */
	TOKEN_PRINT_END,
	TOKEN_TAG, /* {% */
	TOKEN_TAG_END,
	TOKEN_NAME,
	TOKEN_STRING,
	TOKEN_INT,
	TOKEN_FLOAT,
	TOKEN_EQ,
	TOKEN_NE,
	TOKEN_LE,
	TOKEN_GE,
	TOKEN_FLOOR,
	TOKEN_POWER
};

typedef struct jinja_token {
	int type;
	uint32_t line;
	const char *text; /* as written; of a string, with its escapes resolved */
	size_t len;
	int64_t integer;
	double real;
} jinja_token;

typedef struct jinja_lexer {
	jinja_arena *arena;
	const char *text;
	size_t len;
	size_t at;
	uint32_t line;
	uint32_t brackets; /* open within this tag */
	int mode;          /* 0, TOKEN_PRINT or TOKEN_TAG */
	gh_error *error;
	gh_status status;
} jinja_lexer;

/* text has Jinja's newlines already: only \n, none at the end. */
void gh__jinja_lexer_init(jinja_lexer *lexer, jinja_arena *arena, const char *text, size_t len,
			  gh_error *error);
bool gh__jinja_next(jinja_lexer *lexer, jinja_token *out);
bool gh__jinja_is_space(uint32_t code_point); /* as Python's str.isspace() */
bool gh__jinja_unescape(jinja_lexer *lexer, const char *text, size_t len, jinja_token *out);
/* "line 3: ..." into the lexer's error; answers false. */
bool gh__jinja_syntax(jinja_lexer *lexer, gh_status status, uint32_t line, const char *format, ...)
	GH_PRINTF(4, 5);

/*
 * Nodes.
 */
typedef enum jinja_node_type {
	NODE_CONSTANT,
	NODE_CAPTURED, /* the text that a filter section or a block assignment filters */
	NODE_NAME,
	NODE_LIST,
	NODE_TUPLE,
	NODE_DICT, /* list: key, value, key, value, ... */
	NODE_OR,
	NODE_AND,
	NODE_CONCAT,
	NODE_ARITHMETIC, /* chain, from left to right */
	NODE_COMPARE,    /* chain, as in Python: a < b < c */
	NODE_NOT,
	NODE_MINUS,
	NODE_PLUS,
	NODE_CONDITION,
	NODE_ATTRIBUTE,
	NODE_ITEM,
	NODE_SLICE,
	NODE_CALL,
	NODE_FILTER,
	NODE_TEST,
	NODE_TEXT,
	NODE_PRINT,
	NODE_IF,
	NODE_FOR,
	NODE_SET,
	NODE_SET_BLOCK,
	NODE_WITH,
	NODE_SCOPE, /* the generation tag: nothing but a scope of its own */
	NODE_FILTER_BLOCK,
	NODE_MACRO,
	NODE_CALL_BLOCK,
	NODE_BREAK,
	NODE_CONTINUE
} jinja_node_type;

/* Operators of chains that are no token of their own. */
#define JINJA_IN     1
#define JINJA_NOT_IN 2

typedef struct jinja_node jinja_node;

typedef struct jinja_nodes {
	jinja_node **items;
	uint32_t count;
	uint32_t capacity;
} jinja_nodes;

typedef struct jinja_args {
	jinja_nodes values; /* positional ones first */
	jinja_token *names; /* of the values behind them */
	uint32_t positional;
} jinja_args;

struct jinja_node {
	uint8_t type;
	uint32_t line;
	union {
		jinja_value constant;
		uint32_t name;
		jinja_nodes list; /* also of a text-free chain: or, and, ~ */
		struct {
			jinja_nodes operands;
			int *ops; /* one less */
		} chain;
		jinja_node *operand; /* not, minus, plus, print */
		struct {
			jinja_node *test;
			jinja_node *yes;
			jinja_node *no; /* NULL: undefined */
		} condition;
		struct {
			jinja_node *object;
			const char *name;
			size_t len;
		} attribute;
		struct {
			jinja_node *object;
			jinja_node *key;
		} item;
		struct {
			jinja_node *object;
			jinja_node *bounds[3]; /* each may be NULL */
		} slice;
		struct {
			jinja_node *callee;
			jinja_args args;
		} call;
		struct {
			jinja_node *input;
			const jinja_builtin *builtin;
			jinja_args args;
		} apply; /* filter, test */
		struct {
			jinja_nodes tests;
			jinja_nodes *bodies; /* one more when there is an else */
			bool otherwise;
		} branch;
		struct {
			jinja_node *target;
			jinja_node *source;
			jinja_node *filter; /* may be NULL */
			jinja_nodes body;
			jinja_nodes otherwise;
		} loop;
		struct {
			jinja_node *target;
			jinja_node
				*value; /* NODE_SET_BLOCK, NODE_FILTER_BLOCK: over NODE_CAPTURED */
			jinja_nodes body;
		} set;
		struct {
			jinja_nodes targets;
			jinja_nodes values;
			jinja_nodes body;
		} with;
		struct jinja_macro_node {
			uint32_t name;
			uint32_t count;
			uint32_t *params;
			jinja_node **defaults; /* NULL: none */
			jinja_nodes body;
			jinja_node *call; /* of a call block */
		} macro;
	} u;
};

struct gh__jinja {
	jinja_arena arena;
	jinja_nodes body;
	char **names; /* of variables */
	uint32_t name_count;
	uint32_t loop_name;   /* of "loop" */
	uint32_t caller_name; /* of "caller" */
};

/*
 * The parser: tag.c reads tags, expression.c operators, operand.c what they
 * work on. NULL or false: failed, the lexer's error tells.
 */
typedef struct jinja_name {
	char *text;
	bool assigned;
	uint32_t called; /* line of a call, 0: none */
} jinja_name;

typedef struct jinja_parser {
	jinja_lexer lexer;
	jinja_arena *arena;
	jinja_token token;
	jinja_token ahead;
	bool has_ahead;
	uint32_t depth;
	uint32_t loops;  /* that break and continue can be about */
	uint32_t macros; /* around */
	struct gh__map *ids;
	jinja_name *names;
	uint32_t name_count;
	uint32_t name_capacity;
} jinja_parser;

bool gh__jinja_advance(jinja_parser *parser);
bool gh__jinja_peek(jinja_parser *parser, jinja_token *out);
bool gh__jinja_expect(jinja_parser *parser, int type, const char *what);
bool gh__jinja_token_is(const jinja_token *token, const char *word);
bool gh__jinja_at_word(const jinja_parser *parser, const char *word);
bool gh__jinja_enter(jinja_parser *parser); /* one level deeper; parser->depth-- leaves */
bool gh__jinja_unexpected(jinja_parser *parser, const char *wanted);
jinja_node *gh__jinja_node(jinja_parser *parser, jinja_node_type type);
bool gh__jinja_push(jinja_parser *parser, jinja_nodes *list, jinja_node *node);
void *gh__jinja_parser_alloc(jinja_parser *parser, size_t count, size_t size);
bool gh__jinja_name_id(jinja_parser *parser, const char *text, size_t len, uint32_t *out);

/* Up to a tag of one of the names, which becomes the current token; end NULL: to the end. */
bool gh__jinja_parse_body(jinja_parser *parser, jinja_nodes *body, const char *end,
			  const char *other, const char *third);
jinja_node *gh__jinja_expression(jinja_parser *parser, bool condition);
/* A value with its signs, attributes, calls, filters and tests. */
jinja_node *gh__jinja_operand(jinja_parser *parser);
/* a, b: a tuple without parentheses. */
jinja_node *gh__jinja_tuple(jinja_parser *parser, bool condition);
/* Filters behind an input; the first without its bar when bare. */
jinja_node *gh__jinja_filters(jinja_parser *parser, jinja_node *input, bool bare);

#endif
