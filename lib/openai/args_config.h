#ifndef GH_OPENAI_ARGS_CONFIG_H
#define GH_OPENAI_ARGS_CONFIG_H

#include <gonkahost/base.h>

/* A growing list of arguments. */
typedef struct gh__arg_list {
	char **arg;
	size_t count, capacity;
} gh__arg_list;

/* Takes text; NULL is out of memory. */
gh_status gh__arg_list_add(gh__arg_list *list, char *text, gh_error *error);
void gh__arg_list_free(gh__arg_list *list);

/*
 * The file of --config as arguments: "key: value" lines of YAML; a value may be quoted, a list
 * ("[a, b]" or "- a" lines below the key), true (a flag) or false (left out). Other YAML is
 * refused.
 */
gh_status gh__args_config_read(gh__arg_list *out, const char *path, gh_error *error);

#endif
