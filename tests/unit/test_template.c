#include "unit.h"
#include "folder.h"

#include <stdbool.h>
#include <string.h>
#include <time.h>

#include <jansson.h>

#include <gonkahost/text.h>

#include "base/alloc.h"
#include "text/template.h"

static json_t *read_data(const char *name)
{
	char path[512];
	json_error_t error;
	json_t *tree;

	snprintf(path, sizeof(path), "%s/templates/%s", GH_TEST_DATA, name);
	tree = json_load_file(path, JSON_ALLOW_NUL, &error);
	ck_assert_msg(tree != NULL, "%s: line %d: %s", path, error.line, error.text);
	return tree;
}

static gh_status render(const char *template_text, size_t template_len, const json_t *variables,
			char **text, size_t *len, gh_error *error)
{
	gh_template *parsed;
	gh_status status = gh_template_parse(&parsed, template_text, template_len, error);

	if (status != GH_OK)
		return status;
	status = gh__template_render(parsed, variables, text, len, error);
	gh_template_free(parsed);
	return status;
}

static void check_text(const char *template_text, size_t template_len, const json_t *variables,
		       const json_t *expected)
{
	gh_error error = GH_ERROR_INIT;
	size_t len = 0;
	char *text = NULL;
	gh_status status = render(template_text, template_len, variables, &text, &len, &error);

	ck_assert_msg(status == GH_OK, "%s: %s (%s)", template_text, gh_status_name(status),
		      error.text);
	ck_assert_msg(len == json_string_length(expected) &&
			      memcmp(text, json_string_value(expected), len) == 0,
		      "%s: \"%s\" instead of \"%s\"", template_text, text,
		      json_string_value(expected));
	ck_assert_int_eq(text[len], '\0');
	gh_free(text);
}

/* Expressions and statements, each with what the reference makes of it. */
static void check_vectors(const char *file, const char *format, size_t at_least)
{
	json_t *tree = read_data(file);
	const json_t *variables = json_object_get(tree, "variables");
	const json_t *cases = json_object_get(tree, "cases");
	char whole[4096];
	json_t *one;
	size_t i;

	ck_assert_uint_ge(json_array_size(cases), at_least);
	json_array_foreach(cases, i, one)
	{
		int len = snprintf(whole, sizeof(whole), format,
				   json_string_value(json_array_get(one, 0)));

		ck_assert_int_lt(len, (int)sizeof(whole));
		check_text(whole, (size_t)len, variables, json_array_get(one, 1));
	}
	json_decref(tree);
}

START_TEST(test_expressions)
{
	check_vectors("expressions.json", "{{ %s }}", 400);
}
END_TEST

START_TEST(test_statements)
{
	check_vectors("statements.json", "%s", 80);
}
END_TEST

/* Line ends are Jinja's whatever the file's are, and the last one is dropped. */
START_TEST(test_line_ends)
{
	static const char *const sources[] = {
		"{% if 1 %}\r\na\r\n{% endif %}\r\nb\r\n\r\n",
		"{% if 1 %}\ra\r{% endif %}\rb\r\r",
		"a\nb\n\n",
	};
	json_t *expected = json_string("a\nb\n");

	for (size_t i = 0; i < sizeof(sources) / sizeof(sources[0]); i++)
		check_text(sources[i], strlen(sources[i]), NULL, expected);
	json_decref(expected);
}
END_TEST

static const char *const families[] = { "think", "headers", "brackets", "plain", "types" };

