#include "base/clock.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

static int64_t read_clock(clockid_t id)
{
	struct timespec now;

	clock_gettime(id, &now);
	return (int64_t)now.tv_sec * GH__SECOND + now.tv_nsec;
}

int64_t gh__now(void)
{
	return read_clock(CLOCK_MONOTONIC);
}

int64_t gh__wall(void)
{
	return read_clock(CLOCK_REALTIME);
}

void gh__sleep(int64_t nanoseconds)
{
	if (nanoseconds <= 0)
		return;
	struct timespec left = { (time_t)(nanoseconds / GH__SECOND),
				 (long)(nanoseconds % GH__SECOND) };
	while (nanosleep(&left, &left) != 0 && errno == EINTR)
		;
}

void gh__rfc3339(char out[GH__RFC3339_SIZE], int64_t wall)
{
	int64_t seconds = wall / GH__SECOND;
	int64_t rest = wall % GH__SECOND;

	if (rest < 0) {
		rest += GH__SECOND;
		seconds--;
	}
	time_t t = (time_t)seconds;
	struct tm tm = { 0 };
	gmtime_r(&t, &tm);
	/* 64 bits of nanoseconds end in the year 2262, so the remainders change nothing; they let
	 * the compiler see that the text fits. */
	snprintf(out, GH__RFC3339_SIZE, "%04u-%02u-%02uT%02u:%02u:%02u.%09uZ",
		 (unsigned)(tm.tm_year + 1900) % 10000, (unsigned)(tm.tm_mon + 1) % 100,
		 (unsigned)tm.tm_mday % 100, (unsigned)tm.tm_hour % 100, (unsigned)tm.tm_min % 100,
		 (unsigned)tm.tm_sec % 100, (unsigned)rest % 1000000000);
}
