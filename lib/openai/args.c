#include "openai/args.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/error.h"
#include "base/log.h"
#include "base/number.h"
#include "json/json.h"
#include "openai/args_config.h"
#include "openai/args_table.h"

#define MODEL_DEFAULT "facebook/opt-125m"

/* One option as it was typed. */
typedef struct typed {
	const gh__option *option;
	const char *name; /* with its dashes, for messages */
	int name_len;
	const char *path; /* "key.sub" of "--json-arg.key.sub", or NULL */
	size_t path_len;
	const char *value; /* behind '=' or attached, or NULL */
	bool denied;
} typed;

typedef struct parser {
	gh__args *out;
	const char *const *args;
	size_t count, at;
	bool only_positional; /* after "--" */
	gh_error *error;
} parser;

static bool is_number(const char *text)
{
	double value;

	return gh__parse_double(text, &value);
}

/* Whether an argument can only be a value. */
static bool is_value(const char *arg)
{
	return arg[0] != '-' || arg[1] == '\0' || is_number(arg);
}

static gh_status unknown(const parser *p, const char *arg)
{
	return gh__fail(p->error, GH_EINVAL, "unrecognized arguments: %s", arg);
}

static void split_path(typed *t, const char *name, size_t *len)
{
	const char *dot = memchr(name, '.', *len);

	if (!dot)
		return;
	t->path = dot + 1;
	t->path_len = *len - (size_t)(dot - name) - 1;
	*len = (size_t)(dot - name);
}

static gh_status recognise_long(const parser *p, typed *t, const char *arg)
{
	const char *name = arg + 2;
	const char *equals = strchr(name, '=');
	size_t len = equals ? (size_t)(equals - name) : strlen(name);
	bool ambiguous;

	t->value = equals ? equals + 1 : NULL;
	split_path(t, name, &len);
	t->name_len = (int)len + 2;
	t->option = gh__option_find(name, len, false, &t->denied, &ambiguous);
	if (ambiguous)
		return gh__fail(p->error, GH_EINVAL, "ambiguous option: --%.*s could match several",
				(int)len, name);
	return t->option ? GH_OK : unknown(p, arg);
}

/* "-tp 4", "-tp=4", "-O3", or "-kv-cache-dtype fp8": a long name that lacks a dash. */
static gh_status recognise_short(const parser *p, typed *t, const char *arg)
{
	const char *equals = strchr(arg, '=');
	size_t len = equals ? (size_t)(equals - arg) : strlen(arg);
	bool ambiguous;

	t->value = equals ? equals + 1 : NULL;
	t->name_len = (int)len;
	t->option = gh__option_of_alias(arg, len);
	if (t->option)
		return GH_OK;
	t->option = gh__option_find(arg + 1, len - 1, true, &t->denied, &ambiguous);
	if (t->option) {
		gh__warn("serve", "%.*s: taken as -%.*s, which begins with two dashes", (int)len,
			 arg, (int)len, arg);
		return GH_OK;
	}
	t->option = gh__option_of_alias(arg, 2);
	if (!t->option)
		return unknown(p, arg);
	t->name_len = 2;
	if (arg[2] == '.') {
		t->path = arg + 3;
		t->path_len = len - 3;
	} else {
		t->value = arg + 2;
	}
	return GH_OK;
}

static gh_status recognise(const parser *p, typed *t, const char *arg)
{
	*t = (typed){ .name = arg };
	return arg[1] == '-' ? recognise_long(p, t, arg) : recognise_short(p, t, arg);
}

/* ---- values ---- */

static gh_status store_text(char **place, const char *text, size_t len, gh_error *error)
{
	char *copy = gh__strndup(text, len);

	if (!copy)
		return gh__fail_nomem(error);
	gh__free(*place);
	*place = copy;
	return GH_OK;
}

static gh_status invalid(const parser *p, const typed *t, const char *value, const char *expected)
{
	return gh__fail(p->error, GH_EINVAL, "argument %.*s: invalid value '%.80s': %s expected",
			t->name_len, t->name, value, expected);
}

/* 25.6k is 25600, 2K is 2048. */
static bool parse_count(const char *text, int64_t *out)
{
	static const char decimal[] = "kmg", binary[] = "KMG";
	size_t len = strlen(text);
	char digits[32];
	double value;

	if (gh__parse_int64(text, out))
		return true;
	if (len < 2 || len >= sizeof digits)
		return false;
	memcpy(digits, text, len - 1);
	digits[len - 1] = '\0';
	const char *unit = strchr(decimal, text[len - 1]);
	if (unit && gh__parse_double(digits, &value)) {
		value *= pow(1000, (double)(unit - decimal + 1));
		*out = (int64_t)value;
		return value >= 0 && value < 1e15;
	}
	unit = strchr(binary, text[len - 1]);
	if (!unit || !gh__parse_int64(digits, out) || *out < 0 || *out > (1 << 24))
		return false;
	*out <<= 10 * (unit - binary + 1);
	return true;
}

