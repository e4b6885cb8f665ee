#include "registry/node_check.h"

#include <ctype.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/error.h"
#include "base/utf8.h"
#include "registry/node.h"

/* Rules that are broken, joined with "; ". */
enum { FINDINGS_MAX = 4096 };

static void finding(gh__buf *findings, const char *format, ...) GH_PRINTF(2, 3);

static void finding(gh__buf *findings, const char *format, ...)
{
	va_list args;

	if (findings->len)
		gh__buf_append_str(findings, "; ");
	va_start(args, format);
	gh__buf_vprintf(findings, format, args);
	va_end(args);
}

static bool blank(const char *text)
{
	while (isspace((unsigned char)*text))
		text++;
	return *text == '\0';
}

/* What cannot be shown or sent: control characters and broken UTF-8. */
static bool printable(const char *text)
{
	const unsigned char *c;

	for (c = (const unsigned char *)text; *c; c++)
		if (*c < 0x20 || *c == 0x7f)
			return false;
	return gh__utf8_valid(text, strlen(text));
}

/* An address or a name: no port, no path, no user. Colons are for IPv6. */
static bool host_like(const char *host)
{
	size_t colons = 0;
	bool bracket = host[0] == '[';
	const char *c;

	for (c = host; *c; c++) {
		if (*c == ':')
			colons++;
		else if (!isalnum((unsigned char)*c) && !strchr(".-_%[]", *c))
			return false;
	}
	return bracket ? c > host + 2 && c[-1] == ']' : colons != 1;
}

static void check_name(gh__buf *findings, const char *field, const char *value)
{
	if (strlen(value) > GH_NODE_NAME_MAX)
		finding(findings, "%s must be at most %d bytes, got %zu", field, GH_NODE_NAME_MAX,
			strlen(value));
	else if (!printable(value))
		finding(findings, "%s must not hold control characters", field);
}

static void check_segment(gh__buf *findings, const char *field, const char *value)
{
	check_name(findings, field, value);
	if (strpbrk(value, " ?#"))
		finding(findings, "%s must be a path, got '%.40s'", field, value);
}

static void check_port(gh__buf *findings, const char *field, int32_t port)
{
	if (port < 1 || port > 65535)
		finding(findings, "%s must be between 1 and 65535, got %d", field, (int)port);
}

static void check_address(gh__buf *findings, const gh_node *node)
{
	if (node->base_url[0]) {
		if (strncmp(node->base_url, "http://", 7) != 0 &&
		    strncmp(node->base_url, "https://", 8) != 0)
			finding(findings, "base_url must begin with http:// or https://");
		check_segment(findings, "base_url", node->base_url);
		return;
	}
	if (blank(node->host))
		finding(findings, "host is required and cannot be empty");
	else if (strlen(node->host) > GH_NODE_NAME_MAX || !host_like(node->host))
		finding(findings,
			"host must be an address or a name without port and path, got '%.80s'",
			node->host);
	check_port(findings, "inference_port", node->inference_port);
	check_port(findings, "poc_port", node->poc_port);
}

static void check_models(gh__buf *findings, const gh_node *node)
{
	size_t i, k;

	if (node->model_count == 0)
		finding(findings, "at least one model must be specified");
	for (i = 0; i < node->model_count; i++) {
		const gh_node_model *model = &node->models[i];

		if (!model->id || blank(model->id))
			finding(findings, "a model needs a name");
		else
			check_name(findings, "model name", model->id);
		for (k = 0; k < i && model->id; k++)
			if (node->models[k].id && strcmp(node->models[k].id, model->id) == 0)
				finding(findings, "model %s is listed twice", model->id);
	}
}

void gh__node_check(gh__buf *findings, const gh_node *node)
{
	if (blank(node->id))
		finding(findings, "node id is required and cannot be empty");
	else
		check_name(findings, "node id", node->id);
	check_address(findings, node);
	if (node->max_concurrent <= 0)
		finding(findings, "max_concurrent must be greater than 0, got %d",
			(int)node->max_concurrent);
	check_models(findings, node);
	check_segment(findings, "inference_segment", node->inference_segment);
	check_segment(findings, "poc_segment", node->poc_segment);
	if (!printable(node->auth_token))
		finding(findings, "auth_token must not hold control characters");
}

static void check_taken(gh__buf *findings, const char *what, const char *host, int32_t port,
			const gh_node *other, int32_t other_port)
{
	if (strcmp(host, other->host) == 0 && port == other_port)
		finding(findings,
			"duplicate %s host+port combination: %s:%d (already used by node '%s')",
			what, host, (int)port, other->id);
}

void gh__node_check_against(gh__buf *findings, const gh_node *node, const gh_node *other)
{
	if (strcmp(node->id, other->id) == 0 || node->base_url[0] || other->base_url[0])
		return;
	/* Different path prefixes lead to different nodes behind one proxy. */
	if (strcmp(node->inference_segment, other->inference_segment) == 0)
		check_taken(findings, "inference", node->host, node->inference_port, other,
			    other->inference_port);
	if (strcmp(node->poc_segment, other->poc_segment) == 0)
		check_taken(findings, "PoC", node->host, node->poc_port, other, other->poc_port);
}

gh_status gh__node_check_result(const gh__buf *findings, gh_error *error)
{
	if (findings->len == 0)
		return GH_OK;
	return gh__fail(error, GH_EINVAL, "validation failed: %s", gh__buf_str(findings));
}

gh_status gh_node_check(const gh_node *node, gh_error *error)
{
	gh__buf findings = GH__BUF_INIT(FINDINGS_MAX);
	gh_node *cleaned;
	gh_status status;

	if (!node || node->struct_size != sizeof *node)
		return gh__fail(error, GH_EINVAL, "node: begin with GH_NODE_INIT");
	status = gh__node_copy_clean(&cleaned, node, error);
	if (status != GH_OK)
		return status;
	gh__node_check(&findings, cleaned);
	status = gh__node_check_result(&findings, error);
	gh__buf_free(&findings);
	gh__free(cleaned);
	return status;
}