START_TEST(test_family)
{
	const char *family = families[_i];
	char name[64];
	json_t *cases, *one;
	gh_template *parsed;
	char *source;
	size_t i, source_len;
	char path[512];
	FILE *file;

	snprintf(path, sizeof(path), "%s/templates/%s.jinja", GH_TEST_DATA, family);
	file = fopen(path, "rb");
	ck_assert_ptr_nonnull(file);
	source = malloc(65536);
	source_len = fread(source, 1, 65536, file);
	fclose(file);
	assert_ok(gh_template_parse(&parsed, source, source_len, error));
	free(source);
	snprintf(name, sizeof(name), "%s.json", family);
	cases = read_data(name);
	json_array_foreach(cases, i, one)
	{
		const char *expected = json_string_value(json_object_get(one, "text"));
		const char *message = json_string_value(json_object_get(one, "error"));
		char *variables = json_dumps(json_object_get(one, "variables"), 0);
		gh_error error = GH_ERROR_INIT;
		char *text = NULL;
		size_t len;
		gh_status status = gh_template_render(parsed, variables, &text, &len, &error);

		if (expected) {
			ck_assert_msg(status == GH_OK, "%s: %s", family, error.text);
			ck_assert_str_eq(text, expected);
		} else {
			ck_assert_int_eq(status, GH_EINVAL);
			ck_assert_str_eq(error.text, message);
		}
		gh_free(text);
		free(variables);
	}
	json_decref(cases);
	gh_template_free(parsed);
}
END_TEST

typedef struct refusal {
	const char *text;
	gh_status status;
	const char *words;
} refusal;

/* What is outside of the supported part, or no Jinja at all, is refused before any rendering. */
static const refusal refusals[] = {
	{ "a\n\n{% include 'x' %}", GH_ENOTSUP, "line 3: tag 'include' is not supported" },
	{ "{% block x %}{% endblock %}", GH_ENOTSUP, "tag 'block'" },
	{ "{% do x %}", GH_ENOTSUP, "tag 'do'" },
	{ "{% import 'x' as y %}", GH_ENOTSUP, "tag 'import'" },
	{ "{% if 0 %}\n{{ x | nosuch }}{% endif %}", GH_ENOTSUP, "line 2: filter 'nosuch'" },
	{ "{{ x | map('nosuch') }}", GH_ENOTSUP, "filter 'nosuch'" },
	{ "{{ x | map('trim\\0xyz') }}", GH_ENOTSUP, "filter" },
	{ "{{ x is nosuch }}", GH_ENOTSUP, "test 'nosuch'" },
	{ "{{ x | select('nosuch') }}", GH_ENOTSUP, "test 'nosuch'" },
	{ "{{ x | rejectattr('a', 'nosuch') }}", GH_ENOTSUP, "test 'nosuch'" },
	{ "\n{{ nosuch(1) }}", GH_ENOTSUP, "line 2: function 'nosuch'" },
	{ "{{ x.nosuch() }}", GH_ENOTSUP, "method 'nosuch'" },
	{ "{{ messages.append(1) }}", GH_ENOTSUP, "method 'append'" },
	{ "{{ x.format(1) }}", GH_ENOTSUP, "method 'format'" },
	{ "{% for x in y recursive %}{% endfor %}", GH_ENOTSUP, "recursive" },
	{ "{% macro m() %}{{ varargs }}{% endmacro %}", GH_ENOTSUP, "varargs" },
	{ "{{ range(*x) }}", GH_ENOTSUP, "'*'" },
	{ "{{ dict(**x) }}", GH_ENOTSUP, "'**'" },
	{ "{{ '%s' % x }}", GH_ENOTSUP, "%" },
	{ "{{ '\\N{BULLET}' }}", GH_ENOTSUP, "\\N" },
	{ "{{ '\\ud83d' }}", GH_ENOTSUP, "d83d" },
	{ "{% if x %}\n", GH_EFORMAT, "line 1: what begins here has no endif" },
	{ "{% for x in y %}{% endif %}", GH_EFORMAT, "endif" },
	{ "{% else %}", GH_EFORMAT, "else" },
	{ "{% if x %}{% else %}{% elif y %}{% endif %}", GH_EFORMAT, "elif" },
	{ "{{ 1", GH_EFORMAT, "ends within a tag" },
	{ "{{", GH_EFORMAT, "ends within a tag" },
	{ "{%", GH_EFORMAT, "ends within a tag" },
	{ "{# x", GH_EFORMAT, "a comment has no end" },
	{ "{% raw %} x", GH_EFORMAT, "a raw section has no end" },
	{ "{{ 'abc }}", GH_EFORMAT, "a string has no end" },
	{ "{{ 'abc\\", GH_EFORMAT, "a string has no end" },
	{ "{{ '\\x4' }}", GH_EFORMAT, "\\x" },
	{ "{{ }}", GH_EFORMAT, "expected an expression" },
	{ "{{ 1 2 }}", GH_EFORMAT, "got \"2\"" },
	{ "{{ (1 }}", GH_EFORMAT, "')'" },
	{ "{{ [1, 2 }}", GH_EFORMAT, "bracket" },
	{ "{{ {'a' 1} }}", GH_EFORMAT, "':'" },
	{ "{{ a[] }}", GH_EFORMAT, "expected an expression" },
	{ "{{ a[1:2:3:4] }}", GH_EFORMAT, "']'" },
	{ "{{ a. }}", GH_EFORMAT, "attribute" },
	{ "{{ a is }}", GH_EFORMAT, "test" },
	{ "{{ a | }}", GH_EFORMAT, "filter" },
	{ "{{ a $ b }}", GH_EFORMAT, "'$'" },
	{ "{{ 99999999999999999999 }}", GH_EFORMAT, "64 bits" },
	{ "{{ 1abc }}", GH_EFORMAT, "number" },
	{ "{% set 1 = 2 %}", GH_EFORMAT, "expected a name" },
	{ "{% set none = 2 %}", GH_EFORMAT, "assigned" },
	{ "{% break %}", GH_EFORMAT, "outside of a loop" },
	{ "{% for x in y %}{% macro m() %}{% continue %}{% endmacro %}{% endfor %}", GH_EFORMAT,
	  "outside of a loop" },
	{ "{% macro m(a=1, b) %}{% endmacro %}", GH_EFORMAT, "default" },
	{ "{{ dict(a=1, 2) }}", GH_EFORMAT, "name" },
	{ "{% call x %}{% endcall %}", GH_EFORMAT, "a call" },
	{ "\xff", GH_EFORMAT, "UTF-8" },
};