static gh_status store_number(const parser *p, const typed *t, const char *value, void *place)
{
	const gh__option *o = t->option;
	int64_t integer = 0;
	double real = 0;
	bool good = o->kind == GH__OPTION_REAL    ? gh__parse_double(value, &real)
		    : o->kind == GH__OPTION_COUNT ? parse_count(value, &integer)
						  : gh__parse_int64(value, &integer);

	if (!good)
		return invalid(p, t, value, o->kind == GH__OPTION_REAL ? "a number" : "an integer");
	double found = o->kind == GH__OPTION_REAL ? real : (double)integer;
	if ((o->min != 0 || o->max != 0) && (found < o->min || found > o->max))
		return gh__fail(p->error, GH_EINVAL,
				"argument %.*s: %s is not between %.15g and %.15g", t->name_len,
				t->name, value, o->min < 1e-6 ? 0 : o->min, o->max);
	if (o->kind == GH__OPTION_REAL)
		*(double *)place = real;
	else
		*(int64_t *)place = integer;
	return GH_OK;
}

static gh_status set_path(json_t *object, const char *path, size_t len, const char *value,
			  gh_error *error)
{
	const char *dot;

	while ((dot = memchr(path, '.', len)) != NULL) {
		size_t step = (size_t)(dot - path);
		json_t *inner = json_object_getn(object, path, step);

		if (!json_is_object(inner)) {
			inner = json_object();
			if (json_object_setn_new(object, path, step, inner) != 0)
				return gh__fail_nomem(error);
		}
		object = inner;
		path += step + 1;
		len -= step + 1;
	}
	json_t *parsed = gh__json_parse(value, strlen(value), false, NULL);
	if (json_object_setn_new(object, path, len, parsed ? parsed : json_string(value)) != 0)
		return gh__fail(error, GH_EINVAL, "value '%.80s' is not UTF-8", value);
	return GH_OK;
}

static gh_status store_json(const parser *p, const typed *t, const char *value, char **place)
{
	gh_error inner = GH_ERROR_INIT;
	json_t *tree = NULL;
	gh_status status = GH_OK;

	if (t->path) {
		tree = *place ? gh__json_parse(*place, strlen(*place), false, NULL) : NULL;
		if (!json_is_object(tree)) {
			json_decref(tree);
			tree = json_object();
		}
		status = set_path(tree, t->path, t->path_len, value, p->error);
	} else {
		tree = gh__json_parse(value, strlen(value), false, &inner);
		if (!tree)
			return gh__fail(p->error, GH_EINVAL, "argument %.*s: JSON expected: %s",
					t->name_len, t->name, inner.text);
	}
	if (status == GH_OK) {
		char *text = gh__json_text(tree, NULL);

		status = text ? GH_OK : gh__fail_nomem(p->error);
		if (text) {
			gh__free(*place);
			*place = text;
		}
	}
	json_decref(tree);
	return status;
}

static bool allowed(const gh__option *option, const char *value)
{
	size_t len = strlen(value);
	const char *at = option->allowed;

	if (!at)
		return true;
	for (; at[1] != '\0'; at = strchr(at + 1, '|')) {
		if (strncmp(at + 1, value, len) == 0 && at[len + 1] == '|')
			return true;
	}
	return false;
}

/* The option as if it had not been given. */
static void unset(const parser *p, const gh__option *o)
{
	void *place = (char *)p->out + o->offset;

	switch (o->kind) {
	case GH__OPTION_TEXT:
	case GH__OPTION_LIST:
	case GH__OPTION_JSON:
		gh__free(*(char **)place);
		*(char **)place = NULL;
		break;
	case GH__OPTION_SEED:
		p->out->has_seed = false;
		break;
	default:
		break;
	}
}

static gh_status store_value(const parser *p, const typed *t, const char *value)
{
	const gh__option *o = t->option;
	void *place = (char *)p->out + o->offset;

	if (strcmp(value, "None") == 0) {
		unset(p, o);
		return GH_OK;
	}
	switch (o->kind) {
	case GH__OPTION_TEXT:
		return store_text(place, value, strlen(value), p->error);
	case GH__OPTION_JSON:
		return store_json(p, t, value, place);
	case GH__OPTION_SEED:
		p->out->has_seed = true;
		return store_number(p, t, value, place);
	default:
		return store_number(p, t, value, place);
	}
}

/* ---- options ---- */

