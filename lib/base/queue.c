#include "base/queue.h"

#include <pthread.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/thread.h"

struct gh__queue {
	pthread_mutex_t mutex;
	pthread_cond_t filled;
	void **items; /* a ring */
	size_t capacity;
	size_t first;
	size_t count;
	bool closed;
};

gh_status gh__queue_create(gh__queue **out, size_t capacity, gh_error *error)
{
	if (capacity == 0)
		return gh__fail(error, GH_EINVAL, "queue: capacity is 0, not 1 or more");
	gh__queue *queue = gh__calloc(1, sizeof *queue);
	if (!queue)
		return gh__fail_nomem(error);
	queue->items = gh__calloc(capacity, sizeof *queue->items);
	if (!queue->items || gh__cond_init(&queue->filled) != GH_OK) {
		gh__free(queue->items);
		gh__free(queue);
		return gh__fail_nomem(error);
	}
	pthread_mutex_init(&queue->mutex, NULL);
	queue->capacity = capacity;
	*out = queue;
	return GH_OK;
}

void gh__queue_free(gh__queue *queue)
{
	if (!queue)
		return;
	pthread_cond_destroy(&queue->filled);
	pthread_mutex_destroy(&queue->mutex);
	gh__free(queue->items);
	gh__free(queue);
}

gh_status gh__queue_push(gh__queue *queue, void *item)
{
	gh_status status = GH_OK;

	if (!item)
		return GH_EINVAL;
	pthread_mutex_lock(&queue->mutex);
	if (queue->closed) {
		status = GH_ECLOSED;
	} else if (queue->count == queue->capacity) {
		status = GH_EBUSY;
	} else {
		size_t last = queue->first + queue->count;

		queue->items[last < queue->capacity ? last : last - queue->capacity] = item;
		queue->count++;
		pthread_cond_signal(&queue->filled);
	}
	pthread_mutex_unlock(&queue->mutex);
	return status;
}

static void *pop_locked(gh__queue *queue)
{
	if (queue->count == 0)
		return NULL;
	void *item = queue->items[queue->first];
	if (++queue->first == queue->capacity)
		queue->first = 0;
	queue->count--;
	return item;
}

void *gh__queue_pop(gh__queue *queue, int64_t deadline)
{
	pthread_mutex_lock(&queue->mutex);
	while (queue->count == 0 && !queue->closed) {
		if (!gh__cond_wait_until(&queue->filled, &queue->mutex, deadline))
			break;
	}
	void *item = pop_locked(queue);
	pthread_mutex_unlock(&queue->mutex);
	return item;
}

void gh__queue_close(gh__queue *queue)
{
	pthread_mutex_lock(&queue->mutex);
	queue->closed = true;
	pthread_cond_broadcast(&queue->filled);
	pthread_mutex_unlock(&queue->mutex);
}

size_t gh__queue_length(gh__queue *queue)
{
	pthread_mutex_lock(&queue->mutex);
	size_t count = queue->count;
	pthread_mutex_unlock(&queue->mutex);
	return count;
}
