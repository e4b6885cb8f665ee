#include "text/jinja/eval.h"

#include <string.h>

/*
 * A for loop as it runs. Elements that its filter lets through are fetched one by one, ahead only
 * as far as the body asks ("last", "nextitem", "length"): like Jinja's, which can make a difference
 * when the filter looks at what the body changes.
 */
typedef struct jinja_loop {
	const jinja_node *node;
	jinja_frame *outer;
	jinja_list source;
	size_t at;          /* of source: the next element to fetch */
	jinja_value *ahead; /* elements fetched, not yet looped over */
	size_t ahead_at;
	size_t ahead_count;
	size_t ahead_capacity;
	size_t index; /* of the element at work */
	jinja_value previous;
	jinja_value current;
} jinja_loop;

static bool push_ahead(jinja_run *run, jinja_loop *loop, const jinja_value *item)
{
	if (loop->ahead_at == loop->ahead_count)
		loop->ahead_at = loop->ahead_count = 0;
	if (loop->ahead_count == loop->ahead_capacity) {
		size_t capacity = loop->ahead_capacity ? 2 * loop->ahead_capacity : 4;
		jinja_value *items = gh__jinja_run_alloc(run, capacity, sizeof(*items));

		if (!items)
			return false;
		if (loop->ahead_count)
			memcpy(items, loop->ahead, loop->ahead_count * sizeof(*items));
		loop->ahead = items;
		loop->ahead_capacity = capacity;
	}
	loop->ahead[loop->ahead_count++] = *item;
	return true;
}

/* Fetch one more element; *more is false when there is none. */
static bool fetch(jinja_run *run, jinja_loop *loop, bool *more)
{
	jinja_frame *frame = NULL;

	*more = false;
	while (!*more && loop->at < loop->source.count) {
		jinja_value item = gh__jinja_list_at(&loop->source, loop->at++);
		jinja_value passes;

		if (!gh__jinja_charge(run, 1))
			return false;
		if (loop->node->u.loop.filter) {
			if (!frame || frame->kept)
				frame = gh__jinja_frame(run, loop->outer);
			if (!frame)
				return false;
			frame->count = 0;
			if (!gh__jinja_assign(run, frame, loop->node->u.loop.target, &item) ||
			    !gh__jinja_eval(run, frame, loop->node->u.loop.filter, &passes))
				return false;
			if (!gh__jinja_truth(&passes))
				continue;
		}
		if (!push_ahead(run, loop, &item))
			return false;
		*more = true;
	}
	return true;
}

static bool has_ahead(jinja_run *run, jinja_loop *loop, bool *more)
{
	*more = loop->ahead_at < loop->ahead_count;
	return *more || fetch(run, loop, more);
}

/* Elements behind the one at work. */
static bool count_rest(jinja_run *run, jinja_loop *loop, size_t *rest)
{
	bool more = loop->node->u.loop.filter != NULL;

	while (more) {
		if (!fetch(run, loop, &more))
			return false;
	}
	*rest = loop->ahead_count - loop->ahead_at + loop->source.count - loop->at;
	return true;
}

bool gh__jinja_loop_attribute(jinja_run *run, const jinja_value *value, const char *name,
			      size_t len, jinja_value *out, bool *found)
{
	enum {
		INDEX,
		INDEX0,
		REVINDEX,
		REVINDEX0,
		LENGTH,
		FIRST,
		LAST,
		PREVITEM,
		NEXTITEM,
		DEPTH,
		DEPTH0,
		NAMES
	};
	static const char *const names[] = { "index",    "index0", "revindex", "revindex0",
					     "length",   "first",  "last",     "previtem",
					     "nextitem", "depth",  "depth0" };
	jinja_loop *loop = value->u.loop;
	size_t rest = 0;
	bool more = false;
	int which = 0;

	while (which < NAMES &&
	       (strlen(names[which]) != len || memcmp(names[which], name, len) != 0))
		which++;
	*found = which < NAMES;
	if ((which == REVINDEX || which == REVINDEX0 || which == LENGTH) &&
	    !count_rest(run, loop, &rest))
		return false;
	if ((which == LAST || which == NEXTITEM) && !has_ahead(run, loop, &more))
		return false;
	switch (which) {
	case INDEX:
		*out = gh__jinja_int((int64_t)loop->index + 1);
		break;
	case INDEX0:
		*out = gh__jinja_int((int64_t)loop->index);
		break;
	case REVINDEX:
		*out = gh__jinja_int((int64_t)rest + 1);
		break;
	case REVINDEX0:
		*out = gh__jinja_int((int64_t)rest);
		break;
	case LENGTH:
		*out = gh__jinja_int((int64_t)(loop->index + 1 + rest));
		break;
	case FIRST:
		*out = gh__jinja_bool(loop->index == 0);
		break;
	case LAST:
		*out = gh__jinja_bool(!more);
		break;
	case PREVITEM:
		*out = loop->index ? loop->previous
				   : gh__jinja_undefined(NULL, "there is no previous item", 25);
		break;
	case NEXTITEM:
		*out = more ? loop->ahead[loop->ahead_at]
			    : gh__jinja_undefined(NULL, "there is no next item", 21);
		break;
	case DEPTH:
		*out = gh__jinja_int(1);
		break;
	case DEPTH0:
		*out = gh__jinja_int(0);
		break;
	default:
		break;
	}
	return true;
}

jinja_flow gh__jinja_exec_for(jinja_run *run, jinja_frame *outer, const jinja_node *node)
{
	jinja_loop *loop = gh__jinja_run_alloc(run, 1, sizeof(*loop));
	jinja_value value = { .kind = JINJA_LOOP, .u.loop = loop };
	jinja_frame *frame = NULL;
	jinja_value source;
	bool more;

	if (!loop || !gh__jinja_eval(run, outer, node->u.loop.source, &source) ||
	    !gh__jinja_iterate(run, &source, &loop->source))
		return FLOW_FAIL;
	loop->node = node;
	loop->outer = outer;
	for (size_t i = 0;; i++) {
		jinja_flow flow;

		if (!has_ahead(run, loop, &more))
			return FLOW_FAIL;
		if (!more && i == 0)
			return gh__jinja_exec(run, outer, &node->u.loop.otherwise);
		if (!more)
			return FLOW_ON;
		loop->previous = loop->current;
		loop->current = loop->ahead[loop->ahead_at++];
		loop->index = i;
		/* What a body sets is gone with its iteration. */
		if (!frame || frame->kept)
			frame = gh__jinja_frame(run, outer);
		if (!frame)
			return FLOW_FAIL;
		frame->count = 0;
		if (!gh__jinja_assign(run, frame, node->u.loop.target, &loop->current) ||
		    !gh__jinja_set(run, frame, run->program->loop_name, &value))
			return FLOW_FAIL;
		flow = gh__jinja_exec(run, frame, &node->u.loop.body);
		if (flow == FLOW_FAIL)
			return FLOW_FAIL;
		if (flow == FLOW_BREAK)
			return FLOW_ON;
	}
}
