#ifndef GH_TEXT_TEMPLATE_H
#define GH_TEXT_TEMPLATE_H

#include <jansson.h>

#include <gonkahost/text.h>

/* gh_template_render() over a tree: variables is an object, borrowed. */
gh_status gh__template_render(const gh_template *chat_template, const json_t *variables,
			      char **text, size_t *len, gh_error *error);

/* As gh_template_load(), with this text in place of the folder's template; the special tokens are
 * the folder's still. */
gh_status gh__template_load_text(gh_template **out, const char *folder, const char *text,
				 size_t len, gh_error *error);

#endif
