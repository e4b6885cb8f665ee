#include "registry/node_json.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "json/json.h"
#include "registry/node.h"

/* A node whose strings are the tree's; only its arrays are its own. */
typedef struct draft {
	gh_node node;
	gh_node_model *models;
	gh_node_hardware *hardware;
	const char **args; /* of all models, behind each other */
} draft;

static void draft_done(draft *d)
{
	gh__free(d->models);
	gh__free(d->hardware);
	gh__free(d->args);
}

static size_t count_args(const json_t *models)
{
	const char *id;
	json_t *model;
	size_t count = 0;

	json_object_foreach((json_t *)models, id, model) count +=
		json_array_size(json_object_get(model, "args"));
	return count;
}

static void read_override(gh__json_reader *model, gh_node_model *out)
{
	gh__json_reader override;
	const json_t *object;

	if (!gh__json_object(model, "model_override", &object))
		return;
	gh__json_child(&override, model, "model_override", -1, object);
	gh__json_string(&override, "hf_repo", &out->hf_repo);
	gh__json_string(&override, "hf_commit", &out->hf_commit);
	if (gh__json_reader_status(&override) != GH_OK)
		model->status = override.status;
}

static void read_args(gh__json_reader *model, gh_node_model *out, const char **args)
{
	const json_t *array;
	size_t i;

	if (!gh__json_array(model, "args", &array))
		return;
	if (json_array_size(array) > GH_NODE_ITEMS_MAX) {
		gh__json_fail(model, "args", "expected at most %d arguments, got %zu",
			      GH_NODE_ITEMS_MAX, json_array_size(array));
		return;
	}
	out->args = args;
	out->arg_count = json_array_size(array);
	for (i = 0; i < out->arg_count; i++) {
		args[i] = json_string_value(json_array_get(array, i));
		if (!args[i]) {
			gh__json_fail(model, "args", "expected strings, item %zu is another type",
				      i);
			return;
		}
	}
}

static gh_status read_models(gh__json_reader *r, draft *d)
{
	gh__json_reader reader;
	const json_t *models;
	const char *id;
	json_t *value;
	const char **args;
	size_t i = 0;

	if (!gh__json_object(r, "models", &models))
		return gh__json_reader_status(r);
	if (json_object_size(models) > GH_NODE_ITEMS_MAX)
		return gh__json_fail(r, "models", "expected at most %d models, got %zu",
				     GH_NODE_ITEMS_MAX, json_object_size(models));
	d->models = gh__calloc(json_object_size(models), sizeof *d->models);
	d->args = gh__calloc(count_args(models), sizeof *d->args);
	if (!d->models || !d->args)
		return gh__fail_nomem(r->error);
	args = d->args;
	json_object_foreach((json_t *)models, id, value)
	{
		d->models[i].id = id;
		gh__json_child(&reader, r, id, -1, value);
		read_args(&reader, &d->models[i], args);
		read_override(&reader, &d->models[i]);
		if (gh__json_reader_status(&reader) != GH_OK)
			return reader.status;
		args += d->models[i++].arg_count;
	}
	d->node.models = d->models;
	d->node.model_count = i;
	return GH_OK;
}

static gh_status read_hardware(gh__json_reader *r, draft *d)
{
	gh__json_reader reader;
	const json_t *array;
	int64_t count;
	size_t i, n;

	if (!gh__json_array(r, "hardware", &array))
		return gh__json_reader_status(r);
	n = json_array_size(array);
	if (n > GH_NODE_ITEMS_MAX)
		return gh__json_fail(r, "hardware", "expected at most %d entries, got %zu",
				     GH_NODE_ITEMS_MAX, n);
	d->hardware = gh__calloc(n, sizeof *d->hardware);
	if (!d->hardware)
		return gh__fail_nomem(r->error);
	for (i = 0; i < n; i++) {
		count = 0;
		d->hardware[i].type = "";
		gh__json_child(&reader, r, "hardware", (int)i, json_array_get(array, i));
		gh__json_string(&reader, "type", &d->hardware[i].type);
		if (gh__json_int(&reader, "count", 0, UINT32_MAX, &count))
			d->hardware[i].count = (uint32_t)count;
		if (gh__json_reader_status(&reader) != GH_OK)
			return reader.status;
	}
	d->node.hardware = d->hardware;
	d->node.hardware_count = n;
	return GH_OK;
}

