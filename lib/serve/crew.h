#ifndef GH_SERVE_CREW_H
#define GH_SERVE_CREW_H

#include <gonkahost/base.h>

/*
 * A few threads that do what is too long for the server's loop. What waits is bounded.
 */
typedef struct gh__crew gh__crew;
typedef void gh__crew_fn(void *arg);

gh_status gh__crew_create(gh__crew **out, size_t threads, size_t waiting_max, gh_error *error);
gh_status gh__crew_run(gh__crew *crew, gh__crew_fn *fn,
		       void *arg);  /* GH_EBUSY, GH_ENOMEM, GH_ECLOSED */
void gh__crew_stop(gh__crew *crew); /* runs what waits, then takes nothing any more */
void gh__crew_free(gh__crew *crew);

#endif
