#include "base/queue.h"

#include <errno.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

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
	int fd; /* eventfd, -1 until somebody asks for it; its counter is 1 while count > 0 */
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
	queue->fd = -1;
	*out = queue;
	return GH_OK;
}

void gh__queue_free(gh__queue *queue)
{
	if (!queue)
		return;
	if (queue->fd >= 0)
		close(queue->fd);
	pthread_cond_destroy(&queue->filled);
	pthread_mutex_destroy(&queue->mutex);
	gh__free(queue->items);
	gh__free(queue);
}

/* The counter is 0 or 1, so neither call can wait or fall short. */
static void fd_raise(int fd)
{
	const uint64_t one = 1;

	while (write(fd, &one, sizeof one) < 0 && errno == EINTR)
		;
}

static void fd_lower(int fd)
{
	uint64_t value;

	while (read(fd, &value, sizeof value) < 0 && errno == EINTR)
		;
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
		if (queue->count++ == 0 && queue->fd >= 0)
			fd_raise(queue->fd);
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
	if (--queue->count == 0 && queue->fd >= 0)
		fd_lower(queue->fd);
	return item;
}

void *gh__queue_try_pop(gh__queue *queue)
{
	pthread_mutex_lock(&queue->mutex);
	void *item = pop_locked(queue);
	pthread_mutex_unlock(&queue->mutex);
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

int gh__queue_fd(gh__queue *queue)
{
	pthread_mutex_lock(&queue->mutex);
	if (queue->fd < 0)
		queue->fd = eventfd(queue->count > 0 ? 1 : 0, EFD_CLOEXEC | EFD_NONBLOCK);
	int fd = queue->fd;
	pthread_mutex_unlock(&queue->mutex);
	return fd;
}
