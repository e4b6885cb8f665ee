#ifndef GH_TEXT_TEMPLATE_H
#define GH_TEXT_TEMPLATE_H

#include <jansson.h>

#include <gonkahost/text.h>

/* gh_template_render() over a tree: variables is an object, borrowed. */
gh_status gh__template_render(const gh_template *chat_template, const json_t *variables,
			      char **text, size_t *len, gh_error *error);

#endif
