#include "serve/crew.h"

#include "base/alloc.h"
#include "base/error.h"
#include "base/queue.h"
#include "base/thread.h"

typedef struct task {
	gh__crew_fn *fn;
	void *arg;
} task;

struct gh__crew {
	gh__queue *queue;
	size_t started;
	pthread_t threads[];
};

static void work(void *arg)
{
	gh__crew *crew = arg;
	task *t;

	while ((t = gh__queue_pop(crew->queue, INT64_MAX)) != NULL) {
		task copy = *t;

		gh__free(t);
		copy.fn(copy.arg);
	}
}

gh_status gh__crew_create(gh__crew **out, size_t threads, size_t waiting_max, gh_error *error)
{
	gh__crew *crew = gh__calloc(1, sizeof *crew + threads * sizeof crew->threads[0]);
	gh_status status =
		crew ? gh__queue_create(&crew->queue, waiting_max, error) : gh__fail_nomem(error);

	for (size_t i = 0; i < threads && status == GH_OK; i++) {
		status = gh__thread_start(&crew->threads[i], "gh-prepare", work, crew, error);
		if (status == GH_OK)
			crew->started++;
	}
	if (status != GH_OK) {
		gh__crew_free(crew);
		return status;
	}
	*out = crew;
	return GH_OK;
}

gh_status gh__crew_run(gh__crew *crew, gh__crew_fn *fn, void *arg)
{
	task *t = gh__malloc(sizeof *t);

	if (!t)
		return GH_ENOMEM;
	*t = (task){ fn, arg };
	gh_status status = gh__queue_push(crew->queue, t);
	if (status != GH_OK)
		gh__free(t);
	return status;
}

void gh__crew_stop(gh__crew *crew)
{
	if (crew->queue)
		gh__queue_close(crew->queue);
	while (crew->started > 0)
		pthread_join(crew->threads[--crew->started], NULL);
}

void gh__crew_free(gh__crew *crew)
{
	if (!crew)
		return;
	gh__crew_stop(crew);
	gh__queue_free(crew->queue);
	gh__free(crew);
}
