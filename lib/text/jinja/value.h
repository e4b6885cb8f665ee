#ifndef GH_TEXT_JINJA_VALUE_H
#define GH_TEXT_JINJA_VALUE_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "base/buf.h"
#include "text/jinja/jinja.h"

/*
 * Memory that is released all at once: the nodes of a template, or the values of one rendering.
 */
typedef struct jinja_arena {
	struct jinja_chunk *chunks;
	char *next;
	size_t left;
	size_t total;
	size_t max;
	gh_status status; /* why the last allocation failed */
} jinja_arena;

void *gh__jinja_alloc(jinja_arena *arena, size_t count, size_t size); /* zeroed; NULL: status */
void gh__jinja_arena_free(jinja_arena *arena);

/*
 * Values. All are immutable but namespaces, so parts are shared freely: an element of a JSON tree
 * is read where it stands, a slice looks into the list it was taken from.
 */
typedef enum jinja_kind {
	JINJA_ABSENT, /* an argument that was not given */
	JINJA_UNDEFINED,
	JINJA_NONE,
	JINJA_BOOL,
	JINJA_INT,
	JINJA_FLOAT,
	JINJA_STRING,
	JINJA_LIST,
	JINJA_TUPLE,
	JINJA_RANGE,
	JINJA_VIEW,      /* keys, values or items of a dict */
	JINJA_GENERATOR, /* what map, select and their like answer: can be read once */
	JINJA_DICT,
	JINJA_NAMESPACE,
	JINJA_LOOP,
	JINJA_MACRO,
	JINJA_METHOD,
	JINJA_FUNCTION
} jinja_kind;

/* How a value is held (jinja_value.form). */
#define JINJA_OWN   0
#define JINJA_JSON  1 /* list or dict: u.json */
#define JINJA_GROWS 2 /* string: its text stands in a jinja_growth */

typedef struct jinja_run jinja_run;
typedef struct jinja_value jinja_value;
typedef struct jinja_builtin jinja_builtin;

struct jinja_value {
	uint8_t kind;
	uint8_t form; /* of an undefined value: the kind of the object that lacks it, 0 for none */
	size_t len;   /* bytes of a string; of an undefined value's name */
	union {
		int64_t integer; /* bool too */
		double real;
		const char *text; /* not NUL-terminated */
		const json_t *json;
		struct jinja_list *list;
		struct jinja_dict *dict; /* namespace too */
		struct jinja_loop *loop;
		struct jinja_macro *macro;
		struct jinja_method *method;
		const jinja_builtin *function;
	} u;
};

/* Elements start, start + step, ... of items, of json, or (both NULL) of the integers. */
typedef struct jinja_list {
	const jinja_value *items;
	const json_t *json;
	int64_t start;
	int64_t step;
	size_t count;
	size_t *used;    /* shared by the lists that grow in one store: how much of it is taken */
	size_t capacity; /* of that store */
	bool spent;      /* a generator that has been read */
} jinja_list;

typedef struct jinja_pair {
	jinja_value key;
	jinja_value value;
} jinja_pair;

typedef struct jinja_dict {
	jinja_pair *pairs; /* in order of insertion */
	size_t count;
	size_t capacity;
} jinja_dict;

typedef struct jinja_method {
	jinja_value self;
	const jinja_builtin *builtin;
} jinja_method;

/* One rendering. Functions that take it answer false when they failed; the error is recorded. */
struct jinja_run {
	const struct gh__jinja *program;
	jinja_arena arena;
	jinja_value *root; /* variables of the outermost scope, by name */
	gh__buf *out;
	size_t pending; /* bytes in all buffers that are being written */
	uint64_t steps;
	uint32_t depth;
	uint32_t line;        /* of the node at work */
	jinja_value captured; /* the text that a filter section begins with */
	gh_status status;
	gh_error *error;
};

bool gh__jinja_fail(jinja_run *run, gh_status status, const char *format, ...) GH_PRINTF(3, 4);
bool gh__jinja_charge(jinja_run *run, size_t steps);
bool gh__jinja_charge_bytes(jinja_run *run, size_t bytes);
bool gh__jinja_affords(const jinja_run *run,
		       size_t bytes); /* would that charge be within limits? */
void *gh__jinja_run_alloc(jinja_run *run, size_t count, size_t size); /* NULL: recorded */