START_TEST(test_refusals)
{
	const refusal *r = &refusals[_i];
	gh_template *parsed = NULL;

	assert_fails(r->status, r->words,
		     gh_template_parse(&parsed, r->text, strlen(r->text), error));
	ck_assert_ptr_null(parsed);
}
END_TEST

/* What goes wrong while rendering, in the words of the reference where it has any. */
static const refusal failures[] = {
	{ "{{ raise_exception('Only ' ~ 2 ~ ' roles') }}", GH_EINVAL, "Only 2 roles" },
	{ "{{ x.y }}", GH_EINVAL, "'x' is undefined" },
	{ "\n\n{{ x.y }}", GH_EINVAL, "line 3: 'x' is undefined" },
	{ "{{ d.no.x }}", GH_EINVAL, "'dict object' has no attribute 'no'" },
	{ "{{ l[7].x }}", GH_EINVAL, "list object has no element 7" },
	{ "{{ none.x.y }}", GH_EINVAL, "'None' has no attribute 'x'" },
	{ "{{ 'a' + 1 }}", GH_EINVAL, "'str' and 'int'" },
	{ "{{ 'a' + x }}", GH_EINVAL, "'x' is undefined" },
	{ "{{ none + 'a' }}", GH_EINVAL, "'NoneType' and 'str'" },
	{ "{{ 1 / 0 }}", GH_EINVAL, "division by zero" },
	{ "{{ 1 % 0 }}", GH_EINVAL, "division by zero" },
	{ "{{ 1.5 // 0 }}", GH_EINVAL, "division by zero" },
	{ "{{ 9223372036854775807 + 1 }}", GH_EINVAL, "64 bits" },
	{ "{{ 10 ** 30 }}", GH_EINVAL, "64 bits" },
	{ "{{ 1 < 'a' }}", GH_EINVAL, "no order" },
	{ "{{ 1 in 'abc' }}", GH_EINVAL, "requires a string" },
	{ "{{ 1 in 2 }}", GH_EINVAL, "not iterable" },
	{ "{% for x in 5 %}{% endfor %}", GH_EINVAL, "'int' object is not iterable" },
	{ "{% for a, b in [[1]] %}{% endfor %}", GH_EINVAL, "unpack" },
	{ "{{ x | tojson }}", GH_EINVAL, "not JSON serializable" },
	{ "{{ ''.join([1]) }}", GH_EINVAL, "join" },
	{ "{{ 'a'.split('') }}", GH_EINVAL, "separator" },
	{ "{{ 'a'.index('b') }}", GH_EINVAL, "not found" },
	{ "{{ d.update }}{{ d.update.x }}", GH_EINVAL, "update" },
	{ "{% set d.x = 1 %}", GH_EINVAL, "namespace" },
	{ "{{ l[::0] }}", GH_EINVAL, "step" },
	{ "{{ {[1]: 2} }}", GH_EINVAL, "key" },
	{ "{{ 'a' | replace('a') }}", GH_EINVAL, "'replace' needs an argument 'new'" },
	{ "{{ 'a' | trim(1, 2) }}", GH_EINVAL, "does not have" },
	{ "{{ 'a' | trim(nosuch=1) }}", GH_EINVAL, "does not have" },
	{ "{% macro m(a) %}{% endmacro %}{{ m(1, 2) }}", GH_EINVAL, "macro 'm'" },
	{ "{% macro m(a) %}{% endmacro %}{{ m(b=2) }}", GH_EINVAL, "macro 'm'" },
	{ "{% macro m(a) %}{% endmacro %}{{ m(1, a=2) }}", GH_EINVAL, "macro 'm'" },
	{ "{{ range(1, 2, 0) }}", GH_EINVAL, "step" },
	{ "{{ range('a') }}", GH_EINVAL, "range" },
	/* Limits. */
	{ "{{ range(100001) }}", GH_ETOOBIG, "range" },
	{ "{{ 'ab' * 100000000 }}", GH_ETOOBIG, "16777216" },
	{ "{{ [1, 2] * 100000000 }}", GH_ETOOBIG, "16777216" },
	{ "{{ 'a' * 9223372036854775807 }}", GH_ETOOBIG, "16777216" },
	{ "{{ ('a' * 10000000) ~ ('b' * 10000000) }}", GH_ETOOBIG, "16777216" },
	{ "{% for i in range(20) %}{{ 'a' * 1000000 }}{% endfor %}", GH_ETOOBIG, "output" },
	{ "{{ ('a' * 5000) | replace('a', 'b' * 5000) }}", GH_ETOOBIG, "16777216" },
	{ "{{ [1] | tojson(indent=100000000) }}", GH_ETOOBIG, "16777216" },
	{ "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
	  GH_ETOOBIG, "steps" },
	{ "{% for i in range(99999) %}{% if 'b' in 'a' * 999999 %}{% endif %}{% endfor %}",
	  GH_ETOOBIG, "" },
	{ "{% set n = namespace(l=[]) %}{% for i in range(99999) %}{% set n.l = [n.l] %}"
	  "{% endfor %}{{ n.l }}",
	  GH_ETOOBIG, "levels" },
	{ "{% set n = namespace(l=[]) %}{% for i in range(99999) %}{% set n.l = [n.l] %}"
	  "{% endfor %}{{ n.l | tojson }}",
	  GH_ETOOBIG, "levels" },
	{ "{% set n = namespace(l=[], m=[]) %}{% for i in range(99999) %}{% set n.l = [n.l] %}"
	  "{% set n.m = [n.m] %}{% endfor %}{{ n.l == n.m }}",
	  GH_ETOOBIG, "levels" },
	{ "{% set n = namespace(s='ab') %}{% for i in range(99) %}{% set n.s = n.s ~ n.s %}"
	  "{% endfor %}",
	  GH_ETOOBIG, "16777216" },
	{ "{% set n = namespace(l=[1]) %}{% for i in range(99) %}{% set n.l = n.l + n.l %}"
	  "{% endfor %}",
	  GH_ETOOBIG, "" },
	{ "{% set s = 'a' * 8000000 %}{{ s.rfind('a' * 4000000 + 'b') }}", GH_ETOOBIG, "steps" },
	{ "{% set s = 'a' * 8000000 %}{{ s.strip('b' * 4000000 + 'a') }}", GH_ETOOBIG, "steps" },
	{ "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", GH_ETOOBIG, "nested" },
	{ "{% macro m() %}{{ m() }}{{ m() }}{% endmacro %}{{ m() }}", GH_ETOOBIG, "nested" },
	{ "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}"
	  "{{ m(30) }}",
	  GH_ETOOBIG, "steps" },
};

