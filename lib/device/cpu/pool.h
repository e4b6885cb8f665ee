#ifndef GH_DEVICE_CPU_POOL_H
#define GH_DEVICE_CPU_POOL_H

#include <stdbool.h>

#include <gonkahost/base.h>

/*
 * Fork and join: one caller, and threads that help it.
 *
 * Tasks are handed out one by one, so who does which is chance; tasks must write to different
 * memory, and then results do not depend on it. One thread at a time may call gh__pool_run().
 */
typedef struct gh__pool gh__pool;

/* task: 0 to count - 1; thread: 0 (the caller) to threads - 1, for scratch memory. */
typedef void gh__pool_fn(void *arg, int64_t task, int thread);

gh_status gh__pool_create(gh__pool **out, int threads, gh_error *error);
void gh__pool_free(gh__pool *pool);

/* While interrupted, tasks that have not begun are passed over. Any thread. */
void gh__pool_interrupt(gh__pool *pool, bool interrupted);
bool gh__pool_interrupted(const gh__pool *pool);

/* Returns when all tasks are done. Waits only for helpers that took part: one that the system keeps
 * from running costs nothing. */
void gh__pool_run(gh__pool *pool, gh__pool_fn *fn, void *arg, int64_t count);

#endif