/* Making values. */
jinja_value gh__jinja_none(void);
jinja_value gh__jinja_bool(bool value);
jinja_value gh__jinja_int(int64_t value);
jinja_value gh__jinja_float(double value);
jinja_value gh__jinja_text(const char *text, size_t len); /* borrowed */
jinja_value gh__jinja_undefined(const jinja_value *object, const char *name, size_t len);
jinja_value gh__jinja_from_json(const json_t *json);
bool gh__jinja_copy_text(jinja_run *run, const char *text, size_t len, jinja_value *out);
bool gh__jinja_take_buf(jinja_run *run, gh__buf *buf, jinja_value *out); /* frees buf */
bool gh__jinja_make_list(jinja_run *run, jinja_kind kind, const jinja_value *items, size_t count,
			 jinja_value *out); /* items are borrowed: memory of the run */
/* The elements of list, which may be in the midst of being shared. */
bool gh__jinja_share_list(jinja_run *run, jinja_kind kind, const jinja_list *list,
			  jinja_value *out);
bool gh__jinja_pair_up(jinja_run *run, const jinja_value *first, const jinja_value *second,
		       jinja_value *out); /* a tuple of two */
bool gh__jinja_make_dict(jinja_run *run, jinja_kind kind, size_t capacity, jinja_value *out);
bool gh__jinja_dict_put(jinja_run *run, jinja_value *dict, const jinja_value *key,
			const jinja_value *value);

/* Looking into values. */
const char *gh__jinja_kind_name(const jinja_value *value); /* as Python calls the type */
bool gh__jinja_truth(const jinja_value *value);
bool gh__jinja_is_number(const jinja_value *value); /* bool, int or float */
double gh__jinja_real(const jinja_value *number);
bool gh__jinja_is_sequence(const jinja_value *value);   /* list, tuple, range */
jinja_list gh__jinja_list_of(const jinja_value *value); /* of list, tuple, range, view, generator */
jinja_value gh__jinja_list_at(const jinja_list *list, size_t index);
size_t gh__jinja_dict_count(const jinja_value *dict);
/* Walk in order: *cursor starts at NULL; false at the end. */
bool gh__jinja_dict_next(const jinja_value *dict, void **cursor, jinja_value *key,
			 jinja_value *value);
bool gh__jinja_dict_get(jinja_run *run, const jinja_value *dict, const jinja_value *key,
			jinja_value *out, bool *found);
/* What a for loop would see. A generator is spent by it. */
bool gh__jinja_iterate(jinja_run *run, const jinja_value *value, jinja_list *out);

/* Comparing values (compare.c). */
bool gh__jinja_equal(jinja_run *run, const jinja_value *a, const jinja_value *b, bool *out);
/* *order: below, equal to or above 0; fails on kinds that have no order among them. */
bool gh__jinja_order(jinja_run *run, const jinja_value *a, const jinja_value *b, int *order);
bool gh__jinja_contains(jinja_run *run, const jinja_value *box, const jinja_value *item, bool *out);

/* Operators on values (operator.c). */
bool gh__jinja_concat(jinja_run *run, const jinja_value *a, const jinja_value *b, jinja_value *out);
bool gh__jinja_arithmetic(jinja_run *run, int op, const jinja_value *a, const jinja_value *b,
			  jinja_value *out);
bool gh__jinja_negate(jinja_run *run, const jinja_value *a, bool minus, jinja_value *out);
bool gh__jinja_slice(jinja_run *run, const jinja_value *object, const jinja_value bounds[3],
		     jinja_value *out);
bool gh__jinja_attribute(jinja_run *run, const jinja_value *object, const char *name, size_t len,
			 jinja_value *out);
bool gh__jinja_item(jinja_run *run, const jinja_value *object, const jinja_value *key,
		    jinja_value *out);

/* Values as text (print.c). */
bool gh__jinja_print(jinja_run *run, const jinja_value *value, gh__buf *out);      /* str() */
bool gh__jinja_string(jinja_run *run, const jinja_value *value, jinja_value *out); /* str() */
bool gh__jinja_fail_undefined(jinja_run *run, const jinja_value *undefined);

/* Loops, as far as expressions see them (loop.c). */
bool gh__jinja_loop_attribute(jinja_run *run, const jinja_value *loop, const char *name, size_t len,
			      jinja_value *out, bool *found);

/*
 * Filters, tests, functions and methods.
 */
