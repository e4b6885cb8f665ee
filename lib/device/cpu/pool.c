#include "device/cpu/pool.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/thread.h"

/*
 * A job is open while members >= 0. A helper joins by raising members, and leaves by lowering it;
 * the caller closes the job (0 -> CLOSED) when no task is left and everybody who joined has left.
 * The fields of a job are written only while it is closed.
 *
 * Helpers look for a new round for a short while, since the operations of a forward follow each
 * other within microseconds, and then sleep.
 */
enum { CLOSED = -1, SPINS = 4000, THREADS_MAX = 1024 };

typedef struct helper {
	gh__pool *pool;
	pthread_t thread;
	int index;
} helper;

struct gh__pool {
	int threads;
	helper *helpers; /* [threads - 1] */
	int started;

	gh__pool_fn *fn;
	void *arg;
	int64_t count;
	_Atomic int64_t next;
	atomic_int members;
	atomic_uint round;
	atomic_int sleepers;
	atomic_bool caller_sleeps;
	atomic_bool closing;
	atomic_bool interrupted;

	pthread_mutex_t mutex;
	pthread_cond_t wake; /* helpers: another round, or closing */
	pthread_cond_t done; /* the caller: members fell to 0 */
};

static void pause_briefly(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

static bool join(gh__pool *pool)
{
	int members = atomic_load(&pool->members);

	while (members >= 0) {
		if (atomic_compare_exchange_weak(&pool->members, &members, members + 1))
			return true;
	}
	return false;
}

static void leave(gh__pool *pool)
{
	if (atomic_fetch_sub(&pool->members, 1) != 1 || !atomic_load(&pool->caller_sleeps))
		return;
	pthread_mutex_lock(&pool->mutex);
	pthread_cond_signal(&pool->done);
	pthread_mutex_unlock(&pool->mutex);
}

static bool close_job(gh__pool *pool)
{
	int none = 0;

	return atomic_compare_exchange_strong(&pool->members, &none, CLOSED);
}

static void work(gh__pool *pool, int thread)
{
	int64_t task;

	while ((task = atomic_fetch_add(&pool->next, 1)) < pool->count)
		if (!gh__pool_interrupted(pool))
			pool->fn(pool->arg, task, thread);
}

/* Wait until the round is another one than `seen`; false: the pool is closing. */
static bool await_round(gh__pool *pool, unsigned seen)
{
	for (int i = 0; i < SPINS; i++) {
		if (atomic_load(&pool->round) != seen)
			return !atomic_load(&pool->closing);
		pause_briefly();
	}
	pthread_mutex_lock(&pool->mutex);
	atomic_fetch_add(&pool->sleepers, 1);
	while (atomic_load(&pool->round) == seen)
		pthread_cond_wait(&pool->wake, &pool->mutex);
	atomic_fetch_sub(&pool->sleepers, 1);
	pthread_mutex_unlock(&pool->mutex);
	return !atomic_load(&pool->closing);
}

static void next_round(gh__pool *pool)
{
	atomic_fetch_add(&pool->round, 1);
	if (atomic_load(&pool->sleepers) == 0)
		return;
	pthread_mutex_lock(&pool->mutex);
	pthread_cond_broadcast(&pool->wake);
	pthread_mutex_unlock(&pool->mutex);
}

static void help(void *arg)
{
	helper *self = arg;
	gh__pool *pool = self->pool;
	unsigned seen = 0;

	while (await_round(pool, seen)) {
		seen = atomic_load(&pool->round);
		if (join(pool)) {
			work(pool, self->index);
			leave(pool);
		}
	}
}

gh_status gh__pool_create(gh__pool **out, int threads, gh_error *error)
{
	gh__pool *pool;
	gh_status status = GH_OK;

	if (threads < 1 || threads > THREADS_MAX)
		return gh__fail(error, GH_EINVAL, "threads: %d is not between 1 and %d", threads,
				THREADS_MAX);
	pool = gh__calloc(1, sizeof *pool);
	if (!pool)
		return gh__fail_nomem(error);
	pool->threads = threads;
	atomic_init(&pool->members, CLOSED);
	pthread_mutex_init(&pool->mutex, NULL);
	pthread_cond_init(&pool->wake, NULL);
	pthread_cond_init(&pool->done, NULL);
	pool->helpers = gh__calloc((size_t)threads, sizeof *pool->helpers);
	if (!pool->helpers)
		status = gh__fail_nomem(error);
	for (int i = 0; status == GH_OK && i < threads - 1; i++) {
		char name[16];

		pool->helpers[i].pool = pool;
		pool->helpers[i].index = i + 1;
		(void)snprintf(name, sizeof name, "gh-cpu-%d", i + 1);
		status = gh__thread_start(&pool->helpers[i].thread, name, help, &pool->helpers[i],
					  error);
		if (status == GH_OK)
			pool->started++;
	}
	if (status != GH_OK) {
		gh__pool_free(pool);
		return status;
	}
	*out = pool;
	return GH_OK;
}

void gh__pool_free(gh__pool *pool)
{
	if (!pool)
		return;
	atomic_store(&pool->closing, true);
	next_round(pool);
	for (int i = 0; i < pool->started; i++)
		pthread_join(pool->helpers[i].thread, NULL);
	pthread_cond_destroy(&pool->done);
	pthread_cond_destroy(&pool->wake);
	pthread_mutex_destroy(&pool->mutex);
	gh__free(pool->helpers);
	gh__free(pool);
}

void gh__pool_interrupt(gh__pool *pool, bool interrupted)
{
	atomic_store_explicit(&pool->interrupted, interrupted, memory_order_relaxed);
}

bool gh__pool_interrupted(const gh__pool *pool)
{
	return atomic_load_explicit(&pool->interrupted, memory_order_relaxed);
}

void gh__pool_run(gh__pool *pool, gh__pool_fn *fn, void *arg, int64_t count)
{
	if (pool->threads == 1 || count <= 1) {
		for (int64_t task = 0; task < count && !gh__pool_interrupted(pool); task++)
			fn(arg, task, 0);
		return;
	}
	pool->fn = fn;
	pool->arg = arg;
	pool->count = count;
	atomic_store(&pool->next, 0);
	atomic_store(&pool->members, 0);
	next_round(pool);
	work(pool, 0);
	for (int i = 0; i < SPINS; i++) {
		if (close_job(pool))
			return;
		pause_briefly();
	}
	pthread_mutex_lock(&pool->mutex);
	atomic_store(&pool->caller_sleeps, true);
	while (!close_job(pool))
		pthread_cond_wait(&pool->done, &pool->mutex);
	atomic_store(&pool->caller_sleeps, false);
	pthread_mutex_unlock(&pool->mutex);
}
