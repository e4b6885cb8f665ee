#ifndef GH_BASE_CLOCK_H
#define GH_BASE_CLOCK_H

#include <stdint.h>

#define GH__SECOND      INT64_C(1000000000)
#define GH__MILLISECOND INT64_C(1000000)

int64_t gh__now(void);  /* nanoseconds of a clock that never goes back */
int64_t gh__wall(void); /* nanoseconds since 1970 UTC */
void gh__sleep(int64_t nanoseconds);

/* RFC 3339 with nanoseconds, UTC: "2026-01-02T03:04:05.000000006Z". */
#define GH__RFC3339_SIZE 31
void gh__rfc3339(char out[GH__RFC3339_SIZE], int64_t wall);

#endif
