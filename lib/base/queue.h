#ifndef GH_BASE_QUEUE_H
#define GH_BASE_QUEUE_H

#include <stdbool.h>

#include <gonkahost/base.h>

/*
 * A bounded queue of pointers from any number of threads to any number of threads.
 */
typedef struct gh__queue gh__queue;

gh_status gh__queue_create(gh__queue **out, size_t capacity, gh_error *error);
void gh__queue_free(gh__queue *queue); /* items still inside are the caller's affair: drain first */

/* GH_EBUSY: full. GH_ECLOSED. Neither waits. */
gh_status gh__queue_push(gh__queue *queue, void *item);

/* Waits until an item is there, the queue is closed and empty (NULL), or gh__now() >= deadline
 * (NULL). deadline INT64_MAX waits for ever. */
void *gh__queue_pop(gh__queue *queue, int64_t deadline);

void gh__queue_close(gh__queue *queue); /* no more pushes; waiting pops wake up */
size_t gh__queue_length(gh__queue *queue);

#endif
