#ifndef GH_TESTS_FUZZ_H
#define GH_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

/* What every target defines and both drivers call. Always answers 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
