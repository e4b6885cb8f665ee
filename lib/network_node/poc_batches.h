#ifndef GH_NETWORK_NODE_POC_BATCHES_H
#define GH_NETWORK_NODE_POC_BATCHES_H

#include "http/server.h"

/* GET /v1/poc-batches/:epoch, a route of the public server: the batches of the round that began at
 * this height. They may be very many, and anybody may ask: they are told batch by batch, no faster
 * than the client reads. */
void gh__poc_batches(gh__http_request *request, void *userdata);

#endif