START_TEST(test_failures)
{
	const refusal *r = &failures[_i];
	json_t *variables = json_pack("{s:[i], s:{s:i}}", "l", 1, "d", "a", 1);
	char *text = NULL;
	size_t len = 0;

	assert_fails(r->status, r->words,
		     render(r->text, strlen(r->text), variables, &text, &len, error));
	ck_assert_ptr_null(text);
	json_decref(variables);
}
END_TEST

START_TEST(test_exception_is_the_message)
{
	gh_error error = GH_ERROR_INIT;
	char *text = NULL;
	size_t len;
	const char *source = "{{ raise_exception('Roles must alternate') }}";

	ck_assert_int_eq(render(source, strlen(source), NULL, &text, &len, &error), GH_EINVAL);
	ck_assert_str_eq(error.text, "Roles must alternate");
}
END_TEST

/* Openers repeated without end must be refused, not followed down the stack. */
START_TEST(test_deep_templates)
{
	static const char *const openers[] = { "(",    "[",        "{1:",          "-",
					       "not ", "a[",       "a(",           "x if ",
					       "a.b",  "a.b|list", "1 if 1 else ", "a is in ",
					       "1 + ", "a or ",    "'a' ~ ",       "a == " };
	static const char *const tags[] = { "{% if 1 %}",      "{% for x in y %}",   "{% set x %}",
					    "{% macro m() %}", "{% filter upper %}", "{% with %}",
					    "{% generation %}" };
	const size_t count = 100000;

	for (size_t i = 0; i < sizeof(openers) / sizeof(openers[0]); i++) {
		size_t len = strlen(openers[i]);
		size_t repeats = count / len;
		char *text = malloc(len * repeats + 16);
		gh_template *parsed = NULL;

		snprintf(text, 4, "{{ ");
		for (size_t k = 0; k < repeats; k++)
			memcpy(text + 3 + k * len, openers[i], len);
		snprintf(text + 3 + len * repeats, 5, "1 }}");
		ck_assert(gh_template_parse(&parsed, text, strlen(text), NULL) != GH_OK ||
			  openers[i][len - 1] == ' ');
		/* Chains of operators are flat; they parse, and render or reach a limit. */
		if (parsed) {
			char *out = NULL;
			size_t out_len;

			(void)!gh_template_render(parsed, "{\"a\": 1}", &out, &out_len, NULL);
			gh_free(out);
		}
		gh_template_free(parsed);
		free(text);
	}
	for (size_t i = 0; i < sizeof(tags) / sizeof(tags[0]); i++) {
		size_t len = strlen(tags[i]);
		char *text = malloc(len * 10000);
		gh_template *parsed = NULL;

		for (size_t k = 0; k < 10000; k++)
			memcpy(text + k * len, tags[i], len);
		assert_fails(GH_ETOOBIG, "levels",
			     gh_template_parse(&parsed, text, len * 10000, error));
		free(text);
	}
}
END_TEST

