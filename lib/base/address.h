#ifndef GH_BASE_ADDRESS_H
#define GH_BASE_ADDRESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include <gonkahost/base.h>

/*
 * An address literal that the whole internet may reach: not of a loopback, private, link-local or
 * shared range; "0.0.0.0" and "::" are public too, since they bind to everything. A name is not
 * looked up and counts as private.
 */
bool gh__address_public(const char *host);

/* Networks, and whether an address lies in one of them. IPv4 is held as mapped IPv6. */
enum { GH__NETWORKS_MAX = 64 };

typedef struct gh__networks {
	size_t count;
	struct {
		uint8_t prefix[16];
		int bits;
	} at[GH__NETWORKS_MAX];
} gh__networks;

/* "10.0.0.0/8,192.168.1.7,fd00::/8": a literal alone is that one address. GH_EINVAL: what is none,
 * by name (the option that list came from). */
gh_status gh__networks_parse(gh__networks *out, const char *name, const char *list,
			     gh_error *error);
bool gh__networks_have(const gh__networks *networks, const struct sockaddr *address);

#endif
