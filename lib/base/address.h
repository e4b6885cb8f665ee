#ifndef GH_BASE_ADDRESS_H
#define GH_BASE_ADDRESS_H

#include <stdbool.h>

/*
 * An address literal that the whole internet may reach: not of a loopback, private, link-local or
 * shared range; "0.0.0.0" and "::" are public too, since they bind to everything. A name is not
 * looked up and counts as private.
 */
bool gh__address_public(const char *host);

#endif