START_TEST(test_big_template)
{
	const size_t size = (1u << 20) + 1;
	char *text = malloc(size);
	gh_template *parsed = NULL;

	memset(text, 'a', size);
	assert_fails(GH_ETOOBIG, "1048577", gh_template_parse(&parsed, text, size, error));
	assert_ok(gh_template_parse(&parsed, text, size - 1, error));
	gh_template_free(parsed);
	free(text);
}
END_TEST

/* A text that grows piece by piece costs what it is long, not its square. */
START_TEST(test_long_conversation)
{
	static const char source[] =
		"{% set ns = namespace(text='', list=[]) %}{% for m in messages %}"
		"{% set ns.text = ns.text + '<' + m.role + '>' + m.content | trim + '\n' %}"
		"{% set ns.list = ns.list + [m.content] %}"
		"{% endfor %}{{ ns.text }}{{ ns.list | length }}";
	json_t *messages = json_array();
	json_t *variables = json_pack("{s:o}", "messages", messages);
	char *text = NULL;
	size_t len;

	for (int i = 0; i < 20000; i++)
		json_array_append_new(messages, json_pack("{s:s, s:s}", "role", "user", "content",
							  " what is to be said here? "));
	assert_ok(render(source, sizeof(source) - 1, variables, &text, &len, error));
	ck_assert_uint_eq(len, 20000 * strlen("<user>what is to be said here?\n") + 5);
	gh_free(text);
	json_decref(variables);
}
END_TEST

