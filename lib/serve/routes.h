#ifndef GH_SERVE_ROUTES_H
#define GH_SERVE_ROUTES_H

#include "http/server.h"

/* Every request of a worker comes here; userdata is the gh_worker. */
void gh__routes_handle(gh__http_request *request, void *userdata);
json_t *gh__routes_error(int status, const char *message, void *userdata);

#endif
