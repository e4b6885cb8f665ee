#ifndef GH_INFERENCE_NODE_ROUTES_H
#define GH_INFERENCE_NODE_ROUTES_H

#include "inference_node/fields.h"
#include "inference_node/inference_node.h"

/* The routes of the management API, as its checks see them. */

/* A guarded route belongs to a service and conflicts with the others. */
typedef enum gh__service {
	GH__SERVICE_NONE = 0,
	GH__SERVICE_POW,
	GH__SERVICE_INFERENCE,
	GH__SERVICE_TRAIN
} gh__service;

/* What a route wants of a body. */
typedef enum gh__body_kind {
	GH__BODY_IGNORED = 0,
	GH__BODY_OBJECT,
	GH__BODY_BATCH,
	GH__BODY_DICT
} gh__body_kind;

/* body is an object that passed the checks, or NULL; borrowed for the call. */
typedef void gh__act_fn(gh_inference_node *node, gh__http_request *request, const json_t *body);

typedef struct gh__management_route {
	const char *method, *path;
	gh__service service;
	gh__body_kind body;
	const gh__field *fields;
	size_t field_count;
	gh__act_fn *act;
} gh__management_route;

#define GH__FIELDS(list) list, sizeof list / sizeof list[0]
#define GH__NO_FIELDS    NULL, 0

/* pow_routes.c */
extern const gh__management_route gh__pow_routes[];
extern const size_t gh__pow_route_count;

/* probe.c: whether a callback address leads back to the network node that gave it */
extern const gh__field gh__probe_fields[1];
void gh__callback_probe(gh_inference_node *node, gh__http_request *request, const json_t *body);

#endif