START_TEST(test_time)
{
	static const char source[] = "{{ strftime_now('%Y|%d %b %Y|%f|%z%Z|%%') }}";
	char *text, year[8];
	time_t now = time(NULL);
	struct tm parts;
	size_t len;

	localtime_r(&now, &parts);
	strftime(year, sizeof(year), "%Y|", &parts);
	assert_ok(render(source, sizeof(source) - 1, NULL, &text, &len, error));
	ck_assert_int_eq(strncmp(text, year, 5), 0);
	ck_assert_uint_eq(len, strlen("2000|01 Jan 2000|123456||%"));
	ck_assert_str_eq(text + len - 3, "||%");
	gh_free(text);
}
END_TEST

START_TEST(test_variables)
{
	gh_template *parsed;
	char *text;
	size_t len;

	assert_ok(gh_template_parse(&parsed, "[{{ bos_token }}{{ eos_token }}{{ a }}]", 39, error));
	assert_ok(gh_template_render(parsed, "{\"a\": \"x\", \"eos_token\": \"</s>\"}", &text, &len,
				     error));
	ck_assert_str_eq(text, "[</s>x]");
	gh_free(text);
	text = NULL;
	assert_fails(GH_EINVAL, "variables", gh_template_render(parsed, "{", &text, &len, error));
	assert_fails(GH_EINVAL, "object", gh_template_render(parsed, "[1]", &text, &len, error));
	ck_assert_ptr_null(text);
	gh_template_free(parsed);
	gh_template_free(NULL);
}
END_TEST

static void check_loaded(const char *expected)
{
	gh_template *loaded;
	char *text;
	size_t len;

	assert_ok(gh_template_load(&loaded, root, error));
	assert_ok(gh_template_render(loaded, "{\"x\": 1}", &text, &len, error));
	ck_assert_str_eq(text, expected);
	gh_free(text);
	gh_template_free(loaded);
}