/* Any 32-bit number passes here, so that the checks can say what a port must be. */
static void read_int(gh__json_reader *r, const char *key, int32_t *out)
{
	int64_t value;

	if (gh__json_int(r, key, INT32_MIN, INT32_MAX, &value))
		*out = (int32_t)value;
}

gh_status gh__node_from_json(gh_node **out, const json_t *object, const char *name, gh_error *error)
{
	draft d = { .node = GH_NODE_INIT };
	gh__json_reader r;
	gh_status status;

	gh__json_root(&r, object, name, error);
	gh__json_string(&r, "id", &d.node.id);
	gh__json_string(&r, "host", &d.node.host);
	gh__json_string(&r, "inference_segment", &d.node.inference_segment);
	gh__json_string(&r, "poc_segment", &d.node.poc_segment);
	gh__json_string(&r, "base_url", &d.node.base_url);
	gh__json_string(&r, "auth_token", &d.node.auth_token);
	read_int(&r, "inference_port", &d.node.inference_port);
	read_int(&r, "poc_port", &d.node.poc_port);
	read_int(&r, "max_concurrent", &d.node.max_concurrent);
	status = gh__json_reader_status(&r);
	if (status == GH_OK)
		status = read_models(&r, &d);
	if (status == GH_OK)
		status = read_hardware(&r, &d);
	if (status == GH_OK)
		status = gh__node_copy(out, &d.node, error);
	draft_done(&d);
	/* The text has another form than a node's: not a value that breaks a rule. */
	if (status == GH_EINVAL) {
		status = GH_EFORMAT;
		if (error)
			error->status = GH_EFORMAT;
	}
	return status;
}

json_t *gh__node_models_to_json(const gh_node *node)
{
	json_t *models = json_object();
	size_t i, k;

	for (i = 0; i < node->model_count; i++) {
		const gh_node_model *model = &node->models[i];
		json_t *args = json_array();
		json_t *object = json_object();

		for (k = 0; k < model->arg_count; k++)
			json_array_append_new(args, json_string(model->args[k]));
		json_object_set_new(object, "args", args);
		if (model->hf_repo || model->hf_commit)
			json_object_set_new(object, "model_override",
					    json_pack("{s:s?, s:s?}", "hf_repo", model->hf_repo,
						      "hf_commit", model->hf_commit));
		json_object_set_new(models, model->id, object);
	}
	return models;
}

json_t *gh__node_hardware_to_json(const gh_node *node)
{
	json_t *array;
	size_t i;

	if (!node->hardware)
		return json_null();
	array = json_array();
	for (i = 0; i < node->hardware_count; i++)
		json_array_append_new(array,
				      json_pack("{s:s, s:I}", "type", node->hardware[i].type,
						"count", (json_int_t)node->hardware[i].count));
	return array;
}

json_t *gh__node_to_json(const gh_node *node, bool with_number)
{
	json_t *object = json_object();

	json_object_set_new(object, "host", json_string(node->host));
	json_object_set_new(object, "inference_segment", json_string(node->inference_segment));
	json_object_set_new(object, "inference_port", json_integer(node->inference_port));
	json_object_set_new(object, "poc_segment", json_string(node->poc_segment));
	json_object_set_new(object, "poc_port", json_integer(node->poc_port));
	json_object_set_new(object, "base_url", json_string(node->base_url));
	json_object_set_new(object, "auth_token", json_string(node->auth_token));
	json_object_set_new(object, "models", gh__node_models_to_json(node));
	json_object_set_new(object, "id", json_string(node->id));
	json_object_set_new(object, "max_concurrent", json_integer(node->max_concurrent));
	if (with_number)
		json_object_set_new(object, "node_num", json_integer((json_int_t)node->number));
	json_object_set_new(object, "hardware", gh__node_hardware_to_json(node));
	return object;
}
