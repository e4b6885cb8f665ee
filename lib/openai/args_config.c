#include "openai/args_config.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "hub/config.h"

#define CONFIG_MAX (1 << 20)

gh_status gh__arg_list_add(gh__arg_list *list, char *text, gh_error *error)
{
	if (!text)
		return gh__fail_nomem(error);
	if (list->count == list->capacity) {
		size_t capacity = list->capacity ? 2 * list->capacity : 32;
		char **grown = gh__realloc_array(list->arg, capacity, sizeof *grown);

		if (!grown) {
			gh__free(text);
			return gh__fail_nomem(error);
		}
		list->arg = grown;
		list->capacity = capacity;
	}
	list->arg[list->count++] = text;
	return GH_OK;
}

void gh__arg_list_free(gh__arg_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		gh__free(list->arg[i]);
	gh__free(list->arg);
	*list = (gh__arg_list){ 0 };
}

typedef struct span {
	const char *at;
	size_t len;
} span;

static span trim(const char *at, size_t len)
{
	while (len > 0 && (*at == ' ' || *at == '\t')) {
		at++;
		len--;
	}
	while (len > 0 && (at[len - 1] == ' ' || at[len - 1] == '\t' || at[len - 1] == '\r'))
		len--;
	return (span){ at, len };
}

/* Without a comment at the end; a '#' counts outside quotes and behind a space only. */
static span strip_comment(span s)
{
	char quote = '\0';

	for (size_t i = 0; i < s.len; i++) {
		char c = s.at[i];

		if (quote != '\0') {
			if (c == quote)
				quote = '\0';
		} else if (c == '"' || c == '\'') {
			quote = c;
		} else if (c == '#' && (i == 0 || s.at[i - 1] == ' ' || s.at[i - 1] == '\t')) {
			s.len = i;
		}
	}
	return trim(s.at, s.len);
}

static span unquote(span s)
{
	if (s.len >= 2 && (s.at[0] == '"' || s.at[0] == '\'') && s.at[s.len - 1] == s.at[0])
		return (span){ s.at + 1, s.len - 2 };
	return s;
}

static bool is(span s, const char *text)
{
	return s.len == strlen(text) && strncasecmp(s.at, text, s.len) == 0;
}

typedef struct reader {
	gh__arg_list *out;
	const char *path;
	int line;
	span key; /* of a list that goes on in the lines below */
	bool key_given;
	gh_error *error;
} reader;

static gh_status malformed(const reader *r, const char *what)
{
	return gh__fail(r->error, GH_EFORMAT, "%s: line %d: %s", r->path, r->line, what);
}

static gh_status add_key(reader *r, span key)
{
	size_t size = key.len + 3;
	char *text = gh__malloc(size);

	if (text)
		snprintf(text, size, "--%.*s", (int)key.len, key.at);
	return gh__arg_list_add(r->out, text, r->error);
}

static gh_status add_value(reader *r, span value)
{
	span bare = unquote(value);

	return gh__arg_list_add(r->out, gh__strndup(bare.at, bare.len), r->error);
}

static gh_status add_inline_list(reader *r, span value)
{
	span rest = trim(value.at + 1, value.len - 2);

	while (rest.len > 0) {
		const char *comma = memchr(rest.at, ',', rest.len);
		size_t len = comma ? (size_t)(comma - rest.at) : rest.len;
		gh_status status = add_value(r, trim(rest.at, len));

		if (status != GH_OK)
			return status;
		rest = comma ? trim(comma + 1, rest.len - len - 1) : (span){ rest.at, 0 };
	}
	return GH_OK;
}

static gh_status read_pair(reader *r, span key, span value)
{
	gh_status status;

	r->key_given = false;
	r->key = key;
	if (value.len == 0)
		return GH_OK; /* a list below, or nothing */
	if (is(value, "false") || is(value, "null") || is(value, "~"))
		return GH_OK;
	status = add_key(r, key);
	if (status != GH_OK || is(value, "true"))
		return status;
	if (value.at[0] == '[' && value.at[value.len - 1] == ']')
		return add_inline_list(r, value);
	if (strchr("{|>&*!", value.at[0]) && value.at[0] != '{')
		return malformed(r, "only plain values and lists are understood");
	return add_value(r, value);
}

static gh_status read_line(reader *r, const char *text, size_t len)
{
	span line = strip_comment(trim(text, len));
	bool indented = len > 0 && (text[0] == ' ' || text[0] == '\t');
	const char *colon;

	if (line.len == 0 || is(line, "---"))
		return GH_OK;
	if (line.at[0] == '-' && (line.len == 1 || line.at[1] == ' ')) {
		gh_status status = GH_OK;

		if (r->key.len == 0)
			return malformed(r, "a list without a key");
		if (!r->key_given)
			status = add_key(r, r->key);
		r->key_given = true;
		return status == GH_OK ? add_value(r, trim(line.at + 1, line.len - 1)) : status;
	}
	colon = memchr(line.at, ':', line.len);
	if (indented || !colon || colon == line.at)
		return malformed(r, "\"key: value\" expected");
	size_t key_len = (size_t)(colon - line.at);
	return read_pair(r, unquote(trim(line.at, key_len)),
			 trim(colon + 1, line.len - key_len - 1));
}

gh_status gh__args_config_read(gh__arg_list *out, const char *path, gh_error *error)
{
	reader r = { .out = out, .path = path, .error = error };
	const char *slash = strrchr(path, '/');
	char *folder = slash ? gh__strndup(path, (size_t)(slash - path) + 1) : gh__strdup(".");
	char *text = NULL;
	size_t len = 0;
	gh_status status = folder ? gh__hub_read_file(&text, &len, folder, slash ? slash + 1 : path,
						      CONFIG_MAX, error)
				  : gh__fail_nomem(error);

	for (size_t at = 0; status == GH_OK && at < len;) {
		const char *end = memchr(text + at, '\n', len - at);
		size_t line = end ? (size_t)(end - text) - at : len - at;

		r.line++;
		status = read_line(&r, text + at, line);
		at += line + 1;
	}
	gh__free(text);
	gh__free(folder);
	return status;
}
