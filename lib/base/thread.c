#include "base/thread.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"

typedef struct start {
	gh__thread_fn *fn;
	void *arg;
	char name[16];
} start;

static void *run(void *opaque)
{
	start given = *(start *)opaque;

	gh__free(opaque);
	pthread_setname_np(pthread_self(), given.name);
	given.fn(given.arg);
	return NULL;
}

gh_status gh__thread_start(pthread_t *out, const char *name, gh__thread_fn *fn, void *arg,
			   gh_error *error)
{
	static const int faults[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS };
	sigset_t blocked, before;
	start *s = gh__calloc(1, sizeof *s);

	if (!s)
		return gh__fail_nomem(error);
	s->fn = fn;
	s->arg = arg;
	snprintf(s->name, sizeof s->name, "%.15s", name);

	sigfillset(&blocked);
	for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++)
		sigdelset(&blocked, faults[i]);
	pthread_sigmask(SIG_BLOCK, &blocked, &before);
	int number = pthread_create(out, NULL, run, s);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (number != 0) {
		gh__free(s);
		return gh__fail_errno(error, gh__status_of_errno(number), number, "thread %s",
				      name);
	}
	return GH_OK;
}

gh_status gh__cond_init(pthread_cond_t *cond)
{
	pthread_condattr_t attributes;

	if (pthread_condattr_init(&attributes) != 0)
		return GH_ENOMEM;
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	int number = pthread_cond_init(cond, &attributes);
	pthread_condattr_destroy(&attributes);
	return number == 0 ? GH_OK : GH_ENOMEM;
}

bool gh__cond_wait_until(pthread_cond_t *cond, pthread_mutex_t *mutex, int64_t deadline)
{
	if (deadline == INT64_MAX) {
		pthread_cond_wait(cond, mutex);
		return true;
	}
	if (deadline < 0)
		deadline = 0;
	struct timespec until = { (time_t)(deadline / GH__SECOND), (long)(deadline % GH__SECOND) };
	return pthread_cond_timedwait(cond, mutex, &until) == 0;
}