static gh_status refuse(const parser *p, const typed *t)
{
	return gh__fail(p->error, GH_ENOTSUP, "argument --%s is not supported", t->option->name);
}

static gh_status apply_flag(const parser *p, const typed *t)
{
	const gh__option *o = t->option;

	if (t->value)
		return gh__fail(p->error, GH_EINVAL,
				"argument %.*s: ignored explicit argument '%s'", t->name_len,
				t->name, t->value);
	if (o->fate == GH__OPTION_REFUSED)
		return t->denied ? GH_OK : refuse(p, t);
	if (o->fate == GH__OPTION_HONOURED)
		*(bool *)((char *)p->out + o->offset) = (o->kind == GH__OPTION_FLAG) != t->denied;
	else if (o->fate == GH__OPTION_IGNORED)
		gh__warn("serve", "--%s: accepted, has no effect", o->name);
	else if (t->denied)
		gh__info("serve", "--no-%s: accepted, has no effect", o->name);
	return GH_OK;
}

/* One or more values up to the next option. */
static gh_status apply_list(parser *p, const typed *t)
{
	json_t *list = json_array();
	gh_status status = GH_OK;

	if (!list)
		return gh__fail_nomem(p->error);
	if (t->value && json_array_append_new(list, json_string(t->value)) != 0)
		status = gh__fail(p->error, GH_EINVAL, "argument %.*s: not UTF-8", t->name_len,
				  t->name);
	while (status == GH_OK && !t->value && p->at < p->count && is_value(p->args[p->at])) {
		if (json_array_append_new(list, json_string(p->args[p->at++])) != 0)
			status = gh__fail(p->error, GH_EINVAL, "argument %.*s: not UTF-8",
					  t->name_len, t->name);
	}
	if (status == GH_OK && json_array_size(list) == 0)
		status = gh__fail(p->error, GH_EINVAL,
				  "argument %.*s: expected at least one argument", t->name_len,
				  t->name);
	if (status == GH_OK && t->option->fate == GH__OPTION_HONOURED) {
		char **place = (char **)((char *)p->out + t->option->offset);
		char *text = gh__json_text(list, NULL);

		if (text) {
			gh__free(*place);
			*place = text;
		} else {
			status = gh__fail_nomem(p->error);
		}
	}
	json_decref(list);
	if (status == GH_OK && t->option->fate == GH__OPTION_REFUSED)
		return refuse(p, t);
	if (status == GH_OK && t->option->fate == GH__OPTION_IGNORED)
		gh__warn("serve", "--%s: accepted, has no effect", t->option->name);
	return status;
}

static gh_status apply_value(parser *p, const typed *t)
{
	const gh__option *o = t->option;
	const char *value = t->value;

	if (o->fate == GH__OPTION_REFUSED)
		return refuse(p, t);
	if (!value && p->at < p->count && is_value(p->args[p->at]))
		value = p->args[p->at++];
	if (!value && o->fate == GH__OPTION_HONOURED)
		return gh__fail(p->error, GH_EINVAL, "argument %.*s: expected one argument",
				t->name_len, t->name);
	if (value && strcmp(value, "None") != 0 && !allowed(o, value))
		return gh__fail(p->error, GH_ENOTSUP, "argument --%s: %.80s is not supported",
				o->name, value);
	if (o->fate == GH__OPTION_HONOURED)
		return store_value(p, t, value);
	if (o->fate == GH__OPTION_IGNORED)
		gh__warn("serve", "--%s: accepted, has no effect", o->name);
	return GH_OK;
}

static gh_status apply(parser *p, const typed *t)
{
	if (t->path && t->option->kind != GH__OPTION_JSON)
		return unknown(p, t->name);
	switch (t->option->kind) {
	case GH__OPTION_FLAG:
	case GH__OPTION_NEGATED:
		return apply_flag(p, t);
	case GH__OPTION_LIST:
	case GH__OPTION_MANY:
		return apply_list(p, t);
	default:
		return apply_value(p, t);
	}
}

static gh_status positional(parser *p, bool *seen)
{
	const char *arg = p->args[p->at++];

	if (*seen)
		return unknown(p, arg);
	*seen = true;
	return store_text(&p->out->model, arg, strlen(arg), p->error);
}

/* "-m vllm.entrypoints.openai.api_server", as Python's command line has it. */
static size_t module_args(const char *const *args, size_t count)
{
	return count >= 2 && strcmp(args[0], "-m") == 0 &&
			       strcmp(args[1], "vllm.entrypoints.openai.api_server") == 0
		       ? 2
		       : 0;
}

