#ifndef GH_NETWORK_NODE_ERRANDS_H
#define GH_NETWORK_NODE_ERRANDS_H

#include "base/thread.h"
#include "http/client.h"

/*
 * Calls to several nodes at a time, for a thread that has to know how all of them ended.
 */
typedef struct gh__errand {
	/* set by the caller */
	char *url, *body;  /* POST; freed here */
	const char *token; /* "" or NULL = none; borrowed until they are over */
	int64_t timeout;
	/* how it ended */
	int status;        /* HTTP; 0 = no answer came */
	char *answer;      /* freed here */
	char problem[232]; /* when no answer came */
} gh__errand;

typedef struct gh__errands gh__errands;

/* Room for count of them, each zeroed. */
gh_status gh__errands_create(gh__errands **out, gh__http_client *client, size_t count,
			     gh_error *error);
gh__errand *gh__errands_at(gh__errands *errands, size_t index);
/* Start all, and wait until they are over. going is asked now and then; where it answers false the
 * rest is cancelled, and this answers GH_ECANCELLED. */
typedef bool gh__going_fn(void *userdata);
gh_status gh__errands_run(gh__errands *errands, gh__going_fn *going, void *userdata);

char *gh__errand_url(const char *base, const char *path); /* caller frees (gh__free) */

/* NULL is allowed. */
void gh__errands_free(gh__errands *errands);

#endif
