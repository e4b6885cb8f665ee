#ifndef GH_BASE_RANDOM_H
#define GH_BASE_RANDOM_H

#include <stddef.h>
#include <stdint.h>

/* From the operating system (getrandom(2)); never fails once the system is up. */
void gh__random_bytes(void *out, size_t len);
uint64_t gh__random_u64(void);
void gh__random_hex(char *out, size_t digits); /* digits lower-case hex digits and a NUL */

#endif
