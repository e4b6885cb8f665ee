#ifndef GH_TEXT_JINJA_JINJA_H
#define GH_TEXT_JINJA_JINJA_H

#include <jansson.h>

#include <gonkahost/base.h>

/*
 * The part of Jinja that published chat templates use, with the settings they are written for:
 * trim_blocks, lstrip_blocks, loop controls, the generation tag, nothing escaped, values that
 * cannot be changed, an undefined variable that prints as nothing and has no attributes.
 *
 * What lies outside is refused when the template is parsed, never rendered wrongly.
 */
#define GH__JINJA_MAX_TEMPLATE (1u << 20)  /* bytes of a template */
#define GH__JINJA_MAX_STEPS    10000000u   /* nodes visited and, 32 to a step, bytes worked on */
#define GH__JINJA_MAX_OUTPUT   (16u << 20) /* bytes of the result, and of any string on the way */
#define GH__JINJA_MAX_MEMORY   (256u << 20)
#define GH__JINJA_MAX_NESTING  200    /* of tags, parentheses and signs in a template */
#define GH__JINJA_MAX_DEPTH    600    /* of evaluation: nesting and calls of macros */
#define GH__JINJA_MAX_RANGE    100000 /* items of range() */

/* A parsed template; immutable. */
typedef struct gh__jinja gh__jinja;

gh_status gh__jinja_parse(gh__jinja **out, const char *text, size_t len, gh_error *error);
void gh__jinja_free(gh__jinja *program);

/* Variables come from the object variables, else from the object defaults; both are borrowed and
 * may be NULL. *text: caller frees (gh_free). */
gh_status gh__jinja_render(const gh__jinja *program, const json_t *variables,
			   const json_t *defaults, char **text, size_t *len, gh_error *error);

#endif
