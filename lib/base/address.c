#include "base/address.h"

#include <arpa/inet.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct range {
	uint32_t first;
	int bits;
} range;

static bool v4_public(uint32_t address)
{
	static const range reserved[] = {
		{ 0x0a000000, 8 },  { 0x7f000000, 8 },  { 0xac100000, 12 },
		{ 0xc0a80000, 16 }, { 0xa9fe0000, 16 }, { 0x64400000, 10 },
	};
	size_t i;

	for (i = 0; i < sizeof reserved / sizeof reserved[0]; i++)
		if (address >> (32 - reserved[i].bits) ==
		    reserved[i].first >> (32 - reserved[i].bits))
			return false;
	return true;
}

static bool v6_public(const struct in6_addr *address)
{
	const uint8_t *byte = address->s6_addr;

	if (IN6_IS_ADDR_LOOPBACK(address) || (byte[0] & 0xfe) == 0xfc ||
	    (byte[0] == 0xfe && (byte[1] & 0xc0) == 0x80))
		return false;
	if (IN6_IS_ADDR_V4MAPPED(address))
		return v4_public((uint32_t)byte[12] << 24 | (uint32_t)byte[13] << 16 |
				 (uint32_t)byte[14] << 8 | byte[15]);
	return true;
}

bool gh__address_public(const char *host)
{
	struct in_addr v4;
	struct in6_addr v6;

	if (inet_pton(AF_INET, host, &v4) == 1)
		return v4_public(ntohl(v4.s_addr));
	if (inet_pton(AF_INET6, host, &v6) == 1)
		return v6_public(&v6);
	return false;
}
