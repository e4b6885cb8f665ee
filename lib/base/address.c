#include "base/address.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stddef.h>
#include <string.h>

#include "base/error.h"
#include "base/number.h"

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

/* ---- networks ---- */

static void map_v4(uint8_t out[16], const struct in_addr *v4)
{
	memset(out, 0, 10);
	memset(out + 10, 0xff, 2);
	memcpy(out + 12, v4, 4);
}

static bool same_prefix(const uint8_t *a, const uint8_t *b, int bits)
{
	int whole = bits / 8;
	uint8_t mask = (uint8_t)(0xff00 >> bits % 8);

	if (memcmp(a, b, (size_t)whole) != 0)
		return false;
	return bits % 8 == 0 || ((a[whole] ^ b[whole]) & mask) == 0;
}

static gh_status parse_network(gh__networks *out, const char *name, const char *text,
			       gh_error *error)
{
	char literal[INET6_ADDRSTRLEN];
	const char *slash = strchr(text, '/');
	size_t len = slash ? (size_t)(slash - text) : strlen(text);
	struct in_addr v4;
	struct in6_addr v6;
	uint8_t *prefix = out->at[out->count].prefix;
	int64_t bits = -1, most = -1;

	if (len < sizeof literal) {
		memcpy(literal, text, len);
		literal[len] = '\0';
		if (inet_pton(AF_INET, literal, &v4) == 1) {
			map_v4(prefix, &v4);
			most = 32;
		} else if (inet_pton(AF_INET6, literal, &v6) == 1) {
			memcpy(prefix, &v6, 16);
			most = 128;
		}
	}
	if (!slash)
		bits = most;
	else if (!isdigit((unsigned char)slash[1]) || !gh__parse_int64(slash + 1, &bits))
		bits = -1;
	if (bits < 0 || bits > most)
		return gh__fail(error, GH_EINVAL,
				"%s: \"%s\" is not a network: expected ADDRESS or ADDRESS/BITS",
				name, text);
	out->at[out->count++].bits = (int)(bits + 128 - most);
	return GH_OK;
}

gh_status gh__networks_parse(gh__networks *out, const char *name, const char *list, gh_error *error)
{
	char text[INET6_ADDRSTRLEN + 8];
	gh_status status = GH_OK;

	out->count = 0;
	while (status == GH_OK) {
		size_t len = strcspn(list, ",");
		size_t kept = len < sizeof text ? len : sizeof text - 1;

		if (out->count == GH__NETWORKS_MAX)
			return gh__fail(error, GH_EINVAL, "%s: more than %d networks", name,
					GH__NETWORKS_MAX);
		memcpy(text, list, kept);
		text[kept] = '\0';
		status = parse_network(out, name, text, error);
		if (!list[len])
			break;
		list += len + 1;
	}
	return status;
}

bool gh__networks_have(const gh__networks *networks, const struct sockaddr *address)
{
	uint8_t bytes[16];

	if (address->sa_family == AF_INET)
		map_v4(bytes, &((const struct sockaddr_in *)(const void *)address)->sin_addr);
	else if (address->sa_family == AF_INET6)
		memcpy(bytes, &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr, 16);
	else
		return false;
	for (size_t i = 0; i < networks->count; i++)
		if (same_prefix(bytes, networks->at[i].prefix, networks->at[i].bits))
			return true;
	return false;
}