START_TEST(test_load)
{
	gh_template *loaded;

	make_root();
	assert_fails(GH_ENOENT, "tokenizer_config.json", gh_template_load(&loaded, root, error));
	write_text("tokenizer_config.json", "{\"bos_token\": null}");
	assert_fails(GH_ENOENT, "chat_template", gh_template_load(&loaded, root, error));
	write_text("tokenizer_config.json", "{\"chat_template\": 5}");
	assert_fails(GH_EFORMAT, "chat_template", gh_template_load(&loaded, root, error));
	write_text("tokenizer_config.json", "{\"chat_template\": ");
	assert_fails(GH_EFORMAT, "tokenizer_config.json", gh_template_load(&loaded, root, error));
	write_text("tokenizer_config.json", "{\"chat_template\": \"{{ x\"}");
	assert_fails(GH_EFORMAT, "chat_template, line 1", gh_template_load(&loaded, root, error));
	write_text("tokenizer_config.json", "{\"chat_template\": \"{% include x %}\"}");
	assert_fails(GH_ENOTSUP, "'include'", gh_template_load(&loaded, root, error));

	write_text("tokenizer_config.json",
		   "{\"chat_template\": \"config {{ bos_token }}{{ eos_token }}{{ x }}"
		   "{{ unk_token is defined }}{{ additional_special_tokens }}\","
		   "\"bos_token\": {\"content\": \"<s>\", \"special\": true},"
		   "\"eos_token\": \"</s>\", \"unk_token\": null,"
		   "\"additional_special_tokens\": [\"<a>\", {\"content\": \"<b>\"}, 5]}");
	check_loaded("config <s></s>1False['<a>', '<b>']");

	write_text("tokenizer_config.json",
		   "{\"chat_template\": [{\"name\": \"tool_use\", \"template\": \"tools\"},"
		   "{\"name\": \"default\", \"template\": \"default {{ x }}\"}]}");
	check_loaded("default 1");
	write_text("tokenizer_config.json",
		   "{\"chat_template\": [{\"name\": \"tool_use\", \"template\": \"tools\"}]}");
	assert_fails(GH_ENOENT, "chat_template", gh_template_load(&loaded, root, error));

	/* The file of its own comes first, with the tokens of the configuration. */
	write_text("tokenizer_config.json", "{\"chat_template\": \"no\", \"bos_token\": \"<s>\"}");
	write_text("chat_template.jinja", "file {{ bos_token }}\n");
	check_loaded("file <s>");
	write_text("tokenizer_config.json", "{");
	assert_fails(GH_EFORMAT, "tokenizer_config.json", gh_template_load(&loaded, root, error));
	remove(at("tokenizer_config.json"));
	check_loaded("file ");
	write_text("chat_template.jinja", "\n{% nosuch %}");
	assert_fails(GH_ENOTSUP, "chat_template.jinja, line 2",
		     gh_template_load(&loaded, root, error));
	remove_root();
}
END_TEST

/* Whichever allocation fails, the answer is GH_ENOMEM and nothing is lost. */
START_TEST(test_out_of_memory)
{
	static const char source[] =
		"{% macro m(a) %}{{ a | upper }}{% endmacro %}{% set x %}{{ m('b' * 50000) }}"
		"{% endset %}{{ {'a': [x, 1.5]} | tojson }}{{ x.split('B', 5) }}";
	bool done = false;

	for (size_t k = 1; !done && k < 500; k++) {
		gh_error error = GH_ERROR_INIT;
		char *text = NULL;
		size_t len;
		gh_status status;

		gh__alloc_fail_at(k);
		status = render(source, sizeof(source) - 1, NULL, &text, &len, &error);
		gh__alloc_fail_at(0);
		done = status == GH_OK;
		ck_assert_msg(done || status == GH_ENOMEM, "%zu: %s", k, error.text);
		gh_free(text);
	}
	ck_assert(done);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("template");
	TCase *tcase = tcase_create("template");

	tcase_add_test(tcase, test_expressions);
	tcase_add_test(tcase, test_statements);
	tcase_add_test(tcase, test_line_ends);
	tcase_add_loop_test(tcase, test_family, 0, sizeof(families) / sizeof(families[0]));
	tcase_add_loop_test(tcase, test_refusals, 0, sizeof(refusals) / sizeof(refusals[0]));
	tcase_add_loop_test(tcase, test_failures, 0, sizeof(failures) / sizeof(failures[0]));
	tcase_add_test(tcase, test_exception_is_the_message);
	tcase_add_test(tcase, test_deep_templates);
	tcase_add_test(tcase, test_big_template);
	tcase_add_test(tcase, test_long_conversation);
	tcase_add_test(tcase, test_time);
	tcase_add_test(tcase, test_variables);
	tcase_add_test(tcase, test_load);
	tcase_add_test(tcase, test_out_of_memory);
	suite_add_tcase(suite, tcase);
	return unit_main(suite);
}
