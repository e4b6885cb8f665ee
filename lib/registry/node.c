#include "registry/node.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/error.h"

/*
 * Laying out a copy is done twice by one code path: first with block NULL, which only counts, then
 * with memory, which writes. Pointers come first, since they want alignment; strings follow.
 */
typedef struct layout {
	char *block; /* NULL while counting */
	size_t used;
} layout;

static void *place(layout *to, const void *from, size_t size)
{
	void *at = to->block ? to->block + to->used : NULL;

	if (at && size)
		memcpy(at, from, size);
	to->used += size;
	return at;
}

static const char *place_string(layout *to, const char *text)
{
	return place(to, text, strlen(text) + 1);
}

static const char *place_optional(layout *to, const char *text)
{
	return text ? place_string(to, text) : NULL;
}

static void place_strings(layout *to, gh_node *copy, gh_node_model *models, const char **args,
			  gh_node_hardware *hardware, const gh_node *node)
{
	const char *const *own = args;
	gh_node_model ignored;
	size_t i, k;

	copy->id = place_string(to, node->id ? node->id : "");
	copy->host = place_string(to, node->host ? node->host : "");
	copy->inference_segment =
		place_string(to, node->inference_segment ? node->inference_segment : "");
	copy->poc_segment = place_string(to, node->poc_segment ? node->poc_segment : "");
	copy->base_url = place_string(to, node->base_url ? node->base_url : "");
	copy->auth_token = place_string(to, node->auth_token ? node->auth_token : "");
	for (i = 0; i < node->model_count; i++) {
		gh_node_model *model = models ? &models[i] : &ignored;

		model->id = place_string(to, node->models[i].id);
		model->hf_repo = place_optional(to, node->models[i].hf_repo);
		model->hf_commit = place_optional(to, node->models[i].hf_commit);
		if (models)
			model->args = own;
		for (k = 0; k < node->models[i].arg_count; k++) {
			const char *arg = place_string(to, node->models[i].args[k]);

			if (args)
				args[k] = arg;
		}
		if (args) {
			args += model->arg_count;
			own = args;
		}
	}
	for (i = 0; i < node->hardware_count; i++) {
		const char *type = place_string(to, node->hardware[i].type);

		if (hardware)
			hardware[i].type = type;
	}
}

static size_t lay_out(char *block, const gh_node *node)
{
	layout to = { block, 0 };
	gh_node ignored;
	gh_node *copy;
	gh_node_model *models;
	gh_node_hardware *hardware;
	const char **args;
	size_t i, arg_count = 0;

	for (i = 0; i < node->model_count; i++)
		arg_count += node->models[i].arg_count;
	copy = place(&to, node, sizeof *node);
	models = place(&to, node->models, node->model_count * sizeof *models);
	hardware = place(&to, node->hardware, node->hardware_count * sizeof *hardware);
	args = block ? (const char **)(void *)(block + to.used) : NULL;
	to.used += arg_count * sizeof *args;
	if (copy) {
		copy->models = models;
		copy->hardware = node->hardware ? hardware : NULL;
	}
	place_strings(&to, copy ? copy : &ignored, models, args, hardware, node);
	return to.used;
}

gh_status gh__node_copy(gh_node **out, const gh_node *node, gh_error *error)
{
	char *block = gh__malloc(lay_out(NULL, node));

	if (!block)
		return gh__fail_nomem(error);
	lay_out(block, node);
	*out = (gh_node *)(void *)block;
	return GH_OK;
}

/* The part of a host between white space, scheme and slashes. */
static char *clean_host(const char *host)
{
	size_t len;

	while (isspace((unsigned char)*host))
		host++;
	if (strncmp(host, "http://", 7) == 0)
		host += 7;
	else if (strncmp(host, "https://", 8) == 0)
		host += 8;
	len = strlen(host);
	while (len > 0 && (isspace((unsigned char)host[len - 1]) || host[len - 1] == '/'))
		len--;
	return gh__strndup(host, len);
}

gh_status gh__node_copy_clean(gh_node **out, const gh_node *node, gh_error *error)
{
	gh_node cleaned = *node;
	char *host = clean_host(node->host ? node->host : "");
	gh_status status;

	if (!host)
		return gh__fail_nomem(error);
	cleaned.host = host;
	status = gh__node_copy(out, &cleaned, error);
	gh__free(host);
	return status;
}

static char *join_url(const gh_node *node, int32_t port, const char *segment)
{
	gh__buf url = GH__BUF_INIT(8192);
	const char *host = node->host;

	if (node->base_url[0]) {
		size_t len = strlen(node->base_url);

		while (len > 0 && node->base_url[len - 1] == '/')
			len--;
		gh__buf_append(&url, node->base_url, len);
	} else if (strchr(host, ':') && host[0] != '[') {
		gh__buf_printf(&url, "http://[%s]:%d", host, (int)port);
	} else {
		gh__buf_printf(&url, "http://%s:%d", host, (int)port);
	}
	while (*segment == '/')
		segment++;
	if (*segment) {
		gh__buf_append_char(&url, '/');
		gh__buf_append_str(&url, segment);
	}
	while (url.len > 0 && url.data[url.len - 1] == '/')
		url.data[--url.len] = '\0';
	return gh__buf_take(&url);
}

char *gh__node_inference_url(const gh_node *node)
{
	return join_url(node, node->inference_port, node->inference_segment);
}

char *gh__node_management_url(const gh_node *node)
{
	return join_url(node, node->poc_port, node->poc_segment);
}
