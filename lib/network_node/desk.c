#include "network_node/desk.h"

#include "base/alloc.h"
#include "base/error.h"
#include "base/queue.h"
#include "base/thread.h"

enum { QUEUE_MAX = 1024 };

struct gh__desk {
	struct gh_network_node *node;
	gh__queue *queue;
	pthread_t thread;
};

typedef struct job {
	gh__desk_fn *fn;
	gh__http_request *request;
	void *data;
} job;

static void run(void *arg)
{
	gh__desk *desk = arg;
	job *next;

	while ((next = gh__queue_pop(desk->queue, INT64_MAX))) {
		next->fn(desk->node, next->request, next->data);
		gh__free(next);
	}
}

gh_status gh__desk_create(gh__desk **out, struct gh_network_node *node, const char *thread,
			  gh_error *error)
{
	gh__desk *desk = gh__calloc(1, sizeof *desk);
	gh_status status;

	if (!desk)
		return gh__fail_nomem(error);
	desk->node = node;
	status = gh__queue_create(&desk->queue, QUEUE_MAX, error);
	if (status == GH_OK)
		status = gh__thread_start(&desk->thread, thread, run, desk, error);
	if (status != GH_OK) {
		gh__queue_free(desk->queue);
		gh__free(desk);
		return status;
	}
	*out = desk;
	return GH_OK;
}

void gh__desk_free(gh__desk *desk)
{
	if (!desk)
		return;
	gh__queue_close(desk->queue);
	pthread_join(desk->thread, NULL);
	gh__queue_free(desk->queue);
	gh__free(desk);
}

gh_status gh__desk_push(gh__desk *desk, gh__desk_fn *fn, gh__http_request *request, void *data)
{
	job *next = gh__malloc(sizeof *next);
	gh_status status;

	if (!next)
		return GH_ENOMEM;
	*next = (job){ fn, request, data };
	status = gh__queue_push(desk->queue, next);
	if (status != GH_OK)
		gh__free(next);
	return status;
}

void gh__desk_hand(gh__desk *desk, gh__desk_fn *fn, gh__http_request *request)
{
	gh_status status = gh__desk_push(desk, fn, request, NULL);

	if (status == GH_ENOMEM)
		gh__http_fail(request, 500, "out of memory");
	else if (status != GH_OK)
		gh__http_fail(request, 503, "failed to queue command: too many are waiting");
}
