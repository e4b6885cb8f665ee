#include "text/jinja/eval.h"

#include <string.h>

#include "base/error.h"

jinja_frame *gh__jinja_frame(jinja_run *run, jinja_frame *above)
{
	jinja_frame *frame = gh__jinja_run_alloc(run, 1, sizeof(*frame));

	if (frame)
		frame->above = above;
	return frame;
}

bool gh__jinja_set(jinja_run *run, jinja_frame *frame, uint32_t name, const jinja_value *value)
{
	if (!frame) {
		run->root[name] = *value;
		return true;
	}
	if (!gh__jinja_charge(run, frame->count / 8))
		return false;
	for (uint32_t i = 0; i < frame->count; i++) {
		if (frame->slots[i].name == name) {
			frame->slots[i].value = *value;
			return true;
		}
	}
	if (frame->count == frame->capacity) {
		uint32_t capacity = frame->capacity ? 2 * frame->capacity : 4;
		jinja_slot *slots = gh__jinja_run_alloc(run, capacity, sizeof(*slots));

		if (!slots)
			return false;
		if (frame->count)
			memcpy(slots, frame->slots, frame->count * sizeof(*slots));
		frame->slots = slots;
		frame->capacity = capacity;
	}
	frame->slots[frame->count++] = (jinja_slot){ .name = name, .value = *value };
	return true;
}

static bool assign_member(jinja_run *run, jinja_frame *frame, const jinja_node *target,
			  const jinja_value *value)
{
	jinja_value key = gh__jinja_text(target->u.attribute.name, target->u.attribute.len);
	jinja_value object;

	if (!gh__jinja_eval(run, frame, target->u.attribute.object, &object))
		return false;
	if (object.kind != JINJA_NAMESPACE)
		return gh__jinja_fail(run, GH_EINVAL,
				      "cannot assign attribute '%.*s' on a '%s', only on a "
				      "namespace",
				      (int)(key.len < 80 ? key.len : 80), key.u.text,
				      gh__jinja_kind_name(&object));
	return gh__jinja_dict_put(run, &object, &key, value);
}

bool gh__jinja_assign(jinja_run *run, jinja_frame *frame, const jinja_node *target,
		      const jinja_value *value)
{
	const jinja_nodes *names = &target->u.list;
	jinja_list parts;

	if (target->type == NODE_NAME)
		return gh__jinja_set(run, frame, target->u.name, value);
	if (target->type == NODE_ATTRIBUTE)
		return assign_member(run, frame, target, value);
	if (value->kind == JINJA_UNDEFINED || !gh__jinja_iterate(run, value, &parts))
		parts.count = 0;
	if (run->status != GH_OK)
		return false;
	if (parts.count != names->count)
		return gh__jinja_fail(run, GH_EINVAL, "expected %u values to unpack, got %zu",
				      (unsigned)names->count, parts.count);
	for (uint32_t i = 0; i < names->count; i++) {
		jinja_value part = gh__jinja_list_at(&parts, i);

		if (!gh__jinja_assign(run, frame, names->items[i], &part))
			return false;
	}
	return true;
}

static bool put_text(jinja_run *run, const char *text, size_t len)
{
	if (len > GH__JINJA_MAX_OUTPUT - run->pending)
		return gh__jinja_fail(run, GH_ETOOBIG, "more than %u bytes of output",
				      GH__JINJA_MAX_OUTPUT);
	gh__buf_append(run->out, text, len);
	if (gh__buf_status(run->out) != GH_OK)
		return gh__jinja_fail(run, gh__buf_status(run->out), "no memory for the output");
	run->pending += len;
	return gh__jinja_charge_bytes(run, len);
}

static bool put_value(jinja_run *run, const jinja_value *value)
{
	jinja_value text;

	return gh__jinja_string(run, value, &text) && put_text(run, text.u.text, text.len);
}

bool gh__jinja_capture(jinja_run *run, jinja_frame *frame, const jinja_nodes *body,
		       jinja_value *out)
{
	gh__buf text = GH__BUF_INIT(GH__JINJA_MAX_OUTPUT);
	gh__buf *outer = run->out;
	bool ok;

	run->out = &text;
	ok = gh__jinja_exec(run, frame, body) != FLOW_FAIL;
	run->out = outer;
	run->pending -= text.len;
	if (ok)
		return gh__jinja_take_buf(run, &text, out);
	gh__buf_free(&text);
	return false;
}

static bool exec_set(jinja_run *run, jinja_frame *frame, const jinja_node *node)
{
	jinja_frame *inner;
	jinja_value value;

	if (node->type == NODE_SET)
		return gh__jinja_eval(run, frame, node->u.set.value, &value) &&
		       gh__jinja_assign(run, frame, node->u.set.target, &value);
	/* The text is read before any other capture can take its place. */
	inner = gh__jinja_frame(run, frame);
	if (!inner || !gh__jinja_capture(run, inner, &node->u.set.body, &run->captured) ||
	    !gh__jinja_eval(run, frame, node->u.set.value, &value))
		return false;
	if (node->type == NODE_FILTER_BLOCK)
		return put_value(run, &value);
	return gh__jinja_assign(run, frame, node->u.set.target, &value);
}

