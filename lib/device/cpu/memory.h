#ifndef GH_DEVICE_CPU_MEMORY_H
#define GH_DEVICE_CPU_MEMORY_H

#include <stddef.h>

#include <gonkahost/base.h>

/* Memory of the CPU device: zeroed, 256-byte aligned; NULL: an error. */
void *gh__cpu_alloc(size_t size, gh_error *error);
void gh__cpu_release(void *memory); /* or NULL */

#endif
