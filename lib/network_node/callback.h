#ifndef GH_NETWORK_NODE_CALLBACK_H
#define GH_NETWORK_NODE_CALLBACK_H

#include "http/server.h"

/*
 * What inference nodes post in rounds of proof of compute. An answer of 200 says that it is on the
 * disk; the same again is answered 200 and changes nothing.
 */
extern const gh__http_route gh__callback_routes[];
extern const size_t gh__callback_route_count;

#endif
