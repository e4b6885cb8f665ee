#ifndef GH_BASE_THREAD_H
#define GH_BASE_THREAD_H

#include <pthread.h>
#include <stdbool.h>

#include <gonkahost/base.h>

/*
 * Threads, and waiting with a deadline on the monotonic clock. Mutexes and joins are pthread's own.
 */
typedef void gh__thread_fn(void *arg);

/* name: at most 15 characters, as ps shows it. Signals are blocked in the new thread, but
 * for those that report its own faults. */
gh_status gh__thread_start(pthread_t *out, const char *name, gh__thread_fn *fn, void *arg,
			   gh_error *error);

gh_status gh__cond_init(pthread_cond_t *cond); /* waits by gh__now()'s clock */

/* Wait until signalled or until gh__now() reaches deadline; false: the deadline has passed. */
bool gh__cond_wait_until(pthread_cond_t *cond, pthread_mutex_t *mutex, int64_t deadline);

#endif