/* "--config FILE", which comes before everything else. NULL: not an option of that name. */
static const char *config_value(const char *const *args, size_t count, size_t at, size_t *taken)
{
	static const char name[] = "--config";

	*taken = 1;
	if (strncmp(args[at], name, sizeof name - 1) != 0)
		return NULL;
	if (args[at][sizeof name - 1] == '=')
		return args[at] + sizeof name;
	if (args[at][sizeof name - 1] != '\0' || at + 1 >= count)
		return NULL;
	*taken = 2;
	return args[at + 1];
}

static gh_status parse_all(parser *p)
{
	bool seen_model = false;
	gh_status status = GH_OK;
	size_t taken;
	typed t;

	while (status == GH_OK && p->at < p->count) {
		const char *arg = p->args[p->at];

		if (p->only_positional || is_value(arg)) {
			status = positional(p, &seen_model);
		} else if (strcmp(arg, "--") == 0) {
			p->only_positional = true;
			p->at++;
		} else if (config_value(p->args, p->count, p->at, &taken)) {
			p->at += taken;
		} else {
			p->at++;
			status = recognise(p, &t, arg);
			if (status == GH_OK)
				status = apply(p, &t);
		}
	}
	return status;
}

static gh_status parse_config(gh__args *out, const char *path, gh_error *error)
{
	gh__arg_list list = { 0 };
	gh_status status = gh__args_config_read(&list, path, error);

	if (status == GH_OK) {
		parser p = { .out = out,
			     .args = (const char *const *)list.arg,
			     .count = list.count,
			     .error = error };

		status = parse_all(&p);
		if (status != GH_OK)
			gh__error_prefix(error, "%s: ", path);
	}
	gh__arg_list_free(&list);
	return status;
}

static gh_status check(const gh__args *out, gh_error *error)
{
	if (out->auto_tool_choice && !out->tool_call_parser)
		return gh__fail(error, GH_EINVAL,
				"--enable-auto-tool-choice requires --tool-call-parser");
	if (out->tool_call_parser)
		gh__warn("serve", "--tool-call-parser: accepted, but requests that need it are "
				  "refused");
	return GH_OK;
}

gh_status gh__args_parse(gh__args *out, const char *const *args, size_t count, gh_error *error)
{
	size_t skipped = module_args(args, count), taken;
	parser p = { .out = out,
		     .args = skipped ? args + skipped : args,
		     .count = count - skipped,
		     .error = error };
	const char *config = NULL;
	gh_status status = GH_OK;

	memset(out, 0, sizeof *out);
	out->port = 8000;
	out->tensor_parallel = 1;
	out->pipeline_parallel = 1;
	out->max_logprobs = 20;
	for (size_t i = 0; i < p.count; i += taken) {
		const char *found = config_value(p.args, p.count, i, &taken);

		config = found ? found : config;
	}
	if (config)
		status = parse_config(out, config, error);
	if (status == GH_OK)
		status = parse_all(&p);
	if (status == GH_OK && !out->model)
		status = store_text(&out->model, MODEL_DEFAULT, strlen(MODEL_DEFAULT), error);
	if (status == GH_OK)
		status = check(out, error);
	if (status != GH_OK)
		gh__args_free(out);
	return status;
}

void gh__args_free(gh__args *args)
{
	for (size_t i = 0; i < gh__option_count; i++) {
		const gh__option *o = &gh__options[i];

		if (o->fate == GH__OPTION_HONOURED &&
		    (o->kind == GH__OPTION_TEXT || o->kind == GH__OPTION_LIST ||
		     o->kind == GH__OPTION_JSON)) {
			char **place = (char **)((char *)args + o->offset);

			gh__free(*place);
			*place = NULL;
		}
	}
}

gh_status gh__args_parallel(const char *const *args, size_t count, int32_t *tensor_parallel,
			    int32_t *pipeline_parallel, gh_error *error)
{
	gh__args found = { .tensor_parallel = 1, .pipeline_parallel = 1 };
	parser p = { .out = &found, .args = args, .count = count, .error = error };

	for (p.at = module_args(args, count); p.at < count;) {
		const char *arg = args[p.at++];
		typed t;

		if (strcmp(arg, "--") == 0)
			break;
		p.error = NULL; /* what it does not know is the worker's affair */
		if (is_value(arg) || recognise(&p, &t, arg) != GH_OK)
			continue;
		p.error = error;
		if (t.option->offset != offsetof(gh__args, tensor_parallel) &&
		    t.option->offset != offsetof(gh__args, pipeline_parallel))
			continue;
		gh_status status = apply(&p, &t);
		if (status != GH_OK)
			return status;
	}
	*tensor_parallel = (int32_t)found.tensor_parallel;
	*pipeline_parallel = (int32_t)found.pipeline_parallel;
	return GH_OK;
}
