#ifndef GH_INFERENCE_NODE_ORDER_H
#define GH_INFERENCE_NODE_ORDER_H

#include "inference_node/supervisor.h"

/*
 * What the supervisor is told: to serve a model (or, without one, to have workers for proofs), or
 * to end what runs.
 */
typedef enum gh__order_kind {
	GH__ORDER_UP = 1,
	GH__ORDER_STOP, /* a model may stay loaded */
	GH__ORDER_DOWN
} gh__order_kind;

typedef struct gh__order {
	gh__order_kind kind;
	char *model, *dtype; /* of UP; model NULL: for proofs */
	json_t *args;
	gh__supervisor_done_fn *done; /* NULL: nobody waits */
	void *userdata;
	struct gh__order *next;
} gh__order;

/* NULL: no memory. */
gh__order *gh__order_new(gh__order_kind kind, gh__supervisor_done_fn *done, void *userdata);
/* Copies. */
gh_status gh__order_up(gh__order **out, const char *model, const char *dtype, const json_t *args,
		       gh_error *error);
void gh__order_free(gh__order *order);

/* Both are to serve the same model with the same arguments. */
bool gh__order_same_model(const gh__order *a, const gh__order *b);

#endif