typedef struct jinja_keyword {
	const char *name;
	size_t len;
	jinja_value value;
} jinja_keyword;

typedef struct jinja_call {
	const jinja_value *args;
	size_t count;
	const jinja_keyword *keywords;
	size_t keyword_count;
} jinja_call;

/* self: what the filter, test or method works on; unused by functions. A test answers a bool. */
typedef bool jinja_fn(jinja_run *run, const jinja_value *self, const jinja_call *call,
		      jinja_value *out);

#define JINJA_MAX_PARAMS 5

struct jinja_builtin {
	const char *name;
	/* Comma-separated names of parameters: args then has an entry for each of them, ABSENT if
	 * not given. NULL: args and keywords as they were written. */
	const char *params;
	uint8_t required;
	uint8_t kind; /* of a method: the kind of value that has it */
	jinja_fn *fn; /* NULL: a method that the sandbox forbids, so that it is undefined */
};

bool gh__jinja_invoke(jinja_run *run, const jinja_builtin *builtin, const jinja_value *self,
		      const jinja_call *call, jinja_value *out);
bool gh__jinja_call_value(jinja_run *run, const jinja_value *callee, const jinja_call *call,
			  jinja_value *out);
bool gh__jinja_call_macro(jinja_run *run, const jinja_value *macro, const jinja_call *call,
			  jinja_value *out); /* macro.c */

/* A table ends with a NULL name. */
const jinja_builtin *gh__jinja_find(const jinja_builtin *table, const char *name, size_t len);
const jinja_builtin *gh__jinja_find_filter(const char *name, size_t len);
const jinja_builtin *gh__jinja_find_test(const char *name, size_t len);
const jinja_builtin *gh__jinja_find_function(const char *name, size_t len);
/* kind JINJA_ABSENT: of any kind. */
const jinja_builtin *gh__jinja_find_method(jinja_kind kind, const char *name, size_t len);

extern const jinja_builtin gh__jinja_text_filters[];
extern const jinja_builtin gh__jinja_list_filters[];
extern const jinja_builtin gh__jinja_order_filters[];
extern const jinja_builtin gh__jinja_value_filters[];
extern const jinja_builtin gh__jinja_json_filters[];
extern const jinja_builtin gh__jinja_tests[];
extern const jinja_builtin gh__jinja_functions[];
extern const jinja_builtin gh__jinja_text_methods[];
extern const jinja_builtin gh__jinja_value_methods[];

/* Reading arguments. */
bool gh__jinja_want_text(jinja_run *run, const jinja_value *value, const char *what);
bool gh__jinja_want_int(jinja_run *run, const jinja_value *value, const char *what, int64_t absent,
			int64_t *out);
bool gh__jinja_arg_truth(const jinja_value *value, bool absent);

/*
 * Work on texts, for filters and methods alike (string.c).
 */
typedef enum jinja_case {
	CASE_UPPER,
	CASE_LOWER,
	CASE_CAPITAL, /* str.capitalize() */
	CASE_TITLE,   /* str.title() */
	CASE_WORD     /* first upper, rest lower: what the filter title does with a word */
} jinja_case;

#define JINJA_LEFT  1
#define JINJA_RIGHT 2

size_t gh__jinja_count_characters(const char *text, size_t len);
/* Where character index begins; len if there are not so many. */
size_t gh__jinja_character_offset(const char *text, size_t len, size_t index);
bool gh__jinja_change_case(jinja_run *run, const jinja_value *text, jinja_case to,
			   jinja_value *out);
/* chars: a string whose characters go, or nothing or None for white space. */
bool gh__jinja_strip(jinja_run *run, const jinja_value *text, const jinja_value *chars, int sides,
		     jinja_value *out);
bool gh__jinja_replace(jinja_run *run, const jinja_value *text, const jinja_value *from,
		       const jinja_value *to, int64_t most, jinja_value *out);
bool gh__jinja_split_lines(jinja_run *run, const jinja_value *text, bool keep_ends,
			   jinja_value *out);
bool gh__jinja_push_item(jinja_run *run, jinja_list *list, const jinja_value *item);
/* item.a.b, item[0] and so on, by a path such as "a.b" or 0 (jinja_filter_order.c). */
bool gh__jinja_path(jinja_run *run, const jinja_value *item, const jinja_value *path,
		    jinja_value *out);

#endif
