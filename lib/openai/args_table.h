#ifndef GH_OPENAI_ARGS_TABLE_H
#define GH_OPENAI_ARGS_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The options there are. Names are written with dashes and without the leading two.
 */
typedef enum gh__option_kind {
	GH__OPTION_TEXT,
	GH__OPTION_INT,
	GH__OPTION_COUNT, /* an integer that may end in k, m, g (decimal) or K, M, G (binary) */
	GH__OPTION_REAL,
	GH__OPTION_FLAG,    /* --x and --no-x, no value */
	GH__OPTION_NEGATED, /* a flag whose --no-x sets the field */
	GH__OPTION_SEED,
	GH__OPTION_LIST, /* one or more values, kept as a JSON array of strings */
	GH__OPTION_JSON, /* a JSON text; --x.key value builds an object */
	GH__OPTION_MANY  /* one or more values that nobody keeps */
} gh__option_kind;

typedef enum gh__option_fate {
	GH__OPTION_HONOURED,
	GH__OPTION_SILENT,  /* accepted: it makes no difference here, or is always so */
	GH__OPTION_IGNORED, /* accepted with a warning: it tunes what is not there */
	GH__OPTION_REFUSED  /* would serve something else */
} gh__option_fate;

typedef struct gh__option {
	const char *name;
	const char *alias; /* "-tp", or another long name; NULL */
	gh__option_kind kind;
	gh__option_fate fate;
	size_t offset;       /* in gh__args, when honoured */
	const char *allowed; /* "|auto|slow|": others are refused; NULL = any */
	double min, max;     /* of a number; both 0: any */
} gh__option;

extern const gh__option gh__options[];
extern const size_t gh__option_count;

/* By a name as it was typed, without dashes in front; '_' equals '-'. Exact, or else the only one
 * that begins so; *ambiguous tells that several do. "no-" is part of the name of a flag's denial:
 * *denied. NULL: none. */
const gh__option *gh__option_find(const char *name, size_t len, bool exact, bool *denied,
				  bool *ambiguous);
const gh__option *gh__option_of_alias(const char *arg, size_t len);

#endif
