#include "text/jinja/eval.h"

#include <string.h>

bool gh__jinja_make_macro(jinja_run *run, jinja_frame *frame, const struct jinja_macro_node *node,
			  jinja_value *out)
{
	jinja_macro *macro = gh__jinja_run_alloc(run, 1, sizeof(*macro));

	if (!macro)
		return false;
	macro->node = node;
	macro->frame = frame;
	for (; frame; frame = frame->above)
		frame->kept = true;
	*out = (jinja_value){ .kind = JINJA_MACRO, .u.macro = macro };
	return true;
}

static const jinja_keyword *find_keyword(const jinja_call *call, const char *name)
{
	for (size_t i = 0; i < call->keyword_count; i++) {
		if (call->keywords[i].len == strlen(name) &&
		    memcmp(call->keywords[i].name, name, call->keywords[i].len) == 0)
			return &call->keywords[i];
	}
	return NULL;
}

bool gh__jinja_call_macro(jinja_run *run, const jinja_value *value, const jinja_call *call,
			  jinja_value *out)
{
	const jinja_macro *macro = value->u.macro;
	const struct jinja_macro_node *node = macro->node;
	const uint32_t caller = run->program->caller_name;
	const char *macro_name = run->program->names[node->name];
	jinja_frame *frame = gh__jinja_frame(run, macro->frame);
	size_t known = 0;

	if (!frame)
		return false;
	if (call->count > node->count)
		return gh__jinja_fail(run, GH_EINVAL, "macro '%s' takes not more than %u arguments",
				      macro_name, (unsigned)node->count);
	for (uint32_t i = 0; i < node->count; i++) {
		const char *name = run->program->names[node->params[i]];
		const jinja_keyword *keyword = find_keyword(call, name);
		jinja_value given = gh__jinja_undefined(NULL, name, strlen(name));

		if (!gh__jinja_charge(run, call->keyword_count / 8))
			return false;
		if (keyword && i < call->count)
			return gh__jinja_fail(run, GH_EINVAL,
					      "macro '%s' got two values for argument '%s'",
					      macro_name, name);
		known += keyword != NULL;
		if (keyword)
			given = keyword->value;
		else if (i < call->count)
			given = call->args[i];
		else if (node->defaults[i] &&
			 !gh__jinja_eval(run, frame, node->defaults[i], &given))
			return false;
		if (!gh__jinja_set(run, frame, node->params[i], &given))
			return false;
	}
	for (size_t i = 0; i < call->keyword_count && known < call->keyword_count; i++) {
		const jinja_keyword *keyword = &call->keywords[i];

		if (keyword->len != 6 || memcmp(keyword->name, "caller", 6) != 0)
			continue;
		known++;
		if (!gh__jinja_set(run, frame, caller, &keyword->value))
			return false;
	}
	if (known < call->keyword_count)
		return gh__jinja_fail(run, GH_EINVAL,
				      "macro '%s' got an argument that it does not have",
				      macro_name);
	return gh__jinja_capture(run, frame, &node->body, out);
}

/* Arguments in the order of the parameters. */
static bool bind(jinja_run *run, const jinja_builtin *builtin, const jinja_call *call,
		 jinja_value args[JINJA_MAX_PARAMS], size_t *count)
{
	const char *at = builtin->params;
	size_t known = 0;

	for (*count = 0; *at; ++*count) {
		size_t len = strcspn(at, ",");
		size_t i = *count;

		args[i] = (jinja_value){ .kind = JINJA_ABSENT };
		if (i < call->count)
			args[i] = call->args[i];
		for (size_t k = 0; k < call->keyword_count; k++) {
			if (call->keywords[k].len != len ||
			    memcmp(call->keywords[k].name, at, len) != 0)
				continue;
			if (args[i].kind != JINJA_ABSENT)
				return gh__jinja_fail(run, GH_EINVAL,
						      "'%s' got two values for '%.*s'",
						      builtin->name, (int)len, at);
			args[i] = call->keywords[k].value;
			known++;
		}
		if (args[i].kind == JINJA_ABSENT && i < builtin->required)
			return gh__jinja_fail(run, GH_EINVAL, "'%s' needs an argument '%.*s'",
					      builtin->name, (int)len, at);
		at += len + (at[len] == ',');
	}
	if (call->count > *count || known < call->keyword_count)
		return gh__jinja_fail(run, GH_EINVAL, "'%s' got an argument that it does not have",
				      builtin->name);
	return true;
}

bool gh__jinja_invoke(jinja_run *run, const jinja_builtin *builtin, const jinja_value *self,
		      const jinja_call *call, jinja_value *out)
{
	jinja_value args[JINJA_MAX_PARAMS];
	jinja_call bound = { .args = args };

	if (!builtin->fn)
		return gh__jinja_fail(run, GH_EINVAL, "'%s' would change a value", builtin->name);
	if (!builtin->params)
		return builtin->fn(run, self, call, out);
	return bind(run, builtin, call, args, &bound.count) && builtin->fn(run, self, &bound, out);
}

bool gh__jinja_call_value(jinja_run *run, const jinja_value *callee, const jinja_call *call,
			  jinja_value *out)
{
	switch (callee->kind) {
	case JINJA_FUNCTION:
		return gh__jinja_invoke(run, callee->u.function, NULL, call, out);
	case JINJA_METHOD:
		return gh__jinja_invoke(run, callee->u.method->builtin, &callee->u.method->self,
					call, out);
	case JINJA_MACRO:
		return gh__jinja_call_macro(run, callee, call, out);
	case JINJA_UNDEFINED:
		return gh__jinja_fail_undefined(run, callee);
	default:
		return gh__jinja_fail(run, GH_EINVAL, "'%s' object is not callable",
				      gh__jinja_kind_name(callee));
	}
}
