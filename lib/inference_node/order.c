#include "inference_node/order.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "inference_node/launch.h"

gh__order *gh__order_new(gh__order_kind kind, gh__supervisor_done_fn *done, void *userdata)
{
	gh__order *o = gh__calloc(1, sizeof *o);

	if (o) {
		o->kind = kind;
		o->done = done;
		o->userdata = userdata;
	}
	return o;
}

gh_status gh__order_up(gh__order **out, const char *model, const char *dtype, const json_t *args,
		       gh_error *error)
{
	gh__order *o;

	if (json_array_size(args) > GH__LAUNCH_ARGS_MAX)
		return gh__fail(error, GH_ETOOBIG, "additional_args: more than %d",
				GH__LAUNCH_ARGS_MAX);
	o = gh__order_new(GH__ORDER_UP, NULL, NULL);
	if (!o)
		return gh__fail_nomem(error);
	o->model = model ? gh__strdup(model) : NULL;
	o->dtype = gh__strdup(dtype);
	o->args = json_deep_copy(args);
	if ((model && !o->model) || !o->dtype || !o->args) {
		gh__order_free(o);
		return gh__fail_nomem(error);
	}
	*out = o;
	return GH_OK;
}

void gh__order_free(gh__order *o)
{
	if (!o)
		return;
	gh__free(o->model);
	gh__free(o->dtype);
	json_decref(o->args);
	gh__free(o);
}

bool gh__order_same_model(const gh__order *a, const gh__order *b)
{
	return a->model && b->model && strcmp(a->model, b->model) == 0 &&
	       strcmp(a->dtype, b->dtype) == 0 && json_equal(a->args, b->args);
}
