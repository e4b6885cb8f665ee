#ifndef GH_TEXT_JINJA_EVAL_H
#define GH_TEXT_JINJA_EVAL_H

#include "text/jinja/node.h"

/*
 * Scopes. Loops, macros and a few tags have a frame each; names are looked up from frame to frame
 * and last in jinja_run.root, which stands for the frame NULL.
 */
typedef struct jinja_slot {
	uint32_t name;
	jinja_value value;
} jinja_slot;

typedef struct jinja_frame {
	struct jinja_frame *above;
	jinja_slot *slots;
	uint32_t count;
	uint32_t capacity;
	bool kept; /* a macro that was made here looks into it later */
} jinja_frame;

typedef struct jinja_macro {
	const struct jinja_macro_node *node;
	jinja_frame *frame; /* where it was made */
} jinja_macro;

typedef enum jinja_flow { FLOW_FAIL, FLOW_ON, FLOW_BREAK, FLOW_CONTINUE } jinja_flow;

jinja_frame *gh__jinja_frame(jinja_run *run, jinja_frame *above);
bool gh__jinja_set(jinja_run *run, jinja_frame *frame, uint32_t name, const jinja_value *value);
bool gh__jinja_assign(jinja_run *run, jinja_frame *frame, const jinja_node *target,
		      const jinja_value *value);
bool gh__jinja_make_macro(jinja_run *run, jinja_frame *frame, const struct jinja_macro_node *node,
			  jinja_value *out);

bool gh__jinja_eval(jinja_run *run, jinja_frame *frame, const jinja_node *node, jinja_value *out);
/* A call; caller, if not NULL, is passed along under this name. */
bool gh__jinja_eval_call(jinja_run *run, jinja_frame *frame, const jinja_node *node,
			 const jinja_value *caller, jinja_value *out);
jinja_flow gh__jinja_exec(jinja_run *run, jinja_frame *frame, const jinja_nodes *body);
jinja_flow gh__jinja_exec_for(jinja_run *run, jinja_frame *frame, const jinja_node *node);
/* The text that a body prints. */
bool gh__jinja_capture(jinja_run *run, jinja_frame *frame, const jinja_nodes *body,
		       jinja_value *out);

/* One level deeper in C's stack; run->depth-- leaves. */
bool gh__jinja_deeper(jinja_run *run);

#endif
