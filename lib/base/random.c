#include "base/random.h"

#include <errno.h>
#include <sys/random.h>

#include "base/clock.h"

void gh__random_bytes(void *out, size_t len)
{
	unsigned char *bytes = out;

	while (len > 0) {
		ssize_t got = getrandom(bytes, len, 0);

		if (got > 0) {
			bytes += got;
			len -= (size_t)got;
		} else if (errno != EINTR) {
			gh__sleep(GH__MILLISECOND); /* wait rather than hand out weak bytes */
		}
	}
}

uint64_t gh__random_u64(void)
{
	uint64_t value;

	gh__random_bytes(&value, sizeof value);
	return value;
}

void gh__random_hex(char *out, size_t digits)
{
	static const char hex[] = "0123456789abcdef";
	unsigned char bytes[32];

	for (size_t i = 0; i < digits; i++) {
		size_t at = i % (2 * sizeof bytes);

		if (at == 0)
			gh__random_bytes(bytes, sizeof bytes);
		out[i] = hex[bytes[at / 2] >> (at % 2 ? 0 : 4) & 0xf];
	}
	out[digits] = '\0';
}