static jinja_flow exec_if(jinja_run *run, jinja_frame *frame, const jinja_node *node)
{
	const jinja_nodes *tests = &node->u.branch.tests;
	jinja_value value;

	for (uint32_t i = 0; i < tests->count; i++) {
		if (!gh__jinja_eval(run, frame, tests->items[i], &value))
			return FLOW_FAIL;
		if (gh__jinja_truth(&value))
			return gh__jinja_exec(run, frame, &node->u.branch.bodies[i]);
	}
	if (node->u.branch.otherwise)
		return gh__jinja_exec(run, frame, &node->u.branch.bodies[tests->count]);
	return FLOW_ON;
}

static jinja_flow exec_with(jinja_run *run, jinja_frame *frame, const jinja_node *node)
{
	jinja_frame *inner = gh__jinja_frame(run, frame);
	jinja_value value;

	for (uint32_t i = 0; inner && i < node->u.with.values.count; i++) {
		if (!gh__jinja_eval(run, frame, node->u.with.values.items[i], &value) ||
		    !gh__jinja_assign(run, inner, node->u.with.targets.items[i], &value))
			return FLOW_FAIL;
	}
	return inner ? gh__jinja_exec(run, inner, &node->u.with.body) : FLOW_FAIL;
}

static bool exec_call_block(jinja_run *run, jinja_frame *frame, const jinja_node *node)
{
	jinja_value caller, value;

	return gh__jinja_make_macro(run, frame, &node->u.macro, &caller) &&
	       gh__jinja_eval_call(run, frame, node->u.macro.call, &caller, &value) &&
	       put_value(run, &value);
}

static jinja_flow exec_node(jinja_run *run, jinja_frame *frame, const jinja_node *node)
{
	jinja_value value;
	bool ok;

	switch (node->type) {
	case NODE_TEXT:
		ok = put_text(run, node->u.constant.u.text, node->u.constant.len);
		break;
	case NODE_PRINT:
		ok = gh__jinja_eval(run, frame, node->u.operand, &value) && put_value(run, &value);
		break;
	case NODE_IF:
		return exec_if(run, frame, node);
	case NODE_FOR:
		return gh__jinja_exec_for(run, frame, node);
	case NODE_SET:
	case NODE_SET_BLOCK:
	case NODE_FILTER_BLOCK:
		ok = exec_set(run, frame, node);
		break;
	case NODE_WITH:
		return exec_with(run, frame, node);
	case NODE_SCOPE:
		frame = gh__jinja_frame(run, frame);
		return frame ? gh__jinja_exec(run, frame, &node->u.list) : FLOW_FAIL;
	case NODE_MACRO:
		ok = gh__jinja_make_macro(run, frame, &node->u.macro, &value) &&
		     gh__jinja_set(run, frame, node->u.macro.name, &value);
		break;
	case NODE_CALL_BLOCK:
		ok = exec_call_block(run, frame, node);
		break;
	case NODE_BREAK:
		return FLOW_BREAK;
	default: /* NODE_CONTINUE */
		return FLOW_CONTINUE;
	}
	return ok ? FLOW_ON : FLOW_FAIL;
}

jinja_flow gh__jinja_exec(jinja_run *run, jinja_frame *frame, const jinja_nodes *body)
{
	jinja_flow flow = FLOW_ON;

	if (!gh__jinja_deeper(run))
		return FLOW_FAIL;
	for (uint32_t i = 0; i < body->count && flow == FLOW_ON; i++) {
		if (!gh__jinja_charge(run, 1))
			return FLOW_FAIL;
		run->line = body->items[i]->line;
		flow = exec_node(run, frame, body->items[i]);
	}
	run->depth--;
	return flow;
}

static bool fill_root(jinja_run *run, const json_t *variables, const json_t *defaults)
{
	const gh__jinja *program = run->program;

	run->root = gh__jinja_run_alloc(run, program->name_count, sizeof(*run->root));
	if (!run->root)
		return false;
	for (uint32_t i = 0; i < program->name_count; i++) {
		const char *name = program->names[i];
		const json_t *given = json_object_get(variables, name);
		const jinja_builtin *function;

		if (!given)
			given = json_object_get(defaults, name);
		function = given ? NULL : gh__jinja_find_function(name, strlen(name));
		if (given)
			run->root[i] = gh__jinja_from_json(given);
		else if (function)
			run->root[i] =
				(jinja_value){ .kind = JINJA_FUNCTION, .u.function = function };
	}
	return true;
}

gh_status gh__jinja_render(const gh__jinja *program, const json_t *variables,
			   const json_t *defaults, char **text, size_t *len, gh_error *error)
{
	gh__buf out = GH__BUF_INIT(GH__JINJA_MAX_OUTPUT);
	jinja_run run = { .program = program, .out = &out, .error = error };

	run.arena.max = GH__JINJA_MAX_MEMORY;
	run.captured = gh__jinja_text("", 0);
	if (fill_root(&run, variables, defaults) &&
	    gh__jinja_exec(&run, NULL, &program->body) != FLOW_FAIL) {
		gh__buf_append(&out, "", 0);
		*len = out.len;
		*text = gh__buf_take(&out);
		if (!*text)
			run.status = gh__fail_nomem(error);
	}
	gh__jinja_arena_free(&run.arena);
	gh__buf_free(&out);
	return run.status;
}
