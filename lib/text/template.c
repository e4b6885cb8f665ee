#include "text/template.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "hub/config.h"
#include "json/json.h"
#include "text/jinja/jinja.h"

#define CONFIG_FILE   "tokenizer_config.json"
#define TEMPLATE_FILE "chat_template.jinja"
#define MAX_CONFIG    (16u << 20)

struct gh_template {
	gh__jinja *program;
	json_t *tokens; /* special tokens, by the names that templates know */
};

static gh_status create(gh_template **out, const char *text, size_t len, json_t *tokens,
			gh_error *error)
{
	gh_template *created = gh__calloc(1, sizeof(*created));
	gh_status status;

	if (!created)
		return gh__fail_nomem(error);
	status = gh__jinja_parse(&created->program, text, len, error);
	if (status != GH_OK) {
		gh__free(created);
		return status;
	}
	created->tokens = json_incref(tokens);
	*out = created;
	return GH_OK;
}

gh_status gh_template_parse(gh_template **out, const char *text, size_t len, gh_error *error)
{
	json_t *tokens = json_pack("{s:s, s:s}", "bos_token", "", "eos_token", "");
	gh_status status;

	if (!tokens)
		return gh__fail_nomem(error);
	status = create(out, text, len, tokens, error);
	json_decref(tokens);
	return status;
}

/* A token is a string, or an object with the string as its content. */
static const json_t *token_text(const json_t *token)
{
	const json_t *content = json_is_object(token) ? json_object_get(token, "content") : token;

	return json_is_string(content) ? content : NULL;
}

/* The special tokens of the configuration; those it leaves out or sets to null stay undefined. */
static json_t *read_tokens(const json_t *config)
{
	static const char *const names[] = { "bos_token", "eos_token", "unk_token", "sep_token",
					     "pad_token", "cls_token", "mask_token" };
	json_t *more = json_object_get(config, "additional_special_tokens");
	json_t *tokens = json_object();
	json_t *list = json_is_array(more) ? json_array() : NULL;
	bool ok = tokens != NULL && (list != NULL || !json_is_array(more));

	for (size_t i = 0; ok && i < sizeof(names) / sizeof(names[0]); i++) {
		const json_t *token = token_text(json_object_get(config, names[i]));

		if (token)
			ok = json_object_set(tokens, names[i], (json_t *)token) == 0;
	}
	for (size_t i = 0; ok && i < json_array_size(more); i++) {
		const json_t *token = token_text(json_array_get(more, i));

		if (token)
			ok = json_array_append(list, (json_t *)token) == 0;
	}
	if (ok && list)
		ok = json_object_set(tokens, "additional_special_tokens", list) == 0;
	json_decref(list);
	if (ok)
		return tokens;
	json_decref(tokens);
	return NULL;
}

/* The template inside the configuration: a string, or the one called "default" of a list. NULL:
 * there is none, or (*malformed) something else stands there. */
static const json_t *find_template(const json_t *config, bool *malformed)
{
	const json_t *found = json_object_get(config, "chat_template");
	const json_t *named = NULL;

	*malformed = false;
	if (!found || json_is_null(found))
		return NULL;
	if (json_is_array(found)) {
		for (size_t i = 0; i < json_array_size(found) && !named; i++) {
			const json_t *entry = json_array_get(found, i);
			const char *name = json_string_value(json_object_get(entry, "name"));

			if (name && strcmp(name, "default") == 0)
				named = json_object_get(entry, "template");
		}
		if (!named)
			return NULL;
		found = named;
	}
	*malformed = !json_is_string(found);
	return *malformed ? NULL : found;
}

static gh_status load_from(gh_template **out, const json_t *config, const char *text, size_t len,
			   gh_error *error)
{
	const char *from = TEMPLATE_FILE;
	json_t *tokens = read_tokens(config);
	gh_status status;

	if (!tokens)
		return gh__fail_nomem(error);
	if (!text) {
		bool malformed;
		const json_t *found = find_template(config, &malformed);

		from = CONFIG_FILE ": chat_template";
		if (!found) {
			json_decref(tokens);
			if (malformed)
				return gh__fail(error, GH_EFORMAT,
						"%s: expected a string or a list of named strings",
						from);
			return gh__fail(error, GH_ENOENT,
					"%s: there is none, and no file " TEMPLATE_FILE, from);
		}
		text = json_string_value(found);
		len = json_string_length(found);
	}
	status = create(out, text, len, tokens, error);
	if (status != GH_OK)
		gh__error_prefix(error, "%s, ", from);
	json_decref(tokens);
	return status;
}

/* A NULL text is the folder's own. */
static gh_status load_with_tokens(gh_template **out, const char *folder, const char *text,
				  size_t len, gh_error *error)
{
	char *config_text = NULL;
	size_t config_len = 0;
	json_t *config = NULL;
	gh_error missing = GH_ERROR_INIT;
	gh_status status;

	status = gh__hub_read_file(&config_text, &config_len, folder, CONFIG_FILE, MAX_CONFIG,
				   &missing);
	if (status == GH_OK) {
		config = gh__json_parse(config_text, config_len, false, &missing);
		if (!config) {
			gh__error_prefix(&missing, "%s: ", CONFIG_FILE);
			status = (gh_status)missing.status;
		}
	} else if (status == GH_ENOENT && text) {
		status = GH_OK; /* no special tokens, then */
	}
	if (status == GH_OK)
		status = load_from(out, config, text, len, error);
	else if (error && error->status == GH_OK)
		*error = missing;
	json_decref(config);
	gh__free(config_text);
	return status;
}

gh_status gh_template_load(gh_template **out, const char *folder, gh_error *error)
{
	char *text = NULL;
	size_t len = 0;
	gh_error missing = GH_ERROR_INIT;
	gh_status status = gh__hub_read_file(&text, &len, folder, TEMPLATE_FILE,
					     GH__JINJA_MAX_TEMPLATE, &missing);

	if (status == GH_OK || status == GH_ENOENT)
		status = load_with_tokens(out, folder, text, len, error);
	else if (error && error->status == GH_OK)
		*error = missing;
	gh__free(text);
	return status;
}

gh_status gh__template_load_text(gh_template **out, const char *folder, const char *text,
				 size_t len, gh_error *error)
{
	return load_with_tokens(out, folder, text, len, error);
}

void gh_template_free(gh_template *chat_template)
{
	if (!chat_template)
		return;
	gh__jinja_free(chat_template->program);
	json_decref(chat_template->tokens);
	gh__free(chat_template);
}

gh_status gh__template_render(const gh_template *chat_template, const json_t *variables,
			      char **text, size_t *len, gh_error *error)
{
	return gh__jinja_render(chat_template->program, variables, chat_template->tokens, text, len,
				error);
}

gh_status gh_template_render(const gh_template *chat_template, const char *variables, char **text,
			     size_t *len, gh_error *error)
{
	gh_error malformed = GH_ERROR_INIT;
	json_t *tree = gh__json_parse(variables, strlen(variables), false, &malformed);
	gh_status status;

	if (!tree) {
		if (malformed.status == GH_EFORMAT)
			return gh__fail(error, GH_EINVAL, "variables: %s", malformed.text);
		if (error && error->status == GH_OK)
			*error = malformed;
		return (gh_status)malformed.status;
	}
	if (json_is_object(tree))
		status = gh__template_render(chat_template, tree, text, len, error);
	else
		status = gh__fail(error, GH_EINVAL, "variables: expected a JSON object");
	json_decref(tree);
	return status;
}
